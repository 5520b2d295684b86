"""Which shipped workload runs on which chip: docs/inputs.md against the compiler, and, slowly, against runs."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

import neurosim
from hwmodels import chip_names, load_chip
from neurosim.engine.flow_checks import check_units
from neurosim.errors import CapacityError, InputError, MessageWidthError
from neurosim.network import Network
from neurosim_traces import workload, workload_names

PAGE = Path(__file__).parents[2] / "docs" / "inputs.md"
WAYS = {"yes": ("graded",), "units": ("units",), "split": ("split",), "units, split": ("units", "split"), "no": ()}
"""Per word of the table, the ways of `--messages` that run where values as they are do not."""
WHEN_RUN = {
    ("digits_rounding", "tianjic", "graded"),
    ("digits_sigma_delta", "tianjic", "graded"),
    ("sounds", "tianjic", "graded"),
    ("sounds", "tianjic", "units"),
    ("steering", "spinnaker_4", "units"),
    ("steering", "spinnaker_48", "units"),
    ("steering", "tianjic", "graded"),
}
"""What compiles and is refused by a run: messages that are too wide, or more than can be kept or counted."""

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the tests run apart from the repository")


def table() -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the ways by workload and chip, as the page has them."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(r"<!-- workloads on chips -->\n((?:\|.*\n)+)", text)
    assert found
    head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in found[1].splitlines())
    names = [re.findall(r"`(\w+)`", cell) for cell in head[1:]]
    ways: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in rows:
        for chip, (columns, word) in product(re.findall(r"`(\w+)`", row[0]), zip(names, row[1:], strict=True)):
            for name in columns:
                assert (name, chip) not in ways
                ways[name, chip] = WAYS[word]
    return ways


def refusal(network: Network, chip: str, way: str) -> str:
    """Return why a network cannot run, as far as it is known without running it; empty where it may."""
    try:
        neurosim.compile(network, chip, messages=way)
        if load_chip(chip).sync.kind == "none":
            check_units(network, chip)
    except (CapacityError, InputError, MessageWidthError) as error:
        return str(error)
    return ""


def test_the_table_has_every_workload_and_every_chip() -> None:
    assert set(table()) == set(product(workload_names(), chip_names()))


@pytest.mark.parametrize("name", workload_names())
def test_what_the_table_promises_compiles_and_nothing_else(name: str) -> None:
    network = neurosim.load(workload(name).model_path)
    for chip in chip_names():
        ways = table()[name, chip]
        wanted = dict.fromkeys(ways, "")
        refused = [way for way in ("graded", "units", "split") if way not in ways and "graded" not in ways]
        found = {way: refusal(network, chip, way) for way in (*ways, *refused)}
        assert {way: found[way] for way in ways} == wanted, chip
        for way in refused:
            assert bool(found[way]) != ((name, chip, way) in WHEN_RUN), (chip, way, found[way])


@pytest.mark.parametrize(("name", "chip", "way"), sorted(WHEN_RUN))
def test_what_only_a_run_refuses_says_a_way_out(name: str, chip: str, way: str) -> None:
    shipped = workload(name)
    program = neurosim.compile(neurosim.load(shipped.model_path), chip, messages=way)
    with pytest.raises(neurosim.NeurosimError, match=r"\(--messages\)|--messages split|send them otherwise"):
        neurosim.simulate(program, shipped.frames_path, steps=6)


@pytest.mark.slow
@pytest.mark.parametrize("name", workload_names())
def test_what_the_table_promises_runs(name: str) -> None:
    shipped = workload(name)
    network = neurosim.load(shipped.model_path)
    for (other, chip), ways in table().items():
        for way in ways if other == name else ():
            steps = 1 if name == "steering" else 3  # its unit spikes and single arrivals are many
            result = neurosim.simulate(neurosim.compile(network, chip, messages=way), shipped.frames_path, steps=steps)
            assert result.counts.layer_counts.any(), (chip, way)
