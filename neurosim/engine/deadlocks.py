"""What is said where packets are left and nothing can move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.compiler.topology import Topology
from neurosim.engine import row_kernels
from neurosim.errors import DeadlockError

IntArray = NDArray[np.int64]


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


def waiting_circle(
    ports: IntArray, top: Topology, places: tuple[IntArray, IntArray, IntArray], cores_wait: bool
) -> tuple[str, bool]:
    """Follow flits that are left, each to the full input or the core that it waits for.

    Parameters
    ----------
    ports
        int64 (routers, inputs, channels, PORT): where the network stands still.
    top
        The network.
    places
        int64 (cores,) twice: each core's router and port there; int64 (routers, outputs): each output's core, or -1.
    cores_wait
        Whether a core may take nothing because what it sends finds no room: then it waits for its own input of its
        router.

    Returns
    -------
    waiting
        The circle in words, or the chain where none is found.
    by_core
        Whether it goes through a core.
    """
    stuck = np.argwhere(ports[..., row_kernels.COUNT] > 0)
    if not stuck.size:
        return "", False
    count, (core_router, core_port, router_core) = ports[..., row_kernels.COUNT], places
    at = tuple(int(v) for v in stuck[0])  # an input (router, port, channel), or a core (number,)
    seen: list[tuple[int, ...]] = []
    while at not in seen:
        seen.append(at)
        if len(at) == 1:
            own = int(core_router[at]), int(core_port[at]), 0
            if not count[own]:
                break
            at = own
            continue
        router = at[0]
        wants = int(ports[(*at, row_kernels.WANTS)])
        out = (wants & -wants).bit_length() - 1
        to = int(top.next_router[router, out]) if wants else -1
        if to < 0:
            core = int(router_core[router, out]) if wants else -1
            if core < 0 or not cores_wait:
                break
            at = (core,)
            continue
        entry = int(top.next_port[router, out])
        full = [v for v in range(ports.shape[2]) if count[to, entry, v]]
        if not full:
            break
        at = (to, entry, full[0])
    else:
        seen = [*seen[seen.index(at) :], at]
    names = [f"core {v[0]}" if len(v) == 1 else "router {} input {} channel {}".format(*v) for v in seen]
    return " -> ".join(names), any(len(v) == 1 for v in seen)
