"""The result of a run as CSV tables, one file a subject; units stand in the headers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from math import fsum
from pathlib import Path
from typing import Any

from neurosim.costs import Result
from neurosim.engine import CoreCount, LayerCount, binding
from neurosim.engine.counters import StepCount
from neurosim.files import atomic_path, make_folder, together
from neurosim.report.places import LinkPlace, link_places, tile_place
from neurosim.report.routing import router_entries

Row = Iterable[Any]

_CORE_COLUMNS = {
    "packets_out": CoreCount.PACKETS_OUT,
    "packets_in": CoreCount.PACKETS_IN,
    "synops_charged": CoreCount.SYNOPS_CHARGED,
    "sweep_ps": CoreCount.SWEEP_PS,
    "stall_ps": CoreCount.STALL_PS,
    "axon_in_ps": CoreCount.AXON_IN_PS,
    "set_up_ps": CoreCount.SET_UP_PS,
    "memory_wait_ps": CoreCount.MEMORY_WAIT_PS,
    "synapse_read_ps": CoreCount.SYNAPSE_READ_PS,
    "accumulate_ps": CoreCount.ACCUMULATE_PS,
    "input_wait_ps": CoreCount.INPUT_WAIT_PS,
    "injection_queue_ps": CoreCount.INJECTION_QUEUE_PS,
}

_QUEUE_COLUMNS = {
    "input_queue_mean": CoreCount.INPUT_WAIT_PS,
    "injection_queue_mean": CoreCount.INJECTION_QUEUE_PS,
}

_STEP_COLUMNS = {
    "messages": LayerCount.MESSAGES,
    "synops": LayerCount.SYNOPS,
    "synops_nonzero": LayerCount.SYNOPS_NONZERO,
    "packets": LayerCount.PACKETS,
    "copies": LayerCount.COPIES,
    "flits": LayerCount.FLITS,
    "hops": LayerCount.HOPS,
}


def write_tables(result: Result, summary: Mapping[str, Any], folder: str | Path) -> None:
    """Write `CSV_FILES` into `folder`, which is made if it is missing; files of those names are replaced.

    They take their places together, once all are written.

    Parameters
    ----------
    result
        The run.
    summary
        Its `summarise`.
    folder
        Where they go; the folder above it must exist.

    Raises
    ------
    InputError
        The folder cannot be made or written.
    """
    folder = Path(folder)
    with together():
        make_folder(folder)
        for name, rows in _TABLES.items():
            with (
                atomic_path(folder / name) as part,
                part.open("w", encoding="utf-8", newline="") as file,
            ):
                csv.writer(file, lineterminator="\n").writerows(rows(result, summary))


def _records(records: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the keys of the first record, then the values of all; nothing for None."""
    for number, record in enumerate(records):
        if number == 0:
            yield record.keys()
        yield record.values()


def _layers(result: Result, summary: Mapping[str, Any]) -> Iterator[Row]:
    return _records(summary["layers"])


def _memories(result: Result, summary: Mapping[str, Any]) -> Iterator[Row]:
    return _records(summary["memories"])


def _energy_terms(result: Result, summary: Mapping[str, Any]) -> Iterator[Row]:
    names = {
        "energy_j": "energy_per_inference_j",
        "low": "energy_per_inference_low_j",
        "high": "energy_per_inference_high_j",
    }
    terms = summary["energy_terms"]
    return _records({names.get(key, key): value for key, value in term.items()} for term in terms)


def _timesteps(result: Result, summary: Mapping[str, Any]) -> Iterator[Row]:
    counts = result.counts
    names = [layer.name for layer in result.network.layers]
    bound = [binding(path_ps) for path_ps in counts.path_ps]
    times = ("duration_ps", "sweep_end_ps", "last_packet_ps", "last_synapse_ps", "barrier_ps")
    incidents = [count.name.lower() for count in StepCount]
    yield ["timestep", *times, "binding", *_STEP_COLUMNS, *incidents, *(f"messages {name}" for name in names)]
    spans = (counts.duration_ps, counts.sweep_ps, counts.network_ps, counts.synapse_ps)
    for step in range(counts.timesteps):
        here = counts.layer_counts[step]
        yield [
            step + 1,
            *(int(span[step]) for span in spans),
            counts.barrier_ps,
            resource.label if (resource := bound[step]) else None,
            *(int(here[:, count].sum()) for count in _STEP_COLUMNS.values()),
            *counts.step_counts[step].tolist(),
            *here[:, LayerCount.MESSAGES].tolist(),
        ]


def _cores(result: Result, summary: Mapping[str, Any]) -> Iterator[Row]:
    program = result.program
    per_tile = program.chip.mesh.cores_per_tile.value
    total_ps = int(result.counts.duration_ps.sum())
    place = ("core", "layer", "x", "y", "core_in_tile", "neurons", "neuron_slots", "box")
    yield [*place, *_CORE_COLUMNS, *_QUEUE_COLUMNS, "lost"]
    for core, part in enumerate(program.slices):
        counts = result.counts.core_counts[core]
        yield [
            core,
            program.network.layers[part.layer].name,
            *tile_place(program, int(program.core_tile[core])),
            int(program.core_slot[core]) % per_tile,
            part.size,
            part.neuron_slots,
            " ".join(f"{low}:{high}" for low, high in part.box),
            *(int(counts[column]) for column in _CORE_COLUMNS.values()),
            *(int(counts[column]) / total_ps if total_ps else 0.0 for column in _QUEUE_COLUMNS.values()),
            int(result.counts.lost[core]),
        ]


def _links(result: Result, summary: Mapping[str, Any]) -> Iterator[Row]:
    """Yield every link between routers, and every output from a router to a core in use."""
    yield ["x", "y", "output", "to_x", "to_y", "to_core", "flits", "utilisation", "dropped_flits"]
    for place, flits, busy in _traffic(result):
        dropped = int(result.counts.dropped[place.router, place.port])
        yield [place.x, place.y, place.output, place.to_x, place.to_y, place.to_core, flits, busy, dropped]


def _routers(result: Result, summary: Mapping[str, Any]) -> Iterator[Row]:
    """Yield every router: what its outputs of `_links` carried and gave up, how busy they were, and its table."""
    program = result.program
    entries = list(router_entries(program, 0))
    yield ["x", "y", "outputs", "flits", "utilisation_mean", "utilisation_max", "dropped_flits", *entries]
    for router, group in groupby(_traffic(result), key=lambda link: link[0].router):
        outputs = list(group)
        busy = [share for _, _, share in outputs]
        yield [
            *tile_place(program, router),
            len(outputs),
            sum(flits for _, flits, _ in outputs),
            fsum(busy) / len(busy),
            max(busy),
            sum(int(result.counts.dropped[router, place.port]) for place, _, _ in outputs),
            *router_entries(program, router).values(),
        ]


def _traffic(result: Result) -> Iterator[tuple[LinkPlace, int, float]]:
    """Yield every output with its flits and the share of the run in which it was busy."""
    total_ps = int(result.counts.duration_ps.sum())
    for place in link_places(result.program):
        flits = int(result.counts.link_flits[place.router, place.port])
        yield place, flits, flits * place.interval_ps / total_ps if total_ps else 0.0


_TABLES: dict[str, Callable[[Result, Mapping[str, Any]], Iterator[Row]]] = {
    "layers.csv": _layers,
    "timesteps.csv": _timesteps,
    "cores.csv": _cores,
    "memories.csv": _memories,
    "links.csv": _links,
    "routers.csv": _routers,
    "energy_terms.csv": _energy_terms,
}

CSV_FILES = tuple(_TABLES)
"""Names of the files that `write_tables` writes."""
