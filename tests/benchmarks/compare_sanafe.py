"""Compare neurosim, timed cycle by cycle, with SANA-FE on random spiking networks.

    pip install sanafe
    python tests/benchmarks/compare_sanafe.py --json comparison.json

Both run the same network on the same cores, on one processor each, in processes of their own. Spikes, synops and
packets are compared block by block, hops over the timesteps before; a difference is printed. Times are processor
time, medians over blocks of timesteps; the ratios are medians of the ratios of equal blocks. Without SANA-FE
neurosim is measured alone. `--growth` measures neurosim from 1 k to 1 M neurons and from 16 to 1,024 cores.
Nothing here asserts a time. docs/benchmarks.md says what the models include and where they differ.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import measure
from random_networks import Case, case_of

from neurosim.files import atomic_path

MODELS = ("simple", "detailed", "cycle")
GROWTH = (
    *((neurons, 128) for neurons in (1_024, 10_240, 102_400, 1_024_000)),
    *((102_400, cores) for cores in (16, 32, 64, 256, 512, 1024)),
)


def in_own_process(kind: str, job: dict[str, Any], memory_gib: float) -> dict[str, Any]:
    """Run `measure.run_<kind>` in a fresh process; an ``error`` is all that comes back where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        ask, answer = Path(folder) / "ask.json", Path(folder) / "answer.json"
        ask.write_text(json.dumps(job | {"memory_gib": memory_gib}))
        done = subprocess.run(
            [sys.executable, __file__, "--worker", kind, str(ask), str(answer)], capture_output=True, text=True
        )
        if done.returncode or not answer.exists():
            words = (done.stderr.strip() or "no message").splitlines()[-1]
            return {"error": f"exit status {done.returncode}: {words}"}
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def work(kind: str, ask: str, answer: str) -> None:
    """Do in this process what `in_own_process` asks of it."""
    job = json.loads(Path(ask).read_text())
    measure.limit_memory(job["memory_gib"])
    run = {"neurosim": measure.run_neurosim, "sanafe": measure.run_sanafe}[kind]
    Path(answer).write_text(json.dumps(run(job)))


def per_step(found: dict[str, Any], warm: int) -> dict[str, float]:
    """Return means over the measured timesteps: times in ms, counts, and ns of each count."""
    row = {name: statistics.fmean(found[name][warm:]) for name in ("fired", "synops", "packets", "hops", "step_us")}
    row["ms"] = found["run_cpu_s"] * 1e3
    parts = found.get("parts", {})
    row |= {name.removesuffix("_s") + "_ms": value * 1e3 for name, value in parts.items() if value is not None}
    timing = parts.get("timing_s", found["run_cpu_s"]) * 1e9
    row["ns_per_packet"] = timing / row["packets"]
    row["ns_per_hop"] = timing / max(row["hops"], 1)
    row["ns_per_synop"] = parts.get("function_s", 0.0) * 1e9 / row["synops"]
    row["ns_all_per_synop"] = found["run_cpu_s"] * 1e9 / row["synops"]
    return row


def against(ours: dict[str, Any], theirs: dict[str, Any], plan: list[tuple[str, int]], warm: int) -> dict[str, Any]:
    """Compare block by block what both did in the same timesteps.

    Returns
    -------
    ``differences``, in words; and for each timing model medians over its blocks: ms a timestep, the ratio to
    neurosim's processor time, the lowest such ratio, and the simulated timestep of both in us.
    """
    out: dict[str, Any] = {"differences": []}
    if ours["fired"][:warm] != theirs["warm_fired"] or ours["hops"][:warm] != theirs["warm_hops"]:
        out["differences"].append("spikes or hops of the first timesteps")
    at = warm
    rows: dict[str, list[dict[str, float]]] = {}
    for (_, count), block in zip(plan, theirs["blocks"], strict=True):
        steps = slice(at, at + count)
        at += count
        for name in ("fired", "synops", "packets"):
            mine = sum(ours[name][steps])
            if mine != block[name]:
                out["differences"].append(f"{name} {mine} and {block[name]} in timesteps {steps.start} to {at}")
        rows.setdefault(block["model"], []).append(
            {
                "ms": block["cpu_s"] / count * 1e3,
                "wall_ms": block["wall_s"] / count * 1e3,
                "ratio": block["cpu_s"] / count / ours["run_cpu_s"],
                "wall_ratio": block["wall_s"] / count / ours["run_wall_s"],
                "step_us": block["step_us"],
                "step_us_neurosim": statistics.fmean(ours["step_us"][steps]),
            }
        )
    for model in MODELS:
        if model in rows:
            out[model] = {key: statistics.median(row[key] for row in rows[model]) for key in rows[model][0]}
            out[model] |= {"blocks": len(rows[model]), "ratio_low": min(row["ratio"] for row in rows[model])}
    return out


def compare(case: Case, options: dict[str, Any], sanafe: bool) -> dict[str, Any]:
    """Measure one case with both simulators."""
    warm, timesteps, repeats = options["warm"], options["timesteps"], options["repeats"]
    lengths = {"simple": timesteps, "detailed": timesteps, "cycle": max(timesteps // 5, 1)}
    plan = [(model, lengths[model]) for _ in range(repeats) for model in MODELS]
    row: dict[str, Any] = {"case": asdict(case)}
    with tempfile.TemporaryDirectory() as folder:
        job = {"case": asdict(case), "warm": warm, "slots": str(Path(folder) / "slots.npy")}
        total = warm + sum(count for _, count in plan)
        ours = {"timesteps": total, "repeats": 3, "parts": True, "threads": True}
        row["neurosim"] = in_own_process("neurosim", job | ours, options["memory_gib"])
        if "error" in row["neurosim"]:
            return row
        row["per_step"] = per_step(row["neurosim"], warm)
        if sanafe:
            theirs = {"blocks": plan, "budget_s": options["budget_s"], "own_architecture": options["own_architecture"]}
            row["sanafe"] = in_own_process("sanafe", job | theirs, options["memory_gib"])
            if "error" not in row["sanafe"]:
                row["against"] = against(row["neurosim"], row["sanafe"], plan, warm)
    return row


def grow(neurons: int, cores: int, options: dict[str, Any]) -> dict[str, Any]:
    """Measure neurosim alone, 4 destinations a neuron."""
    case = case_of(neurons, 4, cores)
    warm = options["warm"]
    job = {"case": asdict(case), "warm": warm, "timesteps": warm + options["timesteps"], "repeats": 3, "parts": True}
    if neurons * case.fan_out > 20_000_000:
        job |= {"repeats": 1, "parts": False}
    found = in_own_process("neurosim", job, options["memory_gib"])
    row: dict[str, Any] = {"case": asdict(case), "neurosim": found}
    return row if "error" in found else row | {"per_step": per_step(found, warm)}


def say(*cells: Any) -> None:
    """Print a row of a table."""
    click.echo(
        "| "
        + " | ".join(
            f"{cell:.3g}"
            if isinstance(cell, float) and cell < 1000
            else f"{cell:.0f}"
            if isinstance(cell, float)
            else str(cell)
            for cell in cells
        )
        + " |"
    )


def head(*names: str) -> None:
    """Print the head of a table."""
    click.echo()
    say(*names)
    say(*("---" for _ in names))


def name_of(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return the cells that name a case: neurons, destinations, cores used."""
    case = row["case"]
    return f"{case['neurons']:,}", str(case["destinations"]), str(case["cores"])


def print_comparison(rows: list[dict[str, Any]]) -> None:
    """Print the comparison as tables that are Markdown too."""
    good = [row for row in rows if "per_step" in row]
    head(
        "neurons",
        "destinations",
        "cores used",
        "neurosim ms",
        *(f"{m} ms" for m in MODELS),
        *(f"{m} x" for m in MODELS),
    )
    for row in good:
        found = row.get("against", {})
        ms, times = ([found[m][key] if m in found else "-" for m in MODELS] for key in ("ms", "ratio"))
        say(*name_of(row), row["per_step"]["ms"], *ms, *times)
    head("neurons", "destinations", "cores used", "peak MiB", "SANA-FE", "ratio", "to run MiB", "SANA-FE", "ratio")
    for row in good:
        ours, theirs = row["neurosim"], row.get("sanafe", {})
        if "peak_mib" in theirs:
            both = [
                (round(ours[key]), round(theirs[key]), theirs[key] / ours[key]) for key in ("peak_mib", "ready_mib")
            ]
            say(*name_of(row), *both[0], *both[1])
    head(
        "neurons",
        "destinations",
        "spikes",
        "synops",
        "packets",
        "hops",
        "ns/packet",
        "ns/hop",
        "ns/synop (function)",
        "ns/synop (all)",
    )
    for row in good:
        step = row["per_step"]
        counts = [f"{step[key]:,.0f}" for key in ("fired", "synops", "packets", "hops")]
        say(
            *name_of(row)[:2],
            *counts,
            *(step[f"ns_{key}"] for key in ("per_packet", "per_hop", "per_synop", "all_per_synop")),
        )
    head(
        "neurons",
        "destinations",
        "function ms",
        "numpy bincount",
        "scipy sparse x matrix",
        "scipy matrix x dense",
        "timing ms",
    )
    for row in good:
        keys = ("function_ms", "numpy_bincount_ms", "scipy_sparse_vector_ms", "scipy_dense_vector_ms", "timing_ms")
        say(*name_of(row)[:2], *(row["per_step"].get(key, "-") for key in keys))
    head("neurons", "destinations", "wall ms, 1 thread", "2 threads", "ratio")
    for row in good:
        if walls := row["neurosim"].get("threads"):
            say(*name_of(row)[:2], walls["1"] * 1e3, walls["2"] * 1e3, walls["1"] / walls["2"])
    head("neurons", "destinations", "simulated us a timestep: neurosim", *MODELS)
    for row in good:
        found = row.get("against", {})
        say(
            *name_of(row)[:2], row["per_step"]["step_us"], *(found[m]["step_us"] if m in found else "-" for m in MODELS)
        )


def print_growth(rows: list[dict[str, Any]]) -> None:
    """Print how neurosim grows."""
    head(
        "neurons", "cores", "build s", "compile s", "ms a timestep", "ns/packet", "ns/hop", "ns/synop (all)", "peak MiB"
    )
    for row in rows:
        if "per_step" in row:
            step, found, case = row["per_step"], row["neurosim"], row["case"]
            say(
                f"{case['neurons']:,}", case["cores"], found["build_s"], found["compile_s"], step["ms"],
                step["ns_per_packet"], step["ns_per_hop"], step["ns_all_per_synop"], round(found["peak_mib"]),
            )  # fmt: skip


def plot_growth(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time and memory against neurons; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    good = [row for row in rows if "per_step" in row]
    for axis, key, title, chosen in (
        (axes[0], "neurons", "128 cores", [row for row in good if row["case"]["chip_cores"] == 128]),
        (axes[1], "cores", "102,400 neurons", [row for row in good if row["case"]["neurons"] == 102_400]),
    ):
        chosen.sort(key=lambda row: row["case"][key])
        x = [row["case"][key] for row in chosen]
        axis.loglog(x, [row["per_step"]["ms"] for row in chosen], "o-", label="processor time of a timestep, ms")
        axis.loglog(x, [row["neurosim"]["peak_mib"] for row in chosen], "s--", label="peak memory, MiB")
        axis.set(xlabel=key, title=title)
        axis.grid(which="major", alpha=0.3)
        axis.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--neurons", default="1024,10240,102400", show_default=True, help="Sizes of the networks.")
@click.option("--destinations", default="1,4,16,64", show_default=True, help="Destination cores of a neuron.")
@click.option("--timesteps", default=5, show_default=True, help="Timesteps of a block; a fifth of it for `cycle`.")
@click.option("--repeats", default=3, show_default=True, help="Blocks of each timing model.")
@click.option("--warm", default=40, show_default=True, help="Timesteps before measuring, in which phases mix.")
@click.option("--budget-s", default=60.0, show_default=True, help="Processor seconds after which a timing model stops.")
@click.option("--memory-gib", default=14.0, show_default=True, help="Address space that a process may take.")
@click.option("--own-architecture", is_flag=True, help="Run SANA-FE on its own loihi.yaml, idle units and all.")
@click.option("--growth", is_flag=True, help="Measure how neurosim grows, too.")
@click.option("--growth-only", is_flag=True, help="Measure that alone.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the growth; needs matplotlib.")
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures to this file.")
def main(neurons: str, destinations: str, out: Path | None, plot: Path | None, **options: Any) -> None:
    """Compare neurosim with SANA-FE: time and memory a timestep, from one run on this machine."""
    sanafe = find_spec("sanafe") is not None
    if not sanafe:
        click.echo("SANA-FE is not installed (pip install sanafe): neurosim is measured alone", err=True)
    if plot and not find_spec("matplotlib"):
        raise click.UsageError("--plot needs matplotlib")
    report: dict[str, Any] = {"about": measure.about(), "options": options, "comparison": [], "growth": []}
    click.echo(json.dumps(report["about"]))
    if not options["growth_only"]:
        for size in map(int, neurons.split(",")):
            for count in map(int, destinations.split(",")):
                row = compare(case_of(size, count), options, sanafe)
                report["comparison"].append(row)
                problems = [row[side]["error"] for side in ("neurosim", "sanafe") if "error" in row.get(side, {})]
                problems += row.get("against", {}).get("differences", [])
                click.echo(f"{size} neurons, {count} destinations: {'; '.join(problems) or 'measured'}", err=True)
    if options["growth"] or options["growth_only"]:
        for size, cores in GROWTH:
            row = grow(size, cores, options)
            report["growth"].append(row)
            click.echo(f"{size} neurons, {cores} cores: {row['neurosim'].get('error', 'measured')}", err=True)
    if out:
        with atomic_path(out) as path:
            path.write_text(json.dumps(report, indent=1) + "\n")
    if report["comparison"]:
        print_comparison(report["comparison"])
    if report["growth"]:
        print_growth(report["growth"])
        if plot:
            plot_growth(report["growth"], plot)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
    else:
        main()
