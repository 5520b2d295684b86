"""Checks of what training is given, and of what comes of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError


def import_torch() -> Any:
    """Return PyTorch.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError('training needs the extra train: pip install "neurosim-hw[train]"') from error
    return torch


def check_inputs(inputs: Any) -> NDArray[np.float32]:
    """Return samples as float32 (samples, ...).

    Raises
    ------
    InputError
        There are none, they are no numbers, or not finite.
    """
    array = np.asarray(inputs)
    if array.ndim < 2 or not len(array) or array.dtype.kind not in "fiub":
        raise InputError(f"inputs are {array.dtype} of shape {list(array.shape)}; give numbers (samples, ...)")
    found = array.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(found))
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        raise InputError(f"inputs: {list(place)} is {array[place]}; training takes finite numbers: correct or drop it")
    return found


def check_labels(labels: Any, samples: int, classes: int) -> NDArray[np.int64]:
    """Return labels as int64 (samples,).

    Raises
    ------
    InputError
        They are no integers, not one a sample, or outside 0..classes - 1.
    """
    array = np.asarray(labels)
    if array.shape != (samples,) or array.dtype.kind not in "iu":
        raise InputError(f"labels are {array.dtype} of shape {list(array.shape)}; give {samples} integers")
    wrong = np.flatnonzero((array < 0) | (array >= classes))
    if wrong.size:
        first = int(wrong[0])
        raise InputError(
            f"labels: [{first}] is {array[first]}; the network has classes 0..{classes - 1}: "
            "number them from 0, or give the network more outputs"
        )
    return array.astype(np.int64)


def check_loss(loss: float, epoch: int, batch: int, rate: float) -> None:
    """Refuse a loss that is no number.

    Raises
    ------
    InputError
        Training diverged.
    """
    if not math.isfinite(loss):
        raise InputError(
            f"epoch {epoch}, batch {batch}: the loss is {loss} at a rate of {rate:g}; choose a smaller rate"
        )


def check_counts(**values: int) -> None:
    """Refuse numbers of epochs, samples and the like below 1."""
    for name, value in values.items():
        if value < 1:
            raise InputError(f"{name} is {value}; it must be 1 or more")
