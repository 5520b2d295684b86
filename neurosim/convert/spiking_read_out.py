"""Networks that are fed a sample for many timesteps: their answers, their errors after fewer, what is reported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.convert import agreement, weight_bits_of
from neurosim.convert.passes import batches, dense_operations, run
from neurosim.convert.plan import Plan, Site
from neurosim.convert.spike_counting import SpikeCounts
from neurosim.errors import ModelError
from neurosim.network import Leaky, Network

DECAY_BITS = 12
FINEST_SHIFT = 6
"""Membranes count in at most 1/64 of a weight's step."""


@dataclass(frozen=True, kw_only=True)
class SampleReport:
    """What a network that is fed a sample for many timesteps does on samples.

    Attributes
    ----------
    samples, timesteps
        How many, and how many timesteps each takes.
    error_percent, original_error_percent, disagreement_percent, output_error
        As in `neurosim.convert.convert.Report`, after all timesteps.
    dense_operations
        A sample, of the dense network: multiplications and additions.
    input_messages, synops
        A sample: messages of the input, and synapses that these and the layers' messages meet.
    layer_messages
        Per layer name but the last, a sample.
    weight_bits
        Per layer name: signed bits of the weights into it.
    curve
        The errors, messages and synops after fewer timesteps.
    """

    samples: int
    timesteps: int
    error_percent: float | None
    original_error_percent: float | None
    disagreement_percent: float
    output_error: float
    dense_operations: float
    input_messages: float
    synops: float
    layer_messages: dict[str, float]
    weight_bits: dict[str, int]
    curve: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return {**vars(self), "curve": list(self.curve)}


def report_values(plan: Plan, network: Network, counts: SpikeCounts, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the values of a `SampleReport`, and those of the last of `rows`, from `curve`, beside them."""
    n = counts.samples
    return {
        **rows[-1],
        "samples": n,
        "dense_operations": dense_operations(plan),
        "layer_messages": dict(zip(counts.names[:-1], (counts.messages[:-1].sum(axis=1) / n).tolist(), strict=True)),
        "weight_bits": weight_bits_of(network),
        "curve": tuple(rows),
    }


def window(site: Site, timesteps: int) -> dict[str, int]:
    """Return when a membrane of a site begins and is cleared: one timestep after those before it."""
    return {"start": site.depth, "reset_interval": timesteps, "reset_phase": (site.depth + 1) % timesteps}


def fitting_shift(site: Site, reach: float, state_bits: int) -> int:
    """Return the shift from weights to a membrane that has to hold `reach` steps of a weight.

    Raises
    ------
    ModelError
        It does not hold so many.
    """
    limit = 1 << (state_bits - 1)
    shift = min(FINEST_SHIFT, math.floor(math.log2(limit / max(reach, 1.0))))
    if shift < 0:
        raise ModelError(
            f"layer {site.name}: its membrane needs to hold {reach:.0f}; {state_bits} bits hold {limit - 1}: "
            "use fewer bits for weights, inputs as spikes (rates), smaller omegas (hybrid), or more bits for membranes"
        )
    return shift


def read_out(site: Site, density: float, largest: float, timesteps: int, state_bits: int) -> tuple[Leaky, float]:
    """Return the unit of a last layer, which adds up what arrives in a sample, and its units for 1 a timestep.

    Parameters
    ----------
    density
        Units of the layer's sums for 1.
    largest
        Size of the largest answer on calibration frames; twice it is taken for possible.
    timesteps
        Of a sample.

    Raises
    ------
    ModelError
        The membrane is too narrow.
    """
    shift = fitting_shift(site, largest * density * 2 * timesteps, state_bits)
    scale = density * 2.0**shift
    unit = Leaky(
        voltage_keep=np.array([1 << DECAY_BITS]), decay_bits=DECAY_BITS, state_bits=state_bits, activation_shift=shift,
        bias=np.rint(site.bias * scale).astype(np.int64), **window(site, timesteps),
    )  # fmt: skip
    return unit, scale


def curve_timesteps(timesteps: int, first: int = 2) -> tuple[int, ...]:
    """Return the timesteps of a report's curve: powers of two from `first`, and the last."""
    powers = (1 << i for i in range(timesteps.bit_length()))
    return tuple(sorted({*(t for t in powers if first <= t <= timesteps), timesteps}))


def curve(
    plan: Plan,
    inputs: NDArray[Any],
    labels: NDArray[np.int64] | None,
    counts: SpikeCounts,
    at: tuple[int, ...],
    answers: Callable[[int], NDArray[Any]],
    messages: str = "spikes",
) -> list[dict[str, Any]]:
    """Return what a report says after each number of timesteps in `at`.

    Parameters
    ----------
    plan
        Of the original.
    inputs
        Samples (samples, *shape).
    labels
        (samples,), or None.
    counts
        Of the network on the samples.
    answers
        Gives the answers (samples, n), in the original's units, after some timesteps.
    messages
        What messages of the layers are called.
    """
    n, last = len(inputs), plan.sites[-1]
    wanted = np.concatenate([run(plan, inputs[part])[-1].reshape(-1, last.size) for part in batches(n, 500)])
    rows = []
    for t in at:
        found = np.clip(answers(t), last.low, last.high)
        sent = counts.messages[:-1, :t].sum(axis=1) / n
        rows.append({
            "timesteps": t, **agreement(found, wanted, labels), messages: float(sent[1:].sum()),
            "input_messages": float(sent[0]), "synops": float(counts.synops[:-1, :t].sum() / n),
        })  # fmt: skip
    return rows
