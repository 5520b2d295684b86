"""What a figure of energy or power includes, and which of its parts rest on constants that nobody published."""

from __future__ import annotations

from collections.abc import Iterator

from hwmodels import Chip, Kind
from hwmodels.quantity import Time
from neurosim.costs import Energy, Interval, Result
from neurosim.costs.energy import active_works
from neurosim.report.layout import counted, engineering

_WORK_WORDS = {
    "sweep": "sweep neurons",
    "interrupt": "take packets",
    "set_up": "set up transfers",
    "row": "work on rows",
}

_SUBJECTS = {
    "core.neuron.update": "neuron update",
    "core.neuron.send": "sending",
    "core.axon_out": "axon-out",
    "core.axon_in": "axon-in",
    "core.encodings": "synapse",
    "core.memories": "memory",
    "core.processor": "processor",
    "network": "network",
    "chips": "network",
    "sync": "timestep",
    "power.static": "static",
    "power.powered_core": "powered core",
    "power.host": "host processor",
    "power.active_core": "active core",
}
"""What a constant is about, by how its key begins."""


def subject(key: str) -> str:
    """Return in a word or two what the constant at a dotted key is about."""
    return next((words for start, words in _SUBJECTS.items() if key.startswith(start)), key.partition(".")[0])


def included(result: Result) -> dict[str, str]:
    """Return what the idle, dynamic and active figures of a run include, each in words, and what they leave out."""
    chip, power = result.chip, result.chip.power
    idle = [f"static power of {counted(chip.chip_count, 'chip')}"]
    if power.powered_core is not None:
        idle.append(f"{counted(result.program.cores, 'powered core')}")
    if power.host is not None:
        idle.append("awake host processors")
    dynamic = ["what each event takes: updates, sends, look-ups, synops, messages and hops"]
    if power.active_core is not None:
        dynamic.append(f"power of cores while they {_listed([_WORK_WORDS[work] for work in active_works(chip)])}")
    absent = [
        words
        for words, term in (
            ("powered cores", power.powered_core),
            ("awake host processors", power.host),
            ("active cores", power.active_core),
        )
        if term is None
    ]
    left_out = f"no term of its own for {_listed(absent)}" if absent else ""
    return {
        "idle": "; ".join(idle),
        "dynamic": "; ".join(dynamic),
        "active": "idle and dynamic, all that flows while the network runs",
        "left_out": left_out,
        "static_note": power.static_note,
    }


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def gap_sentences(result: Result) -> list[str]:
    """Return a sentence for each part of the energy, and one for times, that rests on no published constant."""
    inference = result.energy_inference
    energy, what = (result.energy_run, "of the run") if inference is None else (inference, "per inference")
    return [*_energies(energy, what), *_times(result.chip)]


def _energies(energy: Energy, what: str) -> Iterator[str]:
    found: dict[str, tuple[Interval, list[str]]] = {}
    for key, kind, interval in _parts(energy):
        if kind == Kind.GAP and interval.high:
            total, keys = found.get(subject(key), (Interval(0.0, 0.0, 0.0), []))
            found[subject(key)] = (total + interval, [*keys, key])
    for name, (total, keys) in found.items():
        yield (
            f"{name} energy: no published constant, interval from estimate: {engineering(total.value, 'J')}, "
            f"{engineering(total.low, 'J')} to {engineering(total.high, 'J')} {what} ({', '.join(keys)})"
        )


def _parts(energy: Energy) -> Iterator[tuple[str, str, Interval]]:
    for term in energy.terms:
        yield term.key, term.kind, term.energy_j
    for power in energy.powers:
        yield power.key, power.kind, power.energy_j


def _times(chip: Chip) -> Iterator[str]:
    found: dict[str, int] = {}
    for key, quantity in chip.quantities():
        if quantity.kind is Kind.GAP and isinstance(quantity, Time):
            found[subject(key)] = found.get(subject(key), 0) + 1
    if found:
        names = _listed([f"{name} ({count})" for name, count in found.items()])
        yield f"times without a published constant, estimates in their place: {names}; results count them as exact"
