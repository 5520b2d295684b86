"""The summary of a run: a plain dict of schema ``neurosim.summary/1``, and its JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import neurosim
from hwmodels import Chip
from hwmodels.loader import SET_BY_USER
from neurosim.costs import Energy, Interval, Result, neurobench
from neurosim.engine import LayerCount, Resource, binding
from neurosim.engine.counters import StepCount
from neurosim.files import atomic_path
from neurosim.formats import reader_options
from neurosim.report.included import gap_sentences, included
from neurosim.report.origin import Origin, chip_sha256
from neurosim.report.routing import fullest_router

SCHEMA = "neurosim.summary/1"

PS_PER_S = 10**12

MEANINGS = {
    "energy": (
        "Mean energy of a steady inference. Dynamic: what its work costs in every layer, each layer looked "
        "at in the timesteps in which the inference reaches it, and the power of cores at work, where the chip has "
        "one. Idle: the powers that flow whether or not anything happens (static, of it the chips' static power, and "
        "where the chip has them powered cores and awake host processors) times the time until the next inference "
        "enters."
    ),
    "power": (
        "Mean powers per steady inference, or of the run where it holds none, as NeuroBench's system track defines "
        "them. Idle: with nothing running. Active: while the network runs, in all. Dynamic: active less idle. "
        "included says in words what each of them holds."
    ),
    "gaps": (
        "A constant of kind gap is one that nobody published: its interval comes from an estimate, and a value within "
        "it stands in sums. Its share in provenance is that of gap."
    ),
    "latency": (
        "Mean time of a steady inference from the start of its first timestep to the end of the one that "
        "completes its answer; over those whose timesteps all have the pipeline full, where there are any."
    ),
    "throughput": (
        "Inferences per second with the pipeline full: one enters every steps_per_inference timesteps of "
        "mean steady length."
    ),
    "energy_delay": (
        "Energy per inference times latency per inference; its ends take the energy at the ends of its range."
    ),
    "neurobench": (
        "The metrics of NeuroBench's algorithm track, of the network and its activity on any chip. An execution is a "
        "timestep, or a frame on a chip without timesteps. footprint_bytes: weights and biases in the fewest of 1, 2, "
        "4 or 8 bytes a number. connection_sparsity: share of the stored weights that are zero. activation_sparsity: "
        "share of the neurons with state that sent no message, over all executions; null where a neuron may send "
        "several in a frame. dense: synaptic operations of an "
        "execution in which every neuron sends and every weight counts; effective_macs and effective_acs: those of "
        "messages sent and weights that are not zero, on average. They are effective_acs where all messages that a "
        "connection got in the execution are -1, 0 or 1."
    ),
    "inferences": (
        "Inferences whose answer comes out within the run. The first meets a network at rest; those after it "
        "are the steady ones."
    ),
    "step": (
        "What the run's steps are: timestep; or frame, on a chip without timesteps: from its being fed until all is at "
        "rest. What is said of timesteps then holds for frames, which follow one another and never overlap."
    ),
    "startup": "Timesteps up to and with the one that completes the first inference's answer.",
    "interval": (
        "low and high take energy constants and powers at the ends of their ranges, times at their "
        "values. All stand at the same end, so the energy at these times is bounded from outside; a constant "
        "whose sources give no range counts as exact."
    ),
    "totals": "Layers, memories, network and per_timestep count all timesteps, start-up included.",
    "binding": (
        "The resource with the largest part of a timestep's critical path, the chain of what its end waited for "
        "back to its start. Link: waits for other packets, slots and credits; flight: the way through an empty "
        "network; injection and ejection: flits leave or reach a core one by one. On processors, interrupt: a CPU "
        "takes packets; row: set-ups of transfers and the work on rows; row transfer: a row comes from the tile's "
        "memory; memory wait: that memory is busy with other rows. Tick wait: all is done and the next tick is waited "
        "for, or a core waits for its timer. A path is as long as its timestep, or, where work is late, as the work."
    ),
    "messages": (
        "How messages with a value were sent: graded, one packet a destination; units, as |d| unit spikes; split, in "
        "packets of a payload each. Both accountings stand here whichever way it was, of layers whose messages go to "
        "others: graded_synops, one for each message and synapse, and unit_adds, |d| for each; of messages and of "
        "unit_spikes, the sum of |d|. sends: how often cores sent for a message to each of its destinations."
    ),
    "hops": "The links between routers that packets cross, booked to the layer that sent them.",
    "copies": "Messages that packets bring to cores: one a packet, more where packets branch on their way.",
    "incidents": (
        "late_timesteps: timesteps whose work went beyond their timer's period, late_most_ps by how much at most; "
        "late_sweeps and late_messages: sweeps, and messages to be worked in, that were not done by then. dropped: "
        "messages, counted by the cores that should have got them, that routers gave up; lost: messages that found "
        "no place in a core's buffer; both of messages_due. detours: flits sent on a way round a blocked link; "
        "reinjected: flits that were given up and sent again. stretched_timesteps: timesteps for which a tick waited. "
        "The values computed, counts and energies take all messages as delivered, in time. Where timesteps are timed "
        "together because work goes on from one into the next, detours and reinjected stand with the first of them."
    ),
    "routing_tables": (
        "The router with the most entries. entries_full: one for every core whose packets pass; entries_default: the "
        "same without those that packets need that go straight on; entries_minimised: what is left after minimising, "
        "and must not be more than entries_limit."
    ),
    "provenance": (
        "Shares of the energy per inference, or of the run where it holds no steady inference, by the kind "
        "of the constant that each part rests on. Idle energy is booked to the kinds of its powers; the "
        "time that it is multiplied with rests on the chip's time constants, whose kinds are not counted here."
    ),
    "memories": (
        "Words and bytes are the accesses to each memory. energy_j is the energy of the stage that uses the "
        "memory, its accesses included, not of the accesses alone; null where no constant is booked to the memory."
    ),
    "repeating": (
        "The same version, model, chip, settings, seed, options, input, timesteps and steps_per_inference give the "
        "same numbers. The hashes are SHA-256: of the model's and the input's file, and of the chip after extends "
        "and settings as canonical JSON. What is not known, as when frames came as an array, is null."
    ),
}
"""A sentence or two for each number that could be taken for another."""


def summarise(
    result: Result,
    notes: Iterable[str] = (),
    settings: Mapping[str, str] | None = None,
    origin: Origin | None = None,
) -> dict[str, Any]:
    """Return the summary of a run as plain values: dict, list, str, int, float, None.

    Parameters
    ----------
    result
        The run.
    notes
        Sentences for the reader, put before the run's own.
    settings
        Values that were put in place of the chip file's, by dotted key; None to take those quantities of
        the chip that say so themselves.
    origin
        The files behind the run; None where they are not known.
    """
    origin = origin or Origin()
    window, inference, run = result.window, result.energy_inference, result.energy_run
    energy = inference or run
    return {
        "schema": SCHEMA,
        "version": neurosim.__version__,
        "model": result.network.name,
        "chip": result.chip.name,
        "model_sha256": origin.model_sha256,
        "chip_sha256": chip_sha256(result.chip),
        "input": {
            "file": origin.input_file,
            "sha256": origin.input_sha256,
            "frames": int(result.frames),
            "layout": origin.input_layout,
        },
        "options": reader_options(result.network),
        "seed": int(result.program.seed),
        "settings": _settings(result.chip) if settings is None else dict(settings),
        "step": result.program.step_name,
        "timesteps": int(result.timesteps),
        "steps_per_inference": int(window.steps_per_inference),
        "inferences": int(window.inferences),
        "inferences_steady": int(window.steady),
        "startup_timesteps": int(window.startup_timesteps),
        "energy_per_inference_j": None if inference is None else _energy(inference),
        "energy_run_j": _energy(run),
        "power_w": _powers(energy),
        "included": included(result),
        "latency_per_inference_s": result.latency_inference_s,
        "throughput_inferences_per_s": result.throughput_inferences_per_s,
        "energy_delay_product_js": _ends(result.energy_delay_js),
        "timestep_s": _timestep(result),
        "layers": _layers(result),
        "memories": [_memory(memory) for memory in result.memories],
        "network": _network(result),
        "routing_tables": fullest_router(result.program),
        "incidents": _incidents(result),
        "energy_terms": _terms(result),
        "provenance": {kind: float(share) for kind, share in energy.provenance.items()},
        "neurobench": asdict(neurobench(result.counts)),
        "messages": {"sent_as": result.program.messages, "accountings": result.accountings},
        "per_timestep": _per_timestep(result),
        "fidelity": result.counts.fidelity,
        "fidelity_error": _fidelity_error(result),
        "warnings": list(result.warnings),
        "notes": [
            *result.warnings,
            *(() if result.window_note is None else (result.window_note,)),
            *(() if result.messages_note is None else (result.messages_note,)),
            *notes,
            *result.notes,
            *gap_sentences(result),
            *_shortage(result),
            *_left_over(result),
        ],
        "gaps": list(result.chip.gaps),
        "meanings": dict(MEANINGS),
    }


def write_summary(summary: Mapping[str, Any], path: str | Path) -> None:
    """Write a summary as JSON; equal summaries give equal bytes.

    Parameters
    ----------
    summary
        From `summarise`.
    path
        Written whole or not at all; its folder must exist.

    Raises
    ------
    InputError
        The folder does not exist or cannot be written.
    ValueError
        A number is not finite.
    """
    text = json.dumps(summary, indent=1, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as part:
        part.write_text(text + "\n", encoding="utf-8", newline="\n")


def _settings(chip: Chip) -> dict[str, str]:
    return {key: quantity.text for key, quantity in chip.quantities() if quantity.source == SET_BY_USER}


def _energy(energy: Energy) -> dict[str, float]:
    total = energy.total_j
    return {
        "value": float(total.value),
        "low": float(total.low),
        "high": float(total.high),
        "dynamic": float(energy.dynamic_j.value),
        "idle": float(energy.idle_j.value),
        "static": float(energy.static_j.value),
    }


def _powers(energy: Energy) -> dict[str, Any] | None:
    powers_w = energy.powers_w
    if powers_w is None:
        return None
    return {
        name: {"value": float(power.value), "low": float(power.low), "high": float(power.high)}
        for name, power in powers_w.items()
    }


def _timestep(result: Result) -> dict[str, Any]:
    each_ps, period = result.counts.duration_ps.tolist(), result.chip.sync.period
    # Divided and not multiplied by 1e-12: the quotient of two exact numbers is the nearest float.
    return {
        "mean": sum(each_ps) / len(each_ps) / PS_PER_S,
        "min": min(each_ps) / PS_PER_S,
        "max": max(each_ps) / PS_PER_S,
        "steady_mean": result.timestep_mean_s,
        "period": None if period is None else period.value / PS_PER_S,
        "each": [ps / PS_PER_S for ps in each_ps],
    }


def _layers(result: Result) -> list[dict[str, Any]]:
    c = LayerCount
    cores = np.bincount(result.program.core_layer, minlength=len(result.network.layers))
    energy_j = result.energy_run.layer_dynamic_j
    totals = {
        "messages": result.layer_total(c.MESSAGES),
        "synops": result.layer_total(c.SYNOPS),
        "synops_nonzero": result.layer_total(c.SYNOPS_NONZERO),
        "neuron_updates": result.layer_total(c.UPDATES_ACTIVE) + result.layer_total(c.UPDATES_INACTIVE),
        "packets": result.layer_total(c.PACKETS),
        "copies": result.layer_total(c.COPIES),
        "hops": result.layer_total(c.HOPS),
    }
    return [
        {
            "name": layer.name,
            "neurons": layer.size,
            "cores": int(cores[i]),
            **{name: int(values[i]) for name, values in totals.items()},
            "energy_j": float(energy_j[i]),
        }
        for i, layer in enumerate(result.network.layers)
    ]


def _memory(memory: Any) -> dict[str, Any]:
    return {
        "name": memory.name,
        "words_read": int(memory.words_read),
        "words_written": int(memory.words_written),
        "bytes_read": int(memory.bytes_read),
        "bytes_written": int(memory.bytes_written),
        "energy_j": memory.energy_j,
    }


def _network(result: Result) -> dict[str, Any]:
    c = LayerCount
    return {
        "packets": int(result.layer_total(c.PACKETS).sum()),
        "copies": int(result.layer_total(c.COPIES).sum()),
        "flits": int(result.layer_total(c.FLITS).sum()),
        "hops": int(result.layer_total(c.HOPS).sum()),
        "peak_link_utilisation": float(result.peak_link_utilisation),
    }


def _incidents(result: Result) -> dict[str, int]:
    incidents = result.incidents
    counts = (count for count in StepCount if count != StepCount.LATE_PS)
    return {
        "messages_due": incidents.messages_due,
        "late_timesteps": incidents.late_timesteps,
        "late_most_ps": incidents.late_most_ps,
        **{count.name.lower(): incidents.total(count) for count in counts},
        "stretched_timesteps": int(np.count_nonzero(incidents.stretched)),
    }


def _terms(result: Result) -> list[dict[str, Any]]:
    """Return every part of the energy, static power last; per inference where the run holds a steady one.

    Events have numbers, powers have seconds: those of all chips or cores that take them, added up.
    """
    run, inference = result.energy_run, result.energy_inference
    out = []
    for i, term in enumerate(run.terms):
        one = None if inference is None else inference.terms[i]
        total, each = float(term.counts.sum()), None if one is None else float(one.counts.sum())
        out.append(
            {
                "key": term.key,
                "kind": term.kind,
                "source": term.source,
                "events_per_inference": None if term.timed else each,
                "seconds_per_inference": each if term.timed else None,
                **_span(None if one is None else one.energy_j),
                "events_run": None if term.timed else int(total),
                "seconds_run": total if term.timed else None,
                "energy_run_j": float(term.energy_j.value),
            }
        )
    for i, power in enumerate(run.powers):
        held = None if inference is None else inference.powers[i]
        out.append(
            {
                "key": power.key,
                "kind": power.kind,
                "source": power.source,
                "events_per_inference": None,
                "seconds_per_inference": None if held is None else held.parts * held.seconds,
                **_span(None if held is None else held.energy_j),
                "events_run": None,
                "seconds_run": power.parts * power.seconds,
                "energy_run_j": float(power.energy_j.value),
            }
        )
    return out


def _span(interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {"energy_j": None, "low": None, "high": None}
    return {"energy_j": float(interval.value), "low": float(interval.low), "high": float(interval.high)}


def _per_timestep(result: Result) -> dict[str, Any]:
    counts = {
        "messages": LayerCount.MESSAGES,
        "synops": LayerCount.SYNOPS,
        "synops_nonzero": LayerCount.SYNOPS_NONZERO,
    }
    path_ps = result.counts.path_ps
    bound = [binding(row) for row in path_ps]
    by_layer = {
        name: {
            layer.name: result.counts.layer_counts[:, i, count].tolist()
            for i, layer in enumerate(result.network.layers)
        }
        for name, count in counts.items()
    }
    return {
        **by_layer,
        "binding": [None if resource is None else resource.label for resource in bound],
        "critical_path_ps": {resource.label: path_ps[:, resource].tolist() for resource in Resource},
        **{count.name.lower(): result.incidents.each(count).tolist() for count in StepCount},
    }


def _fidelity_error(result: Result) -> dict[str, Any] | None:
    error = result.fidelity_error
    if error is None:
        return None
    return {"timesteps": list(result.counts.checked_steps), "mean": error[0], "max": error[1]}


def _ends(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"value": float(interval.value), "low": float(interval.low), "high": float(interval.high)}


def _left_over(result: Result) -> list[str]:
    """Say which frames fill no inference; a single one is meant to be held."""
    k, inferences, frames = result.window.steps_per_inference, result.window.inferences, result.frames
    left = frames % k
    if frames < 2 or not left or not inferences:
        return []
    step = result.program.step_name
    if inferences > frames // k:
        return [f"the last inference has {left} of {k} frames; the last one is held for its other {step}s"]
    if inferences < frames // k:
        return []
    which = f"the last of {frames} frames fills" if left == 1 else f"the last {left} of {frames} frames fill"
    return [f"{which} no inference of {k} {step}s: they count in figures of the run, in none per inference"]


def _shortage(result: Result) -> list[str]:
    """Say what a run lacks to hold a steady inference."""
    window = result.window
    if window.steady:
        return []
    k = window.steps_per_inference
    needed = k + window.startup_timesteps
    if result.timesteps < needed:
        why = f"its answer needs {needed} {result.program.step_name}s, the run has {result.timesteps}"
    else:
        why = f"it begins with frame {k + 1}, and {result.frames} were given"
    return [f"no energy, latency and throughput per inference: they are taken from the second inference on, and {why}"]
