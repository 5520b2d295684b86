"""Permuted sequential MNIST on a Legendre memory unit with quantised messages, in full: meant for one GPU.

    python tests/benchmarks/psmnist_lmu.py --data MNIST_FOLDER --out RESULTS --device cuda --seconds 530

The folder holds the four idx.gz files of MNIST. The 784 pixels of an image come one a step, in one order for all images
drawn from the seed `--permutation`. Order 256, 212 hidden neurons, a window of 784 steps: the sizes of Voelker,
Rasmussen and Eliasmith (arXiv:2002.03553). The last 5,000 training images, in a drawn order, are held out: epochs are
chosen by them alone, and the test images are read once, at the end.

Writes result.json, and float.npz and hybrid.npz (`neurosim.train.lmu`) with each best network so far. --pool 2 or 4
averages pixels and --images cuts the sets, to try the script on a small machine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.files import atomic_path
from neurosim.train import LmuData, LmuTraining, measure_lmu, train_lmu
from neurosim.train.lmu import write_lmu

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


def arguments() -> argparse.Namespace:
    """Read the command line; argparse, as a lent GPU machine may hold little but PyTorch."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu", type=str)
    parser.add_argument("--seconds", default=0.0, help="End by then; 0: no limit.", type=float)
    parser.add_argument("--permutation", default=92916, help="Seed of the order of pixels.", type=int)
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--order", default=256, type=int)
    parser.add_argument("--units", default=212, type=int)
    parser.add_argument("--pool", default=1, type=int)
    parser.add_argument("--images", default=0, help="Training images; 0: all.", type=int)
    parser.add_argument("--batch", default=500, type=int)
    parser.add_argument("--float-epochs", default=40, type=int)
    parser.add_argument("--hybrid-epochs", default=120, type=int)
    parser.add_argument("--readout-steps", default=8, type=int)
    parser.add_argument("--omega-memory", default=21.0, type=float)
    parser.add_argument("--omega-hidden", default=1.0, type=float)
    parser.add_argument("--memory-levels", default=45, help="0: any number.", type=int)
    parser.add_argument("--activation", default="tanh", help="Of the hidden layer: tanh or sigmoid.", type=str)
    parser.add_argument("--start-factor", default=32.0, help="1: omega does not fall.", type=float)
    parser.add_argument("--ahead", default=4, type=int)
    parser.add_argument("--memory-bits", default=12, type=int)
    parser.add_argument("--float-rate", default=2e-3, type=float)
    parser.add_argument("--hybrid-rate", default=1.5e-3, type=float)
    parser.add_argument("--decay", default=0.0, type=float)
    return parser.parse_args()


def main() -> None:
    """Train, choose by validation, read the test images once, and write the figures."""
    given = arguments()
    data, out, device, pool, images = given.data, given.out, given.device, given.pool, given.images
    torch = import_module("torch")
    out.mkdir(parents=True, exist_ok=True)
    pixels, labels = mnist(data, "train", pool)
    steps = pixels.shape[1]
    shuffle = np.random.default_rng(given.permutation).permutation(steps)
    drawn = np.random.default_rng([given.permutation, 1]).permutation(len(labels))
    held, used = drawn[-HELD_OUT:], drawn[:-HELD_OUT]
    if images:
        held, used = held[: max(1, images // 10)], used[:images]
    sets = LmuData(pixels[used][:, shuffle], labels[used], pixels[held][:, shuffle], labels[held])
    names = (
        "order", "units", "omega_memory", "omega_hidden", "memory_levels", "activation", "start_factor", "memory_bits",
        "readout_steps", "float_epochs", "hybrid_epochs", "float_rate", "hybrid_rate", "decay", "batch", "ahead",
        "seed",
    )  # fmt: skip
    options = LmuTraining(
        window=steps, classes=10, centre=CENTRE, scale=255, seconds=0.95 * given.seconds,
        **{name: getattr(given, name) for name in names},
    )  # fmt: skip

    def show(row: dict[str, float]) -> None:
        print("  ".join(f"{key} {value:.5g}" for key, value in row.items()), flush=True)

    trained = train_lmu(sets, options, device, show, lambda name, net: write_lmu(out / f"{name}.npz", net), began=BEGAN)
    test, test_labels = mnist(data, "t10k", pool)
    if images:
        test, test_labels = test[:images], test_labels[:images]
    result: dict[str, Any] = {
        "options": asdict(options), "permutation": given.permutation, "steps": steps, "train": len(used), "validation":
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
        print(f"{name}: {json.dumps(row)}")
    result["seconds"] = time.monotonic() - BEGAN
    with atomic_path(out / "result.json") as part_path:
        part_path.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
