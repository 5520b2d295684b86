"""Compiled kernel that turns one timestep's messages into packets that are copied on their way."""

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
    read_ticks,
    sends_of,
)

# Columns of a copy.
COPY_CORE, COPY_READ, COPY_ACCUMULATE, COPY = 0, 1, 2, 3


@nb.njit(cache=True, nogil=True)
def build_branches(
    payload,
    active,
    touched,
    met,
    neuron_order,
    core_start,
    core_layer,
    tree_hops,
    route_start,
    route_core,
    axon_start,
    axon_core,
    axon_encoding,
    axon_charged,
    axon_words,
    axon_conflicts,
    layer_flits,
    layer_state_words,
    layer_updates,
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
    form,
    flits,
    work,
    source,
    copy_first,
    copies,
    core_first,
    tail_work,
    layer_counts,
    core_counts,
):
    """Sweep every core's neurons in order; return the packets and the copies.

    Each time a message is sent it makes one packet, with a copy for every core of its core's tree: also for one where
    the neuron has no synapses, which takes axon-in there and nothing more.

    Parameters (C cores, n neurons, L layers, A axon rows, D destinations, N packets, M copies)
    ----------
    tree_hops, route_start, route_core
        int64 (C, 3), (C + 1,), int32 (D,): links of each core's tree by class, and the cores that get its packets.
    flits, work, source
        int64 (N,), filled: length, work of the sweep before the packet, core.
    copy_first, copies
        int64 (N + 1,) and (M, COPY), filled: where each packet's copies begin, and their cores and ticks.
    core_first, tail_work
        int64 (C + 1,) and (C,), filled; see `time_step`.

    All others as in `packet_kernels.build_packets` and `packet_kernels.Sweep`.
    """
    packets = 0
    made = 0
    core_first[0] = 0
    copy_first[0] = 0
    crossbar = crossbar_words.size > 0
    for core in range(core_layer.size):
        layer = core_layer[core]
        words = layer_state_words[layer]
        updates = layer_updates[layer]
        length = layer_flits[layer]
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
                    pending += updates * active_time
                    counts[UPDATES_ACTIVE] += updates
                    counts[STATE_WRITTEN] += words
                else:
                    pending += updates * inactive_time
                    counts[UPDATES_INACTIVE] += updates
            message = payload[neuron]
            if message == 0:
                continue
            counts[MESSAGES] += 1
            counts[LARGEST] = max(counts[LARGEST], abs(message))
            reaches = route_start[core] < route_start[core + 1]
            sends = sends_of(message, form) if reaches else np.int64(1)
            counts[SENDS] += sends
            for _ in range(sends):
                if words > 0:
                    pending += send_time
                if not reaches:
                    continue
                row = axon_start[neuron]
                for place in range(route_start[core], route_start[core + 1]):
                    core_to = route_core[place]
                    reading, adding = np.int64(0), np.int64(0)
                    while row < axon_start[neuron + 1] and axon_core[row] == core_to:
                        kind, charged = axon_encoding[row], axon_charged[row]
                        counts[CHARGED + kind] += charged
                        core_counts[core_to, SYNOPS_CHARGED] += charged
                        if not crossbar:
                            counts[SYNAPSE_WORDS] += axon_words[row]
                            reading += read_ticks(axon_words[row], word_latency, word_time, words_at_once)
                            adding += (charged + lanes - 1) // lanes * group_time[kind]
                            if axon_conflicts.size > 0:
                                adding += axon_conflicts[row] * conflict_time
                        row += 1
                    copies[made, COPY_CORE] = core_to
                    copies[made, COPY_READ] = reading
                    copies[made, COPY_ACCUMULATE] = adding
                    core_counts[core_to, PACKETS_IN] += 1
                    core_counts[core_to, READ] += reading
                    core_counts[core_to, ACCUMULATE] += adding
                    made += 1
                reached = made - copy_first[packets]
                pending += axon_out_time
                flits[packets] = length
                work[packets] = pending
                source[packets] = core
                total += pending
                pending = 0
                x, y, z = tree_hops[core, 0], tree_hops[core, 1], tree_hops[core, 2]
                counts[PACKETS] += 1
                counts[COPIES] += reached
                counts[FLITS] += length
                counts[HOPS] += x + y + z
                counts[FLIT_HOPS_X] += x * length
                counts[FLIT_HOPS_Y] += y * length
                counts[FLIT_HOPS_CHIPS] += z * length
                core_counts[core, PACKETS_OUT] += 1
                packets += 1
                copy_first[packets] = made
        tail_work[core] = pending
        core_counts[core, SWEEP] += total + pending
        core_first[core + 1] = packets
    return packets, made
