"""From the float parameters of NIR neurons to integer membranes: discrete time, then fixed point.

With the timestep dt, a neuron tau v' = (v_leak - v) + R I becomes v = k v + g I + (1 - k) v_leak, with k = 1 - dt/tau
and g = R dt/tau (``euler``, forward Euler), or k = exp(-dt/tau) and g = R (1 - k) (``exact``, for an input that is
constant within a timestep). An integrator v' = R I has k = 1 and g = R dt. The gain g is divided out: the state counts
in units of the weighted input, so that thresholds, leaks and resets are divided by g and the weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.errors import ModelError, suggest
from neurosim.formats.dense_nodes import FloatArray
from neurosim.formats.nir_shapes import kind_of
from neurosim.network import CurrentLeaky, CurrentLif, Leaky, Lif, Membrane
from neurosim.network.membranes import MAX_ACTIVATION_SHIFT, MAX_DECAY_BITS, MAX_STATE_BITS

HEADROOM_BITS = 6
"""The largest threshold takes at most 1/64 of the state's range, so that inhibition has room."""
CHOICES = {
    "discretisation": ("euler", "exact"),
    "reset": ("to", "subtract"),
    "current": ("new", "old"),
    "inputs": ("spikes", "graded"),
}


@dataclass(frozen=True)
class NirOptions:
    """What NIR leaves open; see `neurosim.formats.read_nir`."""

    dt_s: float
    discretisation: str = "euler"
    reset: str = "to"
    current: str = "new"
    inputs: str = "spikes"
    weight_bits: int = 8
    decay_bits: int = 12
    state_bits: int = 24
    reset_interval: int = 0

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ModelError(f'{name} "{value}" is not known{suggest(str(value), known)}; use {" or ".join(known)}')
        if not (isinstance(self.dt_s, int | float | np.number) and 0 < self.dt_s < 1e9):
            raise ModelError(f"dt_s is {self.dt_s!r}; give the time step in seconds, above 0")
        for name, low, high in (
            ("weight_bits", 2, 24),
            ("decay_bits", 1, MAX_DECAY_BITS),
            ("state_bits", 8, MAX_STATE_BITS),
            ("reset_interval", 0, 1 << 31),
        ):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or not low <= value <= high:
                raise ModelError(f"{name} is {value!r}; give an integer in {low}..{high}")


@dataclass(frozen=True)
class ParameterError:
    """How far the integers of one parameter of a layer, or of the weights of a connection, are from its floats.

    Attributes
    ----------
    place, parameter
        Layer or connection, and the parameter's name.
    step
        What the integer 1 stands for.
    largest
        Largest distance of an integer times `step` from the float.
    relative
        `largest` over the largest float; 0 where all are 0.
    """

    place: str
    parameter: str
    step: float
    largest: float
    relative: float


@dataclass
class NeuronModel:
    """A layer of neurons in discrete time, per neuron float64 (n,) in units of its weighted input.

    Attributes
    ----------
    keep, current_keep
        What is kept of the voltage, and of the current where there is one.
    gain
        What a weighted input of 1 adds to the voltage of the file.
    threshold, reset, leak
        Divided by the gain; threshold and reset None for a read-out. The leak is what is added each timestep.
    spiking
        Whether it sends spikes.
    """

    keep: FloatArray
    gain: FloatArray
    leak: FloatArray
    current_keep: FloatArray | None = None
    threshold: FloatArray | None = None
    reset: FloatArray | None = None

    @property
    def spiking(self) -> bool:
        """Whether it sends spikes."""
        return self.threshold is not None


def _decay(name: str, key: str, tau: FloatArray, options: NirOptions) -> FloatArray:
    if (tau <= 0).any():
        raise ModelError(f"node {name}: {key} is {tau.min():g} s; it must be above 0")
    if options.discretisation == "exact":
        return np.exp(-options.dt_s / tau)
    if (tau < options.dt_s * (1 - 1e-6)).any():
        raise ModelError(
            f"node {name}: {key} is {tau.min():g} s, less than the time step of {options.dt_s:g} s, where a forward "
            "Euler step overshoots; choose a smaller time step, or discretisation exact"
        )
    return np.maximum(1.0 - options.dt_s / tau, 0.0)


def discretise(name: str, node: Any, size: int, options: NirOptions) -> NeuronModel:
    """Return the discrete-time model of a node of neurons.

    Raises
    ------
    ModelError
        Time constants that no step follows, gains that are not above 0.
    """

    def values(key: str) -> FloatArray:
        array = np.asarray(getattr(node, key), dtype=np.float64).ravel()
        return np.broadcast_to(array, (size,))

    kind = kind_of(node)
    if kind == "Threshold":
        zeros = np.zeros(size)
        return NeuronModel(zeros, np.ones(size), zeros, None, values("threshold"), zeros)
    resistance, current_keep = values("r"), None
    if kind in ("I", "IF"):
        keep, gain, leak = np.ones(size), resistance * options.dt_s, np.zeros(size)
    else:
        keep = _decay(name, _tau(node), values(_tau(node)), options)
        gain, leak = resistance * (1.0 - keep), values("v_leak") * (1.0 - keep)
    if kind in ("CubaLI", "CubaLIF"):
        current_keep = _decay(name, "tau_syn", values("tau_syn"), options)
        gain = gain * values("w_in") * (1.0 - current_keep)
    if not (gain > 0).all():
        key = "r times w_in" if current_keep is not None else "r"
        raise ModelError(f"node {name} ({kind}): {key} makes a gain of {gain.min():g}; it must be above 0")
    threshold = reset = None
    if kind in ("IF", "LIF", "CubaLIF"):
        threshold, reset = values("v_threshold") / gain, values("v_reset") / gain
    return NeuronModel(keep, gain, leak / gain, current_keep, threshold, reset)


def _tau(node: Any) -> str:
    return "tau" if hasattr(node, "tau") else "tau_mem"


def error_of(place: str, parameter: str, step: float, integers: Any, floats: Any) -> ParameterError:
    """Return how far integers times `step` are from floats."""
    floats = np.asarray(floats, dtype=np.float64)
    largest = float(np.abs(np.asarray(integers) * step - floats).max(initial=0.0))
    size = float(np.abs(floats).max(initial=0.0))
    return ParameterError(place, parameter, float(step), largest, largest / size if size else 0.0)


def weight_step(weights: Iterable[FloatArray], bits: int) -> float:
    """Return what a weight of 1 stands for, the same for all weights into a layer.

    The finest power of two at which the largest weight is at most 2**(bits - 1) - 1, where it leaves nothing to round;
    else the finest step of all. Any step will do, since thresholds count in it too. 1 for weights of 0.
    """
    arrays = list(weights)
    largest = max((float(np.abs(w).max(initial=0.0)) for w in arrays), default=0.0)
    if not largest:
        return 1.0
    limit = (1 << (bits - 1)) - 1
    power = 2.0 ** -np.floor(np.log2(limit) - np.log2(largest))
    while largest > limit * power:
        power *= 2.0
    whole = all((w / power == np.rint(w / power)).all() for w in arrays)
    return float(power if whole else largest / limit)


def few(values: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return one value where all are the same, else all."""
    return values[:1].copy() if (values == values[0]).all() else values


def membrane(
    name: str, model: NeuronModel, constant: FloatArray, weight: float, start: int, feeds: bool, options: NirOptions
) -> tuple[Membrane, float, list[ParameterError]]:
    """Return the integer unit of a layer.

    Parameters
    ----------
    name
        For messages.
    model
        From `discretise`.
    constant
        float64 (n,): what biases add to the weighted input.
    weight
        What a weight of 1 stands for.
    start
        Timesteps through which the unit stands still.
    feeds
        Whether other layers take its messages.
    options
        Bits and choices.

    Returns
    -------
    The unit, what 1 in its state stands for in units of the weighted input, and the errors of its parameters.

    Raises
    ------
    ModelError
        The state has too few bits.
    """
    leak = model.leak if model.current_keep is not None else model.leak + constant
    sizes = [np.abs(leak).max(), np.abs(constant).max()]
    if model.threshold is not None and model.reset is not None:
        sizes += [np.abs(model.threshold).max(), np.abs(model.reset).max()]
    highest = (1 << (options.state_bits - 1)) - 1
    room = highest >> HEADROOM_BITS
    largest = max(float(max(sizes)) / weight, float(1 << (options.weight_bits - 1)))
    shift = min(max(int(np.floor(np.log2(room / largest))) if largest <= room else 0, 0), MAX_ACTIVATION_SHIFT)
    step = weight * 2.0**-shift
    if max(sizes) / step > highest:
        raise ModelError(
            f"node {name}: its threshold, reset, leak or bias reaches {max(sizes) / step:.3g} steps of its weights; "
            f"{options.state_bits} bits of state hold {highest}: give more state_bits, or fewer weight_bits"
        )
    one = 1 << options.decay_bits
    errors: list[ParameterError] = []

    def fixed(parameter: str, floats: FloatArray, unit: float, down: bool = False) -> Any:
        # A sum above the threshold is above its floor, where sums are whole numbers; so thresholds round down.
        integers = (np.floor(floats / unit + 1e-9) if down else np.rint(floats / unit)).astype(np.int64)
        errors.append(error_of(name, parameter, unit, integers, floats))
        return few(integers)

    phase = (start + 1) % options.reset_interval if options.reset_interval else 0
    values: dict[str, Any] = {
        "voltage_keep": fixed("voltage_keep", model.keep, 1.0 / one),
        "bias": fixed("bias", leak, step),
        "activation_shift": shift,
        "decay_bits": options.decay_bits,
        "state_bits": options.state_bits,
        "start": start,
        "reset_interval": options.reset_interval,
        "reset_phase": phase,
    }
    if model.current_keep is not None:
        values["current_keep"] = fixed("current_keep", model.current_keep, 1.0 / one)
        values["current_bias"] = fixed("current_bias", constant, step)
        values["old_current"] = options.current == "old"
    if model.threshold is not None and model.reset is not None:
        values["threshold"] = fixed("threshold", model.threshold, step, down=True)
        values["reset"] = fixed("reset", model.reset, step)
        values["subtract"] = options.reset == "subtract"
        spiking: type[Membrane] = Lif if model.current_keep is None else CurrentLif
        return spiking(**values), step, errors
    # Messages to other layers have 16 bits; what is read out keeps every bit.
    values["message_shift"] = max(options.state_bits - 16, 0) if feeds else 0
    graded: type[Membrane] = Leaky if model.current_keep is None else CurrentLeaky
    return graded(**values), step, errors
