"""The command that shows chips."""

from __future__ import annotations

import click


@click.command("chips")
@click.argument("name", metavar="[NAME]", required=False)
def command(name: str | None) -> None:
    """List the chips, or show one with the source of every constant.

    NAME is one of the chips listed without it, or the path of a chip file (.toml).
    """
    from rich.console import Console

    from hwmodels import chip_names, load_base, load_chip
    from neurosim.errors import ChipError
    from neurosim.report.chip_table import print_chip, print_chips

    console = Console(highlight=False)
    if name is None:
        print_chips([load_chip(shipped) for shipped in chip_names()], console)
    else:
        chip = load_chip(name)
        try:
            base = load_base(name)
        except ChipError:
            # A base may lack what the file that extends it brings; the chip itself is whole.
            base = None
        print_chip(chip, console, base)
