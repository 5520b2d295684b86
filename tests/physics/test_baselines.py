"""Baselines by independent arithmetic: plain loops over every processing element, and numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plain_array import step_group

from hwmodels import Baseline, load_baseline
from hwmodels.baseline import RowStationary
from neurosim.costs import baseline_cost
from neurosim.costs.baseline_array import dram_words, map_rows, row_stationary_events
from neurosim.costs.baseline_work import Work, network_work
from neurosim.network import Connection, Conv2d, Dense, Layer, Network, Pool2d, Relay, Sigma, Sparse, Transform


def network_of(transform: Transform, shape: tuple[int, ...]) -> Network:
    layers = [Layer("in", shape, Relay()), Layer("out", transform.out_shape, Sigma())]
    return Network(layers, [Connection(("in",), "out", transform)], "one")


def conv(shape: tuple[int, int, int], filters: int, kernel: tuple[int, int], **how: Any) -> Network:
    weights = np.ones((filters, shape[0] // how.get("groups", 1), *kernel), dtype=np.int32)
    return network_of(Conv2d(weights, shape, **how), shape)


def dense(inputs: int, outputs: int) -> Network:
    return network_of(Dense(np.ones((outputs, inputs), dtype=np.int32)), (inputs,))


def changed(name: str, **numbers: object) -> Baseline:
    """A shipped baseline with other numbers in its style's table."""
    tables = load_baseline(name).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    style = tables[load_baseline(name).style]
    for key, value in numbers.items():
        style[key] = {"value": value, "kind": "derived", "source": "test"} if key != "zeros" else value
    return Baseline.model_validate(tables)


def array(**numbers: object) -> RowStationary:
    found = changed("eyeriss", **numbers).row_stationary
    assert found is not None
    return found


def only(network: Network, density: float | None = None) -> Work:
    (work,) = network_work(network, density, None)
    return work


SMALL = {"rows": 4, "columns": 5, "activation_words": 6, "weight_words": 24, "sum_words": 4}


@pytest.mark.parametrize(
    ("network", "even"),
    [
        (conv((4, 9, 8), 8, (3, 3)), True),
        (conv((2, 9, 9), 4, (2, 2), stride=2), True),
        (conv((8, 7, 7), 8, (3, 3), groups=2), True),
        (conv((6, 7, 7), 6, (3, 3), groups=2), False),  # 3 channels in blocks of 2
        (conv((3, 11, 9), 7, (3, 2), padding=1), False),
        (conv((5, 12, 12), 9, (3, 3), dilation=(1, 2)), False),
        (conv((2, 12, 6), 5, (8, 3)), False),  # a kernel taller than the array: two folds
        (conv((1, 6, 6), 1, (3, 3)), True),
        (dense(40, 30), False),
        (dense(24, 16), True),
    ],
    ids=lambda value: value.connections[0].transform.kind if isinstance(value, Network) else str(value),
)
def test_array_counts_what_plain_loops_count(network: Network, even: bool) -> None:
    hardware = array(**SMALL)
    work, batch = only(network), 2
    mapping = map_rows(hardware, work)
    plain = step_group(work, mapping)
    events = row_stationary_events(hardware, work, batch, 8, False)
    times = work.groups * batch
    assert events.macs == work.macs * batch == plain["mac"] * times
    brought, passed = plain["brought"] * times, plain["passed"] * times
    assert events.counts["register_file"] == 4 * events.macs + brought
    assert events.counts["neighbour"] == brought + passed
    reads = dram_words(hardware, work, batch)
    assert events.counts["buffer"] == plain["buffer"] * times + reads
    assert events.counts["dram"] == reads + work.outputs * batch
    assert plain["elements"] <= hardware.rows.value * hardware.columns.value
    cycles = events.times_s["compute"] * hardware.clock.value
    # Rounds are charged as full ones; where the blocks do not divide evenly some are shorter.
    if even:
        assert cycles == pytest.approx(plain["cycles"] * times, rel=1e-12)
    else:
        assert plain["cycles"] * times <= cycles * (1 + 1e-12) < 2 * plain["cycles"] * times


def test_array_register_files_hold_their_blocks() -> None:
    hardware = array(**SMALL)
    for network in (conv((4, 9, 8), 8, (3, 3)), conv((9, 12, 12), 11, (2, 2)), dense(40, 30)):
        work = only(network)
        m = map_rows(hardware, work)
        assert m.channels * work.kernel[1] <= hardware.activation_words.value
        assert m.filters * m.channels * work.kernel[1] <= hardware.weight_words.value
        assert m.filters <= hardware.sum_words.value


def test_array_by_hand() -> None:
    """One 3 x 3 kernel on a 5 x 5 map: a set of 3 x 3 elements, one round, all by the definition of row stationary."""
    cost = baseline_cost(conv((1, 5, 5), 1, (3, 3)), "eyeriss")
    counts = {term.key.rpartition(".")[2]: float(term.counts.sum()) for term in cost.terms}
    # Nine elements get one input row of 5 and one kernel row of 3 each; each makes 3 sums of 3 MACs.
    brought = 9 * (5 + 3)
    assert counts["mac"] == 81
    assert counts["register_file"] == 4 * 81 + brought
    assert counts["neighbour"] == brought + 9 * 2
    # Filled with 25 values and 9 weights, each read once; 9 outputs put in and taken out.
    assert counts["buffer"] == 2 * (25 + 9) + 2 * 9
    assert counts["dram"] == 25 + 9 + 9
    relative = 81 + (4 * 81 + 72) + 2 * 90 + 6 * 86 + 200 * 43
    energy = cost.energy_j
    assert energy.value == pytest.approx(relative * 1.5e-12, rel=1e-12)
    assert (energy.low, energy.high) == pytest.approx((relative * 0.85e-12, relative * 3.25e-12), rel=1e-12)
    assert cost.latency_s == pytest.approx(9 / 200e6, rel=1e-12)
    assert cost.traffic_bytes == {
        "register_file": 2 * 396,
        "neighbour": 2 * 90,
        "buffer": 2 * 86,
        "dram": 2 * 43,
    }


@pytest.mark.parametrize(
    ("inputs", "outputs", "batch", "read"),
    [
        # Half of 64 bytes holds 16 words of 16 bits. All weights stay.
        (4, 4, 3, 16 + 3 * 4),
        # 40 weights, 3 half buffers: weights stay 40 + 5 * 3; inputs stay 5 + 40; sums stay 40 + 5.
        (5, 8, 1, 45),
        # Batch 4: weights stay 40 + 4 * 5 * 3 = 100; sums of 8 filters for 2 at a time: 80 + 4 * 5 = 100;
        # sums of 4 filters for all 4: 40 + 4 * 5 * 2 = 80.
        (5, 8, 4, 80),
        # 2 x 2 weights stay whole beside any batch.
        (2, 2, 100, 4 + 200),
    ],
)
def test_dram_takes_the_best_order_of_loops(inputs: int, outputs: int, batch: int, read: int) -> None:
    assert dram_words(array(buffer="64 B"), only(dense(inputs, outputs)), batch) == read


def test_zeros_gated_save_energy_and_skipped_ones_time_too() -> None:
    network = conv((4, 9, 8), 8, (3, 3))
    plain = baseline_cost(network, "eyeriss")
    gated = baseline_cost(network, "eyeriss", density=0.25)
    skipped = baseline_cost(network, changed("eyeriss", zeros="skipped"), density=0.25)
    assert (plain.zeros, gated.zeros, skipped.zeros) == (None, "gated", "skipped")
    assert gated.macs == plain.macs == plain.macs_done
    assert gated.macs_done == plain.macs / 4
    # A zero saves one MAC and three accesses to the register file: weight, sum in, sum out.
    saved = plain.macs * 0.75 * (1 + 3) * 1.5e-12
    assert plain.energy_j.value - gated.energy_j.value == pytest.approx(saved, rel=1e-9)
    assert gated.latency_s == plain.latency_s
    assert plain.latency_s is not None
    assert skipped.latency_s == pytest.approx(plain.latency_s / 4, rel=1e-12)
    assert skipped.energy_j == gated.energy_j
    dense_hardware = baseline_cost(network, "cpu", density=0.25)
    assert dense_hardware.macs_done == dense_hardware.macs
    assert "does not leave zeros out" in " ".join(dense_hardware.notes)


def test_densities_by_layer_are_weighted_by_size() -> None:
    layers = [Layer("a", (3,), Relay()), Layer("b", (1,), Relay()), Layer("c", (2,), Sigma())]
    both = Connection(("a", "b"), "c", Dense(np.ones((2, 4), dtype=np.int32)))
    cost = baseline_cost(Network(layers, [both]), "eyeriss", density={"a": 0.5, "b": 1.0})
    assert cost.macs_done == 8 * (3 * 0.5 + 1 * 1.0) / 4


def test_bandwidths_bind_where_they_are_known() -> None:
    network = dense(64, 64)
    slow = changed("eyeriss", dram_bandwidth="1 MB/s")
    cost = baseline_cost(network, slow)
    assert cost.layers[0].bound == "dram"
    assert cost.latency_s == pytest.approx(2 * (64 * 64 + 64 + 64) / 1e6, rel=1e-12)


def test_systolic_array_by_hand() -> None:
    """300 x 520 weights are 2 x 3 tiles; 64 KiB each at 34 GB/s take longer than 4 rows or 256 cycles."""
    cost = baseline_cost(dense(300, 520), "tpu_v1", batch=4)
    (layer,) = cost.layers
    seconds = 6 * 65536 / 34e9
    assert layer.bound == "weight_dram"
    assert cost.latency_s == pytest.approx(seconds, rel=1e-12)
    assert cost.throughput_per_s == pytest.approx(4 / seconds, rel=1e-12)
    energy = cost.energy_j
    ends = [seconds / 4 * power for power in (40, 28, 75)]
    assert [energy.value, energy.low, energy.high] == pytest.approx(ends, rel=1e-12)
    assert layer.traffic_bytes == {
        "buffer": 3 * 300 + 520,
        "accumulator": 2 * 2 * 520 * 4,
        "weight_dram": 6 * 65536 / 4,
    }


def test_systolic_array_streams_rows_once_they_outlast_the_weights() -> None:
    """Above 34e9 / 65536 x 700e6: 1349.3 rows a tile, computing binds; 8 by 16 bits run at half the speed."""
    for batch, bound in ((1349, "weight_dram"), (1350, "compute")):
        cost = baseline_cost(dense(512, 512), "tpu_v1", batch=batch)
        assert cost.layers[0].bound == bound
    assert cost.latency_s == pytest.approx(4 * 1350 / 700e6, rel=1e-12)
    wide = baseline_cost(dense(512, 512), "tpu_v1", batch=1350, activation_bits=16)
    assert wide.latency_s == pytest.approx(2 * 4 * 1350 / 700e6, rel=1e-12)


def test_systolic_array_fetches_tiles_again_for_every_filling() -> None:
    """5000 rows fill 2048 accumulators three times; one tile alone stays."""
    several = baseline_cost(conv((32, 50, 100), 300, (3, 3), padding=1), "tpu_v1")
    assert several.traffic_bytes["weight_dram"] == 2 * 2 * 3 * 65536
    assert several.latency_s == pytest.approx(4 * 5000 / 700e6, rel=1e-12)
    alone = baseline_cost(conv((16, 50, 100), 20, (3, 3), padding=1), "tpu_v1")
    assert alone.traffic_bytes["weight_dram"] == 65536
    # The last filling has 904 rows, more than the 256 cycles that a tile takes to come in.
    assert alone.latency_s == pytest.approx(5000 / 700e6, rel=1e-12)


def test_a_microcontroller_is_put_together_from_horowitz() -> None:
    cost = baseline_cost(dense(10, 20), "mcu")
    assert cost.energy_j.value == pytest.approx(200 * (4 * 70 + 2 * 10 + 3.1 + 0.1) * 1e-12, rel=1e-12)
    assert cost.energy_j.low == pytest.approx(200 * (3 * 70 + 2 * 10 + 3.1 + 0.1) * 1e-12, rel=1e-12)
    assert cost.energy_j.high == pytest.approx(200 * (8 * 70 + 2 * 10 + 3.1 + 0.1) * 1e-12, rel=1e-12)
    assert cost.latency_s is None
    assert cost.throughput_per_s is None


@pytest.mark.parametrize(("name", "picojoules"), [("arithmetic_fp32", 4.6), ("arithmetic_int8", 0.23)])
def test_the_shorthand_of_papers(name: str, picojoules: float) -> None:
    cost = baseline_cost(dense(10, 20), name)
    assert cost.energy_j.value == pytest.approx(200 * picojoules * 1e-12, rel=1e-12)
    assert "memories are left out" in " ".join(cost.notes)


@pytest.mark.parametrize("name", ["cpu", "eyeriss", "tpu_v1"])
def test_frames_multiply_and_parts_add_up(name: str) -> None:
    network = conv((4, 9, 8), 8, (3, 3))
    once, thrice = (baseline_cost(network, name, frames, batch=2) for frames in (1, 3))
    assert thrice.macs == 3 * once.macs
    assert thrice.energy_j.value == pytest.approx(3 * once.energy_j.value, rel=1e-12)
    assert once.latency_s is not None
    assert thrice.latency_s == pytest.approx(3 * once.latency_s, rel=1e-12)
    assert sum(layer.energy_j for layer in once.layers) == pytest.approx(once.energy_j.value, rel=1e-12)
    assert sum(once.provenance.values()) == pytest.approx(1.0, rel=1e-12)


def test_a_layer_fed_twice_is_updated_once() -> None:
    layers = [Layer("a", (3,), Relay()), Layer("b", (2,), Sigma())]
    twice = [Connection(("a",), "b", Dense(np.ones((2, 3), dtype=np.int32))) for _ in range(2)]
    assert baseline_cost(Network(layers, twice), "cpu").energy_j.value == pytest.approx((12 + 2) * 8.6e-9, rel=1e-12)


def test_values_passed_on_one_to_one_are_no_matrix() -> None:
    """The sums of residual networks: traffic of what is read and written, no products of n by n."""
    n = 80
    order = np.random.default_rng(0).permutation(n)
    passed = network_of(Sparse(np.arange(n + 1), order, np.full(n, 3), n), (n,))
    assert baseline_cost(passed, "gpu").macs == n
    cost = baseline_cost(passed, "eyeriss")
    assert cost.macs == 0
    # Words of 16 bits: 80 read and 80 written at the DRAM; each goes through the buffer in and out.
    assert cost.traffic_bytes == {"buffer": 2 * 2 * n * 2, "dram": 2 * n * 2}
    assert "passed on one to one" in " ".join(cost.notes)
    fewer = network_of(Sparse(np.arange(n), order[:-1], np.full(n - 1, 3), n), (n - 1,))
    assert baseline_cost(fewer, "eyeriss").macs == n * (n - 1)


def test_sparse_and_pooled_connections() -> None:
    """A CPU does what is stored, an array the whole matrix; a pooling has additions, but no weights."""
    sparse = network_of(Sparse([0, 1, 2, 2, 2], [0, 1], [1, 1], 3), (4,))
    assert baseline_cost(sparse, "gpu").macs == 2
    whole = baseline_cost(sparse, "eyeriss")
    assert whole.macs == 12
    assert "sparse, computed as the whole matrix" in " ".join(whole.notes)
    pool = network_of(Pool2d("average", 2, (3, 4, 4)), (3, 4, 4))
    assert baseline_cost(pool, "gpu").macs == 3 * 2 * 2 * 4
    moved = baseline_cost(pool, "eyeriss")
    assert moved.macs == 0
    assert moved.traffic_bytes == {"buffer": 2 * 2 * (48 + 12), "dram": 2 * (48 + 12)}
    assert "pooling" in " ".join(moved.notes)
    assert baseline_cost(pool, "tpu_v1").traffic_bytes["buffer"] == 48 + 12
