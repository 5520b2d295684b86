"""A whole run: function first, then time, timestep by timestep."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
from neurosim.engine.counters import LAYER_COUNTS, WORKS
from neurosim.engine.flow import FlowRun
from neurosim.engine.function import FunctionRun, StepActivity
from neurosim.engine.processors import ProcessorRun
from neurosim.engine.timers import step_timer
from neurosim.engine.timing import TimeRun
from neurosim.engine.totals import RunCounts, RunTotals
from neurosim.engine.trace import TraceKeeper, TraceWindow
from neurosim.errors import AuditError, InputError
from neurosim.network import Network

MOST_COUNT_BYTES = 1 << 33
"""Most memory that a run's counts per timestep may take."""


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
    totals = RunTotals(program, timesteps)
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
