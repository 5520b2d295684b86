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
copied to each as that output is granted, and leaves the FIFO with the last. Where routers give up, a flit that
has waited goes round by two other links, is sent again, or is dropped; docs/decisions/0004-processor-cores.md says
how, and what processor cores do, whose events `processor_kernels` evaluates, tile by tile.

State stands in rows whose columns are in `row_kernels`.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.bits import lowest_bit
from neurosim.engine.blocked_kernels import beside, reinject, ways_round
from neurosim.engine.flow_kernels import FULL, begin_sweep, line_up, new_flow_cores, run_core
from neurosim.engine.processor_kernels import (
    BUFFER,
    CPU,
    NEXT,
    PACKET_TICKS,
    finish_counters,
    new_processors,
    run_tile,
    send_made,
    take_packet,
)
from neurosim.engine.row_kernels import (
    ARRIVED,
    AXON_LEFT,
    COPIES,
    CORE,
    CORE_FINISH,
    CORE_SWEEP_END,
    COUNT,
    DATELINE,
    DETOURS,
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
    LAST_SLOT,
    LATENCY,
    LEADS,
    LOCKED,
    OUTPUT_FREE,
    PACKET,
    PACKET_SHIFT,
    PASSED,
    POINTER,
    PORT,
    READY,
    RETURN,
    SENDING,
    SIDE,
    SINCE,
    SPACE,
    UPSTREAM,
    WAITED_FOR,
    WANTS,
    WORK,
    copy_at,
    head_wants,
    inject,
    new_cores,
    receive,
    sweep_end,
    wanted_outputs,
)
from neurosim.engine.sharing_kernels import line_up_tail, new_sharing, run_sharing
from neurosim.engine.wheel_kernels import NEVER, bring_near, new_wheel, next_slot, schedule, unlink

# What not every network needs.
CHANNELS, CUT_THROUGH, PATIENCE, DETOUR_WAIT, REINJECT_WAIT, REINJECT_SLOTS, STRICT, EXTRAS = 0, 1, 2, 3, 4, 5, 6, 7


@nb.njit(cache=True, nogil=True)
def time_step(
    next_router,
    next_port,
    way,
    trees,
    extras,
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
    habits,
    flow,
    sharing,
    tile_first,
    tile_core,
    wheel_slots,
    shift,
    core_first,
    tail_work,
    places,
    ports,
    packets,
    copies,
    stages,
    counters,
):
    """Time one timestep; return the copies delivered, the time of the last arrival, and the messages lost.

    Parameters (R routers, P ports each, V virtual channels, C cores, N packets, M copies)
    ----------
    next_router, next_port
        int64 (R, P): where an output leads; router -1 for none or a core.
    way
        int64 (C, R): output towards a core at each router.
    trees
        int64 (T, R): outputs that the multicast tree T takes at a router, a bit each.
    extras
        None for wormholes over one channel, nothing given up, and messages taken while the sweep goes on: the
        compiler then leaves out what the rest is for. Otherwise int64 (EXTRAS,):
        CHANNELS: V. A packet changes to channel 0 when it turns into another dimension and to channel 1 when it
        crosses a dateline.
        CUT_THROUGH: whether the head of a packet waits until the next FIFO has room for all of it.
        PATIENCE: ticks after which a flit at the head of a FIFO gives up the outputs that it still wants and
        these copies are dropped; 0 for never.
        DETOUR_WAIT: ticks for which it then looks for a way round before it gives up; 0 where there is none.
        REINJECT_WAIT, REINJECT_SLOTS: what is given up is sent again after so many ticks, one after the other, if
        so many slots have room; the last port is for this. 0 for never.
        STRICT: whether a core takes no message before its sweep is done.
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
    habits
        None where cores are not processors. Otherwise int64 (5,): ticks of an interrupt and of a set-up, and until
        the last word of a row is there; messages that can wait for their row; whether the cores of a tile share the
        memory that rows come from.
    flow
        None where a timestep's packets are known before it begins. Otherwise `flow_kernels.Flow`: cores that make
        packets as messages arrive. Then `core_first` is 0, and `packets` and `copies` have room for those to come.
    sharing
        None where sweeps have ports of their own. Otherwise `sharing_kernels.Sharing`: pieces of the sweeps, which
        take turns with messages.
    tile_first, tile_core
        int64 (R + 1,) and (C,): cores of each router, ascending.
    wheel_slots
        Slots of the timing wheel, a power of two and at least 32.
    shift
        log2 of the ticks that one slot covers; no latency, interval or credit may be shorter.
    core_first
        int64 (C + 1,): packets of each core, in the order in which they are sent.
    tail_work
        int64 (C,): ticks of sweep after a core's last packet.
    places, ports
        From `new_ports`; the rows are changed: `PASSED`, `DETOURS` and `DROPPED` are flits that left, those of
        them on a way round, and copies that gave up at each output, `REINJECTED` flits sent again; what is left
        in the FIFOs at the end cannot move.
    packets
        int64 ((N + 1) * PACKET,): a row a packet: flits; ticks of sweep and axon-out between the packet
        before and this one; tree; first copy; and, filled, when the head and when the tail leave the queue.
        The row after the last packet holds the number of copies.
    copies
        int64 (M * COPIES,): a row a copy: core; ticks at its synapse memory and at its accumulators; and,
        filled, when the tail reaches the core.
    stages
        int64 (M * STAGES,), -1: filled for processors; -2 as the end of a message that was lost.
    counters
        int64 (C, CORE_COUNTERS), zeros, filled.
    """
    channels, cut_through, patience, detour_wait, reinject_wait, reinject_slots, strict = 1, 0, 0, 0, 0, 0, 0
    if extras is not None:
        channels, cut_through, patience = extras[CHANNELS], extras[CUT_THROUGH], extras[PATIENCE]
        detour_wait, reinject_wait = extras[DETOUR_WAIT], extras[REINJECT_WAIT]
        reinject_slots, strict = extras[REINJECT_SLOTS], extras[STRICT]
    routers, width = next_router.shape
    inputs_each = width * channels
    core_count = core_router.size
    cores, ring_entries = new_cores(core_first, packets, copies, eject_slots, inject_queue, stage_queue)
    rings = np.full(ring_entries, -NEVER, dtype=np.int64)
    # FIFO slots are pairs: when a flit is ready, or, in an empty slot, when it was emptied; and
    # its number; see `row_kernels`.
    fifo = np.full(places, -NEVER, dtype=np.int64)
    last_slot = 2 * buffer_flits
    filled = np.zeros(routers, dtype=np.int64)
    request = np.zeros(width, dtype=np.int64)
    # Tails that a strict core has not taken yet, one a slot of its ejection queue.
    held = np.full(ring_entries * strict, -1, dtype=np.int64)
    components = routers
    pipelines = core_count
    if flow is not None:
        cores, tasks, ring_entries = new_flow_cores(core_count, eject_slots, inject_queue)
        rings = np.full(ring_entries, -NEVER, dtype=np.int64)
        queues = np.zeros(2 * ring_entries, dtype=np.int64)
        pipelines = 0
    if habits is not None:
        cpus, queue_size = new_processors(cores, core_first, packets, copies, habits[BUFFER])
        queues = np.zeros(queue_size, dtype=np.int64)
        memory_free = np.zeros(max(routers, core_count), dtype=np.int64)
        components += routers
        pipelines = 0
    if sharing is not None:
        cpus, queue_size = new_sharing(cores, core_first, stage_queue, sharing)
        queues = np.zeros(queue_size, dtype=np.int64)
        pipelines = 0
    wheel = new_wheel(wheel_slots, components)
    wakes = wheel.size - 4 * components
    if habits is not None:
        for c in range(core_count):
            when = cpus[c * CPU + NEXT]
            schedule(routers + core_router[c], when, np.int64(-1), shift, wheel_slots, components, wheel)
    if flow is not None:
        for c in range(core_count):
            begin_sweep(c, cores, tasks, packets, copies, counters, flow)
            r = core_router[c]
            wake, _ = run_core(
                c, r, (r * width + core_port[c]) * channels * PORT, core_port[c] * channels, inject_latency,
                inject_interval, buffer_flits, eject_credit, way, trees, cores, tasks, packets, copies, ports, fifo,
                rings, queues, filled, counters, flow,
            )  # fmt: skip
            schedule(r, wake, np.int64(-1), shift, wheel_slots, components, wheel)
    if sharing is not None:
        for c in range(core_count):
            schedule(core_router[c], np.int64(0), np.int64(-1), shift, wheel_slots, components, wheel)
    for c in range(pipelines):
        counters[c, CORE_SWEEP_END] = tail_work[c]
        at = c * CORE
        if core_first[c] == core_first[c + 1]:
            cores[at + AXON_LEFT] = tail_work[c] * strict
            continue
        cores[at + READY] = packets[core_first[c] * PACKET + WORK]
        r = core_router[c]
        port = (r * width + core_port[c]) * channels * PORT
        ports[port + WANTS] = wanted_outputs(core_first[c], r, packets, copies, way, trees)
        while ports[port + COUNT] < buffer_flits and cores[at + SENDING] < cores[at + LAST_PACKET]:
            slot = ports[port + FIFO] + 2 * ports[port + COUNT]
            inject(c, slot, port, inject_latency, inject_interval, cores, packets, ports, fifo, rings, counters)
        if strict != 0:
            cores[at + AXON_LEFT] = max(sweep_end(c, cores, packets, rings, counters), 0)
        ports[port + SINCE] = fifo[ports[port + FIFO]]
        filled[r] |= np.int64(1) << (core_port[c] * channels)
        schedule(r, fifo[ports[port + FIFO]], np.int64(-1), shift, wheel_slots, components, wheel)

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
            bring_near((turn << shift) - 1, shift, wheel_slots, components, wheel)
        skip = next_slot(turn & (wheel_slots - 1), wheel_slots, wheel)
        if skip < 0:
            if wheel[wakes - 1] == NEVER:
                break
            turn = wheel[wakes - 1] >> shift
            continue
        turn += skip
        if flow is not None:  # noqa: SIM102
            if flow.totals[FULL] != 0:
                break
        here = turn & (wheel_slots - 1)
        while wheel[here] >= 0:
            router = wheel[here]
            now = wheel[wakes + router]
            unlink(router, shift, wheel_slots, components, wheel)
            again = NEVER
            if habits is not None:  # noqa: SIM102 - a branch is left out only where nothing else is asked
                if router >= routers:
                    again, when = run_tile(
                        router - routers, width, channels, now, habits, inject_latency, inject_interval, buffer_flits,
                        tile_first, tile_core, core_port, way, trees, cores, cpus, packets, copies, stages, ports,
                        fifo, rings, queues, memory_free, filled, counters,
                    )  # fmt: skip
                    if when != NEVER:
                        schedule(router - routers, when, now, shift, wheel_slots, components, wheel)
                    if again != NEVER:
                        schedule(router, again, now, shift, wheel_slots, components, wheel)
                    continue
            if sharing is not None:
                again = run_sharing(
                    router, width, channels, now, t_axon, stage_queue, inject_latency, inject_interval, buffer_flits,
                    tile_first, tile_core, core_port, way, trees, cores, cpus, packets, copies, ports, fifo, rings,
                    queues, filled, counters, sharing,
                )  # fmt: skip
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
                if extras is not None:  # noqa: SIM102
                    if patience > 0:
                        tired = ports[port + SINCE] + patience
                        if now >= tired + detour_wait:
                            gave_up |= np.int64(1) << i  # after a last try in this very evaluation
                        elif now < tired:
                            again = min(again, tired)
                        else:
                            again = min(again, tired + detour_wait)
                        if detour_wait > 0 and now >= tired:
                            wanted |= ways_round(base, i, wanted, ports, fifo)
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
                    if extras is not None:
                        wanted = ports[port + WANTS]
                        if detour_wait > 0 and ((wanted | ways_round(base, i, wanted, ports, fifo)) >> o) & 1 == 0:
                            continue  # another output has served it by now
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
                            need += packets[(flit >> PACKET_SHIFT) * PACKET + FLITS] - 1
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
                        if slot >= 2 * buffer_flits:
                            slot -= 2 * buffer_flits
                        free = fifo[ports[to + FIFO] + slot] + ports[to + RETURN]
                        if cut_through:
                            slot = ports[to + FIRST] + 2 * ports[to + COUNT]
                            if slot >= 2 * buffer_flits:
                                slot -= 2 * buffer_flits
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
                packet = flit >> PACKET_SHIFT
                served = o
                if extras is not None:
                    flit = (packet << PACKET_SHIFT) | (flit & 1)
                    if detour_wait > 0 and (ports[port + WANTS] >> o) & 1 == 0:
                        served = beside(o, -1)
                        flit |= np.int64(2) << beside(served, -1)
                        ports[out + DETOURS] += 1
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
                ports[port + WANTS] &= ~(np.int64(1) << served)
                if extras is not None:  # noqa: SIM102
                    if detour_wait > 0 and ports[port + WANTS] != 0:
                        # What is still wanted may go round by this very output.
                        again = min(again, ports[out + OUTPUT_FREE])
                if asking & (asking - 1) != 0:
                    again = min(again, ports[out + OUTPUT_FREE])
                when = now + ports[out + LATENCY]
                if core >= 0:
                    at = core * CORE
                    cores[at + EJECT_NEXT] = slot + 1 if slot + 1 < cores[at + EJECT_LAST] else cores[at + EJECT_FIRST]
                    rings[slot] = when
                    if flit & 1:
                        copy = copy_at(packet, core, packets, copies)
                        copies[copy + ARRIVED] = when
                        delivered += 1
                        last = max(last, when)
                        if flow is not None:
                            rings[slot] = NEVER
                            line_up(core, slot, packet, cores, tasks, queues)
                            wake, _ = run_core(
                                core, router, base + core_port[core] * channels * PORT, core_port[core] * channels,
                                inject_latency, inject_interval, buffer_flits, eject_credit, way, trees, cores, tasks,
                                packets, copies, ports, fifo, rings, queues, filled, counters, flow,
                            )  # fmt: skip
                            again = min(again, wake)
                        elif habits is not None:
                            rings[slot] = take_packet(
                                core, when, copy // COPIES, habits[PACKET_TICKS], cpus, queues, stages, counters
                            )
                            schedule(routers + router, rings[slot], now, shift, wheel_slots, components, wheel)
                        elif sharing is not None:
                            rings[slot] = NEVER
                            line_up_tail(core, slot, copy, when, cpus, queues)
                            again = min(again, when)
                        elif strict != 0 and sweep_end(core, cores, packets, rings, counters) < 0:
                            rings[slot] = NEVER
                            held[slot] = copy
                        else:
                            rings[slot] = receive(core, when, copy, t_axon, stage_queue, cores, copies, rings, counters)
                else:
                    r = next_router[router, o]
                    fifo[slot] = when
                    fifo[slot + 1] = flit
                    if ports[to + COUNT] == 0:
                        channel = (lock - out) // PORT if channels > 1 else np.int64(0)
                        filled[r] |= np.int64(1) << (next_port[router, o] * channels + channel)
                        if extras is not None:
                            ports[to + WANTS] = head_wants(flit, r, packets, copies, way, trees)
                        else:
                            ports[to + WANTS] = wanted_outputs(packet, r, packets, copies, way, trees)
                        ports[to + SINCE] = when
                        schedule(r, when, now, shift, wheel_slots, components, wheel)
                    ports[to + COUNT] += 1
            # Flits that nothing wants any more leave their FIFO.
            leaving = sent_inputs | gave_up
            while leaving != 0:
                i = lowest_bit(leaving)
                leaving &= leaving - 1
                port = base + i * PORT
                wanted = ports[port + WANTS]
                if wanted != 0:
                    if (gave_up >> i) & 1 == 0:
                        continue
                    ports[port + WANTS] = 0
                left = ports[port + FIFO] + ports[port + FIRST]
                fifo[left] = now
                ports[port + FIRST] += 2
                if extras is not None:
                    last_slot = ports[port + LAST_SLOT]
                if ports[port + FIRST] == last_slot:
                    ports[port + FIRST] = 0
                ports[port + COUNT] -= 1
                if extras is not None:
                    if wanted != 0 and reinject_slots > 0:
                        to = base + (width - 1) * PORT
                        if ports[to + COUNT] < reinject_slots:
                            if ports[to + COUNT] == 0:
                                filled[router] |= np.int64(1) << (width - 1)
                            again = min(again, reinject(to, now, fifo[left + 1], wanted, reinject_wait, ports, fifo))
                            wanted = np.int64(0)
                    while wanted != 0:
                        ports[base + lowest_bit(wanted) * channels * PORT + DROPPED] += 1
                        wanted &= wanted - 1
                c = ports[port + FEEDER]
                if c >= 0:
                    if flow is not None:
                        wake, freed = run_core(
                            c, router, port, i, inject_latency, inject_interval, buffer_flits, eject_credit, way, trees,
                            cores, tasks, packets, copies, ports, fifo, rings, queues, filled, counters, flow,
                        )  # fmt: skip
                        again = min(again, wake)
                        if freed != NEVER:
                            again = min(again, max(freed, now + 1))
                    elif habits is not None:
                        send_made(
                            c, port, inject_latency, inject_interval, buffer_flits, cores, cpus, packets, ports, fifo,
                            rings,
                        )  # fmt: skip
                        when = cpus[c * CPU + NEXT]
                        schedule(routers + router, when, now, shift, wheel_slots, components, wheel)
                    elif sharing is not None:
                        send_made(
                            c, port, inject_latency, inject_interval, buffer_flits, cores, cpus, packets, ports, fifo,
                            rings,
                        )  # fmt: skip
                        again = min(again, cpus[c * CPU + NEXT])
                    elif cores[c * CORE + SENDING] < cores[c * CORE + LAST_PACKET]:
                        inject(
                            c, left, port, inject_latency, inject_interval, cores, packets, ports, fifo, rings,
                            counters,
                        )  # fmt: skip
                        at = c * CORE
                        if strict != 0 and sweep_end(c, cores, packets, rings, counters) >= 0:
                            when = sweep_end(c, cores, packets, rings, counters)
                            cores[at + AXON_LEFT] = max(cores[at + AXON_LEFT], when)
                            slot = cores[at + EJECT_NEXT]
                            for _ in range(cores[at + EJECT_LAST] - cores[at + EJECT_FIRST]):
                                if held[slot] >= 0:
                                    when = copies[held[slot] + ARRIVED]
                                    rings[slot] = receive(
                                        c, when, held[slot], t_axon, stage_queue, cores, copies, rings, counters
                                    )
                                    held[slot] = -1
                                    again = min(again, max(rings[slot] + eject_credit, now + 1))
                                slot = slot + 1 if slot + 1 < cores[at + EJECT_LAST] else cores[at + EJECT_FIRST]
                elif ports[port + WAITED_FOR] != 0:
                    ports[port + WAITED_FOR] = 0
                    stuck[ports[port + UPSTREAM]] = 0
                    back = now + ports[port + RETURN]
                    schedule(ports[port + UPSTREAM], back, now, shift, wheel_slots, components, wheel)
                if ports[port + COUNT] == 0:
                    filled[router] &= ~(np.int64(1) << i)
                else:
                    left = ports[port + FIFO] + ports[port + FIRST]
                    if extras is not None:
                        ports[port + WANTS] = head_wants(fifo[left + 1], router, packets, copies, way, trees)
                    else:
                        packet = fifo[left + 1] >> PACKET_SHIFT
                        ports[port + WANTS] = wanted_outputs(packet, router, packets, copies, way, trees)
                    side = base + (i // channels) * channels * PORT if channels > 1 else port
                    when = max(fifo[left], ports[side + INPUT_FREE])
                    ports[port + SINCE] = max(fifo[left], now)
                    again = min(again, when)
            if again != NEVER:
                schedule(router, again, now, shift, wheel_slots, components, wheel)
    lost = np.int64(0)
    if habits is not None:
        lost = finish_counters(stages, copies, cpus, counters)
    for c in range(pipelines):
        counters[c, CORE_FINISH] = cores[c * CORE + FINISH]
    return delivered, last, lost
