"""What went wrong in a run, where its chip lets it: ticks overrun, messages dropped and lost; and how to say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from quantiphy import Quantity

from neurosim.engine import LayerCount, RunCounts
from neurosim.engine.counters import StepCount

IntArray = NDArray[np.int64]

PS_PER_S = 10**12


@dataclass(frozen=True)
class Incidents:
    """What went wrong in a run.

    Attributes
    ----------
    counts
        Of the run.
    """

    counts: RunCounts

    @cached_property
    def messages_due(self) -> int:
        """Messages that packets should bring to cores."""
        return int(self.counts.layer_counts[:, :, LayerCount.COPIES].sum())

    def each(self, count: StepCount) -> IntArray:
        """Return one count of every timestep, int64 (timesteps,)."""
        return self.counts.step_counts[:, count]

    def total(self, count: StepCount) -> int:
        """Return one count over the run."""
        return int(self.each(count).sum())

    @property
    def late_timesteps(self) -> int:
        """Timesteps whose work went beyond their timer's period."""
        return int(np.count_nonzero(self.each(StepCount.LATE_PS)))

    @property
    def late_most_ps(self) -> int:
        """By how much it did at most."""
        return int(self.each(StepCount.LATE_PS).max(initial=0))

    @cached_property
    def stretched(self) -> NDArray[np.bool_]:
        """Timesteps that waited for late work, bool (timesteps,): longer than the period of a tick."""
        sync, duration_ps = self.counts.program.chip.sync, self.counts.duration_ps
        if sync.kind != "tick" or sync.period is None:
            return np.zeros(duration_ps.shape, dtype=np.bool_)
        stretched: NDArray[np.bool_] = duration_ps > sync.period.value
        return stretched

    @property
    def sentences(self) -> tuple[str, ...]:
        """Sentences that a reader of the run's numbers must not miss."""
        return tuple(self._sentences())

    def _sentences(self) -> Iterator[str]:
        counts, period = self.counts, self.counts.program.chip.sync.period
        steps = "timestep" if counts.timesteps == 1 else "timesteps"
        if self.late_timesteps and period is not None:
            yield (
                f"{self.late_timesteps:,} of {counts.timesteps:,} {steps} overran their {period.text} timer, by up to "
                f"{_time(self.late_most_ps)}; latency, throughput and the values computed assume that all work was "
                "done in time"
            )
        dropped, lost, due = self.total(StepCount.DROPPED), self.total(StepCount.LOST), self.messages_due
        gone = []
        if dropped:
            gone.append(f"{dropped:,} of {due:,} messages ({_percent(dropped, due)}) were dropped by routers")
        if lost:
            who = f"{lost:,}" if dropped else f"{lost:,} of {due:,} messages"
            gone.append(f"{who} ({_percent(lost, due)}) were lost for want of room in a core's buffer")
        if gone:
            what = " and ".join(gone)
            yield f"{what}: the values computed assume that all arrived, and energy counts them as delivered"
        stretched = int(np.count_nonzero(self.stretched))
        if stretched and period is not None:
            ticks = "tick was" if counts.timesteps == 1 else "ticks were"
            yield (
                f"{stretched:,} of {counts.timesteps:,} {ticks} stretched beyond {period.text}, the longest to "
                f"{_time(int(counts.duration_ps.max()))}; throughput and latency hold the stretched ones"
            )


def _time(ps: int) -> str:
    return str(Quantity(ps / PS_PER_S, "s").render(prec=3))


def _percent(part: int, whole: int) -> str:
    """Return a share in percent with one decimal; what is not none is not shown as none, nor what is not all as all."""
    share = 100.0 * part / whole
    if 0.0 < share < 0.05:
        return "<0.1 %"
    return ">99.9 %" if 99.95 <= share < 100.0 else f"{share:.1f} %"
