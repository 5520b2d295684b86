"""What conversion and training refuse, by every method and from the command line, and what their errors say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.cli import main
from neurosim.convert import DeltaTraining, ScaleOptions, TuneOptions, make_plan, train_delta
from neurosim.convert.scales import check_frames
from neurosim.errors import InputError
from neurosim.formats.dense_graph import DenseGraph, Flatten, Gru, Input, Linear

RNG = np.random.default_rng(0)
WEIGHTS = {"w0": RNG.normal(size=(6, 5)), "b0": RNG.normal(size=5), "w1": RNG.normal(size=(5, 3))}
FRAMES = RNG.uniform(0, 1, (20, 6))
METHODS = {
    "rounding": ["--to", "rounding", "--scale", "8"],
    "sigma-delta": ["--to", "sigma-delta"],
    "tuned": ["--to", "sigma-delta", "--weights", "tuned"],
    "lava": ["--to", "lava", "--threshold", "0.1"],
    "fixed-point": ["--to", "fixed-point"],
    "hybrid": ["--to", "hybrid", "--omega", "4"],
}


def refused(folder: Path, method: str, capsys: Any, data: Any = FRAMES, test: Any = None, **weights: Any) -> str:
    """Run `neurosim convert` on what is wrong; return the error."""
    np.savez(folder / "net.npz", **(WEIGHTS | weights))
    np.save(folder / "data.npy", data)
    output = folder / ("out.net" if method == "lava" else "out.nsnet")
    command = ["convert", str(folder / "net.npz"), *METHODS[method], "--input-scale", "0.004", "-o", str(output)]
    if test is not None:
        np.savez(folder / "test.npz", **test)
        command += ["--test", str(folder / "test.npz")]
    assert main([*command, "--data", str(folder / "data.npy")]) == 2
    assert not output.exists()
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("neurosim: error: ")
    return said


def with_one(value: float) -> Any:
    frames = FRAMES.copy()
    frames[3, 4] = value
    return frames


@pytest.mark.parametrize("method", METHODS)
def test_wrong_frames_and_labels_are_named_with_their_file(method: str, tmp_path: Path, capsys: Any) -> None:
    labels = np.zeros(20, dtype=np.int64)
    assert "data.npy: inputs have shape [20, 4]; net takes (frames, 6)" in refused(
        tmp_path, method, capsys, FRAMES[:, :4]
    )
    assert "data.npy: inputs[3, 4] is nan" in refused(tmp_path, method, capsys, with_one(np.nan))
    for test, words in (
        ({"inputs": with_one(np.inf)}, "test.npz: inputs[3, 4] is inf"),
        ({"inputs": FRAMES, "labels": np.where(np.arange(20) == 7, 3, labels)}, "test.npz: labels[7] is 3; the answer"),
        ({"inputs": FRAMES, "labels": labels - 1}, "labels[0] is -1; the answer has classes 0..2 (20 of 20 labels"),
        ({"inputs": FRAMES, "labels": labels[:7]}, "labels have shape [7] and dtype int64; give 20 integers"),
        ({"inputs": FRAMES, "labels": labels * 0.5}, "labels have shape [20] and dtype float64"),
    ):
        assert words in refused(tmp_path, method, capsys, test=test)


@pytest.mark.parametrize("method", METHODS)
def test_numbers_that_overflow_a_format_are_named_with_their_layer(method: str, tmp_path: Path, capsys: Any) -> None:
    said = refused(tmp_path, method, capsys, b0=WEIGHTS["b0"] * 1e12)
    assert "layer relu1: a bias of " in said
    if method == "hybrid":
        said = refused(tmp_path, method, capsys, w0=WEIGHTS["w0"] * 1e30)
        assert re.search(r"layer relu1: its values reach \S+e\+30, which is \S+e\+31 messages a timestep", said)
    elif method != "lava":  # Lava's form scales each layer's values as its weights ask for.
        said = refused(tmp_path, method, capsys, w0=WEIGHTS["w0"] * 1e30)
        assert "layer relu1: its sums are to be multiplied by " in said
    else:
        assert "data.npy" in refused(tmp_path, method, capsys, FRAMES * np.nan)


@pytest.mark.parametrize("method", ["sigma-delta", "tuned", "lava", "fixed-point", "hybrid"])
def test_calibration_frames_of_nothing_but_zeros_are_refused(method: str, tmp_path: Path, capsys: Any) -> None:
    assert "all 20 calibration inputs are 0" in refused(tmp_path, method, capsys, FRAMES * 0)


@pytest.mark.parametrize("method", METHODS)
def test_unsupported_operators_are_named_with_their_node(method: str, tmp_path: Path, capsys: Any) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    helper = onnx.helper
    for kind, words in (
        ("Erf", "operator gelu_3 (Erf): is not supported"),
        ("Sigmoid", "node y (activation): sigmoid is none of relu and clip around 0"),
    ):
        graph = helper.make_graph(
            [helper.make_node("Gemm", ["x", "w"], ["u"]), helper.make_node(kind, ["u"], ["y"], name="gelu_3")],
            "g",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 6])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])],
            [onnx.numpy_helper.from_array(np.ones((6, 3), np.float32), "w")],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "net.onnx")
        np.save(tmp_path / "data.npy", FRAMES)
        output = tmp_path / ("out.net" if method == "lava" else "out.nsnet")
        command = ["convert", str(tmp_path / "net.onnx"), *METHODS[method], "--data", str(tmp_path / "data.npy")]
        assert main([*command, "--input-scale", "0.004", "-o", str(output)]) == 2
        assert words in " ".join(capsys.readouterr().err.split())


def test_labels_beside_calibration_frames_are_not_taken_in_silence(tmp_path: Path, capsys: Any) -> None:
    np.savez(tmp_path / "net.npz", **WEIGHTS)
    np.savez(tmp_path / "data.npz", inputs=FRAMES, labels=np.zeros(20, np.int64))
    command = ["convert", str(tmp_path / "net.npz"), *METHODS["rounding"], "--data", str(tmp_path / "data.npz")]
    assert main([*command, "--input-scale", "0.004", "-o", str(tmp_path / "out.nsnet")]) == 0
    assert "its labels are not used; give them with --test" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_rates_that_train_nothing_are_refused(rate: str, tmp_path: Path, capsys: Any) -> None:
    np.savez(tmp_path / "net.npz", **WEIGHTS)
    np.save(tmp_path / "data.npy", FRAMES)
    command = ["convert", str(tmp_path / "net.npz"), *METHODS["tuned"], "--rate", rate, "--input-scale", "0.004"]
    assert main([*command, "--data", str(tmp_path / "data.npy"), "-o", str(tmp_path / "out.nsnet")]) == 2
    assert "it must be a number above 0" in capsys.readouterr().err
    for options in (TuneOptions, ScaleOptions):
        with pytest.raises(InputError, match="rate is"):
            options(rate=float(rate))


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ((5, 3, 4, 2), True),
        ((5, 24), True),
        ((5, 3, 4, 2, 1), True),
        ((5, 4, 2, 3), False),
        ((5, 2, 4, 3), False),
        ((5, 4, 6), False),
        ((24,), False),
    ],
)
def test_images_whose_axes_stand_otherwise_are_not_read_as_others(given: tuple[int, ...], fits: bool) -> None:
    nodes = [Input("x", (), (3, 4, 2)), Flatten("f", ("x",)), Linear("y", ("f",), np.ones((2, 24)), np.zeros(2))]
    plan = make_plan(DenseGraph(nodes))
    if fits:
        assert check_frames(plan, np.ones(given)).shape == (5, 3, 4, 2)
        return
    with pytest.raises(InputError, match=re.escape("takes (frames, 3, 4, 2)")) as caught:
        check_frames(plan, np.ones(given))
    assert ("move their last axis" in str(caught.value)) == (given == (5, 4, 2, 3))


NODE = Gru("g", ("x",), np.ones((6, 3)), np.ones((6, 2)), np.zeros(6), np.zeros(6))
READOUT = Linear("y", ("g",), np.ones((4, 2)), np.zeros(4))
SEQUENCES: dict[str, Any] = {"inputs": np.ones((5, 7, 3)), "lengths": np.full(5, 7), "labels": np.arange(5) % 4}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"inputs": np.ones((5, 7))}, "inputs have shape [5, 7]; give (sequences, frames, 3)"),
        ({"inputs": np.ones((5, 7, 4))}, "inputs have shape [5, 7, 4]"),
        ({"inputs": np.ones((0, 7, 3))}, "inputs have shape [0, 7, 3]"),
        ({"inputs": np.full((5, 7, 3), np.nan)}, "inputs[0, 0, 0] is nan"),
        ({"inputs": np.full((5, 7, 3), 1e39)}, "inputs[0, 0, 0] is 1e+39; inputs must be finite in 32 bits"),
        ({"lengths": np.array([7, 7, 8, 7, 7])}, "lengths[2] is 8; it must lie in 1..7"),
        ({"lengths": np.full(5, 7.5)}, "lengths have shape [5] and dtype float64; give 5 integers"),
        ({"labels": np.array([0, 1, 2, 3, 4])}, "labels[4] is 4; it must lie in 0..3"),
        ({"labels": np.array([0, 1, -1, 3, 0])}, "labels[2] is -1"),
        ({"labels": np.array([0.5] * 5)}, "labels have shape [5] and dtype float64"),
        ({"labels": np.arange(3)}, "labels have shape [3]"),
    ],
)
def test_sequences_that_a_delta_gru_cannot_learn_from(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        train_delta(NODE, READOUT, **(SEQUENCES | changed), options=DeltaTraining(0.1, 0.1, epochs=1))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"input_threshold": -0.1}, "input_threshold is -0.1; it must be a number of 0 or more"),
        ({"state_threshold": np.nan}, "state_threshold is nan"),
        ({"noise": np.inf}, "noise is inf"),
        ({"sparsity": -1.0}, "sparsity is -1.0"),
        ({"epochs": 0}, "epochs is 0; it must be 1 or more"),
        ({"batch": 0}, "batch is 0"),
        ({"rate": 0.0}, "rate is 0.0; it must be a number above 0"),
    ],
)
def test_settings_that_train_no_delta_gru(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        replace(DeltaTraining(0.1, 0.1), **changed)
