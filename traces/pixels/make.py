"""Makes the workload: trains the network on scikit-learn's digits, converts it, measures it, writes the files.

Run it where neurosim is installed with the extra `train`, and scikit-learn:

    python -m neurosim_traces.pixels.make FOLDER

Everything comes from the seeds below. With the same PyTorch on the same processor the files come out the same;
elsewhere sums may round differently, and the weights with them.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import write_network_file
from neurosim.convert import LmuOptions, convert_lmu
from neurosim.files import atomic_path
from neurosim.train import LmuData, LmuTraining, measure_lmu, train_lmu

STEPS = 64
ORDER_SEED, SPLIT_SEED = 64, 65
TRAINING, VALIDATION = 1197, 300
"""Of 1,797 digits; the other 300 are the test."""
SHIPPED = 30
"""Of the test digits, the first; the clip is the very first."""
MEMORY_BITS = 8
# Omegas stand at their last values from the start: of both ways it does better in validation (see docs/methods.md).
OPTIONS = LmuTraining(
    order=32, units=48, window=STEPS, classes=10, centre=5, scale=16, omega_memory=21.0, omega_hidden=1.0,
    memory_levels=45, memory_bits=MEMORY_BITS, readout_steps=2, float_epochs=40, hybrid_epochs=60, float_rate=3e-3,
    hybrid_rate=2e-3, batch=25, start_factor=1.0,
)  # fmt: skip


def digits() -> tuple[LmuData, NDArray[np.int64], NDArray[np.int64]]:
    """Return sequences (digits, 64) of 0..16 in one drawn order and their classes: to train and choose by, to test."""
    found = import_module("sklearn.datasets").load_digits()
    order = np.random.default_rng(ORDER_SEED).permutation(STEPS)
    values, labels = found.data.astype(np.int64)[:, order], found.target.astype(np.int64)
    drawn = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    train, held, test = np.split(drawn, [TRAINING, TRAINING + VALIDATION])
    return LmuData(values[train], labels[train], values[held], labels[held]), values[test], labels[test]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(folder: Path) -> None:
    """Make the workload in FOLDER."""
    torch = import_module("torch")
    torch.set_num_threads(1)
    data, test, labels = digits()
    trained = train_lmu(data, OPTIONS)
    assert trained.hybrid_net is not None
    net = convert_lmu(trained.hybrid_net, LmuOptions(memory_bits=MEMORY_BITS))
    answers, memory, hidden = net.run(test)
    measured = measure_lmu(trained.hybrid_net, test, labels)
    report: dict[str, Any] = {
        "test_percent": {
            "float": round(100 * measure_lmu(trained.float_net, test, labels).accuracy, 2),
            "quantised": round(100 * measured.accuracy, 2),
            "integers": round(100 * float((answers.argmax(axis=1) == labels).mean()), 2),
        },
        "bits": {name: round(value, 2) for name, value in measured.bits().items()},
        "memory_range": [int(memory.min()), int(memory.max())],
        "hidden_range": [int(hidden.min()), int(hidden.max())],
        "readout_steps": net.readout_steps,
        "timesteps": net.timesteps(STEPS),
        "made_with": {"torch": torch.__version__, "numpy": np.__version__},
    }
    write_network_file(net.network("pixels"), folder / "network.nsnet")
    with atomic_path(folder / "frames.npz") as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            frames=net.frames(test[0]).astype(np.int16),
            digits=np.stack([net.frames(row) for row in test[:SHIPPED]]).astype(np.int16),
            label=labels[:SHIPPED],
            answers=answers[:SHIPPED],
        )
    with atomic_path(folder / "accuracy.json") as part:
        part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
