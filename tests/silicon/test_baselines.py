"""Baselines beside published figures of the real parts: what must hold of the rows, whatever the error."""

from __future__ import annotations

import pytest

from neurosim.silicon import Row, baselines, run_case
from neurosim.silicon.case import Case


def rows_of(case: Case) -> dict[str, Row]:
    return {row.quantity: row for row in run_case(case, None).rows}


def test_eyeriss_runs_the_convolutions_of_alexnet() -> None:
    rows = rows_of(baselines.EYERISS)
    assert rows["MACs a frame"].predicted.value == pytest.approx(666, rel=0.001)
    # The time is a lower bound, and the published energy lies where the unit's range puts it.
    assert rows["frames a second"].predicted.value > 34.7
    energy = rows["chip energy a frame"]
    assert energy.predicted.low < energy.published < energy.predicted.high
    assert rows["accesses to DRAM a MAC"].predicted.value > 0.0029


def test_tpu_reaches_its_peak_and_is_bound_by_its_weights() -> None:
    rows = rows_of(baselines.TPU)
    assert rows["peak"].predicted.value == pytest.approx(92.0, rel=0.01)
    assert rows["MACs a byte of weights where computing binds"].predicted.value == pytest.approx(1350, rel=0.01)
    assert rows["MLP0"].predicted.value > 12.3


def test_the_energy_that_keras_spiking_prints_for_its_own_example() -> None:
    """784 inputs to 128 units on the CPU: 8.64e-4 J in its documentation. The constants are its, so: the accounting."""
    (row,) = run_case(baselines.CPU, None).rows
    assert row.predicted.value == pytest.approx(0.864, abs=0.0005)
