"""The command that compares configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurosim.cli import common
from neurosim.cli.output_files import OutputFile, OutputFolder, check_outputs
from neurosim.errors import InputError

NOT_CARRIED = 3
"""Exit code where a chip cannot carry the network; all is written nevertheless."""


def _tables() -> tuple[str, ...]:
    from neurosim.explore.comparison_report import CSV_FILES

    return CSV_FILES


@click.command("compare")
@common.model_argument
@click.option("--chips", required=True, metavar="A,B,C", help="Names of chips, or paths of chip files (.toml).")
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="KEY=V1,V2",
    help="Values to try in place of the chips', by dotted key; repeated, every combination. Repeatable.",
)
@click.option(
    "--baselines",
    default="",
    metavar="A,B",
    help="Hardware that computes densely, by formulas, as rows below: names (neurosim baseline --help), or files.",
)
@click.option(
    "--messages",
    "ways",
    multiple=True,
    metavar="CHIP=HOW",
    help="How messages with a value go on a chip: graded, units or split (see: neurosim run). Repeatable.",
)
@click.option("--reference", metavar="NAME", help="Compare with this row.  [default: the least energy]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="S", help="Of placements.")
@common.input_options
@common.reader_options
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads; any number gives the same bytes.")
@click.option(
    "--fidelity",
    type=click.Choice(["cycle", "fast"]),
    default="cycle",
    show_default=True,
    help="How the network is timed; fast takes links as queues that never block.",
)
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write the comparison as JSON.")
@click.option("--csv", "csv_folder", type=OutputFolder(_tables), metavar="DIR", help="Write tables into this folder.")
def command(
    model: str,
    chips: str,
    pairs: tuple[str, ...],
    baselines: str,
    ways: tuple[str, ...],
    reference: str | None,
    seed: int,
    frames: Path | None,
    steps: int | None,
    steps_per_inference: int,
    layout: str | None,
    threads: int | None,
    fidelity: str,
    json_file: Path | None,
    csv_folder: Path | None,
    **reader: Any,
) -> int:
    """Compare chips, or values of their constants, on one network and input.

    MODEL is a network (.net, .nsnet), or the name of a shipped workload (such as steering). Its function runs once;
    every configuration is compiled and timed on what it sent.

    The exit code is 3 where a chip cannot carry the network; its row says why, and all else is written.
    """
    check_outputs()
    found = common.find_model(model)
    if found.compiled:
        raise InputError(f"{found.path}: is compiled for one chip; give the network that it was made from")
    frames, shipped = common.require_frames(frames, found)

    from rich.console import Console

    from neurosim.api import input_layer
    from neurosim.cli.progress import RunProgress, say_compiling
    from neurosim.engine.warm import announce_compilation
    from neurosim.explore import (
        baseline_rows,
        compare,
        configurations,
        describe,
        print_comparison,
        write_csv,
        write_json,
    )
    from neurosim.explore.configurations import split_values
    from neurosim.formats import read_frames
    from neurosim.report import Origin

    grid = {key: split_values(text) for key, text in common.split_settings(pairs).items()}
    messages = common.split_settings(ways, "loihi=units")
    chosen = configurations([chip.strip() for chip in chips.split(",") if chip.strip()], grid, messages)
    with common.named(found):
        network, read_notes = common.read_model(found, common.reader_arguments(**reader))
    fed = read_frames(frames, input_layer(network), layout)
    origin = Origin.of_files(found.path, frames, fed)
    with common.named(found), announce_compilation(say_compiling), RunProgress() as progress:
        dense = [name.strip() for name in baselines.split(",") if name.strip()]
        others = baseline_rows(network, dense, steps_per_inference)
        comparison = compare(
            network, chosen, fed, steps, steps_per_inference, None, seed, reference, others, progress, threads,
            fidelity,
        )  # fmt: skip
    described = describe(comparison, (*found.notes, *read_notes, *shipped), origin)
    with common.outputs():
        if csv_folder is not None:
            write_csv(described, csv_folder)
        if json_file is not None:
            write_json(described, json_file)
    print_comparison(described, Console(highlight=False))
    return NOT_CARRIED if comparison.refused else 0
