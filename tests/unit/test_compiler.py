"""The compiler: how layers are cut and stored, what messages cost where, how cores are placed."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import operator
from collections import defaultdict
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwmodels import Chip, load_chip
from neurosim.compiler import MEMORIES, CoreSlice, Program, compile_network, encoding
from neurosim.compiler.encoding import SynapseStore, weight_bits
from neurosim.compiler.partition import splits
from neurosim.compiler.placement import place, placement_cost, snake_order, tile_distances
from neurosim.compiler.program import Encoding
from neurosim.errors import CapacityError, InputError, ModelError
from neurosim.network import (
    Connection,
    Conv2d,
    Delay,
    Dense,
    Layer,
    Network,
    Pool2d,
    Relay,
    Sigma,
    SigmaDelta,
    Sparse,
    Transform,
)

# Sizes chosen here, so that what is computed by hand below does not hang on a shipped chip.
STORE: dict[str, object] = {
    "core__memories__synapse__word": "64 bit",
    "core__encodings__dense__header": "10 bit",
    "core__encodings__sparse__header": "10 bit",
    "core__encodings__sparse__index": "12 bit",
    "core__encodings__conv__header": "6 bit",
}


def chip(name: str = "loihi2", **values: object) -> Chip:
    """Return a shipped chip with `STORE` and with `values`, in whose keys __ stands for a dot."""
    plain = load_chip(name).to_dict()
    for key, value in (STORE | values).items():
        *path, last = key.split("__")
        table = functools.reduce(operator.getitem, path, plain)
        quantity = {"value": value, "kind": "estimate", "source": "this test", "note": "chosen here"}
        table[last] = value if isinstance(value, bool) else quantity
    return Chip.from_dict(plain)


def chain(*transforms: Transform, shapes: tuple[tuple[int, ...], ...] = ()) -> Network:
    """Layers l0, l1, ... joined by the transforms; `shapes` of the layers where they are not those given."""
    first = transforms[0].in_shape if isinstance(transforms[0], Conv2d) else (transforms[0].in_size,)
    shapes = shapes or (first, *(t.out_shape for t in transforms))
    layers = [Layer(f"l{i}", shape, SigmaDelta(64) if i else Relay()) for i, shape in enumerate(shapes)]
    connections = [Connection((f"l{i}",), f"l{i + 1}", t) for i, t in enumerate(transforms)]
    return Network(layers, connections, "chain")


def cut(program: Program, layer: str) -> list[CoreSlice]:
    return [part for part in program.slices if part.layer == program.network.index[layer]]


# Partition


class Published(NamedTuple):
    """A line of lava-dl's mapping table: cores, and the patch (columns, rows, channels) of each."""

    cores: int
    patch: tuple[int, int, int]
    neurons: int


# lava-dl (commit d825ac5), netx/pilotnet_snn/benchmark.ipynb; the convolutions are cut alike in
# netx/pilotnet_sdnn/benchmark.ipynb.
PILOTNET = [
    Published(13, (16, 66, 3), 3168),
    Published(25, (4, 32, 24), 3072),
    Published(13, (4, 15, 36), 2160),
    Published(3, (8, 7, 48), 2688),
    Published(3, (8, 4, 64), 2048),
    Published(2, (16, 2, 64), 2048),
]


def test_pilotnet_is_cut_as_lava_dl_cut_it() -> None:
    rng = np.random.default_rng(1)
    shape: tuple[int, ...] = (3, 66, 200)
    transforms = []
    for channels, stride, padding in [
        (24, 2, 0),
        (36, 2, 0),
        (48, 2, 0),
        (64, (2, 1), (1, 0)),
        (64, 1, 0),
    ]:
        weights = rng.integers(-2, 2, (channels, shape[0], 3, 3))
        transforms.append(Conv2d(weights, shape, stride, padding))
        shape = transforms[-1].out_shape
    assert shape == (64, 2, 20)
    program = compile_network(chain(*transforms), load_chip("loihi2"))
    for i, line in enumerate(PILOTNET):
        parts = cut(program, f"l{i}")
        assert len(parts) == line.cores
        (c0, c1), (y0, y1), (x0, x1) = parts[0].box
        assert (x1 - x0, y1 - y0, c1 - c0) == line.patch
        assert {part.neuron_slots for part in parts} == {line.neurons}


@pytest.mark.parametrize("name", ["loihi", "loihi2"])
@settings(deadline=None, max_examples=30)
@given(shape=st.tuples(*[st.integers(1, 9)] * 3), most=st.integers(1, 40), vector=st.booleans())
def test_every_split_covers_each_neuron_once(name: str, shape: tuple[int, ...], most: int, vector: bool) -> None:
    shape = shape[:1] if vector else shape
    small = chip(name, core__neurons=64, core__neurons_usable=most) if name == "loihi2" else chip(
        name, core__neurons=most
    )  # fmt: skip
    ways = list(splits(0, shape, small, 1024))
    assert ways
    for parts in ways:
        held = np.zeros(shape, dtype=int)
        for part in parts:
            assert part.size <= part.neuron_slots <= most
            held[tuple(slice(low, high) for low, high in part.box)] += 1
            assert part.neurons(shape).tolist() == [
                np.ravel_multi_index(place, shape)
                for place in itertools.product(*(range(low, high) for low, high in part.box))
            ]
        assert (held == 1).all()


def test_a_split_over_more_cores_than_asked_for_is_not_offered() -> None:
    two_a_core = chip(core__neurons_usable=2)
    assert list(splits(0, (9,), two_a_core, 4)) == []
    assert [len(parts) for parts in splits(0, (9,), two_a_core, 6)] == [5, 6]
    assert max(len(parts) for parts in splits(0, (1, 4, 4), two_a_core, 8)) == 8


# Storage


@pytest.mark.parametrize(
    ("weights", "bits"),
    [
        ([0, 0], 1),
        ([0, 1], 1),  # one sign: the magnitude alone
        ([-1, 0], 1),
        ([-1, 1], 2),
        ([3, 255], 8),
        ([-255, -3], 8),
        ([-128, 127], 8),
        ([-256, 254], 8),  # a common factor of 2 is stored once
        ([-128 << 7, 127 << 7], 8),
        ([1, 2, 3], 2),
    ],
)
def test_weight_bits(weights: list[int], bits: int) -> None:
    assert weight_bits(np.array(weights, dtype=np.int32), chip(), "here") == bits


def test_weight_bits_without_sign_modes_keep_a_sign() -> None:
    plain = chip(core__weights__sign_modes=False)
    assert weight_bits(np.array([0, 3], dtype=np.int32), plain, "here") == 3
    assert weight_bits(np.array([0, 3], dtype=np.int32), chip(core__weights__bits=[4, 8]), "here") == 4


@pytest.mark.parametrize(("weights", "need"), [([-129, 128], 9), ([1, 256], 9), ([-257, 1], 10), ([1 << 15, 1], 16)])
def test_weights_too_wide_are_refused(weights: list[int], need: int) -> None:
    network = chain(Dense([weights]))
    with pytest.raises(CapacityError) as caught:
        compile_network(network, chip())
    assert str(caught.value) == (
        f"connection l0 -> l1: weights {min(weights)}..{max(weights)} need {need} bits; loihi2 stores at "
        "most 8; quantise the layer to fewer bits"
    )


def stored(transform: Transform, layer: tuple[int, ...] = (), box: Any = None, delay: Any = None) -> Any:
    shape = layer or transform.out_shape
    part = CoreSlice(1, box or tuple((0, n) for n in shape), 1)
    connection = Connection(("l0",), "l1", transform, delay)
    return SynapseStore(connection, Layer("l1", shape, Sigma()), chip()).store(part)


def test_dense_lists_by_hand() -> None:
    """10 bits of header and 8 a weight: 6 weights fill 58 of 64 bits, 7 need a second word."""
    weights = np.full((7, 3), -100)
    weights[0] = 127
    for count, words in [(6, 1), (7, 2)]:
        kept = stored(Dense(weights), box=((0, count),))
        assert kept.encoding is Encoding.DENSE
        assert (kept.words, kept.words_read.tolist(), kept.axon_in_entries) == (3 * words, [words] * 3, 3)


def test_sparse_lists_by_hand() -> None:
    """10 bits of header and 8 + 12 a weight: 2 fill 50 of 64 bits, 3 need a second word."""
    weights = np.zeros((40, 4), dtype=int)
    weights[:2, 0] = 100, -100
    weights[5:8, 1] = 5
    weights[9, 2] = -7
    kept = stored(Dense(weights))
    assert kept.encoding is Encoding.SPARSE
    # The fourth source has no synapse left, so no list and no entry.
    assert kept.fan_out.sources.tolist() == [0, 1, 2]
    assert kept.words_read.tolist() == [1, 2, 1]
    assert (kept.words, kept.axon_in_entries) == (4, 3)
    assert kept.fan_out.structural.tolist() == kept.fan_out.nonzero.tolist() == [2, 3, 1]

    given = Sparse([0, 2, 3], [1, 4, 0], [9, 0, -9], 5)
    kept = stored(given)
    assert kept.encoding is Encoding.SPARSE
    assert (kept.words, kept.fan_out.structural.tolist()) == (2, [1, 1])


def test_kernels_by_hand() -> None:
    """One list of output channels a kernel position and input channel: 6 + 8 C bits in words of 64."""
    weights = np.full((8, 2, 3, 3), -100)
    weights[0] = 27
    transform = Conv2d(weights, (2, 5, 5))
    for channels, words in [(7, 1), (8, 2)]:
        kept = stored(transform, box=((0, channels), (0, 3), (0, 3)))
        assert kept.encoding is Encoding.CONV
        assert (kept.words, kept.axon_in_entries) == (2 * 9 * words, None)
        read = np.zeros((2, 5, 5), dtype=int)
        read.ravel()[kept.fan_out.sources] = kept.words_read
        assert read[:, 2, 2].tolist() == [9 * words] * 2  # meets all nine positions
        assert read[:, 0, 0].tolist() == [words] * 2  # meets one
    # A core with one output row keeps the whole kernel, and messages far from that row miss it.
    kept = stored(transform, box=((0, 8), (0, 1), (0, 3)))
    assert kept.words == 2 * 9 * 2
    assert set((kept.fan_out.sources % 25 // 5).tolist()) == {0, 1, 2}


def test_kernels_of_groups_by_hand() -> None:
    """Two groups of 4 input and 8 output channels; 12 output channels are one group and half of one."""
    weights = np.full((16, 4, 1, 1), -100)
    weights[0] = 27
    transform = Conv2d(weights, (8, 2, 2), groups=2)
    whole = stored(transform)
    assert whole.words == 2 * 4 * 2  # 8 channels a list: 70 bits
    kept = stored(transform, box=((0, 12), (0, 2), (0, 2)))
    assert kept.words == 4 * 2 + 4 * 1
    by_channel = kept.words_read.reshape(8, 4)
    assert by_channel.tolist() == [[2] * 4] * 4 + [[1] * 4] * 4


def test_pooling_stores_one_weight() -> None:
    kept = stored(Pool2d("average", 2, (5, 4, 4)))
    assert kept.words == 1
    assert kept.words_read.tolist() == [1] * 80


def test_a_delay_of_every_synapse_is_stored_beside_its_weight() -> None:
    """10 + 2 x (8 + 3) bits is one word; 6 such synapses take 76 bits, where 6 x 8 took 58."""
    weights = np.full((6, 1), -100)
    weights[0] = 127
    delays = np.full((6, 1), 1)
    assert stored(Dense(weights)).words == 1
    assert stored(Dense(weights), delay=Delay("synapse", delays * 5)).words == 2
    assert stored(Dense(weights), delay=Delay("neuron", delays.ravel() * 5)).words == 1


def test_an_index_is_stored_in_every_encoding_that_has_one() -> None:
    indexed = chip(core__encodings__dense__index="2 bit", core__encodings__conv__index="3 bit")
    layer = Layer("l1", (6,), Sigma())
    weights = np.array([[127], *[[-100]] * 5])
    store = SynapseStore(Connection(("l0",), "l1", Dense(weights)), layer, indexed)
    assert store.store(CoreSlice(1, ((0, 6),), 6)).words == 2  # 10 + 6 x 10 bits
    conv = Conv2d(np.array([127, *[-100] * 5]).reshape(6, 1, 1, 1), (1, 1, 1))
    store = SynapseStore(Connection(("l0",), "l1", conv), Layer("l1", (6, 1, 1), Sigma()), indexed)
    assert store.store(CoreSlice(1, ((0, 6), (0, 1), (0, 1)), 6)).words == 2  # 6 + 6 x 11 bits


def test_memories_of_a_core_by_hand() -> None:
    """6 sources into 5 neurons on one core; delays of up to 3 timesteps keep 4 sums of 24 bits a neuron."""
    weights = np.full((5, 6), 100)
    weights[0] = -100
    layers = [Layer("a", (6,), Relay()), Layer("b", (5,), SigmaDelta(64))]
    delay = Delay("axon", np.array([0, 1, 2, 3, 0, 1]))
    small = chip(
        core__memories__neuron_state__word="32 bit",
        core__memories__accumulator__word="48 bit",
        core__memories__axon_in__word="16 bit",
        core__memories__axon_out__word="40 bit",
        core__axon_in_entry_bits="20 bit",
        core__axon_out_entry_bits="24 bit",
    )
    program = compile_network(Network(layers, [Connection(("a",), "b", Dense(weights), delay)]), small)
    assert program.cores == 2
    source, target = program.memory_words.tolist()
    # A relay has no state and no sums; 6 entries of 24 bits in words of 40.
    assert source == [0, 0, 0, 0, 4]
    # Synapses: 6 lists of 10 + 5 x 8 bits. State: 3 values of 24 bits a neuron, in words of 32, each neuron
    # at a word boundary. Sums: 5 x 4 x 24 bits in words of 48. 6 entries of 20 bits in words of 16.
    assert target == [6, 5 * 3, 10, 8, 0]
    words = [64, 32, 48, 16, 40]
    assert program.memory_bits.tolist() == (program.memory_words * words).tolist()
    occupancy = program.occupancy()
    assert list(occupancy) == ["neurons", *MEMORIES, "memory_pool", "axon_in_entries", "axon_out_entries"]
    assert occupancy["memory_pool"][0].tolist() == [160, 6 * 64 + 15 * 32 + 10 * 48 + 8 * 16]
    assert occupancy["memory_pool"][1] == 192 * 1024 * 8  # Loihi 2: 192 KiB a core
    assert occupancy["axon_in_entries"][0].tolist() == [0, 6]
    assert occupancy["axon_out_entries"][0].tolist() == [6, 0]
    assert occupancy["neurons"][0].tolist() == [6, 5]


# The axon table


class Synapse(NamedTuple):
    source: int
    target: int
    weight: int


def synapses_of(transform: Transform) -> list[Synapse]:
    """Every synapse inside the bounds, straight from the definition of each transform."""
    if isinstance(transform, Dense):
        return [Synapse(j, i, int(w)) for (i, j), w in np.ndenumerate(transform.weights)]
    if isinstance(transform, Sparse):
        return [
            Synapse(i, int(transform.targets[k]), int(transform.weights[k]))
            for i in range(transform.in_size)
            for k in range(transform.row_start[i], transform.row_start[i + 1])
        ]
    assert isinstance(transform, Conv2d)
    _, height, width = transform.in_shape
    channels, rows, columns = transform.out_shape
    per_out, per_in = channels // transform.groups, transform.in_shape[0] // transform.groups
    found = []
    for (o, i, ky, kx), weight in np.ndenumerate(transform.weights):
        c = o // per_out * per_in + i
        for y, x in itertools.product(range(rows), range(columns)):
            v = y * transform.stride[0] - transform.padding[0] + ky * transform.dilation[0]
            u = x * transform.stride[1] - transform.padding[1] + kx * transform.dilation[1]
            if 0 <= v < height and 0 <= u < width:
                found.append(Synapse((c * height + v) * width + u, (o * rows + y) * columns + x, int(weight)))
    return found


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Draw an image, a convolution or pooling, a vector joined to both, and at times loops."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def weights(*shape: int) -> NDArray[np.int64]:
        values = rng.integers(-9, 10, shape)
        return np.where(rng.random(shape) < draw(st.sampled_from([0.1, 0.5, 1.0])), values, 0)

    def sparse(sources: int, targets: int) -> Sparse:
        present = rng.random((sources, targets)) < 0.4
        starts = np.concatenate(([0], np.cumsum(present.sum(axis=1))))
        return Sparse(starts, np.nonzero(present)[1], weights(int(present.sum())), targets)

    groups = draw(st.sampled_from([1, 2]))
    channels = groups * draw(st.integers(1, 2))
    image = (channels, draw(st.integers(3, 6)), draw(st.integers(3, 6)))
    if draw(st.booleans()):
        first: Conv2d = Pool2d("sum", 2, image, draw(st.integers(1, 2)), draw(st.integers(0, 1)))
    else:
        kernel = weights(groups * draw(st.integers(1, 3)), channels // groups, 2, draw(st.integers(1, 3)))
        first = Conv2d(kernel, image, draw(st.integers(1, 2)), draw(st.integers(0, 1)), 1, groups)
    size = draw(st.integers(1, 7))
    layers = [
        Layer("image", image, Relay()),
        Layer("conv", first.out_shape, SigmaDelta(64)),
        Layer("vector", (size,), SigmaDelta(64)),
    ]
    joined = Dense(weights(size, first.out_size + first.in_size))
    connections = [Connection(("image",), "conv", first), Connection(("conv", "image"), "vector", joined)]
    if draw(st.booleans()):
        connections.append(Connection(("vector",), "vector", sparse(size, size)))
    if draw(st.booleans()):
        connections.append(Connection(("vector",), "conv", sparse(size, first.out_size)))
    if draw(st.booleans()):
        connections.append(Connection(("vector", "vector"), "conv", Dense(weights(first.out_size, 2 * size))))
    return Network(layers, connections)


class Row(NamedTuple):
    """What the axon table says of one list of synapses."""

    encoding: int
    synops: int
    synops_nonzero: int
    words: int


def lists_due(network: Network, core_of: dict[int, int], small: Chip) -> dict[tuple[int, int], list[list[Row | None]]]:
    """For each neuron and destination core, the rows that each list of synapses may appear as.

    None stands for a list left out, because it would be sparse and without a synapse.
    """
    due: dict[tuple[int, int], list[list[Row | None]]] = defaultdict(list)
    for connection in network.connections:
        sources = [
            int(network.offsets[network.index[name]]) + i
            for name in connection.sources
            for i in range(network[name].size)
        ]
        transform, first = connection.transform, int(network.offsets[network.index[connection.target]])
        bits = weight_bits(transform.weights, small, "here")
        area = math.prod(transform.out_shape[1:])
        lists: dict[tuple[int, int], list[Synapse]] = defaultdict(list)
        for synapse in synapses_of(transform):
            lists[synapse.source, core_of[first + synapse.target]].append(synapse)
        for (source, core), synapses in sorted(lists.items()):
            count, nonzero = len(synapses), sum(synapse.weight != 0 for synapse in synapses)
            if isinstance(transform, Conv2d):
                taps = len({synapse.target % area for synapse in synapses})
                stored = 1 if isinstance(transform, Pool2d) else count // taps
                words = taps * math.ceil((6 + stored * bits) / 64)
                rows: list[Row | None] = [Row(Encoding.CONV, count, nonzero, words)]
            else:
                sparse = Row(Encoding.SPARSE, nonzero, nonzero, math.ceil((10 + nonzero * (bits + 12)) / 64))
                rows = [sparse if nonzero else None]
                if isinstance(transform, Dense):
                    rows.append(Row(Encoding.DENSE, count, nonzero, math.ceil((10 + count * bits) / 64)))
            due[sources[source], core].append(rows)
    return due


@settings(deadline=None, max_examples=60)
@given(network=networks(), most=st.sampled_from([3, 7, 30, 200]), name=st.sampled_from(["loihi", "loihi2"]))
def test_axon_table_against_a_list_of_all_synapses(network: Network, most: int, name: str) -> None:
    small = chip(name, core__neurons=most, mesh__columns=40, network__payload="32 bit", **(
        {"core__neurons_usable": most, "mesh__cores_usable": 640} if name == "loihi2" else {}
    ))  # fmt: skip
    program = compile_network(network, small)
    assert sorted(program.neuron_order.tolist()) == list(range(network.size))
    core_of = {}
    for core, part in enumerate(program.slices):
        swept = program.neuron_order[program.core_start[core] : program.core_start[core + 1]]
        local = swept - network.offsets[part.layer]
        assert local.tolist() == part.neurons(network.layers[part.layer].shape).tolist()
        core_of.update(dict.fromkeys(swept.tolist(), core))

    due = lists_due(network, core_of, small)
    assert (program.axon_start[0], program.axon_start[-1]) == (0, len(program.axon_core))
    found: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for neuron in range(network.size):
        rows = slice(program.axon_start[neuron], program.axon_start[neuron + 1])
        destinations = program.axon_core[rows].tolist()
        assert destinations == sorted(destinations)
        columns = [getattr(program, f"axon_{name}")[rows].tolist() for name in Row._fields]
        for core, *row in zip(destinations, *columns, strict=True):
            found[neuron, core].append(Row(*row))
    assert set(found) <= set(due)
    for pair, choices in due.items():
        assert found[pair] in [[row for row in rows if row is not None] for rows in itertools.product(*choices)]

    pairs = [pair for pair, rows in found.items() if rows]
    traffic = np.zeros((program.cores, program.cores), dtype=int)
    for neuron, core in pairs:
        traffic[core_of[neuron], core] += 1
    assert program.traffic.tolist() == traffic.tolist()
    assert program.axon_out_entries.tolist() == traffic.sum(axis=1).tolist()
    for used, limit in program.occupancy().values():
        assert limit is None or (used <= limit).all()


def test_axon_in_has_an_entry_a_list_or_for_a_shared_kernel_a_source_core() -> None:
    conv = Conv2d(np.ones((1, 1, 3, 3), dtype=int), (1, 4, 4), padding=1)
    dense = Dense(np.ones((2, 16), dtype=int))
    program = compile_network(chain(conv, dense), chip(core__neurons_usable=4))
    image, middle, end = (
        [core for core, part in enumerate(program.slices) if part.layer == layer] for layer in (0, 1, 2)
    )
    assert (len(image), len(middle), len(end)) == (4, 4, 1)
    # Patches of 2 x 2: each meets all four patches of the image, and the vector has a list a source.
    assert program.axon_in_entries[image + middle + end].tolist() == [0] * 4 + [4] * 4 + [16]
    # Of each patch of the image one neuron reaches all four patches, two reach two, one reaches one.
    assert program.axon_out_entries[image + middle + end].tolist() == [9] * 4 + [4] * 4 + [0]


def test_a_vector_may_lead_to_an_image() -> None:
    rng = np.random.default_rng(4)
    weights = np.where(rng.random((24, 5)) < 0.5, rng.integers(-9, 9, (24, 5)), 0)
    present = np.nonzero(weights.T)
    starts = np.concatenate(([0], np.cumsum(np.count_nonzero(weights, axis=0))))
    for transform in (Dense(weights), Sparse(starts, present[1], weights.T[present], 24)):
        program = compile_network(chain(transform, shapes=((5,), (2, 3, 4))), chip(core__neurons_usable=6))
        assert len(cut(program, "l1")) == 4
        for core, part in enumerate(program.slices):
            if part.layer:
                inside = weights[part.neurons((2, 3, 4))]
                found = np.zeros(5, dtype=int)
                for neuron in range(5):
                    rows = slice(program.axon_start[neuron], program.axon_start[neuron + 1])
                    here = program.axon_core[rows] == core
                    found[neuron] = program.axon_synops_nonzero[rows][here].sum()
                assert found.tolist() == np.count_nonzero(inside, axis=0).tolist()


def test_an_image_may_not_lead_to_another_shape() -> None:
    conv = Conv2d(np.ones((2, 1, 1, 1), dtype=int), (1, 3, 4))
    for shape in ((24,), (4, 3, 2)):
        with pytest.raises(ModelError) as caught:
            compile_network(chain(conv, shapes=((1, 3, 4), shape)), chip())
        assert str(caught.value) == (
            f"connection l0 -> l1: the conv2d gives shape (2, 3, 4), layer l1 has {shape}; "
            "give the layer shape (2, 3, 4)"
        )


# Limits


def capacity_error(network: Network, small: Chip) -> str:
    with pytest.raises(CapacityError) as caught:
        compile_network(network, small)
    return str(caught.value)


BIG = Dense(np.where(np.arange(6)[:, None] % 2, 127, -127) * np.ones((6, 40), dtype=int))


@pytest.mark.parametrize(
    ("overrides", "memory", "need", "limit"),
    [
        # One neuron has 40 lists of 10 + 1 x 8 bits.
        ({"core__memories__synapse__size": "312 B"}, "memories.synapse.size", "40 words", "39 words"),
        # Its state is 3 values of 24 bits.
        ({"core__memories__neuron_state__size": "8 B"}, "memories.neuron_state.size", "2 words", "1 words"),
        ({"core__memories__accumulator__size": "16 bit"}, "memories.accumulator.size", "1 words", "0 words"),
        ({"core__axon_in_entries": 39}, "axon_in_entries", "40 entries", "39"),
        ({"core__memories__axon_in__size": "99 B"}, "memories.axon_in.size", "40 words", "39 words"),
        ({"core__axon_out_entries": 5}, "axon_out_entries", "6 entries", "5"),
        # 40 words of 8 bytes, 2 words of state, 3 bytes of sums and 40 entries of 20 bits make 439 bytes.
        ({"core__memory_pool__size": "438 B"}, "memory_pool.size", "3512 bits", "3504 bits"),
    ],
)
def test_what_does_not_fit_is_named(overrides: dict[str, object], memory: str, need: str, limit: str) -> None:
    if memory == "memory_pool.size":
        overrides = overrides | {"core__memories__synapse__size": "400 B"}
    # The last layer is on six cores, so each neuron of the one before it needs six axon-out entries.
    network = chain(BIG, Dense(np.full((6, 6), 127)))
    error = capacity_error(network, chip(core__neurons_usable=1, mesh__columns=16, **overrides))
    layer = "l0" if memory == "axon_out_entries" else "l1"
    assert f"layer {layer} does not fit loihi2 however it is split" in error
    named = error[error.index(f"core.{memory}: needs ") :]
    assert need in named
    assert f"limit is {limit}" in named
    assert "make the layer smaller, or raise the limit with --set" in error


def test_synapses_that_no_number_of_cores_holds() -> None:
    """At most 1024 cores are tried; 2000 x 64 weights of 8 bits need 4000 of 32 bytes each."""
    tiny = chip(core__memories__synapse__size="32 B", mesh__columns=2, mesh__cores_usable=32)
    weights = np.full((2000, 64), 127)
    weights[0] = -127
    error = capacity_error(chain(Dense(weights)), tiny)
    assert "core.memories.synapse.size: its non-zero weights alone need 125.0 KiB" in error
    assert "layer l1 does not fit loihi2" in error


def test_too_many_neurons_for_any_split() -> None:
    network = Network([Layer("wide", (5000,), Relay())], [])
    error = capacity_error(network, chip(core__neurons_usable=2))
    assert "layer wide does not fit loihi2 however it is split, up to 1024 cores" in error
    assert "its 5000 neurons alone need 2500 cores" in error


def test_too_few_cores() -> None:
    network = chain(Dense(np.ones((300, 300), dtype=int)))
    error = capacity_error(network, chip(core__neurons_usable=4))
    assert error == (
        "chain needs 150 cores of loihi2 (l0 75, l1 75), the chip has 128; layer l0 takes the most: "
        "core.neurons_usable: at most 4 of its 300 neurons fit a core; make it smaller or choose a larger chip"
    )


@pytest.mark.parametrize("connections", [1, 2])
def test_a_table_that_fills_is_met_by_more_cores(connections: int) -> None:
    """12 neurons to 5 cores are 60 axon-out entries; 25 a core leave room for 5 neurons.

    Connections that run side by side share the entries.
    """
    one = chain(Dense(np.full((5, 12), 127)))
    network = Network(one.layers, one.connections * connections)
    small = chip(core__memories__accumulator__size="24 bit", core__axon_out_entries=25)
    program = compile_network(network, small)
    assert [part.size for part in cut(program, "l1")] == [1] * 5
    assert [part.size for part in cut(program, "l0")] == [4, 4, 4]
    assert program.axon_out_entries.max() == 20


def test_a_delay_beyond_the_limit() -> None:
    layers = [Layer("a", (2,), Relay()), Layer("b", (2,), Sigma()), Layer("c", (2,), Sigma())]
    dense = Dense([[1, 2], [3, 4]])
    connections = [
        Connection(("a",), "b", dense, Delay("axon", np.array([5, 9]))),
        Connection(("b",), "c", dense, Delay("neuron", np.array([8, 0]))),
        Connection(("a",), "c", dense, Delay("synapse", np.array([[0, 1], [2, 7]]))),
    ]
    error = capacity_error(Network(layers, connections, "late"), chip(core__max_delay=7))
    assert error.splitlines() == [
        "late: 2 errors",
        "  - connection a -> b: a delay of 9 timesteps; loihi2 holds at most 7 (core.max_delay)",
        "  - connection b -> c: a delay of 8 timesteps; loihi2 holds at most 7 (core.max_delay)",
    ]


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_a_seed_that_cannot_be_kept(seed: int) -> None:
    with pytest.raises(InputError, match="seed is "):
        compile_network(chain(Dense([[1]])), chip(), seed)


def test_a_skewed_layer_is_cut_fast() -> None:
    """All weights in the last rows: only the last slice is ever too large, in each of hundreds of splits."""
    weights = np.zeros((2048, 2048), dtype=np.int32)
    weights[-64:] = np.where(np.arange(2048) % 2, 127, -127)
    error = capacity_error(chain(Dense(weights)), chip(core__memories__synapse__size="24 KiB"))
    assert "layer l1 takes the most" in error


# Placement


def hops(a: int, b: int, columns: int, per_tile: int) -> int:
    (ya, xa), (yb, xb) = divmod(a // per_tile, columns), divmod(b // per_tile, columns)
    return abs(xa - xb) + abs(ya - yb)


@settings(deadline=None, max_examples=25)
@given(
    cores=st.integers(1, 24),
    density=st.sampled_from([0.0, 0.2, 1.0]),
    seed=st.integers(0, 2**32),
    mesh=st.sampled_from([(3, 2, 4), (5, 5, 1), (8, 4, 4), (1, 24, 1)]),
)
def test_placement_is_no_worse_than_its_start(
    cores: int, density: float, seed: int, mesh: tuple[int, int, int]
) -> None:
    columns, rows, per_tile = mesh
    usable = columns * rows * per_tile
    rng = np.random.default_rng(seed)
    traffic = np.where(rng.random((cores, cores)) < density, rng.integers(1, 100, (cores, cores)), 0)
    small = chip(
        mesh__columns=columns,
        mesh__rows=rows,
        mesh__cores_per_tile=per_tile,
        mesh__cores_usable=usable,
    )
    slots = place(traffic, small, seed=3)
    assert slots.dtype == np.int32
    assert len(set(slots.tolist())) == cores
    assert all(0 <= slot < usable for slot in slots.tolist())
    tiles = np.arange(usable) // per_tile
    distance = tile_distances(columns, rows)[np.ix_(tiles, tiles)]

    def brute_force(placed: list[int]) -> int:
        return sum(
            int(traffic[a, b]) * hops(placed[a], placed[b], columns, per_tile)
            for a, b in itertools.product(range(cores), repeat=2)
        )

    start = snake_order(columns, rows, per_tile)[:cores]
    for placed in (slots, start):
        assert placement_cost(traffic, placed, distance) == brute_force(placed.tolist())
    assert placement_cost(traffic, slots, distance) <= placement_cost(traffic, start, distance)
    assert place(traffic, small, seed=3).tobytes() == slots.tobytes()


def test_annealing_finds_what_is_best() -> None:
    """A ring of six cores on a 3 x 2 mesh of single cores, numbered so that the snake scatters it."""
    ring = [0, 3, 1, 5, 2, 4]
    traffic = np.zeros((6, 6), dtype=np.int64)
    for a, b in zip(ring, ring[1:] + ring[:1], strict=True):
        traffic[a, b] = 10
    small = chip(mesh__columns=3, mesh__rows=2, mesh__cores_per_tile=1, mesh__cores_usable=6)
    distance = tile_distances(3, 2)
    best = min(placement_cost(traffic, np.array(order), distance) for order in itertools.permutations(range(6)))
    assert best == 60  # every message one hop
    assert placement_cost(traffic, snake_order(3, 2, 1), distance) > best
    assert placement_cost(traffic, place(traffic, small, seed=0), distance) == best


def test_the_snake_walks_from_neighbour_to_neighbour() -> None:
    order = snake_order(4, 3, 2).tolist()
    assert sorted(order) == list(range(24))
    assert order[:2] == [0, 1]
    assert all(hops(a, b, 4, 2) <= 1 for a, b in itertools.pairwise(order))


def branched() -> Network:
    rng = np.random.default_rng(7)
    conv = Conv2d(rng.integers(-9, 9, (4, 2, 3, 3)), (2, 12, 12))
    dense = Dense(rng.integers(-9, 9, (30, 400)))
    return chain(conv, dense, Dense(rng.integers(-9, 9, (10, 30))))


def same_bytes(one: Program, other: Program) -> bool:
    return one.slices == other.slices and all(
        getattr(one, item.name).tobytes() == getattr(other, item.name).tobytes()
        for item in dataclasses.fields(Program)
        if isinstance(getattr(one, item.name), np.ndarray)
    )


def test_the_same_seed_gives_the_same_bytes() -> None:
    small = chip(core__neurons_usable=40)
    programs = [compile_network(branched(), small, seed) for seed in (5, 5, 6)]
    assert same_bytes(programs[0], programs[1])
    # Only the places depend on the seed.
    moved = dataclasses.replace(programs[2], core_slot=programs[0].core_slot)
    assert same_bytes(programs[0], moved)
    assert any(
        compile_network(branched(), small, seed).core_slot.tobytes() != programs[0].core_slot.tobytes()
        for seed in range(6, 12)
    )


def test_stores_that_are_worked_out_again_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    small = chip(core__neurons_usable=40)
    kept = compile_network(branched(), small)
    monkeypatch.setattr(encoding, "MOST_KEPT_SOURCES", 0)
    assert same_bytes(kept, compile_network(branched(), small))


def test_graph_is_what_placement_minimises() -> None:
    program = compile_network(branched(), chip(core__neurons_usable=40))
    graph = program.graph()
    assert isinstance(graph, nx.DiGraph)
    assert sorted(graph.nodes) == list(range(program.cores))
    for core, part in enumerate(program.slices):
        assert graph.nodes[core] == {
            "layer": program.network.layers[part.layer].name,
            "box": part.box,
            "neurons": part.size,
            "slot": int(program.core_slot[core]),
        }
    assert sum(node["neurons"] for _, node in graph.nodes(data=True)) == program.network.size
    assert {(a, b): m for a, b, m in graph.edges(data="messages")} == {
        (int(a), int(b)): int(program.traffic[a, b]) for a, b in np.argwhere(program.traffic)
    }
    # A neuron sends one message to each core that its row of the table names.
    distinct = sum(
        len(set(program.axon_core[low:high].tolist())) for low, high in itertools.pairwise(program.axon_start.tolist())
    )
    assert sum(m for _, _, m in graph.edges(data="messages")) == distinct
    assert program.tiles == len({slot // 4 for slot in program.core_slot.tolist()})
