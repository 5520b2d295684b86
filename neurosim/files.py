"""Writing files so that a failure leaves nothing half-written, and what identifies a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from neurosim.errors import InputError


@dataclass
class _Pending:
    """What waits for the end of `together`: files as (temporary path, final path), and folders made for them."""

    files: list[tuple[Path, Path]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)


_PENDING: ContextVar[_Pending | None] = ContextVar("pending", default=None)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an error.

    Within `together` the renaming waits for that block's end.

    Parameters
    ----------
    path
        Where the finished file is to stand. Its folder must exist.

    Raises
    ------
    InputError
        The folder does not exist or cannot be written.
    """
    with together():
        pending = _PENDING.get()
        assert pending is not None
        final = Path(path)
        try:
            handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name}.", suffix=".part")
        except OSError as error:
            raise InputError(f"{final}: cannot be written: {error.strerror}; choose a folder that exists") from error
        part = Path(name)
        pending.files.append((part, final))
        os.close(handle)
        try:
            yield part
        except BaseException:
            pending.files.remove((part, final))
            part.unlink(missing_ok=True)
            raise
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)


@contextmanager
def together(written: list[Path] | None = None) -> Iterator[None]:
    """Let all files written by `atomic_path` in the block take their places at its end, or none of them.

    One file after the other is renamed, so an interrupt may still come between two of them. A block
    within another belongs to the outer one.

    Parameters
    ----------
    written
        Paths of the files that have taken their places are added here, also when that was cut short.

    Raises
    ------
    InputError
        A file cannot take its place.
    """
    if _PENDING.get() is not None:
        yield
        return
    pending = _Pending()
    before = _PENDING.set(pending)
    complete = False
    try:
        yield
        complete = True
        for part, final in pending.files:
            try:
                part.replace(final)
            except OSError as error:
                raise InputError(f"{final}: cannot be written: {error.strerror}; choose another place") from error
    finally:
        _PENDING.reset(before)
        for part, final in pending.files:
            # Asked of the disk and not remembered: an interrupt may come right after a renaming.
            if part.exists():
                part.unlink()
            elif complete and written is not None:
                written.append(final)
        for folder in pending.folders:
            if not any(folder.iterdir()):
                folder.rmdir()


def make_folder(path: str | Path) -> None:
    """Make the folder `path` if it is missing; within `together` it goes again if nothing came to stand in it.

    Raises
    ------
    InputError
        It cannot be made.
    """
    folder, pending = Path(path), _PENDING.get()
    if folder.is_dir():
        return
    try:
        folder.mkdir()
    except OSError as error:
        raise InputError(
            f"{folder}: the folder cannot be made: {error.strerror}; choose a place that can be written"
        ) from error
    if pending is not None:
        pending.folders.append(folder)


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    # Imported here, since most commands need none.
    import hashlib

    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; give a file that can") from error
