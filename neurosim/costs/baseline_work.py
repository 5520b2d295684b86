"""What a network asks of hardware that computes it densely: each connection as a convolution's loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurosim.errors import InputError, ModelError, join_errors, suggest
from neurosim.network import Connection, Conv2d, MaxRounding, Network, Pool2d, Sparse, Transform

Density = float | Mapping[str, float] | None


@dataclass(frozen=True)
class Work:
    """One connection, once, as dense hardware sees it.

    A matrix is a convolution whose kernel and output are 1 by 1.

    Attributes
    ----------
    label
        Names the connection in messages.
    groups
        Parts that share neither channels nor filters; `channels` and `filters` are those of one part.
    kernel, out, stride, dilation
        (rows, columns).
    inputs, outputs
        Values taken and given, all groups together.
    synapses
        MACs where only stored synapses are computed; a convolution's taps on its padding count.
    pool
        Whether it is a pooling or passes values on one to one, as sums of two layers do: no weights of a matrix.
    weight_bits
        Width of its weights.
    density
        Share of its inputs that are not zero; 1 where nothing was said.
    """

    label: str
    groups: int
    channels: int
    filters: int
    kernel: tuple[int, int]
    out: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    inputs: int
    outputs: int
    synapses: int
    pool: bool
    weight_bits: int
    density: float

    @property
    def macs(self) -> int:
        """MACs of an array that computes every product; 0 for a pooling and for values passed on one to one."""
        return 0 if self.pool else self.weights * self.out[0] * self.out[1]

    @property
    def weights(self) -> int:
        """Weights of the whole connection, zero ones included; a sparse one as its dense matrix."""
        return self.groups * self.group_weights

    @property
    def group_weights(self) -> int:
        """Weights of one group."""
        return 0 if self.pool else self.filters * self.channels * self.kernel[0] * self.kernel[1]


def network_work(network: Network, density: Density, weight_bits: int | None) -> tuple[Work, ...]:
    """Return the dense work of each connection for one frame.

    Parameters
    ----------
    network
        What to compute.
    density
        Share of activations that are not zero, 0 to 1: one for all, or by name of the layer that sends them.
    weight_bits
        Width of all weights; None for the width that each connection's widest needs.

    Raises
    ------
    InputError
        A density outside 0 to 1, one for an unknown layer, or none for a layer that sends.
    ModelError
        A weight is wider than `weight_bits`.
    """
    _check_density(network, density)
    return tuple(_work(network, connection, density, weight_bits) for connection in network.connections)


def _work(network: Network, connection: Connection, density: Density, weight_bits: int | None) -> Work:
    transform = connection.transform
    needed = 0 if isinstance(transform, Pool2d) else bits_of(transform.weights)
    if weight_bits is not None and needed > weight_bits:
        raise ModelError(
            f"{connection.label}: weights reach {transform.weights.min()}..{transform.weights.max()}, which take "
            f"{needed} bits; {weight_bits} are given: give {needed} or more, or quantise first"
        )
    if isinstance(transform, Conv2d):
        filters, channels, *kernel = (int(size) for size in transform.weights.shape)
        groups, filters = transform.groups, filters // transform.groups
        spans = ((kernel[0], kernel[1]), transform.out_shape[1:], transform.stride, transform.dilation)
        synapses = transform.out_size * channels * kernel[0] * kernel[1]
    else:
        groups, channels, filters = 1, transform.in_size, transform.out_size
        spans = ((1, 1), (1, 1), (1, 1), (1, 1))
        synapses = int(transform.weights.size) if isinstance(transform, Sparse) else channels * filters
    kernel_span, out, stride, dilation = spans
    # Its synapses bring values to the places of windows: a pooling, with a value a window for its result.
    maximum = isinstance(network[connection.target].unit, MaxRounding)
    return Work(
        connection.label,
        groups,
        channels,
        filters,
        kernel_span,
        (out[0], out[1]),
        stride,
        dilation,
        transform.in_size,
        network[connection.target].size if maximum else transform.out_size,
        synapses,
        maximum or isinstance(transform, Pool2d) or _one_to_one(transform),
        needed if weight_bits is None else weight_bits,
        _mean_density(network, connection, density),
    )


def _one_to_one(transform: Transform) -> bool:
    """Return whether every input leads to one output, and every output comes of one input."""
    if not isinstance(transform, Sparse) or transform.in_size != transform.out_size:
        return False
    each = np.bincount(transform.targets, minlength=transform.out_size)
    return bool((np.diff(transform.row_start) == 1).all() and (each == 1).all())


def bits_of(weights: np.ndarray) -> int:
    """Return the bits that hold every weight, with a sign where one is negative; 1 at least.

    A power of two that divides all of them is left out: it shifts the sum.
    """
    low, high = (int(weights.min()), int(weights.max())) if weights.size else (0, 0)
    used = int(np.bitwise_or.reduce(weights, axis=None)) if weights.size else 0
    shift = (used & -used).bit_length() - 1 if used else 0
    low, high = low >> shift, high >> shift
    if low < 0:
        return 1 + max(high.bit_length(), (-low - 1).bit_length())
    return max(high.bit_length(), 1)


def _mean_density(network: Network, connection: Connection, density: Density) -> float:
    if density is None:
        return 1.0
    if not isinstance(density, Mapping):
        return float(density)
    sizes = [network[name].size for name in connection.sources]
    sent = [size * float(density[name]) for name, size in zip(connection.sources, sizes, strict=True)]
    return math.fsum(sent) / sum(sizes)


def _check_density(network: Network, density: Density) -> None:
    if density is None:
        return
    given = density if isinstance(density, Mapping) else {"": density}
    problems = [
        f"density{f' of {name}' if name else ''} is {value!r}; it is a share from 0 to 1"
        for name, value in given.items()
        if not isinstance(value, int | float | np.floating) or isinstance(value, bool) or not 0.0 <= value <= 1.0
    ]
    if isinstance(density, Mapping):
        for name in density:
            if name not in network.index:
                problems.append(f'density of "{name}": there is no such layer{suggest(name, network.index)}')
        sending = dict.fromkeys(name for connection in network.connections for name in connection.sources)
        problems += [f"layer {name} sends, but has no density; give one" for name in sending if name not in density]
    if problems:
        raise InputError(join_errors(network.name, problems))


def words(bits: int, word_bits: int, limit: int, place: str) -> int:
    """Return how many words hold a value of `bits`.

    Raises
    ------
    ModelError
        More than `limit`; `place` says whose value.
    """
    needed = -(-bits // word_bits)
    if needed > limit:
        raise ModelError(
            f"{place} of {bits} bits; this hardware computes with {limit * word_bits} at most: quantise first"
        )
    return needed
