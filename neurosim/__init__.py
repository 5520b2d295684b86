"""Cycle-level simulator of neuromorphic chips: what one inference costs, and where the cost goes.

The public names below are imported when they are first asked for, so that `import neurosim` and
`neurosim --help` stay free of numpy and numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neurosim.api import compile, load, simulate
    from neurosim.compiler import Program
    from neurosim.costs import Result
    from neurosim.errors import NeurosimError
    from neurosim.network import Network

__version__ = "0.1.0"

__all__ = [
    "Network",
    "NeurosimError",
    "Program",
    "Result",
    "__version__",
    "compile",
    "load",
    "simulate",
]

_HOME = {
    "Network": "neurosim.network",
    "NeurosimError": "neurosim.errors",
    "Program": "neurosim.compiler",
    "Result": "neurosim.costs",
    "compile": "neurosim.api",
    "load": "neurosim.api",
    "simulate": "neurosim.api",
}


def __getattr__(name: str) -> object:
    """Import the module that holds `name`, and keep the name here."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names present and those still to be imported."""
    return sorted({*globals(), *__all__})
