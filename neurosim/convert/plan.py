"""A dense graph cut into sites: the places at which a converted network rounds a value and sends it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.errors import ModelError, join_errors
from neurosim.formats.dense_graph import (
    Activation,
    Add,
    Concat,
    Conv2d,
    DenseGraph,
    Flatten,
    FloatArray,
    Input,
    Linear,
    Node,
    Pool2d,
    Shape,
    fold_scales,
)

NO_LIMIT = math.inf


@dataclass(frozen=True, eq=False)
class Term:
    """A weighted sum into a site.

    Attributes
    ----------
    sources
        Numbers of earlier sites, whose values are joined along their first axis.
    node
        ``Linear``, ``Conv2d`` or ``Pool2d``; None adds the values as they are. A maximum is the only term of its site.
    in_shape
        Shape in which the node takes the joined values.
    """

    sources: tuple[int, ...]
    node: Node | None
    in_shape: Shape


@dataclass(frozen=True, eq=False)
class Site:
    """A layer of the converted network: the sum of its terms and its bias, limited, rounded, sent.

    Attributes
    ----------
    name
        Of the node of the dense graph whose value it is.
    shape
        Of one sample.
    terms
        None for an input.
    bias
        float64 (channels,) or (1,), the first axis of `shape`.
    low, high
        Limits of its value: 0 and infinity for a ReLU, infinities for a plain sum.
    depth
        Steps from the input.
    """

    name: str
    shape: Shape
    terms: tuple[Term, ...]
    bias: FloatArray
    low: float = -NO_LIMIT
    high: float = NO_LIMIT
    depth: int = 0

    @property
    def size(self) -> int:
        """Number of values of one sample."""
        return math.prod(self.shape)

    @property
    def maximum(self) -> Pool2d | None:
        """The pool by maximum that the site is, if it is one."""
        node = self.terms[0].node if self.terms else None
        return node if isinstance(node, Pool2d) and node.mode == "max" else None


@dataclass(frozen=True, eq=False)
class Plan:
    """Sites in order, the last one being the answer.

    Attributes
    ----------
    name
        For reports.
    sites
        Each after those that it reads.
    """

    name: str
    sites: tuple[Site, ...]

    @property
    def rounded(self) -> tuple[int, ...]:
        """Numbers of the sites whose values are rounded and sent: all but the answer."""
        return tuple(range(len(self.sites) - 1))

    def with_sites(self, changed: dict[int, Site]) -> Plan:
        """Return a plan with other sites in the places of some."""
        return Plan(self.name, tuple(changed.get(i, site) for i, site in enumerate(self.sites)))


@dataclass(frozen=True)
class _Value:
    """What a node gives: joined sites, or a sum that is not rounded yet."""

    sites: tuple[int, ...] = ()
    terms: tuple[Term, ...] = ()
    bias: FloatArray | None = None


TAKE_MAXIMA = "convert by rounding, sigma-delta or fixed-point, which take maxima"


def make_plan(graph: DenseGraph, maxima: bool = False) -> Plan:
    """Cut a feed-forward graph into sites.

    Every input, every activation, and every sum that another weighted sum reads, becomes a site. A pooling is a
    weighted sum of its own: it reads rounded values and its result is rounded again.

    Parameters
    ----------
    graph
        The dense network.
    maxima
        Whether pools by maximum are taken, each as a site whose value is no sum.

    Raises
    ------
    ModelError
        A node that such a network cannot express, by name; all of them at once.
    """
    return _Planner(fold_scales(graph), maxima).plan()


class _Planner:
    def __init__(self, graph: DenseGraph, maxima: bool) -> None:
        self.graph, self.maxima = graph, maxima
        self.sites: list[Site] = []
        self.values: dict[str, _Value] = {}
        self.errors: list[str] = []

    def plan(self) -> Plan:
        for node in self.graph.nodes:
            problem = _problem(node, self.maxima)
            if problem:
                self.errors.append(f"node {node.name} ({node.op}): {problem}")
            elif not self.errors:
                self.values[node.name] = self._value(node)
        if self.errors:
            raise ModelError(join_errors(f"{self.graph.name} cannot be converted to integer messages", self.errors))
        answer = str(self.graph.output)
        sites = self._sites_of(answer)
        end = self.sites[sites[0]]
        if len(sites) != 1 or sites[0] != len(self.sites) - 1 or not end.terms or end.maximum:
            raise ModelError(
                f"{self.graph.name}: the answer {answer} must be one sum that nothing else reads; "
                "leave out what follows it, or end the network in a linear or convolutional layer"
            )
        if len([site for site in self.sites if not site.terms]) != 1:
            raise ModelError(f"{self.graph.name} has several inputs; convert networks with one")
        return Plan(self.graph.name, tuple(self.sites))

    def _value(self, node: Node) -> _Value:
        shape = self.graph.shapes[node.name]
        if isinstance(node, Input):
            self.sites.append(Site(node.name, shape, (), np.zeros(1)))
            return _Value((len(self.sites) - 1,))
        if isinstance(node, Flatten):
            # Neurons are numbered in the same order; a sum is rounded before it changes its shape.
            return _Value(self._sites_of(node.inputs[0]))
        if isinstance(node, Concat):
            return _Value(tuple(i for name in node.inputs for i in self._sites_of(name)))
        if isinstance(node, Activation):
            low, high = (0.0, NO_LIMIT) if node.function == "relu" else (node.low, node.high)
            return _Value((self._add_site(node.name, self._sum_of(node.inputs[0]), shape, low, high),))
        if isinstance(node, Add):
            parts = [self._sum_of(name) for name in node.inputs]
            channels = shape[0]
            total = sum((np.broadcast_to(p.bias, (channels,)) for p in parts if p.bias is not None), np.zeros(channels))
            return _Value(terms=tuple(t for p in parts for t in p.terms), bias=total)
        sources = self._sites_of(node.inputs[0])
        if isinstance(node, Pool2d) and node.mode == "max":
            return self._maximum(node, sources, shape)
        bias = getattr(node, "bias", np.zeros(1))
        return _Value(terms=(Term(sources, node, self.graph.shapes[node.inputs[0]]),), bias=bias)

    def _maximum(self, node: Pool2d, sources: tuple[int, ...], shape: Shape) -> _Value:
        if any(node.padding) and any(self.sites[i].low < 0 for i in sources):
            self.errors.append(
                f"node {node.name} (pool2d): pads a maximum of values that may be below 0; put a ReLU before it, "
                "or pad nothing"
            )
        value = _Value(terms=(Term(sources, node, self.graph.shapes[node.inputs[0]]),), bias=np.zeros(1))
        return _Value((self._add_site(node.name, value, shape, -NO_LIMIT, NO_LIMIT),))

    def _sum_of(self, name: str) -> _Value:
        value = self.values[name]
        if value.terms:
            return value
        return _Value(terms=(Term(value.sites, None, self.graph.shapes[name]),), bias=np.zeros(1))

    def _sites_of(self, name: str) -> tuple[int, ...]:
        value = self.values[name]
        if not value.sites:
            site = self._add_site(name, value, self.graph.shapes[name], -NO_LIMIT, NO_LIMIT)
            value = self.values[name] = _Value((site,))
        return value.sites

    def _add_site(self, name: str, value: _Value, shape: Shape, low: float, high: float) -> int:
        depth = 1 + max(self.sites[i].depth for term in value.terms for i in term.sources)
        assert value.bias is not None
        self.sites.append(Site(name, shape, value.terms, np.array(value.bias, np.float64), low, high, depth))
        return len(self.sites) - 1


def _problem(node: Node, maxima: bool) -> str:
    if isinstance(node, Pool2d):
        if node.mode == "max" and not maxima:
            return f"a maximum is no sum of changes; pool by averages, or by strides of a convolution, or {TAKE_MAXIMA}"
        if node.mode == "average" and not node.count_padding and any(node.padding):
            return "an average that leaves out its padding differs from place to place; count the padding"
        return ""
    if isinstance(node, Activation):
        if node.function == "relu" or (node.function == "clip" and node.low <= 0 <= node.high):
            return ""
        return f"{node.function} is none of relu and clip around 0; train with one of these"
    if isinstance(node, Input | Linear | Conv2d | Flatten | Add | Concat):
        return ""
    if node.op in ("gru", "lstm"):
        return (
            f"is not supported by this method; chains of such layers convert to delta networks (--to delta-{node.op})"
        )
    return "is not supported by this method; it takes feed-forward networks"


def weighted(plan: Plan) -> Iterator[tuple[int, int, Term]]:
    """Yield the terms with weights of their own, after the number of their site and their place in it."""
    for i, site in enumerate(plan.sites):
        for j, term in enumerate(site.terms):
            if isinstance(term.node, Linear | Conv2d):
                yield i, j, term


def with_weights(plan: Plan, weights: dict[tuple[int, int], NDArray[Any]], biases: dict[int, NDArray[Any]]) -> Plan:
    """Return a plan with other weights, by site and place of the term, and other biases, by site."""
    sites: dict[int, Site] = {}
    for i, site in enumerate(plan.sites):
        terms = list(site.terms)
        for j, term in enumerate(terms):
            if (i, j) in weights and isinstance(term.node, Linear | Conv2d):
                terms[j] = replace(term, node=replace(term.node, weight=weights[i, j]))
        sites[i] = replace(site, terms=tuple(terms), bias=biases.get(i, site.bias))
    return plan.with_sites(sites)
