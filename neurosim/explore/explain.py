"""Why one configuration costs more than another: differences of energy by term, of time by resource."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from neurosim.explore.rows import Row

LEAST_SHARE = 0.05
"""Parts of a difference below this are not told in words."""


@dataclass(frozen=True)
class Part:
    """A part of a difference.

    Attributes
    ----------
    what
        A group of terms, or a resource.
    difference
        Of the row against the reference, in J or s.
    share
        Of the whole difference; negative where it goes the other way.
    by_number
        The part of it that comes of other numbers of events, at the mean of both prices; None where there are no
        events or no energies of both.
    by_price
        The rest: events cost otherwise, at the mean of both numbers.
    timed
        Whether the numbers are seconds, and prices powers.
    """

    what: str
    difference: float
    share: float
    by_number: float | None = None
    by_price: float | None = None
    timed: bool = False


@dataclass(frozen=True)
class Difference:
    """A difference between two rows, and its parts, the largest first; they add up to it."""

    value: float
    ratio: float | None
    parts: tuple[Part, ...]

    def sentence(self) -> str:
        """Return the parts in words: ``77 % of the difference: synapse memory reads (more of them)``."""
        if not self.value:
            return "no difference"
        told = [part for part in self.parts if abs(part.share) >= LEAST_SHARE] or list(self.parts[:1])
        words: list[str] = []
        for part in told[:4]:
            label = f"{100 * part.share:.0f} %{' of the difference' if not words else ''}"
            words.append(f"{label}: {part.what}{_reason(part)}")
        return "; ".join(words)


def _reason(part: Part) -> str:
    if part.by_number is None or part.by_price is None or not part.difference:
        return ""
    if part.timed and abs(part.by_number) >= abs(part.by_price):
        return " (for longer)" if part.by_number > 0 else " (for less time)"
    if part.timed:
        return " (more power)" if part.by_price > 0 else " (less power)"
    if abs(part.by_number) >= abs(part.by_price):
        return " (more of them)" if part.by_number > 0 else " (fewer of them)"
    return " (each dearer)" if part.by_price > 0 else " (each cheaper)"


def energy_difference(row: Row, reference: Row) -> Difference | None:
    """Return by what the energy per inference of `row` differs from that of `reference`; None where one has none."""
    if row.energy_j is None or reference.energy_j is None:
        return None
    mine, theirs = _groups(row), _groups(reference)
    value = row.energy_j.value - reference.energy_j.value
    parts = []
    for what in dict.fromkeys((*mine, *theirs)):
        energy, events = mine.get(what, (0.0, 0.0))
        other_energy, other_events = theirs.get(what, (0.0, 0.0))
        parts.append((what, energy - other_energy, _split(energy, events, other_energy, other_events)))
    powers = {term.group for term in (*row.terms, *reference.terms) if term.timed}
    return _difference(value, reference.energy_j.value, parts, powers)


def time_difference(row: Row, reference: Row) -> Difference | None:
    """Return by what the mean steady timestep of `row` differs from that of `reference`, by resource.

    None where the critical paths of one are not known, or do not tell the length of its timesteps.
    """
    if row.timestep_s is None or reference.timestep_s is None or not row.path_s or not reference.path_s:
        return None
    names = dict.fromkeys((*row.path_s, *reference.path_s))
    parts: list[tuple[str, float, tuple[float, float] | None]] = [
        (name, row.path_s.get(name, 0.0) - reference.path_s.get(name, 0.0), None) for name in names
    ]
    return _difference(row.timestep_s - reference.timestep_s, reference.timestep_s, parts)


def _difference(
    value: float,
    reference: float,
    parts: list[tuple[str, float, tuple[float, float] | None]],
    powers: Collection[str] = (),
) -> Difference:
    made = []
    for what, part, split in parts:
        by_number, by_price = split or (None, None)
        if part or by_number or by_price:
            made.append(Part(what, part, part / value if value else 0.0, by_number, by_price, what in powers))
    made.sort(key=lambda part: (-abs(part.share), part.what))
    return Difference(value, (reference + value) / reference if reference else None, tuple(made))


def _groups(row: Row) -> Mapping[str, tuple[float, float | None]]:
    """Return group -> energy in J and events; None where some of it is no event."""
    groups: dict[str, tuple[float, float | None]] = {}
    for term in row.terms:
        energy, events = groups.get(term.group, (0.0, 0.0))
        both = None if events is None or term.events is None else events + term.events
        groups[term.group] = energy + term.energy_j.value, both
    return groups


def _split(
    energy: float, events: float | None, other_energy: float, other_events: float | None
) -> tuple[float, float] | None:
    """Return the parts of a difference that come of the number of events and of their mean price."""
    if events is None or other_events is None or not events or not other_events:
        return None
    price, other_price = energy / events, other_energy / other_events
    by_number = (events - other_events) * (price + other_price) / 2
    return by_number, (price - other_price) * (events + other_events) / 2


def best(rows: tuple[Row, ...]) -> Row | None:
    """Return the row of the least energy per inference, the first of equals; None where none has any.

    Rows with warnings, whose numbers may mislead, come after those without.
    """

    def rank(row: Row) -> tuple[bool, float]:
        return bool(row.warnings), row.energy_j.value if row.energy_j else 0.0

    return min(_costed(rows), key=rank, default=None)


def _costed(rows: tuple[Row, ...]) -> Iterator[Row]:
    return (row for row in rows if row.energy_j is not None)
