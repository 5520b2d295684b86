"""The Python interface: load a model, compile it for a chip, simulate it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels import Chip, load_chip
from neurosim.compiler import Program, compile_network, read_network_file, read_program
from neurosim.costs import Result
from neurosim.engine import Checkpoint, TraceWindow, run_program
from neurosim.errors import InputError
from neurosim.formats import Frames, read_frames, read_network
from neurosim.network import Layer, Network

PROGRAM_SUFFIX = ".h5"
NETWORK_SUFFIX = ".nsnet"


def load(path: str | Path, **options: Any) -> Network | Program:
    """Read a network or a compiled program.

    Parameters
    ----------
    path
        A network file, such as NetX ``.net``, or ``.nsnet`` from `neurosim convert`; or a compiled program, ``.h5``.
    **options
        Passed to the reader of the network file; see `neurosim.formats.read_netx`.

    Raises
    ------
    InputError
        The file is missing or cannot be used; the text says where and why.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"load takes the path of a file, not {path!r:.80} ({type(path).__name__})")
    if Path(path).suffix == PROGRAM_SUFFIX:
        if options:
            raise InputError(
                f"{path}: a compiled program takes no options ({', '.join(sorted(options))}); compile again"
            )
        return read_program(path)
    if Path(path).suffix == NETWORK_SUFFIX:
        if options:
            raise InputError(f"{path}: a {NETWORK_SUFFIX} file holds all; it takes no options ({', '.join(options)})")
        return read_network_file(path)
    return read_network(path, **options)


def compile(
    network: Network,
    chip: str | Chip,
    seed: int = 0,
    overrides: Mapping[str, str] | None = None,
    messages: str = "graded",
) -> Program:
    """Map a network onto a chip.

    Parameters
    ----------
    network
        What to map.
    chip
        A chip, its name, or the path of its file.
    seed
        Seed of the placement.
    overrides
        Values to put in place of the chip file's, by dotted key; only with a name or a path.
    messages
        How messages with a value go: ``graded``, each in one packet a destination; ``units``, as |d| unit spikes;
        ``split``, in packets of a payload each.

    Raises
    ------
    ChipError
        The chip is unknown or its description wrong.
    CapacityError
        The network does not fit.
    MessageWidthError
        The chip cannot carry the network's messages so.
    """
    if not isinstance(network, Network):
        raise InputError(f"a network is needed, this is a {type(network).__name__}; load one first")
    if isinstance(chip, Chip):
        if overrides:
            raise InputError("overrides need a chip's name or path; this chip is loaded already")
        return compile_network(network, chip, seed, messages=messages)
    return compile_network(network, load_chip(str(chip), overrides), seed, messages=messages)


def input_layer(network: Network) -> Layer:
    """Return the layer that frames feed.

    Raises
    ------
    InputError
        The network has none, or several.
    """
    layers = network.inputs
    if len(layers) != 1:
        names = ", ".join(layer.name for layer in layers) or "none"
        raise InputError(f"{network.name} has {len(layers)} layers that take frames ({names}); give frames per layer")
    return layers[0]


def simulate(
    program: Program,
    inputs: str | Path | Frames | np.ndarray | Mapping[str, Any],
    steps: int | None = None,
    steps_per_inference: int = 1,
    layout: str | None = None,
    keep_activity: bool = False,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    trace: TraceWindow | None = None,
    fidelity: str = "cycle",
    check_fidelity: int = 0,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Run a program on its inputs.

    Parameters
    ----------
    program
        From `compile`, or from `load` of a compiled program.
    inputs
        A file of frames, frames read from one, or an integer array (frames, n) or (frames, C, H, W); for
        a network with several input layers, a mapping from layer name to arrays (frames, n).
    steps
        Timesteps to run; by default as many as there are frames plus the depth of the network, so that
        the last answer comes out; on a chip without timesteps as many as there are frames. The last frame is held
        for timesteps beyond the frames.
    steps_per_inference
        Timesteps that one inference takes in: 1 where every timestep has a new frame.
    layout
        ``TCHW`` or ``TWHC`` where a file's order of axes cannot be told from its shape.
    keep_activity
        Whether the result keeps every message.
    progress
        Called with the timesteps done and their number.
    threads
        Threads that time timesteps; by default the processors at hand, at most 8. The result is the same
        for any number.
    trace
        Timesteps of which the result keeps the packets, for `neurosim.report.write_timeline`.
    fidelity
        ``cycle``, or ``fast`` for sweeps: links as first-in first-out servers, without backpressure. The
        result's notes say so.
    check_fidelity
        Timesteps, spread over the run, that fast fidelity times at cycle level too, to report its error.
    checkpoint
        Where and how often to save the run (`neurosim.engine.Checkpoint`); if the file exists, the run goes
        on from it, with the result of a run in one piece.

    Raises
    ------
    InputError
        Frames or numbers that do not fit.
    MessageWidthError
        A message is wider than the chip's payload.
    """
    if not isinstance(program, Program):
        raise InputError(f"a program is needed, this is a {type(program).__name__}; compile it for a chip first")
    network = program.network
    frames, notes = network_frames(network, inputs, layout)
    fed = max((len(values) for values in frames.values()), default=0)
    timesteps = default_timesteps(program, fed) if steps is None else steps
    check_counts(timesteps, steps_per_inference)
    report = None if progress is None else lambda done: progress(done, timesteps)
    counts = run_program(
        program, frames, timesteps, keep_activity, report, threads, trace, fidelity, check_fidelity, checkpoint
    )
    return Result(counts, fed, steps_per_inference, notes)


def network_frames(
    network: Network,
    inputs: str | Path | Frames | np.ndarray | Mapping[str, Any],
    layout: str | None = None,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the frames of each input layer, (frames, n), and the notes of their reader; see `simulate`.

    Raises
    ------
    InputError
        The frames cannot be read, or are of layers that there are not.
    """
    if isinstance(inputs, Mapping):
        unknown = [name for name in inputs if name not in network.index]
        if unknown:
            raise InputError(f"frames for unknown layers: {', '.join(unknown)}; layers: {', '.join(network.index)}")
        return {name: _array(values, network[name]) for name, values in inputs.items()}, ()
    layer = input_layer(network)
    if isinstance(inputs, str | Path):
        inputs = read_frames(inputs, layer, layout)
    if isinstance(inputs, Frames):
        return {layer.name: inputs.values}, inputs.notes
    return {layer.name: _array(inputs, layer, layout)}, ()


def default_timesteps(program: Program, frames: int) -> int:
    """Return the timesteps of a run of which no number is given: until the last of `frames` has its whole effect."""
    return frames + program.depth_timesteps if program.has_timesteps else max(frames, 1)


def check_counts(steps: int, steps_per_inference: int) -> None:
    """Check the number of timesteps, and of those that an inference takes in.

    Raises
    ------
    InputError
        One is no whole number, or less than 1.
    """
    for name, value in (("steps", steps), ("steps per inference", steps_per_inference)):
        if not isinstance(value, int | np.integer):
            raise InputError(f"{name} is {value!r}; it must be a whole number")
        if value < 1:
            raise InputError(f"{name} is {value}; it must be 1 or more")


def _array(values: Any, layer: Layer, layout: str | None = None) -> np.ndarray:
    """Return frames as (frames, n); see `neurosim.formats.read_frames` for the layouts."""
    array = np.asarray(values)
    if array.ndim == 4 and layout == "TWHC":
        array = array.transpose(0, 3, 2, 1)
    if array.ndim > 2 and array.shape[1:] == layer.shape:
        array = array.reshape(len(array), layer.size)
    return array
