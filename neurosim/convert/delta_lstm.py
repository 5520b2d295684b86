"""The delta LSTM in floats; see `delta_gru.py`, whose thresholds and held values it shares.

    M_i += W_i dx + U_i dh; M_f, M_g, M_o likewise;
    i, f, o = sigmoid(M_i), sigmoid(M_f), sigmoid(M_o); g = tanh(M_g); c = f c + i g; h = o tanh(c).

The paper (arXiv:1612.05571) has the GRU; the same holds for an LSTM, whose gates are sums of products too. The cell c
is not sent, so it has no threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurosim.convert.delta_cells import bias_of
from neurosim.convert.delta_gru import DeltaRun, changes, check_sequences, check_thresholds
from neurosim.formats.dense_graph import Lstm
from neurosim.formats.dense_numpy import sigmoid


def run_delta_lstm(node: Lstm, inputs: Any, lengths: Any, input_threshold: float, state_threshold: float) -> DeltaRun:
    """Run sequences through an LSTM turned into a delta network, each from rest.

    Parameters
    ----------
    node
        The LSTM.
    inputs, lengths, input_threshold, state_threshold
        As of `run_delta_gru`.

    Raises
    ------
    InputError
        Shapes, lengths or thresholds that do not fit.
    """
    x, length = check_sequences(node, inputs, lengths)
    check_thresholds(input_threshold, state_threshold)
    n = node.hidden
    sums = np.tile(bias_of(node), (len(x), 1))
    held_x = np.zeros((len(x), x.shape[2]))
    held_h, h, c = (np.zeros((len(x), n)) for _ in range(3))
    states = np.zeros((*x.shape[:2], n))
    counts = np.zeros((2, *x.shape[:2]), dtype=np.int64)
    gaps = [0.0, 0.0]
    for t in range(x.shape[1]):
        runs = t < length
        dx, held_x, gap = changes(x[:, t], held_x, input_threshold, runs)
        gaps[0] = max(gaps[0], gap)
        dh, held_h, gap = changes(h, held_h, state_threshold, runs)
        gaps[1] = max(gaps[1], gap)
        counts[0, :, t], counts[1, :, t] = np.count_nonzero(dx, axis=1), np.count_nonzero(dh, axis=1)
        sums += dx @ node.weight_ih.T + dh @ node.weight_hh.T
        i, f, g, o = (sums[:, k * n : (k + 1) * n] for k in range(4))
        going = runs[:, None]
        c = np.where(going, sigmoid(f) * c + sigmoid(i) * np.tanh(g), c)
        h = np.where(going, sigmoid(o) * np.tanh(c), h)
        states[:, t] = np.where(going, h, 0.0)
    return DeltaRun(states, counts[0], counts[1], (gaps[0], gaps[1]), int(length.sum()))
