"""Compiled kernel of the gated units in `neurosim.network.gated`.

Bare loops over flat int64 arrays; accumulators and sums stand neuron by neuron, the compartments of each in order.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.unit_kernels import list_messages

COMPARTMENTS = 4


@nb.njit(cache=True, nogil=True)
def _rescale(value, before, after):
    """Return a number of `before` bits of fraction as one of `after`, rounded half to even."""
    if after >= before:
        return value << (after - before)
    shift = before - after
    quotient = value >> shift
    rest = value - (quotient << shift)
    half = np.int64(1) << (shift - 1)
    if rest > half or (rest == half and quotient & 1 == 1):
        quotient += 1
    return quotient


@nb.njit(cache=True, nogil=True)
def _keep_within(value, highest):
    """Return `value` kept within +-`highest`."""
    return min(max(value, -highest), highest)


@nb.njit(cache=True, nogil=True)
def _look_up(values, index):
    """Return the entry of a table at `index`, which counts from its middle; beyond its ends, that of the nearer."""
    reach = values.size // 2
    return values[_keep_within(index, reach) + reach]


@nb.njit(cache=True, nogil=True)
def _add_up(activation, sums, highest, i):
    """Add a neuron's accumulators to its sums, and clear them; return whether any sum changed."""
    moved = False
    for k in range(i * COMPARTMENTS, (i + 1) * COMPARTMENTS):
        total = _keep_within(sums[k] + activation[k], highest)
        activation[k] = 0
        moved |= total != sums[k]
        sums[k] = total
    return moved


@nb.njit(cache=True, nogil=True)
def _gru_state(sums, at, h, formats, highest, sigmoid, tanh):
    """Return the next h of a GRU neuron whose sums begin at `at`."""
    a, s, f = formats
    r = _look_up(sigmoid, _keep_within(_rescale(sums[at], s, a), highest))
    z = _look_up(sigmoid, _keep_within(_rescale(sums[at + 1], s, a), highest))
    by_states = _keep_within(_rescale(sums[at + 3], s, a), highest)
    common = max(s, a + f)
    inner = _rescale(sums[at + 2], s, common) + _rescale(r * by_states, a + f, common)
    fresh = _look_up(tanh, _keep_within(_rescale(inner, common, a), highest))
    new = _keep_within(_rescale(((np.int64(1) << f) - z) * fresh, 2 * f, a), highest)
    old = _keep_within(_rescale(z * h, a + f, a), highest)
    return _keep_within(new + old, highest)


@nb.njit(cache=True, nogil=True)
def _lstm_state(sums, at, cell, formats, highest, sigmoid, tanh):
    """Return the next c and h of an LSTM neuron whose sums begin at `at`."""
    a, s, f = formats
    entered = _look_up(sigmoid, _keep_within(_rescale(sums[at], s, a), highest))
    kept = _look_up(sigmoid, _keep_within(_rescale(sums[at + 1], s, a), highest))
    fresh = _look_up(tanh, _keep_within(_rescale(sums[at + 2], s, a), highest))
    let_out = _look_up(sigmoid, _keep_within(_rescale(sums[at + 3], s, a), highest))
    common = max(a + f, 2 * f)
    total = _rescale(kept * cell, a + f, common) + _rescale(entered * fresh, 2 * f, common)
    c = _keep_within(_rescale(total, common, a), highest)
    return c, _keep_within(_rescale(let_out * _look_up(tanh, c), 2 * f, a), highest)


@nb.njit(cache=True, nogil=True)
def update_gated(
    activation, sums, state, sent, cell, lstm, formats, highest, highest_sum, sigmoid, tanh, threshold, idle, first,
    neuron, value, active,
):  # fmt: skip
    """Step of a `DeltaGru`, or with `lstm` of a `DeltaLstm`; return the number of messages.

    `formats` are the fractions of activations, sums and tables, `highest` and `highest_sum` the largest activation and
    sum. `idle`: it stands still, but for what arrives. `cell` is not read of a GRU.
    """
    message = np.zeros_like(state)
    for i in range(state.size):
        moved = _add_up(activation, sums, highest_sum, i)
        if not idle:
            before, at = state[i], i * COMPARTMENTS
            if lstm:
                c, h = _lstm_state(sums, at, cell[i], formats, highest, sigmoid, tanh)
                moved |= c != cell[i]
                cell[i] = c
            else:
                h = _gru_state(sums, at, before, formats, highest, sigmoid, tanh)
            moved |= h != before
            state[i] = h
            change = h - sent[i]
            if abs(change) >= threshold:
                message[i] = change
                sent[i] = h
        active[i] = moved | (message[i] != 0)
    return list_messages(message, first, neuron, value)
