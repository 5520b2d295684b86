"""Gated units: tables, arithmetic and messages against a second implementation in plain Python, on several chips."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels import load_chip
from neurosim.compiler import compile_network, read_network_file, read_program, write_network_file, write_program
from neurosim.engine import FunctionRun, run_program
from neurosim.errors import CapacityError, InputError, ModelError
from neurosim.network import (
    Connection,
    CurrentLeaky,
    Delta,
    DeltaGru,
    DeltaLstm,
    Dense,
    Layer,
    Network,
    Sparse,
    run_reference,
)
from neurosim.network.function_tables import table

Rng = np.random.Generator
CHIPS = ("loihi2", "spinnaker2", "generic_mesh")


@pytest.mark.parametrize("index", [4, 8, 12])
@pytest.mark.parametrize("fraction", [1, 4, 8])
def test_tables_are_the_functions_rounded(index: int, fraction: int) -> None:
    """Against the double-precision functions, all of whose values lie further from a half than their error."""
    for function, exact in (("sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("tanh", np.tanh)):
        found = table(function, index, fraction)
        reach = len(found) // 2
        scaled = exact(np.arange(-reach, reach + 1) / 2.0**index) * 2**fraction
        assert np.abs(scaled - np.floor(scaled) - 0.5).min() > 1e-9
        assert np.array_equal(found, np.rint(scaled))
        assert found[-1] == 1 << fraction
        assert found[0] == (0 if function == "sigmoid" else -found[-1])


def test_the_published_table_ends_where_the_hardware_saturates() -> None:
    """EdgeDRNN's sigmoid_lut.sv: 1.0 above 879 / 256 and 0 below -879 / 256; 1/16 at -879, 2/16 from -580."""
    found = table("sigmoid", 8, 4)
    middle = len(found) // 2
    assert (found[middle + 879], found[middle + 880]) == (15, 16)
    assert (found[middle - 880], found[middle - 879]) == (0, 1)
    assert (found[middle - 581], found[middle - 580]) == (1, 2)


# The second implementation: rational numbers, one neuron at a time, changes compared at the beginning of a step as the
# paper has them. Nothing of the package's arithmetic is used.


def nearest(value: Fraction, fraction: int, bits: int) -> Fraction:
    """Round to `fraction` bits, halves to even (as Python's round does), and saturate symmetrically."""
    highest = 2 ** (bits - 1) - 1
    return Fraction(max(-highest, min(highest, round(value * 2**fraction))), 2**fraction)


def sigmoid(x: Fraction, fraction: int) -> Fraction:
    return Fraction(round(2**fraction / (1 + float(np.exp(-float(x))))), 2**fraction)


def tanh(x: Fraction, fraction: int) -> Fraction:
    return Fraction(round(2**fraction * float(np.tanh(float(x)))), 2**fraction)


class Plain:
    """A delta GRU or LSTM with its input's thresholds, frame by frame."""

    def __init__(self, unit: Any, by_inputs: Any, by_states: Any, input_threshold: int) -> None:
        self.unit, self.lstm, self.theta = unit, isinstance(unit, DeltaLstm), input_threshold
        self.a, self.s = unit.activation_fraction, unit.sum_fraction
        weight = 2 ** (self.s - self.a)
        self.w = [[Fraction(int(v), weight) for v in row] for row in by_inputs]
        self.u = [[Fraction(int(v), weight) for v in row] for row in by_states]
        n, m = len(by_states[0]), len(by_inputs[0])
        self.sums = [
            [Fraction(int(np.broadcast_to(getattr(unit, name), n)[i]), 2**self.s) for name in unit.bias_names]
            for i in range(n)
        ]
        self.h, self.h_sent, self.c, self.x_sent = [Fraction(0)] * n, [Fraction(0)] * n, [Fraction(0)] * n, [0] * m
        self.into = ([0, 1, 2, 3], [0, 1, 2, 3]) if self.lstm else ([0, 1, 2], [0, 1, 3])

    def frame(self, x: Any) -> tuple[list[int], list[int], list[Fraction]]:
        """Return the changes sent of inputs and of the state before, and the new state."""
        dx = [int(v) - s if abs(int(v) - s) >= self.theta else 0 for v, s in zip(x, self.x_sent, strict=True)]
        self.x_sent = [s + d for s, d in zip(self.x_sent, dx, strict=True)]
        least = Fraction(self.unit.threshold, 2**self.a)
        dh = [h - s if abs(h - s) >= least else Fraction(0) for h, s in zip(self.h, self.h_sent, strict=True)]
        self.h_sent = [s + d for s, d in zip(self.h_sent, dh, strict=True)]
        moves = ([Fraction(d, 2**self.a) for d in dx], dh)
        for weights, changes, into in zip((self.w, self.u), moves, self.into, strict=True):
            for i, sums in enumerate(self.sums):
                for row, k in enumerate(into):
                    sums[k] += sum(w * d for w, d in zip(weights[i * len(into) + row], changes, strict=True) if d)
        self.h = [self.neuron(i) for i in range(len(self.h))]
        return dx, [int(d * 2**self.a) for d in dh], self.h

    def neuron(self, i: int) -> Fraction:
        a, bits, f = self.a, self.unit.activation_bits, self.unit.table_fraction
        at = [nearest(m, a, bits) for m in self.sums[i]]
        if self.lstm:
            gates = sigmoid(at[0], f), sigmoid(at[1], f), tanh(at[2], f), sigmoid(at[3], f)
            self.c[i] = nearest(gates[1] * self.c[i] + gates[0] * gates[2], a, bits)
            return nearest(gates[3] * tanh(self.c[i], f), a, bits)
        r, z = sigmoid(at[0], f), sigmoid(at[1], f)
        fresh = tanh(nearest(self.sums[i][2] + r * at[3], a, bits), f)
        return nearest(nearest((1 - z) * fresh, a, bits) + nearest(z * self.h[i], a, bits), a, bits)


def random_layer(
    rng: Rng, kind: str, threshold: int, formats: dict[str, int] | None = None, sizes: tuple[int, int] = (5, 7)
) -> tuple[Network, Plain]:
    """Return a network (inputs, gated layer, read-out of the mean) and the same gated layer in plain Python."""
    unit_kind: Any = DeltaGru if kind == "gru" else DeltaLstm
    m, n = sizes
    biases = {name: rng.integers(-20_000, 20_000, n) for name in unit_kind.bias_names}
    unit = unit_kind(threshold=threshold, start=1, **(formats or {}), **biases)
    k = 3 if kind == "gru" else 4
    into: Any = ((0, 1, 2), (0, 1, 3)) if kind == "gru" else (None, None)
    by_inputs, by_states = rng.integers(-127, 128, (k * n, m)), rng.integers(-127, 128, (k * n, n))
    kept = np.array([4096])
    answer = CurrentLeaky(voltage_keep=kept, current_keep=kept, bias=np.array([9, -4]), start=2, state_bits=36)
    layers = [Layer("x", (m,), Delta(threshold, 0, 0)), Layer("h", (n,), unit), Layer("out", (2,), answer)]
    connections = [
        Connection(("x",), "h", Dense(by_inputs), compartments=into[0]),
        Connection(("h",), "h", Dense(by_states), compartments=into[1]),
        Connection(("h",), "out", Dense(rng.integers(-127, 128, (2, n)))),
    ]
    return Network(layers, connections, kind), Plain(unit, by_inputs, by_states, threshold)


def random_frames(rng: Rng, count: int, width: int, size: int = 90) -> Any:
    return np.cumsum(rng.integers(-size, size + 1, (count, width)), axis=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["gru", "lstm"]), st.sampled_from([0, 1, 16, 60]), st.booleans())
def test_network_equals_the_paper_frame_by_frame(seed: int, kind: str, threshold: int, other: bool) -> None:
    """All states and all messages, of the reference runner and of the engine: a message of t acts as dh of t + 1."""
    rng = np.random.default_rng(seed)
    formats = {"activation_fraction": 6, "activation_bits": 11, "sum_fraction": 13, "table_fraction": 5}
    network, plain = random_layer(rng, kind, threshold, formats if other else None)
    frames = {"x": random_frames(rng, 8, 5)}
    if kind == "gru" and other and seed % 2:
        rows = np.concatenate([[0], np.cumsum(np.count_nonzero(network.connections[1].transform.weights, axis=0))])
        targets = np.nonzero(network.connections[1].transform.weights.T)[1]
        weights = network.connections[1].transform.weights.T[network.connections[1].transform.weights.T != 0]
        sparse = Connection(("h",), "h", Sparse(rows, targets, weights, 21), compartments=(0, 1, 3))
        network = Network(network.layers, [network.connections[0], sparse, network.connections[2]], "sparse")
    wanted = [plain.frame(frame) for frame in frames["x"]]
    last = plain.frame(frames["x"][-1])
    found = run_reference(network, frames, 10).messages
    run = FunctionRun(network, frames)
    scale = 2**plain.a
    sent = np.zeros((8, 7), dtype=np.int64)
    for t, activity in enumerate(run.steps(9)):
        mine = np.zeros(network.size, dtype=np.int64)
        mine[activity.neuron] = activity.value
        assert np.array_equal(mine[5:12], found["h"][t])
        if t < 8:
            assert wanted[t][0] == mine[:5].tolist() == found["x"][t].tolist()
            # Of the state of frame t + 1, made in timestep t + 2: sent at once, and in the paper with frame t + 2.
            assert (wanted[t + 1] if t + 1 < 8 else last)[1] == found["h"][t + 1].tolist()
        if t >= 1:
            assert [int(h * scale) for h in wanted[t - 1][2]] == run.layers[1].state["state"].tolist()
            sent[t - 1] = run.layers[1].state["sent"]
    assert not found["h"][0].any()
    # The read-out adds up what was held of the states, and its bias, once for each frame.
    weights = network.connections[2].transform.weights.astype(np.int64)
    answers = np.cumsum(sent @ weights.T + [9, -4], axis=0)
    assert np.array_equal(found["out"][2:10], answers)
    assert not found["out"][:2].any()


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_no_held_state_is_off_by_the_threshold(kind: str) -> None:
    rng = np.random.default_rng(7)
    network, _ = random_layer(rng, kind, 30)
    run = FunctionRun(network, {"x": random_frames(rng, 60, 5)})
    for _ in run.steps(61):
        state = run.layers[1].state
        assert np.abs(state["state"] - state["sent"]).max() < 30


def test_sums_and_states_saturate_on_both_sides() -> None:
    unit = DeltaLstm(sum_bits=20, activation_bits=10, threshold=0, forget_bias=np.array([9_000]))
    network = Network([Layer("x", (1,), Delta(0, 0, 0)), Layer("h", (2,), unit)],
                      [Connection(("x",), "h", Dense(np.array([[127], [127], [127], [127]] * 2)
                                                     * np.repeat([[1], [-1]], 4, axis=0)))])  # fmt: skip
    run = FunctionRun(network, {"x": np.array([[30_000]])})
    steps = list(run.steps(12))
    state = run.layers[1].state
    assert state["sums"].tolist() == [(1 << 19) - 1] * 4 + [1 - (1 << 19)] * 4
    # Gates of +-511 / 256: 14/16 or 2/16, candidates of +-15/16. 14/16 c + 210 rises beyond 511; c = c / 8 - 30 at -34.
    assert state["cell"].tolist() == [511, -34]
    assert steps[-1].timestep == 12


def test_a_unit_that_stands_still_adds_up_and_sends_nothing() -> None:
    unit = DeltaGru(start=3, input_bias=np.array([1 << 15]))
    network = Network([Layer("x", (1,), Delta(0, 0, 0)), Layer("h", (1,), unit)],
                      [Connection(("x",), "h", Dense([[0], [0], [64]]), compartments=(0, 1, 2))])  # fmt: skip
    run = FunctionRun(network, {"x": np.array([[256]])})
    sent = []
    for activity in run.steps(5):
        sent.append(activity.value[activity.layer_start[1] :].tolist())
        assert activity.active.tolist() == [activity.timestep == 1, activity.timestep in (2, 4, 5)]
    assert run.layers[1].state["sums"].tolist() == [0, 0, 3 << 14, 0]
    # tanh(1.5) = 0.905, 14/16 in the table; z is a half, and h = 7/16 of 256.
    assert sent[:4] == [[], [], [], [112]]
    assert sent[4] == [56]


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("chip", CHIPS)
def test_chips_run_the_same_function(kind: str, chip: str, tmp_path: Path) -> None:
    """On any chip, placement and split, through the program file too, the messages are those of the reference."""
    rng = np.random.default_rng(11)
    network, _ = random_layer(rng, kind, 20, sizes=(6, 12))
    frames = {"x": random_frames(rng, 6, 6)}
    wanted = run_reference(network, frames, 8).messages
    few = load_chip(chip, {"core.neurons": "20", "core.neurons_usable": "20"} if chip == "loihi2" else {})
    for model, seed in ((load_chip(chip), 0), (few, 3)):
        program = compile_network(network, model, seed)
        write_program(program, tmp_path / "p.h5")
        read = read_program(tmp_path / "p.h5")
        assert read.network == network
        counts = run_program(read, frames, 8, keep_activity=True)
        assert np.array_equal(counts.outputs["out"], wanted["out"])
        for activity in counts.activity:
            found = np.zeros(network.size, dtype=np.int64)
            found[activity.neuron] = activity.value
            expected = np.concatenate([wanted[layer.name][activity.timestep - 1] for layer in network.layers])
            assert np.array_equal(found, expected)


def test_a_wide_layer_goes_on_several_cores_and_stays_the_same(tmp_path: Path) -> None:
    """GRU-128 of spoken digits' size: on Loihi 2 it needs cores for its weights, on a chip of 100 slots for neurons."""
    rng = np.random.default_rng(5)
    network, _ = random_layer(rng, "gru", 40, sizes=(40, 128))
    write_network_file(network, tmp_path / "n.nsnet")
    assert read_network_file(tmp_path / "n.nsnet") == network
    frames = {"x": random_frames(rng, 3, 40)}
    wanted = run_reference(network, frames, 5).messages["h"]
    cores = []
    for setting in ({}, {"core.neurons": "100", "core.neurons_usable": "100"}):
        program = compile_network(network, load_chip("loihi2", setting))
        held = [part for part in program.slices if part.layer == 1]
        cores.append(len(held))
        assert all(part.neuron_slots == 4 * part.size for part in held)
        counts = run_program(program, frames, 5, keep_activity=True)
        for activity in counts.activity:
            found = np.zeros(network.size, dtype=np.int64)
            found[activity.neuron] = activity.value
            assert np.array_equal(found[40:168], wanted[activity.timestep - 1])
    assert cores[1] == 6  # 25 neurons of 4 slots each
    assert 1 <= cores[0] < 6


def cases() -> dict[str, tuple[Any, str]]:
    """Return edits of a program file of a GRU layer, and what is said of them."""

    def compartments(value: Any) -> Any:
        return lambda file: file["network/connections/0"].attrs.__setitem__("compartments", value)

    def slots(file: h5py.File) -> None:
        file["cores/neuron_slots"][1] = 7

    def bias(file: h5py.File) -> None:
        del file["network/layers/1/unit/reset_bias"]
        file["network/layers/1/unit/reset_bias"] = np.zeros(2, dtype=np.int64)

    def fraction(file: h5py.File) -> None:
        file["network/layers/1/unit"].attrs["sum_fraction"] = 3

    return {
        "beyond": (compartments([0, 1, 4]), r"leads to compartments \(0, 1, 4\); a delta_gru unit has 0\.\.3"),
        "far beyond": (compartments([0, 1, 4096]), r"compartments is \[0, 1, 4096\]; the limits are 0\.\.1023"),
        "none": (compartments(np.zeros(0, dtype=np.int64)), "compartments is"),
        "not ascending": (compartments([1, 0, 2]), r"compartments are \(1, 0, 2\); give one or more, ascending from 0"),
        "other number": (compartments([0, 1]), "the layer has 7 neurons of 2 compartments each"),
        "float": (compartments([0.0, 1.0, 2.0]), "it must hold integers"),
        "too few slots": (slots, "takes 7 neuron slots for 7 neurons; give 28"),
        "biases": (bias, "reset_bias has 2 values for a layer of shape"),
        "format": (fraction, "sum_fraction is 3; it must be activation_fraction"),
    }


@pytest.mark.parametrize("case", cases())
def test_wrong_program_files_are_refused(case: str, tmp_path: Path) -> None:
    network, _ = random_layer(np.random.default_rng(1), "gru", 9)
    write_program(compile_network(network, load_chip("loihi2")), tmp_path / "p.h5")
    edit, words = cases()[case]
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        edit(file)
    with pytest.raises(InputError, match=words):
        read_program(tmp_path / "p.h5")


def test_compartments_of_units_with_one_are_refused() -> None:
    layers = [Layer("x", (2,), Delta(0, 0, 0)), Layer("y", (3,), Delta(0, 0, 0))]
    with pytest.raises(ModelError, match=r"leads to compartments \(0, 1\); a delta unit has 0\.\.0"):
        Network(layers, [Connection(("x",), "y", Dense(np.ones((6, 2))), compartments=(0, 1))])
    same = Network(layers, [Connection(("x",), "y", Dense(np.ones((3, 2))), compartments=(0,))])
    frames = {"x": np.array([[4, -9]])}
    found = [activity.value.tolist() for activity in FunctionRun(same, frames).steps(2)]
    assert found == [[4, -9], [-5, -5, -5]]


SCRIPT = """
import hashlib
import numba
import numpy as np
from hwmodels import load_chip
from neurosim.compiler import compile_network
from neurosim.engine import run_program
from neurosim.network import Connection, Delta, DeltaGru, DeltaLstm, Dense, Layer, Network

rng = np.random.default_rng(1)
lstm = DeltaLstm(threshold=9, start=2, forget_bias=np.array([1 << 15]))
layers = [Layer("x", (3,), Delta(20, 0, 0)), Layer("g", (4,), DeltaGru(threshold=9, start=1)), Layer("l", (5,), lstm)]
connections = [
    Connection(("x",), "g", Dense(rng.integers(-127, 128, (12, 3))), compartments=(0, 1, 2)),
    Connection(("g",), "g", Dense(rng.integers(-127, 128, (12, 4))), compartments=(0, 1, 3)),
    Connection(("g",), "l", Dense(rng.integers(-127, 128, (20, 4)))),
    Connection(("l",), "l", Dense(rng.integers(-127, 128, (20, 5)))),
]
frames = {"x": np.cumsum(rng.integers(-90, 91, (6, 3)), axis=0)}
program = compile_network(Network(layers, connections), load_chip("generic_mesh"))
counts = run_program(program, frames, 8, keep_activity=True)
digest = hashlib.sha256()
for activity in counts.activity:
    digest.update(activity.neuron.tobytes() + activity.value.tobytes() + activity.active.tobytes())
for array in (counts.layer_counts, counts.core_counts, counts.duration_ps):
    digest.update(array.tobytes())
assert counts.layer_counts[:, 2, 0].sum() > 3
print(numba.config.DISABLE_JIT, digest.hexdigest())
"""


def test_plain_python_gives_the_same_bytes() -> None:
    found = []
    for disable in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", SCRIPT],
            env={**os.environ, "NUMBA_DISABLE_JIT": disable}, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    assert [part[0] for part in found] == ["0", "1"]
    assert found[0][1] == found[1][1]


def test_what_does_not_fit_is_refused() -> None:
    layers = [Layer("x", (2,), Delta(0, 0, 0)), Layer("h", (3,), DeltaGru())]
    with pytest.raises(ModelError, match=r"gives \(9,\), the layer has 3 neurons of 4 compartments each"):
        Network(layers, [Connection(("x",), "h", Dense(np.ones((9, 2))))])
    with pytest.raises(ModelError, match=r"leads to compartments \(0, 4\); a delta_gru unit has 0\.\.3"):
        Network(layers, [Connection(("x",), "h", Dense(np.ones((6, 2))), compartments=(0, 4))])
    with pytest.raises(ModelError, match=r"compartments are \(2, 1\); give one or more, ascending from 0"):
        Connection(("x",), "h", Dense(np.ones((6, 2))), compartments=(2, 1))
    with pytest.raises(ModelError, match=r"has shape \(1, 2, 2\); units of several compartments stand in vectors"):
        Network([Layer("h", (1, 2, 2), DeltaLstm())], [])
    with pytest.raises(ModelError, match="sum_fraction is 7; it must be activation_fraction"):
        DeltaGru(sum_fraction=7)
    with pytest.raises(ModelError, match=r"reset_bias reaches 0\.\.3000000000; sums hold"):
        DeltaGru(reset_bias=np.array([0, 3_000_000_000]))
    with pytest.raises(ModelError, match=r"threshold is -1; it must lie in 0\.\."):
        DeltaGru(threshold=-1)
    network = Network(layers, [Connection(("x",), "h", Dense(np.ones((9, 2))), compartments=(0, 1, 2))])
    with pytest.raises(CapacityError, match=r"needs 4 neuron slots, the limit is 3"):
        compile_network(network, load_chip("loihi2", {"core.neurons": "3", "core.neurons_usable": "3"}))
    with pytest.raises(CapacityError, match=r"layer h of delta_gru units has 4 compartments a neuron; .* crossbar"):
        compile_network(network, load_chip("truenorth"))
    with pytest.raises(InputError, match="layer h of delta_gru units computes its gates once a timestep"):
        run_program(compile_network(network, load_chip("neuronflow")), {"x": np.zeros((1, 2), dtype=np.int64)}, 1)
