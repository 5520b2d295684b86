"""Numbers that carry their unit, their kind and their source."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any, ClassVar

import quantiphy
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hwmodels.explain import quoted
from neurosim.errors import suggest


class Kind(StrEnum):
    """How a number came to be known.

    The first five are the provenance of energies, times and powers, from the firmest to the weakest. `GAP` marks a
    constant that nobody published: an interval from an estimate, and a value in it so that sums can be made.
    `ARCHITECTURE` marks a capacity, a width or a count that is a fact of the design.
    """

    MEASURED = "measured"
    SIMULATED = "simulated"
    DERIVED = "derived"
    ESTIMATE = "estimate"
    GAP = "gap"
    ARCHITECTURE = "architecture"


@dataclass(frozen=True)
class Dimension:
    """What a number measures: the units it may be written in, and the base unit it is held in."""

    name: str
    """With its article, as an error says it: ``a time``."""
    factors: dict[str, int]
    """Unit without prefix -> how many base units it holds."""
    hint: str
    """The spellings to offer in an error."""
    limit: float
    """Largest value accepted, in base units."""
    limit_text: str
    grain: str = ""
    """Name of one base unit where only whole ones exist, else empty."""
    example: str = ""
    designed: bool = False
    """Whether a number of this dimension can be a fact of the design (kind architecture)."""


# A time limit of 1000 s keeps sums of many times far inside 64-bit picoseconds.
TIME = Dimension("a time", {"s": 10**12}, "s, ms, us, ns or ps", 10**15, "1000 s", "1 ps", "4.1 ns")
ENERGY = Dimension("an energy", {"J": 10**12}, "J, uJ, nJ, pJ or fJ", 10**12, "1 J", "", "23.6 pJ")
POWER = Dimension("a power", {"W": 1}, "W, mW or uW", 10**6, "1 MW", "", "29.5 mW")
SIZE = Dimension(
    "a size",
    {"bit": 1, "bits": 1, "B": 8, "byte": 8, "bytes": 8},
    "bit, B, KiB or MiB",
    2**43,
    "1 TiB",
    "1 bit",
    "128 KiB",
    designed=True,
)
COUNT = Dimension("a count", {}, "digits", 2**31 - 1, "2147483647", "1", "1024", designed=True)

_WHOLE = re.compile(r"\d+")


def parse_number(raw: object, dimension: Dimension, positive: bool = False) -> int | float:
    """Return the number written as `raw` in the base unit of its dimension.

    Parameters
    ----------
    raw
        What the file holds: a text with a unit, or for a count a whole number.
    dimension
        What the number measures.
    positive
        Whether zero is refused.

    Returns
    -------
    int or float
        Picoseconds (int), picojoules (float), watts (float), bits (int) or a count (int).

    Raises
    ------
    ValueError
        The unit is missing or wrong, or the number is not finite, negative, too large, or finer than the
        base unit where only whole ones exist. The message says which, and what to write.
    """
    number = _parse_count(raw) if dimension is COUNT else _parse_with_unit(raw, dimension)
    if number < 0:
        raise ValueError(f"{quoted(raw)} is negative; {dimension.name} is zero or more")
    if positive and number == 0:
        raise ValueError(f"{quoted(raw)} is zero; {dimension.name} above zero is needed here")
    if number > dimension.limit:
        raise ValueError(f"{quoted(raw)} is more than the limit of {dimension.limit_text}")
    return number


def _parse_count(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and _WHOLE.fullmatch(raw.strip()) and len(raw) < 20:
        return int(raw)
    raise ValueError(f"{quoted(raw)} is not a count; write a whole number without a unit")


def _parse_with_unit(raw: object, dimension: Dimension) -> int | float:
    way_out = f"write it with {dimension.hint}"
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        raise ValueError(f'{quoted(raw)} has no unit; {way_out}, in quotes: "{dimension.example}"')
    if not isinstance(raw, str):
        raise ValueError(f"{quoted(raw)} is not {dimension.name}; {way_out}")
    try:
        parsed = quantiphy.Quantity(raw, binary=True)
    except quantiphy.QuantiPhyError:
        raise ValueError(f"{quoted(raw)} is not {dimension.name}; {way_out}") from None
    if not math.isfinite(parsed.real):
        raise ValueError(f"{quoted(raw)} is not a finite number; write one that is")
    if not parsed.units:
        raise ValueError(f"{quoted(raw)} has no unit; {way_out}")
    if parsed.units not in dimension.factors:
        raise ValueError(f"{quoted(raw)} is not {dimension.name}; {way_out}")
    # The shortest decimal of the float is the one that was written, so decimal arithmetic is exact.
    exact = Decimal(repr(float(parsed.real))) * dimension.factors[parsed.units]
    if not dimension.grain:
        return float(exact)
    if exact != exact.to_integral_value():
        raise ValueError(f"{quoted(raw)} is not a whole number of {dimension.grain}; round it to one")
    return int(exact)


class Model(BaseModel):
    """Base of every table of a chip file: frozen, and no key beyond the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Sourced(Model):
    """A value with its kind, its source, and a note where reasoning is needed."""

    kind: Kind
    source: str
    note: str = ""

    @field_validator("kind", mode="before")
    @classmethod
    def _known_kind(cls, raw: object) -> object:
        known = [kind.value for kind in Kind]
        if raw not in known:
            raise ValueError(f"{quoted(raw)} is not a kind; use {', '.join(known)}{suggest(str(raw), known)}")
        return raw

    @field_validator("source")
    @classmethod
    def _has_source(cls, source: str) -> str:
        if not source.strip():
            raise ValueError("is empty; name the paper, file or measurement that the value comes from")
        return source

    @model_validator(mode="after")
    def _estimate_has_reason(self) -> Sourced:
        if self.kind in (Kind.ESTIMATE, Kind.GAP) and not self.note.strip():
            what = "an estimate" if self.kind is Kind.ESTIMATE else "a gap"
            raise ValueError(f"is {what} without a note; give the reasoning in note")
        return self


class Quantity(Sourced):
    """One number of a chip, with its unit, kind, source and range.

    `value`, `low` and `high` are in the base unit of the dimension: ps, pJ, W, bit or a plain count. `low`
    and `high` equal `value` where no range is known. `written` is what the file holds, `text` the same as a
    string.
    """

    dimension: ClassVar[Dimension]
    positive: ClassVar[bool] = False

    written: str | int = Field(alias="value")
    written_low: str | int | None = Field(default=None, alias="low")
    written_high: str | int | None = Field(default=None, alias="high")
    _numbers: tuple[int | float, int | float, int | float] = (0, 0, 0)

    @field_validator("written", "written_low", "written_high", mode="before")
    @classmethod
    def _readable(cls, raw: object, info: Any) -> object:
        # The ends of a range may be zero even where the value may not.
        parse_number(raw, cls.dimension, cls.positive and info.field_name == "written")
        return raw

    @model_validator(mode="after")
    def _in_range(self) -> Quantity:
        value, low, high = self._numbers
        if not low <= value <= high:
            ends = (self.written_low, self.written_high)
            span = " to ".join(self.text if end is None else str(end) for end in ends)
            raise ValueError(f"value {self.text} is outside its range {span}; mend one of them")
        if self.kind is Kind.ARCHITECTURE and not self.dimension.designed:
            raise ValueError(
                f"{self.dimension.name} cannot be of kind architecture; say measured, simulated, derived, estimate "
                "or gap"
            )
        return self

    @model_validator(mode="after")
    def _gap_has_interval(self) -> Quantity:
        if self.kind is not Kind.GAP:
            return self
        if self.dimension.designed:
            raise ValueError(
                f"{self.dimension.name} cannot be of kind gap, which is for energies, times and powers; say estimate"
            )
        value, low, high = self._numbers
        if None in (self.written_low, self.written_high) or low == high:
            raise ValueError("is a gap without an interval; give low and high, from the estimate that note explains")
        if value == 0:
            raise ValueError("is a gap with the value zero, which would read as a published one; give a value above it")
        return self

    def model_post_init(self, context: Any, /) -> None:
        value = parse_number(self.written, self.dimension)
        low, high = (
            value if end is None else parse_number(end, self.dimension) for end in (self.written_low, self.written_high)
        )
        self._numbers = (value, low, high)

    @property
    def value(self) -> float:
        """The number in base units."""
        return self._numbers[0]

    @property
    def low(self) -> float:
        """Lower end of the range in base units."""
        return self._numbers[1]

    @property
    def high(self) -> float:
        """Upper end of the range in base units."""
        return self._numbers[2]

    @property
    def text(self) -> str:
        """The number as the file writes it."""
        return str(self.written)


class WholeQuantity(Quantity):
    """A quantity whose base unit is not divided: times, sizes and counts."""

    @property
    def value(self) -> int:
        """The number in base units."""
        return int(self._numbers[0])

    @property
    def low(self) -> int:
        """Lower end of the range in base units."""
        return int(self._numbers[1])

    @property
    def high(self) -> int:
        """Upper end of the range in base units."""
        return int(self._numbers[2])


class Time(WholeQuantity):
    """A time in whole picoseconds, zero or more."""

    dimension = TIME


class PositiveTime(Time):
    """A time in whole picoseconds, one or more."""

    positive = True


class Size(WholeQuantity):
    """A size in bits, zero or more."""

    dimension = SIZE


class PositiveSize(Size):
    """A size in bits, one or more."""

    positive = True


class Count(WholeQuantity):
    """A whole number, zero or more."""

    dimension = COUNT


class PositiveCount(Count):
    """A whole number, one or more."""

    positive = True


class Energy(Quantity):
    """An energy in picojoules, zero or more."""

    dimension = ENERGY


class Power(Quantity):
    """A power in watts, zero or more."""

    dimension = POWER


class Text(Sourced):
    """A fact in words."""

    value: str = Field(min_length=1)


class Counts(Sourced):
    """A list of whole numbers, ascending, each one or more: the widths a chip can store, say."""

    value: tuple[int, ...]

    @field_validator("value", mode="before")
    @classmethod
    def _ascending(cls, raw: object) -> object:
        numbers = list(raw) if isinstance(raw, (list, tuple)) else []
        if not numbers or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in numbers):
            raise ValueError(f"{quoted(raw)} is not a list of whole numbers above zero; write [1, 2, 4, 8]")
        if any(a >= b for a, b in pairwise(numbers)):
            raise ValueError(f"{numbers} does not ascend; sort it and drop what occurs twice")
        return tuple(numbers)
