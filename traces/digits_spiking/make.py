"""Trains the spiking network on scikit-learn's handwritten digits, measures it, and writes what ships.

The digits are the 1,797 of 8 x 8 pixels, 0..16, that come with scikit-learn (from the UCI repository, E. Alpaydin and
C. Kaynak). PyTorch and scikit-learn are needed to make the files, and not to run them (the extra `train`).
"""

from __future__ import annotations

import json
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import read_network_file, write_network_file
from neurosim.convert import SpikeCounts, count_spikes
from neurosim.files import atomic_path
from neurosim.formats.spike_codes import encode
from neurosim.network import Network, run_reference
from neurosim.train.spiking import LifTraining, train_lif
from neurosim.train.spiking_network import LifForm, to_lif_network

SPLIT_SEED = 2026
VALIDATION, TEST, CLIP = 300, 300, 20
"""Samples that settings were chosen by, that accuracy is measured on, and of these the first that ship as frames."""

HIDDEN = 64
FORM = LifForm(timesteps=8, full=16, spikes=6, tau=16.0, inhibition=0.02)
TRAINING = LifTraining(epochs=40, batch=50, rate=5e-3, seed=1)

Samples = tuple[NDArray[np.int64], NDArray[np.int64]]


def digits() -> tuple[Samples, Samples, Samples]:
    """Return pixels (samples, 64) and labels for training, validation and test."""
    found = import_module("sklearn.datasets").load_digits()
    order = np.random.Generator(np.random.PCG64(SPLIT_SEED)).permutation(len(found.target))
    x, y = found.data[order].astype(np.int64), found.target[order].astype(np.int64)
    ends = (len(x) - VALIDATION - TEST, len(x) - TEST)
    return (x[: ends[0]], y[: ends[0]]), (x[ends[0] : ends[1]], y[ends[0] : ends[1]]), (x[ends[1] :], y[ends[1] :])


def frames_of(pixels: NDArray[Any]) -> NDArray[np.int8]:
    """Return the frames of samples, (samples, timesteps, 64)."""
    return encode(pixels, FORM.timesteps, full=FORM.full, spikes=FORM.spikes)


def count(network: Network, frames: NDArray[Any]) -> SpikeCounts:
    """Run samples (samples, timesteps, 64), each from rest, in exact integers."""
    return count_spikes(network, lambda part: frames[part], len(frames), FORM.timesteps)


def stream_answers(network: Network, frames: NDArray[Any]) -> NDArray[np.int64]:
    """Return the spikes of the last layer (samples, 10) for samples that follow each other, frames (timesteps, 64)."""
    depth = max(network.layer_delays.values())
    sent = run_reference(network, {"input": frames.astype(np.int64)}, len(frames) + depth).messages["output"]
    return np.asarray(sent[depth:].reshape(-1, FORM.timesteps, sent.shape[1]).sum(axis=1))


def accuracy_percent(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Return the share of samples whose neuron of most spikes, the first of several, is the label's."""
    return float((answers.argmax(axis=1) == labels).mean() * 100)


def report(network: Network, validation: Samples, test_set: Samples) -> dict[str, Any]:
    """Return what accuracy.json holds."""
    alone = {name: count(network, frames_of(x)) for name, (x, _) in (("validation", validation), ("test", test_set))}
    together = stream_answers(network, frames_of(test_set[0][:CLIP]).reshape(-1, test_set[0].shape[1]))
    test = alone["test"]
    each = test.messages.sum(axis=1) / test.samples
    return {
        "accuracy_percent": {
            "validation": accuracy_percent(alone["validation"].answers[FORM.timesteps], validation[1]),
            "test": accuracy_percent(test.answers[FORM.timesteps], test_set[1]),
            "clip": accuracy_percent(together, test_set[1][:CLIP]),
        },
        "messages_per_sample": dict(zip(test.names, each.tolist(), strict=True)),
        "synops_per_sample": float(test.synops.sum() / test.samples),
        "timesteps_per_sample": FORM.timesteps,
        "weight_bits": FORM.bits,
        "made_with": {name: metadata.version(name) for name in ("numpy", "scikit-learn", "torch")},
    }


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write network.nsnet, frames.npz and accuracy.json to FOLDER."""
    torch = import_module("torch")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training, validation, test = digits()
    weights = train_lif(*training, [HIDDEN], FORM, TRAINING)
    network = to_lif_network(weights, FORM, "digits_spiking")
    found = report(network, validation, test)
    write_network_file(network, folder / "network.nsnet")
    if read_network_file(folder / "network.nsnet") != network:
        raise click.ClickException("network.nsnet does not read back as the network that was written")
    frames = frames_of(test[0][:CLIP]).reshape(-1, test[0].shape[1]).astype(np.int16)
    with atomic_path(folder / "frames.npz") as path, path.open("wb") as file:
        np.savez_compressed(file, frames=frames, labels=test[1][:CLIP])
    with atomic_path(folder / "accuracy.json") as path:
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
