"""The tables of a chip file on its mesh, its several chips, and the network between cores."""

from __future__ import annotations

from typing import Literal

from pydantic import StrictBool, model_validator

from hwmodels.quantity import Energy, Model, PositiveCount, PositiveSize, PositiveTime, Size

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

    topology: Literal["mesh", "triangular_torus"] | None = None
    columns: PositiveCount
    rows: PositiveCount
    latency: PositiveTime
    interval: PositiveTime
    energy: Energy


class RoutingTables(Model):
    """Tables that route by a packet's key, and so let it branch.

    An entry holds a key, a mask and the outputs. With `default_routing` a packet that no entry knows goes straight
    on, and needs none where it does so.
    """

    entries: PositiveCount
    default_routing: StrictBool


class Blocked(Model):
    """What a router does with a packet whose output stays blocked.

    After `wait` it tries the way round by the two links beside the blocked one, if there is an `emergency` route,
    for `emergency_wait`. Then the packet is dropped. With `reinjection` it is sent again, one every such time, as
    long as no more than `reinjection_queue` wait.
    """

    wait: PositiveTime
    emergency: StrictBool
    emergency_wait: PositiveTime | None = None
    reinjection: PositiveTime | None = None
    reinjection_queue: PositiveCount | None = None

    @model_validator(mode="after")
    def _pairs(self) -> Blocked:
        if self.emergency != (self.emergency_wait is not None):
            raise ValueError("emergency true and emergency_wait belong together; give both or neither")
        if (self.reinjection is None) != (self.reinjection_queue is None):
            raise ValueError("reinjection and reinjection_queue belong together; give both or neither")
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
    tables: RoutingTables | None = None
    blocked: Blocked | None = None
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

    @model_validator(mode="after")
    def _packets_that_give_up(self) -> Network:
        if self.blocked is not None and self.header.value + self.payload.value > self.flit.value:
            raise ValueError(
                f"blocked: only packets of one flit can give up waiting; a header of {self.header.text} and a payload "
                f"of {self.payload.text} need more than a flit of {self.flit.text}; widen flit or leave blocked out"
            )
        return self
