"""A row-stationary array like Eyeriss: how a connection is laid on it, and what that reads, writes and takes.

Dataflow and relative costs: Chen, Emer and Sze, "Eyeriss: a spatial architecture for energy-efficient dataflow for
convolutional neural networks", ISCA 2016. The mapping is this rule and no search; docs/baselines.md has it in words.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.baseline import RowStationary
from neurosim.costs.baseline_events import Events
from neurosim.costs.baseline_work import Work, words


@dataclass(frozen=True)
class RowMapping:
    """How one group of a connection lies on the array.

    A set of processing elements computes `strip` output rows from `set_rows` kernel rows: element (r, e) has kernel
    row r and output row e. A round fills the array once with sets for `filters_at_once` blocks of `filters` filters
    and `channels_at_once` blocks of `channels` channels.

    Attributes
    ----------
    folds
        Parts into which kernels taller than the array are cut.
    strips
        Parts into which output maps taller than the array's columns are cut.
    filter_blocks, channel_blocks
        Number of blocks.
    filter_rounds, channel_rounds
        Rounds until all of them had their turn.
    """

    folds: int
    set_rows: int
    strips: int
    strip: int
    filters: int
    filters_at_once: int
    filter_blocks: int
    filter_rounds: int
    channels: int
    channels_at_once: int
    channel_blocks: int
    channel_rounds: int


def map_rows(hardware: RowStationary, work: Work) -> RowMapping:
    """Return the mapping of one group: register files filled first, then sets side by side, filters before channels."""
    rows, columns = hardware.rows.value, hardware.columns.value
    kernel_rows, kernel_columns = work.kernel
    folds = _ceil(kernel_rows, rows)
    set_rows = _ceil(kernel_rows, folds)
    strips = _ceil(work.out[0], columns)
    strip = _ceil(work.out[0], strips)
    sets = (rows // set_rows) * (columns // strip)
    most_channels = min(max(hardware.activation_words.value // kernel_columns, 1), work.channels)
    room = hardware.weight_words.value // (most_channels * kernel_columns)
    most_filters = min(max(min(hardware.sum_words.value, room), 1), work.filters)
    filters_at_once = min(sets, _ceil(work.filters, most_filters))
    channels_at_once = min(sets // filters_at_once, _ceil(work.channels, most_channels))
    filter_rounds = _ceil(work.filters, most_filters * filters_at_once)
    channel_rounds = _ceil(work.channels, most_channels * channels_at_once)
    # The same number of rounds, evenly filled.
    filters = _ceil(work.filters, filter_rounds * filters_at_once)
    channels = _ceil(work.channels, channel_rounds * channels_at_once)
    return RowMapping(
        folds,
        set_rows,
        strips,
        strip,
        filters,
        filters_at_once,
        _ceil(work.filters, filters),
        filter_rounds,
        channels,
        channels_at_once,
        _ceil(work.channels, channels),
        channel_rounds,
    )


def row_stationary_events(
    hardware: RowStationary, work: Work, batch: int, activation_bits: int, save_zeros: bool
) -> Events:
    """Return what a connection does on the array for one frame of a batch.

    Parameters
    ----------
    hardware
        Sizes of the array.
    work
        The connection.
    batch
        Inferences worked on together; they share each fetch of weights from DRAM where weights stay.
    activation_bits
        Width of activations.
    save_zeros
        Whether zero activations save what ``zeros`` of the hardware says.

    Raises
    ------
    ModelError
        Activations or weights are wider than a word.
    """
    words(activation_bits, hardware.word.value, 1, f"{work.label}: activations")
    words(work.weight_bits, hardware.word.value, 1, f"{work.label}: weights")
    dram_reads = dram_words(hardware, work, batch)
    outputs = work.outputs * batch
    dram = dram_reads + outputs
    if work.pool:
        # Pooled on the way through the buffer: what is read is filled first, what is written is fetched.
        counts = {"buffer": 2.0 * dram_reads + 2.0 * outputs, "dram": float(dram)}
        return _events(hardware, 0, 0.0, counts, 0.0)
    m, times = map_rows(hardware, work), work.groups * batch
    kernel_rows, kernel_columns = work.kernel
    out_rows, out_columns = work.out
    group_outputs = work.filters * out_rows * out_columns
    # Columns of the input that a row of outputs meets, and rows that are read for all strips and folds.
    width = (out_columns - 1) * work.stride[1] + (kernel_columns - 1) * work.dilation[1] + 1
    height = work.stride[0] * (out_rows - m.strips) + m.strips * ((m.set_rows - 1) * work.dilation[0] + 1)
    sum_rounds = m.channel_rounds * m.folds
    brought = m.filter_blocks * work.channels * kernel_rows * out_rows * width + work.group_weights * out_rows
    passed = group_outputs * (kernel_rows * m.channel_blocks - sum_rounds)
    buffer_reads = m.filter_rounds * work.channels * m.folds * height * width + m.strips * work.group_weights
    sums = 2 * group_outputs * (sum_rounds - 1) + 2 * group_outputs
    cycles = m.filter_rounds * sum_rounds * m.strips * m.filters * m.channels * kernel_columns * out_columns
    macs = work.macs * batch
    done = macs * work.density if save_zeros else float(macs)
    counts = {
        "mac": done,
        "register_file": macs + 3.0 * done + float(brought * times),
        "neighbour": float((brought + passed) * times),
        "buffer": float((buffer_reads + sums) * times + dram_reads),
        "dram": float(dram),
    }
    skipped = save_zeros and hardware.zeros == "skipped"
    return _events(hardware, macs, done, counts, cycles * times * (work.density if skipped else 1.0))


def _events(hardware: RowStationary, macs: int, done: float, counts: dict[str, float], cycles: float) -> Events:
    traffic = {name: count * hardware.word.value for name, count in counts.items() if name != "mac"}
    times = {"compute": cycles / hardware.clock.value}
    for name, bandwidth in (("buffer", hardware.buffer_bandwidth), ("dram", hardware.dram_bandwidth)):
        if bandwidth is not None:
            times[name] = traffic[name] / bandwidth.value
    return Events(macs, done, counts, traffic, times)


def dram_words(hardware: RowStationary, work: Work, batch: int) -> int:
    """Return the words read from DRAM for one frame of a batch, by the best of three orders of loops.

    Half of the buffer holds what stays. Weights stay: all inputs pass once for every half buffer of weights. Inputs
    stay: all weights pass once for every half buffer of one inference's inputs. Sums stay, those of as many filters
    as there is room for, of `together` inferences: all inputs pass once for every such block of filters, weights
    once for every `together` inferences. Groups come one after the other.
    """
    half = max(hardware.buffer.value // 2 // hardware.word.value, 1)
    inputs, weights = work.inputs // work.groups, work.group_weights
    if work.pool:
        return batch * work.inputs
    orders = [
        weights + batch * inputs * _ceil(weights, half),
        batch * (inputs + weights * _ceil(inputs, half)),
    ]
    for together in range(1, batch + 1):
        filters = half // (together * work.out[0] * work.out[1])
        if filters == 0:
            break
        orders.append(weights * _ceil(batch, together) + batch * inputs * _ceil(work.filters, filters))
    return work.groups * min(orders)


def _ceil(number: int, part: int) -> int:
    return -(-number // part)
