"""Compiled kernel that turns one timestep's messages into packets in the order the cores send them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from neurosim.engine.row_kernels import ACCUMULATE as ACCUMULATE_OF
from neurosim.engine.row_kernels import ARRIVED, COPY, INJECTED, LEFT, PACKET, TO_CORE, TREE, WORK
from neurosim.engine.row_kernels import COPIES as COPY_ROW
from neurosim.engine.row_kernels import FLITS as FLITS_OF
from neurosim.engine.row_kernels import READ as READ_OF

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
SENDS, UNIT_SPIKES, UNIT_ADDS = 19, 20, 21

# Columns of the core counts; the same numbers as `CoreCount`.
PACKETS_OUT, PACKETS_IN, SYNOPS_CHARGED, SWEEP, READ, ACCUMULATE = 0, 1, 2, 3, 6, 7


UNITS = -1
"""Form of messages that go as unit spikes. None: each in one packet a destination; else the bits of their pieces."""

MOST_ROWS = 1 << 25
"""Most rows of the axon table that a timestep's messages may use where they go in several packets: some GiB."""


@nb.njit(cache=True, nogil=True)
def sends_of(message, form):
    """Return how often a core sends for a message to each of its destinations.

    |message| unit spikes, or the fewest signed digits of `form` bits (2 or more) that hold it: a digit of b bits lies
    in -2**(b-1)..2**(b-1)-1 and counts 2**b times the one before. See docs/decisions/0008-number-formats.md.
    Once, where `form` is None; the compiler then knows, and leaves the rest out.
    """
    if form is None:
        return np.int64(1)
    if form == UNITS:
        return abs(message)
    half, sends = np.int64(1) << (form - 1), np.int64(1)
    while not -half <= message < half:
        message = (message + half) >> form
        sends += 1
    return sends


@nb.njit(cache=True, nogil=True)
def count_rows(neuron, value, axon_start, form):
    """Return the rows of the axon table that messages use, as often as they are sent: a bound on the packets."""
    rows = 0
    for m in range(neuron.size):
        rows += (axon_start[neuron[m] + 1] - axon_start[neuron[m]]) * sends_of(value[m], form)
    return rows


@nb.njit(cache=True, nogil=True)
def count_copies(neuron, value, neuron_core, route_start, axon_start, trees, form):
    """Return how often messages are sent, and their copies.

    With `trees` a message goes to all destinations of its core, from `route_start` (C + 1,), and the copies are exact.
    Without, they are its rows of the axon table, of which several may go in one packet: a bound.
    """
    total, copies = 0, 0
    for m in range(neuron.size):
        core = neuron_core[neuron[m]]
        rows = axon_start[neuron[m] + 1] - axon_start[neuron[m]]
        each = route_start[core + 1] - route_start[core] if trees else rows
        if each > 0:
            sends = sends_of(value[m], form)
            total += sends
            copies += each * sends
    return total, copies


@nb.njit(cache=True, nogil=True)
def count_units(neuron, value, layer_start, fan_out, counts):
    """Count what the messages of each layer are as unit spikes, in the columns of the last two of `LayerCount`."""
    for layer in range(layer_start.size - 1):
        spikes, adds = np.int64(0), np.int64(0)
        for m in range(layer_start[layer], layer_start[layer + 1]):
            spikes += abs(value[m])
            adds += abs(value[m]) * fan_out[neuron[m]]
        counts[layer, UNIT_SPIKES] = spikes
        counts[layer, UNIT_ADDS] = adds


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


class Sweep(NamedTuple):
    """What the sweeps of a program's cores do (C cores, n neurons, L layers, T tiles, A axon rows).

    Attributes
    ----------
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
    layer_flits, layer_state_words, layer_updates
        int64 (L,): flits of a packet; words of state of a neuron, 0 where it has none; updates that a visit to a neuron
        is, one for each compartment.
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
    one_port
        Whether reading and adding up share a port, so that they are one stage.
    form
        How messages go: None for whole, `UNITS`, or the bits of the pieces that they go in.
    """

    neuron_order: Any
    core_start: Any
    core_layer: Any
    core_tile: Any
    hops_x: Any
    hops_y: Any
    hops_chips: Any
    axon_start: Any
    axon_core: Any
    axon_encoding: Any
    axon_charged: Any
    axon_words: Any
    axon_conflicts: Any
    layer_flits: Any
    layer_state_words: Any
    layer_updates: Any
    crossbar_words: Any
    synop_time: int
    group_time: Any
    conflict_time: int
    lanes: int
    word_latency: int
    word_time: int
    words_at_once: int
    active_time: int
    inactive_time: int
    send_time: int
    axon_out_time: int
    one_port: bool
    form: Any


@nb.njit(cache=True, nogil=True)
def build_packets(
    sweep, payload, active, touched, met, packets, copies, core_first, tail_work, layer_counts, core_counts
):
    """Sweep every core's neurons in order; return the number of packets.

    Parameters
    ----------
    sweep
        `Sweep`.
    payload
        int64 (n,): message of each neuron, 0 for none.
    active
        bool (n,): neurons whose state changed or that sent.
    touched
        bool (n,): neurons that the sweep visits; empty where it visits all.
    met
        int32 (n,): synapses that a crossbar's sweep does for each neuron; empty where there is no crossbar.
    packets, copies
        int64 (at least (N + 1) * PACKET,) and (N * row_kernels.COPIES,), filled: rows of `time_kernels.time_step`.
    core_first, tail_work
        int64 (C + 1,) and (C,), filled; see `time_step`.
    layer_counts
        int64 (L, LAYER_COUNTS), added to.
    core_counts
        int64 (C, CORE_COUNTS), added to; times in ticks.
    """
    neuron_order, axon_start, axon_core = sweep.neuron_order, sweep.axon_start, sweep.axon_core
    axon_encoding, axon_charged, axon_words = sweep.axon_encoding, sweep.axon_charged, sweep.axon_words
    axon_conflicts, core_tile = sweep.axon_conflicts, sweep.core_tile
    hops_x, hops_y, hops_chips = sweep.hops_x, sweep.hops_y, sweep.hops_chips
    lanes, group_time, conflict_time = sweep.lanes, sweep.group_time, sweep.conflict_time
    word_latency, word_time, words_at_once = sweep.word_latency, sweep.word_time, sweep.words_at_once
    made = 0
    core_first[0] = 0
    crossbar = sweep.crossbar_words.size > 0
    for core in range(sweep.core_layer.size):
        layer = sweep.core_layer[core]
        tile = core_tile[core]
        words = sweep.layer_state_words[layer]
        updates = sweep.layer_updates[layer]
        length = sweep.layer_flits[layer]
        counts = layer_counts[layer]
        pending = 0
        total = 0
        x, y, z = 0, 0, 0
        for at in range(sweep.core_start[core], sweep.core_start[core + 1]):
            neuron = neuron_order[at]
            if touched.size > 0 and not touched[neuron]:
                continue
            if words > 0:
                if crossbar:
                    counts[SYNAPSE_WORDS] += sweep.crossbar_words[core]
                    pending += met[neuron] * sweep.synop_time
                counts[STATE_READ] += words
                if active[neuron]:
                    pending += updates * sweep.active_time
                    counts[UPDATES_ACTIVE] += updates
                    counts[STATE_WRITTEN] += words
                else:
                    pending += updates * sweep.inactive_time
                    counts[UPDATES_INACTIVE] += updates
            message = payload[neuron]
            if message == 0:
                continue
            counts[MESSAGES] += 1
            counts[LARGEST] = max(counts[LARGEST], abs(message))
            rows = axon_start[neuron + 1] - axon_start[neuron]
            # What the host reads out is one message however it would be sent.
            sends = sends_of(message, sweep.form) if rows > 0 else np.int64(1)
            counts[SENDS] += sends
            for _ in range(sends):
                if words > 0:
                    pending += sweep.send_time
                last = -1
                copy = (made - 1) * COPY_ROW
                for row in range(axon_start[neuron], axon_start[neuron + 1]):
                    core_to = axon_core[row]
                    if core_to != last:
                        last = core_to
                        tile_to = core_tile[core_to]
                        x += hops_x[tile, tile_to]
                        y += hops_y[tile, tile_to]
                        z += hops_chips[tile, tile_to]
                        pending += sweep.axon_out_time
                        to = made * PACKET
                        packets[to + FLITS_OF] = length
                        packets[to + WORK] = pending
                        packets[to + TREE] = -1
                        packets[to + COPY] = made
                        packets[to + INJECTED] = -1
                        packets[to + LEFT] = -1
                        copy += COPY_ROW
                        copies[copy + TO_CORE] = core_to
                        copies[copy + READ_OF] = 0
                        copies[copy + ACCUMULATE_OF] = 0
                        copies[copy + ARRIVED] = -1
                        total += pending
                        pending = 0
                        core_counts[core_to, PACKETS_IN] += 1
                        made += 1
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
                    core_counts[core_to, READ] += reading
                    core_counts[core_to, ACCUMULATE] += adding
                    if sweep.one_port:
                        reading, adding = reading + adding, np.int64(0)
                    copies[copy + READ_OF] += reading
                    copies[copy + ACCUMULATE_OF] += adding
        sent = made - core_first[core]
        counts[PACKETS] += sent
        counts[COPIES] += sent
        counts[FLITS] += sent * length
        counts[HOPS] += x + y + z
        counts[FLIT_HOPS_X] += x * length
        counts[FLIT_HOPS_Y] += y * length
        counts[FLIT_HOPS_CHIPS] += z * length
        core_counts[core, PACKETS_OUT] += sent
        tail_work[core] = pending
        core_counts[core, SWEEP] += total + pending
        core_first[core + 1] = made
    packets[made * PACKET + COPY] = made
    return made
