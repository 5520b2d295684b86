"""Compiled parts of the time kernel for cores whose sweep and messages take turns at one port.

docs/decisions/0006-one-port.md says who has the port when. A message can hold the sweep up and the other way round,
so neither end of such a core is known ahead, and it is followed from event to event. Nobody but its router touches
it: its events are evaluations of the router, which come in the order of time, and the core's own come first in each.
While no message waits for the port the sweep goes on undisturbed, so that its next event is the packet that it makes,
not the next neuron.

A core has a row of `CPU` columns, of which those of the sweep and of sending are those of `processor_kernels`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from neurosim.engine.packet_kernels import sends_of
from neurosim.engine.processor_kernels import (
    BEGINNING,
    CPU,
    DONE,
    GONE,
    MADE,
    MADE_AT,
    NEXT,
    NO_ROOM,
    PUT,
    PUT_NEXT,
    ROOM_AT,
    SWEEP,
    WORKING,
    send_made,
)
from neurosim.engine.row_kernels import (
    ACCUMULATE,
    ARRIVED,
    COPIES,
    CORE,
    CORE_FINISH,
    CORE_STALL,
    CORE_SWEEP_END,
    CORE_WAIT,
    COUNT,
    EJECT_FIRST,
    EJECT_LAST,
    FIFO,
    FIRST,
    LAST_PACKET,
    LEFT_FIRST,
    LEFT_LAST,
    PACKET,
    PORT,
    READ,
    READY_AT,
    RELEASE,
    SINCE,
    WANTS,
    head_wants,
)
from neurosim.engine.wheel_kernels import NEVER

# A core, in columns that processors use for other things: the three servers of messages, each with its copy or -1 and
# when it is done with it, NEVER while the copy waits for the port; when the port is free; tails in the ejection queue,
# in pairs of slot and copy; the queues before the last two servers; the sweep's piece, and when it is done.
AXON, AXON_DONE, READING, READ_DONE, ADDING, ADD_DONE, PORT_FREE = 2, 3, 4, 5, 6, 7, 8
LINED, LINED_FIRST, LINED_RING, LINED_SIZE = 9, 10, 11, 12
READS, READS_FIRST, READS_RING, ADDS, ADDS_FIRST, ADDS_RING = 13, 14, 15, 16, 17, 18
PIECE, PIECE_DONE = 19, 20

# One more state of a sweep: axon-out looks up where a packet goes.
LOOKING_UP = 4

# Which stage of messages shares the port with the sweep.
SHARED_READ, SHARED_ACCUMULATE = 0, 1

# When a copy went through the stages of its core; the first six as in `trace_kernels`, then when it got the port.
TAKEN, AXON_LEFT, READ_START, READ_LEFT, BEGIN, FINISHED, PORT_BEGIN, TIMES = 0, 1, 2, 3, 4, 5, 6, 7


class Sharing(NamedTuple):
    """What cores need whose sweep shares a port (N packets, C cores, K pieces, M copies).

    Attributes
    ----------
    stage
        SHARED_READ or SHARED_ACCUMULATE.
    axon_out
        Ticks between the last piece of work for a packet and its being made.
    piece_first
        int64 (N + C + 1,): where the pieces of each packet begin, and, behind a core's packets, those of its last
        work: packet p of core c has row p + c.
    ends
        int64 (K + 1,): ticks of all pieces up to each, added up; a piece is at least a tick long.
    times
        int64 (M * TIMES,), -1: filled.
    """

    stage: Any
    axon_out: Any
    piece_first: Any
    ends: Any
    times: Any


@nb.njit(cache=True, nogil=True)
def new_sharing(cores, core_first, stage_queue, sharing):
    """Return the rows of all cores, and the number of entries of their queues."""
    count = core_first.size - 1
    cpus = np.zeros(count * CPU, dtype=np.int64)
    used = np.int64(0)
    for c in range(count):
        cpu, at = c * CPU, c * CORE
        cpus[cpu + AXON] = -1
        cpus[cpu + READING] = -1
        cpus[cpu + ADDING] = -1
        cpus[cpu + LINED_RING] = used
        cpus[cpu + LINED_SIZE] = cores[at + EJECT_LAST] - cores[at + EJECT_FIRST]
        used += 2 * cpus[cpu + LINED_SIZE]
        cpus[cpu + READS_RING] = used
        used += stage_queue
        cpus[cpu + ADDS_RING] = used
        used += stage_queue
        cpus[cpu + MADE] = core_first[c]
        cpus[cpu + PUT_NEXT] = cores[at + LEFT_FIRST]
        cpus[cpu + PIECE] = sharing.piece_first[core_first[c] + c]
        cpus[cpu + SWEEP] = BEGINNING
    return cpus, used


@nb.njit(cache=True, nogil=True, inline="always")
def line_up_tail(core, slot, copy, arrival, cpus, queues):
    """Put a tail that arrives behind those that axon-in has not taken."""
    cpu = core * CPU
    place = cpus[cpu + LINED_FIRST] + cpus[cpu + LINED]
    if place >= cpus[cpu + LINED_SIZE]:
        place -= cpus[cpu + LINED_SIZE]
    queues[cpus[cpu + LINED_RING] + 2 * place] = slot
    queues[cpus[cpu + LINED_RING] + 2 * place + 1] = copy
    cpus[cpu + LINED] += 1
    cpus[cpu + NEXT] = min(cpus[cpu + NEXT], arrival)


@nb.njit(cache=True, nogil=True, inline="always")
def put_behind(copy, queue, size, cpu, cpus, queues):
    """Put a copy into a queue, whose columns begin at `queue`."""
    place = cpus[cpu + queue + 1] + cpus[cpu + queue]
    if place >= size:
        place -= size
    queues[cpus[cpu + queue + 2] + place] = copy
    cpus[cpu + queue] += 1


@nb.njit(cache=True, nogil=True, inline="always")
def take_first(queue, size, cpu, cpus, queues):
    """Take the first copy out of a queue."""
    copy = queues[cpus[cpu + queue + 2] + cpus[cpu + queue + 1]]
    cpus[cpu + queue + 1] += 1
    if cpus[cpu + queue + 1] == size:
        cpus[cpu + queue + 1] = 0
    cpus[cpu + queue] -= 1
    return copy


@nb.njit(cache=True, nogil=True, inline="always")
def enter(server, copy, ticks, shares, now, cpu, cpus):
    """Let a copy into a server; one that needs the port waits for it."""
    cpus[cpu + server] = copy
    cpus[cpu + server + 1] = NEVER if shares and ticks > 0 else now + ticks


@nb.njit(cache=True, nogil=True, inline="always")
def pass_on(server, left, queue, size, now, cpu, cpus, queues, times):
    """Put what a server is done with into the queue behind it, if that has room; return whether it did."""
    copy = cpus[cpu + server]
    moves = copy >= 0 and cpus[cpu + server + 1] <= now and cpus[cpu + queue] < size
    if moves:
        times[copy // COPIES * TIMES + left] = now
        put_behind(copy, queue, size, cpu, cpus, queues)
        cpus[cpu + server] = -1
    return moves


@nb.njit(cache=True, nogil=True, inline="always")
def take_in(server, queue, start, column, shares, size, now, cpu, cpus, copies, queues, times):
    """Let the first of a queue into the server behind it, if that is free; return whether it did."""
    moves = cpus[cpu + server] < 0 and cpus[cpu + queue] > 0
    if moves:
        copy = take_first(queue, size, cpu, cpus, queues)
        times[copy // COPIES * TIMES + start] = now
        enter(server, copy, copies[copy + column], shares, now, cpu, cpus)
    return moves


@nb.njit(cache=True, nogil=True, inline="always")
def get_port(server, column, now, cpu, cpus, copies, times):
    """Give the port to the copy in `server` if it waits for it and the port is free."""
    copy = cpus[cpu + server]
    if copy >= 0 and cpus[cpu + server + 1] == NEVER and cpus[cpu + PORT_FREE] <= now:
        times[copy // COPIES * TIMES + PORT_BEGIN] = now
        cpus[cpu + server + 1] = now + copies[copy + column]
        cpus[cpu + PORT_FREE] = now + copies[copy + column]


@nb.njit(cache=True, nogil=True)
def run_messages(core, now, t_axon, stage_queue, cpus, copies, rings, queues, counters, sharing):
    """Move a core's messages on as far as they can go at `now`; they have the port before the sweep."""
    cpu, times = core * CPU, sharing.times
    going = True
    while going:
        going = False
        copy = cpus[cpu + ADDING]
        if copy >= 0 and cpus[cpu + ADD_DONE] <= now:
            times[copy // COPIES * TIMES + FINISHED] = now
            counters[core, CORE_FINISH] = now
            cpus[cpu + ADDING] = -1
            going = True
        shares = sharing.stage == SHARED_ACCUMULATE
        going |= take_in(ADDING, ADDS, BEGIN, ACCUMULATE, shares, stage_queue, now, cpu, cpus, copies, queues, times)
        going |= pass_on(READING, READ_LEFT, ADDS, stage_queue, now, cpu, cpus, queues, times)
        shares = sharing.stage == SHARED_READ
        going |= take_in(READING, READS, READ_START, READ, shares, stage_queue, now, cpu, cpus, copies, queues, times)
        going |= pass_on(AXON, AXON_LEFT, READS, stage_queue, now, cpu, cpus, queues, times)
        if cpus[cpu + AXON] < 0 and cpus[cpu + LINED] > 0:
            place = cpus[cpu + LINED_RING] + 2 * cpus[cpu + LINED_FIRST]
            copy = queues[place + 1]
            if copies[copy + ARRIVED] <= now:
                rings[queues[place]] = now
                cpus[cpu + LINED] -= 1
                cpus[cpu + LINED_FIRST] += 1
                if cpus[cpu + LINED_FIRST] == cpus[cpu + LINED_SIZE]:
                    cpus[cpu + LINED_FIRST] = 0
                times[copy // COPIES * TIMES + TAKEN] = now
                counters[core, CORE_WAIT] += now - copies[copy + ARRIVED]
                enter(AXON, copy, t_axon, False, now, cpu, cpus)
                going = True
        get_port(READING, READ, now, cpu, cpus, copies, times)
        get_port(ADDING, ACCUMULATE, now, cpu, cpus, copies, times)


@nb.njit(cache=True, nogil=True)
def catch_up(core, now, cores, cpus, sharing):
    """Take the sweep through the pieces that ended before `now`: no message waited for the port in between."""
    cpu, packet = core * CPU, cpus[core * CPU + MADE]
    last = sharing.piece_first[packet + core + 1]
    while cpus[cpu + SWEEP] == WORKING and cpus[cpu + PIECE_DONE] < now:
        piece = cpus[cpu + PIECE] + 1
        cpus[cpu + PIECE] = piece
        if piece == last:
            cpus[cpu + SWEEP] = LOOKING_UP
            cpus[cpu + MADE_AT] = cpus[cpu + PIECE_DONE]
            if packet < cores[core * CORE + LAST_PACKET]:
                cpus[cpu + MADE_AT] += sharing.axon_out
        else:
            cpus[cpu + PIECE_DONE] += sharing.ends[piece + 1] - sharing.ends[piece]
            cpus[cpu + PORT_FREE] = cpus[cpu + PIECE_DONE]


@nb.njit(cache=True, nogil=True)
def run_pieces(core, now, cores, cpus, packets, rings, counters, sharing):
    """Let the sweep do what it can at `now`; it gets the port only where no message waits for it."""
    at, cpu = core * CORE, core * CPU
    going = cpus[cpu + SWEEP] != DONE
    while going:
        going = False
        packet = cpus[cpu + MADE]
        row = packet * PACKET
        if cpus[cpu + SWEEP] == WORKING and cpus[cpu + PIECE_DONE] <= now:
            cpus[cpu + PIECE] += 1
            cpus[cpu + SWEEP] = BEGINNING
        if cpus[cpu + SWEEP] == BEGINNING:
            piece = cpus[cpu + PIECE]
            if piece == sharing.piece_first[packet + core + 1]:
                cpus[cpu + SWEEP] = LOOKING_UP
                cpus[cpu + MADE_AT] = now
                if packet < cores[at + LAST_PACKET]:
                    cpus[cpu + MADE_AT] += sharing.axon_out
            elif cpus[cpu + PORT_FREE] <= now:
                cpus[cpu + SWEEP] = WORKING
                cpus[cpu + PIECE_DONE] = now + sharing.ends[piece + 1] - sharing.ends[piece]
                cpus[cpu + PORT_FREE] = cpus[cpu + PIECE_DONE]
        if cpus[cpu + SWEEP] == LOOKING_UP and cpus[cpu + MADE_AT] <= now:
            if packet == cores[at + LAST_PACKET]:
                cpus[cpu + SWEEP] = DONE
                counters[core, CORE_SWEEP_END] = now
            else:
                cpus[cpu + SWEEP] = NO_ROOM
                cpus[cpu + ROOM_AT] = now
                packets[row + RELEASE] = now
                if cpus[cpu + GONE] + cores[at + LEFT_LAST] - cores[at + LEFT_FIRST] > cpus[cpu + PUT]:
                    cpus[cpu + ROOM_AT] = max(now, rings[cpus[cpu + PUT_NEXT]])
                else:
                    cpus[cpu + ROOM_AT] = NEVER
        if cpus[cpu + SWEEP] == NO_ROOM and cpus[cpu + ROOM_AT] <= now:
            going = True
            packets[row + READY_AT] = now
            counters[core, CORE_STALL] += now - cpus[cpu + MADE_AT]
            cpus[cpu + PUT] += 1
            cpus[cpu + PUT_NEXT] += 1
            if cpus[cpu + PUT_NEXT] == cores[at + LEFT_LAST]:
                cpus[cpu + PUT_NEXT] = cores[at + LEFT_FIRST]
            cpus[cpu + MADE] = packet + 1
            cpus[cpu + SWEEP] = BEGINNING


@nb.njit(cache=True, nogil=True)
def next_turn(core, now, cores, cpus, copies, queues, sharing):
    """Return when something happens next at a core, as far as it can know."""
    cpu = core * CPU
    when = NEVER
    waits = False
    for server in (AXON, READING, ADDING):
        if cpus[cpu + server] >= 0 and cpus[cpu + server + 1] > now:
            when = min(when, cpus[cpu + server + 1])
            waits = waits or cpus[cpu + server + 1] == NEVER
    if cpus[cpu + AXON] < 0 and cpus[cpu + LINED] > 0:
        when = min(when, copies[queues[cpus[cpu + LINED_RING] + 2 * cpus[cpu + LINED_FIRST] + 1] + ARRIVED])
    if cpus[cpu + SWEEP] == WORKING:
        done = cpus[cpu + PIECE_DONE]
        if not waits:
            packet = cpus[cpu + MADE]
            done += sharing.ends[sharing.piece_first[packet + core + 1]] - sharing.ends[cpus[cpu + PIECE] + 1]
            if packet < cores[core * CORE + LAST_PACKET]:
                done += sharing.axon_out
        when = min(when, done)
    elif cpus[cpu + SWEEP] == LOOKING_UP:
        when = min(when, cpus[cpu + MADE_AT])
    elif cpus[cpu + SWEEP] == NO_ROOM:
        when = min(when, cpus[cpu + ROOM_AT])
    return when


@nb.njit(cache=True, nogil=True)
def run_sharing(
    router, width, channels, now, t_axon, stage_queue, inject_latency, inject_interval, buffer_flits, tile_first,
    tile_core, core_port, way, trees, cores, cpus, packets, copies, ports, fifo, rings, queues, filled, counters,
    sharing,
):  # fmt: skip
    """Evaluate the cores of a router whose next event is due; return when the next of all is.

    For the parameters see `time_step`. A flit that a core puts into its router is looked at by the router, whose
    evaluation goes on with it.
    """
    wake = NEVER
    for k in range(tile_first[router], tile_first[router + 1]):
        core = tile_core[k]
        cpu = core * CPU
        if cpus[cpu + NEXT] <= now:
            catch_up(core, now, cores, cpus, sharing)
            run_messages(core, now, t_axon, stage_queue, cpus, copies, rings, queues, counters, sharing)
            port = (router * width + core_port[core]) * channels * PORT
            going = True
            while going:
                run_pieces(core, now, cores, cpus, packets, rings, counters, sharing)
                empty = ports[port + COUNT] == 0
                send_made(
                    core, port, inject_latency, inject_interval, buffer_flits, cores, cpus, packets, ports, fifo, rings
                )
                if empty and ports[port + COUNT] > 0:
                    slot = ports[port + FIFO] + ports[port + FIRST]
                    ports[port + WANTS] = head_wants(fifo[slot + 1], router, packets, copies, way, trees)
                    ports[port + SINCE] = fifo[slot]
                    filled[router] |= np.int64(1) << (core_port[core] * channels)
                going = cpus[cpu + SWEEP] == NO_ROOM and cpus[cpu + ROOM_AT] <= now
            cpus[cpu + NEXT] = next_turn(core, now, cores, cpus, copies, queues, sharing)
        wake = min(wake, cpus[cpu + NEXT])
    return wake


@nb.njit(cache=True, nogil=True)
def sweep_pieces(
    payload, active, touched, neuron_order, core_start, core_layer, layer_state_words, layer_updates, routed,
    route_start, axon_start, axon_core, active_time, inactive_time, send_time, form, piece_first, ends,
):  # fmt: skip
    """Sweep every core's neurons in order and fill in the pieces of its work; return their number.

    Parameters
    ----------
    payload, active, touched, neuron_order, core_start, core_layer, layer_state_words, layer_updates, axon_start,
    axon_core, active_time, inactive_time, send_time, form
        As in `packet_kernels.build_packets`.
    routed, route_start
        Whether a message makes one packet for all cores of a tree; int64 (C + 1,): where each core's begin.
    piece_first, ends
        As in `Sharing`; `ends` has room for a piece a neuron, and one for each time that it sends after the first.
    """
    pieces = 0
    segment = 0
    ends[0] = 0
    for core in range(core_layer.size):
        words = layer_state_words[core_layer[core]]
        piece_first[segment] = pieces
        for at in range(core_start[core], core_start[core + 1]):
            neuron = neuron_order[at]
            if touched.size > 0 and not touched[neuron]:
                continue
            message = payload[neuron]
            if words > 0:
                ticks = layer_updates[core_layer[core]] * (active_time if active[neuron] else inactive_time)
                if message != 0:
                    ticks += send_time
                if ticks > 0:
                    ends[pieces + 1] = ends[pieces] + ticks
                    pieces += 1
            if message == 0:
                continue
            made = 0
            if routed:
                made = min(route_start[core + 1] - route_start[core], 1)
            else:
                last = -1
                for row in range(axon_start[neuron], axon_start[neuron + 1]):
                    if axon_core[row] != last:
                        last = axon_core[row]
                        made += 1
            for send in range(sends_of(message, form) if made > 0 else np.int64(1)):
                if send > 0 and words > 0 and send_time > 0:
                    ends[pieces + 1] = ends[pieces] + send_time
                    pieces += 1
                for _ in range(made):
                    segment += 1
                    piece_first[segment] = pieces
        segment += 1
        piece_first[segment] = pieces
    return pieces
