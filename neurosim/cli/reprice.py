"""The command that costs a finished run anew."""

from __future__ import annotations

from pathlib import Path

import click

from neurosim.cli import common
from neurosim.cli.output_files import OutputFile, OutputFolder, check_outputs, csv_files

PATH = click.Path(path_type=Path)


@click.command("reprice")
@click.argument("results", metavar="RESULT", type=PATH)
@click.option("--chip", metavar="VARIANT", help="Name of a chip, or path of a chip file; by default the run's own.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=common.parse_settings,
    help="Put a value in place of the chip's, by dotted key. Repeatable.",
)
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write the summary as JSON.")
@click.option("--csv", "csv_folder", type=OutputFolder(csv_files), metavar="DIR", help="Write tables into this folder.")
def command(
    results: Path, chip: str | None, settings: dict[str, str], json_file: Path | None, csv_folder: Path | None
) -> None:
    """Cost a finished run with other energies and powers, without simulating.

    RESULT is a file of neurosim run --results. VARIANT differs from the run's chip in energies, powers, ranges and
    words alone; all else is refused, with a list of what differs.
    """
    check_outputs()
    if chip is None and not settings:
        raise click.UsageError("nothing to change: give --chip, --set, or both.")

    from rich.console import Console

    from hwmodels import load_chip
    from hwmodels.loader import with_settings
    from neurosim.explore import reprice
    from neurosim.report import print_report, read_results, summarise, write_summary, write_tables

    run = read_results(results)
    if chip is None:
        variant, settings = with_settings(run.result.chip, settings), {**(run.settings or {}), **settings}
    else:
        variant = load_chip(chip, settings)
    result = reprice(run.result, variant)
    summary = summarise(result, run.notes, settings, run.origin)
    with common.outputs():
        if csv_folder is not None:
            write_tables(result, summary, csv_folder)
        if json_file is not None:
            write_summary(summary, json_file)
    print_report(summary, Console(highlight=False))
