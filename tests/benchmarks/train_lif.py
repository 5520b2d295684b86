"""Leaky integrate-and-fire networks by backpropagation on MNIST: 784-300-10, in integers on the simulator's function.

    NEUROSIM_REFERENCE_DATA=... python tests/benchmarks/train_lif.py --json lif.json

With ``--validate`` networks train on the first 50,000 training images and accuracies are those of the last 10,000:
settings were chosen so. Without, they train on all 60,000, and accuracies are those of the 10,000 test images, run as
one stream, image after image, by the functional step of the engine. On one core 2 to 5 minutes a network.
docs/methods.md holds the figures.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from convert_mnist import mnist

from neurosim.convert import count_spikes
from neurosim.engine import FunctionRun
from neurosim.files import atomic_path
from neurosim.formats.spike_codes import encode
from neurosim.network import Network
from neurosim.train.spiking import LifTraining, train_lif
from neurosim.train.spiking_network import LifForm, to_lif_network

HELD_OUT = 10_000
AT_ONCE = 500


def stream_answers(network: Network, images: Any, form: LifForm) -> tuple[Any, dict[str, float], float]:
    """Return answers, messages an image by layer, and synops an image, of images that follow each other.

    Through the engine's functional step, timestep by timestep; an answer is what the last layer sent in its window.
    """
    steps, last = form.timesteps, len(network.layers) - 1
    depth = max(network.layer_delays.values())
    frames = np.empty((len(images) * steps, images.shape[1]), dtype=np.int8)
    for at in range(0, len(images), AT_ONCE):
        part = encode(images[at : at + AT_ONCE], steps, full=form.full, spikes=form.spikes, code=form.code, seed=at)
        frames[at * steps : (at + len(part)) * steps] = part.reshape(-1, images.shape[1])
    answers = np.zeros((len(images), network.layers[-1].size), dtype=np.int64)
    sent, synops = np.zeros(len(network.layers)), 0
    for activity in FunctionRun(network, {"input": frames}).steps(len(frames) + depth):
        late = activity.timestep - 1 - depth
        low, high = activity.layer_start[last : last + 2]
        if late >= 0:
            at = activity.neuron[low:high] - network.offsets[last]
            if form.readout == "counts":
                answers[late // steps, at] += activity.value[low:high]
            else:
                answers[late // steps] = 0
                answers[late // steps, at] = activity.value[low:high]
        sent += np.diff(activity.layer_start)
        synops += int(activity.synops.sum())
    names = [layer.name for layer in network.layers]
    return answers, dict(zip(names, (sent / len(images)).tolist(), strict=True)), synops / len(images)


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--validate", is_flag=True)
@click.option("--hidden", default=300)
@click.option("--timesteps", default=10)
@click.option("--spikes", default=5)
@click.option("--tau", default=20.0)
@click.option("--inhibition", default=0.0)
@click.option("--readout", type=click.Choice(["counts", "membrane"]), default="counts")
@click.option("--code", type=click.Choice(["even", "poisson"]), default="even")
@click.option("--bits", default=8)
@click.option("--epochs", default=10)
@click.option("--rate", default=2e-3)
@click.option("--price", default=0.0)
@click.option("--seed", default=0)
@click.option("--save", type=click.Path(path_type=Path), help="Write the network (.nsnet).")
def main(path: Path | None, validate: bool, hidden: int, save: Path | None, **given: Any) -> None:
    """Train, run in integers, print and write the figures."""
    import torch

    torch.set_num_threads(1)
    folder = Path(os.environ["NEUROSIM_REFERENCE_DATA"]) / "mnist_mlp"
    x, y = mnist(folder, "train")
    test, labels = mnist(folder, "t10k")
    if validate:
        x, y, test, labels = x[:-HELD_OUT], y[:-HELD_OUT], x[-HELD_OUT:], y[-HELD_OUT:]
    names = ("epochs", "rate", "price", "seed")
    training = LifTraining(**{name: given.pop(name) for name in names})
    form = LifForm(**given)
    began = time.monotonic()
    weights = train_lif(x, y.astype(np.int64), [hidden], form, training)
    seconds = time.monotonic() - began
    network = to_lif_network(weights, form, "mnist-lif")
    answers, messages, synops = stream_answers(network, test, form)

    def frames(part: slice) -> Any:
        return encode(test[part], form.timesteps, full=255, spikes=form.spikes, code=form.code, seed=part.start)

    alone = count_spikes(network, frames, len(test), form.timesteps).answers[form.timesteps]
    row = {
        **asdict(form), **asdict(training), "hidden": hidden, "on": "held out" if validate else "test",
        "accuracy_percent": float((answers.argmax(axis=1) == labels).mean() * 100),
        "accuracy_alone_percent": float((alone.argmax(axis=1) == labels).mean() * 100),
        "messages": messages, "synops": synops, "training_s": seconds,
    }  # fmt: skip
    click.echo(json.dumps(row))
    if path:
        with atomic_path(path) as part:
            part.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    if save:
        from neurosim.compiler import write_network_file

        write_network_file(network, save)


if __name__ == "__main__":
    main()
