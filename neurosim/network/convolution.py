"""Convolutions and pooling, counted without ever listing their synapses.

A fan-out here is a product of per-row and per-column counts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import ModelError, suggest
from neurosim.network.transform_base import Box, FanOut, IntArray, Transform, as_weights


def _pair(value: Any, name: str, least: int) -> tuple[int, int]:
    given = np.atleast_1d(np.asarray(value)).ravel()
    pair = tuple(int(v) for v in given)
    if len(pair) == 1:
        pair = pair * 2
    if len(pair) != 2 or min(pair) < least or (given != np.array(pair[: given.size])).any():
        raise ModelError(f"{name} is {value}; give one integer or a pair (rows, columns), at least {least}")
    return pair[0], pair[1]


def axis_taps(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> IntArray:
    """Return which output position each (input position, kernel position) of one axis meets.

    Returns
    -------
    int64 (size, kernel): output position, or -1 where there is none.
    """
    shifted = np.arange(size)[:, None] + padding - np.arange(kernel)[None, :] * dilation
    target = shifted // stride
    return np.where((shifted % stride == 0) & (shifted >= 0) & (target < out), target, -1)


class Conv2d(Transform):
    """Two-dimensional cross-correlation, as in PyTorch.

    Parameters
    ----------
    weights
        Integers of shape (C_out, C_in / groups, K_rows, K_columns).
    in_shape
        (C_in, H, W).
    stride, padding, dilation
        One integer, or (rows, columns).
    groups
        Divides both channel counts.
    """

    kind = "conv2d"

    def __init__(
        self,
        weights: Any,
        in_shape: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> None:
        self.weights = as_weights(weights, "weight")
        self.in_shape = tuple(int(v) for v in in_shape)
        self.stride = _pair(stride, "stride", 1)
        self.padding = _pair(padding, "padding", 0)
        self.dilation = _pair(dilation, "dilation", 1)
        self.groups = int(groups)
        if len(self.in_shape) != 3 or min(self.in_shape) < 1:
            raise ModelError(f"a convolution's input has shape {self.in_shape}; give (C, H, W), each 1 or more")
        if self.weights.ndim != 4 or 0 in self.weights.shape:
            raise ModelError(f"convolution weights have shape {self.weights.shape}; give (C_out, C_in / groups, K, K)")
        out_channels, group_channels = self.weights.shape[:2]
        if self.groups < 1 or out_channels % self.groups or group_channels * self.groups != self.in_shape[0]:
            raise ModelError(
                f"weights {self.weights.shape} with {self.groups} groups do not fit "
                f"{self.in_shape[0]} input channels; correct one of them"
            )
        rows, columns = (self._extent(axis) for axis in (0, 1))
        if rows < 1 or columns < 1:
            raise ModelError(
                f"a kernel of {self.weights.shape[2:]}, dilation {self.dilation} and padding {self.padding} "
                f"does not fit rows and columns {self.in_shape[1:]}; choose smaller ones"
            )
        self._out_shape = (int(out_channels), rows, columns)

    def _extent(self, axis: int) -> int:
        reach = self.dilation[axis] * (int(self.weights.shape[2 + axis]) - 1) + 1
        return (self.in_shape[1 + axis] + 2 * self.padding[axis] - reach) // self.stride[axis] + 1

    @property
    def in_size(self) -> int:
        return math.prod(self.in_shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self._out_shape

    def taps(self, axis: int) -> NDArray[np.int64]:
        """Return the output position of each (input, kernel) position along rows (0) or columns (1)."""
        return axis_taps(
            self.in_shape[1 + axis],
            self._out_shape[1 + axis],
            self.weights.shape[2 + axis],
            self.stride[axis],
            self.padding[axis],
            self.dilation[axis],
        )

    def apply(self, messages: IntArray, weights: IntArray | None = None) -> IntArray:
        used = self.weights.astype(np.int64) if weights is None else weights
        channels = self.in_shape[0]
        padded = np.pad(
            messages.reshape(self.in_shape),
            ((0, 0), (self.padding[0], self.padding[0]), (self.padding[1], self.padding[1])),
        )
        out_channels, rows, columns = self._out_shape
        out = np.zeros(self._out_shape, dtype=np.int64)
        per_in, per_out = channels // self.groups, out_channels // self.groups
        for ky in range(used.shape[2]):
            for kx in range(used.shape[3]):
                y, x = ky * self.dilation[0], kx * self.dilation[1]
                window = padded[
                    :,
                    y : y + (rows - 1) * self.stride[0] + 1 : self.stride[0],
                    x : x + (columns - 1) * self.stride[1] + 1 : self.stride[1],
                ]
                for g in range(self.groups):
                    part = used[g * per_out : (g + 1) * per_out, :, ky, kx]
                    inputs = window[g * per_in : (g + 1) * per_in].reshape(per_in, -1)
                    out[g * per_out : (g + 1) * per_out] += (part @ inputs).reshape(per_out, rows, columns)
        return out.ravel()

    def fan_out(self, box: Box | None = None) -> FanOut:
        (c0, c1), (y0, y1), (x0, x1) = box if box else tuple((0, n) for n in self._out_shape)
        per_in, per_out = self.in_shape[0] // self.groups, self._out_shape[0] // self.groups
        meets = []
        for axis, (low, high) in enumerate(((y0, y1), (x0, x1))):
            target = self.taps(axis)
            inside = (target >= low) & (target < high)
            positions = np.flatnonzero(inside.any(axis=1))
            meets.append((positions, inside[positions].astype(np.int64)))
        (rows, row_meets), (columns, column_meets) = meets
        taps = np.outer(row_meets.sum(axis=1), column_meets.sum(axis=1))
        # Channels of the box that each input channel reaches, and their non-zero weights per kernel position.
        in_channel = np.arange(self.in_shape[0])
        first = np.maximum(in_channel // per_in * per_out, c0)
        last = np.minimum((in_channel // per_in + 1) * per_out, c1)
        reached = np.maximum(last - first, 0)
        filled = np.zeros((self.in_shape[0], *self.weights.shape[2:]), dtype=np.int64)
        for g in range(self.groups):
            low, high = max(g * per_out, c0), min((g + 1) * per_out, c1)
            if low < high:
                filled[g * per_in : (g + 1) * per_in] = np.count_nonzero(self.weights[low:high], axis=0)
        live = np.flatnonzero(reached)
        structural = reached[live, None, None] * taps[None]
        nonzero = np.einsum("hk,ckl,wl->chw", row_meets, filled[live], column_meets, optimize=True)
        _, height, width = self.in_shape
        sources = (live[:, None, None] * height + rows[None, :, None]) * width + columns[None, None, :]
        all_taps = np.ascontiguousarray(np.broadcast_to(taps, structural.shape))
        return FanOut(sources.ravel(), structural.ravel(), nonzero.ravel(), all_taps.ravel())

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "weights": self.weights,
            "in_shape": self.in_shape,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


class Pool2d(Conv2d):
    """Sum or average pooling, padding counted in the average.

    An average is the sum of a timestep divided by the window's area, rounded down.

    Parameters
    ----------
    mode
        ``sum`` or ``average``.
    kernel
        One integer, or (rows, columns).
    in_shape
        (C, H, W).
    stride
        As `kernel`; None for the kernel itself.
    padding
        One integer, or (rows, columns).
    """

    kind = "pool2d"

    def __init__(self, mode: str, kernel: Any, in_shape: Any, stride: Any = None, padding: Any = 0) -> None:
        if mode not in ("sum", "average"):
            raise ModelError(
                f'pooling mode "{mode}" is not known; use "sum" or "average"' + suggest(mode, ("sum", "average"))
            )
        self.mode = mode
        self.kernel = _pair(kernel, "kernel", 1)
        channels = int(in_shape[0])
        ones = np.ones((channels, 1, *self.kernel), dtype=np.int32)
        super().__init__(ones, in_shape, self.kernel if stride is None else stride, padding, 1, channels)
        self.divisor = self.kernel[0] * self.kernel[1] if mode == "average" else 1

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "mode": self.mode,
            "kernel": self.kernel,
            "in_shape": self.in_shape,
            "stride": self.stride,
            "padding": self.padding,
        }
