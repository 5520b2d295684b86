"""The tables of a core in a chip file: memories, encodings, stages."""

from __future__ import annotations

from typing import Literal

from pydantic import StrictBool, model_validator

from hwmodels.quantity import Count, Counts, Energy, Model, PositiveCount, PositiveSize, PositiveTime, Size, Time


class Memory(Model):
    """One memory of a core; an access moves one word through one port of one bank.

    Without `banks` there is one. With `shared` it is one memory for all cores of a tile.
    """

    word: PositiveSize
    size: PositiveSize | None = None
    ports: PositiveCount
    banks: PositiveCount | None = None
    shared: Literal["tile"] | None = None
    read_latency: Time
    read_interval: PositiveTime
    write_latency: Time
    write_interval: Time

    @property
    def bank_count(self) -> int:
        """Number of banks."""
        return 1 if self.banks is None else self.banks.value

    @property
    def width(self) -> int:
        """Accesses at one time, over all banks."""
        return self.bank_count * self.ports.value


class Memories(Model):
    """The memories that every core has."""

    synapse: Memory
    neuron_state: Memory
    accumulator: Memory
    axon_in: Memory
    axon_out: Memory


class MemoryPool(Model):
    """A limit over all memories of a core together."""

    size: PositiveSize


class Weights(Model):
    """How weights are stored."""

    bits: Counts
    sign_modes: StrictBool
    exponent_max: Count


class Encoding(Model):
    """One way to store the synapses of a message, and what a synop costs in it."""

    header: Size
    index: Size
    synops: Literal["structural", "nonzero"]
    synop_time: Time
    synop_energy: Energy


class Encodings(Model):
    """The three ways to store synapses."""

    dense: Encoding
    sparse: Encoding
    conv: Encoding


class Neuron(Model):
    """The neuron stage: a sweep over all neurons in every timestep, or over those that got input or were active."""

    sweep: Literal["all", "touched"]
    state: Size | None = None
    update_active_time: Time
    update_inactive_time: Time
    send_time: Time
    update_active_energy: Energy
    update_inactive_energy: Energy
    send_energy: Energy


class AxonOut(Model):
    """The stage that looks up destinations; its costs are per message and destination core."""

    time: Time
    energy: Energy
    queue: PositiveCount


class AxonIn(Model):
    """The stage that takes messages from the network; its costs are per message."""

    time: Time
    energy: Energy
    queue: PositiveCount
    stage_queue: PositiveCount


class Processor(Model):
    """What a processor does in software; its times are taken from the core's one CPU.

    `packet_time` is the interrupt that takes one packet, before all else. `row_setup_time` finds a packet's row and
    starts its transfer from the synapse memory, `row_time` begins the work on a row that has come; both go before
    the timer's work, the sweep, which begins with `timer_time`. `buffer` packets can wait for their row, more are
    lost.
    """

    packet_time: Time
    row_setup_time: Time
    row_time: Time
    timer_time: Time
    buffer: PositiveCount


class Core(Model):
    """One core: capacities, memories, and the cost of each stage.

    Without `kind` it is a pipeline, without `phases` its sweep and its messages overlap, without `lanes` its
    accumulate stage takes one synapse at a time, without `shared_port` every stage has a port of its own.
    A crossbar keeps what arrives until the sweep, which does each neuron's synapses as it visits it.
    """

    kind: Literal["pipeline", "processor", "crossbar"] | None = None
    phases: Literal["overlap", "strict"] | None = None
    lanes: PositiveCount | None = None
    shared_port: tuple[Literal["sweep", "synapse_read", "accumulate"], ...] | None = None
    processor: Processor | None = None
    neurons: PositiveCount
    neurons_usable: PositiveCount | None = None
    conv_patch: Literal["columns_power_of_two", "any"]
    max_delay: Count
    axon_in_entries: PositiveCount | None = None
    axon_out_entries: PositiveCount | None = None
    axon_in_entry_bits: Size
    axon_out_entry_bits: Size
    weights: Weights
    memory_pool: MemoryPool | None = None
    memories: Memories
    encodings: Encodings
    neuron: Neuron
    axon_out: AxonOut
    axon_in: AxonIn

    @model_validator(mode="after")
    def _kinds(self) -> Core:
        if (self.kind == "processor") != (self.processor is not None):
            raise ValueError('kind "processor" and the table processor belong together; give both or neither')
        if self.kind == "processor":
            if self.axon_in.time.value:
                raise ValueError("axon_in.time is for pipelines; set it to 0, a processor takes processor.packet_time")
            for key in ("phases", "shared_port", "lanes"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} is for cores with stages of their own; a processor does one at a time")
            for name in Memories.model_fields:
                if name != "synapse" and getattr(self.memories, name).banks is not None:
                    raise ValueError(
                        f"memories.{name}.banks: the times of a processor hold all its accesses but those of the "
                        "synapse memory; leave it out"
                    )
        if self.kind == "crossbar":
            self._check_crossbar()
        if self.shared_port is not None and len(set(self.shared_port)) < 2:
            raise ValueError("shared_port names fewer than two stages; name those that share it, or leave it out")
        shared = [name for name in Memories.model_fields if getattr(self.memories, name).shared]
        if shared and (self.kind != "processor" or shared != ["synapse"]):
            raise ValueError(
                f"memories {', '.join(shared)}: only the synapse memory of processor cores can be shared by a tile"
            )
        return self

    def _check_crossbar(self) -> None:
        for key in ("shared_port", "lanes"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: a crossbar has no stages that read or add up messages; leave {key} out")
        if self.neuron.sweep != "all":
            raise ValueError('neuron.sweep: a crossbar visits every neuron with its row; set it to "all"')
        ways = [getattr(self.encodings, name) for name in Encodings.model_fields]
        if len({(way.synops, way.synop_time.value) for way in ways}) > 1:
            raise ValueError(
                "encodings: a crossbar stores all synapses in one way; give dense, sparse and conv the same synops "
                "and synop_time"
            )

    @model_validator(mode="after")
    def _capacities(self) -> Core:
        if self.neurons_usable is not None and self.neurons_usable.value > self.neurons.value:
            usable = self.neurons_usable.value
            raise ValueError(f"neurons_usable {usable} is more than neurons {self.neurons.value}; lower it")
        if self.memory_pool is not None:
            pool = self.memory_pool.size
            for name in Memories.model_fields:
                memory = getattr(self.memories, name)
                size = None if memory.shared else memory.size
                if size is not None and size.value > pool.value:
                    need = f"memories.{name}.size {size.text}"
                    raise ValueError(f"{need} is more than memory_pool.size {pool.text}; lower it")
        return self
