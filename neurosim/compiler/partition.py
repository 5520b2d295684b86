"""Splitting layers into core slices: images by patches, vectors by ranges of neurons.

Patches hold all channels as long as any such split fits: splitting channels would send every message to
several cores. Splits are tried from the fewest cores up; ties go to the squarest patch, whose receptive
field overlaps its neighbours' least.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

from hwmodels import Chip
from neurosim.compiler.program import CoreSlice


def _ranges(size: int, step: int) -> list[tuple[int, int]]:
    return [(low, min(low + step, size)) for low in range(0, size, step)]


def _even_ranges(size: int, parts: int) -> list[tuple[int, int]]:
    return list(pairwise(size * i // parts for i in range(parts + 1)))


def _halving_steps(size: int) -> list[int]:
    """Return the distinct ceilings of size / 2**k, largest first."""
    steps = [size]
    while steps[-1] > 1:
        steps.append(-(-steps[-1] // 2))
    return steps


def _even_steps(size: int) -> list[int]:
    """Return the distinct ceilings of size / k, largest first."""
    return sorted({-(-size // k) for k in range(1, size + 1)}, reverse=True)


def usable_neurons(chip: Chip) -> int:
    """Return the neuron slots that a core can fill."""
    return int((chip.core.neurons_usable or chip.core.neurons).value)


def _patches(shape: tuple[int, ...], chip: Chip) -> list[tuple[int, tuple[int, int, int]]]:
    """Return the patches (channels, rows, columns) that a core has neurons for, each after its core count.

    In the order in which they are tried.
    """
    channels, height, width = shape
    if chip.core.conv_patch == "columns_power_of_two":
        widths = [1 << k for k in range((width - 1).bit_length(), -1, -1)]
        heights = _halving_steps(height)
    else:
        widths, heights = _even_steps(width), _even_steps(height)
    most = usable_neurons(chip)
    found = []
    for depth, h, w in product(_halving_steps(channels), heights, widths):
        if depth * h * w <= most:
            count = -(-channels // depth) * -(-height // h) * -(-width // w)
            found.append((-depth, count, min(h, height) + min(w, width), -h, (depth, h, w)))
    return [(count, patch) for _, count, _, _, patch in sorted(found)]


def patch_splits(layer: int, shape: tuple[int, ...], chip: Chip, cores: int) -> Iterator[list[CoreSlice]]:
    """Yield the ways to cut an image layer into at most `cores` patches.

    Whole channels come first, then fewest cores. Where `core.conv_patch` of the chip asks for widths that
    are powers of two, patches that overhang the image take neuron slots all the same.

    Parameters
    ----------
    layer
        Number of the layer.
    shape
        (C, H, W).
    chip
        Gives the form of the patches and the neurons of a core.
    cores
        Most slices.
    """
    channels, height, width = shape
    padded = chip.core.conv_patch == "columns_power_of_two"
    for count, (depth, h, w) in _patches(shape, chip):
        if count > cores:
            continue
        parts = []
        for box in product(_ranges(channels, depth), _ranges(height, h), _ranges(width, w)):
            part = CoreSlice(layer, box, depth * h * w)
            parts.append(part if padded else CoreSlice(layer, box, part.size))
        yield parts


def range_splits(layer: int, size: int, fewest: int, cores: int, slots: int = 1) -> Iterator[list[CoreSlice]]:
    """Yield the ways to cut a vector layer into `fewest` to `cores` even ranges, fewest first.

    A neuron takes `slots` neuron slots.
    """
    for parts in range(fewest, min(size, cores) + 1):
        yield [CoreSlice(layer, ((low, high),), (high - low) * slots) for low, high in _even_ranges(size, parts)]


def fewest_cores(shape: tuple[int, ...], chip: Chip, slots: int = 1) -> int:
    """Return how many cores a layer of `shape` needs for its neurons alone, of `slots` neuron slots each."""
    if len(shape) == 3:
        return min(count for count, _ in _patches(shape, chip))
    return -(-shape[0] // max(usable_neurons(chip) // slots, 1))


def splits(
    layer: int, shape: tuple[int, ...], chip: Chip, cores: int, fewest: int = 1, slots: int = 1
) -> Iterator[list[CoreSlice]]:
    """Yield the ways to cut a layer of `shape` over at most `cores` cores, fewest cores first.

    `fewest` is a number below which a vector is known not to fit; each of its neurons takes `slots` neuron slots.
    """
    if len(shape) == 3:
        yield from patch_splits(layer, shape, chip, cores)
    else:
        yield from range_splits(layer, shape[0], max(fewest, fewest_cores(shape, chip, slots)), cores, slots)
