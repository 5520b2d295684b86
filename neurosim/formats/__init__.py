"""Files in, files out: network files and input frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim.errors import ModelError, suggest
from neurosim.formats.frames import Frames, read_frames
from neurosim.formats.netx import NetxReading, read_netx, read_netx_with_notes
from neurosim.formats.netx_units import reader_options
from neurosim.formats.netx_write import write_netx
from neurosim.network import Network

if TYPE_CHECKING:
    from neurosim.formats.nir_read import NirReading, read_nir, read_nir_with_notes
    from neurosim.formats.nir_write import write_nir
    from neurosim.formats.onnx_read import read_onnx, read_onnx_with_notes
    from neurosim.formats.torch_read import read_torch

__all__ = [
    "Frames",
    "NetxReading",
    "NirReading",
    "read_frames",
    "read_network",
    "read_network_with_notes",
    "read_netx",
    "read_netx_with_notes",
    "read_nir",
    "read_nir_with_notes",
    "read_onnx",
    "read_onnx_with_notes",
    "read_torch",
    "reader_options",
    "write_netx",
    "write_nir",
]

OPTIONS = {
    ".net": ("rounding", "cum_error", "reset_interval", "reset_offset"),
    ".nir": (
        "dt_s", "discretisation", "reset", "current", "inputs", "weight_bits", "decay_bits", "state_bits",
        "reset_interval",
    ),
}  # fmt: skip
"""Per suffix of a network file, the options of its reader."""
DENSE = (".onnx", ".pt", ".pth")
"""Suffixes of files of dense float networks."""


def __getattr__(name: str) -> Any:
    """Import what reads NIR, ONNX and PyTorch where it is asked for: the other formats do without it."""
    if name in ("NirReading", "read_nir", "read_nir_with_notes"):
        from neurosim.formats import nir_read

        return getattr(nir_read, name)
    if name in ("read_onnx", "read_onnx_with_notes"):
        from neurosim.formats import onnx_read

        return getattr(onnx_read, name)
    if name == "read_torch":
        from neurosim.formats.torch_read import read_torch

        return read_torch
    if name == "write_nir":
        from neurosim.formats.nir_write import write_nir

        return write_nir
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def read_network(path: str | Path, **options: Any) -> Network:
    """Read a network from a file whose suffix says its format.

    Parameters
    ----------
    path
        ``.net``: NetX, see `read_netx`. ``.nir``: NIR, see `neurosim.formats.read_nir_with_notes`.
    options
        Those of the format's reader.

    Raises
    ------
    ModelError
        The suffix is not known, or the file is wrong; an option that the format does not take.
    """
    return read_network_with_notes(path, **options).network


def read_network_with_notes(path: str | Path, **options: Any) -> NetxReading:
    """Read a network as `read_network` does, and return its notes beside it."""
    suffix = Path(path).suffix.lower()
    if suffix in DENSE:
        raise ModelError(
            f"{path}: holds a dense network, whose integers no one has chosen yet; convert it first: neurosim convert "
            "for .onnx, or neurosim.formats.read_torch and neurosim.convert in Python for PyTorch"
        )
    if suffix not in OPTIONS:
        raise ModelError(
            f'{path}: suffix "{Path(path).suffix}" is not known{suggest(suffix, OPTIONS)}; '
            f"networks come as {', '.join(OPTIONS)}"
        )
    wrong = [name for name in options if name not in OPTIONS[suffix]]
    if wrong:
        raise ModelError(
            f"{path}: a {suffix} file takes no option {', '.join(wrong)}{suggest(wrong[0], OPTIONS[suffix])}; "
            f"it takes {', '.join(OPTIONS[suffix])}"
        )
    if suffix == ".nir":
        from neurosim.formats.nir_read import read_nir_with_notes

        return read_nir_with_notes(path, **options)
    return read_netx_with_notes(path, **options)
