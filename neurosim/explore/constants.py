"""What of a chip only costs, and what decides mapping, function or time.

Energies and powers are multiplied with what a run counted; nothing else depends on them. So do ranges, kinds, sources
and words. Everything else of a chip is taken to decide how a run goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from hwmodels import Chip, Kind, Quantity
from hwmodels.quantity import Energy, Power

NAMING = ("schema", "name", "title", "summary", "extends", "process", "gaps")
COSTS = ("power",)
"""Tables of a chip that hold nothing but what things cost."""


SET = "set for a calculation"


def cost_constants(chip: Chip) -> dict[str, Quantity]:
    """Return the energies and powers of a chip by dotted key, in the order of the schema."""
    return {key: held for key, held in chip.quantities() if isinstance(held, Energy | Power)}


def decisive(chip: Chip) -> dict[str, Any]:
    """Return what of a chip decides how a run goes: dotted key -> number in base units, or choice."""
    numbers = dict(chip.quantities())
    plain = {key: held for key, held in chip.to_dict().items() if key not in (*NAMING, *COSTS)}
    return dict(_decisive(plain, "", numbers))


def _decisive(held: Any, key: str, numbers: Mapping[str, Quantity]) -> Iterator[tuple[str, Any]]:
    if key in numbers:
        quantity = numbers[key]
        if not isinstance(quantity, Energy | Power):
            yield key, quantity.value
    elif isinstance(held, dict) and "source" in held:
        yield key, str(held["value"])
    elif isinstance(held, dict | list):
        parts = held.items() if isinstance(held, dict) else enumerate(held)
        for name, part in parts:
            yield from _decisive(part, f"{key}.{name}" if key else str(name), numbers)
    else:
        yield key, held


def decisive_differences(before: Chip, after: Chip) -> list[str]:
    """Return a line ``key: before -> after`` for all that decides how a run goes and is not the same in `after`."""
    old, new = decisive(before), decisive(after)
    shown = [{name: str(value) for name, value in _texts(chip).items()} for chip in (before, after)]
    keys = [*old, *(key for key in new if key not in old)]
    return [
        f"{key}: {shown[0].get(key, 'absent')} -> {shown[1].get(key, 'absent')}"
        for key in keys
        if old.get(key) != new.get(key)
    ]


def _texts(chip: Chip) -> dict[str, Any]:
    """Return the values as the chip file writes them, by dotted key."""
    texts: dict[str, Any] = {key: quantity.text for key, quantity in chip.quantities()}
    for key, leaf in decisive(chip).items():
        texts.setdefault(key, leaf)
    return texts


def with_constants(chip: Chip, values: Mapping[str, float]) -> Chip:
    """Return a chip with other energies (pJ) and powers (W), by dotted key; their ranges, kinds and sources go."""
    constants = cost_constants(chip)
    plain = chip.to_dict()
    for key, value in values.items():
        unit = "pJ" if isinstance(constants[key], Energy) else "W"
        holder: Any = plain
        *path, last = key.split(".")
        for part in path:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        # Written out in full: a number with both an exponent and a prefix of its unit cannot be read.
        number = f"{Decimal(repr(float(value))):f} {unit}"
        holder[last] = {"value": number, "kind": Kind.ESTIMATE.value, "source": SET, "note": SET}
    return Chip.from_dict(plain)
