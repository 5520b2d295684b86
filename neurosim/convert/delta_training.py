"""Training of a delta GRU or LSTM through its thresholds, with noise and a price on changes.

After Neil, Lee, Delbruck and Liu (arXiv:1612.05571): forward with the values that the thresholds let through, noise on
the sums, and the size of the changes sent added to the loss. Derivatives go the way that values went: a value that was
sent passes its derivative on, a value that was kept back passes it to the one that is still held.

In numpy, so that the workload `sounds` can be made without PyTorch, and because an LSTM adds one cell to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.delta_cells import Cell, Node, bias_of, cell_of, with_bias
from neurosim.convert.delta_gru import check_form
from neurosim.convert.passes import softmax
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import Gru, Linear, Lstm

FIRST_MOMENT, SECOND_MOMENT, SMALL = 0.9, 0.999, 1e-8
"""Of Adam (Kingma and Ba, arXiv:1412.6980)."""
LONGEST_STEP = 1.0
"""Norm to which a batch's derivative is cut."""
Parameters = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class DeltaTraining:
    """How a delta GRU or LSTM is trained.

    Training takes two phases: without thresholds first, then, from there, through them.

    Attributes
    ----------
    input_threshold, state_threshold
        As of `run_delta_gru`.
    sparsity
        Price of the changes of states: of their sizes, added up over a step's neurons and averaged over steps.
    noise
        Standard deviation of what is added to the sums, in training only.
    reads_sent
        Whether the readout reads the mean of the states that were sent, as that of a network in integers does, rather
        than of the states.
    epochs, batch, rate
        Of Adam; the rate falls along a quarter of a cosine.
    seed
        Of the order of sequences and of the noise.
    """

    input_threshold: float
    state_threshold: float
    sparsity: float = 0.0
    noise: float = 0.0
    reads_sent: bool = False
    epochs: int = 10
    batch: int = 50
    rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("input_threshold", "state_threshold", "sparsity", "noise"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"{name} is {getattr(self, name)}; it must be a number of 0 or more")
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"rate is {self.rate}; it must be a number above 0")


def parameters_of(node: Gru | Lstm, readout: Linear) -> Parameters:
    """Return the parameters that are trained: biases that only enter together are one."""
    return {
        "input": node.weight_ih.T.copy(),
        "state": node.weight_hh.T.copy(),
        "bias": bias_of(node),
        "readout": readout.weight.T.copy(),
        "answer": readout.bias.copy(),
    }


def loss_and_slopes(
    p: Parameters,
    cell: Cell,
    x: NDArray[Any],
    length: Any,
    labels: Any,
    options: DeltaTraining,
    noise: NDArray[Any] | None = None,
) -> tuple[float, Parameters]:
    """Return the loss of sequences and its derivatives.

    Cross-entropy of the mean state's answer, and the price of changes.

    Parameters
    ----------
    p
        See `parameters_of`.
    cell
        At rest, see `cell_of`.
    x
        (frames, sequences, in), time first.
    length, labels
        Integers (sequences,), lengths 1 or more.
    noise
        (frames, sequences, 4 hidden), added to the sums.
    """
    steps, count, _ = x.shape
    hidden = p["state"].shape[0]
    runs = (np.arange(steps)[:, None] < length)[:, :, None]
    # A frame's state is sent before the next frame, and by a sequence's last frame too, for the readout alone.
    hears = np.concatenate((runs[:1], runs))
    acts = np.concatenate((runs, np.zeros_like(runs[:1])))
    seen = _held_inputs(x, options.input_threshold)
    driven = (seen.reshape(-1, x.shape[2]) @ p["input"]).reshape(steps, count, -1)
    states, held, sent, sign = (np.zeros((steps + 1, count, hidden), x.dtype) for _ in range(4))
    last = np.zeros((count, hidden), x.dtype)
    price = 0.0
    share = options.sparsity / float(length.sum())
    for t in range(steps + 1):
        change = states[t] - last
        big = (np.abs(change) >= options.state_threshold) & hears[t]
        sent[t], sign[t] = big, np.sign(change) * (big & acts[t])
        price += share * float(np.abs(change[big & acts[t]]).sum())
        last = np.where(big, states[t], last)
        held[t] = last
        if t < steps:
            sums = cell.sums(driven[t], last @ p["state"]) + p["bias"] + (0.0 if noise is None else noise[t])
            states[t + 1] = np.where(runs[t], cell.forward(t, sums, states[t]), states[t])
    read = held if options.reads_sent else states
    mean = (read[1:] * runs).sum(axis=0) / length[:, None].astype(x.dtype)
    wrong = softmax(mean @ p["readout"] + p["answer"])
    loss = -float(np.log(wrong[np.arange(count), labels] + 1e-30).mean()) + price
    wrong[np.arange(count), labels] -= 1
    wrong = (wrong / count).astype(x.dtype)
    out: Parameters = {"readout": mean.T @ wrong, "answer": wrong.sum(axis=0)}
    by_mean = wrong @ p["readout"].T / length[:, None].astype(x.dtype)
    by_sums = np.zeros((steps, count, 4 * hidden), x.dtype)
    by_state, by_held = (np.zeros((count, hidden), x.dtype) for _ in range(2))
    for t in range(steps, -1, -1):
        if t < steps:
            moving = by_state if options.reads_sent else by_state + by_mean * runs[t]
            # After its end a sequence's state acts on nothing: what is left of its derivative is 0.
            by_state = cell.backward(t, moving, states[t], by_sums[t])
            by_held = by_held + cell.by_states(by_sums[t]) @ p["state"].T
        if options.reads_sent and t:
            by_held = by_held + by_mean * hears[t]
        by_state = by_state + by_held * sent[t] + np.asarray(share, x.dtype) * sign[t]
        by_held = by_held * (1 - sent[t]) - np.asarray(share, x.dtype) * sign[t]
    flat = by_sums.reshape(-1, 4 * hidden)
    out["bias"] = flat.sum(axis=0)
    out["input"] = seen.reshape(-1, x.shape[2]).T @ cell.by_inputs(flat)
    out["state"] = held[:-1].reshape(-1, hidden).T @ cell.by_states(flat)
    return loss, out


def _held_inputs(x: NDArray[Any], threshold: float) -> NDArray[Any]:
    """Return what the layer holds of its inputs after each step."""
    held = np.zeros_like(x)
    last = np.zeros_like(x[0])
    for t in range(len(x)):
        last = np.where(np.abs(x[t] - last) >= threshold, x[t], last)
        held[t] = last
    return held


def _checked(
    node: Gru | Lstm, readout: Linear, inputs: Any, lengths: Any, labels: Any
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return sequences, time first, their lengths and their labels; refuse what does not fit."""
    given = np.asarray(inputs)
    wanted = node.weight_ih.shape[1]
    if given.ndim != 3 or not given.size or given.shape[2] != wanted:
        raise InputError(
            f"inputs have shape {list(given.shape)}; give (sequences, frames, {wanted}), at least one of each"
        )
    with np.errstate(over="ignore"):
        x = given.astype(np.float32)
    if not np.isfinite(x).all():
        place = [int(v) for v in np.argwhere(~np.isfinite(x))[0]]
        raise InputError(f"inputs{place} is {given[tuple(place)]}; inputs must be finite in 32 bits")
    count, frames, _ = given.shape
    for name, values, low, high in (
        ("lengths", np.asarray(lengths), 1, frames),
        ("labels", np.asarray(labels), 0, readout.weight.shape[0] - 1),
    ):
        if values.shape != (count,) or values.dtype.kind not in "iu":
            raise InputError(f"{name} have shape {list(values.shape)} and dtype {values.dtype}; give {count} integers")
        wrong = np.flatnonzero((values < low) | (values > high))
        if wrong.size:
            raise InputError(f"{name}[{wrong[0]}] is {values[wrong[0]]}; it must lie in {low}..{high}")
    return x.transpose(1, 0, 2), np.asarray(lengths).astype(np.int64), np.asarray(labels).astype(np.int64)


def train_delta(
    node: Node,
    readout: Linear,
    inputs: Any,
    lengths: Any,
    labels: Any,
    options: DeltaTraining,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Node, Linear]:
    """Return a GRU or an LSTM and its readout of the mean state, trained to class sequences through thresholds.

    Parameters
    ----------
    node, readout
        Where training starts.
    inputs
        (sequences, frames, in), padded.
    lengths, labels
        Integers (sequences,).
    options
        See `DeltaTraining`.
    progress
        Called with batches done and their number.

    Raises
    ------
    ModelError
        A GRU that resets before its product, or a readout of another width.
    InputError
        Labels out of range, empty sequences, or a loss that is no number.
    """
    check_form(node)
    if readout.weight.shape[1] != node.hidden:
        raise ModelError(
            f"node {readout.name} (linear): takes {readout.weight.shape[1]} values, and {node.name} has {node.hidden} "
            "states; give a readout of as many"
        )
    x, length, label = _checked(node, readout, inputs, lengths, labels)
    p = {key: value.astype(np.float32) for key, value in parameters_of(node, readout).items()}
    first, second = ({key: np.zeros_like(value) for key, value in p.items()} for _ in range(2))
    rng = np.random.default_rng(options.seed)
    size = min(options.batch, len(length))
    steps, done = options.epochs * (len(length) // size), 0
    for _ in range(options.epochs):
        order = rng.permutation(len(length))
        for part in order[: len(order) // size * size].reshape(-1, size):
            long = int(length[part].max())
            noise = None
            if options.noise > 0:
                noise = rng.standard_normal((long, size, 4 * node.hidden), dtype=np.float32) * np.float32(options.noise)
            cell = cell_of(node, long, size, x.dtype)
            loss, slope = loss_and_slopes(p, cell, x[:long, part], length[part], label[part], options, noise)
            if not np.isfinite(loss):
                raise InputError(f"training diverged at a rate of {options.rate}; choose a smaller one")
            norm = float(np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in slope.values())))
            cut = min(1.0, LONGEST_STEP / (norm + 1e-30))
            rate = options.rate * float(np.cos(0.5 * np.pi * done / steps))
            done += 1
            for key, g in slope.items():
                g = g * np.float32(cut)
                first[key] += np.float32(1 - FIRST_MOMENT) * (g - first[key])
                second[key] += np.float32(1 - SECOND_MOMENT) * (g * g - second[key])
                size_of = np.sqrt(second[key] / (1 - SECOND_MOMENT**done)) + SMALL
                p[key] -= (rate / (1 - FIRST_MOMENT**done) * first[key] / size_of).astype(np.float32)
            if progress:
                progress(done, steps)
    wide = {key: value.astype(np.float64) for key, value in p.items()}
    trained = replace(with_bias(node, wide["bias"]), weight_ih=wide["input"].T.copy(), weight_hh=wide["state"].T.copy())
    return trained, replace(readout, weight=wide["readout"].T.copy(), bias=wide["answer"])
