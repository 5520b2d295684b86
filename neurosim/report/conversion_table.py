"""A conversion for people: what it keeps of the original's answers, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from neurosim.convert import (
    Conversion,
    GatedNetwork,
    GatedReport,
    HybridNetwork,
    HybridReport,
    LavaNetwork,
    LavaReport,
    RateNetwork,
    RateReport,
    Report,
)
from neurosim.network import Network
from neurosim.report.layout import Column, print_columns

TWO_A_SYNAPSE = (
    "two a synapse: its multiplication and its addition, those of padding too where zeros are not skipped; "
    "a synapse met by a message counts once for both"
)


def print_conversion(conversion: Conversion, console: Console) -> None:
    """Print a conversion's report."""
    report = conversion.report
    network = conversion.network
    _print_size(network, console)
    _print_errors(report, console)
    rows = [
        ("dense network (two a synapse)", report.dense_operations),
        ("dense network, zeros skipped (two a synapse)", report.sparse_operations),
        ("rounding, additions of unit spikes", report.rounding_adds),
        ("sigma-delta, additions of unit spikes", report.sigma_delta_adds),
        ("as sent, synapses met by graded messages (one each)", report.graded_synops),
        ("as sent, messages", report.messages),
        ("as sent, rows read by unit spikes", report.row_reads),
    ]
    _print_operations(rows, console)
    console.print(TWO_A_SYNAPSE, soft_wrap=True)
    names = [layer.name for layer in network.layers]
    bits = [
        Column("layer", names, left=True),
        Column("weights", [report.weight_bits.get(name) for name in names]),
        Column("messages", [report.message_bits.get(name) for name in names]),
        Column("sums", [report.sum_bits.get(name) for name in names]),
    ]
    print_columns("Signed bits that these frames need", bits, console)
    if report.scale_steps is not None:
        console.print()
        console.print(f"the search for scales made {report.scale_steps:,} steps")
    if report.unsettled:
        console.print(
            f"note: the scales of {', '.join(report.unsettled)} were still moving when they ended; give more "
            "--scale-epochs, or a larger --scale-rate",
            markup=False,
            soft_wrap=True,
        )


def _print_size(network: Network, console: Console) -> None:
    console.print(f"{network.name}: {len(network.layers)} layers, {network.size:,} neurons", highlight=False)


def _print_operations(rows: Sequence[tuple[str, float]], console: Console) -> None:
    columns = [
        Column("a frame", [name for name, _ in rows], left=True),
        Column("operations", [f"{value:,.1f}" for _, value in rows]),
    ]
    print_columns("Operations", columns, console)


def _print_errors(report: Report | LavaReport, console: Console) -> None:
    if report.error_percent is not None:
        console.print(
            f"error {report.error_percent:.2f} % on {report.frames:,} frames, "
            f"original {report.original_error_percent:.2f} %"
        )
    console.print(
        f"answers differ from the original's on {report.disagreement_percent:.2f} % of {report.frames:,} frames; "
        f"output error {report.output_error:.4f} of the answers' spread"
    )


def print_lava(found: LavaNetwork, report: LavaReport, console: Console) -> None:
    """Print the report of a network in lava's form, and how its numbers are read."""
    network = found.network
    _print_size(network, console)
    _print_errors(report, console)
    rows = [
        ("dense network (two a synapse)", report.dense_operations),
        ("synapses met by messages (one each)", report.graded_synops),
        ("messages", report.messages),
    ]
    _print_operations(rows, console)
    console.print(TWO_A_SYNAPSE, soft_wrap=True)
    console.print()
    bias = ", ".join(f"{value:.6g}" for value in found.answer_bias[:16])
    more = ", ..." if found.answer_bias.size > 16 else ""
    console.print(f"1 in an integer frame stands for {found.frame_scale:.6g}")
    console.print(
        f"1 in an answer stands for {found.answer_scale:.6g}; add to the answers {bias}{more}", soft_wrap=True
    )


def print_rates(found: RateNetwork, report: RateReport, console: Console) -> None:
    """Print the report of a network of rates, and how its answer is read."""
    network, options = found.network, found.options
    _print_curve(network, report, "spikes", console)
    names = [layer.name for layer in network.layers]
    rows = [
        Column("layer", names, left=True),
        Column("messages a sample", [_decimals(report.layer_messages.get(name)) for name in names]),
        Column("weight bits", [report.weight_bits.get(name) for name in names]),
        Column("value of a spike a timestep", [*(f"{level:.5g}" for level in found.levels), None]),
    ]
    print_columns("Layers", rows, console)
    console.print()
    fed = "each frame in every timestep" if options.inputs == "graded" else "unit spikes"
    console.print(f"a sample takes {options.timesteps} timesteps, fed as {fed}", highlight=False)
    console.print(
        f"1 in an answer stands for {1 / (found.answer_scale * options.timesteps):.6g} after the last of them"
    )


def print_hybrid(found: HybridNetwork, report: HybridReport, console: Console) -> None:
    """Print the report of a hybrid-spiking network, and how its answer is read."""
    network, options = found.network, found.options
    _print_curve(network, report, "messages", console)
    console.print(
        f"messages of the layers as unit spikes: {report.unit_adds:,.0f} additions a sample; "
        f"bits an activity {report.bits['per_activity']:.2f}"
    )
    names = [layer.name for layer in network.layers]
    rows = [
        Column("layer", names, left=True),
        Column("omega", [None, *(f"{omega:.6g}" for omega in found.omegas), None]),
        Column("messages a sample", [_decimals(report.layer_messages.get(name)) for name in names]),
        Column("bits an activity", [f"{report.bits[name]:.2f}" if name in report.bits else None for name in names]),
        Column("weight bits", [report.weight_bits.get(name) for name in names]),
    ]
    print_columns("Layers", rows, console)
    console.print()
    read = options.read_timesteps
    console.print(
        f"a sample takes {options.timesteps} timesteps, fed as each frame in every timestep; its answer is what the "
        f"last layer sends in the last of them, the sum of {read}",
        soft_wrap=True,
    )
    console.print(f"1 in an answer stands for {1 / (found.answer_scale * read):.6g}")


def _print_curve(network: Network, report: RateReport | HybridReport, messages: str, console: Console) -> None:
    """Print errors and work after fewer timesteps, and what the original is and takes."""
    _print_size(network, console)
    curve = report.curve
    columns = [
        Column("timesteps", [row["timesteps"] for row in curve]),
        *(
            []
            if report.error_percent is None
            else [Column("error %", [f"{row['error_percent']:.2f}" for row in curve])]
        ),
        Column("differ %", [f"{row['disagreement_percent']:.2f}" for row in curve]),
        Column("output error", [f"{row['output_error']:.4f}" for row in curve]),
        Column(messages, [f"{row[messages]:,.1f}" for row in curve]),
        Column("input messages", [f"{row['input_messages']:,.1f}" for row in curve]),
        Column("synops", [f"{row['synops']:,.0f}" for row in curve]),
    ]
    print_columns(f"A sample, of {report.samples:,}", columns, console)
    if report.error_percent is not None:
        console.print(f"original: error {report.original_error_percent:.2f} %")
    console.print(
        f"original: {report.dense_operations:,.0f} operations a sample, multiplications and additions counted apart, "
        "so two a synapse; a synop is one synapse met",
        soft_wrap=True,
    )


def _decimals(value: float | None) -> str | None:
    return None if value is None else f"{value:,.1f}"


def print_gated(found: GatedNetwork, report: GatedReport, console: Console) -> None:
    """Print the report of a delta network of gated layers, and how its numbers are read."""
    network = found.network
    _print_size(network, console)
    if report.error_percent is not None:
        console.print(f"error {report.error_percent:.2f} %, original {report.original_error_percent:.2f} %")
    console.print(
        f"answers differ from the original's in {report.disagreement_percent:.2f} % of {report.answers:,}, on "
        f"{report.frames:,} frames of {report.sequences:,} sequences; output error {report.output_error:.4f} of the "
        "answers' spread",
        soft_wrap=True,
    )
    rows = [
        ("dense gated layers, multiply-accumulates", report.dense_macs),
        ("as sent, multiply-accumulates of gated layers", report.macs),
        ("as sent, multiply-accumulates of the read-out", report.read_out_macs),
    ]
    _print_operations(rows, console)
    fewer = "no change was sent" if report.reduction is None else f"{report.reduction:.2f} times fewer in gated layers"
    console.print(fewer)
    names = [layer.name for layer in network.layers]
    thresholds = [*(f"{value:g}" for value in report.thresholds), None]
    columns = [
        Column("layer", names, left=True),
        Column("threshold", thresholds),
        Column(
            "messages\na frame", [None if n not in report.messages else f"{report.messages[n]:,.1f}" for n in names]
        ),
        Column("bits of\nweights", [report.weight_bits.get(name) for name in names]),
        Column("messages", [report.message_bits.get(name) for name in names]),
        Column("sums", [report.sum_bits.get(name) for name in names]),
    ]
    print_columns("Changes, and signed bits that these frames need", columns, console)
    console.print()
    console.print(f"1 in an integer frame stands for {found.frame_scale:.6g}")
    mean = ", over the number of frames so far" if found.read_out == "mean" else ""
    console.print(f"1 in an answer stands for {found.answer_scale:.6g}{mean}")


def print_curve(conversions: Sequence[Conversion], best: Sequence[Conversion], console: Console) -> None:
    """Print a lambda sweep; those that no other beats are marked."""
    reports = [c.report for c in conversions]
    columns = [
        Column("lambda", [f"{c.tradeoff:.3g}" for c in conversions]),
        Column("error %", [None if r.error_percent is None else f"{r.error_percent:.2f}" for r in reports]),
        Column("differ %", [f"{r.disagreement_percent:.2f}" for r in reports]),
        Column("rounding adds", [f"{r.rounding_adds:,.0f}" for r in reports]),
        Column("sigma-delta adds", [f"{r.sigma_delta_adds:,.0f}" for r in reports]),
        Column("graded synops", [f"{r.graded_synops:,.0f}" for r in reports]),
        Column("unbeaten", ["yes" if c in best else "" for c in conversions], left=True),
    ]
    print_columns("Error against operations a frame", columns, console)
