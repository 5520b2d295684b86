"""Typed access to the groups of a program file: what is written, and what is wrong with what is read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurosim.errors import NeurosimError, suggest

MOST_CHUNK_VALUES = 1 << 18
MOST_ATTRIBUTE_VALUES = 16
LARGEST_EXPANSION = 1100
"""Deflate packs at most 1032 to 1, so a dataset larger than this many files cannot have been stored."""

VARIABLE_LENGTH = "is of variable length; write a text of fixed length, numpy.bytes_(text) in h5py"
"""HDF5 libraries may crash on damaged texts of variable length, so none is read."""

INT64 = np.iinfo(np.int64)


def put_text(group: h5py.Group, key: str, text: str) -> None:
    """Write a text attribute of fixed length."""
    stored = text.encode("utf-8")
    group.attrs.create(key, np.bytes_(stored), dtype=h5py.string_dtype("utf-8", max(1, len(stored))))


def put_number(group: h5py.Group, key: str, value: int | bool | Iterable[int]) -> None:
    """Write a boolean, an integer, or a few integers as an attribute."""
    if isinstance(value, bool):
        group.attrs.create(key, np.bool_(value))
    else:
        group.attrs.create(key, np.asarray(value, dtype=np.int64))


def put_array(group: h5py.Group, key: str, values: NDArray[Any]) -> None:
    """Write a dataset by deflate, which brings a checksum; its bytes depend on nothing but the values."""
    if not values.size:
        group.create_dataset(key, data=values, track_times=False)
        return
    rest = math.prod(values.shape[1:])
    rows = min(values.shape[0], max(1, MOST_CHUNK_VALUES // rest))
    group.create_dataset(
        key,
        data=values,
        chunks=(rows, *values.shape[1:]),
        compression="gzip",
        compression_opts=4,
        shuffle=True,
        track_times=False,
    )


def narrowest(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers in the narrowest signed type that holds them all."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.int64)


def first_wrong(wrong: NDArray[np.bool_]) -> tuple[int, str]:
    """Return where `wrong` first holds, and words for how many more there are."""
    places = np.flatnonzero(wrong)
    return int(places[0]), f" (and {places.size - 1} more like it)" if places.size > 1 else ""


def error_lines(error: NeurosimError) -> list[str]:
    """Return what `join_errors` made one message of: a line each, with the place before it."""
    place, _, listed = str(error).partition("\n  - ")
    if not listed:
        return [place]
    return [f"{place.rpartition(':')[0]}: {line}" for line in listed.split("\n  - ")]


def _as_text(values: NDArray[Any]) -> str | None:
    """Return the one text of an array of bytes, or None where it is not valid UTF-8."""
    try:
        return bytes(values.ravel()[0]).decode("utf-8")
    except UnicodeError:
        return None


class Fields:
    """The attributes and members of one group.

    A method that finds something wrong adds a sentence to `errors` and returns None, so that one pass
    over a file tells all that is wrong with it. Nothing is read before its size is known to be sensible.

    Parameters
    ----------
    group
        The HDF5 group.
    place
        Its path in the file, for messages; empty for the root.
    errors
        The list to add to.
    file_bytes
        Size of the file.
    """

    def __init__(self, group: h5py.Group, place: str, errors: list[str], file_bytes: int) -> None:
        self.group, self.place, self.errors, self.file_bytes = group, place, errors, file_bytes

    def error(self, key: str, problem: str) -> None:
        """Add an error about the member `key`."""
        self.errors.append(f"{self.place}/{key} {problem}" if self.place else f"{key} {problem}")

    def attribute_error(self, key: str, problem: str) -> None:
        """Add an error about the attribute `key`."""
        self.errors.append(f"{self.place or 'the file'}: attribute {key} {problem}")

    def only(self, members: Collection[str], attributes: Collection[str] = ()) -> None:
        """Report every member and attribute that is not named."""
        for key in self.group:
            if key not in members:
                self.error(key, f"is not known{suggest(key, members)}; remove it")
        for key in self.group.attrs:
            if key not in attributes:
                self.attribute_error(key, f"is not known{suggest(key, attributes)}; remove it")

    def _member(self, key: str) -> Any:
        # `get` alone would take a member that is damaged for one that is missing.
        return None if self.group.get(key, getlink=True) is None else self.group[key]

    def inner(self, key: str) -> Fields | None:
        """Return the group `key` of this group."""
        group = self._member(key)
        if group is None:
            self.error(key, "is missing; it must be a group")
        elif not isinstance(group, h5py.Group):
            self.error(key, "is a dataset; it must be a group")
        else:
            place = f"{self.place}/{key}" if self.place else key
            return Fields(group, place, self.errors, self.file_bytes)
        return None

    def numbered(self, key: str) -> list[Fields]:
        """Return the groups ``0``, ``1``, ... of the group `key`, in order."""
        holder = self.inner(key)
        if holder is None:
            return []
        names = [str(i) for i in range(len(holder.group))]
        if set(holder.group) != set(names):
            found = ", ".join(sorted(holder.group)[:20])
            self.error(key, f"holds {found}; number its groups 0, 1, 2, ... without gaps")
            return []
        holder.only(names)
        return [part for part in map(holder.inner, names) if part is not None]

    def _attribute(self, key: str) -> NDArray[Any] | None:
        if key not in self.group.attrs:
            self.attribute_error(key, "is missing")
            return None
        stored = self.group.attrs.get_id(key)
        if stored.shape is None or math.prod(stored.shape) > MOST_ATTRIBUTE_VALUES:
            self.attribute_error(key, f"has shape {stored.shape}; it must hold one value or a few")
            return None
        if stored.dtype.kind == "O":
            self.attribute_error(key, VARIABLE_LENGTH)
            return None
        return np.asarray(self.group.attrs[key])

    def text(self, key: str) -> str | None:
        """Return the text of the attribute `key`."""
        found = self._attribute(key)
        if found is None:
            return None
        if found.size != 1 or found.dtype.kind != "S":
            self.attribute_error(key, f"is {found.tolist()!r}; it must be one text")
            return None
        text = _as_text(found)
        if text is None:
            self.attribute_error(key, "is not UTF-8")
        return text

    def boolean(self, key: str) -> bool | None:
        """Return the attribute `key`, true or false or an integer 1 or 0."""
        found = self._attribute(key)
        if found is None:
            return None
        if found.size != 1 or found.dtype.kind not in "biu" or int(found.ravel()[0]) not in (0, 1):
            self.attribute_error(key, f"is {found.tolist()!r}; it must be true or false")
            return None
        return bool(found.ravel()[0])

    def integers(
        self, key: str, lengths: Collection[int], low: int = INT64.min, high: int = INT64.max
    ) -> tuple[int, ...] | None:
        """Return the integers of the attribute `key`; a scalar counts as length 1."""
        found = self._attribute(key)
        if found is None:
            return None
        values = tuple(found.ravel().tolist())
        if found.dtype.kind not in "iu" or found.ndim > 1 or len(values) not in lengths:
            each = isinstance(lengths, range)
            wanted = f"{min(lengths)} to {max(lengths)}" if each else " or ".join(map(str, sorted(lengths)))
            self.attribute_error(key, f"is {found.tolist()!r}; it must hold integers, {wanted} of them")
        elif not all(low <= v <= high for v in values):
            self.attribute_error(key, f"is {found.tolist()!r}; the limits are {low}..{high}")
        else:
            return values
        return None

    def integer(self, key: str, low: int = INT64.min, high: int = INT64.max) -> int | None:
        """Return the one integer of the attribute `key`."""
        found = self.integers(key, (1,), low, high)
        return None if found is None else found[0]

    def _dataset(self, key: str) -> h5py.Dataset | None:
        dataset = self._member(key)
        if dataset is None:
            self.error(key, "is missing; it must be a dataset")
        elif not isinstance(dataset, h5py.Dataset):
            self.error(key, "is a group; it must be a dataset")
        elif dataset.shape is None:
            self.error(key, "is empty; it must hold values")
        elif dataset.size * dataset.dtype.itemsize > LARGEST_EXPANSION * self.file_bytes:
            self.error(
                key,
                f"has shape {dataset.shape}, more than a file of {self.file_bytes} bytes can hold; "
                "write the file again",
            )
        else:
            return dataset
        return None

    def long_text(self, key: str) -> str | None:
        """Return the text of the dataset `key`, a scalar or of shape (1,)."""
        dataset = self._dataset(key)
        if dataset is None:
            return None
        if dataset.dtype.kind == "O":
            self.error(key, VARIABLE_LENGTH)
            return None
        if dataset.size != 1 or dataset.dtype.kind != "S":
            self.error(key, f"has shape {dataset.shape} and dtype {dataset.dtype}; it must be one text")
            return None
        text = _as_text(np.asarray(dataset[()]))
        if text is None:
            self.error(key, "is not UTF-8")
        return text

    def length(self, key: str) -> int | None:
        """Return the length of the first axis of the dataset `key`, without a word where there is none."""
        dataset = self._member(key)
        if isinstance(dataset, h5py.Dataset) and dataset.shape:
            return int(dataset.shape[0])
        return None

    def array(self, key: str, dtype: type[np.integer[Any]], shape: tuple[int | None, ...]) -> Any:
        """Return the integers of the dataset `key` as `dtype`; None in `shape` stands for any length."""
        dataset = self._dataset(key)
        if dataset is None:
            return None
        fits = len(dataset.shape) == len(shape) and all(
            want is None or want == have for want, have in zip(shape, dataset.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            self.error(key, f"has shape {dataset.shape}; it must have ({wanted}{',' * (len(shape) == 1)})")
        if dataset.dtype.kind not in "iu":
            self.error(key, f"has dtype {dataset.dtype}; it must hold integers")
            return None
        if not fits:
            return None
        values: NDArray[Any] = np.asarray(dataset[()])
        limit = np.iinfo(dtype)
        if values.size and (int(values.min()) < limit.min or int(values.max()) > limit.max):
            self.error(
                key,
                f"reaches {values.min()}..{values.max()}; it is held in {limit.bits} bits, {limit.min}..{limit.max}",
            )
            return None
        return values.astype(dtype)
