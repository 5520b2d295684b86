"""`neurosim info`: layers, connections and sums of a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurosim.cli import main
from neurosim.network import Network

# conv1: 4 channels of 4 x 3 outputs, each from 2 x 3 x 3 inputs; then 48 to 5 and 5 to 3 neurons.
SYNAPSES = {"input > conv1": 4 * 4 * 3 * 18, "conv1 > dense1": 48 * 5, "dense1 > dense2": 5 * 3}


def cells(out: str, start: str) -> list[str]:
    return next(line for line in out.splitlines() if line.startswith(start)).split()


def test_synapses_are_the_dense_multiplications(
    network: Network, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["info", "tiny.net"]) == 0
    out = capsys.readouterr().out
    for connection, (name, synapses) in zip(network.connections, SYNAPSES.items(), strict=True):
        weights = connection.transform.weights
        row = cells(out, name)
        assert f"{synapses:,}" in row
        assert f"{100 * np.count_nonzero(weights) / weights.size:.1f}" in row
        assert f"{weights.min()}..{weights.max()}" in row
    whole = f"{sum(SYNAPSES.values()):,} synapses, as many multiplications and additions as a dense evaluation takes"
    assert whole in " ".join(out.split())
    assert f"{60 + 48 + 5 + 3} neurons in 4 layers" in out
    assert "depth of 4 timesteps" in out


def test_layers_show_shape_delay_and_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "tiny.net", "--rounding", "corrected"]) == 0
    out = capsys.readouterr().out
    assert cells(out, "conv1")[1:5] == ["4x4x3", "48", "1", "sigma_delta"]
    assert f"threshold {2 << 12:,}" in out
    assert "bias -3..12" in " ".join(out.split())
    assert out.count("corrected") == 2


@pytest.mark.parametrize(("low", "high", "bits"), [(-128, 127, 8), (-129, 0, 9), (0, 255, 8), (-1, 1, 2)])
def test_bits_hold_every_weight(low: int, high: int, bits: int) -> None:
    from neurosim.report.network_table import _bits

    # The oracle: how many bits numbers of two's complement, or without a sign, take.
    span = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if low < 0 else (0, (1 << bits) - 1)
    assert span[0] <= low <= high <= span[1]
    assert _bits(np.array([low, high], dtype=np.int32)) == bits


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["info", "tiny.net"]) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= width


def test_program_shows_the_network_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "tiny.h5"]) == 0
    capsys.readouterr()
    assert main(["info", "tiny.h5"]) == 0
    assert "compiled for loihi2" in capsys.readouterr().out
    assert main(["info", "tiny.h5", "--cum-error"]) == 2
    assert "--cum-error: a compiled program takes no such option" in capsys.readouterr().err


def test_program_under_the_name_of_a_network_is_told_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "tiny.h5"]) == 0
    (folder / "tiny.h5").rename(folder / "wrong.net")
    capsys.readouterr()
    assert main(["info", "wrong.net"]) == 2
    assert "wrong.net: is a compiled program, no NetX file; rename it so that it ends in .h5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"), [(b"no HDF5", "cannot be read as HDF5"), (b"", "cannot be read as HDF5")]
)
def test_broken_file_is_named(content: bytes, words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.net").write_bytes(content)
    assert main(["info", "broken.net"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "broken.net" in streams.err
    assert words in streams.err
