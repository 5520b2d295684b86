"""Compiled kernel that adds up the critical path of a timestep by resource; see `critical`, which keeps its spans.

The two must agree: what is summed here, over thousands of timesteps, is what `critical.critical_path` shows of one.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.plain_kernels import LATENCY, LEADS, NEXT, PORT_BITS, ROW, SPACE, plain_step
from neurosim.engine.row_kernels import (
    ACCUMULATE,
    ARRIVED,
    COPIES,
    COPY,
    CORE_COUNTERS,
    CORE_FINISH,
    CORE_SWEEP_END,
    FLITS,
    INJECTED,
    LEFT,
    PACKET,
    READ,
    TO_CORE,
    TREE,
    WORK,
)
from neurosim.engine.trace_kernels import (
    EJECTION,
    FINISH,
    FLIGHT,
    FROM,
    KIND,
    LINK,
    SPAN,
    STAGES,
    SWEEP,
    TO,
    receive_times,
    send_times,
    walk_receiver,
    walk_sender,
)


@nb.njit(cache=True, nogil=True)
def lone_flight(source, to, flits, net, flights):
    """Return the ticks from injection to arrival of a packet in an empty network.

    Parameters
    ----------
    source, to, flits
        Its core, its destination, its length.
    net
        `plain_kernels.Net`.
    flights
        int64 (F, C, C): what is known of packets of 2 and more flits, -1 for nothing; filled as far as it goes.
    """
    if flits == 1:
        ticks = net.inject_latency
        router = net.core_router[source]
        while router >= 0:
            out = (router * net.width + net.way[to, router]) * ROW
            ticks += net.rows[out + LATENCY]
            router = net.rows[out + NEXT] >> PORT_BITS if net.rows[out + LEADS] >= 0 else np.int64(-1)
        return ticks
    kept = flits - 2 < flights.shape[0]
    if kept and flights[flits - 2, source, to] >= 0:
        return flights[flits - 2, source, to]
    packets = np.zeros(2 * PACKET, dtype=np.int64)
    packets[FLITS] = flits
    packets[TREE] = -1
    packets[PACKET + COPY] = 1
    copies = np.zeros(COPIES, dtype=np.int64)
    copies[TO_CORE] = to
    cores = net.core_router.size
    first = np.zeros(cores + 1, dtype=np.int64)
    first[source + 1 :] = 1
    counters = np.zeros((cores, CORE_COUNTERS), dtype=np.int64)
    plain_step(net, net.rows.copy(), first, np.zeros(cores, dtype=np.int64), packets, copies, counters)
    if kept:
        flights[flits - 2, source, to] = copies[ARRIVED] - packets[INJECTED]
    return copies[ARRIVED] - packets[INJECTED]


@nb.njit(cache=True, nogil=True)
def send_rows(core_first, packets, tail_work, counters, inject_queue, ready, queued):
    """Fill when each packet entered its queue, and each core's time in it; see `trace_kernels.send_times`."""
    count = core_first[core_first.size - 1]
    work, left = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for p in range(count):
        work[p], left[p] = packets[p * PACKET + WORK], packets[p * PACKET + LEFT]
    ends = counters[:, CORE_SWEEP_END].copy()
    return send_times(core_first, work, left, tail_work, ends, inject_queue, ready, queued)


@nb.njit(cache=True, nogil=True)
def _add_spans(spans, used, totals):
    for s in range(used):
        totals[spans[s, KIND]] += spans[s, TO] - spans[s, FROM]


@nb.njit(cache=True, nogil=True)
def _add_sender(core, packet, injected_at, core_first, packets, ready, net, inject_queue, totals):
    """Add what a core did until `packet` entered its queue, or left it; see `trace_kernels.walk_sender`."""
    first = core_first[core]
    count = packet - first + 1
    work, flits = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    injected, left = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for k in range(count):
        row = (first + k) * PACKET
        work[k], flits[k] = packets[row + WORK], packets[row + FLITS]
        injected[k], left[k] = packets[row + INJECTED], packets[row + LEFT]
    spans = np.empty((4 * count + 1, SPAN), dtype=np.int64)
    used = walk_sender(
        count - 1, injected_at, 0, work, flits, injected, left, ready[first : packet + 1], inject_queue,
        net.inject_interval, spans,
    )  # fmt: skip
    _add_spans(spans, used, totals)


@nb.njit(cache=True, nogil=True)
def _add_receiver(core, core_first, packets, copies, finish, net, stage_queue, flights, totals):
    """Add what a core did with its messages up to the end; return the one whose arrival all waited for.

    -1 where the messages' times do not end when the engine says.
    """
    count = core_first[core_first.size - 1]
    got = 0
    for p in range(count):
        got += copies[p * COPIES + TO_CORE] == core
    if got == 0:
        return np.int64(-1)
    mine, arrived = np.empty(got, dtype=np.int64), np.empty(got, dtype=np.int64)
    m = 0
    for p in range(count):
        if copies[p * COPIES + TO_CORE] == core:
            mine[m], arrived[m] = p, copies[p * COPIES + ARRIVED]
            m += 1
    order = np.argsort(arrived)  # no two arrive at once: a core has one port
    mine, arrived = mine[order], arrived[order]
    read, accumulate = np.empty(got, dtype=np.int64), np.empty(got, dtype=np.int64)
    for m in range(got):
        read[m], accumulate[m] = copies[mine[m] * COPIES + READ], copies[mine[m] * COPIES + ACCUMULATE]
    times = np.empty((got, STAGES), dtype=np.int64)
    receive_times(arrived, read, accumulate, 0, net.axon_in, stage_queue, times)
    if times[got - 1, FINISH] != finish:
        return np.int64(-1)
    spans = np.empty((3 * got + 1, SPAN), dtype=np.int64)
    m, used = walk_receiver(got - 1, times, net.axon_in, read, stage_queue, spans)
    _add_spans(spans, used, totals)
    port = (net.core_router[core] * net.width + net.core_port[core]) * ROW
    while m > 0:
        p = mine[m]
        flits = packets[p * PACKET + FLITS]
        apart = flits * net.rows[port + SPACE]
        if arrived[m] - arrived[m - 1] != apart:
            break
        source = np.searchsorted(core_first, p, side="right") - 1
        if lone_flight(source, core, flits, net, flights) >= arrived[m] - packets[p * PACKET + INJECTED]:
            break
        totals[EJECTION] += apart
        m -= 1
    return mine[m]


@nb.njit(cache=True, nogil=True)
def add_path(
    end, core_first, tail_work, packets, copies, counters, ready, net, inject_queue, stage_queue, flights, totals
):
    """Add the critical path of a timestep up to its last work; see `critical.critical_path`.

    Parameters
    ----------
    end
        Ticks at which the last work was done.
    core_first, tail_work, packets, copies, counters
        As `plain_kernels.plain_step` left them.
    ready
        int64 (N,): from `send_rows`.
    net, flights
        As in `lone_flight`.
    inject_queue, stage_queue
        Those of the timing: `net`'s own, or without end.
    totals
        int64 (RESOURCES,), added to, ticks.

    Returns
    -------
    Whether the times of the packets are those of the engine.
    """
    core, latest = 0, 0
    for c in range(1, tail_work.size):
        if counters[c, CORE_SWEEP_END] > counters[core, CORE_SWEEP_END]:
            core = c
        if counters[c, CORE_FINISH] > counters[latest, CORE_FINISH]:
            latest = c
    if counters[core, CORE_SWEEP_END] == end:
        totals[SWEEP] += tail_work[core]
        if core_first[core] < core_first[core + 1]:
            _add_sender(core, core_first[core + 1] - 1, False, core_first, packets, ready, net, inject_queue, totals)
        return True
    finish = counters[latest, CORE_FINISH]
    p = _add_receiver(latest, core_first, packets, copies, finish, net, stage_queue, flights, totals)
    if p < 0:
        return False
    source = np.searchsorted(core_first, p, side="right") - 1
    took = copies[p * COPIES + ARRIVED] - packets[p * PACKET + INJECTED]
    flown = min(lone_flight(source, latest, packets[p * PACKET + FLITS], net, flights), took)
    totals[FLIGHT] += flown
    totals[LINK] += took - flown
    _add_sender(source, p, True, core_first, packets, ready, net, inject_queue, totals)
    return True
