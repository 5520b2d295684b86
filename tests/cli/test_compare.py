"""`neurosim compare`: tables at the widths of two terminals, files, exit codes, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from neurosim.cli import main
from neurosim.explore.comparison_report import CSV_FILES
from neurosim.report.layout import engineering

COMPARE = ["compare", "tiny.net", "--input", "frames.npy", "--chips"]
Captured = pytest.CaptureFixture[str]


def compared(*args: str, code: int = 0) -> dict[str, Any]:
    assert main([*COMPARE, *args, "--json", "c.json"]) == code
    found: dict[str, Any] = json.loads(Path("c.json").read_text(encoding="utf-8"))
    return found


def summary_of(*args: str) -> dict[str, Any]:
    assert main(["run", "tiny.net", "--input", "frames.npy", *args, "--json", "s.json"]) == 0
    found: dict[str, Any] = json.loads(Path("s.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    grid = ["--set", "core.encodings.dense.synop_time=1 ns,2 ns", "--set", "core.encodings.conv.synop_time=1 ns,2 ns"]
    for args in (["loihi2"], ["loihi2,loihi,loihi_board", *grid]):
        main([*COMPARE, *args])
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "12 configurations, 4 timed on 1 functional run" in text
    assert "loihi dense.synop_time=1 ns conv.synop_time=1 ns" in text
    assert "Cannot carry this network" in text


def test_small_energies_keep_their_digits_beside_large_ones(capsys: Captured) -> None:
    found = compared("loihi2", "--set", "power.static=1 uW,1 MW")
    energies = [row["energy_per_inference_j"]["value"] for row in found["rows"]]
    assert max(energies) > 1e6 * min(energies)
    shown = capsys.readouterr().out
    for energy in energies:
        assert engineering(energy, "J") in shown


def test_rows_with_warnings_are_marked_and_notes_stand_once(capsys: Captured) -> None:
    args = ["compare", "digits_spiking", "--chips", "spinnaker", "--set", "sync.period=1 us,1 ms", "--steps", "9"]
    assert main(args) == 0
    shown = capsys.readouterr().out
    assert "spinnaker period=1 us !" in shown
    assert "spinnaker period=1 ms *" in shown  # dearer, but without warnings
    assert "!: with warnings" in shown
    assert shown.count("not read: labels") == 1
    text = " ".join(shown.split())
    assert (
        text.count("the state of hidden1, output is set back every 8 timesteps, while an inference is taken as 1") == 1
    )
    assert main([*args, "--steps-per-inference", "8"]) == 0
    assert "is set back every" not in " ".join(capsys.readouterr().out.split())


def test_rows_are_those_of_runs() -> None:
    settings = ["--set", "network.buffer=1,4", "--set", "power.static=0.1 W"]
    found = compared("loihi2", *settings)
    assert (found["functional_passes"], found["timing_passes"]) == (1, 2)
    for row, buffer in zip(found["rows"], ("1", "4"), strict=True):
        assert row["settings"] == {"network.buffer": buffer, "power.static": "0.1 W"}
        alone = summary_of("--chip", "loihi2", "--set", f"network.buffer={buffer}", "--set", "power.static=0.1 W")
        for key in ("chip_sha256", "energy_per_inference_j", "latency_per_inference_s", "throughput_inferences_per_s",
                    "energy_delay_product_js", "timesteps", "provenance", "gaps", "warnings"):  # fmt: skip
            assert row[key] == alone[key], key
        assert row["timestep_s"] == alone["timestep_s"]["steady_mean"]
        terms = {term["key"]: term["energy_j"] for term in alone["energy_terms"]}
        assert {term["key"]: term["energy_j"] for term in row["energy_terms"]} == terms
        assert row["cores"] == sum(layer["cores"] for layer in alone["layers"])
    assert found["model_sha256"] == alone["model_sha256"]
    assert found["input"] == alone["input"]


def test_baselines_stand_below_and_are_those_of_their_command(capsys: Captured) -> None:
    found = compared("loihi2", "--baselines", "eyeriss,cpu,mcu")
    assert [(row["name"], row["origin"]) for row in found["rows"]] == [
        ("loihi2", "simulated"), ("eyeriss", "formulas"), ("cpu", "formulas"), ("mcu", "formulas"),
    ]  # fmt: skip
    assert main(["baseline", "tiny.net", "--on", "eyeriss,cpu,mcu", "--json", "b.json"]) == 0
    alone = json.loads(Path("b.json").read_text(encoding="utf-8"))["baselines"]
    for row, single in zip(found["rows"][1:], alone, strict=True):
        assert row["energy_per_inference_j"]["value"] == single["energy_per_inference_j"]["value"]
        assert row["latency_per_inference_s"] == single["latency_at_least_s"]
    assert main([*COMPARE, "loihi2", "--baselines", "eyeris"]) == 2
    assert 'did you mean "eyeriss"' in capsys.readouterr().err


def test_memory_traffic_is_that_of_steady_inferences() -> None:
    row = compared("loihi2")["rows"][0]
    alone = summary_of("--chip", "loihi2")
    whole = sum(memory[f"bytes_{way}"] for memory in alone["memories"] for way in ("read", "written"))
    # Every timestep of the run has a share of one inference, but for start-up and the end.
    assert 0.5 * whole / alone["timesteps"] < row["memory_bytes_per_inference"] < 2 * whole / alone["inferences"]


def test_differences_add_up_and_are_explained() -> None:
    found = compared("loihi2", "--set", "core.encodings.conv.synop_energy=10 pJ,20 pJ", "--set",
                     "core.encodings.conv.synop_time=1 ns,9 ns")  # fmt: skip
    assert found["reference"] == "loihi2 synop_energy=10 pJ synop_time=1 ns"
    cheap, _, dear, both = found["rows"]
    conv = next(term for term in cheap["energy_terms"] if term["key"] == "core.encodings.conv.synop_energy")
    rise = dear["energy_difference"]
    (part,) = rise["parts"]
    assert part["what"] == "synapse memory reads"
    assert rise["value"] == pytest.approx(conv["events_per_inference"] * 10e-12, rel=1e-9)
    assert part["by_price"] == pytest.approx(rise["value"], rel=1e-9)
    assert part["by_number"] == 0
    assert rise["sentence"] == "100 % of the difference: synapse memory reads (each dearer)"
    assert dear["time_difference"]["sentence"] == "no difference"
    for difference, unit in ((both["energy_difference"], "J"), (both["time_difference"], "s")):
        assert difference["value"] > 0, unit
        assert sum(part["difference"] for part in difference["parts"]) == pytest.approx(difference["value"], rel=1e-9)
        assert sum(part["share"] for part in difference["parts"]) == pytest.approx(1.0, rel=1e-9)
    assert {part["what"] for part in both["energy_difference"]["parts"]} == {"synapse memory reads", "static power"}
    assert "accumulate" in {part["what"] for part in both["time_difference"]["parts"]}
    named = compared("loihi2", "--set", "core.encodings.conv.synop_energy=10 pJ,20 pJ", "--reference",
                     "loihi2 synop_energy=20 pJ")  # fmt: skip
    assert named["rows"][0]["energy_difference"]["value"] < 0
    assert named["rows"][1]["energy_difference"]["value"] == 0


def test_tables_hold_what_the_json_does(folder: Path) -> None:
    found = compared("loihi2,loihi", "--set", "network.buffer=1,2", "--csv", "t", code=3)
    assert {path.name for path in (folder / "t").iterdir()} == set(CSV_FILES)
    tables = {}
    for name in CSV_FILES:
        with (folder / "t" / name).open(encoding="utf-8", newline="") as file:
            tables[name] = list(csv.DictReader(file))
    assert [row["name"] for row in tables["comparison.csv"]] == [row["name"] for row in found["rows"]]
    assert [row["network.buffer"] for row in tables["comparison.csv"]] == ["1", "2", "1", "2"]
    first, record = tables["comparison.csv"][0], found["rows"][0]
    assert float(first["energy_per_inference_j"]) == record["energy_per_inference_j"]["value"]
    assert float(first["energy_per_inference_high_j"]) == record["energy_per_inference_j"]["high"]
    assert first["binding"] == record["binding"]["resource"]
    refused = tables["comparison.csv"][2]
    assert refused["energy_per_inference_j"] == ""
    assert "spikes without a value" in refused["reason"]
    assert len(tables["comparison_terms.csv"]) == sum(len(row["energy_terms"]) for row in found["rows"])


def test_exit_code_says_that_a_chip_cannot_carry_it(capsys: Captured) -> None:
    assert main([*COMPARE, "loihi2"]) == 0
    assert main([*COMPARE, "loihi2,loihi"]) == 3
    capsys.readouterr()
    assert main([*COMPARE, "loihi"]) == 3
    streams = capsys.readouterr()
    assert "carries spikes without a value" in " ".join(streams.out.split())
    assert streams.err == ""


def test_equal_comparisons_give_equal_bytes_on_any_number_of_threads(folder: Path) -> None:
    outputs = []
    for threads in ("1", "4"):
        compared("loihi2", "--set", "network.buffer=1,2,4", "--threads", threads)
        outputs.append((folder / "c.json").read_bytes())
    assert outputs[0] == outputs[1]


def test_a_shipped_workload_brings_its_frames() -> None:
    assert main(["compare", "steering", "--chips", "loihi2", "--steps", "9", "--json", "c.json"]) == 0
    assert json.loads(Path("c.json").read_text(encoding="utf-8"))["rows"][0]["timesteps"] == 9


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["loihi3"], "did you mean"),
        (["loihi2,loihi2"], "chip loihi2 is given twice"),
        (["loihi2", "--set", "network.buffer=2,2"], "value 2 is given twice"),
        (["loihi2", "--set", "network.buffer=2", "--set", "network.buffer=4"], "network.buffer is given twice"),
        (["loihi2", "--set", "network.bufer=2"], 'did you mean "network.buffer"'),
        (["loihi2", "--set", "network.buffer"], "is not KEY=VALUE"),
        (["loihi2", "--set", "power.static=3 s"], "is not a power"),
        (["loihi2", "--reference", "loihi"], 'reference "loihi" is none of the rows'),
        (["loihi2", "--steps", "0"], "--steps"),
        (["loihi2", "--steps", "2", "--reference", "loihi2"], "has nothing to compare with"),
        (["loihi2", "--json", "no/c.json"], "there is no folder no"),
    ],
)
def test_what_is_refused(args: list[str], said: str, folder: Path, capsys: Captured) -> None:
    assert main([*COMPARE, *args]) == 2
    streams = capsys.readouterr()
    assert said in streams.err
    assert streams.out == ""
    assert {path.name for path in folder.iterdir()} == {"tiny.net", "frames.npy"}


def test_compiled_programs_are_refused(capsys: Captured) -> None:
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "p.h5"]) == 0
    capsys.readouterr()
    assert main(["compare", "p.h5", "--chips", "loihi2", "--input", "frames.npy"]) == 2
    assert "is compiled for one chip" in capsys.readouterr().err


def test_too_short_a_run_has_rows_without_energies(capsys: Captured) -> None:
    found = compared("loihi2", "--steps", "2")
    assert found["reference"] is None
    assert found["rows"][0]["energy_per_inference_j"] is None
    assert "second inference" in " ".join(capsys.readouterr().out.split())
