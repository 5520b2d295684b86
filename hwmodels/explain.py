"""From pydantic's errors to sentences that say where, what came, the limit and the way out."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from neurosim.errors import suggest

Location = tuple[str | int, ...]


def quoted(raw: object) -> str:
    """Return `raw` as an error shows it: texts in double quotes, else as Python writes it, cut short."""
    shown = f'"{raw}"' if isinstance(raw, str) else repr(raw)
    return shown if len(shown) <= 80 else f"{shown[:60]}... ({len(shown)} characters)"


@dataclass(frozen=True)
class Problem:
    """One error of a chip file."""

    location: Location
    """The keys and list places that lead to it."""
    message: str

    @property
    def key(self) -> str:
        """The location as a dotted key; a quantity's own ``value`` is not spelt out."""
        parts = self.location[:-1] if self.location[-1:] == ("value",) else self.location
        return ".".join(str(part) for part in parts) or "file"


def explain(error: ValidationError, root: type[BaseModel]) -> list[Problem]:
    """Return the problems that `error` holds, in the order in which `root` declares its keys."""
    return [Problem(tuple(found["loc"]), _sentence(found, root)) for found in error.errors(include_url=False)]


def _sentence(found: ErrorDetails, root: type[BaseModel]) -> str:
    location, came, context = tuple(found["loc"]), found["input"], found.get("ctx", {})
    shown = quoted(came)
    match found["type"]:
        case "value_error":
            return str(context["error"])
        case "missing":
            what = "has no value" if location[-1] == "value" else "is missing"
            return f"{what}; {getattr(root, 'file_word', 'a chip file')} must give it"
        case "extra_forbidden":
            known = _keys_at(root, location[:-1])
            near = suggest(str(location[-1]), known)
            return f"unknown key{near or '; the keys here are ' + ', '.join(known)}"
        case "literal_error":
            return f"{shown} is not one of {context['expected']}"
        case "model_type" | "model_attributes_type":
            if {"value", "kind", "source"} <= set(_keys_at(root, location)):
                return f'{shown} is not a table; write {{ value = {shown}, kind = "...", source = "..." }}'
            return f"{shown} is not a table with keys {', '.join(_keys_at(root, location))}"
        case "string_type":
            return f"{shown} is not a text; put it in quotes"
        case "bool_type":
            return f"{shown} is neither true nor false"
        case "int_type":
            return f"{shown} is not a whole number"
        case "tuple_type":
            return f"{shown} is not a list"
        case "greater_than_equal":
            return f"{shown} is less than {context['ge']}"
        case "string_too_short":
            return "is empty; give at least one"
        case _:
            return f"{found['msg']} (got {shown})"


def _keys_at(root: type[BaseModel], location: Location) -> list[str]:
    """Return the keys of the table at `location`, or nothing where no table stands."""
    table: type[BaseModel] | None = root
    freely_named = False
    for part in location:
        if isinstance(part, int):
            continue
        if freely_named:
            freely_named = False
            continue
        declared = table.model_fields if table else {}
        fields = {field.alias or name: field.annotation for name, field in declared.items()}
        table = _table_in(fields.get(part))
        freely_named = typing.get_origin(fields.get(part)) is dict
    return [field.alias or name for name, field in table.model_fields.items()] if table else []


def _table_in(annotation: object) -> type[BaseModel] | None:
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
