"""The result of a run: energy, latency, throughput and traffic, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import MEMORIES, Program
from neurosim.compiler.topology import chip_topology, link_classes
from neurosim.costs.audit import audit_counts, audit_sum
from neurosim.costs.energy import Energy, Interval, dynamic_terms, power_terms
from neurosim.costs.incidents import Incidents
from neurosim.costs.window import Window, find_window
from neurosim.engine import LayerCount, RunCounts
from neurosim.errors import InputError

IntArray = NDArray[np.int64]

PICO = 1e-12


@dataclass(frozen=True)
class MemoryTraffic:
    """Accesses to one kind of memory, over all cores and timesteps.

    Attributes
    ----------
    name
        One of `MEMORIES`.
    words_read, words_written
        Words.
    word_bits
        Width of a word.
    energy_j
        Energy of the stage that uses the memory, its accesses included, where the chip has a constant for
        it; None where the constant of another stage includes it.
    """

    name: str
    words_read: int
    words_written: int
    word_bits: int
    energy_j: float | None

    @property
    def bytes_read(self) -> int:
        """Bytes read, whole words."""
        return self.words_read * self.word_bits // 8

    @property
    def bytes_written(self) -> int:
        """Bytes written, whole words."""
        return self.words_written * self.word_bits // 8


class Result:
    """What a run cost.

    Parameters
    ----------
    counts
        What was counted and timed.
    frames
        Number of frames fed.
    steps_per_inference
        Timesteps that one inference takes in.
    notes
        Sentences that a reader of the numbers must know.

    Raises
    ------
    AuditError
        A conservation law does not hold.
    InputError
        steps_per_inference is less than 1.
    """

    def __init__(
        self, counts: RunCounts, frames: int, steps_per_inference: int = 1, notes: tuple[str, ...] = ()
    ) -> None:
        if steps_per_inference < 1:
            raise InputError(f"steps per inference is {steps_per_inference}; it must be 1 or more")
        self.counts = counts
        self.program: Program = counts.program
        self.network, self.chip = counts.program.network, counts.program.chip
        self.window: Window = find_window(self.program, counts.timesteps, frames, steps_per_inference)
        self.frames = frames
        self.notes = notes
        audit_counts(counts)
        self._audit_energy()

    def __repr__(self) -> str:
        energy = self.energy_inference
        cost = "no steady inference" if energy is None else f"{energy.total_j.value:.4g} J per inference"
        return f"<Result {self.network.name} on {self.chip.name}: {self.timesteps} {self.program.step_name}s, {cost}>"

    def _audit_energy(self) -> None:
        # The total adds up terms; the layers' parts are added up apart from it.
        energy = self.energy_run
        parts = [*energy.layer_dynamic_j.tolist(), *(term.energy_j.value for term in energy.powers)]
        audit_sum("energy of the run by layer", energy.total_j.value, parts)

    @property
    def fidelity_error(self) -> tuple[float, float] | None:
        """Mean and largest relative error of the length of the timesteps that were checked at cycle level.

        None where none were.
        """
        counts = self.counts
        if not counts.checked_steps:
            return None
        found = counts.duration_ps[np.array(counts.checked_steps) - 1]
        errors = np.abs(found - counts.checked_ps) / np.maximum(counts.checked_ps, 1)
        return float(errors.mean()), float(errors.max())

    @property
    def fidelity_note(self) -> str | None:
        """Sentence that a reader of a run of fast fidelity must see; None for cycle level."""
        if self.counts.fidelity == "cycle":
            return None
        said = "timed at fast fidelity: links are queues that never block, so times are approximate"
        error = self.fidelity_error
        if error is None:
            return f"{said}; their error was not measured (check it with --check-fidelity N)"
        steps = len(self.counts.checked_steps)
        return (
            f"{said}; over {steps} of {self.timesteps} timesteps, timed at cycle level too, their error is "
            f"{error[0]:.2%} on average and {error[1]:.2%} at most"
        )

    @cached_property
    def incidents(self) -> Incidents:
        """What went wrong in the run, where the chip lets it: late timesteps, messages dropped and lost."""
        return Incidents(self.counts)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences without which the numbers mislead: on approximate times, late work, messages that never came."""
        fidelity = self.fidelity_note
        return (*(() if fidelity is None else (fidelity,)), *self.incidents.sentences)

    @property
    def window_note(self) -> str | None:
        """Sentence on runs too short for a full pipeline; None where all layers were at work at once."""
        window = self.window
        if not window.steady or window.full:
            return None
        k = window.steps_per_inference
        needed = -(-(k + self.program.depth_timesteps) // k) * k
        return (
            "the run is too short for every layer to work on a steady inference at once: timestep length, latency, "
            "throughput and static energy include timesteps that fill or empty the pipeline; feed "
            f"{needed} timesteps or more"
        )

    @property
    def timesteps(self) -> int:
        """Number of timesteps."""
        return self.counts.timesteps

    @cached_property
    def _stateful(self) -> NDArray[np.bool_]:
        return np.array([bool(layer.unit.state_names) for layer in self.network.layers])

    @cached_property
    def energy_run(self) -> Energy:
        """Energy of all timesteps."""
        counts, busy_ps = self.counts.layer_counts.sum(axis=0), self.counts.busy_ps.sum(axis=0)
        terms = dynamic_terms(self.chip, counts, busy_ps, self._stateful, 1)
        return Energy(terms, power_terms(self.chip, self.program.cores, float(self.counts.duration_ps.sum()) * PICO))

    @cached_property
    def energy_inference(self) -> Energy | None:
        """Mean energy of a steady inference; None where the run holds none.

        Dynamic energy follows each inference from layer to layer. Idle powers are charged for the time
        in which one inference passes, the mean length of its timesteps.
        """
        window = self.window
        if not window.steady:
            return None
        spans = list(zip(window.layer_start, window.layer_stop, strict=True))
        counts, busy_ps = (
            np.array([each[a:b, i].sum(axis=0) for i, (a, b) in enumerate(spans)])
            for each in (self.counts.layer_counts, self.counts.busy_ps)
        )
        terms = dynamic_terms(self.chip, counts, busy_ps, self._stateful, window.steady)
        seconds = self.timestep_mean_s
        assert seconds is not None
        return Energy(terms, power_terms(self.chip, self.program.cores, seconds * window.steps_per_inference))

    @property
    def timestep_mean_s(self) -> float | None:
        """Mean length of a steady timestep in s."""
        window = self.window
        if not window.steady:
            return None
        return float(self.counts.duration_ps[window.time_start : window.time_stop].mean()) * PICO

    @property
    def latency_inference_s(self) -> float | None:
        """Mean time in s from the start of an inference to its answer.

        From the start of its first timestep to the end of the one that completes its answer, over the
        steady inferences whose timesteps all have every layer at work on a steady one. The others share
        timesteps with the start-up, or have none behind them. Where a run is too short for any such, all
        steady ones count.
        """
        window = self.window
        if not window.steady:
            return None
        ends = np.concatenate(([0], np.cumsum(self.counts.duration_ps)))
        k, reach = window.steps_per_inference, window.startup_timesteps
        first = np.arange(1, window.inferences) * k
        full = first[(first >= window.time_start) & (first + reach <= window.time_stop)]
        first = full if full.size else first
        return float((ends[first + reach] - ends[first]).mean()) * PICO

    @property
    def energy_delay_js(self) -> Interval | None:
        """Energy-delay product in J s: energy of a steady inference times its latency; None where there is none."""
        energy, latency_s = self.energy_inference, self.latency_inference_s
        return None if energy is None or latency_s is None else energy.total_j.scaled(latency_s)

    @property
    def throughput_inferences_per_s(self) -> float | None:
        """Inferences per second with the pipeline full: a new one enters every K timesteps.

        None where the run holds no steady inference, or where the chip's constants let one take no time.
        """
        mean = self.timestep_mean_s
        return None if not mean else 1.0 / (mean * self.window.steps_per_inference)

    def layer_total(self, count: LayerCount) -> IntArray:
        """Return one count of each layer over all timesteps, int64 (layers,)."""
        total: IntArray = self.counts.layer_counts[:, :, count].sum(axis=0)
        return total

    @cached_property
    def accountings(self) -> dict[str, dict[str, float] | None] | None:
        """What messages amount to in either accounting, however they were sent; None where none has a value.

        ``run`` and ``per_inference`` (a mean over the steady ones; None where there is none), of layers whose messages
        go to others: ``messages`` and ``graded_synops``, one for each message and synapse; ``unit_spikes`` and
        ``unit_adds``, |d| for each message and each of its synapses; ``sends``, how often cores sent for a message to
        each of its destinations.
        """
        network, c = self.network, LayerCount
        spans = list(pairwise(network.offsets.tolist()))
        going = np.array([bool(network.fan_out[0][a:b].any()) for a, b in spans])
        if not any(layer.unit.graded and goes for layer, goes in zip(network.layers, going, strict=True)):
            return None
        columns = {
            "messages": c.MESSAGES,
            "graded_synops": c.SYNOPS,
            "unit_spikes": c.UNIT_SPIKES,
            "unit_adds": c.UNIT_ADDS,
            "sends": c.SENDS,
        }
        window, counts = self.window, self.counts.layer_counts
        run = counts.sum(axis=0)[going].sum(axis=0)
        steady = zip(window.layer_start.tolist(), window.layer_stop.tolist(), strict=True)
        each = np.array([counts[a:b, i].sum(axis=0) for i, (a, b) in enumerate(steady)])[going].sum(axis=0)
        return {
            "run": {name: int(run[column]) for name, column in columns.items()},
            "per_inference": {name: float(each[column] / window.steady) for name, column in columns.items()}
            if window.steady
            else None,
        }

    @property
    def messages_note(self) -> str | None:
        """Sentence on messages that did not go whole; None where they did."""
        axons = {
            "units": "as |d| unit spikes each, by an axon for either sign, whose synapses are stored twice",
            "split": f"in packets of {self.chip.network.payload.value} bits, each of which reads its synapses anew",
        }
        said = axons.get(self.program.messages)
        return None if said is None else f"messages with a value went {said}; values are those of graded messages"

    @property
    def peak_link_utilisation(self) -> float:
        """Busy share of the busiest link between routers, over the run."""
        classes, _ = link_classes(self.chip, chip_topology(self.chip))
        slots_ps = {0: self.chip.network.link_interval.value, 1: self.chip.network.link_interval.value}
        if self.chip.chips is not None:
            slots_ps[2] = self.chip.chips.interval.value
        flits, total = self.counts.link_flits, float(self.counts.duration_ps.sum())
        busy = [float(flits[classes == number].max(initial=0)) * slot for number, slot in slots_ps.items()]
        return max(busy) / total if total else 0.0

    @cached_property
    def memories(self) -> tuple[MemoryTraffic, ...]:
        """Traffic of each kind of memory over all timesteps.

        Every synop reads and writes one accumulator; every update of a layer with inputs reads and
        clears one; every packet reads one entry of the axon-out table, and one of the axon-in table at each core
        that it reaches.
        """
        accesses = self._accesses(self.counts.layer_counts.sum(axis=0))
        out = []
        for name in MEMORIES:
            paid = [t.energy_j.value for t in self.energy_run.terms if t.memory == name]
            out.append(MemoryTraffic(name, *accesses[name], self._word_bits[name], float(sum(paid)) if paid else None))
        return tuple(out)

    @property
    def memory_bytes_inference(self) -> float | None:
        """Mean bytes that a steady inference reads from and writes to all memories; None where the run holds none."""
        if not self.window.steady:
            return None
        spans = zip(self.window.layer_start, self.window.layer_stop, strict=True)
        sums = np.array([self.counts.layer_counts[a:b, i].sum(axis=0) for i, (a, b) in enumerate(spans)])
        accesses = self._accesses(sums)
        bits = sum((read + written) * self._word_bits[name] for name, (read, written) in accesses.items())
        return bits / 8 / self.window.steady

    @cached_property
    def _word_bits(self) -> dict[str, int]:
        return {name: int(getattr(self.chip.core.memories, name).word.value) for name in MEMORIES}

    def _accesses(self, sums: IntArray) -> dict[str, tuple[int, int]]:
        """Return the words read and written in each kind of memory, for int64 (layers, LAYER_COUNTS)."""
        core, c = self.chip.core, LayerCount
        fed = np.array([any(k.target == layer.name for k in self.network.connections) for layer in self.network.layers])
        synops = int(sums[:, [c.CHARGED_DENSE, c.CHARGED_SPARSE, c.CHARGED_CONV]].sum())
        swept = int(sums[fed][:, [c.UPDATES_ACTIVE, c.UPDATES_INACTIVE]].sum())
        packets, copies = (int(sums[:, count].sum()) for count in (c.PACKETS, c.COPIES))
        words = self._word_bits
        entry_in = -(-int(core.axon_in_entry_bits.value) // words["axon_in"])
        entry_out = -(-int(core.axon_out_entry_bits.value) // words["axon_out"])
        return {
            "synapse": (int(sums[:, c.SYNAPSE_WORDS].sum()), 0),
            "neuron_state": (
                int(sums[:, c.STATE_WORDS_READ].sum()),
                int(sums[:, c.STATE_WORDS_WRITTEN].sum()),
            ),
            "accumulator": (synops + swept, synops + swept),
            "axon_in": (copies * entry_in, 0),
            "axon_out": (packets * entry_out, 0),
        }
