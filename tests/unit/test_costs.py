"""Costs: windows of inferences, energies worked out by hand, audits that catch what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import neurosim
from hwmodels import load_chip
from neurosim.compiler import MEMORIES, compile_network
from neurosim.costs import PROVENANCE, Result, find_window
from neurosim.costs.audit import audit_sum
from neurosim.engine import CoreCount, LayerCount, RunCounts, packet_kernels
from neurosim.engine.run import audit_synops
from neurosim.engine.timing import TimeRun, check_delivery
from neurosim.errors import AuditError, DeadlockError, InputError, MessageWidthError
from neurosim.network import Connection, CubaLif, Delta, Dense, Layer, Network, Relay, Sigma, SigmaDelta


def chain(depth: int = 3) -> Network:
    """A delta layer, sigma-delta layers and a sigma layer of four neurons each, all-to-all with ones."""
    units = [Delta(1 << 12), *(SigmaDelta(1 << 12) for _ in range(depth - 2)), Sigma()]
    layers = [Layer(f"l{i}", (4,), unit) for i, unit in enumerate(units)]
    ones = Dense(np.ones((4, 4), dtype=np.int32))
    return Network(layers, [Connection((f"l{i}",), f"l{i + 1}", ones) for i in range(depth - 1)])


def run(frames: int = 6, steps: int | None = None, k: int = 1, chip: str = "loihi2", **overrides: str) -> Result:
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    program = neurosim.compile(chain(), chip, overrides=keys)
    rng = np.random.default_rng(1)
    return neurosim.simulate(program, rng.integers(-64, 64, (frames, 4)), steps=steps, steps_per_inference=k)


def test_window_of_a_stream() -> None:
    """Ten layers, 32 frames, 42 timesteps: the pipeline fills in 10, 32 answers come out, 31 are steady."""
    window = find_window(chain(10), timesteps=42, frames=32, steps_per_inference=1)
    assert (window.inferences, window.steady, window.startup_timesteps) == (32, 31, 10)
    assert window.layer_start.tolist() == list(range(1, 11))
    assert window.layer_stop.tolist() == list(range(32, 42))
    assert (window.time_start, window.time_stop) == (10, 32)


def test_window_of_held_frames() -> None:
    """One frame, 16 timesteps an inference: answers at 25, 41, ...; with 200 timesteps eleven are whole."""
    window = find_window(chain(10), timesteps=200, frames=1, steps_per_inference=16)
    assert (window.inferences, window.steady, window.startup_timesteps) == (11, 10, 25)


def test_held_frames_of_a_stream_are_no_inferences() -> None:
    assert find_window(chain(3), timesteps=100, frames=5, steps_per_inference=1).inferences == 5


def test_a_run_without_a_full_pipeline_says_so() -> None:
    """Three layers and two frames: the second is steady, but no timestep has all layers at work on one."""
    short, long = run(frames=2), run(frames=6)
    assert not short.window.full
    assert short.window_note is not None
    assert "feed 4 timesteps or more" in short.window_note
    assert run(frames=3).window_note is not None
    assert run(frames=4).window_note is None
    assert long.window.full
    assert long.window_note is None


def test_columns_of_the_kernels_are_those_of_the_names() -> None:
    names = {
        "MESSAGES": "MESSAGES", "UPDATES_ACTIVE": "UPDATES_ACTIVE", "UPDATES_INACTIVE": "UPDATES_INACTIVE",
        "PACKETS": "PACKETS", "FLITS": "FLITS", "HOPS": "HOPS", "FLIT_HOPS_X": "FLIT_HOPS_EAST_WEST",
        "FLIT_HOPS_Y": "FLIT_HOPS_NORTH_SOUTH", "CHARGED": "CHARGED_DENSE", "SYNAPSE_WORDS": "SYNAPSE_WORDS",
        "STATE_READ": "STATE_WORDS_READ", "STATE_WRITTEN": "STATE_WORDS_WRITTEN", "LARGEST": "LARGEST_MESSAGE",
        "FLIT_HOPS_CHIPS": "FLIT_HOPS_CHIPS",
    }  # fmt: skip
    for plain, name in names.items():
        assert getattr(packet_kernels, plain) == LayerCount[name], plain
    cores = {"PACKETS_OUT": "PACKETS_OUT", "PACKETS_IN": "PACKETS_IN", "SYNOPS_CHARGED": "SYNOPS_CHARGED"}
    cores |= {"SWEEP": "SWEEP_PS", "READ": "SYNAPSE_READ_PS", "ACCUMULATE": "ACCUMULATE_PS"}
    for plain, name in cores.items():
        assert getattr(packet_kernels, plain) == CoreCount[name], plain


def test_no_steady_inference_gives_no_number() -> None:
    result = run(frames=1)
    assert result.window.inferences == 1
    assert result.energy_inference is None
    assert result.latency_inference_s is None
    assert result.throughput_inferences_per_s is None
    assert result.energy_run.total_j.value > 0


def test_latency_and_throughput_of_equal_timesteps() -> None:
    """With only the barrier taking time, latency is depth x barrier and throughput one over it."""
    zero = {
        "core__neuron__update_active_time": "0 ns", "core__neuron__update_inactive_time": "0 ns",
    }  # fmt: skip
    program = neurosim.compile(chain(4), "loihi2", overrides={k.replace("__", "."): v for k, v in zero.items()})
    result = neurosim.simulate(program, np.zeros((9, 4), dtype=np.int64))
    assert (result.counts.duration_ps == 1_750_000).all()
    assert result.timestep_mean_s == pytest.approx(1.75e-6, rel=1e-12)
    assert result.latency_inference_s == pytest.approx(4 * 1.75e-6, rel=1e-12)
    assert result.throughput_inferences_per_s == pytest.approx(1 / 1.75e-6, rel=1e-12)


def test_energy_of_one_message_by_hand() -> None:
    """One spike to two neurons on Loihi: every constant once, static power for the time."""
    layers = [Layer("in", (1,), Relay(spikes=True)), Layer("out", (2,), CubaLif(0, 0, 64 << 6))]
    network = Network(layers, [Connection(("in",), "out", Dense(np.array([[3], [5]])))])
    result = neurosim.simulate(neurosim.compile(network, "loihi_board"), np.array([[1], [0]]), steps=2)
    hops = abs(int(result.program.core_tile[0]) - int(result.program.core_tile[1]))
    assert hops == 0  # two cores share a tile
    # Timestep 1: a spike; timestep 2: both neurons take it in. Neuron updates: 2 at rest, then 2 that change.
    by_hand_pj = 111.0 + 1.7 + 2 * 35.5 + 2 * 51.2 + 2 * (51.2 + 21.6)
    assert result.energy_run.dynamic_j.value == pytest.approx(by_hand_pj * 1e-12, rel=1e-12)
    seconds = result.counts.duration_ps.sum() * 1e-12
    assert result.energy_run.static_j.value == pytest.approx(29.5e-3 * seconds, rel=1e-12)


def test_interval_and_provenance() -> None:
    result = run()
    energy = result.energy_inference
    assert energy is not None
    total = energy.total_j
    assert total.low <= total.value <= total.high
    shares = energy.provenance
    assert set(shares) == set(PROVENANCE)
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-12)
    assert shares["simulated"] == 0.0
    assert shares["derived"] > 0.0
    assert shares["measured"] > 0.0


def test_memory_traffic_by_hand() -> None:
    """4 x 4 weights of one bit: each message reads one word; each synop and each update one accumulator."""
    result = run()
    counts, packets = (
        result.counts.layer_counts.sum(axis=(0, 1)),
        result.layer_total(LayerCount.PACKETS).sum(),
    )
    traffic = {memory.name: memory for memory in result.memories}
    assert list(traffic) == list(MEMORIES)
    assert traffic["synapse"].words_read == packets
    fed_updates = 2 * 4 * result.timesteps
    synops = counts[LayerCount.SYNOPS]
    assert (traffic["accumulator"].words_read, traffic["accumulator"].words_written) == (synops + fed_updates,) * 2
    assert traffic["accumulator"].energy_j is None
    state = traffic["neuron_state"]
    words = {"l0": 1, "l1": 2, "l2": 1}  # 24, 72 and 24 bits in words of 64
    assert state.words_read == 4 * result.timesteps * sum(words.values())
    assert state.bytes_read == state.words_read * 8


def test_work_and_barrier_add_up() -> None:
    """A timestep is its last event plus the barrier."""
    counts = run().counts
    last = np.maximum(np.maximum(counts.sweep_ps, counts.network_ps), counts.synapse_ps)
    assert (counts.duration_ps == last + counts.barrier_ps).all()


def tampered(counts: RunCounts, **change: Any) -> RunCounts:
    return replace(counts, **change)


@pytest.mark.parametrize(
    ("array", "index", "law"),
    [
        ("layer_counts", (0, 0, LayerCount.PACKETS), "packets sent by cores"),
        ("layer_counts", (0, 1, LayerCount.CHARGED_DENSE), "synops charged"),
        ("layer_counts", (2, 1, LayerCount.UPDATES_ACTIVE), "layer l1: updates"),
        ("core_counts", (0, CoreCount.PACKETS_IN), "copies of packets = messages due at cores"),
    ],
)
def test_a_wrong_count_is_an_error(array: str, index: tuple[int, ...], law: str) -> None:
    counts = run().counts
    wrong = getattr(counts, array).copy()
    wrong[index] += 1
    with pytest.raises(AuditError, match=law):
        Result(tampered(counts, **{array: wrong}), 6)


def test_a_wrong_axon_table_is_an_error() -> None:
    counts = run().counts
    synops = counts.program.axon_synops_nonzero.copy()
    synops[0] -= 1
    program = replace(counts.program, axon_synops_nonzero=synops)
    with pytest.raises(AuditError, match="axon table = fan-out"):
        Result(tampered(counts, program=program), 6)


def test_a_wrong_synop_count_is_an_error() -> None:
    result = neurosim.simulate(neurosim.compile(chain(), "loihi2"), np.full((1, 4), 9), keep_activity=True)
    activity = result.counts.activity[0]
    audit_synops(result.network, activity)
    wrong = activity.synops.copy()
    wrong[0] += 1
    with pytest.raises(AuditError, match="layer l0"):
        audit_synops(result.network, replace(activity, synops=wrong))


def test_a_lost_packet_and_a_wrong_route_are_errors() -> None:
    result = neurosim.simulate(neurosim.compile(chain(), "loihi2"), np.full((1, 4), 9), keep_activity=True)
    time = TimeRun(result.program)
    counts, cores = np.zeros((3, len(LayerCount)), dtype=np.int64), np.zeros_like(result.counts.core_counts)
    load = time._packets(result.counts.activity[0], counts, cores)
    times = time.mesh.time(load)
    check_delivery(result.program, 1, load, times, counts, time.link_class)
    with pytest.raises(DeadlockError, match=r"network\.buffer"):
        check_delivery(result.program, 1, load, replace(times, delivered=times.delivered - 1), counts, time.link_class)
    links = times.link_flits.copy()
    links[0, 0] += 1
    with pytest.raises(AuditError, match="east-west"):
        check_delivery(result.program, 1, load, replace(times, link_flits=links), counts, time.link_class)


def test_parts_must_add_up() -> None:
    audit_sum("here", 0.3, [0.1, 0.2])
    with pytest.raises(AuditError, match="here"):
        audit_sum("here", 0.3, [0.1, 0.2, 1e-9])


def test_message_wider_than_the_payload() -> None:
    program = neurosim.compile(chain(), "loihi2", overrides={"network.payload": "8 bit"})
    with pytest.raises(MessageWidthError, match=r"layer l0, timestep 2: a message of 8\d+ .* network.payload"):
        neurosim.simulate(program, np.array([[1, 0, 0, 0], [14, 0, 0, 0]]))


def test_a_chip_without_payload_refuses_graded_layers_at_once() -> None:
    with pytest.raises(MessageWidthError, match=r"layers l0, l1 send messages with a value; loihi .* 0 bits"):
        neurosim.compile(chain(), "loihi")
    relay = Network([Layer("in", (1,), Relay()), Layer("out", (1,), CubaLif(0, 0, 64))], [])
    relay = Network(relay.layers, [Connection(("in",), "out", Dense(np.array([[3]])))])
    program = neurosim.compile(relay, "loihi")
    neurosim.simulate(program, np.array([[1], [0]]))  # ones are spikes, whatever sends them
    with pytest.raises(MessageWidthError, match=r"timestep 2: a message of 5 .* spikes without a value"):
        neurosim.simulate(program, np.array([[1], [5]]))


def test_payload_limit_is_tight() -> None:
    """-128 and 127 fit 8 bits, 128 does not; a frame of 2 is a message of 2 << 6 = 128."""
    program = compile_network(chain(), load_chip("loihi2", {"network.payload": "8 bit"}))
    neurosim.simulate(program, np.array([[-2, 0, 0, 0]]), steps=1)
    with pytest.raises(MessageWidthError, match="needs 9 bits"):
        neurosim.simulate(program, np.array([[2, 0, 0, 0]]), steps=1)


@pytest.mark.parametrize(
    ("steps", "k", "word"), [(0, 1, "steps is 0"), (-3, 1, "steps is -3"), (5, 0, "steps per inference")]
)
def test_bad_numbers(steps: int, k: int, word: str) -> None:
    with pytest.raises(InputError, match=word):
        run(steps=steps, k=k)


def test_bad_frames() -> None:
    program = neurosim.compile(chain(), "loihi2")
    for frames, word in (
        (np.zeros((2, 5), dtype=np.int64), r"shape \(2, 5\)"),
        (np.zeros((2, 4)), "float64"),
        (np.zeros((0, 4), dtype=np.int64), "at least 1"),
        ({"l1": np.zeros((1, 4), dtype=np.int64)}, "takes none"),
        ({"nowhere": np.zeros((1, 4), dtype=np.int64)}, "unknown layers"),
    ):
        with pytest.raises(InputError, match=word):
            neurosim.simulate(program, frames, steps=3)
