"""Fixed-point networks from a few samples, without training: power-of-two formats per channel that align.

After J. H. Lee and others (arXiv:1810.05488). A rounded value of channel c is s = x * 2**FL_x[c] in b bits. Weights
have a format for each pair of input channel c and output channel o, so that FL_x[c] + FL_w[o, c] is the same for all c
that feed o: partial sums add without shifts, the bias takes their format, and one shift a channel leads to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.densities import RULES, best_length, moments
from neurosim.convert.integers import IntegerOptions, term_weights
from neurosim.convert.passes import limited, spread, sums
from neurosim.convert.plan import Plan, Site
from neurosim.convert.scales import check_some
from neurosim.errors import InputError
from neurosim.formats.dense_graph import FloatArray, Linear

LENGTHS_TRIED = 4
LEAST_VALUES = 64
"""Values of a channel, over samples and places, from which it has a format of its own: moments of fewer say little."""


@dataclass(frozen=True)
class QuantiseOptions:
    """How formats are chosen.

    Attributes
    ----------
    bits
        b of values and weights, 2..16.
    per
        ``channel``: a format for each channel of values and each output channel's sums; ``layer``: one for all values
        of a layer, and one for all its weights.
    rule
        ``auto``: the density nearest to a channel's kurtosis; a density's name; or ``max``.
    """

    bits: int = 8
    per: str = "channel"
    rule: str = "auto"

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise InputError(f"{self.bits} bits; choose 2 to 16")
        if self.per not in ("channel", "layer"):
            raise InputError(f'formats per "{self.per}"; use channel or layer')
        if self.rule not in RULES:
            raise InputError(f'rule "{self.rule}" is not known; use one of {", ".join(RULES)}')


@dataclass(frozen=True)
class Formats:
    """Formats of a network.

    Attributes
    ----------
    lengths
        Per rounded site int64 (channels,) or (1,): FL_x, in bits.
    sum_lengths
        Per site int64 (channels,) or (1,): FL_x + FL_w of its sums; of the input, zeros.
    """

    lengths: tuple[NDArray[np.int64], ...]
    sum_lengths: tuple[NDArray[np.int64], ...]

    @property
    def scales(self) -> list[FloatArray]:
        """2**FL_x, as `to_network` takes scales."""
        return [np.exp2(length.astype(np.float64)) for length in self.lengths]

    @property
    def densities(self) -> list[FloatArray]:
        """2**(FL_x + FL_w), as `to_network` takes densities."""
        return [np.exp2(length.astype(np.float64)) for length in self.sum_lengths]


def choose_formats(plan: Plan, inputs: NDArray[Any], options: QuantiseOptions) -> Formats:
    """Choose all formats from float passes over a few samples.

    Parameters
    ----------
    inputs
        (frames, *shape); tens of them are enough.
    """
    check_some(inputs)
    lengths: list[NDArray[np.int64]] = []
    sum_lengths: list[NDArray[np.int64]] = []
    values: list[NDArray[Any]] = []
    energy: list[FloatArray] = []
    for i, site in enumerate(plan.sites):
        total = inputs if not site.terms else sums(site, values)
        value = total if not site.terms else limited(site, total)
        if site.terms:
            sum_lengths.append(_sum_lengths(plan, i, lengths, energy, options))
        else:
            sum_lengths.append(np.zeros(1, dtype=np.int64))
        if i < len(plan.sites) - 1:
            lengths.append(_value_lengths(site, total.astype(np.float64), options))
        energy.append((value.astype(np.float64) ** 2).mean(axis=0))
        values.append(value)
    return Formats(tuple(lengths), tuple(sum_lengths))


def _value_lengths(site: Site, total: FloatArray, options: QuantiseOptions) -> NDArray[np.int64]:
    """Return one format, or one a channel where there are values enough to tell channels apart."""

    def length(values: FloatArray) -> int:
        return best_length(moments(values), options.bits, options.rule, site.low, site.high)

    whole = length(total)
    bounded = any(np.isfinite(limit) and limit != 0 for limit in (site.low, site.high))
    if options.per == "layer" or bounded or total[:, 0].size < LEAST_VALUES:
        return np.array([whole], dtype=np.int64)
    channels = [total[:, c] for c in range(site.shape[0])]
    # A channel that never was above its limit tells nothing.
    seen = [np.clip(part, site.low, site.high).any() for part in channels]
    return np.array([length(part) if some else whole for part, some in zip(channels, seen, strict=True)], np.int64)


def _sum_lengths(
    plan: Plan, i: int, lengths: list[NDArray[np.int64]], energy: list[FloatArray], options: QuantiseOptions
) -> NDArray[np.int64]:
    """Return the format of each output channel's sums: that whose weights lose least, by the energy they meet.

    The MAX rule takes the finest in which no weight saturates.
    """
    site = plan.sites[i]
    if site.maximum:  # It holds its sources' values as they are.
        each = [np.broadcast_to(lengths[s], (plan.sites[s].shape[0],)) for s in site.terms[0].sources]
        return np.concatenate(each)
    scales: list[FloatArray] = [np.exp2(length.astype(np.float64)) for length in lengths]
    half = 1 << (options.bits - 1)
    channels = site.shape[0]
    per_channel: list[tuple[FloatArray, FloatArray]] = []
    for term in site.terms:
        real = term_weights(term, plan, scales)
        rows = real.reshape(channels, -1)
        met = [
            np.broadcast_to(spread(scales[s], plan.sites[s].shape), plan.sites[s].shape).ravel() ** 2
            * energy[s].ravel()
            for s in term.sources
        ]
        weight = np.concatenate(met)
        if not isinstance(term.node, Linear):
            # Of a convolution's taps all that lie in one channel meet the same.
            weight = np.full(rows.shape[1], weight.mean())
        per_channel.append((rows, weight))
    largest = np.max([np.abs(rows).max(axis=1) for rows, _ in per_channel], axis=0)
    if options.per == "layer":
        largest = largest.max(keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    safe = np.floor(np.log2((half - 1) / largest)).astype(np.int64)
    if options.rule == "max":
        return safe
    tried = np.stack([safe + extra for extra in range(LENGTHS_TRIED)])
    lost = np.zeros(tried.shape)
    for rows, weight in per_channel:
        for t, length in enumerate(tried):
            step = 2.0 ** -np.broadcast_to(length, (channels,)).astype(np.float64)[:, None]
            kept = np.clip(np.rint(rows / step), -half, half - 1) * step
            error = ((rows - kept) ** 2 * weight).sum(axis=1)
            lost[t] += error.sum() if options.per == "layer" else error
    return np.asarray(tried[lost.argmin(axis=0), np.arange(tried.shape[1])])


def integer_options(options: QuantiseOptions, input_scale: float) -> IntegerOptions:
    """Return what makes `to_network` write such a network: values each frame, in b bits."""
    return IntegerOptions(False, options.bits, "channel", input_scale, 1, "half_up", options.bits)
