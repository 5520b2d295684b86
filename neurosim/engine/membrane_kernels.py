"""Compiled kernels of the membranes in `neurosim.network.membranes`: bare loops over flat int64 arrays."""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.unit_kernels import list_messages


@nb.njit(cache=True, nogil=True)
def update_membrane(
    activation,
    current,
    voltage,
    current_keep,
    voltage_keep,
    current_bias,
    bias,
    threshold,
    reset,
    shifts,
    flags,
    idle,
    cleared,
    first,
    neuron,
    value,
    active,
):
    """Step of a `Membrane`; return the number of messages.

    `shifts` are (activation_shift, decay_bits, state_bits, message_shift), `flags` whether there is a current, whether
    v takes the old one, whether it spikes, whether a spike subtracts. `idle`: it stands still; `cleared`: the state is
    cleared first. Arrays that a kind lacks are not read.
    """
    activation_shift, decay_bits, state_bits, message_shift = shifts
    has_current, old_current, spiking, subtract = flags
    message = np.zeros_like(activation)
    highest = (np.int64(1) << np.int64(state_bits - 1)) - 1
    for i in range(activation.size):
        arrived = activation[i] << activation_shift
        activation[i] = 0
        if idle:
            active[i] = False
            continue
        old_v = voltage[i]
        v = np.int64(0) if cleared else abs(old_v) * voltage_keep[i] >> decay_bits
        v = v if old_v >= 0 else -v
        moved = False
        if has_current:
            old_i = current[i]
            before = np.int64(0) if cleared else old_i
            fresh = abs(before) * current_keep[i] >> decay_bits
            fresh = fresh if before >= 0 else -fresh
            fresh = min(max(fresh + arrived + current_bias[i], -highest), highest)
            current[i] = fresh
            moved = fresh != old_i
            arrived = before if old_current else fresh
        v = min(max(v + arrived + bias[i], -highest), highest)
        if spiking:
            if v > threshold[i]:
                message[i] = 1
                v = v - threshold[i] + reset[i] if subtract else reset[i]
        else:
            message[i] = v >> message_shift
        voltage[i] = v
        active[i] = moved | (v != old_v) | (message[i] != 0)
    return list_messages(message, first, neuron, value)
