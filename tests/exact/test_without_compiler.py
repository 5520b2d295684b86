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
from neurosim.engine.exercise import exercise_chips, exercise_network, run_exercise

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
# Two virtual channels; processors.
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
print(numba.config.DISABLE_JIT, digest.hexdigest())
"""


# Called by other kernels alone: with these read from the cache, nothing says that they were compiled.
SHARED_BY_KERNELS = {"sigma_delta_step"}


def run(disable: str) -> list[str]:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": disable}
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", SCRIPT],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_plain_python_gives_the_same_bytes() -> None:
    compiled, plain = run("0"), run("1")
    assert (compiled[0], plain[0]) == ("0", "1")
    assert compiled[1] == plain[1]


def test_the_exercise_goes_through_every_kernel() -> None:
    """After it, every kernel that is called from Python has been compiled: `neurosim warmup` leaves none out."""
    import numba

    from neurosim.engine import (
        exercise,
        fast_kernels,
        function_kernels,
        membrane_kernels,
        packet_kernels,
        segment_kernels,
        time_kernels,
        trace_kernels,
    )

    exercise.run_exercise()
    modules = (
        function_kernels, membrane_kernels, packet_kernels, segment_kernels, time_kernels, fast_kernels, trace_kernels,
    )  # fmt: skip
    for module in modules:
        for name, kernel in vars(module).items():
            is_kernel = isinstance(kernel, numba.core.registry.CPUDispatcher)
            called_from_python = not name.startswith("_") and name not in SHARED_BY_KERNELS
            if is_kernel and called_from_python and kernel.py_func.__module__ == module.__name__:
                assert kernel.signatures, name
