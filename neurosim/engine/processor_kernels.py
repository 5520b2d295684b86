"""Compiled parts of the time kernel for processor cores: one CPU a core, a memory that the cores of a tile share.

docs/decisions/0004-processor-cores.md says what such a core does. Interrupts go before everything else, so when
each begins is known as soon as its message arrives; jobs and the sweep are followed from event to event. All cores
of a tile are one component of the wheel, because the order in which they ask the shared memory matters.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.row_kernels import (
    ACCUMULATE,
    COPIES,
    COPY,
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
    FLITS,
    INJECTED,
    LAST_PACKET,
    LEFT,
    LEFT_FIRST,
    LEFT_LAST,
    LEFT_NEXT,
    PACKET,
    PORT,
    READ,
    READY_AT,
    RELEASE,
    RETURN,
    SENDING,
    SENT_FLITS,
    SINCE,
    SOURCE_FREE,
    WANTS,
    WORK,
    head_wants,
)
from neurosim.engine.wheel_kernels import NEVER

# A processor. Jobs are copies, or SET_UP; at most three can wait behind one another.
SINCE_LAST, NEXT, INTERRUPT_FREE, INTERRUPT, INTERRUPT_END, INTERRUPT_COPY = 0, 1, 2, 3, 4, 5
PENDING, PENDING_FIRST, PENDING_RING, PENDING_SIZE, WAITING, WAITING_FIRST, WAITING_RING = 6, 7, 8, 9, 10, 11, 12
FETCH, FETCH_COPY, ROW_COMES, JOBS, JOB_FIRST, JOB_LEFT, JOB = 13, 14, 15, 16, 17, 18, 19
SWEEP, MADE, SWEEP_LEFT, ROOM_AT, PUT, GONE, PUT_NEXT, MADE_AT, LOST = 23, 24, 25, 26, 27, 28, 29, 30, 31
CPU = 32

# What all processors are alike in.
PACKET_TICKS, SET_UP_TICKS, MEMORY_LATENCY, BUFFER, SHARED_MEMORY = 0, 1, 2, 3, 4

SET_UP = -1
IDLE, SETTING_UP, TRANSFERRING = 0, 1, 2
BEGINNING, WORKING, NO_ROOM, DONE = 0, 1, 2, 3

# When a copy went through the stages of a processor.
TAKEN, SET_UP_BEGIN, SET_UP_END, TRANSFER_BEGIN, ROW_AT, ROW_BEGIN, FINISHED = 0, 1, 2, 3, 4, 5, 6
STAGES = 7


@nb.njit(cache=True, nogil=True)
def new_processors(cores, core_first, packets, copies, buffer_slots):
    """Return the rows of all processors, one more that only says where the rings end, and that end."""
    count = core_first.size - 1
    cpus = np.zeros((count + 1) * CPU, dtype=np.int64)
    for p in range(core_first[count]):
        for copy in range(packets[p * PACKET + COPY], packets[(p + 1) * PACKET + COPY]):
            cpus[copies[copy * COPIES] * CPU + WAITING_RING] += 1
    used = np.int64(0)
    for c in range(count):
        cpu, at = c * CPU, c * CORE
        messages = cpus[cpu + WAITING_RING]
        cpus[cpu + PENDING_RING] = used
        # Within a slot of the wheel a router may fill a slot of the core before its tile has begun the interrupt.
        cpus[cpu + PENDING_SIZE] = cores[at + EJECT_LAST] - cores[at + EJECT_FIRST] + 2
        used += cpus[cpu + PENDING_SIZE]
        cpus[cpu + WAITING_RING] = used
        used += max(min(messages, buffer_slots), 1)
        cpus[cpu + MADE] = core_first[c]
        cpus[cpu + PUT_NEXT] = cores[at + LEFT_FIRST]
        cpus[cpu + NEXT] = NEVER
        cpus[cpu + SWEEP] = DONE
        if core_first[c] < core_first[c + 1]:
            cpus[cpu + SWEEP] = BEGINNING
            cpus[cpu + NEXT] = packets[core_first[c] * PACKET + RELEASE]
    cpus[count * CPU + PENDING_RING] = used
    return cpus, used


@nb.njit(cache=True, nogil=True, inline="always")
def take_packet(core, arrival, copy, packet_ticks, cpus, rows, stages, counters):
    """Line up the interrupt of a message that arrives; return when it begins."""
    cpu = core * CPU
    taken = max(arrival, cpus[cpu + INTERRUPT_FREE])
    cpus[cpu + INTERRUPT_FREE] = taken + packet_ticks
    stages[copy * STAGES + TAKEN] = taken
    last = cpus[cpu + PENDING_FIRST] + cpus[cpu + PENDING]
    if last >= cpus[cpu + PENDING_SIZE]:
        last -= cpus[cpu + PENDING_SIZE]
    rows[cpus[cpu + PENDING_RING] + last] = copy
    cpus[cpu + PENDING] += 1
    cpus[cpu + NEXT] = min(cpus[cpu + NEXT], taken)
    counters[core, CORE_WAIT] += taken - arrival
    return taken


@nb.njit(cache=True, nogil=True, inline="always")
def begin_job(core, job, now, set_up_ticks, cpus, rows, copies, stages):
    """Make `job` the one at work."""
    cpu = core * CPU
    if job == SET_UP:
        copy = rows[cpus[cpu + WAITING_RING] + cpus[cpu + WAITING_FIRST]]
        stages[copy * STAGES + SET_UP_BEGIN] = now
        cpus[cpu + JOB_LEFT] = set_up_ticks
    else:
        stages[job * STAGES + ROW_BEGIN] = now
        cpus[cpu + JOB_LEFT] = copies[job * COPIES + ACCUMULATE]


@nb.njit(cache=True, nogil=True, inline="always")
def put_job(core, job, now, set_up_ticks, cpus, rows, copies, stages):
    """Put a job behind the others."""
    cpu = core * CPU
    cpus[cpu + JOB + ((cpus[cpu + JOB_FIRST] + cpus[cpu + JOBS]) & 3)] = job
    cpus[cpu + JOBS] += 1
    if cpus[cpu + JOBS] == 1:
        begin_job(core, job, now, set_up_ticks, cpus, rows, copies, stages)


@nb.njit(cache=True, nogil=True, inline="always")
def send_made(core, port, inject_latency, inject_interval, buffer_flits, cores, cpus, packets, ports, fifo, rings):
    """Put flits of packets that are made into the core's router while there are slots."""
    at, cpu = core * CORE, core * CPU
    while ports[port + COUNT] < buffer_flits and cores[at + SENDING] < cpus[cpu + MADE]:
        packet = cores[at + SENDING]
        row = packet * PACKET
        if packets[row + FLITS] == 0:
            cores[at + SENDING] = packet + 1
            continue
        slot = ports[port + FIRST] + 2 * ports[port + COUNT]
        if slot >= 2 * buffer_flits:
            slot -= 2 * buffer_flits
        slot += ports[port + FIFO]
        when = max(max(packets[row + READY_AT], cores[at + SOURCE_FREE]), fifo[slot] + ports[port + RETURN])
        if cores[at + SENT_FLITS] == 0:
            packets[row + INJECTED] = when
        cores[at + SENT_FLITS] += 1
        tail = np.int64(cores[at + SENT_FLITS] == packets[row + FLITS])
        fifo[slot] = when + inject_latency
        fifo[slot + 1] = (packet << 32) | tail
        ports[port + COUNT] += 1
        cores[at + SOURCE_FREE] = when + inject_interval
        if tail == 1:
            packets[row + LEFT] = when
            left = cores[at + LEFT_NEXT]
            rings[left] = when
            left += 1
            if left == cores[at + LEFT_LAST]:
                left = cores[at + LEFT_FIRST]
            cores[at + LEFT_NEXT] = left
            cores[at + SENT_FLITS] = 0
            cores[at + SENDING] = packet + 1
            cpus[cpu + GONE] += 1
            if cpus[cpu + SWEEP] == NO_ROOM and cpus[cpu + ROOM_AT] == NEVER:
                cpus[cpu + ROOM_AT] = when
                cpus[cpu + NEXT] = min(cpus[cpu + NEXT], when)


@nb.njit(cache=True, nogil=True, inline="always")
def run_interrupts(core, now, packet_ticks, set_up_ticks, buffer_slots, cpus, rows, copies, stages):
    """End the interrupts that end by `now` and begin the next."""
    cpu = core * CPU
    going = True
    while going:
        going = False
        if cpus[cpu + INTERRUPT] == 1:
            if cpus[cpu + INTERRUPT_END] <= now:
                going = True
                cpus[cpu + INTERRUPT] = 0
                copy = cpus[cpu + INTERRUPT_COPY]
                if cpus[cpu + WAITING] == buffer_slots:
                    cpus[cpu + LOST] += 1
                    stages[copy * STAGES + FINISHED] = -2
                else:
                    slots = cpus[cpu + WAITING_FIRST] + cpus[cpu + WAITING]
                    size = cpus[cpu + CPU + PENDING_RING] - cpus[cpu + WAITING_RING]
                    if slots >= size:
                        slots -= size
                    rows[cpus[cpu + WAITING_RING] + slots] = copy
                    cpus[cpu + WAITING] += 1
                    if cpus[cpu + FETCH] == IDLE:
                        cpus[cpu + FETCH] = SETTING_UP
                        put_job(core, np.int64(SET_UP), now, set_up_ticks, cpus, rows, copies, stages)
        elif cpus[cpu + PENDING] > 0:
            copy = rows[cpus[cpu + PENDING_RING] + cpus[cpu + PENDING_FIRST]]
            if stages[copy * STAGES + TAKEN] <= now:
                going = True
                cpus[cpu + PENDING] -= 1
                cpus[cpu + PENDING_FIRST] += 1
                if cpus[cpu + PENDING_FIRST] == cpus[cpu + PENDING_SIZE]:
                    cpus[cpu + PENDING_FIRST] = 0
                cpus[cpu + INTERRUPT] = 1
                cpus[cpu + INTERRUPT_END] = stages[copy * STAGES + TAKEN] + packet_ticks
                cpus[cpu + INTERRUPT_COPY] = copy


@nb.njit(cache=True, nogil=True, inline="always")
def run_jobs(core, memory, now, set_up_ticks, latency, cpus, rows, copies, stages, memory_free):
    """Take in a row that has come, and end the jobs that have no work left."""
    cpu = core * CPU
    if cpus[cpu + FETCH] == TRANSFERRING and cpus[cpu + ROW_COMES] <= now:
        cpus[cpu + FETCH] = IDLE
        if cpus[cpu + WAITING] > 0:
            cpus[cpu + FETCH] = SETTING_UP
            put_job(core, np.int64(SET_UP), now, set_up_ticks, cpus, rows, copies, stages)
        put_job(core, cpus[cpu + FETCH_COPY], now, set_up_ticks, cpus, rows, copies, stages)
    while cpus[cpu + JOBS] > 0 and cpus[cpu + JOB_LEFT] == 0:
        job = cpus[cpu + JOB + cpus[cpu + JOB_FIRST]]
        cpus[cpu + JOB_FIRST] = (cpus[cpu + JOB_FIRST] + 1) & 3
        cpus[cpu + JOBS] -= 1
        follow = np.int64(0)
        if job == SET_UP:
            copy = rows[cpus[cpu + WAITING_RING] + cpus[cpu + WAITING_FIRST]]
            cpus[cpu + WAITING] -= 1
            cpus[cpu + WAITING_FIRST] += 1
            if cpus[cpu + WAITING_FIRST] == cpus[cpu + CPU + PENDING_RING] - cpus[cpu + WAITING_RING]:
                cpus[cpu + WAITING_FIRST] = 0
            stages[copy * STAGES + SET_UP_END] = now
            ticks = copies[copy * COPIES + READ]
            if ticks == 0:
                stages[copy * STAGES + FINISHED] = now
                cpus[cpu + FETCH] = IDLE
                if cpus[cpu + WAITING] > 0:
                    cpus[cpu + FETCH] = SETTING_UP
                    follow = np.int64(1)
            else:
                begin = max(now, memory_free[memory])
                memory_free[memory] = begin + ticks
                cpus[cpu + FETCH] = TRANSFERRING
                cpus[cpu + FETCH_COPY] = copy
                cpus[cpu + ROW_COMES] = begin + ticks + latency
                stages[copy * STAGES + TRANSFER_BEGIN] = begin
                stages[copy * STAGES + ROW_AT] = begin + ticks + latency
        else:
            stages[job * STAGES + FINISHED] = now
        if cpus[cpu + JOBS] > 0:
            begin_job(core, cpus[cpu + JOB + cpus[cpu + JOB_FIRST]], now, set_up_ticks, cpus, rows, copies, stages)
        if follow == 1:
            put_job(core, np.int64(SET_UP), now, set_up_ticks, cpus, rows, copies, stages)


@nb.njit(cache=True, nogil=True, inline="always")
def run_sweep(core, now, cores, cpus, packets, rings, counters):
    """End the segments of the sweep that have no work left, and put their packets into the injection queue."""
    at, cpu = core * CORE, core * CPU
    going = cpus[cpu + SWEEP] != DONE
    while going:
        going = False
        packet = cpus[cpu + MADE]
        row = packet * PACKET
        if cpus[cpu + SWEEP] == BEGINNING and packets[row + RELEASE] <= now:
            cpus[cpu + SWEEP] = WORKING
            cpus[cpu + SWEEP_LEFT] = packets[row + WORK]
        if cpus[cpu + SWEEP] == WORKING and cpus[cpu + SWEEP_LEFT] == 0:
            cpus[cpu + SWEEP] = NO_ROOM
            cpus[cpu + MADE_AT] = now
            cpus[cpu + ROOM_AT] = now
            if packets[row + FLITS] > 0:
                size = cores[at + LEFT_LAST] - cores[at + LEFT_FIRST]
                cpus[cpu + ROOM_AT] = NEVER
                if cpus[cpu + GONE] + size > cpus[cpu + PUT]:
                    cpus[cpu + ROOM_AT] = rings[cpus[cpu + PUT_NEXT]]
        if cpus[cpu + SWEEP] == NO_ROOM and cpus[cpu + ROOM_AT] <= now:
            going = True
            packets[row + READY_AT] = now
            counters[core, CORE_STALL] += now - cpus[cpu + MADE_AT]
            if packets[row + FLITS] > 0:
                cpus[cpu + PUT] += 1
                cpus[cpu + PUT_NEXT] += 1
                if cpus[cpu + PUT_NEXT] == cores[at + LEFT_LAST]:
                    cpus[cpu + PUT_NEXT] = cores[at + LEFT_FIRST]
            cpus[cpu + MADE] = packet + 1
            cpus[cpu + SWEEP] = BEGINNING
            if packet + 1 == cores[at + LAST_PACKET]:
                cpus[cpu + SWEEP] = DONE
                counters[core, CORE_SWEEP_END] = now
                going = False


@nb.njit(cache=True, nogil=True, inline="always")
def next_event(core, now, cpus, rows, packets, stages):
    """Return when something happens next at a core, as far as it can know."""
    cpu = core * CPU
    when = NEVER
    if cpus[cpu + INTERRUPT] == 1:
        when = cpus[cpu + INTERRUPT_END]
    else:
        if cpus[cpu + PENDING] > 0:
            when = stages[rows[cpus[cpu + PENDING_RING] + cpus[cpu + PENDING_FIRST]] * STAGES + TAKEN]
        if cpus[cpu + JOBS] > 0:
            when = min(when, now + cpus[cpu + JOB_LEFT])
        elif cpus[cpu + SWEEP] == WORKING:
            when = min(when, now + cpus[cpu + SWEEP_LEFT])
    if cpus[cpu + FETCH] == TRANSFERRING:
        when = min(when, cpus[cpu + ROW_COMES])
    if cpus[cpu + SWEEP] == BEGINNING:
        when = min(when, max(packets[cpus[cpu + MADE] * PACKET + RELEASE], now + 1))
    elif cpus[cpu + SWEEP] == NO_ROOM:
        when = min(when, cpus[cpu + ROOM_AT])
    return when


@nb.njit(cache=True, nogil=True, inline="always")
def pass_time(core, now, cpus):
    """Book the time since the last event to whoever had the CPU."""
    cpu = core * CPU
    passed = now - cpus[cpu + SINCE_LAST]
    cpus[cpu + SINCE_LAST] = now
    if cpus[cpu + INTERRUPT] == 0:
        if cpus[cpu + JOBS] > 0:
            cpus[cpu + JOB_LEFT] -= passed
        elif cpus[cpu + SWEEP] == WORKING:
            cpus[cpu + SWEEP_LEFT] -= passed


@nb.njit(cache=True, nogil=True, inline="always")
def run_tile(
    tile, width, channels, now, habits, inject_latency, inject_interval, buffer_flits, tile_first, tile_core,
    core_port, way, trees, cores, cpus, packets, copies, stages, ports, fifo, rings, queues, memory_free, filled,
    counters,
):  # fmt: skip
    """Evaluate the cores of a tile whose next event is due; see `time_step` for the parameters.

    Returns when the next event of the tile is, and when its router has a new head to look at.
    """
    wake = NEVER
    again = NEVER
    for k in range(tile_first[tile], tile_first[tile + 1]):
        core = tile_core[k]
        cpu = core * CPU
        if cpus[cpu + NEXT] <= now:
            pass_time(core, now, cpus)
            run_interrupts(
                core, now, habits[PACKET_TICKS], habits[SET_UP_TICKS], habits[BUFFER], cpus, queues, copies, stages
            )
            memory = tile if habits[SHARED_MEMORY] != 0 else core
            run_jobs(
                core, memory, now, habits[SET_UP_TICKS], habits[MEMORY_LATENCY], cpus, queues, copies, stages,
                memory_free,
            )  # fmt: skip
            port = (tile * width + core_port[core]) * channels * PORT
            going = True
            while going:
                run_sweep(core, now, cores, cpus, packets, rings, counters)
                empty = ports[port + COUNT] == 0
                send_made(
                    core, port, inject_latency, inject_interval, buffer_flits, cores, cpus, packets, ports, fifo, rings
                )
                if empty and ports[port + COUNT] > 0:
                    slot = ports[port + FIFO] + ports[port + FIRST]
                    ports[port + WANTS] = head_wants(fifo[slot + 1], tile, packets, copies, way, trees)
                    ports[port + SINCE] = fifo[slot]
                    filled[tile] |= np.int64(1) << (core_port[core] * channels)
                    wake = min(wake, fifo[slot])
                going = cpus[cpu + SWEEP] == NO_ROOM and cpus[cpu + ROOM_AT] <= now
            cpus[cpu + NEXT] = next_event(core, now, cpus, queues, packets, stages)
        again = min(again, cpus[cpu + NEXT])
    return again, wake


@nb.njit(cache=True, nogil=True)
def finish_counters(stages, copies, cpus, counters):
    """Fill in when each core's last message was finished; return the messages that were lost."""
    lost = np.int64(0)
    for copy in range(copies.size // COPIES):
        core = copies[copy * COPIES]
        counters[core, CORE_FINISH] = max(counters[core, CORE_FINISH], stages[copy * STAGES + FINISHED])
    for cpu in range(0, cpus.size - CPU, CPU):
        lost += cpus[cpu + LOST]
    return lost
