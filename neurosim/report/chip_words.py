"""A chip in sentences: what it can run, what its model covers, and what that leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from hwmodels import Chip, Kind
from hwmodels.core_schema import Memories
from hwmodels.quantity import Quantity
from neurosim.compiler.messages import other_ways
from neurosim.report.layout import counted

_SYNC = {
    "barrier": "Timesteps end with a barrier, when all work is done.",
    "tick": "Timesteps are ticks of {period}, which all cores share and which wait for late work.",
    "timer": "Timesteps are those of timers of {period}, which do not wait; work that overruns is reported.",
    "none": (
        "There are no timesteps: a unit updates at each arrival. Sigma-delta networks run, averages too, and "
        "cuba_lif units that only integrate and fire; units that change with time and delays are refused."
    ),
}

_CORES = {
    "pipeline": (
        "Cores as pipelines: sweep, axon-out, axon-in, synapse reads and accumulation are stages with finite queues, "
        "and what waits for what is timed."
    ),
    "processor": (
        "Cores as processors: one CPU takes packets by interrupt, sets up transfers of rows, works on rows and sweeps "
        "its neurons; what does not find room in its buffer is lost and counted."
    ),
    "crossbar": (
        "Cores as crossbars: what arrives is kept until the sweep, which visits every neuron and its row of synapses "
        "in every timestep."
    ),
}

_NAMES = {
    "synapse": "synapses",
    "neuron_state": "neuron state",
    "accumulator": "accumulators",
    "axon_in": "axon-in table",
    "axon_out": "axon-out table",
}


def core_kind(chip: Chip) -> str:
    """Return the kind of a chip's cores."""
    return chip.core.kind or "pipeline"


def sync_words(chip: Chip) -> str:
    """Return in a few words how a chip's timesteps end."""
    period = chip.sync.period
    if chip.sync.kind == "none":
        return "none (dataflow)"
    return chip.sync.kind if period is None else f"{chip.sync.kind}, {period.text}"


def can_run(chip: Chip) -> Iterator[str]:
    """Yield sentences on the networks that a chip takes, and its limits."""
    core = chip.core
    most = (core.neurons_usable or core.neurons).value
    more = f" (of {core.neurons.value:,} slots)" if most < core.neurons.value else ""
    chips = f" on {chip.chip_count} chips" if chip.chip_count > 1 else ""
    yield (
        f"{counted(chip.cores, 'core')}{chips} of up to {most:,} neurons each{more}, {chip.cores * most:,} in all. "
        "A core holds neurons of one layer; the input takes cores too."
    )
    payload = chip.network.payload
    otherwise = "; --messages sends them otherwise" if other_ways(chip) else ""
    if payload.value:
        values = f"signed values of up to {payload.value} bits"
        yield f"Messages are spikes, or {values}; wider ones are refused{otherwise}."
    else:
        yield f"Messages are spikes without a value. Networks whose layers send values are refused{otherwise}."
    yield _SYNC[chip.sync.kind].format(period=chip.sync.period.text if chip.sync.period else "")
    weights, bits = core.weights, core.weights.bits.value
    widths = f"{bits[0]} bits" if len(bits) == 1 else f"{', '.join(map(str, bits[:-1]))} or {bits[-1]} bits"
    signs = ", without a sign bit where all of a connection have one sign" if weights.sign_modes else ""
    yield (
        f"Weights of {widths}{signs}, times a power of two up to 2^{weights.exponent_max.value} that a connection "
        "shares. Wider ones are refused."
    )
    delay = core.max_delay.value
    yield f"Synaptic delays of up to {counted(delay, 'timestep')}." if delay else "No synaptic delays."
    yield "Memories of a core: " + "; ".join(_memories(chip)) + "."
    tables = chip.network.tables
    if tables is not None:
        yield f"Packets branch by routing tables of {tables.entries.value:,} entries a router; more are refused."


def _memories(chip: Chip) -> Iterator[str]:
    free = []
    for name in Memories.model_fields:
        memory = getattr(chip.core.memories, name)
        if memory.size is None:
            free.append(_NAMES[name])
        else:
            yield f"{_NAMES[name]} {memory.size.text}" + (", shared by the cores of a tile" if memory.shared else "")
    pool = chip.core.memory_pool
    if pool is not None:
        yield f"all together {pool.size.text}" + (", but for what is shared" if _shares(chip) else "")
    for key, words in (("axon_in_entries", "axon-in"), ("axon_out_entries", "axon-out")):
        entries = getattr(chip.core, key)
        if entries is not None:
            yield f"{counted(entries.value, 'entry', 'entries')} of the {words} table"
    if free:
        yield f"no limit {'of their own ' if pool else ''}for {', '.join(free)}"


def _shares(chip: Chip) -> bool:
    return any(getattr(chip.core.memories, name).shared for name in Memories.model_fields)


def covers(chip: Chip) -> Iterator[str]:
    """Yield sentences on what the model of a chip follows."""
    core, network = chip.core, chip.network
    yield _CORES[core_kind(chip)]
    if core.neuron.sweep == "touched":
        yield "Only neurons that got input or were active are visited."
    if core.lanes is not None:
        yield f"{core.lanes.value} synapses are added up at a time; conflicts over banks of accumulators are counted."
    links = "with six links a chip" if chip.hexagonal else f"a {chip.mesh.topology} of {chip.columns} x {chip.rows}"
    yield f"Network: routers ({links}) with finite buffers and credits, flit by flit, with arbitration."
    if network.blocked is not None:
        way = "tries the way round by two other links, then " if network.blocked.emergency else ""
        end = "is sent again later" if network.blocked.reinjection is not None else "is dropped and counted"
        yield f"A packet that stays blocked {way}{end}."
    powers = [
        words
        for words, term in (
            ("powered cores", chip.power.powered_core),
            ("awake host processors", chip.power.host),
            ("active cores", chip.power.active_core),
        )
        if term is not None
    ]
    note = f" ({chip.power.static_note})" if chip.power.static_note else ""
    yield (
        f"Power: static{note}"
        + "".join(f", {words}" for words in powers)
        + "; energy of updates, sends, look-ups, synops, messages and hops."
    )


def unpublished(chip: Chip) -> Iterator[str]:
    """Yield a sentence for each table of a chip that has constants which nobody published."""
    gaps = ((key, held) for key, held in chip.quantities() if held.kind is Kind.GAP)
    for table, held in groupby(gaps, key=lambda pair: pair[0].rpartition(".")[0]):
        parts = ", ".join(f"{key.rpartition('.')[2]} {quantity.text} ({span(quantity)})" for key, quantity in held)
        yield f"{table}: {parts}"


def span(quantity: Quantity) -> str:
    """Return the range of a quantity as ``low to high``; empty where it has none."""
    low, high = quantity.written_low, quantity.written_high
    if low is None and high is None:
        return ""
    return f"{quantity.text if low is None else low} to {quantity.text if high is None else high}"


def kind_counts(kinds: Counter[str]) -> str:
    """Return how many constants are of each kind, firmest first."""
    return ", ".join(f"{kinds[kind]} {kind.value}" for kind in Kind if kinds[kind])
