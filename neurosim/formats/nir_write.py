"""Writer of NIR files."""

from __future__ import annotations

from neurosim.formats.nir_file import NirGraph
from neurosim.network import Network

METADATA_KEY = "neurosim"


def restore(graph: NirGraph) -> Network:
    """Return the network."""
    raise NotImplementedError
