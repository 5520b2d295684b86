"""The float64 meaning of each node of a dense graph, in plain numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neurosim.formats.dense_nodes import (
    Activation,
    Add,
    Concat,
    Conv2d,
    Flatten,
    FloatArray,
    Gru,
    Linear,
    Lstm,
    Node,
    Pool2d,
    Scale,
    Shape,
)


def sigmoid(x: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def activate(node: Activation, x: FloatArray) -> FloatArray:
    """Return the function of `node` of each value."""
    match node.function:
        case "relu":
            return np.maximum(x, 0.0)
        case "leaky_relu":
            return np.where(x >= 0, x, node.low * x)
        case "clip":
            return np.clip(x, node.low, node.high)
        case "sigmoid":
            return sigmoid(x)
        case "tanh":
            return np.tanh(x)
        case "hard_sigmoid":
            return np.clip(node.low * x + node.high, 0.0, 1.0)
        case _:
            return x


def _windows(
    x: FloatArray,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    filler: float = 0.0,
) -> FloatArray:
    """Return the windows of (n, C, H, W) as (n, C, rows, columns, kernel rows, kernel columns)."""
    edges = ((0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1]))
    padded = np.pad(x, edges, constant_values=filler)
    reach = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    view = sliding_window_view(padded, reach, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _conv2d(node: Conv2d, x: FloatArray) -> FloatArray:
    windows = _windows(x, node.weight.shape[2:], node.stride, node.padding, node.dilation)
    per_in, per_out = node.weight.shape[1], node.weight.shape[0] // node.groups
    parts = [
        np.tensordot(
            windows[:, g * per_in : (g + 1) * per_in],
            node.weight[g * per_out : (g + 1) * per_out],
            axes=((1, 4, 5), (1, 2, 3)),
        )
        for g in range(node.groups)
    ]
    return np.concatenate(parts, axis=-1).transpose(0, 3, 1, 2) + node.bias[:, None, None]


def _pool2d(node: Pool2d, x: FloatArray) -> FloatArray:
    filler = -np.inf if node.mode == "max" else 0.0
    windows = _windows(x, node.kernel, node.stride, node.padding, (1, 1), filler)
    if node.mode == "max":
        return np.asarray(windows.max(axis=(4, 5)))
    total = windows.sum(axis=(4, 5))
    if node.mode == "sum":
        return np.asarray(total)
    if node.count_padding:
        return np.asarray(total / (node.kernel[0] * node.kernel[1]))
    inside = _windows(np.ones((1, 1, *x.shape[2:])), node.kernel, node.stride, node.padding, (1, 1)).sum(axis=(4, 5))
    return np.asarray(total / inside)


def _gru(node: Gru, x: FloatArray) -> FloatArray:
    """Step along axis 1 of (sequences, frames, in)."""
    n = node.hidden
    h = np.zeros((len(x), n))
    out = np.empty((*x.shape[:2], n))
    driven = x @ node.weight_ih.T + node.bias_ih
    for t in range(x.shape[1]):
        if node.reset_before:
            gates = sigmoid(driven[:, t, : 2 * n] + h @ node.weight_hh[: 2 * n].T + node.bias_hh[: 2 * n])
            r, z = gates[:, :n], gates[:, n:]
            fresh = np.tanh(driven[:, t, 2 * n :] + (r * h) @ node.weight_hh[2 * n :].T + node.bias_hh[2 * n :])
        else:
            held = h @ node.weight_hh.T + node.bias_hh
            r, z = sigmoid(driven[:, t, :n] + held[:, :n]), sigmoid(driven[:, t, n : 2 * n] + held[:, n : 2 * n])
            fresh = np.tanh(driven[:, t, 2 * n :] + r * held[:, 2 * n :])
        h = (1.0 - z) * fresh + z * h
        out[:, t] = h
    return out


def _lstm(node: Lstm, x: FloatArray) -> FloatArray:
    """Step along axis 1 of (sequences, frames, in)."""
    n = node.hidden
    h, c = np.zeros((len(x), n)), np.zeros((len(x), n))
    out = np.empty((*x.shape[:2], n))
    driven = x @ node.weight_ih.T + node.bias_ih
    for t in range(x.shape[1]):
        gates = driven[:, t] + h @ node.weight_hh.T + node.bias_hh
        c = sigmoid(gates[:, n : 2 * n]) * c + sigmoid(gates[:, :n]) * np.tanh(gates[:, 2 * n : 3 * n])
        h = sigmoid(gates[:, 3 * n :]) * np.tanh(c)
        out[:, t] = h
    return out


def _channelwise(values: FloatArray, axes: int) -> FloatArray:
    return values.reshape(-1, *[1] * (axes - 1))


def forward(node: Node, inputs: Sequence[FloatArray], leading: Shape, shape: Shape) -> FloatArray:
    """Return what `node` makes of its inputs.

    `leading` are the axes before those of a sample, (frames,) or (sequences, frames); `shape` is the result's sample.
    """
    if isinstance(node, Gru | Lstm):
        x = inputs[0].reshape((1, *inputs[0].shape) if len(leading) == 1 else inputs[0].shape)
        stepped = _gru(node, x) if isinstance(node, Gru) else _lstm(node, x)
        return stepped.reshape(*leading, *shape)
    flat = [x.reshape(-1, *x.shape[len(leading) :]) for x in inputs]
    if isinstance(node, Linear):
        out = flat[0] @ node.weight.T + node.bias
    elif isinstance(node, Conv2d):
        out = _conv2d(node, flat[0])
    elif isinstance(node, Pool2d):
        out = _pool2d(node, flat[0])
    elif isinstance(node, Scale):
        out = flat[0] * _channelwise(node.scale, len(shape)) + _channelwise(node.shift, len(shape))
    elif isinstance(node, Activation):
        out = activate(node, flat[0])
    elif isinstance(node, Add):
        out = np.sum(flat, axis=0)
    elif isinstance(node, Concat):
        out = np.concatenate(flat, axis=1)
    else:
        assert isinstance(node, Flatten)
        out = flat[0]
    return np.asarray(out.reshape(*leading, *shape))
