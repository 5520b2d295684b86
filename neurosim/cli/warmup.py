"""`neurosim warmup`: compile the kernels now, so that no later run waits for it."""

from __future__ import annotations

import click


@click.command("warmup")
def command() -> None:
    """Compile all kernels now, so that the first run does not wait for them."""
    from neurosim.cli.progress import say_compiling_all
    from neurosim.engine.exercise import run_exercise
    from neurosim.engine.warm import announce_compilation

    with announce_compilation(say_compiling_all):
        run_exercise()
    click.echo("all kernels are compiled and cached")
