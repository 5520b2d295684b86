"""A comparison as plain values of schema ``neurosim.comparison/1``, as JSON, and as CSV tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import neurosim
from neurosim.costs import Interval
from neurosim.explore.compare import Comparison
from neurosim.explore.explain import Difference, energy_difference, time_difference
from neurosim.explore.rows import Row
from neurosim.files import atomic_path, make_folder, together
from neurosim.formats import reader_options
from neurosim.report import Origin
from neurosim.report.origin import chip_sha256

SCHEMA = "neurosim.comparison/1"

CSV_FILES = ("comparison.csv", "comparison_terms.csv", "comparison_differences.csv")


def describe(comparison: Comparison, notes: tuple[str, ...] = (), origin: Origin | None = None) -> dict[str, Any]:
    """Return a comparison as plain values: dict, list, str, int, float, None.

    Parameters
    ----------
    comparison
        What to describe.
    notes
        Sentences for the reader, put before the comparison's own.
    origin
        The files behind the runs; None where they are not known.
    """
    origin = origin or Origin()
    reference = comparison.reference
    return {
        "schema": SCHEMA,
        "version": neurosim.__version__,
        "model": comparison.network.name,
        "model_sha256": origin.model_sha256,
        "input": {
            "file": origin.input_file,
            "sha256": origin.input_sha256,
            "frames": comparison.frames,
            "layout": origin.input_layout,
        },
        "options": reader_options(comparison.network),
        "seed": comparison.seed,
        "steps_per_inference": comparison.steps_per_inference,
        "fidelity": comparison.fidelity,
        "functional_passes": comparison.functional_passes,
        "timing_passes": comparison.timing_passes,
        "reference": None if reference is None else reference.name,
        "rows": [_row(row, reference) for row in comparison.rows],
        "notes": [*notes, *comparison.notes],
    }


def _row(row: Row, reference: Row | None) -> dict[str, Any]:
    energy = _ends(row.energy_j)
    return {
        "name": row.name,
        "chip": row.chip,
        "origin": row.origin,
        "settings": dict(row.settings),
        "messages": row.messages,
        "chip_sha256": None if row.result is None else chip_sha256(row.result.chip),
        "reason": row.reason,
        "timesteps": row.timesteps,
        "energy_per_inference_j": None if energy is None else energy | dict(row.parts_j),
        "latency_per_inference_s": row.latency_s,
        "throughput_inferences_per_s": row.throughput_per_s,
        "energy_delay_product_js": _ends(row.energy_delay_js),
        "timestep_s": row.timestep_s,
        "memory_bytes_per_inference": row.memory_bytes,
        "cores": row.cores,
        "binding": None if row.binding is None else {"resource": row.binding[0], "timesteps": row.binding[1]},
        "provenance": dict(row.provenance),
        "energy_terms": [
            {
                "key": term.key,
                "group": term.group,
                "events_per_inference": term.events,
                "energy_j": term.energy_j.value,
                "low": term.energy_j.low,
                "high": term.energy_j.high,
            }
            for term in row.terms
        ],
        "critical_path_s": dict(row.path_s),
        "energy_difference": None if reference is None else _difference(energy_difference(row, reference)),
        "time_difference": None if reference is None else _difference(time_difference(row, reference)),
        "warnings": list(row.warnings),
        "notes": list(row.notes),
        "gaps": list(row.gaps),
    }


def _ends(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else {"value": interval.value, "low": interval.low, "high": interval.high}


def _difference(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    return {
        "value": difference.value,
        "ratio": difference.ratio,
        "parts": [
            {
                "what": part.what,
                "difference": part.difference,
                "share": part.share,
                "by_number": part.by_number,
                "by_price": part.by_price,
            }
            for part in difference.parts
        ],
        "sentence": difference.sentence(),
    }


def write_json(described: Mapping[str, Any], path: str | Path) -> None:
    """Write a comparison as JSON; equal comparisons give equal bytes.

    Raises
    ------
    InputError
        The folder does not exist or cannot be written.
    """
    text = json.dumps(described, indent=1, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as part:
        part.write_text(text + "\n", encoding="utf-8", newline="\n")


def write_csv(described: Mapping[str, Any], folder: str | Path) -> None:
    """Write `CSV_FILES` into `folder`, which is made if it is missing.

    Raises
    ------
    InputError
        The folder cannot be made or written.
    """
    folder = Path(folder)
    tables = zip(CSV_FILES, (_costs(described), _terms(described), _differences(described)), strict=True)
    with together():
        make_folder(folder)
        for name, records in tables:
            with atomic_path(folder / name) as part, part.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(records)


def _costs(described: Mapping[str, Any]) -> Iterator[list[Any]]:
    parts = dict.fromkeys(part for row in described["rows"] for part in row["energy_per_inference_j"] or {})
    nested = {
        "energy_per_inference": ("energy_per_inference_j", tuple(parts or ("value",)), "_j"),
        "energy_delay_product": ("energy_delay_product_js", ("value", "low", "high"), "_js"),
    }
    plain = (
        "latency_per_inference_s", "throughput_inferences_per_s", "timestep_s", "memory_bytes_per_inference", "cores",
        "timesteps",
    )  # fmt: skip
    keys = list(dict.fromkeys(key for row in described["rows"] for key in row["settings"]))
    yield [
        "name", "chip", "origin", "reason", "messages",
        *(
            f"{name}{'' if part == 'value' else f'_{part}'}{unit}"
            for name, (_, inner, unit) in nested.items()
            for part in inner
        ),
        *plain, "binding", "binding_timesteps", *keys,
    ]  # fmt: skip
    for row in described["rows"]:
        binding = row["binding"] or {}
        yield [
            *(row[key] for key in ("name", "chip", "origin", "reason", "messages")),
            *((row[key] or {}).get(part) for key, inner, _ in nested.values() for part in inner),
            *(row[key] for key in plain),
            binding.get("resource"),
            binding.get("timesteps"),
            *(row["settings"].get(key) for key in keys),
        ]


def _terms(described: Mapping[str, Any]) -> Iterator[list[Any]]:
    names = ("key", "group", "events_per_inference", "energy_j", "low", "high")
    yield ["name", *names[:3], "energy_per_inference_j", "low_j", "high_j"]
    for row in described["rows"]:
        for term in row["energy_terms"]:
            yield [row["name"], *(term[name] for name in names)]


def _differences(described: Mapping[str, Any]) -> Iterator[list[Any]]:
    names = ("what", "difference", "share", "by_number", "by_price")
    yield ["name", "reference", "of", "unit", *names]
    for row in described["rows"]:
        for of, unit in (("energy", "J"), ("time", "s")):
            difference = row[f"{of}_difference"]
            for part in difference["parts"] if difference else ():
                yield [row["name"], described["reference"], of, unit, *(part[name] for name in names)]
