"""The configurations of a comparison: chips, each with every combination of the values to be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from hwmodels import Chip, load_chip
from neurosim.errors import InputError, suggest

MOST_CONFIGURATIONS = 1000
"""More would hold too many programs and results in memory at a time."""


@dataclass(frozen=True)
class Configuration:
    """A chip as it is to be compared.

    Attributes
    ----------
    name
        Names it in tables; unlike all others of a comparison.
    chip
        With its settings.
    settings
        Values put in place of the chip file's, by dotted key.
    messages
        How messages with a value go; see `neurosim.compile`.
    """

    name: str
    chip: Chip
    settings: Mapping[str, str] = field(default_factory=dict)
    messages: str = "graded"


def configurations(
    chips: Sequence[str],
    grid: Mapping[str, Sequence[str]] | None = None,
    messages: Mapping[str, str] | None = None,
) -> tuple[Configuration, ...]:
    """Return every chip with every combination of settings.

    Parameters
    ----------
    chips
        Names of chips, or paths of chip files.
    grid
        Per dotted key the values to try; one for a setting that all have.
    messages
        Per chip, as it is named in `chips`, how messages with a value go; graded where it is not there.

    Raises
    ------
    InputError
        No chip, a chip or value given twice, or more than `MOST_CONFIGURATIONS`; messages of a chip that is not there.
    ChipError
        A chip or key is unknown, or a value wrong.
    """
    grid = grid or {}
    if not chips:
        raise InputError("no chips to compare; name one at least")
    _check_twice("chip", chips)
    count = len(chips)
    for key, values in grid.items():
        if not values:
            raise InputError(f"{key}: no values to try; give one at least")
        _check_twice(f"{key}: value", values)
        count *= len(values)
    if count > MOST_CONFIGURATIONS:
        raise InputError(f"{count} configurations are more than {MOST_CONFIGURATIONS}; try fewer values at a time")
    varied = [key for key, values in grid.items() if len(values) > 1]
    short = _short_names(varied)
    messages = messages or {}
    for chip in messages:
        if chip not in chips:
            raise InputError(f"messages of {chip}: is none of the chips{suggest(chip, chips)} ({', '.join(chips)})")
    found = []
    for chip in chips:
        how = messages.get(chip, "graded")
        for values in product(*grid.values()):
            settings = dict(zip(grid, values, strict=True))
            loaded = load_chip(chip, settings)
            words = [loaded.name, *(f"{short[key]}={settings[key]}" for key in varied)]
            words += [] if how == "graded" else [f"messages={how}"]
            found.append(Configuration(" ".join(words), loaded, settings, how))
    _check_twice("the name of chips", [configuration.name for configuration in found])
    return tuple(found)


def _check_twice(what: str, words: Sequence[str]) -> None:
    for word in words:
        if words.count(word) > 1:
            raise InputError(f"{what} {word} is given twice; give it once")


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the fewest last words of each dotted key that tell it from the others."""
    names = {}
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            ending = ".".join(parts[-length:])
            if sum(f".{other}".endswith(f".{ending}") for other in keys) == 1:
                break
        names[key] = ending
    return names


def split_values(text: str) -> list[str]:
    """Return the values of a list ``a,b,c``; commas within brackets or quotes are part of a value.

    >>> split_values("1 pJ, 2 pJ")
    ['1 pJ', '2 pJ']
    >>> split_values("[1, 2],[4]")
    ['[1, 2]', '[4]']
    """
    values, depth, quote = [""], 0, ""
    for sign in text:
        if sign == "," and not depth and not quote:
            values.append("")
            continue
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        depth += (sign == "[") - (sign == "]") if not quote else 0
        values[-1] += sign
    return [_unquoted(value.strip()) for value in values]


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1].strip()
    return value
