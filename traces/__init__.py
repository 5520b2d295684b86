"""The workloads that ship with neurosim; installed under the import name `neurosim_traces`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Workload", "workload", "workload_names"]

_SUMMARIES = {
    "pixels": "handwritten digits, one pixel a timestep: Legendre memory unit of 32 and 48 hybrid-spiking neurons",
    "steering": "steering angle from a drawn driving video: sigma-delta, 4 convolutions and 3 dense layers",
}
_MODELS = {"pixels": "network.nsnet", "steering": "network.net"}
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Workload:
    """A network with input frames for it.

    Attributes
    ----------
    name
        As the command line takes it.
    model_path
        File of the network: NetX (`.net`), or a network file (`.nsnet`).
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
    return tuple(sorted(_SUMMARIES))


def workload(name: str) -> Workload:
    """Return a shipped workload.

    Raises
    ------
    KeyError
        There is none of that name; see `workload_names`.
    """
    if name not in _SUMMARIES:
        raise KeyError(f'no workload is called "{name}"; shipped: {", ".join(workload_names())}')
    folder = _FOLDER / name
    return Workload(name, folder / _MODELS[name], folder / "frames.npz", "loihi2", _SUMMARIES[name])
