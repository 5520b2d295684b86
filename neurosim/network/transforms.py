"""The transforms a connection can have: dense and sparse ones here, convolutions beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurosim.errors import ModelError, suggest
from neurosim.network.convolution import Conv2d, Pool2d, axis_taps
from neurosim.network.transform_base import Box, FanOut, IntArray, Transform, as_weights

__all__ = [
    "TRANSFORMS",
    "Box",
    "ByTarget",
    "Conv2d",
    "Dense",
    "FanOut",
    "IntArray",
    "Pool2d",
    "Sparse",
    "Transform",
    "axis_taps",
    "transform_from_dict",
]


MAX_TARGETS = 1 << 31
"""Targets are numbered with 32 bits."""


class Dense(Transform):
    """All-to-all connection.

    Parameters
    ----------
    weights
        Integers of shape (out, in).
    """

    kind = "dense"

    def __init__(self, weights: Any) -> None:
        self.weights = as_weights(weights, "weight")
        if self.weights.ndim != 2 or 0 in self.weights.shape:
            raise ModelError(f"dense weights have shape {self.weights.shape}; give (out, in), each 1 or more")

    @property
    def in_size(self) -> int:
        return int(self.weights.shape[1])

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (int(self.weights.shape[0]),)

    def apply(self, messages: IntArray, weights: IntArray | None = None) -> IntArray:
        used = self.weights.astype(np.int64) if weights is None else weights
        return used @ messages

    def fan_out(self, box: Box | None = None) -> FanOut:
        low, high = box[0] if box else (0, self.out_size)
        sources = np.arange(self.in_size if low < high else 0)
        structural = np.full(sources.size, high - low)
        nonzero = np.count_nonzero(self.weights[low:high], axis=0).astype(np.int64)[sources]
        return FanOut(sources, structural, nonzero, np.ones_like(sources))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "weights": self.weights}


class Sparse(Transform):
    """Connection given synapse by synapse.

    Parameters
    ----------
    row_start
        Integers (in + 1,): where the synapses of each source neuron begin.
    targets
        Integers (nnz,): target neuron of each synapse, ascending within a source neuron.
    weights
        Integers (nnz,).
    out_size
        Number of target neurons.
    """

    kind = "sparse"

    def __init__(self, row_start: Any, targets: Any, weights: Any, out_size: int) -> None:
        self.row_start = np.ascontiguousarray(row_start, dtype=np.int64)
        self.weights = as_weights(weights, "weight")
        self._out_size = int(out_size)
        given = np.asarray(targets)
        if given.dtype.kind not in "iu":
            given = given.astype(np.int64)
        starts, count = self.row_start, given.size
        ordered = starts.ndim == 1 and starts.size >= 2 and starts[0] == 0 and (np.diff(starts) >= 0).all()
        if not ordered or starts[-1] != count:
            raise ModelError(f"row_start must rise from 0 to the number of synapses ({count})")
        if self.weights.shape != (count,):
            raise ModelError(f"{count} targets, but weights of shape {self.weights.shape}; give one a synapse")
        if self._out_size > MAX_TARGETS:
            raise ModelError(f"out_size is {self._out_size}; the limit is {MAX_TARGETS}")
        if count and (given.min() < 0 or given.max() >= self._out_size):
            raise ModelError(f"targets reach {given.min()}..{given.max()}; the layer has 0..{self._out_size - 1}")
        self.targets = np.ascontiguousarray(given, dtype=np.int32)
        falls = self.targets[1:] <= self.targets[:-1]
        first = starts[1:-1]
        falls[first[(first > 0) & (first < count)] - 1] = False  # from one source to the next they may
        if falls.any():
            raise ModelError("targets must ascend, without repeats, within each source neuron; sort them")

    @property
    def in_size(self) -> int:
        return int(self.row_start.size - 1)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (self._out_size,)

    def apply(self, messages: IntArray, weights: IntArray | None = None) -> IntArray:
        used = self.weights.astype(np.int64) if weights is None else weights
        out = np.zeros(self._out_size, dtype=np.int64)
        np.add.at(out, self.targets, used * np.repeat(messages, np.diff(self.row_start)))
        return out

    def into(self, low: int, high: int) -> IntArray:
        """Return the numbers of the synapses into targets `low` to `high` - 1, ascending."""
        return np.flatnonzero((self.targets >= low) & (self.targets < high))

    def sources_of(self, synapses: IntArray) -> IntArray:
        """Return the source neuron of each of `synapses`."""
        return np.searchsorted(self.row_start, synapses, side="right") - 1

    def fan_out(self, box: Box | None = None) -> FanOut:
        low, high = box[0] if box else (0, self._out_size)
        if (low, high) == (0, self._out_size):
            structural = np.diff(self.row_start)
            empty = np.flatnonzero(self.weights == 0)
        else:
            inside = self.into(low, high)
            structural = np.bincount(self.sources_of(inside), minlength=self.in_size).astype(np.int64, copy=False)
            empty = inside[self.weights[inside] == 0]
        nonzero = structural - np.bincount(self.sources_of(empty), minlength=self.in_size)
        sources = np.flatnonzero(structural)
        return FanOut(sources, structural[sources], nonzero[sources], _ones(sources.size))

    def by_target(self) -> ByTarget:
        """Return the synapses in the order of their targets, for who asks for the fan-out of many boxes."""
        return ByTarget(self)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "row_start": self.row_start,
            "targets": self.targets,
            "weights": self.weights,
            "out_size": self._out_size,
        }


class ByTarget:
    """Synapses of a sparse transform in the order of their targets, so that a core's are neighbours.

    It takes 5 bytes a synapse, and is made in blocks, so that making it takes little more.

    Parameters
    ----------
    transform
        Whose synapses.
    block
        How many are sorted at a time; the result is the same for any number.

    Attributes
    ----------
    source
        int32 (nnz,): source neuron of each synapse.
    filled
        bool (nnz,): whether its weight is not zero.
    start
        int64 (out + 1,): where each target's synapses begin.
    """

    def __init__(self, transform: Sparse, block: int = 1 << 20) -> None:
        targets, count = transform.targets, transform.targets.size
        self.in_size = transform.in_size
        found = np.zeros(transform.out_size, dtype=np.int64)
        for at in range(0, count, block):
            found += np.bincount(targets[at : at + block], minlength=found.size)
        self.start = np.concatenate(([0], np.cumsum(found)))
        self.source = np.empty(count, dtype=np.int32)
        self.filled = np.empty(count, dtype=np.bool_)
        place = self.start[:-1].copy()
        for at in range(0, count, block):
            some = targets[at : at + block]
            low, high = transform.sources_of(np.array([at, at + some.size - 1]))
            starts: IntArray = np.clip(transform.row_start[low : high + 2], at, at + some.size)
            order = np.argsort(some, kind="stable")
            some = some[order]
            here = np.bincount(some, minlength=place.size)
            # Its place: the next free one of its target, after those of the same target earlier in the block.
            to = np.arange(some.size) + (place - (np.cumsum(here) - here))[some]
            self.source[to] = np.repeat(np.arange(low, high + 1, dtype=np.int32), np.diff(starts))[order]
            self.filled[to] = (transform.weights[at : at + some.size] != 0)[order]
            place += here

    def fan_out(self, low: int, high: int) -> FanOut:
        """Count as `Sparse.fan_out` for targets `low` to `high` - 1."""
        first, last = self.start[[low, high]]
        inside, filled = self.source[first:last], self.filled[first:last]
        structural = np.bincount(inside, minlength=self.in_size).astype(np.int64, copy=False)
        nonzero = structural
        if not filled.all():
            nonzero = np.bincount(inside[filled], minlength=self.in_size).astype(np.int64, copy=False)
        sources = np.flatnonzero(structural)
        met = structural[sources]
        return FanOut(sources, met, met if nonzero is structural else nonzero[sources], _ones(sources.size))


def _ones(size: int) -> IntArray:
    """Return ones that take no memory, not to be written on."""
    return np.broadcast_to(np.int64(1), (size,))


TRANSFORMS: dict[str, type[Transform]] = {t.kind: t for t in (Dense, Sparse, Conv2d, Pool2d)}


def transform_from_dict(values: dict[str, Any]) -> Transform:
    """Return the transform that `Transform.to_dict` described.

    Raises
    ------
    ModelError
        Unknown kind, or parameters that this kind does not have or lacks.
    """
    rest = dict(values)
    kind = rest.pop("kind", None)
    if kind not in TRANSFORMS:
        raise ModelError(
            f'transform "{kind}" is not known; known: {", ".join(TRANSFORMS)}' + suggest(str(kind), TRANSFORMS)
        )
    try:
        return TRANSFORMS[kind](**rest)
    except TypeError as error:
        raise ModelError(f"transform {kind}: {error}") from error
