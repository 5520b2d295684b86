"""Options of the conversion to hybrid-spiking neurons, and which omega a layer has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from neurosim.convert.plan import Plan
from neurosim.errors import InputError, ModelError, join_errors, suggest

STARTS = ("half", "random")
Omegas = float | Sequence[float] | Mapping[str, float]


@dataclass(frozen=True)
class HybridOptions:
    """How values become messages.

    Attributes
    ----------
    omega
        Messages that a value of 1 makes in a timestep, in the original's units: of all layers; or one for each layer
        but the input and the answer, in order; or by name. A name may hold ``*``, for a group of layers, and a full
        name goes before a group.
    timesteps
        For which a sample is held; with a large omega 1 is enough.
    read
        Last timesteps that the answer is read from; 0 for all.
    first
        Residuals at the start of a sample: ``half``, so that n rounds the first value to the nearest; ``random``, drawn
        for each neuron from 0 <= v < 1, as the authors have it.
    seed
        Of ``random``.
    weight_bits
        Of signed weights, 2..16.
    input_scale
        What 1 in an integer frame stands for.
    state_bits
        Of residuals and of the answer's membranes.
    """

    omega: Omegas
    timesteps: int = 8
    read: int = 0
    first: str = "half"
    seed: int = 0
    weight_bits: int = 8
    input_scale: float = 1.0
    state_bits: int = 24

    def __post_init__(self) -> None:
        if self.first not in STARTS:
            raise InputError(f'first is "{self.first}"; use {" or ".join(STARTS)}')
        if self.timesteps < 1:
            raise InputError(f"timesteps is {self.timesteps}; it must be 1 or more")
        if not 0 <= self.read <= self.timesteps:
            raise InputError(
                f"read is {self.read}; it must lie in 1..{self.timesteps}, the timesteps of a sample, or be 0 for all"
            )

    @property
    def read_timesteps(self) -> int:
        """How many timesteps the answer is read from."""
        return self.read or self.timesteps


def omegas_of(plan: Plan, omega: Omegas) -> tuple[float, ...]:
    """Return the omega of each layer but the input and the answer.

    Raises
    ------
    ModelError
        There is no such layer.
    InputError
        A number of them that does not fit; names that no layer has, or layers without one; omegas of 0 or less.
    """
    names = [site.name for site in plan.sites[1:-1]]
    if not names:
        raise ModelError(f"{plan.name} has no layer between input and answer, so there is nothing for omegas to do")
    if isinstance(omega, Mapping):
        found = _by_name(names, omega)
    elif isinstance(omega, Sequence):
        found = list(omega) * (len(names) if len(omega) == 1 else 1)
        if len(found) != len(names):
            raise InputError(
                f"{len(omega)} omegas are given; give 1, or {len(names)}, of {', '.join(names)}, or by name"
            )
    else:
        found = [omega] * len(names)
    for name, value in zip(names, found, strict=True):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"layer {name}: omega is {value}; it must be a number above 0")
    return tuple(float(value) for value in found)


def _by_name(names: list[str], omega: Mapping[str, float]) -> list[float]:
    errors = [
        f'omega of "{key}": no layer has this name{suggest(key, names)}; layers are {", ".join(names)}'
        for key in omega
        if not any(fnmatchcase(name, key) or name == key for name in names)
    ]
    found = []
    for name in names:
        fit = [name] if name in omega else [key for key in omega if fnmatchcase(name, key)]
        if len(fit) == 1:
            found.append(omega[fit[0]])
        elif fit:
            errors.append(f"layer {name}: omegas of {' and '.join(fit)} are both its own; give one by its full name")
        else:
            errors.append(f"layer {name} has no omega; give one")
    if errors:
        raise InputError(join_errors("omegas do not fit the layers", errors))
    return found
