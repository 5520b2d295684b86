"""Fast fidelity, tori and joined chips through the whole program."""

from __future__ import annotations

import numpy as np
import pytest

import neurosim
from hwmodels import Chip, load_chip
from neurosim.engine import LayerCount, PacketLoad
from neurosim.engine.chip_times import chip_delays_ps, mesh_model
from neurosim.errors import ChipError, InputError
from neurosim.network import Connection, Delta, Dense, Layer, Network, Sigma, SigmaDelta
from neurosim.report import summarise


def network() -> Network:
    rng = np.random.default_rng(0)
    layers = [Layer("in", (60,), Delta(1 << 12)), Layer("mid", (50,), SigmaDelta(1 << 12)), Layer("out", (3,), Sigma())]
    connections = [
        Connection(("in",), "mid", Dense(rng.integers(-20, 20, (50, 60)))),
        Connection(("mid",), "out", Dense(rng.integers(-20, 20, (3, 50)))),
    ]
    return Network(layers, connections)


FRAMES = np.random.default_rng(1).integers(-60, 60, (20, 60))


def test_fast_runs_say_so_and_measure_their_error() -> None:
    program = neurosim.compile(network(), "loihi2", overrides={"core.neurons_usable": "4"})
    exact = neurosim.simulate(program, FRAMES)
    fast = neurosim.simulate(program, FRAMES, fidelity="fast", check_fidelity=5)
    assert exact.fidelity_note is None
    assert exact.fidelity_error is None
    assert fast.counts.checked_steps == (1, 5, 10, 14, 19)
    chosen = np.array(fast.counts.checked_steps) - 1
    assert fast.counts.checked_ps.tolist() == exact.counts.duration_ps[chosen].tolist()
    errors = np.abs(fast.counts.duration_ps[chosen] / exact.counts.duration_ps[chosen] - 1)
    assert fast.fidelity_error == pytest.approx((errors.mean(), errors.max()), rel=1e-9)
    # What is counted does not depend on how it is timed.
    assert np.array_equal(fast.counts.layer_counts, exact.counts.layer_counts)
    assert np.array_equal(fast.counts.link_flits, exact.counts.link_flits)
    summary = summarise(fast)
    assert summary["fidelity"] == "fast"
    assert summary["fidelity_error"]["max"] == fast.fidelity_error[1]
    assert "fast fidelity" in summary["notes"][0]
    assert "error was not measured" in summarise(neurosim.simulate(program, FRAMES, fidelity="fast"))["notes"][0]


@pytest.mark.parametrize(
    ("fidelity", "check", "word"),
    [("quick", 0, '"quick" is not known'), ("cycle", 2, "only with"), ("fast", 99, "give 0 to")],
)
def test_bad_choices(fidelity: str, check: int, word: str) -> None:
    program = neurosim.compile(network(), "loihi2")
    with pytest.raises(InputError, match=word):
        neurosim.simulate(program, FRAMES, fidelity=fidelity, check_fidelity=check)


def torus_chip(switching: str) -> Chip:
    plain = load_chip("loihi2").to_dict()
    plain["mesh"]["topology"] = "torus"
    plain["network"]["switching"] = switching
    plain["network"]["virtual_channels"] = {"value": 2, "kind": "estimate", "source": "this test", "note": "made up"}
    plain["core"]["neurons_usable"]["value"] = 2
    return Chip.from_dict(plain)


@pytest.mark.parametrize("switching", ["wormhole", "cut_through"])
def test_a_torus_by_chip_file(switching: str) -> None:
    """The same messages, over fewer links than on the mesh: the ring is shorter one way round."""
    chip = torus_chip(switching)
    on_torus = neurosim.simulate(neurosim.compile(network(), chip), FRAMES)
    mesh_chip = load_chip("loihi2", {"core.neurons_usable": "2"})
    on_mesh = neurosim.simulate(neurosim.compile(network(), mesh_chip), FRAMES)
    for name, values in on_mesh.counts.outputs.items():
        assert np.array_equal(values, on_torus.counts.outputs[name])
    hops = [summarise(r)["network"]["hops"] for r in (on_torus, on_mesh)]
    assert hops[0] < hops[1]


def joined(columns: int, rows: int) -> Chip:
    plain = load_chip("loihi2").to_dict()
    made_up = {"kind": "estimate", "source": "this test", "note": "made up"}
    plain["mesh"]["columns"]["value"], plain["mesh"]["rows"]["value"] = 4, 2
    plain["mesh"]["cores_usable"] = {"value": 32, **made_up}
    plain["core"]["neurons_usable"]["value"] = 1
    plain["chips"] = {
        "columns": {"value": columns, **made_up},
        "rows": {"value": rows, **made_up},
        "latency": {"value": "100 ns", **made_up},
        "interval": {"value": "7 ns", **made_up},
        "energy": {"value": "50 pJ", **made_up},
    }
    return Chip.from_dict(plain)


def test_chips_side_by_side() -> None:
    """113 cores on four chips of 32: links between chips have their own latency, interval and energy."""
    chip = joined(2, 2)
    assert (chip.columns, chip.rows, chip.tiles, chip.cores, chip.chip_count) == (8, 4, 32, 128, 4)
    program = neurosim.compile(network(), chip)
    # Chips fill one after the other: the first 32 cores stand in the first chip's 4 x 2 tiles, but for swaps.
    assert program.cores == 113
    result = neurosim.simulate(program, FRAMES)
    plain = load_chip("loihi2", {"core.neurons_usable": "1"})
    single = neurosim.simulate(neurosim.compile(network(), plain), FRAMES)
    for name, values in single.counts.outputs.items():
        assert np.array_equal(values, result.counts.outputs[name])
    # Flit-hops between chips, from the packets' places alone.
    tile = program.core_tile
    x, y = tile % 8 // 4, tile // 8 // 2
    crossings = np.abs(x[:, None] - x[None]) + np.abs(y[:, None] - y[None])
    sent = np.zeros((program.cores, program.cores), dtype=np.int64)
    full = neurosim.simulate(program, FRAMES, keep_activity=True)
    neuron_core = np.empty(network().size, dtype=np.int64)
    neuron_core[program.neuron_order] = np.repeat(np.arange(program.cores), np.diff(program.core_start))
    for activity in full.counts.activity:
        for neuron in activity.neuron:
            low, high = program.axon_start[neuron], program.axon_start[neuron + 1]
            sent[neuron_core[neuron], np.unique(program.axon_core[low:high])] += 1
    flits = 2
    expected = int((sent * crossings).sum()) * flits
    assert result.layer_total(LayerCount.FLIT_HOPS_CHIPS).sum() == expected > 0
    term = next(term for term in result.energy_run.terms if term.key == "chips.energy")
    assert term.energy_j.value == pytest.approx(expected * 50e-12, rel=1e-12)
    # The static power is that of four chips.
    seconds = result.counts.duration_ps.sum() * 1e-12
    assert result.energy_run.static_j.value == pytest.approx(4 * 0.232 * seconds, rel=1e-12)


def test_latency_between_chips() -> None:
    """One message from the first tile to each other: injection, hops by class, ejection."""
    chip = joined(2, 2)
    slots = np.arange(32, dtype=np.int32) * 4
    mesh = mesh_model(chip, slots, chip_delays_ps(chip))
    for target in range(32):
        columns, rows = target % 8, target // 8
        chips = columns // 4 + rows // 2
        load = PacketLoad(
            np.array([0] + [1] * 32), np.zeros(32, dtype=np.int64), np.array([target]), np.array([1]),
            np.array([0]), np.array([0]), np.array([0]),
        )  # fmt: skip
        on_chip = (columns - columns // 4) * 4100 + (rows - rows // 2) * 6500
        assert mesh.time(load).arrived[0] == 1050 + 1050 + on_chip + chips * 100_000


def test_chips_join_meshes_only() -> None:
    plain = torus_chip("wormhole").to_dict() | {"chips": joined(1, 2).to_dict()["chips"]}
    with pytest.raises(ChipError, match="chips join meshes only"):
        Chip.from_dict(plain)
