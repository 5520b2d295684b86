"""What the event engine needs of a chip file: its delays, and the model of its network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.topology import chip_topology, link_classes
from neurosim.engine.mesh import MeshModel, Processors


def chip_delays_ps(chip: Chip) -> dict[str, int]:
    """Return the delays of a chip that the event engine uses, in ps."""
    core, network = chip.core, chip.network
    some = {} if chip.chips is None else {"chip": chip.chips.latency.value, "chip_link": chip.chips.interval.value}
    if core.processor is not None:
        some["packet"], some["timer"] = core.processor.packet_time.value, core.processor.timer_time.value
        some["set_up"], some["row"] = core.processor.row_setup_time.value, core.processor.row_time.value
    blocked = network.blocked
    if blocked is not None:
        some["wait"] = blocked.wait.value
        some["detour"] = 0 if blocked.emergency_wait is None else blocked.emergency_wait.value
        some["reinject"] = 0 if blocked.reinjection is None else blocked.reinjection.value
    if chip.sync.period is not None:
        some["period"] = chip.sync.period.value
    if chip.sync.stagger is not None:
        some["stagger"] = chip.sync.stagger.value
    return some | {
        "inject": network.latency_injection.value,
        "eject": network.latency_ejection.value,
        "east_west": network.latency_east_west.value,
        "north_south": network.latency_north_south.value,
        "link": network.link_interval.value,
        "local": network.local_interval.value,
        "credit": network.credit_return.value,
        "axon_in": core.axon_in.time.value,
        "axon_out": core.axon_out.time.value,
        "active": core.neuron.update_active_time.value,
        "inactive": core.neuron.update_inactive_time.value,
        "send": core.neuron.send_time.value,
        "latency": core.memories.synapse.read_latency.value,
        "word": core.memories.synapse.read_interval.value,
        "accumulator": core.memories.accumulator.read_interval.value + core.memories.accumulator.write_interval.value,
        "synop_dense": core.encodings.dense.synop_time.value,
        "synop_sparse": core.encodings.sparse.synop_time.value,
        "synop_conv": core.encodings.conv.synop_time.value,
    }


def mesh_model(chip: Chip, core_slot: NDArray[np.int32], ticks: dict[str, int]) -> MeshModel:
    """Return the mesh of a chip.

    Parameters
    ----------
    chip
        Gives the mesh, its buffers and queues.
    core_slot
        int32 (C,): physical core of each core in use.
    ticks
        The delays of `chip_delays_ps` in ticks.
    """
    per_tile = chip.mesh.cores_per_tile.value
    top = chip_topology(chip)
    channels = chip.network.virtual_channels
    latency = np.full(top.next_router.shape, ticks["eject"], dtype=np.int64)
    interval = np.full(top.next_router.shape, ticks["local"], dtype=np.int64)
    classes, _ = link_classes(chip, top)
    for number, (name, slot) in enumerate((("east_west", "link"), ("north_south", "link"), ("chip", "chip_link"))):
        links = classes == number
        if links.any():
            latency[links], interval[links] = ticks[name], ticks[slot]
    tile, within = np.divmod(core_slot.astype(np.int64), per_tile)
    processor, blocked = chip.core.processor, chip.network.blocked
    return MeshModel(
        topology=top,
        core_router=tile,
        core_port=within + top.links,
        latency=latency,
        interval=interval,
        credit=np.full(top.next_router.shape, ticks["credit"], dtype=np.int64),
        buffer_flits=chip.network.buffer.value,
        inject_latency=ticks["inject"],
        inject_interval=ticks["local"],
        inject_queue=chip.core.axon_out.queue.value,
        eject_slots=chip.core.axon_in.queue.value,
        eject_credit=ticks["credit"],
        stage_queue=chip.core.axon_in.stage_queue.value,
        axon_in=ticks["axon_in"],
        channels=1 if channels is None else channels.value,
        cut_through=chip.network.switching == "cut_through",
        patience=ticks.get("wait", 0),
        detour_wait=ticks.get("detour", 0),
        reinject_wait=ticks.get("reinject", 0),
        reinject_slots=0 if blocked is None or blocked.reinjection_queue is None else blocked.reinjection_queue.value,
        strict=chip.core.phases == "strict",
        shared_stage=shared_stage(chip),
        processors=None
        if processor is None
        else Processors(
            ticks["packet"],
            ticks["set_up"],
            ticks["latency"],
            processor.buffer.value,
            chip.core.memories.synapse.shared == "tile",
        ),
    )


def shared_stage(chip: Chip) -> str:
    """Return the stage of messages that takes turns with an overlapping sweep at one port; empty where none does."""
    stages = chip.core.shared_port or ()
    if "sweep" not in stages or chip.core.phases == "strict":
        return ""
    return "synapse_read" if "synapse_read" in stages else "accumulate"
