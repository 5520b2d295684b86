"""A small convolutional network for the driving clip: what it answers, its training, its graph.

It reads one grey frame (72 x 128) and answers what the frame will look like five frames (0.2 s) later, as the means of
blocks of 8 x 8 pixels. Three convolutions with ReLU look for what will change; a fourth reads them beside the blocks of
the frame itself. The clip's first frames train it, the next ones choose the epoch that is kept, and the rest are seen
by neither.

    NEUROSIM_REFERENCE_DATA=... python tests/benchmarks/driving_net.py weights.npz

trains it with PyTorch, in half a minute on one core, and writes its weights. Those used are
`tests/benchmarks/driving_weights.npz`, since another processor's training ends in other last digits.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import numpy as np

from neurosim.files import atomic_path
from neurosim.formats.dense_graph import Activation, Concat, Conv2d, DenseGraph, Input, Node, Pool2d

AHEAD = 5
BLOCK = 8
TRAINING, VALIDATION = slice(0, 100), slice(100, 120)
REST = slice(120, None)
PIXEL = 1 / 255
SHAPE = (1, 72, 128)
# Channels in and out, side of the kernel, stride. The last one reads the blocks of the frame as its last channel.
LAYERS = ((1, 8, 5, 2), (8, 16, 3, 2), (16, 24, 3, 2), (25, 1, 3, 1))
WEIGHTS = Path(__file__).parent / "driving_weights.npz"
EPOCHS, RATE, DECAY, BATCH, SEED = 300, 1e-3, 0.01, 10, 0


def clip(folder: Path) -> Any:
    """Frames, uint8 (221, 1, 72, 128)."""
    with np.load(folder / "driving_clip" / "driving_72x128_gray.npz") as file:
        return file["frames"][:, None]


def blocks(frames: Any) -> Any:
    """Means of blocks of 8 x 8 pixels, in 0..1, float64 (frames, 1, 9, 16)."""
    count, _, rows, columns = frames.shape
    cut = frames.reshape(count, 1, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return cut.mean(axis=(3, 5)) * PIXEL


def driving_graph(arrays: dict[str, Any]) -> DenseGraph:
    """The network, from weights w0, b0, w1, ..."""
    nodes: list[Node] = [Input("pixels", (), SHAPE)]
    for i, (_, _, side, stride) in enumerate(LAYERS):
        weight, bias = (arrays[f"{key}{i}"].astype(np.float64) for key in "wb")
        last = nodes[-1].name
        if i == len(LAYERS) - 1:
            nodes += [Pool2d("blocks", ("pixels",), "average", (BLOCK, BLOCK), (BLOCK, BLOCK))]
            nodes += [Concat("both", (last, "blocks"))]
            last = "both"
        nodes.append(Conv2d(f"conv{i + 1}", (last,), weight, bias, (stride, stride), (side // 2, side // 2)))
        if i < len(LAYERS) - 1:
            nodes.append(Activation(f"relu{i + 1}", (nodes[-1].name,)))
    return DenseGraph(nodes, name="driving")


def drawn_weights(seed: int = 0) -> dict[str, Any]:
    """Weights as they are before training: random, but the last layer answers with the blocks of the frame."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    for i, (channels, out, side, _) in enumerate(LAYERS):
        fan_in = channels * side * side
        arrays[f"w{i}"] = rng.normal(0, np.sqrt(2 / fan_in), (out, channels, side, side)).astype(np.float32)
        arrays[f"b{i}"] = np.zeros(out, np.float32)
    arrays["w3"] *= 0.05
    arrays["w3"][:, -1] = 0
    arrays["w3"][:, -1, 1, 1] = 1
    return arrays


def train(frames: Any, say: Any) -> dict[str, Any]:
    """Train, and return the weights of the epoch with the least error on the validation frames."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    x = torch.from_numpy((frames * PIXEL).astype(np.float32))
    y = torch.from_numpy(blocks(frames).astype(np.float32))
    parameters = {name: torch.from_numpy(value).requires_grad_() for name, value in drawn_weights(SEED).items()}

    def answer(part: Any) -> Any:
        coarse = torch.nn.functional.avg_pool2d(part, BLOCK)
        for i, (_, _, side, stride) in enumerate(LAYERS):
            part = torch.cat([part, coarse], dim=1) if i == len(LAYERS) - 1 else part
            part = torch.nn.functional.conv2d(
                part, parameters[f"w{i}"], parameters[f"b{i}"], stride=stride, padding=side // 2
            )
            part = part if i == len(LAYERS) - 1 else part.relu()
        return part

    def pairs(part: slice) -> tuple[Any, Any]:
        found = range(*part.indices(len(frames)))
        kept = [t for t in found if t + AHEAD in found]
        return x[kept], y[[t + AHEAD for t in kept]]

    (seen, wanted), (held, expected) = pairs(TRAINING), pairs(VALIDATION)
    optimiser = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    best, kept = np.inf, {}
    for epoch in range(EPOCHS):
        order = torch.randperm(len(seen))
        for part in order.split(BATCH):
            flipped = bool(torch.rand(()) < 0.5)
            given, goal = (v[part].flip(3) if flipped else v[part] for v in (seen, wanted))
            optimiser.zero_grad()
            (answer(given) - goal).square().mean().backward()
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            error = float((answer(held) - expected).square().mean().sqrt())
        if error < best:
            best, kept = error, {name: value.detach().clone().numpy() for name, value in parameters.items()}
        if epoch % 20 == 19:
            say(f"epoch {epoch + 1}: {error / PIXEL:.2f} grey levels on validation frames, least {best / PIXEL:.2f}")
    return kept


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def main(path: Path) -> None:
    """Train the network and write its weights."""
    kept = train(clip(Path(os.environ["NEUROSIM_REFERENCE_DATA"])), click.echo)
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **kept)


if __name__ == "__main__":
    main()
