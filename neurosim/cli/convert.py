"""The command that converts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from neurosim.cli import common, convert_gated, convert_spiking
from neurosim.cli.conversion_files import write_conversion, write_json
from neurosim.cli.output_files import OutputFile, check_outputs
from neurosim.errors import InputError

PATH = click.Path(path_type=Path)
METHODS = ("rounding", "sigma-delta", "lava", "fixed-point", *convert_spiking.OPTIONS, *convert_gated.METHODS)


def number(text: str) -> float:
    """Return the number that a text is; for several in one, say that the option repeats."""
    try:
        return float(text)
    except ValueError:
        way = "; repeat the option, with one number each time" if "," in text else ""
        raise click.BadParameter(f'"{text}" is no number{way}') from None


@click.command("convert")
@click.argument("model", metavar="MODEL")
@click.option("--to", "method", type=click.Choice(METHODS), required=True, help="What to convert to.")
@click.option("--data", type=PATH, required=True, metavar="FILE", help="Calibration frames (.npy, .npz with inputs).")
@click.option(
    "--output",
    "-o",
    type=OutputFile(),
    required=True,
    metavar="NET",
    help="File of the network: .nsnet, or .net for lava.",
)
@click.option(
    "--test", type=PATH, metavar="FILE", help="Frames, and labels, to report on instead of the calibration's."
)
@click.option("--input-scale", type=float, metavar="S", help="What 1 in an integer frame stands for.")
@click.option(
    "--frames", "frames_file", type=OutputFile(), metavar="FILE.npy", help="Write the frames reported on, as integers."
)
@click.option(
    "--scale", "scales", type=number, multiple=True, metavar="K", help="Scale of all layers; repeated, one a layer."
)
@click.option(
    "--threshold",
    "thresholds",
    type=number,
    multiple=True,
    metavar="T",
    help="Lava and delta networks: least change that is sent, of all layers; repeated, one a layer (of delta networks "
    "the inputs first), in the network's units.",
)
@click.option(
    "--read-out",
    type=click.Choice(["frame", "mean"]),
    help="Delta networks: an answer of each frame, or of the mean state so far.  [default: frame]",
)
@click.option(
    "--weight-fraction",
    type=click.IntRange(0, 15),
    metavar="F",
    help="Delta networks: bits of fraction of gated layers' weights.  [default: 7]",
)
@click.option(
    "--lambda",
    "tradeoffs",
    type=number,
    multiple=True,
    metavar="L",
    help="Divergence that an operation a frame is worth; repeated, a curve.  [default: 1e-7]",
)
@click.option("--within", type=float, metavar="P", help="Of a curve, write the cheapest that differs on P % or less.")
@click.option("--curve", type=OutputFile(), metavar="FILE", help="Write the reports of all lambdas as JSON.")
@click.option(
    "--per", type=click.Choice(["layer", "channel"]), help="How many scales.  [default: layer; fixed-point: channel]"
)
@click.option(
    "--weights",
    type=click.Choice(["frozen", "refit", "tuned"]),
    default="frozen",
    show_default=True,
    help="Whether weights are adapted: by least squares, or trained against the original's answers.",
)
@click.option(
    "--answer",
    type=click.Choice(["classes", "values"]),
    default="classes",
    show_default=True,
    help="What the network's answer is: the largest of classes, or values.",
)
@click.option("--unordered", is_flag=True, help="Calibration frames do not follow each other in time.")
@click.option(
    "--bits", type=click.IntRange(2, 16), default=8, show_default=True, help="Of weights; fixed-point: of all."
)
@click.option("--rule", help="Fixed-point: auto, a density's name, or max.  [default: auto]")
@click.option(
    "--timesteps", type=click.IntRange(min=1), metavar="T", help="Lif, hybrid: of a sample.  [default: 32; hybrid: 8]"
)
@click.option(
    "--percentile", type=float, metavar="P", help="Lif: of activations, to be the highest rate.  [default: 99.9]"
)
@click.option(
    "--inputs",
    type=click.Choice(["graded", "spikes"]),
    help="Lif: the frame itself in each timestep, or unit spikes.  [default: graded]",
)
@click.option(
    "--first",
    type=click.Choice(["half", "empty", "random"]),
    help="What a sample starts with. Lif: half a threshold or nothing; hybrid: half a message left over, or residuals "
    "drawn from 0 to 1.  [default: half]",
)
@click.option(
    "--omega",
    multiple=True,
    metavar="N|NAME=N",
    help="Hybrid: messages for a value of 1 in a timestep, of all layers, one a layer, or by name; names with a * are "
    "groups.",
)
@click.option(
    "--read",
    type=click.IntRange(min=1),
    metavar="R",
    help="Hybrid: last timesteps of a sample that the answer is read from.  [default: all]",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Of training the weights.  [default: 3]")
@click.option("--rate", type=float, help="Of training the weights.  [default: 0.01]")
@click.option(
    "--scale-epochs",
    type=click.IntRange(min=1),
    help="Of the search for scales.  [default: 2, and more until there are 1000 steps of 100 frames]",
)
@click.option("--scale-rate", type=float, help="Of the search for scales.  [default: 0.02]")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="S", help="Of all that is random."
)
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write the report as JSON.")
def command(model: str, method: str, data: Path, output: Path, **given: Any) -> None:
    """Convert a trained dense network to one that the simulator runs.

    MODEL is a dense network with float weights (.npz with arrays w0, b0, w1, b1, ...: linear layers, ReLU between;
    or .onnx).

    The network sends values each frame (rounding), changes (sigma-delta), changes above a threshold in lava's fixed
    point (lava, a NetX file), fixed-point values whose formats come from channel statistics (fixed-point), spikes at
    rates that stand for values (lif), or values in steps of 1 / omega, timestep after timestep, what is left being kept
    for the next (hybrid). Feed-forward networks of linear layers, convolutions, sums,
    pools, ReLU and clips.
    GRUs and LSTMs with a linear layer behind become delta networks (delta-gru, delta-lstm) in the number formats of the
    published accelerator; their frames are numbers in steps of 1/256.
    """
    check_outputs()
    suffix = ".net" if method == "lava" else common.NETWORK_SUFFIX
    if output.suffix.lower() != suffix:
        raise InputError(f"--output {output}: a network converted to {method} has a name in {suffix}; name it so")
    _refuse(method, given)

    from rich.console import Console

    from neurosim.cli.progress import StageProgress
    from neurosim.convert import make_plan, pareto
    from neurosim.convert.convert import integer_frames
    from neurosim.formats.dense_files import read_dense, read_samples
    from neurosim.report.conversion_table import print_conversion, print_curve

    graph = read_dense(model)
    inputs, unread = read_samples(data)
    test = read_samples(given["test"]) if given["test"] else None
    if method in convert_gated.METHODS:
        convert_gated.convert(graph, method, inputs, test, output, given)
        return
    scale = _input_scale(given["input_scale"], inputs, test)
    inputs = _in_units(inputs, scale)
    test = None if test is None else (_in_units(test[0], scale), test[1])
    plan = make_plan(graph, maxima=method != "lava")
    _check_samples(plan, data, inputs, None)
    if test is not None:
        _check_samples(plan, given["test"], *test)
    if unread is not None:
        click.echo(f"note: {data}: its labels are not used; give them with --test to report errors", err=True)
    if method == "lava":
        _to_lava(graph, inputs, test or (inputs, None), scale, output, given)
        return
    if method in convert_spiking.OPTIONS:
        convert_spiking.convert(method, graph, inputs, test, scale, output, given)
        return
    with StageProgress() as progress:
        found = _convert(graph, method, inputs, test, scale, given, progress)
    curve = [{"lambda": c.tradeoff, **c.report.to_dict()} for c in found]
    chosen = _chosen(found, curve, given)
    frames = integer_frames(inputs if test is None else test[0], scale)
    write_conversion(chosen.network, output, given, chosen.report, lambda: frames, curve)
    console = Console(highlight=False)
    if len(found) > 1:
        print_curve(found, pareto(found), console)
        console.print()
    print_conversion(chosen, console)
    console.print()
    console.print(f"1 in an integer frame stands for {scale:.6g}")
    console.print(f"1 in an answer stands for {1 / chosen.answer_scale:.6g}")
    console.print(f"written to {output}", markup=False, soft_wrap=True)


def _check_samples(plan: Any, path: Path, inputs: Any, labels: Any) -> None:
    """Refuse samples and labels that do not fit the network, with the name of their file."""
    from neurosim.convert.convert import check_labels
    from neurosim.convert.scales import check_frames

    try:
        found = check_frames(plan, inputs)
        if labels is not None:
            check_labels(labels, len(found), plan.sites[-1].size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _to_lava(graph: Any, inputs: Any, test: Any, scale: float, output: Path, given: dict[str, Any]) -> None:
    from rich.console import Console

    from neurosim.convert import describe_lava, make_plan, to_lava
    from neurosim.convert.convert import integer_frames
    from neurosim.convert.scales import check_frames
    from neurosim.report.conversion_table import print_lava

    plan = make_plan(graph)
    inputs = check_frames(plan, inputs)
    thresholds = given["thresholds"][0] if len(given["thresholds"]) == 1 else given["thresholds"]
    found = to_lava(plan, inputs, thresholds, scale)
    report = describe_lava(found, plan, *test)
    write_conversion(found.network, output, given, report, lambda: integer_frames(test[0], scale))
    console = Console(highlight=False)
    print_lava(found, report, console)
    console.print(f"written to {output}; read it with --rounding corrected", markup=False, soft_wrap=True)


def _refuse(method: str, given: dict[str, Any]) -> None:
    """Refuse options that the method, or the others given, leave without effect."""
    fixed, lava, spiking, gated = (
        method == "fixed-point",
        method == "lava",
        method in convert_spiking.OPTIONS,
        method in convert_gated.METHODS,
    )
    if (lava or gated) and not given["thresholds"]:
        raise click.UsageError(f"--to {method} needs --threshold T, of all layers, or one a layer.")
    bits_given = click.get_current_context().get_parameter_source("bits") is not ParameterSource.DEFAULT
    has_rule = fixed
    fixed = fixed or lava or spiking or gated
    wrong = {
        "--threshold": given["thresholds"] and not (lava or gated),
        "--read-out": given["read_out"] and not gated,
        "--weight-fraction": given["weight_fraction"] is not None and not gated,
        "--bits": lava and bits_given,
        "--scale": given["scales"] and (fixed or given["tradeoffs"]),
        "--lambda": given["tradeoffs"] and fixed,
        "--weights": fixed and given["weights"] != "frozen",
        "--answer": fixed and given["answer"] != "classes",
        "--unordered": given["unordered"] and (fixed or given["scales"]),
        "--rule": given["rule"] and not has_rule,
        "--epochs": given["epochs"] and given["weights"] != "tuned",
        "--rate": given["rate"] is not None and given["weights"] != "tuned",
        "--scale-epochs": given["scale_epochs"] and (fixed or given["scales"]),
        "--scale-rate": given["scale_rate"] is not None and (fixed or given["scales"]),
        "--per": given["per"] and (lava or spiking or gated or given["scales"]),
        "--within": given["within"] is not None and len(given["tradeoffs"]) < 2,
        "--curve": given["curve"] and not given["tradeoffs"],
        **convert_spiking.check_options(method, given),
    }
    named = [option for option, is_wrong in wrong.items() if is_wrong]
    if named:
        meant = {"--epochs", "--rate"} & set(named) and not (fixed or given["scales"])
        other = ", or give --weights tuned; the search for scales has --scale-epochs and --scale-rate" if meant else ""
        raise click.UsageError(
            f"{', '.join(named)}: of no effect with --to {method} and the other options; leave out{other}."
        )
    if len(given["tradeoffs"]) > 1 and given["within"] is None:
        raise click.UsageError("several --lambda need --within P, which says which network is written.")


def _input_scale(given: float | None, inputs: Any, test: Any) -> float:
    floats = [x.dtype.kind == "f" for x in (inputs, *(() if test is None else (test[0],)))]
    if given is None and any(floats):
        raise click.UsageError("samples are floats: give --input-scale S; frames are then x / S, rounded to integers.")
    if len(set(floats)) > 1:
        raise InputError("--data and --test: one holds integers, the other floats; give both alike")
    scale = 1.0 if given is None else given
    if not 0 < scale < float("inf"):
        raise InputError(f"--input-scale is {scale}; it must be above 0")
    return scale


def _in_units(inputs: Any, scale: float) -> Any:
    """Return samples in the network's units: integers times the input scale, floats as they are."""
    return inputs if inputs.dtype.kind == "f" else inputs * scale


def _convert(
    graph: Any, method: str, inputs: Any, test: Any, scale: float, given: dict[str, Any], progress: Any
) -> Any:
    from neurosim.convert import (
        IntegerOptions,
        QuantiseOptions,
        ScaleOptions,
        TuneOptions,
        convert_quantised,
        convert_rounding,
        sweep,
    )

    if method == "fixed-point":
        quantise = QuantiseOptions(given["bits"], given["per"] or "channel", given["rule"] or "auto")
        return [convert_quantised(graph, inputs, options=quantise, input_scale=scale, test=test)]
    search = {} if given["scale_epochs"] is None else {"epochs": given["scale_epochs"], "least_steps": 1}
    search |= {} if given["scale_rate"] is None else {"rate": given["scale_rate"]}
    options = ScaleOptions(
        per=given["per"] or "layer",
        answer=given["answer"],
        sequence=not given["unordered"],
        seed=given["seed"],
        **search,
    )
    tuning = TuneOptions(epochs=given["epochs"] or 3, rate=0.01 if given["rate"] is None else given["rate"])
    integers = IntegerOptions(changes=method == "sigma-delta", weight_bits=given["bits"], input_scale=scale)
    settings: dict[str, Any] = {"integers": integers, "weights": given["weights"], "tuning": tuning, "test": test}
    settings |= {"options": options, "progress": progress}
    if given["scales"]:
        scales = given["scales"][0] if len(given["scales"]) == 1 else given["scales"]
        return [convert_rounding(graph, inputs, scales=scales, **settings)]
    return sweep(graph, inputs, given["tradeoffs"] or (options.tradeoff,), **settings)


def _chosen(found: Any, curve: Any, given: dict[str, Any]) -> Any:
    """Return the cheapest that is good enough; where none is, the curve is written all the same."""
    within = given["within"]
    if within is None:
        return found[0]
    fit = [one for one in found if one.report.disagreement_percent <= within]
    if not fit:
        least = min(one.report.disagreement_percent for one in found)
        ways = ["a smaller --lambda", "a larger --within"]
        if given["weights"] != "tuned":
            ways.append("--weights tuned")
        elif given["epochs"] is None:
            ways.append("more --epochs")
        written = ""
        if given["curve"]:
            with common.outputs():
                write_json(curve, given["curve"])
            written = f"; the reports of all stand in {given['curve']}"
        raise InputError(
            f"--within {within:g}: no lambda's answers differ on so few frames, at best on {least:.2f} %; "
            f"give {', '.join(ways[:-1])} or {ways[-1]}{written}"
        )
    return fit[0]
