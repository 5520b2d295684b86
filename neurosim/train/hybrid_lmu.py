"""Training of a Legendre memory unit, first in floats, then with quantised messages whose omega falls.

After Voelker, Rasmussen and Eliasmith (arXiv:2002.03553): forwards the integers that the neurons will send, residuals
carried over; backwards the derivative of the activation itself (straight through).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError
from neurosim.train.lmu import ACTIVATIONS, Lmu, memory_matrices, rounded
from neurosim.train.lmu_cell import LmuCell
from neurosim.train.omegas import bits_per_activity, fallen
from neurosim.train.replay import Replayed
from neurosim.train.training_data import import_torch

FIRST_MOMENT, SECOND_MOMENT, SMALL = 0.9, 0.999, 1e-8
"""Of Adam (Kingma and Ba, arXiv:1412.6980)."""
AT_ONCE, AT_ONCE_ON_GPU = 100, 5000
"""Sequences that are validated at once: a GPU takes the same time for many as for few."""
LONGEST_STEP = 1.0
"""Norm to which a batch's derivative is cut."""


@dataclass(frozen=True)
class LmuData:
    """Sequences of integers (sequences, steps) and classes (sequences,), to train on and to choose by."""

    train: NDArray[Any]
    train_labels: NDArray[Any]
    validation: NDArray[Any]
    validation_labels: NDArray[Any]


@dataclass(frozen=True)
class LmuTraining:
    """How a network is trained.

    Attributes
    ----------
    order, units, window
        Of the memory and the hidden layer.
    classes
        Labels are 0 to classes - 1.
    centre, scale
        u = (value - centre) / scale.
    omega_memory, omega_hidden
        At the end of the second phase.
    memory_levels, activation
        As of `Lmu`; levels count in the second phase.
    start_factor
        Omegas start at this multiple of their last values and fall geometrically. 1: no annealing.
    anneal_share
        Share of the second phase in which they fall.
    memory_bits
        Bits to which A and B are rounded in the second phase; 0: not rounded.
    readout_steps, float_readout_steps
        Last steps that the answer is read from, in the second phase and in the first. Over several steps the residuals
        even out what a few levels cannot say in one.
    float_epochs, hybrid_epochs
        Of the two phases.
    float_rate, hybrid_rate
        Of Adam; each falls along half a cosine to 0.
    decay
        Share of a weight that is taken away a batch, times the rate (decoupled; Loshchilov and Hutter,
        arXiv:1711.05101). Biases are spared.
    batch
        Sequences a batch.
    ahead
        Batches whose memory, which training does not change, is run at once: faster on a GPU.
    seed
        Of the first weights, of the residuals that neurons start with, and of the order of sequences.
    seconds
        End by this time after the start, a phase's share being by epochs; 0: no limit. The rate and the omegas follow
        the time where epochs would take too long.
    """

    order: int
    units: int
    window: float
    classes: int
    centre: int
    scale: int
    omega_memory: float
    omega_hidden: float
    memory_levels: int = 0
    activation: str = "tanh"
    start_factor: float = 32.0
    anneal_share: float = 0.5
    memory_bits: int = 0
    readout_steps: int = 1
    float_readout_steps: int = 1
    float_epochs: int = 10
    hybrid_epochs: int = 10
    float_rate: float = 2e-3
    hybrid_rate: float = 1e-3
    decay: float = 0.0
    batch: int = 100
    ahead: int = 1
    seed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Measured:
    """What a network did with labelled sequences.

    `memory_range` and `hidden_range` hold the least and greatest n of every neuron over all steps and sequences,
    integers (2, neurons); None without quantisation.
    """

    correct: int
    count: int
    memory_range: NDArray[np.int64] | None
    hidden_range: NDArray[np.int64] | None

    @property
    def accuracy(self) -> float:
        """Share of sequences classified rightly."""
        return self.correct / self.count

    def bits(self) -> dict[str, float]:
        """Return bits per activity of the groups ``memory`` and ``hidden``, as `bits_per_activity` counts them."""
        assert self.memory_range is not None
        assert self.hidden_range is not None
        return bits_per_activity({"memory": self.memory_range, "hidden": self.hidden_range})


@dataclass
class Trained:
    """Best network of each phase by validation, its validation, and what each epoch gave."""

    float_net: Lmu
    hybrid_net: Lmu | None
    history: list[dict[str, float]] = field(default_factory=list)


def train_lmu(
    data: LmuData,
    options: LmuTraining,
    device: str = "cpu",
    progress: Callable[[dict[str, float]], None] | None = None,
    keep: Callable[[str, Lmu], None] | None = None,
    start: Lmu | None = None,
    began: float | None = None,
) -> Trained:
    """Train in floats, then with quantised messages, and return the best network of each phase.

    Parameters
    ----------
    device
        A name of PyTorch's: ``cpu`` or ``cuda``.
    progress
        Called with each epoch's figures.
    keep
        Called with ``float`` or ``hybrid`` and the network whenever a phase has a new best one.
    start
        A float network to start the second phase from; then there is no first one.
    began
        `time.monotonic()` at which the time limit began; else the call.

    Raises
    ------
    InputError
        Labels out of range, sequences of other shapes, options that cannot be, a loss that is no number, or a time
        limit that is over before a phase begins; PyTorch is not installed.
    """
    began = time.monotonic() if began is None else began
    _check(data, options)
    torch = import_torch()
    net = first_lmu(options) if start is None else start
    trained = Trained(net, None)
    if start is None and options.float_epochs:
        run = _Phase(torch, device, data, options, "float", began)
        trained.float_net = run.train(net, trained.history, progress, keep)
    if options.hybrid_epochs:
        run = _Phase(torch, device, data, options, "hybrid", began)
        trained.hybrid_net = run.train(quantised(trained.float_net, options), trained.history, progress, keep)
    return trained


def first_lmu(options: LmuTraining) -> Lmu:
    """Return an untrained network without quantisation.

    Wm is uniform in +-sqrt(6 / (order + units)) (Glorot and Bengio, 2010) over the memory's
    standard deviation, taken as 0.3; Wx and Wh are zero (as the cell's authors start them).
    A sigmoid's slope is a quarter and its reach half of tanh's, so before and after it weights are twice as large.
    """
    rng = np.random.default_rng(options.seed)
    a, b = memory_matrices(options.order, options.window, options.seed)
    gain = 1.0 if options.activation == "tanh" else 2.0
    memory = rng.uniform(-1, 1, (options.units, options.order)) * np.sqrt(6 / (options.order + options.units)) / 0.3
    readout = rng.uniform(-1, 1, (options.classes, options.units)) * np.sqrt(6 / (options.classes + options.units))
    memory, readout = gain * memory, gain * readout
    units = options.units
    return Lmu(
        memory_matrix=a, memory_input=b, input=np.zeros(units), state=np.zeros((units, units)), memory=memory,
        bias=np.zeros(units), readout=readout, answer=np.zeros(options.classes),
        start_memory=rng.random(options.order), start_hidden=rng.random(units), omega_memory=0.0, omega_hidden=0.0,
        memory_levels=0, activation=options.activation, readout_steps=options.float_readout_steps,
        centre=options.centre, scale=options.scale,
    )  # fmt: skip


def quantised(net: Lmu, options: LmuTraining) -> Lmu:
    """Return the network with A and B rounded and the omegas of the second phase's end."""
    a, b = memory_matrices(options.order, options.window, options.seed)
    if options.memory_bits:
        a, b = (np.ldexp(integers, -e) for integers, e in (rounded(matrix, options.memory_bits) for matrix in (a, b)))
        radius = float(np.abs(np.linalg.eigvals(a)).max())
        if radius >= 1:
            raise InputError(
                f"memory_bits: A rounded to {options.memory_bits} bits has an eigenvalue of size {radius:.4f} and the "
                "memory never ends; its eigenvalues must stay below 1: give more bits"
            )
    return replace(
        net, memory_matrix=a, memory_input=b, memory_levels=options.memory_levels, omega_memory=options.omega_memory,
        omega_hidden=options.omega_hidden, readout_steps=options.readout_steps,
    )  # fmt: skip


def measure_lmu(
    net: Lmu, values: NDArray[Any], labels: NDArray[Any], device: str = "cpu", batch: int = 1000
) -> Measured:
    """Run labelled sequences in float32 and count what is right."""
    torch = import_torch()
    cell = LmuCell(torch, device, net)
    right = 0
    for first in range(0, len(values), batch):
        part = slice(first, first + batch)
        u = cell.inputs(values[part])
        for_memory, for_hidden = cell.starts(u.shape[1])
        answers, _ = cell.forward(u, cell.remember(u, for_memory), for_hidden)
        right += int((answers.argmax(1).cpu().numpy() == labels[part]).sum())
    return Measured(right, len(values), *cell.ranges())


def _check(data: LmuData, options: LmuTraining) -> None:
    for name in ("train", "validation"):
        values, labels = getattr(data, name), getattr(data, f"{name}_labels")
        if values.ndim != 2 or labels.shape != values.shape[:1] or not len(labels):
            raise InputError(f"{name}: sequences {values.shape} and labels {labels.shape} do not fit each other")
        if values.dtype.kind not in "iu":
            raise InputError(f"{name}: sequences are {values.dtype}; give integers")
        if labels.min() < 0 or labels.max() >= options.classes:
            raise InputError(
                f"{name}: labels reach from {labels.min()} to {labels.max()}; the readout has classes "
                f"0..{options.classes - 1}"
            )
    steps = data.train.shape[1]
    for name in ("readout_steps", "float_readout_steps"):
        if not 1 <= getattr(options, name) <= steps:
            raise InputError(f"{name}: {getattr(options, name)} is not in 1..{steps}, the steps of a sequence")
    if not (options.omega_memory > 0 and options.omega_hidden > 0 and options.start_factor >= 1):
        raise InputError("omegas must be above 0, and start_factor at least 1")
    if options.activation not in ACTIVATIONS or options.memory_levels < 0 or options.memory_levels == 1:
        raise InputError(
            f'activation "{options.activation}" is one of {", ".join(ACTIVATIONS)}, and memory_levels '
            f"{options.memory_levels} is 0 or at least 2"
        )
    if not 1 <= options.batch <= len(data.train):
        raise InputError(f"batch: {options.batch} is not in 1..{len(data.train)}, the sequences to train on")


class _Phase:
    """One phase of training."""

    def __init__(self, torch: Any, device: str, data: LmuData, options: LmuTraining, name: str, began: float) -> None:
        self.torch, self.device, self.data, self.options, self.name = torch, device, data, options, name
        self.epochs = options.float_epochs if name == "float" else options.hybrid_epochs
        self.rate = options.float_rate if name == "float" else options.hybrid_rate
        self.began = began
        self.starts = time.monotonic()
        self.ends = None
        if options.seconds:
            left = began + options.seconds - self.starts
            if left <= 0:
                raise InputError(
                    f"seconds: {options.seconds:g} were over {-left:.1f} s before the {name} phase began; give more"
                )
            whole = self.epochs + (options.hybrid_epochs if name == "float" else 0)
            self.ends = self.starts + left * self.epochs / whole

    def share(self, done: float) -> float:
        """Return how much of the phase is over, by batches or by time, whichever is more."""
        if self.ends is None:
            return done
        return max(done, (time.monotonic() - self.starts) / (self.ends - self.starts))

    def train(
        self,
        net: Lmu,
        history: list[dict[str, float]],
        progress: Callable[[dict[str, float]], None] | None,
        keep: Callable[[str, Lmu], None] | None,
    ) -> Lmu:
        """Return the network of the epoch that was best in validation, at the last omegas."""
        torch, data, options = self.torch, self.data, self.options
        rng = np.random.default_rng([options.seed, 1 if self.name == "float" else 2])
        draw = torch.Generator(device=self.device)
        draw.manual_seed(int(rng.integers(1 << 31)))
        cell = LmuCell(torch, self.device, net, draw)
        remember, slopes = (Replayed(torch, self.device, work) for work in (cell.remember, cell.slopes))
        train = cell.inputs(data.train)
        labels = torch.as_tensor(data.train_labels.astype(np.int64), device=self.device)
        moments = [{name: torch.zeros_like(value) for name, value in cell.p.items()} for _ in range(2)]
        size = options.batch
        per_epoch = len(labels) // size
        batches = 0
        best, most, epoch, over = net, -1, 0, 0.0
        while over < 1:
            losses, factor = [], 1.0
            order = torch.as_tensor(rng.permutation(len(labels))[: per_epoch * size], device=self.device)
            for where in order.split(size * options.ahead):
                over = min(1.0, self.share(batches / (self.epochs * per_epoch)))
                factor = self.factor(over)
                cell.choose(factor)
                u = train[:, where]
                for_memory, for_hidden = cell.starts(len(where))
                m = remember(u, for_memory)
                for first in range(0, len(where), size):
                    part = slice(first, first + size)
                    loss, by = slopes(u[:, part], m[:, part], for_hidden[part], labels[where[part]])
                    losses.append(loss.clone())
                    self.change(cell, by, moments, batches, over)
                    batches += 1
            over = self.share(batches / (self.epochs * per_epoch))
            loss = float(torch.stack(losses).mean())
            if not np.isfinite(loss):
                raise InputError(f"training diverged at a rate of {self.rate}; choose a smaller one")
            epoch += 1
            now = cell.trained()
            at_once = max(size, AT_ONCE if self.device == "cpu" else AT_ONCE_ON_GPU)
            measured = measure_lmu(now, data.validation, data.validation_labels, self.device, at_once)
            row = {
                "hybrid": float(self.name == "hybrid"), "epoch": epoch, "loss": loss, "factor": factor,
                "validation": measured.accuracy, "seconds": time.monotonic() - self.began,
            }  # fmt: skip
            history.append(row)
            if progress:
                progress(row)
            if measured.correct > most:
                best, most = now, measured.correct
                if keep:
                    keep(self.name, best)
        return best

    def factor(self, over: float) -> float:
        """Return the multiple of the last omegas at this share of the phase."""
        if self.name == "float":
            return 1.0
        return fallen(over, self.options.start_factor, self.options.anneal_share)

    def change(
        self, cell: LmuCell, slopes: dict[str, Any], moments: list[dict[str, Any]], done: int, over: float
    ) -> None:
        """Change the parameters along a batch's derivatives."""
        torch = self.torch
        norm = torch.sqrt(sum((g.double() ** 2).sum() for g in slopes.values()))
        cut = torch.clamp(LONGEST_STEP / (norm + 1e-30), max=1.0).float()
        rate = self.rate * 0.5 * (1 + float(np.cos(np.pi * over)))
        for name, g in slopes.items():
            first, second, p = moments[0][name], moments[1][name], cell.p[name]
            g = g * cut
            first.lerp_(g, 1 - FIRST_MOMENT)
            second.lerp_(g * g, 1 - SECOND_MOMENT)
            size = torch.sqrt(second / (1 - SECOND_MOMENT ** (done + 1))) + SMALL
            if p.ndim == 2:
                p.mul_(1 - rate * self.options.decay)
            p.sub_(first / size * (rate / (1 - FIRST_MOMENT ** (done + 1))))
