"""Cost of one inference on a baseline: a CPU, a GPU, a dense accelerator. Formulas, not a simulation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwmodels import Baseline, Kind, Quantity, load_baseline
from neurosim.costs.baseline_array import row_stationary_events
from neurosim.costs.baseline_events import Events, operations_events
from neurosim.costs.baseline_systolic import systolic_events
from neurosim.costs.baseline_work import Density, Work, network_work
from neurosim.costs.energy import PROVENANCE, ZERO, EnergyTerm, Interval, provenance
from neurosim.errors import InputError, ModelError
from neurosim.network import Network

Rate = tuple[str, str, Interval]
"""Kind, source and joules of one event."""


@dataclass(frozen=True)
class BaselineLayer:
    """One connection's share, per inference.

    Attributes
    ----------
    label
        Names the connection.
    macs, macs_done
        As of `BaselineCost`.
    energy_j
        Its energy.
    time_s
        Time of a whole batch in this connection, None where no time is known.
    bound
        What takes longest in it: ``compute`` or a memory; None where no time is known.
    traffic_bytes
        Bytes read and written at each memory.
    """

    label: str
    macs: float
    macs_done: float
    energy_j: float
    time_s: float | None
    bound: str | None
    traffic_bytes: dict[str, float]


@dataclass(frozen=True)
class BaselineCost:
    """What one inference costs on a baseline.

    Attributes
    ----------
    network
        Name of the network.
    baseline
        The hardware.
    frames, batch, activation_bits
        As given to `baseline_cost`.
    weight_bits
        Width of the widest connection's weights.
    zeros
        What zero activations save here: ``gated`` or ``skipped``; None where nothing.
    macs
        Multiplications and additions of dense computing, per inference.
    macs_done
        Those that are done, where zeros are left out.
    terms
        Energy per inference, one term a constant; its arrays have a place for each connection. The counts of a power
        are seconds.
    layers
        Shares of the connections, in their order.
    notes
        Sentences that a reader of the numbers must not miss.
    """

    network: str
    baseline: Baseline
    frames: int
    batch: int
    activation_bits: int
    weight_bits: int
    zeros: str | None
    macs: float
    macs_done: float
    terms: tuple[EnergyTerm, ...]
    layers: tuple[BaselineLayer, ...]
    notes: tuple[str, ...]

    @property
    def energy_j(self) -> Interval:
        """Energy of one inference in J, with the ends that its constants allow."""
        return sum((term.energy_j for term in self.terms), ZERO)

    @cached_property
    def provenance(self) -> dict[str, float]:
        """Share of the energy that rests on each kind of constant."""
        return provenance(self.terms, ())

    @property
    def latency_s(self) -> float | None:
        """Time of one inference in s, that of its whole batch; a lower bound. None where no time is known.

        Connections one after another, in each the longest of computing and the memories whose bandwidth is known.
        """
        times = [layer.time_s for layer in self.layers if layer.time_s is not None]
        return math.fsum(times) if len(times) == len(self.layers) else None

    @property
    def throughput_per_s(self) -> float | None:
        """Inferences a second, batch after batch; None where no time is known or none is taken."""
        return self.batch / self.latency_s if self.latency_s else None

    @property
    def traffic_bytes(self) -> dict[str, float]:
        """Bytes per inference read and written at each memory; empty where the constants hold no memory apart."""
        names = dict.fromkeys(name for layer in self.layers for name in layer.traffic_bytes)
        return {name: math.fsum(layer.traffic_bytes.get(name, 0.0) for layer in self.layers) for name in names}


def baseline_cost(
    network: Network,
    baseline: str | Baseline,
    frames: int = 1,
    *,
    batch: int = 1,
    density: Density = None,
    activation_bits: int = 8,
    weight_bits: int | None = None,
) -> BaselineCost:
    """Return what one inference of a network costs on hardware that computes every frame densely.

    Parameters
    ----------
    network
        The network; units and delays do not matter, each frame takes all of its MACs.
    baseline
        A baseline, its name (`hwmodels.baseline_names`) or the path of its file.
    frames
        Frames that one inference takes in: 1 where every frame has its answer.
    batch
        Inferences worked on together; energy is that of one, latency that of the whole batch.
    density
        Share of activations that are not zero, from 0 to 1: one number, or one by name of each layer that sends.
        Hardware that leaves zeros out then does so; without it all MACs are done.
    activation_bits
        Width of activations.
    weight_bits
        Width of weights; None for what the widest weight of each connection needs.

    Raises
    ------
    ChipError
        The baseline is unknown or its file wrong.
    InputError
        A number out of its range, or a density that fits no layer.
    ModelError
        The network has no connection, or values or layers that the hardware cannot take.
    """
    hardware = baseline if isinstance(baseline, Baseline) else load_baseline(str(baseline))
    numbers = {"frames": frames, "batch": batch, "activation_bits": activation_bits}
    if weight_bits is not None:
        numbers["weight_bits"] = weight_bits
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} is {value!r}; it must be a whole number, 1 or more")
    if not network.connections:
        raise ModelError(f"{network.name}: has no connections, so nothing to compute; give a network that has")
    work = network_work(network, density, weight_bits)
    zeros = hardware.row_stationary.zeros if hardware.row_stationary and density is not None else None
    found = list(_events(hardware, network, work, batch, activation_bits, zeros is not None))
    per = frames / batch
    rates = _rates(hardware)
    terms = tuple(_term(key, rate, found, per) for key, rate in rates.items())
    layers = tuple(_layer(one, events, rates, frames, per) for one, events in zip(work, found, strict=True))
    return BaselineCost(
        network.name,
        hardware,
        frames,
        batch,
        activation_bits,
        max(one.weight_bits for one in work),
        zeros,
        sum(events.macs for events in found) * per,
        math.fsum(events.macs_done for events in found) * per,
        terms,
        layers,
        tuple(_notes(hardware, work, density, zeros)),
    )


def _events(
    hardware: Baseline, network: Network, work: tuple[Work, ...], batch: int, activation_bits: int, save_zeros: bool
) -> Iterator[Events]:
    booked: set[str] = set()
    for connection, one in zip(network.connections, work, strict=True):
        if hardware.row_stationary is not None:
            yield row_stationary_events(hardware.row_stationary, one, batch, activation_bits, save_zeros)
        elif hardware.systolic is not None:
            yield systolic_events(hardware.systolic, one, batch, activation_bits)
        elif hardware.operations is not None:
            # A layer fed by several connections is updated once.
            updates = 0 if connection.target in booked else network[connection.target].size
            booked.add(connection.target)
            yield operations_events(hardware.operations, one, updates, batch)


def _rates(hardware: Baseline) -> dict[str, Rate]:
    """Return the energy of each event, by its key in the baseline file."""
    if hardware.operations is not None:
        parts = hardware.operations.terms
        return {f"operations.terms.{name}": _product(term.count, term.energy) for name, term in parts.items()}
    if hardware.row_stationary is not None:
        unit, relative = hardware.row_stationary.unit_energy, hardware.row_stationary.relative
        names = type(relative).model_fields
        return {f"row_stationary.relative.{name}": _product(getattr(relative, name), unit) for name in names}
    assert hardware.systolic is not None
    idle, busy = hardware.systolic.idle, hardware.systolic.busy
    above = Interval(busy.value - idle.value, max(busy.low - idle.value, 0.0), busy.high - idle.value)
    return {
        "systolic.idle": (idle.kind.value, idle.source, Interval(idle.value, idle.low, idle.high)),
        "systolic.busy": (busy.kind.value, f"above idle: {busy.source}", above),
    }


def _product(count: Quantity, energy: Quantity) -> Rate:
    """Return a count of energies in J; its kind is the weaker one of the two."""
    kinds = [q.kind.value for q in (count, energy) if q.kind is not Kind.ARCHITECTURE]
    kind = max(kinds, key=PROVENANCE.index)
    ends = [c * e * 1e-12 for c, e in zip(_ends(count), _ends(energy), strict=True)]
    return kind, f"{energy.source}; times: {count.source}", Interval(*ends)


def _ends(quantity: Quantity) -> tuple[float, float, float]:
    return quantity.value, quantity.low, quantity.high


def _count(key: str, events: Events) -> float:
    name = "seconds" if key.startswith("systolic.") else key.rpartition(".")[2]
    return events.counts.get(name, 0.0)


def _term(key: str, rate: Rate, found: list[Events], per: float) -> EnergyTerm:
    kind, source, energy = rate
    counts = np.array([_count(key, events) for events in found], dtype=np.float64) * per
    name = key.rpartition(".")[2]
    memory = name if any(name in events.traffic_bits for events in found) else None
    return EnergyTerm(key, kind, source, counts, energy.scaled(float(counts.sum())), counts * energy.value, memory)


def _layer(work: Work, events: Events, rates: dict[str, Rate], frames: int, per: float) -> BaselineLayer:
    return BaselineLayer(
        work.label,
        events.macs * per,
        events.macs_done * per,
        math.fsum(_count(key, events) * per * energy.value for key, (_, _, energy) in rates.items()),
        max(events.times_s.values()) * frames if events.times_s else None,
        max(events.times_s, key=events.times_s.__getitem__) if events.times_s else None,
        {name: bits * per / 8.0 for name, bits in events.traffic_bits.items()},
    )


def _notes(hardware: Baseline, work: tuple[Work, ...], density: Density, zeros: str | None) -> Iterator[str]:
    if hardware.operations is None:
        if any(one.synapses < one.macs for one in work):
            names = ", ".join(one.label for one in work if one.synapses < one.macs)
            yield f"{names}: sparse, computed as the whole matrix"
        if any(one.pool for one in work):
            yield (
                "pooling and values passed on one to one: their traffic counts, their additions do not; no energy or "
                "time of these is published"
            )
        if hardware.systolic is not None:
            yield "energy is power times the least time, so it is a lower bound as the time is"
    elif not hardware.operations.memory_included:
        yield "arithmetic alone: memories are left out, which take most of the energy of real hardware"
    if density is not None and zeros is None:
        yield "a density was given, but this hardware does not leave zeros out"
    can = hardware.row_stationary.zeros if hardware.row_stationary else None
    if can and density is None:
        yield "no density was given: zeros are computed like other values"
