"""V1: PilotNet of leaky neurons on Loihi 2, as Intel measured it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurosim import api
from neurosim.costs import Result
from neurosim.engine import LayerCount
from neurosim.formats import read_netx
from neurosim.silicon.case import NONE, TEST, WEAK, Case, Row, point

FOLDER = "pilotnet_lif_66x200"
STEPS_PER_INFERENCE = 16
RESET_OFFSET = 3
MEASURED_STEP_US = (201.0, 107.0, 181.0, 125.0)
# The four phases that these steps belong to, named by the non-zero synops that conv2's spikes cause.
PHASE_SYNOPS = (585_312, 318_528, 531_552, 373_128)
# Non-zero synops and spikes a step of each layer, counted by an independent emulation.
EMULATED_SYNOPS = {"conv1": 1_604_873, "conv2": 452_130, "conv3": 144_599, "conv4": 63_890}
EMULATED_SPIKES = {"conv1": 26_928, "conv2": 6_248, "conv3": 840, "conv4": 433, "conv5": 146}
MEASURED_SYNOPS = 2.288e6
MEASURED_DYNAMIC_J, MEASURED_TOTAL_J = 1.094e-3, 1.661e-3
MEASURED_INFERENCES_PER_S = 408.91
PUBLISHED_CORES = {"input": 13, "conv1": 25, "conv2": 13, "conv3": 3, "conv4": 3, "conv5": 2}


def simulate(reference: Path) -> Result:
    """Run the published network without input spikes for twelve inferences of 16 timesteps."""
    network = read_netx(
        reference / FOLDER / "network.net", reset_interval=STEPS_PER_INFERENCE, reset_offset=RESET_OFFSET
    )
    program = api.compile(network, "loihi2")
    frames = np.zeros((1, network.layers[0].size), dtype=np.int32)
    return api.simulate(program, frames, steps=12 * STEPS_PER_INFERENCE, steps_per_inference=STEPS_PER_INFERENCE)


def steady(result: Result, count: LayerCount) -> dict[str, float]:
    """Return the mean per timestep of one count of each layer, over whole cycles of the reset."""
    last = result.timesteps - 6 * STEPS_PER_INFERENCE
    means: NDArray[np.float64] = result.counts.layer_counts[last:, :, count].mean(axis=0)
    return dict(zip((layer.name for layer in result.network.layers), means.tolist(), strict=True))


def phase_steps_us(result: Result) -> list[float]:
    """Return the mean length of a timestep in each of the four phases, in us."""
    caused = result.counts.layer_counts[:, result.network.index["conv2"], LayerCount.SYNOPS_NONZERO]
    lengths = []
    for synops in PHASE_SYNOPS:
        steps = np.flatnonzero(caused == synops)
        steps = steps[steps >= 4 * STEPS_PER_INFERENCE]
        lengths.append(float(result.counts.duration_ps[steps].mean()) * 1e-6)
    return lengths


def rows(result: Result) -> list[Row]:
    """Return the rows of a run."""
    synops, spikes = steady(result, LayerCount.SYNOPS_NONZERO), steady(result, LayerCount.MESSAGES)
    emulation = "an independent emulation"
    found = [
        Row("non-zero synops a step", point(sum(synops.values()) * 1e-6), MEASURED_SYNOPS * 1e-6, "M", "measured", TEST,
            "the measured figure is read off a plot", 0.01),
        *(Row(f"synops a step by {name}", point(synops[name]), value, "", "derived", TEST, emulation, 0.5 / value)
          for name, value in EMULATED_SYNOPS.items()),
        *(Row(f"spikes a step of {name}", point(spikes[name]), value, "", "derived", TEST, emulation, 0.5 / value)
          for name, value in EMULATED_SPIKES.items()),
    ]  # fmt: skip
    layers = [result.network.layers[part.layer].name for part in result.program.slices]
    found += [
        Row(
            f"cores of {name}",
            point(layers.count(name)),
            value,
            "",
            "measured",
            WEAK,
            "the rule of 3,584 neurons a core came from these tables",
            0.0,
        )
        for name, value in PUBLISHED_CORES.items()
    ]
    derived = "the time a synop was derived from it"
    for i, (length, measured) in enumerate(zip(phase_steps_us(result), MEASURED_STEP_US, strict=True)):
        evidence, note = (NONE, derived) if i in (0, 2) else (TEST, "a miss, see below")
        found.append(Row(f"timestep, phase {i + 1}", point(length), measured, "us", "measured", evidence, note, 0.25))
    rate, energy = result.throughput_inferences_per_s, result.energy_inference
    assert rate is not None
    assert energy is not None
    static = result.chip.power.static.value
    found += [
        Row("inferences a second", point(rate), MEASURED_INFERENCES_PER_S, "", "measured", NONE,
            "half of its steps fixed the time a synop; too low by the short phases", 0.25),
        Row("dynamic energy an inference", energy.dynamic_j.scaled(1e3), MEASURED_DYNAMIC_J * 1e3, "mJ", "measured",
            NONE, "the energy a synop was derived from it", 0.12),
        Row("static power", point(static), 0.232, "W", "measured", NONE, "it is this measurement", 0.12),
        Row("energy an inference", energy.total_j.scaled(1e3), MEASURED_TOTAL_J * 1e3, "mJ", "measured", NONE,
            "dynamic energy and power are from here; long by the miss in time", 0.12),
    ]  # fmt: skip
    return found


def _run(reference: Path | None) -> list[Row]:
    assert reference is not None
    return rows(simulate(reference))


CASE = Case(
    "V1",
    "Loihi 2, PilotNet of leaky neurons",
    "Intel, one Oheo Gulch chip: lava-dl, pilotnet_snn/benchmark.ipynb (commit d825ac5).",
    "The published network, 16 timesteps a frame, no input spikes: layer conv1 fires from its biases, as in the "
    "recorded run.",
    "The time a synop came from phases 1 and 3, the energy a synop from the dynamic energy, the static power from the "
    "static power. Synops, spikes and the short phases fixed nothing.",
    _run,
    reference=True,
    remarks=(
        "Targets are what the nearest peer, SANA-FE, reports for Loihi: 12 % of energy and 25 % of time. They "
        "were set after these rows were known. With one fitted constant 1 to 3 % of step time can be asked for, and no "
        "phase meets that.",
        "**The misses.** The published step time follows the synops of conv3's three cores at 1.055 ns a synop, with a "
        "fixed term of -5 us in the fit that has no counterpart in the model. In the two short phases conv1 sends "
        "31,680 spikes instead of 22,176. Conv2's cores then have 153,600 synops each, which at the same 1.055 ns take "
        "162 us: longer than the whole measured step of 107 us or 125 us. The measurement therefore says that a synop "
        "of conv2 takes 0.70 ns or less where one of conv3 takes 1.03 ns, or that conv1's and conv2's phases stand one "
        "timestep apart on the chip from where they stand in the network's arithmetic; it does not say which, and no "
        "published constant tells them apart. A constant fitted to close the gap would be fitted to this very table, "
        "so there is none.",
        "**The queue.** `core.axon_in.queue` of `loihi2` is derived from the absence of a fixed term: with queues of "
        "16 flits, conv3's cores starve behind packets for other cores and the four steps come out at 265, 165, 241 "
        "and 177 us.",
    ),
)
