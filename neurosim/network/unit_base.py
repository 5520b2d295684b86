"""What every unit is, and arithmetic that units share.

State arrays are int64 of shape (n,), where n is the number of neurons of the layer. A message of 0 is
no message.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import ModelError

IntArray = NDArray[np.int64]
State = dict[str, IntArray]


def wrap_signed(values: IntArray, bits: int) -> IntArray:
    """Return `values` reduced to signed two's complement numbers of `bits` bits."""
    half = np.int64(1) << np.int64(bits - 1)
    return ((values + half) & ((half << 1) - 1)) - half


def spread(values: IntArray, shape: tuple[int, ...]) -> IntArray:
    """Return one value per neuron from a value per layer, per channel, or per neuron.

    Parameters
    ----------
    values
        int64, of size 1, of size ``shape[0]`` (channels) or of the layer's size.
    shape
        Shape of the layer, (C, H, W) or (N,).

    Returns
    -------
    int64 array of shape (n,), neurons in C, H, W order.

    Raises
    ------
    ModelError
        The size fits neither.
    """
    flat = np.asarray(values, dtype=np.int64).ravel()
    size = math.prod(shape)
    if flat.size == size:
        return flat.copy()
    if flat.size == 1:
        return np.full(size, flat[0], dtype=np.int64)
    if flat.size == shape[0]:
        return np.repeat(flat, size // shape[0])
    raise ModelError(f"{flat.size} values for a layer of shape {shape}; give 1, {shape[0]} or {size}")


def as_integers(value: Any) -> IntArray:
    """Return parameters given one or many as a flat int64 array."""
    return np.atleast_1d(np.asarray(value, dtype=np.int64)).ravel()


@dataclass(frozen=True, eq=False)
class Unit(ABC):
    """What every neuron of a layer computes in one timestep."""

    kind: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]]
    takes_frames: ClassVar[bool] = False
    """Whether a layer of this unit can be fed with frames."""
    omitted: ClassVar[dict[str, Any]] = {}
    """Parameters, and values at which files leave them out."""
    compartments: ClassVar[int] = 1
    """Accumulators of each neuron; of several, each takes a neuron slot of its own on a chip, and an update."""

    @property
    def graded(self) -> bool:
        """Whether messages carry a value; False for binary spikes."""
        return True

    def initial_state(self, size: int) -> State:
        """Return the state before timestep 1: zeros."""
        return {name: np.zeros(size, dtype=np.int64) for name in self.state_names}

    @abstractmethod
    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        """Advance `state` in place by one timestep and return the messages sent.

        Parameters
        ----------
        state
            Arrays of `initial_state`, changed in place.
        activation
            int64 (n * compartments,): weighted sum of the messages that arrive in this timestep, neuron by neuron.
        frame
            int64 (n,): external input of this timestep, zeros where the layer is not fed.
        shape
            Shape of the layer.
        timestep
            Number of the timestep, from 1.

        Returns
        -------
        int64 (n,): message of each neuron, 0 where none is sent.
        """

    def parameters(self) -> dict[str, Any]:
        """Return the kind and the parameters, but for those at which `omitted` leaves them out."""
        values: dict[str, Any] = {"kind": self.kind, **{item.name: getattr(self, item.name) for item in fields(self)}}
        return {name: v for name, v in values.items() if name not in self.omitted or v != self.omitted[name]}

    def to_dict(self) -> dict[str, Any]:
        """Return the kind and the parameters as plain values, as `parameters` does."""
        values = self.parameters()
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unit) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.kind)
