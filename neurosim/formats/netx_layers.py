"""The layers of a NetX file, each checked against the one before and turned into network parts."""

from __future__ import annotations

import math
from collections import Counter

import h5py
import numpy as np

from neurosim.errors import ModelError, suggest
from neurosim.formats.netx_fields import MAX_EXTENT, Fields, IntArray
from neurosim.formats.netx_units import NetxOptions, read_unit
from neurosim.network import Connection, Conv2d, Delay, Dense, Layer, Relay
from neurosim.network.connections import MAX_DELAY

LOWEST_WEIGHT, HIGHEST_WEIGHT = -256, 254
"""Weights are 8-bit mantissas with an exponent of at most 1; integers in units of 1/64."""
CONV_ACCUMULATOR_BITS = 24
"""Sums of a convolution wrap to this width in lava."""
LAYER_KEYS = {
    "input": {"type", "shape", "neuron", "weight", "bias"},
    "flatten": {"type", "shape"},
    "conv": {
        "type", "shape", "neuron", "weight", "bias", "stride", "padding", "dilation", "groups",
        "kernelSize", "inChannels", "outChannels", "delay",
    },
    "dense": {"type", "shape", "neuron", "weight", "bias", "inFeatures", "outFeatures", "delay"},
    "dense_rec": {
        "type", "shape", "neuron", "weight", "bias", "inFeatures", "outFeatures", "delay", "weight_rec",
    },
}  # fmt: skip
REFUSED_LAYERS = ("average", "pool", "convT", "unpool", "concat")

Shape = tuple[int, ...]


class LayerReader:
    """Walks through the layers of a file and gathers layers, connections, errors and notes.

    Parameters
    ----------
    options
        What the file does not hold.

    Attributes
    ----------
    layers, connections
        What was read; complete only while `errors` is empty.
    errors, notes
        Sentences.
    """

    def __init__(self, options: NetxOptions) -> None:
        self.options = options
        self.layers: list[Layer] = []
        self.connections: list[Connection] = []
        self.errors: list[str] = []
        self.notes: list[str] = []
        self._counts: Counter[str] = Counter()
        # Shape that the next layer sees; None where an error left it unknown.
        self._shape: Shape | None = None
        self._flattened = False
        # Number of the next layer as lava counts, without `flatten`.
        self._position = 0

    def read(self, number: int, fields: Fields) -> None:
        """Read layer `number` of the file."""
        kind = fields.text("type")
        if kind not in LAYER_KEYS:
            if kind is not None:
                self._refuse(kind, fields)
            self._shape = None
            return
        fields.only(LAYER_KEYS[kind])
        if kind == "flatten":
            self._flatten(number, fields)
            return
        before = len(self.errors)
        if kind == "input":
            layer = self._input(number, fields)
        elif kind == "conv":
            layer = self._conv(number, fields)
        else:
            layer = self._dense(number, fields, recurrent=kind == "dense_rec")
        self._flattened = False
        self._position += 1
        if layer is not None and len(self.errors) == before:
            self.layers.append(layer)

    def _refuse(self, kind: str, fields: Fields) -> None:
        if kind in REFUSED_LAYERS:
            problem = (
                "which is not supported: lava cannot import it, so nothing defines its integers; "
                "train with a strided conv in its place"
            )
        else:
            problem = (
                f"which is not known{suggest(kind, (*LAYER_KEYS, *REFUSED_LAYERS))}; supported: {', '.join(LAYER_KEYS)}"
            )
        fields.error("type", f'is "{kind}", {problem}')

    def _name(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind}{self._counts[kind]}"

    def _flatten(self, number: int, fields: Fields) -> None:
        if not number:
            fields.error("type", 'is "flatten", but nothing comes before it; begin with an input layer')
            return
        shape = fields.shape("shape", (1, 2, 3)) if "shape" in fields else None
        if shape and self._shape and math.prod(shape) != math.prod(self._shape):
            fields.error(
                "shape",
                f"is {list(shape)}, {math.prod(shape)} neurons, but the layer before has "
                f"{list(self._shape)}, {math.prod(self._shape)} neurons; correct one of them",
            )
        self._flattened = True

    def _input(self, number: int, fields: Fields) -> Layer | None:
        if number:
            fields.error("type", 'is "input", but layers come before it; only layer 0 may be an input')
        shape = self._shape = fields.shape("shape", (1, 3))
        unit = read_unit(fields, shape, self.options, self._position, self.notes, is_input=True)
        given = {k: fields.integer(k, -MAX_EXTENT, MAX_EXTENT) for k in ("weight", "bias") if k in fields}
        weight, bias = given.get("weight", 64), given.get("bias", 0)
        if given and weight is not None and bias is not None:
            sign = "-" if bias < weight else "+"
            self.notes.append(
                f"{fields.place} (input): frames must already be transformed as the file asks, "
                f"{2 * weight} * x {sign} {abs(bias - weight)} for x in 0..1, truncated"
            )
        return Layer("input", shape, unit) if shape and unit else None

    def _implicit_input(self, fields: Fields, shape: Shape) -> Shape:
        self.layers.append(Layer("input", shape, Relay()))
        self.notes.append(
            f"{fields.place}: no input layer comes before it; frames of shape {list(shape)} are sent "
            "as messages as they are"
        )
        return shape

    def _conv(self, number: int, fields: Fields) -> Layer | None:
        name = self._name("conv")
        shape = fields.shape("shape", (3,))
        weights = self._weights(fields, "weight")
        stride, padding, dilation = (
            fields.pair("stride", 1),
            fields.pair("padding", 0),
            fields.pair("dilation", 1),
        )
        groups = fields.integer("groups", 1, MAX_EXTENT)
        unit = read_unit(fields, shape, self.options, self._position, self.notes)
        if weights is not None:
            if weights.ndim == 5 and weights.shape[4] == 1:
                weights = weights[..., 0]
            if weights.ndim != 4 or 0 in weights.shape:
                fields.error("weight", f"has shape {weights.shape}; give (C_out, C_in / groups, rows, columns)")
                weights = None
        source, self._shape = self._shape, shape
        if not (shape and stride and padding and dilation and groups) or weights is None:
            return None
        fields.agree("kernelSize", weights.shape[2:], "the kernels of weight are")
        fields.agree("outChannels", weights.shape[0], "the output channels of weight are")
        fields.agree("inChannels", weights.shape[1] * groups, "the input channels of weight, times groups, are")
        if not number:
            if stride != (1, 1):
                fields.error(
                    "stride",
                    f"is {list(stride)} and no input layer comes before: several sizes of the input "
                    "would fit, and the file holds none; export the network with an input layer",
                )
                return None
            reach = [dilation[a] * (weights.shape[2 + a] - 1) - 2 * padding[a] for a in (0, 1)]
            source = (weights.shape[1] * groups, shape[1] + reach[0], shape[2] + reach[1])
        if source is None:
            return None
        if len(source) != 3 or self._flattened:
            fields.error("type", 'is "conv", but the layer before has no rows and columns; put it before the flatten')
            return None
        try:
            transform = Conv2d(weights, source, stride, padding, dilation, groups)
        except ModelError as error:
            self.errors.append(f"{fields.place}: {error}")
            return None
        if transform.out_shape != shape:
            fields.error(
                "shape",
                f"is {list(shape)}, but weight, stride, padding and dilation make "
                f"{list(transform.out_shape)} of {list(source)}; correct one of them",
            )
        if "delay" in fields:
            self.notes.append(f"{fields.place} (conv): delay ignored, as lava does")
        if unit is None:
            return None
        if not number:
            self._implicit_input(fields, source)
        if self.layers:
            before = self.layers[-1].name
            self.connections.append(Connection((before,), name, transform, accumulator_bits=CONV_ACCUMULATOR_BITS))
        return Layer(name, shape, unit)

    def _dense(self, number: int, fields: Fields, recurrent: bool) -> Layer | None:
        name = self._name("dense")
        declared = fields.shape("shape", (1, 2, 3))
        if declared is not None and sum(v > 1 for v in declared) > 1:
            fields.error("shape", f"is {list(declared)}; a dense layer has (N,) or (N, 1, 1)")
            declared = None
        shape = None if declared is None else (math.prod(declared),)
        weights = self._weights(fields, "weight")
        unit = read_unit(fields, shape, self.options, self._position, self.notes)
        source, self._shape = self._shape, shape
        if shape is None or weights is None:
            return None
        out = shape[0]
        if weights.ndim == 1 and weights.size % out == 0:
            weights = weights.reshape(out, weights.size // out)
        if weights.ndim != 2 or 0 in weights.shape or weights.shape[0] != out:
            fields.error(
                "weight",
                f"has shape {weights.shape}, but shape asks for ({out}, inputs); correct one of them",
            )
            return None
        inputs = int(weights.shape[1])
        fields.agree("outFeatures", out, "the outputs of weight are")
        fields.agree("inFeatures", inputs, "the inputs of weight are")
        again = self._recurrent(fields, out) if recurrent else None
        delay = self._delay(fields, out, inputs) if "delay" in fields and not recurrent else None
        if not number:
            source = self._implicit_input(fields, (inputs,))
        if source is None:
            return None
        if math.prod(source) != inputs:
            fields.error(
                "weight",
                f"has shape {weights.shape}, but the layer before has {list(source)}, "
                f"{math.prod(source)} neurons; correct one of them",
            )
        elif math.prod(source[1:]) > 1 and not self._flattened:
            fields.error("type", f'is "dense" after a layer of shape {list(source)}; put a flatten between them')
        if unit is None:
            return None
        if self.layers:
            self.connections.append(Connection((self.layers[-1].name,), name, Dense(weights), delay))
            if again is not None:
                self.connections.append(Connection((name,), name, Dense(again)))
        return Layer(name, shape, unit)

    def _recurrent(self, fields: Fields, out: int) -> IntArray | None:
        if "delay" in fields:
            fields.error("delay", "stands in a dense_rec layer, which is not supported; train without delays")
        weights = self._weights(fields, "weight_rec")
        if weights is not None and weights.shape != (out, out):
            fields.error("weight_rec", f"has shape {weights.shape}; give ({out}, {out})")
            return None
        return weights

    def _weights(self, fields: Fields, key: str) -> IntArray | None:
        if key in fields and isinstance(fields.group[key], h5py.Group):
            parts = ", ".join(map(str, fields.group[key]))
            fields.error(key, f"is a group of {parts}: complex weights are not supported; train with real ones")
            return None
        way_out = "quantise to 8 bits in units of 1/64, as lava-dl's export does"
        return fields.values(key, LOWEST_WEIGHT, HIGHEST_WEIGHT, way_out)

    def _delay(self, fields: Fields, out: int, inputs: int) -> Delay | None:
        stored = fields.numbers("delay", ((), (1,), (out,), (inputs,)))
        if stored is None:
            return None
        if not (np.isfinite(stored).all() and stored.min() >= 0):
            fields.error("delay", "holds values that are negative or not finite; give 0 or more timesteps")
            return None
        steps = np.floor(stored)
        clipped = np.count_nonzero(steps > MAX_DELAY)
        if clipped:
            self.notes.append(
                f"{fields.place} (dense): {clipped} of {steps.size} delays, up to {steps.max():.0f} "
                f"timesteps, clipped to {MAX_DELAY}, as lava does"
            )
        steps = np.minimum(steps, MAX_DELAY).astype(np.int64)
        if steps.shape == (inputs,) and steps.size not in (1, out):
            return Delay("axon", steps)
        return Delay("neuron", np.broadcast_to(steps, (out,)).copy())
