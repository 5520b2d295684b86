"""A comparison for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantiphy import Quantity
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from neurosim.explore.rows import SIMULATED
from neurosim.report.layout import Cell, Column, counted, engineering, print_columns, print_list, scaled

LEAST_IN_ONE_UNIT = 0.1
"""Least number that a column of one unit may hold: three decimals are two digits then."""


def print_comparison(described: Mapping[str, Any], console: Console) -> None:
    """Print a comparison; no line is longer than the console is wide.

    Parameters
    ----------
    described
        From `neurosim.explore.describe`.
    console
        Where to.
    """
    rows = described["rows"]
    console.print(Text(described["model"], style="bold"))
    passes = counted(described["functional_passes"], "functional run")
    each = counted(described["steps_per_inference"], "timestep")
    console.print(
        f"{counted(len(rows), 'configuration')}, {described['timing_passes']:,} timed on {passes}; {each} per inference"
    )
    for key, value in _common(rows).items():
        console.print(Text(f"set by the user: {key} = {value}"))
    costed = [row for row in rows if row["reason"] is None]
    if costed:
        _costs(costed, described["reference"], console)
        _differences(costed, described["reference"], console)
    print_list("Cannot carry this network", _refused(rows), console)
    print_list("Warnings", [f"{row['name']}: {text}" for row in costed for text in row["warnings"]], console)
    print_list("Notes", dict.fromkeys([*described["notes"], *_notes(costed, described["notes"])]), console)


def _notes(rows: list[Mapping[str, Any]], said: list[str]) -> list[str]:
    """Return the notes of rows, with the configurations that have them where not all do; without those `said`."""
    held: dict[str, list[str]] = {}
    for row in rows:
        for note in row["notes"]:
            if note not in said:
                held.setdefault(note, []).append(row["name"])
    return [note if len(names) == len(rows) else f"{_listed(names)}: {note}" for note, names in held.items()]


def _refused(rows: list[Mapping[str, Any]]) -> list[str]:
    """Return a sentence a reason, with the configurations that have it."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["reason"] is not None:
            reasons.setdefault(row["reason"], []).append(row["name"])
    return [f"{_listed(names)}: {reason}" for reason, names in reasons.items()]


def _listed(names: list[str]) -> str:
    """Return names as a list that does not go on for ever."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3:,} more"


def _common(rows: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the settings that all configurations have."""
    settings = [row["settings"] for row in rows if row["origin"] == SIMULATED]
    first = settings[0] if settings else {}
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in settings)}


def _costs(rows: list[Mapping[str, Any]], reference: str | None, console: Console) -> None:
    def part(record: Mapping[str, Any] | None, key: str) -> float | None:
        return None if record is None else record[key]

    energies = [row["energy_per_inference_j"] for row in rows]
    (values, low, high), unit = _alike([[part(e, end) for e in energies] for end in ("value", "low", "high")], "J")
    (latency,), second = _alike([[row["latency_per_inference_s"] for row in rows]], "s")
    (traffic,), byte = _alike([[row["memory_bytes_per_inference"] for row in rows]], "B")
    products = [part(row["energy_delay_product_js"], "value") for row in rows]
    rates = [row["throughput_inferences_per_s"] for row in rows]
    long = max(len(row["name"]) for row in rows) > 24
    columns = [
        Column("configuration", [_name(row, reference) for row in rows], left=True, wrapped=long),
        Column(f"energy\n{unit}", values),
        Column("low", low),
        Column("high", high),
        Column(f"latency\n{second}", latency),
        Column("inferences\n/s", [_rate(rate) for rate in rates]),
        Column("energy-delay", [None if p is None else engineering(p, "J s") for p in products]),
        Column(f"memory\ntraffic{byte}", traffic),
        Column("cores", [row["cores"] for row in rows]),
        Column("binding", [_binding(row) for row in rows], left=True),
        *([Column("origin", [row["origin"] for row in rows], left=True)] if _mixed(rows) else []),
    ]
    print_columns("One inference", columns, console)
    if reference is not None:
        console.print("*: what the others are compared with")
    if any(row["warnings"] for row in rows):
        console.print("!: with warnings, without which its numbers mislead; they stand below")


def _alike(columns: list[list[float | None]], unit: str) -> tuple[list[list[Cell]], str]:
    """Return columns in one unit, that of the largest of the first, with the unit for the headers.

    Where that would leave a number hardly a digit, each has its own unit.
    """
    first, prefixed = scaled(columns[0], unit)
    least = min((abs(value) for value in columns[0] if value), default=1.0)
    if least < LEAST_IN_ONE_UNIT * Quantity(f"1 {prefixed}").real:
        return [[None if v is None else engineering(v, unit) for v in values] for values in columns], ""
    return [first, *(scaled(values, unit, prefixed)[0] for values in columns[1:])], f"/{prefixed}"


def _mixed(rows: list[Mapping[str, Any]]) -> bool:
    return any(row["origin"] != SIMULATED for row in rows)


def _name(row: Mapping[str, Any], reference: str | None) -> str:
    marks = ("*" if row["name"] == reference else "") + ("!" if row["warnings"] else "")
    return f"{row['name']} {marks}" if marks else str(row["name"])


def _rate(rate: float | None) -> Cell:
    return None if rate is None else f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"


def _binding(row: Mapping[str, Any]) -> str | None:
    if row["binding"] is None:
        return None
    share = row["binding"]["timesteps"] / row["timesteps"]
    return f"{row['binding']['resource']} {100 * share:.0f} %"


def _differences(rows: list[Mapping[str, Any]], reference: str | None, console: Console) -> None:
    others = [row for row in rows if row["name"] != reference]
    for title, key, unit in (
        ("Energy per inference", "energy_difference", "J"),
        ("Time of a timestep", "time_difference", "s"),
    ):
        told = [(row["name"], row[key]) for row in others if row[key] is not None]
        if told:
            console.print()
            console.print(Text(f"{title}, against {reference}", style="bold"))
        for name, difference in told:
            if difference["value"]:
                line = Text.assemble((f"{name}: ", "bold"), _sentence(difference, unit))
                console.print(Padding(line, (0, 0, 0, 1), expand=False))
        same = [name for name, difference in told if not difference["value"]]
        if same:
            line = Text.assemble((f"{_listed(same)}: ", "bold"), "the same")
            console.print(Padding(line, (0, 0, 0, 1), expand=False))


def _sentence(difference: Mapping[str, Any], unit: str) -> str:
    way = "more" if difference["value"] > 0 else "less"
    ratio = "" if difference["ratio"] is None else f" ({difference['ratio']:.3g} times)"
    return f"{engineering(abs(difference['value']), unit)} {way}{ratio}. {difference['sentence']}"
