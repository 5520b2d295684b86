"""Files in, files out: network files and input frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurosim.errors import ModelError, suggest
from neurosim.formats.frames import Frames, read_frames
from neurosim.formats.netx import NetxReading, read_netx, read_netx_with_notes
from neurosim.formats.netx_units import reader_options
from neurosim.formats.netx_write import write_netx
from neurosim.network import Network

__all__ = [
    "Frames",
    "NetxReading",
    "read_frames",
    "read_network",
    "read_network_with_notes",
    "read_netx",
    "read_netx_with_notes",
    "reader_options",
    "write_netx",
]

_READERS = {".net": read_netx_with_notes}


def read_network(path: str | Path, **options: Any) -> Network:
    """Read a network from a file whose suffix says its format.

    Parameters
    ----------
    path
        ``.net``: NetX, see `read_netx`.
    options
        Those of the format's reader.

    Raises
    ------
    ModelError
        The suffix is not known, or the file is wrong.
    """
    return read_network_with_notes(path, **options).network


def read_network_with_notes(path: str | Path, **options: Any) -> NetxReading:
    """Read a network as `read_network` does, and return its notes beside it."""
    suffix = Path(path).suffix.lower()
    if suffix not in _READERS:
        raise ModelError(
            f'{path}: suffix "{Path(path).suffix}" is not known{suggest(suffix, _READERS)}; '
            f"networks come as {', '.join(_READERS)}"
        )
    return _READERS[suffix](path, **options)
