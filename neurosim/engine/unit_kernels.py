"""Compiled kernels of units: what each neuron of a layer sends.

Bare loops over flat arrays. State, activations and messages are int64. The numpy
steps in `neurosim.network.units` say what these must compute.
"""

from __future__ import annotations

import numba as nb
import numpy as np

MAX_VOLTAGE = (1 << 23) - 1


@nb.njit(cache=True, nogil=True, inline="always")
def list_messages(message, first, neuron, value):
    """List the messages that are not 0 with their neurons; return their number.

    Without a branch: what is written behind the last message is written over, or left there.
    """
    sent = 0
    for i in range(message.size):
        neuron[sent] = first + i
        value[sent] = message[i]
        sent += message[i] != 0
    return sent


@nb.njit(cache=True, nogil=True)
def update_relay(activation, frame, first, neuron, value, active):
    """Send the frame; return the number of messages. Every update clears the activation for the next timestep."""
    message = np.empty_like(activation)
    for i in range(activation.size):
        message[i] = frame[i] + activation[i]
        active[i] = message[i] != 0
        activation[i] = 0
    return list_messages(message, first, neuron, value)


@nb.njit(cache=True, nogil=True)
def update_delta(activation, frame, held, threshold, frame_shift, message_shift, first, neuron, value, active):
    """Step of `Delta`; return the number of messages."""
    message = np.empty_like(activation)
    for i in range(activation.size):
        x = (frame[i] << frame_shift) + activation[i]
        change = x - held[i]
        fires = abs(change) >= threshold
        active[i] = change != 0
        message[i] = change >> message_shift if fires else 0
        held[i] = x if fires else held[i]
        activation[i] = 0
    return list_messages(message, first, neuron, value)


@nb.njit(cache=True, nogil=True)
def update_sigma(activation, sigma, first, neuron, value, active):
    """Step of `Sigma`; return the number of messages."""
    for i in range(activation.size):
        sigma[i] += activation[i]
        active[i] = (activation[i] != 0) | (sigma[i] != 0)
        activation[i] = 0
    return list_messages(sigma, first, neuron, value)


@nb.njit(cache=True, nogil=True)
def sigma_delta_step(activation, sigma, held, error, bias, threshold, message_shift, corrected, cum_error):
    """Step of one `SigmaDelta` neuron, `bias` already shifted.

    Returns
    -------
    Its new sigma, held and error; its message, 0 for none; and whether it was active.
    """
    moved = activation != 0
    sigma += activation
    y = max(sigma + bias, 0)
    change = y - held
    measure = error + change if cum_error else change
    fires = abs(measure) >= threshold
    message = change >> message_shift if fires else np.int64(0)
    before = held
    kept = held + (message << message_shift) if corrected else y
    held = kept if fires else before
    moved = moved | (held != before)
    if cum_error:
        kept = np.int64(0) if fires else measure
        moved = moved | (kept != error)
        error = kept
    return sigma, held, error, message, moved


@nb.njit(cache=True, nogil=True)
def update_sigma_delta(
    activation,
    sigma,
    held,
    error,
    bias,
    threshold,
    message_shift,
    corrected,
    cum_error,
    first,
    neuron,
    value,
    active,
):
    """Step of `SigmaDelta`, `bias` already shifted; return the number of messages."""
    message = np.empty_like(activation)
    for i in range(activation.size):
        sigma[i], held[i], error[i], message[i], active[i] = sigma_delta_step(
            activation[i], sigma[i], held[i], error[i], bias[i], threshold, message_shift, corrected, cum_error
        )
        activation[i] = 0
    return list_messages(message, first, neuron, value)


@nb.njit(cache=True, nogil=True)
def update_cuba_lif(
    activation,
    frame,
    current,
    voltage,
    bias,
    current_keep,
    voltage_keep,
    threshold,
    activation_shift,
    bias_shift,
    first,
    neuron,
    value,
    active,
):
    """Step of `CubaLif`, with what is kept of current and voltage in 1/4096 (0 where the unit is reset).

    Returns the number of messages.
    """
    message = np.empty_like(activation)
    half = np.int64(1) << 23
    mask = (half << 1) - 1
    for i in range(activation.size):
        old_u, old_v = current[i], voltage[i]
        u = abs(old_u) * current_keep >> 12
        u = u if old_u >= 0 else -u
        u += activation[i] << activation_shift
        u = ((u + half) & mask) - half
        v = abs(old_v) * voltage_keep >> 12
        v = v if old_v >= 0 else -v
        v += u + ((bias[i] + frame[i]) << bias_shift)
        v = min(max(v, -MAX_VOLTAGE), MAX_VOLTAGE)
        spikes = v > threshold
        v = v if not spikes else 0
        message[i] = spikes
        current[i] = u
        voltage[i] = v
        active[i] = spikes | (u != old_u) | (v != old_v)
        activation[i] = 0
    return list_messages(message, first, neuron, value)


@nb.njit(cache=True, nogil=True)
def update_rounding(
    activation,
    frame,
    bias,
    total,
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
    """Step of `Rounding`, `rounding` by its number in `ROUNDINGS`; return the number of messages."""
    message = np.empty_like(activation)
    one = np.int64(1)
    for i in range(activation.size):
        total[i] += activation[i] if accumulates else 0
        x = (total[i] if accumulates else activation[i]) + frame[i] + bias[i]
        product = x * multiplier[i]
        half = (one << shift[i]) >> one
        s = (product + (half if rounding == 0 else 0)) >> shift[i]
        if rounding == 1:
            rest = product - (s << shift[i])
            s += (half > 0) & ((rest > half) | ((rest == half) & (s & one == one)))
        s = min(max(s, lowest), highest)
        change = s - held[i]
        sent = change if abs(change) >= threshold else 0
        message[i] = sent
        held[i] += sent if changes else 0
        active[i] = (sent != 0) | (accumulates & (activation[i] != 0))
        activation[i] = 0
    return list_messages(message, first, neuron, value)
