"""The command that costs a network on hardware beside the chips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurosim.cli import common
from neurosim.cli.output_files import OutputFile, check_outputs


@click.command("baseline")
@common.model_argument
@click.option("--on", "names", metavar="NAME[,NAME]", help="Baselines by name, or paths of baseline files (.toml).")
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Frames that one inference takes in.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Inferences worked on together.",
)
@click.option(
    "--density",
    type=click.FloatRange(0.0, 1.0),
    metavar="D",
    help="Share of activations that are not zero: adds a row for hardware that leaves zeros out.",
)
@click.option(
    "--activation-bits",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="B",
    help="Width of activations.",
)
@click.option(
    "--stored-weight-bits",
    "stored_bits",
    type=click.IntRange(min=1),
    metavar="B",
    help="Width of weights.  [default: what each connection's widest weight needs]",
)
@common.reader_options
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write the costs as JSON.")
def command(
    model: str,
    names: str | None,
    frames: int,
    batch: int,
    density: float | None,
    activation_bits: int,
    stored_bits: int | None,
    json_file: Path | None,
    **reader: Any,
) -> None:
    """Cost a network on a CPU, a GPU or a dense accelerator, by formulas.

    MODEL is a network (.net, .nsnet), a compiled program (.h5), or the name of a shipped workload (such as steering).
    Every frame takes all MACs, whatever the network's units send.
    """
    from hwmodels import baseline_names, load_baseline

    if names is None:
        raise click.UsageError(f"Missing option '--on'. The baselines are {', '.join(baseline_names())}.")
    check_outputs()
    found = common.find_model(model)
    options = common.reader_arguments(**reader)
    if found.compiled:
        common.refuse_options(options)
    hardware = [load_baseline(name.strip()) for name in dict.fromkeys(names.split(","))]

    from rich.console import Console

    from neurosim.costs import baseline_cost
    from neurosim.report.baseline_table import print_baselines, summarise_baselines
    from neurosim.report.summary import write_summary

    notes = found.notes
    with common.named(found):
        if found.compiled:
            from neurosim.compiler import read_program

            network = read_program(found.path).network
        else:
            network, read_notes = common.read_model(found, options)
            notes = (*notes, *read_notes)
        costs = []
        for one in hardware:
            leaves_zeros = one.row_stationary is not None and one.row_stationary.zeros is not None
            for share in (None, density) if density is not None and leaves_zeros else (None,):
                costs.append(
                    baseline_cost(
                        network,
                        one,
                        frames,
                        batch=batch,
                        density=share,
                        activation_bits=activation_bits,
                        weight_bits=stored_bits,
                    )
                )
    if json_file is not None:
        with common.outputs():
            write_summary(summarise_baselines(costs, notes), json_file)
    console = Console(highlight=False)
    print_baselines(costs, notes, console)
    if json_file is not None:
        console.print()
        console.print(f"written to {json_file}", markup=False, soft_wrap=True)
