"""A trained Legendre memory unit with quantised messages: its matrices, its file, and one plain pass.

The cell (Voelker, Kajic, Eliasmith, NeurIPS 2019), its memory's inputs being the sequence itself::

    m[t] = A m[t-1] + B u[t]
    h[t] = f(Wx u[t] + Wh h[t-1] + Wm m[t] + b), f = tanh or the sigmoid

The quantised activation (Voelker, Rasmussen, Eliasmith, arXiv:2002.03553, 2020): a neuron with value f adds omega f to
its residual v, sends n = floor(v), keeps v - n, and counts as n / omega wherever it is received, in its own layer too.
So m and h travel as integers only. The memory and the hidden layer have an omega each. The memory's messages may also
be kept within a number of levels: n is then the nearest level, and what is left over stays in v.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import InputError, ModelError
from neurosim.files import atomic_path

TAYLOR_TERMS = 20
"""Enough for float64 where the norm is at most 1/2: 0.5**21 / 21! < 1e-25."""
ACTIVATIONS = ("tanh", "sigmoid")


@dataclass(frozen=True)
class Lmu:
    """A trained network: memory, hidden layer and linear readout.

    Attributes
    ----------
    memory_matrix, memory_input
        A (order, order) and B (order,), discrete.
    input, state, memory, bias
        Wx (units,), Wh (units, units), Wm (units, order), b (units,).
    readout, answer
        (classes, units) and (classes,). The answer adds up the readout of the last `readout_steps` steps and takes
        their mean.
    start_memory, start_hidden
        First residuals v (order,) and (units,), in 0 <= v < 1.
    omega_memory, omega_hidden
        0 stands for no quantisation.
    memory_levels
        Number of values that a memory neuron's n can take, from -(levels // 2); 0 for any.
    activation
        ``tanh`` or ``sigmoid``.
    readout_steps
        Steps from the end of a sequence that the answer is read from.
    centre, scale
        The sequence is u = (value - centre) / scale, for integer values.
    """

    memory_matrix: NDArray[Any]
    memory_input: NDArray[Any]
    input: NDArray[Any]
    state: NDArray[Any]
    memory: NDArray[Any]
    bias: NDArray[Any]
    readout: NDArray[Any]
    answer: NDArray[Any]
    start_memory: NDArray[Any]
    start_hidden: NDArray[Any]
    omega_memory: float
    omega_hidden: float
    memory_levels: int
    activation: str
    readout_steps: int
    centre: int
    scale: int

    @property
    def order(self) -> int:
        """Number of memory neurons."""
        return len(self.memory_input)

    @property
    def units(self) -> int:
        """Number of hidden neurons."""
        return len(self.bias)

    def inputs(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return u, float64, of integer values of any shape."""
        return (values.astype(np.float64) - self.centre) / self.scale

    @property
    def memory_limits(self) -> tuple[int, int] | None:
        """Least and greatest n of a memory neuron."""
        return (-(self.memory_levels // 2), (self.memory_levels - 1) // 2) if self.memory_levels else None


@dataclass(frozen=True)
class LmuPass:
    """What one pass gave: answers (sequences, classes), and the least and greatest n of every neuron over all steps."""

    answers: NDArray[Any]
    memory_range: NDArray[np.int64]
    hidden_range: NDArray[np.int64]


def memory_matrices(
    order: int, window: float, turn: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return A (order, order) and B (order,) of a memory of the last `window` steps, for steps of 1.

    The Legendre memory's A_ij = (2i+1)/window * (-1 if i < j else (-1)**(i-j+1)), B_i = (2i+1) (-1)**i / window, held
    over each step (zero-order hold), in another basis. Neuron i is the published one times sqrt(window / (2i+1)): its
    Legendre polynomial has norm 1, and it varies as much as the sequence does if that is noise. With `turn`, a rotation
    drawn from that seed follows. What the network can compute stays the same, as Wm takes the factors. But A then never
    lengthens a state, so the errors of messages do not grow, and all neurons have about the same range, so one omega
    serves them: in the published basis the first neurons reach several times as far as the last.

    Raises
    ------
    InputError
        An order below 1 or a window that is not positive.
    """
    if order < 1 or not window > 0:
        raise InputError(f"a memory of order {order} over {window} steps: the order is at least 1, the window above 0")
    i = np.arange(order)
    sign = np.where(i[:, None] < i[None, :], -1.0, (-1.0) ** (i[:, None] - i[None, :] + 1))
    root = np.sqrt(2.0 * i + 1.0)
    both = np.zeros((order + 1, order + 1))
    both[:order, :order] = sign * root[:, None] * root[None, :] / window
    both[:order, order] = (-1.0) ** i * root / np.sqrt(window)
    exact = _exponential(both)
    a, b = exact[:order, :order].copy(), exact[:order, order].copy()
    if turn is not None:
        q = np.linalg.qr(np.random.default_rng(turn).standard_normal((order, order)))[0]
        a, b = q @ a @ q.T, q @ b
    return a, b


def _exponential(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(matrix): the Taylor series of matrix / 2**s, squared s times."""
    norm = float(np.abs(matrix).sum(axis=1).max())
    squarings = max(0, int(np.ceil(np.log2(max(norm, 1e-300)))) + 1)
    small = matrix / 2.0**squarings
    term = np.eye(len(matrix))
    total = term.copy()
    for k in range(1, TAYLOR_TERMS + 1):
        term = term @ small / k
        total += term
    for _ in range(squarings):
        total = total @ total
    return total


def rounded(weights: NDArray[Any], bits: int) -> tuple[NDArray[np.int64], int]:
    """Return integers of `bits` bits and the exponent e: weights are nearly integers * 2**-e.

    The exponent is the greatest at which no weight leaves the range -2**(bits-1) .. 2**(bits-1) - 1; halves go to the
    even neighbour.

    Raises
    ------
    InputError
        Fewer than 2 bits, or weights that are not finite.
    """
    if bits < 2:
        raise InputError(f"weights of {bits} bit(s) cannot hold a sign and a value; give at least 2")
    if not np.isfinite(weights).all():
        raise InputError("weights hold values that are not finite; train at a smaller rate")
    largest = float(np.abs(weights).max(initial=0.0))
    if largest == 0:
        return np.zeros(weights.shape, np.int64), 0
    exponent = bits - 1 - int(np.floor(np.log2(largest)))
    limit = 1 << (bits - 1)
    while True:
        integers = np.rint(np.ldexp(weights.astype(np.float64), exponent))
        if integers.max() < limit and integers.min() >= -limit:
            return integers.astype(np.int64), exponent
        exponent -= 1


def run_lmu(lmu: Lmu, values: NDArray[Any]) -> LmuPass:
    """Run sequences of integer values (sequences, steps), in float64."""
    u = lmu.inputs(values)
    m, h = np.zeros((len(u), lmu.order)), np.zeros((len(u), lmu.units))
    v = np.tile(lmu.start_memory.astype(np.float64), (len(u), 1))
    w = np.tile(lmu.start_hidden.astype(np.float64), (len(u), 1))
    ranges = [np.zeros((2, lmu.order), np.int64), np.zeros((2, lmu.units), np.int64)]
    total = np.zeros((len(u), len(lmu.answer)))
    for t in range(u.shape[1]):
        m = m @ lmu.memory_matrix.T + u[:, t : t + 1] * lmu.memory_input
        m, v = _quantise(m, v, lmu.omega_memory, ranges[0], lmu.memory_limits)
        x = u[:, t : t + 1] * lmu.input + h @ lmu.state.T + m @ lmu.memory.T + lmu.bias
        h = np.tanh(x) if lmu.activation == "tanh" else 0.5 + 0.5 * np.tanh(0.5 * x)
        h, w = _quantise(h, w, lmu.omega_hidden, ranges[1], None)
        if t >= u.shape[1] - lmu.readout_steps:
            total += h @ lmu.readout.T
    steps = min(lmu.readout_steps, u.shape[1])
    return LmuPass(total / steps + lmu.answer, ranges[0], ranges[1])


def _quantise(
    f: NDArray[Any], v: NDArray[Any], omega: float, seen: NDArray[np.int64], limits: tuple[int, int] | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    if omega == 0:
        return f, v
    v = v + omega * f
    n = np.floor(v) if limits is None else np.clip(np.floor(v), *limits)
    np.minimum(seen[0], n.min(axis=0).astype(np.int64), out=seen[0])
    np.maximum(seen[1], n.max(axis=0).astype(np.int64), out=seen[1])
    return n / omega, v - n


def write_lmu(path: str | Path, lmu: Lmu) -> None:
    """Write a network as .npz, arrays as float32 except the memory's own, which stay float64."""
    wide = ("memory_matrix", "memory_input", "start_memory", "start_hidden")
    arrays: dict[str, Any] = {}
    for field in fields(Lmu):
        value = getattr(lmu, field.name)
        if isinstance(value, np.ndarray):
            value = value.astype(np.float64 if field.name in wide else np.float32)
        arrays[field.name] = value
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_lmu(path: str | Path) -> Lmu:
    """Read what `write_lmu` wrote.

    Raises
    ------
    ModelError
        Arrays that lack or do not fit each other, or values that are not finite.
    InputError
        The file is missing or no .npz file.
    """
    names = [field.name for field in fields(Lmu)]
    try:
        with np.load(path, allow_pickle=False) as file:
            lacking = [name for name in names if name not in getattr(file, "files", ())]
            if lacking:
                raise ModelError(f"{path}: lacks {', '.join(lacking)}; write it with write_lmu")
            found = {name: file[name] for name in names}
    except (OSError, ValueError, TypeError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as .npz: {error}; write it with write_lmu") from error
    order, units = len(found["memory_input"]), len(found["bias"])
    classes = len(found["answer"])
    shapes = {
        "memory_matrix": (order, order), "input": (units,), "state": (units, units), "memory": (units, order),
        "readout": (classes, units), "start_memory": (order,), "start_hidden": (units,), "memory_input": (order,),
        "bias": (units,), "answer": (classes,),
    }  # fmt: skip
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise ModelError(f"{path}: {name} is {found[name].shape} where {shape} fits the rest")
        if not np.isfinite(found[name]).all():
            raise ModelError(f"{path}: {name} holds values that are not finite")
    activation = str(found["activation"])
    if activation not in ACTIVATIONS:
        raise ModelError(f'{path}: activation "{activation}" is not one of {", ".join(ACTIVATIONS)}')
    whole = {name: int(found[name]) for name in ("memory_levels", "readout_steps", "centre", "scale")}
    real = {name: float(found[name]) for name in ("omega_memory", "omega_hidden")}
    values: dict[str, Any] = {name: found[name] for name in shapes} | whole | real
    return Lmu(**values, activation=activation)
