"""Compiled parts of the time kernel for routers that give up: the way round, and sending again.

docs/decisions/0004-processor-cores.md says what such a router does. Of the six links each is the sum of the two
beside it in the ring, so a packet for link d can go by d + 1 and then by d - 1.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.row_kernels import (
    COUNT,
    FIFO,
    FIRST,
    LAST_SLOT,
    LEADS,
    OUTPUT_FREE,
    OUTPUTS,
    PACKET_SHIFT,
    PORT,
    REINJECTED,
    SENT_AGAIN,
    SINCE,
    WANTS,
)

LINKS = 6


@nb.njit(cache=True, nogil=True, inline="always")
def beside(link, side):
    """Return the link that is `side` (1 or -1) places further in the ring of six."""
    other = link + side
    if other == LINKS:
        other = np.int64(0)
    elif other < 0:
        other = np.int64(LINKS - 1)
    return other


@nb.njit(cache=True, nogil=True, inline="always")
def ways_round(base, i, wanted, ports, fifo):
    """Return the links by which the flit at the head of input `i` could begin a way round, a bit each.

    There are none for a flit that is on one.
    """
    port = base + i * PORT
    found = np.int64(0)
    flit = fifo[ports[port + FIFO] + ports[port + FIRST] + 1]
    if (flit >> 1) & OUTPUTS == 0 or flit & SENT_AGAIN != 0:
        for link in range(LINKS):
            if (wanted >> link) & 1 != 0:
                first, second = beside(link, 1), beside(link, -1)
                if ports[base + first * PORT + LEADS] >= 0 and ports[base + second * PORT + LEADS] >= 0:
                    found |= np.int64(1) << first
    return found


@nb.njit(cache=True, nogil=True, inline="always")
def reinject(to, now, flit, wanted, wait, ports, fifo):
    """Put what a flit still wants into a free slot of the reinjection queue; return when it is ready.

    A flit on the second side of a way round stays on it.

    `to` is the row of the queue, the router's last input.
    """
    when = max(now, ports[to + OUTPUT_FREE]) + wait
    ports[to + OUTPUT_FREE] = when
    slot = ports[to + FIRST] + 2 * ports[to + COUNT]
    if slot >= ports[to + LAST_SLOT]:
        slot -= ports[to + LAST_SLOT]
    slot += ports[to + FIFO]
    fifo[slot] = when
    on_way_round = (flit >> 1) & OUTPUTS != 0 and flit & SENT_AGAIN == 0
    again = np.int64(0) if on_way_round else np.int64(SENT_AGAIN)
    fifo[slot + 1] = (flit >> PACKET_SHIFT << PACKET_SHIFT) | again | (wanted << 1) | 1
    if ports[to + COUNT] == 0:
        ports[to + WANTS] = wanted
        ports[to + SINCE] = when
    ports[to + COUNT] += 1
    ports[to + REINJECTED] += 1
    return when
