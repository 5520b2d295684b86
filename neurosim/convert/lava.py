"""Sigma-delta networks in lava's form: a threshold in each layer, fixed point with 6 bits of fraction, NetX files.

State has 18 bits of fraction, messages 12, weights, biases, thresholds and frames 6 (`neurosim.formats.netx_units`).
A ReLU network may be scaled layer by layer: with W c_out / c_in, b c_out and threshold c_out in place of W, b and
threshold its values are c times as large. The factors c make the largest weight fill its 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.convert import agreement, check_labels, integer_frames
from neurosim.convert.counting import signed_bits
from neurosim.convert.passes import batches, dense_operations, limited, sums
from neurosim.convert.plan import Plan, Site, Term
from neurosim.convert.scales import check_frames, check_some, original_answers
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import Conv2d as DenseConv2d
from neurosim.formats.dense_graph import FloatArray, Linear, Pool2d
from neurosim.formats.netx_layers import CONV_ACCUMULATOR_BITS
from neurosim.formats.netx_units import HIGHEST_SDNN_MANTISSA, SDNN_MESSAGE_SHIFT, SDNN_SHIFT
from neurosim.network import Connection, Conv2d, Delta, Dense, Layer, Network, Sigma, SigmaDelta, Transform, Unit
from neurosim.network.reference import run_reference

FRACTION = 6
LARGEST_WEIGHT = 127
SUM_LIMIT = 0.9 * 2.0 ** (CONV_ACCUMULATOR_BITS - 1 - SDNN_SHIFT - FRACTION)
"""Largest value of a convolution's sum of one timestep, with a tenth to spare: it wraps beyond 24 bits."""


@dataclass(frozen=True)
class LavaNetwork:
    """A network in lava's form, and how its numbers are read.

    Attributes
    ----------
    network
        `Delta`, then `SigmaDelta` layers, then `Sigma`.
    frame_scale
        What 1 in an integer frame stands for.
    answer_scale
        What 1 in a message of the last layer stands for.
    answer_bias
        float64 (n,): to be added to the answers; the last layer has no bias in this form.
    """

    network: Network
    frame_scale: float
    answer_scale: float
    answer_bias: FloatArray


@dataclass(frozen=True)
class LavaReport:
    """What a network in lava's form does on frames in their order.

    Attributes
    ----------
    frames
        How many.
    error_percent, original_error_percent, disagreement_percent, output_error
        As in `neurosim.convert.convert.Report`.
    dense_operations
        A frame, of the dense network: multiplications and additions.
    messages, graded_synops
        A frame: messages sent, and synapses that they meet.
    message_bits
        Per layer name: signed bits that messages need on these frames.
    """

    frames: int
    error_percent: float | None
    original_error_percent: float | None
    disagreement_percent: float
    output_error: float
    dense_operations: float
    messages: float
    graded_synops: float
    message_bits: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(vars(self))


def describe_lava(found: LavaNetwork, plan: Plan, inputs: Any, labels: Any) -> LavaReport:
    """Run frames through a network in lava's form, timestep by timestep in plain numpy, and compare.

    Parameters
    ----------
    inputs
        Frames (frames, *shape), in the order in which they are fed.
    labels
        Integers (frames,), or None.
    """
    inputs = check_frames(plan, inputs)
    network, n = found.network, len(inputs)
    labels = None if labels is None else check_labels(labels, n, plan.sites[-1].size)
    frames = integer_frames(inputs, found.frame_scale)
    depth = max(network.layer_delays.values())
    sent = run_reference(network, {network.layers[0].name: frames}, n + depth).messages
    answers = sent[network.layers[-1].name][depth:] * found.answer_scale + found.answer_bias
    wanted = original_answers(plan, inputs).reshape(n, -1).astype(np.float64)
    structural, _ = network.fan_out
    messages = synops = 0.0
    bits = {}
    for i, layer in enumerate(network.layers[:-1]):
        late = network.layer_delays[layer.name]
        values = sent[layer.name][late : late + n]
        some = np.count_nonzero(values, axis=0)
        messages += float(some.sum())
        synops += float(some @ structural[network.offsets[i] : network.offsets[i + 1]])
        bits[layer.name] = signed_bits(values)
    return LavaReport(
        frames=n,
        **agreement(answers, wanted, labels),
        dense_operations=dense_operations(plan),
        messages=messages / n,
        graded_synops=synops / n,
        message_bits=bits,
    )


def to_lava(
    plan: Plan,
    calibration: NDArray[Any],
    thresholds: Sequence[float] | float,
    input_scale: float,
    rounding: str = "corrected",
) -> LavaNetwork:
    """Return a plan's network in lava's form.

    Parameters
    ----------
    plan
        A chain of layers with ReLU; pools become convolutions.
    calibration
        Frames (frames, *shape), from which the largest sums of convolutions are taken.
    thresholds
        Per rounded layer, or one for all, in units of its values: no held value differs by as much. A scale k rounds
        as coarsely as a threshold of 1 / (2 k).
    input_scale
        What 1 in an integer frame stands for.
    rounding
        As `SigmaDelta.rounding`.

    Raises
    ------
    ModelError
        The plan is no such chain, or a number does not fit.
    """
    _check_chain(plan)
    theta = _thresholds(plan, thresholds)
    check_some(calibration)
    largest = _largest_sums(plan, calibration)
    factor = 1.0 / (input_scale * (1 << FRACTION))
    layers: list[Layer] = []
    connections: list[Connection] = []
    last = len(plan.sites) - 1
    for i, site in enumerate(plan.sites):
        if site.terms:
            weights = _weights(site.terms[0])
            before, factor = factor, _factor(site, weights, factor, largest[i])
            transform = _transform(site.terms[0], np.rint(weights * factor / before * (1 << FRACTION)))
            bits = CONV_ACCUMULATOR_BITS if isinstance(transform, Conv2d) else None
            connections.append(Connection((layers[-1].name,), site.name, transform, None, bits))
        threshold = 0 if i == last else _mantissa(theta[i] * factor, f"threshold of {site.name}")
        layers.append(Layer(site.name, site.shape, _unit(site, i == last, threshold, factor, rounding)))
    network = Network(layers, connections, plan.name)
    answer = np.broadcast_to(plan.sites[-1].bias, (plan.sites[-1].shape[0],))
    return LavaNetwork(network, input_scale, 2.0 ** -(SDNN_SHIFT + FRACTION) / factor, np.array(answer))


def _check_chain(plan: Plan) -> None:
    for i, site in enumerate(plan.sites[1:], 1):
        if len(site.terms) != 1 or site.terms[0].sources != (i - 1,) or site.terms[0].node is None:
            raise ModelError(f"layer {site.name}: lava's form holds a chain, each layer fed by the one before")
        relu = (site.low, site.high) == (0.0, np.inf)
        pool = isinstance(site.terms[0].node, Pool2d) and not site.maximum and plan.sites[i - 1].low == 0
        if i < len(plan.sites) - 1 and not (relu or pool):
            raise ModelError(f"layer {site.name}: lava's form holds ReLU layers alone")
    if plan.sites[-1].low == 0:
        raise ModelError(f"layer {plan.sites[-1].name}: the answer of lava's form is a plain sum, without a ReLU")


def _thresholds(plan: Plan, thresholds: Sequence[float] | float) -> list[float]:
    many = [thresholds] * len(plan.rounded) if isinstance(thresholds, int | float) else list(thresholds)
    if len(many) != len(plan.rounded) or not all(np.isfinite(v) and v >= 0 for v in many):
        raise InputError(f"thresholds are {many}; give 1 or {len(plan.rounded)} of 0 or more")
    return [float(v) for v in many]


def _largest_sums(plan: Plan, calibration: NDArray[Any]) -> list[float]:
    largest = [0.0] * len(plan.sites)
    for part in batches(len(calibration), 200):
        values: list[NDArray[Any]] = []
        for i, site in enumerate(plan.sites):
            total = calibration[part] if not site.terms else sums(site, values)
            largest[i] = max(largest[i], float(np.abs(total).max()))
            values.append(total if not site.terms else limited(site, total))
    return largest


def _weights(term: Term) -> FloatArray:
    node = term.node
    if isinstance(node, Linear | DenseConv2d):
        return node.weight
    assert isinstance(node, Pool2d)
    share = 1.0 if node.mode == "sum" else 1.0 / (node.kernel[0] * node.kernel[1])
    return np.full((term.in_shape[0], 1, *node.kernel), share)


def _factor(site: Site, weights: FloatArray, before: float, largest: float) -> float:
    reach = float(np.abs(weights).max())
    factor = before * LARGEST_WEIGHT / (1 << FRACTION) / reach if reach > 0 else before
    if len(site.shape) == 3 and largest > 0:
        # Changes of one timestep are at most twice the largest value.
        factor = min(factor, SUM_LIMIT / (2 * largest))
    return factor


def _mantissa(value: float, what: str) -> int:
    mantissa = round(value * (1 << FRACTION))
    if not 0 <= mantissa <= HIGHEST_SDNN_MANTISSA:
        raise ModelError(
            f"{what} comes to {mantissa}; lava's form holds 0..{HIGHEST_SDNN_MANTISSA}: give a smaller threshold, or a "
            "larger input scale"
        )
    return mantissa << SDNN_SHIFT


def _unit(site: Site, last: bool, threshold: int, factor: float, rounding: str) -> Unit:
    if not site.terms:
        return Delta(threshold, SDNN_SHIFT, SDNN_MESSAGE_SHIFT)
    if last:
        return Sigma()
    bias = np.rint(np.broadcast_to(site.bias, (site.shape[0],)) * factor * (1 << FRACTION)).astype(np.int64)
    if np.abs(bias).max() > HIGHEST_SDNN_MANTISSA:
        raise ModelError(
            f"layer {site.name}: a bias of {np.abs(site.bias).max():.4g} comes to {np.abs(bias).max()}; lava's form "
            f"holds {HIGHEST_SDNN_MANTISSA}: give a larger input scale, or convert to sigma-delta"
        )
    return SigmaDelta(threshold, bias, rounding, False, SDNN_SHIFT, SDNN_MESSAGE_SHIFT)


def _transform(term: Term, weights: FloatArray) -> Transform:
    node = term.node
    if isinstance(node, Linear):
        return Dense(weights)
    if isinstance(node, DenseConv2d):
        return Conv2d(weights, term.in_shape, node.stride, node.padding, node.dilation, node.groups)
    assert isinstance(node, Pool2d)
    return Conv2d(weights, term.in_shape, node.stride, node.padding, 1, term.in_shape[0])
