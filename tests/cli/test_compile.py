"""`neurosim compile`: the file it writes and the occupancy it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurosim.cli import main
from neurosim.compiler import read_program
from neurosim.network import Network


def test_program_holds_the_network_and_the_table_its_occupancy(
    folder: Path, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "tiny.h5", "--seed", "4"]) == 0
    out = capsys.readouterr().out
    program = read_program(folder / "tiny.h5")
    assert program.seed == 4
    assert program.network == network
    assert f"{program.cores} of 128 cores in use, on {program.tiles} of 32 tiles" in out
    assert "(placement seed 4)" in out
    # dense1 on its core: 5 neurons of 3584 slots.
    row = next(line for line in out.splitlines() if line.startswith("dense1")).split()
    used, limit = program.occupancy()["neurons"]
    core = [part.layer for part in program.slices].index(2)
    assert (int(used[core]), limit) == (5, 3584)
    assert f"{100 * 5 / 3584:.1f} ({core})" in " ".join(row)


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["compile", "tiny.net", "--chip", "loihi", "-o", "t.h5", "--set", "network.payload=24 bit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= width
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)


def test_hops_of_the_placement_are_those_between_its_tiles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crowd = ["--set", "mesh.cores_per_tile=1"]
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "tiny.h5", *crowd]) == 2
    capsys.readouterr()
    crowd += ["--set", "mesh.cores_usable=32"]
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "tiny.h5", *crowd]) == 0
    program = read_program(folder / "tiny.h5")
    hops = 0
    for a, b, messages in program.graph().edges(data="messages"):
        (ya, xa), (yb, xb) = (divmod(program.graph().nodes[core]["slot"], 8) for core in (a, b))
        hops += messages * (abs(xa - xb) + abs(ya - yb))
    assert hops > 0
    assert f"{hops:,} hops" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["tiny.net", "--chip", "loihi2"], "-o"),
        (["tiny.net", "-o", "p.h5"], "The chips are generic_mesh, loihi, loihi2"),
        (["tiny.net", "--chip", "loihi2", "-o", "p.hdf"], "ends in .h5"),
        (["tiny.net", "--chip", "loihi2", "-o", "no/p.h5"], "there is no folder no"),
        (["none.h5", "--chip", "loihi2", "-o", "p.h5"], "no such file"),
        (["tiny.net", "--chip", "loihi2", "-o", "p.h5", "--set", "mesh.cores_usable=2"], "needs 4 cores"),
        (["tiny.net", "--chip", "loihi2", "-o", "p.h5", "--rounding", "up"], "--rounding"),
    ],
)
def test_wrong_use_leaves_no_file(
    args: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", *args]) == 2
    assert words in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"tiny.net", "frames.npy"}


def test_program_is_not_compiled_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "tiny.net", "--chip", "loihi2", "-o", "p.h5"]) == 0
    assert main(["compile", "p.h5", "--chip", "loihi2", "-o", "q.h5"]) == 2
    assert "is compiled already" in capsys.readouterr().err
