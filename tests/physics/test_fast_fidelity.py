"""The fast fidelity: right where nothing blocks, close where little does, and never the judge of itself."""

from __future__ import annotations

import numpy as np
from test_topologies import BUILDERS, load, model, spread


def test_equal_to_cycle_level_for_single_packets() -> None:
    for top in BUILDERS.values():
        timer = model(top, channels=2 if top.rings else 1)
        for target in range(top.routers):
            for flits in (1, 3):
                packets = load(top.routers, [(0, target)], flits)
                exact, fast = timer.time(packets), timer.time_fast(packets)
                assert fast.arrived.tolist() == exact.arrived.tolist()
                assert fast.injected.tolist() == exact.injected.tolist()
                assert np.array_equal(fast.link_flits, exact.link_flits)
                assert np.array_equal(fast.cores, exact.cores)


def test_multicast_reaches_all() -> None:
    top = BUILDERS["triangular 5x4"]
    many = spread(top, 3, list(range(top.routers)), top.links)
    packets = load(top.routers, [(3, 0)], multicast=many)
    timer = model(top)
    assert timer.time_fast(packets).arrived.tolist() == timer.time(packets).arrived.tolist()


def test_same_work_and_no_longer_than_cycle_level_by_much() -> None:
    """Without limits nothing waits for a buffer: the same flits pass, and the end comes about when it would."""
    rng = np.random.default_rng(4)
    for top in BUILDERS.values():
        packets = load(top.routers, [(int(a), int(b)) for a, b in rng.integers(0, top.routers, (300, 2))])
        timer = model(top, channels=2 if top.rings else 1, buffer_flits=64, inject_queue=1000)
        exact, fast = timer.time(packets), timer.time_fast(packets)
        assert fast.delivered == exact.delivered == 300
        assert np.array_equal(fast.link_flits, exact.link_flits)
        busiest = int((exact.link_flits * timer.interval).max())
        assert fast.last >= busiest
        assert exact.last >= busiest
