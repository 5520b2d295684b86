"""What several commands share: which model is meant, options of its reader, and files written together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurosim.errors import CapacityError, InputError, MessageWidthError, ModelError, suggest
from neurosim.files import together

if TYPE_CHECKING:
    from neurosim.compiler import Program
    from neurosim.network import Network
    from neurosim_traces import Workload

PROGRAM_SUFFIX = ".h5"
NETWORK_SUFFIX = ".nsnet"


@dataclass(frozen=True)
class Model:
    """What the argument MODEL names.

    Attributes
    ----------
    name
        As given.
    path
        The network or program file.
    workload
        The shipped workload, where it names one.
    notes
        Sentences on how the name was understood.
    """

    name: str
    path: Path
    workload: Workload | None
    notes: tuple[str, ...]

    @property
    def compiled(self) -> bool:
        """Whether it is a compiled program."""
        return self.path.suffix.lower() == PROGRAM_SUFFIX

    @property
    def hint(self) -> str:
        """Words on the chip that suits a shipped workload, else none."""
        return f"; {self.workload.name} fits {self.workload.chip_hint}" if self.workload else ""


def find_model(name: str) -> Model:
    """Return the file or shipped workload that `name` means; a file comes first.

    Raises
    ------
    InputError
        There is neither.
    """
    from neurosim_traces import workload, workload_names

    path, shipped = Path(name), workload_names()
    if path.is_file():
        notes = (f"{name} is the file in this folder, not the shipped workload",) if name in shipped else ()
        return Model(name, path, None, notes)
    if name in shipped:
        found = workload(name)
        return Model(name, found.model_path, found, (f"{name} is the shipped workload: {found.summary}",))
    if path.is_dir():
        raise InputError(f"{name}: is a folder; give the model's file in it")
    raise InputError(
        f"{name}: no such file{suggest(name, shipped)}; give a network (.net, .nir, {NETWORK_SUFFIX}), a compiled "
        f"program ({PROGRAM_SUFFIX}), or a shipped workload: {', '.join(shipped)}"
    )


@contextmanager
def named(model: Model) -> Iterator[None]:
    """Put the name of `model` before the text of errors about it that do not hold it."""
    try:
        yield
    except (CapacityError, MessageWidthError, ModelError) as error:
        if model.name in str(error):
            raise
        raise type(error)(f"{model.name}: {error}") from error


@contextmanager
def outputs() -> Iterator[None]:
    """Let the files written in the block take their places together, and keep them for what an interrupt says."""
    context = click.get_current_context(silent=True)
    with together(context.obj if context else None):
        yield


def model_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument MODEL."""
    return click.argument("model", metavar="MODEL")(command)


def chip_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose a chip, its constants and the placement."""
    for option in (
        click.option(
            "--messages",
            type=click.Choice(["graded", "units", "split"]),
            help="How messages with a value go: in a packet each, as unit spikes, or in packets of a payload each.  "
            "[default: graded]",
        ),
        click.option("--seed", type=click.IntRange(min=0), metavar="S", help="Seed of the placement.  [default: 0]"),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            callback=parse_settings,
            help="Put a value in place of the chip's, by dotted key (see: neurosim chips NAME). Repeatable.",
        ),
        click.option("--chip", metavar="CHIP", help="Name of a chip, or path of a chip file (.toml)."),
    ):
        command = option(command)
    return command


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the frames to feed and the timesteps to run."""
    for option in (
        click.option(
            "--layout",
            type=click.Choice(["TCHW", "TWHC"]),
            help="Order of the frames' axes, where their shape fits both.",
        ),
        click.option(
            "--steps-per-inference",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            metavar="K",
            help="Timesteps that one inference takes in.",
        ),
        click.option(
            "--steps",
            type=click.IntRange(min=1),
            metavar="N",
            help="Timesteps to run; the last frame is held.  [default: the frames and the network's depth; the frames "
            "alone, on a chip without timesteps]",
        ),
        click.option(
            "--input",
            "frames",
            type=click.Path(path_type=Path),
            metavar="INPUT",
            help="Frames: .npy, .npz or .csv. A shipped workload brings its own.",
        ),
    ):
        command = option(command)
    return command


def require_frames(frames: Path | None, model: Model) -> tuple[Path, tuple[str, ...]]:
    """Return the file of frames, and a note where it is the one that ships with the model.

    Raises
    ------
    click.UsageError
        None was given, and none ships.
    """
    if frames is not None:
        return frames, ()
    if model.workload is None:
        raise click.UsageError("Missing option '--input': the frames to feed.")
    return model.workload.frames_path, (f"the input is the frames that ship with {model.name}",)


def reader_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for what a network file does not hold."""
    for option in (
        click.option("--state-bits", type=int, metavar="B", help="NIR: width of voltages and currents.  [default: 24]"),
        click.option("--decay-bits", type=int, metavar="B", help="NIR: width of decays.  [default: 12]"),
        click.option("--weight-bits", type=int, metavar="B", help="NIR: width of weights.  [default: 8]"),
        click.option("--inputs", type=click.Choice(["spikes", "graded"]), help="NIR: what frames hold."),
        click.option("--current", type=click.Choice(["new", "old"]), help="NIR: which current a voltage takes."),
        click.option("--reset", type=click.Choice(["to", "subtract"]), help="NIR: what a spike does to a voltage."),
        click.option("--discretisation", type=click.Choice(["euler", "exact"]), help="NIR: how time becomes steps."),
        click.option("--dt", "dt_s", type=float, metavar="S", help="NIR: time step in seconds."),
        click.option("--reset-offset", type=int, metavar="O", help="CUBA: timesteps by which resets are shifted."),
        click.option(
            "--reset-interval", type=int, metavar="R", help="CUBA, NIR: timesteps between resets of the state."
        ),
        click.option("--cum-error", is_flag=True, help="Sigma-delta: fire on the error added up."),
        click.option(
            "--rounding",
            type=click.Choice(["default", "corrected"]),
            help="Sigma-delta: whether what a message rounds off is lost or carried on.",
        ),
    ):
        command = option(command)
    return command


def reader_arguments(**given: Any) -> dict[str, Any]:
    """Return those of the reader's options that were given."""
    given["cum_error"] = given.get("cum_error") or None
    return {name: value for name, value in given.items() if value is not None}


def parse_settings(context: click.Context, option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    """Return key -> value of ``--set``; for errors see `split_settings`."""
    settings = split_settings(pairs)
    for key, value in settings.items():
        # Quotes as a chip file has them, where the shell left them.
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            settings[key] = value[1:-1].strip()
        if not settings[key]:
            raise click.BadParameter(f'"{key}={value}" is not KEY=VALUE: nothing is between the quotes')
    return settings


def split_settings(pairs: tuple[str, ...], example: str = 'core.neuron.send_energy="35.5 pJ"') -> dict[str, str]:
    """Return key -> what follows the sign, of texts ``key=value``.

    Raises
    ------
    click.BadParameter
        A pair is not ``key=value``, or a key is given twice.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = (part.strip() for part in pair.partition("="))
        if not (key and sign and value):
            raise click.BadParameter(f'"{pair}" is not KEY=VALUE; write for example {example}')
        if key in settings:
            raise click.BadParameter(f"{key} is given twice; give it once")
        settings[key] = value
    return settings


def require_chip(chip: str | None, hint: str = "") -> str:
    """Return `chip`.

    Raises
    ------
    click.UsageError
        It was not given; the message lists those there are.
    """
    from hwmodels import chip_names

    if chip is None:
        raise click.UsageError(
            f"Missing option '--chip'. The chips are {', '.join(chip_names())}{hint}; or give the path of a chip file."
        )
    return chip


def refuse_options(
    reader: Mapping[str, Any],
    settings: Mapping[str, str] | None = None,
    seed: int | None = None,
    messages: str | None = None,
) -> None:
    """Refuse the options that a compiled program has behind it.

    Raises
    ------
    click.UsageError
        One was given.
    """
    given = [f"--{name.replace('_', '-')}" for name in reader]
    given += ["--set"] * bool(settings) + ["--seed"] * (seed is not None) + ["--messages"] * (messages is not None)
    if given:
        raise click.UsageError(
            f"{', '.join(given)}: a compiled program takes no such option; give it to neurosim compile."
        )


def compile_model(
    model: Model,
    chip: str,
    seed: int,
    settings: Mapping[str, str],
    reader: Mapping[str, Any],
    messages: str | None = None,
) -> tuple[Program, tuple[str, ...]]:
    """Read a network, compile it, and return the program with the notes on the model."""
    from hwmodels import load_chip
    from neurosim.compiler import compile_network

    # The chip first: its errors cost nothing to find.
    target = load_chip(chip, settings)
    with named(model):
        network, notes = read_model(model, reader)
        return compile_network(network, target, seed, messages=messages or "graded"), (*model.notes, *notes)


def read_model(model: Model, reader: Mapping[str, Any]) -> tuple[Network, tuple[str, ...]]:
    """Return the network of a model that is not compiled, and its reader's notes."""
    if model.path.suffix.lower() == NETWORK_SUFFIX:
        from neurosim.compiler import read_network_file

        if reader:
            given = ", ".join(f"--{name.replace('_', '-')}" for name in reader)
            raise click.UsageError(f"{given}: a {NETWORK_SUFFIX} file holds all that it needs; leave them out.")
        return read_network_file(model.path), ()
    from neurosim.formats import read_network_with_notes

    reading = read_network_with_notes(model.path, **reader)
    return reading.network, reading.notes
