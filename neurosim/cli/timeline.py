"""The options of a timeline."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurosim.cli.output_files import OutputFile
from neurosim.errors import InputError

if TYPE_CHECKING:
    from neurosim.engine import TraceWindow

MOST_CORES = 1 << 20
"""Highest core number that may be named; the program's own limit is checked when it is known."""

Steps = tuple[int | None, int | None]


def timeline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that ask for a timeline."""
    for option in (
        click.option(
            "--timeline-events",
            type=click.IntRange(min=1),
            metavar="N",
            help="Most events in the timeline.  [default: 200000]",
        ),
        click.option(
            "--timeline-cores",
            metavar="LIST",
            callback=_parse_cores,
            help="Cores whose work and packets it shows, such as 0,3-7.  [default: all]",
        ),
        click.option(
            "--timeline-steps",
            metavar="A:B",
            callback=_parse_steps,
            help="Timesteps (or frames) A to B, both included; A:, :B or a single one will do.  [default: all]",
        ),
        click.option(
            "--timeline",
            "timeline_file",
            type=OutputFile(),
            metavar="FILE",
            help="Write a timeline for Perfetto or chrome://tracing, JSON (.json), or packed with gzip (.json.gz).",
        ),
    ):
        command = option(command)
    return command


def trace_window(
    file: Path | None, steps: Steps | None, cores: tuple[int, ...] | None, events: int | None
) -> TraceWindow | None:
    """Return what the options ask for; None where there is no timeline.

    Raises
    ------
    click.UsageError
        An option of the timeline was given, but no timeline.
    """
    given = {"--timeline-steps": steps, "--timeline-cores": cores, "--timeline-events": events}
    if file is None:
        lost = [name for name, value in given.items() if value is not None]
        if lost:
            raise click.UsageError(f"{', '.join(lost)}: needs --timeline FILE.")
        return None
    if not file.name.lower().endswith((".json", ".gz")):
        raise InputError(f"--timeline {file}: give a name in .json, or in .json.gz for a packed file")
    from neurosim.engine import TraceWindow

    first, last = steps or (None, None)
    return TraceWindow(first, last, cores) if events is None else TraceWindow(first, last, cores, events)


def _parse_steps(context: click.Context, option: click.Parameter, text: str | None) -> Steps | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d*)(:?)(\d*)", text.strip())
    if not found or not (found[1] or found[3]):
        raise click.BadParameter(f'"{text}" is no range of timesteps; write 5:10, 5:, :10 or 5')
    first = int(found[1]) if found[1] else None
    last = (int(found[3]) if found[3] else None) if found[2] else first
    if first == 0 or last == 0:
        raise click.BadParameter(f"{text}: timesteps count from 1")
    if first is not None and last is not None and first > last:
        raise click.BadParameter(f"{text}: {first} comes after {last}; give the smaller number first")
    return first, last


def _parse_cores(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    cores: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not found:
            raise click.BadParameter(f'"{text}": "{part.strip()}" is no core or range of cores; write 0,3-7')
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last:
            raise click.BadParameter(f"{part.strip()}: {first} comes after {last}; give the smaller number first")
        if last >= MOST_CORES:
            raise click.BadParameter(f"{part.strip()}: no chip has that many cores; the highest is {MOST_CORES - 1}")
        cores.update(range(first, last + 1))
    return tuple(sorted(cores))
