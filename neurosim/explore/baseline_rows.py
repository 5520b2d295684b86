"""Rows of a comparison that are worked out by formulas: hardware that computes densely."""

from __future__ import annotations

from collections.abc import Sequence

from neurosim.costs import BaselineCost, baseline_cost
from neurosim.explore.rows import Row, Term, group_of
from neurosim.network import Network

FORMULAS = "formulas"
"""Origin of these rows."""


def baseline_rows(network: Network, names: Sequence[str], frames: int = 1) -> tuple[Row, ...]:
    """Return what one inference costs on each baseline; see `neurosim.costs.baseline_cost`.

    Parameters
    ----------
    network
        What to cost.
    names
        Names of baselines, or paths of their files.
    frames
        Frames that one inference takes in.

    Raises
    ------
    ChipError, ModelError
        A baseline is unknown, its file wrong, or the network has what it cannot take.
    """
    return tuple(_row(baseline_cost(network, name, frames)) for name in names)


def _row(cost: BaselineCost) -> Row:
    latency = cost.latency_s
    energy = cost.energy_j
    traffic = cost.traffic_bytes
    return Row(
        name=cost.baseline.name,
        chip=cost.baseline.name,
        origin=FORMULAS,
        energy_j=energy,
        latency_s=latency,
        throughput_per_s=cost.throughput_per_s,
        energy_delay_js=None if latency is None else energy.scaled(latency),
        memory_bytes=sum(traffic.values()) if traffic else None,
        terms=tuple(Term(term.key, group_of(term.key), term.energy_j, float(term.counts.sum())) for term in cost.terms),
        provenance=cost.provenance,
        notes=cost.notes,
        gaps=tuple(cost.baseline.gaps),
    )
