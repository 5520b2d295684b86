"""Trained leaky integrate-and-fire networks in integers, as the simulator runs them; needs no PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError, ModelError
from neurosim.formats.spike_codes import CODES
from neurosim.network import Connection, Dense, Layer, Leaky, Lif, Network, Relay, Unit
from neurosim.network.membranes import MAX_DECAY_BITS

LifWeights = tuple[NDArray[np.float64], ...]
"""Per layer float weights (out, in), thresholds being 1."""
STATE_SHIFT = 6
"""Membranes count in 1/64 of a weight's step, so that what a leak rounds off is small against any weight."""
STATE_BITS = 24
READOUTS = ("counts", "membrane")


@dataclass(frozen=True)
class LifForm:
    """What a network is, apart from its weights.

    Attributes
    ----------
    timesteps
        Frames of one sample.
    full, spikes, code
        Code of inputs; see `neurosim.formats.spike_codes.encode`.
    tau
        Time constant of the leak in timesteps: exp(-1 / tau) of a membrane is kept; infinity for none.
    inhibition
        Share of the threshold that a spike takes off each other neuron of its layer, one timestep later: a connection
        of the layer to itself. 0 for none. (The paper's sigma * kappa, all neurons of a layer being neighbours.)
    readout
        ``counts``: the answer is the neuron that spiked most, the first of several; ``membrane``: neurons of the last
        layer add up what arrives, and the answer is the largest sum.
    bits
        Of weights, with the sign.
    decay_bits
        Of the leak: what is kept is a whole number of 2**-decay_bits.
    """

    timesteps: int = 10
    full: int = 255
    spikes: int = 5
    code: str = "even"
    tau: float = 10.0
    inhibition: float = 0.0
    readout: str = "counts"
    bits: int = 8
    decay_bits: int = 12

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise InputError(f'code "{self.code}" is not known; use {" or ".join(CODES)}')
        if self.readout not in READOUTS:
            raise InputError(f'readout "{self.readout}" is not known; use {" or ".join(READOUTS)}')
        if not self.tau > 0:
            raise InputError(f"tau is {self.tau}; it must be above 0 timesteps, or infinity for no leak")
        if not (math.isfinite(self.inhibition) and self.inhibition >= 0):
            raise InputError(f"inhibition is {self.inhibition}; it must be 0 or more")
        if not 2 <= self.bits <= 16:
            raise InputError(f"weights of {self.bits} bits; choose 2 to 16")
        if not 1 <= self.decay_bits <= MAX_DECAY_BITS:
            raise InputError(f"decay_bits is {self.decay_bits}; choose 1 to {MAX_DECAY_BITS}")

    @property
    def one(self) -> int:
        """What stands for keeping all of a membrane."""
        return 1 << self.decay_bits

    @property
    def kept(self) -> int:
        """What is kept of a membrane in each timestep, of `one`."""
        return round(math.exp(-1 / self.tau) * self.one)


def steps_of_weights(largest: float, bits: int) -> float:
    """Return how many steps of a layer's weights make a threshold, where the `largest` weight fills the bits."""
    return float((1 << (bits - 1)) - 1) / (largest if largest > 0 else 1.0)


def to_lif_network(weights: Sequence[NDArray[Any]], form: LifForm, name: str = "lif") -> Network:
    """Return the network in integers.

    Inputs are a layer of unit spikes. Weights are rounded so that each layer's largest fills its bits; membranes count
    in 2**-6 of their step. A sample takes `form.timesteps` timesteps, and one follows the other without a gap: a layer
    is cleared when the first spikes of a sample reach it. Where layers inhibit themselves, what the last spikes of a
    sample take off still reaches the first timestep of the next.

    Raises
    ------
    ModelError
        Weights that do not fit each other or are not finite; a threshold or an inhibition that does not fit its bits.
    """
    if not weights:
        raise ModelError(f"{name}: there are no weights; give (out, in) for each layer")
    layers = [Layer("input", (int(np.shape(weights[0])[-1]),), Relay(spikes=True))]
    connections: list[Connection] = []
    largest = (1 << (form.bits - 1)) - 1
    for i, given in enumerate(weights):
        weight = np.asarray(given, dtype=np.float64)
        before = layers[-1]
        label = "output" if i == len(weights) - 1 else f"hidden{i + 1}"
        if weight.ndim != 2 or weight.shape[1] != before.size:
            raise ModelError(f"{name}, {label}: weights have shape {list(weight.shape)}; give (out, {before.size})")
        if not np.isfinite(weight).all():
            raise ModelError(f"{name}, {label}: weights are not finite; train at a smaller rate")
        steps = steps_of_weights(float(np.abs(weight).max()), form.bits)
        spiking = label != "output" or form.readout == "counts"
        layers.append(Layer(label, (len(weight),), _unit(form, steps, i + 1, spiking, f"{name}, {label}")))
        connections.append(Connection((before.name,), label, Dense(np.rint(weight * steps).astype(np.int64))))
        taken = round(form.inhibition * steps)
        if spiking and form.inhibition:
            if not 1 <= taken <= largest + 1:
                raise ModelError(
                    f"{name}, {label}: an inhibition of {form.inhibition:g} thresholds is {taken} steps of its "
                    f"weights; {form.bits} bits hold 1 to {largest + 1}: choose another, or more bits"
                )
            across = np.full((len(weight), len(weight)), -taken)
            np.fill_diagonal(across, 0)
            connections.append(Connection((label,), label, Dense(across)))
    return Network(layers, connections, name)


def _unit(form: LifForm, steps: float, depth: int, spiking: bool, place: str) -> Unit:
    threshold = round(steps * (1 << STATE_SHIFT))
    limit = 1 << (STATE_BITS - 3)
    if not 1 <= threshold < limit:
        raise ModelError(
            f"{place}: the threshold is {threshold} steps of its membrane; it must lie in 1..{limit - 1}: "
            "weights are too small or too large against it"
        )
    shared: dict[str, Any] = {
        "activation_shift": STATE_SHIFT, "decay_bits": form.decay_bits, "state_bits": STATE_BITS, "start": depth,
        "reset_interval": form.timesteps, "reset_phase": (depth + 1) % form.timesteps,
    }  # fmt: skip
    if not spiking:
        return Leaky(voltage_keep=np.array([form.one]), **shared)
    return Lif(voltage_keep=np.array([form.kept]), threshold=np.array([threshold]), subtract=True, **shared)
