"""From a plan and its scales to a network in integers: weights, biases, multipliers and shifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.passes import Scales, spread
from neurosim.convert.plan import Plan, Site, Term
from neurosim.errors import ModelError
from neurosim.formats.dense_graph import Conv2d as DenseConv2d
from neurosim.formats.dense_graph import FloatArray, Linear, Pool2d, Shape
from neurosim.network import (
    Connection,
    Conv2d,
    Delay,
    Dense,
    Layer,
    MaxRounding,
    Network,
    Rounding,
    Sparse,
    Transform,
)

WIDEST = 1 << 31
MULTIPLIER_BITS = 15
"""Multipliers are below 2**15, so that they fit 16 bits signed."""


@dataclass(frozen=True)
class IntegerOptions:
    """How floats become integers.

    Attributes
    ----------
    changes
        Whether layers send changes (sigma-delta) or values (rounding).
    weight_bits
        Of signed weights, 2..16.
    weight_scales
        ``layer``: one scale for all weights into a layer; ``channel``: one for each output channel.
    input_scale
        What 1 in an integer frame stands for.
    threshold
        Least size of a message, in units of the rounded value.
    rounding
        As `Rounding.rounding`.
    message_bits
        Signed bits in which rounded values saturate; None where they are as wide as they come.
    """

    changes: bool = True
    weight_bits: int = 8
    weight_scales: str = "layer"
    input_scale: float = 1.0
    threshold: int = 1
    rounding: str = "half_up"
    message_bits: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.weight_bits <= 16:
            raise ModelError(f"weights of {self.weight_bits} bits; choose 2 to 16")
        if self.weight_scales not in ("layer", "channel"):
            raise ModelError(f'weight scales per "{self.weight_scales}"; use layer or channel')
        if not (np.isfinite(self.input_scale) and self.input_scale > 0):
            raise ModelError(f"an input scale of {self.input_scale}; it must be above 0")


def to_network(
    plan: Plan, scales: Scales, options: IntegerOptions, densities: Sequence[FloatArray] | None = None
) -> tuple[Network, float]:
    """Return the network of `Rounding` units that does in integers what the plan does in floats.

    Beside it stands how many units of the answer's sums stand for 1.

    The value x of a rounded site stands as s = rint(k x). Weights into a layer are w = rint(A W / k), k of their
    source, with A so that the largest fills the bits; its sums then stand for x A, its multiplier and shift
    for k / A. What rounding the multipliers does to k is worked into the weights that follow.

    With `densities` A is given, per site one or one per output channel, and weights that exceed the bits saturate.

    A maximum holds its sources' values as they are, in steps of their scale, and is rounded to its own.

    Where a branch is shorter than another, its connection has the delay that brings both together.

    Raises
    ------
    ModelError
        A limit above 0 with scales per channel, a multiplier or a weight that does not fit.
    """
    layers: list[Layer] = []
    connections: list[Connection] = []
    actual: list[FloatArray] = []
    for i, site in enumerate(plan.sites):
        last = i == len(plan.sites) - 1
        terms = [term_weights(term, plan, actual) for term in site.terms]
        given = densities is not None and bool(terms)
        if site.maximum:
            density = _density_of_maximum(site, plan, actual)
        else:
            density = densities[i] if densities is not None and given else density_of(site, terms, options, last)
        k = np.ones(1) if last else np.asarray(scales[i], dtype=np.float64)
        unit, effective = _unit(site, k, density, last, options)
        actual.append(effective)
        layers.append(_maximum_layer(site, unit) if site.maximum else Layer(site.name, site.shape, unit))
        for term, real in zip(site.terms, terms, strict=True):
            connections += connect(plan, site, term, real, density, options.weight_bits)
    return Network(layers, connections, plan.name), float(actual[-1].ravel()[0])


def connect(plan: Plan, site: Site, term: Term, real: FloatArray, density: FloatArray, bits: int) -> list[Connection]:
    """Return the connections of a term: weights rounded, shorter branches delayed until all come together.

    Parameters
    ----------
    real
        As `term_weights` gives them.
    density
        Units of the sum for 1: one, or one per output channel.
    """
    transform = _transform(term, real, density, site, bits)
    late = {site.depth - 1 - plan.sites[source].depth for source in term.sources}
    if len(late) > 1:
        return _split(plan, term, transform, site)
    steps = late.pop()
    delay = Delay("neuron", np.full(site.size, steps)) if steps else None
    return [Connection(tuple(plan.sites[s].name for s in term.sources), site.name, transform, delay)]


def term_weights(term: Term, plan: Plan, actual: list[FloatArray]) -> FloatArray:
    """Return the term's weights divided by its sources' scales, in the shape of its transform's weights.

    For a plain sum (size,), for a pooling (channels, rows, columns), for a maximum one number.
    """
    parts = []
    for source in term.sources:
        site = plan.sites[source]
        full = np.broadcast_to(spread(actual[source], site.shape), site.shape)
        parts.append(np.asarray(full).reshape(-1))
    k = np.concatenate(parts)
    node = term.node
    if isinstance(node, Pool2d) and node.mode == "max":
        return np.ones(1)
    if node is None:
        return 1.0 / k
    if isinstance(node, Linear):
        return np.asarray(node.weight / k)
    channels = k.reshape(term.in_shape[0], -1)
    if (channels != channels[:, :1]).any():
        raise ModelError("a convolution or pooling reads values with scales of their own; give one scale a channel")
    k = channels[:, 0]
    if isinstance(node, DenseConv2d):
        per_in, per_out = node.weight.shape[1], node.weight.shape[0] // node.groups
        of_out = np.repeat(k.reshape(node.groups, per_in), per_out, axis=0)
        return np.asarray(node.weight / of_out[:, :, None, None])
    assert isinstance(node, Pool2d)
    share = 1.0 if node.mode == "sum" else 1.0 / (node.kernel[0] * node.kernel[1])
    return np.array(np.broadcast_to((share / k)[:, None, None], (k.size, *node.kernel)))


def _density_of_maximum(site: Site, plan: Plan, actual: list[FloatArray]) -> FloatArray:
    """Return the scale of a maximum's sources, one or one a channel."""
    parts = []
    for source in site.terms[0].sources:
        shape = plan.sites[source].shape
        full = np.broadcast_to(spread(actual[source], shape), shape).reshape(shape[0], -1)
        if (full != full[:, :1]).any():
            raise ModelError(
                f"layer {site.name}: takes maxima of {plan.sites[source].name}, whose values have scales of their own; "
                f"give that layer 1 scale, or {shape[0]}, one a channel"
            )
        parts.append(full[:, 0])
    scales = np.concatenate(parts)
    return scales[:1] if (scales == scales[0]).all() else scales


def _maximum_layer(site: Site, unit: Rounding) -> Layer:
    """Return the layer of a pool by maximum: a vector, since its neurons have several compartments."""
    assert site.maximum is not None
    values = {item.name: getattr(unit, item.name) for item in fields(unit)}
    for name in ("multiplier", "shift", "bias"):
        if values[name].size > 1:
            values[name] = np.broadcast_to(spread(values[name], site.shape), site.shape).ravel()
    kernel = site.maximum.kernel
    return Layer(site.name, (site.size,), MaxRounding(**values, places=kernel[0] * kernel[1]))


def _windows(node: Pool2d, in_shape: Shape, out_shape: Shape) -> Sparse:
    """Return the transform that brings each value to its places in the windows that hold it, with weights of 1."""
    c, y, x, a, b = np.indices((*out_shape, *node.kernel))
    row, column = (
        at * node.stride[axis] + place - node.padding[axis] for axis, (at, place) in enumerate(((y, a), (x, b)))
    )
    inside = ((row >= 0) & (row < in_shape[1]) & (column >= 0) & (column < in_shape[2])).ravel()
    source = ((c * in_shape[1] + row) * in_shape[2] + column).ravel()[inside]
    target = np.flatnonzero(inside)
    order = np.lexsort((target, source))
    size = int(np.prod(in_shape))
    starts = np.searchsorted(source[order], np.arange(size + 1))
    return Sparse(starts, target[order], np.ones(target.size, dtype=np.int64), inside.size)


def density_of(site: Site, terms: list[FloatArray], options: IntegerOptions, last: bool) -> FloatArray:
    """Return A, units of the sum for 1: one, or one per output channel; one for the answer, to be compared."""
    if not terms:
        return np.full(1, 1.0 / options.input_scale)
    largest = (1 << (options.weight_bits - 1)) - 1
    reach = np.zeros(site.shape[0])
    for real in terms:
        # The first axis is the output's channels, but for a plain sum, which has every value.
        reach = np.maximum(reach, np.abs(real).reshape(site.shape[0], -1).max(axis=1))
    if options.weight_scales == "layer" or last:
        reach = reach.max(keepdims=True)
    return np.asarray(largest / np.where(reach > 0, reach, 1.0))


def _unit(
    site: Site, k: FloatArray, density: FloatArray, last: bool, options: IntegerOptions
) -> tuple[Rounding, FloatArray]:
    """Return the site's unit, and its scale as its multiplier and shift make it."""
    if not (np.isfinite(k).all() and (k > 0).all()):
        raise ModelError(f"layer {site.name}: scales must be above 0 and finite")
    bias = np.rint(np.broadcast_to(site.bias, np.broadcast_shapes(site.bias.shape, density.shape)) * density)
    if np.abs(bias).max() >= WIDEST:
        raise ModelError(
            f"layer {site.name}: a bias of {np.abs(site.bias).max():.4g} comes to {np.abs(bias).max():.4g} beside its "
            "integer weights, and 32 bits hold 2.147e+09; use fewer bits for weights, or smaller scales"
        )
    changes, accumulates = options.changes and not last, options.changes and bool(site.terms)
    rest: dict[str, Any] = {"rounding": options.rounding, "accumulates": accumulates, "changes": changes}
    rest |= {"bias_from": site.depth + 1, "bias": bias.astype(np.int64)}
    if last:
        # Channels of different density are brought to the finest, so that they can be compared.
        finest = density.max(keepdims=True)
        multiplier = np.rint(finest / density).astype(np.int64)
        low, high = _limits(site, finest)
        return Rounding(multiplier, np.zeros(1, np.int64), lowest=low, highest=high, **rest), finest
    per = np.asarray(spread(k, site.shape) / spread(density, site.shape))
    shift = int(np.clip(np.floor(np.log2(((1 << MULTIPLIER_BITS) - 1) / per.max())), 0, 62 - MULTIPLIER_BITS))
    multiplier = np.rint(per * 2.0**shift)
    if multiplier.max() >= WIDEST:
        raise ModelError(
            f"layer {site.name}: its sums are to be multiplied by {per.max():.4g}, and multipliers hold {WIDEST - 1}; "
            "use a smaller scale for the layer, or check its weights"
        )
    if multiplier.min() < 1:
        raise ModelError(
            f"layer {site.name}: multipliers reach from {per.min():.3g} to {per.max():.3g}, too far apart for "
            f"{MULTIPLIER_BITS} bits; use one scale for the layer"
        )
    effective = multiplier / 2.0**shift * spread(density, site.shape)
    flat = effective.reshape(-1)
    low, high = _limits(site, flat)
    if options.message_bits is not None:
        half = 1 << (options.message_bits - 1)
        low, high = max(low, -half), min(high, half - 1)
    threshold = options.threshold if changes else 1
    return Rounding(
        multiplier.astype(np.int64).ravel(), np.array([shift]), lowest=low, highest=high, threshold=threshold, **rest
    ), flat


def _limits(site: Site, k: FloatArray) -> tuple[int, int]:
    found = []
    for limit, widest in ((site.low, -WIDEST), (site.high, WIDEST - 1)):
        if not np.isfinite(limit):
            found.append(widest)
            continue
        # Channels whose multipliers were rounded apart by a hair have the same limit all the same.
        each = np.unique(np.rint(limit * k))
        if each.size > 1:
            raise ModelError(f"layer {site.name} is limited to {limit} and has several scales; give it one scale")
        found.append(int(each[0]))
    return found[0], found[1]


def _transform(term: Term, real: FloatArray, density: FloatArray, site: Site, bits: int) -> Transform:
    def rounded(values: FloatArray) -> NDArray[np.int64]:
        half = 1 << (bits - 1)
        return np.asarray(np.clip(np.rint(values), -half, half - 1).astype(np.int64))

    node = term.node
    if isinstance(node, Pool2d) and node.mode == "max":
        return _windows(node, term.in_shape, site.shape)
    by_channel = density.reshape(-1, *[1] * (real.ndim - 1)) if real.ndim > 1 else spread(density, site.shape)
    if node is None:
        values = np.broadcast_to(by_channel * real.reshape(site.shape), site.shape).ravel()
        return Sparse(np.arange(site.size + 1), np.arange(site.size), rounded(values), site.size)
    if isinstance(node, Linear):
        return Dense(rounded(real * by_channel))
    if isinstance(node, DenseConv2d):
        weights = rounded(real * by_channel)
        return Conv2d(weights, term.in_shape, node.stride, node.padding, node.dilation, node.groups)
    assert isinstance(node, Pool2d)
    weights = rounded(real * by_channel)[:, None]
    return Conv2d(weights, term.in_shape, node.stride, node.padding, 1, term.in_shape[0])


def _split(plan: Plan, term: Term, transform: Transform, site: Site) -> list[Connection]:
    """Return a connection a source where joined sources come at different times, each with its delay."""
    if isinstance(transform, Sparse):
        what = "maximum" if site.maximum else "plain sum"
        raise ModelError(f"layer {site.name}: a {what} of joined layers of different depth is not supported")
    found, at = [], 0
    for source in term.sources:
        part, steps = plan.sites[source], site.depth - 1 - plan.sites[source].depth
        if isinstance(transform, Dense):
            piece: Transform = Dense(transform.weights[:, at : at + part.size])
            at += part.size
        else:
            assert isinstance(transform, Conv2d)
            if transform.groups != 1:
                raise ModelError(f"layer {site.name}: joined layers of different depth in groups are not supported")
            weights = transform.weights[:, at : at + part.shape[0]]
            piece = Conv2d(weights, part.shape, transform.stride, transform.padding, transform.dilation)
            at += part.shape[0]
        delay = Delay("neuron", np.full(site.size, steps)) if steps else None
        found.append(Connection((part.name,), site.name, piece, delay))
    return found
