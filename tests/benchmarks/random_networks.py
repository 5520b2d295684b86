"""Random spiking networks of a set number of destination cores a neuron, for neurosim and for SANA-FE.

Every neuron drives `fan_out` targets spread evenly over `destinations` cores, drawn at random for each neuron.
A core holds a contiguous range of neurons, as many as every other. Each neuron has a bias of its own, so that
it fires every 8 to 20 timesteps, about 8 % of all in a timestep; weights of either sign shake the phases apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import neurosim
from hwmodels import Chip, load_chip
from neurosim.compiler import Program
from neurosim.network import Connection, CubaLif, Layer, Network, Sparse

CHIP = "loihi_board"
THRESHOLD = 1000
BIAS = (52, 121)
CHUNK = 1 << 14
SHAPES = {16: (2, 2), 32: (4, 2), 64: (4, 4), 128: (8, 4), 256: (8, 8), 512: (16, 8), 1024: (16, 16)}
"""Tiles (columns, rows) of a chip of so many cores, four to a tile."""


@dataclass(frozen=True)
class Case:
    """One network on one chip.

    Attributes
    ----------
    neurons
        A multiple of `cores`.
    destinations
        Cores that each neuron sends to.
    cores
        Cores in use.
    chip_cores
        Cores of the chip; a key of `SHAPES`.
    fan_out
        Synapses of each neuron.
    seed
        Of everything drawn.
    """

    neurons: int
    destinations: int
    cores: int
    chip_cores: int = 128
    fan_out: int = 100
    seed: int = 0

    @property
    def per_core(self) -> int:
        """Neurons of a core."""
        return self.neurons // self.cores

    @property
    def shape(self) -> tuple[int, int]:
        """Tiles of the chip: columns, rows."""
        return SHAPES[self.chip_cores]

    @cached_property
    def targets(self) -> NDArray[np.int32]:
        """int32 (neurons, fan_out): targets of each neuron, ascending, without repeats."""
        rng = np.random.default_rng((self.seed, 0))
        slot = np.repeat(np.arange(self.destinations), np.diff(_cuts(self.fan_out, self.destinations)))
        low, size = [], []
        for count in np.diff(_cuts(self.fan_out, self.destinations)):
            # A target is drawn from each of `count` even stretches of the core: none can come twice.
            cuts = _cuts(self.per_core, int(count))
            low.append(cuts[:-1])
            size.append(np.diff(cuts))
        first, span = np.concatenate(low), np.concatenate(size)
        out = np.empty((self.neurons, self.fan_out), dtype=np.int32)
        for at in range(0, self.neurons, CHUNK):
            rows = min(CHUNK, self.neurons - at)
            order = np.argsort(rng.random((rows, self.cores), dtype=np.float32), axis=1)[:, : self.destinations]
            core = np.sort(order, axis=1)[:, slot]
            out[at : at + rows] = core * self.per_core + first + rng.integers(0, span, (rows, self.fan_out))
        return out

    @cached_property
    def weights(self) -> NDArray[np.int8]:
        """int8 (neurons, fan_out): -32, -24 .. 32 without 0."""
        rng = np.random.default_rng((self.seed, 1))
        size = (self.neurons, self.fan_out)
        return rng.integers(1, 5, size, dtype=np.int8) * np.int8(8) * (1 - 2 * rng.integers(0, 2, size, dtype=np.int8))

    @cached_property
    def bias(self) -> NDArray[np.int64]:
        """int64 (neurons,): what a potential gains in each timestep."""
        return np.random.default_rng((self.seed, 2)).integers(*BIAS, self.neurons)

    def network(self) -> Network:
        """Return the network for neurosim: one layer that drives itself."""
        unit = CubaLif(current_decay=4096, voltage_decay=0, threshold=THRESHOLD << 6, bias=self.bias)
        starts = np.arange(self.neurons + 1, dtype=np.int64) * self.fan_out
        synapses = Sparse(starts, self.targets.ravel(), self.weights.ravel(), self.neurons)
        return Network([Layer("all", (self.neurons,), unit)], [Connection(("all",), "all", synapses)])

    def overrides(self) -> dict[str, str]:
        """Return what is set in neurosim's chip: its size, this many neurons a core, and room for everything."""
        columns, rows = self.shape
        memories = ("synapse", "neuron_state", "axon_in", "axon_out")
        return {
            "mesh.columns": str(columns),
            "mesh.rows": str(rows),
            "core.neurons": str(self.per_core),
            "core.axon_in_entries": "1000000000",
            "core.axon_out_entries": "1000000000",
            "core.memory_pool.size": "4 GiB",
            **{f"core.memories.{name}.size": "1 GiB" for name in memories},
        }

    def chip(self) -> Chip:
        """Return neurosim's chip."""
        return load_chip(CHIP, self.overrides())

    def program(self, network: Network) -> Program:
        """Return `network` compiled for the chip.

        Raises
        ------
        ValueError
            The compiler used other cores or other destinations than the case asks for.
        """
        program = neurosim.compile(network, self.chip())
        found = np.diff(program.axon_start)
        if program.cores != self.cores or (found != self.destinations).any():
            raise ValueError(
                f"{self}: compiled to {program.cores} cores and {found.min()} to {found.max()} destinations a neuron"
            )
        return program


def _cuts(size: int, parts: int) -> NDArray[np.int64]:
    return np.arange(parts + 1) * size // parts


def case_of(neurons: int, destinations: int, chip_cores: int = 128, fan_out: int = 100) -> Case:
    """Return a case with as many of the chip's cores as have room for distinct targets.

    A core must hold at least fan_out / destinations neurons, or a neuron could not have so many distinct
    targets on it: small networks with few destinations use fewer cores than the chip has.

    Raises
    ------
    ValueError
        No power of two of cores will do.
    """
    need = -(-fan_out // destinations)
    cores = chip_cores
    while cores and (neurons % cores or neurons // cores < need):
        cores //= 2
    if cores < destinations:
        raise ValueError(f"{neurons} neurons cannot have {destinations} destination cores of {need} targets each")
    return Case(neurons, destinations, cores, chip_cores, fan_out)


def architecture_text(chip: Chip, neurons_per_core: int) -> str:
    """Return a SANA-FE architecture with the times of a neurosim chip.

    As SANA-FE's own loihi.yaml, energies included, less what this network leaves idle: 1,024 input units a core,
    a dendrite with delays, two of the three synapse units.
    """
    core, network = chip.core, chip.network

    def ns(*values: int) -> str:
        return f"{(values[0] - sum(values[1:])) / 1000:.6g}e-9"

    active, inactive = core.neuron.update_active_time.value, core.neuron.update_inactive_time.value
    tiles = int(chip.mesh.columns.value * chip.mesh.rows.value)
    hops = "\n".join(
        f"        latency_{side}_hop: {ns(latency.value)}\n        energy_{side}_hop: {energy}e-12"
        for sides, latency, energy in (
            (("east", "west"), network.latency_east_west, 3.0),
            (("north", "south"), network.latency_north_south, 4.2),
        )
        for side in sides
    )
    barrier = ", ".join(f"{int(row.tiles)}: {ns(row.time.value)}" for row in chip.sync.barrier)
    return f"""architecture:
  name: chip
  attributes:
    topology: mesh
    width: {int(chip.mesh.columns.value)}
    height: {int(chip.mesh.rows.value)}
    link_buffer_size: {int(network.buffer.value)}
    sync_model: table
    latency_sync: {{ {barrier} }}
  tile:
    - name: tile[0..{tiles - 1}]
      attributes:
{hops}
      core:
        - name: core[0..{int(chip.mesh.cores_per_tile.value) - 1}]
          attributes:
            buffer_position: soma
            buffer_inside_unit: false
            max_neurons_supported: {neurons_per_core}
          axon_in:
            - name: axon_in
              attributes: {{ energy_message_in: 0.0, latency_message_in: {ns(core.axon_in.time.value)} }}
          synapse:
            - name: synapse
              attributes:
                model: current_based
                energy_process_spike: 33.6e-12
                latency_process_spike: {ns(core.encodings.sparse.synop_time.value)}
          dendrite:
            - name: dendrite
              attributes: {{ model: accumulator, energy_update: 0.0, latency_update: 0.0 }}
          soma:
            - name: soma
              attributes:
                model: leaky_integrate_fire
                energy_access_neuron: 51.2e-12
                latency_access_neuron: {ns(inactive)}
                energy_update_neuron: 21.6e-12
                latency_update_neuron: {ns(active, inactive)}
                energy_spike_out: 69.3e-12
                latency_spike_out: {ns(core.neuron.send_time.value)}
          axon_out:
            - name: axon_out
              attributes: {{ energy_message_out: 111.0e-12, latency_message_out: {ns(core.axon_out.time.value)} }}
"""


def sanafe_cores(core_slot: NDArray[np.int32], shape: tuple[int, int], per_tile: int) -> NDArray[np.int64]:
    """Return SANA-FE's numbers of neurosim's physical cores.

    neurosim numbers tiles row by row, SANA-FE column by column.
    """
    columns, rows = shape
    tile, within = np.divmod(np.asarray(core_slot, dtype=np.int64), per_tile)
    y, x = np.divmod(tile, columns)
    return (x * rows + y) * per_tile + within
