"""Times that can be worked out by hand: empty networks, single gates, and the stages of a core."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwmodels import load_chip
from neurosim.compiler.topology import LOCAL, mesh
from neurosim.engine import MeshModel, PacketLoad
from neurosim.engine.chip_times import chip_delays_ps, mesh_model


def chip_mesh(name: str) -> tuple[MeshModel, dict[str, int]]:
    """The chip's mesh at a tick of 1 ps, with the first core of every tile in use."""
    chip = load_chip(name)
    delays = chip_delays_ps(chip)
    slots = np.arange(chip.mesh.tiles, dtype=np.int32) * chip.mesh.cores_per_tile.value
    return mesh_model(chip, slots, delays), delays


def load(
    cores: int, packets: list[tuple[int, int, int]], flits: int = 1, read: int = 0, accumulate: int = 0
) -> PacketLoad:
    """Packets (source, destination, ticks of work before it), in the order of each source."""
    packets = sorted(packets, key=lambda packet: packet[0])
    source = np.array([p[0] for p in packets])
    count = len(packets)
    return PacketLoad(
        core_first=np.searchsorted(source, np.arange(cores + 1)).astype(np.int64),
        tail_work=np.zeros(cores, dtype=np.int64),
        destination=np.array([p[1] for p in packets], dtype=np.int64),
        flits=np.full(count, flits),
        work=np.array([p[2] for p in packets], dtype=np.int64),
        read=np.full(count, read),
        accumulate=np.full(count, accumulate),
    )


def small_mesh(**changes: int) -> MeshModel:
    """A 3 x 1 mesh with delays that are easy to tell apart."""
    top = mesh(3, 1, 1)
    everywhere = np.ones(top.next_router.shape, dtype=np.int64)
    plain = MeshModel(
        topology=top,
        core_router=np.arange(3),
        core_port=np.full(3, LOCAL),
        latency=everywhere * 100,
        interval=everywhere * 20,
        credit=everywhere * 7,
        buffer_flits=4,
        inject_latency=30,
        inject_interval=20,
        inject_queue=4,
        eject_slots=4,
        eject_credit=7,
        stage_queue=2,
        axon_in=5,
    )
    return replace(plain, **changes)


@pytest.mark.parametrize("name", ["loihi", "loihi_board", "loihi2"])
def test_zero_load_latency_of_every_tile_pair(name: str) -> None:
    """Injection + hops x the latency of their direction + ejection, on the 8 x 4 tiles."""
    model, delays = chip_mesh(name)
    tiles = 32
    for source in range(tiles):
        for target in range(tiles):
            times = model.time(load(tiles, [(source, target, 12_345)]))
            columns, rows = abs(source % 8 - target % 8), abs(source // 8 - target // 8)
            expected = delays["inject"] + columns * delays["east_west"] + rows * delays["north_south"] + delays["eject"]
            assert times.injected[0] == 12_345
            assert times.arrived[0] - times.injected[0] == expected, (source, target)


def test_published_loihi_latencies() -> None:
    """2.1 ns within a tile, 4.1 ns an east-west and 6.5 ns a north-south hop (Davies et al. 2018, Table 2)."""
    model, _ = chip_mesh("loihi")
    for target, expected_ps in ((0, 2100), (1, 6200), (8, 8600), (31, 2100 + 7 * 4100 + 3 * 6500)):
        assert model.time(load(32, [(0, target, 0)])).arrived[0] == expected_ps


def test_tail_follows_its_head_by_the_link_interval() -> None:
    """F flits: the tail is injected (F - 1) intervals after the head and never catches up or falls back."""
    model = small_mesh(buffer_flits=16, eject_slots=16)
    for flits in (1, 2, 5):
        times = model.time(load(3, [(0, 2, 0)], flits=flits))
        assert times.arrived[0] == 30 + 100 + 100 + 100 + (flits - 1) * 20


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
def test_output_is_free_after_its_interval_and_not_before(offset: int) -> None:
    """A packet that reaches a busy output leaves when it is free; one picosecond decides."""
    model = small_mesh(axon_in=0)
    # Core 0's packet is granted router 1's local output at 130; core 1's is ready there at 150 + offset.
    times = model.time(load(3, [(0, 1, 0), (1, 1, 120 + offset)]))
    free = 130 + 20
    assert times.arrived[0] == 130 + 100
    assert times.arrived[1] == max(150 + offset, free) + 100


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_credit_is_usable_when_it_is_back_and_not_before(offset: int) -> None:
    """With one-flit buffers the second flit goes when the slot's credit is back: emptied + 7."""
    model = small_mesh(buffer_flits=1)
    emptied = 30  # router 0 grants core 0's first flit as soon as it is ready
    times = model.time(load(3, [(0, 0, 0), (0, 0, emptied + 7 + offset)]))
    assert times.injected[1] == max(emptied + 7 + offset, emptied + 7)


def test_backpressure_reaches_the_sender() -> None:
    """A core that takes a message every 1,000 ticks, with one slot everywhere, paces its sender."""
    model = small_mesh(buffer_flits=1, eject_slots=1, axon_in=1000, inject_queue=1)
    times = model.time(load(3, [(0, 0, 0)] * 6))
    taken = times.arrived.copy()  # axon-in takes message k when k - 1 leaves it
    for k in range(1, 6):
        taken[k] = max(times.arrived[k], taken[k - 1] + 1000)
        # The slot is back 7 ticks after message k - 1 was taken; the flit then needs 100 to arrive.
        assert times.arrived[k] == max(taken[k - 1] + 7, times.arrived[k - 1] - 100 + 20) + 100
    assert times.cores[0, 1] == taken[5] + 1000


def test_stages_of_a_core_in_tandem() -> None:
    """Three servers: the slowest sets the pace, the others add their time once."""
    model = small_mesh(eject_slots=64, stage_queue=64)
    times = model.time(load(3, [(0, 0, 0)] * 10, read=11, accumulate=50))
    assert times.cores[0, 1] == 130 + 5 + 11 + 10 * 50
    times = model.time(load(3, [(0, 0, 0)] * 10, read=50, accumulate=11))
    assert times.cores[0, 1] == 130 + 5 + 10 * 50 + 11


def test_full_injection_queue_stalls_the_sweep() -> None:
    """With room for one packet the sweep goes on when the packet before has left, every 20 ticks."""
    model = small_mesh(inject_queue=1, buffer_flits=64, eject_slots=64)
    times = model.time(load(3, [(0, 0, 3)] * 4))
    assert times.injected.tolist() == [3, 23, 43, 63]
    # Packet 1 finds the queue empty at 6. Packet 2 is made by 9 and let in at 23, when packet 1 leaves;
    # packet 3 is made by 26 and let in at 43.
    assert times.cores[0, 2] == (23 - 9) + (43 - 26)


def test_results_do_not_depend_on_the_wheel() -> None:
    """The wheel's size and the ticks of a slot change speed alone."""
    rng = np.random.default_rng(5)
    packets = [(int(a), int(b), int(w)) for a, b, w in rng.integers(0, (3, 3, 400), (300, 3))]
    expected = small_mesh().time(load(3, packets, flits=2, read=9, accumulate=30))
    for slots in (32, 64, 1 << 10, 1 << 15):
        model = small_mesh(wheel_slots=slots)
        for shift in range(model.wheel_shift + 1):
            model.__dict__["wheel_shift"] = shift
            found = model.time(load(3, packets, flits=2, read=9, accumulate=30))
            assert np.array_equal(found.injected, expected.injected)
            assert np.array_equal(found.arrived, expected.arrived)
            assert np.array_equal(found.cores, expected.cores)
