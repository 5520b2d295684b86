"""The reader of NIR files: subgraphs, shapes, delays, options, and what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import neurosim
from neurosim.errors import InputError, ModelError
from neurosim.formats import read_network, read_nir_with_notes
from neurosim.network import Conv2d, Delay, Dense, Lif, Network, Sparse, run_reference


def lif(n: int = 3, **changes: Any) -> nir.LIF:
    values = {"tau": 0.01, "r": 4.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changes
    return nir.LIF(**{key: np.broadcast_to(value, (n,)).astype(float) for key, value in values.items()})


def line(*nodes: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    named = {f"n{i}": node for i, node in enumerate(nodes)}
    names = list(named)
    return named, list(pairwise(names))


def save(path: Path, nodes: dict[str, Any], edges: list[tuple[str, str]]) -> Path:
    nir.write(path, nir.NIRGraph(nodes, edges, type_check=False))
    return path


def source(*shape: int) -> nir.Input:
    return nir.Input({"input": np.array(shape)})


def sink(*shape: int) -> nir.Output:
    return nir.Output({"output": np.array(shape)})


def load(path: Path, nodes: dict[str, Any], edges: list[tuple[str, str]], **options: Any) -> Network:
    return read_network(save(path / "g.nir", nodes, edges), **{"dt_s": 1e-3, **options})


WEIGHT = np.arange(6.0).reshape(3, 2) / 4


def test_a_subgraph_is_put_in_its_place(tmp_path: Path) -> None:
    plain = line(source(2), nir.Linear(WEIGHT), lif(), nir.Linear(np.eye(3)), lif(), sink(3))
    inner = nir.NIRGraph(
        {"input": source(2), "fc": nir.Linear(WEIGHT), "lif": lif(), "output": sink(3)},
        [("input", "fc"), ("fc", "lif"), ("lif", "output")],
        type_check=False,
    )
    nodes = {"in": source(2), "block": inner, "fc": nir.Linear(np.eye(3)), "lif": lif(), "out": sink(3)}
    edges = [("in", "block"), ("block", "fc"), ("fc", "lif"), ("lif", "out")]
    found, expected = load(tmp_path, nodes, edges), load(tmp_path, *plain)
    assert [layer.name for layer in found.layers] == ["in", "block.lif", "lif"]
    assert [layer.unit for layer in found.layers] == [layer.unit for layer in expected.layers]
    assert [c.transform for c in found.connections] == [c.transform for c in expected.connections]


def test_a_loop_within_a_subgraph_is_a_recurrent_connection(tmp_path: Path) -> None:
    nodes = {"input": source(3), "lif": lif(), "w_rec": nir.Linear(np.eye(3) / 4), "output": sink(3)}
    edges = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
    block = nir.NIRGraph(nodes, edges, type_check=False)
    outer = {"in": source(2), "fc": nir.Linear(WEIGHT), "rnn": block, "out": sink(3)}
    network = load(tmp_path, outer, [("in", "fc"), ("fc", "rnn"), ("rnn", "out")])
    assert {(c.sources, c.target, c.delay) for c in network.connections} == {
        (("in",), "rnn.lif", None),
        (("rnn.lif",), "rnn.lif", None),
    }
    flat = {"in": outer["in"], "fc": outer["fc"], "lif": nodes["lif"], "rec": nodes["w_rec"], "out": outer["out"]}
    edges = [("in", "fc"), ("fc", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "out")]
    assert network["rnn.lif"].unit == load(tmp_path, flat, edges)["lif"].unit


@pytest.mark.parametrize(("word", "padding"), [("same", 1), ("valid", 0)])
def test_padding_in_words_is_padding_in_numbers(tmp_path: Path, word: str, padding: int) -> None:
    extent = 4 + 2 * padding - 2
    found = []
    for given in (word, padding):
        conv = nir.Conv2d((4, 4), np.ones((1, 1, 3, 3)) / 2, 1, given, 1, 1, np.zeros(1))
        neurons = nir.Threshold(np.ones((1, extent, extent)))
        found.append(load(tmp_path, *line(source(1, 4, 4), conv, neurons, sink(1, extent, extent))))
    assert found[0] == found[1]


def test_shapes_that_a_file_lacks_follow_from_those_before(tmp_path: Path) -> None:
    one = np.ones(1)
    conv = nir.Conv2d((6, 6), np.ones((4, 2, 3, 3)) / 2, 1, 1, 1, 1, np.zeros(4))
    flat = nir.Flatten({"input": np.array([4, 6, 6])}, 1, -1)
    path = tmp_path / "g.nir"
    save(path, *line(source(1, 2, 6, 6), conv, nir.IF(one, one, one * 0), flat, nir.Linear(np.ones((3, 144))), lif()))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/n1/input_shape"], file["node/nodes/n3/input_type"], file["node/nodes/n2/v_reset"]
        file["node/nodes/n3/input_type"] = ""
    reading = read_nir_with_notes(path, dt_s=1, discretisation="exact")
    assert [layer.shape for layer in reading.network.layers] == [(2, 6, 6), (4, 6, 6), (3,)]
    notes = "\n".join(reading.notes)
    assert "the batch dimension of [1, 2, 6, 6] is dropped" in notes
    assert "its one value of each parameter is taken for all of [4, 6, 6]" in notes


def test_a_line_is_an_image_of_one_row(tmp_path: Path) -> None:
    weight = np.arange(12.0).reshape(2, 2, 3) / 8
    conv = nir.Conv1d(8, weight, 2, 1, 1, 1, np.zeros(2))
    network = load(tmp_path, *line(source(2, 8), conv, nir.Threshold(np.full((2, 4), 0.9)), sink(2, 4)))
    assert network["n2"].shape == (2, 1, 4)
    x = (np.random.default_rng(0).random((2, 8)) < 0.5).astype(np.int64)
    padded = np.pad(x, ((0, 0), (1, 1)))
    expected = [[(weight[o] * padded[:, 2 * i : 2 * i + 3]).sum() > 0.9 for i in range(4)] for o in range(2)]
    found = run_reference(network, {"n0": x.reshape(1, -1)}, 2).messages["n2"][1]
    assert found.tolist() == np.ravel(expected).astype(int).tolist()


def test_pooling_behind_neurons_joins_the_convolution_after_it(tmp_path: Path) -> None:
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    conv = nir.Conv2d((3, 3), np.ones((1, 2, 3, 3)), 1, 1, 1, 1, np.zeros(1))
    network = load(tmp_path, *line(source(2, 6, 6), pool, conv, nir.Threshold(np.full((1, 3, 3), 4.5)), sink(1, 3, 3)))
    (connection,) = network.connections
    assert isinstance(connection.transform, Conv2d)
    assert (connection.transform.weights.shape, connection.transform.stride) == ((1, 2, 6, 6), (2, 2))
    uneven = nir.SumPool2d(np.array([3, 3]), np.array([2, 2]), np.array([0, 0]))
    conv = nir.Conv2d((2, 2), np.ones((1, 2, 2, 2)), 1, 1, 1, 1, np.zeros(1))
    network = load(
        tmp_path, *line(source(2, 6, 6), uneven, conv, nir.Threshold(np.full((1, 3, 3), 4.5)), sink(1, 3, 3))
    )
    assert isinstance(network.connections[0].transform, Dense | Sparse)


def test_delays_are_timesteps_of_their_connection(tmp_path: Path) -> None:
    delays = np.array([0.0, 3e-3])
    network = load(tmp_path, *line(source(2), nir.Delay(delays), nir.Linear(WEIGHT), lif(), sink(3)))
    assert network.connections[0].delay == Delay("axon", np.array([0, 3]))
    network = load(tmp_path, *line(source(2), nir.Linear(WEIGHT), nir.Delay(np.array([1e-3, 0, 0])), lif(), sink(3)))
    assert network.connections[0].delay == Delay("neuron", np.array([1, 0, 0]))
    with pytest.raises(ModelError, match=r"node n1 \(Delay\): delay 0.003 s is 1.5 timesteps of 0.002 s"):
        load(tmp_path, *line(source(2), nir.Delay(delays), nir.Linear(WEIGHT), lif(), sink(3)), dt_s=2e-3)
    with pytest.raises(ModelError, match="waits for up to 100 timesteps; the limit is 62"):
        load(tmp_path, *line(source(2), nir.Delay(np.full(2, 0.1)), nir.Linear(WEIGHT), lif(), sink(3)))


def test_a_shorter_way_waits_for_the_longer_one(tmp_path: Path) -> None:
    nodes = {"in": source(3), "a": lif(), "b": lif(), "out": sink(3)}
    edges = [("in", "a"), ("a", "b"), ("in", "b"), ("b", "out")]
    network = load(tmp_path, nodes, edges)
    delays = {c.sources[0]: c.delay for c in network.connections if c.target == "b"}
    assert delays == {"a": None, "in": Delay("axon", np.array([1, 1, 1]))}


def test_the_options_reach_the_units(tmp_path: Path) -> None:
    chosen = {"reset": "subtract", "decay_bits": 10, "state_bits": 30, "reset_interval": 7, "inputs": "graded"}
    network = load(tmp_path, *line(source(2), nir.Linear(WEIGHT), lif(), sink(3)), **chosen)
    unit = network["n2"].unit
    assert isinstance(unit, Lif)
    assert (unit.subtract, unit.decay_bits, unit.state_bits) == (True, 10, 30)
    assert (unit.start, unit.reset_interval, unit.reset_phase) == (1, 7, 2)
    assert network["n0"].unit.graded
    # 1 - dt/tau = 0.9; gain 4 * 0.1; the largest weight of 1.25 in 8 bits counts in 1/64.
    assert unit.voltage_keep.tolist() == [round(0.9 * 1024)]
    assert unit.threshold[0] == int(1 / 0.4 * 64 * 2**unit.activation_shift)


def test_the_errors_of_all_parameters_are_reported(tmp_path: Path) -> None:
    weights = np.array([[0.3, -1.0], [0.2, 0.1], [0.0, 0.7]])
    reading = read_nir_with_notes(
        save(tmp_path / "g.nir", *line(source(2), nir.Linear(weights), lif(), sink(3))), dt_s=1e-3
    )
    (found,) = [e for e in reading.parameters if e.parameter == "weights"]
    assert found.step == 1 / 127
    assert found.largest == pytest.approx(np.abs(np.rint(weights * 127) / 127 - weights).max())
    assert {e.parameter for e in reading.parameters} == {"weights", "voltage_keep", "bias", "threshold", "reset"}


CASES: dict[str, tuple[Any, str]] = {
    "no time step": ((line(source(2), nir.Linear(WEIGHT), lif(), sink(3)), {"dt_s": None}), "give the time step"),
    "negative step": ((line(source(2), nir.Linear(WEIGHT), lif(), sink(3)), {"dt_s": -1.0}), "dt_s is -1.0"),
    "wrong choice": (
        (line(source(2), nir.Linear(WEIGHT), lif(), sink(3)), {"reset": "substract"}),
        'did you mean "subtract"',
    ),
    "wrong option": (
        (line(source(2), nir.Linear(WEIGHT), lif(), sink(3)), {"rounding": "default"}),
        "a .nir file takes no option rounding",
    ),
    "overshoot": ((line(source(2), nir.Linear(WEIGHT), lif(tau=1e-4), sink(3)), {}), "tau is 0.0001 s, less than"),
    "no decay": ((line(source(2), nir.Linear(WEIGHT), lif(tau=0), sink(3)), {}), "tau is 0 s; it must be above 0"),
    "no gain": ((line(source(2), nir.Linear(WEIGHT), lif(r=0), sink(3)), {}), "r makes a gain of 0"),
    "shape": ((line(source(4), nir.Linear(WEIGHT), lif(), sink(3)), {}), "takes 2 values and is given [4]"),
    "neurons": ((line(source(2), nir.Linear(WEIGHT), lif(4), sink(3)), {}), "parameters for 4 values and is given [3]"),
    "no shape": (
        (line(nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), lif()), {}),
        "nothing says its shape",
    ),
    "few bits": (
        (line(source(2), nir.Linear(WEIGHT), lif(v_threshold=1e4), sink(3)), {"state_bits": 8}),
        "give more state_bits",
    ),
    "no neurons in a loop": (
        (
            (
                {"in": source(3), "a": nir.Linear(np.eye(3)), "b": nir.Linear(np.eye(3)), "l": lif()},
                [("in", "a"), ("a", "b"), ("b", "a"), ("b", "l")],
            ),
            {},
        ),
        "form a loop without neurons",
    ),
    "no input": ((line(lif(), nir.Linear(np.eye(3)), lif()), {}), "has no node of type Input"),
    "part of the axes": (
        (line(source(2, 3, 4), nir.Flatten({"input": np.array([2, 3, 4])}, 1, 1), nir.Linear(np.ones((3, 24)))), {}),
        "all of a sample's axes can be",
    ),
    "same": (
        (
            line(
                source(1, 4, 4), nir.Conv2d((4, 4), np.ones((1, 1, 2, 2)), 1, "same", 1, 1, np.zeros(1)), sink(1, 4, 4)
            ),
            {},
        ),
        "is not symmetric",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    (graph, options), words = CASES[case]
    with pytest.raises(ModelError, match=re.escape(words)):
        load(tmp_path, *graph, **options)


def edit(path: Path, change: Any) -> Path:
    save(path, *line(source(2), nir.Linear(WEIGHT), lif(), sink(3)))
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def put(key: str, value: Any, **how: Any) -> Any:
    def change(file: h5py.File) -> None:
        if key in file:
            del file[key]
        file.create_dataset(key, data=value, **how)

    return change


def huge(file: h5py.File) -> None:
    del file["node/nodes/n1/weight"]
    file.create_dataset("node/nodes/n1/weight", (1 << 16, 1 << 16), "f4", chunks=(64, 64), compression="gzip")


def link(file: h5py.File) -> None:
    file["node/nodes/n9"] = h5py.ExternalLink("/etc/passwd", "/")


def elsewhere(file: h5py.File) -> None:
    del file["node/nodes/n1/weight"]
    file.create_dataset("node/nodes/n1/weight", (2, 2), "u1", external="/etc/hostname")


def virtual(file: h5py.File) -> None:
    del file["node/nodes/n1/weight"]
    layout = h5py.VirtualLayout((3, 2), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "weight", (3, 2))
    file.create_virtual_dataset("node/nodes/n1/weight", layout)


DAMAGES: dict[str, tuple[Any, str]] = {
    "unknown type": (put("node/nodes/n2/type", "LIFF"), "type 'LIFF' is not known; did you mean \"LIF\"?"),
    "unknown parameter": (put("node/nodes/n2/extra", 3), "n2 (LIF): nir does not take it"),
    "lost parameter": (lambda file: file["node/nodes/n2"].pop("tau"), "n2 (LIF): nir does not take it"),
    "not finite": (put("node/nodes/n2/tau", np.array([1.0, np.nan, 1])), "n2/tau: holds values that are not finite"),
    "text": (put("node/nodes/n2/tau", "0.1"), "n2 (LIF): nir does not take it"),
    "complex": (put("node/nodes/n1/weight", WEIGHT * 1j), "it must hold real numbers"),
    "huge": (huge, "more than 268435456 values"),
    "elsewhere": (elsewhere, "has its values in another file"),
    "virtual": (virtual, "has its values in another file"),
    "link": (link, "is a link to another place"),
    "dangling": (put("node/edges", [("n0", "n7")], dtype=h5py.string_dtype()), "names n7, which is not there"),
    "twice": (put("node/edges", [("n0", "n1")] * 2, dtype=h5py.string_dtype()), "edge n0 -> n1 stands twice"),
    "no nodes": (lambda file: file["node"].pop("nodes"), "lacks nodes or edges"),
    "no graph": (lambda file: file.pop("node"), "so it is no NIR file"),
    "long text": (put("node/nodes/n2/type", "L" * 2000), "promises a text of 2000 bytes; the limit is 1000"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_file_that_is_wrong_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    change, words = DAMAGES[case]
    path = edit(tmp_path / "bad.nir", change)
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        neurosim.load(path, dt_s=1e-3)
    assert str(path) in str(caught.value)


def test_a_damaged_file_never_ends_in_anything_but_an_error_of_this_package(tmp_path: Path) -> None:
    good = save(tmp_path / "good.nir", *line(source(2), nir.Linear(WEIGHT), lif(), sink(3))).read_bytes()
    rng = np.random.default_rng(0)
    bad, refused = tmp_path / "bad.nir", 0
    for i in range(120):
        data = bytearray(good)
        if i % 4:
            for place in rng.integers(0, len(good), 6):
                data[place] = int(rng.integers(0, 256))
        else:
            data = data[: int(rng.integers(0, len(good)))]
        bad.write_bytes(data)
        try:
            neurosim.load(bad, dt_s=1e-3)
        except InputError:
            refused += 1
    assert refused > 30


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        neurosim.load(tmp_path / "none.nir", dt_s=1)


def test_reading_needs_neither_torch_nor_onnx(tmp_path: Path) -> None:
    path = save(tmp_path / "g.nir", *line(source(2), nir.Linear(WEIGHT), lif(), sink(3)))
    code = (
        f"import sys, neurosim; neurosim.load({str(path)!r}, dt_s=1e-3); "
        "assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
