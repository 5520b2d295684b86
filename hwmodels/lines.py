"""Where in a TOML file each key stands. The standard parser does not say."""

from __future__ import annotations

import tomllib
from typing import Any

from hwmodels.explain import Location

# A longer statement ends the search, whose cost grows with the square of this; what follows has no line.
STATEMENT_LIMIT = 500


def key_lines(text: str) -> dict[Location, int]:
    """Return the line number, from one, of every key of a TOML document that parses.

    The document is cut into its statements, table headers and key-value pairs, by handing the parser one line
    more until it accepts what it has; so nothing of TOML's own syntax is read here.
    """
    rows = text.split("\n")
    lines: dict[Location, int] = {}
    arrays: dict[Location, int] = {}
    table: Location = ()
    start = 0
    while start < len(rows):
        statement, end = _statement(rows, start)
        if statement and rows[start].lstrip().startswith("["):
            table = _header(statement, arrays, lines, start + 1)
            lines.setdefault(table, start + 1)
        else:
            _record(lines, table, statement, start + 1)
        start = end
    return lines


def _statement(rows: list[str], start: int) -> tuple[dict[str, Any], int]:
    for end in range(start + 1, min(start + STATEMENT_LIMIT, len(rows)) + 1):
        try:
            return tomllib.loads("\n".join(rows[start:end]) + "\n"), end
        except tomllib.TOMLDecodeError:
            continue
    return {}, len(rows)


def _header(
    statement: dict[str, Any], arrays: dict[Location, int], lines: dict[Location, int], number: int
) -> Location:
    path: Location = ()
    held: Any = statement
    while held:
        ((key, held),) = held.items()
        path += (key,)
        if isinstance(held, list):
            arrays[path] = arrays.get(path, -1) + 1
            lines.setdefault(path, number)
            held = held[0]
        if path in arrays:
            path += (arrays[path],)
    return path


def _record(lines: dict[Location, int], path: Location, held: Any, number: int) -> None:
    parts = held.items() if isinstance(held, dict) else enumerate(held) if isinstance(held, list) else ()
    for key, part in parts:
        lines.setdefault((*path, key), number)
        _record(lines, (*path, key), part, number)
