"""Compiled kernel of `neurosim.network.hybrid`: a bare loop over flat int64 arrays."""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.unit_kernels import list_messages


@nb.njit(cache=True, nogil=True)
def _halves_to_even(product, shift):
    """Return `product` / 2**shift, rounded."""
    one = np.int64(1)
    half = (one << shift) >> one
    whole = product >> shift
    rest = product - (whole << shift)
    if half > 0 and (rest > half or (rest == half and whole & one == one)):
        whole += one
    return whole


@nb.njit(cache=True, nogil=True)
def update_hybrid(
    activation,
    frame,
    bias,
    residual,
    start,
    multiplier,
    shift,
    table,
    numbers,
    function,
    idle,
    cleared,
    first,
    neuron,
    value,
    active,
):
    """Step of `Hybrid`; return the number of messages.

    `numbers` are (omega, omega_shift, fraction, lowest, highest, widest); `function` is 0 for the identity, 1 for the
    ReLU, 2 for `table`. `idle`: the unit stands still; `cleared`: residuals are set to `start` first.
    """
    omega, omega_shift, fraction, lowest, highest, widest = numbers
    limit = (np.int64(1) << np.int64(31)) - 1
    reach = table.size // 2
    message = np.zeros_like(activation)
    for i in range(activation.size):
        x = activation[i] + frame[i] + bias[i]
        activation[i] = 0
        if idle:
            active[i] = False
            continue
        f = min(max(_halves_to_even(x * multiplier[i], shift[i]), -limit), limit)
        if function == 1:
            f = max(f, np.int64(0))
        elif function == 2:
            f = table[min(max(f, -reach), reach) + reach]
        old = residual[i]
        kept = start[i] if cleared else old
        v = min(max(kept + _halves_to_even(f * omega, omega_shift), -widest), widest)
        n = min(max(v >> fraction, lowest), highest)
        v -= n << fraction
        residual[i] = v
        message[i] = n
        active[i] = (n != 0) | (v != old)
    return list_messages(message, first, neuron, value)
