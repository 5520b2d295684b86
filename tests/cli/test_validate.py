"""`neurosim validate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurosim.cli import main


def test_table_page_and_json_of_one_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--only", "CPU,Eyeriss", "--json", "v.json", "--markdown", "v.md"]) == 0
    said = capsys.readouterr().out
    assert "Eyeriss: Eyeriss, AlexNet's convolutions" in said
    assert "6 rows, 5 of them evidence; 1 of those with a target: 1 met, 0 missed" in said
    assert said.endswith("written to v.json\nwritten to v.md\n")
    held = json.loads(Path("v.json").read_text(encoding="utf-8"))
    assert held["schema"] == "neurosim.validation/1"
    assert [each["key"] for each in held["measurements"]] == ["Eyeriss", "CPU"]
    page = Path(__file__).parents[2] / "docs" / "outputs.md"
    if page.is_file():
        words = page.read_text(encoding="utf-8")
        each = held["measurements"][0]
        assert all(f"`{key}`" in words for key in (*held, *each, *each["rows"][0], *each["rows"][0]["predicted"]))
    assert Path("v.md").read_text(encoding="utf-8").startswith("# Held against silicon\n")


def test_misses_are_listed_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--only", "SENECA"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Missed - synaptic operation, headline figure: a miss: spikes that share reads" in said


def test_without_reference_networks_theirs_are_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEUROSIM_REFERENCE_DATA", raising=False)
    assert main(["validate", "--only", "V1,V2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "not run: it needs the reference networks, and NEUROSIM_REFERENCE_DATA is not set" in said
    assert said.endswith("not run: V1, V2")


def test_bad_arguments_are_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["validate", "--only", "V99"]) == 2
    assert "no measurement is called v99; there are V1, V2, V6" in capsys.readouterr().err
    assert main(["validate", "--only", "CPU", "--json", "nowhere/v.json"]) == 2
    assert not Path("nowhere").exists()
    monkeypatch.setenv("NEUROSIM_REFERENCE_DATA", "absent")
    assert main(["validate", "--only", "CPU"]) == 2
    assert "absent: no such folder" in capsys.readouterr().err
