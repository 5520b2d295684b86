"""The nodes and edges of a NIR file, read within bounds: nothing is loaded before its size is known to be sensible.

NIR is the Neuromorphic Intermediate Representation, HDF5 files of the package `nir` (1.0.8). The nodes are built by
that package; its own reader is not used, since it loads whatever a file promises.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosim.errors import ModelError, join_errors, suggest
from neurosim.formats.hdf5_texts import text_problem
from neurosim.formats.netx_fields import MAX_COMPRESSION, MAX_TEXT, MAX_VALUES

MAX_NODES = 10_000
MAX_EDGES = 100_000
MAX_DEPTH = 16
"""Subgraphs within subgraphs."""
MAX_METADATA = 1 << 26
"""Longest text of metadata, in bytes."""

NODE_TYPES = (
    "Affine", "AvgPool2d", "Conv1d", "Conv2d", "CubaLI", "CubaLIF", "Delay", "Flatten", "I", "IF", "Input", "LI",
    "LIF", "Linear", "Output", "Scale", "SumPool2d", "Threshold",
)  # fmt: skip


@dataclass
class NirGraph:
    """A NIR graph with its subgraphs put in place.

    Attributes
    ----------
    nodes
        Nodes of the package `nir` by name; one of a subgraph is called `subgraph.node`.
    edges
        Pairs of names.
    metadata
        Of the whole graph.
    errors
        What is wrong with the file.
    """

    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    _ends: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    _values: int = 0


def read_graph(path: str | Path) -> NirGraph:
    """Read a file.

    Raises
    ------
    ModelError
        It is missing, no HDF5, damaged, or holds what NIR 1.0.8 does not know; all errors at once.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file; check the path")
    graph = NirGraph()
    try:
        with h5py.File(path, "r") as file:
            root = file.get("node")
            if not isinstance(root, h5py.Group):
                graph.errors.append('has no group "node", so it is no NIR file; write it with nir.write')
            else:
                data = _Reader(graph).group(root, "node", 0)
                if not graph.errors:
                    _add(graph, data, "", 0)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, UnicodeError) as error:
        raise ModelError(
            f"{path}: cannot be read as HDF5 ({error}); it may be truncated: copy or export it anew"
        ) from error
    if graph.errors:
        raise ModelError(join_errors(str(path), graph.errors))
    return graph


class _Reader:
    """Reads groups into dictionaries, keeping count of what they hold."""

    def __init__(self, graph: NirGraph) -> None:
        self.graph = graph

    def group(self, group: h5py.Group, place: str, depth: int) -> dict[str, Any]:
        """Return the members of a group."""
        errors = self.graph.errors
        if depth > 2 * MAX_DEPTH:
            errors.append(f"{place}: lies deeper than {MAX_DEPTH} subgraphs; flatten the network")
            return {}
        if len(group) > MAX_NODES:
            errors.append(f"{place}: has {len(group)} members; the limit is {MAX_NODES}")
            return {}
        found: dict[str, Any] = {}
        for key in group:
            name = key if isinstance(key, str) else key.decode("utf-8", "replace")
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
                errors.append(f"{place}/{name}: is a link to another place, which is not followed; write the file anew")
                continue
            member = group[key]
            if isinstance(member, h5py.Group):
                found[name] = self.group(member, f"{place}/{name}", depth + 1)
            else:
                found[name] = self.dataset(member, f"{place}/{name}")
        return found

    def dataset(self, dataset: Any, place: str) -> Any:
        """Return the value of a dataset: a text, or an array; None where it is refused."""
        errors = self.graph.errors
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            errors.append(f"{place}: is empty or no dataset; it must hold values")
            return None
        if dataset.external or dataset.is_virtual:
            errors.append(f"{place}: has its values in another file, which is not read; write the file anew")
            return None
        text = h5py.check_string_dtype(dataset.dtype)
        metadata = "/metadata/" in place
        limit = MAX_METADATA if metadata else MAX_TEXT
        if text is not None:
            if dataset.size > 2 * MAX_EDGES:
                errors.append(f"{place}: holds {dataset.size} texts; the limit is {2 * MAX_EDGES}")
                return None
            problem = text_problem(dataset, text.length, limit)
            if problem:
                errors.append(f"{place}: {problem}")
                return None
            texts = np.asarray(dataset.astype(object)[()], dtype=object)
            flat = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in texts.ravel().tolist()]
            return flat[0] if dataset.shape == () else np.array(flat, dtype=object).reshape(dataset.shape)
        if dataset.dtype.kind not in "iufb":
            errors.append(f"{place}: has dtype {dataset.dtype}; it must hold real numbers")
            return None
        self.graph._values += dataset.size
        stored = dataset.id.get_storage_size()
        if self.graph._values > MAX_VALUES:
            errors.append(f"{place}: with it the file holds more than {MAX_VALUES} values")
            return None
        if dataset.size * dataset.dtype.itemsize > MAX_COMPRESSION * stored:
            errors.append(f"{place}: has shape {dataset.shape} but {stored} stored bytes; write the file again")
            return None
        value = np.asarray(dataset[()])
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            errors.append(f"{place}: holds values that are not finite; export the network again")
        return value


def _add(graph: NirGraph, data: dict[str, Any], prefix: str, depth: int) -> None:
    """Add a graph's dictionary, its names behind `prefix`."""
    place = f"graph {prefix[:-1]}" if prefix else "the graph"
    if data.get("type") != "NIRGraph":
        # A single node is a graph too.
        data = {"nodes": {"node": data}, "edges": np.empty((0, 2), dtype=object)}
    nodes, edges = data.get("nodes"), data.get("edges")
    if not isinstance(nodes, dict) or not nodes or not isinstance(edges, np.ndarray):
        graph.errors.append(f"{place} lacks nodes or edges; write it with nir.write")
        return
    if depth > MAX_DEPTH:
        graph.errors.append(f"{place} lies deeper than {MAX_DEPTH} subgraphs; flatten the network")
        return
    if not prefix and isinstance(data.get("metadata"), dict):
        graph.metadata = data["metadata"]
    for name, node in nodes.items():
        _add_node(graph, f"{prefix}{name}", node, depth)
    if len(graph.nodes) > MAX_NODES:
        graph.errors.append(f"{place}: has more than {MAX_NODES} nodes with those before it")
        return
    edges = edges.reshape(-1, 2) if edges.size else np.empty((0, 2), dtype=object)
    seen: set[tuple[str, str]] = set()
    for a, b in edges.tolist():
        pair = (str(a), str(b))
        if pair in seen:
            graph.errors.append(f"{place}: edge {a} -> {b} stands twice; write it once")
            continue
        seen.add(pair)
        sources, targets = (_ends(graph, prefix + name, end) for name, end in zip(pair, (1, 0), strict=True))
        for name, found in zip(pair, (sources, targets), strict=True):
            if not found:
                known = [key[len(prefix) :] for key in graph.nodes if key.startswith(prefix)]
                graph.errors.append(
                    f"{place}: edge {a} -> {b} names {name}, which is not there{suggest(name, known)}; "
                    "the file lacks a node, or a subgraph lacks its input or output: export it again"
                )
        if len(targets) > 1:
            graph.errors.append(
                f"{place}: edge {a} -> {b} leads to a subgraph with several inputs ({', '.join(targets)}); name one"
            )
        elif targets:
            graph.edges += [(source, targets[0]) for source in sources]


def _ends(graph: NirGraph, name: str, end: int) -> list[str]:
    """Return the nodes that an edge's end means: the node, or a subgraph's inputs (0) or outputs (1)."""
    if name in graph.nodes:
        return [name]
    return graph._ends.get(name, ([], []))[end]


def _one(value: Any) -> int:
    return int(np.asarray(value).ravel()[0])


def _add_node(graph: NirGraph, name: str, data: Any, depth: int) -> None:
    import nir

    kind = data.get("type") if isinstance(data, dict) else None
    if kind == "NIRGraph":
        before = set(graph.nodes)
        _add(graph, data, f"{name}.", depth + 1)
        inner = [key for key in graph.nodes if key not in before and "." not in key[len(name) + 1 :]]
        graph._ends[name] = (
            [key for key in inner if isinstance(graph.nodes[key], nir.Input)],
            [key for key in inner if isinstance(graph.nodes[key], nir.Output)],
        )
        return
    if kind not in NODE_TYPES:
        graph.errors.append(
            f"node {name}: its type {kind!r} is not known{suggest(str(kind), NODE_TYPES)}; known: "
            f"{', '.join(NODE_TYPES)}"
        )
        return
    if name in graph.nodes:
        graph.errors.append(f"node {name}: its name is used twice; name each node differently")
        return
    given = dict(data)
    for key in ("input_shape", "input_type"):
        # nir writes a shape that it does not know as an empty text.
        if isinstance(given.get(key), str):
            given[key] = None
    try:
        if kind in ("Conv1d", "Conv2d"):
            given.setdefault("input_shape", None)
            if kind == "Conv1d" and given["input_shape"] is not None:
                for key in ("input_shape", "padding", "stride", "dilation"):
                    given[key] = given[key] if isinstance(given[key], str) else _one(given[key])
        graph.nodes[name] = nir.dict2NIRNode(given)
    except (AssertionError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        text = str(error) or type(error).__name__
        graph.errors.append(f"node {name} ({kind}): nir does not take it ({text}); export it again")
