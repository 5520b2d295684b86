"""Small dense graphs with drawn weights, and what networks made of them send through the engine."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from neurosim.engine import FunctionRun
from neurosim.formats.dense_graph import Activation, Add, Conv2d, DenseGraph, Flatten, Input, Linear, Pool2d
from neurosim.network import Network

Rng = np.random.Generator


def chain(rng: Rng, sizes: tuple[int, ...]) -> DenseGraph:
    """Linear layers with ReLU between them."""
    nodes: list[Any] = [Input("in", (), (sizes[0],))]
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        weight, bias = rng.normal(size=(n_out, n_in)) / np.sqrt(n_in) * 2, rng.normal(size=n_out) / 5
        nodes.append(Linear(f"fc{i}", (nodes[-1].name,), weight, bias))
        if i < len(sizes) - 2:
            nodes.append(Activation(f"relu{i}", (nodes[-1].name,)))
    return DenseGraph(nodes, name="chain")


def image_graph(rng: Rng) -> DenseGraph:
    """A convolution, a pool by averages, a branch of another depth that is added, and a linear layer."""
    return DenseGraph(
        [
            Input("in", (), (2, 6, 6)),
            Conv2d("conv", ("in",), rng.normal(size=(4, 2, 3, 3)) / 4, rng.normal(size=4) / 5, (1, 1), (1, 1)),
            Activation("relu", ("conv",)),
            Pool2d("pool", ("relu",)),
            Conv2d("conv2", ("pool",), rng.normal(size=(4, 4, 3, 3)) / 6, np.zeros(4), (1, 1), (1, 1)),
            Activation("relu2", ("conv2",)),
            Add("both", ("relu2", "pool")),
            Activation("relu3", ("both",)),
            Flatten("flat", ("relu3",)),
            Linear("out", ("flat",), rng.normal(size=(3, 36)) / 6, rng.normal(size=3)),
        ],
        name="image",
    )


def windows(network: Network, frames: Any, samples: int, timesteps: int) -> dict[str, Any]:
    """What the engine's functional step sends, per layer (samples, timesteps, n), each layer in its own window."""
    steps = samples * timesteps + max(network.layer_delays.values())
    sent = np.zeros((steps, network.size), dtype=np.int64)
    for i, activity in enumerate(FunctionRun(network, {network.layers[0].name: frames}).steps(steps)):
        sent[i, activity.neuron] = activity.value
    found = {}
    for i, layer in enumerate(network.layers):
        late = network.layer_delays[layer.name]
        part = sent[late : late + samples * timesteps, network.offsets[i] : network.offsets[i + 1]]
        found[layer.name] = part.reshape(samples, timesteps, layer.size)
    return found


def messages_of(network: Network, frames: Any) -> dict[str, Any]:
    """What the engine's functional step sends, per layer (frames, n), each layer shifted by its distance."""
    return {name: sent[:, 0] for name, sent in windows(network, frames, len(frames), 1).items()}
