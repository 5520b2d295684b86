"""Weights adapted to rounded values: by least squares, or by training against the original's answers.

Both go beyond the published method, which keeps the weights. Neither needs labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.passes import Scales, apply, backward, join, limited, run, softmax, spread, sums
from neurosim.convert.plan import Plan, Term, weighted, with_weights
from neurosim.convert.scales import Progress, original_answers, rounded_pass
from neurosim.errors import InputError
from neurosim.formats.dense_graph import Conv2d, FloatArray, Linear

BIAS = -1
"""In place of a term's number, where weights and biases stand together."""
MAX_ROWS = 20_000
"""Rows of a least-squares fit: frames of a linear layer, places in frames of a convolution."""


def refit(plan: Plan, inputs: NDArray[Any], scales: Scales, ridge: float = 0.01, seed: int = 0) -> Plan:
    """Return a plan whose weights give the original's sums from rounded values as nearly as least squares can.

    Layer after layer, each on what the layers before it, refitted, send. A rounded value tells something of what its
    neighbours lost, so the weights make up for some of it. Sites with other than one weighted sum keep their weights.

    Parameters
    ----------
    ridge
        Weight of staying with the original weights, in mean variances of the rounded values.
    """
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.permutation(len(inputs))[:MAX_ROWS])
    original = run(plan, inputs[frames])
    values: list[NDArray[Any]] = []
    for i, site in enumerate(plan.sites):
        if site.terms and len(site.terms) == 1 and isinstance(site.terms[0].node, Linear | Conv2d):
            weights, bias = _fitted(plan, i, original, values, ridge, rng)
            plan = with_weights(plan, {(i, 0): weights}, {i: bias})
            site = plan.sites[i]
        x = inputs[frames] if not site.terms else limited(site, sums(site, values))
        if i < len(scales):
            k = spread(np.asarray(scales[i]), site.shape).astype(x.dtype)
            x = np.rint(k * x) / k
        values.append(x)
    return plan


def _fitted(
    plan: Plan, i: int, original: list[NDArray[Any]], values: list[NDArray[Any]], ridge: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    site = plan.sites[i]
    term = site.terms[0]
    node = term.node
    assert isinstance(node, Linear | Conv2d)
    if isinstance(node, Conv2d) and node.groups != 1:
        return node.weight, site.bias
    rounded = join(values, term)
    missing = apply(term, join(original, term), site.shape) - apply(term, rounded, site.shape)
    x, wanted = _rows(term, rounded, missing, rng)
    mean, gap = x.mean(axis=0), wanted.mean(axis=0)
    x = x - mean
    square = x.T @ x / len(x)
    if not square.any():  # What it reads never changes: its bias alone can make up for what was lost.
        return node.weight, np.broadcast_to(site.bias, (node.weight.shape[0],)) + gap
    square += ridge * np.trace(square) / len(square) * np.eye(len(square))
    change = np.linalg.solve(square, x.T @ (wanted - gap) / len(x))
    bias = np.broadcast_to(site.bias, (node.weight.shape[0],)) + gap - mean @ change
    return node.weight + change.T.reshape(node.weight.shape), bias


def _rows(term: Term, x: NDArray[Any], wanted: NDArray[Any], rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return what each weighted sum meets, (rows, weights a sum), and what it should add up to, (rows, channels)."""
    node = term.node
    if isinstance(node, Linear):
        return x.reshape(len(x), -1).astype(np.float64), wanted.reshape(len(x), -1).astype(np.float64)
    assert isinstance(node, Conv2d)
    padded = np.pad(x, ((0, 0), (0, 0), (node.padding[0],) * 2, (node.padding[1],) * 2))
    rows, columns = wanted.shape[2:]
    total = len(x) * rows * columns
    chosen = np.sort(rng.permutation(total)[:MAX_ROWS])
    frame, y, z = np.unravel_index(chosen, (len(x), rows, columns))
    kernel = node.weight.shape[2:]
    taps = [
        padded[frame, :, y * node.stride[0] + a * node.dilation[0], z * node.stride[1] + b * node.dilation[1]]
        for a in range(kernel[0])
        for b in range(kernel[1])
    ]
    met = np.stack(taps, axis=2).reshape(len(chosen), -1).astype(np.float64)
    return met, wanted[frame, :, y, z].astype(np.float64)


@dataclass(frozen=True)
class TuneOptions:
    """How weights are trained against the original's answers.

    Attributes
    ----------
    answer
        ``classes``: cross-entropy of the answer's softmax to the original's; ``values``: mean square over variance.
    epochs, batch, rate, momentum
        Of stochastic gradient descent; the rate falls linearly to 0.
    seed
        Of the order of frames.
    """

    answer: str = "classes"
    epochs: int = 3
    batch: int = 50
    rate: float = 0.01
    momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.answer not in ("classes", "values"):
            raise InputError(f'answer is "{self.answer}"; use classes or values')
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"rate is {self.rate}; it must be a number above 0")
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum is {self.momentum}; it must be 0 or more and below 1")


def tune(
    plan: Plan,
    inputs: NDArray[Any],
    scales: Scales,
    options: TuneOptions,
    original: FloatArray | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Return a plan with weights trained on rounded values towards the original's answers, scales kept.

    Parameters
    ----------
    original
        Answers of the original network on `inputs`; by default those of `plan` without rounding.

    Raises
    ------
    InputError
        The training diverged.
    """
    wanted = (original_answers(plan, inputs) if original is None else original).reshape(len(inputs), -1)
    target = softmax(wanted) if options.answer == "classes" else wanted
    variance = max(float(wanted.var()), 1e-30)
    held: dict[tuple[int, int], NDArray[np.float32]] = {}
    for i, j, term in weighted(plan):
        assert isinstance(term.node, Linear | Conv2d)
        held[i, j] = term.node.weight.astype(np.float32)
        held[i, BIAS] = plan.sites[i].bias.astype(np.float32)
    speed = {key: np.zeros_like(value) for key, value in held.items()}
    rng = np.random.default_rng(options.seed)
    size = min(options.batch, len(inputs))
    steps, done = options.epochs * (len(inputs) // size), 0
    current = _held(plan, held)
    for _ in range(options.epochs):
        order = rng.permutation(len(inputs))
        for part in [order[at : at + size] for at in range(0, len(inputs) - size + 1, size)]:
            values, totals, _ = rounded_pass(current, inputs[part], scales)
            u = values[-1].reshape(size, -1)
            if options.answer == "classes":
                last = (softmax(u) - target[part]) / size
            else:
                last = 2 * (u - target[part]) / (u.size * variance)
            shaped = last.reshape(values[-1].shape).astype(np.float32)
            _, by_weight, by_bias = backward(current, totals, values, shaped, weights=True, inputs=False)
            rate = np.float32(options.rate * (1 - done / steps))
            for key in held:
                slope = by_bias[key[0]] if key[1] == BIAS else by_weight[key]
                slope = slope if slope.shape == held[key].shape else slope.sum().reshape(held[key].shape)
                speed[key] = np.float32(options.momentum) * speed[key] - rate * slope.astype(np.float32)
                held[key] = held[key] + speed[key]
            current = _held(plan, held)
            done += 1
            if progress:
                progress(done, steps)
    if not all(np.isfinite(v).all() for v in held.values()):
        raise InputError(f"training diverged at a rate of {options.rate}; choose a smaller one")
    return _held(plan, {key: v.astype(np.float64) for key, v in held.items()})


def _held(plan: Plan, held: Mapping[tuple[int, int], NDArray[Any]]) -> Plan:
    """Return a plan with these weights, and the biases under `BIAS`."""
    return with_weights(
        plan,
        {key: value for key, value in held.items() if key[1] != BIAS},
        {key[0]: value for key, value in held.items() if key[1] == BIAS},
    )
