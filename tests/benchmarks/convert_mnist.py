"""Rounding and sigma-delta conversion of the reference MNIST network: fixed scales, and the lambda sweep.

    NEUROSIM_REFERENCE_DATA=... python tests/benchmarks/convert_mnist.py --json sweep.json

Scales and weights are fitted to training images in temporal order, without labels; errors and operations are those of
the test images in temporal order, in 8-bit weights. On one core about a minute for each lambda. docs/methods.md holds
the figures.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import click
import numpy as np

from neurosim.convert import IntegerOptions, ScaleOptions, TuneOptions, convert_rounding, temporal_order
from neurosim.files import atomic_path
from neurosim.formats.dense_graph import Activation, DenseGraph, Input, Linear, Node

TRADEOFFS = tuple(10.0 ** np.arange(-9.0, -5.4, 0.5))
FIXED = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
PIXEL = 1 / 255


def reference_graph(folder: Path) -> DenseGraph:
    """784-200-200-10 with ReLU, from the reference weights."""
    with np.load(folder / "weights_f32.npz") as file:
        arrays = {name: file[name].astype(np.float64) for name in file.files}
    nodes: list[Node] = [Input("pixels", (), (784,))]
    for i in range(3):
        nodes.append(Linear(f"fc{i + 1}", (nodes[-1].name,), arrays[f"w{i}"].T, arrays[f"b{i}"]))
        if i < 2:
            nodes.append(Activation(f"relu{i + 1}", (nodes[-1].name,)))
    return DenseGraph(nodes, name="mnist-784-200-200-10")


def mnist(folder: Path, part: str) -> tuple[Any, Any]:
    """Pixels, uint8 (images, 784), and labels of ``train`` or ``t10k``."""
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784), np.frombuffer(labels, np.uint8, offset=8)


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--per", type=click.Choice(["layer", "channel"]), default="layer")
@click.option("--weights", type=click.Choice(["frozen", "refit", "tuned"]), multiple=True, default=["frozen", "tuned"])
@click.option("--epochs", default=6, help="Of training the weights.")
@click.option("--rate", default=0.03, help="Of training the weights.")
@click.option("--tradeoff", "tradeoffs", type=float, multiple=True, default=TRADEOFFS)
def main(
    path: Path | None, per: str, weights: tuple[str, ...], epochs: int, rate: float, tradeoffs: tuple[float, ...]
) -> None:
    """Print and write the figures."""
    folder = Path(os.environ["NEUROSIM_REFERENCE_DATA"]) / "mnist_mlp"
    graph = reference_graph(folder)
    images, labels = mnist(folder, "t10k")
    order = np.load(folder / "temporal_order_test_S1000.npy")
    test = images[order] * PIXEL, labels[order].astype(np.int64)
    training, _ = mnist(folder, "train")
    calibration = training[temporal_order(training)] * np.float32(PIXEL)
    rows = []

    def note(kind: str, tradeoff: float | None, found: Any) -> None:
        report = found.report
        rows.append(
            {"kind": kind, "lambda": tradeoff, "scales": [k.tolist() for k in found.scales], **report.to_dict()}
        )
        click.echo(
            f"{kind:8} lambda {tradeoff or 0:8.2e} k {[round(float(k.mean()), 2) for k in found.scales]} error "
            f"{report.error_percent:.2f} %, rounding {report.rounding_adds / 1e3:.1f} k, sigma-delta "
            f"{report.sigma_delta_adds / 1e3:.1f} k, graded {report.graded_synops / 1e3:.1f} k"
        )
        if path:
            with atomic_path(path) as part:
                part.write_text(json.dumps(rows, indent=1))

    integers = IntegerOptions(input_scale=PIXEL)
    for k in FIXED:
        note("fixed", None, convert_rounding(graph, calibration, scales=k, integers=integers, test=test))
    for tradeoff in tradeoffs:
        options = ScaleOptions(tradeoff=tradeoff, per=per)
        first = convert_rounding(graph, calibration, options=options, integers=integers, test=test)
        for kind in weights:
            found = first
            if kind != "frozen":
                tuning = TuneOptions(epochs=epochs, rate=rate)
                found = convert_rounding(
                    graph, calibration, scales=first.scales, weights=kind, tuning=tuning, integers=integers, test=test
                )
            note(kind, tradeoff, found)


if __name__ == "__main__":
    main()
