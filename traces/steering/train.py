"""Trains the steering network, first dense, then with 8-bit weights and the delta coding in the loop.

PyTorch is needed here and nowhere else in the workload (the extra `train`). The network is kept as a list of
numpy arrays, so that nothing outside this file knows of it.

In the second training a layer passes on, instead of its activation, what the receivers of its messages have
added up: the activation as it was last sent. Backwards both this and the rounding of the weights count as
the identity (the straight-through estimator: Y. Bengio, N. Leonard, A. Courville, arXiv:1308.3432, 2013). The
network thus learns to bear exactly the errors that the thresholds make. The pipeline's delay need not be
trained: in a chain of layers it shifts the answer and does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array32 = NDArray[np.float32]

CONVOLUTIONS = ((10, 5, 2), (16, 5, 2), (20, 3, 1), (24, 3, 1))
"""Channels, kernel and stride of each; no padding. All but the last dense layer end in a ReLU."""
DENSE = (40, 10, 1)

WEIGHT_STEP = 1 / 32
"""Step of the 8-bit weights: 2 in a network's units of 1/64."""
MESSAGE_STEP = 1 / 4096


@dataclass(frozen=True)
class Parameters:
    """One layer: weight (out, in, K, K) or (out, in), and bias (out,), float32."""

    weight: Array32
    bias: Array32


def _torch() -> Any:
    torch = import_module("torch")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    return torch


def initial_parameters(channels: int, height: int, width: int, seed: int) -> list[Parameters]:
    """Return random weights for frames (channels, height, width).

    Uniform in +-sqrt(6 / fan-in), which keeps the size of ReLU activations from layer to layer (K. He et al.,
    ICCV 2015); biases zero.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    shapes: list[tuple[int, ...]] = []
    for out, kernel, stride in CONVOLUTIONS:
        shapes.append((out, channels, kernel, kernel))
        channels, height, width = out, (height - kernel) // stride + 1, (width - kernel) // stride + 1
    inputs = channels * height * width
    for out in DENSE:
        shapes.append((out, inputs))
        inputs = out
    layers = []
    for shape in shapes:
        limit = np.sqrt(6.0 / np.prod(shape[1:]))
        weight = (limit * (2.0 * random.random(shape) - 1.0)).astype(np.float32)
        layers.append(Parameters(weight, np.zeros(shape[0], dtype=np.float32)))
    return layers


def _layer(torch: Any, index: int, weight: Any, bias: Any, x: Any) -> Any:
    """Apply layer `index` to a batch; the last one ends in a Sigma unit, which has no bias."""
    if index == len(CONVOLUTIONS) + len(DENSE) - 1:
        return torch.nn.functional.linear(x, weight)
    if index < len(CONVOLUTIONS):
        z = torch.nn.functional.conv2d(x, weight, bias, stride=CONVOLUTIONS[index][2])
    else:
        z = torch.nn.functional.linear(x.flatten(1), weight, bias)
    return torch.relu(z)


def _as_received(torch: Any, x: Any, threshold: float) -> Any:
    """Return what the receivers have added up of `x` (sequences, time, ...), sent as deltas."""
    with torch.no_grad():
        held, received = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0])
        out = torch.empty_like(x)
        for t in range(x.shape[1]):
            change = x[:, t] - held
            fires = change.abs() >= threshold
            # The message is cut to a whole number of steps, while the sender believes it sent all.
            received = received + torch.where(fires, torch.floor(change / MESSAGE_STEP) * MESSAGE_STEP, 0.0)
            held = torch.where(fires, x[:, t], held)
            out[:, t] = received
    return x + (out - x).detach()


def _rounded(torch: Any, x: Any, step: float) -> Any:
    low, high = (-128, 127) if step == WEIGHT_STEP else (-(2**15), 2**15 - 1)
    return x + (torch.clamp(torch.round(x / step), low, high) * step - x).detach()


def _dense_answer(torch: Any, tensors: list[Any], frames: Any) -> Any:
    x = frames
    for i in range(len(tensors) // 2):
        x = _layer(torch, i, tensors[2 * i], tensors[2 * i + 1], x)
    return x[:, 0]


def _delta_answer(torch: Any, tensors: list[Any], frames: Any, thresholds: tuple[int, ...]) -> Any:
    """Return angles (sequences, time) for frames (sequences, time, C, H, W)."""
    count, steps = frames.shape[:2]
    x = frames
    for i in range(len(tensors) // 2):
        x = _as_received(torch, x, thresholds[i] / 64)
        weight = _rounded(torch, tensors[2 * i], WEIGHT_STEP)
        bias = _rounded(torch, tensors[2 * i + 1], 1 / 64)
        y = _layer(torch, i, weight, bias, x.flatten(0, 1))
        x = y.reshape(count, steps, *y.shape[1:])
    return x[..., 0]


def _fit(
    parameters: list[Parameters],
    frames: NDArray[np.int16],
    angle: Array32,
    answer: Callable[[Any, list[Any], Any], Any],
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
    tell: Callable[[str], None],
) -> list[Parameters]:
    torch = _torch()
    random = np.random.Generator(np.random.PCG64(seed))
    tensors = [torch.tensor(a, requires_grad=True) for p in parameters for a in (p.weight, p.bias)]
    optimiser = torch.optim.Adam(tensors, lr=rate)
    batches = len(frames) // batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    for epoch in range(epochs):
        order = np.argsort(random.random(len(frames)), kind="stable")
        total = 0.0
        for b in range(batches):
            chosen = np.sort(order[b * batch : (b + 1) * batch])
            given = torch.from_numpy(frames[chosen].astype(np.float32) / 64)
            loss = ((answer(torch, tensors, given) - torch.from_numpy(angle[chosen])) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        error = np.degrees(np.sqrt(total / batches))
        tell(f"epoch {epoch + 1} of {epochs}: RMSE {error:.3f} degrees in training")
    arrays = [t.detach().numpy().copy() for t in tensors]
    return [Parameters(arrays[i], arrays[i + 1]) for i in range(0, len(arrays), 2)]


def train_dense(
    parameters: list[Parameters],
    frames: NDArray[np.int16],
    angle: Array32,
    epochs: int,
    seed: int,
    tell: Callable[[str], None],
) -> list[Parameters]:
    """Fit the dense network to single frames.

    Parameters
    ----------
    parameters
        Where to start.
    frames, angle
        int16 (n, C, H, W) in 1/64, and float32 (n,) in radians.
    epochs
        Passes over all frames.
    seed
        Of the order of the frames.
    tell
        Called with a line an epoch.
    """
    return _fit(parameters, frames, angle, _dense_answer, epochs, 64, 2e-3, seed, tell)


def train_sigma_delta(
    parameters: list[Parameters],
    frames: NDArray[np.int16],
    angle: Array32,
    thresholds: tuple[int, ...],
    epochs: int,
    seed: int,
    tell: Callable[[str], None],
) -> list[Parameters]:
    """Fit the network with 8-bit weights and delta coding to sequences.

    Parameters
    ----------
    parameters
        Where to start.
    frames, angle
        int16 (sequences, time, C, H, W) in 1/64, and float32 (sequences, time) in radians.
    thresholds
        Of the input and of each hidden layer, in 1/64.
    epochs, seed, tell
        As in `train_dense`.
    """

    def answer(torch: Any, tensors: list[Any], given: Any) -> Any:
        return _delta_answer(torch, tensors, given, thresholds)

    return _fit(parameters, frames, angle, answer, epochs, 8, 2.5e-3, seed, tell)


def activations(parameters: list[Parameters], frames: NDArray[np.int16]) -> list[Array32]:
    """Return the dense network's outputs of every layer for frames int16 (n, C, H, W), layer by layer."""
    torch = _torch()
    x = torch.from_numpy(frames.astype(np.float32) / 64)
    outputs = []
    with torch.no_grad():
        for i, p in enumerate(parameters):
            x = _layer(torch, i, torch.from_numpy(p.weight), torch.from_numpy(p.bias), x)
            outputs.append(x.numpy())
    return outputs


def rescaled(parameters: list[Parameters], frames: NDArray[np.int16], peaks: tuple[float, ...]) -> list[Parameters]:
    """Return the same function with each hidden layer's activations scaled to a given size.

    A ReLU passes a positive factor through, so that what one layer gains the next can lose. Large activations
    leave room for weights that use more of their 8 bits.

    Parameters
    ----------
    parameters
        The dense network.
    frames
        int16 (n, C, H, W) on which activations are measured.
    peaks
        For each hidden layer, the value that one activation in a thousand exceeds.
    """
    found = [float(np.quantile(a, 0.999)) for a in activations(parameters, frames)[:-1]]
    factors = [1.0, *(peak / value for peak, value in zip(peaks, found, strict=True)), 1.0]
    return [
        Parameters(
            (p.weight * (factors[i + 1] / factors[i])).astype(np.float32),
            (p.bias * factors[i + 1]).astype(np.float32),
        )
        for i, p in enumerate(parameters)
    ]


def rounded(parameters: list[Parameters]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return weights and biases as integers in 1/64: weights even, in -256..254."""
    return [
        (
            2 * np.clip(np.rint(p.weight / WEIGHT_STEP), -128, 127).astype(np.int64),
            np.rint(p.bias * 64).astype(np.int64),
        )
        for p in parameters
    ]
