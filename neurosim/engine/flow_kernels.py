"""Compiled parts of the time kernel for dataflow cores, whose units update as messages arrive.

docs/decisions/0005-dataflow.md says what such a core does. It does one thing at a time, messages in the order of
their arrival, and nobody else touches its units, its queues or the router input behind them. So all that it does is
known by recurrences as soon as a message arrives or a place at its router comes free, and both happen in evaluations
of its own router: cores need no events. What they do is stamped with times to come, as flits are.

Packets are made while the kernel runs. They stand in the order in which they were made, whoever made them; those of
one core are linked by FOLLOWS. Where the rows do not suffice, FULL is set and the caller begins the frame again with
more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from neurosim.engine.flow_unit_kernels import ACTIVE, INACTIVE, LENGTH, SEND, STATE, UNIT, touch_unit
from neurosim.engine.row_kernels import (
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
    EJECT_NEXT,
    FIFO,
    FIRST,
    FLITS,
    INJECTED,
    LEFT,
    LEFT_FIRST,
    LEFT_LAST,
    LEFT_NEXT,
    PACKET,
    PACKET_SHIFT,
    READY,
    READY_AT,
    RELEASE,
    RETURN,
    SENDING,
    SENT_FLITS,
    SINCE,
    SOURCE_FREE,
    TO_CORE,
    WANTS,
    WORK,
    head_wants,
)
from neurosim.engine.wheel_kernels import NEVER

# Columns of packets and copies that mean something else here: the packet of the same core that follows, -1 for
# none yet; the pair of the message, and its value.
FOLLOWS = RELEASE
MESSAGE_PAIR, VALUE = 1, 2

# A task of a core is its sweep, or a message; the packets that it makes come before those of the next.
NEXT_MADE, LAST_LINKED, PUT, GONE, PUT_NEXT, TAIL, CAUSE, WAITING, WAITING_FIRST = 0, 1, 2, 3, 4, 5, 6, 7, 8
TASK = 9

# What a core has done.
UPDATES_ACTIVE, UPDATES_INACTIVE, SYNOPS = 0, 1, 2
DONE = 3

# What a message of a neuron finds at a core: ticks of its synapse memory and of its accumulators, where its list of
# synapses begins. One row more says where the last list ends.
PAIR_CORE, PAIR_READ, PAIR_ADD, PAIR_LIST = 0, 1, 2, 3
PAIR = 4

# Beside each packet: who made it, in the course of which message (-1 for the sweep); and, once it is a message that
# is worked in, when it was taken and when its core had done with it.
MADE_BY, MADE_FOR, TAKEN, ENDED = 0, 1, 2, 3
MARKS = 4

# How far the tables are filled, whether there was too little room; ticks of axon-in and of axon-out.
USED, SAID, FULL, AXON_IN, AXON_OUT = 0, 1, 2, 3, 4
TOTALS = 5

# A message: neuron, value.
SAYS = 2


class Flow(NamedTuple):
    """What dataflow cores need (L layers, C cores, n neurons, P pairs, S synapses, N packets, M messages).

    Attributes
    ----------
    units
        int64 (L * UNIT,): see `flow_unit_kernels`.
    core_layer, core_start, neuron_order
        As in `Program`.
    payload
        int64 (n,): what each neuron sends in its core's sweep, 0 for nothing.
    visited
        bool (n,): neurons that the sweeps visit.
    active
        bool (n,): those of them whose state changed or that sent; filled for updates at arrivals.
    sigma, held, error, voltage, rest
        int64 (n,): state of the units, and what divided sums left over; changed.
    bias
        int64 (n,): biases, shifted.
    pair_first
        int64 (n + 1,): where each neuron's pairs begin, one for each core with synapses for it, ascending.
    pairs
        int64 ((P + 1) * PAIR,): see the columns.
    targets, weights
        int32 (S,): lists of synapses, targets ascending in each.
    marks
        int64 (N * MARKS,), -1: filled, see the columns.
    sent
        int64 (n,), zeros: filled, messages that each neuron sent.
    done
        int64 (C * DONE,), zeros: filled, see the columns.
    says
        int64 (M * SAYS,): filled, messages in the order in which they were sent; what one core sent is in the order
        of its times.
    totals
        int64 (TOTALS,): see the columns.
    """

    units: Any
    core_layer: Any
    core_start: Any
    neuron_order: Any
    payload: Any
    visited: Any
    active: Any
    sigma: Any
    held: Any
    error: Any
    voltage: Any
    rest: Any
    bias: Any
    pair_first: Any
    pairs: Any
    targets: Any
    weights: Any
    marks: Any
    sent: Any
    done: Any
    says: Any
    totals: Any


@nb.njit(cache=True, nogil=True)
def new_flow_cores(count, eject_slots, inject_queue):
    """Return the rows of all cores, those of their tasks, and the ring entries that they need."""
    cores = np.zeros(count * CORE, dtype=np.int64)
    tasks = np.zeros(count * TASK, dtype=np.int64)
    used = np.int64(0)
    for c in range(count):
        at, task = c * CORE, c * TASK
        cores[at + SENDING] = -1
        cores[at + LEFT_FIRST] = used
        cores[at + LEFT_NEXT] = used
        tasks[task + PUT_NEXT] = used
        used += inject_queue
        cores[at + LEFT_LAST] = used
        cores[at + EJECT_FIRST] = used
        cores[at + EJECT_NEXT] = used
        used += eject_slots
        cores[at + EJECT_LAST] = used
        tasks[task + NEXT_MADE] = -1
        tasks[task + LAST_LINKED] = -1
        tasks[task + CAUSE] = -1
    return cores, tasks, used


@nb.njit(cache=True, nogil=True)
def make_packets(core, unit, neuron, value, work, cores, tasks, packets, copies, flow):
    """Make the packets of a message of `neuron`; return the work after the last of them.

    `work` is what the core has worked since the packet before.
    """
    units, pairs, marks, totals = flow.units, flow.pairs, flow.marks, flow.totals
    task = core * TASK
    flow.sent[neuron] += 1
    work += units[unit + SEND]
    for pair in range(flow.pair_first[neuron], flow.pair_first[neuron + 1]):
        work += totals[AXON_OUT]
        packet = totals[USED]
        if packet * MARKS >= marks.size:
            totals[FULL] = 1
            break
        totals[USED] += 1
        packets[packet * PACKET + FLITS] = units[unit + LENGTH]
        packets[packet * PACKET + WORK] = work
        copies[packet * COPIES + TO_CORE] = pairs[pair * PAIR + PAIR_CORE]
        copies[packet * COPIES + MESSAGE_PAIR] = pair
        copies[packet * COPIES + VALUE] = value
        marks[packet * MARKS + MADE_BY] = core
        marks[packet * MARKS + MADE_FOR] = tasks[task + CAUSE]
        work = np.int64(0)
        if tasks[task + LAST_LINKED] >= 0:
            packets[tasks[task + LAST_LINKED] * PACKET + FOLLOWS] = packet
        tasks[task + LAST_LINKED] = packet
        if tasks[task + NEXT_MADE] < 0:
            tasks[task + NEXT_MADE] = packet
        if cores[core * CORE + SENDING] < 0:
            cores[core * CORE + SENDING] = packet
    return work


@nb.njit(cache=True, nogil=True)
def say(neuron, value, flow):
    """Write down a message."""
    says, totals = flow.says, flow.totals
    if totals[SAID] * SAYS >= says.size:
        totals[FULL] = 1
    else:
        says[totals[SAID] * SAYS] = neuron
        says[totals[SAID] * SAYS + 1] = value
        totals[SAID] += 1


@nb.njit(cache=True, nogil=True)
def end_task(core, cores, tasks, flow, counters):
    """Note when a core is done with what it was at."""
    at, task = core * CORE, core * TASK
    cores[at + READY] += tasks[task + TAIL]
    if tasks[task + CAUSE] < 0:
        counters[core, CORE_SWEEP_END] = cores[at + READY]
    else:
        flow.marks[tasks[task + CAUSE] * MARKS + ENDED] = cores[at + READY]
    counters[core, CORE_FINISH] = cores[at + READY]


@nb.njit(cache=True, nogil=True)
def begin_sweep(core, cores, tasks, packets, copies, counters, flow):
    """Make the packets of a core's sweep, whose updates are done already."""
    units, payload, active = flow.units, flow.payload, flow.active
    task, unit = core * TASK, flow.core_layer[core] * UNIT
    work = np.int64(0)
    for at in range(flow.core_start[core], flow.core_start[core + 1]):
        neuron = np.int64(flow.neuron_order[at])
        if not flow.visited[neuron]:
            continue
        work += units[unit + ACTIVE] if active[neuron] else units[unit + INACTIVE]
        if units[unit + STATE] != 0:
            flow.done[core * DONE + (UPDATES_ACTIVE if active[neuron] else UPDATES_INACTIVE)] += 1
        if payload[neuron] != 0:
            say(neuron, payload[neuron], flow)
            work = make_packets(core, unit, neuron, payload[neuron], work, cores, tasks, packets, copies, flow)
    tasks[task + TAIL] = work
    if tasks[task + NEXT_MADE] < 0:
        end_task(core, cores, tasks, flow, counters)


@nb.njit(cache=True, nogil=True)
def take_message(core, message, cores, tasks, packets, copies, flow):
    """Work a message in: update the units that it touches, in their order, and make their packets."""
    pairs, targets, weights, totals = flow.pairs, flow.targets, flow.weights, flow.totals
    units, active, says, done = flow.units, flow.active, flow.says, flow.done
    task, unit = core * TASK, flow.core_layer[core] * UNIT
    pair = copies[message * COPIES + MESSAGE_PAIR] * PAIR
    value = copies[message * COPIES + VALUE]
    first = totals[SAID]
    said = first
    k, last = pairs[pair + PAIR_LIST], pairs[pair + PAIR + PAIR_LIST]
    updates, moves = np.int64(0), np.int64(0)
    done[core * DONE + SYNOPS] += last - k
    while k < last:
        i = np.int64(targets[k])
        total = np.int64(0)
        while k < last and targets[k] == i:
            total += weights[k] * value
            k += 1
        word, moved = touch_unit(i, total, unit, flow)
        updates += 1
        if moved:
            active[i] = True
            moves += 1
        if word != 0:
            if said * SAYS >= says.size:
                totals[FULL] = 1
                break
            says[said * SAYS] = i
            says[said * SAYS + 1] = word
            said += 1
    totals[SAID] = said
    done[core * DONE + UPDATES_ACTIVE] += moves
    done[core * DONE + UPDATES_INACTIVE] += updates - moves
    work = totals[AXON_IN] + pairs[pair + PAIR_READ] + pairs[pair + PAIR_ADD]
    work += moves * units[unit + ACTIVE] + (updates - moves) * units[unit + INACTIVE]
    for m in range(first, said):
        neuron, word = says[m * SAYS], says[m * SAYS + 1]
        work = make_packets(core, unit, neuron, word, work, cores, tasks, packets, copies, flow)
    tasks[task + TAIL] = work


@nb.njit(cache=True, nogil=True, inline="always")
def line_up(core, slot, message, cores, tasks, queues):
    """Put a message that arrives, and its slot, behind those that wait at a core."""
    at, task = core * CORE, core * TASK
    size = cores[at + EJECT_LAST] - cores[at + EJECT_FIRST]
    place = tasks[task + WAITING_FIRST] + tasks[task + WAITING]
    if place >= size:
        place -= size
    place = 2 * (cores[at + EJECT_FIRST] + place)
    queues[place] = message
    queues[place + 1] = slot
    tasks[task + WAITING] += 1


@nb.njit(cache=True, nogil=True)
def run_core(
    core, router, port, bit, inject_latency, inject_interval, buffer_flits, eject_credit, way, trees, cores, tasks,
    packets, copies, ports, fifo, rings, queues, filled, counters, flow,
):  # fmt: skip
    """Do all of a core that can be known by now; see `time_step` for the parameters.

    Returns when its router has a new head to look at, and when a slot of its ejection queue is free.
    """
    marks, totals = flow.marks, flow.totals
    at, task = core * CORE, core * TASK
    wake, freed = NEVER, NEVER
    size = cores[at + LEFT_LAST] - cores[at + LEFT_FIRST]
    empty = ports[port + COUNT] == 0
    going = True
    while going:
        going = False
        # What is worked for enters the injection queue; when it can is known once the packet `size` before has left.
        while tasks[task + NEXT_MADE] >= 0 and tasks[task + PUT] - tasks[task + GONE] < size:
            packet = tasks[task + NEXT_MADE]
            done = cores[at + READY] + packets[packet * PACKET + WORK]
            ready = max(done, rings[tasks[task + PUT_NEXT]])
            counters[core, CORE_STALL] += ready - done
            packets[packet * PACKET + READY_AT] = ready
            cores[at + READY] = ready
            tasks[task + PUT] += 1
            tasks[task + PUT_NEXT] += 1
            if tasks[task + PUT_NEXT] == cores[at + LEFT_LAST]:
                tasks[task + PUT_NEXT] = cores[at + LEFT_FIRST]
            tasks[task + NEXT_MADE] = packets[packet * PACKET + FOLLOWS]
            if tasks[task + NEXT_MADE] < 0:
                end_task(core, cores, tasks, flow, counters)
        # Flits of the queue go to the router while there are slots.
        while ports[port + COUNT] < buffer_flits and tasks[task + GONE] < tasks[task + PUT]:
            packet = cores[at + SENDING]
            row = packet * PACKET
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
            fifo[slot + 1] = (packet << PACKET_SHIFT) | tail
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
                cores[at + SENDING] = packets[row + FOLLOWS]
                tasks[task + GONE] += 1
                going = tasks[task + NEXT_MADE] >= 0
        # The next message is taken when all that came of the one before is in the queue.
        if tasks[task + NEXT_MADE] < 0 and tasks[task + WAITING] > 0 and totals[FULL] == 0:
            going = True
            place = 2 * (cores[at + EJECT_FIRST] + tasks[task + WAITING_FIRST])
            message, slot = queues[place], queues[place + 1]
            tasks[task + WAITING] -= 1
            tasks[task + WAITING_FIRST] += 1
            if tasks[task + WAITING_FIRST] == cores[at + EJECT_LAST] - cores[at + EJECT_FIRST]:
                tasks[task + WAITING_FIRST] = 0
            arrived = copies[message * COPIES + ARRIVED]
            taken = max(arrived, cores[at + READY])
            counters[core, CORE_WAIT] += taken - arrived
            cores[at + READY] = taken
            rings[slot] = taken
            freed = min(freed, taken + eject_credit)
            marks[message * MARKS + TAKEN] = taken
            tasks[task + CAUSE] = message
            take_message(core, message, cores, tasks, packets, copies, flow)
            if tasks[task + NEXT_MADE] < 0:
                end_task(core, cores, tasks, flow, counters)
    if empty and ports[port + COUNT] > 0:
        slot = ports[port + FIFO] + ports[port + FIRST]
        ports[port + WANTS] = head_wants(fifo[slot + 1], router, packets, copies, way, trees)
        ports[port + SINCE] = fifo[slot]
        filled[router] |= np.int64(1) << bit
        wake = fifo[slot]
    return wake, freed
