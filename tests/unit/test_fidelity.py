"""Fast fidelity through the whole program: said everywhere, measured on demand, and tori by chip file."""

from __future__ import annotations

import numpy as np
import pytest

import neurosim
from hwmodels import Chip, load_chip
from neurosim.errors import InputError
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
