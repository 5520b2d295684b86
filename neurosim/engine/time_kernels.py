"""Compiled kernel of one timestep in time: injection, mesh, ejection and core stages as discrete events.

All times are int64 ticks since the timestep began; a tick divides every delay of the chip, so nothing is
rounded. The events are evaluations of routers, each with at most one wake-up pending in a timing wheel.
Evaluating a router at time t looks only at what is stamped t or earlier and changes nothing for another
router before t plus the shortest delay. A slot of the wheel covers no more than that delay, so the order of
routers within a slot cannot matter, and a wake-up too many does no harm. A FIFO slot keeps the time at which
it was emptied, so a credit needs no event of its own unless its sender waits for it. Both ends of a core are
computed by recurrences: nobody else writes to the router input behind its injection queue, so when a flit
gets there is known as soon as there is a slot for it; and its three stages are servers in tandem.

State stands in a few arrays of rows, one row a port, a core or a packet: rows share cache lines, and the
compiler counts references of every array that a helper is given.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.bits import lowest_bit
from neurosim.engine.wheel_kernels import NEVER, bring_near, new_wheel, next_slot, schedule, unlink

# Columns of the counters kept for each core.
CORE_SWEEP_END, CORE_FINISH, CORE_STALL, CORE_WAIT, CORE_COUNTERS = 0, 1, 2, 3, 4

# A port: as an input, then as an output. Rows of ports are numbered in columns: port * PORT.
FIRST, COUNT, INPUT_FREE, WAITED_FOR, UPSTREAM, FEEDER, RETURN, FIFO = 0, 1, 2, 3, 4, 5, 6, 7
OUTPUT_FREE, POINTER, LOCKED, LEADS, LATENCY, SPACE, EJECTS, PASSED = 8, 9, 10, 11, 12, 13, 14, 15
PORT = 16

# A core: its sending side, then its receiving side.
SENDING, SENT_FLITS, READY, SOURCE_FREE, LEFT_FIRST, LEFT_LAST, LEFT_NEXT, LAST_PACKET = 0, 1, 2, 3, 4, 5, 6, 7
EJECT_FIRST, EJECT_LAST, EJECT_NEXT, AXON_LEFT, READ_LEFT, FINISH, RING, RING_NEXT = 8, 9, 10, 11, 12, 13, 14, 15
CORE = 16

# A packet.
DESTINATION, FLITS, WORK, READ, ACCUMULATE, INJECTED, ARRIVED = 0, 1, 2, 3, 4, 5, 6
PACKET = 7


@nb.njit(cache=True, nogil=True, inline="always")
def _inject(
    core, slot, router, port, inject_latency, inject_interval, cores, packets, ports, fifo, rings, way, counters
):
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
    fifo[slot + 1] = (packet << 6) + (way[packets[row + DESTINATION], router] << 1) + tail
    ports[port + COUNT] += 1
    cores[at + SOURCE_FREE] = when + inject_interval
    if tail:
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


@nb.njit(cache=True, nogil=True, inline="always")
def _receive(core, arrival, row, t_axon, stage_queue, cores, packets, rings, counters):
    """Pass one message through axon-in, synapse read and accumulate; return when axon-in takes it.

    A core keeps when each server was left by the message before, and, in two rings, when the last messages
    entered the second and the third server, for the finite queues before them.
    """
    at = core * CORE
    ring = cores[at + RING] + cores[at + RING_NEXT]
    taken = max(arrival, cores[at + AXON_LEFT])
    done = max(taken + t_axon, rings[ring])
    start = max(done, cores[at + READ_LEFT])
    left = max(start + packets[row + READ], rings[ring + stage_queue])
    begin = max(left, cores[at + FINISH])
    cores[at + AXON_LEFT] = done
    cores[at + READ_LEFT] = left
    cores[at + FINISH] = begin + packets[row + ACCUMULATE]
    rings[ring] = start
    rings[ring + stage_queue] = begin
    cores[at + RING_NEXT] += 1
    if cores[at + RING_NEXT] == stage_queue:
        cores[at + RING_NEXT] = 0
    counters[core, CORE_WAIT] += taken - arrival
    return taken


@nb.njit(cache=True, nogil=True)
def _new_ports(next_router, next_port, latency, interval, credit, router_core, buffer_flits):
    """Return the rows of all ports; see the columns above."""
    routers, width = next_router.shape
    ports = np.zeros(routers * width * PORT, dtype=np.int64)
    for r in range(routers):
        for p in range(width):
            at = (r * width + p) * PORT
            ports[at + UPSTREAM] = -1
            ports[at + LOCKED] = -1
            ports[at + FIFO] = (r * width + p) * buffer_flits * 2
            ports[at + RETURN] = credit[r, p]
            ports[at + LATENCY] = latency[r, p]
            ports[at + SPACE] = interval[r, p]
            ports[at + FEEDER] = router_core[r, p]
            ports[at + EJECTS] = router_core[r, p]
    for r in range(routers):
        for p in range(width):
            if next_router[r, p] >= 0:
                to = (next_router[r, p] * width + next_port[r, p]) * PORT
                ports[(r * width + p) * PORT + LEADS] = to
                ports[to + UPSTREAM] = r
    return ports


@nb.njit(cache=True, nogil=True)
def _new_cores(core_first, packets, eject_slots, inject_queue, stage_queue):
    """Return the rows of all cores, and the number of ring entries they need.

    A queue longer than what passes through it in this timestep is never full, so it is cut to that.
    """
    count = core_first.size - 1
    cores = np.zeros(count * CORE, dtype=np.int64)
    for p in range(core_first[count]):
        cores[packets[p * PACKET + DESTINATION] * CORE + EJECT_LAST] += packets[p * PACKET + FLITS]
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


@nb.njit(cache=True, nogil=True)
def time_step(
    next_router,
    next_port,
    route,
    latency,
    interval,
    credit,
    buffer_flits,
    core_router,
    core_port,
    router_core,
    inject_latency,
    inject_interval,
    eject_slots,
    eject_credit,
    inject_queue,
    stage_queue,
    t_axon,
    wheel_slots,
    shift,
    core_first,
    tail_work,
    packets,
    counters,
    link_flits,
):
    """Time one timestep; return the number of packets delivered and the time of the last arrival.

    Parameters (R routers, P ports each, C cores, N packets)
    ----------
    next_router, next_port
        int64 (R, P): where an output leads; router -1 for none or a core.
    route
        int64 (R, R): output port towards a router; not used for the router itself.
    latency, interval
        int64 (R, P): ticks from grant to being ready at the next input, and between two flits of an
        output.
    credit
        int64 (R, P): ticks from emptying a slot of an input to its use by the sender upstream.
    buffer_flits
        Slots of an input.
    core_router, core_port
        int64 (C,): router and local port of a core.
    router_core
        int64 (R, P): core behind a local port, or -1.
    inject_latency, inject_interval
        Ticks from leaving the queue to being ready at the router, and between two flits of a core.
    eject_slots, eject_credit
        Flits that a core can hold before axon-in takes them, and ticks until a slot returns.
    inject_queue
        Packets that wait at a core before its sweep stalls.
    stage_queue
        Messages that wait before the synapse read and before the accumulate stage.
    t_axon
        Ticks of axon-in for each message.
    wheel_slots
        Slots of the timing wheel, a power of two and at least 32.
    shift
        log2 of the ticks that one slot covers; no latency, interval or credit may be shorter.
    core_first
        int64 (C + 1,): packets of each core, in the order in which they are sent.
    tail_work
        int64 (C,): ticks of sweep after a core's last packet.
    packets
        int64 (N * PACKET,): a row a packet, the last two columns filled here. Destination core; flits;
        ticks of sweep and axon-out between the packet before and this one; ticks at the synapse memory
        and at the accumulators; when the head leaves the queue; when the tail reaches the core.
    counters
        int64 (C, CORE_COUNTERS), zeros, filled.
    link_flits
        int64 (R, P), filled: flits that left by each output.
    """
    routers, width = next_router.shape
    core_count = core_router.size
    ports = _new_ports(next_router, next_port, latency, interval, credit, router_core, buffer_flits)
    cores, ring_entries = _new_cores(core_first, packets, eject_slots, inject_queue, stage_queue)
    rings = np.full(ring_entries, -NEVER, dtype=np.int64)
    # FIFO slots are pairs: when a flit is ready, or, in an empty slot, when it was emptied; and
    # packet * 64 + wanted output * 2 + whether it is a tail.
    fifo = np.full(routers * width * buffer_flits * 2, -NEVER, dtype=np.int64)
    last_slot = 2 * buffer_flits
    filled = np.zeros(routers, dtype=np.int64)
    request = np.zeros(width, dtype=np.int64)
    wheel = new_wheel(wheel_slots, routers)
    wakes = wheel.size - 4 * routers
    way = np.empty((core_count, routers), dtype=np.int64)
    for c in range(core_count):
        for r in range(routers):
            way[c, r] = core_port[c] if core_router[c] == r else route[r, core_router[c]]
    for c in range(core_count):
        counters[c, CORE_SWEEP_END] = tail_work[c]
        if core_first[c] == core_first[c + 1]:
            continue
        at = c * CORE
        cores[at + READY] = packets[core_first[c] * PACKET + WORK]
        r = core_router[c]
        port = (r * width + core_port[c]) * PORT
        while ports[port + COUNT] < buffer_flits and cores[at + SENDING] < cores[at + LAST_PACKET]:
            slot = ports[port + FIFO] + 2 * ports[port + COUNT]
            _inject(
                c, slot, r, port, inject_latency, inject_interval, cores, packets, ports, fifo, rings, way, counters
            )  # fmt: skip
        filled[r] |= np.int64(1) << core_port[c]
        schedule(r, fifo[ports[port + FIFO]], np.int64(-1), shift, wheel_slots, routers, wheel)

    delivered = 0
    turn = np.int64(0)
    last = np.int64(0)
    while True:
        if wheel[wakes - 1] >> shift < turn + wheel_slots:
            bring_near((turn << shift) - 1, shift, wheel_slots, routers, wheel)
        skip = next_slot(turn & (wheel_slots - 1), wheel_slots, wheel)
        if skip < 0:
            if wheel[wakes - 1] == NEVER:
                break
            turn = wheel[wakes - 1] >> shift
            continue
        turn += skip
        here = turn & (wheel_slots - 1)
        while wheel[here] >= 0:
            router = wheel[here]
            now = wheel[wakes + router]
            unlink(router, shift, wheel_slots, routers, wheel)
            again = NEVER
            # Inputs ask for outputs, each free output grants one.
            base = router * width * PORT
            asked = np.int64(0)
            inputs = filled[router]
            while inputs != 0:
                i = lowest_bit(inputs)
                inputs &= inputs - 1
                port = base + i * PORT
                slot = ports[port + FIFO] + ports[port + FIRST]
                when = max(fifo[slot], ports[port + INPUT_FREE])
                if when <= now:
                    o = (fifo[slot + 1] >> 1) & 31
                    request[o] |= np.int64(1) << i
                    asked |= np.int64(1) << o
                elif when < again:
                    again = when
            while asked != 0:
                o = lowest_bit(asked)
                asked &= asked - 1
                asking = request[o]
                request[o] = 0
                out = base + o * PORT
                if ports[out + OUTPUT_FREE] > now:
                    again = min(again, ports[out + OUTPUT_FREE])
                    continue
                i = ports[out + LOCKED]
                if i >= 0:
                    if (asking >> i) & 1 == 0:
                        continue
                else:
                    i = ports[out + POINTER]
                    if asking >> i != 0:
                        i += lowest_bit(asking >> i)
                    else:
                        i = lowest_bit(asking)
                core = ports[out + EJECTS]
                to = ports[out + LEADS]
                if core >= 0:
                    slot = cores[core * CORE + EJECT_NEXT]
                    free = rings[slot] + eject_credit
                else:
                    if ports[to + COUNT] == buffer_flits:
                        ports[to + WAITED_FOR] = 1
                        continue
                    slot = ports[to + FIRST] + 2 * ports[to + COUNT]
                    if slot >= last_slot:
                        slot -= last_slot
                    slot += ports[to + FIFO]
                    free = fifo[slot] + ports[to + RETURN]
                if free > now:
                    again = min(again, free)
                    continue
                # Grant: the flit leaves input i by output o.
                port = base + i * PORT
                left = ports[port + FIFO] + ports[port + FIRST]
                flit = fifo[left + 1]
                fifo[left] = now
                ports[port + FIRST] += 2
                if ports[port + FIRST] == last_slot:
                    ports[port + FIRST] = 0
                ports[port + COUNT] -= 1
                ports[out + PASSED] += 1
                ports[out + OUTPUT_FREE] = now + ports[out + SPACE]
                ports[port + INPUT_FREE] = ports[out + OUTPUT_FREE]
                ports[out + LOCKED] = -1 if flit & 1 else i
                ports[out + POINTER] = i + 1 if i + 1 < width else 0
                c = ports[port + FEEDER]
                if c >= 0:
                    if cores[c * CORE + SENDING] < cores[c * CORE + LAST_PACKET]:
                        _inject(
                            c, left, router, port, inject_latency, inject_interval, cores, packets, ports, fifo,
                            rings, way, counters,
                        )  # fmt: skip
                elif ports[port + WAITED_FOR] != 0:
                    ports[port + WAITED_FOR] = 0
                    back = now + ports[port + RETURN]
                    schedule(ports[port + UPSTREAM], back, now, shift, wheel_slots, routers, wheel)
                if ports[port + COUNT] == 0:
                    filled[router] &= ~(np.int64(1) << i)
                else:
                    left = ports[port + FIFO] + ports[port + FIRST]
                    again = min(again, max(fifo[left], ports[port + INPUT_FREE]))
                if asking & (asking - 1) != 0:
                    again = min(again, ports[out + OUTPUT_FREE])
                when = now + ports[out + LATENCY]
                row = (flit >> 6) * PACKET
                if core >= 0:
                    at = core * CORE
                    cores[at + EJECT_NEXT] = slot + 1 if slot + 1 < cores[at + EJECT_LAST] else cores[at + EJECT_FIRST]
                    rings[slot] = when
                    if flit & 1:
                        packets[row + ARRIVED] = when
                        delivered += 1
                        last = max(last, when)
                        rings[slot] = _receive(
                            core, when, row, t_axon, stage_queue, cores, packets, rings, counters
                        )  # fmt: skip
                else:
                    r = next_router[router, o]
                    fifo[slot] = when
                    fifo[slot + 1] = (flit & ~np.int64(62)) + (way[packets[row + DESTINATION], r] << 1)
                    if ports[to + COUNT] == 0:
                        filled[r] |= np.int64(1) << next_port[router, o]
                        schedule(r, when, now, shift, wheel_slots, routers, wheel)
                    ports[to + COUNT] += 1
            if again != NEVER:
                schedule(router, again, now, shift, wheel_slots, routers, wheel)
    for c in range(core_count):
        counters[c, CORE_FINISH] = cores[c * CORE + FINISH]
    for r in range(routers):
        for p in range(width):
            link_flits[r, p] = ports[(r * width + p) * PORT + PASSED]
    return delivered, last
