"""Compiled kernels of connections: where messages add up, and how sums come to the neurons.

Bare loops over flat arrays. Sums and messages are int64; weights are int32. Accumulators of units with several
compartments stand neuron by neuron, the compartments of each in order.
"""

from __future__ import annotations

import numba as nb
import numpy as np


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


@nb.njit(cache=True, nogil=True)
def collect_compartments(arrived, into, compartments, activation):
    """Add the sums of one timestep to the accumulators that they lead to, and clear them.

    `arrived` int64 (n * k,), `into` int64 (k,): the compartment of each of a neuron's k sums, `activation`
    int64 (n * compartments,).
    """
    k = into.size
    for i in range(arrived.size // k):
        for j in range(k):
            activation[i * compartments + into[j]] += arrived[i * k + j]
            arrived[i * k + j] = 0


@nb.njit(cache=True, nogil=True)
def collect_met_compartments(arrived, k, met):
    """Add the synapses of a neuron's `k` sums, `arrived` int64 (n * k,), to `met` int64 (n,), and clear them."""
    for i in range(met.size):
        for j in range(k):
            met[i] += arrived[i * k + j]
            arrived[i * k + j] = 0


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
