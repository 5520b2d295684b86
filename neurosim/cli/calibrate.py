"""The command that fits constants to measurements."""

from __future__ import annotations

from pathlib import Path

import click

from neurosim.cli import common
from neurosim.cli.output_files import OutputFile, check_outputs, refuse_written
from neurosim.errors import InputError

PATH = click.Path(path_type=Path)


@click.command("calibrate")
@click.argument("chip", metavar="CHIP")
@click.argument("measurements", metavar="MEASUREMENTS.csv", type=PATH)
@click.option(
    "--output", "-o", type=OutputFile(), required=True, metavar="VARIANT.toml", help="Chip file of the variant."
)
@click.option(
    "--fit",
    "keys",
    multiple=True,
    metavar="KEY",
    help="A constant to fit, by dotted key, or a pattern (core.*). Repeatable.  [default: all energies and powers]",
)
@click.option("--confidence", type=float, default=0.95, show_default=True, metavar="C", help="Of the intervals.")
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write the calibration as JSON.")
def command(
    chip: str,
    measurements: Path,
    output: Path,
    keys: tuple[str, ...],
    confidence: float,
    json_file: Path | None,
) -> None:
    """Fit energies and powers of a chip to measurements.

    What the data determine is written as a variant of the chip. CHIP is the name of a chip, or the path of a chip
    file. MEASUREMENTS.csv names, a line each, the results file of a run (neurosim run --results) and what was
    measured; see docs/compare.md.
    """
    check_outputs()
    if output.suffix != ".toml":
        raise InputError(f"--output {output}: a chip file's name ends in .toml; name it so")

    from rich.console import Console

    from hwmodels import load_chip
    from neurosim.explore import (
        calibrate,
        describe_calibration,
        print_calibration,
        read_measurements,
        write_json,
        write_variant,
    )

    measured = read_measurements(measurements)
    for one in measured:
        refuse_written(one.result, f"line {one.line} of {measurements}:")
    found = calibrate(load_chip(chip), measured, keys, confidence)
    with common.outputs():
        write_variant(found, chip, measurements, output)
        if json_file is not None:
            write_json(describe_calibration(found), json_file)
    console = Console(highlight=False)
    print_calibration(found, console)
    console.print()
    console.print(f"written to {output}", markup=False, soft_wrap=True)
