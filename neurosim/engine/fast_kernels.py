"""Compiled kernel of the fast fidelity: links are first-in first-out servers and nothing blocks.

Packets go through the network one after the other, in the order in which their senders made them. A link
takes a packet when the packets before it have passed; buffers and queues have no end, so no sender ever
waits. The stages of a core are the same servers as at cycle level, without their queues' limits.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.row_kernels import (
    ACCUMULATE,
    ARRIVED,
    COPIES,
    COPY,
    CORE_FINISH,
    CORE_SWEEP_END,
    CORE_WAIT,
    FLITS,
    INJECTED,
    LEFT,
    PACKET,
    READ,
    TO_CORE,
    TREE,
    WORK,
)


@nb.njit(cache=True, nogil=True)
def made_times(core_first, packets, made):
    """Fill `made` (N,) with the ticks at which each packet is made when no sweep ever stalls."""
    for c in range(core_first.size - 1):
        when = np.int64(0)
        for p in range(core_first[c], core_first[c + 1]):
            when += packets[p * PACKET + WORK]
            made[p] = when


@nb.njit(cache=True, nogil=True)
def fast_step(
    next_router,
    route,
    trees,
    latency,
    interval,
    core_router,
    core_port,
    router_core,
    inject_latency,
    inject_interval,
    t_axon,
    core_first,
    tail_work,
    made,
    order,
    packets,
    copies,
    counters,
    link_flits,
):
    """Time one timestep; return the copies delivered and the time of the last arrival.

    Parameters are those of `time_kernels.time_step`, and: `made` (N,) from `made_times`, `order` (N,) the
    packets by that time, `link_flits` (R, P) filled with the flits that left by each output.
    """
    routers, width = next_router.shape
    cores = core_router.size
    free = np.zeros((routers, width), dtype=np.int64)
    source_free = np.zeros(cores, dtype=np.int64)
    stage = np.zeros((cores, 3), dtype=np.int64)
    # A branch of a packet still to be followed: router and time at which its head is ready there.
    stack = np.zeros((routers * width + 1, 2), dtype=np.int64)
    delivered = 0
    last = np.int64(0)
    for c in range(cores):
        made_last = made[core_first[c + 1] - 1] if core_first[c] < core_first[c + 1] else np.int64(0)
        counters[c, CORE_SWEEP_END] = made_last + tail_work[c]
    for at in range(order.size):
        p = order[at]
        c = np.searchsorted(core_first, p, side="right") - 1
        flits = packets[p * PACKET + FLITS]
        when = max(made[p], source_free[c])
        packets[p * PACKET + INJECTED] = when
        packets[p * PACKET + LEFT] = when + (flits - 1) * inject_interval
        source_free[c] = when + flits * inject_interval
        tree = packets[p * PACKET + TREE]
        first_copy = packets[p * PACKET + COPY] * COPIES
        stack[0, 0] = core_router[c]
        stack[0, 1] = when + inject_latency
        depth = 1
        while depth > 0:
            depth -= 1
            r, ready = stack[depth, 0], stack[depth, 1]
            if tree >= 0:
                wanted = trees[tree, r]
            else:
                target = copies[first_copy + TO_CORE]
                home = core_router[target] == r
                wanted = np.int64(1) << (core_port[target] if home else route[r, core_router[target]])
            o = 0
            while wanted != 0:
                if wanted & 1 != 0:
                    leaves = max(ready, free[r, o])
                    free[r, o] = leaves + flits * interval[r, o]
                    link_flits[r, o] += flits
                    arrives = leaves + latency[r, o]
                    core = router_core[r, o]
                    if core < 0:
                        stack[depth, 0] = next_router[r, o]
                        stack[depth, 1] = arrives
                        depth += 1
                    else:
                        arrives += (flits - 1) * interval[r, o]
                        copy = first_copy
                        while copies[copy + TO_CORE] != core:
                            copy += COPIES
                        copies[copy + ARRIVED] = arrives
                        delivered += 1
                        last = max(last, arrives)
                        taken = max(arrives, stage[core, 0])
                        counters[core, CORE_WAIT] += taken - arrives
                        stage[core, 0] = taken + t_axon
                        stage[core, 1] = max(stage[core, 0], stage[core, 1]) + copies[copy + READ]
                        stage[core, 2] = max(stage[core, 1], stage[core, 2]) + copies[copy + ACCUMULATE]
                        counters[core, CORE_FINISH] = stage[core, 2]
                wanted >>= 1
                o += 1
    return delivered, last
