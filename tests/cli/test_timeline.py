"""`neurosim run --timeline`: what it writes and says, and what it refuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from neurosim.cli import main

RUN = ["run", "tiny.net", "--chip", "loihi2", "--input", "frames.npy"]
FILE = ["--timeline", "t.json.gz"]


def test_timeline_of_a_window(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, *FILE, "--timeline-steps", "3:4", "--timeline-cores", "0,1-2"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    with gzip.open("t.json.gz") as file:
        content = json.load(file)
    assert content["otherData"]["timesteps"] == [3, 4]
    assert content["otherData"]["cores"] == [0, 1, 2]
    assert f"The timeline holds {content['otherData']['events']:,} events, all that was asked for." in out
    assert "binding: " in out


@pytest.mark.parametrize(("text", "steps"), [("5", [5, 5]), ("10:", [10, 12]), (":2", [1, 2])])
def test_ranges_of_timesteps(text: str, steps: list[int]) -> None:
    assert main([*RUN, *FILE, "--timeline-steps", text]) == 0
    with gzip.open("t.json.gz") as file:
        assert json.load(file)["otherData"]["timesteps"] == steps


def test_capped_timeline_is_told_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, *FILE, "--timeline-events", "500"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "The timeline holds 500 events at most; its packets end " in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([*FILE, "--timeline-steps", "a:b"], "no range of timesteps"),
        ([*FILE, "--timeline-steps", ":"], "no range of timesteps"),
        ([*FILE, "--timeline-steps", ""], "no range of timesteps"),
        ([*FILE, "--timeline-steps", "-3"], "no range of timesteps"),
        ([*FILE, "--timeline-steps", "0:3"], "timesteps count from 1"),
        ([*FILE, "--timeline-steps", "5:4"], "5 comes after 4"),
        ([*FILE, "--timeline-steps", "3:40"], "the run has timesteps 1 to 12"),
        ([*FILE, "--timeline-steps", "40:"], "the run has timesteps 1 to 12"),
        ([*FILE, "--timeline-cores", "x"], "no core or range of cores"),
        ([*FILE, "--timeline-cores", "1,,2"], "no core or range of cores"),
        ([*FILE, "--timeline-cores", "7-3"], "7 comes after 3"),
        ([*FILE, "--timeline-cores", "500"], "cores 500: the program uses cores 0 to"),
        ([*FILE, "--timeline-cores", "0-99999999999"], "no chip has that many cores"),
        ([*FILE, "--timeline-events", "0"], "0 is not in the range"),
        (["--timeline", "none/t.json.gz"], "there is no folder none"),
        (
            ["--timeline-steps", "1:2", "--timeline-events", "9"],
            "--timeline-steps, --timeline-events: needs --timeline",
        ),
    ],
)
def test_bad_options_exit_with_2_and_leave_nothing(
    options: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(folder.iterdir())
    assert main([*RUN, *options]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert words in " ".join(streams.err.split())
    assert set(folder.iterdir()) == before


def test_the_name_says_whether_it_is_packed(capsys: pytest.CaptureFixture[str]) -> None:
    packed, plain = Path("t.json.gz"), Path("t.json")
    for path in (packed, plain):
        assert main([*RUN, "--timeline", str(path)]) == 0
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert json.loads(plain.read_text(encoding="utf-8"))["traceEvents"]
    capsys.readouterr()
    assert main([*RUN, "--timeline", "t.trace"]) == 2
    assert "--timeline t.trace: give a name in .json, or in .json.gz" in capsys.readouterr().err
