"""A run that is saved, cut anywhere, killed, and gone on with gives the bytes of a run in one piece."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import neurosim
from neurosim.engine import Checkpoint, RunCounts, TraceWindow
from neurosim.engine.exercise import exercise_network
from neurosim.errors import InputError

NETWORK, FRAMES = exercise_network()


def program(seed: int = 0) -> neurosim.Program:
    return neurosim.compile(NETWORK, "loihi2", seed=seed)


def same(a: RunCounts, b: RunCounts) -> bool:
    names = (
        "layer_counts",
        "core_counts",
        "link_flits",
        "duration_ps",
        "sweep_ps",
        "network_ps",
        "synapse_ps",
        "path_ps",
    )
    arrays = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)
    return arrays and all(np.array_equal(values, b.outputs[name]) for name, values in a.outputs.items())


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_run_cut_at_any_timestep(cut: int, tmp_path: Path) -> None:
    """Delays, resets and all: what is on its way between timesteps is saved too."""
    whole = neurosim.simulate(program(), FRAMES, steps=12).counts
    saved = Checkpoint(tmp_path / "run.ckpt", cut)
    neurosim.simulate(program(), FRAMES, steps=cut, checkpoint=saved)
    seen: list[int] = []
    rest = neurosim.simulate(
        program(), FRAMES, steps=12, checkpoint=saved, threads=3, progress=lambda done, _: seen.append(done)
    )
    assert seen == list(range(cut + 1, 13))
    assert same(rest.counts, whole)
    assert rest.energy_run.total_j == neurosim.simulate(program(), FRAMES, steps=12).energy_run.total_j


def test_a_finished_run_is_read_back(tmp_path: Path) -> None:
    saved = Checkpoint(tmp_path / "run.ckpt", 4)
    first = neurosim.simulate(program(), FRAMES, steps=12, checkpoint=saved).counts
    assert same(neurosim.simulate(program(), FRAMES, steps=12, checkpoint=saved).counts, first)


LONG = """
import sys
from pathlib import Path
import neurosim
from neurosim.engine import Checkpoint
from neurosim.engine.exercise import exercise_network
network, frames = exercise_network()
program = neurosim.compile(network, "loihi2")
neurosim.simulate(program, frames, steps=int(sys.argv[2]), checkpoint=Checkpoint(Path(sys.argv[1]), 7))
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Kill -9 again and again: the file is whole each time, and the end is the end of an undisturbed run."""
    path, steps = tmp_path / "run.ckpt", 1500
    moved = 0
    for wait_s in (0.05, 0.11, 0.02):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", LONG, str(path), str(steps)], env=dict(os.environ))
        while process.poll() is None and (not path.exists() or path.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with np.load(path) as file:
            assert int(file["timestep"]) >= moved
            moved = int(file["timestep"])
            assert moved % 7 == 0
    assert 0 < moved < steps
    rest = neurosim.simulate(program(), FRAMES, steps=steps, checkpoint=Checkpoint(path, 7)).counts
    assert same(rest, neurosim.simulate(program(), FRAMES, steps=steps).counts)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    saved = Checkpoint(tmp_path / "run.ckpt", 2)
    neurosim.simulate(program(), FRAMES, steps=6, checkpoint=saved)
    other = {**FRAMES, "relay": 1 - FRAMES["relay"]}
    for changed, frames, fidelity in (
        (program(5), FRAMES, "cycle"),
        (program(), other, "cycle"),
        (program(), FRAMES, "fast"),
    ):
        if changed.seed == 5 and np.array_equal(changed.core_slot, program().core_slot):
            continue
        with pytest.raises(InputError, match="another program, other frames or other choices"):
            neurosim.simulate(changed, frames, steps=8, checkpoint=saved, fidelity=fidelity)
    with pytest.raises(InputError, match="stands at timestep 6, the run has 4"):
        neurosim.simulate(program(), FRAMES, steps=4, checkpoint=saved)
    saved.path.write_bytes(saved.path.read_bytes()[:200])
    with pytest.raises(InputError, match="is no checkpoint"):
        neurosim.simulate(program(), FRAMES, steps=8, checkpoint=saved)


def test_what_a_checkpoint_does_not_hold(tmp_path: Path) -> None:
    saved = Checkpoint(tmp_path / "run.ckpt", 2)
    with pytest.raises(InputError, match="no activity, traces or fidelity checks"):
        neurosim.simulate(program(), FRAMES, steps=4, checkpoint=saved, keep_activity=True)
    with pytest.raises(InputError, match="no activity, traces or fidelity checks"):
        neurosim.simulate(program(), FRAMES, steps=4, checkpoint=saved, trace=TraceWindow())
    with pytest.raises(InputError, match="every 0 timesteps"):
        Checkpoint(tmp_path / "x", 0)
    assert list(tmp_path.iterdir()) == []
