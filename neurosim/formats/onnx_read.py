"""Reader of ONNX files: dense networks as a `DenseGraph`, operator by operator; needs the extra ``onnx``.

The first axis is the batch. In a network with a GRU or an LSTM, inputs are sequences with their features last: every
frame of a sequence is one sample of the graph, and what rearranges the sequence's other axes changes nothing there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import InputError, ModelError, join_errors
from neurosim.formats.dense_graph import DenseGraph, Input, Node, Shape
from neurosim.formats.onnx_ops import OPERATORS, Refused

MAX_BYTES = 1 << 31
MAX_NODES = 100_000
MAX_VALUES = 1 << 28


FOLDED = (
    "Add", "Cast", "Concat", "ConstantOfShape", "Div", "Expand", "Gather", "Mul", "Reshape", "Slice", "Squeeze", "Sub",
    "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators that are worked out where all their inputs are constants."""
GROWING = ("ConstantOfShape", "Expand")
MOVING = ("Gather", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that may move the axis of time, and say themselves where it goes."""


class OnnxGraph:
    """An ONNX graph on its way to a `DenseGraph`.

    Attributes
    ----------
    constants
        Arrays of initialisers and of `Constant` nodes.
    alias
        Per value of the ONNX graph, the node of the dense graph that gives it.
    nodes
        The nodes so far.
    sequences
        Whether the graph has recurrent nodes.
    opset
        Version of the operators.
    read_out
        ``last`` once a value was taken from the last frame alone.
    notes
        Sentences.
    leading
        What the axis before a sample's counts as where the graph asks for it: the input's, or 1 where it is free.
    ranks
        Axes of the values of a graph of sequences.
    times
        Which axis of a value of a graph of sequences is time, where it is known: behind recurrent nodes.
    uses
        How often each value is read.
    unread
        Values that nothing may read, each with the reason.
    ends
        Notes on what was left out before values that may be the answer, but not be read.
    last_values
        Values of the last frame of a sequence alone.
    stacks
        Per value that stacks the last states of several layers, these states, the last layer's last.
    """

    def __init__(self, sequences: bool) -> None:
        self.constants: dict[str, np.ndarray] = {}
        self.alias: dict[str, str] = {}
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {}
        self.sequences = sequences
        self.opset = 18
        self.read_out = "every"
        self.notes: list[str] = []
        self.ends: dict[str, str] = {}
        self.leading: tuple[int, ...] = (1,)
        self.ranks: dict[str, int] = {}
        self.times: dict[str, int] = {}
        self.unread: dict[str, str] = {}
        self.uses: Counter[str] = Counter()
        self.last_values: set[str] = set()
        self.stacks: dict[str, list[str]] = {}

    def add(self, node: Node) -> None:
        """Add a node, and work out its shape.

        Raises
        ------
        Refused
            Its inputs do not fit.
        """
        try:
            shape = node.out_shape(*(self.shapes[name] for name in node.inputs))
        except (ModelError, IndexError) as error:
            raise Refused(str(error)) from error
        self.nodes.append(node)
        self.shapes[node.name] = tuple(int(v) for v in shape)

    def value(self, name: str) -> str:
        """Return the node that gives an ONNX value.

        Raises
        ------
        Refused
            It is a constant, or not known.
        """
        if name not in self.alias:
            raise Refused(f'reads "{name}", which is a constant or comes from what was refused')
        if name in self.unread:
            raise Refused(f'reads "{name}": {self.unread[name]}')
        if name in self.last_values:
            self.read_out = "last"
        return self.alias[name]


def read_onnx(path: str | Path) -> DenseGraph:
    """Read an ONNX file; see `read_onnx_with_notes`."""
    return read_onnx_with_notes(path)[0]


def read_onnx_with_notes(path: str | Path) -> tuple[DenseGraph, tuple[str, ...]]:
    """Read an ONNX file as a dense graph, and return sentences on what was left out.

    Parameters
    ----------
    path
        The file, weights included: data beside it are not read.

    Raises
    ------
    ModelError
        The file is missing, damaged or too large, or holds operators that are not supported: all are named.
    InputError
        The extra ``onnx`` is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file; check the path")
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path}: has {path.stat().st_size} bytes; the limit is {MAX_BYTES}")
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            f'{path}: ONNX files need the extra onnx; install it: pip install "neurosim-hw[onnx]"'
        ) from error
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except Exception as error:  # The parser of protobuf has errors of its own.
        raise ModelError(f"{path}: cannot be read as ONNX ({type(error).__name__}: {error}); export it anew") from error
    errors: list[str] = []
    opset = max((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=18)
    graph = _build(model.graph, opset, errors)
    if not errors and (graph is None or len(model.graph.output) < 1):
        errors.append("has no operators or no output; export it anew")
    if errors or graph is None:
        raise ModelError(join_errors(str(path), errors))
    name = str(path.stem) or "network"
    output = model.graph.output[0].name
    if len(model.graph.output) > 1:
        rest = ", ".join(value.name for value in model.graph.output[1:])
        graph.notes.append(f'the answer is the first output, "{output}"; {rest} left out')
    if output in graph.ends:
        graph.notes.append(graph.ends[output])
        del graph.unread[output]
    try:
        built = DenseGraph(graph.nodes, graph.value(output), name, graph.read_out)
    except (ModelError, Refused) as error:
        raise ModelError(f"{path}: {error}") from error
    return built, tuple(graph.notes)


def _build(source: Any, opset: int, errors: list[str]) -> OnnxGraph | None:
    if len(source.node) > MAX_NODES:
        errors.append(f"has {len(source.node)} operators; the limit is {MAX_NODES}")
        return None
    graph = OnnxGraph(any(node.op_type in ("GRU", "LSTM") for node in source.node))
    graph.opset = opset
    graph.uses.update(name for node in source.node for name in node.input)
    graph.uses.update(value.name for value in source.output)
    for tensor in source.initializer:
        _constant(graph, tensor.name, tensor, errors)
    for value in source.input:
        if value.name not in graph.constants:
            _input(graph, value, errors)
    for number, node in enumerate(source.node):
        place = f"operator {node.name or number} ({node.op_type})"
        if not errors and _fold(graph, node, place, errors):
            continue
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            known = f"supported: {', '.join(sorted(OPERATORS))}"
            errors.append(f"{place}: is not supported; {known}" if not errors else f"{place}: is not supported")
            continue
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    _constant(graph, node.output[0], attribute.t, errors)
                elif attribute.name in ("value_float", "value_int", "value_floats", "value_ints"):
                    graph.constants[node.output[0]] = np.asarray(_attribute(attribute))
            continue
        if errors:
            continue  # What follows would be refused for want of its inputs alone.
        operator: Callable[..., None] = OPERATORS[node.op_type]
        try:
            attributes = {a.name: _attribute(a) for a in node.attribute}
            name = node.output[0] or f"{node.op_type}{number}"
            operator(graph, name, list(node.input), list(node.output), attributes)
            before = next((graph.ranks[v] for v in node.input if v in graph.ranks), 3)
            time = next((graph.times[v] for v in node.input if v in graph.times), None)
            for value in node.output:
                graph.ranks.setdefault(value, before)
                if time is not None and node.op_type not in MOVING:
                    graph.times.setdefault(value, time)
        except Refused as error:
            errors.append(f"{place}: {error}")
        except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            errors.append(f"{place}: its inputs or attributes are not what ONNX asks for ({error})")
    return graph


def _fold(graph: OnnxGraph, node: Any, place: str, errors: list[str]) -> bool:
    """Work out an operator whose inputs are all constants; return whether it was one.

    So go the reckonings with shapes that exporters put around a `Reshape` and around states of zeros.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    if node.op_type == "Shape" and node.input[0] in graph.alias:
        shape = graph.shapes[graph.alias[node.input[0]]]
        ends = {a.name: int(a.i) for a in node.attribute}
        leading = [1] * (graph.ranks.get(node.input[0], 3) - 1) if graph.sequences else graph.leading
        full = np.array([*leading, *shape], dtype=np.int64)
        graph.constants[node.output[0]] = full[ends.get("start", 0) : ends.get("end", len(full))]
        return True
    given = {name: graph.constants[name] for name in node.input if name in graph.constants}
    if node.op_type not in FOLDED or not given or len(given) < len({name for name in node.input if name}):
        return False
    limit = MAX_VALUES >> 4
    if _folded_size(node.op_type, [graph.constants[name] for name in node.input if name]) > limit:
        errors.append(f"{place}: makes an array of more than {limit} values of its constants")
        return True
    if node.op_type in GROWING:
        wanted = given[str(node.input[-1])]
        if wanted.size > 8 or math.prod(max(int(v), 1) for v in wanted.ravel()) > MAX_VALUES >> 4:
            errors.append(
                f"{place}: makes an array of shape {wanted.ravel()[:8].tolist()}; the limit is {MAX_VALUES >> 4}"
            )
            return True
    try:
        infos = [
            onnx.helper.make_tensor_value_info(k, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in given.items()
        ]
        out = [onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.UNDEFINED, None)]
        alone = onnx.helper.make_graph([node], "folded", infos, out)
        opset = [onnx.helper.make_opsetid("", graph.opset)]
        evaluator = ReferenceEvaluator(onnx.helper.make_model(alone, opset_imports=opset))
        results: Any = evaluator.run([node.output[0]], given)
        graph.constants[node.output[0]] = np.asarray(results[0])
    except Exception as error:  # Whatever the evaluator raises.
        errors.append(f"{place}: cannot be worked out from its constants ({type(error).__name__}: {error})")
    return True


def _folded_size(kind: str, inputs: list[np.ndarray]) -> int:
    """Return an upper bound of the values that an operator on constants gives, but for those in `GROWING`."""
    if kind in ("Add", "Div", "Mul", "Sub"):
        try:
            return math.prod(np.broadcast_shapes(*(value.shape for value in inputs)))
        except ValueError:
            return 0  # The evaluator says so.
    if kind == "Gather":
        return math.prod(value.size for value in inputs)
    return sum(value.size for value in inputs)


def _attribute(attribute: Any) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float | int):
        return value
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value] if _plain(value) else value


def _plain(value: Any) -> bool:
    return hasattr(value, "__iter__") and all(isinstance(v, bytes | float | int) for v in value)


def _constant(graph: OnnxGraph, name: str, tensor: Any, errors: list[str]) -> None:
    import onnx

    dims = [int(v) for v in tensor.dims]
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        errors.append(f"tensor {name}: lies in another file, which is not read; export the network into one file")
    elif min(dims, default=0) < 0 or math.prod(dims) > MAX_VALUES:
        errors.append(f"tensor {name}: has shape {dims}; the limit is {MAX_VALUES} values")
    else:
        try:
            value = np.asarray(onnx.numpy_helper.to_array(tensor))
        except Exception as error:
            errors.append(f"tensor {name}: cannot be read ({error}); export the network again")
            return
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            errors.append(f"tensor {name}: holds values that are not finite; export the network again")
        graph.constants[name] = value


def _input(graph: OnnxGraph, value: Any, errors: list[str]) -> None:
    dims = [int(d.dim_value) if d.HasField("dim_value") else 0 for d in value.type.tensor_type.shape.dim]
    shape = dims[1:] if not graph.sequences else dims[2:] if len(dims) == 3 else []
    if not shape or min(shape) < 1 or len(shape) > 3:
        wanted = "(sequence, batch, features)" if graph.sequences else "(batch, N), (batch, C, L) or (batch, C, H, W)"
        errors.append(f"input {value.name}: has shape {dims} (0: not given); give {wanted}, all but the batch fixed")
        return
    full = (shape[0], 1, shape[1]) if len(shape) == 2 else tuple(shape)
    graph.leading = (max(dims[0], 1),)
    graph.add(Input(value.name, (), full))
    graph.alias[value.name] = value.name
