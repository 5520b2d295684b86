"""A row of a comparison: what one inference costs in one configuration, simulated or known from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurosim.costs import Interval, Result
from neurosim.engine import Resource
from neurosim.engine.counters import StepCount
from neurosim.explore.configurations import Configuration
from neurosim.report import summarise

SIMULATED = "simulated"
PS_PER_S = 10**12

_GROUPS = (
    ("core.encodings.", "synapse memory reads"),
    ("core.neuron.update_", "neuron updates"),
    ("core.neuron.send_", "sending"),
    ("core.axon_", "axon look-ups"),
    ("network.", "network"),
    ("chips.", "network"),
    ("power.", "power: "),
    ("operations.terms.", "operations: "),
    ("row_stationary.relative.", "array: "),
    ("systolic.", "systolic array: "),
)


@dataclass(frozen=True)
class Term:
    """A part of the energy per inference.

    Attributes
    ----------
    key
        Its constant's key, or another name where it rests on none.
    group
        What it is for, in words that mean the same for every chip.
    energy_j
        Of a steady inference.
    events
        How many of them a steady inference has, or for a power the seconds that it flows; None where it is not known.
    """

    key: str
    group: str
    energy_j: Interval
    events: float | None = None

    @property
    def timed(self) -> bool:
        """Whether its constant is a power."""
        return self.key.startswith("power.")


@dataclass(frozen=True)
class Row:
    """What one inference costs in one configuration.

    Rows that are not simulated, such as baselines by energy per operation, are made by whoever knows them, with an
    `origin` of their own; what they do not know stays None, and nothing is said about it.

    Attributes
    ----------
    name
        Of the configuration.
    chip
        Name of the chip, or of the machine.
    origin
        `SIMULATED`, or in a word how the numbers came about.
    settings
        Values put in place of the chip's, by dotted key.
    messages
        How messages with a value went; None where the row is no simulation.
    reason
        Why there are no numbers; None where there are.
    energy_j
        Of a steady inference.
    parts_j
        Its parts in J by name, at the constants' values, such as ``dynamic`` and ``static``.
    latency_s, throughput_per_s
        Of a steady inference, as in `Result`.
    energy_delay_js
        Energy times latency.
    timestep_s
        Mean length of a steady timestep.
    memory_bytes
        Read and written by a steady inference, all memories.
    cores
        Used.
    binding
        Resource that binds most timesteps, and how many.
    timesteps
        Of the run.
    terms
        Parts of the energy; they add up to it.
    path_s
        Mean time that each resource takes on the critical path of a steady timestep, by label; empty where timesteps
        are not as long as their paths, or it is not known.
    provenance
        Shares of the energy by kind of constant.
    warnings, notes, gaps
        Sentences: without which the numbers mislead; that a reader should know; on what is not published.
    result
        The run, where there was one.
    """

    name: str
    chip: str
    origin: str = SIMULATED
    settings: Mapping[str, str] = field(default_factory=dict)
    messages: str | None = None
    reason: str | None = None
    energy_j: Interval | None = None
    parts_j: Mapping[str, float] = field(default_factory=dict)
    latency_s: float | None = None
    throughput_per_s: float | None = None
    energy_delay_js: Interval | None = None
    timestep_s: float | None = None
    memory_bytes: float | None = None
    cores: int | None = None
    binding: tuple[str, int] | None = None
    timesteps: int | None = None
    terms: tuple[Term, ...] = ()
    path_s: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    result: Result | None = field(default=None, repr=False, compare=False)


def group_of(key: str) -> str:
    """Return what a constant's energy is for, in words that mean the same for every chip."""
    for start, group in _GROUPS:
        if key.startswith(start):
            rest = key.removeprefix(start).replace("_", " ").replace(".", " ")
            return "static power" if key == "power.static" else group + rest if group.endswith(" ") else group
    return key


def row_of(result: Result, configuration: Configuration) -> Row:
    """Return the row of a run; its numbers are those of the run's summary.

    Parameters
    ----------
    result
        The run.
    configuration
        What ran.
    """
    summary = summarise(result)
    energy, product = summary["energy_per_inference_j"], summary["energy_delay_product_js"]
    bound = Counter(label for label in summary["per_timestep"]["binding"] if label is not None)
    terms = [
        Term(term["key"], group_of(term["key"]), _interval(term, "energy_j"), _events(term))
        for term in summary["energy_terms"]
        if term["energy_j"] is not None
    ]
    return Row(
        name=configuration.name,
        chip=configuration.chip.name,
        settings=configuration.settings,
        messages=configuration.messages,
        energy_j=None if energy is None else _interval(energy, "value"),
        parts_j={name: part for name, part in (energy or {}).items() if name not in ("value", "low", "high")},
        latency_s=summary["latency_per_inference_s"],
        throughput_per_s=summary["throughput_inferences_per_s"],
        energy_delay_js=None if product is None else _interval(product, "value"),
        timestep_s=summary["timestep_s"]["steady_mean"],
        memory_bytes=result.memory_bytes_inference,
        cores=result.program.cores,
        binding=bound.most_common(1)[0] if bound else None,
        timesteps=summary["timesteps"],
        terms=tuple(terms),
        path_s=_path_s(result),
        provenance=summary["provenance"] if energy is not None else {},
        warnings=tuple(summary["warnings"]),
        notes=tuple(note for note in summary["notes"] if note not in summary["warnings"]),
        gaps=tuple(summary["gaps"]),
        result=result,
    )


def _events(term: Mapping[str, Any]) -> float | None:
    events: float | None = term["events_per_inference"]
    return term.get("seconds_per_inference") if events is None else events


def _interval(record: Mapping[str, Any], value: str) -> Interval:
    return Interval(record[value], record["low"], record["high"])


def _path_s(result: Result) -> dict[str, float]:
    """Return the mean time by resource on the critical paths of steady timesteps."""
    counts, window = result.counts, result.window
    span = slice(window.time_start, window.time_stop)
    if not window.steady or counts.step_counts[:, StepCount.LATE_PS].any():
        return {}
    mean_ps = np.asarray(counts.path_ps[span].mean(axis=0))
    return {resource.label: float(mean_ps[resource]) / PS_PER_S for resource in Resource if mean_ps[resource]}
