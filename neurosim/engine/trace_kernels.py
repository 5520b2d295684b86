"""Compiled kernels that work out, after a timestep was timed, what its cores did when, and what held them up.

The engine keeps of every packet when its head left the queue and when its tail arrived. Everything between
is fixed by the recurrences of the two ends of a core (`row_kernels`), which are evaluated here once more,
with every step kept. The walks go backwards from an event to the one that it waited for, and again from
there; each step of a walk is a span of time that ends where the span before it began.

The kinds of spans are those of `critical.Resource`, as plain integers for the compiler.
"""

from __future__ import annotations

import numba as nb

SWEEP, INJECTION, LINK, FLIGHT, EJECTION, AXON_IN, SYNAPSE_READ, ACCUMULATE, BARRIER = 0, 1, 2, 3, 4, 5, 6, 7, 8
TICK, INTERRUPT, ROW, TRANSFER, MEMORY = 9, 10, 11, 12, 13

# Columns of a message's times at its destination core.
TAKEN, AXON_LEFT, READ_START, READ_LEFT, BEGIN, FINISH, STAGES = 0, 1, 2, 3, 4, 5, 6

# Columns of a span.
KIND, FROM, TO, SPAN = 0, 1, 2, 3


@nb.njit(cache=True, nogil=True)
def send_times(core_first, work, left, tail, sweep_end, inject_queue, ready, queued):
    """Fill when the sweep let go of each packet, and how long packets were in the queue.

    Parameters (N packets, C cores; times in any one unit)
    ----------
    core_first
        int64 (C + 1,): where each core's packets begin.
    work, left
        int64 (N,): work of the sweep before the packet; when its tail left the queue.
    tail, sweep_end
        int64 (C,): work of the sweep after a core's last packet; when its sweep ended.
    inject_queue
        Packets that wait at a core before its sweep stalls.
    ready
        int64 (N,), filled: when the packet entered the queue.
    queued
        int64 (C,), filled: time from then until the tail leaves, added up over a core's packets.

    Returns
    -------
    wrong
        First core that sends packets whose sweep does not end `tail` after its last one, or -1.
    """
    wrong = -1
    for c in range(core_first.size - 1):
        before = 0
        queued[c] = 0
        for p in range(core_first[c], core_first[c + 1]):
            before += work[p]
            if p - inject_queue >= core_first[c]:
                before = max(before, left[p - inject_queue])
            ready[p] = before
            queued[c] += left[p] - before
        if wrong < 0 and core_first[c] < core_first[c + 1] and before + tail[c] != sweep_end[c]:
            wrong = c
    return wrong


@nb.njit(cache=True, nogil=True)
def receive_times(arrived, read, accumulate, since, axon_in, stage_queue, times):
    """Fill the times of one core's messages at its three stages; see `row_kernels.receive`.

    Parameters (M messages of one core, in the order of their arrival)
    ----------
    arrived, read, accumulate
        int64 (M,): arrival of the tail; times at the synapse memory and the accumulators.
    since
        Time before which axon-in takes no message.
    axon_in
        Time of axon-in for each message.
    stage_queue
        Messages that wait before each of the two later stages.
    times
        int64 (M, STAGES), filled: axon-in takes the message and is left by it, the synapse memory begins
        and is left, the accumulators begin and end. A stage is left once there is room in the next.
    """
    for m in range(arrived.size):
        taken, start, begin = max(arrived[m], since), 0, 0
        if m > 0:
            taken = max(taken, times[m - 1, AXON_LEFT])
            start, begin = times[m - 1, READ_LEFT], times[m - 1, FINISH]
        done = taken + axon_in
        if m >= stage_queue:
            done = max(done, times[m - stage_queue, READ_START])
        start = max(start, done)
        left = start + read[m]
        if m >= stage_queue:
            left = max(left, times[m - stage_queue, BEGIN])
        begin = max(begin, left)
        times[m, TAKEN] = taken
        times[m, AXON_LEFT] = done
        times[m, READ_START] = start
        times[m, READ_LEFT] = left
        times[m, BEGIN] = begin
        times[m, FINISH] = begin + accumulate[m]


@nb.njit(cache=True, nogil=True)
def _add(spans, used, kind, since, until):
    """Put a span before those there are, joined with the one that it touches if that is of its kind."""
    if since == until:
        return used
    if used > 0 and spans[used - 1, KIND] == kind and spans[used - 1, FROM] == until:
        spans[used - 1, FROM] = since
        return used
    spans[used, KIND] = kind
    spans[used, FROM] = since
    spans[used, TO] = until
    return used + 1


@nb.njit(cache=True, nogil=True)
def walk_receiver(message, times, axon_in, read, stage_queue, spans):
    """Walk from the end of `message` at the accumulators back to the arrival that all waited for.

    Where a stage was busy with the message before and the message itself was not there any earlier, the walk
    stays at the stage. Where a message could not leave a stage, it goes on with what filled the queue.

    Parameters
    ----------
    message
        Row of `times`.
    times, axon_in, read, stage_queue
        As in `receive_times`.
    spans
        int64 (at least 3 M + 1, SPAN), filled from the latest to the earliest.

    Returns
    -------
    message
        The one whose arrival the walk ends at.
    used
        Number of spans.
    """
    m, used = message, 0
    stage = ACCUMULATE
    while True:
        if stage == ACCUMULATE:
            used = _add(spans, used, ACCUMULATE, times[m, BEGIN], times[m, FINISH])
            if m > 0 and times[m, BEGIN] == times[m - 1, FINISH]:
                m -= 1
            else:
                stage = SYNAPSE_READ
        elif stage == SYNAPSE_READ:
            if times[m, READ_LEFT] > times[m, READ_START] + read[m]:
                m -= stage_queue  # it left when this one began to accumulate
                if m > 0 and times[m, BEGIN] == times[m - 1, FINISH]:
                    stage = ACCUMULATE
                    m -= 1
                continue
            used = _add(spans, used, SYNAPSE_READ, times[m, READ_START], times[m, READ_LEFT])
            if m > 0 and times[m, READ_START] == times[m - 1, READ_LEFT]:
                m -= 1
            else:
                stage = AXON_IN
        else:
            if times[m, AXON_LEFT] > times[m, TAKEN] + axon_in:
                m -= stage_queue  # it left when the read of this one began
                if m > 0 and times[m, READ_START] == times[m - 1, READ_LEFT]:
                    stage = SYNAPSE_READ
                    m -= 1
                continue
            used = _add(spans, used, AXON_IN, times[m, TAKEN], times[m, AXON_LEFT])
            if m > 0 and times[m, TAKEN] == times[m - 1, AXON_LEFT]:
                m -= 1
            else:
                return m, used


@nb.njit(cache=True, nogil=True)
def walk_sender(packet, injected_at, first, work, flits, injected, left, ready, inject_queue, interval, spans):
    """Walk from a packet of a core back to the start of the core's sweep.

    Parameters
    ----------
    packet
        Where the walk begins.
    injected_at
        Whether it begins when the packet's head left the queue; otherwise when it entered it.
    first
        First packet of the core.
    work, flits, injected, left, ready, inject_queue
        As in `send_times`.
    interval
        Between two flits that leave the queue.
    spans
        int64 (at least 4 packets + 1, SPAN), filled from the latest to the earliest. A wait for a slot or a
        credit of the router counts as LINK, a wait for flits of the core itself as INJECTION.

    Returns
    -------
    used
        Number of spans.
    """
    k, used, waiting = packet, 0, injected_at
    while True:
        if waiting:
            since = ready[k]
            free = left[k - 1] + interval if k > first else since
            used = _add(spans, used, LINK, max(since, free), injected[k])
            if since >= free:
                waiting = False
                continue
            k -= 1
            used = _leave(spans, used, k, free, flits, injected, interval)
        else:
            before = ready[k - 1] if k > first else 0
            if ready[k] > before + work[k]:
                since = ready[k]
                k -= inject_queue  # the sweep went on when this one's tail left
                used = _add(spans, used, LINK, left[k], since)
                used = _leave(spans, used, k, left[k], flits, injected, interval)
                waiting = True
                continue
            used = _add(spans, used, SWEEP, before, ready[k])
            if k == first:
                return used
            k -= 1


@nb.njit(cache=True, nogil=True)
def _leave(spans, used, packet, until, flits, injected, interval):
    """Add what passed from a packet's head leaving the queue: its flits at their interval, and waits between."""
    sent = min(until, injected[packet] + flits[packet] * interval)
    used = _add(spans, used, LINK, sent, until)
    return _add(spans, used, INJECTION, injected[packet], sent)
