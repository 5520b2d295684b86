"""Conversion to hybrid-spiking neurons: each layer sends its values in steps of 1 / omega and keeps what is left.

After Voelker, Rasmussen and Eliasmith, "A Spike in Performance: Training Hybrid-Spiking Neural Networks with Quantized
Activation Functions" (arXiv:2002.03553): v += omega f(x), n = floor(v), v -= n, and n counts as n / omega. A sample is
held for some timesteps; the answer adds up what its layer receives in the last of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.convert import check_labels, integer_frames
from neurosim.convert.hybrid_numbers import WIDEST, multiplier, residuals
from neurosim.convert.hybrid_options import HybridOptions, omegas_of
from neurosim.convert.integers import IntegerOptions, connect, density_of, term_weights
from neurosim.convert.passes import batches, limited, sums
from neurosim.convert.plan import TAKE_MAXIMA, Plan, Site, make_plan
from neurosim.convert.scales import check_frames, check_some
from neurosim.convert.spike_counting import SpikeCounts, count_spikes
from neurosim.convert.spiking_read_out import SampleReport, curve, curve_timesteps, read_out, report_values, window
from neurosim.errors import ModelError, join_errors
from neurosim.formats.dense_graph import DenseGraph, FloatArray
from neurosim.network import Connection, Hybrid, Layer, Leaky, Network, Relay
from neurosim.train.omegas import bits_per_activity

FINEST_FRACTION, COARSEST_FRACTION = 12, 4
"""Residuals count in at most 1/4096 of a message, and at least 1/16."""


@dataclass(frozen=True)
class HybridNetwork:
    """A network of hybrid-spiking neurons, and how its numbers are read.

    Attributes
    ----------
    network
        A relay, `Hybrid` layers, and a `Leaky` layer without leak for the answer. What the last layer sends in the
        last timestep of a sample is its answer: a sum over the timesteps that are read.
    options
        As given.
    omegas
        Per layer but the input and the answer, as its multiplier makes it.
    answer_scale
        Units of the answer's membrane for 1 in the original's answer, a timestep.
    """

    network: Network
    options: HybridOptions
    omegas: tuple[float, ...]
    answer_scale: float

    def frames(self, inputs: Any) -> NDArray[np.int64]:
        """Return what samples are fed as, int64 (samples, 1, n): each frame in every timestep.

        Parameters
        ----------
        inputs
            Samples (samples, *shape) in the units of the original.

        Raises
        ------
        InputError
            Values out of range.
        """
        return integer_frames(np.asarray(inputs), self.options.input_scale)[:, None]

    def stream(self, inputs: Any) -> NDArray[np.int64]:
        """Return the frames of samples that follow each other, int64 (samples * timesteps, n), as a run is fed."""
        return np.repeat(self.frames(inputs)[:, 0], self.options.timesteps, axis=0)


def to_hybrid(plan: Plan, inputs: Any, options: HybridOptions) -> HybridNetwork:
    """Return the hybrid-spiking network of a plan.

    Weights into a layer are rint(A W / omega) with the omega of its source and A such that the largest fills the bits.
    The layer's multiplier turns its sums into messages, x omega; ReLU and identity do not mind whether omega is
    multiplied before or after, and so nothing is rounded between. Samples follow each other without a gap: residuals
    are set back one timestep after those of the layer before.

    Parameters
    ----------
    plan
        Of a feed-forward graph whose layers are ReLUs, sums and pools by average.
    inputs
        Calibration frames (frames, *shape), without labels: how far values reach.
    options
        See `HybridOptions`.

    Raises
    ------
    ModelError
        Layers that are no ReLUs or sums, by name, all at once; numbers that do not fit their bits.
    InputError
        Calibration frames or omegas that do not fit.
    """
    inputs = check_frames(plan, inputs)
    check_some(inputs)
    _check_functions(plan)
    omegas = omegas_of(plan, options.omega)
    reach = _reach(plan, inputs)
    bits = IntegerOptions(weight_bits=options.weight_bits, input_scale=options.input_scale)
    rng = np.random.default_rng(options.seed)
    layers: list[Layer] = []
    connections: list[Connection] = []
    actual: list[FloatArray] = []
    answer_scale = 1.0
    for i, site in enumerate(plan.sites):
        if not site.terms:
            layers.append(Layer(site.name, site.shape, Relay()))
            actual.append(np.full(1, 1.0 / options.input_scale))
            continue
        last = i == len(plan.sites) - 1
        terms = [term_weights(term, plan, actual) for term in site.terms]
        density = density_of(site, terms, bits, last)
        _check_sums(site, float(density[0]), reach[i])
        unit: Hybrid | Leaky
        if last:
            unit, answer_scale = _answer(site, float(density[0]), reach[i], options)
        else:
            unit, omega = _unit(site, float(density[0]), omegas[i - 1], reach[i], rng, options)
            actual.append(np.full(1, omega))
        layers.append(Layer(site.name, site.shape, unit))
        for term, real in zip(site.terms, terms, strict=True):
            connections += connect(plan, site, term, real, density, options.weight_bits)
    network = Network(layers, connections, plan.name)
    return HybridNetwork(network, options, tuple(float(k[0]) for k in actual[1:]), answer_scale)


def _check_functions(plan: Plan) -> None:
    """Refuse layers that are neither ReLUs nor sums."""
    wrong = []
    for site in plan.sites[:-1]:
        if site.maximum:
            wrong.append(
                f"layer {site.name} takes maxima, which these messages do not give; pool by averages, or {TAKE_MAXIMA}"
            )
        elif site.terms and (math.isfinite(site.high) or site.low not in (0, -math.inf)):
            wrong.append(
                f"layer {site.name} is limited to {site.low:g}..{site.high:g}; hybrid-spiking units have a ReLU or no "
                "limit: use one of these"
            )
    if wrong:
        raise ModelError(join_errors(f"{plan.name} cannot be converted to hybrid-spiking neurons", wrong))


def _reach(plan: Plan, inputs: NDArray[Any]) -> list[float]:
    """Return the largest size of each site's sum."""
    reach = [0.0] * len(plan.sites)
    for part in batches(len(inputs), 500):
        values: list[NDArray[Any]] = []
        for i, site in enumerate(plan.sites):
            total = sums(site, values) if site.terms else inputs[part]
            reach[i] = max(reach[i], float(np.abs(total).max()))
            values.append(limited(site, total))
    return reach


def _check_sums(site: Site, density: float, reach: float) -> None:
    """Refuse biases and sums that need more than 32 bits."""
    bias = float(np.abs(site.bias).max()) * density
    if not bias < WIDEST:
        raise ModelError(
            f"layer {site.name}: a bias of {np.abs(site.bias).max():.4g} comes to {bias:.4g} beside its integer "
            "weights, and 32 bits hold 2.147e+09; use fewer bits for weights, or smaller omegas before it"
        )
    if not 2 * reach * density < WIDEST:
        raise ModelError(
            f"layer {site.name}: its sums reach {reach * density:.4g} on the calibration frames, and 32 bits hold "
            "2.147e+09 and should have a bit of room; use fewer bits for weights, or smaller omegas before it"
        )


def _unit(
    site: Site, density: float, omega: float, reach: float, rng: np.random.Generator, options: HybridOptions
) -> tuple[Hybrid, float]:
    """Return a layer's unit, and its omega as its multiplier makes it."""
    # What comes in a timestep is twice as much at most as on the calibration frames, beside a residual below 1.
    needed = 2 * (omega * reach + 1)
    fraction = min(FINEST_FRACTION, math.floor(math.log2((1 << (min(options.state_bits, 32) - 1)) / needed)))
    if fraction < COARSEST_FRACTION:
        raise ModelError(
            f"layer {site.name}: its values reach {reach:.4g}, which is {omega * reach:.4g} messages a timestep; "
            f"states of {options.state_bits} bits, {COARSEST_FRACTION} of them of fraction, hold "
            f"{1 << (min(options.state_bits, 32) - 2 - COARSEST_FRACTION)} with a bit of room: use a smaller omega"
        )
    factor = omega * 2.0**fraction / density
    try:
        whole, shift = multiplier(factor)
    except ModelError as error:
        raise ModelError(
            f"layer {site.name}: its sums are to be multiplied by {factor:.4g}, which fits no multiplier and shift; "
            "use another omega for the layer, or check its weights"
        ) from error
    start = np.full(1, 0.5) if options.first == "half" else rng.random(site.size)
    begins = window(site, options.timesteps)
    unit = Hybrid(
        multiplier=whole, shift=shift, bias=np.rint(site.bias * density).astype(np.int64),
        residual=residuals(start, fraction), function="relu" if site.low == 0 else "identity", fraction=fraction,
        state_bits=options.state_bits, waits=begins.pop("start"), **begins,
    )  # fmt: skip
    return unit, float(whole[0]) / 2.0 ** int(shift[0]) * density / 2.0**fraction


def _answer(site: Site, density: float, reach: float, options: HybridOptions) -> tuple[Leaky, float]:
    """Return the last layer's unit: as any read-out, but cleared when the timesteps that are read begin."""
    unit, scale = read_out(site, density, reach, options.timesteps, options.state_bits)
    begins = site.depth + 1 + options.timesteps - options.read_timesteps
    return replace(unit, reset_phase=begins % options.timesteps), scale


@dataclass(frozen=True, kw_only=True)
class HybridReport(SampleReport):
    """What a hybrid-spiking network does on samples.

    Attributes
    ----------
    messages
        A sample, of the layers.
    unit_adds
        A sample: additions of unit spikes, if the layers sent their messages as such (the input's are not counted).
    bits
        Per layer, and ``per_activity`` and ``per_neuron``: as `neurosim.train.omegas.bits_per_activity` counts them, on
        these samples. The input's values are no activities.
    """

    messages: float
    unit_adds: float
    bits: dict[str, float]


def describe_hybrid(
    found: HybridNetwork, plan: Plan, inputs: Any, labels: Any = None, progress: Any = None
) -> tuple[HybridReport, SpikeCounts]:
    """Run samples through a hybrid-spiking network, each from its first residuals, and compare with the original.

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
    n, steps, read = len(inputs), found.options.timesteps, found.options.read_timesteps
    labels = None if labels is None else check_labels(labels, n, plan.sites[-1].size)
    at = curve_timesteps(steps, 1)
    needed = sorted({*at, *(t - read for t in at if t > read)})
    whole = _reading_all(found.network, plan.sites[-1], steps)
    counts = count_spikes(whole, lambda part: found.frames(inputs[part]), n, steps, needed, progress)

    def answers(t: int) -> NDArray[Any]:
        total = counts.answers[t] - (counts.answers[t - read] if t > read else 0)
        return np.asarray(total / (found.answer_scale * min(read, t)))

    rows = curve(plan, inputs, labels, counts, at, answers, "messages")
    report = HybridReport(
        unit_adds=float(counts.unit_adds[1:-1].sum() / n),
        bits=bits_per_activity(dict(zip(counts.names[1:-1], counts.ranges[1:-1], strict=True))),
        **report_values(plan, found.network, counts, rows),
    )
    return report, counts


def _reading_all(network: Network, last: Site, timesteps: int) -> Network:
    """Return the network with an answer that adds up over all timesteps, from which those of fewer are differences."""
    *before, layer = network.layers
    assert isinstance(layer.unit, Leaky)
    unit = replace(layer.unit, reset_phase=window(last, timesteps)["reset_phase"])
    return Network([*before, Layer(layer.name, layer.shape, unit)], network.connections, network.name)


def convert_hybrid(
    graph: DenseGraph,
    calibration: Any,
    *,
    options: HybridOptions,
    test: tuple[Any, Any] | None = None,
    progress: Any = None,
) -> tuple[HybridNetwork, HybridReport]:
    """Convert a feed-forward graph to hybrid-spiking neurons.

    Parameters
    ----------
    graph
        The dense network.
    calibration
        Frames (frames, *shape), without labels.
    options
        See `HybridOptions`.
    test
        Samples and labels (or None) to report on; by default the calibration frames without labels.
    progress
        Called with what is being done, how much of it is done, and how much there is.

    Raises
    ------
    InputError
        What does not fit; `ModelError` for networks that cannot be converted.
    """
    plan = make_plan(graph, maxima=True)
    found = to_hybrid(plan, calibration, options)
    samples, labels = (calibration, None) if test is None else test
    say = None if progress is None else lambda done, of: progress("samples", done, of)
    report, _ = describe_hybrid(found, plan, samples, labels, say)
    return found, report
