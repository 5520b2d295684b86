"""The script of spoken digits by a delta LSTM, with few neurons and epochs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "train_delta_lstm.py"


@pytest.mark.slow
def test_it_trains_chooses_measures_and_writes(reference_data: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--data", str(reference_data / "fsdd_deltagru")]
    command += ["--json", str(tmp_path / "out.json"), "--hidden", "16", "--dense-epochs", "4", "--delta-epochs", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    rows = {(row["files"], *row["thresholds"]): row for row in result["rows"]}
    assert len(rows) == 12
    for files in ("held out", "test"):
        # Far better than one in ten, which is what so few neurons and epochs allow to say.
        assert rows[files, 0.0, 0.0]["float_percent"] > 60
        assert rows[files, 0.25, 0.375]["percent"] > 40
        # About 8 of 40 inputs change by 0.25, whatever was trained: if all 16 states did, it would be 56/24.
        assert rows[files, 0.25, 0.25]["reduction"] > 2
    most = [row for row in result["rows"] if row["files"] == "held out" and row["reduction"] >= 9]
    assert (result["chosen"] is None) == (not most)
    if most:
        assert rows["held out", *result["chosen"]]["percent"] == max(row["percent"] for row in most)
