"""Energy: counts times constants and powers times seconds, each term with its interval and its constant's kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip, Quantity
from neurosim.engine import LayerCount
from neurosim.engine.counters import WORKS

FloatArray = NDArray[np.float64]

PROVENANCE = ("measured", "simulated", "derived", "estimate", "gap")
"""Kinds of constants, from the firmest to the weakest; for a gap nobody published one, and an estimate stands in."""

STATIC_KEY = "power.static"


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
        Constant("core.neuron.send_energy", neuron.send_energy, (c.SENDS,), stateful=True),
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

    The ends take every energy constant and every power at the same end of its own range, so they bound
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
        float64 (layers,): events of each layer, or, where `timed`, seconds that its cores worked.
    energy_j
        Energy of all layers together.
    layer_energy_j
        float64 (layers,): energy of each layer.
    memory
        Memory it pays for, if any.
    timed
        Whether the constant is a power and the counts are seconds.
    """

    key: str
    kind: str
    source: str
    counts: FloatArray
    energy_j: Interval
    layer_energy_j: FloatArray
    memory: str | None
    timed: bool = False


@dataclass(frozen=True)
class PowerTerm:
    """A power that flows whether or not anything happens, times seconds.

    Attributes
    ----------
    key, kind, source
        The constant's place in the chip file, kind and source.
    parts
        Chips or cores that take it.
    seconds
        For how long each takes it.
    energy_j
        Energy of all of them together.
    """

    key: str
    kind: str
    source: str
    parts: int
    seconds: float
    energy_j: Interval


def dynamic_terms(
    chip: Chip, counts: NDArray[np.int64], busy_ps: NDArray[np.int64], stateful: NDArray[np.bool_], per: float
) -> tuple[EnergyTerm, ...]:
    """Return the energy of what happened.

    Parameters
    ----------
    chip
        Gives the constants.
    counts
        int64 (layers, LAYER_COUNTS).
    busy_ps
        int64 (layers, WORKS): time that the layers' cores worked.
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
        terms.append(_term(constant.key, constant.quantity, events / per, 1e-12, constant.memory))
    active = chip.power.active_core
    if active is not None:
        works = [place for place, name in enumerate(WORKS) if name in active_works(chip)]
        seconds = busy_ps[:, works].sum(axis=1) / (1e12 * per)
        terms.append(_term("power.active_core", active, seconds, 1.0, None, timed=True))
    return tuple(terms)


def active_works(chip: Chip) -> tuple[str, ...]:
    """Return the kinds of work for which a core's active power flows."""
    return tuple(name for name in WORKS if chip.power.active_work is None or name in chip.power.active_work)


def _term(
    key: str, q: Quantity, counts: FloatArray, joules: float, memory: str | None, timed: bool = False
) -> EnergyTerm:
    total = float(counts.sum())
    interval = Interval(total * q.value * joules, total * q.low * joules, total * q.high * joules)
    return EnergyTerm(key, str(q.kind.value), q.source, counts, interval, counts * (q.value * joules), memory, timed)


def power_terms(chip: Chip, cores: int, seconds: float) -> tuple[PowerTerm, ...]:
    """Return the energy of the powers that flow whether or not anything happens, static power last.

    Parameters
    ----------
    chip
        Gives the constants.
    cores
        Cores that the program uses, which are those that are powered.
    seconds
        How long it all takes.
    """
    power, chips = chip.power, chip.chip_count
    found = (
        ("power.powered_core", power.powered_core, cores),
        ("power.host", power.host, chips),
        (STATIC_KEY, power.static, chips),
    )
    return tuple(
        PowerTerm(
            key,
            str(q.kind.value),
            q.source,
            parts,
            seconds,
            Interval(q.value * parts * seconds, q.low * parts * seconds, q.high * parts * seconds),
        )
        for key, q, parts in found
        if q is not None
    )


def provenance(terms: tuple[EnergyTerm, ...], powers: tuple[PowerTerm, ...]) -> dict[str, float]:
    """Return the share of the energy that rests on each kind of constant; the shares add up to 1."""
    parts = dict.fromkeys(PROVENANCE, 0.0)
    for term in terms:
        parts[term.kind] += term.energy_j.value
    for power in powers:
        parts[power.kind] += power.energy_j.value
    total = sum(parts.values())
    return {kind: (part / total if total else 0.0) for kind, part in parts.items()}


@dataclass(frozen=True)
class Energy:
    """An energy and its parts.

    Attributes
    ----------
    terms
        Dynamic parts, one a constant of the chip.
    powers
        Idle parts: powers that flow whether or not anything happens, static power last.
    """

    terms: tuple[EnergyTerm, ...]
    powers: tuple[PowerTerm, ...]

    @property
    def static_j(self) -> Interval:
        """Static power of the chips times time."""
        return self.powers[-1].energy_j

    @property
    def idle_j(self) -> Interval:
        """Sum of the idle parts: what would have been used in the same time with nothing running."""
        total = ZERO
        for term in self.powers:
            total = total + term.energy_j
        return total

    @property
    def dynamic_j(self) -> Interval:
        """Sum of the dynamic parts: all that comes on top of the idle ones."""
        total = ZERO
        for term in self.terms:
            total = total + term.energy_j
        return total

    @property
    def total_j(self) -> Interval:
        """Dynamic and idle energy."""
        return self.dynamic_j + self.idle_j

    @property
    def seconds(self) -> float:
        """Time over which idle powers are charged."""
        return self.powers[-1].seconds

    @property
    def powers_w(self) -> dict[str, Interval] | None:
        """Mean powers in W as NeuroBench's system track defines them; None where no time passes.

        ``idle``: with nothing running. ``active``: while the network runs, in all. ``dynamic``: active less idle.
        """
        if not self.seconds:
            return None
        parts = {"idle": self.idle_j, "active": self.total_j, "dynamic": self.dynamic_j}
        return {name: part.scaled(1.0 / self.seconds) for name, part in parts.items()}

    @property
    def layer_dynamic_j(self) -> NDArray[np.float64]:
        """Dynamic energy of each layer, float64 (layers,)."""
        total: NDArray[np.float64] = np.sum([term.layer_energy_j for term in self.terms], axis=0)
        return total

    @property
    def provenance(self) -> dict[str, float]:
        """Share of the energy that rests on each kind of constant; the shares add up to 1."""
        return provenance(self.terms, self.powers)
