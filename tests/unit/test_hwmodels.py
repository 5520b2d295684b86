"""The shipped chips hold the published figures, and a chip file means what docs/chip-format.md says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from hwmodels import Chip, Kind, Quantity, chip_names, load_chip
from hwmodels.core_schema import Core, Encoding, Memory, Neuron, Processor
from hwmodels.lines import key_lines
from hwmodels.loader import merge
from hwmodels.network_schema import Blocked, Chips, Mesh, Network, RoutingTables
from hwmodels.quantity import ENERGY, POWER, SIZE, TIME, Counts, parse_number
from hwmodels.schema import Sync

KIB = 8 * 1024


def number(chip: Chip, key: str) -> Quantity:
    return dict(chip.quantities())[key]


def test_the_shipped_chips() -> None:
    assert chip_names() == [
        "generic_mesh", "loihi", "loihi2", "loihi_awake", "loihi_board", "loihi_board_awake", "neuronflow", "odin",
        "seneca", "speck", "spinnaker", "spinnaker2", "spinnaker_4", "spinnaker_48", "tianjic", "truenorth",
        "truenorth_1v0",
    ]  # fmt: skip
    assert [load_chip(name).name for name in chip_names()] == chip_names()


# Davies et al. 2018, Table 2 (SPICE, 0.75 V): pJ and ps.
DAVIES_2018 = {
    "core.encodings.dense.synop_energy": 23.6,
    "core.encodings.sparse.synop_energy": 23.6,
    "core.encodings.conv.synop_energy": 23.6,
    "core.encodings.dense.synop_time": 3500,
    "core.encodings.sparse.synop_time": 3500,
    "core.encodings.conv.synop_time": 3500,
    "core.neuron.update_active_energy": 81.0,
    "core.neuron.update_inactive_energy": 52.0,
    "core.neuron.update_active_time": 8400,
    "core.neuron.update_inactive_time": 5300,
    "network.energy_local": 1.7,
    "network.energy_east_west": 3.0,
    "network.energy_north_south": 4.0,
    "network.latency_east_west": 4100,
    "network.latency_north_south": 6500,
    "sync.barrier.0.time": 113_000,
    "sync.barrier.1.time": 465_000,
}


@pytest.mark.parametrize(("key", "value"), DAVIES_2018.items())
def test_loihi_holds_table_2_of_davies_2018(key: str, value: float) -> None:
    held = number(load_chip("loihi"), key)
    assert held.value == value
    assert held.kind is Kind.SIMULATED
    assert "Davies et al. 2018" in held.source


def test_loihi_halves_the_latency_within_a_tile() -> None:
    network = load_chip("loihi").network
    assert network.latency_injection.value + network.latency_ejection.value == 2100
    assert network.latency_injection.kind is Kind.DERIVED


def test_loihi_link_carries_the_published_spikes_per_second() -> None:
    interval = load_chip("loihi").network.link_interval
    assert interval.value == pytest.approx(1e12 / 3.44e9, abs=0.5)
    assert interval.kind is Kind.DERIVED


# nengo-loihi (1024, 4096, 16,384 words of 64 bits), Intel's brief (208 KB, 24 bytes), 8 x 4 tiles of four.
LOIHI_CAPACITIES = {
    "mesh.columns": 8,
    "mesh.rows": 4,
    "mesh.cores_per_tile": 4,
    "core.neurons": 1024,
    "core.axon_in_entries": 4096,
    "core.axon_out_entries": 4096,
    "core.memories.synapse.size": 16_384 * 64,
    "core.memory_pool.size": 208 * KIB,
    "core.neuron.state": 192,
    "core.max_delay": 62,
    "core.weights.exponent_max": 7,
    "network.payload": 0,
    "network.flit": 32,
    "network.buffer": 16,
}


@pytest.mark.parametrize(("key", "value"), LOIHI_CAPACITIES.items())
def test_loihi_capacities(key: str, value: int) -> None:
    assert number(load_chip("loihi"), key).value == value


def test_loihi_routing_tables_fill_the_published_20_kb() -> None:
    core = load_chip("loihi").core
    assert core.axon_in_entries is not None
    assert core.axon_out_entries is not None
    bits = core.axon_in_entries.value * core.axon_in_entry_bits.value
    bits += core.axon_out_entries.value * core.axon_out_entry_bits.value
    assert bits == 20 * KIB


def test_loihi_weights_and_idle_power() -> None:
    chip = load_chip("loihi")
    assert chip.core.weights.bits.value == (1, 2, 3, 4, 5, 6, 8)
    assert chip.core.weights.sign_modes is True
    static = chip.power.static
    # Blouw et al. 2019, raw logs: 29.5 mW cold, 96.2 to 96.8 mW once the embedded processors are awake.
    assert (static.value, static.high, static.kind) == (0.0295, 0.0295, Kind.MEASURED)
    for name in ("loihi_awake", "loihi_board_awake"):
        power = load_chip(name).power
        assert power.static == static
        assert power.host is not None
        assert 0.0962 <= static.value + power.host.low <= static.value + power.host.value <= 0.0968


# SANA-FE, arch/loihi.yaml: access 51.2 pJ / 6.0 ns, update 21.6 pJ / 3.7 ns, spike out 69.3 pJ / 30 ns.
SANA_FE = {
    "core.encodings.dense.synop_energy": 35.5,
    "core.encodings.sparse.synop_energy": 33.6,
    "core.encodings.conv.synop_energy": 24.0,
    "core.encodings.dense.synop_time": 3800,
    "core.encodings.sparse.synop_time": 4700,
    "core.encodings.conv.synop_time": 3100,
    "core.neuron.update_inactive_energy": 51.2,
    "core.neuron.update_active_energy": 51.2 + 21.6,
    "core.neuron.send_energy": 69.3,
    "core.neuron.update_inactive_time": 6000,
    "core.neuron.update_active_time": 6000 + 3700,
    "core.neuron.send_time": 30_000,
    "core.axon_in.time": 16_000,
    "core.axon_in.energy": 0.0,
    "core.axon_out.time": 5100,
    "core.axon_out.energy": 111.0,
    "network.energy_north_south": 4.2,
}


@pytest.mark.parametrize(("key", "value"), SANA_FE.items())
def test_loihi_board_holds_the_constants_fitted_to_boards(key: str, value: float) -> None:
    held = number(load_chip("loihi_board"), key)
    assert held.value == pytest.approx(value, rel=1e-12)
    assert held.kind is Kind.DERIVED
    assert "SANA-FE" in held.source


def test_loihi_board_barrier_and_what_it_inherits() -> None:
    board, spice = load_chip("loihi_board"), load_chip("loihi")
    measured_us = {1: 0.6, 2: 1.0, 4: 1.4, 29: 1.8}
    assert {tiles: board.barrier_ps(tiles) for tiles in measured_us} == {
        tiles: round(us * 1e6) for tiles, us in measured_us.items()
    }
    assert board.extends == "loihi"
    assert board.core.memories == spice.core.memories
    assert board.network.energy_east_west == spice.network.energy_east_west


def test_loihi2_follows_the_published_mapping_tables() -> None:
    chip = load_chip("loihi2")
    assert chip.mesh.cores == 128
    # 64 neurons are 1.56 % and 64 input axons 0.80 % of a core; 87.5 % is the largest occupancy.
    assert chip.core.neurons.value == pytest.approx(64 / 0.0156, rel=0.005)
    assert chip.core.neurons_usable is not None
    assert chip.core.neurons_usable.value == 0.875 * chip.core.neurons.value
    assert chip.core.axon_in_entries is not None
    assert chip.core.axon_in_entries.value == pytest.approx(64 / 0.0080, rel=0.005)
    assert chip.core.memories.synapse.size is not None
    assert chip.core.memories.synapse.size.value == 12_000 * 64
    assert chip.core.memory_pool is not None
    assert chip.core.memory_pool.size.value == 192 * KIB
    assert chip.core.conv_patch == "columns_power_of_two"
    assert chip.core.neuron.state is None
    assert chip.network.payload.value == 32
    assert chip.core.max_delay.value == 62


def test_loihi2_time_per_synop_spans_the_four_measured_phases() -> None:
    """PilotNet-LIF: step times in us, and synops of conv3 over its three cores (lava-dl, commit d825ac5)."""
    phases = {201: 585_312, 107: 318_528, 181: 531_552, 125: 373_128}
    ratios_ps = [us * 1e6 / (synops / 3) for us, synops in phases.items()]
    for encoding in ("dense", "sparse", "conv"):
        held = number(load_chip("loihi2"), f"core.encodings.{encoding}.synop_time")
        assert held.value == 1055
        assert held.low == round(min(ratios_ps))
        assert held.high >= max(ratios_ps)
        assert held.kind is Kind.DERIVED


def test_loihi2_energies_add_up_to_the_measured_run_once() -> None:
    """0.447 W over 152.8 us and 2,269,710 synops; updates and sends as published, the rest as noted."""
    chip = load_chip("loihi2")
    synops, active, inactive, sends, messages, hops = 2_269_710, 123_345, 41_184, 34_595, 40_000, 2
    neuron, network = chip.core.neuron, chip.network
    hop_pj = (network.energy_east_west.value + network.energy_north_south.value) / 2
    overhead_pj = (
        active * neuron.update_active_energy.value
        + inactive * neuron.update_inactive_energy.value
        + sends * neuron.send_energy.value
        + messages * (chip.core.axon_out.energy.value + chip.core.axon_in.energy.value)
        + messages * (network.energy_local.value + hops * hop_pj)
    )
    all_in_pj = 0.447 * 152.8e-6 * 1e12 / synops
    synop = chip.core.encodings.conv.synop_energy
    assert synop.value + overhead_pj / synops == pytest.approx(all_in_pj, abs=0.05)
    assert synop.high == pytest.approx(all_in_pj, abs=0.05)
    overhead_pj = active * 81 + inactive * 52 + sends * 69.3 + messages * (111 + 1.7 + hops * 3.5)
    assert synop.low == pytest.approx(all_in_pj - overhead_pj / synops, abs=0.05)
    assert synop.kind is Kind.DERIVED


def test_loihi2_static_power_and_floor_of_the_timestep() -> None:
    chip = load_chip("loihi2")
    static = chip.power.static
    assert (static.value, static.low, static.high, static.kind) == (0.232, 0.232, 0.282, Kind.MEASURED)
    floor = chip.sync.barrier[0].time
    assert (floor.low, floor.value, floor.high) == (200_000, 1_750_000, 1_800_000)
    assert chip.barrier_ps(1) == chip.barrier_ps(17) == chip.barrier_ps(32)


def test_loihi2_synop_counts_are_of_non_zero_weights_and_loihi_s_structural() -> None:
    for name, expected in {"loihi": "structural", "loihi2": "nonzero"}.items():
        encodings = load_chip(name).core.encodings
        assert {encodings.dense.synops, encodings.sparse.synops, encodings.conv.synops} == {expected}


@pytest.mark.parametrize("name", ["loihi", "loihi2", "loihi_board"])
def test_no_memory_binds_beside_the_published_times(name: str) -> None:
    """Port timings that nobody published must not decide a result."""
    chip = load_chip(name)
    core, memories = chip.core, chip.core.memories
    for encoding in (core.encodings.dense, core.encodings.sparse, core.encodings.conv):
        assert memories.synapse.read_interval.value <= encoding.synop_time.value
        both = memories.accumulator.read_interval.value + memories.accumulator.write_interval.value
        assert both <= encoding.synop_time.value
    # The times fitted to boards hold the first word of a list too.
    assert memories.synapse.read_latency.value == memories.synapse.read_interval.value
    state_bits = core.neuron.state.value if core.neuron.state else 3 * memories.neuron_state.word.value
    words = -(-state_bits // memories.neuron_state.word.value)
    assert words * memories.neuron_state.read_interval.value <= core.neuron.update_inactive_time.value


@pytest.mark.parametrize("name", chip_names())
def test_every_number_has_a_source_and_every_estimate_a_reason(name: str) -> None:
    numbers = dict(load_chip(name).quantities())
    assert len(numbers) >= 80
    for key, held in numbers.items():
        assert held.source.strip(), key
        assert held.low <= held.value <= held.high, key
        assert held.kind is not Kind.ESTIMATE or len(held.note) > 5, key


@pytest.mark.parametrize("name", chip_names())
def test_a_chip_goes_through_json_unchanged(name: str) -> None:
    chip = load_chip(name, {"core.axon_out.time": "7 ns"})
    again = Chip.from_dict(json.loads(json.dumps(chip.to_dict())))
    assert again == chip
    assert again.to_dict() == chip.to_dict()
    assert [(key, q.value, q.low, q.high) for key, q in again.quantities()] == [
        (key, q.value, q.low, q.high) for key, q in chip.quantities()
    ]


def test_quantities_come_in_the_order_of_the_schema() -> None:
    keys = [key for key, _ in load_chip("loihi2").quantities()]
    heads = list(dict.fromkeys(key.split(".")[0] for key in keys))
    assert heads == ["mesh", "core", "network", "sync", "power"]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.055 ns", 1055),
        ("4.1ns", 4100),
        ("1 ps", 1),
        ("1.75 us", 1_750_000),
        ("0.3 ms", 300_000_000),
        ("1 s", 10**12),
        ("0 ns", 0),
    ],
)
def test_times_are_whole_picoseconds(text: str, value: int) -> None:
    parsed = parse_number(text, TIME)
    assert parsed == value
    assert isinstance(parsed, int)


@given(st.integers(0, 10**12))
def test_any_picosecond_written_in_ns_or_us_is_exact(ps: int) -> None:
    assert parse_number(f"{ps // 1000}.{ps % 1000:03} ns", TIME) == ps
    assert parse_number(f"{ps // 10**6}.{ps % 10**6:06} us", TIME) == ps


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("64 bit", 64),
        ("128 KiB", 128 * KIB),
        ("96 kB", 768_000),
        ("24 B", 192),
        ("24 bytes", 192),
        ("1 MiB", 2**23),
    ],
)
def test_sizes_are_whole_bits(text: str, bits: int) -> None:
    assert parse_number(text, SIZE) == bits


def test_energies_are_picojoules_and_powers_watts() -> None:
    assert parse_number("23.6 pJ", ENERGY) == 23.6
    assert parse_number("1.2 nJ", ENERGY) == 1200.0
    assert parse_number("29.5 mW", POWER) == 0.0295


def test_the_barrier_is_linear_between_points_rounded_down_and_flat_outside() -> None:
    chip = load_chip("loihi")  # 113 ns at one tile, 465 ns at 32
    assert chip.barrier_ps(1) == 113_000
    assert chip.barrier_ps(2) == 113_000 + 352_000 // 31
    assert chip.barrier_ps(16) == 113_000 + 352_000 * 15 // 31
    assert chip.barrier_ps(32) == chip.barrier_ps(1000) == 465_000
    late = load_chip("loihi", {"sync.barrier.0.tiles": "4"})
    assert late.barrier_ps(1) == late.barrier_ps(4) == 113_000
    with pytest.raises(ValueError, match="at least one"):
        chip.barrier_ps(0)


def test_setting_a_quantity_makes_it_an_estimate_of_the_user() -> None:
    key = "core.encodings.conv.synop_time"
    before, after = number(load_chip("loihi2"), key), number(load_chip("loihi2", {key: "1 ns"}), key)
    assert (before.value, before.low, before.kind) == (1055, 1005, Kind.DERIVED)
    assert (after.value, after.low, after.high) == (1000, 1000, 1000)
    assert (after.kind, after.source) == (Kind.ESTIMATE, "set by the user")
    assert after.note == "replaces 1.055 ns (derived)"
    assert load_chip("loihi2").differences(load_chip("loihi2", {key: "1 ns"})) == [
        f"{key}: 1.055 ns -> 1 ns",
        f"{key}.low: 1.005 ns -> absent",
        f"{key}.high: 1.055 ns -> absent",
    ]


def test_setting_counts_choices_switches_and_lists() -> None:
    chip = load_chip(
        "loihi2",
        {
            "core.neurons_usable.value": "4096",
            "core.conv_patch": "any",
            "core.weights.sign_modes": "false",
            "core.weights.bits": "[1, 8]",
            "power.static_note": "bench",
        },
    )
    assert chip.core.neurons_usable is not None
    assert chip.core.neurons_usable.value == 4096
    assert chip.core.conv_patch == "any"
    assert chip.core.weights.sign_modes is False
    assert isinstance(chip.core.weights.bits, Counts)
    assert chip.core.weights.bits.value == (1, 8)
    assert chip.core.weights.bits.kind is Kind.ESTIMATE
    assert chip.power.static_note == "bench"


def test_a_file_extends_a_shipped_chip_and_another_file(tmp_path: Path) -> None:
    head = 'schema = "neurosim.chip/1"\ntitle = "T"\nsummary = "S"\n'
    slow = '[core.axon_in]\ntime = { value = "9 ns", kind = "measured", source = "bench" }\n'
    (tmp_path / "a.toml").write_text(f'{head}name = "a"\nextends = "loihi2"\n{slow}')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.toml").write_text(f'{head}name = "b"\nextends = "../a.toml"\n[power]\nstatic_note = "n"\n')
    chip = load_chip(str(tmp_path / "sub" / "b.toml"))
    assert (chip.name, chip.extends, chip.title) == ("b", "../a.toml", "T")
    # The quantity is replaced whole: nothing of loihi2's range or note is left beside the new value.
    assert chip.core.axon_in.time.value == chip.core.axon_in.time.low == chip.core.axon_in.time.high == 9000
    assert chip.core.axon_in.time.note == ""
    assert chip.core.axon_in.energy == load_chip("loihi2").core.axon_in.energy
    assert chip.power.static == load_chip("loihi2").power.static


def test_merging_leaves_its_arguments_as_they_are() -> None:
    base = {"a": {"x": {"value": 1, "low": 0}, "y": 2}, "l": [1, 2]}
    over = {"a": {"x": {"value": 3}}, "l": [5]}
    assert merge(base, over) == {"a": {"x": {"value": 3}, "y": 2}, "l": [5]}
    assert base == {"a": {"x": {"value": 1, "low": 0}, "y": 2}, "l": [1, 2]}


def test_lines_of_keys() -> None:
    text = '# c\na = 1\n[b]\nc = { d = 2,\te = "]" }\n\ntext = """\n[no.header]\nx = 1\n"""\nb.f = [\n 1,\n]\n'
    text += "[[s.p]]\nt = 1\n[s.p.q]\nu = 2\n[[s.p]]\nt = 3\n"
    assert key_lines(text) == {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", "d"): 4,
        ("b", "c", "e"): 4,
        ("b", "text"): 6,
        ("b", "b"): 10,
        ("b", "b", "f"): 10,
        ("b", "b", "f", 0): 10,
        ("s", "p"): 13,
        ("s", "p", 0): 13,
        ("s", "p", 0, "t"): 14,
        ("s", "p", 0, "q"): 15,
        ("s", "p", 0, "q", "u"): 16,
        ("s", "p", 1): 17,
        ("s", "p", 1, "t"): 18,
    }


def test_the_example_of_the_format_s_document_loads(tmp_path: Path) -> None:
    document = Path(__file__).parents[2] / "docs" / "chip-format.md"
    example = document.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    (tmp_path / "mychip.toml").write_text(example, encoding="utf-8")
    assert load_chip("loihi2").differences(load_chip(str(tmp_path / "mychip.toml"))) == [
        "core.memories.synapse.size: 96 kB -> 48 KiB",
        "core.encodings.conv.synop_time: 1.055 ns -> 0.8 ns",
        "core.encodings.conv.synop_time.low: 1.005 ns -> 0.7 ns",
        "core.encodings.conv.synop_time.high: 1.055 ns -> 1.2 ns",
    ]


TABLES = [Chip, Chips, Core, Processor, Memory, Encoding, Neuron, Network, RoutingTables, Blocked, Mesh, Sync]


@pytest.mark.parametrize("table", TABLES)
def test_the_format_s_document_names_every_key(table: type[BaseModel]) -> None:
    document = (Path(__file__).parents[2] / "docs" / "chip-format.md").read_text(encoding="utf-8")
    for name, field in table.model_fields.items():
        assert f"`{field.alias or name}`" in document or f"[{field.alias or name}]" in document, name


def test_a_chip_cannot_be_changed() -> None:
    chip = load_chip("loihi2")
    with pytest.raises(ValueError, match="frozen"):
        chip.core.axon_in.time = chip.core.axon_out.time
