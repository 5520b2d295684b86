"""The command that describes a network."""

from __future__ import annotations

from typing import Any

import click

from neurosim.cli import common


@click.command("info")
@common.model_argument
@common.reader_options
def command(model: str, **reader: Any) -> None:
    """Describe a network: its layers, units, connections and weights.

    MODEL is a network (.net, .nsnet), a compiled program (.h5), or the name of a shipped workload (such as steering). A
    file of that name comes before the workload.
    """
    found = common.find_model(model)
    options = common.reader_arguments(**reader)
    if found.compiled:
        common.refuse_options(options)

    from rich.console import Console

    from neurosim.report.network_table import print_network

    console = Console(highlight=False)
    if found.compiled:
        from neurosim.compiler import read_program

        program = read_program(found.path)
        made_for = f"compiled for {program.chip.name}; neurosim compile shows how full the cores are"
        print_network(program.network, (*found.notes, made_for), console)
    else:
        with common.named(found):
            network, notes = common.read_model(found, options)
        print_network(network, (*found.notes, *notes), console)
