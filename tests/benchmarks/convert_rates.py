"""Rate conversion of the reference MNIST network: error, spikes and synops against timesteps.

    NEUROSIM_REFERENCE_DATA=... python tests/benchmarks/convert_rates.py --json rates.json

Levels come from the first 10,000 training images, without labels; figures are those of all 10,000 test images. A minute
or two for each row of settings on one core. docs/methods.md holds the figures.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import numpy as np
from convert_mnist import PIXEL, mnist, reference_graph

from neurosim.convert import RateOptions, convert_rates
from neurosim.files import atomic_path

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"inputs": "spikes"},
    {"first": "empty"},
    {"first": "empty", "percentile": 100.0},
)
CALIBRATION = 10_000


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--timesteps", default=64)
def main(path: Path | None, timesteps: int) -> None:
    """Print and write the figures."""
    folder = Path(os.environ["NEUROSIM_REFERENCE_DATA"]) / "mnist_mlp"
    graph = reference_graph(folder)
    images, labels = mnist(folder, "t10k")
    calibration = mnist(folder, "train")[0][:CALIBRATION] * PIXEL
    rows = []
    for settings in SETTINGS:
        options = RateOptions(timesteps=timesteps, input_scale=PIXEL, **settings)
        test = images * PIXEL, labels.astype(np.int64)
        _, report = convert_rates(graph, calibration, options=options, test=test)
        rows.append({"settings": settings, **report.to_dict()})
        click.echo(f"{settings or 'default'}: original {report.original_error_percent:.2f} %")
        for row in report.curve:
            click.echo(
                f"  {row['timesteps']:3} timesteps: error {row['error_percent']:.2f} %, differ "
                f"{row['disagreement_percent']:.2f} %, output error {row['output_error']:.4f}, "
                f"{row['spikes']:.0f} spikes, {row['input_messages']:.0f} input messages, {row['synops']:.0f} synops"
            )
        if path:
            with atomic_path(path) as part:
                part.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
