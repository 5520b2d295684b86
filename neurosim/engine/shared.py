"""Several programs of one network timed on one functional run: what is sent does not depend on the chip.

The activity goes from the function to the programs timestep by timestep and is forgotten once the last of them has
taken it; none may run ahead of the slowest by more than `LEAD` timesteps and those that it times in one call.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.compiler.visits import counted_synapses
from neurosim.engine.function import FunctionRun, StepActivity
from neurosim.engine.run import default_threads, run_steps
from neurosim.engine.totals import RunCounts
from neurosim.errors import AuditError, InputError, NeurosimError

Counted = list[NDArray[np.int32]]

LEAD = 16
"""Timesteps by which a program may be ahead of the slowest one; with late work to carry on it may ask for more."""

TURN = 4
"""Timesteps that a program is timed for at a time."""


class _Activity:
    """The activity of a function, kept until all who read it have taken it. Safe to be read by several threads."""

    def __init__(self, function: FunctionRun, readers: int) -> None:
        self.function = function
        self.taken = [0] * readers
        self._kept: deque[StepActivity] = deque()
        self._lock = Lock()

    def take(self, reader: int) -> StepActivity:
        """Return the next timestep's activity for a reader."""
        with self._lock:
            first = self.function.timestep - len(self._kept)
            place = self.taken[reader] - first
            if place == len(self._kept):
                self._kept.append(self.function.step())
            activity = self._kept[place]
            self.taken[reader] += 1
            self._forget()
            return activity

    def leave(self, reader: int) -> None:
        """Let a reader take nothing more."""
        with self._lock:
            self.taken[reader] = -1
            self._forget()

    def _forget(self) -> None:
        still = [taken for taken in self.taken if taken >= 0]
        needed = min(still, default=self.function.timestep)
        for _ in range(needed - (self.function.timestep - len(self._kept))):
            self._kept.popleft()


class _Reader(FunctionRun):
    """A function that does not work out its timesteps but takes them from one that several programs share."""

    def __init__(self, shared: _Activity, number: int) -> None:
        self.network, self.counts = shared.function.network, shared.function.counts
        self.timestep = 0
        self._shared, self._number = shared, number

    def step(self) -> StepActivity:
        activity = self._shared.take(self._number)
        self.timestep += 1
        return activity


class _Run:
    """One program in the course of its run."""

    def __init__(self, steps: Generator[int, None, RunCounts], leave: Callable[[], None]) -> None:
        self.steps, self.leave = steps, leave
        self.done = 0
        self.outcome: RunCounts | NeurosimError | None = None

    def advance(self) -> None:
        """Go on for a few timesteps; the end, or an error that is this program's own, is kept."""
        try:
            for _ in range(TURN):
                self.done = next(self.steps)
        except StopIteration as end:
            self.outcome = end.value
        except AuditError:
            raise
        except NeurosimError as error:
            self.outcome = error
        if self.outcome is not None:
            self.leave()


def run_programs(
    programs: Sequence[Program],
    frames: dict[str, NDArray[Any]],
    timesteps: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    fidelity: str = "cycle",
) -> tuple[list[RunCounts | NeurosimError], int]:
    """Run several programs of one network, each exactly as `run_program` would.

    The function runs once for all chips with timesteps. Where chips need to know the synapses that neurons met, it
    runs once for each different set of synapses that count. On a chip without timesteps function and time are one
    run of its own.

    Parameters
    ----------
    programs
        What to run; all of the same network.
    frames
        Per input layer name, integers (frames, n) in the network's units; the last frame is held.
    timesteps
        For each program, at least 1; all those with timesteps run equally many.
    progress
        Called with the timesteps done, of all programs together, and their number.
    threads
        Threads that run programs; None for `default_threads`. The result is the same for any number.
    fidelity
        ``cycle`` or ``fast``; see `TimeRun`.

    Returns
    -------
    For each program its counts, or the error that its chip or its mapping brought about; and the number of functional
    passes, those on chips without timesteps included.

    Raises
    ------
    InputError
        Frames that do not fit the network, fewer threads than one, or programs that cannot share a function.
    AuditError
        The simulation itself failed.
    """
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise InputError(f"threads is {threads}; it must be 1 or more")
    if not programs:
        return [], 0
    if any(program.network is not programs[0].network for program in programs):
        raise InputError("the programs are of different networks; only those of one network share what is sent")
    shared = [i for i, program in enumerate(programs) if program.has_timesteps]
    if len({timesteps[i] for i in shared}) > 1:
        raise InputError("programs that share a function run for equally many timesteps; give one number")
    outcomes: list[RunCounts | NeurosimError | None] = [None] * len(programs)
    groups, failed = _groups(programs, shared)
    for i, error in failed.items():
        outcomes[i] = error
    alone = [i for i, program in enumerate(programs) if not program.has_timesteps]
    if not groups:
        # Frames that do not fit are an error of the input, and no chip's own.
        FunctionRun(programs[0].network, frames)
    total = sum(timesteps)
    before = sum(timesteps[i] for i in failed)
    each = max(1, threads // max(len(programs), 1))

    def run(numbers: Sequence[int], runs: list[_Run]) -> None:
        nonlocal before
        start = before

        def report() -> None:
            if progress is not None:
                progress(start + sum(run.done for run in runs), total)

        _run_together(runs, min(threads, len(runs)), report)
        before += sum(timesteps[i] for i in numbers)
        for i, done in zip(numbers, runs, strict=True):
            outcomes[i] = done.outcome

    for counted, members in groups:
        function = FunctionRun(programs[0].network, frames, counted)
        activity = _Activity(function, len(members))
        runs = []
        for number, i in enumerate(members):
            reader = _Reader(activity, number)
            steps = run_steps(programs[i], frames, timesteps[i], threads=each, fidelity=fidelity, function=reader)
            runs.append(_Run(steps, lambda number=number, activity=activity: activity.leave(number)))  # type: ignore[misc]
        run(members, runs)
    for i in alone:
        steps = run_steps(programs[i], frames, timesteps[i], threads=threads, fidelity=fidelity)
        run([i], [_Run(steps, lambda: None)])
    assert all(outcome is not None for outcome in outcomes)
    return [outcome for outcome in outcomes if outcome is not None], len(groups) + len(alone)


def _groups(
    programs: Sequence[Program], shared: Sequence[int]
) -> tuple[list[tuple[Counted | None, list[int]]], dict[int, NeurosimError]]:
    """Return the programs by the synapses that count for them, and those of which it cannot be told.

    A program that needs none counted takes whatever function there is.
    """
    groups: dict[str, tuple[Counted | None, list[int]]] = {}
    failed: dict[int, NeurosimError] = {}
    free = []
    for i in shared:
        try:
            counted = counted_synapses(programs[i])
        except NeurosimError as error:
            failed[i] = error
            continue
        if counted is None:
            free.append(i)
            continue
        digest = hashlib.sha256()
        for synapses in counted:
            digest.update(synapses.tobytes())
        groups.setdefault(digest.hexdigest(), (counted, []))[1].append(i)
    if free and groups:
        next(iter(groups.values()))[1].extend(free)
    elif free:
        groups[""] = (None, free)
    return list(groups.values()), failed


def _run_together(runs: Sequence[_Run], workers: int, report: Callable[[], None]) -> None:
    """Run all to their ends, always those first that are furthest behind."""
    if workers <= 1:
        while waiting := [run for run in runs if run.outcome is None]:
            min(waiting, key=lambda run: run.done).advance()
            report()
        return
    with ThreadPoolExecutor(workers) as pool:
        working: dict[Future[None], _Run] = {}
        try:
            while waiting := [run for run in runs if run.outcome is None]:
                slowest = min(run.done for run in waiting)
                busy = set(map(id, working.values()))
                for run in sorted(waiting, key=lambda run: run.done):
                    if len(working) < workers and id(run) not in busy and run.done - slowest < LEAD:
                        working[pool.submit(run.advance)] = run
                for future in wait(working, return_when=FIRST_COMPLETED).done:
                    del working[future]
                    future.result()
                report()
        finally:
            for future in working:
                future.cancel()
