"""The errors of this package: each says where, what came, the limit, and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class NeurosimError(Exception):
    """Root of every error this package raises on purpose."""


class InputError(NeurosimError):
    """A file or argument given by the user cannot be used."""


class ModelError(InputError):
    """A network file or network description is wrong or not supported."""


class ChipError(InputError):
    """A chip description is wrong, unknown, or lacks a constant that is needed."""


class CapacityError(NeurosimError):
    """A network does not fit the chip."""


class MessageWidthError(NeurosimError):
    """A message is wider than the payload that the chip can carry."""


class DeadlockError(NeurosimError):
    """Packets are left in the network and nothing can move."""


class AuditError(NeurosimError):
    """A conservation law does not hold after a run: a defect of the simulator, never of the input."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``'; did you mean "x"?'`` for the known word nearest to `word`, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{near[0]}"?' if near else ""


def join_errors(place: str, errors: Sequence[str]) -> str:
    """Return one message from all the errors found at `place`, a line each when there are several."""
    if len(errors) == 1:
        return f"{place}: {errors[0]}"
    return f"{place}: {len(errors)} errors\n" + "\n".join(f"  - {e}" for e in errors)
