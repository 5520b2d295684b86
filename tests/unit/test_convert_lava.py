"""Conversion to lava's form: thresholds, NetX files, answers near the original's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.convert import make_plan, to_lava
from neurosim.convert.lava import LavaNetwork
from neurosim.convert.passes import run
from neurosim.engine import FunctionRun
from neurosim.errors import InputError, ModelError
from neurosim.formats import read_netx, write_netx
from neurosim.formats.dense_graph import Activation, Add, Conv2d, DenseGraph, Flatten, Input, Linear, Pool2d
from neurosim.network import Delta, SigmaDelta

SHAPE = (1, 8, 8)
STEP = 1 / 256


def convolutional(seed: int = 0) -> DenseGraph:
    rng = np.random.default_rng(seed)
    return DenseGraph(
        [
            Input("input", (), SHAPE),
            Conv2d("c1", ("input",), rng.normal(size=(4, 1, 3, 3)) / 2, rng.normal(size=4) / 4, (1, 1), (1, 1)),
            Activation("r1", ("c1",)),
            Pool2d("p1", ("r1",), "average", (2, 2), (2, 2)),
            Flatten("f", ("p1",)),
            Linear("d1", ("f",), rng.normal(size=(12, 64)) / 8, rng.normal(size=12) / 4),
            Activation("r2", ("d1",)),
            Linear("d2", ("r2",), rng.normal(size=(5, 12)) / 3, rng.normal(size=5)),
        ],
        name="small",
    )


def film(frames: int, seed: int = 1) -> Any:
    """Frames of pixels 0..255 that change little by little."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.integers(-9, 10, (frames, *SHAPE)), axis=0) + rng.integers(0, 256, SHAPE)
    return np.clip(walk, 0, 255)


def answers(found: LavaNetwork, frames: Any) -> tuple[Any, int]:
    """Answers of each frame in the original's units, and the messages sent, by the engine's functional step."""
    network = found.network
    depth = max(network.layer_delays.values())
    step = FunctionRun(network, {network.layers[0].name: frames.reshape(len(frames), -1)})
    out = np.zeros((len(frames), network.layers[-1].size))
    sent = 0
    for activity in step.steps(len(frames) + depth):
        frame, low = activity.timestep - 1 - depth, activity.layer_start[-2]
        sent += int(low)
        if frame >= 0:
            out[frame, activity.neuron[low:] - network.offsets[-2]] = activity.value[low:]
    return out * found.answer_scale + found.answer_bias, sent


def test_without_thresholds_the_answers_are_the_original_ones() -> None:
    plan, frames = make_plan(convolutional()), film(20)
    wanted = run(plan, frames * STEP)[-1]
    got, _ = answers(to_lava(plan, frames * STEP, 0.0, STEP), frames)
    assert np.abs(got - wanted).max() < 0.04 * wanted.std() + 0.03


def test_thresholds_trade_messages_for_errors() -> None:
    plan, frames = make_plan(convolutional()), film(40)
    wanted = run(plan, frames * STEP)[-1]
    errors, messages = [], []
    for threshold in (0.0, 0.05, 0.3):
        got, sent = answers(to_lava(plan, frames * STEP, threshold, STEP), frames)
        errors.append(float(np.abs(got - wanted).mean()))
        messages.append(sent)
    assert messages[0] > 1.5 * messages[1] > 2 * messages[2]
    assert errors[0] < errors[1] < errors[2]


def test_netx_files_hold_it(tmp_path: Path) -> None:
    plan, frames = make_plan(convolutional()), film(10)
    found = to_lava(plan, frames * STEP, [0.02, 0.05, 0.05, 0.1], STEP)
    write_netx(found.network, tmp_path / "small.net")
    back = read_netx(tmp_path / "small.net", rounding="corrected")
    again, _ = answers(LavaNetwork(back, found.frame_scale, found.answer_scale, found.answer_bias), frames)
    assert np.array_equal(again, answers(found, frames)[0])


def test_numbers_by_hand() -> None:
    # The input's factor is 256 / 64 = 4; weights 2, -1 become 127 and -64 (63.5, to even), so the factor of r is
    # 127 / 64 / 2 * 4 = 3.96875; a bias of 1 is 3.96875 * 64 = 254; a threshold of 0.5 is 127.
    graph = DenseGraph(
        [
            Input("x", (), (2,)),
            Linear("fc", ("x",), np.array([[2.0, -1.0]]), np.ones(1)),
            Activation("r", ("fc",)),
            Linear("out", ("r",), np.ones((1, 1)), np.array([3.0])),
        ]
    )
    found = to_lava(make_plan(graph), np.ones((1, 2)), [0.25, 0.5], STEP)
    source, hidden = (layer.unit for layer in found.network.layers[:2])
    assert isinstance(source, Delta)
    assert isinstance(hidden, SigmaDelta)
    assert found.network.connections[0].transform.weights.tolist() == [[127, -64]]
    assert source.threshold == 64 << 12  # a quarter of 256 steps
    assert (hidden.bias.tolist(), hidden.threshold) == ([254], 127 << 12)
    assert found.answer_bias.tolist() == [3.0]


def test_what_the_form_cannot_hold_is_refused() -> None:
    graph = convolutional()
    plan = make_plan(graph)
    with pytest.raises(InputError, match="thresholds are"):
        to_lava(plan, film(2) * STEP, [0.1, -1.0, 0.1, 0.1], STEP)
    with pytest.raises(ModelError, match="threshold of input comes to"):
        to_lava(plan, film(2) * STEP, 1e9, STEP)
    clipped = DenseGraph([*graph.nodes[:2], Activation("r1", ("c1",), "clip", 0.0, 6.0), *graph.nodes[3:]])
    with pytest.raises(ModelError, match="layer r1: lava's form holds ReLU layers alone"):
        to_lava(make_plan(clipped), film(2) * STEP, 0.1, STEP)
    joined = DenseGraph(
        [
            Input("x", (), (3,)),
            Linear("a", ("x",), np.eye(3), np.zeros(3)),
            Activation("r", ("a",)),
            Linear("b", ("r",), np.eye(3), np.zeros(3)),
            Add("sum", ("b", "x")),
            Activation("r2", ("sum",)),
            Linear("out", ("r2",), np.eye(3), np.zeros(3)),
        ]
    )
    with pytest.raises(ModelError, match="layer r2: lava's form holds a chain"):
        to_lava(make_plan(joined), np.ones((2, 3)), 0.1, STEP)
