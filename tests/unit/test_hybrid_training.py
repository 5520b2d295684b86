"""Training of hybrid-spiking networks: what is trained is what runs in integers, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurosim.convert import HybridOptions, convert_hybrid, count_spikes, make_plan, to_hybrid
from neurosim.convert.passes import run
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import Activation, DenseGraph, Flatten, Input, Linear
from neurosim.train import HybridTraining, train_hybrid
from neurosim.train.hybrid import linear_layers


def needs_torch() -> Any:
    torch = pytest.importorskip("torch", reason="the extra train is not installed")
    torch.set_num_threads(1)
    return torch


def graph(seed: int = 0, hidden: tuple[int, ...] = (24, 24), function: str = "relu") -> DenseGraph:
    rng = np.random.default_rng(seed)
    nodes: list[Any] = [Input("in", (), (1, 5, 6)), Flatten("flat", ("in",))]
    sizes = (30, *hidden, 4)
    for i in range(len(sizes) - 1):
        weight = rng.normal(size=(sizes[i + 1], sizes[i])) * np.sqrt(2 / sizes[i])
        nodes.append(Linear(f"fc{i}", (nodes[-1].name,), weight, np.zeros(1)))
        if i < len(sizes) - 2:
            nodes.append(Activation(f"r{i}", (nodes[-1].name,), function))
    return DenseGraph(nodes, name="small")


def pictures(seed: int, samples: int = 800) -> tuple[Any, Any]:
    """Values 0..15 sixteenths of 30 pixels: noisy, dimmed copies of eight patterns of four classes."""
    patterns = np.random.default_rng(99).random((8, 30)) < 0.4
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 8, samples)
    x = patterns[which] * rng.integers(6, 16, (samples, 1)) + rng.integers(0, 6, (samples, 30)) - 2
    return np.clip(x, 0, 15) / 16, which % 4


def errors(network: DenseGraph, omega: float, timesteps: int = 1, first: str = "half") -> float:
    x, y = pictures(1)
    options = HybridOptions(omega, timesteps, first=first, input_scale=1 / 16, weight_bits=10)
    found = convert_hybrid(network, x, options=options, test=(x, y))[1].error_percent
    assert found is not None
    return found


@pytest.mark.parametrize(("timesteps", "first"), [(1, "half"), (3, "random")])
def test_training_with_messages_saves_what_coarse_messages_lose(timesteps: int, first: str) -> None:
    needs_torch()
    x, y = pictures(0)
    start = train_hybrid(graph(), x, y, HybridTraining(0.0, epochs=8, batch=40, rate=3e-3))
    omega = 0.5
    training = HybridTraining(omega, 8.0, 0.4, timesteps, first, epochs=8, batch=40, rate=3e-3)
    trained = train_hybrid(start, x, y, training)
    assert errors(start, 64.0) < 3
    before, after = errors(start, omega, timesteps, first), errors(trained, omega, timesteps, first)
    assert after < 4
    assert after < before / 3


def test_the_pass_in_training_is_the_network_in_integers() -> None:
    """Weights, omegas and inputs of which 8 bits hold every one exactly; at a rate of nearly 0 nothing is learnt."""
    needs_torch()
    x, y = pictures(0, 200)
    rng = np.random.default_rng(3)
    nodes = []
    for node in graph().nodes:
        if isinstance(node, Linear):
            weight = rng.integers(-14, 15, node.weight.shape)
            weight[0, 0] = 127
            node = replace(node, weight=weight / 32, bias=rng.integers(-4, 5, len(weight)) / 16)
        nodes.append(node)
    start, losses = DenseGraph(nodes, name="exact"), []
    training = HybridTraining(0.5, 1.0, timesteps=3, epochs=1, batch=200, rate=1e-12)
    train_hybrid(start, x, y, training, lambda done, of, loss: losses.append(loss))
    found = to_hybrid(make_plan(start), x, HybridOptions(0.5, 3, input_scale=1 / 16))
    frames = found.frames(x)
    counts = count_spikes(found.network, lambda part: frames[part], 200, 3)
    held = x.reshape(200, 1, 5, 6).astype(np.float32)
    exact, in_floats = (
        float((np.log(np.exp(answers).sum(axis=1)) - answers[np.arange(200), y]).mean())
        for answers in (counts.answers[3] / (found.answer_scale * 3), run(make_plan(start), held)[-1])
    )
    assert losses[0] == pytest.approx(exact, rel=1e-6)
    assert abs(in_floats - exact) > 1e-3 * exact


def test_a_seed_gives_the_same_weights() -> None:
    needs_torch()
    x, y = pictures(0, 200)
    first, again, other = (
        train_hybrid(graph(), x, y, HybridTraining(1.0, first="random", epochs=1, seed=seed)) for seed in (3, 3, 4)
    )
    for a, b, c in zip(*(linear_layers(found) for found in (first, again, other)), strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
        assert (a.weight != c.weight).any()
    assert [node.name for node in first.nodes] == [node.name for node in graph().nodes]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"omega": -1.0}, "omega is -1.0; give numbers above 0"),
        ({"omega": (1.0, math.nan)}, "omega is"),
        ({"start_factor": 0.5}, "start_factor is 0.5"),
        ({"anneal_share": 2.0}, "anneal_share 2.0"),
        ({"timesteps": 0}, "timesteps is 0; it must be 1 or more"),
        ({"first": "empty"}, 'first is "empty"; use half or random'),
        ({"epochs": 0}, "epochs is 0"),
        ({"rate": 0.0}, "rate is 0.0; it must be a number above 0"),
    ],
)
def test_settings_that_train_nothing(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        HybridTraining(**{"omega": 1.0, **values})


def test_networks_that_are_no_such_chain() -> None:
    x, y = pictures(0, 20)
    some = HybridTraining(1.0)
    with pytest.raises(ModelError, match=r"small, node r0 \(activation\): hybrid-spiking training takes linear layers"):
        train_hybrid(graph(function="tanh"), x, y, some)
    with pytest.raises(ModelError, match="takes two linear layers or more"):
        train_hybrid(graph(hidden=()), x, y, some)
    nodes = graph().nodes
    with pytest.raises(ModelError, match="of which the last is the answer"):
        train_hybrid(DenseGraph(nodes[:-1], name="cut"), x, y, some)
    straight = [*nodes[:3], Linear("fc1", ("fc0",), np.ones((4, 24)), np.zeros(4))]
    with pytest.raises(ModelError, match="node fc1"):
        train_hybrid(DenseGraph(straight, name="straight"), x, y, some)
    with pytest.raises(InputError, match="3 omegas for 2 hidden layers; give 1 or 2"):
        train_hybrid(graph(), x, y, HybridTraining((1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="give 0 for all layers"):
        train_hybrid(graph(), x, y, HybridTraining((1.0, 0.0)))


def test_samples_that_cannot_be_learnt_from() -> None:
    needs_torch()
    x, y = pictures(0, 20)
    some = HybridTraining(1.0)
    with pytest.raises(InputError, match="inputs have 29 values a sample; small takes 30"):
        train_hybrid(graph(), x[:, :29], y, some)
    with pytest.raises(InputError, match=r"labels: \[2\] is 4; the network has classes 0\.\.3"):
        train_hybrid(graph(), x, np.where(np.arange(20) == 2, 4, y), some)
    x[3, 4] = np.nan
    with pytest.raises(InputError, match=r"inputs: \[3, 4\] is nan"):
        train_hybrid(graph(), x, y, some)
    with pytest.raises(InputError, match="epoch 1, batch 2: the loss is"):
        train_hybrid(graph(), pictures(0)[0], pictures(0)[1], HybridTraining(1.0, rate=1e30))
