"""What a transform is: a weighted sum, and how many synapses a message meets in it.

Neurons of a layer of shape (C, H, W) are numbered in C, H, W order.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import ModelError

IntArray = NDArray[np.int64]
Box = tuple[tuple[int, int], ...]
"""Half-open ranges: channels, rows, columns of a convolution's output, or one range of neurons."""

MAX_WEIGHT = (1 << 31) - 1
"""Weights are kept as 32-bit signed integers."""


@dataclass(frozen=True)
class FanOut:
    """How many synapses a message of each source neuron meets in a part of the target layer.

    Attributes
    ----------
    sources
        int64 (m,): source neurons that have at least one synapse there, ascending.
    structural
        int64 (m,): synapses inside the layer's bounds, zero weights included.
    nonzero
        int64 (m,): those whose weight is not zero.
    taps
        int64 (m,): kernel positions met, for a convolution; 1 for other transforms.
    """

    sources: IntArray
    structural: IntArray
    nonzero: IntArray
    taps: IntArray


def as_weights(weights: Any, name: str) -> NDArray[np.int32]:
    """Return `weights` as 32-bit integers.

    Raises
    ------
    ModelError
        Values that are not finite integers or exceed 32 bits; `name` is what the message calls them.
    """
    values = np.asarray(weights)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise ModelError(f"{name}{list(place)} is {values[place]!s}; weights must be finite integers")
        if (values != np.rint(values)).any():
            place = tuple(int(i) for i in np.argwhere(values != np.rint(values))[0])
            raise ModelError(f"{name}{list(place)} is {values[place]!s}; weights must be integers: quantise first")
    elif values.dtype.kind not in "iub":
        raise ModelError(f"{name} has dtype {values.dtype}; weights must be real numbers holding integers")
    if values.size and max(abs(int(values.max())), abs(int(values.min()))) > MAX_WEIGHT:
        raise ModelError(f"{name} reaches {values.min()}..{values.max()}; the limit is +-{MAX_WEIGHT}")
    return np.ascontiguousarray(values, dtype=np.int32)


class Transform(ABC):
    """A linear map from the messages of the sources to the activations of the target."""

    kind: ClassVar[str]
    weights: NDArray[np.int32]
    divisor: int = 1
    """The sum of a timestep is divided by this, rounding down (average pooling)."""

    @property
    @abstractmethod
    def in_size(self) -> int:
        """Number of source neurons."""

    @property
    @abstractmethod
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the output, (C, H, W) or (N,)."""

    @property
    def out_size(self) -> int:
        """Number of target neurons."""
        return math.prod(self.out_shape)

    @abstractmethod
    def apply(self, messages: IntArray, weights: IntArray | None = None) -> IntArray:
        """Return the sums that `messages` cause, before any wrap or division: the plain reference.

        Parameters
        ----------
        messages
            int64 (in_size,).
        weights
            Used in place of the transform's own, in the same shape.

        Returns
        -------
        int64 (out_size,).
        """

    @abstractmethod
    def fan_out(self, box: Box | None = None) -> FanOut:
        """Count the synapses that a message of each source neuron meets inside `box` of the output.

        Parameters
        ----------
        box
            Channel, row and column ranges of a (C, H, W) output, or one neuron range of an (N,) output;
            None for the whole output.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the kind and the parameters; arrays stay arrays."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Transform):
            return NotImplemented
        mine, theirs = self.to_dict(), other.to_dict()
        return mine.keys() == theirs.keys() and all(np.array_equal(mine[k], theirs[k]) for k in mine)

    def __hash__(self) -> int:
        return hash((self.kind, self.in_size, self.out_shape))
