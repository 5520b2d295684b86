"""The commands on a chip of processor cores, at the widths of two terminals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from spinnaker_like import chip_text

from neurosim.cli import main
from neurosim.formats import write_netx
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay

Captured = pytest.CaptureFixture[str]

RUN = ["run", "recurrent.net", "--chip", "chip.toml", "--input", "spikes.npy"]
HASTE = ["--set", "sync.period=25 us", "--set", "core.processor.buffer=1"]
"""Timers too fast for the work, and no room for a second message."""


@pytest.fixture(autouse=True, params=[80, 120])
def width(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Put a recurrent network, its frames and a chip of six times four cores in the folder."""
    rng = np.random.default_rng(1)
    layers = [
        Layer("in", (20,), Relay(spikes=True)),
        Layer("res", (40,), CubaLif(2048, 200, 6 << 6)),
        Layer("out", (10,), CubaLif(2048, 200, 20 << 6)),
    ]
    connections = [
        Connection(("in",), "res", Dense(rng.integers(-20, 60, (40, 20)))),
        Connection(("res",), "res", Dense(rng.integers(-20, 20, (40, 40)))),
        Connection(("res",), "out", Dense(rng.integers(-20, 40, (10, 40)))),
    ]
    write_netx(Network(layers, connections, "recurrent"), folder / "recurrent.net")
    np.save(folder / "spikes.npy", rng.integers(0, 2, (8, 20)))
    text = chip_text(3, 2, 4).replace("neurons_usable = { value = 256", "neurons_usable = { value = 8")
    (folder / "chip.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def lines(capsys: Captured, width: int) -> str:
    """Return what was said as one line, once it is known to fit."""
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    return " ".join(out.split())


def test_a_run_in_haste_says_what_it_assumes(width: int, capsys: Captured) -> None:
    assert main([*RUN, *HASTE, "--json", "s.json", "--csv", "t", "--timeline", "t.json.gz"]) == 0
    text = lines(capsys, width)
    summary = json.loads(Path("s.json").read_text(encoding="utf-8"))
    found = summary["incidents"]
    late, lost = summary["warnings"]
    assert late.startswith(f"{found['late_timesteps']} of {summary['timesteps']} timesteps overran their 25 us timer")
    assert f"{found['lost']:,}" in lost
    assert "the values computed assume that all arrived" in lost
    # Above the numbers, and among the notes.
    assert text.count(late) == text.count(lost) == 2
    assert text.index(late) < text.index("energy per inference")
    assert text.count("if ticks were in time") == 2
    assert "copies for cores" in text
    with gzip.open("t.json.gz") as file:
        names = [event["name"] for event in json.load(file)["traceEvents"]]
    assert names.count("message lost") == found["lost"]


def test_a_run_in_time_has_no_warnings(width: int, capsys: Captured) -> None:
    assert main([*RUN, "--set", "network.blocked.wait=1 ms", "--json", "s.json"]) == 0
    text = lines(capsys, width)
    summary = json.loads(Path("s.json").read_text(encoding="utf-8"))
    assert summary["warnings"] == []
    assert "assume" not in text
    assert "binding: tick wait in" in text
    assert summary["timestep_s"]["period"] == summary["timestep_s"]["max"] == 1e-3


def test_compile_says_how_full_the_routing_tables_are(width: int, capsys: Captured) -> None:
    assert main(["compile", "recurrent.net", "--chip", "chip.toml", "-o", "p.h5"]) == 0
    compiled = lines(capsys, width)
    assert main(["run", "p.h5", "--input", "spikes.npy", "--json", "s.json"]) == 0
    fullest = json.loads(Path("s.json").read_text(encoding="utf-8"))["routing_tables"]
    sentence = (
        f"the fullest router ({fullest['x']}, {fullest['y']}) holds {fullest['entries_minimised']} of 1,023 entries; "
        f"the keys of {fullest['entries_full']} cores pass it"
    )
    assert sentence in compiled
    assert sentence in lines(capsys, width)


def test_the_page_of_the_chip_holds_its_tables(width: int, capsys: Captured) -> None:
    assert main(["chips", "chip.toml"]) == 0
    text = lines(capsys, width)
    for words in (
        "[chips] topology triangular_torus", "[core] kind processor", "[core.processor] packet_time 0.3 us, estimate",
        "shared tile", "[network.tables] entries 1023, estimate", "default_routing true",
        "[network.blocked] wait 240 ns, estimate", "emergency true", "[sync] kind timer period 1 ms, estimate",
    ):  # fmt: skip
        assert words in text
