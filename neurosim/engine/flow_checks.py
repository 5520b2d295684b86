"""What would mean something else without timesteps, and is refused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim.engine import packet_kernels
from neurosim.engine.function import StepActivity
from neurosim.errors import InputError, join_errors
from neurosim.network import Network, Sigma, SigmaDelta


def check_units(network: Network, chip: str) -> None:
    """Check that a network can run on a chip without timesteps.

    Raises
    ------
    InputError
        Naming all that cannot.
    """
    found = [*_layers(network), *_connections(network)]
    if found:
        raise InputError(join_errors(f"{network.name} on {chip}, which has no timesteps (sync.kind none)", found))


def _layers(network: Network) -> Iterator[str]:
    fed = {connection.target for connection in network.connections}
    feeding = {name for connection in network.connections for name in connection.sources}
    for layer in network.layers:
        unit, name = layer.unit, layer.name
        if isinstance(unit, SigmaDelta):
            if unit.cum_error and unit.threshold > 0:
                yield (
                    f"layer {name} adds up its error timestep by timestep (cum_error); set cum_error to false, or "
                    "choose a chip with timesteps"
                )
        elif isinstance(unit, Sigma):
            if name in feeding:
                yield (
                    f"layer {name} sends its sum in every timestep, and others follow it; put a sigma_delta unit in "
                    "its place"
                )
        elif name in fed:
            yield (
                f"layer {name} of {unit.kind} units takes the sum of a timestep's messages for its input; use "
                "sigma_delta or sigma units, or choose a chip with timesteps"
            )
        elif unit.kind not in ("relay", "delta"):
            yield (
                f"layer {name} of {unit.kind} units changes from timestep to timestep; use relay or delta units, or "
                "choose a chip with timesteps"
            )


def _connections(network: Network) -> Iterator[str]:
    for connection in network.connections:
        if connection.longest_delay:
            yield (
                f"{connection.label} has delays of up to {connection.longest_delay} timesteps; take them away, or "
                "choose a chip with timesteps"
            )
        divisor = connection.transform.divisor
        if divisor > 1:
            yield (
                f"{connection.label} divides the sum of a timestep by {divisor} and rounds it, which would round every "
                "message by itself; pool by sums and put the factor into the next weights"
            )


def check_products(network: Network, activity: StepActivity) -> None:
    """Check that no message times a weight was wider than the accumulator that it went to.

    A sum of several is never held: each message is worked in by itself.

    Raises
    ------
    InputError
        One may have been.
    """
    extremes = np.abs(packet_kernels.layer_extremes(activity.value, activity.layer_start)).max(axis=1)
    for connection in network.connections:
        weights = connection.transform.weights
        if connection.accumulator_bits is None or not weights.size:
            continue
        sent = max(int(extremes[network.index[name]]) for name in connection.sources)
        widest = sent * max(abs(int(weights.max())), abs(int(weights.min())))
        if widest >= 1 << (connection.accumulator_bits - 1):
            raise InputError(
                f"timestep {activity.timestep}, {connection.label}: messages of up to {sent} times its weights come to "
                f"{widest}; its accumulators hold {connection.accumulator_bits} bits and would wrap; scale the network "
                "down"
            )
