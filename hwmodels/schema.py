"""The tables of a chip file and what each key means. docs/chip-format.md tells the same to people."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, StrictInt, ValidationError, field_validator, model_validator

from hwmodels.core_schema import Core
from hwmodels.explain import explain
from hwmodels.network_schema import CORES_LIMIT, Chips, Mesh, Network
from hwmodels.quantity import (
    Model,
    PositiveTime,
    Power,
    Quantity,
    Text,
    Time,
)
from neurosim.errors import ChipError, join_errors

Work = Literal["sweep", "interrupt", "set_up", "row"]
"""What a processor core can be busy with, in the order in which an engine counts it."""


class BarrierPoint(Model):
    """The time of the barrier when this many tiles take part."""

    tiles: StrictInt = Field(ge=1)
    time: Time


class Sync(Model):
    """How a timestep ends.

    ``barrier``: when all work is done and the barrier has passed. ``tick``: with a tick that all cores share and
    that waits for work that is late. ``timer``: every core has a timer that does not wait; what is late is an
    overrun. ``none``: there are no timesteps, a unit updates at each arrival. With `stagger` the timer of each core
    in use starts that much after the one before it.
    """

    kind: Literal["barrier", "tick", "timer", "none"]
    period: PositiveTime | None = None
    stagger: PositiveTime | None = None
    barrier: tuple[BarrierPoint, ...] | None = None

    @model_validator(mode="after")
    def _fits_kind(self) -> Sync:
        if (self.kind in ("tick", "timer")) != (self.period is not None):
            raise ValueError(f'kind "{self.kind}": period is for kinds tick and timer, and must be there for them')
        if self.stagger is not None and self.kind != "timer":
            raise ValueError(f'kind "{self.kind}": stagger is for kind timer; leave it out')
        if (self.kind == "barrier") != (self.barrier is not None):
            raise ValueError(f'kind "{self.kind}": barrier is for kind barrier, and must be there for it')
        return self

    @field_validator("barrier")
    @classmethod
    def _ascending(cls, points: tuple[BarrierPoint, ...] | None) -> tuple[BarrierPoint, ...] | None:
        if points is None:
            return None
        if not points:
            raise ValueError("is empty; give at least one point")
        tiles = [point.tiles for point in points]
        if any(a >= b for a, b in pairwise(tiles)):
            raise ValueError(f"tiles {tiles} do not ascend; sort the points and drop what occurs twice")
        return points


class ChipPower(Model):
    """Power that flows for a time, beside the energies of events.

    `static` of each chip, `host` of each chip's awake host processors and `powered_core` of each core that a program
    uses flow all the while, whether or not anything happens. `active_core` flows while a processor core does work of
    the kinds in `active_work`, or of any kind without that key.
    """

    static: Power
    static_note: str = ""
    powered_core: Power | None = None
    host: Power | None = None
    active_core: Power | None = None
    active_work: tuple[Work, ...] | None = None

    @field_validator("active_work")
    @classmethod
    def _each_once(cls, works: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if works is not None and (not works or len(set(works)) < len(works)):
            raise ValueError(f"{list(works)} must name one kind of work or more, each once; or leave it out for all")
        return works

    @model_validator(mode="after")
    def _work_of_what(self) -> ChipPower:
        if self.active_work is not None and self.active_core is None:
            raise ValueError("active_work says when active_core flows; give active_core too, or leave it out")
        return self


class Chip(Model):
    """A chip: the whole of a chip file after `extends` and overrides, every number with its source."""

    schema_version: Literal["neurosim.chip/1"] = Field(alias="schema")
    name: str = Field(min_length=1)
    title: str
    summary: str
    extends: str | None = None
    process: Text | None = None
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
    def hexagonal(self) -> bool:
        """Whether the chips are joined by six links each."""
        return self.chips is not None and self.chips.topology == "triangular_torus"

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
        if self.hexagonal and self.mesh.tiles != 1:
            raise ValueError(
                "chips.topology is triangular_torus: each chip has one router; set mesh columns and rows to 1"
            )
        if self.network.blocked is not None and self.network.blocked.emergency and not self.hexagonal:
            raise ValueError("network.blocked.emergency: only chips on a triangular_torus have links for a way round")
        if self.cores > CORES_LIMIT:
            raise ValueError(f"{self.cores} cores on all chips are more than the limit of {CORES_LIMIT}; use fewer")
        return self

    @model_validator(mode="after")
    def _rings_have_channels(self) -> Chip:
        channels = self.network.virtual_channels
        rings = self.mesh.topology == "torus" or self.hexagonal
        if rings and self.network.blocked is None and (channels is None or channels.value < 2):
            raise ValueError(
                "a torus with fewer than 2 network.virtual_channels: its rings can deadlock; "
                "give network.virtual_channels a value of 2, or network.blocked so that packets give up"
            )
        if self.network.blocked is not None and channels is not None and channels.value > 1:
            raise ValueError("network.blocked is for one virtual channel; leave network.virtual_channels out")
        return self

    @model_validator(mode="after")
    def _time_fits_cores(self) -> Chip:
        kind = self.core.kind or "pipeline"
        if (self.sync.kind == "timer") and kind != "processor":
            raise ValueError('sync.kind "timer" needs core.kind "processor": only their late work is carried on')
        if self.power.active_core is not None and kind != "processor":
            raise ValueError(
                'power.active_core needs core.kind "processor": the stages of other cores work at the same time, and '
                "their energy is paid by event; leave it out"
            )
        if self.sync.kind == "none":
            if kind != "pipeline":
                raise ValueError('sync.kind "none" needs cores of kind "pipeline"')
            given = [key for key in ("phases", "shared_port") if getattr(self.core, key) is not None]
            if given:
                raise ValueError(
                    f'core.{", core.".join(given)}: with sync.kind "none" a core does one thing at a time; leave it out'
                )
            if self.network.blocked is not None:
                raise ValueError(
                    'network.blocked: with sync.kind "none" a message that is dropped would change values; leave it out'
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

        Linear between the points of ``sync.barrier``, rounded down, and flat outside them; 0 where timesteps end
        without a barrier.

        Raises
        ------
        ValueError
            `tiles` is below one.
        """
        if tiles < 1:
            raise ValueError(f"a barrier over {tiles} tiles; at least one takes part")
        points = self.sync.barrier
        if not points:
            return 0
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
