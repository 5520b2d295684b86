"""Saying when kernels are being compiled, which happens once after installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core import event


class _FirstCompilation(event.Listener):
    """Calls `say` when the first kernel is compiled rather than read from the cache."""

    def __init__(self, say: Callable[[], None]) -> None:
        self.say: Callable[[], None] | None = say

    def on_start(self, _: event.Event) -> None:
        say, self.say = self.say, None
        if say is not None:
            say()

    def on_end(self, _: event.Event) -> None:
        pass


@contextmanager
def announce_compilation(say: Callable[[], None]) -> Iterator[None]:
    """Call `say`, at most once, if a kernel must be compiled within the block.

    A kernel read from the cache on disk is not compiled. The sign is numba's own event, so no file of the
    cache is looked at.
    """
    with event.install_listener("numba:compile", _FirstCompilation(say)):
        yield
