"""One network of each method on Loihi 2, on SpiNNaker and on a dense accelerator: the table of docs/methods.md.

    python tests/benchmarks/compare_methods.py [--json methods.json] [--markdown methods.md]

The networks are the shipped workloads with their frames. On SpiNNaker, whose packets carry no value, messages go as
unit spikes. Dense hardware computes the network's dense equivalent once an inference, zeros like other values: for
recurrent networks an inference is a frame, and the timesteps in which a spiking network sees one sample are one pass,
since a dense network needs no more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from neurosim import load
from neurosim.api import input_layer
from neurosim.errors import NeurosimError
from neurosim.explore import baseline_rows, compare, configurations
from neurosim.files import atomic_path
from neurosim.formats import read_frames
from neurosim_traces import workload

CHIPS = ("loihi2", "spinnaker")
DENSE = ("eyeriss", "mcu")


@dataclass(frozen=True)
class Method:
    """A method, its workload, what one inference is, and the timesteps that it takes in."""

    words: str
    name: str
    inference: str
    timesteps: int = 1


METHODS = (
    Method("rounding", "digits_rounding", "an image"),
    Method("sigma-delta", "digits_sigma_delta", "an image"),
    Method("fixed point, 8 bits", "digits_fixed_point", "an image"),
    Method("sigma-delta in lava's form", "steering", "a frame"),
    Method("delta GRU", "sounds", "a frame"),
    Method("leaky integrate-and-fire", "digits_spiking", "an image", 8),
    Method("hybrid LMU", "pixels", "a pixel"),
)


def rows_of(method: Method) -> list[dict[str, Any]]:
    """Return a row for each chip and each dense baseline."""
    found = workload(method.name)
    network = load(found.model_path)
    fed = read_frames(found.frames_path, input_layer(network))
    rows: list[dict[str, Any]] = []

    def add(**values: Any) -> None:
        rows.append({"method": method.words, "workload": method.name, "inference": method.inference, **values})

    for chip in CHIPS:
        # Each alone: what a chip takes of unit spikes is no business of the other.
        messages = {} if chip == "loihi2" else {chip: "units"}
        chosen = configurations([chip], {}, messages)
        try:
            row = compare(network, chosen, fed, None, method.timesteps).rows[0]
        except NeurosimError as error:
            add(on=chip, reason=str(error))
            continue
        energy = row.energy_j
        add(
            on=chip, reason=row.reason, energy_j=energy and vars(energy), latency_s=row.latency_s,
            binding=row.binding and row.binding[0], cores=row.cores, warnings=list(row.warnings),
        )  # fmt: skip
    for row in baseline_rows(network, DENSE, 1):
        add(on=row.name, reason=None, energy_j=row.energy_j and vars(row.energy_j), latency_s=row.latency_s)
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table: a line a method."""
    out = [
        "| method, workload, one inference | "
        + " | ".join(f"{name}: uJ, us" for name in (*CHIPS, *DENSE))
        + " | least |",
        "|---|" + "---|" * (len(CHIPS) + len(DENSE) + 1),
    ]
    for method in METHODS:
        mine = {row["on"]: row for row in rows if row["workload"] == method.name}
        known = {name: row["energy_j"]["value"] for name, row in mine.items() if row.get("energy_j")}
        cells = [_cell(mine[name]) for name in (*CHIPS, *DENSE)]
        least = min(known, key=lambda name: known[name])
        out.append(f"| {method.words}, `{method.name}`, {method.inference} | {' | '.join(cells)} | {least} |")
    return "\n".join(out) + "\n"


def _cell(row: dict[str, Any]) -> str:
    """Return energy with its interval, and latency."""
    if row.get("energy_j") is None:
        return "does not fit"
    value, low, high = (f"{row['energy_j'][key] * 1e6:,.4g}" for key in ("value", "low", "high"))
    cell = f"{value} ({low} to {high})"
    if row.get("warnings"):
        return cell + ", does not keep up"
    if row["latency_s"] is None:
        return cell
    latency_us = float(f"{row['latency_s'] * 1e6:.3g}")
    return f"{cell}, {latency_us:,g}"


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path))
@click.option("--markdown", "markdown_file", type=click.Path(path_type=Path))
def main(json_file: Path | None, markdown_file: Path | None) -> None:
    """Print the table, and write it."""
    rows = [row for method in METHODS for row in rows_of(method)]
    table = markdown(rows)
    click.echo(table)
    for path, text in ((json_file, json.dumps(rows, indent=1) + "\n"), (markdown_file, table)):
        if path:
            with atomic_path(path) as part:
                part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
