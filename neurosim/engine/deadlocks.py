"""What is said where packets are left and nothing can move."""

from __future__ import annotations

from neurosim.compiler import Program
from neurosim.errors import DeadlockError


def deadlock(
    program: Program, when: str, left: str, waiting: str, way_out: str, behind_sweeps: bool = False
) -> DeadlockError:
    """Return the error, with the network, the chip, the circle and a way out.

    Parameters
    ----------
    program
        What ran.
    when
        Timestep or frame.
    left
        What cannot move, of how many.
    waiting
        The circle, in words.
    way_out
        What breaks a circle of inputs or queues.
    behind_sweeps
        Whether the circle goes through cores that take no message before their sweep is done.
    """
    chip = program.chip
    if behind_sweeps:
        way_out = (
            f"a core of {chip.name} takes no message before its sweep is done (core.phases is strict), keeps "
            f"{chip.core.axon_in.queue.value} until then (core.axon_in.queue), and its sweep waits while its own "
            "messages cannot leave; a longer queue breaks it, such as --set core.axon_in.queue=N with the most "
            "messages that a core gets in a timestep"
        )
        if program.messages == "units":
            way_out += "; so do fewer messages, by --messages split"
    return DeadlockError(
        f"{program.network.name} on {chip.name}, {when}: {left} cannot move; in a circle wait {waiting}; {way_out}"
    )
