"""Compiled kernels that write down the synapses of every message at every core, one list a pair of them.

A pair is a source neuron and a core that holds synapses for it; pairs of a neuron stand in the order of cores. Each
kernel goes through a connection so that the targets of a source come in ascending order.
"""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def _place(source, target, weight, pair_first, pair_core, neuron_core, list_first, used, targets, weights):
    """Put a synapse behind those that its list has; return 0, or 1 where there is no list or no room for it."""
    core = neuron_core[target]
    pair = pair_first[source]
    last = pair_first[source + 1]
    while pair < last and pair_core[pair] < core:
        pair += 1
    if pair == last or pair_core[pair] != core:
        return 1
    at = list_first[pair] + used[pair]
    if at == list_first[pair + 1]:
        return 1
    targets[at] = target
    weights[at] = weight
    used[pair] += 1
    return 0


@nb.njit(cache=True, nogil=True)
def place_dense(
    counted, values, positions, first, pair_first, pair_core, neuron_core, list_first, used, targets, weights
):
    """Write down a dense connection; return how many synapses found no place.

    Parameters
    ----------
    counted, values
        int32 (out, in): 1 where a synapse counts; weights.
    positions
        int64 (in,): neuron of each input position.
    first
        Number of the target layer's first neuron.
    pair_first, pair_core, list_first
        Pairs of each neuron, their cores, and where their lists begin, each with an end.
    neuron_core
        int64 (n,): core of each neuron.
    used
        int64 (pairs,): how far each list is filled; changed.
    targets, weights
        int32 (synapses,): filled.
    """
    wrong = 0
    for j in range(values.shape[0]):
        for i in range(values.shape[1]):
            if counted[j, i] != 0:
                wrong += _place(
                    positions[i], first + j, values[j, i], pair_first, pair_core, neuron_core, list_first, used,
                    targets, weights,
                )  # fmt: skip
    return wrong


@nb.njit(cache=True, nogil=True)
def place_sparse(
    counted, values, row_start, row_target, positions, first, pair_first, pair_core, neuron_core, list_first, used,
    targets, weights,
):  # fmt: skip
    """Write down a connection given synapse by synapse; see `place_dense`."""
    wrong = 0
    for i in range(row_start.size - 1):
        for k in range(row_start[i], row_start[i + 1]):
            if counted[k] != 0:
                wrong += _place(
                    positions[i], first + row_target[k], values[k], pair_first, pair_core, neuron_core, list_first,
                    used, targets, weights,
                )  # fmt: skip
    return wrong


@nb.njit(cache=True, nogil=True)
def place_conv(
    counted, values, groups, rows, columns, out_height, out_width, positions, first, pair_first, pair_core,
    neuron_core, list_first, used, targets, weights,
):  # fmt: skip
    """Write down a convolution, `rows` and `columns` its `taps`; see `place_dense`.

    The larger the kernel position, the smaller the output position that an input meets by it.
    """
    wrong = 0
    out_channels, per_in, kernel_rows, kernel_columns = values.shape
    per_out = out_channels // groups
    height, width = rows.shape[0], columns.shape[0]
    for o in range(out_channels):
        for ky in range(kernel_rows - 1, -1, -1):
            for kx in range(kernel_columns - 1, -1, -1):
                for c in range(per_in):
                    if counted[o, c, ky, kx] == 0:
                        continue
                    channel = (o // per_out) * per_in + c
                    for y in range(height):
                        if rows[y, ky] < 0:
                            continue
                        for x in range(width):
                            if columns[x, kx] < 0:
                                continue
                            wrong += _place(
                                positions[(channel * height + y) * width + x],
                                first + (o * out_height + rows[y, ky]) * out_width + columns[x, kx],
                                values[o, c, ky, kx], pair_first, pair_core, neuron_core, list_first, used, targets,
                                weights,
                            )  # fmt: skip
    return wrong


@nb.njit(cache=True, nogil=True)
def sort_lists(list_first, targets, weights):
    """Put each list in the order of its targets; synapses of one target keep theirs."""
    for pair in range(list_first.size - 1):
        low, high = list_first[pair], list_first[pair + 1]
        for k in range(low + 1, high):
            if targets[k] < targets[k - 1]:
                order = np.argsort(targets[low:high], kind="mergesort")
                targets[low:high] = targets[low:high][order]
                weights[low:high] = weights[low:high][order]
                break
