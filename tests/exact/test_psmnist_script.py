"""The script of permuted sequential MNIST, on a few images of few pixels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurosim.convert import LmuOptions, convert_lmu
from neurosim.train.lmu import read_lmu

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "psmnist_lmu.py"
SMALL = (
    "--pool 4 --images 600 --order 24 --units 24 --batch 30 --float-epochs 5 --hybrid-epochs 6 --readout-steps 4 "
    "--omega-memory 20"
)


@pytest.mark.slow
def test_it_trains_measures_and_writes(reference_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra torch is not installed")
    command = [sys.executable, str(SCRIPT), "--data", str(reference_data / "mnist_mlp")]
    command += ["--out", str(tmp_path), *SMALL.split()]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == 49
    assert len(result["history"]) == 11
    assert result["float"]["test"]["count"] == 600
    # Better than one in ten, which is what so few images and epochs allow to say.
    assert result["float"]["test"]["accuracy"] > 0.3
    row = result["hybrid"]["test"]
    assert row["accuracy"] > 0.2
    assert row["hidden_range"] == [-1, 1]
    assert row["bits"]["hidden"] == pytest.approx(np.log2(3))
    assert row["bits"]["memory"] <= np.log2(45) + 1e-12
    net = read_lmu(tmp_path / "hybrid.npz")
    assert (net.order, net.units, net.omega_memory) == (24, 24, 20.0)
    assert convert_lmu(net, LmuOptions()).timesteps(49) == 52
