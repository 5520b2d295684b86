"""Makes the workload: draws the video, trains the network, measures both its forms, writes the files.

Run it where neurosim is installed with the extra `train`:

    python -m neurosim_traces.steering.make FOLDER

Everything comes from the seeds below. With the same PyTorch on the same processor the files come out the
same; elsewhere sums may round differently, and the weights with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from neurosim.files import atomic_path
from neurosim.formats import read_netx, write_netx
from neurosim.network import (
    Connection,
    Conv2d,
    Delta,
    Dense,
    Layer,
    Network,
    Sigma,
    SigmaDelta,
    Unit,
    run_reference,
)

from . import train
from .draw import CHANNELS, HEIGHT, UNITS_PER_ONE, WIDTH, Video, draw_video

TRAINING_SEEDS, TRAINING_FRAMES = range(10_000, 10_600), 24
VALIDATION_SEEDS = range(20_000, 20_024)
TEST_SEEDS = range(30_000, 30_024)
CLIP_FRAMES = 60
"""Frames of a sequence for validation or test; the shipped clip is the first of the test sequences."""

DENSE_EPOCHS, SIGMA_DELTA_EPOCHS = 50, 130
WEIGHTS_SEED, DENSE_SEED, SIGMA_DELTA_SEED = 1, 2, 3
PEAKS = (2.0, 3.0, 4.0, 5.0, 5.0, 3.0)
"""Size to which the hidden activations are scaled before the second training (see `train.rescaled`)."""
THRESHOLDS = (2, 3, 4, 4, 3, 2, 1)
"""Of the input and the hidden layers, in 1/64; chosen on the validation sequences (see README.md)."""

STATE_SHIFT = 12
STATE_PER_ONE = 1 << 18
"""Real 1.0 in a unit's state; so the steering angle is sigma / 2**18 radians."""
CONVOLUTION_SUM_BITS = 24
MESSAGE_BITS = 16

Integers = NDArray[np.int64]
Angles = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """What the sigma-delta network made of a sequence.

    Attributes
    ----------
    angle
        float64 (T,): steering angle in radians, each beside the frame that it answers.
    messages
        Per layer but the last, messages per timestep while the clip plays and the pipeline is full.
    largest_message
        Over all layers but the last and all timesteps, start-up included.
    largest_sum
        Of a convolution's neuron in one timestep, in state units.
    """

    angle: Angles
    messages: dict[str, float]
    largest_message: int
    largest_sum: int


def draw_clip() -> Video:
    """Draw the shipped clip."""
    return draw_video(TEST_SEEDS[0], CLIP_FRAMES)


def build_network(layers: Sequence[tuple[Integers, Integers]], thresholds: Sequence[int]) -> Network:
    """Return the sigma-delta network.

    Parameters
    ----------
    layers
        Weight and bias of each layer, in 1/64, as `train.rounded` gives them.
    thresholds
        In 1/64, for the input and each hidden layer.
    """
    shape: tuple[int, ...] = (CHANNELS, HEIGHT, WIDTH)
    made = [Layer("input", shape, Delta(thresholds[0] << STATE_SHIFT))]
    connections = []
    for i, (weight, bias) in enumerate(layers):
        convolution = i < len(train.CONVOLUTIONS)
        name = f"conv{i + 1}" if convolution else f"dense{i + 1 - len(train.CONVOLUTIONS)}"
        transform = Conv2d(weight, shape, stride=train.CONVOLUTIONS[i][2]) if convolution else Dense(weight)
        last = i == len(layers) - 1
        unit: Unit = Sigma() if last else SigmaDelta(thresholds[i + 1] << STATE_SHIFT, bias)
        bits = CONVOLUTION_SUM_BITS if convolution else None
        connections.append(Connection((made[-1].name,), name, transform, accumulator_bits=bits))
        shape = transform.out_shape
        made.append(Layer(name, shape, unit))
    return Network(made, connections, "steering")


def run_sigma_delta(network: Network, frames: NDArray[np.int16]) -> Answer:
    """Run a sequence, int16 (T, C, H, W), through the network's exact integers.

    A frame fed in timestep t reaches the last layer depth - 1 timesteps later, so that the run is that much
    longer than the sequence and its first answers belong to no frame.
    """
    late = network.depth_timesteps - 1
    count = len(frames)
    run = run_reference(network, {"input": frames.reshape(count, -1).astype(np.int64)}, count + late)
    sending = [layer.name for layer in network.layers[:-1]]
    playing = slice(late + 1, count)
    sums = [
        int(np.abs(connection.transform.apply(sent)).max())
        for connection in network.connections
        if connection.accumulator_bits
        for sent in run.messages[connection.sources[0]]
    ]
    return Answer(
        angle=run.messages[network.layers[-1].name][late:, 0] / STATE_PER_ONE,
        messages={n: float(np.count_nonzero(run.messages[n][playing], axis=1).mean()) for n in sending},
        largest_message=max(int(np.abs(run.messages[n]).max()) for n in sending),
        largest_sum=max(sums),
    )


def rmse_degrees(answer: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the root of the mean squared difference, both given in radians, in degrees."""
    return float(np.degrees(np.sqrt(np.mean((answer.astype(np.float64) - truth.astype(np.float64)) ** 2))))


def _draw_all(seeds: range, frames: int) -> Video:
    """Draw sequences and stack them: frames (sequences, T, C, H, W), angle (sequences, T)."""
    videos = [draw_video(seed, frames) for seed in seeds]
    return Video(np.stack([v.frames for v in videos]), np.stack([v.angle for v in videos]))


def _flat(video: Video) -> Video:
    return Video(video.frames.reshape(-1, CHANNELS, HEIGHT, WIDTH), video.angle.reshape(-1))


def _dense_angle(parameters: list[train.Parameters], video: Video) -> Angles:
    answer = train.activations(parameters, _flat(video).frames)[-1]
    return answer.astype(np.float64).reshape(video.angle.shape)


def _errors(dense: Angles, answers: list[Answer], truth: NDArray[np.float32], mean: float) -> dict[str, float]:
    sigma_delta = np.stack([answer.angle for answer in answers])
    return {
        "predicting_zero": rmse_degrees(np.zeros_like(truth), truth),
        "predicting_the_training_mean": rmse_degrees(np.full_like(truth, mean), truth),
        "dense": rmse_degrees(dense, truth),
        "sigma_delta": rmse_degrees(sigma_delta, truth),
    }


def _report(
    network: Network, dense: list[train.Parameters], validation: Video, test: Video, mean: float
) -> dict[str, Any]:
    """Measure both networks and return what accuracy.json holds."""
    checked = [run_sigma_delta(network, frames) for frames in validation.frames]
    answers = [run_sigma_delta(network, frames) for frames in test.frames]
    largest_message = max(a.largest_message for a in checked + answers)
    largest_sum = max(a.largest_sum for a in checked + answers)
    if largest_message >= 1 << (MESSAGE_BITS - 1) or largest_sum >= 1 << (CONVOLUTION_SUM_BITS - 1):
        raise click.ClickException(
            f"messages reach {largest_message} (limit 2**{MESSAGE_BITS - 1} - 1) and sums {largest_sum} "
            f"(limit 2**{CONVOLUTION_SUM_BITS - 1} - 1); lower PEAKS"
        )
    messages = {n: float(np.mean([a.messages[n] for a in answers])) for n in answers[0].messages}
    dense_test = _dense_angle(dense, test)
    return {
        "error": "root mean square over all frames, in degrees of the steering wheel",
        "rmse_degrees": {
            "validation": _errors(_dense_angle(dense, validation), checked, validation.angle, mean),
            "test": _errors(dense_test, answers, test.angle, mean),
            "clip": _errors(dense_test[:1], answers[:1], test.angle[:1], mean),
        },
        "layers": [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "neurons": layer.size,
                "threshold": THRESHOLDS[i] / UNITS_PER_ONE if i < len(THRESHOLDS) else None,
                "messages_per_timestep": messages.get(layer.name),
            }
            for i, layer in enumerate(network.layers)
        ],
        "neurons": network.size,
        "messages_per_timestep": sum(messages.values()),
        "largest_message": largest_message,
        "largest_convolution_sum": largest_sum,
        "sequences": {
            "training": [len(TRAINING_SEEDS), TRAINING_FRAMES],
            "validation": [len(VALIDATION_SEEDS), CLIP_FRAMES],
            "test": [len(TEST_SEEDS), CLIP_FRAMES],
        },
        "made_with": {name: metadata.version(name) for name in ("numpy", "torch")},
    }


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write network.net, frames.npz and accuracy.json to FOLDER."""
    click.echo("drawing")
    training = _draw_all(TRAINING_SEEDS, TRAINING_FRAMES)
    validation = _draw_all(VALIDATION_SEEDS, CLIP_FRAMES)
    test = _draw_all(TEST_SEEDS, CLIP_FRAMES)
    single = _flat(training)

    click.echo("training the dense network")
    start = train.initial_parameters(CHANNELS, HEIGHT, WIDTH, WEIGHTS_SEED)
    dense = train.train_dense(start, single.frames, single.angle, DENSE_EPOCHS, DENSE_SEED, click.echo)
    click.echo("training the sigma-delta network")
    scaled = train.rescaled(dense, single.frames[::16], PEAKS)
    trained = train.train_sigma_delta(
        scaled, training.frames, training.angle, THRESHOLDS, SIGMA_DELTA_EPOCHS, SIGMA_DELTA_SEED, click.echo
    )
    network = build_network(train.rounded(trained), THRESHOLDS)

    click.echo("measuring")
    report = _report(network, dense, validation, test, float(single.angle.mean()))
    write_netx(network, folder / "network.net")
    if read_netx(folder / "network.net").layers != network.layers:
        raise click.ClickException("network.net does not read back as the network that was written")
    with atomic_path(folder / "frames.npz") as path, path.open("wb") as file:
        np.savez_compressed(file, frames=test.frames[0], angle=test.angle[0])
    with atomic_path(folder / "accuracy.json") as path:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for part, errors in report["rmse_degrees"].items():
        click.echo(f"{part}: " + ", ".join(f"{name} {value:.3f}" for name, value in errors.items()))


if __name__ == "__main__":
    main()
