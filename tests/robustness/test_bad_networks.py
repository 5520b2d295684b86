"""Damaged and wrong NetX files: an error that names file, place, value, limit and a way out."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neurosim
from neurosim.errors import InputError, ModelError
from neurosim.formats import read_netx, write_netx
from neurosim.network import Connection, Conv2d, CubaLif, Delta, Dense, Layer, Network, Sigma, SigmaDelta

Edit = Callable[[h5py.File], None]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Write input (1, 4, 5), conv (2, 3, 4), flatten, dense (3,) and sigma output (2,), numbered 0 to 4."""
    path = tmp_path / "good.net"
    kernel = np.arange(-4, 4).reshape(2, 1, 2, 2)
    network = Network(
        [
            Layer("input", (1, 4, 5), Delta(1 << 12)),
            Layer("conv1", (2, 3, 4), SigmaDelta(2 << 12, np.array([3, -4]))),
            Layer("dense1", (3,), SigmaDelta(5 << 12, np.array([1, 2, 3]))),
            Layer("dense2", (2,), Sigma()),
        ],
        [
            Connection(("input",), "conv1", Conv2d(kernel, (1, 4, 5)), accumulator_bits=24),
            Connection(("conv1",), "dense1", Dense(np.ones((3, 24)))),
            Connection(("dense1",), "dense2", Dense(np.ones((2, 3)))),
        ],
        "good",
    )
    write_netx(network, path)
    return path


def put(key: str, value: Any) -> Edit:
    """Replace a dataset; None removes it."""

    def edit(file: h5py.File) -> None:
        if f"layer/{key}" in file:
            del file[f"layer/{key}"]
        if value is not None:
            file[f"layer/{key}"] = value

    return edit


def put_at(key: str, place: tuple[int, ...], value: float) -> Edit:
    def edit(file: h5py.File) -> None:
        file[f"layer/{key}"][place] = value

    return edit


def declare(key: str, shape: tuple[int, ...]) -> Edit:
    """Declare a dataset of `shape` without storing a value."""

    def edit(file: h5py.File) -> None:
        del file[f"layer/{key}"]
        file.create_dataset(f"layer/{key}", shape=shape, dtype="f4", chunks=(1,) * len(shape))

    return edit


def refusal(path: Path, *edits: Edit, **options: Any) -> str:
    """Return what the reader says about the file after the edits."""
    with h5py.File(path, "a") as file:
        for edit in edits:
            edit(file)
    with pytest.raises(ModelError) as caught:
        read_netx(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message


def test_the_file_that_the_others_damage_is_good(good: Path) -> None:
    assert [layer.name for layer in read_netx(good).layers] == ["input", "conv1", "dense1", "dense2"]


# Files


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing\.net: no such file; check the path"):
        read_netx(tmp_path / "missing.net")


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no file"):
        read_netx(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", bytes(4096), b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_hdf5(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.net"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"odd\.net: cannot be read as HDF5 .*export it anew"):
        read_netx(path)


def test_truncated_files(good: Path) -> None:
    whole = good.read_bytes()
    for length in range(0, len(whole), 97):
        good.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"good\.net: cannot be read as HDF5"):
            read_netx(good)


def test_flipped_bytes_are_a_network_or_a_clear_error(good: Path) -> None:
    whole = good.read_bytes()
    rng = np.random.default_rng(11)
    refusals = []
    for position in rng.integers(0, len(whole), 300).tolist():
        damaged = bytearray(whole)
        damaged[position] ^= int(rng.integers(1, 256))
        good.write_bytes(damaged)
        try:
            assert read_netx(good).layers
        except ModelError as error:
            refusals.append(str(error))
    assert refusals
    assert all(refusal.startswith(str(good)) for refusal in refusals)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda file: file.move("layer", "layers"), 'has no group "layer"'),
        (lambda file: file["layer"].clear(), "layer holds no layers"),
        (lambda file: file.move("layer/2", "layer/7"), "number the layers 0, 1, 2, ... without gaps"),
        (put("2", 5), "layer/2 is a dataset; it must be a group"),
    ],
)
def test_wrong_structure(good: Path, edit: Edit, words: str) -> None:
    assert words in refusal(good, edit)


# Datasets

MISSING = [
    "0/type", "0/shape", "0/neuron", "0/neuron/type", "0/neuron/vThMant",
    "1/type", "1/shape", "1/weight", "1/stride", "1/padding", "1/dilation", "1/groups", "1/neuron",
    "3/type", "3/shape", "3/weight", "3/neuron/vThMant", "2/type",
]  # fmt: skip


@pytest.mark.parametrize("key", MISSING)
def test_missing_datasets_are_named(good: Path, key: str) -> None:
    assert f"layer/{key} is missing" in refusal(good, put(key, None))


def test_all_errors_of_a_file_are_said_at_once(good: Path) -> None:
    message = refusal(
        good,
        put("0/neuron/vThMant", -1),
        put("1/stride", None),
        put_at("3/weight", (1, 2), np.nan),
        put("4/neuron/type", b"LOIHII"),
    )
    assert message.startswith(f"{good}: 4 errors\n")
    places = ("layer/0/neuron/vThMant is [-1]", "layer/1/stride is missing")
    assert all(place in message for place in (*places, "layer/3/weight[1, 2] is nan"))
    assert 'layer/4/neuron/type is "LOIHII", which is not known; did you mean "LOIHI"?' in message


@pytest.mark.parametrize("kind", ["average", "pool", "convT", "unpool", "concat"])
def test_layers_of_the_format_that_nothing_defines_are_refused_by_name(good: Path, kind: str) -> None:
    message = refusal(good, put("1/type", np.array([kind.encode()])))
    assert f'layer/1/type is "{kind}", which is not supported' in message
    assert "strided conv" in message


@pytest.mark.parametrize(("kind", "meant"), [("Conv", "conv"), ("dens", "dense"), ("flaten", "flatten")])
def test_unknown_layers_are_refused_with_a_suggestion(good: Path, kind: str, meant: str) -> None:
    message = refusal(good, put("1/type", np.array([kind.encode()])))
    assert f'is "{kind}", which is not known; did you mean "{meant}"?' in message
    assert "supported: input, flatten, conv, dense, dense_rec" in message


@pytest.mark.parametrize("kind", ["RF_PHASE", "RF_IZHIKEVICH", "ALIF", "ADRF_PHASE", "ADRF_IZHIKEVICH", "ADRF_OTHER"])
def test_neurons_of_the_format_that_are_not_supported_are_refused_by_name(good: Path, kind: str) -> None:
    message = refusal(good, put("3/neuron/type", kind.encode()))
    assert f'layer/3/neuron/type is "{kind}", which is not supported; train with SDNN, CUBA, LOIHI' in message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "is nan"),
        (np.inf, "is inf"),
        (0.5, "is 0.5"),
        (255.0, "is 255.0"),
        (-257.0, "is -257.0"),
        (3e38, "is 3e+38"),
    ],
)
def test_weights_that_are_no_integers_in_range(good: Path, value: float, words: str) -> None:
    message = refusal(good, put_at("1/weight", (1, 0, 1, 0), value))
    assert f"layer/1/weight[1, 0, 1, 0] {words}; integers in -256..254 are allowed: quantise" in message


def test_how_many_weights_are_wrong(good: Path) -> None:
    message = refusal(good, put("1/weight", np.full((2, 1, 2, 2), 1000.0)))
    assert "layer/1/weight[0, 0, 0, 0] is 1000.0 (and 7 more like it)" in message


SHAPES = [
    ("0/shape", [1, -4, 5], "is [1, -4, 5]; each must be an integer in 1..2147483647"),
    ("0/shape", [1, 0, 5], "is [1, 0, 5]"),
    ("0/shape", [1.5, 4, 5], "is [1.5, 4.0, 5.0]"),
    ("0/shape", [1, 4], "has shape (2,); it must hold 1 or 3 integers"),
    ("0/shape", [10**9, 10**9, 10**9], "1000000000000000000000000000 neurons; the limit is 2147483647"),
    ("0/shape", [2**40, 1, 1], "is [1099511627776, 1, 1]"),
    ("0/shape", [1, 4, 6], "but weight, stride, padding and dilation make [2, 3, 5] of [1, 4, 6]"),
    ("1/shape", [2, 3, 5], "make [2, 3, 4] of [1, 4, 5]; correct one of them"),
    ("2/shape", [23, 1, 1], "is [23, 1, 1], 23 neurons, but the layer before has [2, 3, 4], 24"),
    ("3/shape", [4], "layer/3/weight has shape (3, 24), but shape asks for (4, inputs)"),
    ("3/shape", [3, 2, 1], "is [3, 2, 1]; a dense layer has (N,) or (N, 1, 1)"),
    ("3/weight", np.ones((3, 25)), "has shape (3, 25), but the layer before has [2, 3, 4], 24 neurons"),
    ("3/weight", np.ones((3, 0)), "layer/3/weight has shape (3, 0)"),
    ("3/inFeatures", 23, "layer/3/inFeatures is [23], but the inputs of weight are [24]"),
    ("3/outFeatures", 4, "layer/3/outFeatures is [4], but the outputs of weight are [3]"),
    ("1/weight", np.ones((2, 1, 2)), "has shape (2, 1, 2); give (C_out, C_in / groups, rows, columns)"),
    ("1/weight", np.ones((2, 3, 2, 2)), "do not fit 1 input channels"),
    ("1/weight", np.ones((2, 1, 9, 2)), "a kernel of (9, 2), dilation (1, 1) and padding (0, 0) does not"),
    ("1/kernelSize", [3, 2], "layer/1/kernelSize is [3, 2], but the kernels of weight are [2, 2]"),
    ("1/inChannels", 3, "layer/1/inChannels is [3]"),
    ("1/outChannels", 3, "layer/1/outChannels is [3]"),
    ("1/groups", 0, "layer/1/groups is [0]"),
    ("1/stride", [0, 1], "layer/1/stride is [0, 1]; each must be an integer in 1..2147483647"),
    ("1/stride", [1, 1, 1], "has shape (3,); it must hold 1 or 2 integers"),
    ("1/padding", [-1, 0], "layer/1/padding is [-1, 0]"),
    ("1/padding", 10**9, "make [2, 2000000003, 2000000004] of [1, 4, 5]"),
    ("1/dilation", 10**9, "does not fit"),
    ("1/bias", [1.0, 2.0, 3.0], "layer/1/bias has 3 values; a layer [2, 3, 4] takes 2"),
    ("1/bias", [0.5, 0.0], "layer/1/bias[0] is 0.5; integers in -524287..524287 are allowed"),
    ("1/bias", [0.0, np.nan], "layer/1/bias[1] is nan"),
    ("1/bias", [0.0, 2.0**19], "layer/1/bias[1] is 524288.0"),
    ("3/neuron/vThMant", 2**19, "is [524288]; each must be an integer in 0..524287"),
    ("3/neuron/vThMant", np.nan, "is [nan]"),
    ("3/neuron/activation", b"rleu", 'is "rleu"; did you mean "relu"?; relu alone is supported'),
    ("3/neuron/treshold", 1, "layer/3/neuron/treshold is not known here"),
    ("3/wieght", 1, 'layer/3/wieght is not known here; did you mean "weight"?'),
    ("3/type", 5, "has shape () and dtype int64; it must be one text"),
    ("3/type", np.array([b"dense", b"conv"]), "must be one text"),
    ("3/delay", [1.0, 2.0], "has shape (2,); it must have () or (1,) or (3,) or (24,)"),
    ("3/delay", -1.0, "negative or not finite"),
    ("3/delay", np.nan, "negative or not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "words"), SHAPES)
def test_wrong_values(good: Path, key: str, value: Any, words: str) -> None:
    message = refusal(good, put(key, value))
    assert words in message
    # The limit or the way out.
    assert "; " in message


def test_complex_weights(good: Path) -> None:
    message = refusal(good, put("3/weight", None), put("3/weight/real", 1.0), put("3/weight/imag", 1.0))
    assert "layer/3/weight is a group of imag, real: complex weights are not supported" in message


def test_layers_in_a_wrong_order(good: Path) -> None:
    def swap(file: h5py.File) -> None:
        file.move("layer/0", "spare")
        file.move("layer/1", "layer/0")
        file.move("spare", "layer/1")

    message = refusal(good, swap)
    assert 'layer/1/type is "input", but layers come before it; only layer 0 may be an input' in message


def test_a_convolution_after_the_flatten(good: Path) -> None:
    with h5py.File(good, "a") as file:
        file.copy("layer/1", "copy")
    message = refusal(good, put("3", None), lambda file: file.move("copy", "layer/3"))
    assert 'layer/3/type is "conv", but the layer before has no rows and columns' in message


def test_a_dense_layer_without_the_flatten(good: Path) -> None:
    def remove(file: h5py.File) -> None:
        del file["layer/2"]
        file.move("layer/3", "layer/2")
        file.move("layer/4", "layer/3")

    assert "put a flatten between them" in refusal(good, remove)


def test_a_flatten_that_comes_first(good: Path) -> None:
    message = refusal(good, put("0", None), lambda file: file.copy("layer/2", "layer/0"))
    assert 'layer/0/type is "flatten", but nothing comes before it' in message


def test_a_first_convolution_with_a_stride(good: Path) -> None:
    def remove(file: h5py.File) -> None:
        del file["layer/0"]
        for i in range(4):
            file.move(f"layer/{i + 1}", f"layer/{i}")
        file["layer/0/stride"][()] = [2, 1]

    message = refusal(good, remove)
    assert "layer/0/stride is [2, 1] and no input layer comes before" in message
    assert "export the network with an input layer" in message


def test_a_recurrent_layer_with_a_delay_is_refused(good: Path) -> None:
    edits = [put("3/type", b"dense_rec"), put("3/weight_rec", np.ones((3, 3))), put("3/delay", 1.0)]
    assert "layer/3/delay stands in a dense_rec layer, which is not supported" in refusal(good, *edits)


def test_wrong_recurrent_weights(good: Path) -> None:
    message = refusal(good, put("3/type", b"dense_rec"), put("3/weight_rec", np.ones((3, 2))))
    assert "layer/3/weight_rec has shape (3, 2); give (3, 3)" in message
    assert "layer/3/weight_rec is missing" in refusal(good, put("3/weight_rec", None))


def test_a_sigma_output_with_a_bias_is_refused(good: Path) -> None:
    message = refusal(good, put("4/bias", [1.0, 2.0]))
    assert "layer/4/neuron/sigma_output stands in a layer with a bias" in message


# Options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"rounding": "corect"},
            'rounding "corect" is not known; use one of default, corrected; did you mean',
        ),
        ({"reset_interval": -1}, "reset_interval is -1"),
        ({"reset_offset": -1}, "reset_offset is -1"),
        ({"reset_interval": 16}, "reset_interval is for CUBA layers; it has none: leave it out"),
        ({"reset_offset": 1}, "reset_offset is given without reset_interval"),
    ],
)
def test_options_that_are_wrong_or_that_nothing_takes(good: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_netx(good, **options)
    assert words in str(caught.value)


def test_options_of_sigma_delta_for_a_cuba_network(tmp_path: Path) -> None:
    path = tmp_path / "cuba.net"
    layers = [Layer("input", (2,), CubaLif(1, 2, 64)), Layer("dense1", (1,), CubaLif(1, 2, 64))]
    write_netx(Network(layers, [Connection(("input",), "dense1", Dense([[1, 2]]))]), path)
    for options in ({"rounding": "corrected"}, {"cum_error": True}):
        with pytest.raises(ModelError, match="rounding and cum_error are for sigma-delta layers"):
            read_netx(path, **options)
    assert "iDecay is [4097]" in refusal(path, put("1/neuron/iDecay", 4097))
    assert "vThMant is [131072]" in refusal(path, put("1/neuron/vThMant", 131072))


# Memory


@pytest.mark.parametrize(
    "edits",
    [
        [put("0/shape", [10**9, 10**9, 1])],
        [put("0/shape", [1, 46340, 46340]), put("1/shape", [1, 1, 1])],
        [declare("3/weight", (10**9, 10**9))],
        [declare("3/weight", (3, 10**12))],
        [declare("1/weight", (10**5, 10**5, 3, 3))],
        [declare("3/bias", (10**12,))],
        [put("1/padding", 10**9), put("1/dilation", 10**9)],
    ],
)
def test_huge_shapes_take_no_memory(good: Path, edits: list[Edit]) -> None:
    tracemalloc.start()
    try:
        refusal(good, *edits)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_text_that_promises_gigabytes_is_not_read(good: Path) -> None:
    with h5py.File(good, "a") as file:
        put("3/neuron/type", "SDNN")(file)
        offset = file["layer/3/neuron/type"].id.get_offset()
    assert read_netx(good).layers
    damaged = bytearray(good.read_bytes())
    damaged[offset : offset + 4] = (4_000_000_000).to_bytes(4, "little")
    good.write_bytes(damaged)
    with pytest.raises(ModelError, match="layer/3/neuron/type promises a text of 4000000000 bytes"):
        read_netx(good)


def test_a_huge_network_that_is_right_takes_no_memory_to_read(good: Path) -> None:
    with h5py.File(good, "a") as file:
        for key, value in (("0/shape", [1, 20001, 20001]), ("1/shape", [2, 20000, 20000])):
            put(key, value)(file)
        for layer in "432":
            del file[f"layer/{layer}"]
    tracemalloc.start()
    try:
        assert read_netx(good).size == 20001**2 + 2 * 20000**2
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


# Anything at all

KEYS = [
    f"{layer}/{key}"
    for layer, keys in {
        0: ("type", "shape", "neuron/type", "neuron/vThMant"),
        1: ("type", "shape", "weight", "bias", "stride", "padding", "dilation", "groups", "kernelSize"),
        2: ("type", "shape"),
        3: ("type", "shape", "weight", "bias", "delay", "neuron/vThMant", "neuron/activation"),
        4: ("type", "shape", "weight", "neuron/sigma_output", "neuron"),
    }.items()
    for key in keys
]
ODD = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.binary(min_size=1, max_size=9).map(lambda v: v.replace(b"\x00", b"0")),
    st.sampled_from([b"conv", b"dense", b"dense_rec", b"input", b"flatten", b"CUBA", b"relu"]),
    st.lists(st.integers(-3, 30), max_size=4).map(lambda v: np.array(v, dtype=np.int64)),
    st.lists(st.integers(0, 4), min_size=1, max_size=5).map(lambda shape: np.ones(shape, dtype=np.float32)),
    st.just(h5py.Empty("f4")),
    st.just(np.array(1 + 2j)),
    st.just(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")])),
)


@given(st.lists(st.tuples(st.sampled_from(KEYS), ODD), min_size=1, max_size=3))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_edit_gives_a_network_or_a_clear_error(good: Path, edits: list[tuple[str, Any]]) -> None:
    path = good.with_name("edited.net")
    path.write_bytes(good.read_bytes())
    with h5py.File(path, "a") as file:
        for key, value in edits:
            parent = file.get(f"layer/{key.rpartition('/')[0]}")
            if isinstance(parent, h5py.Group):
                put(key, value)(file)
    try:
        assert read_netx(path).layers
    except ModelError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - a valid edit is as good as a refused one


def test_what_is_no_path_is_named() -> None:
    with pytest.raises(InputError, match=r"load takes the path of a file, not 3 \(int\)"):
        neurosim.load(3)  # type: ignore[arg-type]
