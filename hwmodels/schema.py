"""The tables of a chip file and what each key means. docs/chip-format.md tells the same to people."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt, ValidationError, field_validator, model_validator

from hwmodels.explain import explain
from hwmodels.quantity import (
    Count,
    Counts,
    Energy,
    Model,
    PositiveCount,
    PositiveSize,
    PositiveTime,
    Power,
    Quantity,
    Size,
    Time,
)
from neurosim.errors import ChipError, join_errors

CORES_LIMIT = 2**20


class Mesh(Model):
    """How the cores stand on the chip."""

    topology: Literal["mesh", "torus"]
    columns: PositiveCount
    rows: PositiveCount
    cores_per_tile: PositiveCount
    cores_usable: PositiveCount | None = None

    @model_validator(mode="after")
    def _sizes(self) -> Mesh:
        cores = self.columns.value * self.rows.value * self.cores_per_tile.value
        if cores > CORES_LIMIT:
            raise ValueError(f"{cores} cores are more than the limit of {CORES_LIMIT}; use fewer tiles")
        if self.cores_usable is not None and self.cores_usable.value > cores:
            usable = self.cores_usable.value
            raise ValueError(f"cores_usable {usable} is more than the {cores} cores of the mesh; lower it")
        return self

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.columns.value * self.rows.value

    @property
    def cores(self) -> int:
        """Number of cores that programs may use."""
        if self.cores_usable is not None:
            return self.cores_usable.value
        return self.tiles * self.cores_per_tile.value


class Chips(Model):
    """Several chips side by side, whose meshes join to one; the links between them have costs of their own."""

    columns: PositiveCount
    rows: PositiveCount
    latency: PositiveTime
    interval: PositiveTime
    energy: Energy


class Memory(Model):
    """One memory of a core; an access moves one word through one port."""

    word: PositiveSize
    size: PositiveSize | None = None
    ports: PositiveCount
    read_latency: Time
    read_interval: PositiveTime
    write_latency: Time
    write_interval: Time


class Memories(Model):
    """The memories that every core has."""

    synapse: Memory
    neuron_state: Memory
    accumulator: Memory
    axon_in: Memory
    axon_out: Memory


class MemoryPool(Model):
    """A limit over all memories of a core together."""

    size: PositiveSize


class Weights(Model):
    """How weights are stored."""

    bits: Counts
    sign_modes: StrictBool
    exponent_max: Count


class Encoding(Model):
    """One way to store the synapses of a message, and what a synop costs in it."""

    header: Size
    index: Size
    synops: Literal["structural", "nonzero"]
    synop_time: Time
    synop_energy: Energy


class Encodings(Model):
    """The three ways to store synapses."""

    dense: Encoding
    sparse: Encoding
    conv: Encoding


class Neuron(Model):
    """The neuron stage: one sweep over all neurons in every timestep."""

    sweep: Literal["all"]
    state: Size | None = None
    update_active_time: Time
    update_inactive_time: Time
    send_time: Time
    update_active_energy: Energy
    update_inactive_energy: Energy
    send_energy: Energy


class AxonOut(Model):
    """The stage that looks up destinations; its costs are per message and destination core."""

    time: Time
    energy: Energy
    queue: PositiveCount


class AxonIn(Model):
    """The stage that takes messages from the network; its costs are per message."""

    time: Time
    energy: Energy
    queue: PositiveCount
    stage_queue: PositiveCount


class Core(Model):
    """One core: capacities, memories, and the cost of each stage."""

    neurons: PositiveCount
    neurons_usable: PositiveCount | None = None
    conv_patch: Literal["columns_power_of_two", "any"]
    max_delay: Count
    axon_in_entries: PositiveCount | None = None
    axon_out_entries: PositiveCount | None = None
    axon_in_entry_bits: Size
    axon_out_entry_bits: Size
    weights: Weights
    memory_pool: MemoryPool | None = None
    memories: Memories
    encodings: Encodings
    neuron: Neuron
    axon_out: AxonOut
    axon_in: AxonIn

    @model_validator(mode="after")
    def _capacities(self) -> Core:
        if self.neurons_usable is not None and self.neurons_usable.value > self.neurons.value:
            usable = self.neurons_usable.value
            raise ValueError(f"neurons_usable {usable} is more than neurons {self.neurons.value}; lower it")
        if self.memory_pool is not None:
            pool = self.memory_pool.size
            for name in Memories.model_fields:
                size = getattr(self.memories, name).size
                if size is not None and size.value > pool.value:
                    need = f"memories.{name}.size {size.text}"
                    raise ValueError(f"{need} is more than memory_pool.size {pool.text}; lower it")
        return self


class Network(Model):
    """Routers and links. Latencies are per flit; a link or local port takes a flit every interval.

    Without `switching` and `virtual_channels` packets are switched as wormholes over one channel; a torus must
    have two channels, or its rings can deadlock.
    """

    flit: PositiveSize
    header: Size
    payload: Size
    buffer: PositiveCount
    switching: Literal["wormhole", "cut_through"] | None = None
    virtual_channels: PositiveCount | None = None
    latency_injection: PositiveTime
    latency_ejection: PositiveTime
    latency_east_west: PositiveTime
    latency_north_south: PositiveTime
    link_interval: PositiveTime
    local_interval: PositiveTime
    credit_return: PositiveTime
    energy_local: Energy
    energy_east_west: Energy
    energy_north_south: Energy


class BarrierPoint(Model):
    """The time of the barrier when this many tiles take part."""

    tiles: StrictInt = Field(ge=1)
    time: Time


class Sync(Model):
    """How a timestep ends."""

    kind: Literal["barrier"]
    barrier: tuple[BarrierPoint, ...]

    @field_validator("barrier")
    @classmethod
    def _ascending(cls, points: tuple[BarrierPoint, ...]) -> tuple[BarrierPoint, ...]:
        if not points:
            raise ValueError("is empty; give at least one point")
        tiles = [point.tiles for point in points]
        if any(a >= b for a, b in pairwise(tiles)):
            raise ValueError(f"tiles {tiles} do not ascend; sort the points and drop what occurs twice")
        return points


class ChipPower(Model):
    """Power that flows whether or not anything happens."""

    static: Power
    static_note: str = ""


class Chip(Model):
    """A chip: the whole of a chip file after `extends` and overrides, every number with its source."""

    schema_version: Literal["neurosim.chip/1"] = Field(alias="schema")
    name: str = Field(min_length=1)
    title: str
    summary: str
    extends: str | None = None
    mesh: Mesh
    chips: Chips | None = None
    core: Core
    network: Network
    sync: Sync
    power: ChipPower
    gaps: tuple[str, ...] = ()

    @property
    def columns(self) -> int:
        """Tiles east-west, over all chips."""
        return self.mesh.columns.value * (self.chips.columns.value if self.chips else 1)

    @property
    def rows(self) -> int:
        """Tiles north-south, over all chips."""
        return self.mesh.rows.value * (self.chips.rows.value if self.chips else 1)

    @property
    def chip_count(self) -> int:
        """Number of chips."""
        return self.chips.columns.value * self.chips.rows.value if self.chips else 1

    @property
    def tiles(self) -> int:
        """Number of tiles, over all chips."""
        return self.columns * self.rows

    @property
    def cores(self) -> int:
        """Number of cores that programs may use, over all chips."""
        return self.mesh.cores * self.chip_count

    @model_validator(mode="after")
    def _chips_join_meshes(self) -> Chip:
        if self.chips is not None and self.mesh.topology != "mesh":
            raise ValueError("chips join meshes only; set mesh.topology to mesh or leave the table chips out")
        if self.cores > CORES_LIMIT:
            raise ValueError(f"{self.cores} cores on all chips are more than the limit of {CORES_LIMIT}; use fewer")
        return self

    @model_validator(mode="after")
    def _rings_have_channels(self) -> Chip:
        channels = self.network.virtual_channels
        if self.mesh.topology == "torus" and (channels is None or channels.value < 2):
            raise ValueError(
                "mesh.topology is torus with fewer than 2 network.virtual_channels: its rings can deadlock; "
                "give network.virtual_channels a value of 2"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the chip as plain values (dict, list, str, int, bool), as a chip file would hold it."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Chip:
        """Return the chip that `to_dict` wrote.

        Raises
        ------
        ChipError
            `plain` does not follow the schema; all errors are in the one message.
        """
        try:
            return cls.model_validate(dict(plain))
        except ValidationError as error:
            found = [f"{problem.key}: {problem.message}" for problem in explain(error, cls)]
            raise ChipError(join_errors(f"chip {plain.get('name', '')}".strip(), found)) from None

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Yield (dotted key, quantity) for every number of the chip, in the order of the schema."""
        yield from _quantities(self, "")

    def barrier_ps(self, tiles: int) -> int:
        """Return the time of the barrier over `tiles` tiles, in ps.

        Linear between the points of ``sync.barrier``, rounded down, and flat outside them.

        Raises
        ------
        ValueError
            `tiles` is below one.
        """
        if tiles < 1:
            raise ValueError(f"a barrier over {tiles} tiles; at least one takes part")
        points = self.sync.barrier
        after = bisect_right([point.tiles for point in points], tiles)
        if after == 0:
            return points[0].time.value
        if after == len(points):
            return points[-1].time.value
        left, right = points[after - 1], points[after]
        rise_ps = right.time.value - left.time.value
        return left.time.value + rise_ps * (tiles - left.tiles) // (right.tiles - left.tiles)

    def differences(self, other: Chip) -> list[str]:
        """Return a line ``key: this -> other`` for every value and choice that is not the same in `other`."""
        mine, theirs = _choices(self), _choices(other)
        keys = [*mine, *(key for key in theirs if key not in mine)]
        return [
            f"{key}: {mine.get(key, 'absent')} -> {theirs.get(key, 'absent')}"
            for key in keys
            if mine.get(key) != theirs.get(key)
        ]


def _quantities(table: Model, prefix: str) -> Iterator[tuple[str, Quantity]]:
    for name in type(table).model_fields:
        held = getattr(table, name)
        for key, part in _numbered(prefix + name, held):
            if isinstance(part, Quantity):
                yield key, part
            elif isinstance(part, Model):
                yield from _quantities(part, key + ".")


def _numbered(key: str, held: object) -> list[tuple[str, object]]:
    if isinstance(held, tuple):
        return [(f"{key}.{place}", part) for place, part in enumerate(held)]
    return [(key, held)]


def _choices(chip: Chip) -> dict[str, object]:
    words = {"name", "title", "summary", "extends", "gaps", "kind", "source", "note", "static_note"}
    leaves = flatten(chip.to_dict()).items()
    return {key.removesuffix(".value"): leaf for key, leaf in leaves if not {*key.split(".")} & words}


def flatten(plain: object, prefix: str = "") -> dict[str, object]:
    """Return dotted key -> plain value for every leaf of nested dicts and lists."""
    if isinstance(plain, Mapping):
        parts = [(str(key), part) for key, part in plain.items()]
    elif isinstance(plain, list):
        parts = [(str(place), part) for place, part in enumerate(plain)]
    else:
        return {prefix: plain}
    flat: dict[str, object] = {}
    for key, part in parts:
        flat.update(flatten(part, f"{prefix}.{key}" if prefix else key))
    return flat
