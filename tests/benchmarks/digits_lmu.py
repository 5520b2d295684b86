"""Permuted sequential digits on a small Legendre memory unit: accuracy against bits per activity.

    python tests/benchmarks/digits_lmu.py --json digits_lmu.json

The digits, their split and the network are those of the shipped workload `pixels` (the extra `train` and scikit-learn
are needed). For each seed one network is trained in floats; from it, for each setting of omegas, one is trained with
omegas that fall, one at its last omegas from the start, and one is not trained further. Each is then converted to
integers. About half an hour on one core; docs/methods.md holds the figures.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from neurosim.convert import LmuOptions, convert_lmu
from neurosim.files import atomic_path
from neurosim.train import measure_lmu, train_lmu
from neurosim.train.hybrid_lmu import quantised
from neurosim_traces.pixels.make import MEMORY_BITS, OPTIONS, digits

SETTINGS = ((84.0, 0, 8.0), (42.0, 90, 4.0), (21.0, 45, 1.0), (10.0, 22, 1.0), (5.0, 11, 1.0))
"""omega_memory, memory_levels, omega_hidden."""
FALLING = 32.0
"""Multiple of the last omegas at which falling ones start."""


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hybrid-epochs", type=int, default=OPTIONS.hybrid_epochs)
    parser.add_argument("--settings", type=int, nargs="+", default=range(len(SETTINGS)), help="Places in SETTINGS.")
    given = parser.parse_args()
    import_module("torch").set_num_threads(1)
    data, test, labels = digits()
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        options = replace(OPTIONS, seed=seed, hybrid_epochs=given.hybrid_epochs)
        start = train_lmu(data, replace(options, hybrid_epochs=0)).float_net
        rows.append({"seed": seed, "way": "float", "test": measure_lmu(start, test, labels).accuracy})
        print(rows[-1], flush=True)
        for omega_memory, levels, omega_hidden in (SETTINGS[i] for i in given.settings):
            now = replace(options, omega_memory=omega_memory, memory_levels=levels, omega_hidden=omega_hidden)
            for way, factor in (("falling", FALLING), ("last from the start", 1.0), ("not trained", 0.0)):
                if factor:
                    net = train_lmu(data, replace(now, start_factor=factor), start=start).hybrid_net
                else:
                    net = quantised(start, now)
                assert net is not None
                measured = measure_lmu(net, test, labels)
                answers, *_ = convert_lmu(net, LmuOptions(memory_bits=MEMORY_BITS)).run(test)
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
