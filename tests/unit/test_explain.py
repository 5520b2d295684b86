"""Differences between rows: parts that add up, and the words for them."""

from __future__ import annotations

import pytest

from neurosim.costs import Interval
from neurosim.errors import InputError
from neurosim.explore import Row, Term
from neurosim.explore.configurations import configurations, split_values
from neurosim.explore.explain import best, energy_difference, time_difference
from neurosim.explore.rows import group_of


def row(name: str, timestep_s: float | None = None, path: dict[str, float] | None = None, **terms: tuple) -> Row:
    """A row of terms group=(key, events, price)."""
    made = tuple(
        Term(key, group.replace("_", " "), Interval(events * price, 0, 9), events)
        for group, (key, events, price) in terms.items()
    )
    total = sum(term.energy_j.value for term in made)
    energy = Interval(total, 0, 9) if terms else None
    return Row(name, "chip", energy_j=energy, terms=made, timestep_s=timestep_s, path_s=path or {})


def test_number_and_price_add_up_to_the_part() -> None:
    one = row("one", reads=("core.encodings.dense.synop_energy", 10.0, 2.0), network=("network.energy_local", 3.0, 1.0))
    two = row("two", reads=("core.encodings.conv.synop_energy", 30.0, 1.0), network=("network.energy_local", 3.0, 2.0))
    found = energy_difference(two, one)
    assert found is not None
    assert found.value == pytest.approx(13.0)
    assert found.ratio == pytest.approx(36 / 23)
    reads, network = found.parts
    # Reads: 20 more at a mean price of 1.5; cheaper by 1 at a mean number of 20.
    assert (reads.by_number, reads.by_price, reads.difference) == (30.0, -20.0, 10.0)
    assert (network.by_number, network.by_price) == (0.0, 3.0)
    assert found.sentence() == "77 % of the difference: reads (more of them); 23 %: network (each dearer)"
    back = energy_difference(one, two)
    assert back is not None
    assert back.sentence() == "77 % of the difference: reads (fewer of them); 23 %: network (each cheaper)"


def test_powers_flow_for_a_time() -> None:
    short, long = (
        row(n, static_power=("power.static", seconds, 2.0)) for n, seconds in (("short", 1.0), ("long", 3.0))
    )
    weak = row("weak", static_power=("power.static", 1.0, 1.0))
    words = [energy_difference(a, b) for a, b in ((long, short), (short, long), (short, weak), (weak, short))]
    assert [found.sentence().partition("power ")[2] for found in words if found] == [
        "(for longer)", "(for less time)", "(more power)", "(less power)",
    ]  # fmt: skip


def test_what_goes_the_other_way_has_a_negative_share() -> None:
    one = row("one", a=("network.x", 1.0, 10.0), b=("chips.x", 1.0, 5.0))
    two = row("two", a=("network.x", 1.0, 30.0), b=("chips.x", 1.0, 1.0))
    found = energy_difference(two, one)
    assert found is not None
    assert [part.share for part in found.parts] == [pytest.approx(20 / 16), pytest.approx(-4 / 16)]
    assert found.sentence() == "125 % of the difference: a (each dearer); -25 %: b (each cheaper)"


def test_terms_that_only_one_has_are_told_without_reasons() -> None:
    one, two = row("one", a=("network.x", 1.0, 1.0)), row("two", b=("chips.x", 2.0, 4.0))
    found = energy_difference(two, one)
    assert found is not None
    assert [(part.what, part.difference, part.by_number) for part in found.parts] == [
        ("b", 8.0, None),
        ("a", -1.0, None),
    ]


def test_times_by_resource() -> None:
    one = row("one", 10.0, {"sweep": 4.0, "barrier": 6.0})
    two = row("two", 15.0, {"sweep": 4.0, "barrier": 1.0, "link": 10.0})
    found = time_difference(two, one)
    assert found is not None
    assert found.sentence() == "200 % of the difference: link; -100 %: barrier"
    assert time_difference(two, row("none", 3.0)) is None
    assert time_difference(row("none"), two) is None


def test_what_has_no_energy_is_not_explained() -> None:
    assert energy_difference(row("a"), row("b", c=("network.x", 1.0, 1.0))) is None
    assert best((row("a"), row("b"))) is None
    cheap, dear = row("cheap", c=("network.x", 1.0, 1.0)), row("dear", c=("network.x", 1.0, 2.0))
    assert best((row("a"), dear, cheap)) is cheap


def test_groups_mean_the_same_for_every_chip() -> None:
    assert group_of("core.encodings.conv.synop_energy") == "synapse memory reads"
    assert group_of("chips.energy") == group_of("network.energy_east_west") == "network"
    assert group_of("power.static") == "static power"
    assert group_of("power.active_core") == "power: active core"
    assert group_of("something.else") == "something.else"


def test_names_tell_what_varies() -> None:
    grid = {"core.encodings.dense.synop_time": ["1 ns", "2 ns"], "core.encodings.conv.synop_time": ["3 ns", "4 ns"],
            "network.buffer": ["4"]}  # fmt: skip
    names = [configuration.name for configuration in configurations(["loihi2"], grid)]
    assert names[0] == "loihi2 dense.synop_time=1 ns conv.synop_time=3 ns"
    assert len(set(names)) == 4


def test_lists_of_values() -> None:
    assert split_values("1 pJ,2 pJ") == ["1 pJ", "2 pJ"]
    assert split_values("[1, 2], [4]") == ["[1, 2]", "[4]"]
    assert split_values('"a,b",c') == ["a,b", "c"]


def test_a_grid_has_a_limit() -> None:
    many = [str(k) for k in range(1, 40)]
    with pytest.raises(InputError, match="1521 configurations are more than 1000"):
        configurations(["loihi2"], {"network.buffer": many, "core.axon_in.queue": many})
