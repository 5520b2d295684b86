"""`neurosim run`: what it writes and says, and what it refuses."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import neurosim_traces
from hwmodels import load_chip
from neurosim import api
from neurosim.cli import main
from neurosim.convert import count
from neurosim.report import CSV_FILES

PAGE = Path(__file__).parents[2] / "docs" / "outputs.md"
RUN = ["run", "tiny.net", "--chip", "loihi2", "--input", "frames.npy"]


def left_behind(folder: Path) -> set[str]:
    """Names in `folder` beyond those the tests put there."""
    return {path.name for path in folder.iterdir()} - {"tiny.net", "frames.npy"}


def refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run what must fail with exit code 2 and nothing on standard output; return what it says."""
    assert main(args) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    return streams.err


def summary_of(args: list[str]) -> dict[str, Any]:
    assert main([*args, "--json", "summary.json"]) == 0
    summary: dict[str, Any] = json.loads(Path("summary.json").read_text(encoding="utf-8"))
    return summary


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def in_a_process(args: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from neurosim.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("steps", ["2", "12"])
def test_no_line_is_wider_than_the_terminal(
    width: int, steps: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main([*RUN, "--steps", steps]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= width
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    for layer in ("input", "conv1", "dense1", "dense2"):
        assert any(line.startswith(layer) for line in lines)


def test_report_says_the_numbers_of_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    summary = summary_of([*RUN, "--steps-per-inference", "2"])
    out = capsys.readouterr().out
    assert "tiny on loihi2" in out
    # 8 frames and a depth of 4; an inference of 2 timesteps begins every second one.
    assert "12 timesteps, 2 timesteps per inference, 4 inferences complete (3 steady)" in out
    energy = summary["energy_per_inference_j"]["value"]
    line = next(line for line in out.splitlines() if line.startswith("energy per inference"))
    value, unit = line.split()[3:5]
    scale = {"uJ": 1e-6, "nJ": 1e-9}[unit]
    assert float(value) * scale == pytest.approx(energy, rel=1e-3)
    assert f"{summary['layers'][0]['synops']:,}" in out
    for gap in summary["gaps"]:
        assert gap in " ".join(out.split())


def test_json_and_tables_are_the_same_bytes_in_every_process(folder: Path) -> None:
    outputs = []
    for seed in ("1", "2"):
        done = in_a_process([*RUN, "--json", "s.json", "--csv", "tables"], PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        files = [folder / "s.json", *(folder / "tables" / name for name in CSV_FILES)]
        outputs.append([done.stdout.encode(), *(path.read_bytes() for path in files)])
    assert outputs[0] == outputs[1]


def test_steps_default_to_frames_and_depth() -> None:
    assert summary_of(RUN)["timesteps"] == 8 + 4
    assert summary_of([*RUN, "--steps", "7"])["timesteps"] == 7


def test_program_runs_as_its_network(capsys: pytest.CaptureFixture[str]) -> None:
    setting = ["--set", "core.neuron.send_energy=40 pJ", "--seed", "3"]
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "tiny.h5", *setting]) == 0
    from_network = summary_of([*RUN, *setting])
    from_program = summary_of(["run", "tiny.h5", "--input", "frames.npy"])
    assert from_network.pop("model_sha256") == sha256("tiny.net")
    assert from_program.pop("model_sha256") == sha256("tiny.h5")
    assert from_network["settings"] == {"core.neuron.send_energy": "40 pJ"}
    assert from_network == from_program
    assert main(["run", "tiny.h5", "--chip", "loihi2", "--input", "frames.npy"]) == 0
    assert "set by the user: core.neuron.send_energy = 40 pJ" in capsys.readouterr().out


def test_setting_moves_the_energy_by_its_events() -> None:
    plain = summary_of(RUN)
    dearer = summary_of([*RUN, "--set", "core.neuron.send_energy=1035.5 pJ"])
    messages = sum(layer["messages"] for layer in plain["layers"])
    # The chip's own value is 35.5 pJ.
    rise = dearer["energy_run_j"]["value"] - plain["energy_run_j"]["value"]
    assert rise == pytest.approx(messages * 1000e-12, rel=1e-9)


def test_reader_options_reach_the_network() -> None:
    plain = summary_of(RUN)
    corrected = summary_of([*RUN, "--rounding", "corrected", "--cum-error"])
    assert plain["per_timestep"]["messages"] != corrected["per_timestep"]["messages"]


def test_summary_says_what_a_repetition_needs(folder: Path) -> None:
    chosen = ["--rounding", "corrected", "--set", "core.neuron.send_energy=40 pJ", "--seed", "3"]
    (folder / "deeper").mkdir()
    (folder / "frames.npy").rename(folder / "deeper" / "frames.npy")
    summary = summary_of([*RUN[:-1], "deeper/frames.npy", *chosen])
    assert summary["input"] == {
        "file": "frames.npy",
        "sha256": sha256("deeper/frames.npy"),
        "frames": 8,
        "layout": "TCHW",
    }
    assert summary["model_sha256"] == sha256("tiny.net")
    assert summary["options"] == {"rounding": "corrected", "cum_error": False}
    assert (summary["settings"], summary["seed"]) == ({"core.neuron.send_energy": "40 pJ"}, 3)
    plain = load_chip("loihi2", {"core.neuron.send_energy": "40 pJ"}).to_dict()
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert summary["chip_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert str(folder) not in json.dumps(summary)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_around_a_setting_are_those_of_a_chip_file(quote: str) -> None:
    summary = summary_of([*RUN, "--set", f"core.neuron.send_energy={quote}40 pJ{quote}"])
    assert summary["settings"] == {"core.neuron.send_energy": "40 pJ"}


def test_energy_ends_are_shown_where_the_terminal_is_narrow(capsys: pytest.CaptureFixture[str]) -> None:
    summary = summary_of(RUN)
    out = capsys.readouterr().out
    _, _, ends = out.partition("Where the energy per inference goes (continued)")
    assert ends.split()[:2] == ["low", "high"]
    whole = next(line for line in ends.splitlines() if line.startswith("all")).split()[1:]
    energy = summary["energy_per_inference_j"]
    for shown, end in zip(whole, ("low", "high"), strict=True):
        scale = 1e6 if "uJ" in ends.split("constant")[1].split("\n")[0] else 1e9
        assert float(shown.replace(",", "")) == pytest.approx(energy[end] * scale, abs=1e-3)


def test_report_says_what_its_range_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(RUN) == 0
    out = capsys.readouterr().out
    words = "energy constants and powers at the ends of their ranges, times at their values"
    assert words in " ".join(out.split())
    # The row of the headline stays on its line.
    row = next(line for line in out.splitlines() if line.startswith("energy per inference"))
    assert row.rstrip().endswith(", see below")


def test_tables_replace_those_of_an_earlier_run(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "layers.csv").write_text("old")
    (folder / "out" / "mine.txt").write_text("kept")
    assert main([*RUN, "--csv", "out"]) == 0
    assert {path.name for path in (folder / "out").iterdir()} == {*CSV_FILES, "mine.txt"}
    with (folder / "out" / "layers.csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["input", "conv1", "dense1", "dense2"]


def test_frames_in_either_order_give_the_same_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(folder / "lava.npy", np.load(folder / "frames.npy").transpose(0, 3, 2, 1))
    plain = summary_of(RUN)
    turned = summary_of([*RUN[:-1], "lava.npy"])
    assert plain.pop("notes") != turned.pop("notes")
    assert [run.pop("input")["layout"] for run in (plain, turned)] == ["TCHW", "TWHC"]
    assert plain == turned
    assert "(timestep, W, H, C)" in capsys.readouterr().out
    assert "layout TCHW" in refused([*RUN[:-1], "lava.npy", "--layout", "TCHW"], capsys)


def workload(folder: Path) -> neurosim_traces.Workload:
    return neurosim_traces.Workload("steering", folder / "tiny.net", folder / "frames.npy", "loihi2", "a stand-in")


def test_workload_brings_its_frames_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(neurosim_traces, "workload", lambda name: workload(folder))
    assert main(["run", "steering", "--chip", "loihi2"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "steering is the shipped workload" in out
    assert "the input is the frames that ship with steering" in out
    np.save("own.npy", np.zeros((2, 2, 6, 5), dtype=np.int16))
    assert main(["run", "steering", "--chip", "loihi2", "--input", "own.npy"]) == 0
    assert "the frames that ship" not in " ".join(capsys.readouterr().out.split())
    assert "steering fits loihi2" in refused(["run", "steering"], capsys)


def test_file_named_like_a_workload_comes_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "steering").write_bytes((folder / "tiny.net").read_bytes())
    # It is taken, and then refused for its suffix.
    assert 'steering: suffix "" is not known' in refused(
        ["run", "steering", "--chip", "loihi2", "--input", "frames.npy"], capsys
    )


def test_shipped_workload_runs(capsys: pytest.CaptureFixture[str]) -> None:
    shipped = neurosim_traces.workload("steering")
    summary = summary_of(["run", "steering", "--chip", shipped.chip_hint, "--steps", "9"])
    assert summary["model"] == "steering"
    assert summary["timesteps"] == 9


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "tiny.net", "--input", "frames.npy"], ["--chip", "loihi", "loihi2", "loihi_board"]),
        (["run", "tiny.net", "--chip", "loihi2"], ["--input"]),
        (["run", "tiny.net", "--chip", "loihi", "--input", "frames.npy"], ["tiny.net: tiny", "network.payload"]),
        ([*RUN, "--set", "mesh.cores_usable=2"], ["tiny.net: tiny needs 4 cores"]),
        (["run", "stering", "--chip", "loihi2"], ["stering", 'did you mean "steering"']),
        (["run", "other.net", "--chip", "loihi2", "--input", "frames.npy"], ["other.net", "no such file"]),
        ([*RUN, "--steps", "0"], ["--steps", "0"]),
        ([*RUN, "--steps", "-3"], ["--steps", "-3"]),
        ([*RUN, "--steps-per-inference", "0"], ["--steps-per-inference"]),
        ([*RUN, "--seed", "-1"], ["--seed"]),
        ([*RUN, "--set", "abc"], ["--set", '"abc" is not KEY=VALUE']),
        ([*RUN, "--set", "=3 pJ"], ["--set", '"=3 pJ" is not KEY=VALUE']),
        ([*RUN, "--set", "a.b=''"], ["--set", "is not KEY=VALUE"]),
        ([*RUN, "--set", "a.b=1", "--set", "a.b=2"], ["a.b is given twice"]),
        ([*RUN, "--set", "core.neuron.send_enrgy=3 pJ"], ["did you mean", "core.neuron.send_energy"]),
        ([*RUN, "--set", "core.neuron.send_energy=3 V"], ['"3 V" is not an energy']),
        ([*RUN[:3], "lohi2", *RUN[4:]], ['"lohi2"', 'did you mean "loihi2"']),
        ([*RUN, "--reset-interval", "4"], ["reset_interval"]),
        ([*RUN[:-1], "no.npy"], ["no.npy: no such file"]),
    ],
)
def test_wrong_use_names_what_and_a_way_out(
    args: list[str], words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused([*args, "--json", "s.json", "--csv", "tables"], capsys)
    for word in words:
        assert word in said
    assert left_behind(folder) == set()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (["--json", "no/s.json"], "--json no/s.json: there is no folder no"),
        (["--json", "taken"], "--json taken: is a folder"),
        (["--csv", "no/tables"], "--csv no/tables: there is no folder no"),
        (["--csv", "frames.npy"], "--csv frames.npy: is a file"),
    ],
)
def test_output_that_cannot_be_written_is_found_before_the_run(
    output: list[str],
    words: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def simulate(*args: object, **options: object) -> None:
        raise AssertionError("the run began")

    monkeypatch.setattr(api, "simulate", simulate)
    (folder / "taken").mkdir()
    assert words in refused([*RUN, *output], capsys)
    assert left_behind(folder) == {"taken"}


def test_failed_run_leaves_earlier_outputs_as_they_were(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "s.json").write_text("earlier")
    np.save(folder / "wide.npy", np.full((2, 2, 6, 5), 1 << 15, dtype=np.int32))
    narrow = ["--set", "network.payload=8 bit", "--json", "s.json", "--csv", "tables"]
    said = refused([*RUN[:-1], "wide.npy", *narrow], capsys)
    assert "network.payload" in said
    assert (folder / "s.json").read_text() == "earlier"
    assert left_behind(folder) == {"s.json", "wide.npy"}


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (["--seed", "0"], "--seed"),
        (["--set", "core.neuron.send_energy=1 pJ"], "--set"),
        (["--rounding", "corrected"], "--rounding"),
        (["--cum-error"], "--cum-error"),
        (["--reset-offset", "1"], "--reset-offset"),
    ],
)
def test_program_takes_no_option_of_compilation(
    option: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "tiny.h5"]) == 0
    capsys.readouterr()
    said = refused(["run", "tiny.h5", "--input", "frames.npy", *option], capsys)
    assert f"{name}: a compiled program takes no such option" in said


def test_program_of_another_chip_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "tiny.h5"]) == 0
    capsys.readouterr()
    said = refused(["run", "tiny.h5", "--chip", "loihi", "--input", "frames.npy"], capsys)
    assert 'compiled for chip "loihi2", not "loihi"' in said


@pytest.mark.parametrize(
    ("sign", "code", "how"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_run_ended_from_outside_leaves_nothing(sign: signal.Signals, code: int, how: str, folder: Path) -> None:
    assert in_a_process(RUN).returncode == 0  # compiles the kernels where that is still due
    # The second table of the run is held up: by then the first stands ready under its temporary name.
    program = (
        "import signal, sys, time\n"
        # Whoever starts the tests in the background leaves SIGINT ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from neurosim.cli import main\n"
        "from neurosim.report import tables\n"
        "def stuck(*_):\n"
        "    print('stuck', flush=True)\n"
        "    time.sleep(60)\n"
        "tables._TABLES['timesteps.csv'] = stuck\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, *RUN, "--json", "s.json", "--csv", "tables"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "stuck\n"
    assert any(path.suffix == ".part" for path in (folder / "tables").iterdir())
    child.send_signal(sign)
    out, said = child.communicate(timeout=60)
    assert (child.returncode, out) == (code, "")
    assert said.strip() == f"neurosim: {how}; nothing was written"
    assert left_behind(folder) == set()


def test_interrupt_after_the_files_names_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neurosim.report.print_report", interrupt)
    assert main([*RUN, "--json", "s.json", "--csv", "tables"]) == 130
    said = capsys.readouterr().err.strip()
    assert said.startswith("neurosim: interrupted; complete: ")
    assert set(said.partition("complete: ")[2].split(", ")) == {"s.json", *(f"tables/{name}" for name in CSV_FILES)}
    assert {path.name for path in (folder / "tables").iterdir()} == set(CSV_FILES)


def test_table_that_fails_leaves_those_of_an_earlier_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "out").mkdir()
    for name in CSV_FILES:
        (folder / "out" / name).write_text("old")

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("neurosim.report.write_summary", fail)
    with pytest.raises(ZeroDivisionError):
        main([*RUN, "--csv", "out", "--json", "s.json"])
    assert {path.name: path.read_text() for path in (folder / "out").iterdir()} == dict.fromkeys(CSV_FILES, "old")


def test_process_exits_with_2_and_keeps_standard_output_clean(folder: Path) -> None:
    done = in_a_process([*RUN[:3], "loihi3", *RUN[4:], "--json", "s.json"])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("neurosim: error: ")
    assert "Traceback" not in done.stderr
    assert left_behind(folder) == set()


def test_standard_error_is_silent_away_from_a_terminal() -> None:
    assert in_a_process(RUN).returncode == 0  # compiles the kernels where that is still due
    done = in_a_process([*RUN, "--steps", "60"])
    assert done.returncode == 0
    assert done.stderr == ""


def test_outputs_are_what_the_output_layers_sent() -> None:
    assert main([*RUN, "--outputs", "out.npz", "--results", "run.h5"]) == 0
    first = Path("out.npz").read_bytes()
    with np.load("out.npz") as out:
        assert set(out) == {"dense2", "dense2.first_timestep"}
        assert out["dense2"].dtype == np.int64
        assert out["dense2"].shape == (8 + 4, 3)
        assert out["dense2.first_timestep"].shape == ()
        assert out["dense2.first_timestep"] == 4
        with h5py.File("run.h5") as results:
            (kept,) = results["outputs"].values()
            assert np.array_equal(kept, out["dense2"])
            assert kept[:].any()
    assert main([*RUN, "--outputs", "out.npz", "--threads", "2"]) == 0
    assert Path("out.npz").read_bytes() == first


@pytest.mark.skipif(not PAGE.is_file(), reason="the tests run apart from the repository")
def test_outputs_give_the_accuracy_that_the_page_computes() -> None:
    """The lines of docs/outputs.md, on the labels that ship: they answer as the README of the workload counts."""
    page = PAGE.read_text(encoding="utf-8")
    (lines,) = re.findall(r'```python\n(out = np.load\("out.npz"\).*?)```', page, re.DOTALL)
    shipped = neurosim_traces.workload("digits_rounding")
    with np.load(shipped.frames_path) as held:
        names: dict[str, Any] = {"np": np, "labels": held["label"]}
        counted = count(api.load(shipped.model_path), held["frames"].reshape(100, -1).astype(np.int64))
    assert main(["run", "digits_rounding", "--chip", "loihi2", "--fidelity", "fast", "--outputs", "out.npz"]) == 0
    exec(lines, names)
    assert np.array_equal(names["answers"], counted.answers.argmax(axis=1))
    assert names["accuracy"] == (counted.answers.argmax(axis=1) == names["labels"]).mean() > 0.9


def test_outputs_have_a_name_in_npz(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a file of arrays has a name in .npz" in refused([*RUN, "--outputs", "out.npy"], capsys)


@pytest.mark.parametrize(
    ("options", "inferences", "words"),
    [
        # 12 timesteps by default, of which an answer to the last frame takes 4.
        (["5"], 1, "the last 3 of 8 frames fill no inference of 5 timesteps"),
        (["7"], 1, "the last of 8 frames fills no inference of 7 timesteps"),
        (["3"], 3, "the last inference has 2 of 3 frames; the last one is held for its other timesteps"),
        (["3", "--steps", "11"], 2, "the last 2 of 8 frames fill no inference of 3 timesteps"),
        (["5", "--steps", "13"], 2, "the last inference has 3 of 5 frames"),
        (["1"], 8, None),
        (["2"], 4, None),
        (["8"], 1, None),
    ],
)
def test_frames_that_fill_no_inference_are_noted(options: list[str], inferences: int, words: str | None) -> None:
    summary = summary_of([*RUN, "--steps-per-inference", *options])
    assert summary["inferences"] == inferences
    said = [note for note in summary["notes"] if " no inference of " in note or "is held" in note]
    if words is None:
        assert not said
    else:
        (note,) = said
        assert note.startswith(words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello\nworld\n", 'cannot be read as .npy (it is text that begins with "hello")'),
        (b"", "cannot be read as .npy (it is empty)"),
        (b"\x00\x01\x02", "cannot be read as .npy (it does not begin as numpy's files do)"),
        (b"\x93NUMPY\x01", "cannot be read as .npy (EOF"),
    ],
)
def test_frames_that_are_no_arrays(content: bytes, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.npy").write_bytes(content)
    said = refused(["run", "tiny.net", "--chip", "loihi2", "--input", "text.npy"], capsys)
    assert words in said
    assert "pickle" not in said
