"""`neurosim run --results` and `neurosim reprice`: the bytes of a run of its own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurosim.cli import main
from neurosim.report import CSV_FILES

RUN = ["run", "tiny.net", "--chip", "loihi2", "--input", "frames.npy"]
VARIANT = """
schema = "neurosim.chip/1"
extends = "loihi2"
name = "mine"
title = "Mine"
summary = "Measured here"
[core.neuron]
send_energy = { value = "12.5 pJ", low = "12 pJ", high = "13 pJ", kind = "measured", source = "our bench" }
"""
SETTINGS = ["--set", "power.static=0.1 W", "--set", "network.energy_local=3 pJ"]

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("width", [80, 120])
def test_output_is_that_of_a_run_of_its_own(
    folder: Path, width: int, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    (folder / "mine.toml").write_text(VARIANT, encoding="utf-8")
    assert main([*RUN, "--results", "r.h5"]) == 0
    for chip, settings in (("mine.toml", []), ("loihi2", SETTINGS), ("mine.toml", SETTINGS)):
        chosen = ["--chip", chip, *settings]
        capsys.readouterr()
        assert main(["run", "tiny.net", "--input", "frames.npy", *chosen, "--json", "a.json", "--csv", "a"]) == 0
        simulated = capsys.readouterr().out
        assert main(["reprice", "r.h5", *chosen, "--json", "b.json", "--csv", "b"]) == 0
        assert capsys.readouterr().out == simulated
        assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()
        for name in CSV_FILES:
            assert (folder / "a" / name).read_bytes() == (folder / "b" / name).read_bytes()


def test_settings_are_added_to_those_of_the_run(folder: Path) -> None:
    buffer = ["--set", "network.buffer=3"]
    assert main([*RUN, *buffer, "--results", "r.h5"]) == 0
    assert main(["reprice", "r.h5", *SETTINGS, "--json", "b.json"]) == 0
    assert main([*RUN, *buffer, *SETTINGS, "--json", "a.json"]) == 0
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()


def test_what_it_refuses(folder: Path, capsys: Captured) -> None:
    assert main([*RUN, "--results", "r.h5", "--json", "s.json"]) == 0
    for args, said in (
        (["r.h5"], "nothing to change"),
        (["r.h5", "--set", "network.buffer=3"], "network.buffer: 16 -> 3"),
        (["r.h5", "--chip", "loihi_board"], "core.neurons: 4096 -> 1024"),
        (["r.h5", "--set", "core.neuron.send_energy=3 ns"], "is not an energy"),
        (["r.h5", "--set", "core.neuron.sent_energy=3 pJ"], 'did you mean "core.neuron.send_energy"'),
        (["s.json", "--chip", "loihi2"], "a summary holds too little"),
        (["none.h5", "--chip", "loihi2"], "no such file"),
        (["r.h5", "--chip", "loihi2", "--json", "nowhere/b.json"], "no folder"),
    ):
        capsys.readouterr()
        assert main(["reprice", *args]) == 2
        streams = capsys.readouterr()
        assert said in streams.err
        assert streams.out == ""
    assert {path.name for path in folder.iterdir()} == {"tiny.net", "frames.npy", "r.h5", "s.json"}
