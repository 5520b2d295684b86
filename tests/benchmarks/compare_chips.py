"""What comparing chips costs, against the timing of each on the same activity and one functional run.

    python tests/benchmarks/compare_chips.py NETWORK.net FRAMES [--chips A,B,C,D] [--set KEY=V1,V2] [--steps N]

Everything is measured in one process on one processor, in processor time, several times in turn; medians are printed.
The target is a ratio of at most 1.5. By default the four chips are Loihi 2 as it is and with three changes that leave
the network on it: a sweep of touched neurons, and tiles of two cores and of one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from hwmodels import load_chip
from neurosim import api
from neurosim.compiler import compile_network
from neurosim.compiler.placement import Placements
from neurosim.compiler.visits import counted_synapses
from neurosim.engine import FunctionRun
from neurosim.engine.run import run_steps
from neurosim.explore import Configuration, compare, configurations, describe
from neurosim.explore.configurations import split_values

VARIANTS: dict[str, dict[str, str]] = {
    "loihi2": {},
    "touched": {"core.neuron.sweep": "touched"},
    "pairs": {"mesh.columns": "8", "mesh.rows": "8", "mesh.cores_per_tile": "2"},
    "single cores": {"mesh.columns": "16", "mesh.rows": "8", "mesh.cores_per_tile": "1"},
}


class Recorded(FunctionRun):
    """Gives back activity that was kept."""

    def __init__(self, function: FunctionRun, kept: list[Any]) -> None:
        self.network, self.counts, self.timestep, self.kept = function.network, function.counts, 0, kept

    def step(self) -> Any:
        self.timestep += 1
        return self.kept[self.timestep - 1]


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    out = work()
    return time.process_time() - began, out


def compile_all(network: Any, chosen: Sequence[Configuration]) -> None:
    placed: Placements = {}
    for configuration in chosen:
        compile_network(network, configuration.chip, 0, placed)


def drain(steps: Any) -> None:
    for _ in steps:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("frames")
    parser.add_argument("--chips", help="comma-separated; each must have timesteps")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=V1,V2")
    parser.add_argument("--steps", type=int, default=74)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if args.chips:
        grid = {key: split_values(values) for key, _, values in (pair.partition("=") for pair in args.set)}
        chosen = configurations(args.chips.split(","), grid)
    else:
        chosen = tuple(Configuration(name, load_chip("loihi2", s), s) for name, s in VARIANTS.items())
    network = api.load(args.network)
    frames, _ = api.network_frames(network, args.frames)
    programs = [api.compile(network, c.chip) for c in chosen]
    counted = [counted_synapses(program) for program in programs]
    needed = next((c for c in counted if c is not None), None)
    rows: list[dict[str, float]] = []
    for repeat in range(args.repeats + 1):
        row: dict[str, float] = {}
        function = FunctionRun(network, frames, needed)
        row["function"], kept = seconds(lambda function=function: list(function.steps(args.steps)))
        plain = FunctionRun(network, frames)
        row["function, no synapses counted"], _ = seconds(lambda plain=plain: drain(plain.steps(args.steps)))
        for configuration, program in zip(chosen, programs, strict=True):
            replay = Recorded(function, kept)
            steps = run_steps(program, frames, args.steps, threads=1, function=replay)
            row[f"timing {configuration.name}"], _ = seconds(lambda steps=steps: drain(steps))
        row["compile"], _ = seconds(lambda: compile_all(network, chosen))
        row["compare"], found = seconds(lambda: describe(compare(network, chosen, frames, args.steps, threads=1)))
        if repeat:  # the first run compiles kernels
            rows.append(row)
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    timing = sum(value for name, value in median.items() if name.startswith("timing "))
    for name, value in median.items():
        print(f"{name:40} {value:8.3f} s")
    print(f"functional passes {found['functional_passes']}, timing passes {found['timing_passes']}")
    for name in ("function", "function, no synapses counted"):
        bound = timing + median[name]
        ratio, apart = median["compare"] / bound, (median["compare"] - median["compile"]) / bound
        print(f"compare / (sum of timing + {name}): {ratio:.2f}; without compiling {apart:.2f}")


if __name__ == "__main__":
    main()
