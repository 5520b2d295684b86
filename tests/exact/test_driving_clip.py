"""The driving clip: operations that are counted are those of the engine, the claim about the input layer holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import convert_driving
import driving_net as net
import numpy as np
import pytest

from neurosim.convert import IntegerOptions, make_plan, to_network
from neurosim.convert.counting import count_both
from neurosim.convert.passes import run
from neurosim.engine import FunctionRun

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
FRAMES = 4


@pytest.fixture(scope="module")
def clip(reference_data: Path) -> Any:
    return net.clip(reference_data)


@pytest.fixture(scope="module")
def graph() -> Any:
    with np.load(net.WEIGHTS) as file:
        return net.driving_graph(dict(file))


def test_counted_operations_are_those_of_the_engine(clip: Any, graph: Any) -> None:
    """Of the first frame, which meets a network at rest, and of those after it, by layer, branches of unequal depth."""
    plan = make_plan(graph)
    network, _ = to_network(
        plan, [np.array([k]) for k in (16.0, 11.0, 11.0, 19.0, 47.0)], IntegerOptions(input_scale=net.PIXEL)
    )
    frames = clip[net.REST][:FRAMES].reshape(FRAMES, -1).astype(np.int64)
    structural, _ = network.fan_out
    found = np.zeros((FRAMES, len(network.layers), 3), dtype=np.int64)
    answers = np.zeros((FRAMES, network.layers[-1].size), dtype=np.int64)
    depth = max(network.layer_delays.values())
    for activity in FunctionRun(network, {network.layers[0].name: frames}).steps(FRAMES + depth):
        for i, layer in enumerate(network.layers):
            frame = activity.timestep - 1 - network.layer_delays[layer.name]
            low, high = activity.layer_start[i : i + 2]
            if not 0 <= frame < FRAMES:
                continue
            neurons, sizes = activity.neuron[low:high], np.abs(activity.value[low:high])
            found[frame, i] = high - low, sizes @ structural[neurons], structural[neurons].sum()
            if i == len(network.layers) - 1:
                answers[frame, neurons - network.offsets[i]] = activity.value[low:high]
    for until in range(1, FRAMES + 1):
        counted, total = count_both(network, frames[:until])[1], found[:until].sum(axis=0)
        assert counted.messages.tolist()[:-1] == total[:-1, 0].tolist()
        assert counted.unit_adds.tolist()[:-1] == total[:-1, 1].tolist()
        assert counted.graded_synops.tolist()[:-1] == total[:-1, 2].tolist()
        assert np.array_equal(counted.answers, answers[:until])
    assert found[0, 0, 2] > 4 * found[1, 0, 2]


def test_the_input_layer_is_as_much_sparser_than_rounding_as_is_claimed(clip: Any) -> None:
    """42 to 76 times fewer unit spikes, at scales from 4 to that of the pixels themselves, over the whole clip."""
    found = []
    for k in (4, 8, 16, 32, 64, 128, 255):
        sent = np.rint(clip[:, 0] * (k / 255)).astype(np.int64)
        found.append(sent[1:].sum() / np.abs(np.diff(sent, axis=0)).sum())
    assert min(found) == pytest.approx(42, rel=0.05)
    assert max(found) == pytest.approx(76, rel=0.05)


def test_the_network_foresees_more_than_no_change(clip: Any, graph: Any) -> None:
    """On frames that neither trained it nor chose its epoch."""
    wanted = net.blocks(clip)[net.REST][net.AHEAD :]
    answers = run(make_plan(graph), (clip[net.REST] * net.PIXEL).astype(np.float32))[-1][: -net.AHEAD]
    still = net.blocks(clip)[net.REST][: -net.AHEAD]
    errors = [float(np.sqrt(((values - wanted) ** 2).mean())) / net.PIXEL for values in (answers, still)]
    assert errors[0] < errors[1]
    assert errors == pytest.approx([4.936, 5.075], abs=0.002)


@pytest.mark.parametrize("k", [8, 32])
def test_the_page_says_what_is_counted(clip: Any, graph: Any, k: int) -> None:
    """The rows of two fixed scales in docs/methods.md, from the shipped weights."""
    if not PAGE.is_file():
        pytest.skip("the tests run apart from the repository")
    frames = clip[net.REST] * net.PIXEL
    found = convert_driving.convert(graph, clip[:1] * net.PIXEL, frames, scales=float(k))
    later = convert_driving.operations(found, make_plan(graph), frames)["later"]
    counted = [f"{value / 1e3:,.1f}" for value in later.sum(axis=0)[3:]]
    text = PAGE.read_text(encoding="utf-8")
    cells = [cell.strip() for cell in text.split(f"\n| {', '.join([str(k)] * 5)} |")[1].split("\n")[0].split("|")]
    assert cells[2:5] == counted
    assert cells[5] == f"{later[0, 3] / later[0, 4]:.1f}"
    spread_out = run(make_plan(graph), frames.astype(np.float32))[-1].std() / net.PIXEL
    assert float(cells[0]) == pytest.approx(found.report.output_error * spread_out, abs=0.006)
