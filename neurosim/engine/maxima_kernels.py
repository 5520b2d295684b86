"""Compiled kernel of pools by maximum, `neurosim.network.maxima`."""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.unit_kernels import update_rounding


@nb.njit(cache=True, nogil=True)
def update_max_rounding(
    activation,
    places,
    frame,
    bias,
    sums,
    held,
    multiplier,
    shift,
    rounding,
    threshold,
    lowest,
    highest,
    accumulates,
    changes,
    first,
    neuron,
    value,
    active,
):
    """Step of `MaxRounding`; `activation` and `sums` int64 (n * places,), the rest as in `update_rounding`.

    Returns
    -------
    The number of messages.
    """
    largest, moved = np.empty_like(held), np.zeros(held.size, dtype=np.bool_)
    for i in range(held.size):
        for k in range(i * places, (i + 1) * places):
            sums[k] = sums[k] + activation[k] if accumulates else activation[k]
            moved[i] |= accumulates & (activation[k] != 0)
            activation[k] = 0
            largest[i] = sums[k] if k == i * places else max(largest[i], sums[k])
    messages = update_rounding(
        largest, frame, bias, largest, held, multiplier, shift, rounding, threshold, lowest, highest, False, changes,
        first, neuron, value, active,
    )  # fmt: skip
    for i in range(held.size):
        active[i] |= moved[i]
    return messages
