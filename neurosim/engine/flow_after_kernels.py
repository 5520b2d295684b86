"""Compiled kernels that count what dataflow cores did in a frame, and follow its critical path back."""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.packet_kernels import (
    ACCUMULATE,
    CHARGED,
    COPIES,
    FLIT_HOPS_CHIPS,
    FLIT_HOPS_X,
    FLIT_HOPS_Y,
    FLITS,
    HOPS,
    MESSAGES,
    PACKETS,
    PACKETS_IN,
    PACKETS_OUT,
    READ,
    SYNAPSE_WORDS,
    SYNOPS_CHARGED,
)
from neurosim.engine.trace_kernels import ACCUMULATE as ADDING
from neurosim.engine.trace_kernels import AXON_IN, FLIGHT, INJECTION, LINK, SWEEP, SYNAPSE_READ

# Columns of a span; the packet is that of a flight, which may hold waits for links too.
KIND, CORE, PACKET, FROM, TO = 0, 1, 2, 3, 4
SPAN = 5

STEP_SPANS = 5
"""Most spans of one step of a walk."""

SWEPT = -1
"""Task of a core that is its sweep, not a message."""


@nb.njit(cache=True, nogil=True)
def book_messages(
    sent, neuron_core, core_layer, core_tile, hops, axon_start, axon_core, axon_encoding, axon_charged, axon_words,
    row_read, row_add, layer_flits, layer_counts, core_counts,
):  # fmt: skip
    """Count what the messages of every neuron caused, wherever they went.

    Parameters (n neurons, C cores, L layers, T tiles, A axon rows)
    ----------
    sent
        int64 (n,): messages of each neuron.
    neuron_core
        int64 (n,): core of each.
    core_layer, core_tile, axon_start, axon_core, axon_encoding, axon_charged, axon_words
        As in `Program`.
    hops
        int64 (3, T, T): links between tiles by class.
    row_read, row_add
        int64 (A,): ticks of each row at the synapse memory and at the accumulators.
    layer_flits
        int64 (L,): flits of a packet.
    layer_counts, core_counts
        int64 (L, LAYER_COUNTS) and (C, CORE_COUNTS), added to; times in ticks.
    """
    for neuron in range(sent.size):
        k = sent[neuron]
        if k == 0:
            continue
        core = neuron_core[neuron]
        layer, tile = core_layer[core], core_tile[core]
        counts = layer_counts[layer]
        length = layer_flits[layer]
        counts[MESSAGES] += k
        last = -1
        for row in range(axon_start[neuron], axon_start[neuron + 1]):
            core_to = axon_core[row]
            if core_to != last:
                last = core_to
                tile_to = core_tile[core_to]
                x, y, z = hops[0, tile, tile_to], hops[1, tile, tile_to], hops[2, tile, tile_to]
                counts[PACKETS] += k
                counts[COPIES] += k
                counts[FLITS] += k * length
                counts[HOPS] += k * (x + y + z)
                counts[FLIT_HOPS_X] += k * x * length
                counts[FLIT_HOPS_Y] += k * y * length
                counts[FLIT_HOPS_CHIPS] += k * z * length
                core_counts[core, PACKETS_OUT] += k
                core_counts[core_to, PACKETS_IN] += k
            counts[CHARGED + axon_encoding[row]] += k * axon_charged[row]
            counts[SYNAPSE_WORDS] += k * axon_words[row]
            core_counts[core_to, SYNOPS_CHARGED] += k * axon_charged[row]
            core_counts[core_to, READ] += k * row_read[row]
            core_counts[core_to, ACCUMULATE] += k * row_add[row]


@nb.njit(cache=True, nogil=True)
def _add(spans, kind, core, packet, since, until):
    """Put a span before those there are, joined with the one that it touches if that is of its kind and core.

    Row 0 says how many there are.
    """
    if since == until:
        return
    used = spans[0, 0]
    if used > 0 and kind != FLIGHT and spans[used, KIND] == kind and spans[used, CORE] == core:
        spans[used, FROM] = since
        return
    used += 1
    spans[0, 0] = used
    spans[used, KIND] = kind
    spans[used, CORE] = core
    spans[used, PACKET] = packet
    spans[used, FROM] = since
    spans[used, TO] = until


@nb.njit(cache=True, nogil=True)
def walk_flow(
    core, core_first, source, work, flits, ready, injected, left, cause, destination, arrived, taken, ended, read, add,
    inbox_first, inbox, sweep_end, axon_in, inject_queue, interval,
):  # fmt: skip
    """Walk from the last thing that a core did back to the start of the frame.

    Parameters (N packets in the order of cores and of sending, C cores; times in any one unit)
    ----------
    core
        Where the walk begins.
    core_first
        int64 (C + 1,): where each core's packets begin.
    source, work, flits, ready, injected, left
        int64 (N,): who sends the packet, after how much work since the one before, its length; when it entered the
        injection queue, and when its head and its tail left it.
    cause
        int64 (N,): message that it was made for, or SWEPT.
    destination, arrived, taken, ended, read, add
        int64 (N,): who gets it; when it arrived and was taken, and when its core had done with it; its times at the
        synapse memory and the accumulators.
    inbox_first, inbox
        int64 (C + 1,) and (N,): the messages of each core in the order in which they were taken.
    sweep_end
        int64 (C,): when each core's sweep ended.
    axon_in, inject_queue, interval
        Time of axon-in; packets that wait at a core; time between two flits that leave it.

    Returns
    -------
    spans
        int64 (S, SPAN), from the latest to the earliest, without gaps.
    """
    count = source.size
    place = np.zeros(count, dtype=np.int64)
    for c in range(core_first.size - 1):
        for k in range(inbox_first[c], inbox_first[c + 1]):
            place[inbox[k]] = k
    # The last packet of every message's task, and of every core's sweep.
    last_made = np.full(count, -1, dtype=np.int64)
    last_swept = np.full(core_first.size - 1, -1, dtype=np.int64)
    for p in range(count):
        if cause[p] == SWEPT:
            last_swept[source[p]] = p
        else:
            last_made[cause[p]] = p
    spans = np.zeros((64, SPAN), dtype=np.int64)
    task = np.int64(SWEPT)
    if inbox_first[core] < inbox_first[core + 1]:
        task = inbox[inbox_first[core + 1] - 1]
    packet = np.int64(-1)  # whose entering the queue, or leaving it, is followed; -1 where it is the task's end
    waiting = False
    while True:
        if spans[0, 0] + STEP_SPANS >= len(spans):
            more = np.zeros((2 * len(spans), SPAN), dtype=np.int64)
            more[: len(spans)] = spans
            spans = more
        if packet >= 0 and waiting:
            # Back from its leaving the queue.
            core = source[packet]
            since = ready[packet]
            free = left[packet - 1] + interval if packet > core_first[core] else since
            _add(spans, LINK, core, -1, max(since, free), injected[packet])
            if since >= free:
                waiting = False
                continue
            packet -= 1
            sent = min(free, injected[packet] + flits[packet] * interval)
            _add(spans, LINK, core, -1, sent, free)
            _add(spans, INJECTION, core, -1, injected[packet], sent)
            continue
        if packet >= 0:
            # Back from its entering the queue.
            task = cause[packet]
            begun = np.int64(0) if task == SWEPT else taken[task]
            first = packet == core_first[core] or cause[packet - 1] != task
            before = begun if first else ready[packet - 1]
            until = ready[packet]
            if until > before + work[packet]:
                packet -= inject_queue  # the core went on when the tail of this one left
                sent = min(until, injected[packet] + flits[packet] * interval)
                _add(spans, LINK, core, -1, sent, until)
                _add(spans, INJECTION, core, -1, injected[packet], sent)
                waiting = True
                continue
            if not first:
                _add(spans, SWEEP, core, -1, before, until)
                packet -= 1
                continue
        else:
            # Back from the end of a task.
            until = sweep_end[core] if task == SWEPT else ended[task]
            packet = last_swept[core] if task == SWEPT else last_made[task]
            if packet >= 0:
                _add(spans, SWEEP, core, -1, ready[packet], until)
                waiting = False
                continue
        # Back from the first that a task made, or from its end where it made nothing, to its begin.
        if task == SWEPT:
            _add(spans, SWEEP, core, -1, np.int64(0), until)
            break
        begun = taken[task]
        updated = begun + axon_in + read[task] + add[task]
        _add(spans, SWEEP, core, -1, updated, until)
        _add(spans, ADDING, core, -1, begun + axon_in + read[task], updated)
        _add(spans, SYNAPSE_READ, core, -1, begun + axon_in, begun + axon_in + read[task])
        _add(spans, AXON_IN, core, -1, begun, begun + axon_in)
        if begun > arrived[task]:
            # The core was busy with the task before.
            k = place[task]
            task = inbox[k - 1] if k > inbox_first[core] else np.int64(SWEPT)
            packet = np.int64(-1)
        else:
            _add(spans, FLIGHT, source[task], task, injected[task], arrived[task])
            packet, waiting = task, True
    return spans[1 : spans[0, 0] + 1]
