"""The mesh against recorded packets of BookSim2: every injection and every arrival, cycle by cycle."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from neurosim.compiler.topology import LOCAL, mesh
from neurosim.engine import MeshModel, PacketLoad

FILES = [
    "mesh16x16_flits1_buffer8_uniform_0.1",
    "mesh16x16_flits2_buffer4_transpose_0.05",
    "mesh4x4_flits1_buffer4_uniform_0.1",
    "mesh8x8_flits1_buffer4_uniform_0.33",
    "mesh8x8_flits1_buffer8_uniform_0.02",
    "mesh8x8_flits1_buffer8_uniform_0.2",
    "mesh8x8_flits3_buffer2_uniform_0.15",
    "mesh8x8_flits4_buffer8_uniform_0.1",
]


def booksim_mesh(side: int, buffer_flits: int, cycle: int, queue: int) -> MeshModel:
    """The recorded configuration with a cycle of `cycle` ticks.

    A flit granted at t is ready at the next input at t + 3; a slot emptied at t serves the sender's
    grant at t + 3, the source at t + 2, and an ejection slot 3 cycles after the flit's arrival.
    """
    top = mesh(side, side, 1)
    everywhere = np.ones(top.next_router.shape, dtype=np.int64)
    credit = everywhere * 3 * cycle
    credit[:, LOCAL] = 2 * cycle
    return MeshModel(
        topology=top,
        core_router=np.arange(top.routers),
        core_port=np.full(top.routers, LOCAL),
        latency=everywhere * 3 * cycle,
        interval=everywhere * cycle,
        credit=credit,
        buffer_flits=buffer_flits,
        inject_latency=2 * cycle,
        inject_interval=cycle,
        inject_queue=queue,
        eject_slots=buffer_flits,
        eject_credit=3 * cycle,
        stage_queue=1,
        axon_in=0,
    )


@pytest.mark.parametrize("cycle", [1, 1000], ids=["clocked", "times"])
@pytest.mark.parametrize("name", FILES)
def test_every_packet_equals_booksim(reference_data: Path, name: str, cycle: int) -> None:
    side, flits, buffer_flits = (int(v) for v in re.match(r"mesh(\d+)x\d+_flits(\d+)_buffer(\d+)", name).groups())
    with np.load(reference_data / "noc" / f"{name}.npz") as file:
        recorded = {key: file[key].astype(np.int64) for key in file.files}
    source = recorded["source"]
    order = np.argsort(source, kind="stable")
    cores = side * side
    first = np.searchsorted(source[order], np.arange(cores + 1)).astype(np.int64)
    created = recorded["created_cycle"][order] * cycle
    work = np.diff(created, prepend=0)
    begins = first[:-1][np.diff(first) > 0]
    work[begins] = created[begins]
    count = source.size
    load = PacketLoad(
        core_first=first,
        tail_work=np.zeros(cores, dtype=np.int64),
        destination=recorded["destination"][order],
        flits=np.full(count, flits),
        work=work,
        read=np.zeros(count, dtype=np.int64),
        accumulate=np.zeros(count, dtype=np.int64),
    )
    times = booksim_mesh(side, buffer_flits, cycle, count).time(load)
    assert times.delivered == count
    assert (times.injected != recorded["injected_cycle"][order] * cycle).sum() == 0
    assert (times.arrived != recorded["arrived_cycle"][order] * cycle).sum() == 0
