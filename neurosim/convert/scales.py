"""The scale optimiser: how finely each layer rounds, by divergence of the answer against operations.

After O'Connor and Welling, "Sigma Delta Quantized Networks" (arXiv:1611.02024): scales k = exp(kappa);
rounding counts as adding a constant, so that the derivative of the divergence by kappa is
-sum dE/dxq (xq - x); the operations of a site, n_out sum |k x|, have the derivative n_out sum |k x| by kappa.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.passes import Scales, backward, batches, limited, run, softmax, spread, sums
from neurosim.convert.plan import Plan
from neurosim.errors import InputError
from neurosim.formats.dense_graph import FloatArray

Progress = Callable[[int, int], None]
FIRST_MOMENT, SECOND_MOMENT = 0.9, 0.999
"""Of Adam (Kingma and Ba, arXiv:1412.6980)."""
LOWEST_KAPPA, HIGHEST_KAPPA = -6.0, 12.0
CHANNEL_SPREAD = np.log(4.0)
"""Channels keep within a factor of 4 of their layer's mean: weights are divided by scales and share a few bits."""
TRIAL_FACTORS = np.exp(np.linspace(-0.3, 0.3, 25))
TRIAL_FRAMES = 2000
STILL_MOVING = 0.5
"""Share of the way that the rates allow, in the second half of the steps, from which a scale is still under way."""


@dataclass(frozen=True)
class ScaleOptions:
    """How scales are found.

    Attributes
    ----------
    tradeoff
        lambda: divergence that one operation a frame is worth, in nats (``classes``) or shares of the answer's variance
        (``values``). The published lambda stands in a sum over a batch of 10, so it is this over 10.
    per
        ``layer``: one scale a layer, as published; ``channel``: one for each channel, of a vector each value.
    answer
        ``classes``: divergence KL(q || p) of the softmax of the answer; ``values``: mean square over variance.
    sequence
        Whether the frames follow each other in time: operations are then those of changes (sigma-delta), |k dx|.
    epochs, batch, rate
        Of Adam; the rate falls linearly to 0 over the second half.
    least_steps
        Epochs are added until there are as many steps, whatever the number of frames; 1 adds none. At the rate of 0.02,
        300 or 1,000 images of digits or of MNIST still gained on images held out up to 1,000 steps.
    seed
        Of the order of frames.
    """

    tradeoff: float = 1e-7
    per: str = "layer"
    answer: str = "classes"
    sequence: bool = True
    epochs: int = 2
    batch: int = 100
    rate: float = 0.02
    seed: int = 0
    least_steps: int = 1000

    def __post_init__(self) -> None:
        for name, known in (("per", ("layer", "channel")), ("answer", ("classes", "values"))):
            if getattr(self, name) not in known:
                raise InputError(f'{name} is "{getattr(self, name)}"; use {" or ".join(known)}')
        if not (np.isfinite(self.tradeoff) and self.tradeoff >= 0):
            raise InputError(f"lambda is {self.tradeoff}; it must be 0 or more")
        for name in ("epochs", "batch", "least_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"rate is {self.rate}; it must be a number above 0")


@dataclass(frozen=True)
class FoundScales:
    """What the optimiser found.

    Attributes
    ----------
    scales
        Per rounded site, float64 (1,) or one a channel.
    steps
        Gradient steps made.
    unsettled
        Names of the sites whose scales were still moving steadily when the steps ended.
    """

    scales: list[FloatArray]
    steps: int
    unsettled: tuple[str, ...]


class Divergence:
    """How far an answer is from the original's, and its derivative.

    Parameters
    ----------
    original
        Answers of the float network, (frames, n).
    answer
        As `ScaleOptions.answer`.
    """

    def __init__(self, original: FloatArray, answer: str) -> None:
        self.answer = answer
        self.original = original.reshape(len(original), -1)
        self.log_p = np.log(softmax(self.original) + 1e-30) if answer == "classes" else np.zeros(0)
        self.variance = max(float(self.original.var()), 1e-30)

    def __call__(self, found: NDArray[Any], which: Any) -> tuple[float, NDArray[Any]]:
        """Return the mean over frames `which`, and the derivative by their answers, in the shape of `found`."""
        u = found.reshape(len(found), -1)
        if self.answer == "values":
            error = u - self.original[which]
            by_answer = 2 * error / (error.size * self.variance)
            return float((error**2).mean() / self.variance), by_answer.reshape(found.shape)
        q = softmax(u)
        ratio = np.log(q + 1e-30) - self.log_p[which]
        each = (q * ratio).sum(axis=1, keepdims=True)
        return float(each.mean()), (q * (ratio - each) / len(u)).reshape(found.shape)


def check_frames(plan: Plan, inputs: Any) -> NDArray[np.float32]:
    """Return calibration inputs as float32 (frames, *shape).

    Raises
    ------
    InputError
        Their shape does not fit, there are none, or some are not finite.
    """
    array = np.asarray(inputs)
    shape, size = plan.sites[0].shape, plan.sites[0].size
    given = array.shape[1:]
    # Values in one axis are numbered alike; images keep their order of axes, of which those of 1 may be left out.
    alike = [v for v in given if v != 1] == [v for v in shape if v != 1]
    fits = given == shape or given == (size,) or alike or len(shape) == 1
    if array.ndim < 2 or not fits or int(np.prod(given)) != size:
        turned = len(shape) == 3 and given == (*shape[1:], shape[0])
        raise InputError(
            f"inputs have shape {list(array.shape)}; {plan.name} takes (frames, {', '.join(map(str, shape))})"
            + (": move their last axis, the channels, to the front of the image" if turned else "")
        )
    if not len(array):
        raise InputError("no frames are given; a few tens are the least, some thousands are better")
    array = array.reshape(len(array), *shape).astype(np.float32)
    if not np.isfinite(array).all():
        place = [int(v) for v in np.argwhere(~np.isfinite(array))[0]]
        raise InputError(f"inputs{place} is {array[tuple(place)]}; inputs must be finite")
    return array


def check_some(inputs: NDArray[Any]) -> None:
    """Refuse calibration inputs that are all 0, of which nothing can be learnt."""
    if not inputs.any():
        raise InputError(f"all {len(inputs)} calibration inputs are 0; give samples like those that will be fed")


def original_answers(plan: Plan, inputs: NDArray[Any]) -> FloatArray:
    """Return the answers of the float network."""
    return np.concatenate([run(plan, inputs[part])[-1] for part in batches(len(inputs), 500)])


def activity(plan: Plan, inputs: NDArray[Any], fan_out: list[NDArray[np.int64]], sequence: bool) -> list[FloatArray]:
    """Return, per rounded site and value, the operations a frame that a scale of 1 would cost, before rounding."""
    total = [np.zeros(plan.sites[i].shape) for i in plan.rounded]
    before: list[NDArray[Any]] | None = None
    for part in batches(len(inputs), 500):
        values = run(plan, inputs[part])
        for i in plan.rounded:
            x = values[i]
            if sequence:
                x = np.diff(x, axis=0, prepend=np.zeros_like(x[:1]) if before is None else before[i])
            total[i] += np.abs(x).sum(axis=0, dtype=np.float64)
        before = [v[-1:] for v in values]
    return [t * fan_out[i].reshape(t.shape) / len(inputs) for i, t in enumerate(total)]


def first_scales(plan: Plan, per: str, value: float = 1.0) -> list[FloatArray]:
    """Return scales of one value; sites with limits other than 0 have one a layer always."""
    found = []
    for i in plan.rounded:
        site = plan.sites[i]
        bounded = any(np.isfinite(limit) and limit != 0 for limit in (site.low, site.high))
        found.append(np.full(site.shape[0] if per == "channel" and not bounded else 1, value))
    return found


def given_scales(plan: Plan, scales: Sequence[Any] | float) -> list[FloatArray]:
    """Return scales given once, or once a rounded layer, as `to_network` takes them.

    Raises
    ------
    InputError
        Their number does not fit, or one is not above 0.
    """
    many = [scales] * len(plan.rounded) if isinstance(scales, int | float) else list(scales)
    if len(many) != len(plan.rounded):
        names = ", ".join(plan.sites[i].name for i in plan.rounded)
        raise InputError(f"{len(many)} scales are given; {plan.name} rounds at {len(plan.rounded)} places: {names}")
    found = [np.atleast_1d(np.asarray(k, dtype=np.float64)).ravel() for k in many]
    for i, k in zip(plan.rounded, found, strict=True):
        site = plan.sites[i]
        wrong = k[~(np.isfinite(k) & (k > 0))]
        if wrong.size:
            raise InputError(f"a scale given for {site.name} is {wrong[0]:g}; scales must be above 0")
        if k.size not in (1, site.shape[0], site.size):
            sizes = " or ".join(map(str, dict.fromkeys((1, site.shape[0], site.size))))
            raise InputError(f"{k.size} scales are given for {site.name}; give {sizes} of them")
    return found


def optimise_scales(
    plan: Plan,
    inputs: NDArray[np.float32],
    fan_out: list[NDArray[np.int64]],
    options: ScaleOptions,
    progress: Progress | None = None,
) -> FoundScales:
    """Return the scales that the optimiser finds, weights frozen.

    Parameters
    ----------
    plan
        The network.
    inputs
        float32 (frames, *shape), of `check_frames`.
    fan_out
        Per site, synapses that a message of each value meets.
    options
        See `ScaleOptions`.
    progress
        Called with batches done and their number.
    """
    check_some(inputs)
    divergence = Divergence(original_answers(plan, inputs), options.answer)
    cost = activity(plan, inputs, fan_out, options.sequence)
    rng = np.random.default_rng(options.seed)
    kappa = [np.log(k) for k in first_scales(plan, options.per)]
    first, second = ([np.zeros_like(v) for v in kappa] for _ in range(2))
    size = min(options.batch, len(inputs))
    by_epoch = len(inputs) // size
    epochs = max(options.epochs, -(-options.least_steps // by_epoch))
    steps, done, allowed = epochs * by_epoch, 0, 0.0
    halfway = [v.copy() for v in kappa]
    for _ in range(epochs):
        order = rng.permutation(len(inputs))
        for part in [order[at : at + size] for at in range(0, len(inputs) - size + 1, size)]:
            done += 1
            slope = _slopes(plan, inputs[part], kappa, divergence, part)
            rate = options.rate * min(1.0, 2 * (1 - (done - 1) / steps))
            if done == steps // 2 + 1:
                halfway = [v.copy() for v in kappa]
            allowed += rate if done > steps // 2 else 0.0
            for i, by_divergence in enumerate(slope):
                site = plan.sites[i]
                k = spread(np.exp(kappa[i]), site.shape)
                by_cost = _gather(options.tradeoff * k * cost[i], kappa[i].size)
                g = by_divergence + by_cost
                first[i] = FIRST_MOMENT * first[i] + (1 - FIRST_MOMENT) * g
                second[i] = SECOND_MOMENT * second[i] + (1 - SECOND_MOMENT) * g * g
                size_of = np.sqrt(second[i] / (1 - SECOND_MOMENT**done)) + 1e-12
                kappa[i] -= rate * first[i] / (1 - FIRST_MOMENT**done) / size_of
                np.clip(kappa[i], LOWEST_KAPPA, HIGHEST_KAPPA, out=kappa[i])
                if kappa[i].size > 1:
                    spent = _gather(cost[i], kappa[i].size)
                    middle = float((kappa[i] * spent).sum() / max(spent.sum(), 1e-30))
                    np.clip(kappa[i], middle - CHANNEL_SPREAD, middle + CHANNEL_SPREAD, out=kappa[i])
            if progress:
                progress(done, steps)
    moved = [float(np.abs(now - then).mean()) / allowed for now, then in zip(kappa, halfway, strict=True)]
    unsettled = tuple(plan.sites[i].name for i, share in zip(plan.rounded, moved, strict=True) if share > STILL_MOVING)
    scales = _tried(plan, inputs, [np.exp(v) for v in kappa], divergence, cost, options)
    return FoundScales(scales, steps, unsettled)


def _gather(values: NDArray[Any], size: int) -> FloatArray:
    """Add values of a sample's shape up to one, one a channel, or one a value."""
    if size == 1:
        return np.asarray(values.sum(dtype=np.float64)).reshape(1)
    return np.asarray(values.reshape(size, -1).sum(axis=1, dtype=np.float64))


def rounded_pass(
    plan: Plan, inputs: NDArray[Any], scales: Scales
) -> tuple[list[NDArray[Any]], list[NDArray[Any] | None], list[NDArray[Any]]]:
    """Return per site its rounded value, its sum before limits, and its value before rounding."""
    values: list[NDArray[Any]] = []
    totals: list[NDArray[Any] | None] = []
    exact: list[NDArray[Any]] = []
    for i, site in enumerate(plan.sites):
        total = sums(site, values) if site.terms else None
        x = inputs if total is None else limited(site, total)
        totals.append(total)
        exact.append(x)
        if i < len(scales):
            k = spread(np.asarray(scales[i]), site.shape).astype(x.dtype)
            x = np.rint(k * x) / k
        values.append(x)
    return values, totals, exact


def _slopes(
    plan: Plan, inputs: NDArray[Any], kappa: list[FloatArray], divergence: Divergence, which: Any
) -> list[FloatArray]:
    values, totals, exact = rounded_pass(plan, inputs, [np.exp(v) for v in kappa])
    _, last = divergence(values[-1], which)
    by_value, _, _ = backward(plan, totals, values, last.astype(inputs.dtype))
    return [
        -_gather((by_value[i] * (values[i] - exact[i])).sum(axis=0, dtype=np.float64), kappa[i].size)
        for i in plan.rounded
    ]


def _tried(
    plan: Plan,
    inputs: NDArray[Any],
    scales: list[FloatArray],
    divergence: Divergence,
    cost: list[FloatArray],
    options: ScaleOptions,
) -> list[FloatArray]:
    """Return scales with each layer's multiplied by the factor, of a few tried, that serves the objective best.

    Derivatives through rounding do not see that a scale of 4 keeps an input of 1 and 4.4 does not.
    """
    chosen = np.sort(np.random.default_rng(options.seed).permutation(len(inputs))[:TRIAL_FRAMES])
    some = inputs[chosen]
    scales = list(scales)
    for i in plan.rounded:
        trials = [scales[i] * factor for factor in TRIAL_FACTORS]
        if scales[i].size == 1:
            near = np.rint(trials[0][0]), np.rint(trials[-1][0])
            trials += [np.array([k]) for k in np.arange(max(near[0], 1.0), near[1] + 1)]
        worth = []
        for trial in trials:
            tried = [*scales[:i], trial, *scales[i + 1 :]]
            total, _ = divergence(run(plan, some, tried)[-1], chosen)
            spent = sum(float((spread(k, plan.sites[j].shape) * cost[j]).sum()) for j, k in enumerate(tried))
            worth.append(total + options.tradeoff * spent)
        scales[i] = trials[int(np.argmin(worth))]
    return scales
