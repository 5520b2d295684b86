"""Transforms against brute-force lists of synapses, connections, and the graph they make."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurosim.errors import ModelError
from neurosim.network import (
    ByTarget,
    Connection,
    Conv2d,
    Delay,
    Delta,
    Dense,
    Layer,
    Network,
    Pool2d,
    Relay,
    Sigma,
    Sparse,
    Transform,
    run_reference,
)
from neurosim.network.transforms import Box, transform_from_dict

IntArray = NDArray[np.int64]

UNITS = [Relay(), Delta(4096), Sigma()]


# Transforms


class Synapse(NamedTuple):
    source: int
    target: int
    weight: int
    position: tuple[int, ...]
    """Where in the output: row and column of a convolution."""


def synapses_of(transform: Transform) -> list[Synapse]:
    """Every synapse, zero weights included, straight from the definition of each transform."""
    weights = transform.weights.astype(int)
    if isinstance(transform, Sparse):
        spans = itertools.pairwise(transform.row_start.tolist())
        return [
            Synapse(source, int(transform.targets[k]), int(weights[k]), ())
            for source, (low, high) in enumerate(spans)
            for k in range(low, high)
        ]
    if isinstance(transform, Dense):
        return [Synapse(j, i, int(w), ()) for (i, j), w in np.ndenumerate(weights)]
    assert isinstance(transform, Conv2d)
    channels, height, width = transform.in_shape
    out_channels, rows, columns = transform.out_shape
    per_in, per_out = channels // transform.groups, out_channels // transform.groups
    found = []
    for co, oy, ox in itertools.product(range(out_channels), range(rows), range(columns)):
        for c, ky, kx in itertools.product(*map(range, weights.shape[1:])):
            y = oy * transform.stride[0] + ky * transform.dilation[0] - transform.padding[0]
            x = ox * transform.stride[1] + kx * transform.dilation[1] - transform.padding[1]
            if 0 <= y < height and 0 <= x < width:
                ci = co // per_out * per_in + c
                source, target = (ci * height + y) * width + x, (co * rows + oy) * columns + ox
                found.append(Synapse(source, target, int(weights[co, c, ky, kx]), (oy, ox)))
    return found


small_weight = st.sampled_from([0, 0, 1, -1, 7, -128])


@st.composite
def dense_transforms(draw: st.DrawFn) -> Dense:
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    return Dense(
        np.array(
            draw(st.lists(small_weight, min_size=shape[0] * shape[1], max_size=25))[: shape[0] * shape[1]]
        ).reshape(shape)
    )


@st.composite
def sparse_transforms(draw: st.DrawFn) -> Sparse:
    size = draw(st.integers(1, 6))
    rows = draw(st.lists(st.sets(st.integers(0, size - 1)), min_size=1, max_size=5))
    targets = [t for row in rows for t in sorted(row)]
    weights = draw(st.lists(small_weight, min_size=len(targets), max_size=len(targets)))
    return Sparse(np.cumsum([0, *map(len, rows)]), targets, weights, size)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def conv_transforms(draw: st.DrawFn) -> Conv2d:
    groups = draw(st.integers(1, 3))
    per_in, per_out = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    reach = [dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a] for a in (0, 1)]
    extent = [max(r, 1) + draw(st.integers(0, 3)) for r in reach]
    shape = (groups * per_out, per_in, *kernel)
    count = int(np.prod(shape))
    weights = np.array(draw(st.lists(small_weight, min_size=count, max_size=count))).reshape(shape)
    return Conv2d(weights, (groups * per_in, *extent), stride, padding, dilation, groups)


@st.composite
def pool_transforms(draw: st.DrawFn) -> Pool2d:
    kernel = draw(pairs)
    shape = (draw(st.integers(1, 3)), *(k + draw(st.integers(0, 3)) for k in kernel))
    stride = draw(st.none() | pairs)
    return Pool2d(draw(st.sampled_from(["sum", "average"])), kernel, shape, stride, draw(st.integers(0, 1)))


transforms = st.one_of(dense_transforms(), sparse_transforms(), conv_transforms(), pool_transforms())


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, ...]) -> Box:
    ends = [draw(st.tuples(st.integers(0, n), st.integers(0, n))) for n in shape]
    return tuple((min(pair), max(pair)) for pair in ends)


@given(transforms, st.data())
def test_apply_is_the_sum_over_synapses(transform: Transform, data: st.DataObject) -> None:
    values = st.lists(st.integers(-1000, 1000), min_size=transform.in_size, max_size=transform.in_size)
    messages = np.array(data.draw(values))
    expected = np.zeros(transform.out_size, dtype=np.int64)
    for synapse in synapses_of(transform):
        expected[synapse.target] += messages[synapse.source] * synapse.weight
    assert transform.apply(messages).tolist() == expected.tolist()


@given(transforms, st.data())
@settings(max_examples=200)
def test_fan_out_counts_the_synapses(transform: Transform, data: st.DataObject) -> None:
    box = data.draw(st.none() | boxes(transform.out_shape))
    whole = box if box is not None else tuple((0, n) for n in transform.out_shape)
    inside = np.zeros(transform.out_shape, dtype=bool)
    inside[tuple(slice(*ends) for ends in whole)] = True
    listed = [s for s in synapses_of(transform) if inside.ravel()[s.target]]
    structural = Counter(s.source for s in listed)
    nonzero = Counter(s.source for s in listed if s.weight)
    positions = Counter(source for source, _ in {(s.source, s.position) for s in listed})

    fan = transform.fan_out(box)
    assert fan.structural.tolist() == [structural[s] for s in fan.sources.tolist()]
    assert fan.nonzero.tolist() == [nonzero[s] for s in fan.sources.tolist()]
    if isinstance(transform, Conv2d):
        assert fan.taps.tolist() == [positions[s] for s in fan.sources.tolist()]
    else:
        assert set(fan.taps.tolist()) <= {1}
    # Every source that has a synapse is named, once, in order, and no other.
    assert fan.sources.tolist() == sorted(structural)


@given(sparse_transforms(), st.integers(1, 30), st.data())
def test_synapses_by_target_give_the_same_fan_out(transform: Sparse, block: int, data: st.DataObject) -> None:
    """Whatever the size of the blocks in which they are sorted."""
    order = ByTarget(transform, block)
    by_hand = sorted(synapses_of(transform), key=lambda synapse: (synapse.target, synapse.source))
    assert order.source.tolist() == [synapse.source for synapse in by_hand]
    assert order.filled.tolist() == [synapse.weight != 0 for synapse in by_hand]
    box = data.draw(boxes(transform.out_shape))
    ours, theirs = order.fan_out(*box[0]), transform.fan_out(box)
    for name in ("sources", "structural", "nonzero", "taps"):
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()


@given(transforms)
def test_transform_described_and_rebuilt(transform: Transform) -> None:
    assert transform_from_dict(transform.to_dict()) == transform


@given(conv_transforms())
def test_a_convolution_is_the_sum_of_its_boxes(transform: Conv2d) -> None:
    """Cutting the output along columns loses and doubles no synapse."""
    channels, rows, columns = transform.out_shape
    total = np.zeros((2, transform.in_size), dtype=np.int64)
    for x in range(columns):
        fan = transform.fan_out(((0, channels), (0, rows), (x, x + 1)))
        total[0, fan.sources] += fan.structural
        total[1, fan.sources] += fan.nonzero
    whole = transform.fan_out()
    expected = np.zeros_like(total)
    expected[0, whole.sources], expected[1, whole.sources] = whole.structural, whole.nonzero
    assert total.tolist() == expected.tolist()


def test_average_pooling_divides_the_sum_of_a_timestep_rounding_down() -> None:
    pool = Pool2d("average", 2, (1, 2, 2))
    network = Network([Layer("a", (1, 2, 2), Relay()), Layer("b", (1, 1, 1), Sigma())], [Connection(("a",), "b", pool)])
    run = run_reference(network, {"a": np.array([[1, 1, 1, 0], [-1, 0, 0, 0], [0, 0, 0, 0]])}, 3)
    assert run.messages["b"].ravel().tolist() == [0, 0, -1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Dense([[1, float("nan")]]), r"weight\[0, 1\] is nan"),
        (lambda: Dense([[1, 0.5]]), r"weight\[0, 1\] is 0.5.*quantise"),
        (lambda: Dense([[1 << 31]]), "limit"),
        (lambda: Dense([[1j]]), "complex"),
        (lambda: Dense([1, 2]), r"\(2,\)"),
        (lambda: Sparse([0, 2], [1, 1], [1, 1], 2), "ascend"),
        (lambda: Sparse([0, 1], [2], [1], 2), r"2\.\.2.*0\.\.1"),
        (lambda: Sparse([0, 1], [-1], [1], 2), r"-1\.\.-1.*0\.\.1"),
        (lambda: Sparse([0, 1], [1 << 32], [1], 2), r"4294967296.*0\.\.1"),
        (lambda: Sparse([0, 1], [0], [1], (1 << 31) + 1), "limit is 2147483648"),
        (lambda: Sparse([0, 0, 2, 2], [1, 0], [1, 1], 2), "ascend"),
        (lambda: Sparse([0, 1], [0, 1], [1, 1], 2), "row_start"),
        (lambda: Sparse([0, 1], [0], [1, 1], 2), "1 targets"),
        (lambda: Conv2d(np.ones((1, 1, 3, 3)), (1, 2, 2)), "does not fit"),
        (lambda: Conv2d(np.ones((1, 2, 1, 1)), (1, 2, 2)), "input channels"),
        (lambda: Conv2d(np.ones((3, 1, 1, 1)), (2, 2, 2), groups=2), "2 groups"),
        (lambda: Conv2d(np.ones((1, 1, 1, 1)), (1, 2, 2), stride=0), "stride is 0"),
        (lambda: Conv2d(np.ones((1, 1, 1, 1)), (1, 2, 2), stride=1.5), "stride is 1.5"),
        (lambda: Conv2d(np.ones((1, 1, 1, 1)), (1, 2, 2), padding=(1, -1)), "padding"),
        (lambda: Pool2d("max", 2, (1, 2, 2)), '"max" is not known'),
        (lambda: transform_from_dict({"kind": "conv"}), 'did you mean "conv2d"'),
        (lambda: transform_from_dict({"kind": "dense", "wieghts": 1}), "wieghts"),
        (lambda: Delay("axom", np.array([1])), "axom"),
        (lambda: Delay("axon", np.array([63])), "0..62"),
    ],
)
def test_wrong_transforms_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        make()


# Connections and the plain runner


@st.composite
def delays(draw: st.DrawFn, transform: Transform) -> Delay | None:
    kind = draw(st.sampled_from(["none", "axon", "neuron", "synapse"]))
    shapes = {
        "axon": (transform.in_size,),
        "neuron": (transform.out_size,),
        "synapse": transform.weights.shape,
    }
    if kind == "none":
        return None
    count = int(np.prod(shapes[kind]))
    values = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    return Delay(kind, np.array(values, dtype=np.int64).reshape(shapes[kind]))


def delay_of_each(transform: Dense, delay: Delay | None) -> IntArray:
    """(out, in): delay of each synapse of a dense transform."""
    shape = transform.weights.shape
    if delay is None:
        return np.zeros(shape, dtype=np.int64)
    view = delay.values[:, None] if delay.kind == "neuron" else delay.values
    return np.broadcast_to(view, shape)


@given(dense_transforms(), st.data())
def test_a_message_arrives_one_timestep_and_its_delay_later(transform: Dense, data: st.DataObject) -> None:
    delay = data.draw(delays(transform))
    network = Network(
        [Layer("a", (transform.in_size,), Relay()), Layer("b", transform.out_shape, Sigma())],
        [Connection(("a",), "b", transform, delay)],
    )
    row = st.lists(st.integers(-9, 9), min_size=transform.in_size, max_size=transform.in_size)
    # The last frame is held, so it must be silent.
    frames = np.array([*data.draw(st.lists(row, min_size=1, max_size=4)), [0] * transform.in_size])
    timesteps = len(frames) + 6
    steps = delay_of_each(transform, delay)
    arriving = np.zeros((timesteps + 7, transform.out_size), dtype=np.int64)
    for t, frame in enumerate(frames, 1):
        for (i, j), weight in np.ndenumerate(transform.weights):
            arriving[t + 1 + steps[i, j], i] += int(weight) * int(frame[j])
    found = run_reference(network, {"a": frames}, timesteps).messages["b"]
    assert found.tolist() == np.cumsum(arriving, axis=0)[1 : timesteps + 1].tolist()


def test_sources_are_concatenated_and_connections_add_up() -> None:
    network = Network(
        [Layer("a", (1,), Relay()), Layer("b", (2,), Relay()), Layer("c", (1,), Sigma())],
        [Connection(("b", "a"), "c", Dense([[1, 10, 100]])), Connection(("a",), "c", Dense([[1000]]))],
    )
    run = run_reference(network, {"a": np.array([[3]]), "b": np.array([[1, 2]])}, 2)
    assert run.messages["c"].ravel().tolist() == [0, 1 + 20 + 300 + 3000]


def test_recurrent_messages_act_in_the_next_timestep() -> None:
    network = Network(
        [Layer("a", (1,), Relay()), Layer("b", (1,), Sigma())],
        [Connection(("a",), "b", Dense([[1]])), Connection(("b",), "b", Dense([[1]]))],
    )
    run = run_reference(network, {"a": np.array([[1], [0]])}, 5)
    assert run.messages["b"].ravel().tolist() == [0, 1, 2, 4, 8]


def test_the_sum_of_a_timestep_wraps_at_the_accumulator() -> None:
    connection = Connection(("a",), "b", Dense([[100]]), accumulator_bits=8)
    network = Network([Layer("a", (1,), Relay()), Layer("b", (1,), Sigma())], [connection])
    run = run_reference(network, {"a": np.array([[2], [0]])}, 3)
    assert run.messages["b"].ravel().tolist() == [0, 200 - 256, 200 - 256]


def test_delays_must_have_the_shape_of_their_kind() -> None:
    with pytest.raises(ModelError, match=r"connection a -> b: neuron delays have shape \(3,\).*needs \(2,\)"):
        Connection(("a",), "b", Dense(np.ones((2, 3))), Delay("neuron", np.zeros(3)))


# Graphs


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Layers of all kinds, joined at random: branches, concatenation, recurrence, parallel connections."""
    shapes = draw(st.lists(st.tuples(st.integers(1, 4)) | st.tuples(*[st.integers(1, 3)] * 3), min_size=1, max_size=5))
    # Names out of order, so that nothing can depend on sorting them.
    layers = [Layer(f"{9 - i}x", shape, draw(st.sampled_from(UNITS))) for i, shape in enumerate(shapes)]
    names = st.sampled_from([layer.name for layer in layers])
    size = {layer.name: layer.size for layer in layers}
    connections = []
    for sources, target in draw(
        st.lists(st.tuples(st.lists(names, min_size=1, max_size=3, unique=True), names), max_size=6)
    ):
        weights = np.full((size[target], sum(size[s] for s in sources)), draw(st.integers(-9, 9)))
        transform = Dense(weights)
        bits = draw(st.none() | st.just(24))
        connections.append(Connection(tuple(sources), target, transform, draw(delays(transform)), bits))
    return Network(layers, connections, draw(st.sampled_from(["net", "other"])))


@given(networks())
def test_networkx_round_trip(network: Network) -> None:
    assert Network.from_networkx(network.to_networkx()) == network


def chain(*sizes: int) -> Network:
    layers = [Layer(f"l{i}", (n,), Relay() if i == 0 else Sigma()) for i, n in enumerate(sizes)]
    return Network(
        layers,
        [Connection((a.name,), b.name, Dense(np.ones((b.size, a.size)))) for a, b in itertools.pairwise(layers)],
    )


def test_networkx_graph_has_a_node_a_layer_and_an_edge_a_source() -> None:
    network = Network(
        [Layer("a", (2,), Relay()), Layer("b", (1, 2, 2), Relay()), Layer("c", (1,), Sigma())],
        [Connection(("a", "b"), "c", Dense(np.ones((1, 6)))), Connection(("c",), "c", Dense([[1]]))],
        "joined",
    )
    graph = network.to_networkx()
    assert graph.name == "joined"
    assert dict(graph.nodes(data="shape")) == {"a": (2,), "b": (1, 2, 2), "c": (1,)}
    assert sorted(graph.edges()) == [("a", "c"), ("b", "c"), ("c", "c")]


def test_neurons_are_numbered_through_all_layers() -> None:
    network = chain(3, 4, 2)
    assert network.offsets.tolist() == [0, 3, 7, 9]
    assert network.size == 9


def test_inputs_and_outputs() -> None:
    network = chain(1, 1, 1)
    assert [layer.name for layer in network.inputs] == ["l0"]
    assert [layer.name for layer in network.outputs] == ["l2"]


def test_depth_counts_delays_and_enters_loops_once() -> None:
    assert chain(1).depth_timesteps == 1
    assert chain(1, 1, 1).depth_timesteps == 3
    layers = [Layer(name, (1,), Relay()) for name in "abcd"]

    def joined(a: str, b: str, steps: int = 0) -> Connection:
        return Connection((a,), b, Dense([[1]]), Delay("axon", np.array([steps])))

    branches = Network(layers, [joined("a", "b"), joined("b", "d"), joined("a", "c", 5), joined("c", "d")])
    assert branches.depth_timesteps == 1 + 6 + 1
    loop = Network(
        layers, [joined("a", "b"), joined("b", "c"), joined("c", "b", 9), joined("c", "d"), joined("d", "d")]
    )
    assert loop.depth_timesteps == 3


def test_with_units_changes_those_named() -> None:
    changed = chain(1, 1).with_units({"l1": Relay()})
    assert [layer.unit.kind for layer in changed.layers] == ["relay", "relay"]
    assert changed != chain(1, 1)


def test_all_errors_of_a_network_are_reported_at_once() -> None:
    layers = [Layer("conv1", (2,), Relay()), Layer("conv2", (3,), Sigma())]
    with pytest.raises(ModelError) as caught:
        Network(
            layers,
            [
                Connection(("cnov1",), "conv2", Dense(np.ones((3, 2)))),
                Connection(("conv1",), "conv2", Dense(np.ones((3, 4)))),
                Connection(("conv1",), "conv2", Dense(np.ones((5, 2)))),
            ],
            "net",
        )
    message = str(caught.value)
    assert message.startswith("net: 3 errors")
    assert 'no layer "cnov1"; did you mean "conv1"?' in message
    assert "the sources have 2 neurons, the dense takes 4" in message
    assert "the dense gives (5,), the layer has 3 neurons" in message


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "no layers"),
        ([Layer("a", (1,), Relay()), Layer("a", (1,), Relay())], "more than once: a"),
        ([Layer("a", (0,), Relay())], r"shape \(0,\)"),
        ([Layer("a", (1, -2, 3), Relay()), Layer("b", (1, 2), Relay())], "(?s)layer a.*layer b"),
        ([Layer("a", (1 << 31,), Relay()), Layer("b", (1,), Relay())], "2147483649 neurons"),
        # Multiplied in 64 bits this is 0.
        ([Layer("a", (1 << 32, 1 << 32, 1), Relay())], "18446744073709551616 neurons"),
    ],
)
def test_wrong_layers_are_refused(layers: list[Layer], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Network(layers, [])


def test_networkx_graphs_that_lack_something_are_refused() -> None:
    graph = chain(1, 1).to_networkx()
    del graph.nodes["l0"]["unit"]
    next(iter(graph.edges(data=True)))[2].pop("connection")
    with pytest.raises(ModelError) as caught:
        Network.from_networkx(graph)
    assert 'node "l0" has no attribute "unit"' in str(caught.value)
    assert 'edge l0 -> l1 has no attribute "connection"' in str(caught.value)
