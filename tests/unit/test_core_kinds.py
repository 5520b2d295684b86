"""What lanes, sweeps and crossbars add to chip files and program files, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hwmodels import Chip, load_chip
from neurosim.compiler import Program, compile_network, read_program, write_program
from neurosim.engine import TimeRun
from neurosim.engine.checkpoint import run_digest
from neurosim.engine.exercise import exercise_network
from neurosim.errors import ChipError, InputError
from neurosim.network import Layer, Network, Relay

DOCUMENT = Path(__file__).parents[2] / "docs" / "program-format.md"
FOUR = {"value": 4, "kind": "estimate", "source": "this test", "note": "chosen here"}


def chip(lanes: bool = True, **core: Any) -> Chip:
    """Loihi 2 with four lanes over four banks of one port, and other keys of the core."""
    plain = load_chip("loihi2").to_dict()
    plain["core"] |= core
    if lanes:
        plain["core"]["lanes"] = FOUR
        plain["core"]["memories"]["accumulator"] |= {"banks": FOUR, "ports": FOUR | {"value": 1}}
    return Chip.from_dict(plain)


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_network(exercise_network()[0], chip())


def test_conflicts_come_back_from_a_file(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    write_program(program, path)
    back = read_program(path)
    assert program.axon_conflicts is not None
    assert back.axon_conflicts is not None
    assert program.axon_conflicts.any()
    assert back.axon_conflicts.dtype == np.int32
    assert np.array_equal(back.axon_conflicts, program.axon_conflicts)
    with h5py.File(path) as file:
        assert set(file["axons"]) <= set(re.findall(r"\w+", DOCUMENT.read_text(encoding="utf-8")))


def test_without_lanes_there_are_none(tmp_path: Path) -> None:
    plain = compile_network(exercise_network()[0], chip(lanes=False))
    assert plain.axon_conflicts is None
    write_program(plain, tmp_path / "p.h5")
    assert read_program(tmp_path / "p.h5").axon_conflicts is None


def test_a_network_without_synapses_has_an_empty_column() -> None:
    alone = compile_network(Network([Layer("alone", (3,), Relay())], []), chip())
    assert alone.axon_conflicts is not None
    assert alone.axon_conflicts.size == 0


def error_after(program: Program, path: Path, name: str, values: Any) -> str:
    """What reading says about the program's file with another dataset; None for none."""
    write_program(program, path)
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        if values is not None:
            file[name] = values
    with pytest.raises(InputError) as caught:
        read_program(path)
    return str(caught.value)


def test_wrong_conflicts_are_refused(program: Program, tmp_path: Path) -> None:
    path, conflicts = tmp_path / "p.h5", program.axon_conflicts
    assert conflicts is not None
    assert "axons/conflicts is missing" in error_after(program, path, "axons/conflicts", None)
    assert "must have (" in error_after(program, path, "axons/conflicts", conflicts[1:])
    plain = replace(program, chip=chip(lanes=False), axon_conflicts=None)
    assert "axons/conflicts is for chips with core.lanes, which loihi2 has not; remove it" in error_after(
        plain, path, "axons/conflicts", conflicts
    )
    row = int(program.axon_charged.argmax())
    charged = int(program.axon_charged[row])
    full, rest = divmod(charged, 4)
    most = 3 * full + max(rest - 1, 0)
    for wrong in (-1, most + 1):
        changed = conflicts.copy()
        changed[row] = wrong
        said = error_after(program, path, "axons/conflicts", changed)
        assert f"axons/conflicts[{row}] is {wrong}; {charged} synapses, 4 at a time, meet 0 to {most}" in said


def test_a_program_for_other_lanes_is_not_timed(program: Program) -> None:
    for other in (replace(program, axon_conflicts=None), replace(program, chip=chip(lanes=False))):
        with pytest.raises(
            InputError, match=r"compiled for cores with other lanes than those of loihi2 \(core.lanes\)"
        ):
            TimeRun(other)


def test_conflicts_are_part_of_what_a_checkpoint_fits(program: Program) -> None:
    assert program.axon_conflicts is not None
    other = replace(program, axon_conflicts=program.axon_conflicts + np.int32(1))
    assert run_digest(program, {}, "cycle") != run_digest(other, {}, "cycle")


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"lanes": FOUR}, "lanes: a crossbar has no stages that read or add up messages; leave lanes out"),
        ({"shared_port": ["sweep", "accumulate"]}, "shared_port: a crossbar has no stages"),
        ({"sweep": "touched"}, 'neuron.sweep: a crossbar visits every neuron with its row; set it to "all"'),
        ({"synops": "structural"}, "a crossbar stores all synapses in one way; give dense, sparse and conv the same"),
        ({"synop_time": "7 ns"}, "a crossbar stores all synapses in one way; give dense, sparse and conv the same"),
    ],
)
def test_what_a_crossbar_cannot_have(keys: dict[str, Any], complaint: str) -> None:
    plain = chip(lanes=False, kind="crossbar").to_dict()
    core = plain["core"]
    if "sweep" in keys:
        core["neuron"]["sweep"] = keys["sweep"]
    elif "synops" in keys:
        core["encodings"]["sparse"]["synops"] = keys["synops"]
    elif "synop_time" in keys:
        core["encodings"]["conv"]["synop_time"] = FOUR | {"value": keys["synop_time"]}
    else:
        core |= keys
    with pytest.raises(ChipError) as caught:
        Chip.from_dict(plain)
    assert complaint in str(caught.value)
