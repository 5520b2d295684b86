"""The nodes of a dense graph: operations with float weights. `dense_numpy.forward` says what each computes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import ModelError, suggest

FloatArray = NDArray[np.float64]
Shape = tuple[int, ...]

ACTIVATIONS = ("relu", "leaky_relu", "clip", "sigmoid", "tanh", "hard_sigmoid", "identity")
POOLS = ("sum", "average", "max")


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a graph.

    Attributes
    ----------
    name
        Unique within the graph.
    inputs
        Names of earlier nodes; empty for an input.
    """

    name: str
    inputs: tuple[str, ...]

    op: ClassVar[str]
    arity: ClassVar[tuple[int, int]] = (1, 1)
    """Least and most inputs."""

    def out_shape(self, *shapes: Shape) -> Shape:
        """Return the shape of a sample's result, given its inputs' shapes.

        Raises
        ------
        ModelError
            They do not fit.
        """
        return shapes[0]

    def weights(self) -> dict[str, FloatArray]:
        """Return the float arrays of this node by name."""
        return {key: value for key, value in vars(self).items() if isinstance(value, np.ndarray)}


@dataclass(frozen=True, eq=False)
class Input(Node):
    """What the network is given: `shape` of one sample (or of one frame), (N,) or (C, H, W)."""

    shape: Shape = ()
    op = "input"
    arity = (0, 0)

    def out_shape(self, *shapes: Shape) -> Shape:
        return self.shape


@dataclass(frozen=True, eq=False)
class Linear(Node):
    """y = weight @ x + bias. `weight` (out, in); `bias` (out,), zeros for none."""

    weight: FloatArray = field(default_factory=lambda: np.zeros((1, 1)))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))
    op = "linear"

    def out_shape(self, *shapes: Shape) -> Shape:
        if shapes[0] != (self.weight.shape[1],):
            raise ModelError(f"takes {self.weight.shape[1]} values in one axis, and is given {list(shapes[0])}")
        return (self.weight.shape[0],)


@dataclass(frozen=True, eq=False)
class Conv2d(Node):
    """Cross-correlation as in PyTorch.

    `weight` (C_out, C_in / groups, rows, columns), `bias` (C_out,); `stride`, `padding`, `dilation` (rows, columns).
    """

    weight: FloatArray = field(default_factory=lambda: np.zeros((1, 1, 1, 1)))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    op = "conv2d"

    def out_shape(self, *shapes: Shape) -> Shape:
        out, per_group = self.weight.shape[:2]
        if len(shapes[0]) != 3 or shapes[0][0] != per_group * self.groups or out % self.groups:
            raise ModelError(
                f"weights {list(self.weight.shape)} in {self.groups} groups do not fit an input {list(shapes[0])}"
            )
        rows, columns = window_extents(shapes[0], self.weight.shape[2:], self.stride, self.padding, self.dilation)
        return (out, rows, columns)


@dataclass(frozen=True, eq=False)
class Pool2d(Node):
    """`mode` sum, average or max over windows. `count_padding`: whether an average divides by the whole window."""

    mode: str = "average"
    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[int, int] = (0, 0)
    count_padding: bool = True
    op = "pool2d"

    def out_shape(self, *shapes: Shape) -> Shape:
        if self.mode not in POOLS:
            raise ModelError(f'pools by "{self.mode}"; known: {", ".join(POOLS)}{suggest(self.mode, POOLS)}')
        if len(shapes[0]) != 3:
            raise ModelError(f"pools over rows and columns, and is given {list(shapes[0])}")
        return (shapes[0][0], *window_extents(shapes[0], self.kernel, self.stride, self.padding, (1, 1)))


@dataclass(frozen=True, eq=False)
class Scale(Node):
    """y = x * scale + shift, each one value or one a channel (a batch normalisation in use): (C,) or (1,)."""

    scale: FloatArray = field(default_factory=lambda: np.ones(1))
    shift: FloatArray = field(default_factory=lambda: np.zeros(1))
    op = "scale"

    def out_shape(self, *shapes: Shape) -> Shape:
        for key in ("scale", "shift"):
            if getattr(self, key).shape not in ((1,), (shapes[0][0],)):
                raise ModelError(f"{key} has {getattr(self, key).size} values for an input {list(shapes[0])}")
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Activation(Node):
    """A function of each value alone.

    Attributes
    ----------
    function
        One of `ACTIVATIONS`. ``leaky_relu`` has slope `low` below 0; ``clip`` limits to `low`..`high` (ReLU6: 0, 6);
        ``hard_sigmoid`` is clip(low * x + high, 0, 1), with low 1/6 and high 0.5 in PyTorch.
    """

    function: str = "relu"
    low: float = 0.0
    high: float = 0.0
    op = "activation"

    def out_shape(self, *shapes: Shape) -> Shape:
        if self.function not in ACTIVATIONS:
            raise ModelError(
                f'function "{self.function}" is not known; known: {", ".join(ACTIVATIONS)}'
                + suggest(self.function, ACTIVATIONS)
            )
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Flatten(Node):
    """All values in one axis, in C, H, W order."""

    op = "flatten"

    def out_shape(self, *shapes: Shape) -> Shape:
        return (math.prod(shapes[0]),)


@dataclass(frozen=True, eq=False)
class Add(Node):
    """Sum of two or more arrays of one shape (a residual)."""

    op = "add"
    arity = (2, 1 << 10)

    def out_shape(self, *shapes: Shape) -> Shape:
        if len(set(shapes)) > 1:
            raise ModelError(f"adds arrays of different shapes: {', '.join(str(list(s)) for s in shapes)}")
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Arrays one after the other along the first axis (channels)."""

    op = "concat"
    arity = (1, 1 << 10)

    def out_shape(self, *shapes: Shape) -> Shape:
        if len({s[1:] for s in shapes}) > 1:
            raise ModelError(f"joins channels of different extents: {', '.join(str(list(s)) for s in shapes)}")
        return (sum(s[0] for s in shapes), *shapes[0][1:])


@dataclass(frozen=True, eq=False)
class Recurrent(Node):
    """A node with a state that steps from frame to frame: `Gru` or `Lstm`."""

    weight_ih: FloatArray = field(default_factory=lambda: np.zeros((1, 1)))
    weight_hh: FloatArray = field(default_factory=lambda: np.zeros((1, 1)))
    bias_ih: FloatArray = field(default_factory=lambda: np.zeros(1))
    bias_hh: FloatArray = field(default_factory=lambda: np.zeros(1))
    gates: ClassVar[int]

    @property
    def hidden(self) -> int:
        """Number of hidden values."""
        return int(self.weight_hh.shape[1])

    def out_shape(self, *shapes: Shape) -> Shape:
        rows = self.gates * self.hidden
        wanted = {
            "weight_ih": (rows, math.prod(shapes[0])),
            "weight_hh": (rows, self.hidden),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        for key, shape in wanted.items():
            if getattr(self, key).shape != shape or len(shapes[0]) != 1:
                found = list(getattr(self, key).shape)
                raise ModelError(f"{key} has shape {found}; an input {list(shapes[0])} asks for {list(shape)}")
        return (self.hidden,)


@dataclass(frozen=True, eq=False)
class Gru(Recurrent):
    """Gated recurrent unit, a step a frame, from h = 0; gates stacked r, z, n, as in PyTorch.

    r = sigmoid(Wr x + br + Ur h + cr); z likewise; n = tanh(Wn x + bn + r * (Un h + cn)); h = (1 - z) * n + z * h.
    `weight_ih` (3 hidden, in), `weight_hh` (3 hidden, hidden), `bias_ih` and `bias_hh` (3 hidden,). With
    `reset_before` the candidate is n = tanh(Wn x + bn + Un (r * h) + cn) instead.
    """

    reset_before: bool = False
    op = "gru"
    gates = 3


@dataclass(frozen=True, eq=False)
class Lstm(Recurrent):
    """Long short-term memory, a step a frame, from h = c = 0; gates stacked i, f, g, o, as in PyTorch.

    c = f * c + i * g; h = o * tanh(c), with i, f, o sigmoids and g a tanh of W x + b + U h + c. Shapes as in `Gru`
    with 4 in place of 3.
    """

    op = "lstm"
    gates = 4


OPS: dict[str, type[Node]] = {
    kind.op: kind
    for kind in (Input, Linear, Conv2d, Pool2d, Scale, Activation, Flatten, Add, Concat, Gru, Lstm)
}  # fmt: skip


def window_extents(shape: Shape, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, int]:
    """Return rows and columns that windows over an input (C, H, W) give.

    Raises
    ------
    ModelError
        None fits.
    """
    found = []
    for axis in (0, 1):
        reach = dilation[axis] * (int(kernel[axis]) - 1) + 1
        if stride[axis] < 1 or padding[axis] < 0 or dilation[axis] < 1:
            raise ModelError(f"stride {stride}, padding {padding}, dilation {dilation} are no windows")
        found.append((shape[1 + axis] + 2 * padding[axis] - reach) // stride[axis] + 1)
    if min(found) < 1:
        raise ModelError(f"a window of {list(map(int, kernel))} does not fit an input {list(shape)}")
    return found[0], found[1]
