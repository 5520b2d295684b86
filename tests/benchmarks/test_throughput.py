"""How fast the engine is: messages, synops, packets and hops a second. Run with `pytest -m benchmark`.

The figures stand in the benchmark's `extra_info`; nothing here asserts a time.
"""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import neurosim
from neurosim.compiler import Program
from neurosim.engine import FunctionRun, LayerCount, StepActivity, TimeRun
from neurosim.network import Connection, Conv2d, Delta, Dense, Layer, Network, Sigma, SigmaDelta


@pytest.fixture(scope="module")
def program() -> Program:
    """A convolutional sigma-delta network of about 60,000 neurons on Loihi 2."""
    rng = np.random.default_rng(0)
    layers = [Layer("input", (3, 64, 128), Delta(6 << 12))]
    connections = []
    for i, channels in enumerate((16, 24, 32)):
        source = layers[-1]
        conv = Conv2d(rng.integers(-8, 8, (channels, source.shape[0], 3, 3)) * 2, source.shape, 2, 1)
        layers.append(Layer(f"conv{i}", conv.out_shape, SigmaDelta(6 << 12)))
        connections.append(Connection((source.name,), layers[-1].name, conv, None, 24))
    dense = Dense(rng.integers(-8, 8, (10, layers[-1].size)) * 2)
    connections.append(Connection((layers[-1].name,), "out", dense))
    layers.append(Layer("out", (10,), Sigma()))
    return neurosim.compile(Network(layers, connections), "loihi2")


@pytest.fixture(scope="module")
def frames(program: Program) -> np.ndarray:
    """Smooth noise that drifts, so that about a tenth of the input changes in each timestep."""
    rng = np.random.default_rng(1)
    base = rng.integers(-64, 64, program.network.layers[0].size)
    moves = rng.random((12, base.size)) < 0.1
    return np.clip(base + np.cumsum(moves * rng.integers(-20, 21, moves.shape), axis=0), -64, 64).astype(np.int16)


@pytest.fixture(scope="module")
def activity(program: Program, frames: np.ndarray) -> list[StepActivity]:
    return list(FunctionRun(program.network, {"input": frames}).steps(len(frames)))


def rate(benchmark: BenchmarkFixture, **events: float) -> None:
    if benchmark.stats:
        for name, count in events.items():
            benchmark.extra_info[f"{name}_per_s"] = count / benchmark.stats.stats.median


def test_function(benchmark: BenchmarkFixture, program: Program, frames: np.ndarray) -> None:
    def run() -> tuple[int, int]:
        steps = list(FunctionRun(program.network, {"input": frames}).steps(len(frames)))
        return sum(s.neuron.size for s in steps), sum(int(s.synops.sum()) for s in steps)

    messages, synops = benchmark(run)
    assert messages > 0
    rate(benchmark, messages=messages, synops=synops)


def test_time(benchmark: BenchmarkFixture, program: Program, activity: list[StepActivity]) -> None:
    def run() -> np.ndarray:
        timer = TimeRun(program)
        return np.sum([timer.step(step)[0].layer_counts for step in activity], axis=(0, 1))

    counts = benchmark(run)
    assert counts[LayerCount.PACKETS] > 0
    rate(benchmark, packets=int(counts[LayerCount.PACKETS]), hops=int(counts[LayerCount.HOPS]))


def test_whole_run(benchmark: BenchmarkFixture, program: Program, frames: np.ndarray) -> None:
    result = benchmark(lambda: neurosim.simulate(program, frames))
    rate(
        benchmark,
        timesteps=result.timesteps,
        messages=int(result.layer_total(LayerCount.MESSAGES).sum()),
        synops=int(result.layer_total(LayerCount.SYNOPS).sum()),
        packets=int(result.layer_total(LayerCount.PACKETS).sum()),
    )


def test_compile(benchmark: BenchmarkFixture, program: Program) -> None:
    again = benchmark(lambda: neurosim.compile(program.network, program.chip))
    rate(benchmark, neurons=again.network.size)
