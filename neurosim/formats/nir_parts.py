"""What the writer of NIR files needs of a layer and of a connection: float neurons, parts a source, matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurosim.errors import ModelError
from neurosim.formats.linear_maps import MAX_MATRIX
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    Delta,
    Dense,
    Hybrid,
    Layer,
    Membrane,
    Network,
    Pool2d,
    Relay,
    Rounding,
    Sigma,
    SigmaDelta,
    Sparse,
    Transform,
)
from neurosim.network.units import spread

METADATA_KEY = "neurosim"
VERSION = 1
FOREVER = 1e12
"""Timesteps of a time constant that stands for no decay, where NIR asks for one."""


def neuron(layer: Layer, dt_s: float) -> Any:
    """Return the NIR node nearest to the units of a layer; None for a relay.

    Parameters are in units of the weighted input, so that every gain is 1: r = tau/dt, w_in = tau_syn/dt.
    """
    import nir

    unit, shape = layer.unit, layer.shape

    def full(values: Any) -> Any:
        return spread(np.asarray(values), shape).reshape(shape).astype(np.float64)

    def tau(kept: Any) -> Any:
        with np.errstate(divide="ignore"):
            return np.minimum(dt_s / (1.0 - kept), dt_s * FOREVER)

    if isinstance(unit, Relay):
        return None
    if isinstance(unit, Delta):
        return nir.Scale(np.ones(shape))
    if isinstance(unit, Hybrid | Rounding | Sigma | SigmaDelta):
        return nir.I(r=np.full(shape, 1.0 / dt_s))
    if isinstance(unit, CubaLif):
        scale = 2.0**-unit.activation_shift
        kept = full([4096 - unit.voltage_decay]) / 4096
        current: Any = full([4096 - unit.current_decay]) / 4096
        bias = full(unit.bias) * 2.0**unit.bias_shift * scale
        threshold: Any = full([unit.threshold]) * scale
        reset: Any = np.zeros(shape)
    else:
        assert isinstance(unit, Membrane)
        one, scale = 1 << unit.decay_bits, 2.0**-unit.activation_shift
        kept, bias = full(unit.voltage_keep) / one, full(unit.bias) * scale
        current = full(unit.current_keep) / one if hasattr(unit, "current_keep") else None
        threshold = full(unit.threshold) * scale if hasattr(unit, "threshold") else None
        reset = full(unit.reset) * scale if hasattr(unit, "reset") else None
    leak = np.divide(bias, 1.0 - kept, out=np.zeros(shape), where=kept < 1.0)
    values: dict[str, Any] = {"r": tau(kept) / dt_s, "v_leak": leak}
    if threshold is not None:
        values |= {"v_threshold": threshold, "v_reset": reset}
    if current is not None:
        values |= {"tau_mem": tau(kept), "tau_syn": tau(current), "w_in": tau(current) / dt_s}
        return nir.CubaLI(**values) if threshold is None else nir.CubaLIF(**values)
    if (kept == 1.0).all():
        del values["v_leak"]
        values["r"] = np.full(shape, 1.0 / dt_s)
        return nir.I(**values) if threshold is None else nir.IF(**values)
    values["tau"] = tau(kept)
    return nir.LI(**values) if threshold is None else nir.LIF(**values)


def split(network: Network, connection: Connection, matrix: Dense | None = None) -> list[Transform] | None:
    """Return a transform a source, whose sums are the connection's; None where only a matrix can be split so."""
    transform: Transform = connection.transform if matrix is None else matrix
    sizes = [network[name].size for name in connection.sources]
    if isinstance(transform, Dense):
        return [Dense(part) for part in np.split(transform.weights, np.cumsum(sizes)[:-1], axis=1)]
    if not isinstance(transform, Conv2d):
        return None
    if len(sizes) == 1:
        return [transform] if network[connection.sources[0]].shape == transform.in_shape else None
    area = math.prod(transform.in_shape[1:])
    images = all(network[name].shape[1:] == transform.in_shape[1:] for name in connection.sources)
    if isinstance(transform, Pool2d) or transform.groups > 1 or not images:
        return None
    channels = np.cumsum([size // area for size in sizes])[:-1]
    weights = np.split(transform.weights, channels, axis=1)
    fixed = (transform.stride, transform.padding, transform.dilation)
    return [Conv2d(part, (part.shape[1], *transform.in_shape[1:]), *fixed) for part in weights]


def matrix_of(transform: Transform, label: str) -> Dense:
    """Return a transform as a matrix of its weights; a divisor is left out.

    Raises
    ------
    ModelError
        It would be too large.
    """
    size, out = transform.in_size, transform.out_size
    if size * out > MAX_MATRIX:
        raise ModelError(f"{label}: NIR can hold it as a matrix of {out} x {size} alone; the limit is {MAX_MATRIX}")
    matrix = np.zeros((out, size), dtype=np.int64)
    if isinstance(transform, Sparse):
        matrix[transform.targets, np.repeat(np.arange(size), np.diff(transform.row_start))] = transform.weights
        return Dense(matrix)
    one = np.zeros(size, dtype=np.int64)
    for i in range(size):
        one[i] = 1
        matrix[:, i] = transform.apply(one)
        one[i] = 0
    return Dense(matrix)
