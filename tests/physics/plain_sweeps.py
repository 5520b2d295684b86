"""The work of one timestep on cores with stages, in plain Python: what each core sweeps, sends and gets.

It knows the network, which neurons a core holds, which of them were active and sent, and the chip's numbers; nothing
of the tables that the compiler makes. What a message takes at a core is told in `core_stepper`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from core_stepper import Core, listed, message_ticks
from random_networks import WEIGHT_BITS

from neurosim.compiler import Program
from neurosim.engine import MeshModel, PacketLoad, StepActivity
from neurosim.engine.loads import Multicast, SweepPieces
from neurosim.network import Relay


@dataclass(frozen=True)
class Message:
    """A message that a core sends: ticks for each neuron visited before, of axon-out, and at each core's stages."""

    pieces: tuple[int, ...]
    axon_out: int
    met: dict[int, tuple[int, int]]


class PlainSweeps:
    """Sweeps of a program's cores, core by core."""

    def __init__(self, program: Program, tick_ps: int) -> None:
        self.program, self.tick_ps = program, tick_ps
        network = program.network
        every = listed(network)
        spans = zip(network.layers, network.offsets.tolist(), strict=False)
        twice = frozenset(
            first + neuron
            for layer, first in spans
            if program.messages == "units" and layer.unit.graded
            for neuron in range(layer.size)
        )
        self.cores = [Core(network, every, part, program.chip, WEIGHT_BITS, twice) for part in program.slices]
        self.met: dict[int, dict[int, tuple[int, int]]] = {}
        for part, core in zip(program.slices, self.cores, strict=True):
            first = int(network.offsets[part.layer])
            for neuron in core.place:
                times = [message_ticks(other, first + neuron, tick_ps) for other in self.cores]
                self.met[first + neuron] = {to: ticks for to, ticks in enumerate(times) if ticks is not None}

    def reached(self, core: int) -> list[int]:
        """Cores that any neuron of a core has synapses at."""
        part = self.program.slices[core]
        first = int(self.program.network.offsets[part.layer])
        return sorted({to for neuron in self.cores[core].place for to in self.met[first + neuron]})

    def of(self, core: int, activity: StepActivity) -> tuple[list[Message], tuple[int, ...]]:
        """Packets of a core's sweep in one timestep, and the pieces of work after the last of them."""
        program, tables = self.program, self.program.chip.network.tables is not None
        part, chip = program.slices[core], program.chip
        layer, first = program.network.layers[part.layer], int(program.network.offsets[part.layer])
        sent, shared = dict(zip(activity.neuron.tolist(), activity.value.tolist(), strict=True)), self.reached(core)
        computes = not isinstance(layer.unit, Relay)

        def ticks(time: object) -> int:
            return int(time.value) // self.tick_ps  # type: ignore[attr-defined]

        packets: list[Message] = []
        pieces: list[int] = []
        for neuron in self.cores[core].place:
            number = first + neuron
            if computes:
                active = bool(activity.active[number])
                neurons = chip.core.neuron
                visit = ticks(neurons.update_active_time if active else neurons.update_inactive_time)
                pieces.append(visit + (ticks(neurons.send_time) if number in sent else 0))
            if number not in sent:
                continue
            met = self.met[number]
            if tables:
                groups = [{to: met.get(to, (0, 0)) for to in shared}] if shared else []
            else:
                groups = [{to: times} for to, times in sorted(met.items())]
            for turn in range(self.sends(sent[number]) if groups else 1):
                if turn and computes:
                    pieces.append(ticks(chip.core.neuron.send_time))
                for group in groups:
                    packets.append(Message(tuple(pieces), ticks(chip.core.axon_out.time), group))
                    pieces = []
        return packets, tuple(pieces)

    def sends(self, value: int) -> int:
        """How often a message goes to each of its destinations: whole, as spikes, or in digits that hold it."""
        program = self.program
        if program.messages == "graded":
            return 1
        if program.messages == "units":
            return abs(value)
        base, digits = 2**program.chip.network.payload.value, 1
        while (
            not -base // 2 * (base**digits - 1) // (base - 1)
            <= value
            <= (base // 2 - 1) * (base**digits - 1) // (base - 1)
        ):
            digits += 1
        return digits

    def load(self, model: MeshModel, activity: StepActivity) -> PacketLoad:
        """The same as a load for the plain stepper."""
        program, chip, top = self.program, self.program.chip, model.topology
        one_port = {"synapse_read", "accumulate"} <= set(chip.core.shared_port or ())
        sweeps = [self.of(core, activity) for core in range(program.cores)]
        flits, work, copies, copy_first, tree, tail = [], [], [], [0], [], []
        trees = np.zeros((program.cores, top.routers), dtype=np.int64)
        for core, (packets, rest) in enumerate(sweeps):
            layer = program.network.layers[program.slices[core].layer]
            valued = layer.unit.graded and program.messages != "units"
            bits = chip.network.header.value + (chip.network.payload.value if valued else 0)
            tail.append(sum(rest))
            for packet in packets:
                flits.append(max(-(-bits // chip.network.flit.value), 1))
                work.append(sum(packet.pieces) + packet.axon_out)
                copies += [(to, *(t if not one_port else (sum(t), 0))) for to, t in packet.met.items()]
                copy_first.append(len(copies))
                tree.append(core)
            for to in self.reached(core):
                here, goal = int(model.core_router[core]), int(model.core_router[to])
                while here != goal:
                    trees[core, here] |= 1 << int(top.route[here, goal])
                    here = int(top.next_router[here, top.route[here, goal]])
                trees[core, goal] |= 1 << int(model.core_port[to])
        core_first = np.cumsum([0, *(len(packets) for packets, _ in sweeps)])
        cores, read, accumulate = np.array(copies, dtype=np.int64).reshape(-1, 3).T
        many = None
        if chip.network.tables is not None:
            many = Multicast(trees, np.array(tree, dtype=np.int64), np.array(copy_first), cores, read, accumulate)
        pieces = None
        if model.shared_stage:
            segments = [piece for packets, rest in sweeps for piece in (*(packet.pieces for packet in packets), rest)]
            taken = [[ticks for ticks in segment if ticks] for segment in segments]
            first = np.cumsum([0, *(len(segment) for segment in taken)])
            ends = np.cumsum([0, *(ticks for segment in taken for ticks in segment)])
            pieces = SweepPieces(first, ends, int(chip.core.axon_out.time.value) // self.tick_ps)
        return PacketLoad(
            core_first, np.array(tail), cores, np.array(flits, dtype=np.int64), np.array(work, dtype=np.int64), read,
            accumulate, many, pieces=pieces,
        )  # fmt: skip
