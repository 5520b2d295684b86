"""Chips for people: the list of them, and one with the source of every constant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hwmodels import Chip
from hwmodels.uncosted import Uncosted
from neurosim.report.chip_words import can_run, core_kind, covers, kind_counts, sync_words, unpublished
from neurosim.report.layout import Column, counted, print_columns, print_list

_NAMING = ("schema", "name", "title", "summary", "extends", "gaps")


@dataclass(frozen=True)
class Entry:
    """One entry of a chip.

    Attributes
    ----------
    section, key
        The dotted key, cut at its last dot.
    value
        With its unit.
    span
        Range, or an empty string.
    kind, source, note
        Of a sourced entry; empty for a plain choice.
    """

    section: str
    key: str
    value: str
    span: str = ""
    kind: str = ""
    source: str = ""
    note: str = ""


def entries(chip: Chip) -> Iterator[Entry]:
    """Yield every number and choice of a chip, section by section in the order of the schema."""
    plain = {key: held for key, held in chip.to_dict().items() if key not in _NAMING}
    for section, held in plain.items():
        if "source" in held:
            yield _entry("", section, held)
        else:
            yield from _section(section, held)


def _section(section: str, table: dict[str, Any]) -> Iterator[Entry]:
    deeper = []
    for key, held in table.items():
        if isinstance(held, list) and all(isinstance(part, dict) for part in held):
            deeper += [(f"{section}.{key}.{place}", part) for place, part in enumerate(held)]
        elif isinstance(held, dict) and "source" not in held:
            deeper.append((f"{section}.{key}", held))
        else:
            yield _entry(section, key, held)
    for name, held in deeper:
        yield from _section(name, held)


def _entry(section: str, key: str, held: Any) -> Entry:
    if not isinstance(held, dict):
        return Entry(section, key, str(held).lower() if isinstance(held, bool) else _text(held))
    value = held["value"]
    ends = [held.get(end) for end in ("low", "high")]
    shown = [_text(value if end is None else end) for end in ends]
    return Entry(
        section,
        key,
        _text(value),
        "" if ends == [None, None] else " to ".join(shown),
        held["kind"],
        held["source"],
        held.get("note", ""),
    )


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def print_chips(chips: Sequence[Chip], uncosted: Sequence[Uncosted], console: Console) -> None:
    """Print a table of chips with the number of their constants by kind, and of those that are refused."""
    kinds = [Counter(entry.kind for entry in entries(chip)) for chip in chips]
    columns = [
        Column("chip", [chip.name for chip in chips], left=True),
        Column("cores'\nkind", [core_kind(chip) for chip in chips], left=True),
        Column("process", [_process(chip) for chip in chips], left=True),
        Column("cores", [chip.cores for chip in chips]),
        Column("neurons", [chip.cores * (chip.core.neurons_usable or chip.core.neurons).value for chip in chips]),
        Column("sync", [sync_words(chip) for chip in chips], left=True),
        Column("messages", [_messages(chip) for chip in chips], left=True),
        Column("title", [chip.title for chip in chips], wrapped=True),
        Column("constants", [kind_counts(counts) for counts in kinds], wrapped=True),
    ]
    print_columns("Chips", columns, console)
    print_list("Known, but refused", [f"{chip.name}: {chip.title}. {chip.summary}" for chip in uncosted], console)
    console.print()
    console.print("neurosim chips NAME shows one with the source of every constant, and the reason for a refusal;")
    console.print("neurosim chips check FILE checks a chip file of your own.")


def _process(chip: Chip) -> str:
    return "-" if chip.process is None else chip.process.value


def _messages(chip: Chip) -> str:
    bits = chip.network.payload.value
    return f"{bits} bits" if bits else "spikes"


def print_uncosted(chip: Uncosted, console: Console) -> None:
    """Print a chip that is refused: why, what to do instead, and what is known."""
    console.print(Text.assemble((chip.name, "bold"), ": ", chip.title))
    console.print(Text(chip.summary))
    console.print()
    console.print(Text(f"It cannot be costed: {chip.reason}."))
    console.print(Text(f"Way out: {chip.way_out}."))
    facts = {"process": chip.process, **chip.facts} if chip.process else chip.facts
    width = max(map(len, facts))
    console.print()
    for key, fact in facts.items():
        if fact is not None:
            _print_entry(Entry("", key, fact.value, "", fact.kind.value, fact.source, fact.note), width, console)
    print_list("What is not published about this chip, or not modelled", chip.gaps, console)


def print_chip(
    chip: Chip, console: Console, base: Chip | None = None, settings: Mapping[str, str] | None = None
) -> None:
    """Print a chip: what it can run, what its model covers, every entry with its source, and what is not published.

    Parameters
    ----------
    chip
        What to print.
    console
        Where to.
    base
        The chip that it extends or that values were set in; entries that differ from it are marked.
    settings
        Values that were set in the base from outside, by dotted key.
    """
    console.print(Text.assemble((chip.name, "bold"), ": ", chip.title))
    console.print(Text(chip.summary))
    found = list(entries(chip))
    changes = _changes(chip, base, {_dotted(entry) for entry in found})
    lost = changes.pop("", [])
    for key, value in (settings or {}).items():
        console.print(Text(f"set by the user: {key} = {value}"))
    if chip.extends and not settings:
        marked = f"; {counted(len(changes), 'entry', 'entries')} of another value, marked *" if base else ""
        console.print(Text(f"extends {chip.extends}{marked}"))
    for change in lost:
        console.print(Text(f"* {change}"))
    print_list("What it can run", can_run(chip), console)
    print_list("What the model covers", covers(chip), console)
    if base is not None:
        differing = (f"{key}: {'; '.join(change)}" for key, change in changes.items())
        print_list(f"What differs from {base.name}{' as its file has it' if settings else ''}", differing, console)
    width = max(len(entry.key) for entry in found)
    section = ""
    for number, entry in enumerate(found):
        if entry.section != section or not number:
            section = entry.section
            console.print()
            console.print(Text(f"[{section}]" if section else "Constants, with their sources", style="bold"))
        _print_entry(entry, width, console, changes.get(_dotted(entry), []))
    print_list("Constants that nobody published, with the interval of an estimate", unpublished(chip), console)
    print_list("What is not published about this chip, or not modelled", chip.gaps, console)


def _dotted(entry: Entry) -> str:
    return f"{entry.section}.{entry.key}" if entry.section else entry.key


def _changes(chip: Chip, base: Chip | None, known: set[str]) -> dict[str, list[str]]:
    """Return dotted key of an entry -> what of it differs from `base`; under "" what no entry of `known` holds."""
    changes: dict[str, list[str]] = {}
    for line in [] if base is None else base.differences(chip):
        key, _, change = line.partition(": ")
        entry = key
        while entry and entry not in known:
            entry = entry.rpartition(".")[0]
        # What follows the entry's key: an end of its range, or a place in its list.
        rest = key.removeprefix(entry).removeprefix(".").removeprefix("value.")
        rest = f"[{rest}]" if rest.isdecimal() else rest
        changes.setdefault(entry, []).append(f"{rest} {change}" if rest else change)
    return changes


def _print_entry(entry: Entry, width: int, console: Console, changes: Sequence[str] = ()) -> None:
    if entry.key == "static_note":
        console.print(Padding(Text(f"static_note: {entry.value}", style="dim"), (0, 0, 0, 4), expand=False))
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, min_width=width)
    grid.add_column(overflow="fold")
    span = f" ({entry.span})" if entry.span else ""
    kind = f", {entry.kind}" if entry.kind else ""
    grid.add_row(Text(entry.key), Text.assemble((entry.value, "bold"), f"{span}{kind}"))
    console.print(Padding(grid, (0, 0, 0, 2), expand=False))
    if changes:
        console.print(
            Padding(Text(f"* overrides the base: {'; '.join(changes)}", style="dim"), (0, 0, 0, 4), expand=False)
        )
    for name, text in (("source", entry.source), ("note", entry.note)):
        if text:
            console.print(Padding(Text(f"{name}: {text}", style="dim"), (0, 0, 0, 4), expand=False))
