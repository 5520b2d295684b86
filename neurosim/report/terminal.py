"""The summary of a run as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from neurosim.report.layout import Column, counted, engineering, percent, print_columns, print_list, scaled
from neurosim.report.routing import entries_sentence

Summary = Mapping[str, Any]


def print_report(summary: Summary, console: Console) -> None:
    """Print a summary; no line is longer than the console is wide.

    Parameters
    ----------
    summary
        From `neurosim.report.summarise`.
    console
        Where to.
    """
    _header(summary, console)
    _headline(summary, console)
    _binding(summary, console)
    _layers(summary, console)
    _neurobench(summary, console)
    _memories(summary, console)
    _terms(summary, console)
    parts = dict(summary["provenance"])
    gap = parts.pop("gap")
    shares = ", ".join(f"{percent(part)} % {kind}" for kind, part in parts.items())
    console.print(f"The energy rests on constants that are {shares}, {percent(gap)} % not published (gap).")
    print_list("Notes", summary["notes"], console)
    print_list("What is not published about this chip, or not modelled", summary["gaps"], console)


def _header(summary: Summary, console: Console) -> None:
    console.print(Text.assemble((summary["model"], "bold"), " on ", (summary["chip"], "bold")))
    each = f"{counted(summary['steps_per_inference'], summary['step'])} per inference"
    whole = counted(summary["inferences"], "inference")
    steady = f" ({summary['inferences_steady']:,} steady)" if summary["inferences"] else ""
    console.print(f"{counted(summary['timesteps'], summary['step'])}, {each}, {whole} complete{steady}")
    for key, value in summary["settings"].items():
        console.print(Text(f"set by the user: {key} = {value}"))
    for warning in summary["warnings"]:
        console.print(Text(warning, style="bold"))
    console.print()


def _headline(summary: Summary, console: Console) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(overflow="fold")

    def row(name: str, value: str, meaning: str, strong: bool = True) -> None:
        style = "bold" if strong else ""
        grid.add_row(Text(name, style), Text(value, style), Text(meaning))

    inference = summary["energy_per_inference_j"]
    energy = inference or summary["energy_run_j"]
    low, high = engineering(energy["low"], "J"), engineering(energy["high"], "J")
    row(
        "energy per inference" if inference else "energy of the run",
        engineering(energy["value"], "J"),
        f"{low} to {high}, see below",
    )
    included = summary["included"]
    row("  dynamic", engineering(energy["dynamic"], "J"), f"its work: {included['dynamic']}", False)
    until = "until the next inference enters" if inference else "all the while"
    row("  idle", engineering(energy["idle"], "J"), f"{included['idle']}; {until}", False)
    powers = summary["power_w"]
    if powers is not None:
        power = {name: engineering(held["value"], "W") for name, held in powers.items()}
        span = " to ".join(engineering(powers["active"][end], "W") for end in ("low", "high"))
        row("power", power["active"], f"mean while it runs, {span}: idle {power['idle']}, dynamic {power['dynamic']}")
    latency, rate = summary["latency_per_inference_s"], summary["throughput_inferences_per_s"]
    in_time = ", if ticks were in time" if summary["incidents"]["late_timesteps"] else ""
    name = summary["step"]
    # Frames never overlap: each is fed when all is at rest.
    full, steady = "with the pipeline full", "mean with the pipeline full"
    if name == "frame":
        full, steady = "one after the other", "mean after the start-up"
    if latency is not None:
        row("latency", engineering(latency, "s"), f"from its first {name} until its answer is out{in_time}")
    if rate is not None:
        shown = f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"
        row("throughput", f"{shown} /s", f"inferences, {full}{in_time}")
    step = summary["timestep_s"]
    if step["steady_mean"] is not None:
        row(name, engineering(step["steady_mean"], "s"), steady, False)
    row(
        "" if step["steady_mean"] is not None else name,
        engineering(step["mean"], "s"),
        f"mean of all: {engineering(step['min'], 's')} to {engineering(step['max'], 's')}",
        False,
    )
    product = summary["energy_delay_product_js"]
    if product is not None:
        row("energy-delay", engineering(product["value"], "J s"), "energy per inference times latency", False)
    console.print(grid)
    console.print("The range takes energy constants and powers at the ends of their ranges, times at their values.")
    gap = summary["provenance"]["gap"]
    if gap:
        console.print(f"{percent(gap)} % of the energy rests on constants that nobody published, see the notes.")
    for key, words in (("static_note", "static power: "), ("left_out", "The chip has ")):
        if included[key]:
            console.print(Text(f"{words}{included[key]}"))


def _binding(summary: Summary, console: Console) -> None:
    bound = Counter(name for name in summary["per_timestep"]["binding"] if name is not None)
    if bound:
        (most, steps), *others = bound.most_common()
        rest = "".join(f", {name} in {number:,}" for name, number in others)
        console.print(f"binding: {most} in {steps:,} of {counted(summary['timesteps'], summary['step'])}{rest}")


def _layers(summary: Summary, console: Console) -> None:
    layers, network = summary["layers"], summary["network"]
    branched = network["copies"] != network["packets"]

    def whole(title: str, key: str) -> Column:
        values = [layer[key] for layer in layers]
        return Column(title, values, foot=sum(values))

    total_j = sum(layer["energy_j"] for layer in layers)
    energies, unit = scaled([*(layer["energy_j"] for layer in layers), total_j], "J")
    columns = [
        Column("layer", [layer["name"] for layer in layers], left=True, foot="all"),
        whole("neurons", "neurons"),
        whole("cores", "cores"),
        whole("messages", "messages"),
        whole("synops", "synops"),
        whole("non-zero\nsynops", "synops_nonzero"),
        Column(f"dynamic\nenergy/{unit}", energies[:-1], foot=energies[-1]),
        whole("updates", "neuron_updates"),
        whole("packets", "packets"),
        # Packets that do not branch are one message each.
        *([whole("copies", "copies")] if branched else []),
        whole("hops", "hops"),
    ]
    print_columns(f"Layers over {counted(summary['timesteps'], summary['step'])}", columns, console)
    copies = f", {counted(network['copies'], 'copy', 'copies')} for cores" if branched else ""
    console.print(
        f"{counted(network['packets'], 'packet')} of {counted(network['flits'], 'flit')} in all{copies}; "
        f"the busiest link was in use for {percent(network['peak_link_utilisation'])} % of the time"
    )
    _accountings(summary, console)
    fullest, incidents = summary["routing_tables"], summary["incidents"]
    if fullest is not None:
        console.print(Text(entries_sentence(fullest)))
    if incidents["late_timesteps"]:
        sweeps, messages = (counted(incidents[f"late_{name}s"], name) for name in ("sweep", "message"))
        console.print(f"late in {counted(incidents['late_timesteps'], 'timestep')}: {sweeps} and {messages}")
    if incidents["detours"] or incidents["reinjected"]:
        console.print(
            f"{counted(incidents['detours'], 'flit')} went round a blocked link, "
            f"{incidents['reinjected']:,} were given up and sent again"
        )


def _accountings(summary: Summary, console: Console) -> None:
    held = summary["messages"]
    if held["accountings"] is None:
        return
    each = held["accountings"]["per_inference"]
    found, what = (held["accountings"]["run"], "of the run") if each is None else (each, "per inference")
    number = {name: f"{round(value):,}" for name, value in found.items()}
    sent = {
        "graded": "sent graded",
        "units": "sent as unit spikes",
        "split": f"sent in {number['sends']} pieces",
    }[held["sent_as"]]
    console.print(
        f"{what}: {number['graded_synops']} graded synops of {number['messages']} messages, or {number['unit_adds']} "
        f"unit adds of {number['unit_spikes']} unit spikes; {sent}"
    )


def _memories(summary: Summary, console: Console) -> None:
    memories = summary["memories"]
    energies, unit = scaled([memory["energy_j"] for memory in memories], "J")
    columns = [
        Column("memory", [memory["name"] for memory in memories], left=True),
        *(
            Column(f"{thing}\n{way}", [memory[f"{thing}_{way}"] for memory in memories])
            for thing in ("words", "bytes")
            for way in ("read", "written")
        ),
        Column(f"stage\nenergy/{unit}", energies),
    ]
    print_columns(f"Memory traffic over {counted(summary['timesteps'], summary['step'])}", columns, console)
    console.print("Stage energy: of the stage that uses the memory, its accesses included; not of the accesses alone.")
    if None in energies:
        console.print("-: no constant of its own; the energy of a synop includes it")


def _neurobench(summary: Summary, console: Console) -> None:
    bench = summary["neurobench"]
    columns = [
        Column("footprint\n/bytes", [bench["footprint_bytes"]]),
        *(
            Column(f"{kind}\nsparsity", ["-" if share is None else f"{share:.4f}"])
            for kind in ("connection", "activation")
            for share in (bench[f"{kind}_sparsity"],)
        ),
        Column("dense", [bench["dense"]]),
        Column("effective\nMACs", [round(bench["effective_macs"])]),
        Column("effective\nACs", [round(bench["effective_acs"])]),
    ]
    print_columns(f"NeuroBench's metrics, with the synaptic operations of a mean {summary['step']}", columns, console)
    if bench["activation_sparsity"] is None:
        console.print("-: not defined where a neuron may send several messages in a frame")


def _terms(summary: Summary, console: Console) -> None:
    inference = summary["energy_per_inference_j"] is not None
    key, events = ("energy_j", "events_per_inference") if inference else ("energy_run_j", "events_run")
    terms = [term for term in summary["energy_terms"] if term[key] or term[events]]
    terms.sort(key=lambda term: (-term[key], term["key"]))
    total_j = sum(term[key] for term in terms)
    energies, unit = scaled([*(term[key] for term in terms), total_j], "J")
    columns = [
        Column("constant", [term["key"] for term in terms], left=True, foot="all"),
        Column("kind", [term["kind"] for term in terms], left=True),
        Column("events", [None if term[events] is None else round(term[events]) for term in terms]),
        Column(f"energy\n/{unit}", energies[:-1], foot=energies[-1]),
        Column("share\n/%", [percent(term[key] / total_j if total_j else 0.0) for term in terms]),
    ]
    for end in ("low", "high") if inference else ():
        ends, _ = scaled([*(term[end] for term in terms), sum(term[end] for term in terms)], "J", unit)
        columns.append(Column(f"{end}\n/{unit}", ends[:-1], foot=ends[-1]))
    what = "per inference" if inference else "of the run"
    print_columns(f"Where the energy {what} goes", columns, console)
