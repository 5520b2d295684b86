"""Spoken digits by an LSTM trained through its thresholds: accuracy against multiply-accumulates.

    python tests/benchmarks/train_delta_lstm.py --data FOLDER --json delta_lstm.json

FOLDER holds `fsdd_logmel_q3p4.npz`, log-mel frames of the Free Spoken Digit Dataset with its official split: recordings
0 to 4 of each speaker and digit are test files. Recordings 5 to 9 are held out of the others, and every choice, of the
settings below too, was made by them. Then the networks are trained anew, held-out recordings included, and the test
files are read once. About seven minutes on one core; docs/methods.md holds the figures.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.convert import DeltaTraining, describe_gated, run_delta_lstm, to_gated, train_delta
from neurosim.convert.delta_gru import changes
from neurosim.files import atomic_path
from neurosim.formats.dense_graph import DenseGraph, Input, Linear, Lstm

BANDS, DIGITS = 40, 10
UNITS_PER_ONE = 16
"""Of the file's integers."""
TEST_RECORDINGS, HELD_OUT = range(5), range(5, 10)
WEIGHTS_SEED = 1
THRESHOLDS = ((0.125, 0.25), (0.1875, 0.375), (0.25, 0.25), (0.25, 0.375), (0.3125, 0.5))
"""Of inputs and of states."""
LEAST_REDUCTION = 9.0
"""Of the network that is chosen: as many times fewer multiply-accumulates than the dense network, in integers."""
NOISE, PRICE = 0.4, 0.02
Network = tuple[Lstm, Linear]


@dataclass(frozen=True)
class Spoken:
    """Sequences (files, frames, bands), padded; their lengths; their digits."""

    frames: Any
    lengths: Any
    digits: Any


def load(folder: Path, recordings: Any) -> Spoken:
    """Return the files of some recordings of each speaker and digit."""
    with np.load(folder / "fsdd_logmel_q3p4.npz") as file:
        data = {name: file[name] for name in file.files}
    index = np.array([int(name.removesuffix(".wav").split("_")[2]) for name in data["name"]])
    assert np.array_equal(data["is_test"], np.isin(index, TEST_RECORDINGS))
    lengths = data["length"].astype(np.int64)
    start = np.concatenate(([0], np.cumsum(lengths)))
    chosen = np.flatnonzero(np.isin(index, recordings))
    frames = np.zeros((len(chosen), int(lengths[chosen].max()), BANDS))
    for row, i in enumerate(chosen):
        frames[row, : lengths[i]] = data["x"][start[i] : start[i + 1]] / UNITS_PER_ONE
    return Spoken(frames, lengths[chosen], data["label"][chosen].astype(np.int64))


def untrained(hidden: int) -> Network:
    """Return the network before training: uniform weights, as PyTorch begins."""
    rng = np.random.default_rng(WEIGHTS_SEED)
    reach = hidden**-0.5
    shapes = ((4 * hidden, BANDS), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))
    node = Lstm("lstm", ("bands",), *(rng.uniform(-reach, reach, shape) for shape in shapes))
    return node, Linear("digit", ("lstm",), rng.uniform(-reach, reach, (DIGITS, hidden)), np.zeros(DIGITS))


def train(data: Spoken, given: argparse.Namespace) -> dict[tuple[float, float], Network]:
    """Return the network trained without thresholds, and from there through each pair of `THRESHOLDS`."""
    sequences = data.frames, data.lengths, data.digits
    dense = DeltaTraining(0.0, 0.0, noise=NOISE, epochs=given.dense_epochs, rate=4e-3, seed=1)
    start = train_delta(*untrained(given.hidden), *sequences, dense)
    found = {(0.0, 0.0): start}
    for pair in THRESHOLDS:
        through = DeltaTraining(
            *pair, sparsity=PRICE, noise=NOISE, reads_sent=True, epochs=given.delta_epochs, rate=2e-3, seed=2
        )
        found[pair] = train_delta(*start, *sequences, through)
    return found


def mean_sent(states: Any, lengths: Any, threshold: float) -> Any:
    """Return the mean of what is held of the states after each frame, (files, hidden)."""
    held = np.zeros_like(states[:, 0])
    total = np.zeros_like(held)
    for t in range(states.shape[1]):
        runs = t < lengths
        _, held, _ = changes(states[:, t], held, threshold, runs)
        total += held * runs[:, None]
    return total / lengths[:, None]


def measure(network: Network, data: Spoken, pair: tuple[float, float]) -> dict[str, float]:
    """Return accuracy and reduction in floats, by what was sent, and in the accelerator's integers."""
    node, readout = network
    run = run_delta_lstm(node, data.frames, data.lengths, *pair)
    answers = mean_sent(run.states, data.lengths, pair[1]) @ readout.weight.T + readout.bias
    graph = DenseGraph([Input("bands", (), (BANDS,)), node, readout], name="spoken")
    report = describe_gated(to_gated(graph, pair, None, "mean"), data.frames, data.digits, data.lengths)
    assert report.error_percent is not None
    assert report.reduction is not None
    return {
        "float_percent": float((answers.argmax(axis=1) == data.digits).mean() * 100),
        "float_reduction": run.reduction(node),
        "percent": 100.0 - report.error_percent,
        "reduction": report.reduction,
        "largest_weight": float(max(np.abs(node.weight_ih).max(), np.abs(node.weight_hh).max())),
        "sum_bits": report.sum_bits["lstm"],
        "message_bits": max(report.message_bits.values()),
    }


def main() -> None:
    """Train, choose, train, measure, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--dense-epochs", type=int, default=14)
    parser.add_argument("--delta-epochs", type=int, default=8)
    given = parser.parse_args()
    began = time.perf_counter()
    held_out = load(given.data, HELD_OUT)
    rows: list[dict[str, Any]] = []
    networks = train(load(given.data, range(HELD_OUT.stop, 50)), given)
    for pair, network in networks.items():
        rows.append({"thresholds": pair, "files": "held out", **measure(network, held_out, pair)})
        print(rows[-1], flush=True)
    fit = [row for row in rows if row["reduction"] >= LEAST_REDUCTION]
    chosen = max(fit, key=lambda row: (row["percent"], row["reduction"]))["thresholds"] if fit else None
    print(f"chosen: {chosen}", flush=True)
    networks = train(load(given.data, range(HELD_OUT.start, 50)), given)
    test = load(given.data, TEST_RECORDINGS)
    for pair, network in networks.items():
        before = measure(networks[0.0, 0.0], test, pair)
        rows.append(
            {"thresholds": pair, "files": "test", **measure(network, test, pair), "not_trained_through": before}
        )
        print(rows[-1], flush=True)
    text = {"chosen": chosen, "seconds": round(time.perf_counter() - began), "rows": rows}
    with atomic_path(given.json) as part:
        part.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
