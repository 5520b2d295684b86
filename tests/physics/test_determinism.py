"""The same inputs give the same bytes: whatever the hash seed, and in whatever order timesteps are timed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurosim_traces
from neurosim import api
from neurosim.compiler import Program
from neurosim.engine import TimeRun
from neurosim.engine.function import StepActivity

STEPS = 12


@pytest.fixture(scope="module")
def timed() -> tuple[Program, tuple[StepActivity, ...]]:
    """The steering workload compiled, and its first timesteps' activity."""
    shipped = neurosim_traces.workload("steering")
    program = api.compile(api.load(shipped.model_path), shipped.chip_hint)
    result = api.simulate(program, shipped.frames_path, steps=STEPS, keep_activity=True)
    return program, result.counts.activity


def as_bytes(outcome: tuple[Any, ...]) -> list[tuple[str, bytes]]:
    """Every field of what `TimeRun.step` gives, with its name."""
    return [
        (field.name, np.asarray(getattr(part, field.name)).tobytes())
        for part in outcome
        for field in dataclasses.fields(part)
    ]


def test_summary_is_the_same_for_any_hash_seed(tmp_path: Path) -> None:
    code = "import sys; from neurosim.cli import main; sys.exit(main(sys.argv[1:]))"
    chip = neurosim_traces.workload("steering").chip_hint
    summaries = []
    for hash_seed in ("0", "1", "4711"):
        file = tmp_path / f"{hash_seed}.json"
        args = ["run", "steering", "--chip", chip, "--steps", str(STEPS), "--json", str(file)]
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert done.returncode == 0, done.stderr
        summaries.append(file.read_bytes())
    assert b'"neurosim.summary/1"' in summaries[0]
    assert summaries[0] == summaries[1] == summaries[2]


@pytest.mark.parametrize("order_seed", [1, 2, 3])
def test_timesteps_are_timed_in_any_order(timed: tuple[Program, tuple[StepActivity, ...]], order_seed: int) -> None:
    program, activity = timed
    in_turn = TimeRun(program)
    expected = [as_bytes(in_turn.step(step)) for step in activity]
    assert len({dict(step)["arrived_ps"] for step in expected}) > STEPS // 2, "the timesteps are hardly told apart"
    shuffled = TimeRun(program)
    for number in np.random.default_rng(order_seed).permutation(STEPS):
        assert as_bytes(shuffled.step(activity[number])) == expected[number]
