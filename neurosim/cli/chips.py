"""The command that shows and checks chips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from neurosim.cli.common import outputs, parse_settings
from neurosim.cli.output_files import OutputFolder, check_outputs

if TYPE_CHECKING:
    from hwmodels import Chip


@click.command("chips")
@click.option("--pages", type=OutputFolder(tuple), metavar="DIR", help="Write a page (.md) of every chip.")
@click.option("--markdown", is_flag=True, help="Print the chip as a page in Markdown.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=parse_settings,
    help="Put a value in place of the chip's, by dotted key, and mark it. Repeatable.",
)
@click.argument("name", metavar="[NAME | check FILE]", required=False)
@click.argument("file", metavar="", required=False)
def command(name: str | None, file: str | None, settings: dict[str, str], markdown: bool, pages: Path | None) -> None:
    """List the chips, show one with the source of every constant, or check a chip file.

    NAME is one of the chips listed without it, or the path of a chip file (.toml). What a derived chip changes is
    marked. "check FILE" reads a chip file, and says all that is wrong with it, each with its line.
    """
    if pages is not None:
        if name is not None or markdown or settings:
            raise click.UsageError("--pages writes the pages of all chips; give it alone")
        _write_pages(pages)
    elif name == "check":
        _check(file, settings)
    elif file is not None:
        raise click.UsageError(f'"{file}" is one word too many; give one NAME, or: neurosim chips check FILE')
    elif name is None:
        if markdown or settings:
            raise click.UsageError("--markdown and --set are for one chip; give its NAME")
        _list()
    else:
        _show(name, settings, markdown)


def _list() -> None:
    from rich.console import Console

    from hwmodels import chip_names, load_chip
    from hwmodels.uncosted import load_uncosted, uncosted_names
    from neurosim.report.chip_table import print_chips

    chips = [load_chip(shipped) for shipped in chip_names()]
    print_chips(chips, [load_uncosted(shipped) for shipped in uncosted_names()], Console(highlight=False))


def _show(name: str, settings: dict[str, str], markdown: bool) -> None:
    from rich.console import Console

    from hwmodels import load_chip
    from hwmodels.uncosted import load_uncosted, uncosted_names
    from neurosim.report.chip_page import chip_page, uncosted_page
    from neurosim.report.chip_table import print_chip, print_uncosted

    console = Console(highlight=False)
    if name in uncosted_names():
        if settings:
            raise click.UsageError(f"--set: {load_uncosted(name).refusal}")
        if markdown:
            click.echo(uncosted_page(load_uncosted(name)), nl=False)
        else:
            print_uncosted(load_uncosted(name), console)
        return
    chip, base = load_chip(name, settings), _base(name, settings)
    if markdown:
        click.echo(chip_page(chip, base), nl=False)
    else:
        print_chip(chip, console, base, settings)


def _base(name: str, settings: dict[str, str]) -> Chip | None:
    """Return what to hold a chip against: itself without settings, else the one that it extends, if that is whole."""
    from hwmodels import load_base, load_chip
    from neurosim.errors import ChipError

    if settings:
        return load_chip(name)
    try:
        return load_base(name)
    except ChipError:
        # A base may lack what the file that extends it brings; the chip itself is whole.
        return None


def _check(file: str | None, settings: dict[str, str]) -> None:
    from collections import Counter

    from hwmodels import load_chip
    from neurosim.report.chip_table import entries
    from neurosim.report.chip_words import kind_counts
    from neurosim.report.layout import counted

    if file is None:
        raise click.UsageError("check needs a chip file (.toml); write: neurosim chips check FILE")
    chip = load_chip(file, settings)
    click.echo(f"{file}: {chip.name}, {counted(chip.cores, 'core')}; nothing is wrong with it")
    click.echo(f"constants: {kind_counts(Counter(entry.kind for entry in entries(chip)))}")
    base = _base(file, settings)
    if base is not None:
        differing = base.differences(chip)
        click.echo(f"{counted(len(differing), 'value')} other than in {base.name}")
        for line in differing:
            click.echo(f"  {line}")


def _write_pages(folder: Path) -> None:
    from neurosim.files import atomic_path, make_folder
    from neurosim.report.chip_page import all_pages

    check_outputs()
    with outputs():
        make_folder(folder)
        for name, text in all_pages().items():
            with atomic_path(folder / name) as part:
                part.write_text(text, encoding="utf-8", newline="\n")
    click.echo(f"pages written to {folder}")
