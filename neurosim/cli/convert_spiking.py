"""Conversion to networks that are fed a sample for many timesteps, for the command that converts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from neurosim.cli.conversion_files import write_conversion
from neurosim.errors import InputError

OPTIONS = {
    "lif": ("timesteps", "percentile", "inputs", "first"),
    "hybrid": ("omega", "timesteps", "read", "first"),
}
"""By method, the options of the command that only such methods have."""


def check_options(method: str, given: dict[str, Any]) -> dict[str, bool]:
    """Return, per option of these methods, whether it was given for a method that has no use for it."""
    if method == "hybrid" and not given["omega"]:
        raise click.UsageError("--to hybrid needs --omega N, of all layers, or one a layer, or by NAME=N.")
    names = {name for options in OPTIONS.values() for name in options}
    # Not given is None, or none of several.
    return {
        f"--{name}": given[name] not in (None, ()) and name not in OPTIONS.get(method, ()) for name in sorted(names)
    }


def convert(method: str, graph: Any, inputs: Any, test: Any, scale: float, output: Path, given: dict[str, Any]) -> None:
    """Convert, write what was asked for, and print the report.

    Parameters
    ----------
    method
        ``lif`` or ``hybrid``.
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
    from rich.console import Console

    from neurosim.cli.progress import StageProgress
    from neurosim.convert import HybridOptions, RateOptions, convert_hybrid, convert_rates
    from neurosim.report.conversion_table import print_hybrid, print_rates

    chosen = {name: given[name] for name in OPTIONS[method] if given[name] is not None}
    chosen |= {"weight_bits": given["bits"], "input_scale": scale}
    run: Any = convert_rates
    options: Any
    if method == "hybrid":
        run, chosen["omega"] = convert_hybrid, omegas(chosen["omega"])
        options = HybridOptions(seed=given["seed"], **chosen)
    else:
        options = RateOptions(**chosen)
    with StageProgress() as progress:
        found, report = run(graph, inputs, options=options, test=test, progress=progress)
    write_conversion(found.network, output, given, report, lambda: found.stream(inputs if test is None else test[0]))
    console = Console(highlight=False)
    (print_hybrid if method == "hybrid" else print_rates)(found, report, console)
    console.print(f"written to {output}", markup=False, soft_wrap=True)


def omegas(texts: Sequence[str]) -> list[float] | dict[str, float]:
    """Return the omegas of the command line: numbers, or all by name.

    Raises
    ------
    InputError
        A text that is no number or name=number, a name twice, or both forms together.
    """
    named: dict[str, float] = {}
    plain: list[float] = []
    for text in texts:
        name, sign, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise InputError(f"--omega {text}: {number} is no number; give N, or NAME=N") from None
        if not sign:
            plain.append(value)
        elif name in named:
            raise InputError(f"--omega {text}: {name} has one already, {named[name]:g}; leave one out")
        else:
            named[name] = value
    if named and plain:
        raise InputError('--omega is given with names and without; name all layers, "*=N" being those not named')
    return named or plain
