"""The tutorials: their code and commands run, and print what stands in them."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.cli import main
from neurosim_traces import workload

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "convert-your-own.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the tests run apart from the repository")


def block(mark: str) -> str:
    found = re.search(rf"<!-- tutorial: {mark} -->\n```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found, mark
    return found[1]


@pytest.mark.filterwarnings("ignore")
def test_ten_lines_print_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="the extra torch is not installed")
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    lines = [line for line in block("ten lines").splitlines() if line]
    assert len(lines) == 10
    names: dict[str, Any] = {}
    for mark in ("network", "ten lines"):
        exec(compile(block(mark), mark, "exec"), names)
    assert capsys.readouterr().out == block("output")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not a valid input/output name")
        exec(compile(block("export"), "export", "exec"), names)
    (given,) = onnx.load("net.onnx").graph.input
    assert [axis.dim_param or axis.dim_value for axis in given.type.tensor_type.shape.dim] == ["batch", 1, 8, 8]
    command = shlex.split(block("commands").splitlines()[0])
    assert main([*command[1:], "--json", "report.json"]) == 0
    found = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert found["graded_synops"] == names["found"].report.graded_synops
    assert found["error_percent"] == names["found"].report.error_percent


def save_onnx(path: str) -> None:
    """Write the page's network as an ONNX file, without PyTorch."""
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    helper = onnx.helper
    with np.load(workload("digits_sigma_delta").model_path.parent / "weights.npz") as file:
        arrays = dict(file)
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("AveragePool", ["r0"], ["p0"], **pool),
        helper.make_node("Conv", ["p0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("AveragePool", ["r1"], ["p1"], **pool),
        helper.make_node("Flatten", ["p1"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 10])],
        [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)


def test_commands_run_and_give_the_energies_of_the_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    save_onnx("net.onnx")
    with np.load(workload("digits_sigma_delta").frames_path) as shipped:
        images, labels = shipped["frames"][:40] / 16, shipped["label"][:40]
    np.save("images.npy", images)
    np.savez("test.npz", inputs=images, labels=labels)
    lines = block("commands").splitlines()
    assert [shlex.split(line)[:2] for line in lines] == [["neurosim", name] for name in ("convert", "run", "compare")]
    for line in lines[:-1]:
        assert main(shlex.split(line)[1:]) == 0
    assert main([*shlex.split(lines[-1])[1:], "--json", "rows.json"]) == 0
    rows = json.loads(Path("rows.json").read_text(encoding="utf-8"))["rows"]
    energies = {row["chip"]: row["energy_per_inference_j"]["value"] * 1e6 for row in rows if row["chip"]}
    for chip in ("loihi2", "spinnaker"):
        assert f"{chip}: {energies[chip]:.4g} uJ" in block("output")
    baseline = next(row for row in rows if row["origin"] != "simulated")
    # As the page says, the dense array takes less than the chip.
    assert baseline["energy_per_inference_j"]["value"] * 1e6 < energies["loihi2"]


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text(encoding="utf-8")):
        assert "://" in target or (PAGE.parent / target).exists(), target
