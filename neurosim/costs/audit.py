"""Conservation laws that every run must obey; a breach is a defect of the simulator."""

from __future__ import annotations

import math

import numpy as np

from neurosim.engine import CoreCount, LayerCount, RunCounts
from neurosim.engine.counters import WORKS
from neurosim.errors import AuditError, join_errors


def audit_counts(run: RunCounts) -> None:
    """Check a run's counts against each other.

    Raises
    ------
    AuditError
        Naming every law that does not hold, with both sides.
    """
    program, c = run.program, LayerCount
    sums = run.layer_counts.sum(axis=(0, 1))
    cores = run.core_counts.sum(axis=0)
    errors = []

    def equal(law: str, left: int, right: int) -> None:
        if left != right:
            errors.append(f"{law}: {left} against {right}")

    equal(
        "packets sent by cores = packets booked to layers",
        int(cores[CoreCount.PACKETS_OUT]),
        int(sums[c.PACKETS]),
    )
    equal("copies of packets = messages due at cores", int(sums[c.COPIES]), int(cores[CoreCount.PACKETS_IN]))
    charged = int(sums[[c.CHARGED_DENSE, c.CHARGED_SPARSE, c.CHARGED_CONV]].sum())
    equal("synops charged to layers = synops done by cores", charged, int(cores[CoreCount.SYNOPS_CHARGED]))
    sends, messages, units = (sums[[c.SENDS, c.MESSAGES, c.UNIT_SPIKES]]).tolist()
    if program.messages == "graded":
        equal("sends = messages", sends, messages)
    elif not messages <= sends <= units:
        errors.append(f"messages <= sends <= unit spikes: {messages}, {sends}, {units}")
    works = list(WORKS.values())
    equal("time that layers worked = time that their cores did", int(run.busy_ps.sum()), int(cores[works].sum()))
    fed = {connection.target for connection in program.network.connections}
    for i, layer in enumerate(program.network.layers):
        updates = int(run.layer_counts[:, i, [c.UPDATES_ACTIVE, c.UPDATES_INACTIVE]].sum())
        expected = layer.size * layer.unit.compartments * run.timesteps if layer.unit.state_names else 0
        if not program.has_timesteps and layer.name in fed:
            # One for each neuron in the first frame, then at most one for each synapse that a message meets.
            synops = int(run.core_counts[program.core_layer == i, CoreCount.SYNOPS_CHARGED].sum())
            if not 0 <= updates <= layer.size + synops:
                errors.append(
                    f"layer {layer.name}: updates <= neurons + synops: {updates} against {layer.size + synops}"
                )
        elif program.chip.core.neuron.sweep == "all":
            equal(f"layer {layer.name}: updates = neurons x compartments x timesteps", updates, expected)
        elif updates > expected:
            errors.append(
                f"layer {layer.name}: updates <= neurons x compartments x timesteps: {updates} against {expected}"
            )
    running = np.concatenate(([0], np.cumsum(program.axon_synops_nonzero, dtype=np.int64)))
    stored = np.diff(running[program.axon_start])
    wrong = np.flatnonzero(stored != program.network.fan_out[1])
    if wrong.size:
        errors.append(f"axon table = fan-out of the network: {wrong.size} neurons differ, the first is {wrong[0]}")
    if errors:
        raise AuditError(join_errors(f"audit of {program.network.name} on {program.chip.name}", errors))


def audit_sum(place: str, total: float, parts: list[float]) -> None:
    """Check that parts add up to their total within rounding.

    Raises
    ------
    AuditError
        They do not.
    """
    added = math.fsum(parts)
    if not math.isclose(total, added, rel_tol=1e-12, abs_tol=1e-30):
        raise AuditError(f"{place}: the total is {total!r} J, its parts add up to {added!r} J")
