"""A chip as a page in Markdown: docs/chips holds those of the shipped ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from hwmodels import Chip, chip_names, load_base, load_chip
from hwmodels.uncosted import Uncosted, load_uncosted, uncosted_names
from neurosim.report.chip_table import Entry, entries
from neurosim.report.chip_words import can_run, core_kind, covers, sync_words, unpublished

_HEAD = ("key", "value", "range", "kind", "source", "note")


def chip_page(chip: Chip, base: Chip | None = None) -> str:
    """Return the page of a chip.

    Parameters
    ----------
    chip
        What the page is about.
    base
        The chip that it extends, to say what differs.
    """
    lines = [
        f"# {chip.title}",
        "",
        f"Made from the chip file by `neurosim chips {chip.name} --markdown`; do not edit.",
        "",
        f"{chip.summary}.",
        "",
        "## What it can run",
        "",
        *_list(can_run(chip)),
        "## What the model covers",
        "",
        *_list(covers(chip)),
        "## What it leaves out, and what nobody published",
        "",
        *_list(chip.gaps),
    ]
    gaps = list(unpublished(chip))
    if gaps:
        lines += [
            "Constants that nobody published. Each is an interval from an estimate, whose reasoning stands with the",
            "constant below, and a value in it so that sums can be made:",
            "",
            *_list(gaps),
        ]
    if base is not None:
        lines += [f"## What differs from `{base.name}`", "", *_list(f"`{line}`" for line in base.differences(chip))]
    lines += ["## Constants and choices", ""]
    for section, held in groupby(entries(chip), key=lambda entry: entry.section):
        lines += [*([f"### [{section}]", ""] if section else []), *_table(list(held))]
    return "\n".join(lines).rstrip() + "\n"


def uncosted_page(chip: Uncosted) -> str:
    """Return the page of a chip that is refused."""
    facts = {"process": chip.process, **chip.facts} if chip.process else chip.facts
    known = [Entry("", key, f.value, "", f.kind.value, f.source, f.note) for key, f in facts.items() if f is not None]
    lines = [
        f"# {chip.title}",
        "",
        f"Made from the chip's file by `neurosim chips {chip.name} --markdown`; do not edit.",
        "",
        f"{chip.summary}.",
        "",
        "## Why it is refused",
        "",
        f"It cannot be costed: {chip.reason}. Way out: {chip.way_out}.",
        "",
        "## What nobody published",
        "",
        *_list(chip.gaps),
        "## What is known",
        "",
        *_table(known),
    ]
    return "\n".join(lines).rstrip() + "\n"


def index_page(chips: Sequence[Chip], uncosted: Sequence[Uncosted]) -> str:
    """Return the page that lists the chips."""
    lines = [
        "# Chips",
        "",
        "Made from the chip files by `neurosim chips --pages docs/chips`; do not edit.",
        "[chip-format.md](../chip-format.md) says what a chip file holds.",
        "",
        "| chip | what | process | cores' kind | cores | timesteps |",
        "|---|---|---|---|---|---|",
    ]
    for chip in chips:
        process = "" if chip.process is None else chip.process.value
        cells = (f"[{chip.name}]({chip.name}.md)", chip.title, process, core_kind(chip), f"{chip.cores:,}")
        lines.append(_row((*cells, sync_words(chip))))
    for refused in uncosted:
        process = "" if refused.process is None else refused.process.value
        lines.append(_row((f"[{refused.name}]({refused.name}.md)", f"{refused.title}: refused", process, "", "", "")))
    return "\n".join(lines) + "\n"


def all_pages() -> dict[str, str]:
    """Return the page of every shipped chip and of the list of them, by file name."""
    chips, refused = [load_chip(name) for name in chip_names()], [load_uncosted(name) for name in uncosted_names()]
    pages = {"README.md": index_page(chips, refused)}
    pages |= {f"{chip.name}.md": chip_page(chip, load_base(chip.name)) for chip in chips}
    return pages | {f"{chip.name}.md": uncosted_page(chip) for chip in refused}


def _list(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        yield f"- {sentence}"
    yield ""


def _table(held: Sequence[Entry]) -> Iterator[str]:
    yield _row(_HEAD)
    yield "|" + "---|" * len(_HEAD)
    for entry in held:
        yield _row((f"`{entry.key}`", entry.value, entry.span, entry.kind, entry.source, entry.note))
    yield ""


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
