"""A tiny network that goes through every kernel, so that all of them are compiled and cached."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip, load_chip
from neurosim.compiler import compile_network
from neurosim.engine.run import run_program
from neurosim.engine.timing import FIDELITIES
from neurosim.engine.totals import RunCounts
from neurosim.engine.trace import TraceWindow
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    CurrentLif,
    Delay,
    Delta,
    DeltaGru,
    DeltaLstm,
    Dense,
    Hybrid,
    Layer,
    MaxRounding,
    Network,
    Pool2d,
    Relay,
    Rounding,
    Sigma,
    SigmaDelta,
    Sparse,
)


def exercise_network() -> tuple[Network, dict[str, NDArray[np.int64]]]:
    """Return a network with every unit and every transform, with and without delays, and frames for it."""
    rng = np.random.default_rng(3)
    conv = Conv2d(rng.integers(-40, 40, (4, 2, 3, 3)), (2, 6, 6), stride=2, padding=1)
    pool = Pool2d("average", 2, conv.out_shape, 1)
    present = rng.random((pool.out_size, 6)) < 0.5
    starts = np.concatenate(([0], np.cumsum(present.sum(axis=1))))
    sparse = Sparse(starts, np.nonzero(present)[1], rng.integers(-40, 40, int(present.sum())), 6)
    dense = Dense(rng.integers(-40, 40, (5, 6)))
    kept = np.array([4000])
    layers = [
        Layer("in", (2, 6, 6), Delta(1 << 12)),
        Layer("relay", (6,), Relay(spikes=True)),
        Layer("conv", conv.out_shape, SigmaDelta(1 << 12, np.array([3]), "corrected")),
        Layer("late", conv.out_shape, SigmaDelta(2 << 12, np.array([9]), "default", True)),
        Layer("pool", pool.out_shape, SigmaDelta(1 << 12)),
        Layer("sparse", (6,), CubaLif(2000, 1000, 5 << 6, np.array([2]), 4, 1)),
        Layer("dense", (5,), Sigma()),
        Layer("membranes", (6,), CurrentLif(voltage_keep=kept, current_keep=kept, threshold=kept // 80, start=1)),
        Layer("rounding", (5,), Rounding(np.array([3]), np.array([2]), np.array([7]))),
        Layer("hybrid", (5,), Hybrid(multiplier=kept, shift=np.array([9]), function="tanh", reset_interval=2)),
    ]
    connections = [
        Connection(("in",), "conv", conv, None, 24),
        Connection(("in",), "late", conv, Delay("synapse", rng.integers(0, 3, conv.weights.shape)), 24),
        Connection(("conv",), "pool", pool),
        Connection(("late",), "pool", pool, Delay("neuron", rng.integers(0, 3, pool.out_size))),
        Connection(("pool",), "sparse", sparse),
        Connection(("pool",), "sparse", sparse, Delay("axon", rng.integers(0, 3, sparse.in_size))),
        Connection(("sparse",), "dense", dense),
        Connection(("relay",), "dense", dense, Delay("axon", rng.integers(0, 3, 6))),
        Connection(("pool",), "membranes", sparse),
        Connection(("relay",), "rounding", dense),
        Connection(("relay",), "hybrid", dense),
    ]
    frames = {"in": rng.integers(-60, 60, (5, 72)), "relay": rng.integers(0, 2, (5, 6))}
    return Network(layers, connections, "exercise"), frames


def gated_network() -> tuple[Network, dict[str, NDArray[np.int64]]]:
    """Return a network of gated units, which not every kind of core can run, and frames for it."""
    rng = np.random.default_rng(7)
    layers = [
        Layer("in", (4,), Delta(0, 0, 0)),
        Layer("gru", (3,), DeltaGru(threshold=1, start=1)),
        Layer("lstm", (3,), DeltaLstm(threshold=1)),
    ]
    connections = [
        Connection(("in",), "gru", Dense(rng.integers(-99, 99, (9, 4))), compartments=(0, 1, 2)),
        Connection(("gru",), "gru", Dense(rng.integers(-99, 99, (9, 3))), compartments=(0, 1, 3)),
        Connection(("gru",), "lstm", Dense(rng.integers(-99, 99, (12, 3)))),
    ]
    return Network(layers, connections, "gated"), {"in": rng.integers(-300, 300, (30, 4))}


def maxima_network() -> tuple[Network, dict[str, NDArray[np.int64]]]:
    """Return a network with a pool by maximum, and frames for it."""
    rng = np.random.default_rng(8)
    layers = [
        Layer("in", (6,), Delta(0, 0, 0)),
        Layer("max", (4,), MaxRounding(np.array([3]), np.array([1]), places=3)),
    ]
    connections = [Connection(("in",), "max", Dense(rng.integers(-9, 9, (12, 6))))]
    return Network(layers, connections, "maxima"), {"in": rng.integers(-30, 30, (30, 6))}


def exercise_chips() -> tuple[Chip, Chip]:
    """Return two variants of Loihi 2, for exercise.

    One has two virtual channels and routing tables, the other processors, timers and packets that give up.
    """

    def number(value: object) -> dict[str, object]:
        return {"value": value, "kind": "estimate", "source": "exercise", "note": "of no meaning"}

    channels, processors = (load_chip("loihi2").to_dict() for _ in range(2))
    channels["network"]["virtual_channels"] = number(2)
    channels["network"]["tables"] = {"entries": number(1000), "default_routing": True}
    core = processors["core"]
    core["kind"] = "processor"
    names = ("packet_time", "row_setup_time", "row_time", "timer_time")
    core["processor"] = {name: number("200 ns") for name in names} | {"buffer": number(4)}
    core["axon_in"]["time"] = number("0 ns")
    network = processors["network"]
    network["flit"] = number("64 bit")
    network["blocked"] = {"wait": number("1 us"), "emergency": False}
    network["blocked"] |= {"reinjection": number("1 us"), "reinjection_queue": number(4)}
    processors["sync"] = {"kind": "timer", "period": number("40 us")}
    return Chip.from_dict(channels), Chip.from_dict(processors)


def dataflow_network() -> tuple[Network, dict[str, NDArray[np.int64]]]:
    """Return a network for chips without timesteps, with every unit and transform that they can run, and frames."""
    rng = np.random.default_rng(5)
    conv = Conv2d(rng.integers(-9, 9, (2, 1, 3, 3)), (1, 5, 5))
    pool = Pool2d("average", 2, conv.out_shape, 1)
    present = rng.random((pool.out_size, 4)) < 0.5
    starts = np.concatenate(([0], np.cumsum(present.sum(axis=1))))
    sparse = Sparse(starts, np.nonzero(present)[1], rng.integers(-9, 9, int(present.sum())), 4)
    dense = Dense(rng.integers(-9, 9, (3, 4)))
    layers = [
        Layer("in", (1, 5, 5), Delta(0, 6, 6)),
        Layer("relay", (4,), Relay()),
        Layer("conv", conv.out_shape, SigmaDelta(2, np.array([3]), "default", False, 0, 0)),
        Layer("pool", pool.out_shape, SigmaDelta(3, np.array([9]), "corrected", True, 0, 1)),
        Layer("sparse", (4,), CubaLif(4096, 0, 9, activation_shift=1)),
        Layer("dense", (3,), Sigma()),
    ]
    connections = [
        Connection(("in",), "conv", conv),
        Connection(("conv",), "pool", pool),
        Connection(("pool",), "sparse", sparse),
        Connection(("sparse",), "dense", dense),
        Connection(("relay",), "dense", dense),
    ]
    frames = {"in": rng.integers(-20, 20, (3, 25)), "relay": rng.integers(-3, 3, (3, 4))}
    return Network(layers, connections, "dataflow"), frames


def dataflow_chips() -> tuple[Chip, Chip]:
    """Return Loihi 2 without timesteps, and so with two virtual channels."""
    plain, channels = load_chip("loihi2").to_dict(), exercise_chips()[0].to_dict()
    for chip in (plain, channels):
        chip["sync"] = {"kind": "none"}
        chip["network"].pop("tables", None)
    return Chip.from_dict(plain), Chip.from_dict(channels)


def run_exercise(timesteps: int = 9) -> RunCounts:
    """Compile every kernel that is not cached yet, by running the networks above on Loihi 2 and its variants."""
    network, frames = dataflow_network()
    for chip in dataflow_chips():
        run_program(compile_network(network, chip), frames, 3, threads=1)
    touched = load_chip("loihi2", {"core.neuron.sweep": "touched"})
    for network, frames in (gated_network(), maxima_network()):
        run_program(compile_network(network, touched), frames, timesteps, threads=1)
    network, frames = exercise_network()
    for chip in exercise_chips():
        run_program(compile_network(network, chip), frames, timesteps, threads=1)
    program = compile_network(network, load_chip("loihi2"))
    run_program(program, frames, timesteps, threads=1, fidelity="fast")
    for fidelity in FIDELITIES:
        run_program(program, frames, timesteps, threads=1, fidelity=fidelity, trace=TraceWindow())
    return run_program(program, frames, timesteps, keep_activity=True, threads=1)
