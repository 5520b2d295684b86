"""Conversion as a whole: a dense graph and calibration frames in, a network and a report out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.adapt import TuneOptions, refit, tune
from neurosim.convert.counting import count_both, sends_changes, signed_bits
from neurosim.convert.integers import IntegerOptions, to_network
from neurosim.convert.passes import batches, dense_operations, run
from neurosim.convert.plan import Plan, make_plan
from neurosim.convert.quantise import QuantiseOptions, choose_formats, integer_options
from neurosim.convert.scales import (
    ScaleOptions,
    check_frames,
    first_scales,
    given_scales,
    optimise_scales,
    original_answers,
)
from neurosim.errors import InputError
from neurosim.formats.dense_graph import DenseGraph, FloatArray
from neurosim.network import Network

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""
WEIGHTS = ("frozen", "refit", "tuned")


@dataclass(frozen=True)
class Report:
    """What a conversion is worth, on frames in their order.

    Attributes
    ----------
    frames
        How many.
    error_percent, original_error_percent
        Share of frames whose largest answer is not the label; None without labels.
    disagreement_percent
        Share of frames whose largest answer differs from the original's.
    output_error
        Root of the mean squared difference of the answers from the original's, over the original's spread.
    dense_operations, sparse_operations
        A frame, of the dense network: multiplications and additions, and two for each value that is not 0 and each
        synapse that it meets.
    rounding_adds, sigma_delta_adds
        A frame: additions where every message is sent as unit spikes, sum of |s| times fan-out.
    graded_synops, messages, row_reads
        A frame, as the network sends: synapses met by graded messages, messages, and rows read by unit spikes.
    message_bits, sum_bits
        Per layer name: signed bits that messages and sums need on these frames.
    weight_bits
        Per layer name: signed bits of the weights into it.
    scale_steps
        Gradient steps of the search for scales; None for scales that were not searched.
    unsettled
        Names of the places whose scales were still moving when the steps ended.
    """

    frames: int
    error_percent: float | None
    original_error_percent: float | None
    disagreement_percent: float
    output_error: float
    dense_operations: float
    sparse_operations: float
    rounding_adds: float
    sigma_delta_adds: float
    graded_synops: float
    messages: float
    row_reads: float
    message_bits: dict[str, int]
    sum_bits: dict[str, int]
    weight_bits: dict[str, int]
    scale_steps: int | None = None
    unsettled: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Conversion:
    """A converted network.

    Attributes
    ----------
    network
        In integers.
    plan
        In floats, with its weights as adapted.
    scales
        Per rounded site.
    report
        On the frames asked for.
    tradeoff
        The lambda that led here; None for given scales.
    answer_scale
        How many units of the network's answer stand for 1; None where the method gives no such scale.
    """

    network: Network
    plan: Plan
    scales: tuple[FloatArray, ...]
    report: Report
    tradeoff: float | None = None
    answer_scale: float | None = None


def integer_frames(inputs: NDArray[Any], input_scale: float) -> NDArray[np.int64]:
    """Return inputs as integer frames (frames, n), 1 standing for `input_scale`.

    Raises
    ------
    InputError
        Some exceed 16 bits, or the scale is 1 and they are no whole numbers.
    """
    frames = np.rint(inputs.reshape(len(inputs), -1).astype(np.float64) / input_scale)
    if input_scale == 1.0 and not np.array_equal(frames.ravel(), inputs.ravel()):
        raise InputError(
            f"inputs reach {np.abs(inputs).max():.6g} and are no whole numbers, which an input scale of 1 would round; "
            "give input_scale, what 1 in an integer frame stands for"
        )
    if np.abs(frames).max(initial=0) >= 1 << 15:
        raise InputError(
            f"inputs reach {np.abs(inputs).max():.6g}, which is {np.abs(frames).max():.0f} steps of {input_scale:.6g}; "
            "integer frames have 16 bits: give a larger input scale"
        )
    return frames.astype(np.int64)


def describe(
    network: Network, plan: Plan, original: Plan, inputs: Any, labels: Any, input_scale: float, answer_scale: float
) -> Report:
    """Run frames through a converted network and its original, and compare.

    Parameters
    ----------
    network, plan
        The converted network, and the plan that it came from.
    original
        The plan before weights were adapted.
    inputs
        Frames (frames, *shape), in the order in which they are fed.
    labels
        Integers (frames,), or None.
    input_scale
        What 1 in an integer frame stands for.
    answer_scale
        How many units of the answer's sums stand for 1.

    Raises
    ------
    InputError
        Labels of the wrong number or range.
    """
    inputs = check_frames(plan, inputs)
    classes = plan.sites[-1].size
    labels = None if labels is None else check_labels(labels, len(inputs), classes)
    frames = integer_frames(inputs, input_scale)
    by_values, by_changes = count_both(network, frames)
    sent = by_changes if sends_changes(network) else by_values
    wanted, sparse = _original(network, original, inputs)
    found = sent.answers / answer_scale
    n = len(inputs)
    return Report(
        frames=n,
        **agreement(found, wanted, labels),
        dense_operations=dense_operations(original),
        sparse_operations=sparse,
        rounding_adds=by_values.unit_adds.sum() / n,
        sigma_delta_adds=by_changes.unit_adds.sum() / n,
        graded_synops=sent.graded_synops.sum() / n,
        messages=sent.messages.sum() / n,
        row_reads=sent.spikes.sum() / n,
        message_bits=dict(zip(sent.names[:-1], sent.message_bits.tolist(), strict=False)),
        sum_bits=dict(zip(sent.names, sent.sum_bits.tolist(), strict=True)),
        weight_bits=weight_bits_of(network),
    )


def agreement(found: NDArray[Any], wanted: NDArray[Any], labels: NDArray[Any] | None) -> dict[str, Any]:
    """Return the errors and differences that every report has, of answers (frames, n) and those of the original."""
    best, was = found.argmax(axis=1), wanted.argmax(axis=1)
    return {
        "error_percent": None if labels is None else float((best != labels).mean() * 100),
        "original_error_percent": None if labels is None else float((was != labels).mean() * 100),
        "disagreement_percent": float((best != was).mean() * 100),
        "output_error": float(np.sqrt(((found - wanted) ** 2).mean()) / max(float(wanted.std()), 1e-30)),
    }


def check_labels(labels: Any, frames: int, classes: int) -> NDArray[np.int64]:
    """Return labels as int64 (frames,).

    Raises
    ------
    InputError
        Their number or range is wrong.
    """
    array = np.asarray(labels)
    if array.shape != (frames,) or array.dtype.kind not in "iu":
        raise InputError(f"labels have shape {list(array.shape)} and dtype {array.dtype}; give {frames} integers")
    wrong = np.flatnonzero((array < 0) | (array >= classes))
    if wrong.size:
        raise InputError(
            f"labels[{wrong[0]}] is {array[wrong[0]]}; the answer has classes 0..{classes - 1} "
            f"({wrong.size} of {frames} labels are others)"
        )
    return array.astype(np.int64)


def weight_bits_of(network: Network) -> dict[str, int]:
    """Return, per layer name, the signed bits of the weights into it."""
    found: dict[str, int] = {}
    for connection in network.connections:
        bits = signed_bits(connection.transform.weights)
        found[connection.target] = max(found.get(connection.target, 0), bits)
    return found


def _original(network: Network, original: Plan, inputs: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Return the original's answers (frames, n), and its operations a frame where zeros are skipped."""
    structural, _ = network.fan_out
    answers, total = [], 0.0
    for part in batches(len(inputs), 500):
        values = run(original, inputs[part])
        answers.append(values[-1].reshape(len(values[-1]), -1))
        for i in original.rounded:
            low, high = network.offsets[i], network.offsets[i + 1]
            nonzero = np.count_nonzero(values[i].reshape(len(values[i]), -1), axis=0)
            total += 2.0 * float(nonzero @ structural[low:high])
    return np.concatenate(answers), total / len(inputs)


def convert_rounding(
    graph: DenseGraph,
    calibration: Any,
    *,
    scales: Sequence[Any] | float | None = None,
    options: ScaleOptions | None = None,
    integers: IntegerOptions | None = None,
    weights: str = "frozen",
    tuning: TuneOptions | None = None,
    test: tuple[Any, Any] | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Convert a feed-forward graph to a rounding or sigma-delta network.

    Parameters
    ----------
    graph
        The dense network.
    calibration
        Frames (frames, *shape), without labels: scales and weights are fitted to them.
    scales
        Scales k in place of the optimiser's: one for all layers, or one a rounded layer.
    options
        Of the optimiser.
    integers
        How floats become integers; `changes` says whether the network is sigma-delta or rounding.
    weights
        ``frozen`` (as published), ``refit`` by least squares, or ``tuned``: refit, then trained against the original's
        answers.
    tuning
        Of ``tuned``.
    test
        Frames and labels (or None) to report on; by default the calibration frames without labels.
    progress
        See `Progress`.

    Raises
    ------
    InputError
        What does not fit; `ModelError` for networks that cannot be converted.
    """
    if weights not in WEIGHTS:
        raise InputError(f'weights are to be "{weights}"; use {", ".join(WEIGHTS)}')
    options, integers = options or ScaleOptions(), integers or IntegerOptions()
    original = make_plan(graph, maxima=True)
    inputs = check_frames(original, calibration)
    integer_frames(inputs, integers.input_scale)
    plan = original
    search: dict[str, Any] = {}
    if scales is None:
        say = None if progress is None else lambda done, of: progress("scales", done, of)
        searched = optimise_scales(plan, inputs, fan_out_of(plan), options, say)
        found, search = searched.scales, {"scale_steps": searched.steps, "unsettled": searched.unsettled}
    else:
        found = given_scales(plan, scales)
    if weights != "frozen":
        plan = refit(plan, inputs, found, seed=options.seed)
    if weights == "tuned":
        say = None if progress is None else lambda done, of: progress("weights", done, of)
        tuned = replace(tuning or TuneOptions(), answer=options.answer, seed=options.seed)
        plan = tune(plan, inputs, found, tuned, original_answers(original, inputs), say)
    network, answer_scale = to_network(plan, found, integers)
    frames, labels = (inputs, None) if test is None else test
    report = describe(network, plan, original, frames, labels, integers.input_scale, answer_scale)
    used = options.tradeoff if scales is None else None
    return Conversion(network, plan, tuple(found), replace(report, **search), used, answer_scale)


def convert_quantised(
    graph: DenseGraph,
    samples: Any,
    *,
    options: QuantiseOptions | None = None,
    input_scale: float = 1.0,
    test: tuple[Any, Any] | None = None,
) -> Conversion:
    """Convert a feed-forward graph to fixed point by channel statistics of a few samples, without training.

    Parameters
    ----------
    graph
        The dense network.
    samples
        Some tens of frames (frames, *shape), without labels.
    options
        Bits and rules.
    input_scale
        What 1 in an integer frame stands for.
    test
        Frames and labels (or None) to report on; by default the samples without labels.
    """
    options = options or QuantiseOptions()
    plan = make_plan(graph, maxima=True)
    inputs = check_frames(plan, samples)
    integer_frames(inputs, input_scale)
    formats = choose_formats(plan, inputs, options)
    integers = integer_options(options, input_scale)
    network, answer_scale = to_network(plan, formats.scales, integers, formats.densities)
    frames, labels = (inputs, None) if test is None else test
    report = describe(network, plan, plan, frames, labels, input_scale, answer_scale)
    return Conversion(network, plan, tuple(formats.scales), report, answer_scale=answer_scale)


def sweep(graph: DenseGraph, calibration: Any, tradeoffs: Sequence[float], **settings: Any) -> list[Conversion]:
    """Convert once for each lambda of `tradeoffs`; see `convert_rounding` for the rest.

    Returns
    -------
    The conversions by rising operations: those a frame of the form that is sent, as unit spikes.
    """
    options = settings.pop("options", None) or ScaleOptions()
    found = [
        convert_rounding(graph, calibration, options=replace(options, tradeoff=value), **settings)
        for value in tradeoffs
    ]
    return sorted(found, key=operations)


def operations(conversion: Conversion) -> float:
    """Return the additions a frame of the form that the network sends, as unit spikes."""
    report = conversion.report
    return report.sigma_delta_adds if sends_changes(conversion.network) else report.rounding_adds


def pareto(conversions: Sequence[Conversion]) -> list[Conversion]:
    """Return those that no other beats in both operations and error.

    The error is that against labels where there are some, else the disagreement with the original's answers.
    """

    def error(one: Conversion) -> float:
        known = one.report.error_percent
        return one.report.disagreement_percent if known is None else known

    best: list[Conversion] = []
    for one in sorted(conversions, key=lambda c: (operations(c), error(c))):
        if not best or error(one) < error(best[-1]):
            best.append(one)
    return best


def fan_out_of(plan: Plan) -> list[NDArray[np.int64]]:
    """Return per site the synapses that a message of each value meets."""
    network, _ = to_network(plan, first_scales(plan, "layer"), IntegerOptions())
    structural, _ = network.fan_out
    return [structural[low:high] for low, high in zip(network.offsets[:-1], network.offsets[1:], strict=True)]
