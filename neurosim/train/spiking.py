"""Leaky integrate-and-fire networks trained by backpropagation.

After Lee, Delbruck and Pfeiffer, "Training Deep Spiking Neural Networks using Backpropagation", Frontiers in
Neuroscience 10:508, 2016 (from memory): membranes that leak, a spike that takes the threshold off the membrane, and
lateral inhibition, by which a spike takes a share of the threshold off the layer's other neurons. Of the paper, too, is
that a spike's derivative is 1 / threshold, here only near the threshold. Different here: everything happens in
timesteps, and derivatives go through the membranes of all timesteps, where the paper takes them from accumulated
spikes; Adam; weights are rounded in training as they will be on the chip. The paper's refractory weight w_dyn is left
out: a neuron spikes at most once a timestep, which is its refractory time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError
from neurosim.formats.spike_codes import encode
from neurosim.train.spiking_network import LifForm, LifWeights, steps_of_weights
from neurosim.train.training_data import check_counts, check_inputs, check_labels, check_loss, import_torch

INITIAL_GAIN = 2.0
"""First weights are uniform with this standard deviation over the square root of the layer's inputs: as few inputs
spike at a time, sums then reach about half a threshold."""


@dataclass(frozen=True)
class LifTraining:
    """How a network is trained.

    Attributes
    ----------
    epochs, batch, rate
        Of Adam; the rate falls along half a cosine.
    price
        What a spike of a hidden layer costs, in units of the loss.
    seed
        Of first weights, order of samples, and random codes.
    """

    epochs: int = 10
    batch: int = 100
    rate: float = 1e-3
    price: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(epochs=self.epochs, batch=self.batch)
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"rate is {self.rate}; it must be above 0")
        if not (math.isfinite(self.price) and self.price >= 0):
            raise InputError(f"price is {self.price}; it must be 0 or more")


def train_lif(
    inputs: Any,
    labels: Any,
    hidden: Sequence[int],
    form: LifForm,
    training: LifTraining,
    classes: int | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> LifWeights:
    """Train a network to class samples, by the cross-entropy of its answers.

    Parameters
    ----------
    inputs
        Integers (samples, n), 0..form.full.
    labels
        Integers (samples,).
    hidden
        Neurons of each hidden layer.
    form
        What the network is; see `LifForm`.
    training
        How it is trained.
    classes
        Number of answers; by default the largest label and one.
    progress
        Called with batches done, their number, and the loss.

    Returns
    -------
    Float weights (out, in) of each layer, thresholds being 1.

    Raises
    ------
    InputError
        Inputs or labels out of range, or a loss that is no number.
    """
    torch = import_torch()
    values = np.asarray(inputs)
    check_inputs(values)
    ends = np.stack((values.min(axis=0), values.max(axis=0)))
    encode(ends, form.timesteps, full=form.full, spikes=form.spikes, code=form.code)
    if classes is None:
        classes = int(np.asarray(labels).max(initial=0)) + 1
    label = torch.from_numpy(check_labels(labels, len(values), classes))
    check_counts(**{f"hidden layer {i}": n for i, n in enumerate(hidden, 1)})
    rng = np.random.default_rng(training.seed)
    sizes = (values.shape[1], *hidden, classes)
    weights = []
    for n_in, n_out in pairwise(sizes):
        reach = INITIAL_GAIN * math.sqrt(3 / n_in)
        first = rng.uniform(-reach, reach, (n_out, n_in)).astype(np.float32)
        weights.append(torch.nn.Parameter(torch.from_numpy(first)))
    optimizer = torch.optim.Adam(weights, lr=training.rate)
    size = min(training.batch, len(values))
    per_epoch = len(values) // size
    total = training.epochs * per_epoch
    for done in range(total):
        epoch, i = divmod(done, per_epoch)
        if i == 0:
            order = rng.permutation(len(values))
        for group in optimizer.param_groups:
            group["lr"] = training.rate * 0.5 * (1 + math.cos(math.pi * done / total))
        part = order[i * size : (i + 1) * size]
        frames = encode(
            values[part], form.timesteps, full=form.full, spikes=form.spikes, code=form.code,
            seed=int(rng.integers(1 << 62)),
        )  # fmt: skip
        spikes = torch.from_numpy(frames.transpose(1, 0, 2).astype(np.float32))
        answers, sent = _forward(torch, [_rounded(torch, w, form.bits) for w in weights], spikes, form)
        loss = torch.nn.functional.cross_entropy(answers, label[part]) + training.price * sent / size
        check_loss(float(loss.detach()), epoch + 1, i + 1, training.rate)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress:
            progress(done + 1, total, float(loss.detach()))
    return tuple(np.asarray(w.detach().numpy(), dtype=np.float64) for w in weights)


def _rounded(torch: Any, weight: Any, bits: int) -> Any:
    """Return weights as they will be in integers; backwards they count as they are."""
    step = 1.0 / steps_of_weights(float(weight.detach().abs().max()), bits)
    return weight + ((weight.detach() / step).round() * step - weight.detach())


def _forward(torch: Any, weights: list[Any], spikes: Any, form: LifForm) -> tuple[Any, Any]:
    """Return the answers (samples, classes), and the spikes that hidden layers sent in all."""
    timesteps, samples, _ = spikes.shape
    sent = torch.zeros(())
    for i, weight in enumerate(weights):
        drive = spikes.reshape(timesteps * samples, -1) @ weight.T
        drive = drive.reshape(timesteps, samples, -1)
        if i == len(weights) - 1 and form.readout == "membrane":
            return drive.sum(dim=0), sent
        spikes = _membranes(torch, drive, form)
        if i < len(weights) - 1:
            sent = sent + spikes.sum()
    return spikes.sum(dim=0), sent


def _membranes(torch: Any, drive: Any, form: LifForm) -> Any:
    """Return the spikes (timesteps, samples, n) of a layer with thresholds of 1."""
    kept = form.kept / form.one
    voltage = torch.zeros_like(drive[0])
    found: list[Any] = []
    for t in range(len(drive)):
        voltage = kept * voltage + drive[t]
        if form.inhibition and found:
            others = found[-1].sum(dim=1, keepdim=True) - found[-1]
            voltage = voltage - form.inhibition * others
        # Within a threshold of the threshold a spike counts as the voltage itself, elsewhere as a constant.
        near = voltage.clamp(0.0, 2.0)
        spike = near + ((voltage.detach() > 1).to(voltage.dtype) - near.detach())
        voltage = voltage - spike.detach()
        found.append(spike)
    return torch.stack(found)


def accuracy_percent(weights: Sequence[NDArray[Any]], inputs: Any, labels: Any, form: LifForm, seed: int = 0) -> float:
    """Return the share of samples that a network with rounded weights answers right, in floats.

    For choosing settings on samples held out: the integer network differs from it by what membranes round.
    """
    torch = import_torch()
    values, right = np.asarray(inputs), 0
    label = check_labels(labels, len(values), weights[-1].shape[0])
    held = [_rounded(torch, torch.from_numpy(np.asarray(w, dtype=np.float32)), form.bits) for w in weights]
    with torch.no_grad():
        for at in range(0, len(values), 500):
            part = values[at : at + 500]
            frames = encode(part, form.timesteps, full=form.full, spikes=form.spikes, code=form.code, seed=seed + at)
            spikes = torch.from_numpy(frames.transpose(1, 0, 2).astype(np.float32))
            answers, _ = _forward(torch, held, spikes, form)
            right += int((answers.argmax(dim=1).numpy() == label[at : at + 500]).sum())
    return right / len(values) * 100
