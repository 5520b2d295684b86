"""The kernels give the same with the compiler off: they are plain Python underneath."""

from __future__ import annotations

import os
import subprocess
import sys

# Covers every kernel: each transform with and without delays, each unit, and the timing of the packets.
SCRIPT = """
import hashlib
import numpy as np
import numba
import neurosim
from neurosim.network import *

rng = np.random.default_rng(3)
ints = lambda *shape: rng.integers(-40, 40, shape)
conv = Conv2d(ints(4, 2, 3, 3), (2, 6, 6), stride=2, padding=1)
pool = Pool2d("average", 2, conv.out_shape, 1)
present = rng.random((pool.out_size, 6)) < 0.5
starts = np.concatenate(([0], np.cumsum(present.sum(axis=1))))
sparse = Sparse(starts, np.nonzero(present)[1], ints(int(present.sum())), 6)
dense = Dense(ints(5, 6))
layers = [
    Layer("in", (2, 6, 6), Delta(1 << 12)),
    Layer("relay", (6,), Relay(spikes=True)),
    Layer("conv", conv.out_shape, SigmaDelta(1 << 12, np.array([3]), "corrected")),
    Layer("late", conv.out_shape, SigmaDelta(2 << 12, np.array([9]), "default", True)),
    Layer("pool", pool.out_shape, SigmaDelta(1 << 12)),
    Layer("sparse", (6,), CubaLif(2000, 1000, 5 << 6, np.array([2]), 4, 1)),
    Layer("dense", (5,), Sigma()),
]
delay = lambda shape: rng.integers(0, 3, shape)
connections = [
    Connection(("in",), "conv", conv, None, 24),
    Connection(("in",), "late", conv, Delay("synapse", delay(conv.weights.shape)), 24),
    Connection(("conv",), "pool", pool),
    Connection(("late",), "pool", pool, Delay("neuron", delay(pool.out_size))),
    Connection(("pool",), "sparse", sparse),
    Connection(("pool",), "sparse", sparse, Delay("axon", delay(sparse.in_size))),
    Connection(("sparse",), "dense", dense),
    Connection(("relay",), "dense", dense, Delay("axon", delay(6))),
]
network = Network(layers, connections)
program = neurosim.compile(network, "loihi2")
frames = {"in": rng.integers(-60, 60, (5, 72)), "relay": rng.integers(0, 2, (5, 6))}
result = neurosim.simulate(program, frames, steps=9, keep_activity=True)
counts = result.counts
digest = hashlib.sha256()
for array in (counts.layer_counts, counts.core_counts, counts.link_flits, counts.duration_ps, *counts.outputs.values()):
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
