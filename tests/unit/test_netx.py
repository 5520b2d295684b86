"""NetX files: what the reader makes of each dataset, and what the writer holds and refuses."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurosim.errors import InputError, ModelError
from neurosim.formats import (
    read_network,
    read_network_with_notes,
    read_netx,
    read_netx_with_notes,
    reader_options,
    write_netx,
)
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    Delay,
    Delta,
    Dense,
    Layer,
    Network,
    Relay,
    Rounding,
    Sigma,
    SigmaDelta,
    Sparse,
    Unit,
)

Datasets = dict[str, Any]


def sdnn(threshold: int = 0, **more: Any) -> Datasets:
    return {"neuron/type": b"SDNN", "neuron/activation": b"relu", "neuron/vThMant": threshold, **more}


def cuba(threshold: int = 64, **more: Any) -> Datasets:
    decays = {"neuron/iDecay": 1024, "neuron/vDecay": 128}
    return {"neuron/type": b"CUBA", "neuron/vThMant": threshold, **decays, **more}


def conv(shape: Any, weight: Any, **more: Any) -> Datasets:
    plain = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    return {"type": [b"conv"], "shape": shape, "weight": weight, **plain, **sdnn(), **more}


def dense(weight: Any, neuron: Datasets | None = None, **more: Any) -> Datasets:
    return {"type": [b"dense"], "shape": [len(weight)], "weight": weight, **(neuron or sdnn()), **more}


def source(shape: Any = (2,), **more: Any) -> Datasets:
    return {"type": [b"input"], "shape": shape, **sdnn(), **more}


def write(path: Path, *layers: Datasets) -> Path:
    """Write a NetX file by hand, dataset by dataset."""
    with h5py.File(path, "w") as file:
        for i, layer in enumerate(layers):
            for key, value in layer.items():
                array = np.asarray(value)
                file[f"layer/{i}/{key}"] = array.astype("S10") if array.dtype.kind == "S" else array
        file["simulation/Ts"] = 1
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "made.net"


# Reading


def test_a_sigma_delta_network(place: Path) -> None:
    kernel = np.arange(-6, 6, dtype=np.float32).reshape(2, 1, 2, 3)
    write(
        place,
        source((1, 4, 5), **sdnn(3)),
        conv((2, 3, 2), kernel, stride=[1, 2], **sdnn(5), bias=np.array([-7.0, 8.0]), padding=[0, 0]),
        {"type": [b"flatten"], "shape": [12, 1, 1]},
        dense(np.full((3, 12), 254.0, dtype=np.float32), shape=[3, 1, 1], bias=[1, 2, 3], **sdnn(9)),
        dense(np.full((1, 3), -256), **sdnn(6), **{"neuron/sigma_output": True}),
    )
    expected = Network(
        [
            Layer("input", (1, 4, 5), Delta(3 << 12)),
            Layer("conv1", (2, 3, 2), SigmaDelta(5 << 12, np.array([-7, 8]))),
            Layer("dense1", (3,), SigmaDelta(9 << 12, np.array([1, 2, 3]))),
            Layer("dense2", (1,), Sigma()),
        ],
        [
            Connection(("input",), "conv1", Conv2d(kernel, (1, 4, 5), (1, 2)), accumulator_bits=24),
            Connection(("conv1",), "dense1", Dense(np.full((3, 12), 254))),
            Connection(("dense1",), "dense2", Dense(np.full((1, 3), -256))),
        ],
        "made",
    )
    reading = read_netx_with_notes(place)
    assert reading.network == expected
    assert reading.notes == ()


def test_options_that_the_file_does_not_hold(place: Path) -> None:
    write(place, source(), dense([[1, 2]]))
    unit = read_netx(place, rounding="corrected", cum_error=True)["dense1"].unit
    assert unit == SigmaDelta(0, rounding="corrected", cum_error=True)


@pytest.mark.parametrize("kind", [b"CUBA", b"LOIHI"])
def test_a_cuba_network_resets_one_timestep_later_a_layer(place: Path, kind: bytes) -> None:
    neuron = {**cuba(), "neuron/type": kind}
    write(
        place,
        {"type": [b"input"], "shape": [1, 1, 2], **neuron},
        {"type": [b"flatten"], "shape": [1, 1, 2]},
        dense([[1, 2]], neuron, bias=[4.0]),
        dense([[3]], neuron),
    )
    units = [layer.unit for layer in read_netx(place, reset_interval=4, reset_offset=1).layers]
    assert units == [
        CubaLif(1024, 128, 64 << 6, reset_interval=4, reset_phase=2),
        CubaLif(1024, 128, 64 << 6, np.array([4]), reset_interval=4, reset_phase=3),
        CubaLif(1024, 128, 64 << 6, reset_interval=4, reset_phase=0),
    ]


@pytest.mark.parametrize("first", [[], [source()]], ids=["relay", "input"])
def test_options_are_read_off_the_units(place: Path, first: list[Datasets]) -> None:
    write(place, *first, dense([[1, 0], [0, 1]], cuba()), dense([[1, 0], [0, 1]], cuba()), dense([[1, 0]]))
    for chosen in (
        {"rounding": "default", "cum_error": False, "reset_interval": 0, "reset_offset": 0},
        {"rounding": "corrected", "cum_error": True, "reset_interval": 5, "reset_offset": 3},
    ):
        assert reader_options(read_netx(place, **chosen)) == chosen
    # An offset means the same as its remainder.
    assert reader_options(read_netx(place, reset_interval=5, reset_offset=13)) == {
        "rounding": "default",
        "cum_error": False,
        "reset_interval": 5,
        "reset_offset": 3,
    }


def test_options_that_no_layer_takes_are_left_out(place: Path) -> None:
    write(place, source(), dense([[1, 0]]))
    assert reader_options(read_netx(place)) == {"rounding": "default", "cum_error": False}
    write(place, source(), dense([[1, 0]], cuba()))
    assert reader_options(read_netx(place)) == {"reset_interval": 0, "reset_offset": 0}


def test_units_that_no_options_give_have_none() -> None:
    units = [Relay(), SigmaDelta(64), SigmaDelta(64, rounding="corrected")]
    layers = [Layer(f"l{place}", (1,), unit) for place, unit in enumerate(units)]
    assert reader_options(Network(layers, [], "mixed")) is None
    resets = [CubaLif(1, 1, 64, reset_interval=4, reset_phase=2) for _ in range(2)]
    assert reader_options(Network([Layer(f"l{i}", (1,), unit) for i, unit in enumerate(resets)], [], "same")) is None


def test_the_network_is_called_after_its_file_or_folder(tmp_path: Path) -> None:
    (tmp_path / "pilot").mkdir()
    for name, called in (("network.net", "pilot"), ("other.net", "other")):
        assert read_netx(write(tmp_path / "pilot" / name, source(), dense([[1, 2]]))).name == called


def test_scalars_count_for_rows_and_columns_and_weights_may_have_a_fifth_axis(place: Path) -> None:
    weight = np.ones((1, 1, 2, 2, 1))
    one = {"stride": 2, "padding": 1, "dilation": [2], "groups": [1], "kernelSize": 2}
    write(place, source((1, 5, 5)), conv((1, 3, 3), weight, **one, inChannels=1, outChannels=1))
    transform = read_netx(place).connections[0].transform
    assert transform == Conv2d(weight[..., 0], (1, 5, 5), 2, 1, 2)


def test_groups(place: Path) -> None:
    weight = np.ones((4, 2, 1, 1))
    write(place, source((4, 1, 1)), conv((4, 1, 1), weight, groups=2, inChannels=4, outChannels=4))
    assert read_netx(place).connections[0].transform == Conv2d(weight, (4, 1, 1), groups=2)


def test_flat_dense_weights(place: Path) -> None:
    write(
        place,
        source((1, 1, 3)),
        {"type": [b"flatten"]},
        {**dense([0]), "weight": [1, 2, 3, 4, 5, 6], "shape": [2]},
    )
    assert read_netx(place).connections[0].transform == Dense([[1, 2, 3], [4, 5, 6]])


def test_scalar_and_array_texts(place: Path) -> None:
    write(place, source(type=b"input"), dense([[1, 2]], **{"neuron/type": [b"SDNN"]}))
    with h5py.File(place, "a") as file:
        del file["layer/1/type"]
        file["layer/1/type"] = "dense"
    assert [layer.name for layer in read_netx(place).layers] == ["input", "dense1"]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (3.9, Delay("neuron", np.array([3, 3, 3]))),
        ([5], Delay("neuron", np.array([5, 5, 5]))),
        ([0.0, 1.5, 62.9], Delay("neuron", np.array([0, 1, 62]))),
        ([4, 7], Delay("axon", np.array([4, 7]))),
    ],
)
def test_delays(place: Path, stored: Any, expected: Delay) -> None:
    write(place, source(), dense([[1, 2], [3, 4], [5, 6]], delay=stored))
    reading = read_netx_with_notes(place)
    assert reading.network.connections[0].delay == expected
    assert reading.notes == ()


def test_delays_of_a_square_layer_belong_to_its_neurons(place: Path) -> None:
    write(place, source(), dense([[1, 2], [3, 4]], delay=[1, 2]))
    assert read_netx(place).connections[0].delay == Delay("neuron", np.array([1, 2]))


def test_what_is_left_out_is_said(place: Path) -> None:
    write(
        place,
        source((1, 2, 2), weight=40.0, bias=36.0),
        conv((1, 2, 2), np.ones((1, 1, 1, 1)), delay=[1.0]),
        {"type": [b"flatten"]},
        dense(np.ones((2, 4)), delay=[63, 1]),
        dense([[1, 2]], {**cuba(), "neuron/refDelay": 3, "neuron/gradedSpike": True}),
    )
    reading = read_netx_with_notes(place)
    assert reading.network.connections[0].delay is None
    assert reading.network.connections[1].delay == Delay("neuron", np.array([62, 1]))
    # lava's transform of an input: 2 * weight * x - weight + bias.
    assert reading.notes == (
        "layer/0 (input): frames must already be transformed as the file asks, 80 * x - 4 for x in 0..1, truncated",
        "layer/1 (conv): delay ignored, as lava does",
        "layer/3 (dense): 1 of 2 delays, up to 63 timesteps, clipped to 62, as lava does",
        "layer/4/neuron: refDelay of 3 ignored, as lava does",
        "layer/4/neuron: gradedSpike of 1 ignored, as lava does",
    )


def test_a_network_without_input_is_fed_with_messages(place: Path) -> None:
    write(place, dense([[1, 2, 3]], cuba(), inFeatures=3, outFeatures=1))
    reading = read_netx_with_notes(place, reset_interval=8)
    first, second = reading.network.layers
    assert first == Layer("input", (3,), Relay())
    # The relay is not in the file, so it is not counted.
    assert second.unit == CubaLif(1024, 128, 64 << 6, reset_interval=8, reset_phase=1)
    assert reading.notes == (
        "layer/0: no input layer comes before it; frames of shape [3] are sent as messages as they are",
    )


def test_the_input_of_a_first_convolution_follows_from_its_output(place: Path) -> None:
    write(place, conv((2, 4, 3), np.ones((2, 3, 3, 2)), padding=[1, 0], dilation=[2, 1]))
    # Rows 4 = (H + 2 - 2 * 2 - 1) + 1, columns 3 = (W - 1 - 1) + 1.
    assert read_netx(place)["input"] == Layer("input", (3, 6, 4), Relay())


def test_a_recurrent_layer(place: Path) -> None:
    write(place, source(), {**dense([[1, 2], [3, 4]]), "type": [b"dense_rec"], "weight_rec": [[5, 6], [7, 8]]})
    assert read_netx(place).connections == (
        Connection(("input",), "dense1", Dense([[1, 2], [3, 4]])),
        Connection(("dense1",), "dense1", Dense([[5, 6], [7, 8]])),
    )


def test_layers_are_sorted_as_numbers(place: Path) -> None:
    write(place, source((1, 1, 1)), *[dense([[k]]) for k in range(1, 12)])
    weights = [int(c.transform.weights[0, 0]) for c in read_netx(place).connections]
    assert weights == list(range(1, 12))


def test_the_suffix_says_the_format(place: Path) -> None:
    write(place, source(), dense([[1, 2]]))
    assert read_network(place) == read_netx(place)
    assert read_network(str(place), rounding="corrected") == read_netx(place, rounding="corrected")
    assert read_network_with_notes(place).network == read_netx(place)
    with pytest.raises(ModelError, match=r'suffix ".nett" is not known; did you mean ".net"'):
        read_network("made.nett")


# Writing


@st.composite
def units(draw: st.DrawFn, size: int, kind: str, last: bool) -> Unit:
    if kind == "cuba":
        bias = draw(st.just([0]) | st.lists(st.integers(-131071, 131071), min_size=size, max_size=size))
        threshold = draw(st.integers(0, 131071)) << 6
        return CubaLif(draw(st.integers(0, 4096)), draw(st.integers(0, 4096)), threshold, np.array(bias))
    if last:
        return Sigma()
    bias = draw(st.just([0]) | st.lists(st.integers(-524287, 524287), min_size=size, max_size=size))
    return SigmaDelta(draw(st.integers(0, 524287)) << 12, np.array(bias))


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Chains of convolutions and dense layers such as the format holds, named as its reader names."""
    kind = draw(st.sampled_from(["sdnn", "cuba"]))
    weight = st.integers(-256, 254)
    shape: tuple[int, ...] = draw(st.tuples(*[st.integers(1, 4)] * 3))
    first: Unit = Delta(draw(st.integers(0, 524287)) << 12) if kind == "sdnn" else CubaLif(1, 2, 3 << 6)
    relay = draw(st.booleans())
    convs, count = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    if relay:
        first = Relay()
        if not convs:
            shape, count = (draw(st.integers(1, 4)),), max(count, 1)
    layers, connections = [Layer("input", shape, first)], []
    for i in range(convs):
        channels = draw(st.integers(1, 3))
        kernel = [draw(st.integers(1, n)) for n in shape[1:]]
        stride = (1, 1) if relay and not i else draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        weights = np.array([draw(weight) for _ in range(channels * shape[0] * kernel[0] * kernel[1])])
        transform = Conv2d(weights.reshape(channels, shape[0], *kernel), shape, stride, draw(st.integers(0, 1)))
        connections.append(Connection((layers[-1].name,), f"conv{i + 1}", transform, accumulator_bits=24))
        shape = transform.out_shape
        layers.append(Layer(f"conv{i + 1}", shape, draw(units(channels, kind, False))))
    for i in range(count):
        size, inputs = draw(st.integers(1, 4)), layers[-1].size
        dense = Dense(np.array([draw(weight) for _ in range(size * inputs)]).reshape(size, inputs))
        steps = st.integers(0, 62)
        delay = draw(
            st.none() | st.lists(steps, min_size=size, max_size=size).map(lambda v: Delay("neuron", np.array(v)))
        )
        if delay is not None and inputs not in (1, size) and draw(st.booleans()):
            delay = Delay("axon", np.array([draw(steps) for _ in range(inputs)]))
        name = f"dense{i + 1}"
        connections.append(Connection((layers[-1].name,), name, dense, delay))
        if delay is None and draw(st.booleans()):
            again = np.array([draw(weight) for _ in range(size * size)]).reshape(size, size)
            connections.append(Connection((name,), name, Dense(again)))
        layers.append(Layer(name, (size,), draw(units(size, kind, i + 1 == count))))
    return Network(layers, connections, "made")


@given(networks())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_is_written_is_read_back_equal(tmp_path: Path, network: Network) -> None:
    if len(network.layers) == 1 and isinstance(network.layers[0].unit, Relay):
        return
    path = tmp_path / "made.net"
    write_netx(network, path)
    assert read_netx(path) == network


def small(**changes: Any) -> Network:
    """Return a network that can be written, with parts replaced by name."""
    parts: dict[str, Any] = {
        "input": Delta(1 << 12),
        "conv1": SigmaDelta(1 << 12),
        "dense1": Sigma(),
        "convolution": Conv2d(np.ones((2, 1, 2, 2)), (1, 2, 2)),
        "bits": 24,
        "dense": Dense(np.ones((1, 2))),
        "delay": None,
        "more": (),
        **changes,
    }
    layers = [
        Layer("input", (1, 2, 2), parts["input"]),
        Layer("conv1", (2, 1, 1), parts["conv1"]),
        Layer("dense1", parts["dense"].out_shape, parts["dense1"]),
    ]
    connections = [
        Connection(("input",), "conv1", parts["convolution"], accumulator_bits=parts["bits"]),
        Connection(("conv1",), "dense1", parts["dense"], parts["delay"]),
        *parts["more"],
    ]
    return Network(layers, connections, "small")


def test_the_same_network_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.net", "b.net"):
        write_netx(small(), tmp_path / name)
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()


def test_the_file_holds_the_layout_of_the_format(tmp_path: Path) -> None:
    write_netx(small(conv1=SigmaDelta(5 << 12, np.array([7]))), tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net") as file:
        kinds = [file[f"layer/{i}/type"][0] for i in range(len(file["layer"]))]
        assert kinds == [b"input", b"conv", b"flatten", b"dense"]
        assert file["layer/1/neuron/type"][()] == b"SDNN"
        assert file["layer/1/neuron/vThMant"][()] == 5
        # Given once for the layer; the format has one a channel.
        assert file["layer/1/bias"][()].tolist() == [7.0, 7.0]
        assert file["layer/1/weight"].dtype == np.float32
        assert file["layer/1/kernelSize"][()].tolist() == [2, 2]
        assert "sigma_output" in file["layer/3/neuron"]
        assert "sigma_output" not in file["layer/1/neuron"]


CUBA = CubaLif(1, 2, 64)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": Sigma()}, "layer input: unit sigma cannot be the first"),
        ({"conv1": Relay()}, "layer conv1: unit relay can only be the first"),
        ({"conv1": Rounding(1, 0)}, "layer conv1: unit rounding has no place in the format"),
        ({"conv1": SigmaDelta(1)}, "threshold 1; the format holds multiples of 4096"),
        ({"conv1": SigmaDelta(1 << 31)}, "threshold 2147483648"),
        ({"conv1": SigmaDelta(-4096)}, "threshold -4096"),
        ({"conv1": SigmaDelta(0, bias_shift=6)}, "shifts 6 and 6; the format means 12 and 6"),
        ({"conv1": SigmaDelta(0, np.array([1, 1 << 20]))}, r"biases in 1\.\.1048576"),
        ({"conv1": SigmaDelta(0, np.array([1, 2, 3]))}, "3 biases; a convolution holds one a channel"),
        ({"input": CubaLif(1, 2, 64, np.array([1]))}, "an input has no bias"),
        ({"input": Delta(0, frame_shift=11)}, "shifts 11 and 6"),
        ({"conv1": CubaLif(1, 2, 65)}, "threshold 65; the format holds multiples of 64"),
        ({"conv1": CubaLif(1, 2, 64, bias_shift=0)}, "shifts 6 and 0"),
        (
            {"dense": Sparse([0, 1, 1], [0], [1], 1)},
            "transform sparse has no place here; use dense",
        ),
        ({"convolution": Conv2d(np.full((2, 1, 2, 2), 255), (1, 2, 2))}, r"weights in 255\.\.255"),
        ({"convolution": Conv2d(np.full((2, 1, 2, 2), -257), (1, 2, 2))}, r"weights in -257\.\.-257"),
        ({"bits": None}, "sum of None bits; the format means 24"),
        ({"delay": Delay("synapse", np.zeros((1, 2)))}, "not per synapse"),
        (
            {"dense": Dense(np.ones((2, 2))), "delay": Delay("axon", np.array([1, 2]))},
            "read as delays per neuron",
        ),
        ({"more": (Connection(("input",), "dense1", Dense(np.ones((1, 4)))),)}, "layer dense1 is fed by"),
        (
            {
                "more": (Connection(("dense1",), "dense1", Dense([[1]])),),
                "delay": Delay("neuron", np.array([1])),
            },
            "no delay beside a recurrent connection",
        ),
        (
            {"more": (Connection(("dense1",), "input", Dense(np.ones((4, 1)))),)},
            "layer input is fed by a connection",
        ),
        (
            {"conv1": SigmaDelta(0, cum_error=True), "dense1": SigmaDelta(0)},
            "differ in rounding or cum_error",
        ),
        (
            {"conv1": CubaLif(1, 2, 64, np.zeros(1), 8, 3), "dense1": CubaLif(1, 2, 64, np.zeros(1), 8, 3)},
            "phases do not rise by 1 a layer",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        write_netx(small(**changes), tmp_path / "a.net")
    assert list(tmp_path.iterdir()) == []


def test_resets_that_rise_by_one_a_layer_are_written(tmp_path: Path) -> None:
    phases = [CubaLif(1, 2, 64, np.zeros(1), 4, phase) for phase in (3, 0, 1)]
    network = small(input=phases[0], conv1=phases[1], dense1=phases[2])
    write_netx(network, tmp_path / "small.net")
    assert read_netx(tmp_path / "small.net", reset_interval=4, reset_offset=2) == network


def test_all_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        write_netx(small(conv1=SigmaDelta(1), bits=16, dense1=Delta(0)), tmp_path / "a.net")
    assert str(caught.value).startswith("small cannot be written as NetX: 3 errors")


def test_chains_alone_are_written(tmp_path: Path) -> None:
    layers = [Layer(name, (1,), Relay() if name == "a" else Sigma()) for name in "abc"]
    one = Dense([[1]])
    branches = Network(layers, [Connection(("a",), "b", one), Connection(("a",), "c", one)])
    with pytest.raises(ModelError, match="layer c is fed by connection a -> c"):
        write_netx(branches, tmp_path / "a.net")
    alone = Network(layers[:1], [])
    with pytest.raises(ModelError, match="relay alone"):
        write_netx(alone, tmp_path / "a.net")


def test_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_netx(small(), tmp_path / "missing" / "a.net")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    write_netx(small(), path)
    before = path.read_bytes()
    with pytest.raises(ModelError):
        write_netx(small(conv1=SigmaDelta(1)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("first", "second"), list(itertools.product(["default", "corrected"], repeat=2)))
def test_rounding_is_an_argument_of_the_reader(tmp_path: Path, first: str, second: str) -> None:
    network = small(conv1=SigmaDelta(0, rounding=first))
    write_netx(network, tmp_path / "small.net")
    assert (read_netx(tmp_path / "small.net", rounding=second) == network) == (first == second)
