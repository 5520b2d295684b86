"""Non-negative least squares with confidence intervals, and which unknowns the data cannot tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError

FloatArray = NDArray[np.float64]

RANK_TOLERANCE = 1e-10
"""Singular values below this, against the largest of columns of unit length, are none."""

MOST_ROUNDS = 100

TOGETHER = 0.5
"""Correlation from which unknowns that the noise hides are taken to hide each other."""


@dataclass(frozen=True)
class Combination:
    """Unknowns of which the data tell no more than a sum.

    Attributes
    ----------
    members
        Their numbers, ascending.
    factors
        What each is multiplied with in the sum that the data do tell, the first by 1; None where they tell more than
        one sum, or none, of so many unknowns.
    estimate, low, high
        Of that sum; None as `factors`.
    """

    members: tuple[int, ...]
    factors: tuple[float, ...] | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Fit:
    """What the data say about p unknowns.

    Attributes
    ----------
    estimate
        float64 (p,): the solution of non-negative least squares. Of what cannot be told apart it is one of many.
    low, high
        float64 (p,): ends of the confidence intervals, none below zero; NaN for combinations and what is unseen.
    told
        bool (p,): which unknowns the data determine, to intervals narrower than from nothing to all that is measured.
    loose
        Unknowns whose intervals are no narrower than that, in groups whose estimates are correlated: the noise hides
        what would tell them apart.
    unseen
        Numbers of the unknowns that are in no measurement.
    combinations
        Unknowns that cannot be told apart.
    predicted
        float64 (n,): measurements as the solution has them.
    relative_residuals
        float64 (n,): (measured - predicted) / predicted.
    relative_noise
        Standard deviation of the relative residuals: of the residuals over the degrees of freedom, or what was given.
    freedom
        Degrees of freedom: measurements less what they determine.
    condition
        Condition number of the weighted columns, each scaled to unit length, without combinations and what is unseen.
    correlation
        float64 (p, p): of the estimates; NaN for combinations and what is unseen.
    """

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    told: NDArray[np.bool_]
    loose: tuple[tuple[int, ...], ...]
    unseen: tuple[int, ...]
    combinations: tuple[Combination, ...]
    predicted: FloatArray
    relative_residuals: FloatArray
    relative_noise: float
    freedom: int
    condition: float
    correlation: FloatArray


def fit(
    columns: FloatArray,
    measured: FloatArray,
    known: FloatArray,
    relative_sigma: FloatArray | None = None,
    confidence: float = 0.95,
) -> Fit:
    """Fit ``measured = known + columns @ x`` with x >= 0, for noise in proportion to what is measured.

    The weights are one over the predicted measurements, worked out anew until they stay: weights from the noisy
    measurements themselves would favour those that came out low.

    Confidence intervals are those of least squares without the bounds, cut at zero: the noise is taken as normal,
    its size from the residuals (Student's t) or as given. Cutting at zero loses nothing of their coverage, since what
    is fitted is not below zero.

    Parameters
    ----------
    columns
        float64 (n, p), none below zero.
    measured
        float64 (n,), above zero.
    known
        float64 (n,): what of each measurement is not fitted.
    relative_sigma
        float64 (n,): standard deviations over the measurements; None to take equal ones from the residuals.
    confidence
        Of the intervals, between 0 and 1.

    Raises
    ------
    InputError
        There are too few measurements to tell the noise from the unknowns, or SciPy is not installed.
    """
    nnls, quantile = _scipy()
    count = columns.shape[1]
    sizes = np.ones(len(measured)) if relative_sigma is None else relative_sigma
    weights = 1 / (sizes * measured)
    x = np.zeros(count)
    for _ in range(MOST_ROUNDS):
        scaled, lengths = _scaled(columns * weights[:, None])
        x = nnls(scaled, (measured - known) * weights)[0] / np.where(lengths > 0, lengths, 1.0)
        # A prediction far below its measurement would take all the weight.
        predicted = np.maximum(known + columns @ x, 0.01 * measured)
        settled, weights = weights, 1 / (sizes * predicted)
        if np.allclose(weights, settled, rtol=1e-12, atol=0.0):
            break
    scaled, lengths = _scaled(columns * weights[:, None])
    _, singular, directions = np.linalg.svd(scaled, full_matrices=False)
    good = singular > RANK_TOLERANCE * max(singular[0], 1e-300)
    rank = int(good.sum())
    freedom = len(measured) - rank
    if relative_sigma is None and freedom < 1:
        raise InputError(
            f"{len(measured)} measurements determine at most {rank} constants and leave nothing to tell the noise by; "
            "measure more, fit fewer constants, or give relative_sigma"
        )
    inverse = (directions[good].T / singular[good] ** 2) @ directions[good]
    free = inverse @ (scaled.T @ ((measured - known) * weights))
    if relative_sigma is None:
        left = (measured - known) * weights - scaled @ free
        variance = float(left @ left) / freedom
        reach = float(quantile.t.ppf((1 + confidence) / 2, freedom))
    else:
        variance, reach = 1.0, float(quantile.norm.ppf((1 + confidence) / 2))
    unseen = lengths == 0
    null = np.eye(count) - directions[good].T @ directions[good]
    single = np.asarray(~unseen & (np.abs(np.diag(null)) < 1e-9), dtype=np.bool_)
    spread = np.sqrt(variance * np.maximum(np.diag(inverse), 0))

    def ends(value: float, reach_of: float, best: float) -> tuple[float, float]:
        return min(max(value - reach_of, 0.0), best), max(value + reach_of, 0.0, best)

    low, high = np.full((2, count), np.nan)
    for j in np.flatnonzero(single):
        low[j], high[j] = ends(free[j] / lengths[j], reach * spread[j] / lengths[j], x[j])
    combinations = []
    for members in _groups(np.abs(null) > 1e-9, ~unseen & ~single):
        combinations.append(Combination(members))
        factors = _proportions(columns[:, members])
        if factors is not None:
            sums = np.zeros(count)
            sums[list(members)] = factors / lengths[list(members)]
            found = ends(
                float(sums @ free), reach * float(np.sqrt(variance * (sums @ inverse @ sums))),
                float(factors @ x[list(members)]),
            )  # fmt: skip
            estimate = float(factors @ x[list(members)])
            combinations[-1] = Combination(members, tuple(factors.tolist()), estimate, *found)
    both = np.where(single[:, None] & single[None, :], inverse, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(np.diag(both))
        correlation = both / np.outer(deviation, deviation)
    # Nothing is below zero, so an unknown lies between nothing and all that is measured, whatever the data say.
    told = single & (2 * reach * spread < np.linalg.norm((measured - known) * weights))
    loose = _groups(np.abs(correlation) >= TOGETHER, single & ~told)
    total = known + columns @ x
    residuals = (measured - total) / total
    noise = float(np.sqrt(variance)) if relative_sigma is None else float(np.sqrt(np.mean(sizes**2)))
    kept = np.linalg.svd(scaled[:, single], compute_uv=False) if single.any() else np.ones(1)
    return Fit(
        x, low, high, told, tuple(loose), tuple(np.flatnonzero(unseen).tolist()), tuple(combinations), total, residuals,
        noise, freedom, float(kept[0] / kept[-1]), correlation,
    )  # fmt: skip


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy.optimize import nnls
        from scipy.stats import distributions
    except ImportError as error:
        raise InputError(
            f"calibrating needs SciPy ({error}); install it with: pip install neurosim-hw[explore]"
        ) from error
    return nnls, distributions


def _scaled(columns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return columns of unit length and their lengths; what is zero stays zero, of length 0."""
    lengths = np.sqrt((columns**2).sum(axis=0))
    return columns / np.where(lengths > 0, lengths, 1.0), lengths


def _groups(joined: NDArray[np.bool_], among: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """Return the unknowns `among` all that hang together, bool (p, p) saying which do so in pairs."""
    groups: list[set[int]] = []
    for j in np.flatnonzero(among).tolist():
        mine = {j, *np.flatnonzero(among & joined[j]).tolist()}
        apart = [group for group in groups if not group & mine]
        groups = [*apart, mine.union(*(group for group in groups if group & mine))]
    return sorted(tuple(sorted(group)) for group in groups)


def _proportions(columns: FloatArray) -> FloatArray | None:
    """Return each column over the first, where all are multiples of it."""
    first = columns[:, 0]
    factors = np.asarray(columns.T @ first / (first @ first), dtype=np.float64)
    return factors if np.allclose(columns, np.outer(first, factors), rtol=1e-9, atol=0.0) else None
