"""Networks that can run without timesteps, and chips without timesteps, at random."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from random_networks import changed, random_memories, random_sparse

from hwmodels import Chip
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    Delta,
    Dense,
    Layer,
    Network,
    Pool2d,
    Relay,
    Sigma,
    SigmaDelta,
    Transform,
    Unit,
)

NONE = {"name": "flow", "sync.kind": "none", "sync.barrier": None}


def ns(value: int) -> tuple[str]:
    return (f"{value} ns",)


def random_flow_chip(rng: Random, queues: tuple[int, int] = (1, 6)) -> Chip:
    """A chip without timesteps: all times whole nanoseconds, all queues short."""
    low, high = queues
    busy = rng.choice([0, 3, 15])
    rings, whole = rng.random() < 0.3, rng.random() < 0.3
    changes: dict[str, Any] = (
        NONE
        | random_memories(rng)
        | {
            "mesh.topology": "torus" if rings else "mesh",
            "mesh.columns": (rng.randint(1, 4),),
            "mesh.rows": (rng.randint(3, 5),),
            "mesh.cores_per_tile": (rng.randint(2, 4),),
            "mesh.cores_usable": None,
            "core.neurons_usable": (rng.randint(2, 12),),
            "core.axon_in.queue": (rng.randint(low, high),),
            "core.axon_out.queue": (rng.randint(low, high),),
            "core.axon_in.time": ns(rng.randint(0, busy)),
            "core.axon_out.time": ns(rng.randint(0, busy)),
            "core.neuron.sweep": rng.choice(["all", "touched"]),
            "core.neuron.update_active_time": ns(rng.randint(0, busy)),
            "core.neuron.update_inactive_time": ns(rng.randint(0, busy)),
            "core.neuron.send_time": ns(rng.randint(0, busy)),
            "network.flit": (f"{rng.choice([32, 48, 64])} bit",),
            "network.payload": ("64 bit",),
            "network.buffer": (rng.randint(low, high) + 2 * whole,),  # room for the longest packet
            "network.switching": "cut_through" if whole else None,
            "network.virtual_channels": (2,) if rings else rng.choice([None, None, (2,), (3,)]),
        }
    )
    for key in ("injection", "ejection", "east_west", "north_south"):
        changes[f"network.latency_{key}"] = ns(rng.randint(1, 9))
    for key in ("link_interval", "local_interval", "credit_return"):
        changes[f"network.{key}"] = ns(rng.randint(1, 5))
    return changed("loihi2", changes)


def weights(rng: Random, *shape: int, most: int = 9) -> Any:
    zeros = rng.choice([0.0, 0.3, 0.8])
    drawn = [0 if rng.random() < zeros else rng.randint(-most, most) for _ in range(int(np.prod(shape)))]
    return np.array(drawn, dtype=np.int64).reshape(shape)


def random_vector(rng: Random, size: int, out: int) -> Transform:
    return random_sparse(rng, size, out) if rng.random() < 0.4 else Dense(weights(rng, out, size))


def random_image(rng: Random, shape: tuple[int, int, int], averages: bool = False) -> Conv2d:
    channels, height, width = shape
    kernel = (rng.randint(1, min(height, 3)), rng.randint(1, min(width, 3)))
    stride, padding = (rng.randint(1, 2), rng.randint(1, 2)), (rng.randint(0, 1), rng.randint(0, 1))
    if rng.random() < 0.3:
        return Pool2d("sum", kernel, shape, stride, padding)
    if averages and rng.random() < 0.4:
        return Pool2d("average", kernel, shape, stride, padding)
    groups = rng.choice([g for g in (1, 2) if channels % g == 0])
    out = groups * rng.randint(1, 2)
    return Conv2d(weights(rng, out, channels // groups, *kernel), shape, stride, padding, 1, groups)


def random_flow_network(
    rng: Random,
    thresholds: bool = False,
    shift: int = 0,
    relays: bool = False,
    side: int = 4,
    averages: bool = False,
    spikes: bool = False,
    cum_error: bool = False,
) -> Network:
    """An image, what follows it, branches that join, an output that adds up, and one that sends changes.

    Without `thresholds` every change is sent; with `shift` that many bits of it are not. With `averages`, `spikes`
    and `cum_error` some layers average, integrate and fire, or add up their errors.
    """

    def unit() -> Unit:
        if spikes and rng.random() < 0.4:
            return CubaLif(4096, 0, rng.randint(0, 60), activation_shift=rng.choice([0, 2]))
        threshold = rng.choice([0, 1, 5, 60]) if thresholds else rng.choice([0, 1])
        bias = np.array([rng.randint(-30, 30)])
        rounding = "corrected" if shift else rng.choice(["default", "corrected"])
        return SigmaDelta(threshold, bias, rounding, cum_error and rng.random() < 0.5, 0, shift)

    shape = (rng.randint(1, 2), rng.randint(1, side), rng.randint(1, side))
    size, vector, out = int(np.prod(shape)), rng.randint(1, 8), rng.randint(1, 4)
    image = random_image(rng, shape, averages)
    again = random_image(rng, image.out_shape, averages)
    beside = random_image(rng, shape, averages)
    first = Relay() if relays and rng.random() < 0.3 else Delta((rng.choice([0, 3]) << 6) if thresholds else 0, 6, 6)
    layers = [
        Layer("in", shape, first),
        Layer("image", image.out_shape, unit()),
        Layer("again", again.out_shape, unit()),
        Layer("vector", (vector,), unit()),
        Layer("sum", (out,), Sigma()),
        Layer("change", (out,), unit()),
    ]
    ends: list[tuple[tuple[str, ...], str, Transform]] = [
        (("in",), "image", image),
        (("in",), "image", random_vector(rng, size, image.out_size)),
        *([(("in",), "image", beside)] if averages and beside.out_shape == image.out_shape else []),
        (("image",), "again", again),
        (("image", "in"), "vector", random_vector(rng, image.out_size + size, vector)),
        (("again",), "vector", random_vector(rng, again.out_size, vector)),
        (("vector",), "sum", Dense(weights(rng, out, vector))),
        (("image", "vector"), "change", random_vector(rng, image.out_size + vector, out)),
    ]
    kept = [end for end in ends if rng.random() < 0.8]
    fed = {to for _, to, _ in kept}
    kept += [next(end for end in ends if end[1] == layer.name) for layer in layers[1:] if layer.name not in fed]
    return Network(layers, [Connection(*end) for end in kept], "random")


def random_flow_frames(rng: Random, network: Network, count: int) -> dict[str, Any]:
    """Frames of which each changes a part of the one before."""
    size = network["in"].size
    frames = np.zeros((count, size), dtype=np.int64)
    for t in range(count):
        share = rng.choice([0.1, 0.5, 1.0])
        before = frames[t - 1].tolist() if t else [0] * size
        frames[t] = [rng.randint(-20, 20) if rng.random() < share else value for value in before]
    return {"in": frames}
