"""What a run counts and times, and how it adds up over the timesteps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine.batch import Piece
from neurosim.engine.checkpoint import Arrays
from neurosim.engine.counters import CORE_COUNTS, LAYER_COUNTS, STEP_COUNTS, WORKS
from neurosim.engine.critical import RESOURCES
from neurosim.engine.function import StepActivity
from neurosim.engine.trace import StepTrace, TraceWindow

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
    path_ps
        int64 (timesteps, RESOURCES): time on each timestep's critical path by `Resource`.
    outputs
        Per layer that feeds none, itself included, int64 (timesteps, n): messages sent, 0 for none.
    activity
        Messages of every timestep, where the run was asked to keep them.
    traces
        Traces of the timesteps that the run was asked to keep them of.
    trace_window
        What it was asked to keep.
    fidelity
        How the network was timed; see `TimeRun`.
    step_counts
        int64 (timesteps, STEP_COUNTS): see `StepCount`.
    dropped
        int64 (routers, ports): flits that routers gave up, by the output they waited for, over the run.
    lost
        int64 (cores,): messages that found no place in a core's buffer, over the run.
    checked_steps
        Timesteps that a run of fast fidelity timed at cycle level too.
    checked_ps
        int64 (len(checked_steps),): their length at cycle level.
    busy_ps
        int64 (timesteps, layers, WORKS): time that the cores of each layer spent on each kind of `WORKS`, added up
        over the cores. They exclude each other on processors only.
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
    path_ps: IntArray
    outputs: dict[str, IntArray]
    step_counts: IntArray
    dropped: IntArray
    lost: IntArray
    activity: tuple[StepActivity, ...] = field(default=())
    traces: tuple[StepTrace, ...] = field(default=())
    trace_window: TraceWindow | None = None
    fidelity: str = "cycle"
    checked_steps: tuple[int, ...] = field(default=())
    checked_ps: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    busy_ps: IntArray = field(default_factory=lambda: np.zeros((0, 0, len(WORKS)), dtype=np.int64))

    @property
    def timesteps(self) -> int:
        """Number of timesteps."""
        return len(self.duration_ps)


class RunTotals:
    """What a run adds up, timestep by timestep, in their order."""

    def __init__(self, program: Program, timesteps: int) -> None:
        self.network = network = program.network
        self.layer_counts = np.zeros((timesteps, len(network.layers), LAYER_COUNTS), dtype=np.int64)
        self.core_counts = np.zeros((program.cores, CORE_COUNTS), dtype=np.int64)
        self.link_flits: IntArray | int = 0
        self.spans = np.zeros((4, timesteps), dtype=np.int64)
        self.path_ps = np.zeros((timesteps, RESOURCES), dtype=np.int64)
        self.step_counts = np.zeros((timesteps, STEP_COUNTS), dtype=np.int64)
        self.dropped: IntArray | int = 0
        self.lost = np.zeros(program.cores, dtype=np.int64)
        self.busy_ps = np.zeros((timesteps, len(network.layers), len(WORKS)), dtype=np.int64)
        feeding = {name for connection in network.connections for name in connection.sources}
        kept = [layer for layer in network.layers if layer.name not in feeding]
        self.outputs = {layer.name: np.zeros((timesteps, layer.size), dtype=np.int64) for layer in kept}

    def add(self, piece: Piece) -> None:
        first, last = piece.activities[0].timestep - 1, piece.activities[-1].timestep
        self.layer_counts[first:last] = piece.layer_counts
        self.core_counts += piece.core_counts
        self.link_flits = self.link_flits + piece.link_flits
        self.spans[:, first:last] = piece.spans_ps
        self.path_ps[first:last] = piece.path_ps
        self.busy_ps[first:last] = piece.busy_ps
        self.step_counts[first:last] = piece.events
        self.dropped = self.dropped + piece.dropped
        self.lost += piece.lost
        for name, values in self.outputs.items():
            number = self.network.index[name]
            for activity in piece.activities:
                step = activity.timestep - 1
                if activity.read_out is not None:
                    values[step] = activity.read_out[name]
                    continue
                low, high = activity.layer_start[number], activity.layer_start[number + 1]
                values[step, activity.neuron[low:high] - self.network.offsets[number]] = activity.value[low:high]

    def state(self, done: int) -> Arrays:
        """Return what has been added up over the first `done` timesteps."""
        arrays: Arrays = {
            "layer_counts": self.layer_counts[:done],
            "core_counts": self.core_counts,
            "link_flits": np.asarray(self.link_flits),
            "spans": self.spans[:, :done],
            "path_ps": self.path_ps[:done],
            "step_counts": self.step_counts[:done],
            "dropped": np.asarray(self.dropped),
            "lost": self.lost,
            "busy_ps": self.busy_ps[:done],
        }
        return arrays | {f"output/{name}": values[:done] for name, values in self.outputs.items()}

    def restore(self, arrays: Arrays, done: int) -> None:
        """Put back what `state` returned."""
        self.layer_counts[:done] = arrays["layer_counts"]
        self.core_counts[:] = arrays["core_counts"]
        self.link_flits = arrays["link_flits"]
        self.spans[:, :done] = arrays["spans"]
        self.path_ps[:done] = arrays["path_ps"]
        self.step_counts[:done] = arrays["step_counts"]
        self.dropped = arrays["dropped"]
        self.lost[:] = arrays["lost"]
        self.busy_ps[:done] = arrays["busy_ps"]
        for name, values in self.outputs.items():
            values[:done] = arrays[f"output/{name}"]
