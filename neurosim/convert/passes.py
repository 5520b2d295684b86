"""Forward and backward passes through a plan in floats, with values rounded where a converted network rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.plan import Plan, Site, Term
from neurosim.formats.dense_graph import Conv2d, FloatArray, Linear, Pool2d, Shape
from neurosim.formats.dense_numpy import forward as node_forward

Scales = Sequence[NDArray[Any]]
"""Per rounded site its scale k: one, one per channel, or one per value."""


def spread(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Return one value, one per channel, or one per value of a sample in a shape that broadcasts with samples."""
    if values.size == 1:
        return values.reshape(1)
    if values.size == shape[0]:
        return values.reshape(-1, *[1] * (len(shape) - 1))
    return values.reshape(shape)


def join(values: Sequence[NDArray[Any]], term: Term) -> NDArray[Any]:
    """Return the values of a term's sources as its node takes them, (frames, *in_shape)."""
    parts = [values[i] for i in term.sources]
    if len(parts) == 1:
        return parts[0].reshape(len(parts[0]), *term.in_shape)
    flat = [part.reshape(len(part), -1) for part in parts]
    return np.concatenate(flat, axis=1).reshape(len(flat[0]), *term.in_shape)


def apply(term: Term, x: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Return the term's weighted sum without bias, (frames, *shape)."""
    node = term.node
    if node is None:
        return x.reshape(len(x), *shape)
    if isinstance(node, Linear):
        return np.asarray(x.reshape(len(x), -1) @ node.weight.T.astype(x.dtype, copy=False))
    if isinstance(node, Conv2d):
        node = replace(node, weight=node.weight.astype(x.dtype, copy=False), bias=np.zeros(1, x.dtype))
    return node_forward(node, [x], x.shape[:1], shape)


def sums(site: Site, values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the sum of a site's terms and bias, (frames, *shape)."""
    total = apply(site.terms[0], join(values, site.terms[0]), site.shape)
    for term in site.terms[1:]:
        total = total + apply(term, join(values, term), site.shape)
    return np.asarray(total + spread(site.bias, site.shape).astype(total.dtype, copy=False))


def limited(site: Site, total: NDArray[Any]) -> NDArray[Any]:
    """Return the site's value of its sum."""
    return np.clip(total, site.low, site.high) if np.isfinite([site.low, site.high]).any() else total


def run(plan: Plan, inputs: NDArray[Any], scales: Scales | None = None) -> list[NDArray[Any]]:
    """Return the value of every site, (frames, *shape); with `scales`, what rounded values cause.

    A rounded site's value is then rint(k x) / k, halves to even; the answer is not rounded.
    """
    values: list[NDArray[Any]] = []
    for i, site in enumerate(plan.sites):
        x = inputs if not site.terms else limited(site, sums(site, values))
        if scales is not None and i < len(scales):
            k = spread(scales[i], site.shape).astype(x.dtype)
            x = np.rint(k * x) / k
        values.append(x)
    return values


def backward(
    plan: Plan,
    totals: Sequence[NDArray[Any] | None],
    values: Sequence[NDArray[Any]],
    last: NDArray[Any],
    weights: bool = False,
    inputs: bool = True,
) -> tuple[list[NDArray[Any]], dict[tuple[int, int], FloatArray], dict[int, FloatArray]]:
    """Return the derivatives by every site's value, and with `weights` by every weight and bias.

    Rounding counts as adding a constant.

    Parameters
    ----------
    totals
        Per site the sum before its limits; None for inputs.
    values
        Per site the value that others read.
    last
        Derivative by the answer, (frames, *shape).
    weights, inputs
        Whether derivatives by weights, and by the input's values, are asked for; those not asked for are 0.
    """
    by_value: list[NDArray[Any]] = [np.zeros_like(v) for v in values]
    by_value[-1] = last
    by_weight: dict[tuple[int, int], FloatArray] = {}
    by_bias: dict[int, FloatArray] = {}
    for i in range(len(plan.sites) - 1, 0, -1):
        site, total = plan.sites[i], totals[i]
        if not site.terms or total is None:
            continue
        g = by_value[i] * ((total > site.low) & (total < site.high))
        if weights:
            by_bias[i] = g.sum(axis=(0, *range(2, g.ndim)))
        for j, term in enumerate(site.terms):
            x = join(values, term)
            gx, gw = _through(term, x, g, weights, inputs or term.sources != (0,))
            if gw is not None:
                by_weight[i, j] = gw
            if gx is None:
                continue
            at = 0
            flat = gx.reshape(len(gx), -1)
            for source in term.sources:
                size = plan.sites[source].size
                by_value[source] = by_value[source] + flat[:, at : at + size].reshape(by_value[source].shape)
                at += size
    return by_value, by_weight, by_bias


def _through(
    term: Term, x: NDArray[Any], g: NDArray[Any], weights: bool, inputs: bool
) -> tuple[NDArray[Any] | None, FloatArray | None]:
    """Return the derivatives by a term's input and by its weights; None for those not asked for."""
    node = term.node
    if node is None:
        return g, None
    if isinstance(node, Linear):
        by_input = g @ node.weight.astype(g.dtype, copy=False) if inputs else None
        return by_input, g.T @ x.reshape(len(x), -1) if weights else None
    if isinstance(node, Conv2d):
        return _through_conv(node, x, g, weights)
    assert isinstance(node, Pool2d)
    if node.mode == "max":
        return _through_maximum(node, x, g), None
    share = 1.0 if node.mode == "sum" else 1.0 / (node.kernel[0] * node.kernel[1])
    out = _padded(x, node.padding)
    for y in range(node.kernel[0]):
        for z in range(node.kernel[1]):
            _window(out, g, node.stride, (y, z))[...] += g * np.asarray(share, g.dtype)
    return _unpadded(out, node.padding), None


def _through_maximum(node: Pool2d, x: NDArray[Any], g: NDArray[Any]) -> NDArray[Any]:
    """Return the derivative by a pool's input: it goes to the largest value, the first where several are."""
    padded, out = _padded(x, node.padding), _padded(x, node.padding)
    padded[...] = -np.inf
    _unpadded(padded, node.padding)[...] = x
    places = [(y, z) for y in range(node.kernel[0]) for z in range(node.kernel[1])]
    seen = [_window(padded, g, node.stride, at) for at in places]
    largest = np.argmax(np.stack(seen), axis=0)
    for k, at in enumerate(places):
        _window(out, g, node.stride, at)[...] += np.where(largest == k, g, 0)
    return _unpadded(out, node.padding)


def _padded(x: NDArray[Any], padding: Sequence[int]) -> NDArray[Any]:
    rows, columns = x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1]
    return np.zeros((*x.shape[:2], rows, columns), x.dtype)


def _unpadded(x: NDArray[Any], padding: Sequence[int]) -> NDArray[Any]:
    return x[:, :, padding[0] : x.shape[2] - padding[0], padding[1] : x.shape[3] - padding[1]]


def _window(x: NDArray[Any], g: NDArray[Any], stride: Sequence[int], at: tuple[int, int]) -> NDArray[Any]:
    """Return what one kernel position meets, in the rows and columns of the output `g`."""
    rows = slice(at[0], at[0] + (g.shape[2] - 1) * stride[0] + 1, stride[0])
    columns = slice(at[1], at[1] + (g.shape[3] - 1) * stride[1] + 1, stride[1])
    return x[:, :, rows, columns]


def _through_conv(
    node: Conv2d, x: NDArray[Any], g: NDArray[Any], weights: bool
) -> tuple[NDArray[Any], FloatArray | None]:
    per_out, per_in = node.weight.shape[0] // node.groups, node.weight.shape[1]
    padded, out = _padded(x, node.padding), _padded(x, node.padding)
    _unpadded(padded, node.padding)[...] = x
    by_weight = np.zeros(node.weight.shape) if weights else None
    for y in range(node.weight.shape[2]):
        for z in range(node.weight.shape[3]):
            at = (y * node.dilation[0], z * node.dilation[1])
            seen, met = _window(padded, g, node.stride, at), _window(out, g, node.stride, at)
            for group in range(node.groups):
                to, of = slice(group * per_out, (group + 1) * per_out), slice(group * per_in, (group + 1) * per_in)
                taps = node.weight[to, :, y, z].astype(g.dtype, copy=False)
                met[:, of] += np.einsum("nohw,oc->nchw", g[:, to], taps, optimize=True)
                if by_weight is not None:
                    by_weight[to, :, y, z] = np.einsum("nohw,nchw->oc", g[:, to], seen[:, of], optimize=True)
    return _unpadded(out, node.padding), by_weight


def softmax(u: NDArray[Any]) -> NDArray[Any]:
    """Return the softmax over the last axis."""
    e = np.exp(u - u.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def batches(count: int, size: int) -> list[slice]:
    """Return slices of at most `size` that cover `count`."""
    return [slice(at, min(at + size, count)) for at in range(0, count, size)]


def dense_operations(plan: Plan) -> float:
    """Return the operations of one frame of the dense network: multiplications, and additions of products.

    A weighted sum of n products costs n multiplications and n - 1 additions; a pooling or a plain sum n - 1.
    """
    total = 0.0
    for site in plan.sites:
        for term in site.terms:
            node = term.node
            if isinstance(node, Linear | Conv2d):
                fan_in = node.weight[0].size
                total += site.size * (2 * fan_in - 1)
            elif isinstance(node, Pool2d):
                total += site.size * (node.kernel[0] * node.kernel[1] - 1)
        total += site.size * max(len(site.terms) - 1, 0)
    return total
