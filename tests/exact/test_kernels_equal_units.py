"""The compiled functional step against the plain numpy units, on random networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosim.engine import FunctionRun
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    CurrentLeaky,
    CurrentLif,
    Delay,
    Delta,
    Dense,
    Hybrid,
    Layer,
    Leaky,
    Lif,
    Network,
    Pool2d,
    Relay,
    Rounding,
    Sigma,
    SigmaDelta,
    Sparse,
    Transform,
    Unit,
    run_reference,
)

Rng = np.random.Generator


def random_membrane(rng: Rng, shape: tuple[int, ...]) -> Unit:
    def some(low: int, high: int) -> Any:
        return rng.integers(low, high, rng.choice([1, shape[0], int(np.prod(shape))]))

    bits, interval = int(rng.integers(4, 13)), int(rng.integers(0, 4))
    values: dict[str, Any] = {
        "voltage_keep": some(0, (1 << bits) + 1),
        "bias": some(-60, 60),
        "activation_shift": int(rng.integers(0, 8)),
        "decay_bits": bits,
        "state_bits": int(rng.integers(12, 28)),
        "start": int(rng.integers(0, 3)),
        "reset_interval": interval,
        "reset_phase": int(rng.integers(0, max(interval, 1))),
    }
    current: dict[str, Any] = {
        "current_keep": some(0, (1 << bits) + 1),
        "current_bias": some(-60, 60),
        "old_current": bool(rng.integers(0, 2)),
    }
    if rng.integers(0, 2):
        values |= {"threshold": some(-20, 2000), "reset": some(-40, 40), "subtract": bool(rng.integers(0, 2))}
        return CurrentLif(**values, **current) if rng.integers(0, 2) else Lif(**values)
    values["message_shift"] = int(rng.integers(0, 9))
    return CurrentLeaky(**values, **current) if rng.integers(0, 2) else Leaky(**values)


def random_unit(rng: Rng, shape: tuple[int, ...], inner: bool) -> Unit:
    bias = rng.integers(-60, 60, rng.choice([1, shape[0], int(np.prod(shape))]))
    kind = int(rng.choice([0, 1, 2, 3, 6, 7] if inner else [0, 1, 2, 3, 4, 5, 6, 7]))
    if kind == 0:
        rounding = str(rng.choice(["default", "corrected"]))
        return SigmaDelta(int(rng.integers(0, 9)) << 12, bias, rounding, bool(rng.integers(0, 2)))
    if kind == 1:
        interval = int(rng.integers(0, 4))
        phase = int(rng.integers(0, max(interval, 1)))
        decays = (int(v) for v in rng.integers(0, 4097, 2))
        return CubaLif(*decays, int(rng.integers(0, 200)) << 6, bias, interval, phase)
    if kind == 2:
        return Sigma()
    if kind == 3:
        return random_membrane(rng, shape)
    if kind == 6:
        return random_rounding(rng, shape, bias)
    if kind == 7:
        return random_hybrid(rng, shape, bias)
    return Relay() if kind == 4 else Delta(int(rng.integers(0, 5)) << 12)


def random_rounding(rng: Rng, shape: tuple[int, ...], bias: Any) -> Rounding:
    sizes = [1, shape[0], int(np.prod(shape))]
    multiplier, shift = rng.integers(0, 12, rng.choice(sizes)), rng.integers(0, 9, rng.choice(sizes))
    rounding = str(rng.choice(["half_up", "half_even", "floor"]))
    lowest, highest = int(rng.choice([-(1 << 31), -20, 0])), int(rng.choice([20, (1 << 31) - 1]))
    start, threshold, flags = int(rng.integers(1, 4)), int(rng.integers(1, 4)), rng.integers(0, 2, 2)
    return Rounding(multiplier, shift, bias, start, rounding, threshold, lowest, highest, *map(bool, flags))


def random_hybrid(rng: Rng, shape: tuple[int, ...], bias: Any) -> Hybrid:
    sizes = [1, shape[0], int(np.prod(shape))]
    fraction, interval = int(rng.integers(1, 9)), int(rng.integers(0, 4))
    return Hybrid(
        multiplier=rng.integers(0, 200, rng.choice(sizes)),
        shift=rng.integers(0, 9, rng.choice(sizes)),
        bias=bias,
        residual=rng.integers(0, 1 << fraction, int(rng.choice([1, sizes[2]]))),
        function=str(rng.choice(["identity", "relu", "tanh", "sigmoid"])),
        omega=int(rng.integers(1, 40)),
        omega_shift=int(rng.integers(0, 4)),
        fraction=fraction,
        index_fraction=int(rng.integers(1, 9)),
        lowest=int(rng.choice([-(1 << 31), -20])),
        highest=int(rng.choice([20, (1 << 31) - 1])),
        state_bits=int(rng.choice([12, 24, 40])),
        waits=int(rng.integers(0, 3)),
        reset_interval=interval,
        reset_phase=int(rng.integers(0, max(interval, 1))),
    )


def random_transform(rng: Rng, in_shape: tuple[int, ...]) -> Transform:
    size = int(np.prod(in_shape))
    kind = rng.integers(0, 4 if len(in_shape) == 3 else 2)
    if kind == 0:
        return Dense(rng.integers(-128, 128, (int(rng.integers(1, 8)), size)))
    if kind == 1:
        out = int(rng.integers(1, 8))
        present = rng.random((size, out)) < 0.4
        starts = np.concatenate(([0], np.cumsum(present.sum(axis=1))))
        targets = np.nonzero(present)[1]
        return Sparse(starts, targets, rng.integers(-128, 128, targets.size), out)
    kernel = [int(rng.integers(1, min(3, n) + 1)) for n in in_shape[1:]]
    stride = [int(v) for v in rng.integers(1, 3, 2)]
    if kind == 2:
        return Pool2d(str(rng.choice(["sum", "average"])), kernel, in_shape, stride)
    groups = int(rng.choice([g for g in (1, 2) if in_shape[0] % g == 0]))
    weights = rng.integers(-128, 128, (groups * int(rng.integers(1, 3)), in_shape[0] // groups, *kernel))
    return Conv2d(weights, in_shape, stride, [int(v) for v in rng.integers(0, 2, 2)], 1, groups)


def random_delay(rng: Rng, transform: Transform) -> Delay | None:
    kind = rng.choice(["none", "axon", "neuron", "synapse"])
    if kind == "none":
        return None
    shapes = {"axon": transform.in_size, "neuron": transform.out_size, "synapse": transform.weights.shape}
    return Delay(str(kind), rng.integers(0, 4, shapes[str(kind)]))


def random_network(rng: Rng) -> Network:
    """A chain with a branch that joins by concatenation, and a recurrent connection."""
    shape = tuple(int(v) for v in rng.integers(2, 7, 3))
    layers = [Layer("in", shape, random_unit(rng, shape, inner=False))]
    connections = []
    for name in ("a", "b"):
        transform = random_transform(rng, shape)
        layers.append(Layer(name, transform.out_shape, random_unit(rng, transform.out_shape, inner=True)))
        bits = 24 if isinstance(transform, Conv2d) and rng.integers(0, 2) else None
        connections.append(Connection(("in",), name, transform, random_delay(rng, transform), bits))
    joined = sum(layer.size for layer in layers[1:])
    transform = random_transform(rng, (joined,))
    layers.append(Layer("c", transform.out_shape, random_unit(rng, transform.out_shape, inner=True)))
    connections.append(Connection(("b", "a"), "c", transform, random_delay(rng, transform)))
    loop = Dense(rng.integers(-8, 8, (layers[-1].size, layers[-1].size)))
    connections.append(Connection(("c",), "c", loop))
    return Network(layers, connections)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_messages_and_states_equal_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, timesteps = random_network(rng), 8
    takes = {layer.name for layer in network.inputs}
    frames: dict[str, Any] = {"in": rng.integers(-200, 200, (5, network["in"].size))} if "in" in takes else {}
    expected = run_reference(network, frames, timesteps)
    run = FunctionRun(network, frames)
    structural, _ = network.fan_out
    for activity in run.steps(timesteps):
        found = np.zeros(network.size, dtype=np.int64)
        found[activity.neuron] = activity.value
        for i, layer in enumerate(network.layers):
            low, high = network.offsets[i], network.offsets[i + 1]
            sent = expected.messages[layer.name][activity.timestep - 1]
            assert np.array_equal(found[low:high], sent), (layer, activity.timestep)
            assert activity.layer_start[i + 1] - activity.layer_start[i] == np.count_nonzero(sent)
            # Synapses met, counted in the kernels, against the fan-out counted from geometry.
            assert activity.synops[i] == structural[low:high][sent != 0].sum()
            assert activity.active[low:high][sent != 0].all()
    for state in run.layers:
        for name, values in state.state.items():
            assert np.array_equal(values, expected.states[state.layer.name][name])
