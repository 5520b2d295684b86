"""One frame of a GRU or an LSTM in training, forward and backward, from the sums of its gates.

For the formulas see `delta_gru.py` and `delta_lstm.py`. Arrays are (sequences, hidden), sums (sequences, 4 hidden) in
the order of `neurosim.network.gated`: r, z, n by inputs, n by states of a GRU; i, f, g, o of an LSTM.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurosim.formats.dense_graph import Gru, Lstm
from neurosim.formats.dense_numpy import sigmoid

Array = NDArray[Any]
Node = TypeVar("Node", Gru, Lstm)


class Cell(Protocol):
    """What a batch of sequences goes through, frame by frame; it remembers what its derivatives need."""

    def sums(self, driven: Array, fed: Array) -> Array:
        """Return the sums of gates of what comes by inputs and by states, each (sequences, gates hidden)."""

    def forward(self, t: int, sums: Array, state: Array) -> Array:
        """Return the state after frame t of the one before."""

    def backward(self, t: int, by_state: Array, state: Array, by_sums: Array) -> Array:
        """Write the derivative by the sums of frame t, and return that by the state before, but for the sums.

        `by_state` is the derivative by the state after the frame, of sequences that have ended 0; `state` the state
        before. Frames come from the last to the first.
        """

    def by_inputs(self, by_sums: Array) -> Array:
        """Return the columns (..., gates hidden) of sums that inputs enter."""

    def by_states(self, by_sums: Array) -> Array:
        """Return the columns (..., gates hidden) of sums that states enter."""


class GruCell:
    """Gated recurrent unit that resets after the product; see `Cell`."""

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self.hidden = shape[2]
        self.r, self.z, self.fresh, self.inner = (np.zeros(shape, dtype) for _ in range(4))

    def sums(self, driven: Array, fed: Array) -> Array:
        n = 2 * self.hidden
        return np.concatenate((driven[:, :n] + fed[:, :n], driven[:, n:], fed[:, n:]), axis=1)

    def forward(self, t: int, sums: Array, state: Array) -> Array:
        n = self.hidden
        self.r[t], self.z[t] = (sigmoid(sums[:, k * n : (k + 1) * n]) for k in (0, 1))
        self.inner[t] = sums[:, 3 * n :]
        self.fresh[t] = np.tanh(sums[:, 2 * n : 3 * n] + self.r[t] * self.inner[t])
        return np.asarray((1 - self.z[t]) * self.fresh[t] + self.z[t] * state)

    def backward(self, t: int, by_state: Array, state: Array, by_sums: Array) -> Array:
        n, r, z, fresh = self.hidden, self.r[t], self.z[t], self.fresh[t]
        by_fresh = by_state * (1 - z) * (1 - fresh**2)
        by_sums[:, :n] = by_fresh * self.inner[t] * r * (1 - r)
        by_sums[:, n : 2 * n] = by_state * (state - fresh) * z * (1 - z)
        by_sums[:, 2 * n : 3 * n] = by_fresh
        by_sums[:, 3 * n :] = by_fresh * r
        return np.asarray(by_state * z)

    def by_inputs(self, by_sums: Array) -> Array:
        return by_sums[..., : 3 * self.hidden]

    def by_states(self, by_sums: Array) -> Array:
        n = self.hidden
        return np.concatenate((by_sums[..., : 2 * n], by_sums[..., 3 * n :]), axis=-1)


class LstmCell:
    """Long short-term memory; see `Cell`. Its c is its own: it starts at 0, and no one else reads it."""

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self.hidden = shape[2]
        self.i, self.f, self.g, self.o, self.tanh = (np.zeros(shape, dtype) for _ in range(5))
        self.cell = np.zeros((shape[0] + 1, *shape[1:]), dtype)
        self.by_cell = np.zeros(shape[1:], dtype)

    def sums(self, driven: Array, fed: Array) -> Array:
        return np.asarray(driven + fed)

    def forward(self, t: int, sums: Array, state: Array) -> Array:
        n = self.hidden
        self.i[t], self.f[t], self.o[t] = (sigmoid(sums[:, k * n : (k + 1) * n]) for k in (0, 1, 3))
        self.g[t] = np.tanh(sums[:, 2 * n : 3 * n])
        self.cell[t + 1] = self.f[t] * self.cell[t] + self.i[t] * self.g[t]
        self.tanh[t] = np.tanh(self.cell[t + 1])
        return np.asarray(self.o[t] * self.tanh[t])

    def backward(self, t: int, by_state: Array, state: Array, by_sums: Array) -> Array:
        n, i, f, g, o = self.hidden, self.i[t], self.f[t], self.g[t], self.o[t]
        self.by_cell += by_state * o * (1 - self.tanh[t] ** 2)
        by_sums[:, :n] = self.by_cell * g * i * (1 - i)
        by_sums[:, n : 2 * n] = self.by_cell * self.cell[t] * f * (1 - f)
        by_sums[:, 2 * n : 3 * n] = self.by_cell * i * (1 - g**2)
        by_sums[:, 3 * n :] = by_state * self.tanh[t] * o * (1 - o)
        self.by_cell *= f
        return np.zeros_like(state)

    def by_inputs(self, by_sums: Array) -> Array:
        return by_sums

    def by_states(self, by_sums: Array) -> Array:
        return by_sums


def cell_of(node: Gru | Lstm, steps: int, sequences: int, dtype: np.dtype[Any]) -> Cell:
    """Return the cell of a node, at rest, for sequences of up to `steps` frames."""
    shape = (steps, sequences, node.hidden)
    return GruCell(shape, dtype) if isinstance(node, Gru) else LstmCell(shape, dtype)


def bias_of(node: Gru | Lstm) -> Array:
    """Return where the sums start (4 hidden): biases that only enter together are one."""
    if isinstance(node, Lstm):
        return np.asarray(node.bias_ih + node.bias_hh)
    n = 2 * node.hidden
    return np.concatenate((node.bias_ih[:n] + node.bias_hh[:n], node.bias_ih[n:], node.bias_hh[n:]))


def with_bias(node: Node, bias: Array) -> Node:
    """Return the node with the sums starting at `bias`; what was one stands in `bias_ih`."""
    if isinstance(node, Lstm):
        return replace(node, bias_ih=bias, bias_hh=np.zeros_like(bias))
    n = node.hidden
    return replace(node, bias_ih=bias[: 3 * n], bias_hh=np.concatenate((np.zeros(2 * n), bias[3 * n :])))
