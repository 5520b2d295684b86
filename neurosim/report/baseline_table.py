"""What one inference costs on baselines: a summary for machines, and tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from neurosim.costs import BaselineCost, Interval
from neurosim.report.layout import NOTHING, Column, counted, engineering, percent, print_columns, print_list

SCHEMA = "neurosim.baselines/1"


def summarise_baselines(costs: Sequence[BaselineCost], notes: Iterable[str] = ()) -> dict[str, Any]:
    """Return costs as plain values, ready for JSON; docs/baselines.md says what each name means.

    Parameters
    ----------
    costs
        Of one network, with the same frames, batch and widths.
    notes
        Sentences of the network's reader.
    """
    first = costs[0]
    return {
        "schema": SCHEMA,
        "network": first.network,
        "frames_per_inference": int(first.frames),
        "batch": int(first.batch),
        "activation_bits": int(first.activation_bits),
        "weight_bits": int(first.weight_bits),
        "notes": list(notes),
        "baselines": [_summary(cost) for cost in costs],
    }


def _summary(cost: BaselineCost) -> dict[str, Any]:
    return {
        "baseline": cost.baseline.name,
        "title": cost.baseline.title,
        "style": cost.baseline.style,
        "zeros": cost.zeros,
        "macs_per_inference": cost.macs,
        "macs_done_per_inference": cost.macs_done,
        "energy_per_inference_j": _interval(cost.energy_j),
        "energy_provenance": cost.provenance,
        "latency_at_least_s": cost.latency_s,
        "throughput_at_most_inferences_per_s": cost.throughput_per_s,
        "traffic_bytes_per_inference": cost.traffic_bytes,
        "energy_terms": [
            {
                "key": term.key,
                "kind": term.kind,
                "source": term.source,
                "events_per_inference": float(term.counts.sum()),
                "energy_per_inference_j": _interval(term.energy_j),
            }
            for term in cost.terms
        ],
        "layers": [asdict(layer) for layer in cost.layers],
        "notes": list(cost.notes),
        "gaps": list(cost.baseline.gaps),
    }


def _interval(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def print_baselines(costs: Sequence[BaselineCost], notes: Iterable[str], console: Console) -> None:
    """Print costs side by side: energy and time, then each term and memory, then what to know about them.

    Parameters
    ----------
    costs
        Of one network, with the same frames, batch and widths.
    notes
        Sentences of the network's reader.
    console
        Where to.
    """
    first = costs[0]
    console.print(Text(f"{first.network}: one inference computed densely", style="bold"))
    console.print(
        f"{counted(int(first.frames), 'frame')} an inference, batch of {first.batch}, "
        f"{first.activation_bits}-bit activations, {first.weight_bits}-bit weights"
    )
    names = [_name(cost) for cost in costs]
    energies = [cost.energy_j for cost in costs]
    columns = [
        Column("baseline", names, left=True),
        Column("energy", [engineering(energy.value, "J") for energy in energies]),
        Column("range", [_range(energy) for energy in energies]),
        Column("latency\nat least", [_optional(cost.latency_s, "s") for cost in costs]),
        Column("inferences/s\nat most", [_rate(cost.throughput_per_s) for cost in costs]),
        Column("MACs", [engineering(cost.macs, "") for cost in costs]),
        Column("MACs\ndone", [engineering(cost.macs_done, "") for cost in costs]),
        Column("rests on", [_kinds(cost.provenance) for cost in costs], wrapped=True),
    ]
    print_columns("Cost of one inference", columns, console)
    _terms(costs, console)
    _traffic(costs, console)
    said = [f"{name}: {note}" for name, cost in zip(names, costs, strict=True) for note in cost.notes]
    print_list("Notes", [*notes, *said], console)
    gaps = dict.fromkeys(f"{cost.baseline.name}: {gap}" for cost in costs for gap in cost.baseline.gaps)
    print_list("What is not published about them", gaps, console)


def _terms(costs: Sequence[BaselineCost], console: Console) -> None:
    rows = [(cost, term) for cost in costs for term in cost.terms]
    totals = [cost.energy_j.value for cost, _ in rows]
    columns = [
        Column("baseline", [_name(cost) for cost, _ in rows], left=True),
        Column("term", [term.key.rpartition(".")[2] for _, term in rows], left=True),
        Column("events", [_events(term.key, float(term.counts.sum())) for _, term in rows]),
        Column("energy", [engineering(term.energy_j.value, "J") for _, term in rows]),
        Column("range", [_range(term.energy_j) for _, term in rows], spare=True),
        Column(
            "share\n/%",
            [
                percent(term.energy_j.value / total) if total else None
                for (_, term), total in zip(rows, totals, strict=True)
            ],
        ),
        Column("kind", [term.kind for _, term in rows], left=True),
    ]
    print_columns("Energy by term", columns, console)


def _traffic(costs: Sequence[BaselineCost], console: Console) -> None:
    rows = [(cost, memory, held) for cost in costs for memory, held in cost.traffic_bytes.items()]
    if not rows:
        return
    columns = [
        Column("baseline", [_name(cost) for cost, _, _ in rows], left=True),
        Column("memory", [memory for _, memory, _ in rows], left=True),
        Column("traffic", [engineering(held, "B") for _, _, held in rows]),
    ]
    print_columns("Traffic of one inference, read and written", columns, console)


def _name(cost: BaselineCost) -> str:
    return f"{cost.baseline.name}, zeros {cost.zeros}" if cost.zeros else cost.baseline.name


def _range(interval: Interval) -> str:
    if interval.low == interval.high:
        return NOTHING
    return f"{engineering(interval.low, 'J')} to {engineering(interval.high, 'J')}"


def _optional(value: float | None, unit: str) -> str | None:
    return None if value is None else engineering(value, unit)


def _rate(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:,.4g}" if rate < 1000 else f"{rate:,.0f}"


def _events(key: str, count: float) -> str:
    return engineering(count, "s" if key.startswith("systolic.") else "")


def _kinds(shares: dict[str, float]) -> str:
    return ", ".join(f"{percent(share)} % {kind}" for kind, share in shares.items() if share)
