"""Makes the workload: draws the sounds, trains the network, measures it in floats and in integers, writes the files.

Run it where neurosim is installed:

    python -m neurosim_traces.sounds.make FOLDER

Everything comes from the seeds below. With the same numpy on the same processor the files come out the same; elsewhere
sums may round differently, and the weights with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import write_network_file
from neurosim.convert import (
    DeltaTraining,
    GatedFormats,
    GatedNetwork,
    GatedReport,
    describe_gated,
    run_delta_gru,
    to_gated,
    train_delta,
)
from neurosim.files import atomic_path
from neurosim.formats.dense_graph import DenseGraph, Gru, Input, Linear

from .draw import BANDS, FRAMES, KINDS, UNITS_PER_ONE, Sounds, draw_sounds

TRAINING_SEED, TRAINING_SOUNDS = 1_000, 1500
VALIDATION_SEED, VALIDATION_SOUNDS = 2_000, 300
TEST_SEED, TEST_SOUNDS = 3_000, 300
SHIPPED_SOUNDS = 30
"""Of the test sounds, the first; the clip is the very first."""
HIDDEN, WEIGHTS_SEED = 32, 7
THRESHOLDS = (0.0625, 0.125, 0.25)
"""Tried; see README.md for how one is chosen."""
DENSE = DeltaTraining(0.0, 0.0, epochs=20, rate=5e-3, seed=1)


def fine(threshold: float) -> DeltaTraining:
    """Return the second training, through a threshold."""
    return DeltaTraining(threshold, threshold, sparsity=0.01, noise=threshold / 2, epochs=10, rate=2e-3, seed=2)


def untrained() -> tuple[Gru, Linear]:
    """Return the network before training: uniform weights, as PyTorch begins."""
    random = np.random.Generator(np.random.PCG64(WEIGHTS_SEED))
    reach = 1.0 / np.sqrt(HIDDEN)

    def some(*shape: int) -> NDArray[np.float64]:
        return np.asarray(reach * (2.0 * random.random(shape) - 1.0))

    gru = Gru(
        "gru", ("bands",), some(3 * HIDDEN, BANDS), some(3 * HIDDEN, HIDDEN), some(3 * HIDDEN), some(3 * HIDDEN)
    )  # fmt: skip
    return gru, Linear("kind", ("gru",), some(len(KINDS), HIDDEN), some(len(KINDS)))


def graph_of(gru: Gru, readout: Linear) -> DenseGraph:
    """Return the float network."""
    return DenseGraph([Input("bands", (), (BANDS,)), gru, readout], name="sounds")


def real(sounds: Sounds) -> NDArray[np.float64]:
    """Return frames as the loudness that they stand for."""
    return sounds.frames / np.float64(UNITS_PER_ONE)


def train(sounds: Sounds, progress: Any = None) -> dict[float, tuple[Gru, Linear]]:
    """Return the network trained without thresholds (at 0.0), and from there through each of `THRESHOLDS`."""
    lengths = np.full(len(sounds.kind), FRAMES)
    dense = train_delta(*untrained(), real(sounds), lengths, sounds.kind, DENSE, progress)
    found = {0.0: dense}
    for threshold in THRESHOLDS:
        found[threshold] = train_delta(*dense, real(sounds), lengths, sounds.kind, fine(threshold), progress)
    return found


def accuracy(gru: Gru, readout: Linear, sounds: Sounds, threshold: float) -> tuple[float, float]:
    """Return the accuracy in % and the reduction of the float delta GRU, by the mean state."""
    run = run_delta_gru(gru, real(sounds), np.full(len(sounds.kind), FRAMES), threshold, threshold)
    answers = run.states.mean(axis=1) @ readout.weight.T + readout.bias
    return float((answers.argmax(axis=1) == sounds.kind).mean() * 100), run.reduction(gru)


def convert(gru: Gru, readout: Linear, threshold: float) -> GatedNetwork:
    """Return the network in the accelerator's number formats, with a read-out of the mean state.

    Its weights have 7 bits of fraction there; where the largest does not fit, all have fewer.
    """
    reach = max(float(np.abs(weights).max()) for weights in (gru.weight_ih, gru.weight_hh))
    fraction = next(f for f in range(7, -1, -1) if np.rint(reach * 2**f) <= GatedFormats().largest_weight)
    return to_gated(graph_of(gru, readout), threshold, GatedFormats(weight_fraction=fraction), "mean")


def measure(found: dict[float, tuple[Gru, Linear]], sounds: Sounds) -> dict[str, dict[str, float]]:
    """Return accuracy and reduction at each threshold, in floats and in integers."""
    out = {}
    for threshold, network in found.items():
        floats = accuracy(*network, sounds, threshold)
        report: GatedReport = describe_gated(convert(*network, threshold), real(sounds), sounds.kind)
        assert report.error_percent is not None
        assert report.reduction is not None
        out[f"{threshold:g}"] = {
            "float_percent": floats[0], "float_reduction": floats[1], "percent": 100.0 - report.error_percent,
            "reduction": report.reduction,
        }  # fmt: skip
    return out


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(folder: Path) -> None:
    """Make the workload in FOLDER."""
    found = train(draw_sounds(TRAINING_SEED, TRAINING_SOUNDS))
    validation = measure(found, draw_sounds(VALIDATION_SEED, VALIDATION_SOUNDS))
    # The largest threshold that costs at most a point of the float network's accuracy without one.
    least = validation["0"]["float_percent"] - 1.0
    threshold = max(t for t in found if validation[f"{t:g}"]["percent"] >= least)
    sounds = draw_sounds(TEST_SEED, TEST_SOUNDS)
    network = convert(*found[threshold], threshold)
    report = describe_gated(network, real(sounds), sounds.kind)
    write_network_file(network.network, folder / "network.nsnet")
    with atomic_path(folder / "frames.npz") as part, part.open("wb") as file:
        np.savez_compressed(
            file, frames=sounds.frames[0], sounds=sounds.frames[:SHIPPED_SOUNDS], kind=sounds.kind[:SHIPPED_SOUNDS]
        )
    text = {
        "threshold": threshold,
        "validation": validation,
        "test": measure({0.0: found[0.0], threshold: found[threshold]}, sounds),
        "messages_per_frame": report.messages,
        "message_bits": report.message_bits,
        "sum_bits": report.sum_bits,
        "weight_fraction": network.formats.weight_fraction,
        "answer_scale": network.answer_scale,
        "made_with": {"numpy": np.__version__},
    }
    with atomic_path(folder / "accuracy.json") as part:
        part.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(text, indent=1))


if __name__ == "__main__":
    main()
