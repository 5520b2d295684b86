"""NIR files on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest

from neurosim.cli import main

RUN = ["run", "lif.nir", "--chip", "loihi", "--input", "spikes.npy"]


@pytest.fixture(autouse=True)
def lif(folder: Path) -> None:
    rng = np.random.default_rng(0)
    ones = np.ones(6)
    nodes = {
        "in": nir.Input({"input": np.array([4])}),
        "fc": nir.Affine(rng.normal(size=(6, 4)), rng.normal(size=6) / 10),
        "lif": nir.LIF(tau=0.01 * ones, r=5 * ones, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones),
        "out": nir.Output({"output": np.array([6])}),
    }
    nir.write(folder / "lif.nir", nir.NIRGraph(nodes, [("in", "fc"), ("fc", "lif"), ("lif", "out")]))
    np.save(folder / "spikes.npy", (rng.random((20, 4)) < 0.4).astype(np.int64))


def test_run_takes_the_time_step_and_says_how_floats_became_integers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--dt", "1e-3", "--weight-bits", "6", "--json", "s.json"]) == 0
    assert "weights in steps of" in " ".join(capsys.readouterr().out.split())
    summary = json.loads(Path("s.json").read_text(encoding="utf-8"))
    assert [layer["name"] for layer in summary["layers"]] == ["in", "lif"]
    assert summary["options"] is None
    assert main(["info", "lif.nir", "--dt", "1e-3", "--reset", "subtract"]) == 0
    assert main(["compile", "lif.nir", "--chip", "loihi2", "--dt", "1e-3", "-o", "lif.h5"]) == 0
    assert main(["run", "lif.h5", "--input", "spikes.npy"]) == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (RUN, "give the time step in seconds (dt_s in Python, --dt on the command line"),
        ([*RUN, "--dt", "0"], "dt_s is 0.0; give the time step in seconds, above 0"),
        ([*RUN, "--dt", "1e-3", "--rounding", "corrected"], "a .nir file takes no option rounding"),
        ([*RUN, "--dt", "1e-3", "--state-bits", "99"], "state_bits is 99; give an integer in 8..40"),
        (["info", "tiny.net", "--dt", "1"], "a .net file takes no option dt_s"),
    ],
)
def test_what_cannot_be_is_refused(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_dense_networks_are_sent_to_their_conversion(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "m.onnx").write_bytes(b"")
    assert main(["info", "m.onnx"]) == 2
    assert "holds a dense network" in " ".join(capsys.readouterr().err.split())
