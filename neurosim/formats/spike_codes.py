"""Codes that make frames of unit spikes from values: evenly spaced, or random with a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError

CODES = ("even", "poisson")
LARGEST = 1 << 30


def encode(
    values: Any, timesteps: int, *, full: int, spikes: int, code: str = "even", seed: int = 0
) -> NDArray[np.int8]:
    """Return frames of unit spikes whose number over the timesteps stands for a value.

    ``even``: after t timesteps a value x has sent floor(x * spikes * t / (full * timesteps) + 1/2) spikes, so they are
    as evenly spaced as they can be, and values that differ little send at the same times. ``poisson``: in each
    timestep a spike with probability x * spikes / (full * timesteps), drawn independently (a Bernoulli process, which
    a Poisson process in steps is).

    Parameters
    ----------
    values
        Integers (samples, n), 0..full.
    timesteps
        Frames of each sample.
    full, spikes
        The largest value, and how many spikes it sends over the timesteps; at most one in each.
    code
        ``even`` or ``poisson``.
    seed
        Of ``poisson``.

    Returns
    -------
    int8 array (samples, timesteps, n) of zeros and ones.

    Raises
    ------
    InputError
        Values that are no integers or lie outside 0..full, more spikes than timesteps, or an unknown code.
    """
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "iub":
        raise InputError(
            f"values to code are {array.dtype} of shape {list(array.shape)}; "
            "give integers (samples, n): scale and round"
        )
    if not 1 <= full <= LARGEST or not 1 <= spikes <= timesteps:
        raise InputError(
            f"{spikes} spikes for a value of {full} in {timesteps} timesteps; a value of 1..{LARGEST} sends "
            "1 spike to one a timestep"
        )
    if 2 * full * timesteps * (spikes + 1) >= 1 << 63:
        raise InputError(
            f"{spikes} spikes for a value of {full} in {timesteps} timesteps need products of more than 63 bits; "
            "give fewer timesteps or a smaller full value"
        )
    if code not in CODES:
        raise InputError(f'code "{code}" is not known; use {" or ".join(CODES)}')
    if array.size and (array.min() < 0 or array.max() > full):
        raise InputError(
            f"values to code reach from {array.min()} to {array.max()}; spikes stand for 0..{full}: "
            "clip them, or give another full value"
        )
    found = np.empty((len(array), timesteps, array.shape[1]), dtype=np.int8)
    if code == "poisson":
        rng = np.random.default_rng(seed)
        chance = array * (spikes / (full * timesteps))
        for t in range(timesteps):
            found[:, t] = rng.random(array.shape) < chance
        return found
    wide = array.astype(np.int64)
    before = np.zeros(array.shape, dtype=np.int64)
    for t in range(1, timesteps + 1):
        sent = (2 * wide * spikes * t + full * timesteps) // (2 * full * timesteps)
        found[:, t - 1] = sent - before
        before = sent
    return found
