"""Compiled steps of the units of dataflow cores, one neuron at one arrival.

docs/decisions/0005-dataflow.md says what an arrival means to each unit.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.unit_kernels import MAX_VOLTAGE, sigma_delta_step

# What a unit does at an arrival.
ADDS_AND_SENDS_CHANGES, ADDS, FIRES = 0, 1, 2

# A layer's unit; times in ticks, all 0 for one without state. SHIFT is that of a message of those that send changes,
# and that of an activation of those that fire. DIVISOR: what sums are divided by, 1 for exact ones.
KIND, THRESHOLD, SHIFT, CORRECTED, CUM_ERROR, ACTIVE, INACTIVE, SEND, LENGTH, STATE, DIVISOR = range(11)
UNIT = 11


@nb.njit(cache=True, nogil=True)
def fire_step(activation, voltage, threshold, activation_shift):
    """Step of one `CubaLif` neuron that forgets its current at once and keeps its voltage, without bias.

    Returns
    -------
    Its new voltage; 1 for a spike, 0 for none; and whether it was active.
    """
    half = np.int64(1) << 23
    current = (((activation << activation_shift) + half) & ((half << 1) - 1)) - half
    before = voltage
    voltage = min(max(voltage + current, -MAX_VOLTAGE), MAX_VOLTAGE)
    spike = np.int64(voltage > threshold)
    if spike != 0:
        voltage = np.int64(0)
    return voltage, spike, (spike != 0) | (voltage != before)


@nb.njit(cache=True, nogil=True)
def touch_unit(neuron, total, unit, flow):
    """Update a neuron of the unit in row `unit` by the sum of a message's synapses.

    Returns
    -------
    What it sends, 0 for nothing, and whether it was active.
    """
    units, sigma, held, error, voltage = flow.units, flow.sigma, flow.held, flow.error, flow.voltage
    divisor = units[unit + DIVISOR]
    if divisor > 1:
        # The rest waits in the accumulator for the next message, so what the unit has had is the sum rounded once.
        total += flow.rest[neuron]
        activation = total // divisor
        flow.rest[neuron] = total - activation * divisor
    else:
        activation = total
    kind = units[unit + KIND]
    if kind == ADDS:
        sigma[neuron] += activation
        word = sigma[neuron]
        moved = (activation != 0) | (word != 0)
    elif kind == FIRES:
        voltage[neuron], word, moved = fire_step(
            activation, voltage[neuron], units[unit + THRESHOLD], units[unit + SHIFT]
        )
    else:
        sigma[neuron], held[neuron], error[neuron], word, moved = sigma_delta_step(
            activation, sigma[neuron], held[neuron], error[neuron], flow.bias[neuron], units[unit + THRESHOLD],
            units[unit + SHIFT], units[unit + CORRECTED] != 0, units[unit + CUM_ERROR] != 0,
        )  # fmt: skip
    return word, moved
