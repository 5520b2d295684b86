"""How numbers and tables are laid out for people: engineering units, columns whose numbers never wrap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quantiphy import Quantity
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Cell = int | float | str | None

NOTHING = "-"
"""Stands where there is no number."""

WRAPPED_WIDTH = 24
"""Least width of a column of sentences."""


def engineering(value: float, unit: str) -> str:
    """Return `value` to four digits with an SI prefix: ``1.235 mJ``."""
    return str(Quantity(value, units=unit).render(prec=3, strip_zeros=False))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 timestep``, ``1,200 timesteps``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def percent(part: float) -> str:
    """Return a share of 1 in percent with one decimal, without the sign; small ones are not shown as none."""
    value = 100.0 * part
    return "<0.1" if 0.0 < value < 0.05 else f"{value:,.1f}"


def scaled(values: Sequence[float | None], unit: str, prefixed: str | None = None) -> tuple[list[Cell], str]:
    """Return texts of `values` in one unit, and that unit with its prefix; small ones are not shown as none.

    Parameters
    ----------
    values
        In base units; None stays None.
    unit
        Base unit, such as ``J``.
    prefixed
        Unit with its prefix; by default the one that suits the largest value.
    """
    if prefixed is None:
        largest = max((abs(v) for v in values if v is not None), default=0.0)
        prefixed = Quantity(largest, unit).render(prec=3).split()[-1]
    factor = Quantity(f"1 {prefixed}").real
    shown = [v if v is None else v / factor for v in values]
    return [v if v is None else "<0.001" if 0.0 < v < 0.0005 else f"{v:,.3f}" for v in shown], prefixed


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    title
        Header; a line break in it is kept.
    cells
        Whole numbers are shown with thousands separators, texts as they are, None as `NOTHING`.
    left
        Whether it is aligned to the left, as names are.
    spare
        Whether it may be left out where the terminal is narrow.
    wrapped
        Whether its texts may take several lines.
    foot
        Stands below the column, such as its sum; that of the first column says what.
    """

    title: str
    cells: Sequence[Cell]
    left: bool = False
    spare: bool = False
    wrapped: bool = False
    foot: Cell = ""


def print_columns(title: str, columns: Sequence[Column], console: Console) -> None:
    """Print columns as a table, or as several one below the other where the console is too narrow.

    The first column is repeated in each. Spare columns are left out before a table is cut.
    """
    if not _fits(columns, console):
        columns = [column for column in columns if not column.spare]
    name, rest = columns[0], list(columns[1:])
    heading = title
    while rest:
        count = len(rest)
        while count > 1 and not _fits([name, *rest[:count]], console):
            count -= 1
        console.print()
        console.print(Text(heading, style="bold"))
        console.print(_table([name, *rest[:count]]))
        rest, heading = rest[count:], f"{title} (continued)"


def _fits(columns: Sequence[Column], console: Console) -> bool:
    """Return whether the columns side by side are no wider than the console."""
    least = [Column(c.title, ["x" * WRAPPED_WIDTH] * len(c.cells)) if c.wrapped else c for c in columns]
    unlimited = console.options.update(max_width=10**6)
    return Measurement.get(console, unlimited, _table(least)).maximum <= console.width


def _table(columns: Sequence[Column]) -> Table:
    footed = any(column.foot != "" for column in columns[1:])
    table = Table(
        box=box.SIMPLE if footed else box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        show_edge=False,
        show_footer=footed,
    )
    for column in columns:
        table.add_column(
            Text(column.title),
            footer=Text(_text(column.foot)),
            justify="left" if column.left or column.wrapped else "right",
            vertical="top",
            no_wrap=not column.wrapped,
            overflow="fold" if column.wrapped else "ellipsis",
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(_text(cell)) for cell in row))
    return table


def _text(cell: Cell) -> str:
    if cell is None:
        return NOTHING
    return cell if isinstance(cell, str) else f"{cell:,}"


def print_list(title: str, sentences: Iterable[str], console: Console) -> None:
    """Print sentences as a list under a title; nothing where there are none."""
    for number, sentence in enumerate(sentences):
        if number == 0:
            console.print()
            console.print(Text(title, style="bold"))
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row("-", Text(sentence))
        console.print(Padding(grid, (0, 0, 0, 1), expand=False))
