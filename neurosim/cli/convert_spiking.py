"""Conversion of ReLU networks to rates of spikes, for the command that converts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurosim.cli import common

OPTIONS = ("timesteps", "percentile", "inputs", "first")
"""Options of the command that are this method's alone."""


def convert(graph: Any, inputs: Any, test: Any, scale: float, output: Path, given: dict[str, Any]) -> None:
    """Convert, write what was asked for, and print the report.

    Parameters
    ----------
    graph
        The dense network.
    inputs
        Calibration frames, in the network's units.
    test
        (samples, labels or None) to report on, or None for the calibration frames.
    scale
        What 1 in an integer frame stands for.
    output
        The network file.
    given
        Options of the command, by name.

    Raises
    ------
    InputError, ModelError
        What does not fit.
    """
    import json

    import numpy as np
    from rich.console import Console

    from neurosim.cli.progress import StageProgress
    from neurosim.compiler import write_network_file
    from neurosim.convert import RateOptions, convert_rates
    from neurosim.files import atomic_path
    from neurosim.report.conversion_table import print_rates

    chosen = {name: given[name] for name in OPTIONS if given[name] is not None}
    options = RateOptions(weight_bits=given["bits"], input_scale=scale, **chosen)
    with StageProgress() as progress:
        found, report = convert_rates(graph, inputs, options=options, test=test, progress=progress)
    with common.outputs():
        write_network_file(found.network, output)
        if given["json_file"]:
            with atomic_path(given["json_file"]) as part:
                part.write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
        if given["frames_file"]:
            frames = found.stream(inputs if test is None else test[0])
            with atomic_path(given["frames_file"]) as part, open(part, "wb") as file:
                np.save(file, frames.astype(np.int16))
    console = Console(highlight=False)
    print_rates(found, report, console)
    console.print(f"written to {output}", markup=False, soft_wrap=True)
