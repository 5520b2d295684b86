"""The kernels give the same with the compiler off: they are plain Python underneath."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import hashlib
import numba
import numpy as np
from neurosim.engine.exercise import run_exercise

counts = run_exercise()
digest = hashlib.sha256()
arrays = (counts.layer_counts, counts.core_counts, counts.link_flits, counts.duration_ps, *counts.outputs.values())
for array in arrays:
    digest.update(np.ascontiguousarray(array).tobytes())
for activity in counts.activity:
    digest.update(activity.neuron.tobytes() + activity.value.tobytes() + activity.active.tobytes())
assert counts.layer_counts[:, :, 5].sum() > 100
print(numba.config.DISABLE_JIT, digest.hexdigest())
"""


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
        packet_kernels,
        time_kernels,
        trace_kernels,
    )

    exercise.run_exercise()
    for module in (function_kernels, packet_kernels, time_kernels, fast_kernels, trace_kernels):
        for name, kernel in vars(module).items():
            is_kernel = isinstance(kernel, numba.core.registry.CPUDispatcher)
            called_from_python = not name.startswith("_")
            if is_kernel and called_from_python and kernel.py_func.__module__ == module.__name__:
                assert kernel.signatures, name
