"""Measurements of one simulator on one case, made in a process of their own; see compare_sanafe.py."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from random_networks import THRESHOLD, Case, architecture_text, sanafe_cores

MIB = 1 << 20
PAIRS_AT_ONCE = 200_000
LONGER = {1_024: 400, 10_240: 40, 102_400: 40}
"""Timesteps that a run measures beyond those that are compared, by the size of the network."""


def resident_mib() -> tuple[float, float]:
    """Return the resident memory of this process and the most it ever was, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmRSS"].split()[0]) * 1024 / MIB, int(lines["VmHWM"].split()[0]) * 1024 / MIB
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB
    return peak, peak


def limit_memory(gib: float) -> None:
    """Make this process fail, rather than the machine, where it needs more memory."""
    try:
        import resource
    except ImportError:  # not a Unix system: no limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (int(gib * 1024 * MIB),) * 2)


def one_processor(pin: bool) -> None:
    """Keep this process on one processor, or let it use all."""
    if hasattr(os, "sched_setaffinity"):
        every = set(range(os.cpu_count() or 1))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))} if pin else every)


def version(package: str) -> str:
    """Return the version of an installed package, or a word that it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


class Clock:
    """Seconds of processor time (all threads) and of wall time since it was made."""

    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def read(self) -> tuple[float, float]:
        return time.process_time() - self.cpu, time.perf_counter() - self.wall


def median_s(repeats: int, work: Callable[[], Any]) -> float:
    """Return the median processor time of `work` in seconds."""
    taken = []
    for _ in range(repeats):
        clock = Clock()
        work()
        taken.append(clock.read()[0])
    return statistics.median(taken)


def run_neurosim(job: dict[str, Any]) -> dict[str, Any]:
    """Measure neurosim.

    Parameters
    ----------
    job
        ``case``; ``timesteps`` that are compared; ``warm``, those of them before measuring; ``repeats``; ``parts``
        and ``threads``, whether to take those measurements too; ``slots``, a file to write the placement to.
    """
    one_processor(True)
    # numba loads SciPy wherever it finds it, 16 MiB of it. neurosim has no use for it: it is here for the products
    # that the functional step is compared with, at the end.
    sys.modules["scipy"] = None  # type: ignore[assignment]
    import neurosim
    from neurosim.engine import LayerCount

    case = Case(**job["case"])
    timesteps, warm = job["timesteps"], job["warm"]
    clock = Clock()
    network = case.network()
    built = clock.read()
    clock = Clock()
    program = case.program(network)
    compiled = clock.read()
    if job.get("slots"):
        np.save(job["slots"], program.core_slot)
    neurosim.simulate(program, {}, steps=2, threads=1)
    ready, _ = resident_mib()
    # Timesteps are timed many at a time, so single ones have no time of their own: the mean of a long run, less the
    # timesteps before measuring.
    longer = timesteps + LONGER.get(case.neurons, 0)
    taken = np.zeros((job["repeats"], 2, 2))
    for times in taken:
        for time_of, steps in zip(times, (warm, longer), strict=True):
            clock = Clock()
            result = neurosim.simulate(program, {}, steps=steps, threads=1)
            time_of[:] = clock.read()
    cpu_s, wall_s = np.median(taken[:, 1] - taken[:, 0], axis=0) / (longer - warm)
    counts = result.counts.layer_counts.sum(axis=1)[:timesteps]
    rss, peak = resident_mib()
    out = {
        "build_s": built[0],
        "compile_s": compiled[0],
        "destinations_mean": float(np.diff(program.axon_start).mean()),
        "run_cpu_s": cpu_s,
        "run_wall_s": wall_s,
        "fired": counts[:, LayerCount.MESSAGES].tolist(),
        "synops": counts[:, LayerCount.SYNOPS].tolist(),
        "packets": counts[:, LayerCount.PACKETS].tolist(),
        "hops": counts[:, LayerCount.HOPS].tolist(),
        "step_us": (result.counts.duration_ps[:timesteps] / 1e6).tolist(),
        "ready_mib": ready,
        "rss_mib": rss,
        "peak_mib": peak,
    }
    if job.get("parts"):
        out["parts"] = neurosim_parts(program, case, warm, timesteps, job["repeats"])
    if job.get("threads"):
        one_processor(False)
        out["threads"] = neurosim_threads(program, timesteps, job["repeats"])
    return out


def neurosim_parts(program: Any, case: Case, warm: int, timesteps: int, repeats: int) -> dict[str, float | None]:
    """Return seconds a timestep of the functional step, of timing, and of plain products on the same spikes."""
    from neurosim.engine import FunctionRun, TimeRun
    from neurosim.engine.batch import Batches

    function: list[float] = []
    for _ in range(repeats):
        run = FunctionRun(program.network, {})
        activity = list(run.steps(warm))
        clock = Clock()
        activity = list(run.steps(timesteps - warm))
        function.append(clock.read()[0])
    fired = [step.neuron for step in activity]
    batches = Batches(TimeRun(program), traced=False)
    count = len(activity)

    def time_all() -> None:
        some: list[Any] = []
        full = 0.0
        for step in activity:
            some.append(step)
            full += batches.room(step)
            if full >= 1.0 or step is activity[-1]:
                batches.time(some)
                some, full = [], 0.0

    parts: dict[str, float | None] = {
        "function_s": statistics.median(function) / count,
        "timing_s": median_s(repeats, time_all) / count,
    }
    targets, weights = case.targets, case.weights.astype(np.int32)

    def gather(rows: Any) -> Any:
        return np.bincount(targets[rows].ravel(), weights[rows].ravel(), case.neurons)

    parts["numpy_bincount_s"] = median_s(repeats, lambda: [gather(rows) for rows in fired]) / count
    sys.modules.pop("scipy", None)
    try:
        from scipy import sparse
    except ImportError:
        return parts | {"scipy_sparse_vector_s": None, "scipy_dense_vector_s": None}
    starts = np.arange(case.neurons + 1) * case.fan_out
    matrix = sparse.csr_array((weights.ravel(), targets.ravel(), starts), shape=(case.neurons,) * 2)

    def row(rows: Any) -> Any:
        ones = (np.ones(rows.size, dtype=np.int32), rows, np.array([0, rows.size]))
        return sparse.csr_array(ones, shape=(1, case.neurons)) @ matrix

    across = matrix.T.tocsr()

    def dense(rows: Any) -> Any:
        spikes = np.zeros(case.neurons, dtype=np.int32)
        spikes[rows] = 1
        return across @ spikes

    for rows in fired[:1]:
        if not (np.array_equal(gather(rows), dense(rows)) and np.array_equal(row(rows).toarray()[0], dense(rows))):
            raise AssertionError("the products differ")
    parts["scipy_sparse_vector_s"] = median_s(repeats, lambda: [row(rows) for rows in fired]) / count
    parts["scipy_dense_vector_s"] = median_s(repeats, lambda: [dense(rows) for rows in fired]) / count
    return parts


def neurosim_threads(program: Any, timesteps: int, repeats: int) -> dict[str, float]:
    """Return wall seconds a timestep of whole runs for 1 and 2 threads, alternating."""
    import neurosim

    taken: dict[int, list[float]] = {1: [], 2: []}
    timesteps += LONGER.get(program.network.size, 0)
    for _ in range(repeats):
        for threads, walls in taken.items():
            clock = Clock()
            neurosim.simulate(program, {}, steps=timesteps, threads=threads)
            walls.append(clock.read()[1] / timesteps)
    return {str(threads): statistics.median(walls) for threads, walls in taken.items()}


def run_sanafe(job: dict[str, Any]) -> dict[str, Any]:
    """Measure SANA-FE.

    Parameters
    ----------
    job
        ``case``; ``warm`` timesteps; ``blocks``, lists of a timing model and a number of timesteps, run one
        after another; ``slots``, neurosim's placement; ``budget_s``, after which a timing model is left out;
        ``own_architecture``, whether to use the architecture file that SANA-FE brings.
    """
    one_processor(True)
    import sanafe

    case = Case(**job["case"])
    chip = case.chip()
    if job["own_architecture"]:
        path = Path(sanafe.__file__).parent / "examples" / "loihi.yaml"
        architecture, synapse, soma = sanafe.load_arch(path), "loihi_sparse_synapse", "loihi_lif"
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "chip.yaml"
            path.write_text(architecture_text(chip, case.per_core), encoding="ascii")
            architecture, synapse, soma = sanafe.load_arch(path), "synapse", "soma"
    clock = Clock()
    slots = np.load(job["slots"])
    places = sanafe_cores(slots, case.shape, int(chip.mesh.cores_per_tile.value))
    core = architecture.cores()
    network = sanafe.Network()
    model = {"threshold": float(THRESHOLD), "leak_decay": 1.0}
    group = network.create_neuron_group("all", case.neurons, model, synapse, soma_hw_name=soma)
    for neuron, bias in enumerate(case.bias.tolist()):
        group[neuron].map_to_core(core[places[neuron // case.per_core]])
        group[neuron].set_attributes(model_attributes={"bias": float(bias)})
    rows = max(PAIRS_AT_ONCE // case.fan_out, 1)
    for low in range(0, case.neurons, rows):
        part = case.targets[low : low + rows]
        source = np.repeat(np.arange(low, low + len(part)), case.fan_out)
        weights = case.weights[low : low + rows].ravel().astype(float).tolist()
        group.connect_neurons_sparse(
            group, {"weight": weights}, list(zip(source.tolist(), part.ravel().tolist(), strict=True))
        )
    loaded = sanafe.SpikingChip(architecture)
    loaded.load(network)
    built = clock.read()
    first = loaded.sim(job["warm"], timing_model="simple", processing_threads=1, perf_trace=True)
    trace = first["perf_trace"]
    ready, _ = resident_mib()
    spent: dict[str, float] = {}
    blocks = []
    for name, count in job["blocks"]:
        left_out = spent.get(name, 0.0) > job["budget_s"]
        clock = Clock()
        done = loaded.sim(count, timing_model="simple" if left_out else name, processing_threads=1)
        cpu, wall = clock.read()
        if not left_out:
            spent[name] = spent.get(name, 0.0) + cpu
        blocks.append(
            {
                "model": "left out" if left_out else name,
                "cpu_s": cpu,
                "wall_s": wall,
                "fired": done["neurons_fired"],
                "synops": done["spikes"],
                "packets": done["packets_sent"],
                "step_us": done["sim_time"] / count * 1e6,
                "rss_mib": resident_mib()[0],
            }
        )
    rss, peak = resident_mib()
    return {
        "build_s": built[0],
        "warm_fired": trace["fired"],
        "warm_hops": trace["hops"],
        "blocks": blocks,
        "ready_mib": ready,
        "rss_mib": rss,
        "peak_mib": peak,
    }


def about() -> dict[str, Any]:
    """Return what the figures were taken with."""
    packages = ("neurosim-hw", "sanafe", "numpy", "numba", "scipy")
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        **{name: version(name) for name in packages},
    }
