"""Shipped baselines hold the published figures, and a baseline file says all that is wrong with it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwmodels import (
    Kind,
    baseline_names,
    chip_names,
    constant_set_names,
    load_baseline,
    load_constants,
)
from neurosim.errors import ChipError

FIRM = 'kind = "derived", source = "bench"'
HEAD = 'schema = "neurosim.baseline/1"\nname = "mine"\ntitle = "t"\nsummary = "s"\n'
TERM = f"[operations.terms.mac]\nper = 'mac'\ncount = {{ value = 1, {FIRM} }}\n"


def test_the_shipped_baselines() -> None:
    assert baseline_names() == ["arithmetic_fp32", "arithmetic_int8", "arm", "cpu", "eyeriss", "gpu", "mcu", "tpu_v1"]
    assert [load_baseline(name).name for name in baseline_names()] == baseline_names()
    assert not set(baseline_names()) & set(chip_names())


@pytest.mark.parametrize("name", baseline_names())
def test_every_number_has_its_source(name: str) -> None:
    baseline = load_baseline(name)
    found = dict(baseline.quantities())
    assert len(found) >= 4
    assert all(quantity.source for quantity in found.values())
    assert baseline.gaps


# In the units of the base: pJ, Hz, bit, W, bit/s, counts.
PUBLISHED = {
    ("cpu", "operations.terms.mac.energy"): 8600.0,
    ("gpu", "operations.terms.mac.energy"): 300.0,
    ("arm", "operations.terms.mac.energy"): 900.0,
    ("eyeriss", "row_stationary.relative.mac"): 1,
    ("eyeriss", "row_stationary.relative.register_file"): 1,
    ("eyeriss", "row_stationary.relative.neighbour"): 2,
    ("eyeriss", "row_stationary.relative.buffer"): 6,
    ("eyeriss", "row_stationary.relative.dram"): 200,
    ("eyeriss", "row_stationary.clock"): 200e6,
    ("eyeriss", "row_stationary.buffer"): 108 * 1024 * 8,
    ("tpu_v1", "systolic.rows"): 256,
    ("tpu_v1", "systolic.columns"): 256,
    ("tpu_v1", "systolic.clock"): 700e6,
    ("tpu_v1", "systolic.weight_bandwidth"): 34e9 * 8,
    ("tpu_v1", "systolic.buffer"): 24 * 2**20 * 8,
    ("tpu_v1", "systolic.idle"): 28.0,
    ("tpu_v1", "systolic.busy"): 40.0,
}


@pytest.mark.parametrize(("place", "value"), PUBLISHED.items(), ids=str)
def test_published_figures(place: tuple[str, str], value: float) -> None:
    name, key = place
    assert dict(load_baseline(name).quantities())[key].value == value


def test_eyeriss_has_168_elements() -> None:
    array = load_baseline("eyeriss").row_stationary
    assert array is not None
    assert array.rows.value * array.columns.value == 168


def test_horowitz_is_a_set_that_others_refer_to() -> None:
    assert constant_set_names() == ["horowitz_45nm"]
    constants = load_constants("horowitz_45nm").constants
    picojoules = {
        "int8_add": 0.03,
        "int16_add": 0.05,
        "int32_add": 0.1,
        "int8_multiply": 0.2,
        "int32_multiply": 3.1,
        "fp16_add": 0.4,
        "fp32_add": 0.9,
        "fp16_multiply": 1.1,
        "fp32_multiply": 3.7,
        "sram_8kib_read_32bit": 5,
        "sram_32kib_read_32bit": 10,
        "sram_1mib_read_32bit": 50,
        "dram_read_32bit": 640,
        "instruction": 70,
    }
    assert {name: energy.value for name, energy in constants.items()} == picojoules
    operations = load_baseline("mcu").operations
    assert operations is not None
    referred = operations.terms["instruction"].energy
    assert referred.value == constants["instruction"].value
    assert referred.kind is Kind.SIMULATED
    assert referred.source.endswith("(horowitz_45nm.instruction)")


def error_of(path: Path, body: str) -> str:
    path.write_text(HEAD + body)
    with pytest.raises(ChipError) as caught:
        load_baseline(str(path))
    return str(caught.value).replace(f"{path.parent}/", "")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + "[operations]\nmemory_included = true\n" + TERM + f'energy = {{ value = "2 pJ", {FIRM} }}\n')
    baseline = load_baseline(str(path))
    assert baseline.style == "operations"
    assert dict(baseline.quantities())["operations.terms.mac.energy"].value == 2.0


def test_all_errors_come_at_once_with_their_lines(tmp_path: Path) -> None:
    body = (
        "[operations]\n"
        "memory_include = true\n"
        f"clock = {{ value = '3 GB/s', {FIRM} }}\n"
        "[operations.terms.mac]\n"
        "per = 'macs'\n"
        f"count = {{ value = 1, {FIRM} }}\n"
        "energy = { constant = 'horowitz_45nm.int8_ad' }\n"
        "enrgy = 3\n"
        "[operations.terms.update]\n"
        f"per = 'update'\ncount = {{ value = 0, {FIRM} }}\n"
    )
    lines = error_of(tmp_path / "mine.toml", body).splitlines()
    assert lines[0] == "mine.toml: 8 errors"
    assert set(lines[1:]) == {
        '  - operations.memory_include (line 6): unknown key; did you mean "memory_included"?',
        "  - operations.memory_included (operations at line 5): is missing; a baseline file must give it",
        '  - operations.clock (line 7): "3 GB/s" is not a frequency; write it with Hz, kHz, MHz or GHz',
        "  - operations.terms.mac.per (line 9): \"macs\" is not one of 'mac' or 'update'",
        '  - operations.terms.mac.energy (line 11): constant "horowitz_45nm.int8_ad": the set horowitz_45nm has no '
        '"int8_ad"; did you mean "int8_add"?',
        '  - operations.terms.mac.enrgy (line 12): unknown key; did you mean "energy"?',
        "  - operations.terms.update.count (line 15): 0 is zero; a count above zero is needed here",
        "  - operations.terms.update.energy (operations.terms.update at line 13): is missing; "
        "a baseline file must give it",
    }


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("", "has none of them; exactly one of the tables operations, row_stationary, systolic must be there"),
        ("[operations]\nmemory_included = true\nterms = {}\n", "terms is empty; give at least one"),
        (
            "[operations]\nmemory_included = true\n[operations.terms.'int8.add']\nper = \"mac\"\n"
            'count = { value = 1, kind = "architecture", source = "s" }\n'
            'energy = { value = "1 pJ", kind = "estimate", source = "s", note = "n" }\n',
            'the name "int8.add" has a dot',
        ),
        (
            "[operations]\nmemory_included = true\n" + TERM + "energy = { constant = 'horowitz.int8_add' }\n",
            'unknown set of constants "horowitz"; did you mean "horowitz_45nm"?',
        ),
        (
            "[operations]\nmemory_included = true\n"
            + TERM
            + "energy = { constant = 'horowitz_45nm.int8_add', low = 1 }\n",
            "low beside constant; the set gives all of the number",
        ),
        (
            "[operations]\nmemory_included = true\n" + TERM + "energy = { constant = 3 }\n",
            "constant 3 is not a text",
        ),
        (
            f"[operations]\nmemory_included = true\nclock = {{ value = '1 GHz', {FIRM} }}\n"
            + TERM
            + "energy = { constant = 'horowitz_45nm.int8_add' }\n",
            "clock and macs_per_cycle make a rate together",
        ),
        ("x = 1\n", "unknown key"),
        ("[operations\n", "is not TOML"),
        ("x = " + "[" * 3000 + "]" * 3000 + "\n", "is nested too deep"),
    ],
)
def test_bad_files(tmp_path: Path, body: str, complaint: str) -> None:
    assert complaint in error_of(tmp_path / "mine.toml", body)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("eyris", 'unknown baseline "eyris"; did you mean "eyeriss"'),
        ("loihi", 'unknown baseline "loihi"'),
        ("gone.toml", "gone.toml: no such file"),
        ("", 'unknown baseline ""'),
    ],
)
def test_unknown_names(name: str, complaint: str) -> None:
    with pytest.raises(ChipError) as caught:
        load_baseline(name)
    assert complaint in str(caught.value)
    assert "tpu_v1" in str(caught.value)
