"""`--messages`: networks with graded messages on chips that carry spikes or few bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.cli import main

Captured = pytest.CaptureFixture[str]

TINY = ["--input", "frames.npy", "--json", "s.json"]


def summary() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("s.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(autouse=True)
def small_frames(folder: Path) -> None:
    """Frames whose deltas make few unit spikes."""
    np.save(folder / "frames.npy", np.load(folder / "frames.npy") // 32)


def test_a_chip_of_spikes_says_how_it_could_run(capsys: Captured) -> None:
    assert main(["run", "tiny.net", "--chip", "loihi", *TINY]) == 2
    assert "send them as units (--messages)" in " ".join(capsys.readouterr().err.split())


def test_both_accountings_whichever_way(capsys: Captured) -> None:
    found = {}
    split = ["--set", "network.payload=4 bit", "--messages", "split"]
    for name, options in (
        ("graded", ["--chip", "loihi2"]),
        ("split", ["--chip", "loihi2", *split]),
        ("units", ["--chip", "loihi", "--messages", "units"]),
    ):
        assert main(["run", "tiny.net", *options, *TINY]) == 0
        text = " ".join(capsys.readouterr().out.split())
        held = summary()["messages"]
        assert held["sent_as"] == name
        each = {key: f"{round(value):,}" for key, value in held["accountings"]["per_inference"].items()}
        said = {"graded": "graded", "units": "as unit spikes", "split": f"in {each['sends']} pieces"}[name]
        assert (
            f"per inference: {each['graded_synops']} graded synops of {each['messages']} messages, or "
            f"{each['unit_adds']} unit adds of {each['unit_spikes']} unit spikes; sent {said}" in text
        )
        assert any(note.startswith("messages with a value went") for note in summary()["notes"]) == (name != "graded")
        found[name] = held["accountings"]["run"]
    sends = {name: run.pop("sends") for name, run in found.items()}
    assert found["graded"] == found["split"] == found["units"]
    assert sends["graded"] < sends["split"] < sends["units"] <= found["units"]["unit_spikes"]


def test_a_compiled_program_keeps_its_way(capsys: Captured) -> None:
    assert main(["compile", "tiny.net", "--chip", "loihi", "--messages", "units", "-o", "p.h5"]) == 0
    assert "Messages with a value go as units" in capsys.readouterr().out
    assert main(["run", "p.h5", *TINY]) == 0
    compiled = summary()
    assert main(["run", "tiny.net", "--chip", "loihi", "--messages", "units", *TINY]) == 0
    apart = {"model_sha256", "model", "settings"}
    assert {k: v for k, v in compiled.items() if k not in apart} == {
        k: v for k, v in summary().items() if k not in apart
    }
    capsys.readouterr()
    assert main(["run", "p.h5", "--messages", "graded", *TINY]) == 2
    assert "--messages: a compiled program takes no such option" in capsys.readouterr().err


def test_messages_go_as_unit_spikes_on_processors() -> None:
    assert main(["run", "tiny.net", "--chip", "spinnaker", "--messages", "units", *TINY]) == 0
    held = summary()
    assert held["messages"]["sent_as"] == "units"
    run = held["messages"]["accountings"]["run"]
    # Every send is one packet, which is copied on its way; what is read out makes none.
    assert held["network"]["packets"] == run["sends"] == run["unit_spikes"]


@pytest.mark.parametrize("chip", ["loihi", pytest.param("spinnaker_4", marks=pytest.mark.slow, id="spinnaker_4: 3 GB")])
def test_steering(chip: str) -> None:
    """A timestep of a black frame: 2,740 messages, of the biases, are three and a half million unit spikes."""
    np.save("black.npy", np.zeros((1, 3, 32, 64), dtype=np.int64))
    options = ["--input", "black.npy", "--steps", "1", "--json", "s.json"]
    assert main(["run", "steering", "--chip", "loihi2", *options]) == 0
    graded = summary()
    assert main(["run", "steering", "--chip", chip, "--messages", "units", *options]) == 0
    units = summary()
    for held in (graded["messages"]["accountings"], units["messages"]["accountings"]):
        assert held["per_inference"] is None
    before, after = (held["messages"]["accountings"]["run"] for held in (graded, units))
    assert before["messages"] == before["sends"] == 2740
    del before["sends"]
    assert after.pop("sends") > 1000 * before["messages"]
    assert before == after
    assert units["network"]["packets"] > 1000 * graded["network"]["packets"]
    assert units["energy_run_j"]["dynamic"] > 100 * graded["energy_run_j"]["dynamic"]


def test_compare_sends_as_each_chip_can(capsys: Captured) -> None:
    compare = ["compare", "tiny.net", "--chips", "loihi2,loihi", *TINY]
    assert main([*compare, "--messages", "loihi=units"]) == 0
    assert "loihi messages=units" in " ".join(capsys.readouterr().out.split())
    rows = summary()["rows"]
    assert [(row["name"], row["messages"], row["reason"]) for row in rows] == [
        ("loihi2", "graded", None), ("loihi messages=units", "units", None)
    ]  # fmt: skip
    for way, words in (("loihi3=units", "none of the chips"), ("units", "loihi=units"), ("loihi=unit", "use graded")):
        assert main([*compare, "--messages", way]) == 2
        assert words in " ".join(capsys.readouterr().err.split())
