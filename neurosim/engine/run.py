"""A whole run: function first, then time, timestep by timestep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine.counters import LAYER_COUNTS
from neurosim.engine.function import FunctionRun, StepActivity
from neurosim.engine.timing import TimeRun
from neurosim.errors import AuditError
from neurosim.network import Network

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class RunCounts:
    """Everything that was counted and timed; no energies.

    Attributes
    ----------
    program
        What ran.
    layer_counts
        int64 (timesteps, layers, LAYER_COUNTS): see `LayerCount`.
    core_counts
        int64 (cores, CORE_COUNTS): see `CoreCount`, over the run.
    link_flits
        int64 (routers, ports): flits that left each router by each output, over the run.
    duration_ps, sweep_ps, network_ps, synapse_ps
        int64 (timesteps,): length of each timestep, and when in it the last core ended its sweep, the
        last packet arrived, the last synapse was accumulated.
    barrier_ps
        Length of the barrier, part of every timestep.
    outputs
        Per output layer, int64 (timesteps, n): messages sent, 0 for none.
    activity
        Messages of every timestep, where the run was asked to keep them.
    """

    program: Program
    layer_counts: IntArray
    core_counts: IntArray
    link_flits: IntArray
    duration_ps: IntArray
    sweep_ps: IntArray
    network_ps: IntArray
    synapse_ps: IntArray
    barrier_ps: int
    outputs: dict[str, IntArray]
    activity: tuple[StepActivity, ...] = field(default=())

    @property
    def timesteps(self) -> int:
        """Number of timesteps."""
        return len(self.duration_ps)


def audit_synops(network: Network, activity: StepActivity) -> None:
    """Check that the synapses met in a timestep are the fan-outs of its messages.

    Raises
    ------
    AuditError
        They are not.
    """
    running = np.concatenate(([0], np.cumsum(network.fan_out[0][activity.neuron], dtype=np.int64)))
    expected = np.diff(running[activity.layer_start])
    for layer, met, due in zip(network.layers, activity.synops, expected, strict=True):
        if met != due:
            raise AuditError(
                f"timestep {activity.timestep}, layer {layer.name}: {met} synops were done, "
                f"the fan-outs of its messages are {due}"
            )


def run_program(
    program: Program,
    frames: dict[str, NDArray[Any]],
    timesteps: int,
    keep_activity: bool = False,
    progress: Callable[[int], None] | None = None,
) -> RunCounts:
    """Run `program` for `timesteps` timesteps.

    Parameters
    ----------
    program
        What to run.
    frames
        Per input layer name, integers (frames, n) in the network's units; the last frame is held.
    timesteps
        At least 1.
    keep_activity
        Whether to keep every message.
    progress
        Called with the number of each timestep once it is done.

    Raises
    ------
    InputError
        Frames that do not fit the network.
    MessageWidthError
        A message is wider than the chip's payload.
    DeadlockError, AuditError
        The simulation itself failed.
    """
    network = program.network
    function, time = FunctionRun(network, frames), TimeRun(program)
    layer_counts = np.zeros((timesteps, len(network.layers), LAYER_COUNTS), dtype=np.int64)
    spans = np.zeros((4, timesteps), dtype=np.int64)
    outputs = {layer.name: np.zeros((timesteps, layer.size), dtype=np.int64) for layer in network.outputs}
    kept: list[StepActivity] = []
    for step in range(timesteps):
        activity = function.step()
        audit_synops(network, activity)
        timing, _ = time.step(activity)
        layer_counts[step] = timing.layer_counts
        spans[:, step] = timing.duration_ps, timing.sweep_ps, timing.network_ps, timing.synapse_ps
        for name, values in outputs.items():
            number = network.index[name]
            low, high = activity.layer_start[number], activity.layer_start[number + 1]
            values[step, activity.neuron[low:high] - network.offsets[number]] = activity.value[low:high]
        if keep_activity:
            kept.append(activity)
        if progress is not None:
            progress(step + 1)
    return RunCounts(
        program,
        layer_counts,
        time.core_counts,
        time.link_flits,
        spans[0],
        spans[1],
        spans[2],
        spans[3],
        time.barrier_ps,
        outputs,
        tuple(kept),
    )
