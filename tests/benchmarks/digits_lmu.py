"""Permuted sequential digits on a small Legendre memory unit: accuracy against bits per activity.

    python tests/benchmarks/digits_lmu.py --json digits_lmu.json

scikit-learn's 8 x 8 digits (the extra `train` and scikit-learn are needed), 64 pixels one a step in one drawn order:
1,197 digits to train on, 300 to choose the epoch by, 300 to test. For each seed one network is trained in floats; from
it, for each setting of omegas, one is trained with omegas that fall, one at its last omegas from the start, and one is
not trained further. Each is then converted to integers. About a quarter of an hour on one core; docs/methods.md
holds the figures.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.convert import LmuOptions, convert_lmu
from neurosim.files import atomic_path
from neurosim.train import LmuData, LmuTraining, measure_lmu, train_lmu
from neurosim.train.hybrid_lmu import quantised

ORDER_SEED = 64
SETTINGS = ((84.0, 0, 8.0), (42.0, 90, 4.0), (21.0, 45, 1.0), (10.0, 22, 1.0), (5.0, 11, 1.0))
"""omega_memory, memory_levels, omega_hidden."""
BASE = LmuTraining(
    order=32, units=48, window=64, classes=10, centre=5, scale=16, omega_memory=21.0, omega_hidden=1.0,
    memory_levels=45,
    memory_bits=8, readout_steps=2, float_epochs=40, hybrid_epochs=60, float_rate=3e-3, hybrid_rate=2e-3, batch=25,
)  # fmt: skip


def digits() -> tuple[LmuData, Any, Any]:
    """Sequences (digits, 64) of 0..16 and classes: to train and choose by, and to test on."""
    found = import_module("sklearn.datasets").load_digits()
    order = np.random.default_rng(ORDER_SEED).permutation(64)
    values, labels = found.data.astype(np.int64)[:, order], found.target.astype(np.int64)
    drawn = np.random.default_rng(ORDER_SEED + 1).permutation(len(labels))
    train, held, test = drawn[:1197], drawn[1197:1497], drawn[1497:]
    return LmuData(values[train], labels[train], values[held], labels[held]), values[test], labels[test]


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    import_module("torch").set_num_threads(1)
    data, test, labels = digits()
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        options = replace(BASE, seed=seed)
        start = train_lmu(data, replace(options, hybrid_epochs=0)).float_net
        rows.append({"seed": seed, "way": "float", "test": measure_lmu(start, test, labels).accuracy})
        print(rows[-1], flush=True)
        for omega_memory, levels, omega_hidden in SETTINGS:
            now = replace(options, omega_memory=omega_memory, memory_levels=levels, omega_hidden=omega_hidden)
            for way, factor in (("falling", BASE.start_factor), ("last from the start", 1.0), ("not trained", 0.0)):
                if factor:
                    net = train_lmu(data, replace(now, start_factor=factor), start=start).hybrid_net
                else:
                    net = quantised(start, now)
                assert net is not None
                measured = measure_lmu(net, test, labels)
                answers, *_ = convert_lmu(net, LmuOptions(memory_bits=BASE.memory_bits)).run(test)
                row = {
                    "seed": seed, "omega_memory": omega_memory, "levels": levels, "omega_hidden": omega_hidden,
                    "way": way, "validation": measure_lmu(net, data.validation, data.validation_labels).accuracy,
                    "test": measured.accuracy, "integers": float((answers.argmax(1) == labels).mean()),
                    **measured.bits(),
                }  # fmt: skip
                rows.append(row)
                print(row, flush=True)
    with atomic_path(given.json) as part:
        part.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
