"""Which timesteps make up an inference, and which of them are start-up.

A frame fed in timestep t reaches a layer `delay` timesteps later, so the work of inference i stands, for
each layer, in K timesteps that begin `delay` later than for the input (K timesteps an inference). What
lies before the first inference's work on a layer is the answer to biases and zeros. The first inference
itself meets a network at rest. Both are start-up; everything later, up to the last inference whose
answer comes out, is steady.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.network import Network


@dataclass(frozen=True)
class Window:
    """Where the steady inferences lie in a run.

    Attributes
    ----------
    steps_per_inference
        K, timesteps.
    inferences
        Inferences whose answer comes out, the first included.
    startup_timesteps
        Timesteps up to the first inference's answer.
    layer_start, layer_stop
        int64 (layers,): first timestep index (from 0) of the steady inferences' work, and one past the last.
    time_start, time_stop
        Timestep indices over which durations are averaged: every layer works on a steady inference in
        them, or, where a run is too short for that, some layer does.
    full
        Whether it is every layer.
    """

    steps_per_inference: int
    inferences: int
    startup_timesteps: int
    layer_start: NDArray[np.int64]
    layer_stop: NDArray[np.int64]
    time_start: int
    time_stop: int
    full: bool

    @property
    def steady(self) -> int:
        """Number of steady inferences."""
        return max(self.inferences - 1, 0)


def find_window(network: Network | Program, timesteps: int, frames: int, steps_per_inference: int) -> Window:
    """Find the steady inferences of a run.

    Parameters
    ----------
    network
        Gives each layer's delay; a program knows whether its chip has timesteps at all.
    timesteps
        Length of the run.
    frames
        Number of frames fed. An inference that begins after the last frame repeats what is held and is
        not counted, unless a single frame is held for inferences of several timesteps.
    steps_per_inference
        K.
    """
    k, depth = steps_per_inference, network.depth_timesteps
    count = max(timesteps - depth + 1, 0) // k
    if not (frames == 1 and k > 1):
        count = min(count, -(-frames // k))
    delays = np.array([*network.layer_delays.values()], dtype=np.int64)
    steady = max(count - 1, 0)
    start = delays + k
    full_start, full_stop = k + depth - 1, count * k
    full = full_start < full_stop
    if not full:
        full_start, full_stop = k, count * k + depth - 1
    return Window(k, count, k + depth - 1, start, start + steady * k, full_start, full_stop, full)
