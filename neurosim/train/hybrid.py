"""Training of feed-forward networks with hybrid-spiking neurons, whose omegas fall.

After Voelker, Rasmussen and Eliasmith (arXiv:2002.03553): forwards the messages that the neurons will send, what is
left being kept for the next timestep; backwards the derivative of the ReLU itself (straight through); omegas fall from
where a value is sent in fine steps to their last ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import Activation, DenseGraph, Flatten, Input, Linear
from neurosim.train.omegas import fallen
from neurosim.train.training_data import check_counts, check_inputs, check_labels, check_loss, import_torch


@dataclass(frozen=True)
class HybridTraining:
    """How a network is trained.

    Attributes
    ----------
    omega
        Last omegas: one of all hidden layers, or one for each. 0 trains in floats, without messages.
    start_factor, anneal_share
        Omegas start at this multiple of their last values and fall geometrically in this share of the training. 1: the
        last ones from the start.
    timesteps
        For which a sample is held; the answer is the mean over all of them.
    first
        Residuals at the start of a sample, as the network will have them: ``half``, or ``random``, drawn anew from
        0 <= v < 1 for every sample and neuron.
    epochs, batch, rate
        Of Adam; the rate falls along half a cosine.
    seed
        Of the order of samples and of residuals.
    """

    omega: float | Sequence[float]
    start_factor: float = 32.0
    anneal_share: float = 0.5
    timesteps: int = 1
    first: str = "half"
    epochs: int = 5
    batch: int = 100
    rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(timesteps=self.timesteps, epochs=self.epochs, batch=self.batch)
        if self.first not in ("half", "random"):
            raise InputError(f'first is "{self.first}"; use half or random')
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"rate is {self.rate}; it must be a number above 0")
        if not (math.isfinite(self.start_factor) and self.start_factor >= 1 and 0 <= self.anneal_share <= 1):
            raise InputError(
                f"start_factor is {self.start_factor} and anneal_share {self.anneal_share}; the first must be 1 or "
                "more, the second lie in 0..1"
            )
        if not all(math.isfinite(k) and k >= 0 for k in self._omegas()):
            raise InputError(f"omega is {self.omega}; give numbers above 0, or 0 to train in floats")

    def _omegas(self) -> tuple[float, ...]:
        return tuple(self.omega) if isinstance(self.omega, Sequence) else (self.omega,)

    def omegas(self, layers: int) -> tuple[float, ...]:
        """Return the last omega of each hidden layer.

        Raises
        ------
        InputError
            Their number does not fit, or only some are 0.
        """
        found = self._omegas() * (layers if len(self._omegas()) == 1 else 1)
        if len(found) != layers:
            raise InputError(f"{len(found)} omegas for {layers} hidden layers; give 1 or {layers}")
        if any(found) != all(found):
            raise InputError(f"omega is {self.omega}; give 0 for all layers, to train in floats, or for none")
        return found


def train_hybrid(
    graph: DenseGraph,
    inputs: Any,
    labels: Any,
    training: HybridTraining,
    progress: Callable[[int, int, float], None] | None = None,
) -> DenseGraph:
    """Train a network to class samples, by the cross-entropy of its answers, and return it with its new weights.

    Weights are floats in training; `neurosim.convert.to_hybrid` rounds them.

    Parameters
    ----------
    graph
        Linear layers with a ReLU between each two.
    inputs
        Samples (samples, *shape) in the network's units.
    labels
        Integers (samples,).
    training
        How it is trained.
    progress
        Called with batches done, their number, and the loss.

    Raises
    ------
    ModelError
        Another network, by the node that does not fit.
    InputError
        Inputs, labels or omegas that do not fit, or a loss that is no number.
    """
    linear = linear_layers(graph)
    last = training.omegas(len(linear) - 1)
    torch = import_torch()
    values = check_inputs(inputs).reshape(len(inputs), -1)
    if values.shape[1] != linear[0].weight.shape[1]:
        raise InputError(
            f"inputs have {values.shape[1]} values a sample; {graph.name} takes {linear[0].weight.shape[1]}"
        )
    label = torch.from_numpy(check_labels(labels, len(values), linear[-1].weight.shape[0]))
    held = [
        torch.nn.Parameter(torch.from_numpy(np.array(array, dtype=np.float32)))
        for node in linear
        for array in (node.weight, np.broadcast_to(node.bias, len(node.weight)))
    ]
    x = torch.from_numpy(values)
    rng = np.random.default_rng(training.seed)
    draw = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
    optimizer = torch.optim.Adam(held, lr=training.rate)
    size = min(training.batch, len(values))
    per_epoch = len(values) // size
    total = training.epochs * per_epoch
    for done in range(total):
        epoch, i = divmod(done, per_epoch)
        if i == 0:
            order = torch.from_numpy(rng.permutation(len(values)))
        for group in optimizer.param_groups:
            group["lr"] = training.rate * 0.5 * (1 + math.cos(math.pi * done / total))
        factor = fallen(done / total, training.start_factor, training.anneal_share)
        part = order[i * size : (i + 1) * size]
        answers = _answers(torch, held, x[part], [factor * k for k in last], training, draw)
        loss = torch.nn.functional.cross_entropy(answers, label[part])
        check_loss(float(loss.detach()), epoch + 1, i + 1, training.rate)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress:
            progress(done + 1, total, float(loss.detach()))
    trained = {node.name: [np.asarray(p.detach().numpy(), np.float64) for p in held[2 * i : 2 * i + 2]]
               for i, node in enumerate(linear)}  # fmt: skip
    nodes = [
        replace(node, weight=trained[node.name][0], bias=trained[node.name][1]) if isinstance(node, Linear) else node
        for node in graph.nodes
    ]
    return DenseGraph(nodes, graph.output, graph.name)


def linear_layers(graph: DenseGraph) -> list[Linear]:
    """Return the linear layers of a chain of such with a ReLU between each two.

    Raises
    ------
    ModelError
        A node that does not fit, by name.
    """
    found: list[Linear] = []
    before, active = "", True
    for node in graph.nodes:
        chained = isinstance(node, Input) or node.inputs == (before,)
        fits = (
            (isinstance(node, Input) and not before)
            or (isinstance(node, Flatten) and not found)
            or (isinstance(node, Linear) and active)
            or (isinstance(node, Activation) and node.function == "relu" and not active)
        )
        if not (chained and fits):
            raise ModelError(
                f"{graph.name}, node {node.name} ({node.op}): hybrid-spiking training takes linear layers one after "
                "the other, with a ReLU between each two"
            )
        if isinstance(node, Linear):
            found.append(node)
        active = not isinstance(node, Linear)
        before = node.name
    if active or len(found) < 2 or graph.output != before:
        raise ModelError(
            f"{graph.name}: hybrid-spiking training takes two linear layers or more, of which the last is the answer"
        )
    return found


def _answers(torch: Any, held: list[Any], x: Any, omegas: Sequence[float], training: HybridTraining, draw: Any) -> Any:
    """Return the answers (samples, classes): the mean over the timesteps."""
    half = training.first == "half"
    sent = [x]
    for i, omega in enumerate(omegas):
        weight, bias = held[2 * i], held[2 * i + 1]
        # Values that stay as they are need be computed once.
        f = [torch.relu(y @ weight.T + bias) for y in sent]
        if omega == 0:
            sent = f
            continue
        left = torch.full_like(f[0].detach(), 0.5) if half else torch.rand(f[0].shape, generator=draw)
        sent = []
        for t in range(training.timesteps):
            now = f[t] if len(f) > 1 else f[0]
            left = left + omega * now.detach()
            n = torch.floor(left)
            left = left - n
            sent.append(now + (n / omega - now.detach()))
    return torch.stack(sent).mean(dim=0) @ held[-2].T + held[-1]
