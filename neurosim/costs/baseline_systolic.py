"""A weight-stationary systolic array like TPU v1: tiles of weights, rows of activations, what they take.

Jouppi et al., "In-datacenter performance analysis of a tensor processing unit", ISCA 2017.
"""

from __future__ import annotations

from hwmodels.baseline import Systolic
from neurosim.costs.baseline_events import Events
from neurosim.costs.baseline_work import Work, words
from neurosim.errors import ModelError


def systolic_events(hardware: Systolic, work: Work, batch: int, activation_bits: int) -> Events:
    """Return what a connection does on the array for one frame of a batch.

    A group is a product of a matrix of weights, `depth` by filters, with one row of `depth` activations for every
    place of the output and inference. The array holds a tile of weights, through which the rows pass one a cycle;
    a tile takes as many cycles as the array has rows to come in, while another one works. Where several tiles
    take turns, each is fetched again for every filling of the accumulators.

    Parameters
    ----------
    hardware
        Sizes of the array.
    work
        The connection.
    batch
        Inferences worked on together.
    activation_bits
        Width of activations.

    Raises
    ------
    ModelError
        Values too wide, or a connection whose inputs and outputs do not fit the buffer together.
    """
    word = hardware.word.value
    activation_words = words(activation_bits, word, hardware.values_words.value, f"{work.label}: activations")
    held_bits = (work.inputs + work.outputs) * batch * activation_words * word
    if held_bits > hardware.buffer.value:
        raise ModelError(
            f"{work.label}: inputs and outputs of a batch of {batch} take {held_bits / 8 / 2**20:.1f} MiB, the buffer "
            f"has {hardware.buffer.text}; use a smaller batch or a smaller layer"
        )
    outputs = work.outputs * batch
    if work.pool:
        # A unit of its own pools between two passes through the buffer; how fast, nobody published.
        traffic = {"buffer": float((work.inputs * batch + outputs) * activation_words * word)}
        return Events(0, 0.0, {"seconds": 0.0}, traffic, {"compute": 0.0})
    weight_words = words(work.weight_bits, word, hardware.values_words.value, f"{work.label}: weights")
    passes = activation_words * weight_words
    depth, rows = work.channels * work.kernel[0] * work.kernel[1], work.out[0] * work.out[1] * batch
    deep, wide = -(-depth // hardware.rows.value), -(-work.filters // hardware.columns.value)
    full, last = divmod(rows, hardware.accumulator_rows.value)
    fillings = full + bool(last)
    streamed = full * max(hardware.accumulator_rows.value, hardware.rows.value)
    streamed += max(last, hardware.rows.value) if last else 0
    tiles = work.groups * deep * wide
    fetches = tiles if deep * wide == 1 else tiles * fillings
    tile_bits = hardware.rows.value * hardware.columns.value * word * weight_words
    reads = work.groups * wide * rows * depth
    traffic = {
        "buffer": float((reads + outputs) * activation_words * word),
        "accumulator": float(2 * deep * outputs * passes * hardware.accumulator_word.value),
        "weight_dram": float(fetches * tile_bits),
    }
    times = {
        "compute": tiles * streamed * passes / hardware.clock.value,
        "weight_dram": traffic["weight_dram"] / hardware.weight_bandwidth.value,
    }
    macs = work.macs * batch
    return Events(macs, float(macs), {"seconds": max(times.values())}, traffic, times)
