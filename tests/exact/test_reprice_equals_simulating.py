"""A run costed anew equals one simulated anew, to the last digit, wherever energies and powers alone changed."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import NUMBER, changed, graded, spiking, ternary
from spinnaker_like import spinnaker_like

from hwmodels import Chip, chip_names, load_chip
from hwmodels.loader import with_settings
from hwmodels.quantity import Energy, Power, WholeQuantity
from neurosim import api
from neurosim.costs import Result
from neurosim.errors import ChipError, InputError, NeurosimError
from neurosim.explore import reprice
from neurosim.explore.constants import cost_constants, decisive_differences, with_constants
from neurosim.report import Run, read_results, summarise, write_results, write_tables

OTHERS = {
    "crossbar": changed(
        load_chip("loihi2"),
        core__kind="crossbar",
        **{f"core__encodings__{way}__synop_time": {"value": "5 ns", **NUMBER} for way in ("dense", "sparse", "conv")},
    ),
    "dataflow": changed(load_chip("loihi2"), sync={"kind": "none"}),
    "haste": spinnaker_like(3, 2, 4, core__neurons_usable=8, core__processor__buffer=1, sync__period="25 us"),
}


@cache
def chip_of(name: str) -> Chip:
    return OTHERS[name] if name in OTHERS else load_chip(name)


@cache
def carried(name: str) -> tuple[Result, Any]:
    """Return a run of the first small network that a chip carries, and what simulates it on another chip."""
    refusals = []
    for make in (graded, spiking, ternary):
        network, frames = make()

        def simulate(chip: Chip, network: Any = network, frames: Any = frames) -> Result:
            return api.simulate(api.compile(network, chip), frames)

        try:
            return simulate(chip_of(name)), simulate
        except NeurosimError as error:
            refusals.append(str(error))
    return pytest.fail(f"{name} carries none of the networks: {'; '.join(refusals)}")


def spread(chip: Chip, factors: np.ndarray) -> Chip:
    """Return a chip with every energy and power times a factor, a range about it, and another source."""
    plain = chip.to_dict()
    for (key, constant), factor in zip(cost_constants(chip).items(), np.resize(factors, 99), strict=False):
        held: Any = plain
        *path, last = key.split(".")
        for part in path:
            held = held[int(part)] if isinstance(held, list) else held[part]
        unit = "pJ" if isinstance(constant, Energy) else "W"
        value = (constant.value or 3.7) * float(factor)
        held[last] = {"value": f"{value!r} {unit}", "low": f"{value / 2!r} {unit}", "kind": "measured", "source": "x"}
    plain["gaps"] = ["Nothing."]
    plain["title"] = "Another"
    return Chip.from_dict(plain)


def same(left: Result, right: Result, folder: Path) -> None:
    one, other = summarise(left), summarise(right)
    assert json.dumps(one) == json.dumps(other)
    for name, result, summary in (("a", left, one), ("b", right, other)):
        write_tables(result, summary, folder / name)
    for path in (folder / "a").iterdir():
        assert path.read_bytes() == (folder / "b" / path.name).read_bytes(), path.name


def every_chip() -> list[Any]:
    """Return all chips; tables between all pairs of thousands of tiles take their time."""
    names = [*chip_names(), *OTHERS]
    return [pytest.param(name, marks=[pytest.mark.slow] if chip_of(name).tiles > 1000 else []) for name in names]


@pytest.mark.parametrize("name", every_chip())
def test_every_chip_with_all_constants_changed(name: str, tmp_path: Path) -> None:
    result, simulate = carried(name)
    variant = spread(chip_of(name), np.random.default_rng(3).uniform(0.1, 9.0, 99))
    write_results(Run(result), tmp_path / "r.h5")
    anew = reprice(read_results(tmp_path / "r.h5").result, variant)
    assert anew.energy_run.total_j != result.energy_run.total_j
    same(anew, simulate(variant), tmp_path)


TEXTS = (st.just(0.0) | st.floats(1e-6, 1e9)).map(lambda value: f"{Decimal(repr(value)):f}")


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.data())
@pytest.mark.parametrize("name", ["loihi2", "loihi_board", "crossbar", "haste"])
def test_random_changes_of_constants(name: str, tmp_path: Path, data: st.DataObject) -> None:
    result, simulate = carried(name)
    keys = sorted(cost_constants(chip_of(name)))
    chosen = data.draw(st.dictionaries(st.sampled_from(keys), TEXTS, min_size=1, max_size=6))
    units = {key: "fJ" if isinstance(held, Energy) else "mW" for key, held in cost_constants(chip_of(name)).items()}
    variant = with_settings(chip_of(name), {key: f"{text} {units[key]}" for key, text in chosen.items()})
    assert json.dumps(summarise(reprice(result, variant))) == json.dumps(summarise(simulate(variant)))


@pytest.mark.parametrize("name", ["loihi2", "haste"])
def test_every_other_number_is_refused_by_its_key(name: str) -> None:
    chip = chip_of(name)
    refused = 0
    for key, quantity in chip.quantities():
        more = f"{2 * quantity.value} {'ps' if quantity.dimension.grain == '1 ps' else 'bit'}"
        text = str(2 * quantity.value) if quantity.dimension.grain == "1" else more
        try:
            if isinstance(quantity, Energy | Power):
                unit = "fJ" if isinstance(quantity, Energy) else "mW"
                variant = with_settings(chip, {key: f"{2 * quantity.value + 1} {unit}"})
                assert variant != chip
            else:
                variant = with_settings(chip, {key: text}) if isinstance(quantity, WholeQuantity) else chip
        except ChipError:  # this value does not fit the others
            continue
        found = decisive_differences(chip, variant)
        if isinstance(quantity, Energy | Power) or not quantity.value:
            assert not found
        else:
            assert [line.partition(":")[0] for line in found] == [key]
            refused += 1
    assert refused > 30


def test_choices_are_refused_and_all_differences_are_listed() -> None:
    result, _ = carried("loihi2")
    variant = changed(
        load_chip("loihi2"), sync={"kind": "none"}, core__neuron__sweep="touched", core__weights__sign_modes=False
    )
    with pytest.raises(InputError) as error:
        reprice(result, variant)
    for line in ("sync.kind: barrier -> none", "core.neuron.sweep: all -> touched", "sign_modes: True -> False"):
        assert line in str(error.value)
    assert "sync.barrier.0.time" in str(error.value)


def test_units_ranges_and_words_do_not_matter() -> None:
    chip = load_chip("loihi2")
    held = chip.to_dict()["core"]["neuron"]["update_active_time"]
    other = held | {"value": f"{chip.core.neuron.update_active_time.value} ps", "high": "1 s", "source": "elsewhere"}
    assert decisive_differences(chip, changed(chip, core__neuron__update_active_time=other, title="Another")) == []


def test_constants_are_put_in_exactly() -> None:
    chip = load_chip("loihi2")
    values = {"core.neuron.send_energy": 1 / 3, "power.static": 0.1 + 0.2}
    found = cost_constants(with_constants(chip, values))
    assert found["power.static"].value == values["power.static"]
    assert found["core.neuron.send_energy"].value == pytest.approx(1 / 3, rel=1e-15)
    assert decisive_differences(chip, with_constants(chip, values)) == []


class TestFile:
    """The results file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        write_results(Run(carried("loihi2")[0], ("a note",), {"a": "1"}), tmp_path / "r.h5")
        return tmp_path / "r.h5"

    def test_it_gives_the_run_back(self, path: Path) -> None:
        run, result = read_results(path), carried("loihi2")[0]
        assert (run.notes, run.settings) == (("a note",), {"a": "1"})
        assert json.dumps(summarise(run.result)) == json.dumps(summarise(result))
        for name, values in result.counts.outputs.items():
            assert np.array_equal(values, run.result.counts.outputs[name])

    def test_equal_runs_give_equal_bytes(self, path: Path, tmp_path: Path) -> None:
        run = read_results(path)
        write_results(run, tmp_path / "again.h5")
        assert path.read_bytes() == (tmp_path / "again.h5").read_bytes()

    def test_what_is_wrong_with_it_is_said(self, path: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            read_results(tmp_path / "none.h5")
        (tmp_path / "s.json").write_text("{}")
        with pytest.raises(InputError, match="a summary holds too little"):
            read_results(tmp_path / "s.json")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="damaged"):
            read_results(path)
        for change, said in (
            (lambda file: file.attrs.__setitem__("schema", np.bytes_("neurosim.program/1")), "a results file has"),
            (lambda file: file["counts"].__delitem__("lost"), "counts/lost is missing"),
            (lambda file: file["counts"].__setitem__("more", np.zeros(2)), "more is not known"),
            (lambda file: file["counts/layer_counts"].__setitem__((0, 0, 5), 10**6), "contradict each other"),
        ):
            path.write_bytes(whole)
            with h5py.File(path, "a") as file:
                change(file)
            with pytest.raises(InputError, match=said):
                read_results(path)
