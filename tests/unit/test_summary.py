"""The summary of a run: its keys, and numbers that must add up."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
import pytest

import neurosim
from hwmodels import load_chip
from neurosim.costs import Result
from neurosim.engine.warm import announce_compilation
from neurosim.errors import InputError
from neurosim.network import Connection, Conv2d, Delta, Dense, Layer, Network, Sigma, SigmaDelta
from neurosim.report import CSV_FILES, summarise, write_summary, write_tables

KEYS = {
    "schema", "version", "model", "chip", "seed", "settings", "step", "timesteps", "steps_per_inference",
    "inferences", "inferences_steady", "startup_timesteps", "energy_per_inference_j", "energy_run_j",
    "power_w", "included",
    "latency_per_inference_s", "throughput_inferences_per_s", "timestep_s", "layers", "memories", "network",
    "model_sha256", "chip_sha256", "input", "options",
    "energy_terms", "provenance", "per_timestep", "notes", "gaps",
    "fidelity",
    "fidelity_error", "meanings", "warnings", "incidents", "routing_tables",
    "neurobench", "energy_delay_product_js", "messages",
}  # fmt: skip
LAYER_KEYS = {
    "name", "neurons", "cores", "messages", "synops", "synops_nonzero", "neuron_updates", "packets", "copies", "hops",
    "energy_j",
}  # fmt: skip
MEMORY_KEYS = {"name", "words_read", "words_written", "bytes_read", "bytes_written", "energy_j"}
TERM_KEYS = {
    "key", "kind", "source", "events_per_inference", "energy_j", "low", "high", "events_run", "energy_run_j",
    "seconds_per_inference", "seconds_run",
}  # fmt: skip

DEPTH = 4
FRAMES = 12


def tiny() -> Network:
    random = np.random.default_rng(11)
    convolution = Conv2d(random.integers(-40, 40, (4, 2, 3, 3)), (2, 6, 5))
    layers = [
        Layer("input", (2, 6, 5), Delta(threshold=4 << 12)),
        Layer("conv1", convolution.out_shape, SigmaDelta(threshold=2 << 12)),
        Layer("dense1", (5,), SigmaDelta(threshold=1 << 12)),
        Layer("dense2", (3,), Sigma()),
    ]
    connections = [
        Connection(("input",), "conv1", convolution),
        Connection(("conv1",), "dense1", Dense(random.integers(1, 20, (5, convolution.out_size)))),
        Connection(("dense1",), "dense2", Dense(random.integers(-20, 0, (3, 5)))),
    ]
    return Network(layers, connections, "tiny")


def run(frames: int = FRAMES, settings: dict[str, str] | None = None, chip: str = "loihi2", **options: Any) -> Result:
    values = np.random.default_rng(12).integers(-64, 64, (frames, 2, 6, 5))
    return neurosim.simulate(neurosim.compile(tiny(), chip, overrides=settings), values, **options)


@pytest.fixture(scope="module")
def result() -> Result:
    return run()


@pytest.fixture(scope="module")
def summary(result: Result) -> dict[str, Any]:
    return summarise(result)


def added(records: list[dict[str, Any]], key: str) -> Any:
    return math.fsum(record[key] for record in records)


def test_keys_are_those_of_the_schema(summary: dict[str, Any]) -> None:
    assert summary["schema"] == "neurosim.summary/1"
    assert set(summary) == KEYS
    assert set(summary["energy_per_inference_j"]) == {"value", "low", "high", "dynamic", "idle", "static"}
    assert set(summary["energy_run_j"]) == {"value", "low", "high", "dynamic", "idle", "static"}
    assert set(summary["timestep_s"]) == {"mean", "min", "max", "steady_mean", "period", "each"}
    assert set(summary["network"]) == {"packets", "copies", "flits", "hops", "peak_link_utilisation"}
    assert list(summary["provenance"]) == ["measured", "simulated", "derived", "estimate", "gap"]
    assert set(summary["energy_delay_product_js"]) == {"value", "low", "high"}
    incidents = {"late_ps", "late_sweeps", "late_messages", "dropped", "lost", "detours", "reinjected"}
    counts = {"messages", "synops", "synops_nonzero", "binding", "critical_path_ps"}
    assert set(summary["per_timestep"]) == counts | incidents
    assert all(set(layer) == LAYER_KEYS for layer in summary["layers"])
    assert all(set(memory) == MEMORY_KEYS for memory in summary["memories"])
    assert all(set(term) == TERM_KEYS for term in summary["energy_terms"])
    assert [layer["name"] for layer in summary["layers"]] == ["input", "conv1", "dense1", "dense2"]


def test_parts_of_the_energy_add_up(summary: dict[str, Any]) -> None:
    whole = summary["energy_run_j"]
    assert added(summary["layers"], "energy_j") + whole["static"] == pytest.approx(whole["value"], rel=1e-12)
    assert added(summary["energy_terms"], "energy_run_j") == pytest.approx(whole["value"], rel=1e-12)
    one = summary["energy_per_inference_j"]
    assert one["dynamic"] + one["static"] == pytest.approx(one["value"], rel=1e-12)
    for end, key in (("value", "energy_j"), ("low", "low"), ("high", "high")):
        assert added(summary["energy_terms"], key) == pytest.approx(one[end], rel=1e-12)
    assert one["low"] < one["value"] < one["high"]
    assert math.fsum(summary["provenance"].values()) == pytest.approx(1.0, rel=1e-12)


def test_static_energy_is_power_times_time(summary: dict[str, Any]) -> None:
    power_w = load_chip("loihi2").power.static.value
    time = summary["timestep_s"]
    assert summary["energy_run_j"]["static"] == pytest.approx(power_w * math.fsum(time["each"]), rel=1e-12)
    static = summary["energy_per_inference_j"]["static"]
    assert static == pytest.approx(power_w * time["steady_mean"], rel=1e-12)
    assert summary["throughput_inferences_per_s"] == pytest.approx(1 / time["steady_mean"], rel=1e-12)


def test_terms_are_events_times_constants(summary: dict[str, Any]) -> None:
    constants = dict(load_chip("loihi2").quantities())
    for term in summary["energy_terms"][:-1]:
        constant = constants[term["key"]]
        assert (term["kind"], term["source"]) == (constant.kind.value, constant.source)
        for key, pj in (("energy_j", constant.value), ("low", constant.low), ("high", constant.high)):
            assert term[key] == pytest.approx(term["events_per_inference"] * pj * 1e-12, rel=1e-12)
    assert summary["energy_terms"][-1]["key"] == "power.static"


def test_timesteps_add_up_to_layer_totals(summary: dict[str, Any]) -> None:
    for count in ("messages", "synops", "synops_nonzero"):
        for layer in summary["layers"]:
            each = summary["per_timestep"][count][layer["name"]]
            assert len(each) == summary["timesteps"]
            assert sum(each) == layer[count]
    time = summary["timestep_s"]
    assert len(time["each"]) == summary["timesteps"]
    assert time["mean"] == pytest.approx(math.fsum(time["each"]) / len(time["each"]), rel=1e-12)
    assert (time["min"], time["max"]) == (min(time["each"]), max(time["each"]))


def test_counts_follow_from_messages_and_fan_out(summary: dict[str, Any]) -> None:
    layers = {layer["name"]: layer for layer in summary["layers"]}
    # No weight of the dense connections is zero: 5 synapses a message of conv1, 3 a message of dense1.
    for name, fan_out in (("conv1", 5), ("dense1", 3)):
        assert layers[name]["messages"] > 0
        assert layers[name]["synops"] == layers[name]["synops_nonzero"] == fan_out * layers[name]["messages"]
    assert layers["dense2"]["synops"] == 0
    for layer in layers.values():
        assert layer["neuron_updates"] == layer["neurons"] * summary["timesteps"]
    network = summary["network"]
    assert network["packets"] == sum(layer["packets"] for layer in layers.values())
    assert network["hops"] == sum(layer["hops"] for layer in layers.values())
    # Header and payload are a flit each on this chip, and every message carries a value.
    assert network["flits"] == 2 * network["packets"]
    assert 0.0 <= network["peak_link_utilisation"] <= 1.0


def test_memory_bytes_are_words_of_the_chip(summary: dict[str, Any]) -> None:
    memories = load_chip("loihi2").core.memories
    for memory in summary["memories"]:
        bits = getattr(memories, memory["name"]).word.value
        for way in ("read", "written"):
            assert memory[f"bytes_{way}"] == memory[f"words_{way}"] * bits // 8
    paid = {memory["name"]: memory["energy_j"] for memory in summary["memories"]}
    assert paid["accumulator"] is None
    synops = [t["energy_run_j"] for t in summary["energy_terms"] if t["key"].endswith("synop_energy")]
    assert paid["synapse"] == pytest.approx(math.fsum(synops), rel=1e-12)


def test_latency_spans_the_depth(summary: dict[str, Any]) -> None:
    each = summary["timestep_s"]["each"]
    assert summary["startup_timesteps"] == DEPTH
    assert (summary["inferences"], summary["inferences_steady"]) == (FRAMES, FRAMES - 1)
    # The pipeline is full of steady inferences in timesteps 5 to 12; those of 4 timesteps begin in 5 to 9.
    spans = [math.fsum(each[first : first + DEPTH]) for first in range(DEPTH, FRAMES - DEPTH + 1)]
    assert summary["latency_per_inference_s"] == pytest.approx(sum(spans) / len(spans), rel=1e-12)
    full = each[DEPTH:FRAMES]
    assert summary["timestep_s"]["steady_mean"] == pytest.approx(sum(full) / len(full), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": DEPTH}, f"its answer needs {DEPTH + 1} timesteps, the run has {DEPTH}"),
        ({"steps": 8, "steps_per_inference": 3}, "its answer needs 9 timesteps, the run has 8"),
        ({"frames": 3, "steps": 20, "steps_per_inference": 3}, "it begins with frame 4, and 3 were given"),
    ],
)
def test_short_run_has_no_numbers_per_inference_and_says_what_it_lacks(options: dict[str, Any], words: str) -> None:
    summary = summarise(run(**options))
    assert summary["inferences_steady"] == 0
    for key in ("energy_per_inference_j", "latency_per_inference_s", "throughput_inferences_per_s"):
        assert summary[key] is None
    assert summary["timestep_s"]["steady_mean"] is None
    assert all(term["energy_j"] is None for term in summary["energy_terms"])
    assert words in summary["notes"][-1]
    assert math.fsum(summary["provenance"].values()) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": DEPTH + 1},
        {"steps": 9, "steps_per_inference": 3},
        {"frames": 4, "steps": 20, "steps_per_inference": 3},
        {"frames": 1, "steps": 9, "steps_per_inference": 3},
    ],
)
def test_run_one_longer_has_them(options: dict[str, Any]) -> None:
    summary = summarise(run(**options))
    assert summary["inferences_steady"] == 1
    assert summary["energy_per_inference_j"]["value"] > 0
    note, *others = [note for note in summary["notes"] if "no published constant" not in note]
    assert "too short for every layer" in note
    held = ["the last inference has 1 of 3 frames; the last one is held for its other timesteps"]
    assert others == (held if options.get("frames") == 4 else [])


def test_chip_on_which_nothing_takes_time_has_no_throughput() -> None:
    zero = {
        "sync.barrier.0.time": "0 ns",
        "sync.barrier.1.time": "0 ns",
        "core.neuron.update_active_time": "0 ns",
        "core.neuron.update_inactive_time": "0 ns",
        "core.neuron.send_time": "0 ns",
    }
    network = Network([Layer("input", (3,), Delta(threshold=1 << 12))], [], "alone")
    program = neurosim.compile(network, "loihi2", overrides=zero)
    summary = summarise(neurosim.simulate(program, np.arange(12).reshape(4, 3)))
    assert summary["timestep_s"]["max"] == 0.0
    assert summary["throughput_inferences_per_s"] is None
    assert summary["network"]["peak_link_utilisation"] == 0.0
    json.dumps(summary, allow_nan=False)


def test_what_a_run_from_python_does_not_know_is_none(summary: dict[str, Any]) -> None:
    assert summary["model_sha256"] is None
    assert summary["input"] == {"file": None, "sha256": None, "frames": FRAMES, "layout": None}
    assert summary["options"] == {"rounding": "default", "cum_error": False}
    same = {summarise(run(settings=settings))["chip_sha256"] for settings in (None, {}, {"network.buffer": "8"})}
    assert len(same) == 2
    assert summary["chip_sha256"] in same


def test_static_energy_is_booked_to_the_kind_of_its_power(summary: dict[str, Any]) -> None:
    kinds = {term["kind"]: 0.0 for term in summary["energy_terms"]}
    for term in summary["energy_terms"]:
        kinds[term["kind"]] += term["energy_j"]
    assert kinds[load_chip("loihi2").power.static.kind.value] > summary["energy_per_inference_j"]["static"] * 0.999
    total = summary["energy_per_inference_j"]["value"]
    for kind, energy in kinds.items():
        assert summary["provenance"][kind] == pytest.approx(energy / total, rel=1e-12)


def test_settings_are_read_off_the_chip_where_they_are_not_given() -> None:
    settings = {"core.neuron.send_energy": "40 pJ", "network.buffer": "8"}
    result = run(settings=settings)
    assert summarise(result)["settings"] == settings
    assert summarise(result, settings={})["settings"] == {}


def test_file_is_plain_json_and_the_same_every_time(result: Result, tmp_path: Path) -> None:
    summary = summarise(result, ["told"], {"a": "b"})
    write_summary(summary, tmp_path / "one.json")
    write_summary(summarise(run(), ["told"], {"a": "b"}), tmp_path / "two.json")
    content = (tmp_path / "one.json").read_bytes()
    assert content == (tmp_path / "two.json").read_bytes()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert json.loads(content, parse_constant=refuse) == summary
    assert summary["notes"][0] == "told"


def test_number_that_is_not_finite_leaves_no_file(summary: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_summary({**summary, "latency_per_inference_s": math.inf}, tmp_path / "s.json")
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_an_input_error(result: Result, summary: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose a folder that exists"):
        write_summary(summary, tmp_path / "no" / "s.json")
    with pytest.raises(InputError, match="cannot be made"):
        write_tables(result, summary, tmp_path / "no" / "tables")


@pytest.fixture(scope="module")
def tables(
    result: Result, summary: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("run") / "tables"
    write_tables(result, summary, folder)
    assert {path.name for path in folder.iterdir()} == set(CSV_FILES)
    out = {}
    for name in CSV_FILES:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            out[name] = list(csv.DictReader(file))
    return out


def test_tables_hold_the_numbers_of_the_summary(
    summary: dict[str, Any], tables: dict[str, list[dict[str, str]]]
) -> None:
    for row, layer in zip(tables["layers.csv"], summary["layers"], strict=True):
        assert row == {key: str(value) for key, value in layer.items()}
    for row, memory in zip(tables["memories.csv"], summary["memories"], strict=True):
        assert row == {key: "" if value is None else str(value) for key, value in memory.items()}
    for row, term in zip(tables["energy_terms.csv"], summary["energy_terms"], strict=True):
        assert (row["key"], row["kind"], row["source"]) == (term["key"], term["kind"], term["source"])
        assert float(row["energy_per_inference_j"]) == term["energy_j"]


def test_tables_add_up(summary: dict[str, Any], tables: dict[str, list[dict[str, str]]]) -> None:
    def total(name: str, column: str) -> int:
        return sum(int(row[column]) for row in tables[name])

    steps = tables["timesteps.csv"]
    assert [int(row["timestep"]) for row in steps] == list(range(1, summary["timesteps"] + 1))
    for row, seconds in zip(steps, summary["timestep_s"]["each"], strict=True):
        assert int(row["duration_ps"]) / 1e12 == seconds
        ends = (row["sweep_end_ps"], row["last_packet_ps"], row["last_synapse_ps"])
        assert int(row["duration_ps"]) == max(map(int, ends)) + int(row["barrier_ps"])
    for layer in summary["layers"]:
        assert total("timesteps.csv", f"messages {layer['name']}") == layer["messages"]
    packets = summary["network"]["packets"]
    assert total("cores.csv", "packets_out") == total("cores.csv", "packets_in") == packets
    assert total("cores.csv", "neurons") == sum(layer["neurons"] for layer in summary["layers"])


def test_links_carry_the_flits_of_every_hop(summary: dict[str, Any], tables: dict[str, list[dict[str, str]]]) -> None:
    links = [row for row in tables["links.csv"] if not row["to_core"]]
    # A mesh of 8 by 4 routers has 7 x 4 + 8 x 3 pairs of neighbours, with a link each way.
    assert len(links) == 2 * (7 * 4 + 8 * 3)
    assert sum(int(row["flits"]) for row in links) == 2 * summary["network"]["hops"]
    for row in links:
        step = (int(row["to_x"]) - int(row["x"]), int(row["to_y"]) - int(row["y"]))
        assert step == {"east": (1, 0), "west": (-1, 0), "north": (0, 1), "south": (0, -1)}[row["output"]]
    busiest = max(float(row["utilisation"]) for row in links)
    assert busiest == pytest.approx(summary["network"]["peak_link_utilisation"], rel=1e-12)
    # What leaves a router for a core is what that core receives.
    cores = {row["core"]: int(row["packets_in"]) for row in tables["cores.csv"]}
    ejected = {row["to_core"]: int(row["flits"]) for row in tables["links.csv"] if row["to_core"]}
    assert ejected == {core: 2 * packets for core, packets in cores.items()}


def test_compilation_is_announced_once_and_only_when_it_happens() -> None:
    said: list[str] = []
    first, second = nb.njit(lambda x: x + 1), nb.njit(lambda x: x + 2)
    with announce_compilation(lambda: said.append("compiling")):
        assert (first(1), second(1)) == (2, 3)
    assert len(said) == (0 if nb.config.DISABLE_JIT else 1)
    with announce_compilation(lambda: said.append("again")):
        assert first(2) == 3
    assert "again" not in said


def test_energy_delay_product_is_energy_times_latency(summary: dict[str, Any]) -> None:
    energy, latency_s = summary["energy_per_inference_j"], summary["latency_per_inference_s"]
    for end, product in summary["energy_delay_product_js"].items():
        assert product == pytest.approx(energy[end] * latency_s, rel=1e-15)
    assert summarise(run(frames=1))["energy_delay_product_js"] is None
