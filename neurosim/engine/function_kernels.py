"""Compiled kernels of the functional step: what each neuron sends, and where it adds up.

Bare loops over flat arrays. State, activations and messages are int64; weights are int32. The numpy
steps in `neurosim.network.units` say what these must compute.
"""

from __future__ import annotations

import numba as nb
import numpy as np

MAX_VOLTAGE = (1 << 23) - 1


@nb.njit(cache=True, nogil=True)
def collect(slot, channels, positions, bits, divisor, activation):
    """Move the sums of one timestep from `slot` into `activation`, and clear the slot.

    `slot` is positions x channels, `activation` channels x positions; sums are wrapped to `bits` (0: exact)
    and divided rounding down.
    """
    half = np.int64(1) << np.int64(max(bits - 1, 0))
    mask = (half << 1) - 1
    if channels == 1 and divisor == 1:  # no place moves: a loop without branches, for the vector unit
        if bits > 0:
            for i in range(positions):
                activation[i] += ((slot[i] + half) & mask) - half
                slot[i] = 0
        else:
            for i in range(positions):
                activation[i] += slot[i]
                slot[i] = 0
        return
    at = 0
    for p in range(positions):
        for c in range(channels):
            total = slot[at]
            if total != 0:
                slot[at] = 0
                if bits > 0:
                    total = ((total + half) & mask) - half
                if divisor > 1:
                    total = total // divisor
                activation[c * positions + p] += total
            at += 1


@nb.njit(cache=True, nogil=True, inline="always")
def _list_messages(message, first, neuron, value):
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
    return _list_messages(message, first, neuron, value)


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
    return _list_messages(message, first, neuron, value)


@nb.njit(cache=True, nogil=True)
def update_sigma(activation, sigma, first, neuron, value, active):
    """Step of `Sigma`; return the number of messages."""
    for i in range(activation.size):
        sigma[i] += activation[i]
        active[i] = (activation[i] != 0) | (sigma[i] != 0)
        activation[i] = 0
    return _list_messages(sigma, first, neuron, value)


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
    return _list_messages(message, first, neuron, value)


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
    return _list_messages(message, first, neuron, value)


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
    return _list_messages(message, first, neuron, value)


@nb.njit(cache=True, nogil=True)
def deliver_dense(neuron, value, shift, weights, slot):
    """Add `weights[source] * value` to `slot` for every message; return the synops.

    The source of a message, for all kernels of delivery, is `neuron - shift`.
    """
    size = weights.shape[1]
    for m in range(neuron.size):
        row = weights[neuron[m] - shift]
        message = value[m]
        for j in range(size):
            slot[j] += row[j] * message
    return neuron.size * size


@nb.njit(cache=True, nogil=True)
def deliver_sparse(neuron, value, shift, weights, row_start, targets, slot):
    """Add each message's synapses to `slot`; return the synops."""
    synops = 0
    for m in range(neuron.size):
        message = value[m]
        source = neuron[m] - shift
        low, high = row_start[source], row_start[source + 1]
        reached, row = targets[low:high], weights[low:high]
        for k in range(reached.size):
            slot[np.uint64(reached[k])] += row[k] * message  # unsigned: no test for places counted from the end
        synops += high - low
    return synops


@nb.njit(cache=True, nogil=True)
def deliver_conv(
    neuron,
    value,
    shift,
    weights,
    height,
    width,
    per_in,
    out_width,
    out_channels,
    row_start,
    row_kernel,
    row_out,
    column_start,
    column_kernel,
    column_out,
    slot,
):
    """Add each message's kernel taps to `slot` (out positions x channels); return the synops.

    `weights` is (input channel, kernel row, kernel column, output channel of the group); the row and
    column tables list, for each input position, the kernel positions met and the outputs they feed.
    """
    synops = 0
    reach = weights.shape[3]
    area = height * width
    for m in range(neuron.size):
        i = neuron[m] - shift
        message = value[m]
        channel = i // area
        y = (i - channel * area) // width
        x = i - channel * area - y * width
        first = (channel // per_in) * reach
        for ty in range(row_start[y], row_start[y + 1]):
            for tx in range(column_start[x], column_start[x + 1]):
                at = (row_out[ty] * out_width + column_out[tx]) * out_channels + first
                taps = weights[channel, row_kernel[ty], column_kernel[tx]]
                sums = slot[at : at + reach]
                for k in range(reach):
                    sums[k] += taps[k] * message
        synops += (row_start[y + 1] - row_start[y]) * (column_start[x + 1] - column_start[x]) * reach
    return synops


@nb.njit(cache=True, nogil=True)
def deliver_dense_delayed(neuron, value, shift, weights, axon, target, synapse, timestep, slots):
    """As `deliver_dense` with delays by source, target or synapse, each array empty where there is none.

    `slots` is a ring.
    """
    depth, size = slots.shape[0], weights.shape[1]
    for m in range(neuron.size):
        i = neuron[m] - shift
        base = timestep + 1
        if axon.size > 0:
            base += axon[i]
        for j in range(size):
            at = base
            if target.size > 0:
                at += target[j]
            if synapse.size > 0:
                at += synapse[i, j]
            slots[at % depth, j] += weights[i, j] * value[m]
    return neuron.size * size


@nb.njit(cache=True, nogil=True)
def deliver_sparse_delayed(neuron, value, shift, weights, row_start, targets, axon, target, synapse, timestep, slots):
    """As `deliver_sparse` with delays, each array empty where there is none; `slots` is a ring."""
    depth = slots.shape[0]
    synops = 0
    for m in range(neuron.size):
        i = neuron[m] - shift
        base = timestep + 1
        if axon.size > 0:
            base += axon[i]
        for k in range(row_start[i], row_start[i + 1]):
            at = base
            if target.size > 0:
                at += target[targets[k]]
            if synapse.size > 0:
                at += synapse[k]
            slots[at % depth, targets[k]] += weights[k] * value[m]
        synops += row_start[i + 1] - row_start[i]
    return synops


@nb.njit(cache=True, nogil=True)
def deliver_conv_delayed(
    neuron,
    value,
    shift,
    weights,
    height,
    width,
    per_in,
    out_width,
    out_channels,
    row_start,
    row_kernel,
    row_out,
    column_start,
    column_kernel,
    column_out,
    axon,
    target,
    synapse,
    timestep,
    slots,
):
    """As `deliver_conv` with delays, each array empty where there is none.

    `target` is in slot order (positions x channels), `synapse` in the order of `weights`.
    """
    synops = 0
    depth, reach, area = slots.shape[0], weights.shape[3], height * width
    for m in range(neuron.size):
        i = neuron[m] - shift
        channel = i // area
        y = (i - channel * area) // width
        x = i - channel * area - y * width
        first = (channel // per_in) * reach
        base = timestep + 1
        if axon.size > 0:
            base += axon[i]
        for ty in range(row_start[y], row_start[y + 1]):
            for tx in range(column_start[x], column_start[x + 1]):
                at = (row_out[ty] * out_width + column_out[tx]) * out_channels + first
                for k in range(reach):
                    when = base
                    if target.size > 0:
                        when += target[at + k]
                    if synapse.size > 0:
                        when += synapse[channel, row_kernel[ty], column_kernel[tx], k]
                    weight = weights[channel, row_kernel[ty], column_kernel[tx], k]
                    slots[when % depth, at + k] += weight * value[m]
                    synops += 1
    return synops
