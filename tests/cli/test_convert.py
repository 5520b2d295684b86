"""`neurosim convert`: what it writes runs, what it reports, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import neurosim
from neurosim.cli import main
from neurosim.compiler import read_network_file, write_network_file
from neurosim.errors import ModelError
from neurosim.network import Network


@pytest.fixture
def dense(folder: Path) -> Path:
    """A small dense network `dense.npz`, calibration `cal.npy` and test frames with labels `test.npz`."""
    rng = np.random.default_rng(0)
    arrays = {"w0": rng.normal(size=(12, 10)) / 3, "b0": rng.normal(size=10) / 4, "w1": rng.normal(size=(10, 4)) / 3}
    np.savez(folder / "dense.npz", **arrays)
    frames = np.clip(np.cumsum(rng.integers(-20, 20, (60, 12)), axis=0) + 100, 0, 255).astype(np.uint8)
    np.save(folder / "cal.npy", frames)
    hidden = np.maximum(frames / 255 @ arrays["w0"] + arrays["b0"], 0)
    labels = (hidden @ arrays["w1"]).argmax(axis=1)
    np.savez(folder / "test.npz", inputs=frames[:30], labels=labels[:30])
    (folder / "text.npy").write_text("hello\nworld\n")
    return folder


CONVERT = ["convert", "dense.npz", "--data", "cal.npy", "--input-scale", "0.00392156862745098", "-o", "net.nsnet"]


def test_the_network_runs_and_sends_what_was_reported(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = ["--to", "sigma-delta", "--scale", "8", "--json", "report.json", "--frames", "ints.npy"]
    assert main([*CONVERT, *extra]) == 0
    assert "written to net.nsnet" in capsys.readouterr().out
    report = json.loads((dense / "report.json").read_text())
    result = neurosim.simulate(neurosim.compile(neurosim.load("net.nsnet"), "loihi2"), np.load("ints.npy"), steps=62)
    counted = result.counts.layer_counts
    assert counted[:, :2, 0].sum() == pytest.approx(report["messages"] * 60)
    assert counted[:, :, 1].sum() == pytest.approx(report["graded_synops"] * 60)
    assert main(["run", "net.nsnet", "--input", "ints.npy", "--chip", "loihi2", "--steps", "3"]) == 0
    assert main(["info", "net.nsnet"]) == 0
    assert "rounding" in capsys.readouterr().out
    few = ["--input", "ints.npy", "--steps", "3"]
    assert main(["compare", "net.nsnet", "--chips", "loihi2", *few, "--baselines", "cpu"]) == 0
    assert main(["baseline", "net.nsnet", "--on", "cpu"]) == 0


def test_an_onnx_file_gives_what_its_arrays_give(dense: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    helper, held = onnx.helper, dict(np.load("dense.npz"))
    arrays = {"w0": held["w0"].T, "b0": held["b0"], "w1": held["w1"].T}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w0", "b0"], ["u"], transB=1),
            helper.make_node("Relu", ["u"], ["h"]),
            helper.make_node("Gemm", ["h", "w1"], ["y"], transB=1),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 12])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])],
        [onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), "dense.onnx")
    np.savez("dense.npz", **{name: values.astype(np.float32) for name, values in held.items()})
    reports = []
    for name in ("dense.npz", "dense.onnx"):
        extra = ["--to", "sigma-delta", "--scale", "8", "--json", "report.json"]
        assert main(["convert", name, *CONVERT[2:], *extra]) == 0
        reports.append(json.loads(Path("report.json").read_text(encoding="utf-8")))
    for key in ("messages", "graded_synops"):
        assert reports[0][key] == reports[1][key] > 0


def test_labels_give_errors(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CONVERT, "--to", "rounding", "--scale", "64", "--scale", "32", "--test", "test.npz"]) == 0
    out = capsys.readouterr().out
    assert "error 0.00 % on 30 frames, original 0.00 %" in " ".join(out.split())


def test_a_curve_writes_the_cheapest_within(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several = ["--lambda", "1e-3", "--lambda", "1e-6", "--curve", "curve.json", "--json", "report.json"]
    assert main([*CONVERT, "--to", "sigma-delta", *several, "--within", "100"]) == 0
    curve = json.loads((dense / "curve.json").read_text())
    assert sorted(row["lambda"] for row in curve) == [1e-6, 1e-3]
    adds = [row["sigma_delta_adds"] for row in curve]
    assert adds == sorted(adds)
    assert json.loads((dense / "report.json").read_text())["sigma_delta_adds"] == adds[0]
    assert "unbeaten" in capsys.readouterr().out


def test_a_curve_of_which_none_is_good_enough_is_written_all_the_same(
    dense: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = ["--lambda", "1", "--lambda", "2", "--curve", "curve.json", "--within", "0", "--per", "layer"]
    assert main([*CONVERT, "--to", "rounding", *several]) == 2
    said = capsys.readouterr().err
    assert "give a smaller --lambda, a larger --within or --weights tuned; the reports of all stand in curve" in said
    assert len(json.loads((dense / "curve.json").read_text())) == 2
    assert not (dense / "net.nsnet").exists()
    (dense / "curve.json").unlink()
    assert main([*CONVERT, "--to", "rounding", *several, "--weights", "tuned"]) == 2
    assert "a larger --within or more --epochs; the reports" in capsys.readouterr().err
    assert len(json.loads((dense / "curve.json").read_text())) == 2


def test_the_search_for_scales_has_options_and_says_how_far_it_went(
    dense: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert = [*CONVERT, "--to", "rounding", "--json", "report.json"]
    assert main([*convert, "--scale-epochs", "3"]) == 0
    said = capsys.readouterr().out
    assert "the search for scales made 3 steps" in said
    assert "note: the scales of " in said
    report = json.loads((dense / "report.json").read_text())
    assert report["scale_steps"] == 3
    assert report["unsettled"]
    assert main([*convert, "--scale-rate", "0.05"]) == 0
    said = capsys.readouterr().out
    assert "the search for scales made 1,000 steps" in said
    assert "still moving" not in said
    assert main([*convert, "--scale", "8"]) == 0
    assert "the search" not in capsys.readouterr().out
    assert main([*convert, "--scale", "8", "--scale-epochs", "3"]) == 2
    assert "--scale-epochs: of no effect" in capsys.readouterr().err
    assert main([*convert, "--epochs", "3"]) == 2
    assert "the search for scales has --scale-epochs and --scale-rate" in capsys.readouterr().err


def test_fixed_point(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CONVERT, "--to", "fixed-point", "--bits", "6", "--json", "report.json"]) == 0
    report = json.loads((dense / "report.json").read_text())
    assert max(report["weight_bits"].values()) <= 6
    assert max(report["message_bits"].values()) <= 6


def test_the_same_seed_gives_the_same_bytes(dense: Path) -> None:
    for name in ("a.nsnet", "b.nsnet"):
        command = [*CONVERT[:-1], name, "--to", "sigma-delta", "--weights", "tuned", "--seed", "3"]
        assert main(command) == 0
    assert (dense / "a.nsnet").read_bytes() == (dense / "b.nsnet").read_bytes()


def test_lava_form_is_a_netx_file(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        *CONVERT[:-1],
        "net.net",
        "--to",
        "lava",
        "--json",
        "report.json",
        "--frames",
        "ints.npy",
        "--test",
        "test.npz",
    ]
    assert main([*command, "--threshold", "0.01"]) == 0
    assert "1 in an answer stands for" in capsys.readouterr().out
    report = json.loads((dense / "report.json").read_text())
    assert report["error_percent"] <= 10
    network = neurosim.load("net.net", rounding="corrected")
    result = neurosim.simulate(neurosim.compile(network, "loihi2"), np.load("ints.npy"), steps=32)
    # Biases are sent before the first frame comes to their layer; the report counts from then on.
    biases = np.count_nonzero(network.layers[1].unit.bias > 0)
    messages = result.counts.layer_counts[:, 0, 0].sum()
    assert messages <= report["messages"] * 30 <= result.counts.layer_counts[:, :2, 0].sum() + biases
    # Coarser thresholds send less.
    assert main([*command, "--threshold", "0.2"]) == 0
    assert json.loads((dense / "report.json").read_text())["messages"] < report["messages"]


@pytest.mark.parametrize(("inputs", "chip"), [("graded", "loihi2"), ("spikes", "loihi"), ("spikes", "spinnaker")])
def test_rates_of_spikes_run_and_send_what_was_reported(
    dense: Path, capsys: pytest.CaptureFixture[str], inputs: str, chip: str
) -> None:
    given = ["--to", "lif", "--timesteps", "12", "--inputs", inputs, "--test", "test.npz"]
    extra = ["--json", "report.json", "--frames", "ints.npy", "--percentile", "100", "--first", "empty", "--bits", "7"]
    assert main([*CONVERT, *given, *extra]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "a sample takes 12 timesteps" in out
    assert "written to net.nsnet" in out
    report = json.loads((dense / "report.json").read_text())
    assert report["samples"] == 30
    assert [row["timesteps"] for row in report["curve"]] == [2, 4, 8, 12]
    assert max(report["weight_bits"].values()) == 7
    frames = np.load("ints.npy")
    assert frames.shape == (360, 12)
    result = neurosim.simulate(neurosim.compile(neurosim.load("net.nsnet"), chip), frames, steps=361)
    assert result.energy_run.dynamic_j.value > 0
    assert result.counts.duration_ps.min() > 0
    counted = result.counts.layer_counts
    assert counted[:360, 0, 0].sum() == pytest.approx(report["input_messages"] * 30)
    assert counted[:, 1, 0].sum() == pytest.approx(report["spikes"] * 30)


@pytest.mark.parametrize(
    ("given", "omega"), [(["--omega", "3"], 3.0), (["--omega", "relu*=1.5", "--read", "4", "--first", "random"], 1.5)]
)
def test_hybrid_spiking_networks_run_and_send_what_was_reported(
    dense: Path, capsys: pytest.CaptureFixture[str], given: list[str], omega: float
) -> None:
    extra = ["--timesteps", "6", "--test", "test.npz", "--json", "report.json", "--frames", "ints.npy"]
    assert main([*CONVERT, "--to", "hybrid", *given, *extra]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"the sum of {4 if '--read' in given else 6}" in out
    assert f"{omega:.6g}" in out
    report = json.loads((dense / "report.json").read_text())
    assert [row["timesteps"] for row in report["curve"]] == [1, 2, 4, 6]
    frames = np.load("ints.npy")
    assert frames.shape == (180, 12)
    result = neurosim.simulate(neurosim.compile(neurosim.load("net.nsnet"), "loihi2"), frames, steps=182)
    counted = result.counts.layer_counts
    assert counted[:180, 0, 0].sum() == pytest.approx(report["input_messages"] * 30)
    # Timestep 182 is the first after the last sample: its residuals are set back, and the layer sends on by its biases.
    assert counted[1:181, 1, 0].sum() == pytest.approx(report["messages"] * 30)
    answers = next(iter(result.counts.outputs.values()))[2 + 5 :: 6][:30]
    with np.load("test.npz") as test:
        right = (answers.argmax(axis=1) == test["labels"]).mean() * 100
    assert 100 - right == pytest.approx(report["error_percent"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "hybrid"], "--to hybrid needs --omega N"),
        (["--to", "hybrid", "--omega", "4", "--percentile", "99"], "--percentile: of no effect with --to hybrid"),
        (["--to", "hybrid", "--omega", "4", "--threshold", "1"], "--threshold: of no effect"),
        (["--to", "hybrid", "--omega", "relu=4"], 'omega of "relu": no layer has this name'),
        (["--to", "hybrid", "--omega", "4", "--first", "empty"], 'first is "empty"; use half or random'),
        (["--to", "hybrid", "--omega", "4", "--read", "9"], "read is 9; it must lie in 1..8"),
        (["--to", "hybrid", "--omega", "x"], "--omega x: x is no number"),
        (["--to", "lif", "--omega", "4"], "--omega: of no effect with --to lif"),
        (["--to", "lif", "--first", "random"], 'first is "random"; use half or empty'),
        (["--to", "lif", "--timesteps", "1"], "timesteps is 1; it must be 2 or more"),
        (["--to", "lif", "--scale", "2"], "--scale: of no effect with --to lif"),
        (["--to", "lif", "--rule", "max"], "--rule: of no effect"),
        (["--to", "lif", "--per", "layer"], "--per: of no effect"),
        (["--to", "rounding", "--scale", "4", "--timesteps", "8"], "--timesteps: of no effect with --to rounding"),
        (["--to", "fixed-point", "--first", "half"], "--first: of no effect"),
        (["--to", "lif", "--percentile", "0"], "percentile is 0.0; it must lie above 0"),
        (["--to", "lava", "--threshold", "1"], "a network converted to lava has a name in .net"),
        (["--to", "lava", "-o", "net.net"], "--to lava needs --threshold"),
        (["--to", "lava", "--threshold", "1", "--bits", "4", "-o", "net.net"], "--bits: of no effect"),
        (["--to", "rounding", "--threshold", "1"], "--threshold: of no effect"),
        (["--to", "fixed-point", "--weights", "tuned"], "--weights: of no effect with --to fixed-point"),
        (["--to", "sigma-delta", "--rule", "max"], "--rule: of no effect"),
        (["--to", "sigma-delta", "--scale", "4", "--lambda", "1"], "--scale: of no effect"),
        (["--to", "sigma-delta", "--lambda", "1", "--lambda", "2"], "several --lambda need --within"),
        (["--to", "sigma-delta", "--lambda", "1", "--lambda", "2", "--within", "-1"], "no lambda's answers differ"),
        (["--to", "rounding", "--scale", "4", "--test", "none.npz"], "none.npz: no such file"),
        (["--to", "rounding", "--scale", "1", "--scale", "2", "--scale", "3"], "3 scales are given"),
        (["--to", "rounding", "--scale", "0"], "a scale given for input is 0; scales must be above 0"),
        (["--to", "rounding", "--scale", "1,2"], '"1,2" is no number; repeat the option, with one number each time'),
        (["--to", "rounding", "--scale", "x"], '"x" is no number'),
        (["--to", "rounding", "--scale", "4", "--test", "text.npy"], 'it is text that begins with "hello'),
        (["--to", "rounding", "--scale", "4", "-o", "net.net"], "a network converted to rounding has a name in .nsnet"),
    ],
)
def test_what_makes_no_sense_is_refused(
    dense: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main([*CONVERT, *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (dense / "net.nsnet").exists()


def test_floats_need_an_input_scale(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("cal.npy", np.zeros((3, 12)))
    assert main(["convert", "dense.npz", "--data", "cal.npy", "--to", "rounding", "-o", "net.nsnet"]) == 2
    assert "give --input-scale" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"w0": np.zeros((3, 2)), "b0": np.zeros(3)}, "b0 has shape [3]; w0 asks for [2]"),
        ({"w1": np.zeros((3, 2))}, "w0 is missing"),
        ({"b0": np.zeros(2)}, "holds no weights"),
        ({"w0": np.zeros((3, 2)), "b1": np.zeros(2)}, "b1 belongs to no weights: there are w0..w0"),
        ({"w0": np.zeros((3, 2)), "scale": np.zeros(2)}, '"scale" is not known'),
        ({"w0": np.zeros((3, 2)), "w1": np.zeros((4, 2))}, "takes 4 values"),
        ({"w0": np.full((3, 2), np.inf)}, "not finite"),
    ],
)
def test_dense_files_that_are_wrong(
    dense: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, np.ndarray], words: str
) -> None:
    np.savez("dense.npz", **arrays)
    assert main([*CONVERT, "--to", "rounding", "--scale", "4"]) == 2
    assert words in capsys.readouterr().err


def test_every_method_says_in_one_way_what_an_answer_stands_for_and_which_counts_are_alike(
    dense: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in (
        ["rounding", "--scale", "8"], ["fixed-point"], ["lif"], ["hybrid", "--omega", "4"],
        ["lava", "--threshold", "0", "-o", "net.net"],
    ):  # fmt: skip
        assert main([*CONVERT, "--to", *method, "--json", "report.json"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert said.count(" in an answer stands for ") == 1
        assert "two a synapse" in said
        # 12 x 10 and 10 x 4 weights: a multiplication each, and an addition fewer a sum.
        assert json.loads((dense / "report.json").read_text())["dense_operations"] == 2 * (120 + 40) - 14


def test_network_files_come_back_equal(network: Network, folder: Path) -> None:
    write_network_file(network, "a.nsnet")
    assert read_network_file("a.nsnet") == network
    write_network_file(read_network_file("a.nsnet"), "b.nsnet")
    assert (folder / "a.nsnet").read_bytes() == (folder / "b.nsnet").read_bytes()
    Path("c.nsnet").write_bytes((folder / "a.nsnet").read_bytes()[:400])
    with pytest.raises(ModelError, match="cannot be read as HDF5"):
        read_network_file("c.nsnet")
    with h5py.File("a.nsnet", "a") as file:
        file.attrs["schema"] = np.bytes_("neurosim.network/9")
    with pytest.raises(ModelError, match=r"network/9.*network/1"):
        read_network_file("a.nsnet")


def test_a_network_file_takes_no_reader_options(
    network: Network, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_network_file(network, "a.nsnet")
    assert main(["info", "a.nsnet", "--cum-error"]) == 2
    assert "--cum-error" in capsys.readouterr().err
