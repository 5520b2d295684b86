"""Typed access to the datasets of one group of a NetX file, gathering what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurosim.errors import suggest

IntArray = NDArray[np.int32]

MAX_VALUES = 1 << 28
"""Largest dataset that is read, in values: keeps a wrong shape from asking for all memory."""
MAX_COMPRESSION = 1100
"""Largest ratio of a dataset's size to its stored bytes; deflate, the usual filter, reaches 1032."""
MAX_TEXT = 1000
"""Longest text that is read, in bytes."""
MAX_EXTENT = (1 << 31) - 1
"""Neurons are numbered with 32 bits, so no layer has more."""


class Fields:
    """The datasets of one group.

    Every method that finds something wrong adds a sentence to `errors` and returns None, so that one
    pass over a file tells all that is wrong with it. Nothing is read before its size is known to be
    sensible.

    Parameters
    ----------
    group
        The HDF5 group.
    place
        Its path in the file, for messages.
    errors
        The list to add to.
    """

    def __init__(self, group: h5py.Group, place: str, errors: list[str]) -> None:
        self.group = group
        self.place = place
        self.errors = errors

    def __contains__(self, key: str) -> bool:
        return key in self.group

    def error(self, key: str, problem: str) -> None:
        """Add an error about the dataset `key`."""
        self.errors.append(f"{self.place}/{key} {problem}")

    def inner(self, key: str) -> Fields | None:
        """Return the group `key` of this group."""
        if key not in self.group:
            self.error(key, "is missing; a layer of this type needs it")
            return None
        group = self.group[key]
        if not isinstance(group, h5py.Group):
            self.error(key, "is a dataset; it must be a group")
            return None
        return Fields(group, f"{self.place}/{key}", self.errors)

    def only(self, known: Collection[str]) -> None:
        """Report every entry that is not in `known`."""
        # A name that is no text comes as bytes.
        for key in map(str, self.group):
            if key not in known:
                self.error(
                    key,
                    f"is not known here{suggest(key, known)}; known: {', '.join(sorted(known))}; "
                    "remove it if it changes no number",
                )

    def _dataset(self, key: str) -> h5py.Dataset | None:
        if key not in self.group:
            self.error(key, "is missing; a layer of this type needs it")
            return None
        dataset = self.group[key]
        if not isinstance(dataset, h5py.Dataset):
            self.error(key, "is a group; it must be a dataset")
            return None
        if dataset.shape is None:
            self.error(key, "is empty; it must hold values")
            return None
        try:
            _ = dataset.dtype
        except TypeError as error:
            self.error(key, f"has a type that cannot be read ({error}); write the file again")
            return None
        return dataset

    def text(self, key: str) -> str | None:
        """Return the text of `key`: one string, as a scalar or as an array of length 1."""
        dataset = self._dataset(key)
        if dataset is None:
            return None
        if dataset.size != 1 or dataset.dtype.kind not in "SO" or h5py.check_string_dtype(dataset.dtype) is None:
            self.error(key, f"has shape {dataset.shape} and dtype {dataset.dtype}; it must be one text")
            return None
        length = _promised_length(dataset)
        if length > MAX_TEXT:
            self.error(key, f"promises a text of {length} bytes; the limit is {MAX_TEXT}: write the file again")
            return None
        value: Any = np.asarray(dataset[()], dtype=object).ravel()[0]
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def _read(self, dataset: h5py.Dataset, key: str, kinds: str) -> NDArray[Any] | None:
        if dataset.dtype.kind not in kinds:
            self.error(key, f"has dtype {dataset.dtype}; it must hold integers")
            return None
        if dataset.size > MAX_VALUES:
            self.error(
                key,
                f"has shape {dataset.shape}; the limit is {MAX_VALUES} values: split the layer",
            )
            return None
        stored = dataset.id.get_storage_size()
        if dataset.size * dataset.dtype.itemsize > MAX_COMPRESSION * stored:
            self.error(key, f"has shape {dataset.shape} but {stored} stored bytes; write the file again")
            return None
        return np.asarray(dataset[()])

    def numbers(self, key: str, shapes: Collection[tuple[int, ...]]) -> NDArray[np.float64] | None:
        """Return the real numbers of `key`, which must have one of `shapes`."""
        dataset = self._dataset(key)
        if dataset is None:
            return None
        if dataset.shape not in shapes:
            allowed = " or ".join(str(shape) for shape in dict.fromkeys(shapes))
            self.error(key, f"has shape {dataset.shape}; it must have {allowed}")
            return None
        stored = self._read(dataset, key, "iuf")
        return None if stored is None else stored.astype(np.float64)

    def values(self, key: str, low: int, high: int, way_out: str) -> IntArray | None:
        """Return the integers of `key`, in the shape stored, whether stored as integers or as floats.

        Parameters
        ----------
        low, high
            Smallest and largest value allowed, within 32 bits.
        way_out
            What to do about values that are no integers or lie outside.
        """
        dataset = self._dataset(key)
        if dataset is None:
            return None
        stored = self._read(dataset, key, "iuf")
        if stored is None:
            return None
        # NaN compares false, so it counts as wrong here like any fraction.
        with np.errstate(invalid="ignore"):
            wrong = ~((stored >= low) & (stored <= high) & (stored == np.rint(stored)))
        count = int(np.count_nonzero(wrong))
        if count:
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            index = f"[{', '.join(map(str, place))}]" if place else ""
            more = f" (and {count - 1} more like it)" if count > 1 else ""
            self.error(
                f"{key}{index}",
                f"is {stored[place]!s}{more}; integers in {low}..{high} are allowed: {way_out}",
            )
            return None
        return stored.astype(np.int32)

    def integers(self, key: str, lengths: Collection[int], low: int, high: int) -> tuple[int, ...] | None:
        """Return the few integers of `key`; a scalar counts as length 1."""
        dataset = self._dataset(key)
        if dataset is None:
            return None
        if dataset.ndim > 1 or dataset.size not in lengths:
            wanted = " or ".join(map(str, sorted(lengths)))
            self.error(key, f"has shape {dataset.shape}; it must hold {wanted} integer{'s' * (set(lengths) != {1})}")
            return None
        stored = self._read(dataset, key, "iufb")
        if stored is None:
            return None
        flat = stored.ravel()
        for value in flat.tolist():
            if not (math.isfinite(value) and value == int(value) and low <= value <= high):
                self.error(key, f"is {flat.tolist()}; each must be an integer in {low}..{high}")
                return None
        return tuple(int(v) for v in flat)

    def integer(self, key: str, low: int, high: int) -> int | None:
        """Return the one integer of `key`."""
        found = self.integers(key, (1,), low, high)
        return None if found is None else found[0]

    def pair(self, key: str, low: int, high: int = MAX_EXTENT) -> tuple[int, int] | None:
        """Return (rows, columns); a scalar counts for both."""
        found = self.integers(key, (1, 2), low, high)
        return None if found is None else (found[0], found[-1])

    def shape(self, key: str, lengths: Collection[int]) -> tuple[int, ...] | None:
        """Return the shape of a layer stored in `key`."""
        found = self.integers(key, lengths, 1, MAX_EXTENT)
        if found is not None and math.prod(found) > MAX_EXTENT:
            self.error(
                key,
                f"is {list(found)}, {math.prod(found)} neurons; the limit is {MAX_EXTENT}: split the layer",
            )
            return None
        return found

    def agree(self, key: str, expected: int | tuple[int, ...], what: str) -> None:
        """Report where the optional `key` is there and differs from `expected`, which `what` explains."""
        if key not in self.group:
            return
        wanted = expected if isinstance(expected, tuple) else (expected,)
        found = self.integers(key, {len(wanted), 1}, 0, MAX_EXTENT)
        if found is None:
            return
        if len(found) == 1:
            found = found * len(wanted)
        if found != wanted:
            self.error(key, f"is {list(found)}, but {what} {list(wanted)}; correct one of them")


def _promised_length(dataset: h5py.Dataset) -> int:
    """Return the length in bytes that a dataset of one text promises.

    HDF5 allocates what a text of variable length promises before it looks for the text, and a damaged
    file can promise 4 GiB. Such a text is stored as its length in 4 bytes, then where it is.
    """
    fixed = h5py.check_string_dtype(dataset.dtype).length
    if fixed is not None:
        return int(fixed)
    offset = dataset.id.get_offset()
    if offset is None:  # Inside the header, or in chunks: where the length is, cannot be asked.
        return 0
    with open(dataset.file.filename, "rb") as file:
        file.seek(offset)
        return int.from_bytes(file.read(4), "little")
