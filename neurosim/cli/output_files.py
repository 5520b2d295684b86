"""Options that name what a command writes, and the look at all of them before any work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from neurosim.errors import InputError


class OutputFile(click.Path):
    """The type of an option whose value is a file to write."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)


class OutputFolder(click.Path):
    """The type of an option whose value is a folder to write files into.

    Parameters
    ----------
    names
        Gives the names of these files; called only where the option is given.
    """

    def __init__(self, names: Callable[[], Sequence[str]]) -> None:
        super().__init__(path_type=Path)
        self.names = names


def csv_files() -> tuple[str, ...]:
    """Return the names of the tables of a run."""
    from neurosim.report import CSV_FILES

    return CSV_FILES


@dataclass(frozen=True)
class _Named:
    """A file, and the words on the command line that name it."""

    words: str
    path: Path

    def same(self, other: _Named) -> bool:
        """Whether both are one file, through links and other spellings too."""
        if self.path.resolve() == other.path.resolve():
            return True
        return self.path.exists() and other.path.exists() and self.path.samefile(other.path)


def check_outputs() -> None:
    """Look at all that the current command is to write, before it does any work.

    What is written are its options of the types `OutputFile` and `OutputFolder`; what it reads are the files that its
    other arguments and options name, and those of a shipped workload.

    Raises
    ------
    InputError
        A folder is missing or closed, a file's name is that of a folder or the other way round, two options name the
        same file, or one names a file that the command reads.
    """
    context = click.get_current_context()
    written: list[_Named] = []
    read: list[_Named] = []
    for parameter in context.command.params:
        value, words = context.params.get(parameter.name or ""), _words(parameter)
        if value is None:
            continue
        if isinstance(parameter.type, OutputFile):
            _check_file(value, words)
            written.append(_Named(f"{words} {value}", value))
        elif isinstance(parameter.type, OutputFolder):
            _check_folder(value, words)
            written.append(_Named(f"{words} {value}", value))
            written += [_Named(f"{words} {value} ({name} in it)", value / name) for name in parameter.type.names()]
        else:
            read += [_Named(f"{words} {path}", path) for path in _files_of(value)]
    refuse_same(written, read)


def refuse_written(path: Path, words: str) -> None:
    """Refuse a file that the current command reads and that one of its options is to write.

    Parameters
    ----------
    path
        A file that became known on the way, such as one named in another.
    words
        What names it.
    """
    context = click.get_current_context()
    written = [
        _Named(f"{_words(parameter)} {context.params[parameter.name]}", context.params[parameter.name])
        for parameter in context.command.params
        if isinstance(parameter.type, OutputFile) and parameter.name and context.params.get(parameter.name)
    ]
    refuse_same(written, [_Named(f"{words} {path}", path)])


def refuse_same(written: Sequence[_Named], read: Sequence[_Named]) -> None:
    """Refuse two files to write that are the same, and one that is read."""
    for place, one in enumerate(written):
        for other in written[:place]:
            if one.same(other):
                raise InputError(f"{other.words} and {one.words} name the same place; give each its own")
        for other in read:
            if one.same(other):
                raise InputError(f"{one.words}: would overwrite what is read, {other.words}; give another name")


def _words(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        return parameter.metavar or str(parameter.name).upper()
    return max(parameter.opts, key=len)


def _files_of(value: Any) -> Iterator[Path]:
    """Yield the files there are that a value, or each of several, or each part between commas, names."""
    if isinstance(value, tuple | list):
        for one in value:
            yield from _files_of(one)
    elif isinstance(value, Path):
        if value.is_file():
            yield value
    elif isinstance(value, str):
        from neurosim_traces import workload, workload_names

        for part in dict.fromkeys((value, *value.split(","))):
            if part.strip() and _is_file(Path(part.strip())):
                yield Path(part.strip())
            elif part in workload_names():
                yield from (workload(part).model_path, workload(part).frames_path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # No name that a file could have.
        return False


def _check_file(path: Path, option: str) -> None:
    _check_parent(path, option)
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; give the name of a file")


def _check_folder(path: Path, option: str) -> None:
    if not path.is_dir():
        _check_parent(path, option)
    if path.exists() and not path.is_dir():
        raise InputError(f"{option} {path}: is a file; give the name of a folder")
    if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: the folder cannot be written; choose another")


def _check_parent(path: Path, option: str) -> None:
    parent = path.parent
    if not parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {parent}; make it, or choose another")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: the folder {parent} cannot be written; choose another")
