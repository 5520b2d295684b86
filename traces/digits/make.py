"""Makes the workloads of digits: trains a network, converts it by three methods, writes the files.

Run it where neurosim and scikit-learn, of whose digits the images are, are installed (the extra `train`):

    python -m neurosim_traces.digits.make FOLDER

Training uses numpy alone. Elsewhere its sums may round differently, and the weights with them; what is converted here
comes from the weights in `weights.npz` whatever they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import write_network_file
from neurosim.convert import (
    Conversion,
    IntegerOptions,
    QuantiseOptions,
    TuneOptions,
    convert_quantised,
    convert_rounding,
    make_plan,
    temporal_order,
    tune,
)
from neurosim.convert.passes import run
from neurosim.convert.plan import weighted
from neurosim.files import atomic_path
from neurosim.formats.dense_graph import (
    Activation,
    Conv2d,
    DenseGraph,
    Flatten,
    FloatArray,
    Input,
    Linear,
    Pool2d,
    evaluate,
)

TRAINING, VALIDATION, TEST = slice(0, 1000), slice(1000, 1297), slice(1297, None)
"""Of the 1,797 images: those of one writer mostly follow each other, so the parts have other writers."""
SHIPPED_FRAMES = 100
"""The first of the test images in temporal order."""
PIXEL = 1 / 16
"""Images have 17 levels, 0 to 16."""
SEED, EPOCHS, RATE = 0, 60, 0.05
LABEL_LOGIT = 12.0
"""Training aims at a softmax of this for the label and 0 for the others, which is nearly 1 and nearly 0."""
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Tried on the validation images; the smallest that answers as well as the float network is taken."""
QUANTISING_SAMPLES = 10
METHODS = ("rounding", "sigma_delta", "fixed_point")


def build(arrays: dict[str, NDArray[Any]]) -> DenseGraph:
    """Return the network of weights w0, b0, w1, ...: two convolutions with averages of 2 x 2 after them, one matrix."""
    w = {name: values.astype(np.float64) for name, values in arrays.items()}
    return DenseGraph(
        [
            Input("image", (), (1, 8, 8)),
            Conv2d("conv1", ("image",), w["w0"], w["b0"], (1, 1), (1, 1)),
            Activation("relu1", ("conv1",)),
            Pool2d("pool1", ("relu1",), "average"),
            Conv2d("conv2", ("pool1",), w["w1"], w["b1"], (1, 1), (1, 1)),
            Activation("relu2", ("conv2",)),
            Pool2d("pool2", ("relu2",), "average"),
            Flatten("flat", ("pool2",)),
            Linear("answer", ("flat",), w["w2"], w["b2"]),
        ],
        name="digits",
    )


def draw(seed: int = SEED) -> dict[str, NDArray[Any]]:
    """Return weights before training."""
    rng = np.random.default_rng(seed)
    shapes = {"w0": (8, 1, 3, 3), "w1": (16, 8, 3, 3), "w2": (10, 64)}
    arrays: dict[str, NDArray[Any]] = {}
    for name, shape in shapes.items():
        arrays[name] = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        arrays[f"b{name[1:]}"] = np.zeros(shape[0])
    return arrays


def train(images: NDArray[Any], labels: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """Train on images (n, 1, 8, 8) in 0..1 and their labels; return float32 weights."""
    plan = make_plan(build(draw()))
    goal = np.zeros((len(labels), 10))
    goal[np.arange(len(labels)), labels] = LABEL_LOGIT
    # Without scales nothing is rounded: this is training by stochastic gradient descent and no more.
    options = TuneOptions(epochs=EPOCHS, batch=20, rate=RATE, seed=SEED)
    trained = tune(plan, images.astype(np.float32), [], options, goal)
    arrays = {}
    for number, (site, _, term) in enumerate(weighted(trained)):
        assert isinstance(term.node, Conv2d | Linear)
        arrays[f"w{number}"] = term.node.weight.astype(np.float32)
        arrays[f"b{number}"] = trained.sites[site].bias.astype(np.float32)
    return arrays


def convert(
    graph: DenseGraph, method: str, scale: float, samples: NDArray[Any], test: tuple[Any, Any] | None = None
) -> Conversion:
    """Convert by one of `METHODS`; fixed point takes its formats from `samples` (n, 1, 8, 8), in 0..1."""
    if method == "fixed_point":
        return convert_quantised(graph, samples, options=QuantiseOptions(8), input_scale=PIXEL, test=test)
    integers = IntegerOptions(changes=method == "sigma_delta", input_scale=PIXEL)
    return convert_rounding(graph, samples, scales=scale, integers=integers, test=test)


def choose_scale(graph: DenseGraph, images: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the smallest scale that answers as many validation images rightly as the float network."""
    plan = make_plan(graph)
    right = (evaluate(graph, images).argmax(axis=1) == labels).sum()
    for scale in SCALES:
        scales = [np.array([scale])] * len(plan.rounded)
        if (run(plan, images, scales)[-1].argmax(axis=1) == labels).sum() >= right:
            return scale
    return SCALES[-1]


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return scikit-learn's digits: uint8 (1797, 1, 8, 8) in 0..16, and labels int64 (1797,)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images.astype(np.uint8)[:, None], found.target.astype(np.int64)


def _part(values: NDArray[Any], part: slice) -> FloatArray:
    return np.asarray(values[part] * PIXEL, dtype=np.float64)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write weights.npz, samples and frames, three networks and accuracy.json to FOLDER."""
    images, labels = digits()
    click.echo("training")
    arrays = train(_part(images, TRAINING), labels[TRAINING])
    graph = build(arrays)
    scale = choose_scale(graph, _part(images, VALIDATION), labels[VALIDATION])
    order = temporal_order(images[TEST])
    frames, answers = images[TEST][order], labels[TEST][order]
    samples = images[TRAINING][:QUANTISING_SAMPLES]
    report: dict[str, Any] = {"scale": scale, "test_images": len(frames), "methods": {}}
    for method in METHODS:
        found = convert(graph, method, scale, samples * PIXEL, (frames * PIXEL, answers))
        report["methods"][method] = found.report.to_dict()
        write_network_file(found.network, folder / f"{method}.nsnet")
        errors = found.report.error_percent, found.report.original_error_percent
        click.echo(f"{method}: error {errors[0]:.2f} %, floats {errors[1]:.2f} %")
    held: dict[str, dict[str, Any]] = {
        "weights": {**arrays},
        "samples": {"samples": samples},
        "frames": {"frames": frames[:SHIPPED_FRAMES].astype(np.int16), "label": answers[:SHIPPED_FRAMES]},
    }
    for name, values in held.items():
        with atomic_path(folder / f"{name}.npz") as path, path.open("wb") as file:
            np.savez_compressed(file, **values)
    with atomic_path(folder / "accuracy.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
