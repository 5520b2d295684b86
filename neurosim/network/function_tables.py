"""Sigmoid and tanh as tables of integers, the same on every machine.

A table gives the function of a fixed-point number, rounded half to even to a coarser fixed-point number. Both functions
rise, so a table is known by the places where it takes its next step: the step from k to k + 1 of 2**f lies where the
function is (k + 1/2) / 2**f, at ln(p / (1 - p)) of the sigmoid and atanh(p) = ln((1 + p) / (1 - p)) / 2 of the tanh.
These logarithms of rational numbers are irrational (but ln 1 = 0, which no step needs), so no value of a table lies
half way and no rounding of a half ever decides. They are computed in decimal arithmetic, whose logarithm is rounded
correctly by its standard and does not depend on the machine, with digits to spare: the compiler of a C library, which
differs from machine to machine, has no part in it.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

FUNCTIONS = ("sigmoid", "tanh")
DIGITS = 60
"""Of the decimal arithmetic; a place is given by fewer than 10 of them."""


def _place(function: str, step: int, fraction: int) -> Decimal:
    """Return where a function takes the step from `step` to `step` + 1 of 2**fraction."""
    half = Decimal(2 * step + 1) / Decimal(2 << fraction)
    if function == "sigmoid":
        return (half / (1 - half)).ln()
    return ((1 + half) / (1 - half)).ln() / 2


@lru_cache(maxsize=32)
def table(function: str, index_fraction: int, value_fraction: int) -> IntArray:
    """Return the table of a function, not to be written on.

    Parameters
    ----------
    function
        ``sigmoid`` or ``tanh``.
    index_fraction, value_fraction
        Bits of fraction of what the function is taken of, and of its values.

    Returns
    -------
    int64 (2 m + 1,): the values at -m..m in units of 2**-index_fraction; beyond, the function is that of the nearer
    end, which is its limit (0 or 1, -1 or 1).
    """
    one = 1 << value_fraction
    lowest = 0 if function == "sigmoid" else -one
    with localcontext() as context:
        context.prec = DIGITS
        scale = Decimal(1 << index_fraction)
        # The first number beyond each step; none of the places is a whole number, see above.
        first = [int((_place(function, step, value_fraction) * scale).__floor__()) + 1 for step in range(lowest, one)]
    reach = max(abs(first[0]), abs(first[-1])) + 1
    values = lowest + np.searchsorted(np.array(first, dtype=np.int64), np.arange(-reach, reach + 1), side="right")
    values = values.astype(np.int64)
    values.flags.writeable = False
    return values


def look_up(values: IntArray, index: IntArray) -> IntArray:
    """Return the entries of a table of `table` at `index`, int64 of any shape, in units of its index fraction."""
    reach = len(values) // 2
    found: IntArray = values[np.clip(index, -reach, reach) + reach]
    return found
