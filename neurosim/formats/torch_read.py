"""Reader of PyTorch modules: traced by torch.fx into a `DenseGraph`; needs the extra ``torch``.

The first axis is the batch. A module with a GRU or an LSTM takes sequences (batch, frames, features) with
`batch_first`, (frames, batch, features) else; every frame of a sequence is one sample of the graph.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import InputError, ModelError, join_errors
from neurosim.formats.dense_graph import DenseGraph, Input, Node, Shape
from neurosim.formats.onnx_ops import Refused
from neurosim.formats.torch_ops import FUNCTIONS, MODULES, RecurrentPair, RecurrentState

MAX_WEIGHTS_BYTES = 1 << 31


def read_torch(module: Any, input_shape: Any, weights: str | Path | None = None, name: str | None = None) -> DenseGraph:
    """Return the dense graph of a PyTorch module in evaluation mode; the module itself is left as it is.

    Parameters
    ----------
    module
        A `torch.nn.Module` that torch.fx can trace: no branches on values.
    input_shape
        Shape of one sample without the batch, (N,), (C, L) or (C, H, W); of one frame, (N,), for a recurrent module.
    weights
        A file with the module's state dictionary, as `torch.save(module.state_dict(), file)` writes it. It is read
        with `weights_only`, so that it can hold tensors and nothing that runs. None for the module's own.
    name
        For reports; the module's class by default.

    Raises
    ------
    ModelError
        Operations that are not supported, all of them named; weights that do not fit the module.
    InputError
        The extra ``torch`` is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError('PyTorch modules need the extra torch: pip install "neurosim-hw[torch]"') from error
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"a torch.nn.Module is needed, this is a {type(module).__name__}")
    name = name or type(module).__name__
    state = module.state_dict() if weights is None else _state(module, Path(weights), name)
    if torch.fx.Tracer().is_leaf_module(module, ""):  # A layer alone would be traced into its parameters.
        module = torch.nn.Sequential(OrderedDict(layer=module))
        state = {f"layer.{key}": value for key, value in state.items()}
    try:
        traced = torch.fx.symbolic_trace(module)
    except Exception as error:  # Whatever the module's own forward raises.
        raise ModelError(
            f"{name}: torch.fx cannot trace it ({type(error).__name__}: {error}); write its forward without branches "
            "on values, or export it to ONNX"
        ) from error
    try:
        arrays = {key: value.detach().cpu().double().numpy() for key, value in state.items()}
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise ModelError(
            f"{name}: its weights are no plain tensors ({error}); save it with dense float ones"
        ) from error
    reader = Reader(dict(traced.named_modules()), arrays)
    shape = tuple(int(v) for v in np.atleast_1d(np.asarray(input_shape)))
    for node in traced.graph.nodes:
        reader.read(node, shape)
    if reader.errors:
        raise ModelError(join_errors(name, reader.errors))
    return DenseGraph(reader.nodes, reader.output, name, reader.read_out)


def _state(module: Any, path: Path, name: str) -> dict[str, Any]:
    import torch

    if not path.is_file():
        raise ModelError(f"{path}: no such file; check the path")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise ModelError(f"{path}: has {path.stat().st_size} bytes; the limit is {MAX_WEIGHTS_BYTES}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each have errors of their own.
        raise ModelError(
            f"{path}: is no file of weights alone ({type(error).__name__}); save them with "
            "torch.save(module.state_dict(), file)"
        ) from error
    wanted = module.state_dict()
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise ModelError(f"{path}: holds no state dictionary; save it with torch.save(module.state_dict(), file)")
    errors = [f"lacks {key}" for key in wanted if key not in state]
    errors += [f"{key} is not in {name}" for key in state if key not in wanted]
    errors += [
        f"{key} has shape {list(state[key].shape)}; {name} takes {list(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    if errors:
        raise ModelError(join_errors(str(path), errors))
    return dict(state)


def _kind(module: Any) -> str:
    """Return the name of a class of torch.nn itself; empty for classes of others, whatever their name."""
    import torch

    name = type(module).__name__
    return name if getattr(torch.nn, name, None) is type(module) else ""


class Reader:
    """Turns the nodes of a traced graph into those of a dense graph.

    A value is the name of a dense node; `rnn` marks the pair that a GRU or LSTM returns.
    """

    def __init__(self, modules: dict[str, Any], state: dict[str, np.ndarray]) -> None:
        self.modules, self.state = modules, state
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {}
        self.values: dict[Any, Any] = {}
        self.errors: list[str] = []
        self.output: str | None = None
        self.read_out = "every"
        self.picks: set[str] = set()  # Operations that took the last frame of a sequence.
        cells = [m for m in modules.values() if _kind(m) in ("GRU", "LSTM")]
        self.recurrent = bool(cells)
        self.batch_first = all(m.batch_first for m in cells)

    def add(self, node: Node) -> str:
        """Add a node and return its name."""
        try:
            self.shapes[node.name] = tuple(node.out_shape(*(self.shapes[n] for n in node.inputs)))
        except (ModelError, IndexError) as error:
            raise Refused(str(error)) from error
        self.nodes.append(node)
        return node.name

    def read(self, node: Any, shape: Shape) -> None:
        """Read one node of the traced graph."""
        if self.errors and node.op not in ("call_module", "call_function", "call_method"):
            return
        label = f"module {node.target}" if node.op == "call_module" else f"operation {node.name}"
        try:
            if node.op == "placeholder":
                if node.args:
                    return  # It has a default: what reads it is refused.
                if self.nodes:
                    raise Refused("is a second input of forward; networks with one are supported")
                full = (shape[0], 1, shape[1]) if len(shape) == 2 else shape
                self.values[node] = self.add(Input(node.name, (), full))
            elif node.op == "output":
                answer = node.args[0]
                answer = answer[0] if isinstance(answer, tuple | list) and len(answer) == 1 else answer
                self.output = self.value(answer)
            elif node.op == "call_module":
                module = self.modules[node.target]
                label += f" ({type(module).__name__})"
                read = MODULES.get(_kind(module))
                if read is None:
                    raise Refused(f"is not supported; supported: {', '.join(sorted(MODULES))}")
                more = [*node.args[1:], *node.kwargs.values()]
                if not node.args or any(value is not None for value in more):
                    raise Refused("is given more than one input, or one by its name; a state starts at 0: leave it out")
                if not self.errors:
                    self.values[node] = read(self, node.name, module, str(node.target), self.value(node.args[0]))
            elif node.op in ("call_function", "call_method"):
                called = node.target if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
                label += f" ({called})"
                function = FUNCTIONS.get(str(called).rstrip("_"))
                if function is None:
                    raise Refused(f"is not supported; supported: {', '.join(sorted(FUNCTIONS))}")
                if not self.errors:
                    self.values[node] = function(self, node.name, node.args, node.kwargs)
            else:
                raise Refused("reads a parameter of its own; use layers of torch.nn")
        except Refused as error:
            self.errors.append(f"{label}: {error}")
        except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            self.errors.append(f"{label}: is called in a way that is not supported ({error})")

    def value(self, node: Any) -> Any:
        value = self.values.get(node) if not isinstance(node, tuple | list) else None
        if isinstance(value, RecurrentPair | RecurrentState):
            raise Refused(
                "takes the pair that a GRU or LSTM returns, or the states of all its layers; "
                "take its frames, out[0], or the last layer's state, [-1]"
            )
        if value is None:
            raise Refused(f"takes {node}, which is no value of the network")
        return value

    def array(self, path: str, key: str, size: int) -> np.ndarray:
        """Return a parameter; zeros where a module has none (its bias)."""
        return self.state.get(f"{path}.{key}" if path else key, np.zeros(size))
