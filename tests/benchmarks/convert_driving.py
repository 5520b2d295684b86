"""Operations of a convolutional sigma-delta network on the driving clip, the first frame apart.

    NEUROSIM_REFERENCE_DATA=... python tests/benchmarks/convert_driving.py --json driving.json --folder nets

The network is that of driving_net.py. Scales are fitted, without answers, to the frames that trained it and chose its
epoch; errors and operations are those of the frames after them, fed from rest. About ten minutes on one core.
docs/methods.md holds the figures. `--folder` gets networks and frames, which are simulated on Loihi 2 too; then

    neurosim compare nets/sigma-delta.nsnet --chips loihi2 --input nets/frames.npy --baselines cpu,gpu,eyeriss,tpu_v1

sets hardware that computes densely beside it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import numpy as np
from driving_net import AHEAD, PIXEL, REST, WEIGHTS, blocks, clip, driving_graph

import neurosim
from neurosim.compiler import write_network_file
from neurosim.convert import IntegerOptions, ScaleOptions, TuneOptions, convert_rounding, make_plan
from neurosim.convert.convert import Conversion, integer_frames
from neurosim.convert.counting import count_both
from neurosim.convert.passes import run
from neurosim.files import atomic_path
from neurosim.formats.dense_graph import DenseGraph
from neurosim.network import Network

FIXED = (4.0, 8.0, 16.0, 32.0, 64.0)
TRADEOFFS = (1e-9, 1e-8, 1e-7)
WRITTEN = "lambda = 1e-08"
"""The row whose network `--folder` gets."""
COLUMNS = ("dense", "zeros skipped", "rounding, zeros skipped", "rounding adds", "sigma-delta adds", "graded synops")


def operations(found: Conversion, original: Any, frames: Any) -> dict[str, Any]:
    """Return operations of a converted network, per layer that sends.

    Parameters
    ----------
    found
        A sigma-delta conversion.
    original
        The plan of the float network.
    frames
        In floats (frames, 1, 72, 128), fed from rest.

    Returns
    -------
    ``layers``: names; ``first`` and ``later``: float64 (layers, columns), of the first frame and of the mean frame
    after it: synapses of the dense network; synapses that its values other than 0 meet; the same of a rounding
    network; additions of unit spikes of a rounding and of a sigma-delta network; synapses that the latter's graded
    messages meet.
    """
    network = found.network
    structural, _ = network.fan_out
    fans = [structural[a:b] for a, b in zip(network.offsets[:-2], network.offsets[1:-1], strict=True)]
    values = [v.reshape(len(v), -1) for v in run(original, frames.astype(np.float32))[:-1]]
    used = [np.count_nonzero(v[part], axis=0) for part in (slice(1), slice(None)) for v in values]
    table = np.zeros((2, len(fans), len(COLUMNS)))
    for which, part in enumerate((slice(1), slice(None))):
        by_values, by_changes = count_both(network, integer_frames(frames[part], PIXEL))
        table[which, :, 0] = [fan.sum() * len(frames[part]) for fan in fans]
        table[which, :, 1] = [n @ fan for n, fan in zip(used[which * len(fans) :], fans, strict=False)]
        table[which, :, 2] = by_values.graded_synops[:-1]
        table[which, :, 3] = by_values.unit_adds[:-1]
        table[which, :, 4] = by_changes.unit_adds[:-1]
        table[which, :, 5] = by_changes.graded_synops[:-1]
    later = (table[1] - table[0]) / (len(frames) - 1)
    return {"layers": [layer.name for layer in network.layers[:-1]], "first": table[0], "later": later}


def convert(graph: DenseGraph, calibration: Any, frames: Any, **scales: Any) -> Conversion:
    """Convert to a sigma-delta network with 8-bit weights, and report on `frames`."""
    integers = IntegerOptions(input_scale=PIXEL)
    return convert_rounding(graph, calibration, integers=integers, test=(frames, None), **scales)


def grey_levels(values: Any, wanted: Any) -> float:
    """Return the root of the mean squared difference, in grey levels."""
    return float(np.sqrt(((values - wanted) ** 2).mean()) / PIXEL)


def say(row: dict[str, Any]) -> None:
    """Print a row: errors, then operations in thousands by layer, of the first frame and of the mean later one."""
    scales = ", ".join(f"{k:.1f}" for k in row["scales"])
    click.echo(
        f"\n{row['name']}: k {scales}; off by {row['off_by_grey_levels']:.3f} grey levels (original's spread: "
        f"{row['output_error']:.4f}); prediction {row['prediction_grey_levels']:.3f}, in floats "
        f"{row['original_prediction_grey_levels']:.3f}, unchanged {row['unchanged_grey_levels']:.3f}"
    )
    click.echo("| frame | layer | " + " | ".join(COLUMNS) + " |")
    for when in ("first", "later"):
        table = np.array(row[when])
        for layer, line in zip([*row["layers"], "all"], [*table, table.sum(axis=0)], strict=True):
            click.echo(f"| {when} | {layer} | " + " | ".join(f"{v / 1e3:.1f}" for v in line) + " |")
    rounding, changes = np.array(row["later"])[0, 3:5]
    click.echo(f"input layer, additions of rounding over those of changes: {rounding / changes:.1f}")


def simulate(kind: str, network: Network, frames: Any) -> None:
    """Print what the first frame of a sigma-delta network, and the mean later one, take on Loihi 2."""
    program = neurosim.compile(network, "loihi2")
    steady = neurosim.simulate(program, frames)
    energy = steady.energy_inference
    click.echo(
        f"{kind} on loihi2: a later frame {energy.total_j.value * 1e6:.2f} uJ, dynamic "
        f"{energy.dynamic_j.value * 1e6:.2f}, answer after {steady.latency_inference_s * 1e6:.1f} us, "
        f"{steady.throughput_inferences_per_s:.0f} a second"
    )
    if kind != "sigma-delta":
        return  # Held, its frame is sent again in every timestep.
    first = neurosim.simulate(program, frames[:1], steps=1 + max(network.layer_delays.values()))
    click.echo(
        f"first frame, alone: {first.energy_run.total_j.value * 1e6:.2f} uJ, dynamic "
        f"{first.energy_run.dynamic_j.value * 1e6:.2f}, answer after {first.counts.duration_ps.sum() / 1e6:.1f} us"
    )


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False))
def main(path: Path | None, folder: Path | None) -> None:
    """Print and write the figures."""
    every = clip(Path(os.environ["NEUROSIM_REFERENCE_DATA"]))
    with np.load(WEIGHTS) as file:
        graph = driving_graph(dict(file))
    frames = every[REST] * PIXEL
    calibration = every[: REST.start] * PIXEL
    future = blocks(every)[REST][AHEAD:]
    original, rows = make_plan(graph), []
    exact = run(original, frames.astype(np.float32))[-1]
    settings: list[tuple[str, dict[str, Any]]] = [(f"k = {k:g}", {"scales": k}) for k in FIXED]
    for tradeoff in TRADEOFFS:
        options = ScaleOptions(tradeoff=tradeoff, answer="values", batch=10, epochs=40, rate=0.1, least_steps=1)
        settings.append((f"lambda = {tradeoff:g}", {"options": options}))
        tuning = {"weights": "tuned", "tuning": TuneOptions(batch=10, epochs=20)}
        settings.append((f"lambda = {tradeoff:g}, tuned", {"options": options, **tuning}))
    for name, given in settings:
        found = convert(graph, calibration, frames, **given)
        table = operations(found, original, frames)
        _, by_changes = count_both(found.network, integer_frames(frames, PIXEL))
        answers = (by_changes.answers / found.answer_scale).reshape(exact.shape)
        row = {
            "name": name,
            "scales": [float(k.mean()) for k in found.scales],
            "output_error": found.report.output_error,
            "off_by_grey_levels": grey_levels(answers, exact),
            "prediction_grey_levels": grey_levels(answers[:-AHEAD], future),
            "original_prediction_grey_levels": grey_levels(exact[:-AHEAD], future),
            "unchanged_grey_levels": grey_levels(blocks(every)[REST][:-AHEAD], future),
            "message_bits": found.report.message_bits,
            "layers": table["layers"],
            "first": table["first"].tolist(),
            "later": table["later"].tolist(),
        }
        rows.append(row)
        say(row)
        if folder and name == WRITTEN:
            folder.mkdir(parents=True, exist_ok=True)
            integers = integer_frames(frames, PIXEL)
            with atomic_path(folder / "frames.npy") as part, part.open("wb") as file_out:
                np.save(file_out, integers.reshape(-1, *frames.shape[1:]).astype(np.int16))
            values = IntegerOptions(changes=False, input_scale=PIXEL)
            rounding = convert_rounding(graph, calibration[:1], scales=found.scales, integers=values)
            for kind, one in (("sigma-delta", found), ("rounding", rounding)):
                write_network_file(one.network, folder / f"{kind}.nsnet")
                simulate(kind, one.network, integers)
    if path:
        with atomic_path(path) as part:
            part.write_text(json.dumps({"columns": COLUMNS, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
