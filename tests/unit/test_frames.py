"""Input frames: the layouts recognised, the lists spread out, and what is refused with which words."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurosim.errors import InputError
from neurosim.formats import read_frames
from neurosim.network import Delta, Layer

IMAGE = Layer("input", (2, 3, 4), Delta(0))
SQUARE = Layer("input", (3, 2, 3), Delta(0))
FLAT = Layer("input", (5,), Delta(0))


def stored(folder: Path, array: Any, name: str = "frames.npy") -> Path:
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        np.savez(path, **array)
    return path


def numbered(*shape: int) -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


# Dense arrays


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_channels_first(tmp_path: Path, suffix: str) -> None:
    array = numbered(5, 2, 3, 4)
    path = stored(tmp_path, array if suffix == "npy" else {"frames": array}, f"a.{suffix}")
    frames = read_frames(path, IMAGE)
    assert frames.values.tolist() == array.reshape(5, 24).tolist()
    assert frames.layout == "TCHW"
    assert frames.notes == ("frames have the order (timestep, C, H, W)",)


def test_the_order_of_lava_is_recognised_and_turned(tmp_path: Path) -> None:
    array = numbered(5, 4, 3, 2)
    frames = read_frames(stored(tmp_path, array), IMAGE)
    expected = [[array[t, w, h, c] for c in range(2) for h in range(3) for w in range(4)] for t in range(len(array))]
    assert frames.values.tolist() == expected
    assert frames.layout == "TWHC"
    assert frames.notes == ("frames have lava's order (timestep, W, H, C)",)
    assert frames.values.flags.c_contiguous


def test_flat_frames_for_any_layer(tmp_path: Path) -> None:
    for layer in (IMAGE, FLAT):
        array = numbered(3, layer.size)
        frames = read_frames(stored(tmp_path, array), layer)
        assert frames.values.tolist() == array.tolist()
        assert (frames.layout, frames.notes) == ("TN", ())


def test_a_shape_that_fits_both_orders_needs_the_layout(tmp_path: Path) -> None:
    array = numbered(2, 3, 2, 3)
    path = stored(tmp_path, array)
    with pytest.raises(InputError, match=r"fits .* alike; say which with --layout TCHW or --layout TWHC"):
        read_frames(path, SQUARE)
    first, turned = read_frames(path, SQUARE, "TCHW"), read_frames(path, SQUARE, "TWHC")
    assert first.values.tolist() == array.reshape(2, -1).tolist()
    assert turned.values.tolist() == array.transpose(0, 3, 2, 1).reshape(2, -1).tolist()
    assert (first.layout, turned.layout) == ("TCHW", "TWHC")
    assert first.notes == turned.notes == ()


def test_a_cube_needs_the_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--layout TCHW or --layout TWHC"):
        read_frames(stored(tmp_path, numbered(2, 2, 2, 2)), Layer("input", (2, 2, 2), Delta(0)))


def test_one_channel_and_one_column_are_the_same_in_both_orders(tmp_path: Path) -> None:
    frames = read_frames(stored(tmp_path, numbered(2, 1, 3, 1)), Layer("input", (1, 3, 1), Delta(0)))
    assert frames.values.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("shape", "layer", "layout", "words"),
    [
        ((5, 4, 3, 2), IMAGE, "TCHW", r"layout TCHW takes \(timesteps, 2, 3, 4\): use layout TWHC"),
        ((5, 2, 3, 4), IMAGE, "TWHC", "use layout TCHW"),
        ((5, 24), IMAGE, "TCHW", "leave the layout out"),
        ((5, 9, 9, 9), IMAGE, "TCHW", "reshape it"),
        ((5, 5), FLAT, "TCHW", r"does not apply to layer input of shape \(5,\); leave it out"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(
    tmp_path: Path, shape: tuple[int, ...], layer: Layer, layout: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_frames(stored(tmp_path, numbered(*shape)), layer, layout)


@pytest.mark.parametrize("shape", [(5, 3, 2, 4), (2, 3, 4), (24,), (), (5, 24, 1), (5, 2, 3, 4, 1)])
def test_a_shape_that_fits_nothing_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        read_frames(stored(tmp_path, numbered(*shape)), IMAGE)
    message = str(caught.value)
    assert f"has shape {shape}" in message
    assert "(timesteps, 2, 3, 4) or (timesteps, 4, 3, 2) or (timesteps, 24)" in message


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (0, 24)])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_no_frames_are_refused(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    array = np.zeros(shape, dtype=np.int16)
    with pytest.raises(InputError, match="holds no frames; give at least one"):
        read_frames(stored(tmp_path, array if suffix == "npy" else {"frames": array}, f"a.{suffix}"), IMAGE)


@pytest.mark.parametrize(
    ("dtype", "values", "kept"),
    [
        (np.uint8, [0, 255], np.int16),
        (np.bool_, [False, True], np.int16),
        (np.int64, [-32768, 32767], np.int16),
        (np.uint16, [0, 32768], np.int32),
        (np.int64, [-(2**31) + 1, 2**31 - 1], np.int32),
        (np.dtype(">i4"), [-7, 70000], np.int32),
    ],
)
def test_integers_are_kept_in_the_fewest_bytes(tmp_path: Path, dtype: Any, values: list[int], kept: Any) -> None:
    layer = Layer("input", (2,), Delta(0))
    frames = read_frames(stored(tmp_path, np.array([values], dtype=dtype)), layer)
    assert frames.values.tolist() == [[int(v) for v in values]]
    assert frames.values.dtype == kept


@pytest.mark.parametrize(("value", "dtype"), [(2**31, np.int64), (-(2**31), np.int64), (2**63, np.uint64)])
def test_values_beyond_32_bits_are_refused_with_their_place(tmp_path: Path, value: int, dtype: Any) -> None:
    array = np.zeros((3, 5), dtype=dtype)
    array[2, 1] = value
    with pytest.raises(InputError, match=rf"\[2, 1\] is {value}; values must lie in \+-2147483647"):
        read_frames(stored(tmp_path, array), FLAT)


def test_floats_are_refused_even_where_they_hold_integers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dtype float32; frames are integers.*scale.*1\.0 is 64.*round"):
        read_frames(stored(tmp_path, np.ones((3, 5), dtype=np.float32)), FLAT)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named(tmp_path: Path, value: float) -> None:
    array = np.zeros((3, 5))
    array[1, 4] = value
    with pytest.raises(InputError, match=rf"\[1, 4\] is {value}"):
        read_frames(stored(tmp_path, array), FLAT)


def test_the_frames_are_no_view_of_the_file(tmp_path: Path) -> None:
    path = stored(tmp_path, numbered(2, 5))
    frames = read_frames(path, FLAT)
    np.save(path, np.zeros((2, 5), dtype=np.int16))
    assert frames.values.tolist() == numbered(2, 5).tolist()


# Coordinate lists


def listed(folder: Path, entries: list[tuple[int, int, int]], suffix: str) -> Path:
    path = folder / f"list.{suffix}"
    if suffix == "csv":
        path.write_text("timestep,neuron,value\n" + "".join(f"{t},{n},{v}\n" for t, n, v in entries))
    else:
        names = ("timestep", "neuron", "value")
        columns = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        np.savez(path, **dict(zip(names, columns, strict=True)))
    return path


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_a_list_is_spread_over_timesteps_from_1(tmp_path: Path, suffix: str) -> None:
    frames = read_frames(listed(tmp_path, [(3, 4, -7), (1, 0, 64), (1, 2, 5)], suffix), FLAT)
    assert frames.values.tolist() == [[64, 0, 5, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, -7]]
    assert frames.values.dtype == np.int16
    assert frames.layout == "coordinates"


coordinates = st.dictionaries(
    st.tuples(st.integers(1, 6), st.integers(0, 23)), st.integers(-(2**31) + 1, 2**31 - 1), min_size=1
)


@given(coordinates, st.sampled_from(["csv", "npz"]), st.randoms())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_in_any_order_is_its_dense_frames(
    tmp_path: Path, values: dict[tuple[int, int], int], suffix: str, random: Any
) -> None:
    entries = [(t, n, v) for (t, n), v in values.items()]
    random.shuffle(entries)
    dense = np.zeros((max(t for t, _ in values), 24), dtype=np.int64)
    for (t, n), v in values.items():
        dense[t - 1, n] = v
    from_list = read_frames(listed(tmp_path, entries, suffix), IMAGE)
    assert from_list.values.tolist() == dense.tolist()
    assert from_list.values.tolist() == read_frames(stored(tmp_path, dense), IMAGE).values.tolist()


@pytest.mark.parametrize("suffix", ["csv", "npz"])
@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([(1, 0, 1), (0, 0, 1)], "timestep is 0; timesteps count from 1"),
        ([(1, 0, 1), (-3, 0, 1)], "timestep is -3"),
        ([(1, 0, 1), (1, 5, 1)], r"neuron is 5; layer input has 0\.\.4"),
        ([(1, 0, 1), (1, -1, 1)], "neuron is -1"),
        ([(2, 3, 1), (2, 3, 1)], "timestep 2, neuron 3 is given before; give each pair once"),
        ([(1, 0, 1), (1 << 40, 0, 1)], "timestep is 1099511627776; .* cut it into several runs"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(
    tmp_path: Path, suffix: str, entries: list[tuple[int, int, int]], words: str
) -> None:
    place = "line 3: " if suffix == "csv" else "entry 1: "
    with pytest.raises(InputError, match=place + words):
        read_frames(listed(tmp_path, entries, suffix), FLAT)


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_wrong_lists_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match="holds no frames; give at least one"):
        read_frames(listed(tmp_path, [], suffix), FLAT)
    with pytest.raises(InputError, match=r"\[1\] is 2147483648; values must lie in"):
        read_frames(listed(tmp_path, [(1, 0, 1), (1, 1, 1 << 31)], suffix), FLAT)
    with pytest.raises(InputError, match="layout TCHW is given for a coordinate list"):
        read_frames(listed(tmp_path, [(1, 0, 1)], suffix), IMAGE, "TCHW")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'line 1 is ""; it must be "timestep,neuron,value"'),
        ("1,2,3\n", 'line 1 is "1,2,3"; it must be'),
        ("timestep,value,neuron\n1,2,3\n", "it must be"),
        ("timestep,neuron,value\n1,2,3\n1,2,3.5\n", 'line 3 is "1,2,3.5"; give three integers'),
        ("timestep,neuron,value\n1,2,nan\n", 'line 2 is "1,2,nan"'),
        ("timestep,neuron,value\n1,2\n", 'line 2 is "1,2"'),
        ("timestep,neuron,value\n1,2,3\n1,2,3,4\n", 'line 3 is "1,2,3,4"'),
        ("timestep,neuron,value\n1,2,3\n\n1,3,4\n", 'line 3 is ""'),
        (f"timestep,neuron,value\n1,2,{10**30}\n", 'line 2 is "1,2,1000'),
        ("timestep,neuron,value\n1,2,1_0\n", 'line 2 is "1,2,1_0"'),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_frames(path, FLAT)


def test_spaces_blank_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("\ufefftimestep, neuron, value\n1, 2, -3\n\n\n", encoding="utf-8")
    assert read_frames(path, FLAT).values.tolist() == [[0, 0, -3, 0, 0]]


def test_arrays_of_unlike_length_or_kind_are_refused(tmp_path: Path) -> None:
    one, two = np.array([1]), np.array([1, 2])
    with pytest.raises(InputError, match=r"neuron has shape \(2,\), timestep \(1,\); give lists of one length"):
        read_frames(stored(tmp_path, {"timestep": one, "neuron": two, "value": one}, "a.npz"), FLAT)
    with pytest.raises(InputError, match="value has dtype float64; frames are integers"):
        read_frames(stored(tmp_path, {"timestep": one, "neuron": one, "value": one * 0.5}, "a.npz"), FLAT)


# Files


def test_arrays_beside_the_frames_are_named(tmp_path: Path) -> None:
    path = stored(tmp_path, {"frames": numbered(2, 5), "labels": np.zeros(2)}, "a.npz")
    assert read_frames(path, FLAT).notes == ("not read: labels",)


def test_archives_without_frames_or_with_both_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='holds timestep, x; frames are an array "frames"'):
        read_frames(stored(tmp_path, {"x": numbered(2, 5), "timestep": numbered(2)}, "a.npz"), FLAT)
    both = dict.fromkeys(["frames", "timestep", "neuron", "value"], numbered(2, 5))
    with pytest.raises(InputError, match="remove one of them"):
        read_frames(stored(tmp_path, both, "a.npz"), FLAT)


def test_files_that_cannot_be_found_or_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_frames(tmp_path / "missing.npy", FLAT)
    with pytest.raises(InputError, match="is no file"):
        read_frames(tmp_path, FLAT)
    odd = tmp_path / "frames.nyp"
    odd.touch()
    with pytest.raises(InputError, match=r'suffix "\.nyp" is not known; did you mean "\.np[yz]"'):
        read_frames(odd, FLAT)
    with pytest.raises(InputError, match='layout "TCWH" is not known; use TCHW or TWHC'):
        read_frames(odd, FLAT, "TCWH")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_python_objects_are_never_loaded(tmp_path: Path, suffix: str) -> None:
    array = np.array([[print]], dtype=object)
    with pytest.raises(InputError, match="holds Python objects, which are not loaded"):
        read_frames(stored(tmp_path, array if suffix == "npy" else {"frames": array}, f"a.{suffix}"), FLAT)


def test_an_archive_under_the_name_of_an_array_is_refused(tmp_path: Path) -> None:
    stored(tmp_path, {"frames": numbered(2, 5)}, "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(InputError, match=r"name it \.npz"):
        read_frames(tmp_path / "a.npy", FLAT)


def header(shape: tuple[int, ...]) -> bytes:
    """Return a .npy file that promises `shape` and holds 16 bytes."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<i2", "fortran_order": False, "shape": shape})
    return out.getvalue() + bytes(16)


def as_npy(folder: Path, content: bytes) -> Path:
    path = folder / "a.npy"
    path.write_bytes(content)
    return path


def as_npz(folder: Path, content: bytes) -> Path:
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("frames.npy", content)
    return path


@pytest.mark.parametrize("write", [as_npy, as_npz])
@pytest.mark.parametrize("shape", [(10**9, 5), (10**12, 10**12), (-5, 5)])
def test_a_header_that_promises_too_much_takes_no_memory(
    tmp_path: Path, write: Callable[[Path, bytes], Path], shape: tuple[int, ...]
) -> None:
    path = write(tmp_path, header(shape))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"a\.np[yz]"):
            read_frames(path, FLAT)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == "csv":
        whole = b"timestep,neuron,value\n1,2,3\n"
    else:
        array = numbered(2, 5)
        whole = stored(tmp_path, array if suffix == "npy" else {"frames": array}, f"a.{suffix}").read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    # The last line of a .csv may end without its newline, and a number cut short is still a number.
    for length in range(len(whole) - (3 if suffix == "csv" else 1)):
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError, match=f"cut.{suffix}"):
            read_frames(cut, FLAT)


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv"])
def test_noise_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"noise.{suffix}"
    path.write_bytes(np.random.default_rng(5).bytes(2000))
    with pytest.raises(InputError, match="noise"):
        read_frames(path, FLAT)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_flipped_bytes_are_frames_or_a_clear_error(tmp_path: Path, suffix: str) -> None:
    array = numbered(2, 5)
    path = stored(tmp_path, array if suffix == "npy" else {"frames": array}, f"a.{suffix}")
    whole = path.read_bytes()
    rng = np.random.default_rng(7)
    refusals = []
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            assert read_frames(path, FLAT).values.shape[1] == 5
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > len(whole) // 4
    assert all(refusal.startswith(str(path)) for refusal in refusals)
