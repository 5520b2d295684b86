"""Energy: counts times constants, each term with its interval and the kind of its constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip, Quantity
from neurosim.engine import LayerCount

FloatArray = NDArray[np.float64]

PROVENANCE = ("measured", "simulated", "derived", "estimate")
"""Kinds of constants, from the firmest to the weakest."""


@dataclass(frozen=True)
class Constant:
    """An energy of the chip and the counts it is multiplied with.

    Attributes
    ----------
    key
        Where it stands in the chip file.
    quantity
        Energy in pJ with its interval, kind and source.
    counts
        Counts that are added up.
    memory
        Memory whose accesses it pays for, if any.
    stateful
        Whether only layers with state pay it.
    """

    key: str
    quantity: Quantity
    counts: tuple[LayerCount, ...]
    memory: str | None = None
    stateful: bool = False


def energy_constants(chip: Chip) -> tuple[Constant, ...]:
    """Return the energies that the chip charges per event."""
    core, network = chip.core, chip.network
    neuron, kinds = core.neuron, core.encodings
    c = LayerCount
    between = () if chip.chips is None else (Constant("chips.energy", chip.chips.energy, (c.FLIT_HOPS_CHIPS,)),)
    return (
        Constant(
            "core.neuron.update_active_energy",
            neuron.update_active_energy,
            (c.UPDATES_ACTIVE,),
            "neuron_state",
        ),
        Constant(
            "core.neuron.update_inactive_energy",
            neuron.update_inactive_energy,
            (c.UPDATES_INACTIVE,),
            "neuron_state",
        ),
        Constant("core.neuron.send_energy", neuron.send_energy, (c.MESSAGES,), stateful=True),
        Constant("core.axon_out.energy", core.axon_out.energy, (c.PACKETS,), "axon_out"),
        Constant("network.energy_local", network.energy_local, (c.COPIES,)),
        Constant("network.energy_east_west", network.energy_east_west, (c.FLIT_HOPS_EAST_WEST,)),
        Constant("network.energy_north_south", network.energy_north_south, (c.FLIT_HOPS_NORTH_SOUTH,)),
        Constant("core.axon_in.energy", core.axon_in.energy, (c.COPIES,), "axon_in"),
        Constant("core.encodings.dense.synop_energy", kinds.dense.synop_energy, (c.CHARGED_DENSE,), "synapse"),
        Constant("core.encodings.sparse.synop_energy", kinds.sparse.synop_energy, (c.CHARGED_SPARSE,), "synapse"),
        Constant("core.encodings.conv.synop_energy", kinds.conv.synop_energy, (c.CHARGED_CONV,), "synapse"),
        *between,
    )


@dataclass(frozen=True)
class Interval:
    """A number with the ends that its constants allow.

    The ends take every energy constant and the static power at the same end of its own range, so they bound
    the sum of independent constants from outside. Times stand at their values.
    """

    value: float
    low: float
    high: float

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.value + other.value, self.low + other.low, self.high + other.high)

    def scaled(self, factor: float) -> Interval:
        """Return the interval times a factor that is not negative."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)


ZERO = Interval(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class EnergyTerm:
    """One constant times its counts.

    Attributes
    ----------
    key, kind, source
        The constant's place in the chip file, kind and source.
    counts
        float64 (layers,): events of each layer.
    energy_j
        Energy of all layers together.
    layer_energy_j
        float64 (layers,): energy of each layer.
    memory
        Memory it pays for, if any.
    """

    key: str
    kind: str
    source: str
    counts: FloatArray
    energy_j: Interval
    layer_energy_j: FloatArray
    memory: str | None


def dynamic_terms(
    chip: Chip, counts: NDArray[np.int64], stateful: NDArray[np.bool_], per: float
) -> tuple[EnergyTerm, ...]:
    """Return the energy of what happened.

    Parameters
    ----------
    chip
        Gives the constants.
    counts
        int64 (layers, LAYER_COUNTS).
    stateful
        bool (layers,): layers that have state; relays of outside messages pay no sending.
    per
        Everything is divided by this, for instance the number of inferences.
    """
    terms = []
    for constant in energy_constants(chip):
        events = counts[:, list(constant.counts)].sum(axis=1).astype(np.float64)
        if constant.stateful:
            events = np.where(stateful, events, 0.0)
        events = events / per
        total, q = float(events.sum()), constant.quantity
        terms.append(
            EnergyTerm(
                constant.key,
                str(q.kind.value),
                q.source,
                events,
                Interval(total * q.value * 1e-12, total * q.low * 1e-12, total * q.high * 1e-12),
                events * (q.value * 1e-12),
                constant.memory,
            )
        )
    return tuple(terms)


def static_term(chip: Chip, seconds: float) -> tuple[str, Interval]:
    """Return the kind of the static power, and the energy of all chips over `seconds`."""
    power, time = chip.power.static, seconds * chip.chip_count
    return str(power.kind.value), Interval(power.value * time, power.low * time, power.high * time)


def provenance(terms: tuple[EnergyTerm, ...], static: tuple[str, Interval]) -> dict[str, float]:
    """Return the share of the energy that rests on each kind of constant; the shares add up to 1."""
    parts = dict.fromkeys(PROVENANCE, 0.0)
    for term in terms:
        parts[term.kind] += term.energy_j.value
    parts[static[0]] += static[1].value
    total = sum(parts.values())
    return {kind: (part / total if total else 0.0) for kind, part in parts.items()}
