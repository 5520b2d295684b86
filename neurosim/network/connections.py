"""Connections: which layers feed which, through what transform, after what delay."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import ModelError
from neurosim.network.transforms import Transform
from neurosim.network.unit_base import Unit

MAX_DELAY = 62
"""Longest delay in timesteps that a network may ask for (NetX clips here; Loihi's limit)."""

DELAY_KINDS = ("axon", "neuron", "synapse")


@dataclass(frozen=True, eq=False)
class Delay:
    """Extra timesteps between a message and its effect.

    Attributes
    ----------
    kind
        ``axon``: a value per source neuron. ``neuron``: a value per target neuron. ``synapse``: a value
        per stored weight, in the shape of the transform's weights.
    values
        int64, 0..62 timesteps.
    """

    kind: str
    values: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.kind not in DELAY_KINDS:
            raise ModelError(f'delay kind "{self.kind}" is not known; use one of {", ".join(DELAY_KINDS)}')
        values = np.asarray(self.values, dtype=np.int64)
        if values.size and (values.min() < 0 or values.max() > MAX_DELAY):
            raise ModelError(
                f"delays reach from {values.min()} to {values.max()} timesteps; keep them in 0..{MAX_DELAY}"
            )
        object.__setattr__(self, "values", values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Delay) and self.kind == other.kind and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(self.kind)

    @property
    def longest(self) -> int:
        """Longest delay in timesteps."""
        return int(self.values.max()) if self.values.size else 0


@dataclass(frozen=True, eq=False)
class Connection:
    """One transform from one or several source layers to a target layer.

    Several sources are concatenated, in the order given, along the first axis of their shapes. A message
    sent in timestep t takes effect in timestep t + 1 + delay. Several connections into one layer add up.

    Attributes
    ----------
    sources, target
        Names of layers. The target may be among the sources (recurrence).
    transform
        Its input size is the sum of the sources' sizes; its output size the target's, times the number of compartments
        that it leads to: neuron by neuron, the compartments of each in their order.
    delay
        None for no delay beyond the one timestep.
    accumulator_bits
        Width to which the sum of a timestep wraps, in bits; None where it is exact.
    compartments
        Accumulators of each target neuron that it leads to, ascending, from 0; None for all that the unit has.
    """

    sources: tuple[str, ...]
    target: str
    transform: Transform
    delay: Delay | None = None
    accumulator_bits: int | None = None
    compartments: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.compartments is not None:
            given = self.compartments
            object.__setattr__(self, "compartments", tuple(int(v) for v in given))
            if not given or min(given) < 0 or any(b <= a for a, b in pairwise(given)):
                raise ModelError(f"{self.label}: compartments are {given}; give one or more, ascending from 0")
        if self.delay is None:
            return
        expected = {
            "axon": (self.transform.in_size,),
            "neuron": (self.transform.out_size,),
            "synapse": self.transform.weights.shape,
        }[self.delay.kind]
        if self.delay.values.shape != expected:
            raise ModelError(
                f"{self.label}: {self.delay.kind} delays have shape {self.delay.values.shape}; "
                f"this connection needs {expected}"
            )

    @property
    def label(self) -> str:
        """Words that name this connection in messages to people."""
        return f"connection {'+'.join(self.sources)} -> {self.target}"

    def leads_to(self, unit: Unit) -> tuple[int, ...]:
        """Return the compartments of each neuron that it leads to, where the target is of `unit`."""
        return tuple(range(unit.compartments)) if self.compartments is None else self.compartments

    @property
    def longest_delay(self) -> int:
        """Longest delay in timesteps."""
        return self.delay.longest if self.delay else 0

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Connection)
            and (self.sources, self.target) == (other.sources, other.target)
            and self.transform == other.transform
            and self.delay == other.delay
            and self.accumulator_bits == other.accumulator_bits
            and self.compartments == other.compartments
        )

    def __hash__(self) -> int:
        return hash((self.sources, self.target))
