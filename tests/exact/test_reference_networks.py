"""Recorded runs of lava: every message of every layer and timestep, and every synop.

Twice: by the plain numpy units, and by the whole program (files read, network compiled for Loihi 2, compiled
kernels, packets timed).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import neurosim
from neurosim.engine import LayerCount
from neurosim.formats import read_netx
from neurosim.network import Layer, Network, run_reference

Runner = Callable[[Network, NDArray[Any], int], dict[str, NDArray[np.int64]]]

# Folder, sequence, rounding: one recorded run each.
SDNN_RUNS = [
    ("synth_sdnn_features", "", "default"),
    ("synth_sdnn_features", "", "corrected"),
    ("pilotnet_sdnn_33x100_gts", "pan", "default"),
    ("pilotnet_sdnn_33x100_gts", "pan", "corrected"),
    ("pilotnet_sdnn_33x100_gts", "real1", "default"),
    ("pilotnet_sdnn_33x100_gts", "real1", "corrected"),
    ("pilotnet_sdnn_33x100_gts", "drive", "default"),
    ("pilotnet_sdnn_66x200", "pan", "default"),
    ("pilotnet_sdnn_66x200", "pan", "corrected"),
    ("pilotnet_sdnn_66x200", "drive", "default"),
]
# Folder, options that the file does not hold, timesteps.
CUBA_RUNS = [
    ("pilotnet_lif_66x200", {"reset_interval": 16}, 24),
    ("mnist_cuba", {"reset_interval": 32, "reset_offset": 1}, 320),
]
LAYERS = {
    "synth_sdnn_features": 7,
    "pilotnet_sdnn_33x100_gts": 9,
    "pilotnet_sdnn_66x200": 10,
    "pilotnet_lif_66x200": 10,
    "mnist_cuba": 3,
}


def in_neuron_order(recorded: NDArray[Any]) -> NDArray[Any]:
    """(T, W, H, C) or (T, N) as lava records it -> (T, n), neurons in C, H, W order."""
    return recorded.transpose(0, 3, 2, 1).reshape(len(recorded), -1) if recorded.ndim == 4 else recorded


def unpacked(bits: NDArray[np.uint8], layer: Layer) -> NDArray[Any]:
    """Spikes of a layer from bits over its neurons, flattened in W, H, C order."""
    spikes = np.unpackbits(bits, axis=1, count=layer.size)
    return in_neuron_order(spikes.reshape(-1, *layer.shape[::-1]))


def by_units(network: Network, frames: NDArray[Any], timesteps: int) -> dict[str, NDArray[np.int64]]:
    """Messages of each layer, (T, n), by the plain numpy units."""
    return run_reference(network, {network.layers[0].name: frames.astype(np.int64)}, timesteps).messages


def by_simulation(network: Network, frames: NDArray[Any], timesteps: int) -> dict[str, NDArray[np.int64]]:
    """Messages of each layer, (T, n), by a simulation on Loihi 2, whose own counts are held against them."""
    result = neurosim.simulate(neurosim.compile(network, "loihi2"), frames, steps=timesteps, keep_activity=True)
    sent = np.zeros((timesteps, network.size), dtype=np.int64)
    for activity in result.counts.activity:
        sent[activity.timestep - 1, activity.neuron] = activity.value
    messages = {layer.name: sent[:, low:] for layer, low in zip(network.layers, network.offsets[:-1], strict=True)}
    messages = {layer.name: messages[layer.name][:, : layer.size] for layer in network.layers}
    counts = result.counts.layer_counts
    for i, layer in enumerate(network.layers):
        expected = synops(network, layer.name, messages[layer.name])
        assert counts[:, i, LayerCount.SYNOPS].tolist() == expected["structural"]
        assert counts[:, i, LayerCount.SYNOPS_NONZERO].tolist() == expected["nonzero"]
        assert counts[:, i, LayerCount.MESSAGES].tolist() == np.count_nonzero(messages[layer.name], axis=1).tolist()
    return messages


RUNNERS = pytest.mark.parametrize("run", [by_units, by_simulation], ids=["units", "simulation"])


def load(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def recorded_layers(network: Network, arrays: dict[str, NDArray[Any]]) -> list[tuple[Layer, NDArray[Any]]]:
    """Pair the arrays `L<number>_<type>`, in order, with the network's layers; an implicit input has none."""
    names = sorted(name for name in arrays if name.startswith("L"))
    return list(zip(network.layers[-len(names) :], [arrays[name] for name in names], strict=True))


def assert_same(layer: Layer, found: NDArray[Any], recorded: NDArray[Any]) -> None:
    assert found.shape == recorded.shape, layer.name
    wrong = np.argwhere(found != recorded)
    if len(wrong):
        t, neuron = wrong[0]
        pytest.fail(
            f"{layer.name}: {len(wrong)} of {found.size} messages differ, first in timestep {t + 1} at neuron "
            f"{neuron}: {found[t, neuron]}, recorded {recorded[t, neuron]}"
        )


def synops(network: Network, layer: str, messages: NDArray[np.int64]) -> dict[str, list[int]]:
    """Synaptic operations per timestep that the messages of a layer cause in the next."""
    counts = {"structural": np.zeros(len(messages), dtype=np.int64)}
    counts["nonzero"] = counts["structural"].copy()
    for connection in network.connections:
        if connection.sources == (layer,):
            fan = connection.transform.fan_out()
            sent = messages[:, fan.sources] != 0
            counts["structural"] += sent @ fan.structural
            counts["nonzero"] += sent @ fan.nonzero
    return {name: values.tolist() for name, values in counts.items()}


@RUNNERS
@pytest.mark.parametrize(("folder", "sequence", "rounding"), SDNN_RUNS, ids=lambda v: v or "only")
def test_sigma_delta_messages_and_synops(
    reference_data: Path, folder: str, sequence: str, rounding: str, run: Runner
) -> None:
    place = reference_data / folder
    prefix = f"_{sequence}" if sequence else ""
    network = read_netx(place / "network.net", rounding=rounding)
    recorded = load(place / f"messages{prefix}_{rounding}.npz")
    frames = in_neuron_order(load(place / f"frames{prefix}.npz")["frames"])
    pairs = recorded_layers(network, recorded)
    assert len(pairs) == len(network.layers) == LAYERS[folder]
    found = run(network, frames, len(pairs[0][1]))
    for layer, values in pairs:
        assert_same(layer, found[layer.name], in_neuron_order(values))

    summary = json.loads((place / "summary.json").read_text())
    if folder == "synth_sdnn_features":
        for (layer, _), counts in zip(pairs, summary[rounding]["msgs"], strict=True):
            assert np.count_nonzero(found[layer.name], axis=1).tolist() == counts
        return
    described = summary[f"{sequence}/{rounding}"]["layers"]
    for layer, entry in zip(network.layers, described, strict=True):
        messages = found[layer.name]
        assert np.count_nonzero(messages, axis=1).tolist() == entry["msgs_per_step"]
        assert np.abs(messages).max() == entry["max_abs"]
    for layer, entry in zip(network.layers[:-1], described[:-1], strict=True):
        counted = synops(network, layer.name, found[layer.name])
        assert counted["structural"] == entry["synops_structural_per_step"]
        assert counted["nonzero"] == entry["synops_nonzero_weight_per_step"]
        everything = synops(network, layer.name, np.ones((1, layer.size), dtype=np.int64))
        assert everything["structural"] == [entry["dense_macs_structural"]]
        assert everything["nonzero"] == [entry["dense_macs_nonzero"]]


@RUNNERS
@pytest.mark.parametrize(("folder", "options", "timesteps"), CUBA_RUNS, ids=[r[0] for r in CUBA_RUNS])
def test_cuba_spikes_and_synops(
    reference_data: Path, folder: str, options: dict[str, int], timesteps: int, run: Runner
) -> None:
    place = reference_data / folder
    network = read_netx(place / "network.net", **options)
    arrays = load(place / "spikes.npz")
    source = network.layers[0]
    if "image_bias_mant" in arrays:
        frames = in_neuron_order(arrays["image_bias_mant"][None])
    else:
        frames = unpacked(arrays["input"], source)
    found = run(network, frames, timesteps)
    pairs = recorded_layers(network, arrays)
    assert len(pairs) == LAYERS[folder]
    for layer, bits in pairs:
        assert_same(layer, found[layer.name], unpacked(bits, layer))

    described = json.loads((place / "summary.json").read_text())["layers"]
    for layer, entry in zip(network.layers, described, strict=True):
        spikes, counted = found[layer.name], synops(network, layer.name, found[layer.name])
        if "spikes_per_step" in entry:
            assert np.count_nonzero(spikes, axis=1).tolist() == entry["spikes_per_step"]
        else:
            assert np.count_nonzero(spikes) == entry["spikes"]
        if layer is network.layers[-1]:
            continue
        if "spikes_per_step" in entry:
            assert counted["structural"] == entry["synops_structural_per_step"]
            assert counted["nonzero"] == entry["synops_nonzero_weight_per_step"]
        else:
            assert sum(counted["structural"]) == entry["synops_structural"]
            assert sum(counted["nonzero"]) == entry["synops_nonzero_weight"]


def test_mnist_answers(reference_data: Path) -> None:
    """Most spikes within the 32 timesteps of an image, counted where they reach the last layer."""
    place = reference_data / "mnist_cuba"
    network = read_netx(place / "network.net", reset_interval=32, reset_offset=1)
    arrays = load(place / "spikes.npz")
    frames = unpacked(arrays["input"], network.layers[0]).astype(np.int64)
    last = run_reference(network, {"input": frames}, 320).messages[network.layers[-1].name]
    # The last layer is three timesteps behind the input.
    windows = np.pad(last, ((0, 3), (0, 0)))[3:].reshape(10, 32, -1)
    assert windows.sum(axis=1).argmax(axis=1).tolist() == arrays["labels"].tolist()


def test_no_recorded_run_is_left_out(reference_data: Path) -> None:
    found = {path for folder in LAYERS for path in (reference_data / folder).glob("messages*.npz")}
    named = {
        reference_data / folder / f"messages{'_' * bool(sequence)}{sequence}_{rounding}.npz"
        for folder, sequence, rounding in SDNN_RUNS
    }
    assert found == named
    spikes = {path.parent.name for path in reference_data.glob("*/spikes.npz")}
    assert spikes == {folder for folder, _, _ in CUBA_RUNS}


def test_both_roundings_were_recorded_apart(reference_data: Path) -> None:
    """Guards the tests above: on this network the two roundings send different messages."""
    place = reference_data / "synth_sdnn_features"
    default, corrected = (load(place / f"messages_{r}.npz") for r in ("default", "corrected"))
    assert any((default[name] != corrected[name]).any() for name in default)


@pytest.mark.parametrize(
    ("sequence", "frames", "messages", "structural", "nonzero"),
    [("pan", 32, 6_208, 491_585, 370_145), ("drive", 64, 5_124, 420_890, 313_965)],
)
def test_steady_averages_of_an_inference(
    reference_data: Path, sequence: str, frames: int, messages: int, structural: int, nonzero: int
) -> None:
    """Published averages per frame without start-up, from files and defaults alone."""
    place = reference_data / "pilotnet_sdnn_66x200"
    program = neurosim.compile(read_netx(place / "network.net"), "loihi2")
    result = neurosim.simulate(program, place / f"frames_{sequence}.npz")
    window = result.window
    assert (result.timesteps, window.inferences, window.startup_timesteps) == (frames + 10, frames, 10)
    spans = list(zip(window.layer_start, window.layer_stop, strict=True))
    for count, published in (
        (LayerCount.MESSAGES, messages),
        (LayerCount.SYNOPS, structural),
        (LayerCount.SYNOPS_NONZERO, nonzero),
    ):
        total = sum(int(result.counts.layer_counts[a:b, i, count].sum()) for i, (a, b) in enumerate(spans))
        assert total / window.steady == pytest.approx(published, abs=0.5)
