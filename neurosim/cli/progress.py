"""What a run says on standard error while it goes on."""

from __future__ import annotations

import time

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PATIENCE_S = 1.0
"""Runs expected to end within this time show no bar."""


def say_compiling() -> None:
    """Say what the first run after installation waits for."""
    click.echo("compiling kernels, once after installation: about 10 to 20 s", err=True)


def say_compiling_all() -> None:
    """Say what `neurosim warmup` takes its time for: kernels for every kind of chip, of which a run needs a few."""
    click.echo("compiling the kernels for every kind of chip: a minute or two", err=True)


class RunProgress:
    """A bar of timesteps on standard error, on a terminal alone, once a run turns out to be long.

    Used as a context, and called with the timesteps done and their number. `step` is what the run calls them.
    """

    def __init__(self, step: str = "timestep") -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(f"{step}s"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._shown = False
        self._on = console.is_terminal
        self._began_s = time.monotonic()
        self._task = self._bar.add_task(f"{step}s", total=None)

    def __enter__(self) -> RunProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        if not self._on:
            return
        if not self._shown:
            elapsed_s = time.monotonic() - self._began_s
            if elapsed_s * total / done < PATIENCE_S or done == total:
                return
            self._bar.update(self._task, completed=done, total=total)
            self._bar.start()
            self._shown = True
        self._bar.update(self._task, completed=done, total=total)


class StageProgress:
    """A bar on standard error, on a terminal alone, for work that goes through stages.

    Used as a context, and called with the stage's name, how much of it is done, and how much there is.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._on = console.is_terminal
        self._task = self._bar.add_task("", total=None)
        self._stage = ""

    def __enter__(self) -> StageProgress:
        if self._on:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._on:
            self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage or done == 1:
            self._stage = stage
            self._bar.reset(self._task, description=stage, total=total)
        self._bar.update(self._task, completed=done)
