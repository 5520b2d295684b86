"""Whole sequences through a gated network in integers, many at once in numpy, and what comes of them.

The engine runs one stream of frames; this runs many sequences side by side, by the units' own steps, and sees no
timesteps: a message is worked in with the next frame, as the delta networks' paper has it. A test holds it to the
engine, message by message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.convert import agreement, integer_frames, weight_bits_of
from neurosim.convert.counting import signed_bits
from neurosim.convert.delta_gru import check_sequences
from neurosim.convert.gated import GatedNetwork
from neurosim.errors import InputError
from neurosim.formats.dense_graph import FloatArray, evaluate
from neurosim.network import Gated
from neurosim.network.unit_base import IntArray


@dataclass(frozen=True)
class GatedRun:
    """What a gated network in integers sent and answered.

    Attributes
    ----------
    answers
        float64 (sequences, frames, classes): of each frame, as the read-out has it; zeros beyond a sequence's length.
    states
        Per gated layer float64 (sequences, frames, hidden): h, likewise.
    sent
        Of the inputs and of each gated layer, int64 (sequences, frames): changes sent with a frame, those of its states
        after it was computed.
    acting
        Per gated layer, int64: changes that came to it in all frames, of what feeds it and of its own states before.
    message_bits
        Of the inputs and of each gated layer: signed bits that messages need.
    sum_bits
        Per gated layer, signed bits that the sums of its gates need.
    lengths
        int64 (sequences,).
    """

    answers: FloatArray
    states: tuple[FloatArray, ...]
    sent: tuple[NDArray[np.int64], ...]
    acting: tuple[int, ...]
    message_bits: tuple[int, ...]
    sum_bits: tuple[int, ...]
    lengths: NDArray[np.int64]

    @property
    def frames(self) -> int:
        """Frames of all sequences."""
        return int(self.lengths.sum())


def run_gated(found: GatedNetwork, inputs: Any, lengths: Any = None) -> GatedRun:
    """Run sequences through a gated network in integers, each from rest.

    Parameters
    ----------
    inputs
        Floats (sequences, frames, in), padded; rounded to the format of activations.
    lengths
        Integers (sequences,), frames of each; None for all.

    Raises
    ------
    InputError
        Shapes or lengths that do not fit, or inputs that the format does not hold.
    """
    network, nodes = found.network, found.nodes
    full = np.full(len(inputs), np.shape(inputs)[1] if np.ndim(inputs) > 1 else 0)
    x, length = check_sequences(nodes[0], inputs, full if lengths is None else lengths)
    count, frames, width = x.shape
    fed = integer_frames(x.reshape(-1, width), found.frame_scale).reshape(x.shape)
    units: list[Any] = [layer.unit for layer in network.layers]
    gated, answering = units[1:-1], units[-1]
    assert all(isinstance(unit, Gated) for unit in gated)
    weights = [connection.transform.weights.T.astype(np.float64) for connection in network.connections]
    held_x = np.zeros((count, width), dtype=np.int64)
    before = [_at_rest(unit, count, node.hidden) for unit, node in zip(gated, nodes, strict=True)]
    own = [np.zeros((count, node.hidden), dtype=np.int64) for node in nodes]
    total = np.zeros((count, network.layers[-1].size), dtype=np.int64)
    sent = [np.zeros((count, frames), dtype=np.int64) for _ in units[:-1]]
    states = [np.zeros((count, frames, node.hidden)) for node in nodes]
    answers = np.zeros((count, frames, network.layers[-1].size))
    acting, bits, sums = [0] * len(gated), [1] * len(sent), [1] * len(gated)
    for t in range(frames):
        runs = t < length
        change = fed[:, t] - held_x
        given = np.where(np.abs(change) >= units[0].threshold, change, 0)
        held_x += given
        _note(0, t, given, runs, sent, bits)
        for k, (unit, node) in enumerate(zip(gated, nodes, strict=True)):
            arrived = np.zeros((count, node.hidden, unit.compartments), dtype=np.int64)
            for part, connection in enumerate(network.connections[2 * k : 2 * k + 2]):
                into = connection.leads_to(unit)
                # In floats of 53 bits, which hold such sums exactly.
                fresh = (given, own[k])[part] @ weights[2 * k + part]
                arrived[:, :, into] += fresh.astype(np.int64).reshape(count, node.hidden, len(into))
            acting[k] += sum(int(np.count_nonzero(part[runs])) for part in (given, own[k]))
            given = unit.step(before[k], arrived.reshape(count, -1), _NO_FRAME, (node.hidden,), unit.start + 1)
            own[k] = given
            _note(k + 1, t, given, runs, sent, bits)
            sums[k] = max(sums[k], signed_bits(before[k]["sums"][runs]))
            states[k][runs, t] = before[k]["state"][runs] * found.frame_scale
        answer = np.asarray(before[-1]["sent"] @ weights[-1]).astype(np.int64) + answering.bias
        total = total + answer if found.read_out == "mean" else answer
        share = t + 1 if found.read_out == "mean" else 1
        answers[runs, t] = total[runs] * (found.answer_scale / share)
    return GatedRun(answers, tuple(states), tuple(sent), tuple(acting), tuple(bits), tuple(sums), length)


_NO_FRAME = np.zeros(0, dtype=np.int64)


def _at_rest(unit: Gated, count: int, hidden: int) -> dict[str, IntArray]:
    return {name: np.tile(values, (count, 1)) for name, values in unit.initial_state(hidden).items()}


def _note(
    k: int, t: int, given: IntArray, runs: NDArray[np.bool_], sent: list[NDArray[np.int64]], bits: list[int]
) -> None:
    sent[k][runs, t] = np.count_nonzero(given[runs], axis=1)
    bits[k] = max(bits[k], signed_bits(given[runs]))


@dataclass(frozen=True)
class GatedReport:
    """What a gated network in integers is worth on sequences.

    Attributes
    ----------
    sequences, frames
        How many; frames of all sequences.
    answers
        Answers compared: those of all frames, or the last of each sequence, where labels are one a sequence or there
        are none and the original or the read-out has one answer a sequence.
    error_percent, original_error_percent, disagreement_percent, output_error
        Of these answers; as in `neurosim.convert.convert.Report`.
    thresholds
        Of the inputs and of each gated layer, as the network has them.
    dense_macs, macs
        A frame, of the gated layers: multiply-accumulates of the dense network, and those that changes cause.
    reduction
        How many times fewer that is; None where no change was sent.
    read_out_macs
        A frame, that changes of states cause in the read-out; a dense one takes classes times hidden.
    messages
        A frame, by layer name: changes sent.
    message_bits, sum_bits, weight_bits
        By layer name: signed bits that messages and the sums of gates need on these sequences, and the weights into it.
    """

    sequences: int
    frames: int
    answers: int
    error_percent: float | None
    original_error_percent: float | None
    disagreement_percent: float
    output_error: float
    thresholds: tuple[float, ...]
    dense_macs: float
    macs: float
    reduction: float | None
    read_out_macs: float
    messages: dict[str, float]
    message_bits: dict[str, int]
    sum_bits: dict[str, int]
    weight_bits: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(vars(self))


def describe_gated(found: GatedNetwork, inputs: Any, labels: Any = None, lengths: Any = None) -> GatedReport:
    """Run sequences through a gated network in integers and through its original in floats, and compare.

    Parameters
    ----------
    inputs, lengths
        As of `run_gated`.
    labels
        Integers, one a sequence (of its last answer) or (sequences, frames) (of each), or None. Beyond a sequence's
        length they may be anything.

    Raises
    ------
    InputError
        What does not fit.
    """
    run = run_gated(found, inputs, lengths)
    x = np.asarray(inputs, dtype=np.float64)
    wanted = evaluate(found.graph, x)
    if found.read_out == "mean":
        wanted = np.cumsum(wanted, axis=1) / np.arange(1, x.shape[1] + 1)[:, None]
    chosen, label = _chosen(found, run, labels, x.shape[1])
    network, nodes = found.network, found.nodes
    names = [layer.name for layer in network.layers]
    frames = max(run.frames, 1)
    each = [node.gates * node.hidden for node in nodes]
    dense = float(sum(k * (node.weight_ih.shape[1] + node.hidden) for k, node in zip(each, nodes, strict=True)))
    macs = sum(k * acting for k, acting in zip(each, run.acting, strict=True)) / frames
    sent = [float(part.sum()) / frames for part in run.sent]
    return GatedReport(
        sequences=len(x),
        frames=run.frames,
        answers=int(chosen.sum()),
        **agreement(run.answers[chosen], wanted[chosen], label),
        thresholds=found.thresholds,
        dense_macs=dense,
        macs=macs,
        reduction=dense / macs if macs else None,
        read_out_macs=sent[-1] * network.layers[-1].size,
        messages=dict(zip(names[:-1], sent, strict=True)),
        message_bits=dict(zip(names[:-1], run.message_bits, strict=True)),
        sum_bits=dict(zip(names[1:-1], run.sum_bits, strict=True)),
        weight_bits=weight_bits_of(network),
    )


def _chosen(
    found: GatedNetwork, run: GatedRun, labels: Any, frames: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64] | None]:
    """Return which answers (sequences, frames) are compared, and their labels."""
    at, length = np.arange(frames), run.lengths
    every = at < length[:, None]
    last = at == length[:, None] - 1
    if not every.any():
        raise InputError("all sequences are empty; give some frames")
    if labels is None:
        return (last if found.read_out == "mean" or found.graph.read_out == "last" else every), None
    label, classes = np.asarray(labels), found.network.layers[-1].size
    if label.dtype.kind not in "iu" or label.shape not in (length.shape, every.shape):
        raise InputError(
            f"labels have shape {list(label.shape)} and dtype {label.dtype}; give {len(length)} integers, one a "
            f"sequence, or {list(every.shape)}, one a frame"
        )
    chosen, used = (last, label[length > 0]) if label.ndim == 1 else (every, label[every])
    if used.min() < 0 or used.max() >= classes:
        raise InputError(f"labels reach from {used.min()} to {used.max()}; the answer has classes 0..{classes - 1}")
    return chosen, used.astype(np.int64)
