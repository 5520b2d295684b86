"""A core's synapse read and accumulate stages by the book: plain Python, one tick after the other.

It knows a network's synapses, which neurons a core holds, and a chip's numbers; nothing of the tables that the
compiler makes. Lists are laid out as docs/architecture.md says, and then read and added up port by port.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hwmodels import Chip
from neurosim.compiler import CoreSlice
from neurosim.network import Connection, Conv2d, Dense, Network, Pool2d, Sparse


@dataclass(frozen=True)
class Synapse:
    """One synapse of a source neuron: its target in the layer, its weight, its delay, its kernel position."""

    target: int
    weight: int
    delay: int
    tap: tuple[int, int] = (0, 0)


def synapses(connection: Connection, source: int) -> list[Synapse]:
    """All synapses of one input position, in the order in which they are stored."""
    transform, delay = connection.transform, connection.delay

    def late(target: int, *weight: int) -> int:
        if delay is None:
            return 0
        place: Any = {"axon": source, "neuron": target, "synapse": weight}[delay.kind]
        return int(delay.values[place])

    if isinstance(transform, Dense):
        column = transform.weights[:, source].tolist()
        return [Synapse(j, weight, late(j, j, source)) for j, weight in enumerate(column)]
    if isinstance(transform, Sparse):
        places = range(int(transform.row_start[source]), int(transform.row_start[source + 1]))
        ends = [(int(transform.targets[k]), int(transform.weights[k]), k) for k in places]
        return [Synapse(j, weight, late(j, k)) for j, weight, k in ends]
    assert isinstance(transform, Conv2d)
    channels, height, width = transform.in_shape
    out_channels, out_height, out_width = transform.out_shape
    channel, y, x = source // (height * width), source // width % height, source % width
    per_in, per_out = channels // transform.groups, out_channels // transform.groups
    found = []
    for ky in range(transform.weights.shape[2]):
        for kx in range(transform.weights.shape[3]):
            down, over = (
                divmod(at + padding - k * dilation, stride)
                for at, padding, k, dilation, stride in zip(
                    (y, x), transform.padding, (ky, kx), transform.dilation, transform.stride, strict=True
                )
            )
            if down[1] or over[1] or not (0 <= down[0] < out_height and 0 <= over[0] < out_width):
                continue
            for c in range(channel // per_in * per_out, (channel // per_in + 1) * per_out):
                target = (c * out_height + down[0]) * out_width + over[0]
                at = (c, channel % per_in, ky, kx)
                found.append(Synapse(target, int(transform.weights[at]), late(target, *at), (ky, kx)))
    return found


Listed = list[dict[int, list[Synapse]]]


def listed(network: Network) -> Listed:
    """Per connection, the synapses of each neuron of the network that has any."""
    found = []
    for connection in network.connections:
        sources = [
            int(network.offsets[network.index[name]]) + i
            for name in connection.sources
            for i in range(network[name].size)
        ]
        found.append({neuron: synapses(connection, position) for position, neuron in enumerate(sources)})
    return found


def places(part: CoreSlice, shape: tuple[int, ...]) -> dict[int, int]:
    """Place in the slice of every neuron of the layer that it holds, in the order of channels, rows, columns."""
    if len(shape) == 1:
        return {neuron: place for place, neuron in enumerate(range(*part.box[0]))}
    _, height, width = shape
    channels, rows, columns = (range(*ends) for ends in part.box)
    held = [(c * height + y) * width + x for c in channels for y in rows for x in columns]
    return {neuron: place for place, neuron in enumerate(held)}


@dataclass(frozen=True)
class StoredList:
    """What one message of a source meets at a core through one connection."""

    encoding: str
    words: int
    charged: list[Synapse]


class Core:
    """What one core stores; `weight_bits` is what every weight takes, `twice` are neurons whose lists it has twice."""

    def __init__(
        self,
        network: Network,
        every: Listed,
        part: CoreSlice,
        chip: Chip,
        weight_bits: int,
        twice: frozenset[int] = frozenset(),
    ) -> None:
        self.twice = twice
        layer = network.layers[part.layer]
        self.chip, self.weight_bits = chip, weight_bits
        self.place = places(part, layer.shape)
        pairs = zip(network.connections, every, strict=True)
        self.kept = [self._keep(connection, met) for connection, met in pairs if connection.target == layer.name]

    def lists(self, neuron: int) -> list[StoredList]:
        """The lists that a message of a neuron of the network meets, connection by connection."""
        return [kept[neuron] for kept in self.kept if neuron in kept]

    def _words(self, name: str, entries: int, connection: Connection) -> int:
        costs = getattr(self.chip.core.encodings, name)
        bits = self.weight_bits + costs.index.value
        if connection.delay is not None and connection.delay.kind == "synapse":
            bits += connection.delay.longest.bit_length()
        total, word = costs.header.value + entries * bits, self.chip.core.memories.synapse.word.value
        return total // word + (total % word > 0)

    def _charged(self, name: str, met: list[Synapse]) -> list[Synapse]:
        every = getattr(self.chip.core.encodings, name).synops == "structural"
        return [synapse for synapse in met if every or synapse.weight != 0]

    def _keep(self, connection: Connection, every: dict[int, list[Synapse]]) -> dict[int, StoredList]:
        held = {neuron: [s for s in found if s.target in self.place] for neuron, found in every.items()}
        met = {neuron: found for neuron, found in held.items() if found}
        if isinstance(connection.transform, Conv2d):
            return {neuron: self._kernel_list(connection, found) for neuron, found in met.items()}
        filled = {n: [s for s in found if s.weight != 0] for n, found in met.items()}
        sparse = {
            n: StoredList("sparse", self._words("sparse", len(found), connection), self._charged("sparse", found))
            for n, found in filled.items()
            if found
        }
        if isinstance(connection.transform, Sparse):
            return sparse
        dense = {
            n: StoredList("dense", self._words("dense", len(found), connection), self._charged("dense", found))
            for n, found in met.items()
        }
        return sparse if self._taken(sparse) < self._taken(dense) else dense

    def _taken(self, lists: dict[int, StoredList]) -> int:
        return sum(kept.words * (2 if neuron in self.twice else 1) for neuron, kept in lists.items())

    def _kernel_list(self, connection: Connection, met: list[Synapse]) -> StoredList:
        channels: dict[tuple[int, int], int] = defaultdict(int)
        for synapse in met:
            channels[synapse.tap] += 1
        if isinstance(connection.transform, Pool2d):  # one weight serves all channels
            channels = dict.fromkeys(channels, 1)
        words = sum(self._words("conv", entries, connection) for entries in channels.values())
        return StoredList("conv", words, self._charged("conv", met))


class _Port:
    """One port of a memory, busy until its present access is over."""

    def __init__(self) -> None:
        self.left = 0


def read_ticks(words: int, chip: Chip, tick_ps: int) -> int:
    """Ticks until the last word of a list is there; words lie in turn over the banks."""
    memory = chip.core.memories.synapse
    banks = 1 if memory.banks is None else memory.banks.value
    waiting = [[word for word in range(words) if word % banks == bank] for bank in range(banks)]
    ports = [[_Port() for _ in range(memory.ports.value)] for _ in range(banks)]
    latency, interval = memory.read_latency.value // tick_ps, memory.read_interval.value // tick_ps
    under_way: list[int] = []
    now = came = 0
    while came < words:
        for mine, queue in zip(ports, waiting, strict=True):
            for port in mine:
                if port.left == 0 and queue:
                    queue.pop(0)
                    port.left = interval
                    under_way.append(latency)
        came += under_way.count(0)
        under_way = [left - 1 for left in under_way if left > 0]
        if came < words:
            now += 1
            for mine in ports:
                for port in mine:
                    port.left = max(port.left - 1, 0)
    return now


def transfer_ticks(words: int, chip: Chip, tick_ps: int) -> int:
    """Ticks for which a transfer of a processor's row holds the memory: until its last access is over."""
    memory = chip.core.memories.synapse
    banks = 1 if memory.banks is None else memory.banks.value
    waiting = [[word for word in range(words) if word % banks == bank] for bank in range(banks)]
    ports = [[_Port() for _ in range(memory.ports.value)] for _ in range(banks)]
    now = 0
    while any(waiting) or any(port.left for mine in ports for port in mine):
        for mine, queue in zip(ports, waiting, strict=True):
            for port in mine:
                if port.left == 0 and queue:
                    queue.pop(0)
                    port.left = memory.read_interval.value // tick_ps
        for mine in ports:
            for port in mine:
                port.left = max(port.left - 1, 0)
        now += 1
    return now


def _turns(group: list[int], banks: int, ports: int) -> Iterator[list[int]]:
    """What the ports take in each turn of a group, of which every bank takes as many as it has ports."""
    left = list(group)
    while left:
        taken: list[int] = []
        for place in left:
            if sum(other % banks == place % banks for other in taken) < ports:
                taken.append(place)
        for place in taken:
            left.remove(place)
        yield taken


def accumulate_ticks(targets: list[int], synop_ps: int, chip: Chip, tick_ps: int) -> int:
    """Ticks for a list whose charged synapses lead to these places of the core's slice."""
    memory = chip.core.memories.accumulator
    banks = 1 if memory.banks is None else memory.banks.value
    lanes = 1 if chip.core.lanes is None else chip.core.lanes.value
    now = 0
    for first in range(0, len(targets), lanes):
        lanes_left = synop_ps // tick_ps  # the lanes work while the first turn reads and writes
        for taken in _turns(targets[first : first + lanes], banks, memory.ports.value):
            reading = [memory.read_interval.value // tick_ps] * len(taken)
            writing = [memory.write_interval.value // tick_ps] * len(taken)
            while any(reading) or any(writing) or lanes_left:
                now += 1
                lanes_left = max(lanes_left - 1, 0)
                for port in range(len(taken)):
                    if reading[port]:
                        reading[port] -= 1
                    elif writing[port]:
                        writing[port] -= 1
    return now


def message_ticks(core: Core, neuron: int, tick_ps: int) -> tuple[int, int] | None:
    """Ticks of a message at the two stages of a core; None where the core has no synapses for it."""
    lists = core.lists(neuron)
    if not lists:
        return None
    read = accumulate = 0
    for kept in lists:
        synop_ps = getattr(core.chip.core.encodings, kept.encoding).synop_time.value
        read += read_ticks(kept.words, core.chip, tick_ps)
        accumulate += accumulate_ticks([core.place[s.target] for s in kept.charged], synop_ps, core.chip, tick_ps)
    return read, accumulate
