"""The program file: what is written comes back, and the document alone is enough to write one."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hwmodels import load_chip
from neurosim.compiler import CoreSlice, Program, compile_network, read_program, write_program
from neurosim.compiler.program_checks import check_program
from neurosim.compiler.program_network import TRANSFORM_ARRAYS, TRANSFORM_NUMBERS, TRANSFORM_TEXTS
from neurosim.errors import InputError
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    CurrentLeaky,
    CurrentLif,
    Delay,
    Delta,
    DeltaGru,
    DeltaLstm,
    Dense,
    Hybrid,
    Layer,
    Leaky,
    Lif,
    MaxRounding,
    Network,
    Pool2d,
    Relay,
    Rounding,
    Sigma,
    SigmaDelta,
    Sparse,
)
from neurosim.network.transforms import TRANSFORMS
from neurosim.network.units import UNITS

DOCUMENT = Path(__file__).parents[2] / "docs" / "program-format.md"


def everything() -> Network:
    """Every unit, transform and kind of delay; branches, concatenation, a loop, several connections."""
    rng = np.random.default_rng(11)
    conv = Conv2d(rng.integers(-300, 300, (4, 1, 3, 2)) * 2, (2, 6, 7), (1, 2), (1, 0), (2, 1), 2)
    pool = Pool2d("average", (2, 1), conv.out_shape, 1, (0, 1))
    shape = pool.out_shape
    dense = Dense(rng.integers(-100, 100, (9, pool.out_size + 84)))
    sparse = Sparse([0, 2, 2, 5, *[5] * 6], [0, 8, 1, 2, 8], [70, 0, -1, 2, 3], 9)
    kept: dict[str, Any] = {
        "voltage_keep": np.arange(9) * 1000,
        "bias": np.arange(9) << 30,
        "activation_shift": 3,
        "decay_bits": 13,
        "state_bits": 40,
        "start": 2,
        "reset_interval": 5,
        "reset_phase": 4,
    }
    current: dict[str, Any] = {"current_keep": np.array([8192]), "current_bias": np.array([-3]), "old_current": True}
    hybrid = Hybrid(
        multiplier=np.arange(9), shift=np.array([3]), bias=np.array([-7]), residual=np.arange(9), function="sigmoid",
        omega=5, omega_shift=1, fraction=9, index_fraction=7, lowest=-3, highest=4, state_bits=20, waits=2,
    )  # fmt: skip
    layers = [
        Layer("input ä", (2, 6, 7), Delta(5 << 12, 11, 5)),
        Layer("spikes", (9,), Relay(True)),
        Layer("conv", conv.out_shape, SigmaDelta(3 << 12, np.arange(4) - 2, "corrected", False, 13, 4)),
        Layer("pool", shape, CubaLif(1024, 4096, -70, np.array([5]), 16, 3, 5, 7)),
        Layer("dense", (9,), SigmaDelta(1, np.arange(9) << 40, "default", True)),
        Layer("output", (9,), Sigma()),
        Layer("rounding", (9,), Rounding(np.arange(9), np.array([7]), -np.arange(9), 4, "half_even", 2, -9, 99, True)),
        Layer("lif", (9,), Lif(**kept, threshold=np.arange(9) - 4, reset=np.array([-7]), subtract=True)),
        Layer("current_lif", (9,), CurrentLif(**kept, **current, threshold=np.array([5]))),
        Layer("leaky", (9,), Leaky(**kept, message_shift=4)),
        Layer("current_leaky", (9,), CurrentLeaky(**kept, **current)),
        Layer("gru", (3,), DeltaGru(threshold=9, start=3, update_bias=np.arange(3) << 20, sum_fraction=17)),
        Layer("lstm", (2,), DeltaLstm(activation_fraction=6, activation_bits=12, table_fraction=5, sum_bits=40)),
        Layer("largest", (3,), MaxRounding(np.arange(3), np.array([2]), np.array([-5]), places=3, threshold=2)),
        Layer("widest", (2,), MaxRounding(np.array([1]), np.array([0]), places=6)),
        Layer("hybrid", (9,), hybrid),
        Layer("reset", (9,), Hybrid(multiplier=3, shift=1, reset_interval=6, reset_phase=5)),
    ]
    connections = [
        Connection(("input ä",), "conv", conv, Delay("synapse", np.abs(conv.weights) % 5), 24),
        Connection(("conv",), "pool", pool, Delay("neuron", np.arange(pool.out_size) % 63)),
        Connection(("pool", "input ä"), "dense", dense),
        Connection(("dense",), "dense", sparse, None, 16),
        Connection(("spikes",), "output", sparse, Delay("axon", np.arange(9))),
        Connection(("dense",), "output", Dense(np.eye(9))),
        *(Connection(("spikes",), layer.name, sparse) for layer in layers[7:11]),
        Connection(("dense",), "rounding", Dense(np.eye(9))),
        Connection(("dense",), "gru", Dense(rng.integers(-9, 9, (9, 9))), None, 30, (0, 1, 2)),
        Connection(("gru",), "lstm", Dense(rng.integers(-9, 9, (2, 3))), compartments=(3,)),
        Connection(("lstm",), "lstm", Dense(rng.integers(-9, 9, (8, 2)))),
        Connection(("spikes",), "largest", sparse),
        Connection(("spikes",), "widest", Dense(rng.integers(-9, 9, (4, 9))), compartments=(0, 5)),
        Connection(("dense",), "hybrid", Dense(np.eye(9))),
        Connection(("dense",), "reset", Dense(np.eye(9))),
    ]
    return Network(layers, connections, "everything")


@pytest.fixture(scope="module")
def program() -> Program:
    chip = load_chip("loihi2", {"core.weights.bits": "[4, 8, 16]", "core.neurons_usable": "30"})
    return compile_network(everything(), chip, seed=9)


def assert_same(one: Program, other: Program) -> None:
    for item in dataclasses.fields(Program):
        mine, theirs = getattr(one, item.name), getattr(other, item.name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype, item.name
            assert np.array_equal(mine, theirs), item.name
        else:
            assert mine == theirs, item.name


def test_everything_comes_back(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "program.h5"
    write_program(program, path)
    back = read_program(str(path))
    assert_same(back, program)
    for mine, theirs in zip(program.network.connections, back.network.connections, strict=True):
        assert mine.transform.to_dict().keys() == theirs.transform.to_dict().keys()
        assert mine.transform.weights.dtype == theirs.transform.weights.dtype == np.int32
        assert (mine.delay, mine.accumulator_bits) == (theirs.delay, theirs.accumulator_bits)
        assert mine.compartments == theirs.compartments
    assert [layer.unit.to_dict() for layer in back.network.layers] == [
        layer.unit.to_dict() for layer in program.network.layers
    ]
    assert back.chip.to_dict() == program.chip.to_dict()
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_program_gives_the_same_bytes(program: Program, tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("a.h5", "another name.h5", "c.h5"))
    write_program(program, one)
    write_program(program, two)
    write_program(read_program(one), three)
    assert one.read_bytes() == two.read_bytes() == three.read_bytes()


def test_the_same_program_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    """Guards against what differs from process to process: hashes, addresses, times."""
    code = """
import sys
import numpy as np
from hwmodels import load_chip
from neurosim.compiler import compile_network, write_program
from neurosim.network import Connection, Dense, Layer, Network, Relay, Sigma
layers = [Layer("a", (50,), Relay()), Layer("b", (70,), Sigma())]
network = Network(layers, [Connection(("a",), "b", Dense(np.arange(3500).reshape(70, 50) % 99))])
write_program(compile_network(network, load_chip("loihi2", {"core.neurons_usable": "9"}), 4), sys.argv[1])
"""
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path, hashing in zip(paths, ("1", "2"), strict=True):
        environment = {"PYTHONHASHSEED": hashing, "PYTHONPATH": str(Path(__file__).parents[2])}
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_file_is_replaced_and_a_failure_leaves_it(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "program.h5"
    path.write_bytes(b"something else")
    write_program(program, path)
    whole = path.read_bytes()

    def disk_is_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("neurosim.compiler.program_file.write_network", disk_is_full)
    with pytest.raises(InputError, match=r"program\.h5: cannot be written: .*No space left on device; free"):
        write_program(program, path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_no_folder_to_write_to(program: Program, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing/p\.h5: cannot be written: .*; choose a folder that exists"):
        write_program(program, tmp_path / "missing" / "p.h5")


def test_large_arrays_are_compressed(tmp_path: Path) -> None:
    """Of 400,000 weights of few values, and 2000 rows of like numbers, little is left."""
    weights = np.arange(400_000).reshape(200, 2000) % 7
    layers = [Layer("a", (2000,), Relay()), Layer("b", (200,), Sigma())]
    program = compile_network(
        Network(layers, [Connection(("a",), "b", Dense(weights))]),
        load_chip("loihi2", {"core.memories.synapse.size": "192 KiB"}),
    )
    path = tmp_path / "program.h5"
    write_program(program, path)
    assert path.stat().st_size < 100_000
    assert_same(read_program(path), program)


def test_every_kind_can_be_stored(program: Program) -> None:
    """A new unit or transform must be taught to the file, and be put into the network above."""
    assert {layer.unit.kind for layer in everything().layers} == set(UNITS)
    transforms = {c.transform.kind: c.transform for c in everything().connections}
    assert set(transforms) == set(TRANSFORMS) == set(TRANSFORM_ARRAYS) == set(TRANSFORM_NUMBERS)
    for kind, transform in transforms.items():
        stored = {*TRANSFORM_ARRAYS[kind], *TRANSFORM_NUMBERS[kind], *TRANSFORM_TEXTS.get(kind, ())}
        assert {"kind", *stored} == set(transform.to_dict())


def test_the_document_names_every_entry(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "program.h5"
    write_program(program, path)
    names = set()
    with h5py.File(path) as file:
        names.update(file.attrs)

        def note(name: str, item: Any) -> None:
            names.update(part for part in name.split("/") if not part.isdecimal())
            names.update(item.attrs)

        file.visititems(note)
    words = set(re.findall(r"\w+", DOCUMENT.read_text(encoding="utf-8")))
    assert names <= words
    assert {*UNITS, *TRANSFORMS} <= words


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the file of the document's example."""
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    monkeypatch.chdir(tmp_path)
    exec(found[1], {})
    return tmp_path / "tiny.h5"


def test_the_documents_example_can_be_read(tiny: Path) -> None:
    program = read_program(tiny)
    assert program.network == Network(
        [Layer("input", (2,), Relay()), Layer("sum", (1,), Sigma())],
        [Connection(("input",), "sum", Dense([[3, 0]]))],
        "tiny",
    )
    assert program.chip == load_chip("loihi2")
    assert program.slices == (CoreSlice(0, ((0, 2),), 2), CoreSlice(1, ((0, 1),), 1))
    assert program.axon_synops_nonzero.tolist() == [1, 0]
    assert program.graph().edges[0, 1]["messages"] == 2
    for name, dtype in (("core_slot", np.int32), ("axon_encoding", np.int8), ("axon_start", np.int64)):
        assert getattr(program, name).dtype == dtype


def test_another_compiler_is_free_in_what_the_document_leaves_open(tiny: Path) -> None:
    """Sweep order, other places and types, more neuron slots, an axon table with lists split in two."""
    with h5py.File(tiny, "a") as file:
        file["neurons/order"][:] = [1, 0, 2]
        file["cores/slot"][:] = [127, 3]
        file["cores/neuron_slots"][:] = [64, 64]
        file["cores/axon_in_entries"][:] = [0, 7]
        for name, values in (
            ("start", np.array([0, 2, 3, 3], dtype=np.uint8)),
            ("core", np.array([1, 1, 1], dtype=np.uint64)),
            ("encoding", np.array([0, 1, 2], dtype=np.int16)),
            ("synops", np.array([1, 0, 0], dtype=np.int16)),
            ("synops_nonzero", np.array([1, 0, 0], dtype=np.int16)),
            ("words", np.array([5, 1, 0], dtype=np.int16)),
        ):
            del file[f"axons/{name}"]
            file[f"axons/{name}"] = values
        file.attrs.modify("schema", np.bytes_(b"neurosim.program/1"))
    program = read_program(tiny)
    assert program.neuron_order.tolist() == [1, 0, 2]
    assert program.core_tile.tolist() == [31, 0]
    assert program.axon_words.tolist() == [5, 1, 0]


def test_compiled_programs_pass_their_own_checks(program: Program) -> None:
    assert check_program(program) == []
