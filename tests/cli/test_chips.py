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


def listed(out: str) -> dict[str, str]:
    """Name of each chip -> its row in the list."""
    return {line.split()[0]: " ".join(line.split()) for line in out.splitlines() if line and not line.startswith(" ")}


def test_list_says_kind_process_cores_neurons_and_how_timesteps_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["chips"]) == 0
    rows = listed(capsys.readouterr().out)
    assert rows["truenorth"].startswith("truenorth crossbar Samsung 28 nm LPP 4,096 1,048,576 tick, 1 ms spikes IBM")
    assert rows["spinnaker_48"].startswith("spinnaker_48 processor UMC 130 nm 768 196,608 timer, 1 ms spikes")
    assert rows["neuronflow"].startswith("neuronflow pipeline TSMC 28 nm HPC+ 196 200,704 none (dataflow) 16 bits")
    assert set(chip_names()) <= set(rows)


def test_a_refused_chip_is_listed_and_shown_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips"]) == 0
    assert "braindrop: Stanford's Braindrop" in capsys.readouterr().out
    assert main(["chips", "braindrop"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "It cannot be costed: its weights are factors" in out
    assert "381 fJ per equivalent synaptic operation, measured" in out
    assert main(["run", "steering", "--chip", "braindrop"]) == 2
    assert "cannot be costed: its weights are factors" in capsys.readouterr().err
    assert main(["chips", "braindrop", "--set", "a=b"]) == 2


def test_sheet_says_what_runs_and_what_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    assert main(["chips", "spinnaker_4"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for line in (
        "- Messages are spikes without a value. Networks whose layers send values are refused; "
        "--messages sends them otherwise.",
        "What differs from spinnaker",
        "- chips.columns: 1 -> 2",
        "- power.static: 0.35 W -> 0.89 W",
        "Constants that nobody published, with the interval of an estimate",
    ):
        assert line in lines


def test_what_is_set_is_marked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["chips", "loihi", "--set", "core.neuron.send_energy=4 pJ"]) == 0
    out = capsys.readouterr().out
    assert "set by the user: core.neuron.send_energy = 4 pJ" in out
    assert "What differs from loihi as its file has it" in out
    assert " - core.neuron.send_energy: 69.3 pJ -> 4 pJ" in out


WRONG = """schema = "neurosim.chip/1"
extends = "loihi"
name = "wrong"
title = "t"
summary = "s"
[power]
static = { value = "3 pJ", kind = "measured", source = "x" }
host = { value = "-3 W", kind = "measured", source = "x" }
[network]
bufer = 3
energy_east_west = { value = "5 pJ", low = "6 pJ", high = "7 pJ", kind = "measured", source = "x" }
[core.neuron]
send_energy = { value = "nan pJ", kind = "measured", source = "s" }
"""


def test_check_says_all_that_is_wrong_with_its_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "wrong.toml").write_text(WRONG)
    assert main(["chips", "check", "wrong.toml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("neurosim: error: wrong.toml: 5 errors")
    for part in (
        'power.static (line 7): "3 pJ" is not a power',
        'power.host (line 8): "-3 W" is negative',
        'network.bufer (line 10): unknown key; did you mean "buffer"?',
        "network.energy_east_west (line 11): value 5 pJ is outside its range 6 pJ to 7 pJ",
        'core.neuron.send_energy (line 13): "nan pJ" is not a finite number',
    ):
        assert part in said


def test_check_says_that_nothing_is_wrong_and_what_differs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.toml").write_text(OWN)
    assert main(["chips", "check", "mine.toml"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "mine.toml: mine, 128 cores; nothing is wrong with it"
    assert out[1].startswith("constants: 1 measured, 17 simulated")
    assert out[2:] == ["1 value other than in loihi", "  core.memories.synapse.size: 128 KiB -> 64 KiB"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["check"], "check needs a chip file (.toml)"),
        (["check", "nowhere.toml"], "nowhere.toml: no such file"),
        (["loihi", "loihi2"], '"loihi2" is one word too many'),
        (["--markdown"], "--markdown and --set are for one chip"),
        (["loihi", "--pages", "x"], "--pages writes the pages of all chips; give it alone"),
        (["--pages", "no/where"], "there is no folder no"),
    ],
)
def test_wrong_usage(args: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips", *args]) == 2
    assert said in capsys.readouterr().err


PAGES = Path(__file__).parents[2] / "docs" / "chips"


def test_the_pages_in_docs_are_those_that_the_files_make(folder: Path) -> None:
    assert main(["chips", "--pages", "pages"]) == 0
    made = {path.name: path.read_text(encoding="utf-8") for path in (folder / "pages").iterdir()}
    names = {f"{name}.md" for name in [*chip_names(), "braindrop"]} | {"README.md"}
    assert set(made) == names
    assert {path.name for path in PAGES.iterdir()} == names
    for name, text in made.items():
        assert (PAGES / name).read_text(encoding="utf-8") == text, f"{name}: run neurosim chips --pages docs/chips"


@pytest.mark.parametrize("name", ["odin", "spinnaker_4", "braindrop"])
def test_a_page_is_what_the_command_prints(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips", name, "--markdown"]) == 0
    assert capsys.readouterr().out == (PAGES / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", chip_names())
def test_a_page_holds_every_constant_with_its_source(name: str) -> None:
    section, rows = "", {}
    for line in (PAGES / f"{name}.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("### ["):
            section = line.removeprefix("### [").removesuffix("]")
        elif line.startswith("| `"):
            key, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            rows[f"{section}.{key.strip('`')}"] = cells
    for key, held in load_chip(name).quantities():
        value, span, kind, source, note = rows[key]
        assert (value, kind, source, note) == (held.text, held.kind.value, held.source, held.note)
        for end in (held.written_low, held.written_high):
            assert end is None or str(end) in span


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
