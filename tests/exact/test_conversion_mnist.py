"""Conversion of the reference MNIST network against its recorded runs and the published kind of table."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.convert import (
    IntegerOptions,
    QuantiseOptions,
    ScaleOptions,
    TuneOptions,
    convert_quantised,
    convert_rounding,
    make_plan,
    temporal_order,
)
from neurosim.convert.passes import batches, run
from neurosim.formats.dense_files import read_dense
from neurosim.formats.dense_graph import DenseGraph

FAN_OUT = np.array([200, 200, 10])
PIXEL = 1 / 255
# k per layer; error %, k additions a frame: rounding, sigma-delta in temporal order; k graded synops.
TABLE = [
    ((1, 1, 1), 3.78, 43.0, 23.1, 22.4),
    ((4, 4, 4), 2.12, 170.9, 86.1, 43.1),
    ((8, 8, 8), 1.94, 341.7, 171.3, 49.7),
    ((4.34, 4.75, 2.21), 1.93, 180.1, 89.6, 42.7),
    ((2.71, 2.71, 2.24), 2.23, 121.1, 63.2, 40.0),
    ((1.57, 1.41, 1.76), 3.01, 71.6, 39.8, 33.0),
]


def mnist(folder: Path, part: str) -> tuple[Any, Any]:
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784), np.frombuffer(labels, np.uint8, offset=8)


@pytest.fixture(scope="module")
def folder(reference_data: Path) -> Path:
    return reference_data / "mnist_mlp"


@pytest.fixture(scope="module")
def graph(folder: Path) -> DenseGraph:
    return read_dense(folder / "weights_f32.npz")


@pytest.fixture(scope="module")
def test_set(folder: Path) -> tuple[Any, Any]:
    """Pixels and labels of the test set in temporal order."""
    images, labels = mnist(folder, "t10k")
    order = np.load(folder / "temporal_order_test_S1000.npy")
    return images[order], labels[order].astype(np.int64)


def rounded(graph: DenseGraph, pixels: Any, k: Any) -> tuple[list[Any], Any]:
    """The rounded values of each layer and the answers of the float network with rounding."""
    plan = make_plan(graph)
    scales = [np.array([float(value)]) for value in k]
    parts = [run(plan, pixels[part] * PIXEL, scales) for part in batches(len(pixels), 1000)]
    values = [np.concatenate([part[i] for part in parts]) for i in range(4)]
    return [np.rint(x * value) for x, value in zip(values[:3], k, strict=True)], values[3]


def test_the_float_reference_run(folder: Path, graph: DenseGraph, test_set: Any) -> None:
    """Every frame's sums and counts of messages, every answer, and the messages of the first 500 frames."""
    with np.load(folder / "golden_f64_k4.npz") as file:
        golden = {name: file[name] for name in file.files}
    sent, answers = rounded(graph, test_set[0], (4, 4, 4))
    for i, values in enumerate(sent):
        deltas = np.diff(values, axis=0, prepend=0)
        assert np.array_equal(np.abs(deltas).sum(axis=1), golden["sum_abs"][:, i])
        assert np.array_equal(np.count_nonzero(deltas, axis=1), golden["nnz"][:, i])
        assert np.array_equal(deltas[:500], golden[f"d{i}_500"])
    assert np.array_equal(answers.argmax(axis=1), golden["argmax"])
    np.testing.assert_allclose(answers[:500], golden["logits500"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("row", TABLE, ids=[str(row[0]) for row in TABLE])
def test_the_table_of_scales(graph: DenseGraph, test_set: Any, row: Any) -> None:
    """Within 2 %: errors, and additions of rounding and sigma-delta networks, in float weights."""
    k, error, rounding, sigma_delta, graded = row
    sent, answers = rounded(graph, test_set[0], k)
    frames = len(answers)
    deltas = [np.diff(values, axis=0, prepend=0) for values in sent]
    adds = [sum(np.abs(v).sum() * fan for v, fan in zip(form, FAN_OUT, strict=True)) for form in (sent, deltas)]
    met = sum(np.count_nonzero(v) * fan for v, fan in zip(deltas, FAN_OUT, strict=True))
    assert (answers.argmax(axis=1) != test_set[1]).mean() * 100 == pytest.approx(error, rel=0.02)
    assert adds[0] / frames / 1e3 == pytest.approx(rounding, rel=0.02)
    assert adds[1] / frames / 1e3 == pytest.approx(sigma_delta, rel=0.02)
    assert met / frames / 1e3 == pytest.approx(graded, rel=0.02)


def test_eight_bit_weights_keep_the_table(graph: DenseGraph, test_set: Any) -> None:
    """The integer network at k = 4: operations within 2 % of the float one's, the error within a twentieth point."""
    pixels, labels = test_set
    integers = IntegerOptions(input_scale=PIXEL)
    report = convert_rounding(
        graph, pixels[:10] * PIXEL, scales=4.0, integers=integers, test=(pixels * PIXEL, labels)
    ).report
    assert report.original_error_percent == pytest.approx(1.94, abs=1e-9)
    assert report.error_percent == pytest.approx(2.12, abs=0.05)
    assert report.rounding_adds / 1e3 == pytest.approx(170.9, rel=0.02)
    assert report.sigma_delta_adds / 1e3 == pytest.approx(86.1, rel=0.02)
    assert report.graded_synops / 1e3 == pytest.approx(43.1, rel=0.02)
    assert report.dense_operations == 397_190
    assert report.sparse_operations == pytest.approx(109_754.64, rel=0.001)
    assert report.weight_bits == {"relu1": 8, "relu2": 8, "dense3": 8}


def test_temporal_order_is_the_recorded_one(folder: Path) -> None:
    images, _ = mnist(folder, "t10k")
    recorded = np.load(folder / "temporal_order_test_S1000.npy")
    # The buffer holds the next 1,000 images: the first 500 steps see images up to 1,500 alone.
    assert np.array_equal(temporal_order(images[:1501])[:500], recorded[:500])


@pytest.mark.slow
def test_the_whole_temporal_order(folder: Path) -> None:
    images, _ = mnist(folder, "t10k")
    assert np.array_equal(temporal_order(images), np.load(folder / "temporal_order_test_S1000.npy"))


@pytest.mark.slow
def test_at_the_original_error_fewer_operations(folder: Path, graph: DenseGraph, test_set: Any) -> None:
    """Scales and weights from training images without labels: 1.94 % or less at 85 k additions a frame or fewer."""
    training, _ = mnist(folder, "train")
    calibration = training[temporal_order(training)] * np.float32(PIXEL)
    found = convert_rounding(
        graph, calibration, options=ScaleOptions(tradeoff=1e-7), weights="tuned",
        tuning=TuneOptions(epochs=3, rate=0.03), integers=IntegerOptions(input_scale=PIXEL),
        test=(test_set[0] * PIXEL, test_set[1]),
    )  # fmt: skip
    assert found.report.error_percent is not None
    assert found.report.error_percent <= 1.94
    assert found.report.sigma_delta_adds <= 85_000


def test_few_bits_from_ten_samples(folder: Path, graph: DenseGraph, test_set: Any) -> None:
    """Fixed point without training: nothing lost at 8 bits; fitted densities save what the MAX rule loses at 4."""
    training, _ = mnist(folder, "train")
    pixels, labels = test_set

    def error(bits: int, rule: str) -> float:
        options = QuantiseOptions(bits, "channel", rule)
        found = convert_quantised(
            graph, training[:10] * PIXEL, options=options, input_scale=PIXEL, test=(pixels * PIXEL, labels)
        )
        assert found.report.error_percent is not None
        return found.report.error_percent

    assert error(8, "auto") <= 1.94 + 0.3
    assert error(4, "auto") < error(4, "max") - 1
