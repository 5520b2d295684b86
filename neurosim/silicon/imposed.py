"""Neurons whose spikes are given from outside: for workloads of which only rates were published."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurosim.network import CubaLif, Layer

THRESHOLD = 1 << 20
PUSH = 1 << 15
"""Input that makes a neuron spike at once: shifted left by 6 it is twice the threshold."""


def imposed_layer(name: str, size: int) -> Layer:
    """Return a layer of leaky neurons that spike where, and only where, their frame pushes them.

    They forget at once, and small weights stay far below the threshold: synapses are met and paid, and change nothing.
    """
    return Layer(name, (size,), CubaLif(current_decay=4096, voltage_decay=4096, threshold=THRESHOLD))


def pushes(spikes: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the frames, int32 (T, n), that make an imposed layer spike as `spikes`, bool (T, n), says."""
    return np.where(spikes, np.int32(PUSH), np.int32(0))


def poisson(random: np.random.Generator, rates_hz: NDArray[np.float64], steps: int) -> NDArray[np.bool_]:
    """Return spikes, bool (steps, n), of random sources in timesteps of 1 ms: at most one a source and step.

    The mean rate of each is its own as long as it is below 1,000 Hz.
    """
    return random.random((steps, rates_hz.size)) < rates_hz / 1000.0
