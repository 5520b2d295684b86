"""What one connection does on a baseline, and on hardware known by its energy per operation alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from hwmodels.baseline import Operations
from neurosim.costs.baseline_work import Work


@dataclass(frozen=True)
class Events:
    """Counts of one connection for one frame of a whole batch.

    Attributes
    ----------
    macs
        Multiplications and additions that dense computing takes.
    macs_done
        Those that are done, where zeros are left out.
    counts
        Events of each energy, by the last part of its key in the baseline file.
    traffic_bits
        Bits read and written at each memory.
    times_s
        Seconds that computing and each memory of known bandwidth take alone; the longest of them binds.
    """

    macs: int
    macs_done: float
    counts: dict[str, float]
    traffic_bits: dict[str, float] = field(default_factory=dict)
    times_s: dict[str, float] = field(default_factory=dict)


def operations_events(hardware: Operations, work: Work, updates: int, batch: int) -> Events:
    """Return the operations of a connection: its MACs and, once for each layer, the updates of its neurons.

    Parameters
    ----------
    hardware
        Gives the terms.
    work
        The connection; a pooling takes one MAC a tap, a sparse one those that are stored.
    updates
        Neurons whose update is booked to this connection.
    batch
        Inferences worked on together.
    """
    macs = work.synapses * batch
    events = {"mac": macs, "update": updates * batch}
    counts = {name: float(events[term.per]) for name, term in hardware.terms.items()}
    times = {}
    if hardware.clock is not None and hardware.macs_per_cycle is not None:
        times["compute"] = macs / (hardware.clock.value * hardware.macs_per_cycle.value)
    return Events(macs, float(macs), counts, {}, times)
