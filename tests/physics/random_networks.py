"""Small networks at random, with every kind of transform and of delay, and chips that they go on."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np

from hwmodels import Chip, load_chip
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    Delay,
    Delta,
    Dense,
    Layer,
    Network,
    Pool2d,
    Relay,
    Sigma,
    SigmaDelta,
    Sparse,
    Transform,
    Unit,
)

WEIGHT_BITS = 8


def number(value: Any) -> dict[str, Any]:
    return {"value": value, "kind": "estimate", "source": "this test", "note": "chosen here"}


def changed(name: str, changes: dict[str, Any]) -> Chip:
    """A shipped chip with other values: plain ones as they are, a tuple's first part as a number; None takes away."""
    plain = load_chip(name).to_dict()
    for key, value in changes.items():
        *path, last = key.split(".")
        table = plain
        for part in path:
            table = table[part]
        if value is None:
            table.pop(last, None)
        else:
            table[last] = number(value[0]) if isinstance(value, tuple) else value
    return Chip.from_dict(plain)


def weights(rng: Random, *shape: int) -> Any:
    count = int(np.prod(shape))
    zeros = rng.choice([0.0, 0.3, 0.9])
    drawn = [0 if rng.random() < zeros else rng.randint(-100, 100) for _ in range(count)]
    return np.array(drawn, dtype=np.int64).reshape(shape)


def random_sparse(rng: Random, size: int, out: int) -> Sparse:
    chosen = [sorted(rng.sample(range(out), rng.randint(0, out))) for _ in range(size)]
    targets = [target for some in chosen for target in some]
    starts = np.concatenate(([0], np.cumsum([len(some) for some in chosen])))
    return Sparse(starts, np.array(targets, dtype=np.int64), weights(rng, len(targets)), out)


def random_vector(rng: Random, size: int, out: int) -> Transform:
    return random_sparse(rng, size, out) if rng.random() < 0.5 else Dense(weights(rng, out, size))


def random_image(rng: Random, shape: tuple[int, int, int]) -> Conv2d:
    channels, height, width = shape
    kernel = (rng.randint(1, min(height, 3)), rng.randint(1, min(width, 3)))
    stride, padding = (rng.randint(1, 2), rng.randint(1, 3)), (rng.randint(0, 1), rng.randint(0, 1))
    if rng.random() < 0.3:
        return Pool2d(rng.choice(["sum", "average"]), kernel, shape, stride, padding)
    groups = rng.choice([g for g in (1, 2) if channels % g == 0])
    dilation = 2 if min(height - kernel[0], width - kernel[1]) >= max(kernel) - 1 and rng.random() < 0.3 else 1
    out = groups * rng.randint(1, 3)
    return Conv2d(weights(rng, out, channels // groups, *kernel), shape, stride, padding, dilation, groups)


def random_delay(rng: Random, transform: Transform, longest: int) -> Delay | None:
    kind = rng.choice(["none", "axon", "neuron", "synapse"])
    if kind == "none" or not longest:
        return None
    shape = {"axon": transform.in_size, "neuron": transform.out_size, "synapse": transform.weights.shape}[kind]
    count = int(np.prod(shape))
    return Delay(kind, np.array([rng.randint(0, longest) for _ in range(count)]).reshape(shape))


def random_unit(rng: Random, spikes: bool) -> Unit:
    kind = 0 if spikes else rng.randint(0, 2)
    bias = np.array([rng.randint(-40, 40)])
    if kind == 0:
        return CubaLif(rng.randint(0, 4096), rng.randint(0, 4096), rng.randint(0, 60) << 6, bias)
    return SigmaDelta(rng.randint(0, 4) << 12, bias) if kind == 1 else Sigma()


def random_network(rng: Random, spikes: bool = False) -> Network:
    """An image layer and what follows: branches, a loop, two connections between the same layers."""
    shape = (rng.randint(1, 4), rng.randint(1, 6), rng.randint(1, 6))
    image = random_image(rng, shape)
    first: Unit = Relay(spikes=True) if spikes else rng.choice([Relay(), Delta(rng.randint(0, 3) << 12)])
    size, out = int(np.prod(shape)), rng.randint(1, 12)
    layers = [
        Layer("in", shape, first),
        Layer("image", image.out_shape, random_unit(rng, spikes)),
        Layer("vector", (out,), random_unit(rng, spikes)),
    ]
    ends: list[tuple[tuple[str, ...], str, Transform]] = [
        (("in",), "image", image),
        (("in",), "image", random_vector(rng, size, image.out_size)),
        (("image", "in"), "vector", random_vector(rng, image.out_size + size, out)),
        (("vector",), "vector", random_vector(rng, out, out)),
    ]
    longest = rng.choice([0, 3])
    kept = [ends[0], *(end for end in ends[1:] if rng.random() < 0.8)]
    connections = [Connection(sources, to, t, random_delay(rng, t, longest)) for sources, to, t in kept]
    return Network(layers, connections, "random")


def random_frames(rng: Random, network: Network, timesteps: int) -> dict[str, Any]:
    layer = network["in"]
    spikes = isinstance(layer.unit, Relay) and layer.unit.spikes
    drawn = [0 if rng.random() < 0.6 else 1 if spikes else rng.randint(-60, 60) for _ in range(timesteps * layer.size)]
    return {"in": np.array(drawn, dtype=np.int64).reshape(timesteps, layer.size)}


def random_memories(rng: Random) -> dict[str, Any]:
    """Keys of a chip file for `changed`: memories, lanes and encodings; times are whole nanoseconds."""

    def ns(low: int, high: int) -> tuple[str]:
        return (f"{rng.randint(low, high)} ns",)

    changes: dict[str, Any] = {
        "core.neurons_usable": (rng.randint(4, 40),),
        "core.conv_patch": rng.choice(["any", "columns_power_of_two"]),
        "core.lanes": rng.choice([None, (1,), (2,), (3,), (4,), (8,), (16,)]),
        "core.weights.bits": ([WEIGHT_BITS],),
        "core.weights.sign_modes": False,
        "core.memories.synapse.word": (f"{rng.choice([9, 16, 32, 64, 200])} bit",),
        "core.memories.synapse.size": ("1 MiB",),
        "core.memory_pool.size": ("8 MiB",),
    }
    for memory in ("synapse", "accumulator"):
        key = f"core.memories.{memory}"
        changes |= {
            f"{key}.ports": (rng.randint(1, 3),),
            f"{key}.banks": rng.choice([None, (1,), (2,), (3,), (5,), (8,)]),
            f"{key}.read_latency": ns(0, 9),
            f"{key}.read_interval": ns(1, 6),
            f"{key}.write_latency": ns(0, 9),
            f"{key}.write_interval": ns(0, 4),
        }
    for kind in ("dense", "sparse", "conv"):
        key = f"core.encodings.{kind}"
        changes |= {
            f"{key}.header": (f"{rng.choice([0, 10, 40])} bit",),
            f"{key}.index": (f"{rng.randint(0, 12) if kind == 'sparse' else 0} bit",),
            f"{key}.synops": rng.choice(["structural", "nonzero"]),
            f"{key}.synop_time": ns(0, 12),
        }
    return changes
