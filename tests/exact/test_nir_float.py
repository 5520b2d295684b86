"""Networks from NIR files against a plain float64 simulation of the file, node by node as NIR defines them.

The simulation knows nothing of integers, joined maps or waiting timesteps: what comes out must be the same spikes, as
many timesteps later as there are layers before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurosim
from neurosim.formats import read_nir_with_notes
from neurosim.network import run_reference

DT_S = 1e-3
FINE = {"weight_bits": 24, "decay_bits": 20, "state_bits": 40}
"""So many bits that rounding flips no spike farther from its threshold than the margin below."""
MARGIN = 1e-3
FEEDBACK = "again"
"""Nodes of this name begin with it, and what they give counts a timestep later."""


def convolve(x: Any, weight: Any, stride: int, padding: int) -> Any:
    """Cross-correlation from its definition, loops and all."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    out, _, k, _ = weight.shape
    rows, columns = ((n - k) // stride + 1 for n in x.shape[1:])
    found = np.zeros((out, rows, columns))
    for r in range(rows):
        for c in range(columns):
            window = x[:, r * stride : r * stride + k, c * stride : c * stride + k]
            found[:, r, c] = (weight * window).sum(axis=(1, 2, 3))
    return found


def float_spikes(nodes: dict[str, Any], edges: list[Any], frames: Any, exact: bool = False, dt_s: float = DT_S) -> Any:
    """Values of every node, (timesteps, ...) each, and the least distance of a voltage from its threshold."""
    before: dict[str, list[str]] = {name: [b for b, a in edges if a == name] for name in nodes}
    state: dict[str, Any] = {}
    last: dict[str, Any] = {}
    values: dict[str, list[Any]] = {name: [] for name in nodes}
    margin = np.inf

    def keep(tau: Any) -> Any:
        return np.exp(-dt_s / tau) if exact else 1 - dt_s / tau

    for frame in frames:
        now: dict[str, Any] = {}
        for name, node in nodes.items():  # Listed so that all but feedback comes before what takes it.
            given = [now[b] if b in now else last.get(b) for b in before[name]]
            if any(v is None for v in given):  # A feedback in the first timestep: nothing but its bias.
                given = [
                    v if v is not None else getattr(nodes[b], "bias", 0.0)
                    for v, b in zip(given, before[name], strict=True)
                ]
            x = sum(given) if given else frame
            kind = type(node).__name__
            if kind == "Affine":
                y = node.weight @ np.ravel(x) + node.bias
            elif kind == "Linear":
                y = node.weight @ np.ravel(x)
            elif kind == "Scale":
                y = x * node.scale
            elif kind == "Conv2d":
                y = convolve(x, node.weight, node.stride[0], node.padding[0]) + node.bias[:, None, None]
            elif kind in ("SumPool2d", "AvgPool2d"):
                k = int(node.kernel_size[0])
                eye = np.eye(len(x))[:, :, None, None] * np.ones((k, k))
                y = convolve(x, eye, k, 0) / (k * k if kind == "AvgPool2d" else 1)
            elif kind == "Flatten":
                y = np.ravel(x)
            elif kind == "Delay":
                steps = round(float(node.delay.ravel()[0]) / dt_s)
                held = state.setdefault(name, [np.zeros_like(x)] * steps)
                state[name] = [*held, x]
                y = state[name].pop(0)
            elif kind in ("Input", "Output"):
                y = x
            elif kind == "Threshold":
                margin = min(margin, np.abs(x - node.threshold).min())
                y = (x > node.threshold).astype(float)
            else:
                v, i = state.get(name, (np.zeros(np.shape(x)), np.zeros(np.shape(x))))
                if kind in ("CubaLIF", "CubaLI"):
                    ks = keep(node.tau_syn)
                    i = ks * i + (1 - ks) * node.w_in * x
                    x = i
                if kind in ("IF", "I"):
                    v = v + dt_s * node.r * x
                else:
                    kv = keep(node.tau if hasattr(node, "tau") else node.tau_mem)
                    v = kv * v + (1 - kv) * (node.v_leak + node.r * x)
                if kind in ("IF", "LIF", "CubaLIF"):
                    margin = min(margin, (np.abs(v - node.v_threshold) / node.v_threshold).min())
                    y = (v > node.v_threshold).astype(float)
                    v = np.where(y > 0, node.v_reset, v)
                else:
                    y = v
                state[name] = (v, i)
            now[name] = y
            values[name].append(y)
        last = now
    return {name: np.array(v) for name, v in values.items()}, margin


def neurons(rng: Any, shape: tuple[int, ...]) -> Any:
    def some(low: float, high: float) -> Any:
        return rng.uniform(low, high, shape)

    kind = rng.choice(["IF", "LIF", "CubaLIF", "Threshold"])
    if kind == "Threshold":
        return nir.Threshold(some(0.1, 0.5))
    ends = {"v_threshold": some(0.4, 1.0), "v_reset": some(-0.2, 0.2), "r": some(0.5, 2)}
    if kind == "IF":
        return nir.IF(**(ends | {"r": some(300, 900)}))
    leak = some(-0.1, 0.3)
    if kind == "LIF":
        return nir.LIF(tau=some(2e-3, 20e-3), v_leak=leak, **(ends | {"r": some(3, 9)}))
    taus = {"tau_mem": some(2e-3, 20e-3), "tau_syn": some(2e-3, 9e-3)}
    return nir.CubaLIF(**taus, v_leak=leak, w_in=some(1, 4), **(ends | {"r": some(4, 12)}))


def random_graph(rng: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """An image, a convolution with or without pooling, neurons, a dense layer with a way round, a loop and a delay."""
    nodes: dict[str, Any] = {"in": nir.Input(input_type={"input": np.array([2, 6, 6])})}
    edges = []

    def add(name: str, node: Any, *sources: str) -> str:
        nodes[name] = node
        edges.extend((source, name) for source in sources)
        return name

    at = add("scale", nir.Scale(np.repeat(rng.uniform(0.5, 2, 2), 36).reshape(2, 6, 6)), "in")
    weight = rng.normal(0, 0.5, (3, 2, 3, 3))
    at = add("conv", nir.Conv2d((6, 6), weight, 1, 1, 1, 1, rng.normal(0, 0.1, 3)), at)
    at = add("n1", neurons(rng, (3, 6, 6)), at)
    if rng.random() < 0.7:
        pool = nir.SumPool2d if rng.random() < 0.5 else nir.AvgPool2d
        at = add("pool", pool(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), at)
        if rng.random() < 0.5:
            at = add("conv2", nir.Conv2d((3, 3), rng.normal(0, 0.5, (2, 3, 3, 3)), 1, 1, 1, 1, np.zeros(2)), at)
    size = {"n1": 108, "pool": 27, "conv2": 18}[at]
    shape = {"n1": [3, 6, 6], "pool": [3, 3, 3], "conv2": [2, 3, 3]}[at]
    at = add("flat", nir.Flatten({"input": np.array(shape)}, 0, -1), at)
    at = add("fc", nir.Affine(rng.normal(0, 0.4, (7, size)), rng.normal(0, 0.1, 7)), at)
    sources = [at]
    if rng.random() < 0.5:  # A way round, straight from the input.
        around = add("flat2", nir.Flatten({"input": np.array([2, 6, 6])}, 0, -1), "in")
        sources.append(add("skip", nir.Linear(rng.normal(0, 0.3, (7, 72))), around))
    add("n2", neurons(rng, (7,)), *sources)
    if rng.random() < 0.6:
        add(FEEDBACK, nir.Affine(rng.normal(0, 0.4, (7, 7)), rng.normal(0, 0.1, 7)), "n2")
        edges.append((FEEDBACK, "n2"))
    at = "n2"
    if rng.random() < 0.5:
        at = add("late", nir.Delay(np.full(7, 2 * DT_S)), at)
    at = add("fc2", nir.Linear(rng.normal(0, 0.6, (4, 7))), at)
    at = add("n3", neurons(rng, (4,)), at)
    add("out", nir.Output({"output": np.array([4])}), at)
    return nodes, edges


@pytest.mark.parametrize("discretisation", ["euler", "exact"])
def test_random_graphs_spike_as_the_float_simulation_does(tmp_path: Path, discretisation: str) -> None:
    compared = spikes = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        nodes, edges = random_graph(rng)
        nir.write(tmp_path / "g.nir", nir.NIRGraph(nodes, edges))
        frames = (rng.random((20, 2, 6, 6)) < 0.3).astype(np.int64)
        expected, margin = float_spikes(nodes, edges, frames, discretisation == "exact")
        if margin < MARGIN / 30:
            continue
        network = read_nir_with_notes(tmp_path / "g.nir", dt_s=DT_S, discretisation=discretisation, **FINE).network
        found = run_reference(network, {"in": frames.reshape(20, -1)}, 23).messages
        for depth, name in enumerate(("in", "n1", "n2", "n3")):
            assert np.array_equal(found[name][depth : depth + 20], expected[name].reshape(20, -1)), (seed, name)
            spikes += int(found[name].sum())
        compared += 1
    assert compared >= 15
    assert spikes > 10_000


@pytest.mark.parametrize("kind", ["LI", "CubaLI", "I"])
def test_read_outs_follow_the_float_simulation(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(7)
    leaky = {"tau": np.full(3, 5e-3)} if kind == "LI" else {"tau_mem": np.full(3, 5e-3), "tau_syn": np.full(3, 3e-3)}
    rest = {"r": rng.uniform(1, 2, 3)} | ({} if kind == "I" else {"v_leak": rng.uniform(-0.5, 0.5, 3), **leaky})
    nodes = {
        "in": nir.Input({"input": np.array([5])}),
        "fc": nir.Affine(rng.normal(size=(3, 5)), rng.normal(size=3)),
        "v": getattr(nir, kind)(**rest),
        "out": nir.Output({"output": np.array([3])}),
    }
    edges = [("in", "fc"), ("fc", "v"), ("v", "out")]
    nir.write(tmp_path / "r.nir", nir.NIRGraph(nodes, edges))
    frames = (rng.random((50, 5)) < 0.4).astype(np.int64)
    expected, _ = float_spikes(nodes, edges, frames)
    reading = read_nir_with_notes(tmp_path / "r.nir", dt_s=DT_S, weight_bits=16, decay_bits=16, state_bits=32)
    assert reading.message_units is not None
    found = run_reference(reading.network, {"in": frames}, 51).messages["v"][1:] * reading.message_units["v"]
    np.testing.assert_allclose(found, expected["v"], atol=2e-4 * np.abs(expected["v"]).max())


def test_a_graph_that_ends_in_a_linear_node_is_read_out_as_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    weight, bias = rng.integers(-9, 9, (3, 5)) / 8, rng.integers(-9, 9, 3) / 8
    graph = nir.NIRGraph(
        {
            "in": nir.Input({"input": np.array([5])}),
            "fc": nir.Affine(weight, bias),
            "out": nir.Output({"output": np.array([3])}),
        },
        [("in", "fc"), ("fc", "out")],
    )
    nir.write(tmp_path / "l.nir", graph)
    frames = rng.integers(-20, 20, (9, 5))
    reading = read_nir_with_notes(tmp_path / "l.nir", dt_s=1, inputs="graded")
    assert reading.message_units is not None
    found = run_reference(reading.network, {"in": frames}, 10).messages["out"][1:] * reading.message_units["out"]
    assert np.array_equal(found, frames @ weight.T + bias)


def test_the_lif_of_norse_spikes_within_the_published_spread(reference_data: Path) -> None:
    """Four spikes; ten platforms, two of them chips, put each within 11 timesteps, and norse itself where we do."""
    folder = reference_data / "nir" / "lif_traces"
    traces = {path.stem[4:]: np.loadtxt(path, delimiter=",") for path in sorted(folder.glob("lif_*.csv"))}
    published = np.array([np.flatnonzero(trace[:, 2]) for trace in traces.values()])
    frames = (traces["norse"][:, :1] > 0).astype(np.int64)
    network = read_nir_with_notes(reference_data / "nir" / "lif_norse.nir", dt_s=1e-4).network
    for chip in ("loihi", "loihi2", "loihi_board"):
        result = neurosim.simulate(neurosim.compile(network, chip), frames, steps=1001, keep_activity=True, threads=1)
        steps = [a.timestep for a in result.counts.activity for n in a.neuron if n == network.offsets[1]]
        found = np.array(steps) - 2  # Counted from 1, and a timestep later than the input.
        assert found.shape == (4,)
        assert (published.min(axis=0) <= found).all()
        assert (found <= published.max(axis=0)).all()
        assert np.array_equal(found, np.flatnonzero(traces["norse"][:, 2]))


@pytest.mark.parametrize("name", ["noDelay_bias_zero", "noDelay_noBias_subtract"])
def test_the_braille_nets_spike_as_the_float_simulation_does(reference_data: Path, name: str) -> None:
    """Their recorded input is not at hand, so drawn spikes stand for it, as many as a tactile sensor sends."""
    path = reference_data / "nir" / f"braille_{name}.nir"
    stored = nir.read(path, type_check=False)
    order = ["input", "fc1", "lif1.lif", "lif1.w_rec", "fc2", "lif2", "output"]
    nodes = {key: stored.nodes[key] for key in order}
    frames = (np.random.default_rng(1).random((256, 12)) < 0.15).astype(np.int64)
    expected, _ = float_spikes(nodes, stored.edges, frames, dt_s=1e-4)
    network = read_nir_with_notes(path, dt_s=1e-4, **FINE).network
    found = run_reference(network, {"input": frames}, 258).messages
    assert expected["lif1.lif"].sum() > 50
    assert expected["lif2"].sum() > 20
    for depth, layer in ((1, "lif1.lif"), (2, "lif2")):
        assert np.array_equal(found[layer][depth : depth + 256], expected[layer]), layer


@pytest.mark.parametrize(
    ("name", "dt_s", "reset", "layers"),
    [
        ("cnn_sinabs", 1, "subtract", [2312, 4096, 4096, 512, 256, 10]),
        ("braille_noDelay_bias_zero", 1e-4, "to", [12, 38, 7]),
        ("braille_noDelay_noBias_subtract", 1e-4, "subtract", [12, 40, 7]),
    ],
)
def test_published_nets_run_on_three_chips(
    reference_data: Path, name: str, dt_s: float, reset: str, layers: list[int]
) -> None:
    network = neurosim.load(reference_data / "nir" / f"{name}.nir", dt_s=dt_s, reset=reset)
    assert [layer.size for layer in network.layers] == layers
    frames = (np.random.default_rng(2).random((12, layers[0])) < 0.15).astype(np.int64)
    expected = run_reference(network, {"input": frames}, 16).messages[network.layers[-1].name]
    for chip in ("loihi", "loihi2", "loihi_board"):
        result = neurosim.simulate(neurosim.compile(network, chip), frames, steps=16, threads=1)
        assert np.array_equal(result.counts.outputs[network.layers[-1].name], expected)
        assert result.energy_run.dynamic_j.value > 0
