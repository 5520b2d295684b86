"""Rate conversion: a ReLU network as integrate-and-fire neurons whose rates of spikes stand for its values.

After Diehl and others, "Fast-classifying, high-accuracy spiking deep networks through weight and threshold balancing"
(IJCNN 2015), and Rueckauer and others, "Conversion of Continuous-Valued Deep Networks to Efficient Event-Driven
Networks for Image Classification" (Frontiers in Neuroscience 11:682, 2017): weights and thresholds are balanced so that
a layer's largest activation on calibration data, here a percentile of them as in the latter, is a spike in each
timestep; a spike takes the threshold off the membrane; biases flow in as constants; the answer is read from membranes
that do not spike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.convert import check_labels, integer_frames
from neurosim.convert.integers import IntegerOptions, connect, density_of, term_weights
from neurosim.convert.passes import batches, run
from neurosim.convert.plan import TAKE_MAXIMA, Plan, Site, make_plan
from neurosim.convert.scales import check_frames
from neurosim.convert.spike_counting import SpikeCounts, count_spikes
from neurosim.convert.spiking_read_out import (
    DECAY_BITS,
    SampleReport,
    curve,
    curve_timesteps,
    fitting_shift,
    read_out,
    report_values,
    window,
)
from neurosim.errors import InputError, ModelError, join_errors
from neurosim.formats.dense_graph import DenseGraph, FloatArray, Pool2d
from neurosim.formats.spike_codes import encode
from neurosim.network import Connection, Layer, Lif, Network, Relay, Unit

INPUTS = ("graded", "spikes")
STARTS = ("half", "empty")
ROOM_BITS = 3
"""A membrane can hold 8 thresholds: what arrives in a timestep may exceed one."""


@dataclass(frozen=True)
class RateOptions:
    """How values become rates.

    Attributes
    ----------
    timesteps
        Of a sample.
    percentile
        Of a layer's activations on calibration frames, which a spike in each timestep stands for; what lies above is
        cut off. 100 is the largest (Diehl), 99.9 Rueckauer's.
    inputs
        ``graded``: the frame itself in each timestep, its values messages; ``spikes``: unit spikes, evenly spaced, the
        largest calibration value sending one in each timestep.
    weight_bits
        Of signed weights, 2..16.
    input_scale
        What 1 in an integer frame stands for.
    first
        What membranes hold at the start of a sample: ``half`` a threshold, so that spikes round a value to the nearest
        where with ``empty`` membranes, as published, they round it down.
    state_bits
        Of membranes.
    """

    timesteps: int = 32
    percentile: float = 99.9
    inputs: str = "graded"
    weight_bits: int = 8
    input_scale: float = 1.0
    first: str = "half"
    state_bits: int = 24

    def __post_init__(self) -> None:
        for name, known in (("inputs", INPUTS), ("first", STARTS)):
            if getattr(self, name) not in known:
                raise InputError(f'{name} is "{getattr(self, name)}"; use {" or ".join(known)}')
        if self.timesteps < 2:
            raise InputError(f"timesteps is {self.timesteps}; it must be 2 or more")
        if not 0 < self.percentile <= 100:
            raise InputError(f"percentile is {self.percentile}; it must lie above 0 and up to 100")


@dataclass(frozen=True)
class RateNetwork:
    """A network of integrate-and-fire neurons, and how its numbers are read.

    Attributes
    ----------
    network
        A relay, `Lif` layers without leak, and a `Leaky` layer without leak for the answer.
    options
        As given.
    levels
        Per layer but the last: the value that a spike in each timestep stands for; of graded inputs that of 1.
    answer_scale
        Units of the answer's membrane for 1 in the original's answer, a timestep.
    largest_input
        Integer input that sends a spike in each timestep; 0 with graded inputs.
    """

    network: Network
    options: RateOptions
    levels: tuple[float, ...]
    answer_scale: float
    largest_input: int

    def frames(self, inputs: Any) -> NDArray[np.int64]:
        """Return what samples are fed as, int64 (samples, timesteps, n), or (samples, 1, n) for graded inputs.

        Parameters
        ----------
        inputs
            Samples (samples, *shape) in the units of the original.

        Raises
        ------
        InputError
            Values out of range.
        """
        whole = integer_frames(np.asarray(inputs), self.options.input_scale)
        if self.options.inputs == "graded":
            return whole[:, None]
        steps = self.options.timesteps
        return encode(whole, steps, full=self.largest_input, spikes=steps).astype(np.int64)

    def stream(self, inputs: Any) -> NDArray[np.int64]:
        """Return the frames of samples that follow each other, int64 (samples * timesteps, n), as a run is fed."""
        frames = self.frames(inputs)
        if frames.shape[1] == 1:
            frames = np.repeat(frames, self.options.timesteps, axis=1)
        return frames.reshape(-1, frames.shape[2])


def to_rates(plan: Plan, inputs: Any, options: RateOptions) -> RateNetwork:
    """Return the spiking network of a plan of ReLU layers.

    A value x of a layer stands as x / level spikes a timestep. Weights into a layer are rint(A W level) with the
    source's level and A such that the largest fills the bits; the threshold is the layer's own level times A, the bias
    b A flows in in each timestep. Membranes count in 2**-shift of a weight's step. Samples follow each other without a
    gap: layers are cleared one timestep after those before them.

    Parameters
    ----------
    plan
        Of a feed-forward graph; its values between layers are 0 or more.
    inputs
        Calibration frames (frames, *shape), without labels.
    options
        See `RateOptions`.

    Raises
    ------
    ModelError
        Layers whose values may be negative, by name, all at once; layers that are never active; numbers that do not fit
        their bits.
    InputError
        Calibration frames that do not fit.
    """
    inputs = check_frames(plan, inputs)
    _check_signs(plan, inputs, options)
    levels, answer, largest_input = _levels(plan, inputs, options)
    bits = IntegerOptions(weight_bits=options.weight_bits, input_scale=options.input_scale)
    layers: list[Layer] = []
    connections: list[Connection] = []
    actual: list[FloatArray] = [np.full(1, 1.0 / level) for level in levels]
    answer_scale = 1.0
    for i, site in enumerate(plan.sites):
        if not site.terms:
            layers.append(Layer(site.name, site.shape, Relay(spikes=options.inputs == "spikes")))
            continue
        last = i == len(plan.sites) - 1
        terms = [term_weights(term, plan, actual) for term in site.terms]
        density = density_of(site, terms, bits, last)
        unit, scale = _unit(site, float(density[0]), answer if last else levels[i], last, options)
        layers.append(Layer(site.name, site.shape, unit))
        for term, real in zip(site.terms, terms, strict=True):
            connections += connect(plan, site, term, real, density, options.weight_bits)
        answer_scale = scale
    network = Network(layers, connections, plan.name)
    return RateNetwork(network, options, levels, answer_scale, largest_input)


def _check_signs(plan: Plan, inputs: NDArray[Any], options: RateOptions) -> None:
    """Refuse layers whose values may be negative: all but ReLUs, and sums of what is positive."""
    positive, wrong = [], []
    for site in plan.sites[:-1]:
        if not site.terms:
            positive.append(float(inputs.min()) >= 0)
            if options.inputs == "spikes" and not positive[-1]:
                wrong.append(f"input {site.name} has negative values, which no spikes stand for; give graded inputs")
            continue
        if site.maximum:
            wrong.append(
                f"layer {site.name} takes maxima, which rates of spikes do not give; pool by averages, or {TAKE_MAXIMA}"
            )
        sums = (site.bias >= 0).all() and all(
            (term.node is None or isinstance(term.node, Pool2d)) and all(positive[source] for source in term.sources)
            for term in site.terms
        )
        positive.append(True)
        if site.low != 0 and not sums:
            wrong.append(f"layer {site.name} may have negative values, which no spikes stand for; end it in a ReLU")
    if wrong:
        raise ModelError(join_errors(f"{plan.name} cannot be converted to rates of spikes", wrong))


def _levels(plan: Plan, inputs: NDArray[Any], options: RateOptions) -> tuple[tuple[float, ...], float, int]:
    """Return the level of each layer but the last, the largest answer, and the integer input of the highest rate."""
    seen: list[list[NDArray[Any]]] = [[] for _ in plan.sites]
    for part in batches(len(inputs), 500):
        for i, values in enumerate(run(plan, inputs[part])):
            seen[i].append(values.reshape(-1).astype(np.float32))
    levels, largest_input = [], 0
    for i, site in enumerate(plan.sites[:-1]):
        values = np.concatenate(seen[i])
        if not site.terms:
            level = options.input_scale
            if options.inputs == "spikes":
                largest_input = int(np.rint(float(values.max()) / options.input_scale))
                if largest_input < 1:
                    raise ModelError(
                        f"input {site.name}: the largest value of the calibration frames is {values.max():g}, which an "
                        f"input scale of {options.input_scale:g} rounds to {largest_input}, so no spikes stand for it; "
                        "give a smaller input scale, or other frames"
                    )
                level *= largest_input
        else:
            level = site.high if math.isfinite(site.high) else float(np.percentile(values, options.percentile))
        if not level > 0:
            raise ModelError(
                f"layer {site.name}: the {options.percentile:g} percentile of its values on the calibration frames is "
                f"{level:g}, so it has no rate to balance; give more frames or a higher percentile"
            )
        levels.append(level)
    return tuple(levels), float(np.abs(np.concatenate(seen[-1])).max()), largest_input


def _unit(site: Site, density: float, level: float, last: bool, options: RateOptions) -> tuple[Unit, float]:
    """Return a layer's unit, and the units of its membrane for 1."""
    if last:
        return read_out(site, density, level, options.timesteps, options.state_bits)
    shift = fitting_shift(site, level * density * (1 << ROOM_BITS), options.state_bits)
    scale = density * 2.0**shift
    whole = round(level * scale)
    if whole < 1:
        raise ModelError(f"layer {site.name}: its threshold is less than a step of its membrane; use more bits")
    # A membrane that starts at half a threshold is one that starts empty and counts from there.
    threshold = whole // 2 if options.first == "half" else whole
    unit = Lif(
        voltage_keep=np.array([1 << DECAY_BITS]), decay_bits=DECAY_BITS, state_bits=options.state_bits,
        activation_shift=shift, bias=np.rint(site.bias * scale).astype(np.int64), threshold=np.array([threshold]),
        reset=np.array([threshold - whole]), subtract=True, **window(site, options.timesteps),
    )  # fmt: skip
    return unit, scale


@dataclass(frozen=True, kw_only=True)
class RateReport(SampleReport):
    """What a network of rates does on samples.

    Attributes
    ----------
    spikes
        A sample, of the layers.
    """

    spikes: float


def describe_rates(
    found: RateNetwork, plan: Plan, inputs: Any, labels: Any = None, progress: Any = None
) -> tuple[RateReport, SpikeCounts]:
    """Run samples through a network of rates, each from rest, and compare with the original.

    Parameters
    ----------
    found, plan
        The network, and the plan that it came from.
    inputs
        Samples (samples, *shape).
    labels
        Integers (samples,), or None.
    progress
        Called with the samples done and their number.

    Raises
    ------
    InputError
        Samples or labels that do not fit.
    """
    inputs = check_frames(plan, inputs)
    n, steps = len(inputs), found.options.timesteps
    labels = None if labels is None else check_labels(labels, n, plan.sites[-1].size)
    at = curve_timesteps(steps)
    counts = count_spikes(found.network, lambda part: found.frames(inputs[part]), n, steps, at, progress)
    rows = curve(plan, inputs, labels, counts, at, lambda t: counts.answers[t] / (found.answer_scale * t))
    return RateReport(**report_values(plan, found.network, counts, rows)), counts


def convert_rates(
    graph: DenseGraph,
    calibration: Any,
    *,
    options: RateOptions | None = None,
    test: tuple[Any, Any] | None = None,
    progress: Any = None,
) -> tuple[RateNetwork, RateReport]:
    """Convert a feed-forward ReLU graph to integrate-and-fire neurons.

    Parameters
    ----------
    graph
        The dense network.
    calibration
        Frames (frames, *shape), without labels.
    options
        See `RateOptions`.
    test
        Samples and labels (or None) to report on; by default the calibration frames without labels.
    progress
        Called with what is being done, how much of it is done, and how much there is.

    Raises
    ------
    InputError
        What does not fit; `ModelError` for networks that cannot be converted.
    """
    plan = make_plan(graph)
    found = to_rates(plan, calibration, options or RateOptions())
    samples, labels = (calibration, None) if test is None else test
    say = None if progress is None else lambda done, of: progress("samples", done, of)
    report, _ = describe_rates(found, plan, samples, labels, say)
    return found, report
