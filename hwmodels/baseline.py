"""The tables of a baseline: hardware beside the chips, costed by formulas (docs/baselines.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, StrictBool, model_validator

from hwmodels.quantity import Dimension, Energy, Model, PositiveCount, PositiveSize, Power, Quantity

FREQUENCY = Dimension("a frequency", {"Hz": 1}, "Hz, kHz, MHz or GHz", 10**12, "1 THz", "", "700 MHz", designed=True)
BANDWIDTH = Dimension(
    "a bandwidth", {"B/s": 8, "bit/s": 1}, "B/s, MB/s or GB/s", 10**15, "125 TB/s", "", "34 GB/s", designed=True
)


class Frequency(Quantity):
    """A frequency in Hz, above zero."""

    dimension = FREQUENCY
    positive = True


class Bandwidth(Quantity):
    """A bandwidth in bit/s, above zero."""

    dimension = BANDWIDTH
    positive = True


class Constants(Model):
    """A named set of energies that baselines refer to."""

    file_word: ClassVar[str] = "a file of constants"

    schema_version: Literal["neurosim.constants/1"] = Field(alias="schema")
    name: str
    title: str
    summary: str
    gaps: tuple[str, ...] = ()
    constants: dict[str, Energy]


class Operation(Model):
    """What is paid `count` times for each MAC, or for each update of a neuron."""

    per: Literal["mac", "update"]
    count: PositiveCount
    energy: Energy


class Operations(Model):
    """Hardware known by its energy per operation alone; what one costs holds all that moves with it.

    `memory_included` says whether the energies hold the memories' accesses. `clock` and `macs_per_cycle` give the
    peak rate; without them no time is known.
    """

    memory_included: StrictBool
    terms: dict[str, Operation]
    clock: Frequency | None = None
    macs_per_cycle: PositiveCount | None = None

    @model_validator(mode="after")
    def _whole_rate(self) -> Operations:
        if not self.terms:
            raise ValueError("terms is empty; give at least one")
        for name in self.terms:
            if "." in name:
                raise ValueError(f'terms: the name "{name}" has a dot, which parts keys; write it with _ in its place')
        if (self.clock is None) != (self.macs_per_cycle is None):
            raise ValueError("clock and macs_per_cycle make a rate together; give both or neither")
        return self


class RelativeCosts(Model):
    """Energy of one word's access at each level, as multiples of `RowStationary.unit_energy`."""

    mac: PositiveCount
    register_file: PositiveCount
    neighbour: PositiveCount
    buffer: PositiveCount
    dram: PositiveCount


class RowStationary(Model):
    """An array of processing elements fed by one global buffer, with the row-stationary dataflow.

    `zeros` says what an activation of zero saves: ``gated``, the MAC and the register file's accesses to weight and
    sum; ``skipped``, the time too; without it, nothing. The three register sizes are of one processing element.
    """

    rows: PositiveCount
    columns: PositiveCount
    clock: Frequency
    word: PositiveSize
    activation_words: PositiveCount
    weight_words: PositiveCount
    sum_words: PositiveCount
    buffer: PositiveSize
    buffer_bandwidth: Bandwidth | None = None
    dram_bandwidth: Bandwidth | None = None
    unit_energy: Energy
    relative: RelativeCosts
    zeros: Literal["gated", "skipped"] | None = None


class Systolic(Model):
    """A weight-stationary systolic array between a buffer of activations and a DRAM of weights.

    `values_words` is how many words of `word` a weight or an activation may take. `idle` is drawn always, `busy` in
    all while it works.
    """

    rows: PositiveCount
    columns: PositiveCount
    clock: Frequency
    word: PositiveSize
    values_words: PositiveCount
    buffer: PositiveSize
    accumulator_rows: PositiveCount
    accumulator_word: PositiveSize
    weight_bandwidth: Bandwidth
    idle: Power
    busy: Power

    @model_validator(mode="after")
    def _busy_is_more(self) -> Systolic:
        if self.busy.value < self.idle.value:
            raise ValueError(f"busy {self.busy.text} is less than idle {self.idle.text}; it is drawn in all")
        return self


class Baseline(Model):
    """One piece of hardware that is costed by formulas; exactly one of the three styles describes it.

    Attributes
    ----------
    name, title, summary
        Texts; `gaps` holds sentences on what nobody published.
    operations, row_stationary, systolic
        The style's table.
    """

    file_word: ClassVar[str] = "a baseline file"

    schema_version: Literal["neurosim.baseline/1"] = Field(alias="schema")
    name: str
    title: str
    summary: str
    gaps: tuple[str, ...] = ()
    operations: Operations | None = None
    row_stationary: RowStationary | None = None
    systolic: Systolic | None = None

    @model_validator(mode="after")
    def _one_style(self) -> Baseline:
        given = [style for style in STYLES if getattr(self, style) is not None]
        if len(given) != 1:
            found = ", ".join(given) or "none of them"
            raise ValueError(f"has {found}; exactly one of the tables {', '.join(STYLES)} must be there")
        return self

    @property
    def style(self) -> str:
        """Name of the table that describes it."""
        return next(style for style in STYLES if getattr(self, style) is not None)

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Yield (dotted key, quantity) for every number, in the order of the schema."""
        yield from _quantities(self, "")


STYLES = ("operations", "row_stationary", "systolic")


def _quantities(table: Model, prefix: str) -> Iterator[tuple[str, Quantity]]:
    for name in type(table).model_fields:
        held = getattr(table, name)
        parts = held.items() if isinstance(held, dict) else [("", held)]
        for key, part in parts:
            place = f"{prefix}{name}.{key}".rstrip(".")
            if isinstance(part, Quantity):
                yield place, part
            elif isinstance(part, Model):
                yield from _quantities(part, f"{place}.")
