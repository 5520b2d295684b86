"""Dense networks and calibration frames from files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError, ModelError, join_errors, suggest
from neurosim.formats.array_files import in_words, why_no_arrays
from neurosim.formats.dense_graph import Activation, DenseGraph, Input, Linear, Node

_LOADING_ERRORS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError)


def read_dense(path: str | Path) -> DenseGraph:
    """Read a dense network from a file whose suffix says its format.

    Parameters
    ----------
    path
        ``.npz``: see `read_dense_npz`; ``.onnx``: see `neurosim.formats.read_onnx`. A PyTorch module is no file: give
        `neurosim.formats.read_torch` the module itself.

    Raises
    ------
    ModelError
        The suffix is not known, or the file is wrong.
    InputError
        An extra that the format needs is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in READERS:
        raise ModelError(
            f'{path}: suffix "{Path(path).suffix}" is not known{suggest(suffix, READERS)}; '
            f"dense networks come as {', '.join(READERS)}"
        )
    return READERS[suffix](path)


def read_dense_npz(path: str | Path) -> DenseGraph:
    """Read a chain of linear layers with ReLU between them: arrays w0, b0, w1, b1, ...

    Weights are (in, out), biases (out,); a layer may lack its bias. The last layer has no ReLU.

    Raises
    ------
    ModelError
        The file is missing or damaged, or its arrays do not fit each other. All errors at once.
    """
    arrays = _load(Path(path), ModelError)
    if not isinstance(arrays, dict):
        raise ModelError(f"{path}: holds one array; a dense network has arrays w0, b0, w1, b1, ...")
    errors = [
        f'"{name}" is not known; arrays are w0, b0, w1, b1, ...'
        for name in arrays
        if not re.fullmatch(r"[wb]\d+", name)
    ]
    count = sum(name.startswith("w") for name in arrays)
    errors += [
        f"{name} belongs to no weights: there are w0..w{count - 1}; rename it or leave it out"
        for name in arrays
        if count and re.fullmatch(r"b\d+", name) and f"w{name[1:]}" not in arrays
    ]
    nodes: list[Node] = []
    for i in range(count):
        weights = arrays.get(f"w{i}")
        if weights is None or weights.ndim != 2 or weights.dtype.kind not in "fiu" or not weights.size:
            errors.append(
                f"w{i} is {'missing' if weights is None else list(weights.shape)}; it must be numbers (in, out)"
            )
            break
        if not nodes:
            nodes.append(Input("input", (), (weights.shape[0],)))
        bias = arrays.get(f"b{i}", np.zeros(weights.shape[1]))
        if bias.shape != (weights.shape[1],) or bias.dtype.kind not in "fiu":
            errors.append(f"b{i} has shape {list(bias.shape)}; w{i} asks for {[weights.shape[1]]}")
            break
        last = nodes[-1].name
        nodes.append(Linear(f"dense{i + 1}", (last,), weights.T.astype(np.float64), bias.astype(np.float64)))
        if i < count - 1:
            nodes.append(Activation(f"relu{i + 1}", (f"dense{i + 1}",)))
    if not count:
        errors.append("holds no weights; arrays are w0, b0, w1, b1, ...")
    if errors:
        raise ModelError(join_errors(str(path), errors))
    try:
        return DenseGraph(nodes, name=Path(path).stem)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _read_onnx(path: str | Path) -> DenseGraph:
    from neurosim.formats.onnx_read import read_onnx

    return read_onnx(path)


READERS: dict[str, Callable[[str | Path], DenseGraph]] = {".npz": read_dense_npz, ".onnx": _read_onnx}
"""Readers by suffix."""


def read_samples(path: str | Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read samples, and their labels where the file has some.

    Parameters
    ----------
    path
        ``.npy``: an array (frames, ...); ``.npz``: arrays `inputs`, and `labels` (frames,) if known.

    Raises
    ------
    InputError
        The file is missing, damaged, or holds something else.
    """
    found = _load(Path(path), InputError)
    if not isinstance(found, dict):
        return _numbers(found, path), None
    unknown = sorted(set(found) - {"inputs", "labels"})
    if "inputs" not in found or unknown:
        names = ", ".join(found) or "nothing"
        raise InputError(f'{path}: holds {names}; give the samples as "inputs" and their classes as "labels"')
    return _numbers(found["inputs"], path), found.get("labels")


def _numbers(array: NDArray[Any], path: str | Path) -> NDArray[Any]:
    if array.dtype.kind not in "fiub" or array.ndim < 2 or not len(array):
        raise InputError(f"{path}: holds {array.dtype} of shape {list(array.shape)}; give numbers (frames, ...)")
    return array


def _load(path: Path, kind: type[InputError]) -> dict[str, NDArray[Any]] | NDArray[Any]:
    if not path.is_file():
        raise kind(f"{path}: no such file; check the path")
    try:
        if why := why_no_arrays(path, archives=True):
            raise ValueError(why)
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return {name: found[name] for name in found.files}
    except _LOADING_ERRORS as error:
        raise kind(f"{path}: cannot be read as .npy or .npz ({in_words(error)}); save it again with numpy") from error
