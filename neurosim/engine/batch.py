"""Many timesteps timed in one call of the compiler's code, or one by one; either way the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine import packet_kernels, step_kernels
from neurosim.engine.counters import CORE_COUNTS, LAYER_COUNTS, STEP_COUNTS, WORKS
from neurosim.engine.critical import RESOURCES, Resource, path_totals
from neurosim.engine.function import StepActivity
from neurosim.engine.timing import StepTiming, TimeRun
from neurosim.engine.trace import ENDLESS, PacketTrace
from neurosim.errors import AuditError

IntArray = NDArray[np.int64]

MOST_STEPS = 64
"""Most timesteps of a batch."""
MOST_ROWS = 1 << 16
"""Rows of the axon table, and neurons in sixteens, at which a batch is full."""
MOST_FLIGHTS = 1 << 22
"""Most entries of the table of lone flights."""
WIDEST = 1 << 62


@dataclass(frozen=True)
class Piece:
    """What was timed of some timesteps in a row (K of them); for the arrays see `StepTiming` and `RunCounts`.

    Attributes
    ----------
    activities
        What happened in each.
    spans_ps
        int64 (4, K): length, end of the last sweep, of the last arrival, of the last accumulation.
    layer_counts, path_ps, events, busy_ps
        int64 (K, L, LAYER_COUNTS), (K, RESOURCES), (K, STEP_COUNTS), (K, L, WORKS).
    core_counts, link_flits, dropped, lost
        Sums over the timesteps.
    timings, traces
        Each timestep's own timing and packets, where they were timed one by one.
    """

    activities: Sequence[StepActivity]
    spans_ps: IntArray
    layer_counts: IntArray
    path_ps: IntArray
    events: IntArray
    busy_ps: IntArray
    core_counts: IntArray
    link_flits: IntArray
    dropped: IntArray
    lost: IntArray
    timings: Sequence[StepTiming] = ()
    traces: Sequence[PacketTrace] = ()

    @classmethod
    def of(
        cls, program: Program, activities: Sequence[StepActivity], steps: Sequence[tuple[StepTiming, PacketTrace]]
    ) -> Piece:
        """Return the sums of timesteps of a program that were timed one by one."""
        timings = [timing for timing, _ in steps]
        busy = np.zeros((len(timings), len(program.network.layers), len(WORKS)), dtype=np.int64)
        for row, timing in zip(busy, timings, strict=True):
            np.add.at(row, program.core_layer, timing.core_counts[:, list(WORKS.values())])
        return cls(
            activities,
            np.array([(t.duration_ps, t.sweep_ps, t.network_ps, t.synapse_ps) for t in timings], dtype=np.int64).T,
            np.stack([t.layer_counts for t in timings]),
            np.stack([path_totals(t.path) for t in timings]),
            np.stack([t.events for t in timings]),
            busy,
            np.sum([t.core_counts for t in timings], axis=0),
            np.sum([t.link_flits for t in timings], axis=0),
            np.sum([t.dropped for t in timings], axis=0),
            np.sum([t.lost for t in timings], axis=0),
            timings,
            [trace for _, trace in steps],
        )


class Batches:
    """Times the timesteps of a run, many at a time where the chip's network is plain.

    Any thread may time any batch: nothing is kept but what is known of lone packets, which is always the same.

    Parameters
    ----------
    timer
        Times single timesteps.
    traced
        Whether single timesteps' packets and paths are wanted, which a batch does not keep.
    """

    def __init__(self, timer: TimeRun, traced: bool) -> None:
        self.timer = timer
        # Where a payload does not hold a spike's 1, only the timing of single timesteps knows spikes from values.
        spikes_fit = bool((timer.ranges[:, 1] >= 1).all())
        self.many = type(timer) is TimeRun and timer.mesh.plain and spikes_fit and not traced
        program = timer.program
        self._rows_each = len(program.axon_core) // max(program.network.size, 1) + 1
        longest = int(timer.layer_flits.max())
        cores = program.cores
        known = max(longest - 1, 0) if (longest - 1) * cores * cores <= MOST_FLIGHTS else 0
        self._flights = np.full((known, cores if known else 0, cores if known else 0), -1, dtype=np.int64)

    def room(self, activity: StepActivity) -> float:
        """Return what share of a batch a timestep takes; a batch is full at 1."""
        if not self.many:
            return 1.0
        timer = self.timer
        units = timer.form == packet_kernels.UNITS
        sent = int(np.abs(activity.value).sum()) if units else activity.neuron.size
        rows = sent * self._rows_each + timer.program.network.size // 16
        return max(rows / MOST_ROWS, 1 / MOST_STEPS)

    @cached_property
    def rules(self) -> step_kernels.Rules:
        """What the kernel is told."""
        timer = self.timer
        network, top = timer.program.network, timer.mesh.topology
        lowest, highest = timer.ranges.T.copy()
        for i, sends in enumerate(timer.layer_sends):
            if not sends:
                lowest[i], highest[i] = -WIDEST, WIDEST
        fast = timer.fidelity == "fast"
        mesh = timer.mesh
        return step_kernels.Rules(
            mesh.net, timer.sweep, lowest, highest, *network.fan_out, timer.program.axon_start, timer.link_class,
            ENDLESS if fast else mesh.inject_queue, ENDLESS if fast else mesh.stage_queue, fast, top.next_router,
            top.route, mesh.latency, mesh.interval, mesh.router_core,
        )  # fmt: skip

    def time(self, activities: Sequence[StepActivity]) -> Piece:
        """Time some timesteps.

        Raises
        ------
        MessageWidthError, DeadlockError, AuditError, InputError
            As `TimeRun.step`.
        """
        if self.many and len(activities):
            found = self._time_many(activities)
            if found is not None:
                return found
        piece = Piece.of(self.timer.program, activities, [self.timer.step(activity) for activity in activities])
        if self.many and len(activities):
            raise AuditError(
                f"timesteps {activities[0].timestep} to {activities[-1].timestep}: an audit stopped them together that "
                "none of them stops alone; please report it with the network and the chip"
            )
        return piece

    def _time_many(self, activities: Sequence[StepActivity]) -> Piece | None:
        """Time them in one call; None where a timestep is not in order, for `TimeRun.step` to say what it is."""
        timer = self.timer
        count, program = len(activities), timer.program
        layers = len(program.network.layers)
        first = np.zeros(count + 1, dtype=np.int64)
        np.cumsum([a.neuron.size for a in activities], out=first[1:])
        visits = [timer.visits(a) for a in activities]
        spans = np.zeros((4, count), dtype=np.int64)
        paths = np.zeros((count, RESOURCES), dtype=np.int64)
        layer_counts = np.zeros((count, layers, LAYER_COUNTS), dtype=np.int64)
        core_counts = np.zeros((program.cores, CORE_COUNTS), dtype=np.int64)
        busy = np.zeros((count, layers, len(WORKS)), dtype=np.int64)
        link_flits = np.zeros(timer.mesh.topology.next_router.shape, dtype=np.int64)
        done = step_kernels.time_steps(
            self.rules, first, np.concatenate([a.neuron for a in activities]),
            np.concatenate([a.value for a in activities]), np.stack([a.layer_start for a in activities]),
            np.stack([a.synops for a in activities]), np.stack([a.active for a in activities]),
            np.stack([touched for touched, _ in visits]), np.stack([met for _, met in visits]), self._flights, spans,
            paths, layer_counts, busy, core_counts, link_flits,
        )  # fmt: skip
        if done != count:
            return None
        timer.scale(core_counts)
        spans *= timer.tick_ps
        paths *= timer.tick_ps
        end = spans[0] + timer.barrier_ps
        paths[:, Resource.BARRIER] = timer.barrier_ps
        paths[:, Resource.TICK] = [timer.tick_wait_ps(int(when)) for when in end]
        spans[0] = end + paths[:, Resource.TICK]
        return Piece(
            activities, spans, layer_counts, paths,
            np.zeros((count, STEP_COUNTS), dtype=np.int64), busy * timer.tick_ps, core_counts, link_flits,
            np.zeros_like(link_flits), np.zeros(program.cores, dtype=np.int64),
        )  # fmt: skip
