"""The command that simulates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurosim.cli import common, timeline
from neurosim.cli.output_files import OutputFile, OutputFolder, check_outputs, csv_files
from neurosim.errors import InputError

if TYPE_CHECKING:
    from neurosim.compiler import Program


@click.command("run")
@common.model_argument
@common.chip_options
@common.input_options
@common.reader_options
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads that time timesteps; any number gives the same bytes.  [default: the processors, at most 8]",
)
@click.option(
    "--checkpoint", "checkpoint_file", type=OutputFile(), metavar="FILE", help="Save the run here, or go on from it."
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="With --checkpoint: timesteps between two savings.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["cycle", "fast"]),
    default="cycle",
    show_default=True,
    help="How the network is timed; fast takes links as queues that never block.",
)
@click.option(
    "--check-fidelity",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="With fast: time N timesteps at cycle level too, and report the error.",
)
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write the summary as JSON.")
@click.option("--csv", "csv_folder", type=OutputFolder(csv_files), metavar="DIR", help="Write tables into this folder.")
@click.option(
    "--results",
    "results_file",
    type=OutputFile(),
    metavar="FILE",
    help="Write all counts, for neurosim reprice and calibrate.",
)
@click.option(
    "--outputs",
    "outputs_file",
    type=OutputFile(),
    metavar="FILE.npz",
    help="Write what each output layer sent in every timestep.",
)
@timeline.timeline_options
def command(
    model: str,
    chip: str | None,
    frames: Path | None,
    steps: int | None,
    steps_per_inference: int,
    layout: str | None,
    settings: dict[str, str],
    seed: int | None,
    messages: str | None,
    json_file: Path | None,
    csv_folder: Path | None,
    results_file: Path | None,
    outputs_file: Path | None,
    timeline_file: Path | None,
    threads: int | None,
    timeline_steps: timeline.Steps | None,
    timeline_cores: tuple[int, ...] | None,
    timeline_events: int | None,
    fidelity: str,
    check_fidelity: int,
    checkpoint_file: Path | None,
    every: int,
    **reader: Any,
) -> None:
    """Simulate a network on a chip: energy, latency and memory traffic.

    MODEL is a network (.net, .nsnet), a compiled program (.h5), or the name of a shipped workload (such as steering). A
    file of that name comes before the workload.
    """
    check_outputs()
    if outputs_file is not None and outputs_file.suffix.lower() != ".npz":
        raise InputError(f"--outputs {outputs_file}: a file of arrays has a name in .npz; name it so")
    found = common.find_model(model)
    options = common.reader_arguments(**reader)
    if found.compiled:
        common.refuse_options(options, settings, seed, messages)
    else:
        chip = common.require_chip(chip, found.hint)
    window = timeline.trace_window(timeline_file, timeline_steps, timeline_cores, timeline_events)
    frames, shipped = common.require_frames(frames, found)

    from rich.console import Console
    from rich.text import Text

    from neurosim.api import input_layer, simulate
    from neurosim.cli.progress import RunProgress, say_compiling
    from neurosim.engine import Checkpoint
    from neurosim.engine.warm import announce_compilation
    from neurosim.formats import read_frames
    from neurosim.report import (
        Origin,
        Run,
        print_report,
        summarise,
        write_outputs,
        write_results,
        write_summary,
        write_tables,
        write_timeline,
    )

    if chip is None or found.compiled:
        program, notes = _load_program(found.path, chip), found.notes
    else:
        program, notes = common.compile_model(found, chip, seed or 0, settings, options, messages)
    notes = (*notes, *shipped)
    fed = read_frames(frames, input_layer(program.network), layout)
    origin = Origin.of_files(found.path, frames, fed)
    with common.named(found), announce_compilation(say_compiling), RunProgress(program.step_name) as progress:
        result = simulate(
            program, fed, steps, steps_per_inference, None, False, progress, threads, window, fidelity,
            check_fidelity, None if checkpoint_file is None else Checkpoint(checkpoint_file, every),
        )  # fmt: skip
    chosen = None if found.compiled else settings
    summary = summarise(result, notes, chosen, origin)
    with common.outputs():
        if csv_folder is not None:
            write_tables(result, summary, csv_folder)
        if json_file is not None:
            write_summary(summary, json_file)
        if results_file is not None:
            write_results(Run(result, notes, chosen, origin), results_file)
        if outputs_file is not None:
            write_outputs(result.counts, outputs_file)
        drawn = None if timeline_file is None else write_timeline(result.counts, timeline_file)
    console = Console(highlight=False)
    print_report(summary, console)
    if drawn is not None:
        console.print()
        console.print(Text(drawn.capped or f"The timeline holds {drawn.events:,} events, all that was asked for."))


def _load_program(path: Path, chip: str | None) -> Program:
    from neurosim.compiler import read_program

    program = read_program(path)
    if chip is not None and chip != program.chip.name:
        raise InputError(
            f'{path}: is compiled for chip "{program.chip.name}", not "{chip}"; leave --chip out, or compile again'
        )
    return program
