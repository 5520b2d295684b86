"""The workloads that ship with neurosim; installed under the import name `neurosim_traces`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Workload", "workload", "workload_names"]

_DIGITS = "digits by 2 convolutions, 2 average pools and a dense layer"
_SHIPPED = {
    "digits_fixed_point": ("digits/fixed_point.nsnet", f"{_DIGITS}: 8-bit values in fixed point"),
    "digits_rounding": ("digits/rounding.nsnet", f"{_DIGITS}: rounded values each frame"),
    "digits_sigma_delta": ("digits/sigma_delta.nsnet", f"{_DIGITS}: changes of rounded values"),
    "digits_spiking": (
        "digits_spiking/network.nsnet",
        "digits by leaky integrate-and-fire neurons that inhibit their layer, 64-64-10",
    ),
    "pixels": (
        "pixels/network.nsnet",
        "handwritten digits, one pixel a timestep: Legendre memory unit of 32 and 48 hybrid-spiking neurons",
    ),
    "sounds": (
        "sounds/network.nsnet",
        "how the pitch of a drawn sound moves: delta GRU of 32 neurons, with a read-out of the mean state",
    ),
    "steering": (
        "steering/network.net",
        "steering angle from a drawn driving video: sigma-delta, 4 convolutions and 3 dense layers",
    ),
}
"""Per name, the network's file and what it does; the frames stand beside the network."""
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Workload:
    """A network with input frames for it.

    Attributes
    ----------
    name
        As the command line takes it.
    model_path
        File of the network: NetX (``.net``) or ``.nsnet``.
    frames_path
        `.npz` file with the array `frames`, int16 (T, C, H, W) or (T, n), in the network's units.
    chip_hint
        Name of a chip model that the network fits.
    summary
        What it does, in a few words.
    """

    name: str
    model_path: Path
    frames_path: Path
    chip_hint: str
    summary: str


def workload_names() -> tuple[str, ...]:
    """Return the names of all shipped workloads, sorted."""
    return tuple(sorted(_SHIPPED))


def workload(name: str) -> Workload:
    """Return a shipped workload.

    Raises
    ------
    KeyError
        There is none of that name; see `workload_names`.
    """
    if name not in _SHIPPED:
        raise KeyError(f'no workload is called "{name}"; shipped: {", ".join(workload_names())}')
    model, summary = _SHIPPED[name]
    path = _FOLDER / model
    return Workload(name, path, path.parent / "frames.npz", "loihi2", summary)
