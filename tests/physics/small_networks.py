"""Small networks with frames, of graded messages, spikes and few bits, and chips changed key by key."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwmodels import Chip
from neurosim.network import Connection, Conv2d, CubaLif, Delta, Dense, Layer, Network, Relay, Sigma, SigmaDelta

NUMBER = {"kind": "estimate", "source": "tests", "note": "for tests"}


def changed(chip: Chip, **keys: Any) -> Chip:
    """Return a chip with other values, by dotted key written with __ for a dot; None takes a key away."""
    plain = chip.to_dict()
    for key, value in keys.items():
        *tables, last = key.split("__")
        held: Any = plain
        for name in tables:
            held = held[name]
        if value is None:
            del held[last]
        else:
            held[last] = value
    return Chip.from_dict(plain)


def graded() -> tuple[Network, np.ndarray]:
    """Sigma-delta units behind a convolution, and 9 frames."""
    random = np.random.default_rng(5)
    kernel = random.integers(-40, 40, (4, 2, 3, 3))
    kernel[0, 0, 1] = 0
    convolution = Conv2d(kernel, (2, 6, 5))
    layers = [
        Layer("input", (2, 6, 5), Delta(threshold=4 << 12)),
        Layer("conv1", convolution.out_shape, SigmaDelta(threshold=2 << 12, bias=np.array([9, -3, 0, 12]))),
        Layer("dense1", (5,), SigmaDelta(threshold=1 << 12)),
        Layer("dense2", (3,), Sigma()),
    ]
    joins = [
        Connection(("input",), "conv1", convolution, accumulator_bits=24),
        Connection(("conv1",), "dense1", Dense(random.integers(-20, 20, (5, convolution.out_size)))),
        Connection(("dense1",), "dense2", Dense(random.integers(-20, 20, (3, 5)))),
    ]
    return Network(layers, joins, "graded"), random.integers(-64, 64, (9, 2, 6, 5))


def spiking() -> tuple[Network, np.ndarray]:
    """Leaky units with a loop, and 9 frames of spikes."""
    random = np.random.default_rng(1)
    layers = [
        Layer("in", (20,), Relay(spikes=True)),
        Layer("res", (40,), CubaLif(2048, 200, 6 << 6)),
        Layer("out", (10,), CubaLif(2048, 200, 20 << 6)),
    ]
    joins = [
        Connection(("in",), "res", Dense(random.integers(-20, 60, (40, 20)))),
        Connection(("res",), "res", Dense(random.integers(-20, 20, (40, 40)))),
        Connection(("res",), "out", Dense(random.integers(-20, 40, (10, 40)))),
    ]
    return Network(layers, joins, "recurrent"), random.integers(0, 2, (9, 20))


def ternary() -> tuple[Network, np.ndarray]:
    """One layer of leaky units behind its input, with weights of -1, 0 and 1, and 9 frames of spikes."""
    random = np.random.default_rng(2)
    layers = [Layer("in", (12,), Relay(spikes=True)), Layer("out", (8,), CubaLif(4096, 0, 2 << 6))]
    join = Connection(("in",), "out", Dense(random.integers(-1, 2, (8, 12))))
    return Network(layers, [join], "ternary"), random.integers(0, 2, (9, 12))
