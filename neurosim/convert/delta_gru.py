"""Delta networks: a gated recurrent layer that sends only changes of a threshold or more.

Neil, Lee, Delbruck and Liu, "Delta Networks for Optimized Recurrent Network Computation" (arXiv:1612.05571). The
layer keeps what it last sent of its input and of its state, and four sums, which start at the biases:

    dx = x - x^, dh = h - h^, sent where |d| >= threshold; x^ and h^ take the value where it was sent;
    M_r += W_r dx + U_r dh; M_z likewise; M_nx += W_n dx; M_nh += U_n dh;
    r = sigmoid(M_r); z = sigmoid(M_z); n = tanh(M_nx + r M_nh); h = (1 - z) n + z h.

With thresholds of 0 it is the GRU of which it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.delta_cells import bias_of
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import FloatArray, Gru, Recurrent
from neurosim.formats.dense_numpy import sigmoid


@dataclass(frozen=True)
class DeltaRun:
    """What a gated layer held and sent as a delta network.

    Attributes
    ----------
    states
        float64 (sequences, frames, hidden): h; zeros beyond a sequence's length.
    sent_inputs, sent_states
        int64 (sequences, frames): changes sent, each of which meets gates x hidden weights.
    widest_gap
        Largest difference of a held value from its source after sending, of inputs and of states: below the
        thresholds, always.
    frames
        Frames of all sequences.
    """

    states: FloatArray
    sent_inputs: NDArray[np.int64]
    sent_states: NDArray[np.int64]
    widest_gap: tuple[float, float]
    frames: int

    def reduction(self, node: Recurrent) -> float:
        """Return how many times fewer multiply-accumulates there are than in the dense layer."""
        dense = self.frames * (node.weight_ih.shape[1] + node.hidden)
        sent = int(self.sent_inputs.sum() + self.sent_states.sum())
        return dense / sent if sent else float("inf")


def run_delta_gru(node: Gru, inputs: Any, lengths: Any, input_threshold: float, state_threshold: float) -> DeltaRun:
    """Run sequences through a GRU turned into a delta network, each from rest.

    Parameters
    ----------
    node
        The GRU; not of the form with `reset_before`, whose candidate is no sum of changes.
    inputs
        (sequences, frames, in), padded.
    lengths
        Integers (sequences,), frames of each.
    input_threshold, state_threshold
        In units of inputs and states, 0 or more. At 0 a change is sent if it is not 0.

    Raises
    ------
    ModelError
        The form of the GRU.
    InputError
        Shapes, lengths or thresholds that do not fit.
    """
    check_form(node)
    x, length = check_sequences(node, inputs, lengths)
    check_thresholds(input_threshold, state_threshold)
    n = node.hidden
    sums = np.tile(bias_of(node), (len(x), 1))
    held_x, held_h, h = np.zeros((len(x), x.shape[2])), np.zeros((len(x), n)), np.zeros((len(x), n))
    states = np.zeros((*x.shape[:2], n))
    counts = np.zeros((2, *x.shape[:2]), dtype=np.int64)
    gaps = [0.0, 0.0]
    for t in range(x.shape[1]):
        runs = t < length
        dx, held_x, gap = changes(x[:, t], held_x, input_threshold, runs)
        gaps[0] = max(gaps[0], gap)
        dh, held_h, gap = changes(h, held_h, state_threshold, runs)
        gaps[1] = max(gaps[1], gap)
        counts[0, :, t], counts[1, :, t] = np.count_nonzero(dx, axis=1), np.count_nonzero(dh, axis=1)
        driven, fed = dx @ node.weight_ih.T, dh @ node.weight_hh.T
        sums[:, : 2 * n] += driven[:, : 2 * n] + fed[:, : 2 * n]
        sums[:, 2 * n : 3 * n] += driven[:, 2 * n :]
        sums[:, 3 * n :] += fed[:, 2 * n :]
        r, z = sigmoid(sums[:, :n]), sigmoid(sums[:, n : 2 * n])
        fresh = np.tanh(sums[:, 2 * n : 3 * n] + r * sums[:, 3 * n :])
        h = np.where(runs[:, None], (1 - z) * fresh + z * h, h)
        states[:, t] = np.where(runs[:, None], h, 0.0)
    return DeltaRun(states, counts[0], counts[1], (gaps[0], gaps[1]), int(length.sum()))


def check_form(node: Recurrent) -> None:
    """Refuse a GRU whose candidate is no sum of changes.

    Raises
    ------
    ModelError
        It resets before its product.
    """
    if isinstance(node, Gru) and node.reset_before:
        raise ModelError(
            f"node {node.name} (gru): resets before its product, which is then no sum of changes; "
            "train with the reset after it, as PyTorch has it"
        )


def check_sequences(node: Recurrent, inputs: Any, lengths: Any) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return sequences as float64 (sequences, frames, in), and their lengths, int64 (sequences,).

    Raises
    ------
    InputError
        Shapes or lengths that do not fit, or values that are not finite.
    """
    x, length = np.asarray(inputs, dtype=np.float64), np.asarray(lengths)
    if x.ndim != 3 or x.shape[2] != node.weight_ih.shape[1]:
        raise InputError(f"inputs have shape {list(x.shape)}; give (sequences, frames, {node.weight_ih.shape[1]})")
    if (
        length.shape != x.shape[:1]
        or length.dtype.kind not in "iu"
        or (length < 0).any()
        or (length > x.shape[1]).any()
    ):
        raise InputError(f"lengths must be {len(x)} integers in 0..{x.shape[1]}")
    if not np.isfinite(x).all():
        raise InputError(f"inputs{[int(v) for v in np.argwhere(~np.isfinite(x))[0]]} is not finite")
    return x, length.astype(np.int64)


def check_thresholds(input_threshold: float, state_threshold: float) -> None:
    """Check that thresholds are 0 or more.

    Raises
    ------
    InputError
        One is not.
    """
    for what, threshold in (("input", input_threshold), ("state", state_threshold)):
        if not (np.isfinite(threshold) and threshold >= 0):
            raise InputError(f"the {what} threshold is {threshold}; it must be 0 or more")


def changes(
    value: FloatArray, held: FloatArray, threshold: float, runs: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, float]:
    """Return the changes sent, what is held after them, and the largest difference left."""
    change = value - held
    sent = runs[:, None] & ((np.abs(change) >= threshold) if threshold > 0 else (change != 0))
    held = np.where(sent, value, held)
    gap = float(np.abs(value - held)[runs].max(initial=0.0))
    return np.where(sent, change, 0.0), held, gap
