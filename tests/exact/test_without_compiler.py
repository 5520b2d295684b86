"""The kernels give the same with the compiler off: they are plain Python underneath."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import hashlib
import numba
import numpy as np
from hwmodels import Chip, load_chip
from neurosim.compiler import compile_network
from neurosim.engine import run_program
from neurosim.engine.exercise import (
    dataflow_chips, dataflow_network, exercise_chips, exercise_network, gated_network, maxima_network, run_exercise,
)

digest = hashlib.sha256()


def note(counts):
    arrays = (
        counts.layer_counts, counts.core_counts, counts.link_flits, counts.duration_ps, counts.path_ps,
        counts.step_counts, counts.dropped, *counts.outputs.values(),
    )
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    for activity in counts.activity:
        digest.update(activity.neuron.tobytes() + activity.value.tobytes() + activity.active.tobytes())
        digest.update(b"" if activity.met is None else activity.met.tobytes())
    assert counts.layer_counts[:, :, 5].sum() > 100


note(run_exercise())
number = {"value": 4, "kind": "architecture", "source": "this test"}
network, frames = exercise_network()
# Two virtual channels and routing tables; processors.
for chip in exercise_chips():
    note(run_program(compile_network(network, chip), frames, 4, keep_activity=True, threads=1))
# Lanes, banks and a sweep of touched neurons; a crossbar.
for kind, sweep, lanes in (("pipeline", "touched", number), ("crossbar", "all", None)):
    plain = load_chip("loihi2").to_dict()
    core = plain["core"]
    core["kind"], core["neuron"]["sweep"] = kind, sweep
    core["memories"]["accumulator"]["banks"] = core["memories"]["synapse"]["banks"] = number
    if lanes:
        core["lanes"] = lanes
    program = compile_network(network, Chip.from_dict(plain))
    note(run_program(program, frames, 4, keep_activity=True, threads=1))
# Units of several compartments.
touched = load_chip("loihi2", {"core.neuron.sweep": "touched"})
for network, frames in (gated_network(), maxima_network()):
    for chip in (touched, *exercise_chips()):
        note(run_program(compile_network(network, chip), frames, 32, keep_activity=True, threads=1))
# Without timesteps.
network, frames = dataflow_network()
for chip in dataflow_chips():
    note(run_program(compile_network(network, chip), frames, 3, keep_activity=True, threads=1))
print(numba.config.DISABLE_JIT, digest.hexdigest())
"""


FORMATS = """
import hashlib
import numba
import numpy as np
from hwmodels import Chip, load_chip
from neurosim.compiler import compile_network
from neurosim.engine import run_program
from neurosim.engine.exercise import exercise_chips
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay

digest = hashlib.sha256()
layers = [Layer("in", (3,), Relay()), Layer("out", (20,), CubaLif(4096, 0, 1 << 20))]
network = Network(layers, [Connection(("in",), "out", Dense(np.arange(1, 61).reshape(20, 3)))])
sharing = load_chip("loihi2").to_dict()
sharing["core"]["shared_port"] = ["sweep", "accumulate"]
for chip in (load_chip("loihi2"), *exercise_chips(), Chip.from_dict(sharing)):
    few = chip.to_dict()
    few["network"]["payload"]["value"] = "2 bit"
    for form, messages in ((chip, "units"), (Chip.from_dict(few), "split")):
        counts = run_program(
            compile_network(network, form, messages=messages), {"in": np.array([[3, -20, 1], [0, 0, -2]])}, 3, threads=1
        )
        assert counts.layer_counts[:, :, 19].sum() >= 7
        for array in (counts.layer_counts, counts.core_counts, counts.link_flits, counts.duration_ps, counts.path_ps):
            digest.update(np.ascontiguousarray(array).tobytes())
print(numba.config.DISABLE_JIT, digest.hexdigest())
"""

# Called by other kernels alone: with these read from the cache, nothing says that they were compiled.
SHARED_BY_KERNELS = {"_halves_to_even", "list_messages", "read_ticks", "sends_of", "sigma_delta_step"}


def run(disable: str, script: str = SCRIPT) -> list[str]:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": disable}
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", script],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_plain_python_gives_the_same_bytes() -> None:
    compiled, plain = run("0"), run("1")
    assert (compiled[0], plain[0]) == ("0", "1")
    assert compiled[1] == plain[1]


WARM = """
import importlib
import pkgutil

import numba
import numpy as np

import neurosim.engine
from hwmodels import Chip
from neurosim.compiler import compile_network
from neurosim.engine import run_program
from neurosim.engine.exercise import dataflow_chips, run_exercise
from neurosim.network import Connection, Delta, Dense, Layer, Network, Sigma, SigmaDelta


def known():
    found = {}
    for module in pkgutil.iter_modules(neurosim.engine.__path__):
        for name, kernel in vars(importlib.import_module(f"neurosim.engine.{module.name}")).items():
            if isinstance(kernel, numba.core.registry.CPUDispatcher):
                found[kernel.py_func.__module__, kernel.__name__] = len(kernel.signatures)
    return found


run_exercise()
before = known()
assert before["neurosim.engine.flow_after_kernels", "walk_flow"] == 1, before
# Other sizes, units and chips than those of the exercise.
rng = np.random.default_rng(0)
layers = [Layer("a", (7,), Delta(0, 6, 6)), Layer("b", (5,), SigmaDelta(1)), Layer("c", (3,), Sigma())]
dense = [Dense(rng.integers(-9, 9, shape)) for shape in ((5, 7), (3, 5))]
network = Network(layers, [Connection((c.name,), d.name, w) for c, d, w in zip(layers, layers[1:], dense)], "other")
for chip in dataflow_chips():
    plain = chip.to_dict()
    plain["core"]["neuron"]["sweep"] = "touched"
    run_program(compile_network(network, Chip.from_dict(plain)), {"a": rng.integers(-9, 9, (2, 7))}, 2)
new = {name: count for name, count in known().items() if count != before[name]}
assert not new, new
"""


def test_plain_python_sends_unit_spikes_and_pieces_alike() -> None:
    compiled, plain = run("0", FORMATS), run("1", FORMATS)
    assert (compiled[0], plain[0]) == ("0", "1")
    assert compiled[1] == plain[1]


def test_after_the_exercise_a_dataflow_run_needs_no_kernel_more() -> None:
    """Neither compiled nor read from the cache: what `neurosim warmup` runs has met every combination of types."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    done = subprocess.run(
        [sys.executable, "-c", WARM], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_the_exercise_goes_through_every_kernel() -> None:
    """After it, every kernel that is called from Python has been compiled: `neurosim warmup` leaves none out."""
    import numba

    from neurosim.engine import (
        branch_kernels,
        delivery_kernels,
        exercise,
        fast_kernels,
        flow_after_kernels,
        gated_kernels,
        hybrid_kernels,
        list_kernels,
        maxima_kernels,
        membrane_kernels,
        packet_kernels,
        plain_kernels,
        segment_kernels,
        step_kernels,
        time_kernels,
        trace_kernels,
        unit_kernels,
    )

    exercise.run_exercise()
    modules = (
        unit_kernels, delivery_kernels, packet_kernels, branch_kernels, segment_kernels, time_kernels, fast_kernels,
        trace_kernels, plain_kernels, step_kernels, flow_after_kernels, list_kernels, membrane_kernels, gated_kernels,
        hybrid_kernels, maxima_kernels,
    )  # fmt: skip
    for module in modules:
        for name, kernel in vars(module).items():
            is_kernel = isinstance(kernel, numba.core.registry.CPUDispatcher)
            called_from_python = not name.startswith("_") and name not in SHARED_BY_KERNELS
            if is_kernel and called_from_python and kernel.py_func.__module__ == module.__name__:
                assert kernel.signatures, name
