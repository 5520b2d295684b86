"""Compiled kernel of one timestep in time: injection, mesh, ejection and core stages as discrete events.

All times are int64 ticks since the timestep began; a tick divides every delay of the chip, so nothing is
rounded. A router or the sending side of a core is a component with at most one wake-up pending, held in
a timing wheel. Evaluating a component at time t looks only at what is stamped t or earlier and changes
nothing for another component before t plus the shortest delay. A slot of the wheel covers no more than
that delay, so the order of components within a slot cannot matter, and a wake-up too many does no harm.
A FIFO slot keeps the time at which it was emptied, so a credit needs no event of its own unless
its sender waits for it. The receiving side of a core is three servers in tandem, computed by their
recurrences when a flit is sent to it.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.bits import lowest_bit

NEVER = np.int64(1) << np.int64(62)

# Columns of the counters kept for each core.
CORE_SWEEP_END, CORE_FINISH, CORE_STALL, CORE_WAIT, CORE_COUNTERS = 0, 1, 2, 3, 4


@nb.njit(cache=True, nogil=True, inline="always")
def _schedule(component, when, now, shift, wake, after, before, far, head, occupied):
    """Make `component` wake at `when` unless it wakes earlier anyway; beyond the wheel it waits apart."""
    when = max(when, now + 1)
    if when < wake[component]:
        if wake[component] != NEVER:
            _unlink(component, shift, wake, after, before, far, head, occupied)
        wake[component] = when
        if (when >> shift) - (now >> shift) >= head.size:
            far[component] = True
            far_from = far.size - 1
            after[far_from] = min(after[far_from], when)
        else:
            slot = (when >> shift) & (head.size - 1)
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
def _unlink(component, shift, wake, after, before, far, head, occupied):
    """Take away the pending wake-up of `component`."""
    if far[component]:
        far[component] = False
    else:
        slot = (wake[component] >> shift) & (head.size - 1)
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
def _bring_near(now, shift, wake, after, before, far, head, occupied):
    """Put the far wake-ups that the wheel reaches by now onto it; keep the earliest time of the rest."""
    far_from = far.size - 1
    after[far_from] = NEVER
    for component in range(far_from):
        if far[component]:
            when = wake[component]
            far[component] = False
            wake[component] = NEVER
            _schedule(component, when, now, shift, wake, after, before, far, head, occupied)


@nb.njit(cache=True, nogil=True)
def _next_turn(turn, slots, occupied):
    """Return the number of the first occupied slot from `turn` on, or NEVER.

    `occupied` holds a bit a slot, 32 to a word, and after those words a bit a word.
    """
    words = slots >> 5
    start = turn & (slots - 1)
    word = start >> 5
    bits = occupied[word] >> (start & 31)
    if bits != 0:
        return turn + lowest_bit(bits)
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
            found = (group << 5) + lowest_bit(bits)
            slot = (found << 5) + lowest_bit(occupied[found])
            return turn + ((slot - start) & (slots - 1))
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
    shift,
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
    shift
        log2 of the ticks that one slot covers; no latency, interval or credit may be shorter.
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
    components = routers + cores
    wake = np.full(components, NEVER, dtype=np.int64)
    far = np.zeros(components + 1, dtype=np.bool_)
    after = np.full(components + 1, -1, dtype=np.int64)
    after[components] = NEVER  # the earliest wake-up beyond the wheel
    before = np.full(components, -1, dtype=np.int64)
    head = np.full(wheel_slots, -1, dtype=np.int64)
    occupied = np.zeros((wheel_slots >> 5) + max(wheel_slots >> 10, 1), dtype=np.int64)

    # Ports are numbered r * ports + port throughout. Input FIFOs: `stamp` is when a flit is ready, and, in
    # an empty slot, when it was emptied; `holds` is packet * 64 + wanted output * 2 + whether it is a tail.
    stamp = np.full(routers * ports * buffer_flits, -NEVER, dtype=np.int64)
    holds = np.zeros(routers * ports * buffer_flits, dtype=np.int64)
    first = np.zeros(routers * ports, dtype=np.int64)
    count = np.zeros(routers * ports, dtype=np.int64)
    input_free = np.zeros(routers * ports, dtype=np.int64)
    sender_waits = np.zeros(routers * ports, dtype=np.bool_)
    upstream = np.full(routers * ports, -1, dtype=np.int64)
    returns = np.ascontiguousarray(credit).ravel()
    output_free = np.zeros(routers * ports, dtype=np.int64)
    pointer = np.zeros(routers * ports, dtype=np.int64)
    locked = np.full(routers * ports, -1, dtype=np.int64)
    leads = np.full(routers * ports, -1, dtype=np.int64)
    takes = np.ascontiguousarray(latency).ravel()
    spaces = np.ascontiguousarray(interval).ravel()
    ejects = np.ascontiguousarray(router_core).ravel()
    passed = np.zeros(routers * ports, dtype=np.int64)
    filled = np.zeros(routers, dtype=np.int64)
    request = np.zeros(ports, dtype=np.int64)
    for r in range(routers):
        for p in range(ports):
            if next_router[r, p] >= 0:
                leads[r * ports + p] = next_router[r, p] * ports + next_port[r, p]
                upstream[leads[r * ports + p]] = r
    # Output towards each core from each router, and the core's own input.
    way = np.empty((cores, routers), dtype=np.int64)
    entry = np.empty(cores, dtype=np.int64)
    for c in range(cores):
        entry[c] = core_router[c] * ports + core_port[c]
        upstream[entry[c]] = routers + c
        for r in range(routers):
            way[c, r] = core_port[c] if core_router[c] == r else route[r, core_router[c]]

    # Receiving and sending sides of the cores.
    # A queue longer than what passes through it in this timestep is never full, so it is cut to that.
    eject_first = np.zeros(cores + 1, dtype=np.int64)
    queue_first = np.zeros(cores + 1, dtype=np.int64)
    for p in range(destination.size):
        eject_first[destination[p] + 1] += flits[p]
    for c in range(cores):
        eject_first[c + 1] = eject_first[c] + min(eject_first[c + 1], eject_slots)
        queue_first[c + 1] = queue_first[c] + min(core_first[c + 1] - core_first[c], inject_queue)
    eject_free = np.full(eject_first[cores], -NEVER, dtype=np.int64)
    eject_next = eject_first[:-1].copy()
    stage = np.zeros((cores, 4), dtype=np.int64)
    ring = np.zeros((cores, 2, stage_queue), dtype=np.int64)
    sending = core_first[:-1].copy()
    sent_flits = np.zeros(cores, dtype=np.int64)
    ready = np.zeros(cores, dtype=np.int64)
    source_free = np.zeros(cores, dtype=np.int64)
    queue_next = queue_first[:-1].copy()
    left_queue = np.full(queue_first[cores], -NEVER, dtype=np.int64)
    for c in range(cores):
        if core_first[c] < core_first[c + 1]:
            ready[c] = work[core_first[c]]
            _schedule(routers + c, ready[c], -1, shift, wake, after, before, far, head, occupied)
        else:
            counters[c, CORE_SWEEP_END] = tail_work[c]

    delivered = 0
    turn = np.int64(0)
    last = np.int64(0)
    while True:
        if after[components] >> shift < turn + wheel_slots:
            _bring_near((turn << shift) - 1, shift, wake, after, before, far, head, occupied)
        found = _next_turn(turn, wheel_slots, occupied)
        if found == NEVER:
            if after[components] == NEVER:
                break
            turn = after[components] >> shift
            continue
        turn = found
        here = turn & (wheel_slots - 1)
        while head[here] >= 0:
            component = head[here]
            now = wake[component]
            _unlink(component, shift, wake, after, before, far, head, occupied)
            again = NEVER
            if component >= routers:
                # A core sends the flit at the head of its queue into its router.
                c = component - routers
                p = sending[c]
                if p >= core_first[c + 1]:
                    continue
                to = entry[c]
                again = max(ready[c], source_free[c])
                slot = np.int64(0)
                if now >= again:
                    if count[to] == buffer_flits:
                        sender_waits[to] = True
                        continue
                    slot = first[to] + count[to]
                    slot = to * buffer_flits + (slot - buffer_flits if slot >= buffer_flits else slot)
                    again = stamp[slot] + returns[to]
                if now < again:
                    _schedule(component, again, now, shift, wake, after, before, far, head, occupied)
                    continue
                if sent_flits[c] == 0:
                    injected[p] = now
                sent_flits[c] += 1
                tail = sent_flits[c] == flits[p]
                r = core_router[c]
                stamp[slot] = now + inject_latency
                holds[slot] = (p << 6) + (way[destination[p], r] << 1) + tail
                if count[to] == 0:
                    filled[r] |= np.int64(1) << core_port[c]
                    _schedule(r, now + inject_latency, now, shift, wake, after, before, far, head, occupied)
                count[to] += 1
                source_free[c] = now + inject_interval
                again = source_free[c]
                if tail:
                    left_queue[queue_next[c]] = now
                    queue_next[c] = queue_next[c] + 1 if queue_next[c] + 1 < queue_first[c + 1] else queue_first[c]
                    sent_flits[c] = 0
                    p += 1
                    sending[c] = p
                    if p == core_first[c + 1]:
                        counters[c, CORE_SWEEP_END] = ready[c] + tail_work[c]
                        continue
                    done = ready[c] + work[p]
                    ready[c] = max(done, left_queue[queue_next[c]])
                    counters[c, CORE_STALL] += ready[c] - done
                    again = max(ready[c], again)
                _schedule(component, again, now, shift, wake, after, before, far, head, occupied)
                continue

            # A router: inputs ask for outputs, each free output grants one.
            base = component * ports
            asked = np.int64(0)
            inputs = filled[component]
            while inputs != 0:
                i = lowest_bit(inputs)
                inputs &= inputs - 1
                slot = (base + i) * buffer_flits + first[base + i]
                when = max(stamp[slot], input_free[base + i])
                if when <= now:
                    o = (holds[slot] >> 1) & 31
                    request[o] |= np.int64(1) << i
                    asked |= np.int64(1) << o
                elif when < again:
                    again = when
            while asked != 0:
                o = lowest_bit(asked)
                asked &= asked - 1
                asking = request[o]
                request[o] = 0
                out = base + o
                if output_free[out] > now:
                    again = min(again, output_free[out])
                    continue
                i = locked[out]
                if i >= 0:
                    if (asking >> i) & 1 == 0:
                        continue
                else:
                    i = pointer[out]
                    i = i + lowest_bit(asking >> i) if asking >> i != 0 else lowest_bit(asking)
                core = ejects[out]
                to = leads[out]
                if core >= 0:
                    slot = eject_next[core]
                    free = eject_free[slot] + eject_credit
                else:
                    if count[to] == buffer_flits:
                        sender_waits[to] = True
                        continue
                    slot = first[to] + count[to]
                    slot = to * buffer_flits + (slot - buffer_flits if slot >= buffer_flits else slot)
                    free = stamp[slot] + returns[to]
                if free > now:
                    again = min(again, free)
                    continue
                # Grant: the flit leaves input i by output o.
                source = base + i
                left = source * buffer_flits + first[source]
                flit = holds[left]
                p = flit >> 6
                stamp[left] = now
                first[source] = first[source] + 1 if first[source] + 1 < buffer_flits else 0
                count[source] -= 1
                if sender_waits[source]:
                    sender_waits[source] = False
                    _schedule(
                        upstream[source],
                        now + returns[source],
                        now,
                        shift,
                        wake,
                        after,
                        before,
                        far,
                        head,
                        occupied,
                    )
                passed[out] += 1
                output_free[out] = now + spaces[out]
                input_free[source] = output_free[out]
                locked[out] = -1 if flit & 1 else i
                pointer[out] = i + 1 if i + 1 < ports else 0
                if count[source] == 0:
                    filled[component] &= ~(np.int64(1) << i)
                else:
                    left = source * buffer_flits + first[source]
                    again = min(again, max(stamp[left], input_free[source]))
                if asking & (asking - 1) != 0:
                    again = min(again, output_free[out])
                when = now + takes[out]
                if core >= 0:
                    eject_next[core] = slot + 1 if slot + 1 < eject_first[core + 1] else eject_first[core]
                    eject_free[slot] = when
                    if flit & 1:
                        arrived[p] = when
                        delivered += 1
                        last = max(last, when)
                        eject_free[slot] = _receive(
                            core, when, p, read, accumulate, t_axon, stage_queue, stage, ring, counters
                        )
                else:
                    r = to // ports
                    stamp[slot] = when
                    holds[slot] = (flit & ~np.int64(62)) + (way[destination[p], r] << 1)
                    if count[to] == 0:
                        filled[r] |= np.int64(1) << (to - r * ports)
                        _schedule(r, when, now, shift, wake, after, before, far, head, occupied)
                    count[to] += 1
            if again != NEVER:
                _schedule(component, again, now, shift, wake, after, before, far, head, occupied)
    for r in range(routers):
        for p in range(ports):
            link_flits[r, p] += passed[r * ports + p]
    return delivered, last
