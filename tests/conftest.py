"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REFERENCE_VARIABLE = "NEUROSIM_REFERENCE_DATA"


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of the reference networks, which are no part of this repository."""
    value = os.environ.get(REFERENCE_VARIABLE)
    if not value:
        pytest.skip(f"{REFERENCE_VARIABLE} is not set: reference networks absent, exactness not checked")
    folder = Path(value)
    if not folder.is_dir():
        raise FileNotFoundError(f"{REFERENCE_VARIABLE}={value}: no such folder; correct it or unset it")
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of tests/benchmarks, so that it runs only when asked for."""
    benchmarks = Path(__file__).parent / "benchmarks"
    for item in items:
        if item.path.is_relative_to(benchmarks):
            item.add_marker(pytest.mark.benchmark)
