"""The unit of pools by maximum in converted networks: `Rounding` on the largest of several held sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.errors import ModelError
from neurosim.network.rounding import Rounding
from neurosim.network.unit_base import IntArray, State

MOST_PLACES = 1 << 10


@dataclass(frozen=True, eq=False)
class MaxRounding(Rounding):
    """Does with the largest of its sums what `Rounding` does with its one.

    A maximum is no sum of changes: it needs every value that it is taken of. So a neuron has an accumulator for each
    place of its window, its compartments; each adds up the changes that one value sends ("sigma before the pool"), and
    what is sent is the change of the rounded maximum ("delta after"). Without `accumulates` a sum is that of the
    timestep alone. A place that nothing leads to, outside of the image, stays at 0.

    Attributes
    ----------
    places
        Sums of a neuron, 2..1024.
    """

    places: int = 4

    kind = "max_rounding"
    state_names = ("sums", "held")
    takes_frames = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.places <= MOST_PLACES:
            raise ModelError(f"places is {self.places}; a maximum is taken of 2 to {MOST_PLACES} values")

    @property
    def compartments(self) -> int:  # type: ignore[override]
        """Accumulators of a neuron: one for each place."""
        return self.places

    def initial_state(self, size: int) -> State:
        """Return the state before timestep 1: zeros, the sums neuron by neuron."""
        return {"sums": np.zeros(size * self.places, dtype=np.int64), "held": np.zeros(size, dtype=np.int64)}

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        state["sums"][:] = state["sums"] + activation if self.accumulates else activation
        largest = state["sums"].reshape(-1, self.places).max(axis=1)
        return self.send(state, largest + frame, shape, timestep)
