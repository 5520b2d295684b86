"""What `baseline_cost` refuses, and what its errors say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurosim.costs import baseline_cost
from neurosim.costs.baseline_work import bits_of
from neurosim.errors import ChipError, InputError, ModelError
from neurosim.network import Connection, Dense, Layer, Network, Relay, Sigma


def network(size: int = 4, weight: int = 100) -> Network:
    layers = [Layer("a", (size,), Relay()), Layer("b", (2,), Sigma())]
    return Network(layers, [Connection(("a",), "b", Dense(np.full((2, size), weight)))], "net")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"frames": 0}, "frames is 0; it must be a whole number, 1 or more"),
        ({"batch": 1.5}, "batch is 1.5; it must be a whole number"),
        ({"batch": True}, "batch is True; it must be a whole number"),
        ({"activation_bits": -8}, "activation_bits is -8"),
        ({"weight_bits": 0}, "weight_bits is 0"),
        ({"density": 1.5}, "net: density is 1.5; it is a share from 0 to 1"),
        ({"density": float("nan")}, "density is nan"),
        ({"density": {"a": -0.1}}, "density of a is -0.1"),
        ({"density": {"aa": 0.5}}, 'density of "aa": there is no such layer; did you mean "a"?'),
        ({"density": {"b": 0.5}}, "layer a sends, but has no density; give one"),
    ],
    ids=str,
)
def test_bad_numbers(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        baseline_cost(network(), "eyeriss", **given)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "weight", "given", "complaint"),
    [
        (
            "eyeriss",
            1,
            {"activation_bits": 17},
            "a -> b: activations of 17 bits; this hardware computes with 16",
        ),
        ("eyeriss", 70_001, {}, "connection a -> b: weights of 17 bits; this hardware computes with 16"),
        ("tpu_v1", 1, {"activation_bits": 17}, "activations of 17 bits; this hardware computes with 16 at most"),
        ("tpu_v1", 101, {"weight_bits": 4}, "weights reach 101..101, which take 7 bits; 4 are given"),
    ],
)
def test_values_that_are_too_wide(name: str, weight: int, given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ModelError) as caught:
        baseline_cost(network(weight=weight), name, **given)
    assert complaint in str(caught.value)


def test_what_the_unified_buffer_cannot_hold() -> None:
    with pytest.raises(ModelError, match=r"inputs and outputs of a batch of 4000 take 38\.2 MiB, the buffer has 24"):
        baseline_cost(network(10_000), "tpu_v1", batch=4000)


def test_an_unknown_baseline() -> None:
    with pytest.raises(ChipError, match='unknown baseline "tpu"; did you mean "tpu_v1"'):
        baseline_cost(network(), "tpu")


def test_a_network_without_connections() -> None:
    with pytest.raises(ModelError, match="alone: has no connections, so nothing to compute"):
        baseline_cost(Network([Layer("a", (4,), Relay())], [], "alone"), "cpu")


@pytest.mark.parametrize(
    ("weights", "bits"),
    [
        ([], 1),
        ([0], 1),
        ([1], 1),
        ([-1, 0], 1),
        ([-1, 1], 2),
        ([127], 7),
        ([-128, 127], 8),
        ([-129], 9),
        ([255], 8),
        ([-256, 254], 8),
        ([-512, 4], 8),
        ([64], 1),
    ],
)
def test_bits_of_weights(weights: list[int], bits: int) -> None:
    assert bits_of(np.array(weights, dtype=np.int32)) == bits
