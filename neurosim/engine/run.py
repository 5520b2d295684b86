"""A whole run: function first, then time, timestep by timestep."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.compiler.visits import counted_synapses
from neurosim.engine import packet_kernels
from neurosim.engine.batch import Batches, Piece
from neurosim.engine.checkpoint import (
    Arrays,
    Checkpoint,
    function_state,
    read_checkpoint,
    restore_function,
    run_digest,
    write_checkpoint,
)
from neurosim.engine.counters import CORE_COUNTS, LAYER_COUNTS, STEP_COUNTS, WORKS
from neurosim.engine.critical import RESOURCES
from neurosim.engine.flow import FlowRun
from neurosim.engine.function import FunctionRun, StepActivity
from neurosim.engine.processors import ProcessorRun
from neurosim.engine.timers import step_timer
from neurosim.engine.timing import TimeRun
from neurosim.engine.trace import StepTrace, TraceKeeper, TraceWindow
from neurosim.errors import AuditError, InputError
from neurosim.network import Network

IntArray = NDArray[np.int64]

MOST_COUNT_BYTES = 1 << 33
"""Most memory that a run's counts per timestep may take."""


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


def audit_synops(network: Network, activity: StepActivity) -> None:
    """Check that the synapses met in a timestep are the fan-outs of its messages.

    Raises
    ------
    AuditError
        They are not.
    """
    expected = packet_kernels.layer_sums(network.fan_out[0], activity.neuron, activity.layer_start).tolist()
    for layer, met, due in zip(network.layers, activity.synops.tolist(), expected, strict=True):
        if met != due:
            raise AuditError(
                f"timestep {activity.timestep}, layer {layer.name}: {met} synops were done, "
                f"the fan-outs of its messages are {due}"
            )


class _Totals:
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


def default_threads() -> int:
    """Return how many threads a run uses unless told: the processors that this process may use, at most 8."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)


def _timed_late(
    function: FunctionRun, timer: ProcessorRun, timesteps: int, every: int
) -> Iterator[tuple[Piece, Arrays | None]]:
    """Yield as `_timed`, for timers that do not wait: timesteps with late work are timed with those after them.

    The function's state is yielded after the last of such timesteps only: a run can go on from there.
    """
    last = function.timestep + timesteps
    saved = function.timestep
    pending: list[StepActivity] = []
    for activity in function.steps(timesteps):
        audit_synops(function.network, activity)
        pending.append(activity)
        results = timer.drained(pending, last=activity.timestep == last)
        if results is None:
            continue
        due = every and activity.timestep // every > saved // every
        if due:
            saved = activity.timestep
        yield Piece.of(timer.program, pending, results), function_state(function) if due else None
        pending = []


def _flown(flow: FlowRun, timesteps: int, every: int) -> Iterator[tuple[Piece, Arrays | None]]:
    """Yield as `_timed`, for cores that update at each arrival: every frame begins where the one before ended."""
    for _ in range(timesteps):
        activity, timing, trace = flow.advance()
        audit_synops(flow.function.network, activity)
        due = every and activity.timestep % every == 0
        yield Piece.of(flow.program, [activity], [(timing, trace)]), function_state(flow.function) if due else None


def _gathered(
    function: FunctionRun, batches: Batches, timesteps: int, every: int
) -> Iterator[tuple[list[StepActivity], Arrays | None]]:
    """Yield the activity of timesteps that are timed together, and the function's state where it is to be saved."""
    last = function.timestep + timesteps
    some: list[StepActivity] = []
    full = 0.0
    for activity in function.steps(timesteps):
        audit_synops(function.network, activity)
        some.append(activity)
        full += batches.room(activity)
        due = bool(every) and activity.timestep % every == 0
        if full >= 1.0 or due or activity.timestep == last:
            yield some, function_state(function) if due else None
            some, full = [], 0.0


def _timed(
    function: FunctionRun, timer: TimeRun, timesteps: int, threads: int, every: int, traced: bool
) -> Iterator[tuple[Piece, Arrays | None]]:
    """Yield what was timed, in order; timesteps of a chip that waits for their end are timed in `threads` threads.

    After each `every` timesteps (0: never) the function's state is yielded too. One thread is this one.
    """
    if isinstance(timer, FlowRun):
        yield from _flown(timer, timesteps, every)
        return
    if isinstance(timer, ProcessorRun) and not timer.waits:
        yield from _timed_late(function, timer, timesteps, every)
        return
    batches = Batches(timer, traced)
    if threads == 1:
        for some, state in _gathered(function, batches, timesteps, every):
            yield batches.time(some), state
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Future[Piece], Arrays | None]] = deque()
        try:
            for some, state in _gathered(function, batches, timesteps, every):
                waiting.append((pool.submit(batches.time, some), state))
                if len(waiting) > 2 * threads:
                    future, state = waiting.popleft()
                    yield future.result(), state
            while waiting:
                future, state = waiting.popleft()
                yield future.result(), state
        finally:
            for future, _ in waiting:
                future.cancel()


def _timer(program: Program, function: FunctionRun, fidelity: str) -> TimeRun:
    """Return what times a program on its chip."""
    if program.chip.sync.kind == "none":
        return FlowRun(program, function, fidelity)
    if program.chip.core.kind == "processor":
        return ProcessorRun(program, fidelity)
    return step_timer(program, fidelity)


def run_program(
    program: Program,
    frames: dict[str, NDArray[Any]],
    timesteps: int,
    keep_activity: bool = False,
    progress: Callable[[int], None] | None = None,
    threads: int | None = None,
    trace: TraceWindow | None = None,
    fidelity: str = "cycle",
    check_fidelity: int = 0,
    checkpoint: Checkpoint | None = None,
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
    threads
        Threads that time timesteps; None for `default_threads`. The result is the same for any number.
    trace
        Timesteps to keep traces of; None for none.
    fidelity
        ``cycle`` or ``fast``; see `TimeRun`.
    check_fidelity
        Timesteps, spread evenly over the run, that fast fidelity times at cycle level too.
    checkpoint
        Where and how often to save the run; if the file exists, the run goes on from it. The result is that
        of a run in one piece.

    Raises
    ------
    InputError
        Frames that do not fit the network, fewer threads than one, a trace that lies outside the run, an
        unknown fidelity, timesteps to check that there are not, or a checkpoint of another run or together
        with what it does not hold (activity, traces, fidelity checks).
    MessageWidthError
        A message is wider than the chip's payload.
    DeadlockError, AuditError
        The simulation itself failed.
    """
    steps = run_steps(program, frames, timesteps, keep_activity, threads, trace, fidelity, check_fidelity, checkpoint)
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            counts: RunCounts = end.value
            return counts
        if progress is not None:
            progress(done)


def run_steps(
    program: Program,
    frames: dict[str, NDArray[Any]],
    timesteps: int,
    keep_activity: bool = False,
    threads: int | None = None,
    trace: TraceWindow | None = None,
    fidelity: str = "cycle",
    check_fidelity: int = 0,
    checkpoint: Checkpoint | None = None,
    function: FunctionRun | None = None,
) -> Generator[int, None, RunCounts]:
    """Run as `run_program` does, in pieces: yield the number of each timestep once it is done, return the counts.

    Parameters
    ----------
    program, frames, timesteps, keep_activity, threads, trace, fidelity, check_fidelity, checkpoint
        As for `run_program`.
    function
        Gives the activity in place of a function of the run's own, for chips with timesteps; it must count the
        synapses that `counted_synapses` gives for the program. Used by nothing but `steps`, `timestep` and `network`
        where there is no checkpoint.
    """
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise InputError(f"threads is {threads}; it must be 1 or more")
    if trace is not None:
        trace.check(timesteps, program.cores, program.step_name)
    need_bytes = (
        8
        * timesteps
        * (len(program.network.layers) * (LAYER_COUNTS + len(WORKS)) + sum(o.size for o in program.network.outputs))
    )
    if need_bytes > MOST_COUNT_BYTES:
        raise InputError(
            f"{timesteps} timesteps need {need_bytes / 2**30:.1f} GiB for their counts, the limit is "
            f"{MOST_COUNT_BYTES / 2**30:.0f} GiB; run fewer timesteps at a time"
        )
    if not 0 <= check_fidelity <= timesteps or (check_fidelity and fidelity == "cycle"):
        raise InputError(
            f"{check_fidelity} timesteps to check at fidelity {fidelity}; give 0 to {timesteps}, "
            "and only with fidelity fast"
        )
    checked = tuple(1 + i * timesteps // check_fidelity for i in range(check_fidelity))
    exact = step_timer(program) if checked else None
    checked_ps: list[int] = []
    if function is None:
        counted = None if program.chip.sync.kind == "none" else counted_synapses(program)
        function = FunctionRun(program.network, frames, counted)
    totals = _Totals(program, timesteps)
    timer = _timer(program, function, fidelity)
    kept: list[StepActivity] = []
    keeper = TraceKeeper(trace, timer.ends)
    digest, every = "", 0
    if checkpoint is not None:
        if keep_activity or trace is not None or check_fidelity:
            raise InputError(
                "a checkpoint holds no activity, traces or fidelity checks; run without them, or without it"
            )
        digest, every = run_digest(program, frames, fidelity), checkpoint.every
        if checkpoint.path.exists():
            arrays = read_checkpoint(checkpoint.path, digest, timesteps)
            restore_function(function, arrays)
            totals.restore(arrays, function.timestep)
    left = timesteps - function.timestep
    for piece, state in _timed(function, timer, left, threads, every, trace is not None):
        totals.add(piece)
        if checkpoint is not None and state is not None:
            write_checkpoint(checkpoint.path, digest, state | totals.state(piece.activities[-1].timestep))
        for activity, timing, packets in zip(piece.activities, piece.timings, piece.traces, strict=False):
            keeper.add(activity.timestep, timing.duration_ps, timing.path, timing.link_flits, packets)
        for activity in piece.activities:
            if exact is not None and activity.timestep in checked:
                checked_ps.append(exact.step(activity)[0].duration_ps)
            if keep_activity:
                kept.append(activity)
            yield activity.timestep
    duration, sweep, network, synapse = totals.spans
    return RunCounts(
        program,
        totals.layer_counts,
        totals.core_counts,
        np.asarray(totals.link_flits),
        duration,
        sweep,
        network,
        synapse,
        timer.barrier_ps,
        totals.path_ps,
        totals.outputs,
        totals.step_counts,
        np.asarray(totals.dropped),
        totals.lost,
        tuple(kept),
        tuple(keeper.traces),
        trace,
        fidelity,
        checked,
        np.array(checked_ps, dtype=np.int64),
        totals.busy_ps,
    )
