"""The shipped workloads: the files load, are what their scripts draw and claim, and are small."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from neurosim.formats import read_netx
from neurosim.network import Network
from neurosim_traces import Workload, workload, workload_names
from neurosim_traces.steering import draw, make, train

SIZE_LIMIT_BYTES = 400 * 1024


@pytest.fixture(scope="module")
def steering() -> Workload:
    return workload("steering")


@pytest.fixture(scope="module")
def network(steering: Workload) -> Network:
    return read_netx(steering.model_path)


@pytest.fixture(scope="module")
def clip(steering: Workload) -> draw.Video:
    with np.load(steering.frames_path) as data:
        assert set(data.files) == {"frames", "angle"}
        return draw.Video(data["frames"], data["angle"])


@pytest.fixture(scope="module")
def accuracy(steering: Workload) -> Any:
    return json.loads((steering.model_path.parent / "accuracy.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def answer(network: Network, clip: draw.Video) -> make.Answer:
    return make.run_sigma_delta(network, clip.frames)


@pytest.mark.parametrize("name", workload_names())
def test_workload_is_whole_and_small(name: str) -> None:
    found = workload(name)
    assert found.name == name
    assert found.model_path.is_file()
    assert found.frames_path.is_file()
    assert found.chip_hint
    assert found.summary
    data = [p for p in found.model_path.parent.iterdir() if p.is_file() and p.suffix != ".py"]
    assert sum(p.stat().st_size for p in data) < SIZE_LIMIT_BYTES


def test_unknown_workload_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match='no workload is called "stering"; shipped: pixels, steering'):
        workload("stering")


def test_frames_fit_the_network(network: Network, clip: draw.Video) -> None:
    assert clip.frames.dtype == np.int16
    assert clip.frames.shape == (make.CLIP_FRAMES, *network["input"].shape)
    assert clip.frames.min() >= 0
    assert clip.frames.max() <= draw.UNITS_PER_ONE
    assert clip.angle.dtype == np.float32
    assert clip.angle.shape == (make.CLIP_FRAMES,)


def test_network_is_what_the_script_builds(network: Network) -> None:
    layers = [
        (connection.transform.weights, getattr(network[connection.target].unit, "bias", np.zeros(1)))
        for connection in network.connections
    ]
    built = make.build_network([(w.astype(np.int64), b.astype(np.int64)) for w, b in layers], make.THRESHOLDS)
    assert network == built
    for weight, _ in layers:
        assert not (weight % 2).any()
        assert weight.min() >= -256
        assert weight.max() <= 254


def test_clip_is_what_the_script_draws(clip: draw.Video) -> None:
    drawn = make.draw_clip()
    np.testing.assert_array_equal(drawn.frames, clip.frames)
    # The angle is no whole number: processors may differ in its last bit.
    np.testing.assert_allclose(drawn.angle, clip.angle, rtol=1e-6, atol=1e-7)


def test_a_seed_draws_one_video() -> None:
    first, again, other = (draw.draw_video(seed, 5) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.angle, again.angle)
    assert (first.frames != other.frames).mean() > 0.5


def test_clip_was_not_trained_on() -> None:
    groups = [set(make.TRAINING_SEEDS), set(make.VALIDATION_SEEDS), set(make.TEST_SEEDS)]
    assert len(set.union(*groups)) == sum(len(group) for group in groups)


def test_straight_road_ahead_needs_no_steering() -> None:
    road = draw._Road(np.random.Generator(np.random.PCG64(0)), 60.0)
    road.heading[:] = 0.0
    # The car drives in the middle of the right-hand lane: the centre line runs half a lane to its left.
    left = np.full_like(road.station, -draw.LANE_M / 2)
    assert draw._pursue(road, left, road.station, 0, 0.0) == pytest.approx(0.0, abs=1e-12)
    assert draw._pursue(road, left + 0.5, road.station, 0, 0.0) > 0.0


def test_steering_keeps_a_circle() -> None:
    # On a circle of radius r the bicycle model asks for atan(wheelbase / r) at the front wheels, whatever
    # the look-ahead: here a right turn, with the lane's centre on the circle that the car drives.
    radius_m = 50.0
    road = draw._Road(np.random.Generator(np.random.PCG64(0)), 60.0)
    road.heading = road.station / (radius_m + draw.LANE_M / 2)
    centre_radius_m = radius_m + draw.LANE_M / 2
    right = radius_m - centre_radius_m * np.cos(road.heading)
    ahead = centre_radius_m * np.sin(road.heading)
    expected = draw.STEERING_RATIO * np.arctan(draw.WHEELBASE_M / radius_m)
    assert draw._pursue(road, right, ahead, 0, 0.0) == pytest.approx(expected, rel=1e-9)


def test_sigma_delta_error_is_the_claimed_one(answer: make.Answer, clip: draw.Video, accuracy: dict[str, Any]) -> None:
    claimed = accuracy["rmse_degrees"]["clip"]
    assert make.rmse_degrees(answer.angle, clip.angle) == pytest.approx(claimed["sigma_delta"], rel=1e-9)
    assert make.rmse_degrees(0 * clip.angle, clip.angle) == pytest.approx(claimed["predicting_zero"], rel=1e-9)


def test_sums_and_messages_fit_their_widths(answer: make.Answer, accuracy: dict[str, Any]) -> None:
    assert 0 < answer.largest_message <= accuracy["largest_message"] < 1 << (make.MESSAGE_BITS - 1)
    assert 0 < answer.largest_sum <= accuracy["largest_convolution_sum"] < 1 << (make.CONVOLUTION_SUM_BITS - 1)


def test_claimed_quality(accuracy: dict[str, Any]) -> None:
    test = accuracy["rmse_degrees"]["test"]
    assert test["dense"] < test["predicting_the_training_mean"] / 4
    assert test["sigma_delta"] < 1.15 * test["dense"]


def test_readme_states_the_measured_numbers(steering: Workload, accuracy: dict[str, Any]) -> None:
    text = (steering.model_path.parent / "README.md").read_text(encoding="utf-8")
    for name, label in (
        ("predicting_zero", "always 0"),
        ("predicting_the_training_mean", "always the mean of the training angles"),
        ("dense", "dense network"),
        ("sigma_delta", "sigma-delta network"),
    ):
        values = [f"{accuracy['rmse_degrees'][part][name]:.2f}" for part in ("validation", "test", "clip")]
        row = re.search(rf"^\| {label}.*\|$", text, flags=re.MULTILINE)
        assert row is not None, label
        assert [cell.strip() for cell in row[0].split("|")[2:5]] == values
    for layer in accuracy["layers"][:-1]:
        row = re.search(rf"^\| {layer['name']} .*\|$", text, flags=re.MULTILINE)
        assert row is not None, layer["name"]
        assert row[0].split("|")[4].strip() == f"{layer['messages_per_timestep']:.0f}"


def test_rounding_keeps_to_even_eight_bit_values() -> None:
    weight = np.array([[-9.0, -4.0, -0.02, 0.02, 0.5, 3.97, 9.0]], dtype=np.float32)
    bias = np.array([0.26], dtype=np.float32)
    (rounded_weight, rounded_bias) = train.rounded([train.Parameters(weight, bias)])[0]
    assert rounded_weight.tolist() == [[-256, -256, -2, 2, 32, 254, 254]]
    assert rounded_bias.tolist() == [17]
