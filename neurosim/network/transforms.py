"""The transforms a connection can have: dense and sparse ones here, convolutions beside them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from neurosim.errors import ModelError, suggest
from neurosim.network.convolution import Conv2d, Pool2d, axis_taps
from neurosim.network.transform_base import Box, FanOut, IntArray, Transform, as_weights

__all__ = [
    "TRANSFORMS",
    "Box",
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
        self.targets = np.ascontiguousarray(targets, dtype=np.int64)
        self.weights = as_weights(weights, "weight")
        self._out_size = int(out_size)
        starts, count = self.row_start, self.targets.size
        ordered = starts.ndim == 1 and starts.size >= 2 and starts[0] == 0 and (np.diff(starts) >= 0).all()
        if not ordered or starts[-1] != count:
            raise ModelError(f"row_start must rise from 0 to the number of synapses ({count})")
        if self.weights.shape != (count,):
            raise ModelError(f"{count} targets, but weights of shape {self.weights.shape}; give one a synapse")
        if count and (self.targets.min() < 0 or self.targets.max() >= self._out_size):
            raise ModelError(
                f"targets reach {self.targets.min()}..{self.targets.max()}; the layer has 0..{self._out_size - 1}"
            )
        rows = np.repeat(np.arange(starts.size - 1), np.diff(starts))
        order = rows * self._out_size + self.targets
        if (np.diff(order) <= 0).any():
            raise ModelError("targets must ascend, without repeats, within each source neuron; sort them")
        self._rows = rows

    @property
    def in_size(self) -> int:
        return int(self.row_start.size - 1)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (self._out_size,)

    def apply(self, messages: IntArray, weights: IntArray | None = None) -> IntArray:
        used = self.weights.astype(np.int64) if weights is None else weights
        out = np.zeros(self._out_size, dtype=np.int64)
        np.add.at(out, self.targets, used * messages[self._rows])
        return out

    def into(self, low: int, high: int) -> IntArray:
        """Return the numbers of the synapses into targets `low` to `high` - 1, ascending."""
        first, last = self._target_start[[low, high]]
        return np.sort(self._by_target[first:last])

    def fan_out(self, box: Box | None = None) -> FanOut:
        low, high = box[0] if box else (0, self._out_size)
        first, last = self._target_start[[low, high]]
        inside = self._by_target[first:last]
        structural = np.bincount(self._rows[inside], minlength=self.in_size).astype(np.int64)
        inside = inside[self.weights[inside] != 0]
        filled = np.bincount(self._rows[inside], minlength=self.in_size).astype(np.int64)
        sources = np.flatnonzero(structural)
        return FanOut(sources, structural[sources], filled[sources], np.ones_like(sources))

    @cached_property
    def _by_target(self) -> IntArray:
        """Synapses in the order of their targets, so that a core's are neighbours."""
        return np.argsort(self.targets, kind="stable")

    @cached_property
    def _target_start(self) -> IntArray:
        """Where each target's synapses begin in `_by_target`."""
        return np.searchsorted(self.targets[self._by_target], np.arange(self._out_size + 1))

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "row_start": self.row_start,
            "targets": self.targets,
            "weights": self.weights,
            "out_size": self._out_size,
        }


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
