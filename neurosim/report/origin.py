"""Where a run comes from: what must be the same for it to be repeated."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from hwmodels import Chip
from neurosim.files import file_sha256
from neurosim.formats import Frames


@dataclass(frozen=True)
class Origin:
    """The files behind a run; None is not known.

    Attributes
    ----------
    model_sha256
        SHA-256 of the network's or the program's file, in hexadecimal digits.
    input_file
        Name of the file of frames, without folders.
    input_sha256
        SHA-256 of that file.
    input_layout
        How it held the frames, see `neurosim.formats.Frames`.
    """

    model_sha256: str | None = None
    input_file: str | None = None
    input_sha256: str | None = None
    input_layout: str | None = None

    @classmethod
    def of_files(cls, model: str | Path, input_file: str | Path, frames: Frames) -> Origin:
        """Return the origin of a run of the file `model` on `frames` from `input_file`.

        Raises
        ------
        InputError
            A file cannot be read.
        """
        return cls(file_sha256(model), Path(input_file).name, file_sha256(input_file), frames.layout)


def chip_sha256(chip: Chip) -> str:
    """Return the SHA-256 of a chip, after `extends` and what was set, as canonical JSON.

    Canonical: keys sorted, no spaces, UTF-8.
    """
    text = json.dumps(chip.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
