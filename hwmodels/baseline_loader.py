"""Reading baselines and sets of constants: shipped, or a baseline of a user's own."""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hwmodels.baseline import Baseline, Constants
from hwmodels.explain import Location, explain
from hwmodels.loader import FILE_LIMIT, ChipFile, parse_file, problem_line
from neurosim.errors import ChipError, join_errors, suggest

_Root = TypeVar("_Root", bound=BaseModel)


def baseline_names() -> list[str]:
    """Return the names of the shipped baselines, sorted."""
    return _names("baselines")


def constant_set_names() -> list[str]:
    """Return the names of the shipped sets of constants, sorted."""
    return _names("constants")


def load_baseline(name_or_path: str) -> Baseline:
    """Read a baseline file.

    Parameters
    ----------
    name_or_path
        Name of a shipped baseline (`baseline_names`), or a path that ends in ``.toml``.

    Raises
    ------
    ChipError
        The baseline is unknown, the file cannot be read, or what it holds breaks the schema. All errors of the file
        are in the one message, each with its line.
    """
    problems: list[str] = []
    try:
        file = _read(os.fspath(name_or_path))
        return _validated(Baseline, file, _resolved(file, file.tables, (), problems), problems)
    except RecursionError:
        raise ChipError(f"{name_or_path}: is nested too deep; a baseline file has four levels") from None


@cache
def load_constants(name: str) -> Constants:
    """Read a shipped set of constants.

    Raises
    ------
    ChipError
        There is none of that name, or it breaks the schema.
    """
    known = constant_set_names()
    if name not in known:
        raise ChipError(f'unknown set of constants "{name}"{suggest(name, known)}; the sets are {", ".join(known)}')
    file = _shipped("constants", name)
    return _validated(Constants, file, file.tables, [])


def _names(folder: str) -> list[str]:
    shipped = (resources.files("hwmodels") / folder).iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in shipped if entry.name.endswith(".toml"))


def _shipped(folder: str, name: str) -> ChipFile:
    place = f"{name}.toml"
    return parse_file(place, None, (resources.files("hwmodels") / folder / place).read_bytes())


def _read(name_or_path: str) -> ChipFile:
    known = baseline_names()
    if not name_or_path.endswith(".toml"):
        if name_or_path not in known:
            raise ChipError(
                f'unknown baseline "{name_or_path}"{suggest(name_or_path, known)} (the baselines are '
                f"{', '.join(known)}; the name of a file of your own must end in .toml)"
            )
        return _shipped("baselines", name_or_path)
    path = Path(name_or_path)
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_LIMIT + 1)
    except FileNotFoundError:
        raise ChipError(f"{path}: no such file; give one that exists, or a baseline: {', '.join(known)}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ChipError(f"{path}: cannot be read: {reason}; give a file that can") from None
    return parse_file(str(path), path.resolve(), content)


def _resolved(file: ChipFile, held: Any, location: Location, problems: list[str]) -> Any:
    """Return `held` with each ``{ constant = "set.name" }`` replaced by the number that it refers to."""
    if isinstance(held, list):
        return [_resolved(file, part, (*location, place), problems) for place, part in enumerate(held)]
    if not isinstance(held, dict):
        return held
    if "constant" not in held:
        return {key: _resolved(file, part, (*location, key), problems) for key, part in held.items()}
    try:
        return _referred(held)
    except ChipError as error:
        line = f" (line {file.lines[location]})" if location in file.lines else ""
        problems.append(f"{'.'.join(map(str, location)) or 'file'}{line}: {error}")
        return None


def _referred(held: dict[str, Any]) -> dict[str, Any]:
    extra = [key for key in held if key != "constant"]
    if extra:
        raise ChipError(f"{', '.join(extra)} beside constant; the set gives all of the number, so leave it out")
    text = held["constant"]
    if not isinstance(text, str):
        raise ChipError(f'constant {text!r} is not a text; write constant = "horowitz_45nm.int8_add"')
    name, _, key = text.partition(".")
    found = load_constants(name)
    if key not in found.constants:
        near = suggest(key, found.constants) or f"; its constants are {', '.join(found.constants)}"
        raise ChipError(f'constant "{text}": the set {name} has no "{key}"{near}')
    plain = found.constants[key].model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {**plain, "source": f"{plain['source']} ({text})"}


def _validated(root: type[_Root], file: ChipFile, tables: Any, problems: list[str]) -> _Root:
    """Return the tables as `root`; `problems` were found before, each of them left None where it stood."""
    bad = {problem.partition(" (line")[0].partition(":")[0] for problem in problems}
    try:
        checked = root.model_validate(tables)
    except ValidationError as error:
        for found in explain(error, root):
            if found.key not in bad:
                problems.append(f"{found.key}{problem_line(found, [file], {})}: {found.message}")
    if problems:
        raise ChipError(join_errors(file.place, problems))
    return checked
