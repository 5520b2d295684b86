"""How full the routing tables of a program's routers are."""

from __future__ import annotations

from collections.abc import Mapping

from neurosim.compiler import Program
from neurosim.report.places import tile_place


def router_entries(program: Program, router: int) -> dict[str, int | None]:
    """Return the table entries of a router by kind; None where the chip has no tables.

    entries_full
        One for every core whose packets pass.
    entries_default
        Without those that default routing makes superfluous.
    entries_minimised
        What is left after minimising: the table.
    """
    routes = program.routes
    if routes is None:
        return dict.fromkeys(("entries_full", "entries_default", "entries_minimised"))
    return {
        "entries_full": int(routes.entries_full[router]),
        "entries_default": int(routes.entries_default[router]),
        "entries_minimised": int(routes.entries_minimised[router]),
    }


def fullest_router(program: Program) -> dict[str, int | None] | None:
    """Return place, entries and limit of the router with the largest table, the first of equals.

    None where the chip has no tables.
    """
    routes, tables = program.routes, program.chip.network.tables
    if routes is None or tables is None:
        return None
    router = int(routes.entries_minimised.argmax())
    x, y = tile_place(program, router)
    return {"x": x, "y": y, **router_entries(program, router), "entries_limit": int(tables.entries.value)}


def entries_sentence(found: Mapping[str, int | None]) -> str:
    """Return a sentence on what `fullest_router` returned."""
    entries, limit = found["entries_minimised"], found["entries_limit"]
    return (
        f"routing tables: the fullest router ({found['x']}, {found['y']}) holds {entries:,} of {limit:,} entries; the "
        f"keys of {found['entries_full']:,} cores pass it, default routing leaves {found['entries_default']:,} of "
        f"them, minimising {entries:,}"
    )
