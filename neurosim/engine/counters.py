"""What is counted in every timestep, and the names of the counts."""

from __future__ import annotations

from enum import IntEnum


class LayerCount(IntEnum):
    """Columns of the counts kept for each timestep and layer.

    COPIES are the messages that packets bring to cores: one a packet, more if it is multicast.
    Everything a message causes, up to the synapses it meets on other layers' cores, is booked to the
    layer that sent it; a neuron's update is booked to its own layer. SENDS is how often cores sent for messages to
    each of their destinations: once, or as unit spikes or pieces. UNIT_SPIKES and UNIT_ADDS are what messages are, or
    would be, as unit spikes, however they were sent: sum of |d|, and of |d| times the synapses met.
    """

    MESSAGES = 0
    SYNOPS = 1
    SYNOPS_NONZERO = 2
    UPDATES_ACTIVE = 3
    UPDATES_INACTIVE = 4
    PACKETS = 5
    FLITS = 6
    HOPS = 7
    FLIT_HOPS_EAST_WEST = 8
    FLIT_HOPS_NORTH_SOUTH = 9
    CHARGED_DENSE = 10
    CHARGED_SPARSE = 11
    CHARGED_CONV = 12
    SYNAPSE_WORDS = 13
    STATE_WORDS_READ = 14
    STATE_WORDS_WRITTEN = 15
    LARGEST_MESSAGE = 16
    FLIT_HOPS_CHIPS = 17
    COPIES = 18
    SENDS = 19
    UNIT_SPIKES = 20
    UNIT_ADDS = 21


LAYER_COUNTS = len(LayerCount)


class CoreCount(IntEnum):
    """Columns of the counts kept for each core over a run; times in ps.

    INPUT_WAIT_PS and INJECTION_QUEUE_PS are times that packets stood in the core's input and injection queue,
    added up over the packets: over the length of the run they are the mean numbers in the queues (Little's law).
    A packet of several flits counts as if its tail left the injection queue right behind its head. For processors
    AXON_IN_PS is the time of interrupts, SYNAPSE_READ_PS that of transfers from the tile's memory, MEMORY_WAIT_PS
    the time that they waited for it, ACCUMULATE_PS the work on rows. Where messages share a port with the sweep
    MEMORY_WAIT_PS is the time that they waited for that.
    """

    PACKETS_OUT = 0
    PACKETS_IN = 1
    SYNOPS_CHARGED = 2
    SWEEP_PS = 3
    STALL_PS = 4
    AXON_IN_PS = 5
    SYNAPSE_READ_PS = 6
    ACCUMULATE_PS = 7
    INPUT_WAIT_PS = 8
    INJECTION_QUEUE_PS = 9
    SET_UP_PS = 10
    MEMORY_WAIT_PS = 11


CORE_COUNTS = len(CoreCount)

WORKS = {
    "sweep": CoreCount.SWEEP_PS,
    "interrupt": CoreCount.AXON_IN_PS,
    "set_up": CoreCount.SET_UP_PS,
    "row": CoreCount.ACCUMULATE_PS,
}
"""What a processor core is busy with -> the count of its time. The four exclude each other."""


class StepCount(IntEnum):
    """What went wrong in a timestep, where a chip lets it.

    LATE_PS is by how much its work went beyond its tick, LATE_SWEEPS the cores whose sweep did, LATE_MESSAGES the
    messages that were not worked in by then. DROPPED are messages that a router gave up, by cores that should have
    got them; LOST those that found no place in a core's buffer. DETOURS and REINJECTED are flits on a way round, and
    sent again.
    """

    LATE_PS = 0
    LATE_SWEEPS = 1
    LATE_MESSAGES = 2
    DROPPED = 3
    LOST = 4
    DETOURS = 5
    REINJECTED = 6


STEP_COUNTS = len(StepCount)
