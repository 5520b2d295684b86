"""The files of a conversion: the network, its report, a curve of reports, and the frames reported on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurosim.cli import common


def write_conversion(
    network: Any, output: Path, given: Mapping[str, Any], report: Any, frames: Any, curve: Any = None
) -> None:
    """Write the network and what else was asked for, together.

    Parameters
    ----------
    network
        A `neurosim.network.Network`.
    output
        Its file: NetX where the name ends in .net, else a network file.
    given
        Options of the command, by name: `json_file`, `frames_file` and `curve` are the paths of the others, or None.
    report
        A report of any method, with `to_dict`.
    frames
        Gives the integer frames; called only where they are written, as int16.
    curve
        What the file of the curve holds; None for a method that has none.

    Raises
    ------
    InputError
        A file cannot be written, or the frames are wider than 16 bits.
    """
    import numpy as np

    from neurosim.compiler import write_network_file
    from neurosim.files import atomic_path
    from neurosim.formats import write_netx

    with common.outputs():
        (write_netx if output.suffix.lower() == ".net" else write_network_file)(network, output)
        if given["json_file"]:
            write_json(report.to_dict(), given["json_file"])
        if given["curve"] and curve is not None:
            write_json(curve, given["curve"])
        if given["frames_file"]:
            with atomic_path(given["frames_file"]) as part, open(part, "wb") as file:
                np.save(file, frames().astype(np.int16))


def write_json(value: Any, path: Path) -> None:
    """Write a value as JSON, whole or not at all."""
    import json

    from neurosim.files import atomic_path

    with atomic_path(path) as part:
        part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
