"""What a file is that should hold numpy's arrays and does not."""

from __future__ import annotations

from pathlib import Path

MAGIC = b"\x93NUMPY"
ARCHIVE = b"PK"


def why_no_arrays(path: Path, archives: bool) -> str:
    """Return why a file cannot be one that numpy wrote, by its first bytes; nothing where it may be.

    Parameters
    ----------
    path
        The file.
    archives
        Whether an archive of arrays, .npz, will do too.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(MAGIC) or (archives and start.startswith(ARCHIVE)):
        return ""
    if not start:
        return "it is empty"
    shown = start.decode("ascii", "replace").splitlines()[0]
    if start.isascii() and shown.isprintable():
        return f'it is text that begins with "{shown}"'
    return "it does not begin as numpy's files do"


def in_words(error: Exception) -> str:
    """Return what reading a file raised, in one line, without advice on numpy's arguments."""
    text = " ".join(str(error).split())
    if not text:
        return type(error).__name__
    if "pickle" in text:
        return "it holds Python objects, which are not loaded"
    # Abbreviations such as EOF stay as they are.
    return text[:200] if text[1:2].isupper() else text[:1].lower() + text[1:200]
