"""Permuted sequential MNIST on a Legendre memory unit with quantised messages, in full: meant for one GPU.

    python tests/benchmarks/psmnist_lmu.py --data MNIST_FOLDER --out RESULTS --device cuda --seconds 530

The folder holds the four idx.gz files of MNIST. The 784 pixels of an image come one a step, in one order for all images
drawn from the seed `--permutation`. Order 256, 212 hidden neurons, a window of 784 steps: the sizes of Voelker,
Rasmussen and Eliasmith (arXiv:2002.03553). The last 5,000 training images, in a drawn order, are held out: epochs are
chosen by them alone, and the test images are read once, at the end.

Writes result.json, and float.npz and hybrid.npz (`neurosim.formats.lmu`) with each best network so far. --pool 2 or 4
averages pixels and --images cuts the sets, to try the script on a small machine.
"""

from __future__ import annotations

import gzip
import json
import platform
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np

from neurosim.files import atomic_path
from neurosim.formats.lmu import write_lmu
from neurosim.train import LmuData, LmuTraining, measure_lmu, train_lmu

BEGAN = time.monotonic()
HELD_OUT = 5000
CENTRE = 33
"""Mean pixel of MNIST's training images, rounded."""


def mnist(folder: Path, part: str, pool: int) -> tuple[Any, Any]:
    """Pixels, integers (images, steps), and labels of ``train`` or ``t10k``."""
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28 // pool, pool, 28 // pool, pool)
    pixels = pixels.astype(np.int64).sum(axis=(2, 4)) // pool**2
    return pixels.reshape(len(pixels), -1).astype(np.uint8), np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--seconds", default=0.0, help="End by then; 0: no limit.")
@click.option("--permutation", default=92916, show_default=True, help="Seed of the order of pixels.")
@click.option("--seed", default=0, show_default=True)
@click.option("--order", default=256, show_default=True)
@click.option("--units", default=212, show_default=True)
@click.option("--pool", default=1, show_default=True)
@click.option("--images", default=0, help="Training images; 0: all.")
@click.option("--batch", default=500, show_default=True)
@click.option("--float-epochs", default=30, show_default=True)
@click.option("--hybrid-epochs", default=70, show_default=True)
@click.option("--readout-steps", default=8, show_default=True)
@click.option("--omega-memory", default=21.0, show_default=True)
@click.option("--omega-hidden", default=1.0, show_default=True)
@click.option("--memory-levels", default=45, show_default=True, help="0: any number.")
@click.option("--activation", default="tanh", show_default=True, help="Of the hidden layer: tanh or sigmoid.")
@click.option("--start-factor", default=32.0, show_default=True, help="1: omega does not fall.")
@click.option("--ahead", default=4, show_default=True)
@click.option("--memory-bits", default=12, show_default=True)
@click.option("--float-rate", default=2e-3, show_default=True)
@click.option("--hybrid-rate", default=1.5e-3, show_default=True)
@click.option("--decay", default=0.0, show_default=True)
def main(
    data: Path, out: Path, device: str, seconds: float, permutation: int, seed: int, order: int, units: int, pool: int,
    images: int, batch: int, float_epochs: int, hybrid_epochs: int, readout_steps: int, omega_memory: float,
    omega_hidden: float, memory_levels: int, activation: str, start_factor: float, ahead: int, memory_bits: int,
    float_rate: float, hybrid_rate: float, decay: float,
) -> None:  # fmt: skip
    """Train, choose by validation, read the test images once, and write the figures."""
    torch = import_module("torch")
    out.mkdir(parents=True, exist_ok=True)
    pixels, labels = mnist(data, "train", pool)
    steps = pixels.shape[1]
    shuffle = np.random.default_rng(permutation).permutation(steps)
    drawn = np.random.default_rng([permutation, 1]).permutation(len(labels))
    held, used = drawn[-HELD_OUT:], drawn[:-HELD_OUT]
    if images:
        held, used = held[: max(1, images // 10)], used[:images]
    sets = LmuData(pixels[used][:, shuffle], labels[used], pixels[held][:, shuffle], labels[held])
    options = LmuTraining(
        order=order, units=units, window=steps, classes=10, centre=CENTRE, scale=255, omega_memory=omega_memory,
        omega_hidden=omega_hidden, memory_levels=memory_levels, activation=activation, start_factor=start_factor,
        memory_bits=memory_bits, readout_steps=readout_steps, float_epochs=float_epochs, hybrid_epochs=hybrid_epochs,
        float_rate=float_rate, hybrid_rate=hybrid_rate, decay=decay, batch=batch, ahead=ahead, seed=seed,
        seconds=0.95 * seconds,
    )  # fmt: skip

    def show(row: dict[str, float]) -> None:
        click.echo("  ".join(f"{key} {value:.5g}" for key, value in row.items()))

    trained = train_lmu(sets, options, device, show, lambda name, net: write_lmu(out / f"{name}.npz", net), began=BEGAN)
    test, test_labels = mnist(data, "t10k", pool)
    if images:
        test, test_labels = test[:images], test_labels[:images]
    result: dict[str, Any] = {
        "options": asdict(options), "permutation": permutation, "steps": steps, "train": len(used), "validation":
        len(held), "test": len(test), "torch": torch.__version__, "device": device, "python": platform.python_version(),
        "processor": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "history": trained.history,
    }  # fmt: skip
    for name, net in (("float", trained.float_net), ("hybrid", trained.hybrid_net)):
        if net is None:
            continue
        row: dict[str, Any] = {}
        parts = {"validation": (sets.validation, sets.validation_labels), "test": (test[:, shuffle], test_labels)}
        for part, (values, truth) in parts.items():
            measured = measure_lmu(net, values, truth, device)
            row[part] = {"accuracy": measured.accuracy, "correct": measured.correct, "count": measured.count}
            if measured.memory_range is not None:
                row[part]["bits"] = measured.bits()
                row[part]["memory_range"] = [int(measured.memory_range[0].min()), int(measured.memory_range[1].max())]
                row[part]["hidden_range"] = [int(measured.hidden_range[0].min()), int(measured.hidden_range[1].max())]
        result[name] = row
        click.echo(f"{name}: {json.dumps(row)}")
    result["seconds"] = time.monotonic() - BEGAN
    with atomic_path(out / "result.json") as part_path:
        part_path.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
