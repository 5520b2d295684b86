"""The command line: one file a command, each loaded only when its command is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

import neurosim
from neurosim.errors import NeurosimError

# The first help line of each command, kept here so that `neurosim --help` loads none of them. The command
# itself is `command` in the module of the same name.
COMMANDS = {
    "run": "Simulate a network on a chip: energy, latency and memory traffic.",
    "compile": "Place a network on a chip and write the compiled program.",
    "chips": "List the chips, or show one with the source of every constant.",
    "info": "Describe a network: its layers, units, connections and weights.",
}


class _LazyGroup(click.Group):
    """A group whose commands are stand-ins, exchanged for the real ones when they are invoked."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command as click does, then load the module that holds it."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        if stand_in is None:
            return name, None, rest
        command: click.Command = import_module(f"{__name__}.{name}").command
        return name, command, rest


group = _LazyGroup(
    name="neurosim",
    help="Simulate neuromorphic chips, cycle by cycle: what one inference of a network costs.",
    commands=[click.Command(name, short_help=text) for name, text in COMMANDS.items()],
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(neurosim.__version__, prog_name="neurosim")(group)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    args
        The words after the program's name; those of the process when not given.

    Returns
    -------
    int
        0 on success, 2 on bad input or usage, 130 when interrupted, 1 when the output's reader went away.
    """
    try:
        code = group.main(args, prog_name="neurosim", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except NeurosimError as error:
        click.echo(f"neurosim: error: {error}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # What is still buffered can go nowhere; otherwise the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0
