"""How values of a channel are spread, from a few samples, and what rounding them to b bits costs.

After J. H. Lee and others, "Quantization for Rapid Deployment of Deep Neural Networks" (arXiv:1810.05488): a density
is fitted to each channel's moments, and the fractional length with the least expected error is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError
from neurosim.formats.dense_graph import FloatArray

_ROOT2, _ROOT3 = math.sqrt(2.0), math.sqrt(3.0)


def _uniform(z: FloatArray) -> FloatArray:
    return np.where(np.abs(z) <= _ROOT3, 0.5 / _ROOT3, 0.0)


def _normal(z: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi))


def _logistic(z: FloatArray) -> FloatArray:
    scale = _ROOT3 / math.pi
    e = np.exp(-np.abs(z) / scale)
    return np.asarray(e / (scale * (1 + e) ** 2))


def _laplace(z: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-_ROOT2 * np.abs(z)) / _ROOT2)


def _super_cauchy(z: FloatArray) -> FloatArray:
    return np.asarray(_ROOT2 / math.pi / (1 + z**4))


DENSITIES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "uniform": _uniform,
    "normal": _normal,
    "logistic": _logistic,
    "laplace": _laplace,
    "super_cauchy": _super_cauchy,
}
"""Densities of mean 0 and variance 1. Of 1 / (1 + x**4) the fourth moment is infinite."""
KURTOSIS = {"uniform": 1.8, "normal": 3.0, "logistic": 4.2, "laplace": 6.0, "super_cauchy": 12.0}
"""Fourth moments over squared variances; the last one is where heavier tails than Laplace's are taken to begin twice
as far out."""
RULES = ("auto", *DENSITIES, "max")
REACH, POINTS = 40.0, 4001
"""Standard deviations that the integral covers on each side, and its points."""
LOWEST_LENGTH, HIGHEST_LENGTH = -24, 30


@dataclass(frozen=True)
class Moments:
    """Moments of a channel's values.

    Attributes
    ----------
    mean, deviation, skew, kurtosis, largest
        Of the values seen; `largest` is the largest size.
    """

    mean: float
    deviation: float
    skew: float
    kurtosis: float
    largest: float


def moments(values: NDArray[Any]) -> Moments:
    """Return the moments of one channel's values."""
    x = values.astype(np.float64).ravel()
    mean, deviation = float(x.mean()), float(x.std())
    z = (x - mean) / deviation if deviation > 0 else np.zeros_like(x)
    return Moments(mean, deviation, float((z**3).mean()), float((z**4).mean()), float(np.abs(x).max()))


def nearest_density(found: Moments) -> str:
    """Return the density whose kurtosis is nearest on a scale of ratios."""
    if found.kurtosis <= 0:
        return "uniform"
    return min(KURTOSIS, key=lambda name: abs(math.log(found.kurtosis / KURTOSIS[name])))


def max_length(largest: float, bits: int) -> int:
    """Return the fractional length of the MAX rule: b - 1 - ceil(log2 max|x|)."""
    if largest <= 0:
        return HIGHEST_LENGTH
    return int(np.clip(bits - 1 - math.ceil(math.log2(largest)), LOWEST_LENGTH, HIGHEST_LENGTH))


def best_length(found: Moments, bits: int, rule: str, low: float, high: float) -> int:
    """Return the fractional length, in bits, that rounds a channel with the least expected squared error.

    Parameters
    ----------
    found
        Moments of the values before the limits `low` and `high`.
    bits
        b: rounded values are integers in -2**(b-1)..2**(b-1) - 1, times 2**-length.
    rule
        A density by name, ``auto`` for the nearest, or ``max``.
    low, high
        Limits that a value is brought to before it is rounded, such as 0 and infinity.

    Raises
    ------
    InputError
        The rule is not known.
    """
    if rule not in RULES:
        raise InputError(f'rule "{rule}" is not known; use one of {", ".join(RULES)}')
    largest = min(found.largest, max(abs(low), abs(high)))
    by_max = max_length(largest, bits)
    if rule == "max" or found.deviation <= 0:
        return by_max
    density = DENSITIES[nearest_density(found) if rule == "auto" else rule]
    z = np.linspace(-REACH, REACH, POINTS)
    weight = density(z)
    x = np.clip(found.mean + found.deviation * z, low, high)
    # No value larger than a few times what was seen is believed in.
    weight = np.where(np.abs(x) <= 4 * max(largest, 1e-30), weight, 0.0)
    half = 1 << (bits - 1)
    errors = []
    lengths = range(max(by_max - 1, LOWEST_LENGTH), min(by_max + 4, HIGHEST_LENGTH) + 1)
    for length in lengths:
        step = 2.0**-length
        inside = (x >= -half * step) & (x <= (half - 1) * step)
        limited = np.clip(x, -half * step, (half - 1) * step)
        # A twelfth of a step squared where it is not exact, which a value at its lower limit of 0 is.
        each = np.where(inside, np.where(x == 0, 0.0, step * step / 12), (x - limited) ** 2)
        errors.append(float((each * weight).sum()))
    return lengths[int(np.argmin(errors))]
