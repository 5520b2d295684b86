"""The engine against the plain stepper on random small systems: every packet, every core, every link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from plain_stepper import Observed, step_through
from random_systems import (
    random_giving_up,
    random_processor_system,
    random_sharing_system,
    random_strict_system,
    random_system,
    random_variant,
)

from neurosim.engine import MeshModel, PacketLoad, processor_kernels, row_kernels

# Kinds of waiting that the stepper counts, and the least share of random meshes that must show each.
MESHES = {
    "source waits for a slot": 0.5,
    "sweep stalls": 0.5,
    "inputs compete": 0.5,
    "output is busy": 0.4,
    "packet keeps another out": 0.4,
    "link: no slot is free": 0.4,
    "link: credit is under way": 0.4,
    "core: no slot is free": 0.25,
    "core: credit is under way": 0.25,
    "axon-in is blocked": 0.2,
    "read is blocked": 0.2,
}
# What other networks add.
VARIANTS = {
    "copy is dropped": 0.1,
    "head waits for room for all": 0.02,
    "machine is stuck": 0.02,
    "part of the copies is left": 0.2,
    "port sends from another channel": 0.02,
    "several copies are given up": 0.02,
}
# What routers that give up add, and what processors add.
GIVING_UP = {
    "flit is sent again": 0.1,
    "flit on a way round gives up": 0.05,
    "reinjection queue is full": 0.1,
    "second side is taken": 0.1,
    "way round is taken": 0.1,
}
PROCESSORS = {
    "interrupt before a row": 0.1,
    "interrupt before a set-up": 0.1,
    "interrupt before the sweep": 0.3,
    "job before the sweep": 0.3,
    "message has no words": 0.3,
    "message is lost": 0.1,
    "message waits for an interrupt": 0.1,
    "set-up waits behind a job": 0.2,
    "several messages in the buffer": 0.2,
    "sweep is late for its release": 0.1,
    "sweep waits for its release": 0.3,
    "transfer waits for the memory": 0.05,
}
# What sweeps and messages at one port add.
SHARING = {
    "message waits for the sweep": 0.2,
    "port is given from message to message": 0.3,
    "read is blocked": 0.1,
    "sweep stalls": 0.3,
    "sweep waits for messages": 0.3,
}
# Systems are drawn number by number, so that a failing one shrinks; large ones take many numbers.
RANDOM = st.randoms(use_true_random=False)
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def compare(model: MeshModel, load: PacketLoad) -> Observed:
    """Time a load both ways; return what the stepper saw."""
    times, seen = model.time(load), step_through(model, load)
    assert times.injected.tolist() == seen.injected
    assert times.arrived.tolist() == seen.arrived
    assert times.delivered == len(seen.arrived) - seen.arrived.count(-1)
    assert times.last == max([*seen.arrived, 0])
    assert nonzero(times.link_flits) == seen.link_flits
    assert nonzero(times.dropped) == seen.dropped
    assert nonzero(times.detours) == seen.detours
    assert {router: count for router, count in enumerate(times.reinjected.tolist()) if count} == seen.reinjected
    assert times.ready.tolist() == seen.ready
    assert times.stages.tolist() == seen.stages
    assert times.lost == sum(stages[processor_kernels.FINISHED] == -2 for stages in seen.stages)
    assert times.cores[:, row_kernels.CORE_FINISH].tolist() == seen.finish
    if seen.happened["machine is stuck"]:
        assert times.waiting
        return seen
    assert times.cores[:, row_kernels.CORE_WAIT].tolist() == seen.waited
    assert times.cores[:, row_kernels.CORE_SWEEP_END].tolist() == seen.sweep_end
    assert times.cores[:, row_kernels.CORE_STALL].tolist() == seen.stalled
    return seen


def nonzero(counts: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    return {(int(r), int(o)): int(counts[r, o]) for r, o in np.argwhere(counts)}


def shares(systems: Iterable[tuple[MeshModel, PacketLoad]]) -> dict[str, float]:
    """Share of systems in which each kind of waiting occurs; every one is compared."""
    shown: Counter[str] = Counter()
    number = 0
    for model, load in systems:
        shown.update(kind for kind, ticks in compare(model, load).happened.items() if ticks)
        number += 1
    return {kind: count / number for kind, count in shown.items()}


@seed(1)
@settings(SETTINGS, max_examples=300)
@given(RANDOM)
def test_engine_equals_the_stepper(rng: Random) -> None:
    compare(*random_system(rng)[:2])


@seed(8)
@settings(SETTINGS, max_examples=100)
@given(RANDOM)
def test_the_kernel_for_plain_networks_equals_the_general_one(rng: Random) -> None:
    model, load, _ = random_system(rng)
    assert model.plain
    plain, general = model.time(load), model.time(load, plain=False)
    for name in ("injected", "left", "arrived", "cores", "link_flits", "delivered", "last", "waiting"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(general, name), err_msg=name)


@seed(2)
@settings(SETTINGS, max_examples=300)
@given(RANDOM)
def test_engine_equals_the_stepper_on_other_networks(rng: Random) -> None:
    compare(*random_variant(rng))


@seed(5)
@settings(SETTINGS, max_examples=100)
@given(RANDOM)
def test_engine_equals_the_stepper_where_routers_give_up(rng: Random) -> None:
    compare(*random_giving_up(rng))


@seed(6)
@settings(SETTINGS, max_examples=150)
@given(RANDOM)
def test_engine_equals_the_stepper_on_processors(rng: Random) -> None:
    compare(*random_processor_system(rng))


@seed(7)
@settings(SETTINGS, max_examples=100)
@given(RANDOM)
def test_engine_equals_the_stepper_in_strict_phases(rng: Random) -> None:
    compare(*random_strict_system(rng))


def test_engine_equals_the_stepper_where_sweeps_and_messages_share_a_port() -> None:
    found = shares(random_sharing_system(Random(number)) for number in range(120))
    assert not {kind: found.get(kind) for kind in SHARING if found.get(kind, 0.0) < SHARING[kind]}


@pytest.mark.slow
@seed(9)
@settings(SETTINGS, max_examples=10_000)
@given(RANDOM)
def test_engine_equals_the_stepper_on_many_shared_ports(rng: Random) -> None:
    compare(*random_sharing_system(rng))


@pytest.mark.slow
@seed(8)
@settings(SETTINGS, max_examples=10_000)
@given(RANDOM)
def test_engine_equals_the_stepper_on_many_processors(rng: Random) -> None:
    compare(*random_processor_system(rng))


@pytest.mark.slow
@seed(3)
@settings(SETTINGS, max_examples=10_000)
@given(RANDOM)
def test_engine_equals_the_stepper_on_many(rng: Random) -> None:
    compare(*random_system(rng)[:2])


@pytest.mark.slow
@seed(4)
@settings(SETTINGS, max_examples=10_000)
@given(RANDOM)
def test_engine_equals_the_stepper_on_many_other_networks(rng: Random) -> None:
    compare(*random_variant(rng))


def test_every_kind_of_waiting_occurs() -> None:
    """The comparison is worth something only where packets, credits, sweeps and stages wait for one another."""
    found = shares(random_system(Random(number))[:2] for number in range(150))
    assert found.keys() == MESHES.keys()
    assert not {kind: share for kind, share in found.items() if share < MESHES[kind]}
    found = shares(random_variant(Random(number)) for number in range(150))
    assert found.keys() == MESHES.keys() | VARIANTS.keys()
    assert not {kind: found[kind] for kind in VARIANTS if found[kind] < VARIANTS[kind]}
    found = shares(random_giving_up(Random(number)) for number in range(150))
    assert not {kind: found.get(kind) for kind in GIVING_UP if found.get(kind, 0.0) < GIVING_UP[kind]}
    found = shares(random_processor_system(Random(number)) for number in range(150))
    assert not {kind: found.get(kind) for kind in PROCESSORS if found.get(kind, 0.0) < PROCESSORS[kind]}
