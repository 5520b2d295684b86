"""Timesteps are timed in parallel; the bytes are those of one thread."""

from __future__ import annotations

import numpy as np
import pytest

import neurosim
from neurosim.engine import RunCounts
from neurosim.errors import InputError, MessageWidthError
from neurosim.network import Connection, Delta, Dense, Layer, Network, Sigma, SigmaDelta


def program(**overrides: str) -> neurosim.Program:
    rng = np.random.default_rng(0)
    layers = [Layer("in", (50,), Delta(1 << 12)), Layer("mid", (40,), SigmaDelta(1 << 12)), Layer("out", (3,), Sigma())]
    connections = [
        Connection(("in",), "mid", Dense(rng.integers(-20, 20, (40, 50)))),
        Connection(("mid",), "out", Dense(rng.integers(-20, 20, (3, 40)))),
    ]
    return neurosim.compile(Network(layers, connections), "loihi2", overrides=overrides)


def bytes_of(counts: RunCounts) -> list[bytes]:
    arrays = (counts.layer_counts, counts.core_counts, counts.link_flits, counts.duration_ps, counts.sweep_ps)
    arrays += (counts.network_ps, counts.synapse_ps, *counts.outputs.values())
    return [np.ascontiguousarray(a).tobytes() for a in arrays]


def test_any_number_of_threads_gives_the_same_bytes() -> None:
    frames = np.random.default_rng(1).integers(-60, 60, (40, 50))
    made = program()
    one = neurosim.simulate(made, frames, threads=1).counts
    assert one.layer_counts.sum() > 0
    for threads in (2, 4, 16):
        seen: list[int] = []
        other = neurosim.simulate(made, frames, threads=threads, progress=lambda done, _, seen=seen: seen.append(done))
        assert bytes_of(other.counts) == bytes_of(one)
        assert seen == list(range(1, 44))


def test_an_error_in_a_thread_is_the_run_s_error() -> None:
    frames = np.zeros((30, 50), dtype=np.int64)
    frames[20, 7] = 100
    with pytest.raises(MessageWidthError, match="timestep 21"):
        neurosim.simulate(program(**{"network.payload": "8 bit"}), frames, threads=3)


def test_no_threads() -> None:
    with pytest.raises(InputError, match="threads is 0"):
        neurosim.simulate(program(), np.zeros((1, 50), dtype=np.int64), threads=0)
