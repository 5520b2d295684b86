"""Reader of NetX `.net` files, the network exchange format of lava-dl (commit d825ac5).

Layers are named `input`, `conv1`, `conv2`, ... and `dense1`, `dense2`, ...; a `flatten` makes no layer,
since neurons are numbered in C, H, W order all along. What the integers mean, and what each unit does
with them, follows the behaviour of lava (commit b6822fb).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py

from neurosim.errors import ModelError, join_errors
from neurosim.formats.netx_fields import Fields
from neurosim.formats.netx_layers import LayerReader
from neurosim.formats.netx_units import NetxOptions
from neurosim.network import Network


@dataclass(frozen=True)
class NetxReading:
    """A network and what its reader has to say about it.

    Attributes
    ----------
    network
        The network.
    notes
        Sentences on what the file holds and the network does not, or holds otherwise.
    """

    network: Network
    notes: tuple[str, ...]


def read_netx(
    path: str | Path,
    *,
    rounding: str = "default",
    cum_error: bool = False,
    reset_interval: int = 0,
    reset_offset: int = 0,
) -> Network:
    """Read a NetX file.

    Parameters
    ----------
    path
        The file. The network is called after it, or after its folder where the file is `network.net`.
    rounding, cum_error
        Of every `SigmaDelta` unit; the format does not hold them.
    reset_interval, reset_offset
        In timesteps; the format does not hold them. CUBA layer k clears its state before timestep t
        whenever t % interval == (offset + 1 + k) % interval; an interval of 0 means never. Layers are
        counted from 0, without `flatten` and without an input that the file lacks.

    Raises
    ------
    ModelError
        The file is missing, no HDF5, truncated, or holds what is wrong or not supported; an option that
        is wrong or that no layer takes. All errors of the file are named at once.
    """
    reading = read_netx_with_notes(
        path,
        rounding=rounding,
        cum_error=cum_error,
        reset_interval=reset_interval,
        reset_offset=reset_offset,
    )
    return reading.network


def read_netx_with_notes(
    path: str | Path,
    *,
    rounding: str = "default",
    cum_error: bool = False,
    reset_interval: int = 0,
    reset_offset: int = 0,
) -> NetxReading:
    """Read a NetX file as `read_netx` does, and return its notes beside the network."""
    options = NetxOptions(rounding, cum_error, reset_interval, reset_offset)
    path = Path(path)
    if not path.exists():
        raise ModelError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise ModelError(f"{path}: is no file; give the .net file itself")
    reader = LayerReader(options)
    try:
        with h5py.File(path, "r") as file:
            _read_layers(file, reader)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path}: cannot be read as HDF5 ({error}); it may be truncated: copy or export it anew"
        ) from error
    errors = reader.errors or options.misused([layer.unit for layer in reader.layers])
    if errors:
        raise ModelError(join_errors(str(path), errors))
    name = path.resolve().parent.name if path.name == "network.net" else path.stem
    try:
        network = Network(reader.layers, reader.connections, name or "network")
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return NetxReading(network, tuple(reader.notes))


def _read_layers(file: h5py.File, reader: LayerReader) -> None:
    root = file.get("layer")
    if not isinstance(root, h5py.Group) and {"cores", "axons", "chip"} <= set(file):
        reader.errors.append("is a compiled program, no NetX file; rename it so that it ends in .h5")
        return
    if not isinstance(root, h5py.Group):
        reader.errors.append('has no group "layer", so it is no NetX file; export the network with lava-dl')
        return
    numbers = [str(i) for i in range(len(root))]
    if not numbers:
        reader.errors.append("layer holds no layers; give at least one")
    elif set(root) != set(numbers):
        found = ", ".join(sorted(map(str, root))[:20])
        reader.errors.append(f"layer holds {found}; number the layers 0, 1, 2, ... without gaps")
    else:
        for number, key in enumerate(numbers):
            fields = Fields(root, "layer", reader.errors).inner(key)
            if fields is not None:
                reader.read(number, fields)
