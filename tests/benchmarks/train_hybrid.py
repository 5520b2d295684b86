"""Hybrid-spiking neurons on MNIST, 784-200-200-10: error against bits an activity, converted and trained.

    NEUROSIM_REFERENCE_DATA=... python tests/benchmarks/train_hybrid.py --json hybrid.json

Each pair of an omega and a number of timesteps is tried without training, with as much training in floats, trained with
its omega from the start, and with omegas that fall to it; errors are those of the network in integers. Without
--validate training starts from the reference network's weights and goes on with all 60,000 training images, and errors
are those of the 10,000 test images. With it a network of the same form is trained in floats on the first 50,000, and
errors are those of the last 10,000: settings were chosen so. Ten minutes on one core; --convert-only takes seconds.
docs/methods.md holds the figures.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from convert_mnist import PIXEL, mnist, reference_graph

from neurosim.convert import HybridOptions, convert_hybrid
from neurosim.files import atomic_path
from neurosim.formats.dense_graph import DenseGraph, Linear
from neurosim.train import HybridTraining, train_hybrid

HELD_OUT = 10_000
CALIBRATION = 2000
PAIRS = ((4.0, 1), (2.0, 1), (1.0, 1), (0.5, 1), (0.25, 1), (0.125, 1), (0.25, 4), (0.125, 4))
"""Omega of both layers, and timesteps."""


def drawn_graph(like: DenseGraph, seed: int) -> DenseGraph:
    """Return a graph of the same form with first weights: uniform, of variance 2 / inputs (He and others, 2015)."""
    rng = np.random.default_rng(seed)
    nodes = []
    for node in like.nodes:
        if isinstance(node, Linear):
            reach = np.sqrt(6 / node.weight.shape[1])
            weight = rng.uniform(-reach, reach, node.weight.shape)
            node = replace(node, weight=weight, bias=np.zeros(len(weight)))
        nodes.append(node)
    return DenseGraph(nodes, like.output, like.name)


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--validate", is_flag=True)
@click.option("--pair", "pairs", type=(float, int), multiple=True, help="Omega and timesteps.  [default: eight pairs]")
@click.option("--convert-only", is_flag=True, help="Train nothing.")
@click.option("--first", type=click.Choice(["half", "random"]), default="half")
@click.option("--epochs", default=10)
@click.option("--rate", default=3e-3)
@click.option("--start-factor", default=4.0)
@click.option("--seed", default=0)
def main(
    path: Path | None, validate: bool, pairs: Any, convert_only: bool, first: str, epochs: int, rate: float,
    start_factor: float, seed: int,
) -> None:  # fmt: skip
    """Train, convert, print and write the figures."""
    import torch

    torch.set_num_threads(1)
    folder = Path(os.environ["NEUROSIM_REFERENCE_DATA"]) / "mnist_mlp"
    start = reference_graph(folder)
    x, y = (array for array in mnist(folder, "train"))
    test, labels = mnist(folder, "t10k")
    x, y, test, labels = x * PIXEL, y.astype(np.int64), test * PIXEL, labels.astype(np.int64)
    if validate:
        x, y, test, labels = x[:-HELD_OUT], y[:-HELD_OUT], x[-HELD_OUT:], y[-HELD_OUT:]
        start = train_hybrid(drawn_graph(start, seed), x, y, HybridTraining(0.0, epochs=15, seed=seed))
    rows = []
    settings: dict[str, Any] = {"first": first, "epochs": epochs, "rate": rate, "seed": seed}
    graphs = {"converted": start}
    if not convert_only:
        graphs["floats trained on"] = train_hybrid(start, x, y, HybridTraining(0.0, **settings))
    for omega, timesteps in pairs or PAIRS:
        for name, factor in {**dict.fromkeys(graphs, 0.0), "last omega": 1.0, "falling": start_factor}.items():
            if convert_only and factor:
                continue
            began = time.monotonic()
            training = HybridTraining(omega, factor or 1.0, timesteps=timesteps, **settings)
            graph = train_hybrid(start, x, y, training) if factor else graphs[name]
            seconds = time.monotonic() - began
            options = HybridOptions(omega, timesteps, first=first, seed=seed, input_scale=PIXEL)
            _, report = convert_hybrid(graph, x[:CALIBRATION], options=options, test=(test, labels))
            rows.append({
                "omega": omega, "timesteps": timesteps, "first": first, "training": name, "training_s": seconds,
                "on": "held out" if validate else "test", **report.to_dict(),
            })  # fmt: skip
            click.echo(
                f"omega {omega:g}, {timesteps} timesteps, {name}: error {report.error_percent:.2f} %, in floats "
                f"{report.original_error_percent:.2f} %, bits {report.bits['per_activity']:.2f}, by neuron "
                f"{report.bits['per_neuron']:.2f}, {report.messages:.1f} messages, {report.synops:.0f} synops, "
                f"{seconds:.0f} s"
            )
            if path:
                with atomic_path(path) as part:
                    part.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
