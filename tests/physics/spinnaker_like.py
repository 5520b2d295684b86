"""A chip for tests in the manner of SpiNNaker: processors, routing tables, six links a chip, timers.

Its numbers are round ones of the right size, chosen so that sums can be done by hand; they are no claim about silicon.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from hwmodels import Chip, load_chip

NUMBER = {"kind": "estimate", "source": "tests", "note": "for tests"}

# <...> stands for a number with `NUMBER` beside it.
TEXT = """
schema = "neurosim.chip/1"
name = "spinnaker_like"
title = "A chip in the manner of SpiNNaker"
summary = "For tests"

[mesh]
topology = "mesh"
columns = <1>
rows = <1>
cores_per_tile = <CORES>

[chips]
topology = "triangular_torus"
columns = <CHIP_COLUMNS>
rows = <CHIP_ROWS>
latency = <"100 ns">
interval = <"167 ns">
energy = <"1 nJ">

[core]
kind = "processor"
neurons = <1024>
neurons_usable = <256>
conv_patch = "any"
max_delay = <15>
axon_in_entry_bits = <"0 bit">
axon_out_entry_bits = <"0 bit">

[core.processor]
packet_time = <"0.3 us">
row_setup_time = <"0.5 us">
row_time = <"0.6 us">
timer_time = <"1 us">
buffer = <256>

[core.weights]
bits = <[16]>
sign_modes = false
exponent_max = <0>

[core.memories.synapse]
word = <"32 bit">
size = <"117 MiB">
ports = <1>
shared = "tile"
read_latency = <"100 ns">
read_interval = <"4 ns">
write_latency = <"100 ns">
write_interval = <"4 ns">
MEMORIES
[core.encodings.dense]
header = <"96 bit">
index = <"16 bit">
synops = "structural"
synop_time = <"50 ns">
synop_energy = <"8 nJ">

[core.encodings.sparse]
header = <"96 bit">
index = <"16 bit">
synops = "nonzero"
synop_time = <"50 ns">
synop_energy = <"8 nJ">

[core.encodings.conv]
header = <"96 bit">
index = <"0 bit">
synops = "nonzero"
synop_time = <"50 ns">
synop_energy = <"8 nJ">

[core.neuron]
sweep = "all"
update_active_time = <"0.32 us">
update_inactive_time = <"0.32 us">
send_time = <"0 ns">
update_active_energy = <"26 nJ">
update_inactive_energy = <"26 nJ">
send_energy = <"0 pJ">

[core.axon_out]
time = <"100 ns">
energy = <"0 pJ">
queue = <16>

[core.axon_in]
time = <"0 ns">
energy = <"0 pJ">
queue = <16>
stage_queue = <4>

[network]
flit = <"40 bit">
header = <"40 bit">
payload = <"0 bit">
buffer = <4>
latency_injection = <"10 ns">
latency_ejection = <"10 ns">
latency_east_west = <"10 ns">
latency_north_south = <"10 ns">
link_interval = <"5 ns">
local_interval = <"5 ns">
credit_return = <"5 ns">
energy_local = <"1 nJ">
energy_east_west = <"0 pJ">
energy_north_south = <"0 pJ">

[network.tables]
entries = <1023>
default_routing = true

[network.blocked]
wait = <"240 ns">
emergency = true
emergency_wait = <"240 ns">

[sync]
kind = "timer"
period = <"1 ms">

[power]
static = <"0.35 W">
"""

MEMORY = """
[core.memories.{name}]
word = <"{word}">
ports = <2>
read_latency = <"5 ns">
read_interval = <"5 ns">
write_latency = <"5 ns">
write_interval = <"5 ns">
"""

WORDS = {"neuron_state": "32 bit", "accumulator": "24 bit", "axon_in": "32 bit", "axon_out": "32 bit"}


def _number(found: re.Match[str]) -> str:
    rest = ", ".join(f'{key} = "{text}"' for key, text in NUMBER.items())
    return f"{{ value = {found[1]}, {rest} }}"


def chip_text(chips_columns: int, chips_rows: int, cores: int) -> str:
    """Return the chip file."""
    memories = "".join(MEMORY.format(name=name, word=word) for name, word in WORDS.items())
    text = TEXT.replace("MEMORIES", memories)
    for name, number in (("CHIP_COLUMNS", chips_columns), ("CHIP_ROWS", chips_rows), ("CORES", cores)):
        text = text.replace(f"<{name}>", f"<{number}>")
    return re.sub("<(.+?)>", _number, text)


def spinnaker_like(chips_columns: int = 8, chips_rows: int = 6, cores: int = 17, **overrides: object) -> Chip:
    """Return a torus of chips of `cores` processors each.

    Parameters
    ----------
    chips_columns, chips_rows, cores
        Chips east-west and north-south, and cores that each has.
    overrides
        Dotted key, written with __ for a dot -> what to put there: None takes the key away, a truth value, a table or
        the text of a key that is no number stands as it is, all else is the value of a number.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spinnaker_like.toml")
        path.write_text(chip_text(chips_columns, chips_rows, cores), encoding="utf-8")
        plain = load_chip(str(path)).to_dict()
    for key, value in overrides.items():
        *tables, last = key.split("__")
        table: Any = plain
        for name in tables:
            table = table[name]
        if value is None:
            del table[last]
        elif isinstance(value, bool | dict) or isinstance(table.get(last), str):
            table[last] = value
        else:
            table[last] = {"value": value, **NUMBER}
    return Chip.from_dict(plain)
