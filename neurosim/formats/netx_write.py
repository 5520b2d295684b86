"""Writer of NetX `.net` files: networks that lava-dl's layout can hold, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from neurosim.errors import ModelError, join_errors
from neurosim.files import atomic_path
from neurosim.formats.netx_layers import CONV_ACCUMULATOR_BITS, HIGHEST_WEIGHT, LOWEST_WEIGHT
from neurosim.formats.netx_units import (
    CUBA_SHIFT,
    HIGHEST_CUBA_MANTISSA,
    HIGHEST_SDNN_MANTISSA,
    SDNN_MESSAGE_SHIFT,
    SDNN_SHIFT,
)
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    Delta,
    Dense,
    Layer,
    Network,
    Relay,
    Sigma,
    SigmaDelta,
    Unit,
)


@dataclass(frozen=True)
class _Step:
    """A layer with what feeds it."""

    layer: Layer
    source: Layer
    feed: Connection
    recurrent: Connection | None


def write_netx(network: Network, path: str | Path) -> None:
    """Write a sigma-delta or CUBA network as a NetX file, which `read_netx` reads back equal.

    The format holds no names, no rounding, no `cum_error` and no reset: layers are named anew when read,
    the others are arguments of `read_netx`. A bias given once for a whole convolution is written per
    channel.

    Parameters
    ----------
    network
        A chain of layers, each fed by the one before. The first is a `Delta`, a `CubaLif`, or a `Relay`,
        which the file leaves out; the others are `SigmaDelta`, `Sigma` or `CubaLif`.
    path
        Written whole or not at all.

    Raises
    ------
    ModelError
        What the format cannot hold, all of it at once.
    InputError
        The file cannot be written.
    """
    errors: list[str] = []
    steps = _chain(network, errors)
    errors += _option_errors(network)
    first = network.layers[0]
    errors += [f"layer {first.name}: {problem}" for problem in _first_errors(first, steps)]
    for step in steps:
        errors += [f"layer {step.layer.name}: {problem}" for problem in _step_errors(step)]
    if errors:
        raise ModelError(join_errors(f"{network.name} cannot be written as NetX", errors))
    with atomic_path(path) as part, h5py.File(part, "w") as file:
        _write(file, first, steps)


def _chain(network: Network, errors: list[str]) -> list[_Step]:
    """Return the layers after the first with their connections, or note why they are no chain."""
    steps = []
    for source, layer in zip(network.layers[:-1], network.layers[1:], strict=True):
        feeds = [c for c in network.connections if c.target == layer.name]
        forward = [c for c in feeds if c.sources == (source.name,)]
        recurrent = [c for c in feeds if c.sources == (layer.name,)]
        if len(forward) != 1 or len(recurrent) > 1 or len(feeds) > 2 or len(feeds) != len(forward + recurrent):
            fed = ", ".join(c.label for c in feeds) or "nothing"
            errors.append(
                f"layer {layer.name} is fed by {fed}; the format holds one connection from the layer before "
                f"({source.name}) and one from the layer to itself"
            )
            continue
        steps.append(_Step(layer, source, forward[0], recurrent[0] if recurrent else None))
    first = network.layers[0]
    if any(c.target == first.name for c in network.connections):
        errors.append(f"layer {first.name} is fed by a connection; the format's first layer is fed by frames")
    if len(network.layers) == 1 and isinstance(first.unit, Relay):
        errors.append(f"layer {first.name} is a relay alone, which the format leaves out; add a layer")
    return steps


def _option_errors(network: Network) -> Iterator[str]:
    """Find what `read_netx` could not give back with one set of options."""
    units = [layer.unit for layer in network.layers]
    deltas = [u for u in units if isinstance(u, SigmaDelta)]
    if len({(u.rounding, u.cum_error) for u in deltas}) > 1:
        yield "sigma-delta layers differ in rounding or cum_error; the reader gives all the same"
    # The reader counts from the first layer of the file, which a relay is not in.
    start = 1 if isinstance(units[0], Relay) else 0
    resets = {
        (u.reset_interval, (u.reset_phase - 1 - position) % u.reset_interval if u.reset_interval else 0)
        for position, u in enumerate(units[start:])
        if isinstance(u, CubaLif)
    }
    if len(resets) > 1:
        yield (
            "CUBA layers differ in reset_interval, or their phases do not rise by 1 a layer; "
            "the reader gives all one interval and rising phases"
        )


def _first_errors(first: Layer, steps: list[_Step]) -> Iterator[str]:
    unit = first.unit
    if isinstance(unit, Relay):
        if not steps:
            return
        transform = steps[0].feed.transform
        if isinstance(transform, Dense) and len(first.shape) != 1:
            yield f"a relay of shape {first.shape} before a dense layer would be read as ({first.size},)"
        if isinstance(transform, Conv2d) and transform.stride != (1, 1):
            yield "a relay before a convolution with a stride cannot be read back; use a delta layer"
    elif isinstance(unit, Delta):
        if (unit.frame_shift, unit.message_shift) != (SDNN_SHIFT, SDNN_MESSAGE_SHIFT):
            yield f"shifts {unit.frame_shift} and {unit.message_shift}; the format means 12 and 6"
        yield from _threshold_errors(unit.threshold, SDNN_SHIFT, HIGHEST_SDNN_MANTISSA)
    elif isinstance(unit, CubaLif):
        yield from _cuba_errors(unit)
        if unit.bias.any():
            yield "an input has no bias in the format; add it to the frames"
    else:
        yield f"unit {unit.kind} cannot be the first; use delta, cuba_lif or relay"


def _step_errors(step: _Step) -> Iterator[str]:
    unit = step.layer.unit
    if isinstance(unit, SigmaDelta):
        if (unit.bias_shift, unit.message_shift) != (SDNN_SHIFT, SDNN_MESSAGE_SHIFT):
            yield f"shifts {unit.bias_shift} and {unit.message_shift}; the format means 12 and 6"
        yield from _threshold_errors(unit.threshold, SDNN_SHIFT, HIGHEST_SDNN_MANTISSA)
        yield from _bias_errors(unit, step.layer.shape, HIGHEST_SDNN_MANTISSA)
    elif isinstance(unit, CubaLif):
        yield from _cuba_errors(unit)
        yield from _bias_errors(unit, step.layer.shape, HIGHEST_CUBA_MANTISSA)
    elif not isinstance(unit, Sigma):
        place = "can only be the first" if isinstance(unit, Delta | Relay) else "has no place in the format"
        yield f"unit {unit.kind} {place}; use sigma_delta, sigma or cuba_lif"
    for connection in (step.feed, step.recurrent):
        if connection is not None:
            for problem in _connection_errors(step, connection):
                yield f"{connection.label}: {problem}"


def _cuba_errors(unit: CubaLif) -> Iterator[str]:
    if (unit.activation_shift, unit.bias_shift) != (CUBA_SHIFT, CUBA_SHIFT):
        yield f"shifts {unit.activation_shift} and {unit.bias_shift}; the format means 6 and 6"
    yield from _threshold_errors(unit.threshold, CUBA_SHIFT, HIGHEST_CUBA_MANTISSA)


def _threshold_errors(threshold: int, shift: int, highest: int) -> Iterator[str]:
    if threshold % (1 << shift) or not 0 <= threshold >> shift <= highest:
        yield f"threshold {threshold}; the format holds multiples of {1 << shift} up to {highest << shift}"


def _bias_errors(unit: SigmaDelta | CubaLif, shape: tuple[int, ...], highest: int) -> Iterator[str]:
    bias = unit.bias
    if len(shape) == 3 and bias.size not in (1, shape[0]):
        yield f"{bias.size} biases; a convolution holds one a channel ({shape[0]})"
    elif len(shape) == 1 and bias.size not in (1, shape[0]):
        yield f"{bias.size} biases for {shape[0]} neurons; give 1 or {shape[0]}"
    if bias.min() < -highest or bias.max() > highest:
        yield f"biases in {bias.min()}..{bias.max()}; the format holds up to +-{highest}"


def _connection_errors(step: _Step, connection: Connection) -> Iterator[str]:
    transform, delay = connection.transform, connection.delay
    recurrent = connection is step.recurrent
    if type(transform) is Conv2d and not recurrent:
        if transform.in_shape != step.source.shape or transform.out_shape != step.layer.shape:
            yield (
                f"the convolution takes {transform.in_shape} and gives {transform.out_shape}; "
                f"the layers have {step.source.shape} and {step.layer.shape}"
            )
        if connection.accumulator_bits != CONV_ACCUMULATOR_BITS:
            yield f"sum of {connection.accumulator_bits} bits; the format means {CONV_ACCUMULATOR_BITS}"
        if delay is not None:
            yield "a convolution's delay is ignored by readers of the format; remove it"
    elif type(transform) is Dense:
        if len(step.layer.shape) != 1:
            yield f"a dense layer has shape (N,) in the format, not {step.layer.shape}"
        if connection.accumulator_bits is not None:
            yield f"sum of {connection.accumulator_bits} bits; the format means an exact sum"
        if delay is not None and (recurrent or step.recurrent is not None):
            yield "the format holds no delay beside a recurrent connection"
        elif delay is not None and delay.kind == "synapse":
            yield "the format holds delays per axon or per neuron, not per synapse"
        elif delay is not None and delay.kind == "axon" and transform.in_size in (1, transform.out_size):
            yield f"{transform.in_size} delays per axon would be read as delays per neuron; give them so"
    else:
        yield f"transform {transform.kind} has no place here; use dense{'' if recurrent else ' or conv2d'}"
        return
    low, high = int(transform.weights.min()), int(transform.weights.max())
    if low < LOWEST_WEIGHT or high > HIGHEST_WEIGHT:
        yield f"weights in {low}..{high}; the format holds {LOWEST_WEIGHT}..{HIGHEST_WEIGHT}"


def _write(file: h5py.File, first: Layer, steps: list[_Step]) -> None:
    root = file.create_group("layer")
    if not isinstance(first.unit, Relay):
        group = _new_layer(root, "input", first.shape)
        _write_neuron(group, first.unit)
    for step in steps:
        transform = step.feed.transform
        if isinstance(transform, Conv2d):
            group = _new_layer(root, "conv", step.layer.shape)
            group["inChannels"], group["outChannels"] = transform.in_shape[0], step.layer.shape[0]
            group["kernelSize"] = np.array(transform.weights.shape[2:], dtype=np.int64)
            for key in ("stride", "padding", "dilation"):
                group[key] = np.array(getattr(transform, key), dtype=np.int64)
            group["groups"] = transform.groups
        else:
            if len(step.source.shape) == 3:
                _new_layer(root, "flatten", (step.source.size, 1, 1))
            group = _new_layer(root, "dense_rec" if step.recurrent else "dense", step.layer.shape)
            group["inFeatures"], group["outFeatures"] = transform.in_size, transform.out_size
            if step.feed.delay is not None:
                group["delay"] = step.feed.delay.values.astype(np.float32)
            if step.recurrent is not None:
                group["weight_rec"] = step.recurrent.transform.weights.astype(np.float32)
        group["weight"] = transform.weights.astype(np.float32)
        _write_neuron(group, step.layer.unit)
        _write_bias(group, step.layer)


def _new_layer(root: h5py.Group, kind: str, shape: tuple[int, ...]) -> h5py.Group:
    group = root.create_group(str(len(root)))
    group["type"] = np.array([kind.encode()], dtype="S10")
    group["shape"] = np.array(shape, dtype=np.int64)
    return group


def _write_neuron(group: h5py.Group, unit: Unit) -> None:
    neuron = group.create_group("neuron")
    if isinstance(unit, CubaLif):
        neuron["type"] = np.bytes_(b"CUBA")
        neuron["iDecay"], neuron["vDecay"] = unit.current_decay, unit.voltage_decay
        neuron["vThMant"] = unit.threshold >> CUBA_SHIFT
        neuron["refDelay"], neuron["gradedSpike"] = 1, False
        return
    neuron["type"], neuron["activation"] = np.bytes_(b"SDNN"), np.bytes_(b"relu")
    neuron["vThMant"] = unit.threshold >> SDNN_SHIFT if isinstance(unit, Delta | SigmaDelta) else 0
    if isinstance(unit, Sigma):
        neuron["sigma_output"] = True


def _write_bias(group: h5py.Group, layer: Layer) -> None:
    if not isinstance(layer.unit, SigmaDelta | CubaLif):
        return
    bias = layer.unit.bias
    if bias.size == 1 and not bias.any():
        return
    if len(layer.shape) == 3:
        bias = np.broadcast_to(bias, (layer.shape[0],))
    group["bias"] = bias.astype(np.float32)
