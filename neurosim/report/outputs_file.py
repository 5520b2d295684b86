"""The outputs file: what each output layer of a run sent, for answers to be read from."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from neurosim.engine import RunCounts
from neurosim.errors import InputError
from neurosim.files import atomic_path

FIRST = ".first_timestep"
"""Ends the names of arrays that say when a layer answers the first frame."""


def write_outputs(counts: RunCounts, path: str | Path) -> None:
    """Write what output layers sent as .npz; equal runs give equal bytes.

    Two arrays a layer: under its name int64 (timesteps, n), what it sent in each timestep, 0 for nothing (of a read-out
    such as `Sigma`, its value); and under its name with ``.first_timestep`` behind it int64 (), the timestep, counted
    from 1, in which it answers the first frame.

    Parameters
    ----------
    counts
        Of the run.
    path
        Written whole or not at all; its folder must exist.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    delays = counts.program.layer_delays
    arrays = {}
    for name, values in counts.outputs.items():
        arrays[name] = values
        arrays[f"{name}{FIRST}"] = np.array(delays[name] + 1, dtype=np.int64)
    with atomic_path(path) as part:
        try:
            # By hand, since numpy.savez takes names as keywords and has some of its own.
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, values in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, values, allow_pickle=False)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error}; free some space or choose another") from error
