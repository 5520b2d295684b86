"""`neurosim calibrate`: from a lab's CSV file to a chip that runs, at the widths of two terminals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hwmodels import load_chip
from neurosim import api
from neurosim.cli import main
from neurosim.explore import reprice
from neurosim.network import Network
from neurosim.report import Run, write_results

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def measured(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measure runs of several lengths as if looking up cost 77 pJ more and the chip took 0.1 W."""
    place, random = tmp_path_factory.mktemp("lab"), np.random.default_rng(3)
    lines = ["result, per, energy_j, note"]
    program = api.compile(network, "loihi2")
    truth = load_chip("loihi2", {"core.axon_in.energy": "77 pJ", "power.static": "0.1 W"})
    frames = random.integers(-64, 64, (8, *network.layers[0].shape))
    for steps in range(2, 13):
        result = api.simulate(program, frames, steps)
        write_results(Run(result), place / f"run{steps}.h5")
        energy_j = reprice(result, truth).energy_run.total_j.value
        lines.append(f"run{steps}.h5, run, {energy_j * (1 + 0.002 * float(random.standard_normal()))!r}, bench")
    (place / "lab.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


@pytest.fixture
def lab(measured: Path, folder: Path) -> Path:
    """Copy the measurements to the folder of the test."""
    shutil.copytree(measured, folder, dirs_exist_ok=True)
    return folder / "lab.csv"


@pytest.mark.parametrize("width", [80, 120])
def test_fits_and_says_what_it_found(lab: Path, width: int, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    fit = ["--fit", "power.static", "--fit", "core.axon_*.energy"]
    assert main(["calibrate", "loihi2", "lab.csv", "-o", "ours.toml", *fit, "--json", "c.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "11 measurements, 9 degrees of freedom, condition" in text
    # Both look-ups are paid once a message.
    assert "core.axon_out.energy + core.axon_in.energy = " in text
    found = json.loads(Path("c.json").read_text(encoding="utf-8"))
    (static,) = found["constants"]
    assert static["key"] == "power.static"
    assert static["low"] <= 0.1 <= static["high"]
    assert static["value"] == pytest.approx(0.1, rel=0.05)
    assert found["undetermined"][0]["keys"] == ["core.axon_out.energy", "core.axon_in.energy"]
    assert [m["result"] for m in found["measurements"]] == [f"run{steps}.h5" for steps in range(2, 13)]
    assert main(["run", "tiny.net", "--chip", "ours.toml", "--input", "frames.npy", "--json", "s.json"]) == 0
    summary = json.loads(Path("s.json").read_text(encoding="utf-8"))
    term = next(term for term in summary["energy_terms"] if term["key"] == "power.static")
    assert (summary["chip"], term["kind"]) == ("ours", "derived")
    assert "lab.csv" in term["source"]
    assert main(["reprice", "run12.h5", "--chip", "ours.toml"]) == 0
    assert main(["chips", "ours.toml"]) == 0


def test_what_is_refused(lab: Path, folder: Path, capsys: Captured) -> None:
    before = {path.name for path in folder.iterdir()}
    for args, said in (
        (["loihi2", "lab.csv"], "Missing option '--output'"),
        (["loihi2", "lab.csv", "-o", "ours"], "ends in .toml"),
        (["loihi2", "none.csv", "-o", "ours.toml"], "cannot be read"),
        (["loihi", "lab.csv", "-o", "ours.toml"], "ran on loihi2"),
        (["loihi2", "lab.csv", "-o", "ours.toml", "--fit", "network.buffer"], "is no energy or power"),
        (["loihi2", "lab.csv", "-o", "no/ours.toml"], "there is no folder"),
    ):
        capsys.readouterr()
        assert main(["calibrate", *args]) == 2
        streams = capsys.readouterr()
        assert said in streams.err
        assert streams.out == ""
    assert {path.name for path in folder.iterdir()} == before
