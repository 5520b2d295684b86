"""`neurosim chips`: every chip in the list, every constant with its source on the sheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hwmodels import chip_names, load_chip
from neurosim.cli import main
from neurosim.report.chip_table import entries


def test_list_names_every_chip_and_counts_its_constants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name in chip_names():
        assert name in out
        estimates = sum(entry.kind == "estimate" for entry in entries(load_chip(name)))
        assert f"{estimates} estimate" in out


@pytest.mark.parametrize("name", chip_names())
def test_sheet_shows_every_constant(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    chip = load_chip(name)
    assert main(["chips", name]) == 0
    section, shown = "", {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("["):
            section = line.strip().strip("[]")
        elif line.startswith("  ") and not line.startswith("   "):
            key, value = line.split(maxsplit=1)
            shown[f"{section}.{key}"] = [value.rstrip()]
        elif line.startswith("    ") and shown:
            shown[list(shown)[-1]].append(line.strip())
    for key, quantity in chip.quantities():
        value, *rest = shown[key]
        assert value.startswith(quantity.text)
        assert value.endswith(quantity.kind.value)
        for end in (quantity.written_low, quantity.written_high):
            assert end is None or str(end) in value
        assert f"source: {quantity.source}" in rest
        if quantity.note:
            assert f"note: {quantity.note}" in rest


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("args", [[], *([name] for name in chip_names())], ids=str)
def test_no_line_is_wider_than_the_terminal(
    width: int, args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["chips", *args]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= width


def test_gaps_end_the_sheet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    assert main(["chips", "loihi2"]) == 0
    gaps = load_chip("loihi2").gaps
    assert gaps
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[-len(gaps) :] == [f"- {gap}" for gap in gaps]


def test_file_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.toml").write_text(
        'schema = "neurosim.chip/1"\nname = "mine"\ntitle = "My [own] chip"\nsummary = "s"\nextends = "loihi2"\n'
    )
    assert main(["chips", "mine.toml"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mine: My [own] chip\n")
    assert "extends loihi2" in out


OWN = """schema = "neurosim.chip/1"
name = "mine"
title = "t"
summary = "s"
extends = "loihi"
[core.memories.synapse]
size = { value = "64 KiB", kind = "architecture", source = "mine" }
"""


def test_what_a_file_overrides_is_marked_with_what_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.toml").write_text(OWN)
    assert main(["chips", "mine.toml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "extends loihi; 1 entry of another value, marked *" in lines
    (mark,) = (place for place, line in enumerate(lines) if line.strip().startswith("*"))
    assert lines[mark - 1].split() == ["size", "64", "KiB,", "architecture"]
    was = load_chip("loihi").core.memories.synapse.size
    assert was is not None
    assert lines[mark].strip() == f"* overrides the base: {was.text} -> 64 KiB"


def test_base_that_is_no_whole_chip_is_no_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The base lacks the tables that mine.toml brings.
    plain = load_chip("loihi").to_dict()
    power = plain.pop("power")["static"]
    (folder / "base.toml").write_text(as_toml({**plain, "name": "base"}))
    own = OWN.replace('"loihi"', '"base.toml"').partition("[")[0]
    (folder / "mine.toml").write_text(own + as_toml({"power": {"static": power}}))
    assert main(["chips", "mine.toml"]) == 0
    out = capsys.readouterr().out
    assert "extends base.toml\n" in out
    assert "overrides the base" not in out


def as_toml(table: dict[str, Any]) -> str:
    """Return `table` as lines of dotted keys and inline values."""
    return "".join(f"{key} = {inline(held)}\n" for key, held in table.items())


def inline(held: Any) -> str:
    if isinstance(held, dict):
        return "{ " + ", ".join(f"{key} = {inline(part)}" for key, part in held.items()) + " }"
    if isinstance(held, list):
        return "[" + ", ".join(map(inline, held)) + "]"
    return json.dumps(held, ensure_ascii=False)


def test_unknown_chip_is_given_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips", "lohi2"]) == 2
    assert 'did you mean "loihi2"' in capsys.readouterr().err


def test_page_of_a_pipeline_with_lanes_banks_phases_and_a_shared_port(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    four = '{ value = 4, kind = "estimate", source = "this test", note = "chosen here" }'
    (folder / "mine.toml").write_text(
        'schema = "neurosim.chip/1"\nname = "mine"\ntitle = "t"\nsummary = "s"\nextends = "loihi2"\n'
        f'[core]\nphases = "strict"\nlanes = {four}\nshared_port = ["sweep", "accumulate"]\n'
        f"[core.memories.accumulator]\nbanks = {four}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["chips", "mine.toml"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("phases strict", "lanes 4, estimate", "shared_port sweep, accumulate", "banks 4, estimate"):
        assert words in out
    assert "4 entries of another value, marked *" in out
