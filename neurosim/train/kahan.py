"""Stochastic gradient descent on weights of a few bits, with Kahan's compensation of what rounding loses.

Kahan, "Further Remarks on Reducing Truncation Errors", Comm. ACM 8(1), 1965: a sum of many small numbers keeps, beside
itself, the error of its last rounding. Here the sum is a weight w of b bits and the small numbers are the steps of
gradient descent, most of which are smaller than half a step of w: rounded to nearest they would all be lost.

    y = -rate * gradient - c;  t = Q(w + y);  c = Qc((t - w) - y);  w = t

Q rounds to the weight's format, Qc to that of the compensation, whose b bits cover a step of w to either side (half a
step would do but for halves, which must fit on both sides).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurosim.errors import InputError, ModelError, suggest
from neurosim.train.training_data import check_counts, check_inputs, check_labels, check_loss, import_torch

MAX_BITS = 16
"""Steps of compensations then have 2**-31 of a weight's range, still within float32."""
LEAST_FRACTION, MAX_FRACTION = -127, 126
"""Normal numbers of float32 begin at 2**-126 and end below 2**128; outside, all would be rounded to 0 or infinity."""


@dataclass(frozen=True)
class FixedFormat:
    """Signed numbers of `bits` bits in steps of 2**-fraction, from -2**(bits - 1) to 2**(bits - 1) - 1 steps.

    Attributes
    ----------
    bits
        With the sign, 2..16.
    fraction
        Bits behind the point.
    """

    bits: int
    fraction: int

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= MAX_BITS:
            raise ModelError(f"a format of {self.bits} bits; choose 2 to {MAX_BITS}")
        least = self.bits - 1 + LEAST_FRACTION
        if not least <= self.fraction <= MAX_FRACTION:
            raise ModelError(
                f"a format of {self.bits} bits with {self.fraction} behind the point, which float32 cannot hold; "
                f"choose {least} to {MAX_FRACTION}"
            )

    @property
    def step(self) -> float:
        """Distance of two neighbours."""
        return 2.0**-self.fraction

    def round(self, values: Any) -> Any:
        """Return `values`, an array of numpy or a tensor, rounded to the nearest (halves to even) and saturated."""
        half = 1 << (self.bits - 1)
        return (values / self.step).round().clip(-half, half - 1) * self.step

    def compensation(self, bits: int | None = None) -> FixedFormat:
        """Return the format of the compensation: `bits` bits, by default as many, which cover a step to either side."""
        bits = self.bits if bits is None else bits
        return FixedFormat(bits, self.fraction + bits - 1)


def compensated_step(
    weight: Any, compensation: Any, change: Any, form: FixedFormat, kept: FixedFormat
) -> tuple[Any, Any]:
    """Return the weight and its compensation after adding `change`, by Kahan's rule.

    Parameters
    ----------
    weight, compensation
        Numbers of `form` and of `kept`: arrays of numpy or tensors, of one shape.
    change
        -rate * gradient.
    form, kept
        Of the weight and of the compensation. As long as the weight does not saturate and changes are multiples of the
        compensation's step, weight - compensation is exactly the sum of the changes.
    """
    wanted = change - compensation
    after = form.round(weight + wanted)
    return after, kept.round((after - weight) - wanted)


def least_fraction(classes: int) -> int:
    """Return the fraction bits that the weights before a softmax of `classes` classes need, besides the sign.

    log2(classes) - 1 or more: a rule derived for this project, not taken from a paper.
    """
    if classes < 2:
        raise InputError(f"a softmax of {classes} classes; there must be 2 or more")
    return max(math.ceil(math.log2(classes) - 1), 0)


@dataclass(frozen=True)
class KahanOptions:
    """How weights are kept and moved.

    Attributes
    ----------
    rate
        Of stochastic gradient descent; no momentum.
    bits
        Of weights, with the sign; None for float32.
    compensated
        Whether steps are compensated; False rounds w - rate * gradient, as a comparison.
    fractions
        Bits behind the point per layer name (as `named_modules` has it), or of all layers under ``""``. By default
        bits - 1, so that weights lie within -1..1.
    compensation_bits
        Of all compensations; by default as many as their weights have.
    layer_bits
        Bits per layer name where they differ from `bits`.
    last_layer_rule
        Whether a layer before a softmax with fewer bits behind the point than `least_fraction` is refused.
    """

    rate: float
    bits: int | None = 8
    compensated: bool = True
    fractions: Mapping[str, int] = field(default_factory=dict)
    compensation_bits: int | None = None
    layer_bits: Mapping[str, int] = field(default_factory=dict)
    last_layer_rule: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"rate is {self.rate}; it must be above 0")
        if self.bits is None and (self.fractions or self.layer_bits):
            raise InputError("fractions and layer_bits are given for weights in float32; leave them out, or give bits")

    def format_of(self, layer: str) -> FixedFormat | None:
        """Return the format of a layer's weights; None for float32."""
        if self.bits is None:
            return None
        bits = self.layer_bits.get(layer, self.bits)
        return FixedFormat(bits, self.fractions.get(layer, self.fractions.get("", bits - 1)))


class KahanSgd:
    """Stochastic gradient descent that holds the weights of linear and convolutional layers in few bits.

    Biases and the parameters of other layers stay in float32. Weights are rounded to their format at once, and what
    this takes from them is the first compensation.

    Parameters
    ----------
    module
        A `torch.nn.Module`; its parameters are changed in place.
    options
        See `KahanOptions`.
    classes
        Classes of the softmax that the last linear or convolutional layer feeds; None where there is none.

    Raises
    ------
    ModelError
        The layer before the softmax has fewer bits behind the point than `least_fraction`, or no layer has weights.
    InputError
        PyTorch is not installed; layers are named that the module does not have.

    Attributes
    ----------
    formats
        Per layer name the format of its weights, None for float32.
    compensations
        Per layer name the compensation, a tensor.
    """

    def __init__(self, module: Any, options: KahanOptions, classes: int | None = None) -> None:
        torch = import_torch()
        kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
        self.options = options
        self.layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, kinds)}
        if not self.layers:
            raise ModelError("the module has no linear or convolutional layers; there are no weights to hold")
        for name in (*options.fractions, *options.layer_bits):
            if name and name not in self.layers:
                known = ", ".join(self.layers)
                raise InputError(f'there is no layer "{name}"; layers are {known}' + suggest(name, self.layers))
        self.formats = {name: options.format_of(name) for name in self.layers}
        last = next(reversed(self.layers))
        form = self.formats[last] if options.last_layer_rule else None
        if classes is not None and form is not None and form.fraction < least_fraction(classes):
            raise ModelError(
                f"layer {last}: {form.fraction} bits behind the point; before a softmax of {classes} classes "
                f"{least_fraction(classes)} or more and the sign are needed: give the layer more in layer_bits, "
                "or switch last_layer_rule off"
            )
        held = {id(layer.weight) for layer in self.layers.values()}
        self.others = {name: p for name, p in module.named_parameters() if id(p) not in held}
        self.compensations: dict[str, Any] = {}
        with torch.no_grad():
            for name, layer in self.layers.items():
                form = self.formats[name]
                if form is not None:
                    rounded = form.round(layer.weight)
                    kept = form.compensation(options.compensation_bits)
                    self.compensations[name] = kept.round(rounded - layer.weight)
                    layer.weight.copy_(rounded)
        self._no_grad, self._isfinite = torch.no_grad, torch.isfinite

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in (*(layer.weight for layer in self.layers.values()), *self.others.values()):
            p.grad = None

    def step(self) -> None:
        """Move all parameters that have a gradient.

        Raises
        ------
        InputError
            A gradient is not finite.
        """
        rate = self.options.rate
        with self._no_grad():
            for name, layer in self.layers.items():
                change = self._change(f"{name}.weight", layer.weight, rate)
                if change is None:
                    continue
                form, weight = self.formats[name], layer.weight
                if form is None:
                    weight += change
                elif not self.options.compensated:
                    weight.copy_(form.round(weight + change))
                else:
                    kept = form.compensation(self.options.compensation_bits)
                    moved, compensation = compensated_step(weight, self.compensations[name], change, form, kept)
                    weight.copy_(moved)
                    self.compensations[name] = compensation
            for name, p in self.others.items():
                change = self._change(name, p, rate)
                if change is not None:
                    p += change

    def _change(self, name: str, parameter: Any, rate: float) -> Any:
        if parameter.grad is None:
            return None
        if not bool(self._isfinite(parameter.grad).all()):
            wrong = int((~self._isfinite(parameter.grad)).sum())
            raise InputError(
                f"{name}: {wrong} of {parameter.grad.numel()} values of its gradient are not finite at a rate of "
                f"{rate:g}; choose a smaller rate"
            )
        return -rate * parameter.grad


def train_classifier(
    module: Any,
    inputs: Any,
    labels: Any,
    options: KahanOptions,
    *,
    epochs: int = 3,
    batch: int = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> KahanSgd:
    """Train a module to class samples, by the cross-entropy of its softmax, in place; return what moved it.

    Parameters
    ----------
    module
        Takes (samples, ...) in float32 and gives (samples, classes).
    inputs
        Numbers (samples, ...).
    labels
        Integers (samples,).
    epochs, batch, seed
        How often all samples are seen, how many at a time, and the order's seed.
    progress
        Called with batches done and their number.

    Raises
    ------
    InputError
        Inputs that are not finite, labels out of range, a loss or a gradient that is no number.
    """
    check_counts(epochs=epochs, batch=batch)
    torch = import_torch()
    x = torch.from_numpy(check_inputs(inputs))
    with torch.no_grad():
        classes = int(module(x[:1]).shape[-1])
    y = torch.from_numpy(check_labels(labels, len(x), classes))
    optimizer = KahanSgd(module, options, classes)
    rng = np.random.default_rng(seed)
    size = min(batch, len(x))
    per_epoch = len(x) // size
    for epoch in range(1, epochs + 1):
        order = torch.from_numpy(rng.permutation(len(x)))
        for i in range(per_epoch):
            part = order[i * size : (i + 1) * size]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(x[part]), y[part])
            check_loss(float(loss.detach()), epoch, i + 1, options.rate)
            loss.backward()
            optimizer.step()
            if progress:
                progress((epoch - 1) * per_epoch + i + 1, epochs * per_epoch)
    return optimizer
