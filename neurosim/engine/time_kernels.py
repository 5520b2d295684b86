"""Compiled kernel of one timestep in time: injection, network, ejection and core stages as discrete events.

All times are int64 ticks since the timestep began; a tick divides every delay of the chip, so nothing is
rounded. The events are evaluations of routers, each with at most one wake-up pending in a timing wheel.
Evaluating a router at time t looks only at what is stamped t or earlier and changes nothing for another
router before t plus the shortest delay. A slot of the wheel covers no more than that delay, so the order of
routers within a slot cannot matter, and a wake-up too many does no harm. A FIFO slot keeps the time at which
it was emptied, so a credit needs no event of its own unless its sender waits for it. Both ends of a core are
computed by recurrences: nobody else writes to the router input behind its injection queue, so when a flit
gets there is known as soon as there is a slot for it; and its three stages are servers in tandem.

A port has one FIFO a virtual channel; inputs are numbered port * channels + channel. The flit at the head of
a FIFO wants a set of outputs, one for a unicast packet and several where a multicast packet branches; it is
copied to each as that output is granted, and leaves the FIFO with the last.

State stands in rows whose columns are in `row_kernels`.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.bits import lowest_bit
from neurosim.engine.row_kernels import (
    ARRIVED,
    COPIES,
    COPY,
    CORE,
    CORE_FINISH,
    CORE_SWEEP_END,
    COUNT,
    DATELINE,
    DROPPED,
    EJECT_FIRST,
    EJECT_LAST,
    EJECT_NEXT,
    EJECTS,
    FEEDER,
    FIFO,
    FINISH,
    FIRST,
    FLITS,
    INPUT_FREE,
    LAST_PACKET,
    LATENCY,
    LEADS,
    LOCKED,
    OUTPUT_FREE,
    PACKET,
    PASSED,
    POINTER,
    PORT,
    READY,
    RETURN,
    SENDING,
    SIDE,
    SINCE,
    SPACE,
    TO_CORE,
    UPSTREAM,
    WAITED_FOR,
    WANTS,
    WORK,
    inject,
    new_cores,
    receive,
    wanted_outputs,
)
from neurosim.engine.wheel_kernels import NEVER, bring_near, new_wheel, next_slot, schedule, unlink


@nb.njit(cache=True, nogil=True)
def time_step(
    next_router,
    next_port,
    way,
    trees,
    channels,
    cut_through,
    patience,
    buffer_flits,
    core_router,
    core_port,
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
    ports,
    packets,
    copies,
    counters,
):
    """Time one timestep; return the copies delivered and the time of the last arrival.

    Parameters (R routers, P ports each, V virtual channels, C cores, N packets, M copies)
    ----------
    next_router, next_port
        int64 (R, P): where an output leads; router -1 for none or a core.
    way
        int64 (C, R): output towards a core at each router.
    trees
        int64 (T, R): outputs that the multicast tree T takes at a router, a bit each.
    channels
        V. A packet changes to channel 0 when it turns into another dimension and to channel 1 when it
        crosses a dateline.
    cut_through
        Whether the head of a packet waits until the next FIFO has room for all of it.
    patience
        Ticks after which a flit at the head of a FIFO gives up the outputs that it still wants and these
        copies are dropped; 0 for never.
    buffer_flits
        Slots of an input.
    core_router, core_port
        int64 (C,): router and local port of a core.
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
    ports
        int64: the rows of `new_ports`, changed: `PASSED` and `DROPPED` are flits that left and copies that
        gave up at each output; what is left in the FIFOs at the end cannot move.
    packets
        int64 ((N + 1) * PACKET,): a row a packet: flits; ticks of sweep and axon-out between the packet
        before and this one; tree; first copy; and, filled, when the head and when the tail leave the queue.
        The row after the last packet holds the number of copies.
    copies
        int64 (M * COPIES,): a row a copy: core; ticks at its synapse memory and at its accumulators; and,
        filled, when the tail reaches the core.
    counters
        int64 (C, CORE_COUNTERS), zeros, filled.
    """
    routers, width = next_router.shape
    inputs_each = width * channels
    core_count = core_router.size
    cores, ring_entries = new_cores(core_first, packets, copies, eject_slots, inject_queue, stage_queue)
    rings = np.full(ring_entries, -NEVER, dtype=np.int64)
    # FIFO slots are pairs: when a flit is ready, or, in an empty slot, when it was emptied; and
    # packet * 2 + whether it is a tail.
    fifo = np.full(routers * inputs_each * buffer_flits * 2, -NEVER, dtype=np.int64)
    last_slot = 2 * buffer_flits
    filled = np.zeros(routers, dtype=np.int64)
    request = np.zeros(width, dtype=np.int64)
    wheel = new_wheel(wheel_slots, routers)
    wakes = wheel.size - 4 * routers
    for c in range(core_count):
        counters[c, CORE_SWEEP_END] = tail_work[c]
        if core_first[c] == core_first[c + 1]:
            continue
        at = c * CORE
        cores[at + READY] = packets[core_first[c] * PACKET + WORK]
        r = core_router[c]
        port = (r * width + core_port[c]) * channels * PORT
        ports[port + WANTS] = wanted_outputs(core_first[c], r, packets, copies, way, trees)
        while ports[port + COUNT] < buffer_flits and cores[at + SENDING] < cores[at + LAST_PACKET]:
            slot = ports[port + FIFO] + 2 * ports[port + COUNT]
            inject(c, slot, port, inject_latency, inject_interval, cores, packets, ports, fifo, rings, counters)
        ports[port + SINCE] = fifo[ports[port + FIFO]]
        filled[r] |= np.int64(1) << (core_port[c] * channels)
        schedule(r, fifo[ports[port + FIFO]], np.int64(-1), shift, wheel_slots, routers, wheel)

    # With one channel and wormholes all askers of an output need the same slot: where it is missing for one
    # it is missing for all. An input whose head wants nothing but a full output is passed over until a slot
    # of that output is emptied, which wakes the router.
    alike = channels == 1 and not cut_through
    stuck = np.zeros(routers, dtype=np.int64)
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
            base = router * inputs_each * PORT
            # The heads of the inputs ask for outputs.
            asked = np.int64(0)
            gave_up = np.int64(0)
            inputs = filled[router] & ~stuck[router]
            while inputs != 0:
                i = lowest_bit(inputs)
                inputs &= inputs - 1
                port = base + i * PORT
                side = base + (i // channels) * channels * PORT if channels > 1 else port
                when = max(fifo[ports[port + FIFO] + ports[port + FIRST]], ports[side + INPUT_FREE])
                if when > now:
                    again = min(again, when)
                    continue
                wanted = ports[port + WANTS]
                if patience > 0:
                    if now >= ports[port + SINCE] + patience:
                        gave_up |= np.int64(1) << i  # after a last try in this very evaluation
                    else:
                        again = min(again, ports[port + SINCE] + patience)
                while wanted != 0:
                    o = lowest_bit(wanted)
                    wanted &= wanted - 1
                    request[o] |= np.int64(1) << i
                    asked |= np.int64(1) << o
            # Each free output grants the first asker at or after its pointer that can go on.
            sent_sides = np.int64(0)
            sent_inputs = np.int64(0)
            while asked != 0:
                o = lowest_bit(asked)
                asked &= asked - 1
                asking = request[o]
                request[o] = 0
                out = base + o * channels * PORT
                if ports[out + OUTPUT_FREE] > now:
                    again = min(again, ports[out + OUTPUT_FREE])
                    continue
                core = ports[out + EJECTS]
                waiting = asking
                granted = np.int64(-1)
                to = np.int64(-1)
                slot = np.int64(-1)
                lock = out
                while waiting != 0:
                    i = ports[out + POINTER]
                    if waiting >> i != 0:
                        i += lowest_bit(waiting >> i)
                    else:
                        i = lowest_bit(waiting)
                    waiting &= ~(np.int64(1) << i)
                    port = base + i * PORT
                    channel = np.int64(0)
                    if channels > 1:
                        p = i // channels
                        if (sent_sides >> p) & 1 != 0 and (sent_inputs >> i) & 1 == 0:
                            again = min(again, ports[base + p * channels * PORT + INPUT_FREE])
                            continue
                        if core < 0:
                            if ports[out + SIDE] == ports[base + p * channels * PORT + SIDE]:
                                channel = i - p * channels
                            if ports[out + DATELINE] != 0:
                                channel = np.int64(1)
                    lock = out + channel * PORT
                    if ports[lock + LOCKED] >= 0 and ports[lock + LOCKED] != i:
                        continue
                    if core >= 0:
                        slot = cores[core * CORE + EJECT_NEXT]
                        free = rings[slot] + eject_credit
                    else:
                        to = ports[out + LEADS] + channel * PORT
                        need = ports[to + COUNT]
                        if cut_through and ports[lock + LOCKED] < 0:
                            flit = fifo[ports[port + FIFO] + ports[port + FIRST] + 1]
                            need += packets[(flit >> 1) * PACKET + FLITS] - 1
                        if need >= buffer_flits:
                            ports[to + WAITED_FOR] = 1
                            if not alike:
                                continue
                            while patience == 0 and asking != 0:
                                i = lowest_bit(asking)
                                asking &= asking - 1
                                if ports[base + i * PORT + WANTS] == np.int64(1) << o:
                                    stuck[router] |= np.int64(1) << i
                            break
                        slot = ports[to + FIRST] + 2 * need
                        if slot >= last_slot:
                            slot -= last_slot
                        free = fifo[ports[to + FIFO] + slot] + ports[to + RETURN]
                        if cut_through:
                            slot = ports[to + FIRST] + 2 * ports[to + COUNT]
                            if slot >= last_slot:
                                slot -= last_slot
                        slot += ports[to + FIFO]
                    if free > now:
                        again = min(again, free)
                        if alike:
                            break
                        continue
                    granted = i
                    break
                if granted < 0:
                    continue
                # The flit, or a copy of it, leaves input i by output o.
                i = granted
                port = base + i * PORT
                left = ports[port + FIFO] + ports[port + FIRST]
                flit = fifo[left + 1]
                packet = flit >> 1
                sent_inputs |= np.int64(1) << i
                side = port
                if channels > 1:
                    sent_sides |= np.int64(1) << (i // channels)
                    side = base + (i // channels) * channels * PORT
                ports[out + PASSED] += 1
                ports[out + OUTPUT_FREE] = now + ports[out + SPACE]
                ports[side + INPUT_FREE] = max(ports[side + INPUT_FREE], ports[out + OUTPUT_FREE])
                ports[lock + LOCKED] = -1 if flit & 1 else i
                ports[out + POINTER] = i + 1 if i + 1 < inputs_each else 0
                ports[port + WANTS] &= ~(np.int64(1) << o)
                if asking & (asking - 1) != 0:
                    again = min(again, ports[out + OUTPUT_FREE])
                when = now + ports[out + LATENCY]
                if core >= 0:
                    at = core * CORE
                    cores[at + EJECT_NEXT] = slot + 1 if slot + 1 < cores[at + EJECT_LAST] else cores[at + EJECT_FIRST]
                    rings[slot] = when
                    if flit & 1:
                        copy = packets[packet * PACKET + COPY] * COPIES
                        while copies[copy + TO_CORE] != core:
                            copy += COPIES
                        copies[copy + ARRIVED] = when
                        delivered += 1
                        last = max(last, when)
                        rings[slot] = receive(core, when, copy, t_axon, stage_queue, cores, copies, rings, counters)
                else:
                    r = next_router[router, o]
                    fifo[slot] = when
                    fifo[slot + 1] = flit
                    if ports[to + COUNT] == 0:
                        channel = (lock - out) // PORT if channels > 1 else np.int64(0)
                        filled[r] |= np.int64(1) << (next_port[router, o] * channels + channel)
                        ports[to + WANTS] = wanted_outputs(packet, r, packets, copies, way, trees)
                        ports[to + SINCE] = when
                        schedule(r, when, now, shift, wheel_slots, routers, wheel)
                    ports[to + COUNT] += 1
            # Flits that nothing wants any more leave their FIFO.
            leaving = sent_inputs | gave_up
            while leaving != 0:
                i = lowest_bit(leaving)
                leaving &= leaving - 1
                port = base + i * PORT
                if ports[port + WANTS] != 0:
                    if (gave_up >> i) & 1 == 0:
                        continue
                    wanted = ports[port + WANTS]
                    ports[port + WANTS] = 0
                    while wanted != 0:
                        ports[base + lowest_bit(wanted) * channels * PORT + DROPPED] += 1
                        wanted &= wanted - 1
                left = ports[port + FIFO] + ports[port + FIRST]
                fifo[left] = now
                ports[port + FIRST] += 2
                if ports[port + FIRST] == last_slot:
                    ports[port + FIRST] = 0
                ports[port + COUNT] -= 1
                c = ports[port + FEEDER]
                if c >= 0:
                    if cores[c * CORE + SENDING] < cores[c * CORE + LAST_PACKET]:
                        inject(
                            c, left, port, inject_latency, inject_interval, cores, packets, ports, fifo, rings,
                            counters,
                        )  # fmt: skip
                elif ports[port + WAITED_FOR] != 0:
                    ports[port + WAITED_FOR] = 0
                    stuck[ports[port + UPSTREAM]] = 0
                    back = now + ports[port + RETURN]
                    schedule(ports[port + UPSTREAM], back, now, shift, wheel_slots, routers, wheel)
                if ports[port + COUNT] == 0:
                    filled[router] &= ~(np.int64(1) << i)
                else:
                    left = ports[port + FIFO] + ports[port + FIRST]
                    ports[port + WANTS] = wanted_outputs(fifo[left + 1] >> 1, router, packets, copies, way, trees)
                    side = base + (i // channels) * channels * PORT if channels > 1 else port
                    when = max(fifo[left], ports[side + INPUT_FREE])
                    ports[port + SINCE] = max(fifo[left], now)
                    again = min(again, when)
            if again != NEVER:
                schedule(router, again, now, shift, wheel_slots, routers, wheel)
    for c in range(core_count):
        counters[c, CORE_FINISH] = cores[c * CORE + FINISH]
    return delivered, last
