"""What a command writes: never over what it reads, and no two outputs in one place."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import neurosim_traces
from neurosim.cli import main

RUN = "run tiny.net --chip loihi2 --input frames.npy"
CONVERT = "convert dense.npz --to rounding --scale 4 --data cal.npy --input-scale 0.1 -o net.nsnet"


@pytest.fixture(autouse=True)
def inputs(folder: Path) -> Path:
    """Files of every kind that a command reads, of which most hold nothing that could be read."""
    np.savez(folder / "dense.npz", w0=np.eye(3), b0=np.zeros(3))
    np.save(folder / "cal.npy", np.ones((4, 3)))
    for name in ("run.h5", "my.toml", "costs.csv", "base.toml"):
        (folder / name).write_text(name)
    (folder / "measured.csv").write_text("result,per,energy_j\nrun.h5,run,1e-6\n")
    (folder / "tables").mkdir()
    shutil.copy(folder / "frames.npy", folder / "tables" / "layers.csv")
    (folder / "link.json").symlink_to("tiny.net")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("line", "first", "second"),
    [
        (f"{RUN} --json tiny.net", "--json tiny.net", "MODEL tiny.net"),
        (f"{RUN} --json ./tables/../tiny.net", "--json tables/../tiny.net", "MODEL tiny.net"),
        (f"{RUN} --json link.json", "--json link.json", "MODEL tiny.net"),
        (f"{RUN} --results frames.npy", "--results frames.npy", "--input frames.npy"),
        (f"{RUN} --timeline frames.npy", "--timeline frames.npy", "--input frames.npy"),
        (f"{RUN} --checkpoint frames.npy", "--checkpoint frames.npy", "--input frames.npy"),
        (f"{RUN} --json z --csv z", "--json z", "--csv z"),
        (f"{RUN} --json z --results z", "--json z", "--results z"),
        (f"{RUN} --json z --checkpoint z", "--json z", "--checkpoint z"),
        (f"{RUN} --json tables/links.csv --csv tables", "--json tables/links.csv", "--csv tables (links.csv in it)"),
        (f"{RUN} --csv tables --input tables/layers.csv", "--csv tables (layers.csv", "--input tables/layers.csv"),
        ("run tiny.net --chip my.toml --input frames.npy --json my.toml", "--json my.toml", "--chip my.toml"),
        ("compile run.h5 --chip loihi2 -o run.h5", "--output run.h5", "MODEL run.h5"),
        (f"{CONVERT} --frames cal.npy", "--frames cal.npy", "--data cal.npy"),
        (f"{CONVERT} --test cal.npy --json cal.npy", "--json cal.npy", "cal.npy"),
        (f"{CONVERT} --json net.nsnet", "--json net.nsnet", "--output net.nsnet"),
        (f"{CONVERT} --json dense.npz", "--json dense.npz", "MODEL dense.npz"),
        ("compare tiny.net --chips a,my.toml --input frames.npy --json my.toml", "--json my.toml", "--chips my.toml"),
        ("compare tiny.net --chips loihi --input frames.npy --json c --csv c", "--json c", "--csv c"),
        ("baseline tiny.net --on cpu,base.toml --json base.toml", "--json base.toml", "--on base.toml"),
        ("reprice run.h5 --chip my.toml --json run.h5", "--json run.h5", "RESULT run.h5"),
        ("reprice run.h5 --chip my.toml --csv y --json y", "--json y", "--csv y"),
        ("calibrate my.toml measured.csv -o my.toml", "--output my.toml", "CHIP my.toml"),
        ("calibrate loihi measured.csv -o new.toml --json run.h5", "--json run.h5", "line 2 of measured.csv: run.h5"),
        ("calibrate loihi measured.csv -o n.toml --json measured.csv", "--json measured.csv", "MEASUREMENTS.csv"),
        ("validate --json v --markdown v", "--json v", "--markdown v"),
    ],
)  # fmt: skip
def test_what_is_read_or_written_twice_is_refused_before_any_work(
    line: str, first: str, second: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    assert main(line.split()) == 2
    streams = capsys.readouterr()
    assert first in streams.err
    assert second in streams.err
    assert streams.out == ""
    assert contents(folder) == before
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"tables"}


@pytest.mark.parametrize("option", ["--json", "--results"])
def test_the_files_of_a_shipped_workload_are_read_too(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = neurosim_traces.workload("digits_fixed_point")
    for path in (shipped.model_path, shipped.frames_path):
        before = path.read_bytes()
        assert main(["run", "digits_fixed_point", "--chip", "loihi2", option, str(path)]) == 2
        assert f"{option} {path}: would overwrite what is read, MODEL" in capsys.readouterr().err
        assert path.read_bytes() == before


def test_a_folder_of_a_chips_name_and_a_file_beside_the_tables_are_no_clash(folder: Path) -> None:
    (folder / "loihi2").mkdir()
    (folder / "loihi2" / "layers.csv").write_text("of an earlier run")
    line = f"{RUN} --csv loihi2 --json loihi2/summary.json --results loihi2/run.h5 --steps 1"
    assert main(line.split()) == 0
    assert main(line.split()) == 0
    assert {"layers.csv", "summary.json", "run.h5"} <= {path.name for path in (folder / "loihi2").iterdir()}
