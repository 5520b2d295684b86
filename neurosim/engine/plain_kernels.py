"""Compiled kernel of one timestep in time on a plain network: what `time_kernels` does, with nothing left to choose.

Plain is a network of wormholes over one channel, in which nothing is given up and every packet has one destination,
between cores whose stages are servers of their own and take messages while they sweep. Most chips are that, and
most of a run's time goes by here; so this kernel has rows of its own, a cache line for an input and one for the
output beside it, and a wheel of bits. The events and the rules are those of `time_kernels.time_step`, which says why
they are so; for one and the same load both give the same ticks.

The wheel has a word of bits for every 64 routers and slot. A router has one time at which it wakes next; a bit that
an earlier wake-up made needless is passed over when its slot comes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from neurosim.engine.bits import lowest_bit
from neurosim.engine.row_kernels import (
    ACCUMULATE,
    ARRIVED,
    AXON_LEFT,
    COPIES,
    CORE,
    CORE_FINISH,
    CORE_STALL,
    CORE_SWEEP_END,
    CORE_WAIT,
    EJECT_FIRST,
    EJECT_LAST,
    EJECT_NEXT,
    FINISH,
    FLITS,
    INJECTED,
    LAST_PACKET,
    LEFT,
    LEFT_FIRST,
    LEFT_LAST,
    LEFT_NEXT,
    PACKET,
    READ,
    READ_LEFT,
    READY,
    RING,
    RING_NEXT,
    SENDING,
    SENT_FLITS,
    SOURCE_FREE,
    TO_CORE,
    WORK,
    new_cores,
)
from neurosim.engine.wheel_kernels import NEVER

u = np.uint64
"""For places that are never counted from the end of an array: it saves the test for that."""

# An input: the place of its first flit, how many there are, when the last one has left, the router (or -2 - the core)
# that fills it, whether a sender waits for a place, and the ticks after which a place is known to be free. When the
# first flit can go on, and the output that it wants, stand apart: a router looks at one line for all of its inputs.
HEAD, COUNT, LEAVES, SOURCE, WAITED_FOR, RETURN, USED = 0, 1, 2, 3, 4, 5, 6
# The output of the same port: when it is free, the input that is asked first, the one whose packet is under way, the
# input (or -2 - the core) that it leads to, its latency and interval, the flits that passed, and the router that it
# leads to with the port there.
FREE, POINTER, LOCKED, LEADS, LATENCY, SPACE, PASSED, NEXT = 8, 9, 10, 11, 12, 13, 14, 15
ROW, ROW_BITS = 16, 4
PORT_BITS, PORT_MASK = 6, 63

# A flit is its packet, its destination and whether it is the tail.
PACKET_SHIFT, CORE_SHIFT = 32, 1
FLIT_MASK = (1 << PACKET_SHIFT) - 1
MOST_CORES = 1 << 31


class Net(NamedTuple):
    """A plain network; what is not said here is said in `time_kernels.time_step`.

    Attributes
    ----------
    rows
        int64 (R * P * ROW,): rows of all ports as a timestep begins, from `new_rows`.
    way
        uint8 (C, R): output towards a core at each router.
    width
        P, at most 62.
    wheel_slots
        Slots of the timing wheel, a power of two and at least 64.
    """

    rows: Any
    way: Any
    width: int
    buffer_flits: int
    core_router: Any
    core_port: Any
    inject_latency: int
    inject_interval: int
    inject_queue: int
    eject_slots: int
    eject_credit: int
    stage_queue: int
    axon_in: int
    wheel_slots: int
    shift: int


def best_wheel_slots(routers: int) -> int:
    """Return how many slots the wheel has: a size of it that stays in the first cache; it changes no result."""
    return max(1024 >> max((routers - 1).bit_length() - 6, 0), 64)


@nb.njit(cache=True, nogil=True)
def new_rows(next_router, next_port, latency, interval, credit, router_core):
    """Return the rows of all ports as a timestep begins: int64 (R * P * ROW,); for the parameters see `MeshModel`."""
    routers, width = next_router.shape
    rows = np.zeros(routers * width * ROW, dtype=np.int64)
    for r in range(routers):
        for p in range(width):
            at = (r * width + p) * ROW
            rows[at + SOURCE] = -1
            rows[at + RETURN] = credit[r, p]
            rows[at + LEAVES] = -NEVER
            rows[at + LOCKED] = -1
            rows[at + LEADS] = -1
            rows[at + LATENCY] = latency[r, p]
            rows[at + SPACE] = interval[r, p]
            if router_core[r, p] >= 0:
                rows[at + SOURCE] = -2 - router_core[r, p]
                rows[at + LEADS] = -2 - router_core[r, p]
    for r in range(routers):
        for p in range(width):
            if next_router[r, p] >= 0:
                to = (next_router[r, p] * width + next_port[r, p]) * ROW
                rows[(r * width + p) * ROW + LEADS] = to
                rows[(r * width + p) * ROW + NEXT] = (next_router[r, p] << PORT_BITS) | next_port[r, p]
                rows[to + SOURCE] = r
    return rows


@nb.njit(cache=True, nogil=True)
def plain_step(net, rows, core_first, tail_work, packets, copies, counters):
    """Time one timestep; return the packets delivered and the time of the last arrival.

    Parameters
    ----------
    net
        The network.
    rows
        A copy of `net.rows`, changed: `PASSED` are the flits that left by each output.
    core_first, tail_work, packets, copies, counters
        As in `time_kernels.time_step`.
    """
    way, width, core_router, core_port = net.way, net.width, net.core_router, net.core_port
    inject_latency, inject_interval, inject_queue = net.inject_latency, net.inject_interval, net.inject_queue
    eject_slots, eject_credit, stage_queue, t_axon = net.eject_slots, net.eject_credit, net.stage_queue, net.axon_in
    buffer_flits, wheel_slots, shift = net.buffer_flits, net.wheel_slots, net.shift
    routers = rows.size // (width * ROW)
    cores, ring_entries = new_cores(core_first, packets, copies, eject_slots, inject_queue, stage_queue)
    rings = np.full(ring_entries, -NEVER, dtype=np.int64)
    last_place = 2 * buffer_flits
    fifo = np.empty(routers * width * last_place, dtype=np.int64)
    filled = np.zeros(routers, dtype=np.int64)
    # Inputs whose first flit wants an output that leads to a full input: passed over until a place there is free.
    stuck = np.zeros(routers, dtype=np.int64)
    # Inputs that a core has not filled yet.
    fresh = np.zeros(routers, dtype=np.int64)
    request = np.zeros(64, dtype=np.int64)
    heads = np.zeros(routers * width, dtype=np.int64)
    word_bits = np.int64(0)
    while (np.int64(64) << word_bits) < routers:
        word_bits += 1
    word_mask = (np.int64(1) << word_bits) - 1
    words = wheel_slots << word_bits
    wheel = np.zeros(words + (words >> 6), dtype=np.int64)
    wakes = np.full(routers, NEVER, dtype=np.int64)
    # Whom an evaluation wakes, and when. One place puts them on the wheel; a helper that is given arrays would
    # count references.
    calls = np.zeros(256, dtype=np.int64)
    far = NEVER
    for c in range(core_router.size):
        counters[c, CORE_SWEEP_END] = tail_work[c]
        if core_first[c] < core_first[c + 1]:
            r = core_router[c]
            cores[c * CORE + READY] = packets[core_first[c] * PACKET + WORK]
            fresh[r] |= np.int64(1) << core_port[c]
            wakes[r] = 0
            wheel[r >> 6] |= np.int64(1) << (r & 63)
            wheel[words + (r >> 12)] |= np.int64(1) << ((r >> 6) & 63)

    delivered = 0
    last = np.int64(0)
    turn = np.int64(0)
    position = np.int64(0)
    while True:
        if far >> shift < turn + wheel_slots:
            far = NEVER
            for r in range(routers):
                when = wakes[r]
                if when != NEVER:
                    slot = when >> shift
                    if slot - turn >= wheel_slots:
                        far = min(far, when)
                    else:
                        word = ((slot & (wheel_slots - 1)) << word_bits) + (r >> 6)
                        wheel[word] |= np.int64(1) << (r & 63)
                        wheel[words + (word >> 6)] |= np.int64(1) << (word & 63)
        # The next word with a bit, from here on and once round.
        group = words + (position >> 6)
        bits = wheel[u(group)] & (np.int64(-1) << (position & 63))
        start = group
        while bits == 0:
            group += 1
            if group == wheel.size:
                group = words
            bits = wheel[u(group)]
            if group == start:
                break
        if bits == 0:
            if far == NEVER:
                break
            turn = far >> shift
            position = (turn & (wheel_slots - 1)) << word_bits
            continue
        word = ((group - words) << 6) + lowest_bit(bits)
        turn += ((word >> word_bits) - turn) & (wheel_slots - 1)
        position = word
        while wheel[u(word)] != 0:
            pending = wheel[u(word)]
            wheel[u(word)] = pending & (pending - 1)
            router = ((word & word_mask) << 6) + lowest_bit(pending)
            now = wakes[u(router)]
            if now >> shift != turn:
                continue  # a wake-up that an earlier one has made needless
            wakes[u(router)] = NEVER
            called = np.int64(0)
            again = NEVER
            line = router * width
            base = line << ROW_BITS
            # The heads of the inputs ask for outputs.
            asked = np.int64(0)
            inputs = filled[u(router)] & ~stuck[u(router)]
            while inputs != 0:
                i = lowest_bit(inputs)
                inputs &= inputs - 1
                head = heads[u(line + i)]
                when = head >> PORT_BITS
                o = head & PORT_MASK
                ready = np.int64(when <= now)  # without a branch: nobody can foresee it
                request[u(o)] |= ready << i
                asked |= ready << o
                again = min(again, when | -ready & NEVER)
            # Each free output takes the first asker at or after its pointer, or goes on with its packet.
            emptied = fresh[u(router)]
            fresh[u(router)] = 0
            while asked != 0:
                o = lowest_bit(asked)
                asked &= asked - 1
                asking = request[u(o)]
                request[u(o)] = 0
                out = base + o * ROW
                free = rows[u(out + FREE)]
                if free > now:
                    again = min(again, free)
                    continue
                i = rows[u(out + LOCKED)]
                if i >= 0:
                    if (asking >> i) & 1 == 0:
                        continue
                else:
                    i = rows[u(out + POINTER)]
                    if asking >> i != 0:
                        i += lowest_bit(asking >> i)
                    else:
                        i = lowest_bit(asking)
                to = rows[u(out + LEADS)]
                count = np.int64(0)
                if to >= 0:
                    count = rows[u(to + COUNT)]
                    if count >= buffer_flits:
                        rows[u(to + WAITED_FOR)] = 1
                        stuck[u(router)] |= asking
                        continue
                    slot = (to >> ROW_BITS) * last_place
                    free = rows[u(to + LEAVES)] + rows[u(to + RETURN)]
                    if count > 0 or free > now:
                        at = rows[u(to + HEAD)] + 2 * count
                        if at >= last_place:
                            at -= last_place
                        slot += at
                        if at < rows[u(to + USED)]:
                            free = fifo[u(slot)] + rows[u(to + RETURN)]
                        else:
                            free = now
                            rows[u(to + USED)] = at + 2
                    else:
                        # Empty, and all its credits are back: it may as well start anew.
                        rows[u(to + HEAD)] = 0
                        rows[u(to + USED)] = 2
                else:
                    slot = cores[u((-2 - to) * CORE + EJECT_NEXT)]
                    free = rings[u(slot)] + eject_credit
                if free > now:
                    again = min(again, free)
                    continue
                # The flit leaves input i by output o.
                emptied |= np.int64(1) << i
                port = base + i * ROW
                place = (port >> ROW_BITS) * last_place
                flit = fifo[u(place + rows[u(port + HEAD)] + 1)]
                free = now + rows[u(out + SPACE)]
                rows[u(out + PASSED)] += 1
                rows[u(out + FREE)] = free
                rows[u(port + LEAVES)] = free
                rows[u(out + LOCKED)] = -1 if flit & 1 else i
                rows[u(out + POINTER)] = i + 1 if i + 1 < width else 0
                if asking & (asking - 1) != 0:
                    again = min(again, free)
                when = now + rows[u(out + LATENCY)]
                if to >= 0:
                    fifo[u(slot)] = when
                    fifo[u(slot + 1)] = flit
                    rows[u(to + COUNT)] = count + 1
                    if count == 0:
                        p = rows[u(out + NEXT)]
                        r = p >> PORT_BITS
                        filled[u(r)] |= np.int64(1) << (p & PORT_MASK)
                        when = max(when, rows[u(to + LEAVES)])
                        heads[u(to >> ROW_BITS)] = (when << PORT_BITS) | way[u((flit & FLIT_MASK) >> CORE_SHIFT), u(r)]
                        calls[u(called)] = r
                        calls[u(called + 1)] = when
                        called += 2
                else:
                    core = -2 - to
                    at = core * CORE
                    after = slot + 1
                    if after == cores[u(at + EJECT_LAST)]:
                        after = cores[u(at + EJECT_FIRST)]
                    cores[u(at + EJECT_NEXT)] = after
                    if flit & 1:
                        # Through the stages of the core, as `row_kernels.receive`.
                        copy = (flit >> PACKET_SHIFT) * COPIES
                        copies[u(copy + ARRIVED)] = when
                        delivered += 1
                        last = max(last, when)
                        ring = cores[u(at + RING)] + cores[u(at + RING_NEXT)]
                        taken = max(when, cores[u(at + AXON_LEFT)])
                        counters[u(core), CORE_WAIT] += taken - when
                        done = max(taken + t_axon, rings[u(ring)])
                        begin = max(done, cores[u(at + READ_LEFT)])
                        cores[u(at + AXON_LEFT)] = done
                        rings[u(ring)] = begin
                        done = max(begin + copies[u(copy + READ)], rings[u(ring + stage_queue)])
                        begin = max(done, cores[u(at + FINISH)])
                        cores[u(at + READ_LEFT)] = done
                        rings[u(ring + stage_queue)] = begin
                        cores[u(at + FINISH)] = begin + copies[u(copy + ACCUMULATE)]
                        after = cores[u(at + RING_NEXT)] + 1
                        cores[u(at + RING_NEXT)] = after if after < stage_queue else 0
                        when = taken
                    rings[u(slot)] = when
            # Places that are empty now: a core fills its own, a router that waits for one is woken.
            while emptied != 0:
                i = lowest_bit(emptied)
                emptied &= emptied - 1
                port = base + i * ROW
                place = (port >> ROW_BITS) * last_place
                head = rows[u(port + HEAD)]
                count = rows[u(port + COUNT)]
                if count > 0:
                    fifo[u(place + head)] = now
                    head += 2
                    if head == last_place:
                        head = np.int64(0)
                    rows[u(port + HEAD)] = head
                    count -= 1
                source = rows[u(port + SOURCE)]
                if source < 0:
                    # The next flits of the core, as `row_kernels.inject`.
                    core = -2 - source
                    at = core * CORE
                    packet = cores[u(at + SENDING)]
                    while count < buffer_flits and packet < cores[u(at + LAST_PACKET)]:
                        slot = head + 2 * count
                        if slot >= last_place:
                            slot -= last_place
                        row = packet * PACKET
                        when = max(cores[u(at + READY)], cores[u(at + SOURCE_FREE)])
                        if slot < rows[u(port + USED)]:
                            when = max(when, fifo[u(place + slot)] + rows[u(port + RETURN)])
                        else:
                            rows[u(port + USED)] = slot + 2
                        slot += place
                        sent = cores[u(at + SENT_FLITS)] + 1
                        if sent == 1:
                            packets[u(row + INJECTED)] = when
                        tail = np.int64(sent == packets[u(row + FLITS)])
                        fifo[u(slot)] = when + inject_latency
                        flit = (packet << PACKET_SHIFT) | (copies[u(packet * COPIES + TO_CORE)] << CORE_SHIFT) | tail
                        fifo[u(slot + 1)] = flit
                        count += 1
                        cores[u(at + SOURCE_FREE)] = when + inject_interval
                        if tail:
                            packets[u(row + LEFT)] = when
                            left = cores[u(at + LEFT_NEXT)]
                            rings[u(left)] = when
                            left += 1
                            if left == cores[u(at + LEFT_LAST)]:
                                left = cores[u(at + LEFT_FIRST)]
                            cores[u(at + LEFT_NEXT)] = left
                            sent = np.int64(0)
                            packet += 1
                            if packet == cores[u(at + LAST_PACKET)]:
                                counters[u(core), CORE_SWEEP_END] += cores[u(at + READY)]
                            else:
                                done = cores[u(at + READY)] + packets[u(row + PACKET + WORK)]
                                ready = max(done, rings[u(left)])
                                cores[u(at + READY)] = ready
                                counters[u(core), CORE_STALL] += ready - done
                        cores[u(at + SENT_FLITS)] = sent
                    cores[u(at + SENDING)] = packet
                elif rows[u(port + WAITED_FOR)] != 0:
                    rows[u(port + WAITED_FOR)] = 0
                    stuck[u(source)] = 0
                    calls[u(called)] = source
                    calls[u(called + 1)] = now + rows[u(port + RETURN)]
                    called += 2
                rows[u(port + COUNT)] = count
                if count == 0:
                    filled[u(router)] &= ~(np.int64(1) << i)
                else:
                    filled[u(router)] |= np.int64(1) << i
                    flit = fifo[u(place + head + 1)]
                    when = max(fifo[u(place + head)], rows[u(port + LEAVES)])
                    heads[u(line + i)] = (when << PORT_BITS) | way[u((flit & FLIT_MASK) >> CORE_SHIFT), u(router)]
                    again = min(again, when)
            calls[u(called)] = router
            calls[u(called + 1)] = again
            called += 2
            at = np.int64(0)
            while at < called:
                r, when = calls[u(at)], calls[u(at + 1)]
                at += 2
                if when < wakes[u(r)]:
                    wakes[u(r)] = when
                    slot = when >> shift
                    if slot - turn >= wheel_slots:
                        far = min(far, when)
                    else:
                        slot = ((slot & (wheel_slots - 1)) << word_bits) + (r >> 6)
                        wheel[u(slot)] |= np.int64(1) << (r & 63)
                        wheel[u(words + (slot >> 6))] |= np.int64(1) << (slot & 63)
        wheel[u(words + (word >> 6))] &= ~(np.int64(1) << (word & 63))
    for c in range(core_router.size):
        counters[c, CORE_FINISH] = cores[c * CORE + FINISH]
    return delivered, last
