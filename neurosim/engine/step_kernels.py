"""Compiled kernel that times many timesteps of a plain network in one call, and audits each.

A small timestep is mostly the calling of kernels; here everything that `TimeRun.step` does for one timestep is done
for many without leaving the compiler. What a report needs is added up, nothing is kept of single packets. Where a
timestep is not in order the kernel stops there and says which one it was: `TimeRun.step` then says what is wrong.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from neurosim.engine.fast_kernels import fast_step, made_times
from neurosim.engine.packet_kernels import (
    FLIT_HOPS_CHIPS,
    FLIT_HOPS_X,
    FLIT_HOPS_Y,
    FLITS,
    MOST_ROWS,
    build_packets,
    count_rows,
    count_units,
)
from neurosim.engine.path_kernels import add_path, send_rows
from neurosim.engine.plain_kernels import PASSED, ROW, plain_step
from neurosim.engine.row_kernels import (
    COPIES,
    CORE_COUNTERS,
    CORE_FINISH,
    CORE_STALL,
    CORE_SWEEP_END,
    CORE_WAIT,
    PACKET,
)

# Columns of the counts, as in `counters`.
SYNOPS, SYNOPS_NONZERO = 1, 2
PACKETS_IN, SWEEP, STALL, ACCUMULATE, INPUT_WAIT, INJECTION_QUEUE = 1, 3, 4, 7, 8, 9

# Works, in the order of `counters.WORKS`; a pipeline has no set-ups.
SWEEPING, TAKING, ADDING = 0, 1, 3

# Rows of `spans`.
END, SWEEP_END, NETWORK_END, SYNAPSE_END = 0, 1, 2, 3


class Rules(NamedTuple):
    """What the timesteps of a program are timed and audited by (C cores, L layers, R routers, P ports).

    Attributes
    ----------
    net, sweep
        `plain_kernels.Net` and `packet_kernels.Sweep`.
    lowest, highest
        int64 (L,): messages that fit the chip's packets.
    fan_out, nonzero
        int64 (n,): synapses of each neuron, and those of them that are not zero.
    axon_start
        int64 (n + 1,): rows of the axon table.
    link_class
        int64 (R, P): from `link_classes`.
    inject_queue, stage_queue
        Places of the cores' queues; without end in fast fidelity.
    fast
        Whether links are servers that never block.
    next_router, route, latency, interval, router_core
        For fast fidelity; see `fast_kernels.fast_step`.
    """

    net: Any
    sweep: Any
    lowest: Any
    highest: Any
    fan_out: Any
    nonzero: Any
    axon_start: Any
    link_class: Any
    inject_queue: int
    stage_queue: int
    fast: bool
    next_router: Any
    route: Any
    latency: Any
    interval: Any
    router_core: Any


@nb.njit(cache=True, nogil=True)
def _audit_messages(rules, neuron, value, bounds, synops, counts):
    """Count synops and units; return whether every message fits its packet and the synapses met are the fan-outs."""
    good = True
    for layer in range(bounds.size - 1):
        met, nonzero = 0, 0
        for m in range(bounds[layer], bounds[layer + 1]):
            good &= rules.lowest[layer] <= value[m] <= rules.highest[layer]
            met += rules.fan_out[neuron[m]]
            nonzero += rules.nonzero[neuron[m]]
        good &= met == synops[layer]
        counts[layer, SYNOPS] = met
        counts[layer, SYNOPS_NONZERO] = nonzero
    count_units(neuron, value, bounds, rules.fan_out, counts)
    return good


@nb.njit(cache=True, nogil=True)
def _audit_links(rows, link_class, counts, link_flits):
    """Add up the flits that passed; return whether the links carried what the packets' routes say."""
    sums = np.zeros(4, dtype=np.int64)
    routers, width = link_class.shape
    for r in range(routers):
        for p in range(width):
            passed = rows[(r * width + p) * ROW + PASSED]
            if passed != 0:
                link_flits[r, p] += passed
                if link_class[r, p] >= 0:
                    sums[link_class[r, p]] += passed
    for layer in range(counts.shape[0]):
        sums[0] -= counts[layer, FLIT_HOPS_X]
        sums[1] -= counts[layer, FLIT_HOPS_Y]
        sums[2] -= counts[layer, FLIT_HOPS_CHIPS]
        sums[3] -= counts[layer, FLITS]
    return sums[0] == 0 and sums[1] == 0 and sums[2] == 0 and sums[3] == 0


@nb.njit(cache=True, nogil=True)
def _fast(rules, trees, core_first, tail_work, packets, copies, counters, rows):
    """Time one timestep in fast fidelity, with the flits that passed in `rows` as `plain_step` leaves them."""
    net = rules.net
    made = np.zeros(core_first[core_first.size - 1], dtype=np.int64)
    made_times(core_first, packets, made)
    order = np.argsort(made, kind="mergesort")
    link_flits = np.zeros_like(rules.next_router)
    delivered, last = fast_step(
        rules.next_router, rules.route, trees, rules.latency, rules.interval, net.core_router, net.core_port,
        rules.router_core, net.inject_latency, net.inject_interval, net.axon_in, core_first, tail_work, made, order,
        packets, copies, counters, link_flits,
    )  # fmt: skip
    routers, width = link_flits.shape
    for r in range(routers):
        for p in range(width):
            rows[(r * width + p) * ROW + PASSED] = link_flits[r, p]
    return delivered, last


@nb.njit(cache=True, nogil=True)
def time_steps(
    rules, first, neuron, value, bounds, synops, active, touched, met, flights, spans, paths, layer_counts, busy,
    core_counts, link_flits,
):  # fmt: skip
    """Time K timesteps, each of which begins with an empty network; return how many were in order.

    Parameters (K timesteps, M messages, n neurons, L layers, C cores)
    ----------
    rules
        `Rules`.
    first
        int64 (K + 1,): where each timestep's messages begin.
    neuron, value
        int64 (M,): senders, ascending in each timestep, and messages.
    bounds
        int64 (K, L + 1): where each layer's messages begin, counted from those of the timestep.
    synops
        int64 (K, L): synapses that were met.
    active, touched, met
        (K, n), or (K, 0) for the last two: see `packet_kernels.build_packets`.
    flights
        See `path_kernels.lone_flight`.
    spans
        int64 (4, K), filled: ticks of the last work of a timestep, the end of the last sweep, the last arrival, the
        last accumulation; without barrier and tick.
    paths
        int64 (K, RESOURCES), zeros, filled: ticks on the critical path; without barrier and tick.
    layer_counts
        int64 (K, L, LAYER_COUNTS), zeros, filled.
    busy
        int64 (K, L, WORKS), zeros, filled: ticks of work of each layer's cores.
    core_counts
        int64 (C, CORE_COUNTS), added to; times in ticks.
    link_flits
        int64 (R, P), added to.
    """
    net = rules.net
    cores = net.core_router.size
    rows_most = 0
    for k in range(first.size - 1):
        a, b = first[k], first[k + 1]
        rows_here = count_rows(neuron[a:b], value[a:b], rules.axon_start, rules.sweep.form)
        if rows_here > MOST_ROWS and rules.sweep.form is not None:
            return k
        rows_most = max(rows_most, rows_here)
    packets = np.empty((rows_most + 1) * PACKET, dtype=np.int64)
    copies = np.empty(rows_most * COPIES, dtype=np.int64)
    ready = np.empty(rows_most, dtype=np.int64)
    queued = np.empty(cores, dtype=np.int64)
    payload = np.zeros(active.shape[1], dtype=np.int64)
    core_first = np.zeros(cores + 1, dtype=np.int64)
    tail_work = np.zeros(cores, dtype=np.int64)
    counters = np.zeros((cores, CORE_COUNTERS), dtype=np.int64)
    trees = np.zeros((1, link_flits.shape[0]), dtype=np.int64)
    rows = np.empty_like(net.rows)
    mine = np.zeros_like(core_counts)
    for k in range(first.size - 1):
        senders, messages = neuron[first[k] : first[k + 1]], value[first[k] : first[k + 1]]
        counts = layer_counts[k]
        if not _audit_messages(rules, senders, messages, bounds[k], synops[k], counts):
            return k
        for m in range(senders.size):
            payload[senders[m]] = messages[m]
        mine[:] = 0
        made = build_packets(
            rules.sweep, payload, active[k], touched[k], met[k], packets, copies, core_first, tail_work, counts, mine,
        )  # fmt: skip
        for m in range(senders.size):
            payload[senders[m]] = 0
        counters[:] = 0
        rows[:] = net.rows
        if rules.fast:
            delivered, last = _fast(rules, trees, core_first, tail_work, packets, copies, counters, rows)
        else:
            delivered, last = plain_step(net, rows, core_first, tail_work, packets, copies, counters)
        if delivered != made or not _audit_links(rows, rules.link_class, counts, link_flits):
            return k
        if send_rows(core_first, packets, tail_work, counters, rules.inject_queue, ready, queued) >= 0:
            return k
        sweep_end, synapse_end = np.int64(0), np.int64(0)
        for c in range(cores):
            sweep_end = max(sweep_end, counters[c, CORE_SWEEP_END])
            synapse_end = max(synapse_end, counters[c, CORE_FINISH])
            mine[c, STALL] = counters[c, CORE_STALL]
            mine[c, INPUT_WAIT] = counters[c, CORE_WAIT]
            mine[c, INJECTION_QUEUE] = queued[c]
            work = busy[k, rules.sweep.core_layer[c]]
            work[SWEEPING] += mine[c, SWEEP]
            work[TAKING] += mine[c, PACKETS_IN] * net.axon_in
            work[ADDING] += mine[c, ACCUMULATE]
            for column in range(mine.shape[1]):
                core_counts[c, column] += mine[c, column]
        end = max(sweep_end, last, synapse_end)
        if not add_path(
            end, core_first, tail_work, packets, copies, counters, ready, net, rules.inject_queue, rules.stage_queue,
            flights, paths[k],
        ):  # fmt: skip
            return k
        total = 0
        for resource in range(paths.shape[1]):
            total += paths[k, resource]
        if total != end:
            return k
        spans[END, k] = end
        spans[SWEEP_END, k] = sweep_end
        spans[NETWORK_END, k] = last
        spans[SYNAPSE_END, k] = synapse_end
    return first.size - 1
