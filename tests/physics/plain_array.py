"""A row-stationary array stepped in plain loops: every element, every value brought, every sum passed."""

from __future__ import annotations

from itertools import product

from neurosim.costs.baseline_array import RowMapping
from neurosim.costs.baseline_work import Work


def cut(size: int, part: int) -> list[range]:
    return [range(low, min(low + part, size)) for low in range(0, size, part)]


def turns(blocks: list[range], at_once: int) -> list[list[range]]:
    return [blocks[low : low + at_once] for low in range(0, len(blocks), at_once)]


def step_group(work: Work, m: RowMapping) -> dict[str, int]:
    """Counts of one group of one inference; words from DRAM into the buffer are left out."""
    (rows, columns), (out_rows, out_columns) = work.kernel, work.out
    found = dict.fromkeys(("mac", "brought", "passed", "buffer", "cycles", "elements"), 0)
    met: dict[tuple[int, int, int], int] = {}
    for filters, channels, fold, strip in product(
        turns(cut(work.filters, m.filters), m.filters_at_once),
        turns(cut(work.channels, m.channels), m.channels_at_once),
        cut(rows, m.set_rows),
        cut(out_rows, m.strip),
    ):
        values, weights, longest, elements = set(), set(), 0, 0
        sums: dict[tuple[int, int, int], int] = {}
        for some, ins, r, e in product(filters, channels, fold, strip):
            elements += 1
            own_values = {
                (c, e * work.stride[0] + r * work.dilation[0], x)
                for c in ins
                for x in range((out_columns - 1) * work.stride[1] + (columns - 1) * work.dilation[1] + 1)
            }
            own_weights = set(product(some, ins, [r], range(columns)))
            found["brought"] += len(own_values) + len(own_weights)
            values |= own_values
            weights |= own_weights
            macs = len(own_weights) * out_columns
            found["mac"] += macs
            longest = max(longest, macs)
            for f, x in product(some, range(out_columns)):
                sums[f, e, x] = sums.get((f, e, x), 0) + 1
        found["passed"] += sum(parts - 1 for parts in sums.values())
        for place in sums:
            # What an earlier round left is read back; each round leaves its own.
            found["buffer"] += 2 if place in met else 1
            met[place] = met.get(place, 0) + 1
        found["buffer"] += len(values) + len(weights)
        found["cycles"] += longest
        found["elements"] = max(found["elements"], elements)
    found["buffer"] += len(met)  # finished outputs go out
    return found
