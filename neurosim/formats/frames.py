"""Input frames from files: dense arrays, or lists of (timestep, neuron, value)."""

from __future__ import annotations

import math
import re
import tokenize
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError, suggest
from neurosim.formats.array_files import in_words, why_no_arrays
from neurosim.network import Layer

Integers = NDArray[np.signedinteger[Any]]

LAYOUTS = ("TCHW", "TWHC")
SUFFIXES = (".npy", ".npz", ".csv")
COORDINATES = ("timestep", "neuron", "value")
HIGHEST_VALUE = (1 << 31) - 1
"""Frames are kept in at most 32 bits."""
MAX_FRAME_VALUES = 1 << 30
"""Largest frames that a coordinate list may span, in values."""
UNITS_WAY_OUT = (
    "frames are integers in the network's units: scale (1.0 is 64 for a NetX network), round, save as integers"
)

# What numpy and zipfile raise on damaged files; a damaged header is parsed as Python text.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    OverflowError,
    MemoryError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Frames:
    """What an input layer is fed with.

    Attributes
    ----------
    values
        int16 or int32 (T, n): frame t feeds timestep t + 1; neurons in C, H, W order.
    layout
        How the file held them: ``TCHW``, ``TWHC``, ``TN`` or ``coordinates``.
    notes
        Sentences on what was recognised rather than told.
    """

    values: Integers
    layout: str
    notes: tuple[str, ...]


def read_frames(path: str | Path, layer: Layer, layout: str | None = None) -> Frames:
    """Read the frames that feed `layer`.

    Parameters
    ----------
    path
        ``.npy``, or ``.npz`` with an array ``frames``: integers (T, C, H, W), in lava's order
        (T, W, H, C), or (T, n) with neurons in C, H, W order. Or ``.npz`` with arrays ``timestep``,
        ``neuron``, ``value``, or ``.csv`` with that header: timesteps count from 1, neurons from 0 in
        C, H, W order; what is not listed is 0, and the largest timestep is the number of frames.
    layer
        The input layer.
    layout
        ``TCHW`` or ``TWHC``; None to recognise it where the shape fits one alone.

    Raises
    ------
    InputError
        The file is missing or cannot be loaded; shape, dtype or values are wrong; the shape fits both
        layouts and none is given, or does not fit the one given.
    """
    path = Path(path)
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f'layout "{layout}" is not known; use TCHW or TWHC')
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise InputError(f"{path}: is no file; give the file of frames itself")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f'{path}: suffix "{path.suffix}" is not known{suggest(suffix, SUFFIXES)}; '
            f"frames come as {', '.join(SUFFIXES)}"
        )
    if suffix == ".csv":
        return _from_list(_load_csv(path), path, layer, layout)
    if suffix == ".npy":
        return _from_array(_load_npy(path), str(path), layer, layout, ())
    arrays, others = _load_npz(path)
    if "frames" in arrays:
        notes = (f"not read: {', '.join(others)}",) if others else ()
        return _from_array(arrays["frames"], f"{path}: frames", layer, layout, notes)
    return _from_list([arrays[name] for name in COORDINATES], path, layer, layout)


def _load_npy(path: Path) -> NDArray[Any]:
    try:
        if zipfile.is_zipfile(path):
            raise InputError(f"{path}: is an archive of arrays; name it .npz")
        if why := why_no_arrays(path, archives=False):
            raise ValueError(why)
        with path.open("rb") as file:
            _check_promise(file, path.stat().st_size, str(path))
        # Mapped, so that nothing is read before its shape is known to fit.
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except _LOADING_ERRORS as error:
        raise InputError(f"{path}: cannot be read as .npy ({in_words(error)}); save it anew with numpy.save") from error
    return array


def _load_npz(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the arrays that make frames, and the names of the others."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = ("frames",) if "frames" in stored else COORDINATES
            if not set(wanted) <= set(stored):
                raise InputError(
                    f"{path}: holds {', '.join(sorted(stored)[:20]) or 'nothing'}; "
                    'frames are an array "frames", or arrays "timestep", "neuron" and "value"'
                )
            if "frames" in stored and set(COORDINATES) <= set(stored):
                raise InputError(f'{path}: holds "frames" and a coordinate list; remove one of them')
            for name in wanted:
                with archive.open(stored[name]) as member:
                    _check_promise(member, stored[name].file_size, f"{path}: {name}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in wanted}
    except _LOADING_ERRORS as error:
        raise InputError(
            f"{path}: cannot be read as .npz ({in_words(error)}); save it anew with numpy.savez_compressed"
        ) from error
    return arrays, sorted(set(stored) - set(wanted))


def _check_promise(file: IO[bytes], size: int, place: str) -> None:
    """Refuse a .npy whose header promises what its `size` in bytes denies, before memory is asked for."""
    version = np.lib.format.read_magic(file)
    parts = np.lib.format
    read = parts.read_array_header_1_0 if version == (1, 0) else parts.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise InputError(f"{place}: holds Python objects, which are not loaded; {UNITS_WAY_OUT}")
    if min(shape, default=0) < 0 or 0 in shape:
        raise InputError(f"{place}: has shape {shape}, so it holds no frames; give at least one")
    promised, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if promised != held:
        raise InputError(
            f"{place}: has shape {shape} and dtype {dtype}, {promised} bytes, but holds {held}; save it anew"
        )


def _load_csv(path: Path) -> list[NDArray[Any]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = [name.strip() for name in file.readline().split(",")]
            if header != list(COORDINATES):
                raise InputError(f'{path}: line 1 is "{",".join(header)[:80]}"; it must be "{",".join(COORDINATES)}"')
            lines = file.read().rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({in_words(error)}); save it as UTF-8 text") from error
    if not lines:
        raise InputError(f"{path}: lists no values, so it holds no frames; give at least one")
    try:
        with warnings.catch_warnings():
            # That 1.5 is read as 1 is only warned of.
            warnings.simplefilter("error")
            table = np.loadtxt(lines, dtype=np.int64, delimiter=",", comments=None, ndmin=2)
        # A blank line is passed over, and would shift the numbers of the lines that errors name.
        if table.shape == (len(lines), 3):
            return list(table.T)
    except (ValueError, OverflowError, Warning):
        pass
    doubtful = ((n, line) for n, line in enumerate(lines, 2) if not _is_coordinate(line))
    number, line = next(doubtful, (2, lines[0]))
    raise InputError(f'{path}: line {number} is "{line[:80]}"; give three integers of 64 bits')


def _is_coordinate(line: str) -> bool:
    words = line.split(",")
    return len(words) == 3 and all(re.fullmatch(r"\s*-?[0-9]{1,18}\s*", word) for word in words)


def _from_array(array: NDArray[Any], place: str, layer: Layer, layout: str | None, notes: tuple[str, ...]) -> Frames:
    found, said = _recognise(array.shape, place, layer, layout)
    values = _compact(array, place)
    if found == "TWHC":
        values = values.transpose(0, 3, 2, 1)
    values = np.ascontiguousarray(values.reshape(len(values), layer.size))
    return Frames(values, found, notes + said)


def _recognise(shape: tuple[int, ...], place: str, layer: Layer, layout: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the layout that an array of `shape` has, and what to say about it."""
    flat = (layer.size,)
    orders = {"TCHW": layer.shape, "TWHC": layer.shape[::-1]} if len(layer.shape) == 3 else {}
    accepted = {name: f"(timesteps, {', '.join(map(str, order))})" for name, order in orders.items()}
    accepted["TN"] = f"(timesteps, {layer.size})"
    choice = " or ".join(dict.fromkeys(accepted.values()))
    if layout is not None:
        if layout not in orders:
            raise InputError(
                f"{place}: layout {layout} does not apply to layer {layer.name} of shape {layer.shape}; leave it out"
            )
        if shape[1:] != orders[layout]:
            fitting = [name for name, order in orders.items() if shape[1:] == order]
            way_out = f"use layout {fitting[0]}" if fitting else "leave the layout out" if shape[1:] == flat else ""
            raise InputError(
                f"{place}: has shape {shape}; layer {layer.name} in layout {layout} takes {accepted[layout]}"
                + (f": {way_out}" if way_out else "; reshape it")
            )
        return layout, ()
    fitting = [name for name, order in orders.items() if shape[1:] == order]
    # With one channel and one column both orders are the same array.
    if len(fitting) == 2 and layer.shape[0] == layer.shape[2] == 1:
        return "TCHW", ()
    if len(fitting) == 2:
        raise InputError(
            f"{place}: has shape {shape}, which fits (timestep, C, H, W) and (timestep, W, H, C) alike; "
            "say which with --layout TCHW or --layout TWHC"
        )
    if fitting == ["TWHC"]:
        return "TWHC", ("frames have lava's order (timestep, W, H, C)",)
    if fitting == ["TCHW"]:
        return "TCHW", ("frames have the order (timestep, C, H, W)",)
    if shape[1:] == flat:
        return "TN", ()
    raise InputError(
        f"{place}: has shape {shape}; layer {layer.name} takes {choice}: reshape it, or check that it "
        "belongs to this network"
    )


def _compact(array: NDArray[Any], place: str) -> Integers:
    """Return integers in 16 bits where all fit, else in 32."""
    if array.dtype.kind not in "iub":
        found = f"{place}: has dtype {array.dtype}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            found += f", and {list(index)} is {array[index]}"
        raise InputError(f"{found}; {UNITS_WAY_OUT}")
    low, high = int(array.min()), int(array.max())
    if low < -HIGHEST_VALUE or high > HIGHEST_VALUE:
        worst = array.argmin() if low < -HIGHEST_VALUE else array.argmax()
        index = tuple(int(i) for i in np.unravel_index(worst, array.shape))
        raise InputError(
            f"{place}: {list(index)} is {array[index]}; values must lie in +-{HIGHEST_VALUE}: scale them down"
        )
    fits = low >= -(1 << 15) and high < 1 << 15
    # A copy, since `array` may be a view of the file.
    compact: Integers = np.array(array, dtype=np.int16 if fits else np.int32)
    return compact


def _from_list(columns: list[NDArray[Any]], path: Path, layer: Layer, layout: str | None) -> Frames:
    if layout is not None:
        raise InputError(f"{path}: layout {layout} is given for a coordinate list, which has none; leave it out")
    timestep, neuron, value = columns
    for name, column in zip(COORDINATES, columns, strict=True):
        if column.ndim != 1 or column.size != timestep.size:
            raise InputError(
                f"{path}: {name} has shape {column.shape}, timestep {timestep.shape}; give lists of one length"
            )
        if column.dtype.kind not in "iu":
            way_out = UNITS_WAY_OUT if name == "value" else "give integers"
            raise InputError(f"{path}: {name} has dtype {column.dtype}; {way_out}")
    # A .csv counts its lines from 1 and begins with the header; arrays count from 0.
    first, unit = (2, "line") if path.suffix.lower() == ".csv" else (0, "entry")

    def where(wrong: NDArray[np.bool_]) -> tuple[int, str]:
        entry = int(np.flatnonzero(wrong)[0])
        return entry, f"{path}: {unit} {entry + first}:"

    if (timestep < 1).any():
        entry, place = where(timestep < 1)
        raise InputError(f"{place} timestep is {timestep[entry]}; timesteps count from 1")
    if (neuron < 0).any() or (neuron >= layer.size).any():
        entry, place = where((neuron < 0) | (neuron >= layer.size))
        raise InputError(
            f"{place} neuron is {neuron[entry]}; layer {layer.name} has 0..{layer.size - 1}, in C, H, W order"
        )
    frames = int(timestep.max())
    if frames > MAX_FRAME_VALUES // layer.size:
        _, place = where(timestep == frames)
        raise InputError(
            f"{place} timestep is {frames}; a layer of {layer.size} neurons takes up to "
            f"{MAX_FRAME_VALUES // layer.size} frames from a list: cut it into several runs"
        )
    compact = _compact(value, f"{path}: value")
    index = (timestep.astype(np.int64) - 1) * layer.size + neuron.astype(np.int64)
    order = np.argsort(index, kind="stable")
    again = np.zeros(index.size, dtype=bool)
    again[order[1:]] = index[order][1:] == index[order][:-1]
    if again.any():
        entry, place = where(again)
        raise InputError(
            f"{place} timestep {timestep[entry]}, neuron {neuron[entry]} is given before; give each pair once"
        )
    values = np.zeros(frames * layer.size, dtype=compact.dtype)
    values[index] = compact
    return Frames(values.reshape(frames, layer.size), "coordinates", ())
