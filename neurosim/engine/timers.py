"""Which way of timing a program's chip needs, where its timesteps can be timed one by one."""

from __future__ import annotations

from neurosim.compiler import Program
from neurosim.engine.chip_times import shared_stage
from neurosim.engine.routed import RoutedRun
from neurosim.engine.sharing import SharingRun
from neurosim.engine.timing import TimeRun


def step_timer(program: Program, fidelity: str = "cycle") -> TimeRun:
    """Return what times the timesteps of a program on cores with stages, or on crossbars.

    `TimeRun` where nothing more is needed, `RoutedRun` for routing tables and packets that give up, `SharingRun` where
    sweeps and messages share a port.
    """
    network = program.chip.network
    if shared_stage(program.chip):
        return SharingRun(program, fidelity)
    plain = network.tables is None and network.blocked is None
    return TimeRun(program, fidelity) if plain else RoutedRun(program, fidelity)
