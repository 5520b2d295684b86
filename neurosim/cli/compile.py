"""The command that compiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurosim.cli import common
from neurosim.cli.output_files import OutputFile, check_outputs
from neurosim.errors import InputError


@click.command("compile")
@common.model_argument
@common.chip_options
@click.option(
    "--output",
    "-o",
    type=OutputFile(),
    required=True,
    metavar="PROGRAM.h5",
    help="File of the program.",
)
@common.reader_options
def command(
    model: str,
    chip: str | None,
    output: Path,
    settings: dict[str, str],
    seed: int | None,
    messages: str | None,
    **reader: Any,
) -> None:
    """Place a network on a chip and write the compiled program.

    MODEL is a network (.net, .nsnet), or the name of a shipped workload (such as steering). A file of that name comes
    before the workload.
    """
    check_outputs()
    if output.suffix.lower() != common.PROGRAM_SUFFIX:
        raise InputError(f"--output {output}: a program's name ends in {common.PROGRAM_SUFFIX}; name it so")
    found = common.find_model(model)
    if found.compiled:
        raise InputError(f"{found.path}: is compiled already; give the network that it was made from")
    chip = common.require_chip(chip, found.hint)

    from rich.console import Console

    from neurosim.compiler import write_program
    from neurosim.report.layout import print_list
    from neurosim.report.program_table import print_program

    reading = common.reader_arguments(**reader)
    program, notes = common.compile_model(found, chip, seed or 0, settings, reading, messages)
    with common.outputs():
        write_program(program, output)
    console = Console(highlight=False)
    print_program(program, console)
    print_list("Notes", notes, console)
    console.print()
    console.print(f"written to {output}", markup=False, soft_wrap=True)
