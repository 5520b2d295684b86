"""A look at texts of variable length before HDF5 reads them: damaged ones can make the library hang or crash.

Such a text is stored as 16 bytes: its length, the place of a global heap collection, and the number of an object in it
(HDF5 File Format Specification 3.0, III.E). The library follows what stands there without a doubt; here every
collection that is referred to is walked through first.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import h5py
import numpy as np

UNREADABLE = "its texts cannot be read; write the file again, with nir.write"
REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("object", "<u4")])


def text_problem(dataset: h5py.Dataset, fixed: int | None, limit: int) -> str | None:
    """Return what is wrong with the texts of a dataset, or None.

    Parameters
    ----------
    dataset
        Of texts.
    fixed
        Their length in bytes where that is fixed, else None.
    limit
        Longest text allowed, in bytes.
    """
    if fixed is not None:
        return _too_long(fixed, limit)
    file_id, offset = dataset.file.id, dataset.id.get_offset()
    plain = file_id.get_create_plist().get_sizes() == (8, 8) and not dataset.file.userblock_size
    if not dataset.size:
        return None
    if offset is None or not plain:  # In chunks or inside a header, where it cannot be looked at.
        return UNREADABLE
    with open(dataset.file.filename, "rb") as file:
        file.seek(offset)
        raw = file.read(REFERENCE.itemsize * dataset.size)
        if len(raw) < REFERENCE.itemsize * dataset.size:
            return UNREADABLE
        references = np.frombuffer(raw, REFERENCE)
        longest = int(references["length"].max())
        if longest > limit:
            return _too_long(longest, limit)
        for heap in np.unique(references["heap"][references["length"] > 0]).tolist():
            sizes = _object_sizes(file, heap)
            here = references[(references["heap"] == heap) & (references["length"] > 0)]
            if sizes is None or any(int(r["length"]) > sizes.get(int(r["object"]), -1) for r in here):
                return UNREADABLE
    return None


def _too_long(length: int, limit: int) -> str | None:
    return f"promises a text of {length} bytes; the limit is {limit}" if length > limit else None


def _object_sizes(file: BinaryIO, place: int) -> dict[int, int] | None:
    """Return the bytes of each object of a global heap collection, or None where it is damaged."""
    file.seek(0, 2)
    end = file.tell()
    if not 0 < place <= end - 16:
        return None
    file.seek(place)
    signature, version, size = struct.unpack("<4sB3xQ", file.read(16))
    if signature != b"GCOL" or version != 1 or not 16 <= size <= end - place:
        return None
    body = file.read(size - 16)
    sizes: dict[int, int] = {}
    at = 0
    while at + 16 <= len(body):
        number, length = struct.unpack_from("<HxxxxxxQ", body, at)
        if number == 0:  # Free space to the end, its own header counted.
            return sizes if at + length == len(body) else None
        step = 16 + -(-length // 8) * 8
        if at + step > len(body) or number in sizes:
            return None
        sizes[number] = length
        at += step
    return sizes
