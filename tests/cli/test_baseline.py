"""`neurosim baseline`: a row for each baseline, the same numbers in its file, and early errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwmodels import baseline_names, load_baseline
from neurosim.cli import main
from neurosim.costs import baseline_cost
from neurosim.formats import read_network
from neurosim_traces import workload


def test_every_baseline_has_its_row_and_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "costs.json"
    names = ",".join(baseline_names())
    args = ["baseline", "steering", "--on", names, "--frames", "2", "--batch", "8", "--json", str(file)]
    assert main(args) == 0
    out = capsys.readouterr().out
    held = json.loads(file.read_text(encoding="utf-8"))
    assert held["schema"] == "neurosim.baselines/1"
    assert [one["baseline"] for one in held["baselines"]] == baseline_names()
    network = read_network(workload("steering").model_path)
    for one in held["baselines"]:
        cost = baseline_cost(network, one["baseline"], 2, batch=8)
        assert one["energy_per_inference_j"]["value"] == cost.energy_j.value
        assert one["latency_at_least_s"] == cost.latency_s
        assert one["traffic_bytes_per_inference"] == cost.traffic_bytes
        assert sum(term["energy_per_inference_j"]["value"] for term in one["energy_terms"]) == pytest.approx(
            cost.energy_j.value, rel=1e-12
        )
        assert f"\n{one['baseline']} " in out
    assert "2 frames an inference, batch of 8, 8-bit activations" in out
    assert "mcu: Energy per MAC of any real microcontroller: none" in " ".join(out.split())


def test_the_page_names_every_baseline_and_every_key(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "baselines.md").read_text(encoding="utf-8")
    command = next(line for line in page.splitlines() if line.startswith("neurosim baseline"))
    file = tmp_path / "costs.json"
    assert main(command.replace("costs.json", str(file)).split()[1:]) == 0
    held = json.loads(file.read_text(encoding="utf-8"))
    first = held["baselines"][0]
    keys = [*held, *first, *first["energy_terms"][0], *first["layers"][0]]
    assert [key for key in keys if f"`{key}`" not in page] == []
    assert [name for name in baseline_names() if f"`{name}`" not in page] == []
    for table in ("operations", "row_stationary", "systolic"):
        fields = next(load_baseline(name) for name in baseline_names() if load_baseline(name).style == table)
        assert [key for key in type(getattr(fields, table)).model_fields if f"`{key}`" not in page] == []


def test_the_same_bytes_again(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.json", "b.json")]
    for file in files:
        assert main(["baseline", "steering", "--on", "eyeriss,tpu_v1", "--json", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_density_adds_the_row_without_zeros(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "costs.json"
    assert main(["baseline", "steering", "--on", "eyeriss,cpu", "--density", "0.25", "--json", str(file)]) == 0
    plain, gated, cpu = json.loads(file.read_text(encoding="utf-8"))["baselines"]
    assert [one["zeros"] for one in (plain, gated, cpu)] == [None, "gated", None]
    assert gated["macs_done_per_inference"] == pytest.approx(plain["macs_per_inference"] / 4)
    assert "eyeriss, zeros gated" in capsys.readouterr().out


def test_a_compiled_program_gives_its_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "steering.h5"
    assert main(["compile", "steering", "--chip", "loihi2", "-o", str(program)]) == 0
    costs = []
    for model in ("steering", str(program)):
        file = tmp_path / "costs.json"
        assert main(["baseline", model, "--on", "eyeriss", "--json", str(file)]) == 0
        costs.append(json.loads(file.read_text(encoding="utf-8"))["baselines"])
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ([], f"Missing option '--on'. The baselines are {', '.join(baseline_names())}"),
        (["--on", "cpu,gppu"], 'unknown baseline "gppu"; did you mean "gpu"'),
        (["--on", "cpu", "--json", "gone/x.json"], "--json gone/x.json: there is no folder gone"),
        (["--on", "cpu", "--density", "2"], "2.0 is not in the range"),
        (["--on", "eyeriss", "--activation-bits", "24"], "steering: connection "),
        (["--on", "tpu_v1", "--batch", "100000"], "the buffer has 24 MiB; use a smaller batch"),
    ],
    ids=str,
)
def test_errors(args: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "steering", *args]) == 2
    assert complaint in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["baseline", "steering", "--on", ",".join(baseline_names()), "--density", "0.5"]) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= width


def test_chips_list_no_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips"]) == 0
    assert "eyeriss" not in capsys.readouterr().out
