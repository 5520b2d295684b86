"""What a sweep must know of synapses: which of them touch a neuron, and the rows of a crossbar."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler.axons import source_neurons, synapse_stores
from neurosim.compiler.encoding import outputs_each
from neurosim.compiler.program import Program
from neurosim.errors import InputError
from neurosim.network import Conv2d


def counted_synapses(program: Program) -> list[NDArray[np.int32]] | None:
    """Return the synapses that count when they bring a neuron something: those that are charged.

    Returns
    -------
    For each connection 1 where a synapse counts and 0 elsewhere, int32 in the shape of its weights. None where
    neither the chip's sweep nor its kind of core asks for them.

    Raises
    ------
    InputError
        The axon table charges other synapses than those that this compiler's way of storing them has.
    """
    core = program.chip.core
    return None if core.neuron.sweep == "all" and core.kind != "crossbar" else charged_synapses(program)


def charged_synapses(program: Program) -> list[NDArray[np.int32]]:
    """Return which synapses of each connection are charged, as `counted_synapses` does, whatever the chip's sweep.

    Raises
    ------
    InputError
        As there.
    """
    core, connections = program.chip.core, program.network.connections
    counted = [connection.transform.weights != 0 for connection in connections]
    if any(kind.synops == "structural" for kind in (core.encodings.dense, core.encodings.sparse, core.encodings.conv)):
        _add_zeros(program, counted)
    return [synapses.astype(np.int32) for synapses in counted]


def _add_zeros(program: Program, counted: list[NDArray[np.bool_]]) -> None:
    """Count stored zeros too, and hold what is counted against the axon table."""
    network, cores = program.network, program.cores
    sources = np.repeat(np.arange(network.size), np.diff(program.axon_start))
    keys, values = [sources * cores + program.axon_core], [-program.axon_charged.astype(np.int64)]
    stores = synapse_stores(network, program.chip, program.messages)
    for connection, store, synapses in zip(network.connections, stores, counted, strict=True):
        target = network.index[connection.target]
        positions = source_neurons(network, connection)
        for core, part in enumerate(program.slices):
            if part.layer != target:
                continue
            fan_out, zeros = store.store(part).fan_out, store.stores_zeros(part)
            keys.append(positions[fan_out.sources] * cores + core)
            values.append(fan_out.structural if zeros else fan_out.nonzero)
            if zeros and isinstance(connection.transform, Conv2d):
                synapses[:] = True
            elif zeros:
                layer = network.layers[target]
                synapses[part.outputs(layer.shape, outputs_each(connection.transform, layer))] = True
    pairs, number = np.unique(np.concatenate(keys), return_inverse=True)
    excess = np.zeros(pairs.size, dtype=np.int64)
    np.add.at(excess, number, np.concatenate(values))
    if excess.any():
        neuron, to = divmod(int(pairs[np.flatnonzero(excess)[0]]), cores)
        raise InputError(
            f"{network.name} on {program.chip.name}: the axon table charges a message of neuron {neuron} at core {to} "
            f"with other synapses than the network's, stored by this compiler, have; which neurons it touches is not "
            "known: compile the network again"
        )


def crossbar_words(program: Program) -> NDArray[np.int64]:
    """Return the words of synapse memory that a crossbar's row takes on each core, int64 (C,).

    A row has a crosspoint for each axon line of the core, used or not: `core.axon_in_entries` of them, or, where the
    chip gives no limit, as many as the core's table has entries. A crosspoint is as wide as the widest weight, with a
    synapse's own delay, of the connections into the layer.
    """
    network, chip = program.network, program.chip
    bits = np.zeros(len(network.layers), dtype=np.int64)
    for connection, store in zip(network.connections, synapse_stores(network, chip, program.messages), strict=True):
        target = network.index[connection.target]
        bits[target] = max(int(bits[target]), store.synapse_bits)
    limit = chip.core.axon_in_entries
    lines = program.axon_in_entries if limit is None else np.full(program.cores, limit.value)
    return -(-lines * bits[program.core_layer] // chip.core.memories.synapse.word.value)
