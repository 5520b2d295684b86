"""Training of a delta GRU through its thresholds, with noise and a price on changes.

After Neil, Lee, Delbruck and Liu (arXiv:1612.05571): forward with the values that the thresholds let through, noise on
the sums, and the size of the changes sent added to the loss. Derivatives go the way that values went: a value that was
sent passes its derivative on, a value that was kept back passes it to the one that is still held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.passes import softmax
from neurosim.errors import InputError
from neurosim.formats.dense_graph import Gru, Linear

FIRST_MOMENT, SECOND_MOMENT, SMALL = 0.9, 0.999, 1e-8
"""Of Adam (Kingma and Ba, arXiv:1412.6980)."""
LONGEST_STEP = 1.0
"""Norm to which a batch's derivative is cut."""
Parameters = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class DeltaTraining:
    """How a delta GRU is trained.

    Attributes
    ----------
    input_threshold, state_threshold
        As of `run_delta_gru`.
    sparsity
        Price of the changes of states: of their sizes, added up over a step's neurons and averaged over steps.
    noise
        Standard deviation of what is added to the sums, in training only.
    epochs, batch, rate
        Of Adam; the rate falls along a quarter of a cosine.
    seed
        Of the order of sequences and of the noise.
    """

    input_threshold: float
    state_threshold: float
    sparsity: float = 0.0
    noise: float = 0.0
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


def parameters_of(node: Gru, readout: Linear) -> Parameters:
    """Return the parameters that are trained: the two biases of r and of z are one."""
    n = 2 * node.hidden
    return {
        "input": node.weight_ih.T.copy(),
        "state": node.weight_hh.T.copy(),
        "bias": np.concatenate((node.bias_ih[:n] + node.bias_hh[:n], node.bias_ih[n:], node.bias_hh[n:])),
        "readout": readout.weight.T.copy(),
        "answer": readout.bias.copy(),
    }


def loss_and_slopes(
    p: Parameters, x: NDArray[Any], length: Any, labels: Any, options: DeltaTraining, noise: NDArray[Any] | None = None
) -> tuple[float, Parameters]:
    """Return the loss of sequences and its derivatives.

    Cross-entropy of the mean state's answer, and the price of changes.

    Parameters
    ----------
    x
        (frames, sequences, in), time first.
    length, labels
        Integers (sequences,), lengths 1 or more.
    noise
        (frames, sequences, 4 hidden), added to the sums of r, z, n's input and n's state.
    """
    steps, count, _ = x.shape
    hidden = p["state"].shape[0]
    runs = (np.arange(steps)[:, None] < length)[:, :, None]
    seen = _held_inputs(x, options.input_threshold)
    driven = seen.reshape(-1, x.shape[2]) @ p["input"]
    driven = driven.reshape(steps, count, 3 * hidden)
    shape = (steps, count, hidden)
    r, z, fresh, inner, held, sent, sign = (np.zeros(shape, x.dtype) for _ in range(7))
    states = np.zeros((steps + 1, count, hidden), x.dtype)
    last = np.zeros((count, hidden), x.dtype)
    price = 0.0
    share = options.sparsity / float(length.sum())
    for t in range(steps):
        change = states[t] - last
        big = (np.abs(change) >= options.state_threshold) & runs[t]
        sent[t], sign[t] = big, np.sign(change) * big
        price += share * float(np.abs(change[big]).sum())
        last = np.where(big, states[t], last)
        held[t] = last
        fed = last @ p["state"]
        extra = 0.0 if noise is None else noise[t]
        sums = np.concatenate((driven[t][:, : 2 * hidden] + fed[:, : 2 * hidden], driven[t][:, 2 * hidden :],
                               fed[:, 2 * hidden :]), axis=1) + p["bias"] + extra  # fmt: skip
        r[t], z[t] = (0.5 + 0.5 * np.tanh(0.5 * sums[:, k * hidden : (k + 1) * hidden]) for k in (0, 1))
        inner[t] = sums[:, 3 * hidden :]
        fresh[t] = np.tanh(sums[:, 2 * hidden : 3 * hidden] + r[t] * inner[t])
        states[t + 1] = np.where(runs[t], (1 - z[t]) * fresh[t] + z[t] * states[t], states[t])
    mean = (states[1:] * runs).sum(axis=0) / length[:, None].astype(x.dtype)
    q = softmax(mean @ p["readout"] + p["answer"])
    loss = -float(np.log(q[np.arange(count), labels] + 1e-30).mean()) + price
    wrong = q
    wrong[np.arange(count), labels] -= 1
    wrong = (wrong / count).astype(x.dtype)
    out: Parameters = {"readout": mean.T @ wrong, "answer": wrong.sum(axis=0)}
    by_mean = wrong @ p["readout"].T / length[:, None].astype(x.dtype)
    by_sums = np.zeros((steps, count, 4 * hidden), x.dtype)
    by_state, by_held = (np.zeros((count, hidden), x.dtype) for _ in range(2))
    for t in range(steps - 1, -1, -1):
        # After its end a sequence's state stays as it is, and its derivative with it.
        total = by_state + by_mean * runs[t]
        moving = total * runs[t]
        by_fresh = moving * (1 - z[t]) * (1 - fresh[t] ** 2)
        gates = by_sums[t]
        gates[:, :hidden] = by_fresh * inner[t] * r[t] * (1 - r[t])
        gates[:, hidden : 2 * hidden] = moving * (states[t] - fresh[t]) * z[t] * (1 - z[t])
        gates[:, 2 * hidden : 3 * hidden] = by_fresh
        gates[:, 3 * hidden :] = by_fresh * r[t]
        through = np.concatenate((gates[:, : 2 * hidden], gates[:, 3 * hidden :]), axis=1)
        by_held = by_held + through @ p["state"].T
        by_state = total - moving + moving * z[t] + by_held * sent[t] + np.asarray(share, x.dtype) * sign[t]
        by_held = by_held * (1 - sent[t]) - np.asarray(share, x.dtype) * sign[t]
    flat = by_sums.reshape(-1, 4 * hidden)
    out["bias"] = flat.sum(axis=0)
    out["input"] = seen.reshape(-1, x.shape[2]).T @ flat[:, : 3 * hidden]
    of_state = np.concatenate((flat[:, : 2 * hidden], flat[:, 3 * hidden :]), axis=1)
    out["state"] = held.reshape(-1, hidden).T @ of_state
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
    node: Gru, readout: Linear, inputs: Any, lengths: Any, labels: Any
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return sequences, time first, their lengths and their labels; refuse what does not fit."""
    given = np.asarray(inputs)
    wanted = node.weight_ih.shape[1]
    if given.ndim != 3 or not given.size or given.shape[2] != wanted:
        raise InputError(
            f"inputs have shape {list(given.shape)}; give (sequences, frames, {wanted}), at least one of each"
        )
    if not np.isfinite(given).all():
        place = [int(v) for v in np.argwhere(~np.isfinite(given))[0]]
        raise InputError(f"inputs{place} is {given[tuple(place)]}; inputs must be finite")
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
    x = given.astype(np.float32).transpose(1, 0, 2)
    return x, np.asarray(lengths).astype(np.int64), np.asarray(labels).astype(np.int64)


def train_delta_gru(
    node: Gru,
    readout: Linear,
    inputs: Any,
    lengths: Any,
    labels: Any,
    options: DeltaTraining,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Gru, Linear]:
    """Return a GRU and its readout of the mean state, trained to class sequences through thresholds.

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
    InputError
        Labels out of range, empty sequences, or a loss that is no number.
    """
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
            loss, slope = loss_and_slopes(p, x[:long, part], length[part], label[part], options, noise)
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
    n = 3 * node.hidden
    trained = replace(
        node, weight_ih=wide["input"].T.copy(), weight_hh=wide["state"].T.copy(), bias_ih=wide["bias"][:n],
        bias_hh=np.concatenate((np.zeros(2 * node.hidden), wide["bias"][n:])),
    )  # fmt: skip
    return trained, replace(readout, weight=wide["readout"].T.copy(), bias=wide["answer"])
