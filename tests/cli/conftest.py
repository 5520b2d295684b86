"""A network small enough to run in no time, with its frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurosim.formats import write_netx
from neurosim.network import Connection, Conv2d, Delta, Dense, Layer, Network, Sigma, SigmaDelta

SHAPE = (2, 6, 5)
FRAMES = 8


@pytest.fixture(scope="session")
def network() -> Network:
    random = np.random.default_rng(5)
    convolution = Conv2d(random.integers(-40, 40, (4, 2, 3, 3)), SHAPE)
    layers = [
        Layer("input", SHAPE, Delta(threshold=4 << 12)),
        Layer("conv1", convolution.out_shape, SigmaDelta(threshold=2 << 12, bias=np.array([9, -3, 0, 12]))),
        Layer("dense1", (5,), SigmaDelta(threshold=1 << 12)),
        Layer("dense2", (3,), Sigma()),
    ]
    connections = [
        Connection(("input",), "conv1", convolution, accumulator_bits=24),
        Connection(("conv1",), "dense1", Dense(random.integers(-20, 20, (5, convolution.out_size)))),
        Connection(("dense1",), "dense2", Dense(random.integers(-20, 20, (3, 5)))),
    ]
    return Network(layers, connections, "tiny")


@pytest.fixture(autouse=True)
def folder(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the test in a folder with `tiny.net` and its frames `frames.npy`."""
    write_netx(network, tmp_path / "tiny.net")
    frames = np.random.default_rng(6).integers(-64, 64, (FRAMES, *SHAPE)).astype(np.int16)
    np.save(tmp_path / "frames.npy", frames)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path
