"""V2: PilotNet of sigma-delta neurons on Loihi 2: counts, whose input was other footage."""

from __future__ import annotations

from pathlib import Path

from neurosim import api
from neurosim.costs import Interval, Result, baseline_cost
from neurosim.engine import CoreCount, LayerCount
from neurosim.formats import read_netx
from neurosim.silicon.case import NONE, TEST, WEAK, Case, Row, point

FOLDER = "pilotnet_sdnn_66x200"
STEPS = 74
PUBLISHED_CORES = {"conv1": 25, "conv2": 13, "conv3": 3, "conv4": 3, "conv5": 2}


def _per_inference(result: Result, *counts: LayerCount) -> float:
    window = result.window
    spans = zip(window.layer_start, window.layer_stop, strict=True)
    chosen = list(counts)
    total = sum(int(result.counts.layer_counts[a:b, i][:, chosen].sum()) for i, (a, b) in enumerate(spans))
    return total / window.steady


def _run(reference: Path | None) -> list[Row]:
    assert reference is not None
    place = reference / FOLDER
    network = read_netx(place / "network.net")
    result = api.simulate(api.compile(network, "loihi2"), place / "frames_drive.npz", steps=STEPS)
    names = [layer.name for layer in network.layers]
    inputs = {layer.name for layer in network.inputs}
    updates = _per_inference(result, LayerCount.UPDATES_ACTIVE, LayerCount.UPDATES_INACTIVE)
    # The published run had its input layer on the host.
    updates -= sum(layer.size for layer in network.layers if layer.name in inputs)
    synops = _per_inference(result, LayerCount.SYNOPS_NONZERO)
    # Of the whole run, its dense first frame too, by its frames, as the published sum over 2,000 frames.
    most = float(result.counts.core_counts[:, CoreCount.SYNOPS_CHARGED].max()) / result.frames
    layers = [names[part.layer] for part in result.program.slices]
    slots = sum(part.neuron_slots for part in result.program.slices if names[part.layer] not in inputs)
    macs = baseline_cost(network, "cpu").macs
    other = "other footage: a drive of 64 frames, not the 2,000 of the measurement; the counter may also count twice"
    return [
        Row("MACs of the dense network", point(macs * 1e-6), 14.5, "M", "derived", TEST, "the geometry alone", 0.01),
        *(
            Row(f"cores of {name}", point(layers.count(name)), value, "", "measured", WEAK,
                "the rule of 3,584 neurons a core came from these tables", 0.0)
            for name, value in PUBLISHED_CORES.items()
        ),
        Row("neuron updates a frame", point(updates * 1e-3), 124.0, "k", "measured", TEST,
            "a miss: the chip updates the slots of patches that overhang the image too, see the next row", 0.02),
        Row("neuron slots in use", point(slots * 1e-3), 124.0, "k", "measured", WEAK,
            "123 k to 125 k updates, half of the counter; the rule of padded patches came from the mapping", 0.02),
        Row("non-zero synops a frame", point(synops * 1e-6), 0.58, "M", "measured", WEAK, other),
        Row("synops a frame on the busiest core", point(most * 1e-3), 50.0, "k", "measured", WEAK, other),
        Row("static power", result_static(result), 0.282, "W", "measured", NONE,
            "the value is from V1, its high end from here", 0.20),
    ]  # fmt: skip


def result_static(result: Result) -> Interval:
    """Return the chip's static power in W with its range."""
    static = result.chip.power.static
    ends = (static.low, static.high)
    low, high = (static.value if end is None else end for end in ends)
    return Interval(static.value, low, high)


CASE = Case(
    "V2",
    "Loihi 2, PilotNet of sigma-delta neurons",
    "Intel, one Oheo Gulch chip: lava-dl, pilotnet_sdnn/benchmark.ipynb (commit d825ac5), 2,000 frames. Its time is "
    "bound by the host and its dynamic power lies below the noise: counts alone are compared.",
    f"The published network on 64 frames of another drive, {STEPS} timesteps.",
    "No constant came from these counts.",
    _run,
    reference=True,
    remarks=(
        "How many synops a frame takes depends on how much changes from frame to frame, so the two weak rows show the "
        "order of size and no more.",
    ),
)
