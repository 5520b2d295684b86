"""Routing tables of key, mask and outputs: few entries that leave every packet its way.

docs/decisions/0003-routing-tables.md says which ways of merging were tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

NO_ENTRY = -1


@dataclass(frozen=True)
class Passing:
    """What one router does with the keys that come by.

    Attributes
    ----------
    keys
        int64 (n,): ascending.
    outputs
        int64 (n,): where each goes, a bit an output.
    straight
        bool (n,): whether default routing takes it there, so that it can do without an entry.
    """

    keys: IntArray
    outputs: IntArray
    straight: NDArray[np.bool_]


@dataclass(frozen=True)
class RoutingTable:
    """The entries of one router, in the order in which they are tried.

    Attributes
    ----------
    key, mask, outputs
        int64 (E,): an entry is for the keys that agree with its key in the bits of its mask.
    """

    key: IntArray
    mask: IntArray
    outputs: IntArray

    def look_up(self, keys: IntArray) -> IntArray:
        """Return the outputs of the first entry for each key, int64 (n,); `NO_ENTRY` where there is none."""
        if not self.key.size:
            return np.full(keys.shape, NO_ENTRY, dtype=np.int64)
        meant = (keys[:, None] & self.mask[None]) == self.key[None]
        return np.where(meant.any(axis=1), self.outputs[meant.argmax(axis=1)], NO_ENTRY)


def minimise(passing: Passing, key_bits: int, width: int) -> RoutingTable:
    """Return a table that does with every passing key what `passing` says.

    Each entry is made as wide as can be: bits of its mask are cleared one by one, those first by which it takes
    in most keys that still need an entry, unless it would then be for a key with other outputs. A key that goes
    straight on without an entry counts as such a key. Keys that never come by do not count. No two entries with
    different outputs are for one passing key, so their order does not matter.

    Parameters
    ----------
    passing
        Keys and their outputs.
    key_bits
        Low bits of a key, at which no entry looks: they number the neurons of a core.
    width
        Bits of a key.
    """
    entries: list[tuple[int, int, int]] = []
    whole = (1 << width) - (1 << key_bits)
    for outputs in np.unique(passing.outputs[~passing.straight]):
        same = passing.outputs == outputs
        others, left = passing.keys[~same], passing.keys[same & ~passing.straight]
        while left.size:
            key = int(left[0])
            mask = _widest_mask(key, whole, left, others)
            entries.append((key & mask, mask, int(outputs)))
            left = left[((left ^ key) & mask) != 0]
    columns = np.array(sorted(entries), dtype=np.int64).reshape(-1, 3)
    return RoutingTable(columns[:, 0].copy(), columns[:, 1].copy(), columns[:, 2].copy())


def _single_bits(values: IntArray) -> IntArray:
    """Return the values with exactly one bit."""
    single: IntArray = values[(values != 0) & (values & (values - 1) == 0)]
    return single


def _widest_mask(key: int, whole: int, left: IntArray, others: IntArray) -> int:
    """Return the mask of an entry for `key` that is for many of `left` and for none of `others`."""
    mask = whole
    # What tells the keys from this one, under the mask; a bit that alone tells one of `others` must stay.
    near, far = (left ^ key) & mask, (others ^ key) & mask
    while free := mask & ~int(np.bitwise_or.reduce(_single_bits(far), initial=0)):
        bits, gains = np.unique(_single_bits(near), return_counts=True)
        inside = (bits & free) != 0
        bit = int(bits[inside][gains[inside].argmax()]) if inside.any() else free & -free
        mask &= ~bit
        near, far = near & mask, far & mask
    return mask
