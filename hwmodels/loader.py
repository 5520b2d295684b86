"""Reading chip files: shipped or given, one extending another, with values set from outside."""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hwmodels.explain import Location, Problem, explain, quoted
from hwmodels.lines import key_lines
from hwmodels.quantity import Kind
from hwmodels.schema import Chip
from hwmodels.uncosted import load_uncosted, uncosted_names
from neurosim.errors import ChipError, join_errors, suggest

FILE_LIMIT = 2**20
SET_BY_USER = "set by the user"
# What names a file is its own, never its base's.
_OWN_KEYS = ("schema", "name", "title", "summary", "extends")


@dataclass(frozen=True)
class ChipFile:
    """One TOML file as read: its place for errors, its folder (none for a shipped one), text and tables."""

    place: str
    path: Path | None
    text: str
    tables: dict[str, Any]

    @property
    def identity(self) -> str:
        return str(self.path or self.place)

    @cached_property
    def lines(self) -> dict[Location, int]:
        return key_lines(self.text)


def chip_names() -> list[str]:
    """Return the names of the shipped chips, sorted."""
    shipped = resources.files("hwmodels").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in shipped if entry.name.endswith(".toml"))


def load_chip(name_or_path: str, overrides: Mapping[str, str] | None = None) -> Chip:
    """Read a chip file, with what it extends and with values set from outside.

    Parameters
    ----------
    name_or_path
        Name of a shipped chip (`chip_names`), or a path that ends in ``.toml``.
    overrides
        Dotted key of the merged file -> new value as text. A quantity keeps its place but becomes an
        estimate set by the user, without a range.

    Raises
    ------
    ChipError
        The chip or a key is unknown, a file cannot be read, or what it holds breaks the schema. All errors
        of a file are in the one message, each with its line.
    """
    try:
        return _load(os.fspath(name_or_path), overrides or {})
    except RecursionError:
        raise ChipError(f"{name_or_path}: is nested too deep; a chip file has six levels") from None


def with_settings(chip: Chip, overrides: Mapping[str, str]) -> Chip:
    """Return a chip with values set from outside, as `load_chip` sets them.

    Raises
    ------
    ChipError
        A key is unknown, or the chip with these values breaks the schema.
    """
    tables = chip.to_dict()
    problems = _apply(tables, overrides)
    if problems:
        raise ChipError(join_errors(chip.name, problems))
    return Chip.from_dict(tables)


def load_base(name_or_path: str) -> Chip | None:
    """Return the chip that a chip file extends; None where it extends none.

    Parameters
    ----------
    name_or_path
        As `load_chip` takes it.

    Raises
    ------
    ChipError
        A file cannot be read, or the base breaks the schema where it stands alone.
    """
    files = _chain(name_or_path)[1:]
    if not files:
        return None
    try:
        return Chip.model_validate(_merged(files))
    except ValidationError as error:
        problems = [f"{found.key}{problem_line(found, files, {})}: {found.message}" for found in explain(error, Chip)]
        raise ChipError(join_errors(files[0].place, problems)) from None


def _merged(files: list[ChipFile]) -> dict[str, Any]:
    """Return the tables of the first file laid on those that it extends."""
    tables: dict[str, Any] = {}
    for file in reversed(files):
        inherited = {key: held for key, held in tables.items() if key not in _OWN_KEYS}
        tables = merge(inherited, file.tables)
    return tables


def _load(name_or_path: str, overrides: Mapping[str, str]) -> Chip:
    files = _chain(name_or_path)
    tables = _merged(files)
    problems = _apply(tables, overrides)
    chip: Chip | None = None
    try:
        chip = Chip.model_validate(tables)
    except ValidationError as error:
        for found in explain(error, Chip):
            problems.append(f"{found.key}{problem_line(found, files, overrides)}: {found.message}")
    if chip is None or problems:
        raise ChipError(join_errors(files[0].place, problems))
    return chip


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid on it key by key; a quantity is replaced whole, and so is a list."""
    merged = dict(base)
    for key, held in over.items():
        below = merged.get(key)
        if isinstance(held, dict) and isinstance(below, dict) and {"value", "source"}.isdisjoint((*held, *below)):
            merged[key] = merge(below, held)
        else:
            merged[key] = copy.deepcopy(held)
    return merged


def _chain(name_or_path: str) -> list[ChipFile]:
    """Return the file and all that it extends, the file itself first."""
    files = [_read(name_or_path, None)]
    while "extends" in files[-1].tables:
        last = files[-1]
        base = last.tables["extends"]
        if not isinstance(base, str):
            raise ChipError(f'{last.place}: extends: {base!r} is not a text; write extends = "loihi"')
        try:
            file = _read(base, last.path)
        except ChipError as error:
            raise ChipError(f"{last.place}: extends{_line(last, ('extends',))}: {error}") from None
        if any(file.identity == seen.identity for seen in files):
            circle = " -> ".join(seen.place for seen in [*files, file])
            raise ChipError(f"{last.place}: extends{_line(last, ('extends',))}: a circle: {circle}; break it")
        files.append(file)
    return files


def _read(name_or_path: str, beside: Path | None) -> ChipFile:
    if not name_or_path.endswith(".toml"):
        return _read_shipped(name_or_path)
    path = Path(name_or_path) if beside is None else beside.parent / name_or_path
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_LIMIT + 1)
    except FileNotFoundError:
        known = ", ".join(chip_names())
        raise ChipError(f"{path}: no such file; give one that exists, or a shipped chip: {known}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ChipError(f"{path}: cannot be read: {reason}; give a file that can") from None
    return parse_file(str(path), path.resolve(), content)


def _read_shipped(name: str) -> ChipFile:
    known = chip_names()
    if name in uncosted_names():
        raise ChipError(load_uncosted(name).refusal)
    if name not in known:
        near = suggest(name, [*known, *uncosted_names()])
        raise ChipError(
            f'unknown chip "{name}"{near} (the chips are {", ".join(known)}; '
            "the name of a file of your own must end in .toml)"
        )
    place = f"{name}.toml"
    return parse_file(place, None, (resources.files("hwmodels") / place).read_bytes())


def parse_file(place: str, path: Path | None, content: bytes) -> ChipFile:
    """Return a file's content as its tables.

    Raises
    ------
    ChipError
        It is too large, or no TOML.
    """
    if len(content) > FILE_LIMIT:
        raise ChipError(f"{place}: is larger than {FILE_LIMIT} bytes; a chip file holds a few hundred lines")
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
        return ChipFile(place, path, text, tomllib.loads(text))
    except UnicodeDecodeError as error:
        raise ChipError(f"{place}: is not UTF-8 text at byte {error.start}; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ChipError(f"{place}: is not TOML: {error}; mend that place") from None


def _apply(tables: dict[str, Any], overrides: Mapping[str, str]) -> list[str]:
    """Set each override in `tables`; return what is wrong with any of them."""
    problems = []
    for key, text in overrides.items():
        try:
            _set(tables, key, text)
        except ValueError as error:
            problems.append(f"{key} (set from outside): {error}")
    return problems


def _set(tables: dict[str, Any], key: str, text: str) -> None:
    parts = key.split(".")
    holder, last = _holder(tables, parts[:-1]), parts[-1]
    if last == "value" and isinstance(holder, dict) and "value" in holder:
        return _set(tables, ".".join(parts[:-1]), text)
    place = _place_in(holder, last)
    if place is None or key in ("schema", "extends"):
        known = [known for known in settable(tables) if known not in ("schema", "extends")]
        near = suggest(key, known)
        raise ValueError(f"not a key that can be set{near or '; list the keys with: neurosim chips NAME'}")
    if isinstance(holder, dict) and "value" in holder:
        quantity = ".".join(parts[:-1])
        raise ValueError(f"only the value of {quantity} can be set; its kind and source follow from that")
    held = holder[place]
    if isinstance(held, dict):
        if "value" not in held:
            raise ValueError(f"is a table; set one of its keys{suggest(key, settable(tables))}")
        new = _typed(text, held["value"]) if isinstance(held["value"], list) else text
        replaced = f"replaces {held['value']} ({held.get('kind', 'no kind')})"
        holder[place] = {"value": new, "kind": Kind.ESTIMATE.value, "source": SET_BY_USER, "note": replaced}
    else:
        holder[place] = _typed(text, held)
    return None


def _holder(tables: dict[str, Any], parts: list[str]) -> Any:
    held: Any = tables
    for part in parts:
        place = _place_in(held, part)
        held = held[place] if place is not None else None
    return held


def _place_in(held: Any, part: str) -> str | int | None:
    if isinstance(held, dict):
        return part if part in held else None
    if isinstance(held, list):
        return int(part) if part.isdecimal() and len(part) < 10 and int(part) < len(held) else None
    return None


def _typed(text: str, like: Any) -> Any:
    """Return `text` as a value of the type of `like`: texts stay as they are, all else is read as TOML."""
    if isinstance(like, str):
        return text
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text
    if type(value) is not type(like):
        form = "true or false" if isinstance(like, bool) else f"a value of the same form as {like!r}"
        raise ValueError(f"{quoted(text)} cannot stand here; write {form}")
    return value


def settable(tables: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of `tables` that can be set: every quantity and every plain entry."""
    keys: list[str] = []
    stack: list[tuple[str, Any]] = [("", tables)]
    while stack:
        prefix, held = stack.pop()
        if isinstance(held, Mapping) and ("value" not in held or not prefix):
            parts = list(held.items())
        elif isinstance(held, list):
            parts = list(enumerate(held))
        else:
            keys.append(prefix)
            continue
        stack += [(f"{prefix}.{key}" if prefix else str(key), part) for key, part in reversed(parts)]
    return keys


def problem_line(problem: Problem, files: list[ChipFile], overrides: Mapping[str, str]) -> str:
    """Return in brackets where `problem` stands: a line of one of `files`, or outside; empty where nobody knows."""
    if problem.key in overrides or f"{problem.key}.value" in overrides:
        return " (set from outside)"
    if problem.location and problem.location[0] in _OWN_KEYS:
        files = files[:1]
    owner = next((file for file in files if _holds_whole(file.tables, problem.location)), None)
    for length in range(len(problem.location), 0, -1):
        part = problem.location[:length]
        for file in [owner] if owner else files:
            if part in file.lines:
                own = "" if file is files[0] else f"{file.place} "
                table = "" if length == len(problem.location) else f"{'.'.join(map(str, part))} at "
                return f" ({table}{own}line {file.lines[part]})"
    return ""


def _holds_whole(tables: dict[str, Any], location: Location) -> bool:
    """Whether `location` lies in an entry of `tables` that replaces a base's whole: all but plain tables."""
    held: Any = tables
    for part in location:
        place = _place_in(held, str(part))
        if place is None:
            return False
        held = held[place]
        if not isinstance(held, dict) or not {"value", "source"}.isdisjoint(held):
            return True
    return False


def _line(file: ChipFile, location: Location) -> str:
    return f" (line {file.lines[location]})" if location in file.lines else ""
