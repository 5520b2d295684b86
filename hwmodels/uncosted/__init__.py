"""Chips that this model of synapses cannot cost: known by name, shown, and refused with the reason and a way out."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Literal

from pydantic import Field, ValidationError

from hwmodels.explain import explain
from hwmodels.quantity import Model, Text
from neurosim.errors import ChipError, join_errors


class Uncosted(Model):
    """A chip that is refused.

    Attributes
    ----------
    reason, way_out
        Why, and what to do instead.
    facts
        What is known all the same, by name.
    """

    schema_version: Literal["neurosim.uncosted/1"] = Field(alias="schema")
    name: str = Field(min_length=1)
    title: str
    summary: str
    reason: str = Field(min_length=1)
    way_out: str = Field(min_length=1)
    gaps: tuple[str, ...] = ()
    process: Text | None = None
    facts: dict[str, Text]

    @property
    def refusal(self) -> str:
        """Sentence that refuses it."""
        return f"{self.name} ({self.title}) cannot be costed: {self.reason}; {self.way_out}"


def uncosted_names() -> list[str]:
    """Return the names of the chips that are known and refused, sorted."""
    shipped = resources.files("hwmodels.uncosted").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in shipped if entry.name.endswith(".toml"))


def load_uncosted(name: str) -> Uncosted:
    """Return one of `uncosted_names`.

    Raises
    ------
    ChipError
        Its file breaks the schema.
    """
    text = (resources.files("hwmodels.uncosted") / f"{name}.toml").read_text(encoding="utf-8")
    try:
        return Uncosted.model_validate(tomllib.loads(text))
    except ValidationError as error:
        found = [f"{problem.key}: {problem.message}" for problem in explain(error, Uncosted)]
        raise ChipError(join_errors(f"{name}.toml", found)) from None
