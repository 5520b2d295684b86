"""Files in, files out: network files and input frames."""

from __future__ import annotations

from neurosim.formats.netx import NetxReading, read_netx, read_netx_with_notes

__all__ = ["NetxReading", "read_netx", "read_netx_with_notes"]
