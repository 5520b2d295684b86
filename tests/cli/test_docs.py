"""What the documents say is so: commands and code run, and every name of the outputs is explained."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.cli import main
from neurosim.engine import Resource
from neurosim.report import CSV_FILES
from neurosim_traces import workload, workload_names

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the tests run apart from the repository")


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def block(name: str, mark: str) -> str:
    """Return the code that follows a mark in a page."""
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", page(name), re.DOTALL)
    assert found, f"{name} has no code after {mark}"
    return found[1]


@pytest.fixture
def own(folder: Path) -> Path:
    """Put the shipped workload under the names that the README gives a reader's own network."""
    shipped = workload("steering")
    shutil.copy(shipped.model_path, folder / "mine.net")
    with np.load(shipped.frames_path) as archive:
        np.save(folder / "frames.npy", archive["frames"][:10])
    return folder


def test_commands_for_ones_own_network_run(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = block("README.md", "own network: commands").splitlines()
    assert [line.split()[1] for line in lines] == ["info", "run", "compile"]
    for line in lines:
        name, *args = shlex.split(line)
        assert name == "neurosim"
        assert main(args) == 0
    assert "mine on loihi2" in capsys.readouterr().out
    assert {path.name for path in (own / "tables").iterdir()} == set(CSV_FILES)
    assert main(["run", "mine.h5", "--input", "frames.npy"]) == 0


def test_python_for_ones_own_network_gives_what_the_commands_give(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = block("README.md", "own network: python")
    assert len(code.strip().splitlines()) <= 9
    exec(compile(code, "README.md", "exec"), {})
    from_python = json.loads((own / "summary.json").read_text(encoding="utf-8"))
    said = capsys.readouterr().out
    assert str(from_python["energy_per_inference_j"]["value"]) in said
    run = "run mine.net --chip loihi2 --input frames.npy --json summary.json"
    assert main(run.split()) == 0
    from_commands = json.loads((own / "summary.json").read_text(encoding="utf-8"))
    for known in ("model_sha256", "input"):
        assert from_python.pop(known) != from_commands.pop(known)
    assert from_python == from_commands


def test_graded_messages_of_steering_are_refused_by_binary_spikes(capsys: pytest.CaptureFixture[str]) -> None:
    assert "`loihi`, whose spikes carry no value, refuses it" in page("README.md").replace("\n", " ")
    assert main(["run", "steering", "--chip", "loihi"]) == 2
    assert capsys.readouterr().err.startswith("neurosim: error: steering: ")


def names(value: Any, open_ended: frozenset[str]) -> Iterator[str]:
    """Yield every key in nested records; those below `open_ended` are names of layers, chips' keys and the like."""
    if isinstance(value, dict):
        for key, held in value.items():
            yield key
            if key not in open_ended:
                yield from names(held, open_ended)
    elif isinstance(value, list):
        for part in value:
            yield from names(part, open_ended)


def explained(name: str) -> set[str]:
    """Return every word in backticks, and the first word of those with several."""
    return {word for quoted in re.findall(r"`([^`\n]+)`", page(name)) for word in (quoted, quoted.split()[0])}


def test_every_key_of_the_summary_is_explained() -> None:
    assert main(["run", "tiny.net", "--chip", "loihi2", "--input", "frames.npy", "--json", "s.json"]) == 0
    summary = json.loads(Path("s.json").read_text(encoding="utf-8"))
    layers = {layer["name"] for layer in summary["layers"]} | {resource.label for resource in Resource}
    keys = set(names(summary, frozenset({"settings", "meanings"}))) - layers
    assert keys - explained("docs/outputs.md") == set()
    assert {memory["name"] for memory in summary["memories"]} <= explained("docs/outputs.md")
    assert {resource.label for resource in Resource} <= explained("docs/outputs.md")
    # tiny has no layer that resets.
    assert {"reset_interval", "reset_offset"} <= explained("docs/outputs.md")


def test_every_table_and_column_is_explained(folder: Path) -> None:
    assert main(["run", "tiny.net", "--chip", "loihi2", "--input", "frames.npy", "--csv", "tables"]) == 0
    text, words = page("docs/outputs.md"), explained("docs/outputs.md")
    for name in CSV_FILES:
        assert re.search(rf"^### .*{re.escape(name)}", text, re.MULTILINE), name
        with (folder / "tables" / name).open(encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file))
        assert {column.split()[0] for column in columns} - words == set(), name


def test_comparing_costing_anew_and_calibrating_go_as_the_page_says(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = [main(shlex.split(line)[1:]) for line in block("docs/compare.md", "compare: commands").splitlines()]
    assert codes == [3, 0]
    assert [main(shlex.split(line)[1:]) for line in block("docs/compare.md", "reprice: commands").splitlines()] == [
        0,
        0,
    ]
    lines = ["result,per,energy_j", *(f"steering.h5,run,{1e-3 * (1 + k / 100)}" for k in range(4))]
    (own / "lab.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (line,) = block("docs/compare.md", "calibrate: commands").splitlines()
    assert main([*shlex.split(line)[1:], "--json", "k.json"]) == 0
    exec(compile(block("docs/compare.md", "compare: python"), "docs/compare.md", "exec"), {})
    assert "loihi2 buffer=16 Interval(" in capsys.readouterr().out
    words = explained("docs/compare.md") | explained("docs/outputs.md")
    for name in ("c.json", "k.json"):
        held = json.loads((own / name).read_text(encoding="utf-8"))
        known = frozenset({"settings", "critical_path_s", "options", "input"})
        assert set(names(held, known)) - words == set(), name
    assert {path.name for path in (own / "c").iterdir()} <= words


def test_inputs_name_every_workload_and_option() -> None:
    words = explained("docs/inputs.md")
    assert set(workload_names()) <= words
    assert {"--rounding", "--cum-error", "--reset-interval", "--reset-offset"} <= words


def test_list_of_events_in_the_page_is_read(folder: Path) -> None:
    found = re.search(r"```csv\n(.*?)```", page("docs/inputs.md"), re.DOTALL)
    assert found
    (folder / "events.csv").write_text(found[1], encoding="utf-8")
    assert main(["run", "tiny.net", "--chip", "loihi2", "--input", "events.csv", "--json", "s.json"]) == 0
    frames = json.loads(Path("s.json").read_text(encoding="utf-8"))["input"]
    assert (frames["frames"], frames["layout"]) == (3, "coordinates")


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_between_pages_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page(name)):
        if "://" not in target:
            assert ((ROOT / name).parent / target).exists(), f"{name}: {target}"
