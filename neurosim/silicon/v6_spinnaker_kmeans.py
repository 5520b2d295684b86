"""V6: the K-means network of Liu et al. 2016 on SpiNNaker, power against synaptic events."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from hwmodels import load_chip
from neurosim import api
from neurosim.costs import Interval, Result
from neurosim.engine import LayerCount
from neurosim.network import Connection, CubaLif, Dense, Layer, Network
from neurosim.silicon.case import NONE, TEST, WEAK, Case, Row, point
from neurosim.silicon.imposed import imposed_layer, poisson, pushes

PIXELS = 784
RATE_HZ = 5000.0
IMAGE_STEPS, BLANK_STEPS = 1000, 200
APPLICATION_CORES = 16
SCRIPT_NEURONS = 127
"""Neurons a core that the later version of the authors' script sets; the earlier sets none."""

# Templates a digit -> synaptic events a second and W: Liu et al. 2016, table of NEST and SpiNNaker.
PUBLISHED = {
    1: (83_691.48, 0.38),
    10: (835_274.98, 0.38),
    50: (4_173_392.03, 0.41),
    100: (8_343_559.69, 0.44),
    1000: (83_385_785.67, 1.50),
}


def kmeans_network(templates: int, random: np.random.Generator) -> Network:
    """Return 784 input neurons, fully connected twice, by excitation and inhibition, to 10 decisions a template.

    A pixel inside a neuron's template excites it and one outside inhibits it. The software keeps the other half of both
    connections as synapses of weight zero and works on them alike; a stored zero would be left out of a sparse row
    here, so the smallest weight stands for it.
    """
    neurons = 10 * templates
    inside = random.random((neurons, PIXELS)) < 0.2
    strength = random.integers(40, 120, (neurons, PIXELS), dtype=np.int32)
    excitation = np.where(inside, strength, np.int32(1))
    inhibition = np.where(inside, np.int32(-1), np.int32(-12))
    decay_1_ms, decay_20_ms = (round(4096 * (1 - math.exp(-1.0 / tau))) for tau in (1.0, 20.0))
    decisions = Layer("decisions", (neurons,), CubaLif(decay_1_ms, decay_20_ms, threshold=60_000))
    return Network(
        [imposed_layer("pixels", PIXELS), decisions],
        [Connection(("pixels",), "decisions", Dense(weights)) for weights in (excitation, inhibition)],
        f"K-means, {templates} templates a digit",
    )


def digit(random: np.random.Generator) -> np.ndarray:
    """Return the frames of one image and the blank after it: Poisson spikes of 5,000 Hz over about 150 pixels."""
    intensity = np.where(random.random(PIXELS) < 0.19, random.random(PIXELS), 0.0)
    spikes = poisson(random, RATE_HZ * intensity / intensity.sum(), IMAGE_STEPS)
    return pushes(np.concatenate([spikes, np.zeros((BLANK_STEPS, PIXELS), dtype=bool)]))


def chips_used(templates: int, neurons_a_core: int) -> tuple[int, int]:
    """Return cores and chips: of both populations, and one core that plays the spike trains to the inputs."""
    cores = -(-PIXELS // neurons_a_core) - (-10 * templates // neurons_a_core) + 1
    return cores, -(-cores // APPLICATION_CORES)


def run_network(templates: int, neurons_a_core: int) -> Result:
    """Simulate one digit of 1.2 s with as many chips as the cores need, all of them metered."""
    random = np.random.default_rng(2016)
    network = kmeans_network(templates, random)
    _, chips = chips_used(templates, neurons_a_core)
    chip = load_chip(
        "spinnaker",
        {"chips.columns": str(chips), "core.neurons_usable": str(neurons_a_core)},
    )
    frames = digit(random)
    program = api.compile(network, chip)
    return api.simulate(program, {"pixels": frames}, steps=len(frames), steps_per_inference=len(frames))


def mean_power(result: Result) -> Interval:
    """Return the mean power over the run, in W."""
    powers = result.energy_run.powers_w
    assert powers is not None
    return powers["active"]


def _power_row(result: Result, templates: int, neurons: int, evidence: str, note: str) -> Row:
    cores, chips = chips_used(templates, neurons)
    late = result.incidents.late_timesteps
    words = f"{late} of {result.timesteps:,} ticks late" if late else "no tick late"
    where = f"{neurons} neurons a core, {cores} cores, {chips} chip{'s' if chips > 1 else ''}, {words}"
    return Row(
        f"power, K = {templates} ({where})",
        mean_power(result),
        PUBLISHED[templates][1],
        "W",
        "measured",
        evidence,
        note,
        target=0.10,
    )


def _events_row(result: Result, templates: int) -> Row:
    pixels = result.network.index["pixels"]
    seconds = result.energy_run.seconds
    events = float(result.layer_total(LayerCount.SYNOPS)[pixels]) / seconds
    note = "the input rate is the published one and one digit is drawn; the figure holds the decisions' spikes too"
    return Row(
        f"synaptic events, K = {templates}",
        point(events * 1e-6),
        PUBLISHED[templates][0] * 1e-6,
        "M/s",
        "derived",
        NONE,
        note,
    )


# Other mappings of the largest network: neurons a core -> why the row stands here, and proves little.
OTHER_MAPPINGS = {
    255: "another mapping, the default, which an earlier version of the script leaves: a miss too",
    512: "another mapping: nothing says that it was used, and its ticks are late here",
}


def _run(_: Path | None) -> list[Row]:
    rows = []
    for templates in PUBLISHED:
        result = run_network(templates, SCRIPT_NEURONS)
        notes = [] if templates in FOUND_LATER else ["known when the chip was described"]
        notes += ["a miss, see below"] if templates == 1000 else []
        evidence = TEST if templates in FOUND_LATER else WEAK
        power = _power_row(result, templates, SCRIPT_NEURONS, evidence, "; ".join(notes))
        rows += [power, _events_row(result, templates)]
    for neurons, note in OTHER_MAPPINGS.items():
        rows.append(_power_row(run_network(1000, neurons), 1000, neurons, WEAK, note))
    return rows


_MEASURED = (
    "Liu, Pineda-García, Stromatias, Serrano-Gotarredona and Furber 2016, Front. Neurosci. 10:496, table of NEST and "
    "SpiNNaker; text and scripts as in qian-liu/benchmarking (commit c5ad555 for the text, a2ab99c for "
    "code/case_study_1/test_mnist.py). A 48-chip board with pins to measure at; only the active chips are counted. "
    "10,000 digits, 12,000 s in real time."
)
_WORKLOAD = (
    "The network of the authors' script: 784 input neurons, which fire what spike trains of 5,000 Hz in all tell them "
    "to, are connected to K x 10 leaky neurons twice, by an excitatory and by an inhibitory connection, so that a "
    "spike meets 2 x 10 K synapses: that is how the published numbers of events come about. One digit of 1 s and the "
    "blank of 0.2 s after it, in ticks of 1 ms, with packets by multicast and rows from the shared memory. Images and "
    "weights are drawn; neither changes what is counted. The core that plays the spike trains is counted as a core, "
    "and its work, some 0.1 mW, is left out."
)
FOUND_LATER = (10, 100)
"""Templates of the rows that nobody here had seen when the chip was described."""

_FIXED = (
    "8 nJ an event (Stromatias et al. 2013), 26 nJ a neuron and millisecond (Höppner et al. 2019), 0.35 W an idle chip "
    "(SpiNNMachine) fixed the constants; no row of this table did, though K = 1, 50 and 1000 were known when the chip "
    "was described. SpiNNMachine's 34 mW an active core is paid during interrupts and set-ups alone, below 0.5 mW, "
    "because the energies of events and neurons are taken to hold the rest; paid by every core in use all the time, "
    "K = 1 would be about 0.68 W, and a miss. K = 10 and K = 100 were found after the constants stood. "
    "The mapping, 127 neurons a core, is that of the later version of the authors' script."
)

CASE = Case(
    "V6",
    "SpiNNaker, K-means on digits",
    _MEASURED,
    _WORKLOAD,
    _FIXED,
    _run,
    remarks=(
        "**The miss.** 10,784 neurons at 127 a core fill 87 cores of six chips, and six idle chips of 0.35 W are 2.1 W "
        "before anything happens: more than the whole 1.50 W. The default of "
        "255, which an earlier version of the script (case_study_I, commit 4ffb5ef) leaves as it is, takes three chips "
        "and misses too. So either this run was mapped otherwise than the scripts say, or active chips were metered "
        "otherwise than by adding up whole chips; the publication says neither. "
        "Beside the 0.67 W of its events and 0.28 W of its neurons the measurement leaves room for one or two idle "
        "chips. The networks of up to 1,784 neurons fit one chip under every mapping shown, and do not depend on it. "
        "Two other mappings of the large one stand beside the script's; none is chosen by its error, and the row that "
        "counts is the later script's.",
    ),
)
