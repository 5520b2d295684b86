"""The metrics of NeuroBench's algorithm track, by its names and definitions.

Yik et al., The neurobench framework, Nature Communications 2025; documentation of the harness, "Metrics".
They describe the network and its activity and depend on no chip.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.engine import LayerCount, RunCounts
from neurosim.network import Network

_WIDTHS = (np.int8, np.int16, np.int32)


@dataclass(frozen=True)
class NeuroBench:
    """What one execution of a network takes; an execution is a timestep, on chips without timesteps a frame.

    Attributes
    ----------
    footprint_bytes
        Of all weights and biases as stored (a convolution's kernel once), each array in the fewest of 1, 2, 4 or 8
        bytes a number that hold its values.
    connection_sparsity
        Share of the stored weights that are zero.
    activation_sparsity
        Share of the neurons that sent no message, over all timesteps, of layers whose units have state (a layer that
        only relays its input has no activation). None on chips without timesteps, where a neuron may send several
        messages in an execution.
    dense
        Synaptic operations of an execution if every neuron sent and every weight were non-zero.
    effective_macs, effective_acs
        Mean synaptic operations of an execution for messages sent and weights that are not zero. They are
        accumulations (ACs) where all messages of the call are -1, 0 or 1, and else multiply-accumulates (MACs). A call
        is what one timestep brings to a connection; where layers join in one connection their messages are one call.
    executions
        Over which the means are taken; all of the run.
    """

    footprint_bytes: int
    connection_sparsity: float
    activation_sparsity: float | None
    dense: int
    effective_macs: float
    effective_acs: float
    executions: int


def neurobench(counts: RunCounts) -> NeuroBench:
    """Return the metrics of a run."""
    network, c = counts.program.network, LayerCount
    weights = [connection.transform.weights for connection in network.connections]
    stored = sum(int(w.size) for w in weights)
    zeros = stored - sum(int(np.count_nonzero(w)) for w in weights)
    stateful = np.array([bool(layer.unit.state_names) for layer in network.layers])
    neurons = sum(layer.size for layer, counted in zip(network.layers, stateful, strict=True) if counted)
    sent = int(counts.layer_counts[:, stateful, c.MESSAGES].sum())
    visits = neurons * counts.timesteps
    operations = counts.layer_counts[:, :, c.SYNOPS_NONZERO]
    unit = unit_calls(network, counts.layer_counts[:, :, c.LARGEST_MESSAGE])
    return NeuroBench(
        footprint_bytes=sum(map(_bytes, weights)) + sum(map(_bytes, _biases(network))),
        connection_sparsity=zeros / stored if stored else 0.0,
        activation_sparsity=None if not counts.program.has_timesteps else 1.0 - sent / visits if visits else 0.0,
        dense=int(network.fan_out[0].sum()),
        effective_macs=int(operations[~unit].sum()) / counts.timesteps,
        effective_acs=int(operations[unit].sum()) / counts.timesteps,
        executions=counts.timesteps,
    )


def unit_calls(network: Network, largest: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where all messages of the calls that a layer takes part in are -1, 0 or 1.

    Parameters
    ----------
    network
        Says which layers join in a connection.
    largest
        int64 (timesteps, layers): largest size of a message.

    Returns
    -------
    bool (timesteps, layers). A layer that takes part in several calls is there only where it holds for all.
    """
    graded: NDArray[np.bool_] = np.zeros(largest.shape, dtype=np.bool_)
    for connection in network.connections:
        sources = [network.index[name] for name in connection.sources]
        graded[:, sources] |= largest[:, sources].max(axis=1, keepdims=True) > 1
    # A layer that feeds none meets no synapses; it is told by its own messages.
    return ~graded & np.less_equal(largest, 1)


def _biases(network: Network) -> list[NDArray[np.int64]]:
    """Return the biases of all units as stored, but for those that are zero."""
    each = (
        getattr(layer.unit, item.name)
        for layer in network.layers
        for item in fields(layer.unit)
        if item.name == "bias" or item.name.endswith("_bias")
    )
    return [values for values in each if np.any(values)]


def _bytes(values: NDArray[Any]) -> int:
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    fits = (kind for kind in _WIDTHS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return int(values.size) * np.dtype(next(fits, np.int64)).itemsize
