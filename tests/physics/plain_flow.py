"""Dataflow cores in plain Python, tick by tick: every core and router looks at what it holds and does what it can.

Written from docs/decisions/0005-dataflow.md. Routers and queues are those of `plain_router`; what a core stores, and
how long a list takes it, is told by `core_stepper`; what a unit does by its own plain step, one neuron at a time.
It knows a program's slices and where they stand, and none of the tables that the compiler makes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from core_stepper import Core as Stored
from core_stepper import Listed, accumulate_ticks, listed, read_ticks
from plain_router import CoreEnds, Lane, Observed, Router

from neurosim.compiler import Program
from neurosim.engine import MeshModel
from neurosim.network import CubaLif, Delta, Pool2d, SigmaDelta, Unit
from neurosim.network.units import spread

QUIET_TICKS = 400
"""After so many ticks without any movement, more than any delay in use, what is left cannot move."""


@dataclass
class Message:
    """A packet, and what became of it; times in ticks, -1 for never."""

    source: int
    destination: int
    neuron: int
    value: int
    ready: int
    taken: int = -1
    done: int = -1


@dataclass
class Packets:
    """The packets made so far, as routers and queues ask for them."""

    messages: list[Message] = field(default_factory=list)
    destination: list[int] = field(default_factory=list)
    flits: list[int] = field(default_factory=list)
    multicast: None = None


class Same(dict[int, int]):
    """Every packet has one copy, of its own number."""

    def __missing__(self, packet: int) -> int:
        return packet


@dataclass
class Work:
    """Something a core does for a number of ticks, and what it makes in the end: nothing, a packet, or the end."""

    left: int
    packet: tuple[int, int, int] | None = None  # neuron, value, destination
    kind: str = "update"


def window_area(transform: Any) -> int:
    """What a sum is divided by: the area of an average's window."""
    average = isinstance(transform, Pool2d) and transform.mode == "average"
    return transform.kernel[0] * transform.kernel[1] if average else 1


class Neuron:
    """One unit, updated by its own step."""

    def __init__(self, unit: Unit, place: int, shape: tuple[int, ...]) -> None:
        if isinstance(unit, SigmaDelta):
            unit = replace(unit, bias=spread(unit.bias, shape)[place : place + 1])
        self.unit, self.state = unit, unit.initial_state(1)
        self.total = Fraction(0)

    def arrive(self, share: Fraction) -> tuple[int, bool]:
        """Update by what a message brings; of averages the unit gets what they have grown by, in whole numbers."""
        before, self.total = floor(self.total), self.total + share
        return self.update(floor(self.total) - before)

    def update(self, activation: int, frame: int = 0, timestep: int = 1) -> tuple[int, bool]:
        """Return the message, 0 for none, and whether the update was active."""
        before = {name: int(values[0]) for name, values in self.state.items()}
        sent = self.unit.step(self.state, np.array([activation]), np.array([frame]), (1,), timestep)
        moved = any(int(values[0]) != before[name] for name, values in self.state.items())
        if isinstance(self.unit, CubaLif):
            # Its current lasts as long as the arrival; what it holds is its voltage.
            self.state["current"][:] = 0
            moved = int(self.state["voltage"][0]) != before["voltage"]
        if isinstance(self.unit, Delta):
            moved = (frame << self.unit.frame_shift) + activation != before["held"]
        return int(sent[0]), moved or int(sent[0]) != 0


class Machine:
    """A program and the state of its units, frame by frame."""

    def __init__(self, program: Program, model: MeshModel, tick_ps: int, weight_bits: int) -> None:
        self.program, self.model, self.tick_ps = program, model, tick_ps
        network, chip = program.network, program.chip
        every: Listed = listed(network)
        self.stored = [Stored(network, every, part, chip, weight_bits) for part in program.slices]
        self.neurons = [Neuron(layer.unit, i, layer.shape) for layer in network.layers for i in range(layer.size)]
        # What the sums of each layer's connections are divided by, in the order in which cores store their lists.
        self.divisors = {
            layer.name: [window_area(c.transform) for c in network.connections if c.target == layer.name]
            for layer in network.layers
        }
        self.fed = {connection.target for connection in network.connections}
        self.timestep = 0
        self.cores: list[FlowCore] = []
        self.ticks = {
            name: value // tick_ps
            for name, value in {
                "axon_in": chip.core.axon_in.time.value,
                "axon_out": chip.core.axon_out.time.value,
                "active": chip.core.neuron.update_active_time.value,
                "inactive": chip.core.neuron.update_inactive_time.value,
                "send": chip.core.neuron.send_time.value,
            }.items()
        }
        # Cores with synapses for each neuron, lower ones first.
        self.goes_to = [
            [core for core, stored in enumerate(self.stored) if stored.lists(neuron)] for neuron in range(network.size)
        ]

    def flits(self, core: int) -> int:
        network = self.program.chip.network
        graded = self.program.network.layers[self.program.slices[core].layer].unit.graded
        bits = network.header.value + (network.payload.value if graded else 0)
        return max(-(-bits // network.flit.value), 1)

    def frame(self, frames: dict[str, Any]) -> tuple[Packets, Observed]:
        """Feed the next frame and step until all is at rest, or nothing can move."""
        self.timestep += 1
        return step_frame(self, frames)


class FlowCore(CoreEnds):
    """A core that does one thing at a time: its sweep, then message after message."""

    def __init__(self, number: int, machine: Machine, load: Packets, seen: Observed, frames: dict[str, Any]) -> None:
        super().__init__(number, machine.model, load, seen)  # type: ignore[arg-type]
        self.machine, self.packets, self.copy = machine, load, Same()
        part = machine.program.slices[number]
        network = machine.program.network
        self.layer = network.layers[part.layer]
        self.first = int(network.offsets[part.layer])
        self.stored = machine.stored[number]
        self.works: deque[Work] = deque()
        self.message = -1
        self.at_work = True
        self.waits_for_room = False
        self.synops = 0
        self.updates = [0, 0]
        self.said: list[tuple[int, int]] = []
        self.did: dict[int, str] = {}  # what it was at in each tick
        self._sweep(frames.get(self.layer.name))

    def _update_ticks(self, moved: bool) -> int:
        if not self.layer.unit.state_names:
            return 0
        self.updates[moved] += 1
        return self.machine.ticks["active" if moved else "inactive"]

    def _send(self, neuron: int, value: int) -> None:
        """Put the work on a message of a neuron, and its packets, behind what there is to do."""
        self.said.append((neuron, value))
        if self.layer.unit.state_names:
            self.works.append(Work(self.machine.ticks["send"]))
        for core in self.machine.goes_to[neuron]:
            self.works.append(Work(self.machine.ticks["axon_out"], (neuron, value, core)))

    def _sweep(self, frame: Any) -> None:
        if self.layer.name in self.machine.fed and self.machine.timestep > 1:
            return
        every = self.machine.program.chip.core.neuron.sweep == "all"
        for place in sorted(self.stored.place):
            given = 0 if frame is None else int(frame[place])
            said, moved = self.machine.neurons[self.first + place].update(0, given, self.machine.timestep)
            if every or moved or given:
                self.works.append(Work(self._update_ticks(moved)))
                if said:
                    self._send(self.first + place, said)

    def _take(self, packet: int) -> None:
        """Begin to work a message in."""
        message = self.packets.messages[packet]
        chip, tick_ps = self.machine.program.chip, self.machine.tick_ps
        self.works.append(Work(self.machine.ticks["axon_in"], kind="axon in"))
        sums: dict[int, Fraction] = {}
        stored = zip(self.stored.kept, self.machine.divisors[self.layer.name], strict=True)
        for kept, divisor in [(lists[message.neuron], d) for lists, d in stored if message.neuron in lists]:
            synop_ps = getattr(chip.core.encodings, kept.encoding).synop_time.value
            places = [self.stored.place[s.target] for s in kept.charged]
            self.works.append(Work(read_ticks(kept.words, chip, tick_ps), kind="read"))
            self.works.append(Work(accumulate_ticks(places, synop_ps, chip, tick_ps), kind="accumulate"))
            self.synops += len(kept.charged)
            for synapse in kept.charged:
                share = Fraction(synapse.weight * message.value, divisor)
                sums[synapse.target] = sums.get(synapse.target, Fraction(0)) + share
        says = []
        for place in sorted(sums):
            said, moved = self.machine.neurons[self.first + place].arrive(sums[place])
            self.works.append(Work(self._update_ticks(moved)))
            if said:
                says.append((self.first + place, said))
        for neuron, value in says:
            self._send(neuron, value)

    def step(self, now: int) -> None:
        """Do all that the core does in a tick."""
        self.deliver(now)
        moved = True
        self.waits_for_room = False
        while moved:
            moved = self._work(now)
            moved |= self.inject(now)
            queue = self.from_router.queue
            while queue and not (queue[0].tail and self.at_work):
                flit = self.from_router.remove(now)
                if flit.tail:
                    self.at_work, self.message = True, flit.packet
                    self.packets.messages[flit.packet].taken = now
                    self._take(flit.packet)
                moved = True
            self.seen.moves["core"] += moved
        if self.works and self.works[0].left:
            self.works[0].left -= 1
            self.did[now] = self.works[0].kind
            self.seen.moves["work"] += 1
        if self.waits_for_room:
            self.seen.stalled[self.number] += 1
            self.did[now] = "stall"
            self.seen.happened["core stalls"] += 1
        self.seen.waited[self.number] += sum(flit.tail for flit in queue)
        self.seen.happened["message waits for its core"] += bool(queue)
        if self.injecting and now >= self.busy_until:
            self.seen.happened["source waits for a slot"] += 1

    def _work(self, now: int) -> bool:
        """End what has no work left; return whether anything ended."""
        if not self.at_work:
            return False
        if not self.works:
            self.at_work = False
            if self.message < 0:
                self.seen.sweep_end[self.number] = now
            else:
                self.packets.messages[self.message].done = now
            self.seen.finish[self.number] = now
            return True
        work = self.works[0]
        if work.left:
            return False
        if work.packet is not None:
            if len(self.injecting) >= self.room:
                self.waits_for_room = True
                return False
            neuron, value, core = work.packet
            self.packets.messages.append(Message(self.number, core, neuron, value, now))
            self.packets.destination.append(core)
            self.packets.flits.append(self.machine.flits(self.number))
            self.seen.injected.append(-1)
            self.seen.arrived.append(-1)
            self.put(len(self.packets.messages) - 1)
        self.waits_for_room = False
        self.works.popleft()
        return True

    @property
    def idle(self) -> bool:
        return not (self.at_work or self.holds_flits)


def step_frame(machine: Machine, frames: dict[str, Any]) -> tuple[Packets, Observed]:
    """Step one frame."""
    model = machine.model
    top, count = model.topology, model.core_router.size
    load = Packets()
    seen = Observed([], [], [], [], *([0] * count for _ in range(4)))
    routers = [Router(number, model, load, seen) for number in range(top.routers)]  # type: ignore[arg-type]
    cores = [FlowCore(number, machine, load, seen, frames) for number in range(count)]
    links: list[Lane] = []
    for router in routers:
        for o in range(top.links):
            to, entry = int(top.next_router[router.number, o]), int(top.next_port[router.number, o])
            if to >= 0:
                latency, credit = int(model.latency[router.number, o]), int(model.credit[to, entry])
                lanes = [Lane(latency, credit, model.buffer_flits) for _ in range(model.channels)]
                router.outputs[o] = lanes
                routers[to].inputs.update((entry * model.channels + v, lane) for v, lane in enumerate(lanes))
                links += lanes
    for core in cores:
        router, port = routers[model.core_router[core.number]], int(model.core_port[core.number])
        router.inputs[port * model.channels], router.outputs[port] = core.to_router, [core.from_router]
    entries = [core.to_router for core in cores]
    exits = [core.from_router for core in cores]
    now = moved_at = 0
    while now - moved_at < QUIET_TICKS and not (
        all(core.idle for core in cores) and not any(lane.held for lane in links)
    ):
        before = seen.moves.total()
        for lane in links + entries:
            if lane.flits.under_way:
                lane.deliver(now)
            lane.take_credits(now)
        for core in cores:
            core.step(now)
        for lane in exits:
            lane.take_credits(now)
        for router in routers:
            router.grant(now)
        if seen.moves.total() != before:
            moved_at = now
        now += 1
    seen.happened["machine is stuck"] += now - moved_at == QUIET_TICKS
    machine.cores = cores
    return load, seen
