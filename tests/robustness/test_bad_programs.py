"""Every wrong program file gives one clear error that says where, what came and what is allowed."""

from __future__ import annotations

import contextlib
import functools
import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwmodels import load_chip
from neurosim.compiler import Program, compile_network, read_program, write_program
from neurosim.errors import InputError
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    Delay,
    Dense,
    Layer,
    Network,
    Pool2d,
    Relay,
    Sigma,
    SigmaDelta,
    Sparse,
)

Change = Callable[[h5py.File], None]


def network() -> Network:
    rng = np.random.default_rng(2)
    conv = Conv2d(rng.integers(1, 9, (2, 1, 3, 3)), (1, 6, 6))
    pool = Pool2d("sum", 2, conv.out_shape)
    weights = rng.integers(1, 9, (3, 8))
    weights[0, 0] = 0
    layers = [
        Layer("image", (1, 6, 6), Relay()),
        Layer("conv", conv.out_shape, SigmaDelta(64, np.array([1, 2]))),
        Layer("pool", pool.out_shape, CubaLif(0, 0, 64, np.array([3]), 4)),
        Layer("dense", (3,), Sigma()),
    ]
    delay = Delay("neuron", np.array([0, 5, 9]))
    connections = [
        Connection(("image",), "conv", conv, None, 24),
        Connection(("conv",), "pool", pool),
        Connection(("pool",), "dense", Dense(weights), delay),
        Connection(("dense",), "dense", Sparse([0, 1, 1, 1], [2], [5], 3)),
    ]
    return Network(layers, connections, "small")


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_network(network(), load_chip("loihi2", {"core.neurons_usable": "16"}))


@pytest.fixture(scope="module")
def whole(program: Program, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "program.h5"
    write_program(program, path)
    return path.read_bytes()


@pytest.fixture
def error_after(whole: bytes, tmp_path: Path) -> Callable[[Change], str]:
    """Return a function that changes a good file and returns what reading it says, the path cut to its name."""

    def say(change: Change) -> str:
        path = tmp_path / "p.h5"
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(InputError) as caught:
            read_program(path)
        return str(caught.value).replace(str(path), "p.h5")

    return say


def both(*changes: Change) -> Change:
    def change(file: h5py.File) -> None:
        for one in changes:
            one(file)

    return change


def put(path: str, value: Any) -> Change:
    """Write a dataset in place of what is there."""

    def change(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file[path] = np.bytes_(value) if isinstance(value, str) else value

    return change


def edit(path: str, place: Any, value: Any) -> Change:
    """Change values of a dataset."""

    def change(file: h5py.File) -> None:
        values = file[path][()]
        values[place] = value
        put(path, values)(file)

    return change


def attribute(path: str, key: str, value: Any = None) -> Change:
    """Set an attribute, or remove it."""

    def change(file: h5py.File) -> None:
        attributes = file[path].attrs
        if key in attributes:
            del attributes[key]
        if value is not None:
            attributes[key] = np.bytes_(value) if isinstance(value, str) else value

    return change


def remove(path: str) -> Change:
    def change(file: h5py.File) -> None:
        del file[path]

    return change


def rename(path: str, new: str) -> Change:
    return lambda file: file.move(path, new)


def group(path: str) -> Change:
    def change(file: h5py.File) -> None:
        del file[path]
        file.create_group(path)

    return change


def never_written(path: str, shape: tuple[int, ...]) -> Change:
    """Put a dataset of `shape` of which nothing is stored."""

    def change(file: h5py.File) -> None:
        del file[path]
        file.create_dataset(path, shape, "i8", chunks=(1,) * len(shape))

    return change


def chip_key(path: str, value: object = None) -> Change:
    """Set a quantity of the chip, or remove it."""

    def change(file: h5py.File) -> None:
        plain = json.loads(np.asarray(file["chip"][()]).ravel()[0])
        *tables, last = path.split(".")
        table = functools.reduce(operator.getitem, tables, plain)
        table[last] = {"value": value, "kind": "estimate", "source": "here", "note": "chosen"}
        if value is None:
            del table[last]
        put("chip", json.dumps(plain))(file)

    return change


def test_what_the_cases_rest_on(program: Program) -> None:
    """Seven cores: three hold the image, two the convolution, one the pooling, one the vector."""
    assert [part.layer for part in program.slices] == [0, 0, 0, 1, 1, 2, 3]
    assert program.network.offsets.tolist() == [0, 36, 68, 76, 79]
    assert program.slices[0].box == ((0, 1), (0, 6), (0, 2))
    # Neuron 2 sends to both cores of the convolution, neuron 76 to its own core: the loop.
    assert program.axon_core[2:4].tolist() == [3, 4]
    assert program.axon_start[[2, 3, 4, 76, 77, 78, 79]].tolist() == [2, 4, 6, 88, 89, 89, 89]
    assert program.memory_words[6].tolist() == [9, 3, 30, 9, 1]
    # Sparse lists of one synapse, of weight 5.
    assert (program.axon_encoding[88], program.axon_synops[88]) == (1, 1)


CASES: dict[str, tuple[Change, str]] = {
    # What is there
    "no schema": (
        attribute("/", "schema"),
        'the file: attribute schema is missing, so it is no program file; one has schema "neurosim.program/1"',
    ),
    "another schema": (
        attribute("/", "schema", "neurosim.program/2"),
        'the file: attribute schema is "neurosim.program/2"; did you mean "neurosim.program/1"?',
    ),
    "no seed": (attribute("/", "seed"), "the file: attribute seed is missing"),
    "a negative seed": (
        attribute("/", "seed", -1),
        "the file: attribute seed is -1; the limits are 0..9223372036854775807",
    ),
    "a dataset missing": (remove("axons/words"), "axons/words is missing; it must be a dataset"),
    "a group missing": (remove("neurons"), "neurons is missing; it must be a group"),
    "a group for a dataset": (group("traffic"), "traffic is a group; it must be a dataset"),
    "a dataset for a group": (put("axons", [1, 2]), "axons is a dataset; it must be a group"),
    "an unknown dataset": (
        put("cores/slots", [1]),
        'cores/slots is not known; did you mean "slot"?; remove it',
    ),
    "an unknown attribute": (
        attribute("network", "nme", "x"),
        'network: attribute nme is not known; did you mean "name"?; remove it',
    ),
    "layers with a gap": (
        rename("network/layers/2", "network/layers/7"),
        "network/layers holds 0, 1, 3, 7; number its groups 0, 1, 2, ... without gaps",
    ),
    # Types and shapes
    "floats": (put("axons/words", np.zeros(89)), "axons/words has dtype float64; it must hold integers"),
    "a text for numbers": (put("traffic", "hello"), "traffic has dtype |S5; it must hold integers"),
    "a text of variable length": (
        attribute("network", "name", np.array(["small"], dtype=object)),
        "network: attribute name is of variable length; write a text of fixed length, numpy.bytes_(text)",
    ),
    "a long text of variable length": (
        put("chip", np.array(["{}"], dtype=object)),
        "chip is of variable length; write a text of fixed length, numpy.bytes_(text) in h5py",
    ),
    "a name that is no text": (
        attribute("network/layers/1", "name", np.bytes_(b"\xc3")),
        "network/layers/1: attribute name is not UTF-8",
    ),
    "wrong length": (put("cores/layer", [0, 1]), "cores/layer has shape (2,); it must have (7,)"),
    "wrong axes": (
        put("cores/box", np.zeros((7, 6), int)),
        "cores/box has shape (7, 6); it must have (7, 3, 2)",
    ),
    "another number of neurons": (
        put("neurons/order", np.arange(78)),
        "neurons/order has shape (78,); it must have (79,)",
    ),
    "columns of different length": (
        put("axons/words", np.ones(88, int)),
        "axons/words has shape (88,); it must have (89,)",
    ),
    "empty": (put("cores/slot", h5py.Empty("i4")), "cores/slot is empty; it must hold values"),
    "no cores": (put("cores/slot", np.zeros(0, int)), "cores/slot holds no cores; give at least one"),
    "more than 32 bits": (
        put("axons/core", np.full(89, 1 << 40)),
        "axons/core reaches 1099511627776..1099511627776; it is held in 32 bits, -2147483648..2147483647",
    ),
    "less than 32 bits hold": (
        put("cores/layer", np.array([0, 0, 0, 1, 1, 3, -1 << 40])),
        "cores/layer reaches -1099511627776..3; it is held in 32 bits",
    ),
    "more than 64 bits": (
        put("cores/neuron_slots", np.full(7, (1 << 64) - 1, dtype=np.uint64)),
        "cores/neuron_slots reaches 18446744073709551615..18446744073709551615; it is held in 64 bits",
    ),
    "a huge shape": (
        never_written("traffic", (1 << 30, 1 << 20)),
        "traffic has shape (1073741824, 1048576), more than a file of",
    ),
    "a text for a number": (
        attribute("network/connections/0", "target", "conv"),
        "network/connections/0: attribute target is b'conv'; it must hold integers, 1 of them",
    ),
    "a number for a text": (
        attribute("network/layers/1", "name", 3),
        "network/layers/1: attribute name is 3; it must be one text",
    ),
    "a long attribute": (
        attribute("network/layers/1", "shape", np.ones(500, int)),
        "network/layers/1: attribute shape has shape (500,); it must hold one value or a few",
    ),
    # The network
    "a shape of two": (
        attribute("network/layers/3", "shape", [3, 1]),
        "network/layers/3: attribute shape is [3, 1]; it must hold integers, 1 or 3 of them",
    ),
    "a negative shape": (
        attribute("network/layers/3", "shape", [-3]),
        "network/layers/3: attribute shape is [-3]; the limits are 1..2147483648",
    ),
    "a huge layer": (
        attribute("network/layers/3", "shape", [1 << 31]),
        "small: has 2147483724 neurons; the limit is 2147483648",
    ),
    "a layer of many neurons": (
        both(
            attribute("network/layers/0", "shape", [1, 60_000, 10_000]),
            attribute("network/connections/0/transform", "in_shape", [1, 60_000, 10_000]),
            attribute("network/connections/0/transform", "stride", [16_000, 3_000]),
        ),
        "neurons/order has shape (79,); it must have (600000043,)",
    ),
    "a name used twice": (
        attribute("network/layers/3", "name", "conv"),
        "small: layer names used more than once: conv",
    ),
    "an unknown unit": (
        attribute("network/layers/3/unit", "kind", "sgima"),
        'network/layers/3/unit: attribute kind is "sgima"; known: relay, delta, sigma, sigma_delta, '
        'cuba_lif, rounding; did you mean "sigma"?',
    ),
    "a parameter missing": (
        attribute("network/layers/1/unit", "threshold"),
        "network/layers/1/unit: attribute threshold is missing",
    ),
    "a parameter of another unit": (
        attribute("network/layers/1/unit", "reset_phase", 3),
        "network/layers/1/unit: attribute reset_phase is not known",
    ),
    "a shift too far": (
        attribute("network/layers/1/unit", "bias_shift", 63),
        "network/layers/1/unit: attribute bias_shift is 63; the limits are 0..62",
    ),
    "a flag that is none": (
        attribute("network/layers/1/unit", "cum_error", 2),
        "network/layers/1/unit: attribute cum_error is 2; it must be true or false",
    ),
    "an unknown rounding": (
        attribute("network/layers/1/unit", "rounding", "corected"),
        'network/layers/1/unit: rounding "corected" is not known; use "default" or "corrected"; did you mean',
    ),
    "a decay outside": (
        attribute("network/layers/2/unit", "voltage_decay", 4097),
        "network/layers/2/unit: voltage_decay is 4097; it must lie in 0..4096",
    ),
    "biases for another shape": (
        put("network/layers/1/unit/bias", [1, 2, 3]),
        "network/layers/1/unit/bias has 3 values for a layer of shape (2, 4, 4); give 1 or 2 or 32",
    ),
    "a source that is not there": (
        put("network/connections/2/sources", [4]),
        "network/connections/2/sources is [4]; give at least one layer of 0..3",
    ),
    "no source": (
        put("network/connections/2/sources", np.zeros(0, int)),
        "network/connections/2/sources is []; give at least one layer of 0..3",
    ),
    "a target that is not there": (
        attribute("network/connections/2", "target", 4),
        "network/connections/2: attribute target is 4; the limits are 0..3",
    ),
    "a transform that does not fit": (
        put("network/connections/2/sources", [1]),
        "small: connection conv -> dense: the sources have 32 neurons, the dense takes 8",
    ),
    "an unknown transform": (
        attribute("network/connections/2/transform", "kind", "dence"),
        'network/connections/2/transform: attribute kind is "dence"; known: dense, sparse, conv2d, pool2d; '
        'did you mean "dense"?',
    ),
    "weights of the wrong axes": (
        put("network/connections/0/transform/weights", np.ones((2, 9), int)),
        "network/connections/0/transform/weights has shape (2, 9); it must have (any, any, any, any)",
    ),
    "weights too wide": (
        put("network/connections/0/transform/weights", np.full((2, 1, 3, 3), -1 << 31)),
        "network/connections/0/transform: weight reaches -2147483648..-2147483648; the limit is +-2147483647",
    ),
    "a kernel that does not fit": (
        attribute("network/connections/0/transform", "dilation", [9, 9]),
        "network/connections/0/transform: a kernel of (3, 3), dilation (9, 9) and padding (0, 0) does not fit",
    ),
    "a stride of nothing": (
        attribute("network/connections/0/transform", "stride", [0, 1]),
        "network/connections/0/transform: attribute stride is [0, 1]; the limits are 1..2147483648",
    ),
    "a vast pool": (
        attribute("network/connections/1/transform", "kernel", [1 << 20, 1 << 20]),
        "network/connections/1/transform: attribute kernel is (1048576, 1048576): too large for 2 channels",
    ),
    "an unknown mode": (
        attribute("network/connections/1/transform", "mode", "max"),
        'network/connections/1/transform: pooling mode "max" is not known; use "sum" or "average"',
    ),
    "a target beyond the layer": (
        put("network/connections/3/transform/targets", [3]),
        "network/connections/3/transform: targets reach 3..3; the layer has 0..2",
    ),
    "an unknown delay": (
        attribute("network/connections/2/delay", "kind", "axons"),
        'network/connections/2/delay: delay kind "axons" is not known; use one of axon, neuron, synapse',
    ),
    "delays too long": (
        put("network/connections/2/delay/values", [0, 63, 1]),
        "network/connections/2/delay: delays reach from 0 to 63 timesteps; keep them in 0..62",
    ),
    "too few delays": (
        put("network/connections/2/delay/values", [0, 1]),
        "network/connections/2: connection pool -> dense: neuron delays have shape (2,); this connection needs (3,)",
    ),
    "an accumulator of no bits": (
        attribute("network/connections/0", "accumulator_bits", 0),
        "network/connections/0: attribute accumulator_bits is 0; the limits are 1..62",
    ),
    "an image led to another shape": (
        attribute("network/layers/2", "shape", [1, 4, 2]),
        "connection conv -> pool: the pool2d gives shape (2, 2, 2), layer pool has (1, 4, 2)",
    ),
    # The chip
    "a chip that is no JSON": (put("chip", "loihi2"), "chip is not JSON of a chip: Expecting value"),
    "a chip that is a list": (put("chip", "[]"), "chip is not JSON of a chip: is no table"),
    "a chip of numbers": (put("chip", [1, 2]), "chip has shape (2,) and dtype int64; it must be one text"),
    "a chip of bytes": (put("chip", np.bytes_(b"\xff\xfe{")), "chip is not UTF-8"),
    "a chip nested too deep": (put("chip", "[" * 100_000), "chip is not JSON of a chip"),
    "a chip key missing": (chip_key("core.neurons"), "chip loihi2: core.neurons: "),
    # Places
    "a place used twice": (
        both(edit("cores/slot", 0, 9), edit("cores/slot", 4, 9)),
        "cores/slot: 9 is the place of cores 0, 4; give each core its own",
    ),
    "a place off the mesh": (edit("cores/slot", 3, 128), "cores/slot[3] is 128; loihi2 has 0..127"),
    "a negative place": (edit("cores/slot", 3, -1), "cores/slot[3] is -1; loihi2 has 0..127"),
    "too many cores": (chip_key("mesh.cores_usable", 6), "7 cores are in use; loihi2 has 6"),
    # Slices
    "a layer that is not there": (
        edit("cores/layer", 6, 4),
        "core 6 belongs to layer 4; the network has 0..3",
    ),
    "a box beyond its layer": (
        edit("cores/box", (0, 1, 1), 7),
        "core 0 has box ((0, 1), (0, 7), (0, 2)); layer image has shape (1, 6, 6)",
    ),
    "a box of nothing": (
        edit("cores/box", (0, 1), [3, 3]),
        "core 0 has box ((0, 1), (3, 3), (0, 2)); layer image has shape (1, 6, 6)",
    ),
    "a vector with rows": (
        edit("cores/box", (6, 1, 1), 2),
        "core 6 has box ((0, 3), (0, 2), (0, 1)); layer dense is a vector, so its last two ranges are (0, 1)",
    ),
    "too few slots": (
        edit("cores/neuron_slots", 6, 2),
        "core 6 takes 2 neuron slots for 3 neurons; give 3 to 1099511627776",
    ),
    "a neuron on no core": (
        edit("cores/box", (6, 0, 0), 1),
        "layer dense: neuron 0 is on 0 cores; cover each neuron once",
    ),
    "neurons on two cores": (
        edit("cores/box", (1, 2, 0), 1),
        # Six rows of column 1.
        "layer image: neuron 1 is on 2 cores (and 5 more like it); cover each neuron once",
    ),
    # Order
    "a neuron twice in the order": (
        edit("neurons/order", 0, 1),
        "neurons/order holds neuron 0 0 times (and 1 more like it); hold each neuron once",
    ),
    "a neuron beyond the network": (
        edit("neurons/order", 5, 79),
        "neurons/order[5] is 79; the network has neurons 0..78",
    ),
    "neurons of two cores exchanged": (
        both(edit("neurons/order", 0, 78), edit("neurons/order", 78, 0)),
        "neurons/order: core 0 sweeps other neurons than those of its box, neuron 78 among them",
    ),
    "a core_start that is off": (
        edit("neurons/core_start", 1, 70),
        "neurons/core_start: core 0 goes from 0 to 70, its box has 12 neurons (and 1 more like it)",
    ),
    "a core_start that begins late": (
        edit("neurons/core_start", 0, 1),
        "neurons/core_start: core 0 goes from 1 to 12, its box has 12 neurons",
    ),
    # Memories
    "bits that are not the words": (
        edit("cores/memory_bits", (6, 0), 577),
        "cores/memory_bits: core 6, synapse: 577; 9 words of 64 bits are 576",
    ),
    "negative words": (
        both(edit("cores/memory_words", (6, 1), -3), edit("cores/memory_bits", (6, 1), -192)),
        "cores/memory_words is [9, -3, 30, 9, 1] on core 6; give 0 to 1099511627776",
    ),
    "words beyond all sums": (
        edit("cores/memory_words", (6, 0), 1 << 62),
        "cores/memory_bits: core 6, synapse: 576; 4611686018427387904 words of 64 bits are 295147905179352825856",
    ),
    "negative entries": (
        edit("cores/axon_in_entries", 5, -1),
        "cores/axon_in_entries is -1 on core 5; give 0 to 1099511627776",
    ),
    # The axon table
    "an axon_start that falls": (
        edit("axons/start", 20, 0),
        "axons/start must rise from 0 to the number of rows, 89; it goes 0..89 and falls at neuron 19",
    ),
    "an axon_start that ends early": (
        edit("axons/start", slice(77, 80), 88),
        "axons/start must rise from 0 to the number of rows, 89; it goes 0..88",
    ),
    "a destination that is not there": (edit("axons/core", 88, 7), "axons/core[88] is 7; the cores are 0..6"),
    "a negative destination": (edit("axons/core", 88, -1), "axons/core[88] is -1; the cores are 0..6"),
    "an unknown encoding": (
        edit("axons/encoding", 0, 3),
        "axons/encoding[0] is 3; 0 is dense, 1 is sparse, 2 is conv",
    ),
    "fewer synops than non-zero ones": (
        edit("axons/synops", 88, 0),
        "axons/synops[88] is 0; it counts those in synops_nonzero too",
    ),
    "negative synops": (
        both(edit("axons/synops", 88, -1), edit("axons/synops_nonzero", 88, -1)),
        "axons/synops_nonzero[88] is -1; give 0 or more",
    ),
    "synapses without words": (
        edit("axons/words", 88, 0),
        "axons/words[88] is 0; synapses are read in at least one word",
    ),
    "negative words read": (
        both(edit("axons/words", 88, -5), edit("axons/synops", 88, 0), edit("axons/synops_nonzero", 88, 0)),
        "axons/words[88] is -5; synapses are read in at least one word, and words are never negative",
    ),
    "destinations out of order": (
        both(edit("axons/core", 2, 4), edit("axons/core", 3, 3)),
        "axons/core falls from row 2 to row 3 within neuron 2; sort it",
    ),
    "more non-zero synapses than the network has": (
        both(edit("axons/synops", 88, 2), edit("axons/synops_nonzero", 88, 2)),
        "axons/synops_nonzero: neuron 76 (layer dense) has 2 on core 6; by the network's weights it has 1",
    ),
    "fewer synapses than the network has": (
        edit("axons/synops_nonzero", 88, 0),
        "axons/synops_nonzero: neuron 76 (layer dense) has 0 on core 6; by the network's weights it has 1",
    ),
    "more synapses than the network has": (
        edit("axons/synops", 88, 2),
        "axons/synops: neuron 76 (layer dense) has 2 on core 6; by the network's weights it has at most 1",
    ),
    "a message to the wrong core": (
        edit("axons/core", 88, 5),
        "axons/synops_nonzero: neuron 76 (layer dense) has 1 on core 5 (and 1 more like it); by the "
        "network's weights it has 0",
    ),
    "a weight that became zero": (
        edit("network/connections/3/transform/weights", 0, 0),
        "axons/synops_nonzero: neuron 76 (layer dense) has 1 on core 6; by the network's weights it has 0",
    ),
    "wrong traffic": (edit("traffic", (6, 6), 3), "traffic[6, 6] is 3; by the axon table it is 1"),
    # Limits of the chip
    "a full core": (
        edit("cores/neuron_slots", 6, 17),
        "core 6 (layer dense): neurons: uses 17, the limit is 16",
    ),
    "a full memory": (
        both(edit("cores/memory_words", (6, 0), 12001), edit("cores/memory_bits", (6, 0), 768064)),
        "core 6 (layer dense): synapse: uses 768064, the limit is 768000",
    ),
    "a full pool": (
        both(
            chip_key("core.memories.synapse.size", "72 B"),
            # Words of 64, 64, 24, 20 and 20 bits: 576 + 192 + 720 + 180 + 20 on core 6, more on 3 and 4:
            # 576 + 2048 + 384 + 40 + 320.
            chip_key("core.memory_pool.size", "3367 bit"),
        ),
        "core 3 (layer conv): memory_pool: uses 3368, the limit is 3367 (and 1 more like it)",
    ),
    "a full table": (
        edit("cores/axon_in_entries", 6, 8001),
        "core 6 (layer dense): axon_in_entries: uses 8001, the limit is 8000",
    ),
    "a delay beyond the chip": (
        chip_key("core.max_delay", 8),
        "connection pool -> dense: a delay of 9 timesteps; loihi2 holds at most 8 (core.max_delay)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_said(name: str, error_after: Callable[[Change], str]) -> None:
    change, expected = CASES[name]
    error = error_after(change)
    assert expected in error
    assert error.startswith("p.h5: ")


def test_errors_of_network_and_chip_stand_each_on_its_line(error_after: Callable[[Change], str]) -> None:
    error = error_after(
        both(
            CASES["a name used twice"][0],
            chip_key("core.neurons"),
            chip_key("core.max_delay", "3 ns"),
        )
    )
    lines = error.splitlines()
    assert lines[0] == "p.h5: 5 errors"
    assert sum(line.startswith("  - small: ") for line in lines) == 3
    assert sum(line.startswith("  - chip loihi2: core.") for line in lines) == 2


def test_all_errors_of_form_come_at_once(error_after: Callable[[Change], str]) -> None:
    names = ["no seed", "a shift too far", "a target that is not there", "floats", "wrong length"]
    names += ["a chip that is a list", "an unknown dataset"]
    error = error_after(both(*(CASES[name][0] for name in names)))
    assert error.startswith("p.h5: 7 errors\n")
    for name in names:
        assert CASES[name][1] in error


def test_all_errors_of_content_come_at_once(error_after: Callable[[Change], str]) -> None:
    names = ["a place used twice", "neurons on two cores", "a neuron twice in the order", "a full table"]
    names += ["bits that are not the words", "an unknown encoding", "a delay beyond the chip"]
    error = error_after(both(*(CASES[name][0] for name in names)))
    for name in names:
        assert CASES[name][1] in error


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; check the path"):
        read_program(tmp_path / "nothing.h5")
    with pytest.raises(InputError, match="is no file; give the program file itself"):
        read_program(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n", bytes(range(256)) * 16])
def test_no_hdf5(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"p\.h5: cannot be read as HDF5 .*; it may be truncated or damaged"):
        read_program(path)


def test_hdf5_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    with h5py.File(path, "w") as file:
        file["layer/0/type"] = "input"
    with pytest.raises(InputError, match=r"attribute schema is missing, so it is no program file"):
        read_program(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file(whole: bytes, tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.h5"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        read_program(path)


def test_one_wrong_byte_in_any_array_is_found(tmp_path: Path) -> None:
    """Also in weights of all byte values, which cannot be packed."""
    weights = np.random.default_rng(5).integers(-128, 128, (60, 60))
    layers = [Layer("a", (60,), Relay()), Layer("b", (60,), Sigma())]
    noise = Network(layers, [Connection(("a",), "b", Dense(weights))])
    path = tmp_path / "p.h5"
    write_program(compile_network(noise, load_chip("loihi2")), path)
    whole = path.read_bytes()
    places: dict[str, int] = {}

    def find(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            chunk = item.id.get_chunk_info(0)
            places[name] = chunk.byte_offset + chunk.size // 2

    with h5py.File(path) as file:
        file.visititems(find)
        assert file["network/connections/0/transform/weights"].id.get_chunk_info(0).size >= weights.size
    assert {"chip", "traffic", "axons/words", "network/connections/0/transform/weights"} < set(places)
    for name, place in places.items():
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read as HDF5"):
            pytest.fail(f"{name}: {read_program(path)}")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_found_or_harmless(
    whole: bytes, program: Program, tmp_path: Path, data: st.DataObject
) -> None:
    """Checksums cover all that matters: a file with wrong bytes is refused, or it is the same program."""
    place = data.draw(st.integers(0, len(whole) - 1))
    wrong = data.draw(st.binary(min_size=1, max_size=16))
    path = tmp_path / "damaged.h5"
    path.write_bytes(whole[:place] + wrong + whole[place + len(wrong) :])
    try:
        found = read_program(path)
    except InputError:
        return
    assert found.network == program.network
    assert found.chip == program.chip
    assert found.slices == program.slices
    for name in ("core_slot", "neuron_order", "axon_core", "axon_words", "axon_synops", "memory_words"):
        assert np.array_equal(getattr(found, name), getattr(program, name))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wrong_numbers_never_crash(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """Any integer dataset with any one value changed reads or is refused in words."""
    path = tmp_path / "p.h5"
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = data.draw(st.sampled_from([n for n in names if n != "chip"]))
        values = file[name][()].astype(np.int64)
        place = data.draw(st.integers(0, values.size - 1))
        extremes = st.sampled_from([-(1 << 63), -(1 << 31), -1, 0, 1 << 31, (1 << 63) - 1])
        values.ravel()[place] = data.draw(st.one_of(st.integers(-100, 100), extremes))
        put(name, values)(file)
    with contextlib.suppress(InputError):
        read_program(path)
