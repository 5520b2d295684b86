"""What trainings of hybrid-spiking networks share: omegas that fall, and the bits that messages take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def fallen(over: float, start_factor: float, share: float) -> float:
    """Return the multiple of the last omegas at a share `over` of the training.

    It falls geometrically from `start_factor` to 1 in the first `share` of it, and stays.
    """
    if over >= share:
        return 1.0
    return float(start_factor ** (1 - over / share))


def bits_per_activity(ranges: Mapping[str, NDArray[np.int64]]) -> dict[str, float]:
    """Return bits per activity, by group of neurons and in all.

    A group has as many levels as integers lie between the least and the greatest n of any of its neurons, both
    included, and needs log2(levels) bits an activity. `per_activity` is the mean over all neurons, each group weighted
    by its neurons. `per_neuron` counts levels of each neuron apart.

    Parameters
    ----------
    ranges
        By group, the least and greatest n of each neuron, (2, neurons).
    """
    count = {name: r.shape[1] for name, r in ranges.items()}
    group = {name: float(np.log2(int(r[1].max()) - int(r[0].min()) + 1)) for name, r in ranges.items()}
    apart = {name: float(np.log2(r[1] - r[0] + 1.0).sum()) for name, r in ranges.items()}
    total = sum(count.values())
    return {
        **group,
        "per_activity": sum(group[name] * count[name] for name in ranges) / total,
        "per_neuron": sum(apart.values()) / total,
    }
