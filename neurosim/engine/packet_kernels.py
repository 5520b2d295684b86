"""Compiled kernel that turns one timestep's messages into packets in the order the cores send them."""

from __future__ import annotations

import numba as nb
import numpy as np

# Columns of the layer counts; the same numbers as `LayerCount`, as plain integers for the compiler.
MESSAGES, UPDATES_ACTIVE, UPDATES_INACTIVE, PACKETS, FLITS, HOPS, FLIT_HOPS_X, FLIT_HOPS_Y = (
    0,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
CHARGED, SYNAPSE_WORDS, STATE_READ, STATE_WRITTEN, LARGEST, FLIT_HOPS_CHIPS, COPIES = 10, 13, 14, 15, 16, 17, 18

# Columns of the core counts; the same numbers as `CoreCount`.
PACKETS_OUT, PACKETS_IN, SYNOPS_CHARGED, SWEEP, READ, ACCUMULATE = 0, 1, 2, 3, 6, 7


@nb.njit(cache=True, nogil=True)
def count_rows(neuron, axon_start):
    """Return the rows of the axon table that the messages of `neuron` use: a bound on the packets."""
    rows = 0
    for m in range(neuron.size):
        rows += axon_start[neuron[m] + 1] - axon_start[neuron[m]]
    return rows


@nb.njit(cache=True, nogil=True)
def layer_sums(values, neuron, layer_start):
    """Return the sums of `values`, one for each neuron, over the messages of each layer: int64 (layers,)."""
    sums = np.zeros(layer_start.size - 1, dtype=np.int64)
    for layer in range(sums.size):
        for m in range(layer_start[layer], layer_start[layer + 1]):
            sums[layer] += values[neuron[m]]
    return sums


@nb.njit(cache=True, nogil=True)
def layer_extremes(value, layer_start):
    """Return the least and the greatest message of each layer: int64 (layers, 2), 1 for a layer without any."""
    found = np.ones((layer_start.size - 1, 2), dtype=np.int64)
    for layer in range(len(found)):
        first = layer_start[layer]
        if first < layer_start[layer + 1]:
            found[layer] = value[first]
        for m in range(first, layer_start[layer + 1]):
            found[layer, 0] = min(found[layer, 0], value[m])
            found[layer, 1] = max(found[layer, 1], value[m])
    return found


@nb.njit(cache=True, nogil=True)
def class_sums(link_flits, link_class, classes):
    """Return the flits on the links of each class: int64 (classes,), from two arrays int64 (R, P)."""
    sums = np.zeros(classes, dtype=np.int64)
    for r in range(link_flits.shape[0]):
        for p in range(link_flits.shape[1]):
            if link_class[r, p] >= 0:
                sums[link_class[r, p]] += link_flits[r, p]
    return sums


@nb.njit(cache=True, nogil=True, inline="always")
def read_ticks(words, latency, interval, at_once):
    """Return the ticks for which a list of so many words holds the synapse read."""
    if words == 0:
        return np.int64(0)
    accesses = np.int64(words) if at_once == 1 else (words + at_once - 1) // at_once
    return latency + (accesses - 1) * interval


@nb.njit(cache=True, nogil=True)
def build_packets(
    payload,
    active,
    touched,
    met,
    neuron_order,
    core_start,
    core_layer,
    core_tile,
    hops_x,
    hops_y,
    hops_chips,
    axon_start,
    axon_core,
    axon_encoding,
    axon_charged,
    axon_words,
    axon_conflicts,
    layer_flits,
    layer_state_words,
    crossbar_words,
    synop_time,
    group_time,
    conflict_time,
    lanes,
    word_latency,
    word_time,
    words_at_once,
    active_time,
    inactive_time,
    send_time,
    axon_out_time,
    destination,
    flits,
    work,
    read,
    accumulate,
    core_first,
    tail_work,
    layer_counts,
    core_counts,
):
    """Sweep every core's neurons in order; return the number of packets.

    Parameters (C cores, n neurons, L layers, T tiles, A axon rows)
    ----------
    payload
        int64 (n,): message of each neuron, 0 for none.
    active
        bool (n,): neurons whose state changed or that sent.
    touched
        bool (n,): neurons that the sweep visits; empty where it visits all.
    met
        int32 (n,): synapses that a crossbar's sweep does for each neuron; empty where there is no crossbar.
    neuron_order, core_start, core_layer, core_tile
        As in `Program`.
    hops_x, hops_y, hops_chips
        int64 (T, T): links between tiles: east-west, north-south, and those from chip to chip.
    axon_start, axon_core, axon_encoding, axon_words
        As in `Program`.
    axon_charged
        int32 (A,): synops that cost time and energy.
    axon_conflicts
        As in `Program`; empty where there are none.
    layer_flits, layer_state_words
        int64 (L,): flits of a packet; words of state of a neuron, 0 where it has none.
    crossbar_words
        int64 (C,): words of a crossbar's row on each core; empty where there is no crossbar.
    synop_time, group_time
        Ticks of a synop in a crossbar; int64 (3,): ticks of a group of synops in the accumulate stage, by encoding.
    conflict_time, lanes
        Ticks of one of `axon_conflicts`; synops of a group.
    word_latency, word_time, words_at_once
        Ticks until the first words of a list are there, and from some to the next; how many are read at a time.
    active_time, inactive_time, send_time, axon_out_time
        Ticks of the two kinds of update, of a message, of one destination.
    destination, flits, work, read, accumulate
        Filled, one entry a packet; see `time_step`.
    core_first, tail_work
        int64 (C + 1,) and (C,), filled; see `time_step`.
    layer_counts
        int64 (L, LAYER_COUNTS), added to.
    core_counts
        int64 (C, CORE_COUNTS), added to; times in ticks.
    """
    packets = 0
    core_first[0] = 0
    crossbar = crossbar_words.size > 0
    for core in range(core_layer.size):
        layer = core_layer[core]
        tile = core_tile[core]
        words = layer_state_words[layer]
        counts = layer_counts[layer]
        pending = 0
        total = 0
        for at in range(core_start[core], core_start[core + 1]):
            neuron = neuron_order[at]
            if touched.size > 0 and not touched[neuron]:
                continue
            if words > 0:
                if crossbar:
                    counts[SYNAPSE_WORDS] += crossbar_words[core]
                    pending += met[neuron] * synop_time
                counts[STATE_READ] += words
                if active[neuron]:
                    pending += active_time
                    counts[UPDATES_ACTIVE] += 1
                    counts[STATE_WRITTEN] += words
                else:
                    pending += inactive_time
                    counts[UPDATES_INACTIVE] += 1
            message = payload[neuron]
            if message == 0:
                continue
            counts[MESSAGES] += 1
            counts[LARGEST] = max(counts[LARGEST], abs(message))
            if words > 0:
                pending += send_time
            last = -1
            for row in range(axon_start[neuron], axon_start[neuron + 1]):
                core_to = axon_core[row]
                if core_to != last:
                    last = core_to
                    tile_to = core_tile[core_to]
                    x, y, z = hops_x[tile, tile_to], hops_y[tile, tile_to], hops_chips[tile, tile_to]
                    length = layer_flits[layer]
                    pending += axon_out_time
                    destination[packets] = core_to
                    flits[packets] = length
                    work[packets] = pending
                    read[packets] = 0
                    accumulate[packets] = 0
                    total += pending
                    pending = 0
                    counts[PACKETS] += 1
                    counts[COPIES] += 1
                    counts[FLITS] += length
                    counts[HOPS] += x + y + z
                    counts[FLIT_HOPS_X] += x * length
                    counts[FLIT_HOPS_Y] += y * length
                    counts[FLIT_HOPS_CHIPS] += z * length
                    core_counts[core, PACKETS_OUT] += 1
                    core_counts[core_to, PACKETS_IN] += 1
                    packets += 1
                kind = axon_encoding[row]
                charged = axon_charged[row]
                counts[CHARGED + kind] += charged
                core_counts[core_to, SYNOPS_CHARGED] += charged
                if crossbar:
                    continue
                reading = read_ticks(axon_words[row], word_latency, word_time, words_at_once)
                groups = np.int64(charged) if lanes == 1 else (charged + lanes - 1) // lanes
                adding = groups * group_time[kind]
                if axon_conflicts.size > 0:
                    adding += axon_conflicts[row] * conflict_time
                counts[SYNAPSE_WORDS] += axon_words[row]
                read[packets - 1] += reading
                accumulate[packets - 1] += adding
                core_counts[core_to, READ] += reading
                core_counts[core_to, ACCUMULATE] += adding
        tail_work[core] = pending
        core_counts[core, SWEEP] += total + pending
        core_first[core + 1] = packets
    return packets
