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


@nb.njit(cache=True, nogil=True)
def update_relay(activation, frame, first, neuron, value, active):
    """Send the frame; return the number of messages."""
    sent = 0
    for i in range(activation.size):
        message = frame[i] + activation[i]
        active[i] = message != 0
        if message != 0:
            neuron[sent] = first + i
            value[sent] = message
            sent += 1
    return sent


@nb.njit(cache=True, nogil=True)
def update_delta(activation, frame, held, threshold, frame_shift, message_shift, first, neuron, value, active):
    """Step of `Delta`; return the number of messages."""
    sent = 0
    for i in range(activation.size):
        x = (frame[i] << frame_shift) + activation[i]
        change = x - held[i]
        active[i] = change != 0
        if abs(change) >= threshold:
            held[i] = x
            message = change >> message_shift
            if message != 0:
                neuron[sent] = first + i
                value[sent] = message
                sent += 1
    return sent


@nb.njit(cache=True, nogil=True)
def update_sigma(activation, sigma, first, neuron, value, active):
    """Step of `Sigma`; return the number of messages."""
    sent = 0
    for i in range(activation.size):
        sigma[i] += activation[i]
        active[i] = activation[i] != 0
        if sigma[i] != 0:
            active[i] = True
            neuron[sent] = first + i
            value[sent] = sigma[i]
            sent += 1
    return sent


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
    sent = 0
    for i in range(activation.size):
        moved = activation[i] != 0
        s = sigma[i] + activation[i]
        sigma[i] = s
        y = max(s + bias[i], 0)
        change = y - held[i]
        measure = change
        if cum_error:
            measure = error[i] + change
            moved = moved or change != 0
        fires = abs(measure) >= threshold
        message = np.int64(0)
        if fires:
            message = change >> message_shift
            moved = moved or change != 0
            if corrected:
                held[i] += message << message_shift
            else:
                held[i] = y
        if cum_error:
            error[i] = 0 if fires else measure
        active[i] = moved
        if message != 0:
            neuron[sent] = first + i
            value[sent] = message
            sent += 1
    return sent


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
    reset,
    first,
    neuron,
    value,
    active,
):
    """Step of `CubaLif`, with what is kept of current and voltage in 1/4096; return the messages' number."""
    sent = 0
    half = np.int64(1) << 23
    mask = (half << 1) - 1
    for i in range(activation.size):
        old_u, old_v = current[i], voltage[i]
        u, v = old_u, old_v
        if reset:
            u = np.int64(0)
            v = np.int64(0)
        u = (u * current_keep) >> 12 if u >= 0 else -((-u * current_keep) >> 12)
        u += activation[i] << activation_shift
        u = ((u + half) & mask) - half
        v = (v * voltage_keep) >> 12 if v >= 0 else -((-v * voltage_keep) >> 12)
        v += u + ((bias[i] + frame[i]) << bias_shift)
        v = min(max(v, -MAX_VOLTAGE), MAX_VOLTAGE)
        spikes = v > threshold
        if spikes:
            v = np.int64(0)
            neuron[sent] = first + i
            value[sent] = 1
            sent += 1
        current[i] = u
        voltage[i] = v
        active[i] = spikes or u != old_u or v != old_v
    return sent


@nb.njit(cache=True, nogil=True)
def deliver_dense(source, value, weights, slot):
    """Add `weights[source] * value` to `slot` for every message; return the synops."""
    size = weights.shape[1]
    for m in range(source.size):
        row = weights[source[m]]
        message = value[m]
        for j in range(size):
            slot[j] += row[j] * message
    return source.size * size


@nb.njit(cache=True, nogil=True)
def deliver_sparse(source, value, row_start, targets, weights, slot):
    """Add each message's synapses to `slot`; return the synops."""
    synops = 0
    for m in range(source.size):
        message = value[m]
        low, high = row_start[source[m]], row_start[source[m] + 1]
        for k in range(low, high):
            slot[targets[k]] += weights[k] * message
        synops += high - low
    return synops


@nb.njit(cache=True, nogil=True)
def deliver_conv(
    source,
    value,
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
    for m in range(source.size):
        i = source[m]
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
def deliver_dense_delayed(source, value, weights, axon, neuron, synapse, timestep, slots):
    """As `deliver_dense` with delays, each array empty where there is none; `slots` is a ring."""
    depth, size = slots.shape[0], weights.shape[1]
    for m in range(source.size):
        i = source[m]
        base = timestep + 1
        if axon.size > 0:
            base += axon[i]
        for j in range(size):
            at = base
            if neuron.size > 0:
                at += neuron[j]
            if synapse.size > 0:
                at += synapse[i, j]
            slots[at % depth, j] += weights[i, j] * value[m]
    return source.size * size


@nb.njit(cache=True, nogil=True)
def deliver_sparse_delayed(source, value, row_start, targets, weights, axon, neuron, synapse, timestep, slots):
    """As `deliver_sparse` with delays, each array empty where there is none; `slots` is a ring."""
    depth = slots.shape[0]
    synops = 0
    for m in range(source.size):
        i = source[m]
        base = timestep + 1
        if axon.size > 0:
            base += axon[i]
        for k in range(row_start[i], row_start[i + 1]):
            at = base
            if neuron.size > 0:
                at += neuron[targets[k]]
            if synapse.size > 0:
                at += synapse[k]
            slots[at % depth, targets[k]] += weights[k] * value[m]
        synops += row_start[i + 1] - row_start[i]
    return synops


@nb.njit(cache=True, nogil=True)
def deliver_conv_delayed(
    source,
    value,
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
    neuron,
    synapse,
    timestep,
    slots,
):
    """As `deliver_conv` with delays, each array empty where there is none.

    `neuron` is in slot order (positions x channels), `synapse` in the order of `weights`.
    """
    synops = 0
    depth, reach, area = slots.shape[0], weights.shape[3], height * width
    for m in range(source.size):
        i = source[m]
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
                    if neuron.size > 0:
                        when += neuron[at + k]
                    if synapse.size > 0:
                        when += synapse[channel, row_kernel[ty], column_kernel[tx], k]
                    weight = weights[channel, row_kernel[ty], column_kernel[tx], k]
                    slots[when % depth, at + k] += weight * value[m]
                    synops += 1
    return synops
