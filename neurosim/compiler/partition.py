"""Splitting layers into core slices: images by patches, vectors by ranges of neurons.

Patches hold all channels as long as any such split fits: splitting channels would send every message to
several cores. Splits are tried from the fewest cores up; ties go to the squarest patch, whose receptive
field overlaps its neighbours' least.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from hwmodels import Chip
from neurosim.compiler.program import Box, CoreSlice


def _ranges(size: int, step: int) -> list[tuple[int, int]]:
    return [(low, min(low + step, size)) for low in range(0, size, step)]


def _even_ranges(size: int, parts: int) -> list[tuple[int, int]]:
    edges = [size * i // parts for i in range(parts + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _halving_steps(size: int) -> list[int]:
    """Return the distinct ceilings of size / 2**k, largest first."""
    steps = [size]
    while steps[-1] > 1:
        steps.append(-(-steps[-1] // 2))
    return steps


def _volume(box: Box) -> int:
    return prod(high - low for low, high in box)


def _even_steps(size: int) -> list[int]:
    """Return the distinct ceilings of size / k, largest first."""
    return sorted({-(-size // k) for k in range(1, size + 1)}, reverse=True)


def patch_splits(layer: int, shape: tuple[int, ...], chip: Chip, most: int) -> Iterator[list[CoreSlice]]:
    """Yield the ways to cut an image layer into patches, whole channels and fewest cores first.

    Parameters
    ----------
    layer
        Number of the layer.
    shape
        (C, H, W).
    chip
        Its `core.conv_patch` says whether patch widths are powers of two (patches that overhang the
        image then take neuron slots all the same).
    most
        Neuron slots that a core can fill.
    """
    channels, height, width = shape
    powers = chip.core.conv_patch == "columns_power_of_two"
    if powers:
        widths = [1 << k for k in range((width - 1).bit_length(), -1, -1)]
        heights = _halving_steps(height)
    else:
        widths, heights = _even_steps(width), _even_steps(height)
    found = []
    for depth, h, w in product(_halving_steps(channels), heights, widths):
        slots = depth * h * w
        if slots <= most:
            count = -(-channels // depth) * -(-height // h) * -(-width // w)
            found.append((-depth, count, min(h, height) + min(w, width), -h, h, w, slots))
    seen = set()
    for minus_depth, _, _, _, h, w, slots in sorted(found):
        boxes = list(product(_ranges(channels, -minus_depth), _ranges(height, h), _ranges(width, w)))
        if tuple(boxes) in seen:
            continue
        seen.add(tuple(boxes))
        yield [CoreSlice(layer, box, slots if powers else _volume(box)) for box in boxes]


def range_splits(layer: int, size: int, most: int) -> Iterator[list[CoreSlice]]:
    """Yield the ways to cut a vector layer into even ranges, fewest cores first."""
    for parts in range(-(-size // most), size + 1):
        yield [CoreSlice(layer, ((low, high),), high - low) for low, high in _even_ranges(size, parts)]


def splits(layer: int, shape: tuple[int, ...], chip: Chip) -> Iterator[list[CoreSlice]]:
    """Yield the ways to cut a layer of `shape` over cores, fewest cores first."""
    usable = chip.core.neurons_usable or chip.core.neurons
    if len(shape) == 3:
        yield from patch_splits(layer, shape, chip, int(usable.value))
    else:
        yield from range_splits(layer, shape[0], int(usable.value))
