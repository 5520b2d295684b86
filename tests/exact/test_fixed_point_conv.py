"""A small convolutional network, trained here on MNIST: fixed point by channel statistics, and rounding by scales."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.convert import IntegerOptions, QuantiseOptions, ScaleOptions, convert_quantised, convert_rounding
from neurosim.convert import make_plan as plan_of
from neurosim.convert.passes import backward, softmax
from neurosim.convert.plan import weighted, with_weights
from neurosim.convert.scales import original_answers, rounded_pass
from neurosim.formats.dense_graph import Activation, Conv2d, DenseGraph, Flatten, Input, Linear, Pool2d

pytestmark = pytest.mark.slow

PIXEL = 1 / 255
DRAWS = 4


def mnist(folder: Path, part: str) -> tuple[Any, Any]:
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return pixels, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


def untrained(seed: int) -> DenseGraph:
    rng = np.random.default_rng(seed)

    def he(*shape: int) -> Any:
        return rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))

    return DenseGraph(
        [
            Input("pixels", (), (1, 28, 28)),
            Conv2d("conv1", ("pixels",), he(8, 1, 3, 3), np.zeros(8), (1, 1), (1, 1)),
            Activation("relu1", ("conv1",)),
            Pool2d("pool1", ("relu1",), "average", (2, 2), (2, 2)),
            Conv2d("conv2", ("pool1",), he(16, 8, 3, 3), np.zeros(16), (2, 2), (1, 1)),
            Activation("relu2", ("conv2",)),
            Flatten("flat", ("relu2",)),
            Linear("fc1", ("flat",), he(64, 784), np.zeros(64)),
            Activation("relu3", ("fc1",)),
            Linear("fc2", ("relu3",), he(10, 64), np.zeros(10)),
        ],
        name="small-conv",
    )


def trained(
    graph: DenseGraph, pixels: Any, labels: Any, epochs: int, batch: int = 50, rate: float = 0.05
) -> DenseGraph:
    """Stochastic gradient descent with momentum on the cross-entropy."""
    plan = plan_of(graph)
    held: dict[tuple[int, int], Any] = {}
    for i, j, term in weighted(plan):
        held[i, j] = term.node.weights()["weight"].astype(np.float32)  # type: ignore[union-attr]
        held[i, -1] = plan.sites[i].bias.astype(np.float32)
    speed = {key: np.zeros_like(value) for key, value in held.items()}
    rng = np.random.default_rng(0)
    steps, done = epochs * (len(pixels) // batch), 0
    for _ in range(epochs):
        order = rng.permutation(len(pixels))
        for part in order[: len(order) // batch * batch].reshape(-1, batch):
            values, totals, _ = rounded_pass(plan, pixels[part], [])
            slope = softmax(values[-1])
            slope[np.arange(batch), labels[part]] -= 1
            _, by_weight, by_bias = backward(plan, totals, values, (slope / batch).astype(np.float32), True, False)
            now = np.float32(rate * (1 - done / steps))
            for key in held:
                change = by_bias[key[0]] if key[1] < 0 else by_weight[key]
                speed[key] = np.float32(0.9) * speed[key] - now * change.astype(np.float32)
                held[key] = held[key] + speed[key]
            plan = with_weights(
                plan,
                {key: value for key, value in held.items() if key[1] >= 0},
                {key[0]: value for key, value in held.items() if key[1] < 0},
            )
            done += 1
    found = {
        term.node.name: (held[i, j].astype(np.float64), held[i, -1].astype(np.float64))  # type: ignore[union-attr]
        for i, j, term in weighted(plan)
    }
    nodes = [replace(n, weight=found[n.name][0], bias=found[n.name][1]) if n.name in found else n for n in graph.nodes]
    return DenseGraph(nodes, name=graph.name)


@pytest.fixture(scope="module")
def data(reference_data: Path) -> dict[str, Any]:
    folder = reference_data / "mnist_mlp"
    pixels, labels = mnist(folder, "train")
    test_pixels, test_labels = mnist(folder, "t10k")
    graph = trained(untrained(1), pixels.astype(np.float32) * np.float32(PIXEL), labels, epochs=2)
    return {"graph": graph, "pixels": pixels, "test": (test_pixels * PIXEL, test_labels)}


def test_channels_beat_layers(data: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """10 samples, four draws: at most 0.3 points lost at 8 bits; formats per channel lose less at 6 and 4 bits."""
    answers = original_answers(plan_of(data["graph"]), data["test"][0])
    original = float((answers.argmax(axis=1) != data["test"][1]).mean() * 100)
    assert original < 2.0
    errors: dict[tuple[int, str, str], float] = {}
    draws = [np.random.default_rng(s).permutation(len(data["pixels"]))[:10] for s in range(DRAWS)]
    for bits in (8, 6, 4):
        for per, rule in (("channel", "auto"), ("layer", "auto"), ("layer", "max")):
            found = [
                convert_quantised(
                    data["graph"], data["pixels"][draw] * PIXEL, options=QuantiseOptions(bits, per, rule),
                    input_scale=PIXEL, test=data["test"],
                ).report.error_percent
                for draw in draws
            ]  # fmt: skip
            errors[bits, per, rule] = float(np.mean([e for e in found if e is not None]))
            if bits == 8 and per == "channel" and rule == "auto":
                assert max(e for e in found if e is not None) <= original + 0.3
    with capsys.disabled():
        print(f"\nsmall-conv, float {original:.2f} % error; fixed point from 10 samples, mean of {DRAWS} draws:")
        for (bits, per, rule), error in errors.items():
            print(f"{bits} bits, per {per}, {rule}: {error:.2f} %")
    for bits in (6, 4):
        assert errors[bits, "channel", "auto"] < errors[bits, "layer", "auto"]
        assert errors[bits, "channel", "auto"] < errors[bits, "layer", "max"]


def test_rounding_of_a_convolutional_network(data: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Sums and ReLU before pooling, rounding after both: little more error, and a fifth of the dense operations."""
    pixels = data["pixels"][:4000] * np.float32(PIXEL)
    found = convert_rounding(
        data["graph"], pixels, options=ScaleOptions(tradeoff=1e-8, sequence=False, epochs=3, least_steps=1),
        integers=IntegerOptions(changes=False, input_scale=PIXEL), test=data["test"],
    )  # fmt: skip
    report = found.report
    with capsys.disabled():
        print(
            f"\nsmall-conv rounding: error {report.error_percent:.2f} % (float {report.original_error_percent:.2f} %), "
            f"{report.rounding_adds:,.0f} additions, dense {report.dense_operations:,.0f}, "
            f"zeros skipped {report.sparse_operations:,.0f}"
        )
    assert report.error_percent is not None
    assert report.original_error_percent is not None
    assert report.error_percent <= report.original_error_percent + 0.3
    assert report.rounding_adds < 0.25 * report.dense_operations
