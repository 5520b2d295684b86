"""Chips as files: one TOML file a chip, every number with unit, kind, source and range."""

from __future__ import annotations

from hwmodels.baseline import Baseline
from hwmodels.baseline_loader import baseline_names, constant_set_names, load_baseline, load_constants
from hwmodels.loader import chip_names, load_base, load_chip
from hwmodels.quantity import Kind, Quantity
from hwmodels.schema import Chip

__all__ = [
    "Baseline",
    "Chip",
    "Kind",
    "Quantity",
    "baseline_names",
    "chip_names",
    "constant_set_names",
    "load_base",
    "load_baseline",
    "load_chip",
    "load_constants",
]
