"""The neurons of a NetX file: which unit they are, with which numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.errors import ModelError, suggest
from neurosim.formats.netx_fields import MAX_EXTENT, Fields
from neurosim.network import CubaLif, Delta, Membrane, Network, Relay, Sigma, SigmaDelta, Unit
from neurosim.network.units import IntArray

SDNN_SHIFT = 12
"""spike_exp + state_exp, 6 bits each: from mantissas of the file to units of the state."""
SDNN_MESSAGE_SHIFT = 6
"""state_exp: from units of the state to a message."""
CUBA_SHIFT = 6
"""From mantissas of the file to units of the state."""
HIGHEST_SDNN_MANTISSA = (1 << (31 - SDNN_SHIFT)) - 1
"""The state of a sigma-delta unit has 32 bits."""
HIGHEST_CUBA_MANTISSA = (1 << (23 - CUBA_SHIFT)) - 1
"""The state of a CUBA neuron has 24 bits."""
NEURON_KEYS = {
    "SDNN": {"type", "vThMant", "activation", "sigma_output", "weight_exp"},
    "CUBA": {"type", "iDecay", "vDecay", "vThMant", "refDelay", "gradedSpike"},
    "LOIHI": {
        "type", "iDecay", "vDecay", "vThMant", "refDelay", "gradedSpike",
        "wgtExp", "theta", "tauRho", "scaleRho",
    },
}  # fmt: skip
REFUSED_NEURONS = ("RF_PHASE", "RF_IZHIKEVICH", "ALIF", "ADRF_PHASE", "ADRF_IZHIKEVICH")
ROUNDINGS = ("default", "corrected")


@dataclass(frozen=True)
class NetxOptions:
    """What a run of a NetX network needs and the file does not hold; see `read_netx`.

    Raises
    ------
    ModelError
        A rounding that is not known, a negative interval or offset.
    """

    rounding: str = "default"
    cum_error: bool = False
    reset_interval: int = 0
    reset_offset: int = 0

    def __post_init__(self) -> None:
        if self.rounding not in ROUNDINGS:
            raise ModelError(
                f'rounding "{self.rounding}" is not known; use one of {", ".join(ROUNDINGS)}'
                + suggest(self.rounding, ROUNDINGS)
            )
        for name in ("reset_interval", "reset_offset"):
            if getattr(self, name) < 0:
                raise ModelError(f"{name} is {getattr(self, name)}; give 0 or more timesteps")

    def reset_phase(self, position: int) -> int:
        """Return when layer `position` clears its state, as lava counts layers, in 0..interval - 1."""
        return (self.reset_offset + 1 + position) % self.reset_interval if self.reset_interval else 0

    def misused(self, units: list[Unit]) -> list[str]:
        """Return a sentence for each option that none of `units` takes."""
        errors = []
        altered = self.rounding != "default" or self.cum_error
        if altered and not any(isinstance(unit, SigmaDelta) for unit in units):
            errors.append("rounding and cum_error are for sigma-delta layers; it has none: leave them out")
        if self.reset_interval and not any(isinstance(unit, CubaLif) for unit in units):
            errors.append("reset_interval is for CUBA layers; it has none: leave it out")
        if self.reset_offset and not self.reset_interval:
            errors.append("reset_offset is given without reset_interval; give both or neither")
        return errors


def reader_options(network: Network) -> dict[str, Any] | None:
    """Return the options of `read_netx` that give a network its units.

    Returns
    -------
    Those that some layer takes, with their values even where these are the defaults: ``rounding`` and
    ``cum_error`` of sigma-delta layers, ``reset_interval`` and ``reset_offset`` of CUBA layers, the latter
    within 0..reset_interval - 1. None where no options give them all: layers differ, or come from another format.
    """
    if any(isinstance(layer.unit, Membrane) for layer in network.layers):
        return None
    options: dict[str, Any] = {}
    sigma_delta = [layer.unit for layer in network.layers if isinstance(layer.unit, SigmaDelta)]
    if sigma_delta:
        options |= {"rounding": sigma_delta[0].rounding, "cum_error": bool(sigma_delta[0].cum_error)}
    # An input that the file lacks is a layer here, but not to lava.
    first = 1 if isinstance(network.layers[0].unit, Relay) else 0
    cuba = [
        (place - first, layer.unit) for place, layer in enumerate(network.layers) if isinstance(layer.unit, CubaLif)
    ]
    if cuba:
        position, unit = cuba[0]
        interval = int(unit.reset_interval)
        offset = (unit.reset_phase - 1 - position) % interval if interval else 0
        options |= {"reset_interval": interval, "reset_offset": int(offset)}
    wanted = NetxOptions(**options)
    same = all((unit.rounding, unit.cum_error) == (wanted.rounding, wanted.cum_error) for unit in sigma_delta) and all(
        (unit.reset_interval, unit.reset_phase) == (wanted.reset_interval, wanted.reset_phase(position))
        for position, unit in cuba
    )
    return options if same else None


def read_unit(
    layer: Fields,
    shape: tuple[int, ...] | None,
    options: NetxOptions,
    position: int,
    notes: list[str],
    *,
    is_input: bool = False,
) -> Unit | None:
    """Return the unit of a layer, or None where its group holds errors.

    Parameters
    ----------
    layer
        The layer's group.
    shape
        The layer's shape, to check the bias against; None where it is not known.
    options
        What the file does not hold.
    position
        Number of the layer as lava counts: from 0, without `flatten`.
    notes
        Sentences are added here.
    is_input
        Whether the layer's type is `input`; its `bias` belongs to the transform of the frames.
    """
    neuron = layer.inner("neuron")
    kind = neuron.text("type") if neuron else None
    if neuron is None or kind is None:
        return None
    if kind not in NEURON_KEYS:
        refused = kind in REFUSED_NEURONS or kind.startswith("ADRF")
        state = "supported" if refused else "known" + suggest(kind, NEURON_KEYS)
        neuron.error("type", f'is "{kind}", which is not {state}; train with {", ".join(NEURON_KEYS)} neurons')
        return None
    neuron.only(NEURON_KEYS[kind])
    highest = HIGHEST_SDNN_MANTISSA if kind == "SDNN" else HIGHEST_CUBA_MANTISSA
    bias: IntArray | None = np.zeros(1, dtype=np.int64)
    if "bias" in layer and not is_input:
        bias = _bias(layer, shape, highest)
    if kind == "SDNN":
        return _sdnn(neuron, bias, highest, options, is_input)
    return _cuba(neuron, bias, highest, options, position, notes)


def _bias(layer: Fields, shape: tuple[int, ...] | None, highest: int) -> IntArray | None:
    bias = layer.values("bias", -highest, highest, "quantise it first, or shift the network's scale")
    if bias is None or shape is None:
        return None
    # One a channel of a convolution; one a neuron, or one for all, of a dense layer.
    wanted = [shape[0]] if len(shape) == 3 else sorted({1, shape[0]})
    if bias.size not in wanted:
        layer.error("bias", f"has {bias.size} values; a layer {list(shape)} takes {' or '.join(map(str, wanted))}")
        return None
    return bias.ravel().astype(np.int64)


def _sdnn(neuron: Fields, bias: IntArray | None, highest: int, options: NetxOptions, is_input: bool) -> Unit | None:
    activation = neuron.text("activation") if "activation" in neuron else "relu"
    if activation not in (None, "relu"):
        neuron.error("activation", f'is "{activation}"{suggest(str(activation), ("relu",))}; relu alone is supported')
    if "sigma_output" in neuron and not is_input:
        if bias is not None and bias.any():
            neuron.error("sigma_output", "stands in a layer with a bias, which a sigma output lacks; remove the bias")
        return Sigma()
    mantissa = neuron.integer("vThMant", 0, highest)
    if mantissa is None or bias is None:
        return None
    threshold = mantissa << SDNN_SHIFT
    if is_input:
        return Delta(threshold, SDNN_SHIFT, SDNN_MESSAGE_SHIFT)
    return SigmaDelta(threshold, bias, options.rounding, options.cum_error, SDNN_SHIFT, SDNN_MESSAGE_SHIFT)


def _cuba(
    neuron: Fields, bias: IntArray | None, highest: int, options: NetxOptions, position: int, notes: list[str]
) -> Unit | None:
    current, voltage = neuron.integer("iDecay", 0, 4096), neuron.integer("vDecay", 0, 4096)
    mantissa = neuron.integer("vThMant", 0, highest)
    for key, plain in (("refDelay", 1), ("gradedSpike", 0), ("wgtExp", 0)):
        value = neuron.integer(key, -MAX_EXTENT, MAX_EXTENT) if key in neuron else plain
        if value not in (None, plain):
            notes.append(f"{neuron.place}: {key} of {value} ignored, as lava does")
    if current is None or voltage is None or mantissa is None or bias is None:
        return None
    return CubaLif(
        current, voltage, mantissa << CUBA_SHIFT, bias, options.reset_interval, options.reset_phase(position)
    )
