"""Linear maps with float weights, and their composition: what lies between two layers of neurons becomes one map."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from neurosim.errors import ModelError
from neurosim.formats.dense_nodes import Conv2d, FloatArray, Shape
from neurosim.formats.dense_numpy import forward

MAX_MATRIX = 1 << 26
"""Most values of a matrix that a composition makes."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """y = factors * x, one factor for all values, or one each."""

    in_shape: Shape
    out_shape: Shape
    factors: FloatArray

    @property
    def identity(self) -> bool:
        """Whether it changes nothing."""
        return bool((self.factors == 1.0).all())

    @property
    def each(self) -> FloatArray:
        """A factor for each value."""
        return np.broadcast_to(self.factors.ravel(), (math.prod(self.in_shape),))


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution without its bias."""

    in_shape: Shape
    node: Conv2d

    @property
    def out_shape(self) -> Shape:
        """(C, H, W)."""
        return self.node.out_shape(self.in_shape)


@dataclass(frozen=True, eq=False)
class Matrix:
    """y = matrix @ x."""

    in_shape: Shape
    out_shape: Shape
    matrix: FloatArray


LinearMap = Scaling | Convolution | Matrix


def identity(shape: Shape) -> Scaling:
    """Return the map that changes nothing."""
    return Scaling(shape, shape, np.ones(1))


def apply(linear: LinearMap, values: FloatArray) -> FloatArray:
    """Return the map of (n, in_size) values, as (n, out_size)."""
    if isinstance(linear, Scaling):
        return values * linear.each
    if isinstance(linear, Matrix):
        return np.asarray(values @ linear.matrix.T)
    shaped = values.reshape(-1, *linear.in_shape)
    return forward(linear.node, [shaped], (len(shaped),), linear.out_shape).reshape(len(shaped), -1)


def reshaped(linear: LinearMap, shape: Shape) -> LinearMap:
    """Return the map with a result of another shape and the same order."""
    if isinstance(linear, Convolution):
        return linear if shape == linear.out_shape or len(shape) == 1 else _matrix(linear, shape)
    return replace(linear, out_shape=shape)


def _matrix(linear: LinearMap, shape: Shape | None = None) -> Matrix:
    size = math.prod(linear.in_shape)
    rows = math.prod(linear.out_shape)
    if size * rows > MAX_MATRIX:
        raise ModelError(
            f"the maps between two layers of neurons join to a matrix of {rows} x {size}; the limit is "
            f"{MAX_MATRIX} values: put neurons between them"
        )
    return Matrix(linear.in_shape, shape or linear.out_shape, apply(linear, np.eye(size)).T)


def compose(after: LinearMap, before: LinearMap) -> LinearMap:
    """Return x -> after(before(x)), as a convolution where one fits exactly, else as a matrix.

    Raises
    ------
    ModelError
        The matrix would be too large.
    """
    if isinstance(after, Scaling) and after.identity:
        return reshaped(before, after.out_shape)
    if isinstance(before, Scaling) and before.identity and not isinstance(after, Convolution):
        return replace(after, in_shape=before.in_shape)
    if isinstance(before, Scaling) and before.identity and before.in_shape == after.in_shape:
        return after
    found = _compose_alike(after, before)
    if found is not None:
        return found
    middle = _matrix(before)
    return Matrix(middle.in_shape, after.out_shape, apply(after, middle.matrix.T).T)


def _compose_alike(after: LinearMap, before: LinearMap) -> LinearMap | None:
    if isinstance(after, Scaling) and isinstance(before, Scaling):
        return Scaling(before.in_shape, after.out_shape, after.each * before.each)
    if isinstance(after, Scaling) and isinstance(before, Matrix):
        return Matrix(before.in_shape, after.out_shape, after.each[:, None] * before.matrix)
    if isinstance(after, Matrix) and isinstance(before, Scaling):
        return Matrix(before.in_shape, after.out_shape, after.matrix * before.each)
    if isinstance(after, Scaling) and isinstance(before, Convolution):
        factors = _per_channel(after, before.out_shape)
        if factors is not None and after.out_shape in (before.out_shape, (math.prod(before.out_shape),)):
            node = before.node
            return Convolution(before.in_shape, replace(node, weight=node.weight * factors[:, None, None, None]))
    if isinstance(after, Convolution) and isinstance(before, Scaling) and before.in_shape == after.in_shape:
        factors = _per_channel(before, after.in_shape)
        if factors is not None:
            out, per_group = after.node.weight.shape[:2]
            each = np.repeat(factors.reshape(after.node.groups, 1, per_group), out // after.node.groups, axis=1)
            weight = after.node.weight * each.reshape(out, per_group)[:, :, None, None]
            return Convolution(after.in_shape, replace(after.node, weight=weight))
    if isinstance(after, Convolution) and isinstance(before, Convolution):
        return _behind_pool(after, before)
    return None


def _per_channel(scaling: Scaling, shape: Shape) -> FloatArray | None:
    """Return a factor a channel of `shape`; None where a channel has several."""
    each = scaling.each.reshape(shape[0], -1)
    return each[:, 0].copy() if (each == each[:, :1]).all() else None


def _behind_pool(after: Convolution, pool: Convolution) -> Convolution | None:
    """Return a convolution behind windows that do not overlap as one convolution with wider taps.

    Exact where the windows tile the input: then a place outside the pooled image covers places outside the input alone.
    """
    window, kernel = pool.node, after.node
    sides = window.weight.shape[2:]
    channels, height, width = pool.in_shape
    fits = (
        window.groups == channels == window.weight.shape[0]
        and window.stride == sides
        and window.padding == (0, 0)
        and kernel.dilation == (1, 1)
        and height % sides[0] == 0
        and width % sides[1] == 0
        and bool((window.weight == window.weight[0, 0, 0, 0]).all())
    )
    if not fits:
        return None
    weight = np.repeat(np.repeat(kernel.weight, sides[0], axis=2), sides[1], axis=3) * window.weight[0, 0, 0, 0]
    stride, padding = (
        (pair[0] * sides[0], pair[1] * sides[1]) for pair in (kernel.stride, kernel.padding)
    )  # fmt: skip
    return Convolution(pool.in_shape, replace(kernel, weight=weight, stride=stride, padding=padding))
