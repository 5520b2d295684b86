"""Composition of linear maps: what one after the other gives, the joined map gives too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from neurosim.errors import ModelError
from neurosim.formats.dense_nodes import Conv2d
from neurosim.formats.linear_maps import Convolution, LinearMap, Matrix, Scaling, apply, compose, identity, reshaped


def random_map(rng: Any, shape: tuple[int, ...]) -> LinearMap:
    """A map of every kind, from an image where `shape` has three extents."""
    size, kind = math.prod(shape), rng.integers(0, 7 if len(shape) == 3 else 3)
    if kind == 0:
        return identity(shape)
    if kind == 1:
        each = np.repeat(rng.normal(size=shape[0]), size // shape[0]) if rng.random() < 0.5 else rng.normal(size=size)
        return Scaling(shape, (size,) if rng.random() < 0.3 else shape, each)
    if kind == 2:
        return Matrix(shape, (5,), rng.normal(size=(5, size)))
    channels = shape[0]
    if kind in (3, 4):  # Pooling, with windows that tile the image or not.
        sides = tuple(min(int(v), n) for v, n in zip(rng.integers(1, 3, 2), shape[1:], strict=True))
        stride = sides if rng.random() < 0.7 else (1, 1)
        weight = np.full((channels, 1, *sides), 0.5)
        return Convolution(shape, Conv2d("p", ("x",), weight, np.zeros(channels), stride, (0, 0), (1, 1), channels))
    groups = 2 if channels % 2 == 0 and rng.random() < 0.5 else 1
    sides = [int(min(v, n)) for v, n in zip(rng.integers(1, 4, 2), shape[1:], strict=True)]
    weight = rng.normal(size=(4, channels // groups, *sides))
    stride, padding = (tuple(int(v) for v in rng.integers(low, 3, 2)) for low in (1, 0))
    return Convolution(shape, Conv2d("c", ("x",), weight, np.zeros(4), stride, padding, (1, 1), groups))


def test_joined_maps_give_what_one_after_the_other_gives() -> None:
    kinds: dict[str, int] = {}
    for seed in range(400):
        rng = np.random.default_rng(seed)
        shape = tuple(int(v) for v in rng.choice([2, 4, 6], 3))
        before = random_map(rng, shape)
        after = random_map(rng, before.out_shape)
        joined = compose(after, before)
        kinds[type(joined).__name__] = kinds.get(type(joined).__name__, 0) + 1
        x = rng.normal(size=(3, math.prod(shape)))
        np.testing.assert_allclose(apply(joined, x), apply(after, apply(before, x)), rtol=1e-9, atol=1e-9)
        assert math.prod(joined.out_shape) == math.prod(after.out_shape)
        assert joined.in_shape == shape
    assert min(kinds.get(k, 0) for k in ("Scaling", "Convolution", "Matrix")) > 20


def test_flattening_a_convolution_keeps_it_one() -> None:
    conv = Convolution((1, 3, 3), Conv2d("c", ("x",), np.ones((2, 1, 2, 2)), np.zeros(2)))
    assert reshaped(conv, (8,)) is conv


def test_a_matrix_that_would_be_too_large_is_refused() -> None:
    pool = Conv2d("p", ("x",), np.ones((4, 1, 3, 3)), np.zeros(4), (2, 2), (0, 0), (1, 1), 4)
    before = Convolution((4, 200, 200), pool)
    after = Convolution(before.out_shape, Conv2d("c", ("x",), np.ones((1, 4, 2, 2)), np.zeros(1)))
    with pytest.raises(ModelError, match="put neurons between them"):
        compose(after, before)
