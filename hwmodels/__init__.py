"""Chips as files: one TOML file a chip, every number with unit, kind, source and range."""

from __future__ import annotations

from hwmodels.loader import chip_names, load_base, load_chip
from hwmodels.quantity import Kind, Quantity
from hwmodels.schema import Chip

__all__ = ["Chip", "Kind", "Quantity", "chip_names", "load_base", "load_chip"]
