"""The command line: one file a command, each loaded only when its command is asked for."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import neurosim
from neurosim.errors import NeurosimError

# The first help line of each command, kept here so that `neurosim --help` loads none of them. The command
# itself is `command` in the module of the same name.
COMMANDS = {
    "run": "Simulate a network on a chip: energy, latency and memory traffic.",
    "compare": "Compare chips, or values of their constants, on one network and input.",
    "compile": "Place a network on a chip and write the compiled program.",
    "convert": "Convert a trained dense network to one that the simulator runs.",
    "chips": "List the chips, show one with the source of every constant, or check a chip file.",
    "baseline": "Cost a network on a CPU, a GPU or a dense accelerator, by formulas.",
    "info": "Describe a network: its layers, units, connections and weights.",
    "reprice": "Cost a finished run with other energies and powers, without simulating.",
    "calibrate": "Fit energies and powers of a chip to measurements.",
    "validate": "Simulate published measurements and show predictions beside them.",
    "warmup": "Compile all kernels now, so that the first run does not wait for them.",
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


class _Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


@contextmanager
def _sigterm_raised() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that temporary files go; not where it is ignored or handled already."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(*_: Any) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _cut_short(how: str, written: Sequence[Path]) -> str:
    """Return what to say about a run that was ended from outside."""
    files = ", ".join(map(str, written))
    return f"neurosim: {how}; " + (f"complete: {files}" if files else "nothing was written")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    args
        The words after the program's name; those of the process when not given.

    Returns
    -------
    int
        0 on success, 2 on bad input, bad usage or too little memory, 130 when interrupted, 143 when
        terminated, 1 when the output's reader went away.
    """
    # Commands add the files that have taken their places.
    written: list[Path] = []
    try:
        with _sigterm_raised():
            code = group.main(args, prog_name="neurosim", standalone_mode=False, obj=written)
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except NeurosimError as error:
        click.echo(f"neurosim: error: {error}", err=True)
        return 2
    except MemoryError as error:
        reason = f": {error}" if str(error) else ""
        click.echo(
            f"neurosim: error: out of memory{reason}; use fewer timesteps or smaller buffers (network.buffer)", err=True
        )
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo(_cut_short("interrupted", written), err=True)
        return 130
    except _Terminated:
        click.echo(_cut_short("terminated", written), err=True)
        return 143
    except BrokenPipeError:
        # What is still buffered can go nowhere; otherwise the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0
