"""Numbers of hybrid-spiking units in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import ModelError

IntArray = NDArray[np.int64]
WIDEST = 1 << 31
MULTIPLIER_BITS = 24
"""Multipliers are below 2**24: with a sum of 32 bits the product stays within 62."""


def residuals(values: NDArray[Any], fraction: int) -> IntArray:
    """Return residuals in 2**-fraction, rounded down, so that they stay below 1."""
    whole: IntArray = np.floor(values * 2.0**fraction).astype(np.int64)
    return whole


def multiplier(value: float) -> tuple[IntArray, IntArray]:
    """Return a multiplier and shift whose quotient is `value` to 24 bits; exact where it is a power of two.

    Raises
    ------
    ModelError
        It is too large or too small for any.
    """
    mantissa, exponent = np.frexp(value)
    shift = MULTIPLIER_BITS - int(exponent)
    whole = round(float(mantissa) * 2.0**MULTIPLIER_BITS)
    while whole % 2 == 0 and shift > 0:
        whole, shift = whole // 2, shift - 1
    if not 0 <= shift <= 62 or whole >= WIDEST:
        raise ModelError(f"a factor of {value:.3g} from sums to states fits no multiplier and shift; scale the weights")
    return np.array([whole]), np.array([shift])
