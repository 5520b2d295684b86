"""What would mean something else without timesteps, and is refused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim.engine import packet_kernels
from neurosim.engine.function import StepActivity
from neurosim.errors import InputError, join_errors
from neurosim.network import CubaLif, Gated, Network, Sigma, SigmaDelta


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
            continue
        if isinstance(unit, CubaLif):
            wrong = [*_moves_by_itself(unit)]
            if wrong:
                yield (
                    f"layer {name} of cuba_lif units changes with timesteps: {'; '.join(wrong)}; without timesteps it "
                    "integrates and fires and no more, or choose a chip with timesteps"
                )
        elif isinstance(unit, Sigma):
            if name in feeding:
                yield (
                    f"layer {name} sends its sum in every timestep, and others follow it; put a sigma_delta unit in "
                    "its place"
                )
        elif isinstance(unit, Gated):
            yield (
                f"layer {name} of {unit.kind} units computes its gates once a timestep, after all messages of it; "
                "choose a chip with timesteps"
            )
        elif name in fed:
            yield (
                f"layer {name} of {unit.kind} units takes the sum of a timestep's messages for its input; use "
                "sigma_delta, sigma or cuba_lif units, or choose a chip with timesteps"
            )


def _moves_by_itself(unit: CubaLif) -> Iterator[str]:
    """Yield what makes a unit change though nothing arrives."""
    if unit.current_decay != 4096:
        yield f"its current outlasts an arrival (current_decay {unit.current_decay}; set 4096)"
    if unit.voltage_decay:
        yield f"its voltage leaks (voltage_decay {unit.voltage_decay}; set 0)"
    if unit.bias.any():
        yield "its bias is added in every timestep (set 0)"
    if unit.reset_interval:
        yield f"it is reset every {unit.reset_interval} timesteps (set reset_interval 0)"
    if unit.threshold < 0:
        yield f"it spikes though nothing arrives (threshold {unit.threshold}; set 0 or more)"


def _connections(network: Network) -> Iterator[str]:
    for connection in network.connections:
        if connection.longest_delay:
            yield (
                f"{connection.label} has delays of up to {connection.longest_delay} timesteps, and nothing counts "
                "them; take them away, or choose a chip with timesteps"
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
                f"frame {activity.timestep}, {connection.label}: messages of up to {sent} times its weights come to "
                f"{widest}; its accumulators hold {connection.accumulator_bits} bits and would wrap; scale the network "
                "down"
            )
