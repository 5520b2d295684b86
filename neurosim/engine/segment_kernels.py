"""Compiled kernel that turns one timestep's messages into the sweeps of processor cores and their packets."""

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
    LARGEST,
    MESSAGES,
    PACKETS,
    PACKETS_IN,
    PACKETS_OUT,
    READ,
    SENDS,
    STATE_READ,
    STATE_WRITTEN,
    SWEEP,
    SYNAPSE_WORDS,
    SYNOPS_CHARGED,
    UPDATES_ACTIVE,
    UPDATES_INACTIVE,
    sends_of,
)

# Columns of a segment of a sweep, and of a copy of a packet. A segment of no flits ends a core's sweep.
SEGMENT_CORE, SEGMENT_FLITS, SEGMENT_WORK, SEGMENT_COPIES, SEGMENT = 0, 1, 2, 3, 4
COPY_CORE, COPY_READ, COPY_WORK, COPY = 0, 1, 2, 3

# Ticks that all processors are alike in.
TIMER, ACTIVE, INACTIVE, SEND, AXON_OUT, ROW, WORD = 0, 1, 2, 3, 4, 5, 6
# Words that the synapse memory reads at a time.
AT_ONCE = 7
TIMES = 8


@nb.njit(cache=True, nogil=True)
def build_segments(
    payload,
    active,
    touched,
    neuron_order,
    core_start,
    core_layer,
    core_tile,
    hops,
    tree_hops,
    route_start,
    route_core,
    axon_start,
    axon_core,
    axon_encoding,
    axon_charged,
    axon_words,
    layer_flits,
    layer_state_words,
    layer_updates,
    synop_time,
    times,
    form,
    segments,
    copies,
    layer_counts,
    core_counts,
):
    """Sweep every core's neurons in order; return the segments and the copies.

    Parameters (C cores, n neurons, L layers, T tiles, A axon rows, D destinations)
    ----------
    payload, active, touched, neuron_order, core_start, core_layer, core_tile
        As in `packet_kernels.build_packets`.
    hops
        int64 (3, T, T): links between tiles by class, for packets to one core.
    tree_hops, route_start, route_core
        int64 (C, 3), (C + 1,), int32 (D,): links of each core's tree by class, and the cores that get its packets;
        route_core empty where each packet goes to one core.
    axon_start, axon_core, axon_encoding, axon_charged, axon_words, layer_flits, layer_state_words,
    layer_updates
        As in `packet_kernels.build_packets`.
    synop_time
        int64 (3,): ticks per synop and encoding.
    times
        int64 (TIMES,): ticks of the timer's work, the two kinds of update, a message, one packet; of the work
        that every row begins with; of one access to the synapse memory. Words of an access.
    form
        As in `packet_kernels.Sweep`.
    segments, copies
        int64 (N, SEGMENT) and (M, COPY), filled.
    layer_counts, core_counts
        int64 (L, LAYER_COUNTS) and (C, CORE_COUNTS), added to; times in ticks.
    """
    trees = route_core.size > 0
    used = 0
    made = 0
    for core in range(core_layer.size):
        layer = core_layer[core]
        tile = core_tile[core]
        words = layer_state_words[layer]
        updates = layer_updates[layer]
        length = layer_flits[layer]
        counts = layer_counts[layer]
        pending = times[TIMER]
        total = 0
        for at in range(core_start[core], core_start[core + 1]):
            neuron = neuron_order[at]
            if touched.size > 0 and not touched[neuron]:
                continue
            if words > 0:
                counts[STATE_READ] += words
                if active[neuron]:
                    pending += updates * times[ACTIVE]
                    counts[UPDATES_ACTIVE] += updates
                    counts[STATE_WRITTEN] += words
                else:
                    pending += updates * times[INACTIVE]
                    counts[UPDATES_INACTIVE] += updates
            message = payload[neuron]
            if message == 0:
                continue
            counts[MESSAGES] += 1
            counts[LARGEST] = max(counts[LARGEST], abs(message))
            starts = route_start[core : core + 2] if trees else axon_start[neuron : neuron + 2]
            reaches = starts[0] < starts[1]
            sends = sends_of(message, form) if reaches else np.int64(1)
            counts[SENDS] += sends
            for _ in range(sends):
                if words > 0:
                    pending += times[SEND]
                row, last_row = axon_start[neuron], axon_start[neuron + 1]
                # A packet to every core of the tree, or a packet to each core that has a row.
                place, last_place = route_start[core], route_start[core + 1]
                first = made
                while (trees and place < last_place) or (not trees and row < last_row):
                    core_to = route_core[place] if trees else axon_core[row]
                    place += 1
                    copies[made, COPY_CORE] = core_to
                    words_read, work = 0, 0
                    while row < last_row and axon_core[row] == core_to:
                        kind, charged = axon_encoding[row], axon_charged[row]
                        words_read += axon_words[row]
                        work += charged * synop_time[kind]
                        counts[CHARGED + kind] += charged
                        core_counts[core_to, SYNOPS_CHARGED] += charged
                        row += 1
                    counts[SYNAPSE_WORDS] += words_read
                    if words_read > 0:
                        work += times[ROW]
                    reading = (words_read + times[AT_ONCE] - 1) // times[AT_ONCE] * times[WORD]
                    copies[made, COPY_READ] = reading
                    copies[made, COPY_WORK] = work
                    core_counts[core_to, READ] += reading
                    core_counts[core_to, ACCUMULATE] += work
                    core_counts[core_to, PACKETS_IN] += 1
                    made += 1
                    if not trees or place == last_place:
                        if trees:
                            x, y, z = tree_hops[core, 0], tree_hops[core, 1], tree_hops[core, 2]
                        else:
                            tile_to = core_tile[core_to]
                            x, y, z = hops[0, tile, tile_to], hops[1, tile, tile_to], hops[2, tile, tile_to]
                        pending += times[AXON_OUT]
                        segments[used, SEGMENT_CORE] = core
                        segments[used, SEGMENT_FLITS] = length
                        segments[used, SEGMENT_WORK] = pending
                        segments[used, SEGMENT_COPIES] = made - first
                        used += 1
                        total += pending
                        pending = 0
                        counts[PACKETS] += 1
                        counts[COPIES] += made - first
                        counts[FLITS] += length
                        counts[HOPS] += x + y + z
                        counts[FLIT_HOPS_X] += x * length
                        counts[FLIT_HOPS_Y] += y * length
                        counts[FLIT_HOPS_CHIPS] += z * length
                        core_counts[core, PACKETS_OUT] += 1
                        first = made
        segments[used, SEGMENT_CORE] = core
        segments[used, SEGMENT_FLITS] = 0
        segments[used, SEGMENT_WORK] = pending
        segments[used, SEGMENT_COPIES] = 0
        used += 1
        core_counts[core, SWEEP] += total + pending
    return used, made
