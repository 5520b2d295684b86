"""Calibration: known constants come back within their stated intervals; what cannot be told apart is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hwmodels import Chip, load_chip
from neurosim import api
from neurosim.costs import Result
from neurosim.errors import InputError
from neurosim.explore import Calibration, calibrate, read_measurements, reprice, write_variant
from neurosim.explore.calibrate import _Design
from neurosim.explore.constants import cost_constants, with_constants
from neurosim.explore.fit import fit
from neurosim.explore.measurements import Measurement
from neurosim.network import Connection, Conv2d, Delta, Dense, Layer, Network, SigmaDelta, Sparse
from neurosim.report import Run, write_results

CHIP = load_chip(
    "loihi2", {"core.neurons_usable": "48", "mesh.cores_per_tile": "1", "mesh.columns": "16", "mesh.rows": "8"}
)
"""Small cores, so that small networks use many and send packets in both directions."""
NOISE = 0.05
TOGETHER = {"core.axon_out.energy", "core.axon_in.energy", "network.energy_local"}
"""On a chip without multicast all three are paid once a message, so no measurement tells them apart."""
TRUTH = {
    "core.neuron.update_active_energy": 31.0,
    "core.neuron.update_inactive_energy": 60.0,
    "core.neuron.send_energy": 420.0,
    "core.encodings.conv.synop_energy": 23.0,
    "core.encodings.dense.synop_energy": 70.0,
    "core.encodings.sparse.synop_energy": 140.0,
    "core.axon_out.energy": 300.0,
    "core.axon_in.energy": 100.0,
    "network.energy_local": 50.0,
    "network.energy_east_west": 900.0,
    "network.energy_north_south": 700.0,
    "power.static": 0.02,
}


def workload(number: int) -> Result:
    """A run that stresses some of a chip's parts more than others: sizes, kinds and activity by its number."""
    random = np.random.default_rng(number)
    kind = number % 4
    if kind == 0:
        shape = (2, 12, 12)
        conv = Conv2d(random.integers(-40, 40, (int(random.integers(2, 12)), 2, 3, 3)), shape)
        layers = [Layer("input", shape, Delta(threshold=1 << 12)), Layer("a", conv.out_shape, SigmaDelta(1 << 12))]
        joins = [Connection(("input",), "a", conv)]
    else:
        size, shape = int(random.integers(40, 400)), (int(random.integers(40, 300)),)
        weights = random.integers(-40, 40, (size, *shape))
        if kind == 1:
            weights[random.random(weights.shape) < 0.97] = 0
            source, target = np.nonzero(weights.T)
            start = np.searchsorted(source, np.arange(weights.shape[1] + 1))
            transform = Sparse(start, target, weights[target, source], size)
        elif kind == 2:
            transform = Dense(weights)
        else:
            transform = Dense(weights[:4])
        layers = [
            Layer("input", shape, Delta(threshold=1 << 12)),
            Layer("a", (transform.out_size,), SigmaDelta(1 << 12)),
        ]
        joins = [Connection(("input",), "a", transform)]
    far = Dense(random.integers(-9, 9, (6, layers[1].size)))
    layers.append(Layer("far", (6,), SigmaDelta(1 << 12)))
    joins.append(Connection(("a",), "far", far))
    frames = random.integers(-64, 64, (8, *layers[0].shape))
    frames[:, random.random(layers[0].shape) < random.choice([0.0, 0.5, 0.95])] = 0
    return api.simulate(api.compile(Network(layers, joins, f"w{number}"), CHIP, seed=number), frames)


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [workload(number) for number in range(24)]


@pytest.fixture(scope="module")
def truth() -> Chip:
    return with_constants(CHIP, TRUTH)


def test_intervals_hold_as_often_as_they_say(results: list[Result], truth: Chip) -> None:
    names = [Measurement(i, Path(), "run", 1.0, None, None, None) for i in range(len(results))]
    design = _Design(CHIP, results, names)
    keys = list(TRUTH)
    columns = np.repeat(np.array([design.column(key) for key in keys]).T, 6, axis=0)
    true = np.array([cost_constants(truth)[key].value for key in keys])
    exact = columns @ true
    assert np.allclose(exact[::6], [reprice(r, truth).energy_run.total_j.value for r in results], rtol=1e-12)
    random, tries, hits = np.random.default_rng(1), 200, np.zeros(len(keys))
    sums = 0
    for given in (None, np.full(len(exact), NOISE)):
        hits[:], sums = 0, 0
        for _ in range(tries):
            measured = exact * (1 + NOISE * random.standard_normal(len(exact)))
            found = fit(columns, measured, np.zeros(len(exact)), given)
            told = {keys[j] for j in np.flatnonzero(found.told)}
            assert told == set(keys) - TOGETHER
            assert found.unseen == ()
            (group,) = found.combinations
            assert {keys[j] for j in group.members} == TOGETHER
            assert group.factors == pytest.approx((1, 1, 1))
            assert group.low is not None
            assert group.high is not None
            sums += group.low <= true[list(group.members)].sum() <= group.high
            hits += (found.low <= true) & (true <= found.high)
            assert (found.estimate >= 0).all()
            assert found.relative_noise == pytest.approx(NOISE, rel=0.5)
        # 95 % stated; of 200 tries, three standard deviations are 4.6 %.
        shares = {key: hits[j] / tries for j, key in enumerate(keys) if key not in TOGETHER}
        assert all(abs(share - 0.95) < 0.047 for share in (*shares.values(), sums / tries)), shares


def table(path: Path, header: str, lines: list[str]) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(results: list[Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results files of all workloads."""
    place = tmp_path_factory.mktemp("lab")
    for number, result in enumerate(results):
        write_results(Run(result), place / f"{number}.h5")
    return place


def lab(folder: Path, results: list[Result], chip: Chip, noise: float, name: str = "lab.csv") -> Path:
    """Measure every workload three times on `chip`: energies of runs, powers of inferences with a time."""
    random, lines = np.random.default_rng(7), []
    for number, result in enumerate(results):
        anew = reprice(result, chip)
        assert anew.energy_inference is not None
        assert anew.timestep_mean_s is not None
        seconds = 1.5 * anew.timestep_mean_s
        slower = anew.energy_inference.dynamic_j.value + 1.5 * anew.energy_inference.static_j.value
        off = 1 + noise * random.standard_normal(3)
        lines += [f"{number}.h5,run,{energy!r},," for energy in (anew.energy_run.total_j.value * off[:2]).tolist()]
        lines.append(f"{number}.h5,inference,,{float(slower / seconds * off[2])!r},{float(seconds)!r}")
    return table(folder / name, "result,per,energy_j,power_w,time_s", lines)


def test_without_noise_every_constant_comes_back(results: list[Result], truth: Chip, folder: Path) -> None:
    found = calibrate(CHIP, read_measurements(lab(folder, results, truth, 0.0, "exact.csv")))
    assert {c.key for c in found.constants} == set(TRUTH) - TOGETHER
    for constant in found.constants:
        assert constant.value == pytest.approx(TRUTH[constant.key], rel=1e-6)
    (group,) = found.undetermined
    assert set(group.keys) == TOGETHER
    assert group.value == pytest.approx(450.0, rel=1e-6)
    assert group.before == pytest.approx(sum(cost_constants(CHIP)[key].value for key in TOGETHER))
    assert found.fit.freedom == 72 - 10
    assert np.allclose(found.predicted_j, found.measured_j, rtol=1e-9)


def test_noisy_measurements_make_a_chip_file(results: list[Result], truth: Chip, folder: Path, tmp_path: Path) -> None:
    path = lab(folder, results, truth, NOISE)
    found = calibrate(CHIP, read_measurements(path))
    inside = [c.low <= TRUTH[c.key] <= c.high for c in found.constants]
    assert sum(inside) >= len(inside) - 1
    assert found.fit.relative_noise == pytest.approx(NOISE, rel=0.3)
    base = tmp_path / "base.toml"
    base.write_text(
        'schema = "neurosim.chip/1"\nextends = "loihi2"\nname = "base"\ntitle = "B \\"quoted\\""\nsummary = "S"\n'
    )
    write_variant(found, str(base), path, tmp_path / "ours.toml")
    chip = load_chip(str(tmp_path / "ours.toml"))
    assert (chip.name, chip.extends) == ("ours", "base.toml")
    constants = cost_constants(chip)
    for constant in found.constants:
        held = constants[constant.key]
        assert held.value == pytest.approx(constant.value, rel=1e-5)
        assert (held.low, held.high) == (pytest.approx(constant.low, rel=1e-5), pytest.approx(constant.high, rel=1e-5))
        assert held.kind == "derived"
        assert "lab.csv (SHA-256 " in held.source
        assert "95 % confidence" in held.note
    for key in TOGETHER:
        assert constants[key] == cost_constants(CHIP)[key]


def test_what_is_held_and_what_is_not_there(results: list[Result], folder: Path) -> None:
    part = with_constants(CHIP, {"core.axon_out.energy": 777.0})
    path = lab(folder, results[1:2], part, 0.0, "one.csv")
    lines = path.read_text().replace("0.h5", "1.h5").splitlines()
    table(path, lines[0], lines[1:])
    found = calibrate(CHIP, read_measurements(path), ["core.axon_*.energy", "core.encodings.conv.synop_energy"])
    # The workload has no convolution; the two look-ups are one sum.
    assert found.unseen == ("core.encodings.conv.synop_energy",)
    assert [set(group.keys) for group in found.undetermined] == [{"core.axon_out.energy", "core.axon_in.energy"}]
    assert found.constants == ()
    assert "power.static" in found.held
    found = calibrate(CHIP, read_measurements(path), ["core.axon_out.energy"])
    assert [(c.key, c.value) for c in found.constants] == [("core.axon_out.energy", pytest.approx(777.0, rel=1e-9))]
    with pytest.raises(InputError, match="leave nothing to tell the noise by"):
        calibrate(CHIP, read_measurements(table(folder / "few.csv", "result,per,energy_j", ["1.h5,run,1e-6"])))


def test_no_constant_is_below_zero_and_the_others_take_it_up() -> None:
    columns = np.array([[1.0, 0.2], [2.0, 1.9], [3.0, 3.5], [4.0, 3.7], [5.0, 5.2]])
    measured = columns @ np.array([2.0, -0.3])
    found = fit(columns, measured, np.zeros(5))
    assert found.estimate[1] == 0.0
    assert 1.6 < found.estimate[0] < 2.0
    assert (found.low >= 0).all()
    assert (found.low <= found.estimate).all()
    assert (found.estimate <= found.high).all()


def test_columns_that_hang_together_are_grouped() -> None:
    random = np.random.default_rng(3)
    free = random.random((30, 4)) + 0.1
    # 0 and 3 are multiples; 1, 2 and 4 hang together by a sum; 5 is free; 6 is nowhere.
    columns = np.column_stack(
        [free[:, 0], free[:, 1], free[:, 2], 3 * free[:, 0], free[:, 1] + free[:, 2], free[:, 3], np.zeros(30)]
    )
    found = fit(columns, columns @ np.ones(7), np.zeros(30))
    assert [group.members for group in found.combinations] == [(0, 3), (1, 2, 4)]
    assert found.combinations[0].factors == pytest.approx((1.0, 3.0))
    assert found.combinations[0].estimate == pytest.approx(4.0)
    assert found.combinations[1].factors is None
    assert found.unseen == (6,)
    assert found.told.tolist() == [False] * 5 + [True, False]
    assert found.estimate[5] == pytest.approx(1.0)


class TestErrors:
    """What is wrong with measurements is said, all at once."""

    @pytest.mark.parametrize(
        ("header", "line", "said"),
        [
            ("per,energy_j", "run,1", "column result is missing"),
            ("result,energy_j", "0.h5,1", "column per is missing"),
            ("result,per", "0.h5,run", "columns energy_j and power_w are both missing"),
            ("result,per,energy_j,tme_s", "0.h5,run,1,1", 'did you mean "time_s"'),
            ("result,per,energy_j,per", "0.h5,run,1,run", "column per is there twice"),
            ("result,per,energy_j", "0.h5,runs,1", 'did you mean "run"'),
            ("result,per,energy_j", "0.h5,run,1 mJ", 'energy_j "1 mJ" is not a number; write it without a unit'),
            ("result,per,energy_j", "0.h5,run,-1", "must be above zero"),
            ("result,per,energy_j", "0.h5,run,nan", "must be above zero and finite"),
            ("result,per,energy_j,power_w", "0.h5,run,1,1", "not both"),
            ("result,per,energy_j,power_w", "0.h5,run,,", "not neither"),
            ("result,per,energy_j", "99.h5,run,1", "no such file"),
            ("result,per,energy_j", "0.h5,run,1,2", "more cells than columns"),
        ],
    )
    def test_of_the_file(self, header: str, line: str, said: str, folder: Path) -> None:
        with pytest.raises(InputError) as error:
            read_measurements(table(folder / "bad.csv", header, [line]))
        assert said in str(error.value)

    def test_empty_and_missing(self, folder: Path) -> None:
        with pytest.raises(InputError, match="holds no measurements"):
            read_measurements(table(folder / "bad.csv", "result,per,energy_j", []))
        with pytest.raises(InputError, match="cannot be read"):
            read_measurements(folder / "none.csv")

    def test_of_the_runs(self, folder: Path) -> None:
        good = read_measurements(table(folder / "good.csv", "result,per,energy_j", ["0.h5,run,1", "1.h5,run,2"]))
        with pytest.raises(InputError, match=r"ran on loihi2, which differs from loihi in more than energies"):
            calibrate(load_chip("loihi"), good)
        with pytest.raises(InputError, match=r'did you mean "core\.neuron\.send_energy"'):
            calibrate(CHIP, good, ["core.neuron.sent_energy"])
        with pytest.raises(InputError, match="no energy or power"):
            calibrate(CHIP, good, ["network.buffer"])
        with pytest.raises(InputError, match="between 0 and 1"):
            calibrate(CHIP, good, confidence=95)
        some = table(folder / "s.csv", "result,per,energy_j,relative_sigma", ["0.h5,run,1,0.1", "1.h5,run,1,"])
        with pytest.raises(InputError, match="missing on lines 3"):
            calibrate(CHIP, read_measurements(some))


def test_summaries_are_plain(results: list[Result], truth: Chip, folder: Path) -> None:
    from neurosim.explore import describe_calibration

    found: Calibration = calibrate(CHIP, read_measurements(lab(folder, results, truth, NOISE)))
    described = describe_calibration(found)
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert len(described["measurements"]) == 72


def test_what_the_noise_hides_is_named_and_told_once_there_is_less_of_it() -> None:
    random = np.random.default_rng(8)
    # Two columns that differ by a percent, and one of its own.
    first, own = random.random(40) + 1, random.random(40) + 0.1
    columns = np.column_stack([first, first * (1 + 0.01 * random.standard_normal(40)), own])
    exact = columns @ np.array([1.0, 2.0, 3.0])
    off = random.standard_normal(40)
    found = fit(columns, exact * (1 + 0.05 * off), np.zeros(40))
    assert found.told.tolist() == [False, False, True]
    assert found.loose == ((0, 1),)
    assert found.combinations == ()
    assert found.low[2] <= 3 <= found.high[2]
    clear = fit(columns, exact * (1 + 0.0005 * off), np.zeros(40))
    assert clear.told.all()
    assert clear.loose == ()
    assert ((clear.low <= [1, 2, 3]) & (clear.high >= [1, 2, 3])).all()
