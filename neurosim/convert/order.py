"""An order in which still images follow each other like the frames of a film."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError


def temporal_order(
    images: NDArray[Any], held: int = 1000, progress: Callable[[int, int], None] | None = None
) -> NDArray[np.int64]:
    """Return the order of "Temporal MNIST" (O'Connor and Welling, arXiv:1611.02024).

    From image 0 on, always the nearest of the next `held` images, by the sum of absolute differences, the first in
    the buffer where several are; its place in the buffer is taken by the next image, and at the end by the last one.

    Parameters
    ----------
    images
        Integers (images, ...), within 16 bits.
    held
        Size of the buffer.
    progress
        Called with the images done and their number.

    Returns
    -------
    int64 (images,): a permutation.

    Raises
    ------
    InputError
        No images, or values that are no integers of 16 bits.
    """
    if not len(images) or images.dtype.kind not in "iub" or held < 1:
        raise InputError(f"{len(images)} images of {images.dtype}, {held} held; give integers, and hold 1 or more")
    flat = images.reshape(len(images), -1)
    if flat.min() < -(1 << 14) or flat.max() >= 1 << 14:
        raise InputError("images reach beyond 15 bits; scale them down")
    flat = flat.astype(np.int16)
    buffer = np.arange(1, min(held + 1, len(flat)))
    values = flat[buffer]
    filled, fresh, now = len(buffer), len(buffer) + 1, 0
    order = np.zeros(len(flat), dtype=np.int64)
    for t in range(1, len(flat)):
        away = np.abs(values[:filled] - flat[now]).sum(axis=1, dtype=np.int64)
        place = int(away.argmin())
        now = int(buffer[place])
        order[t] = now
        if fresh < len(flat):
            buffer[place], values[place] = fresh, flat[fresh]
            fresh += 1
        else:
            filled -= 1
            buffer[place], values[place] = buffer[filled], values[filled]
        if progress and t % 1000 == 0:
            progress(t, len(flat))
    return order
