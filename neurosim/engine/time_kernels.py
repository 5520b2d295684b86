"""Compiled kernel of one timestep in time: injection, mesh, ejection and core stages as discrete events.

All times are int64 ticks since the timestep began; a tick divides every delay of the chip, so nothing is
rounded. A router or the sending side of a core is a component with at most one wake-up pending, held in
a timing wheel. Evaluating a component at time t looks only at what is stamped t or earlier and causes
nothing before t + 1, so the order of components within a tick cannot matter and a wake-up too many does
no harm. A FIFO slot keeps the time at which it was emptied, so a credit needs no event of its own unless
its sender waits for it. The receiving side of a core is three servers in tandem, computed by their
recurrences when a flit is sent to it.
"""

from __future__ import annotations

import numba as nb
import numpy as np

NEVER = np.int64(1) << np.int64(62)

# Columns of the counters kept for each core.
CORE_SWEEP_END, CORE_FINISH, CORE_STALL, CORE_WAIT, CORE_COUNTERS = 0, 1, 2, 3, 4


@nb.njit(cache=True, nogil=True, inline="always")
def _schedule(component, when, now, wake, after, before, far, head, occupied):
    """Make `component` wake at `when` unless it wakes earlier anyway; beyond the wheel it waits apart."""
    when = max(when, now + 1)
    if when < wake[component]:
        if wake[component] != NEVER:
            _unlink(component, wake, after, before, far, head, occupied)
        wake[component] = when
        if when - now >= head.size:
            far[component] = True
            far_from = far.size - 1
            after[far_from] = min(after[far_from], when)
        else:
            slot = when & (head.size - 1)
            first = head[slot]
            after[component] = first
            before[component] = -1
            if first >= 0:
                before[first] = component
            else:
                word = slot >> 5
                occupied[word] |= np.int64(1) << (slot & 31)
                occupied[(head.size >> 5) + (word >> 5)] |= np.int64(1) << (word & 31)
            head[slot] = component


@nb.njit(cache=True, nogil=True, inline="always")
def _unlink(component, wake, after, before, far, head, occupied):
    """Take away the pending wake-up of `component`."""
    if far[component]:
        far[component] = False
    else:
        slot = wake[component] & (head.size - 1)
        if before[component] >= 0:
            after[before[component]] = after[component]
        else:
            head[slot] = after[component]
            if after[component] < 0:
                word = slot >> 5
                occupied[word] &= ~(np.int64(1) << (slot & 31))
                if occupied[word] == 0:
                    occupied[(head.size >> 5) + (word >> 5)] &= ~(np.int64(1) << (word & 31))
        if after[component] >= 0:
            before[after[component]] = before[component]
    wake[component] = NEVER


@nb.njit(cache=True, nogil=True)
def _bring_near(now, wake, after, before, far, head, occupied):
    """Put the far wake-ups that the wheel reaches by now onto it; keep the earliest time of the rest."""
    far_from = far.size - 1
    after[far_from] = NEVER
    for component in range(far_from):
        if far[component]:
            when = wake[component]
            far[component] = False
            wake[component] = NEVER
            _schedule(component, when, now, wake, after, before, far, head, occupied)


@nb.njit(cache=True, nogil=True, inline="always")
def _lowest_bit(bits):
    """Return the position of the lowest set bit of a 32-bit value that is not 0."""
    at = 0
    if bits & 0xFFFF == 0:
        bits >>= 16
        at += 16
    if bits & 0xFF == 0:
        bits >>= 8
        at += 8
    if bits & 0xF == 0:
        bits >>= 4
        at += 4
    if bits & 0x3 == 0:
        bits >>= 2
        at += 2
    if bits & 0x1 == 0:
        at += 1
    return at


@nb.njit(cache=True, nogil=True)
def _next_time(now, slots, occupied):
    """Return the time of the first occupied slot after `now`, or NEVER.

    `occupied` holds a bit a slot, 32 to a word, and after those words a bit a word.
    """
    words = slots >> 5
    start = (now + 1) & (slots - 1)
    word = start >> 5
    bits = occupied[word] >> (start & 31)
    if bits != 0:
        return now + 1 + _lowest_bit(bits)
    # Whole words after this one, then, once round, those up to and including it.
    groups = max(words >> 5, 1)
    for step in range(groups + 1):
        group = ((word >> 5) + step) & (groups - 1)
        bits = occupied[words + group]
        if step == 0:
            bits &= ~((np.int64(2) << (word & 31)) - 1)
        elif step == groups:
            bits &= (np.int64(2) << (word & 31)) - 1
        if bits != 0:
            found = (group << 5) + _lowest_bit(bits)
            slot = (found << 5) + _lowest_bit(occupied[found])
            return now + 1 + ((slot - start) & (slots - 1))
    return NEVER


@nb.njit(cache=True, nogil=True)
def _receive(core, arrival, packet, read, accumulate, t_axon, depth, stage, ring, counters):
    """Pass one message through axon-in, synapse read and accumulate; return when axon-in takes it.

    `stage` keeps per core when each server is left by the message before; `ring` keeps when the last
    `depth` messages entered the second and third server, for the finite queues before them.
    """
    taken = max(arrival, stage[core, 0])
    slot = stage[core, 3] % depth
    done = max(taken + t_axon, ring[core, 0, slot])
    start = max(done, stage[core, 1])
    left = max(start + read[packet], ring[core, 1, slot])
    begin = max(left, stage[core, 2])
    finish = begin + accumulate[packet]
    stage[core, 0] = done
    stage[core, 1] = left
    stage[core, 2] = finish
    stage[core, 3] += 1
    ring[core, 0, slot] = start
    ring[core, 1, slot] = begin
    counters[core, CORE_FINISH] = finish
    counters[core, CORE_WAIT] += taken - arrival
    return taken


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
    core_first,
    tail_work,
    destination,
    flits,
    work,
    read,
    accumulate,
    injected,
    arrived,
    counters,
    link_flits,
):
    """Time one timestep; return the number of packets delivered and the time of the last event.

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
    core_first
        int64 (C + 1,): packets of each core, in the order in which they are sent.
    tail_work
        int64 (C,): ticks of sweep after a core's last packet.
    destination, flits
        int64 (N,): core that gets the packet, and its length.
    work
        int64 (N,): ticks of sweep and axon-out between the packet before and this one.
    read, accumulate
        int64 (N,): ticks of the packet at the two last stages of its destination.
    injected, arrived
        int64 (N,), filled: when the head leaves the queue, when the tail reaches the core.
    counters
        int64 (C, CORE_COUNTERS), filled.
    link_flits
        int64 (R, P), added to: flits that left by each output.
    """
    routers, ports = next_router.shape
    cores = core_router.size
    packets = destination.size
    components = routers + cores
    wake = np.full(components, NEVER, dtype=np.int64)
    far = np.zeros(components + 1, dtype=np.bool_)
    after = np.full(components + 1, -1, dtype=np.int64)
    after[components] = NEVER  # the earliest wake-up beyond the wheel
    before = np.full(components, -1, dtype=np.int64)
    head = np.full(wheel_slots, -1, dtype=np.int64)
    occupied = np.zeros((wheel_slots >> 5) + max(wheel_slots >> 10, 1), dtype=np.int64)

    # Input FIFOs: `stamp` is when a flit is ready, and, in an empty slot, when it was emptied.
    stamp = np.full((routers, ports, buffer_flits), -NEVER, dtype=np.int64)
    holds = np.zeros((routers, ports, buffer_flits), dtype=np.int64)
    wants = np.zeros((routers, ports, buffer_flits), dtype=np.int64)
    first = np.zeros((routers, ports), dtype=np.int64)
    count = np.zeros((routers, ports), dtype=np.int64)
    input_free = np.zeros((routers, ports), dtype=np.int64)
    sender_waits = np.zeros((routers, ports), dtype=np.bool_)
    upstream = np.full((routers, ports), -1, dtype=np.int64)
    output_free = np.zeros((routers, ports), dtype=np.int64)
    pointer = np.zeros((routers, ports), dtype=np.int64)
    locked = np.full((routers, ports), -1, dtype=np.int64)
    request = np.zeros(ports, dtype=np.int64)
    for r in range(routers):
        for p in range(ports):
            if next_router[r, p] >= 0:
                upstream[next_router[r, p], next_port[r, p]] = r
    for c in range(cores):
        upstream[core_router[c], core_port[c]] = routers + c

    # Receiving and sending sides of the cores.
    eject_free = np.full((cores, eject_slots), -NEVER, dtype=np.int64)
    eject_count = np.zeros(cores, dtype=np.int64)
    stage = np.zeros((cores, 4), dtype=np.int64)
    ring = np.zeros((cores, 2, stage_queue), dtype=np.int64)
    sending = core_first[:-1].copy()
    sent_flits = np.zeros(cores, dtype=np.int64)
    ready = np.zeros(cores, dtype=np.int64)
    source_free = np.zeros(cores, dtype=np.int64)
    left_queue = np.full((cores, inject_queue), -NEVER, dtype=np.int64)
    for c in range(cores):
        if core_first[c] < core_first[c + 1]:
            ready[c] = work[core_first[c]]
            _schedule(routers + c, ready[c], -1, wake, after, before, far, head, occupied)
        else:
            counters[c, CORE_SWEEP_END] = tail_work[c]

    delivered = 0
    now = np.int64(-1)
    last = np.int64(0)
    while True:
        when = _next_time(now, wheel_slots, occupied)
        if after[components] < now + wheel_slots:
            _bring_near(now, wake, after, before, far, head, occupied)
            continue
        if when == NEVER:
            if after[components] == NEVER:
                break
            now = after[components] - 1
            continue
        now = when
        here = now & (wheel_slots - 1)
        while head[here] >= 0:
            component = head[here]
            _unlink(component, wake, after, before, far, head, occupied)
            if component >= routers:
                # A core sends the flit at the head of its queue into its router.
                c = component - routers
                p = sending[c]
                if p >= core_first[c + 1]:
                    continue
                again = max(ready[c], source_free[c])
                r, port = core_router[c], core_port[c]
                if now >= again:
                    if count[r, port] == buffer_flits:
                        sender_waits[r, port] = True
                        continue
                    slot = first[r, port] + count[r, port]
                    if slot >= buffer_flits:
                        slot -= buffer_flits
                    again = stamp[r, port, slot] + credit[r, port]
                if now < again:
                    _schedule(component, again, now, wake, after, before, far, head, occupied)
                    continue
                if sent_flits[c] == 0:
                    injected[p] = now
                sent_flits[c] += 1
                tail = sent_flits[c] == flits[p]
                to = core_router[destination[p]]
                stamp[r, port, slot] = now + inject_latency
                holds[r, port, slot] = 2 * p + tail
                wants[r, port, slot] = core_port[destination[p]] if to == r else route[r, to]
                count[r, port] += 1
                source_free[c] = now + inject_interval
                _schedule(r, now + inject_latency, now, wake, after, before, far, head, occupied)
                if tail:
                    place = (p - core_first[c]) % inject_queue
                    left_queue[c, place] = now
                    sent_flits[c] = 0
                    p += 1
                    sending[c] = p
                    if p < core_first[c + 1]:
                        done = ready[c] + work[p]
                        ready[c] = max(done, left_queue[c, (p - core_first[c]) % inject_queue])
                        counters[c, CORE_STALL] += ready[c] - done
                        again = max(ready[c], source_free[c])
                        _schedule(component, again, now, wake, after, before, far, head, occupied)
                    else:
                        counters[c, CORE_SWEEP_END] = ready[c] + tail_work[c]
                else:
                    _schedule(component, source_free[c], now, wake, after, before, far, head, occupied)
                continue

            # A router: inputs ask for outputs, each free output grants one.
            r = component
            again = NEVER
            asked = False
            for i in range(ports):
                if count[r, i] > 0:
                    when = max(stamp[r, i, first[r, i]], input_free[r, i])
                    if when <= now:
                        request[wants[r, i, first[r, i]]] |= np.int64(1) << i
                        asked = True
                    elif when < again:
                        again = when
            if asked:
                for o in range(ports):
                    asking = request[o]
                    if asking == 0:
                        continue
                    request[o] = 0
                    if output_free[r, o] > now:
                        again = min(again, output_free[r, o])
                        continue
                    i = locked[r, o]
                    if i >= 0:
                        if (asking >> i) & 1 == 0:
                            continue
                    else:
                        i = pointer[r, o]
                        while (asking >> i) & 1 == 0:
                            i += 1
                            if i == ports:
                                i = 0
                    core = router_core[r, o]
                    nr, np_ = next_router[r, o], next_port[r, o]
                    if core >= 0:
                        slot = eject_count[core] % eject_slots
                        free = eject_free[core, slot] + eject_credit
                    else:
                        if count[nr, np_] == buffer_flits:
                            sender_waits[nr, np_] = True
                            continue
                        slot = first[nr, np_] + count[nr, np_]
                        if slot >= buffer_flits:
                            slot -= buffer_flits
                        free = stamp[nr, np_, slot] + credit[nr, np_]
                    if free > now:
                        again = min(again, free)
                        continue
                    # Grant: the flit leaves input i by output o.
                    from_slot = first[r, i]
                    flit = holds[r, i, from_slot]
                    p = flit >> 1
                    stamp[r, i, from_slot] = now
                    first[r, i] = from_slot + 1 if from_slot + 1 < buffer_flits else 0
                    count[r, i] -= 1
                    if sender_waits[r, i]:
                        sender_waits[r, i] = False
                        _schedule(upstream[r, i], now + credit[r, i], now, wake, after, before, far, head, occupied)
                    link_flits[r, o] += 1
                    output_free[r, o] = now + interval[r, o]
                    input_free[r, i] = output_free[r, o]
                    if flit & 1:
                        locked[r, o] = -1
                    else:
                        locked[r, o] = i
                    pointer[r, o] = i + 1 if i + 1 < ports else 0
                    if count[r, i] > 0:
                        again = min(again, max(stamp[r, i, first[r, i]], input_free[r, i]))
                    if asking & (asking - 1) != 0:
                        again = min(again, output_free[r, o])
                    when = now + latency[r, o]
                    if core >= 0:
                        eject_count[core] += 1
                        if flit & 1:
                            arrived[p] = when
                            delivered += 1
                            last = max(last, when)
                            eject_free[core, slot] = _receive(
                                core, when, p, read, accumulate, t_axon, stage_queue, stage, ring, counters
                            )
                        else:
                            eject_free[core, slot] = when
                    else:
                        to = core_router[destination[p]]
                        stamp[nr, np_, slot] = when
                        holds[nr, np_, slot] = flit
                        wants[nr, np_, slot] = core_port[destination[p]] if to == nr else route[nr, to]
                        count[nr, np_] += 1
                        _schedule(nr, when, now, wake, after, before, far, head, occupied)
            if again != NEVER:
                _schedule(component, again, now, wake, after, before, far, head, occupied)
    return delivered, last
