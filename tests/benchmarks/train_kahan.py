"""Training with 8-bit weights on MNIST: float32, plain rounding, and Kahan's compensation.

    NEUROSIM_REFERENCE_DATA=... python tests/benchmarks/train_kahan.py --json kahan.json

784-200-200-10 with ReLU, batches of 20, 3 epochs of plain gradient descent. The rate is the one of three at which
float32 errs least on the last 10,000 training images after training on the others; errors printed after that are those
of the test images after training on all 60,000. The rate nearest to that of the figures known before (0.01) is shown
too. About 20 s for each training on one core. docs/methods.md holds the figures.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import numpy as np
from convert_mnist import mnist

from neurosim.files import atomic_path
from neurosim.train.kahan import KahanOptions, train_classifier

RATES = (0.01, 0.03, 0.1)
HELD_OUT = 10_000
KEPT: tuple[tuple[str, dict[str, Any]], ...] = (
    ("float32", {"bits": None}),
    ("8 bits, plain", {"bits": 8, "compensated": False}),
    ("8 bits, Kahan", {"bits": 8}),
)
FEWER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("6 bits, Kahan", {"bits": 6}),
    ("5 bits, Kahan", {"bits": 5}),
    ("4 bits, Kahan", {"bits": 4}),
    *(
        (f"8 bits, Kahan, last layer {b}", {"bits": 8, "layer_bits": {"4": b}, "last_layer_rule": False})
        for b in (5, 4, 3, 2)
    ),
    *(
        (
            f"the same, compensations of 8 bits, last layer {b}",
            {"bits": 8, "compensation_bits": 8, "layer_bits": {"4": b}, "last_layer_rule": False},
        )
        for b in (4, 3, 2)
    ),
)


def train(x: Any, y: Any, test: Any, labels: Any, rate: float, seed: int, kept: dict[str, Any]) -> float:
    """Return the error in percent on `test`."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    sizes = (784, 200, 200, 10)
    layers = [torch.nn.Linear(sizes[i // 2], sizes[i // 2 + 1]) if i % 2 == 0 else torch.nn.ReLU() for i in range(5)]
    module = torch.nn.Sequential(*layers)
    train_classifier(module, x, y, KahanOptions(rate, **kept), seed=seed)
    with torch.no_grad():
        answers = module(torch.from_numpy(test)).argmax(dim=1).numpy()
    return float((answers != labels).mean() * 100)


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path))
@click.option("--fewer", is_flag=True, help="Only the rows of fewer bits, at the rate of 0.1.")
@click.option("--seeds", default=3, help="Of float32 and of 8 bits at the chosen rate.")
def main(path: Path | None, fewer: bool, seeds: int) -> None:
    """Print and write the figures."""
    folder = Path(os.environ["NEUROSIM_REFERENCE_DATA"]) / "mnist_mlp"
    (x, y), (test, labels) = (mnist(folder, part) for part in ("train", "t10k"))
    x, test = x.astype(np.float32) / 255, test.astype(np.float32) / 255
    rows: list[dict[str, Any]] = []

    def note(what: str, rate: float, seed: int, on: str, error: float) -> None:
        rows.append({"weights": what, "rate": rate, "seed": seed, "on": on, "error_percent": error})
        click.echo(f"{what:52} rate {rate:<5g} seed {seed} {on:10} error {error:.2f} %")
        if path:
            with atomic_path(path) as part:
                part.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")

    held = {RATES[-1]: 0.0} if fewer else {}
    for rate in () if fewer else RATES:
        held[rate] = train(x[:-HELD_OUT], y[:-HELD_OUT], x[-HELD_OUT:], y[-HELD_OUT:], rate, 0, {"bits": None})
        note("float32", rate, 0, "held out", held[rate])
    best = min(held, key=lambda rate: held[rate])
    for rate in () if fewer else sorted({RATES[0], best}):
        for what, kept in KEPT:
            for seed in range(seeds if rate == best else 1):
                note(what, rate, seed, "test", train(x, y, test, labels, rate, seed, kept))
    for what, kept in FEWER:
        note(what, best, 0, "test", train(x, y, test, labels, best, 0, kept))


if __name__ == "__main__":
    main()
