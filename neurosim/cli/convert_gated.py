"""Conversion of gated recurrent networks to delta networks, for the command that converts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurosim.cli.conversion_files import write_conversion
from neurosim.errors import InputError

METHODS = {"delta-gru": "gru", "delta-lstm": "lstm"}
"""Name on the command line -> operation of the nodes that it converts."""


def convert(graph: Any, method: str, inputs: Any, test: Any, output: Path, given: dict[str, Any]) -> None:
    """Convert, write what was asked for, and print the report.

    Parameters
    ----------
    graph
        The dense network.
    method
        One of `METHODS`.
    inputs
        Calibration frames: these are run, and reported on without `test`.
    test
        (frames, labels or None) to report on, or None.
    output
        The network file.
    given
        Options of the command, by name.

    Raises
    ------
    InputError, ModelError
        What does not fit.
    """
    import numpy as np
    from rich.console import Console

    from neurosim.convert import GatedFormats, describe_gated, to_gated
    from neurosim.convert.convert import integer_frames
    from neurosim.report.conversion_table import print_gated

    _check_kind(graph, method)
    frames = _units(inputs if test is None else test[0], given["input_scale"])
    labels = None if test is None else test[1]
    if frames.ndim not in (2, 3):
        raise InputError(
            f"samples have shape {list(frames.shape)}; give one sequence (frames, in), or (sequences, frames, in)"
        )
    if frames.ndim == 3 and given["frames_file"]:
        raise InputError(
            f"--frames {given['frames_file']}: a run takes one sequence, and there are {len(frames)}; report on "
            "samples of shape (frames, in)"
        )
    streams = frames if frames.ndim == 3 else frames[None]
    if labels is not None and frames.ndim == 2:
        labels = np.asarray(labels)[None]
    weight_fraction = 7 if given["weight_fraction"] is None else given["weight_fraction"]
    formats = GatedFormats(weight_bits=given["bits"], weight_fraction=weight_fraction)
    found = to_gated(graph, given["thresholds"], formats, given["read_out"] or "frame")
    report = describe_gated(found, streams, labels)
    write_conversion(found.network, output, given, report, lambda: integer_frames(frames, found.frame_scale))
    console = Console(highlight=False)
    print_gated(found, report, console)
    console.print(f"written to {output}", markup=False, soft_wrap=True)


def _check_kind(graph: Any, method: str) -> None:
    ops = [node.op for node in graph.nodes if node.op in METHODS.values()]
    wanted = METHODS[method]
    if ops and wanted not in ops:
        other = next(name for name, op in METHODS.items() if op == ops[0])
        raise InputError(f"--to {method}: {graph.name} has {ops[0]} nodes; give --to {other}")


def _units(samples: Any, scale: float | None) -> Any:
    """Return samples in the network's units: integers times the input scale, floats as they are."""
    if samples.dtype.kind == "f":
        if scale is not None:
            raise click.UsageError(
                "--input-scale: samples are floats, which delta networks take as they are; leave out."
            )
        return samples
    if scale is None:
        raise click.UsageError("samples are integers: give --input-scale S, what 1 in them stands for.")
    if not 0 < scale < float("inf"):
        raise InputError(f"--input-scale is {scale}; it must be above 0")
    return samples * scale
