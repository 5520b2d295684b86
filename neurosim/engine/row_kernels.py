"""Rows of state of the network kernels, and what is done to one row: the two ends of a core, new rows.

State stands in a few arrays of rows, one row an input, a core, a packet or a copy: rows share cache lines,
and the compiler counts references of every array that a helper is given. Here are the columns.
"""

from __future__ import annotations

import numba as nb
import numpy as np

# Columns of the counters kept for each core.
CORE_SWEEP_END, CORE_FINISH, CORE_STALL, CORE_WAIT, CORE_COUNTERS = 0, 1, 2, 3, 4

# An input (a virtual channel of a port); INPUT_FREE, SIDE and all from OUTPUT_FREE on count in channel 0 only.
FIRST, COUNT, INPUT_FREE, WAITED_FOR, UPSTREAM, FEEDER, RETURN, FIFO, WANTS, SIDE = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
# The output of the same port; LOCKED is kept for each channel.
OUTPUT_FREE, POINTER, LOCKED, LEADS, LATENCY, SPACE, EJECTS, PASSED, DATELINE, DROPPED = (
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
)
SINCE, DETOURS, REINJECTED, LAST_SLOT = 20, 21, 22, 23
PORT = 24

# A core: its sending side, then its receiving side.
SENDING, SENT_FLITS, READY, SOURCE_FREE, LEFT_FIRST, LEFT_LAST, LEFT_NEXT, LAST_PACKET = 0, 1, 2, 3, 4, 5, 6, 7
EJECT_FIRST, EJECT_LAST, EJECT_NEXT, AXON_LEFT, READ_LEFT, FINISH, RING, RING_NEXT = 8, 9, 10, 11, 12, 13, 14, 15
CORE = 16

# A packet; TREE is -1 for a unicast packet, whose only copy says where it goes.
# READY_AT (when it entered the injection queue) and RELEASE (before which the sweep does not begin on it) are for
# processors, whose rows of no flits are work of the sweep without a packet.
FLITS, WORK, TREE, COPY, INJECTED, LEFT, READY_AT, RELEASE = 0, 1, 2, 3, 4, 5, 6, 7
PACKET = 8

# A flit is one number: its packet; whether it was sent again; the outputs that it takes at the next router if they
# are not those of the packet; and whether it is a tail.
PACKET_SHIFT = 32
SENT_AGAIN = 1 << 31
OUTPUTS = (1 << 30) - 1

# A copy of a packet, one for each core that gets it, in the order of cores.
TO_CORE, READ, ACCUMULATE, ARRIVED = 0, 1, 2, 3
COPIES = 4


@nb.njit(cache=True, nogil=True, inline="always")
def wanted_outputs(packet, router, packets, copies, way, trees):
    """Return the outputs that a packet wants at a router, a bit each."""
    tree = packets[packet * PACKET + TREE]
    if tree >= 0:
        wanted = trees[tree, router]
    else:
        wanted = np.int64(1) << way[copies[packets[packet * PACKET + COPY] * COPIES + TO_CORE], router]
    return wanted


@nb.njit(cache=True, nogil=True, inline="always")
def head_wants(flit, router, packets, copies, way, trees):
    """Return the outputs that a flit wants as it becomes the first of its FIFO, a bit each."""
    wanted = (flit >> 1) & OUTPUTS
    if wanted == 0:
        wanted = wanted_outputs(flit >> PACKET_SHIFT, router, packets, copies, way, trees)
    return wanted


@nb.njit(cache=True, nogil=True, inline="always")
def copy_at(packet, core, packets, copies):
    """Return where in `copies` the row of a packet's copy for `core` begins."""
    low = packets[packet * PACKET + COPY]
    high = packets[(packet + 1) * PACKET + COPY] - 1
    while low < high:
        middle = (low + high) >> 1
        if copies[middle * COPIES + TO_CORE] < core:
            low = middle + 1
        else:
            high = middle
    return low * COPIES


@nb.njit(cache=True, nogil=True, inline="always")
def inject(core, slot, port, inject_latency, inject_interval, cores, packets, ports, fifo, rings, counters):
    """Put the next flit of `core` into an empty slot of its router, stamped with the time it is there."""
    at = core * CORE
    packet = cores[at + SENDING]
    row = packet * PACKET
    when = max(max(cores[at + READY], cores[at + SOURCE_FREE]), fifo[slot] + ports[port + RETURN])
    if cores[at + SENT_FLITS] == 0:
        packets[row + INJECTED] = when
    cores[at + SENT_FLITS] += 1
    tail = cores[at + SENT_FLITS] == packets[row + FLITS]
    fifo[slot] = when + inject_latency
    fifo[slot + 1] = (packet << PACKET_SHIFT) | np.int64(tail)
    ports[port + COUNT] += 1
    cores[at + SOURCE_FREE] = when + inject_interval
    if tail:
        packets[row + LEFT] = when
        left = cores[at + LEFT_NEXT]
        rings[left] = when
        left += 1
        if left == cores[at + LEFT_LAST]:
            left = cores[at + LEFT_FIRST]
        cores[at + LEFT_NEXT] = left
        cores[at + SENT_FLITS] = 0
        cores[at + SENDING] = packet + 1
        if packet + 1 == cores[at + LAST_PACKET]:
            counters[core, CORE_SWEEP_END] += cores[at + READY]
        else:
            done = cores[at + READY] + packets[row + PACKET + WORK]
            cores[at + READY] = max(done, rings[left])
            counters[core, CORE_STALL] += cores[at + READY] - done


@nb.njit(cache=True, nogil=True)
def sweep_end(core, cores, packets, rings, counters):
    """Return when a core's sweep ends, or -1.

    It is known as soon as the packet has left in whose place the last one enters the queue.
    """
    at = core * CORE
    end = counters[core, CORE_SWEEP_END]
    packet, last = cores[at + SENDING], cores[at + LAST_PACKET]
    if packet + cores[at + LEFT_LAST] - cores[at + LEFT_FIRST] < last:
        return np.int64(-1)
    if packet < last:
        ready = cores[at + READY]
        left = cores[at + LEFT_NEXT]
        for p in range(packet + 1, last):
            left += 1
            if left == cores[at + LEFT_LAST]:
                left = cores[at + LEFT_FIRST]
            ready = max(ready + packets[p * PACKET + WORK], rings[left])
        end += ready
    return end


@nb.njit(cache=True, nogil=True, inline="always")
def receive(core, arrival, copy, t_axon, stage_queue, cores, copies, rings, counters):
    """Pass one message through axon-in, synapse read and accumulate; return when axon-in takes it.

    A core keeps when each server was left by the message before, and, in two rings, when the last messages
    entered the second and the third server, for the finite queues before them.
    """
    at = core * CORE
    ring = cores[at + RING] + cores[at + RING_NEXT]
    taken = max(arrival, cores[at + AXON_LEFT])
    done = max(taken + t_axon, rings[ring])
    start = max(done, cores[at + READ_LEFT])
    left = max(start + copies[copy + READ], rings[ring + stage_queue])
    begin = max(left, cores[at + FINISH])
    cores[at + AXON_LEFT] = done
    cores[at + READ_LEFT] = left
    cores[at + FINISH] = begin + copies[copy + ACCUMULATE]
    rings[ring] = start
    rings[ring + stage_queue] = begin
    cores[at + RING_NEXT] += 1
    if cores[at + RING_NEXT] == stage_queue:
        cores[at + RING_NEXT] = 0
    counters[core, CORE_WAIT] += taken - arrival
    return taken


@nb.njit(cache=True, nogil=True)
def new_ports(
    next_router,
    next_port,
    latency,
    interval,
    credit,
    router_core,
    side,
    dateline,
    channels,
    buffer_flits,
    reinject_slots,
):
    """Return the rows of all inputs and outputs; see the columns above and `time_kernels.time_step`.

    Where there are `reinject_slots`, the last port of a router is its reinjection queue.
    """
    routers, width = next_router.shape
    places = np.int64(0)
    ports = np.zeros(routers * width * channels * PORT, dtype=np.int64)
    for r in range(routers):
        for p in range(width):
            for v in range(channels):
                number = (r * width + p) * channels + v
                at = number * PORT
                ports[at + UPSTREAM] = -1
                ports[at + FEEDER] = -1
                ports[at + LOCKED] = -1
                slots = reinject_slots if reinject_slots > 0 and p == width - 1 else buffer_flits
                ports[at + FIFO] = places
                ports[at + LAST_SLOT] = 2 * slots
                places += 2 * slots
                ports[at + RETURN] = credit[r, p]
            at = (r * width + p) * channels * PORT
            ports[at + SIDE] = side[p]
            ports[at + LATENCY] = latency[r, p]
            ports[at + SPACE] = interval[r, p]
            ports[at + FEEDER] = router_core[r, p]
            ports[at + EJECTS] = router_core[r, p]
            ports[at + LEADS] = -1
            ports[at + DATELINE] = dateline[r, p]
    for r in range(routers):
        for p in range(width):
            if next_router[r, p] >= 0:
                to = (next_router[r, p] * width + next_port[r, p]) * channels * PORT
                ports[(r * width + p) * channels * PORT + LEADS] = to
                for v in range(channels):
                    ports[to + v * PORT + UPSTREAM] = r
    return ports, places


@nb.njit(cache=True, nogil=True)
def new_cores(core_first, packets, copies, eject_slots, inject_queue, stage_queue):
    """Return the rows of all cores, and the number of ring entries they need.

    A queue longer than what passes through it in this timestep is never full, so it is cut to that.
    """
    count = core_first.size - 1
    cores = np.zeros(count * CORE, dtype=np.int64)
    for p in range(core_first[count]):
        last = packets[(p + 1) * PACKET + COPY]
        for copy in range(packets[p * PACKET + COPY], last):
            cores[copies[copy * COPIES + TO_CORE] * CORE + EJECT_LAST] += packets[p * PACKET + FLITS]
    used = np.int64(0)
    for c in range(count):
        at = c * CORE
        cores[at + SENDING] = core_first[c]
        cores[at + LAST_PACKET] = core_first[c + 1]
        cores[at + LEFT_FIRST] = used
        cores[at + LEFT_NEXT] = used
        used += min(core_first[c + 1] - core_first[c], inject_queue)
        cores[at + LEFT_LAST] = used
        cores[at + EJECT_FIRST] = used
        cores[at + EJECT_NEXT] = used
        used += min(cores[at + EJECT_LAST], eject_slots)
        cores[at + EJECT_LAST] = used
        cores[at + RING] = used
        used += 2 * stage_queue
    return cores, used
