"""The digits network with pools by average and by maximum, each trained anew, as sigma-delta networks on Loihi 2.

    python tests/benchmarks/pool_digits.py

Needs scikit-learn. About half a minute on one core; docs/methods.md holds the figures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
import numpy as np

import neurosim
from neurosim.convert import TuneOptions, integer_frames, make_plan, temporal_order, tune
from neurosim.convert.plan import weighted
from neurosim.formats.dense_graph import DenseGraph, Pool2d
from neurosim_traces.digits import make

SCALE = 16.0


def build(arrays: dict[str, Any], mode: str) -> DenseGraph:
    """The network of the workloads, with pools of `mode`."""
    nodes = make.build(arrays).nodes
    return DenseGraph([replace(n, mode=mode) if isinstance(n, Pool2d) else n for n in nodes], name=f"digits_{mode}")


def train(mode: str, images: Any, labels: Any) -> DenseGraph:
    """Train as the workloads' script does."""
    plan = make_plan(build(make.draw(), mode), maxima=True)
    goal = np.zeros((len(labels), 10))
    goal[np.arange(len(labels)), labels] = make.LABEL_LOGIT
    options = TuneOptions(epochs=make.EPOCHS, batch=20, rate=make.RATE, seed=make.SEED)
    trained = tune(plan, images.astype(np.float32), [], options, goal)
    arrays: dict[str, Any] = {}
    for number, (site, _, term) in enumerate(weighted(trained)):
        arrays[f"w{number}"], arrays[f"b{number}"] = term.node.weight, trained.sites[site].bias
    return build(arrays, mode)


@click.command()
def main() -> None:
    """Print the figures."""
    images, labels = make.digits()
    order = temporal_order(images[make.TEST])
    frames, answers = images[make.TEST][order] * make.PIXEL, labels[make.TEST][order]
    for mode in ("average", "max"):
        graph = train(mode, images[make.TRAINING] * make.PIXEL, labels[make.TRAINING])
        found = make.convert(graph, "sigma_delta", SCALE, frames[:10], (frames, answers))
        fed = integer_frames(frames[: make.SHIPPED_FRAMES], make.PIXEL)
        result = neurosim.simulate(neurosim.compile(found.network, "loihi2"), fed)
        report = found.report
        click.echo(
            f"{mode}: error {report.error_percent:.1f} %, in floats {report.original_error_percent:.1f}; "
            f"{report.messages:.0f} messages, {report.graded_synops / 1e3:.1f} k graded synops, "
            f"{result.energy_inference.total_j.value * 1e6:.2f} uJ a frame"
        )


if __name__ == "__main__":
    main()
