"""How synapses are stored: bits a weight takes, words a message reads, words a core needs.

Layout assumed for every chip: a synapse list starts at a word boundary with a header, then one entry a
synapse (an index beside the weight where the encoding is sparse). A convolution kernel is stored once a
core, one list of output channels for each (input channel, kernel row, kernel column).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from hwmodels.core_schema import Encoding as EncodingCosts
from neurosim.compiler.lanes import Lanes, row_conflicts
from neurosim.compiler.program import Box, CoreSlice, Encoding
from neurosim.errors import CapacityError, ModelError
from neurosim.network import ByTarget, Connection, Conv2d, Dense, FanOut, Layer, Pool2d, Sparse, Transform

MOST_KEPT_SOURCES = 1 << 20
"""Entries of source neurons, about 24 bytes each, that a connection's stores keep; more are worked out again."""


def weight_bits(weights: NDArray[np.int32], chip: Chip, label: str, mirrored: bool = False) -> int:
    """Return the stored width of each weight, in bits.

    A power of two common to all weights is stored once, as an exponent. Where the chip has sign modes
    and all weights share a sign, only magnitudes are stored. Where lists are `mirrored` weights are stored with the
    other sign too, as wide.

    Raises
    ------
    CapacityError
        The weights need more bits than the chip stores.
    """
    formats = chip.core.weights
    low, high = (int(weights.min()), int(weights.max())) if weights.size else (0, 0)
    common = int(np.bitwise_or.reduce(weights.ravel())) if weights.size else 0
    exponent = min((common & -common).bit_length() - 1, int(formats.exponent_max.value)) if common else 0
    low, high = low >> exponent, high >> exponent
    if formats.sign_modes and (low >= 0 or high <= 0):
        need = max(abs(low), abs(high)).bit_length()
    else:
        low, high = (min(low, -high), max(high, -low)) if mirrored else (low, high)
        need = 1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)
    fitting = [bits for bits in formats.bits.value if bits >= need]
    if not fitting:
        raise CapacityError(
            f"{label}: weights {weights.min()}..{weights.max()}{' and their negatives' if mirrored else ''} need "
            f"{need} bits; {chip.name} stores at most {max(formats.bits.value)}; quantise the layer to fewer bits"
        )
    return int(min(fitting))


@dataclass(frozen=True)
class StoredSynapses:
    """Synapses of one connection as one core stores them.

    Attributes
    ----------
    encoding
        Chosen encoding.
    words
        Words of synapse memory taken.
    fan_out
        Sources that the core holds synapses for.
    words_read
        int64 (m,): words that a message of each of those sources reads.
    axon_in_entries
        Entries of the axon-in table, or None for one a source core (shared kernels).
    """

    encoding: Encoding
    words: int
    fan_out: FanOut
    words_read: NDArray[np.int64]
    axon_in_entries: int | None


def fan_out_of(transform: Transform, layer: Layer, part: CoreSlice, order: ByTarget | None = None) -> FanOut:
    """Count the synapses that each source neuron of `transform` has in a slice of `layer`.

    The output of a dense or sparse transform is a vector; where the layer is an image all the same, the
    slice's neurons are picked out of it, and where it leads to several compartments of each neuron, the slice's are a
    range of it. `order` is that of the synapses of a sparse one, if it is known.
    """
    if len(part.box) == len(transform.out_shape):
        each = outputs_each(transform, layer)
        box = part.box if each == 1 else ((part.box[0][0] * each, part.box[0][1] * each),)
        return transform.fan_out(box) if order is None else order.fan_out(*box[0])
    neurons = part.neurons(layer.shape)
    if isinstance(transform, Dense):
        return Dense(transform.weights[neurons]).fan_out()
    if isinstance(transform, Sparse):
        place = np.full(transform.out_size, -1, dtype=np.int64)
        place[neurons] = np.arange(neurons.size)
        targets = place[transform.targets]
        kept = targets >= 0
        starts = np.concatenate(([0], np.cumsum(kept)))[transform.row_start]
        return Sparse(starts, targets[kept], transform.weights[kept], neurons.size).fan_out()
    raise ModelError(shape_problem(transform, layer))


def outputs_each(transform: Transform, layer: Layer) -> int:
    """Return how many outputs of `transform` a neuron of `layer` has: the compartments that it leads to."""
    return transform.out_size // layer.size


def shape_problem(transform: Transform, layer: Layer) -> str:
    """Return what is wrong where the output of `transform` cannot be cut as `layer` is, else nothing."""
    if len(transform.out_shape) == 1 or transform.out_shape == layer.shape:
        return ""
    return (
        f"the {transform.kind} gives shape {transform.out_shape}, layer {layer.name} has {layer.shape}; "
        f"give the layer shape {transform.out_shape}"
    )


class SynapseStore:
    """Stores the synapses of one connection on the cores of one chip.

    A weight takes `weight_bits`; where every synapse has a delay of its own, that is stored beside it.

    Parameters
    ----------
    connection
        What to store.
    layer
        Its target.
    chip
        Where.
    axons
        int64 (in_size,): axons of each source, each with an entry of its own; one without.
    mirrored
        bool (in_size,): sources whose synapses are stored a second time, with the other sign; none without.

    Raises
    ------
    CapacityError
        The weights are too wide for the chip.
    ModelError
        The connection gives an image of another shape than the layer's.
    """

    def __init__(
        self,
        connection: Connection,
        layer: Layer,
        chip: Chip,
        axons: NDArray[np.int64] | None = None,
        mirrored: NDArray[np.bool_] | None = None,
    ) -> None:
        self.transform: Transform = connection.transform
        self.axons = axons if axons is not None and (axons != 1).any() else None
        self.mirrored = mirrored if mirrored is not None and mirrored.any() else None
        self.layer, self.compartments = layer, connection.leads_to(layer.unit)
        if problem := shape_problem(self.transform, layer):
            raise ModelError(f"{connection.label}: {problem}")
        self.encodings = chip.core.encodings
        self.lanes = Lanes.of(chip)
        self.word_bits = int(chip.core.memories.synapse.word.value)
        twice = self.mirrored is not None
        self.synapse_bits = weight_bits(self.transform.weights, chip, connection.label, twice)
        if connection.delay is not None and connection.delay.kind == "synapse":
            self.synapse_bits += connection.delay.longest.bit_length()
        self._stored: dict[Box, StoredSynapses] = {}
        self._kept_sources = 0
        self._sizes: dict[Box, tuple[int, int | None]] = {}
        self._conflicts: dict[Box, NDArray[np.int64]] = {}

    @cached_property
    def _order(self) -> ByTarget | None:
        return self.transform.by_target() if isinstance(self.transform, Sparse) else None

    @property
    def least_bits(self) -> int:
        """Bits that a dense or sparse connection takes at least, however it is cut; else 0."""
        if isinstance(self.transform, Conv2d):
            return 0
        return int(np.count_nonzero(self.transform.weights)) * self.synapse_bits

    def store(self, part: CoreSlice) -> StoredSynapses:
        """Return how a core that holds `part` of the target stores its synapses."""
        if part.box in self._stored:
            return self._stored[part.box]
        stored = self._store(part)
        self._sizes[part.box] = (stored.words, stored.axon_in_entries)
        if self._kept_sources + stored.words_read.size <= MOST_KEPT_SOURCES:
            self._kept_sources += stored.words_read.size
            self._stored[part.box] = stored
        return stored

    def stores_zeros(self, part: CoreSlice) -> bool:
        """Return whether a core that holds `part` stores synapses of weight zero, and takes time for them."""
        encoding = self.store(part).encoding
        if encoding is Encoding.SPARSE:  # nothing is listed but what is not zero
            return False
        costs = self.encodings.dense if encoding is Encoding.DENSE else self.encodings.conv
        return costs.synops == "structural"

    def conflicts(self, part: CoreSlice) -> NDArray[np.int64]:
        """Return the conflicts of a message of each source that a core holding `part` has synapses for.

        int64 (m,), in the order of `store(part).fan_out.sources`; all 0 where the chip's cores have no lanes.
        """
        if part.box not in self._conflicts:
            sources = self.store(part).fan_out.sources
            self._conflicts[part.box] = (
                np.zeros(sources.size, dtype=np.int64)
                if self.lanes is None
                else row_conflicts(
                    self.transform, self.layer, part, sources, self.stores_zeros(part), self.lanes, self.compartments
                )
            )
        return self._conflicts[part.box]

    def _store(self, part: CoreSlice) -> StoredSynapses:
        order = self._order if len(part.box) == 1 else None
        fan_out = fan_out_of(self.transform, self.layer, part, order)
        if isinstance(self.transform, Conv2d):
            return self._store_kernel(self.transform, fan_out, part.box)
        sparse = self._store_sparse(fan_out)
        if not isinstance(self.transform, Dense):  # a list without indices cannot leave targets out
            return sparse
        return min(self._store_dense(fan_out), sparse, key=lambda kept: kept.words)

    def _list_words(self, kind: EncodingCosts, entries: NDArray[np.int64] | int) -> NDArray[np.int64]:
        """Return the words of lists of so many synapses."""
        entry_bits = self.synapse_bits + int(kind.index.value)
        bits = int(kind.header.value) + np.asarray(entries, dtype=np.int64) * entry_bits
        return -(-bits // self.word_bits)

    def _store_dense(self, fan_out: FanOut) -> StoredSynapses:
        words = self._list_words(self.encodings.dense, fan_out.structural)
        return StoredSynapses(Encoding.DENSE, self._taken(words, fan_out), fan_out, words, self._entries(fan_out))

    def _taken(self, words: NDArray[np.int64], fan_out: FanOut) -> int:
        """Return the words that the lists of sources take, int64 (m,) each, some of them twice."""
        return int(words.sum()) + (0 if self.mirrored is None else int(words[self.mirrored[fan_out.sources]].sum()))

    def _entries(self, fan_out: FanOut) -> int:
        return int(fan_out.sources.size if self.axons is None else self.axons[fan_out.sources].sum())

    def _store_sparse(self, fan_out: FanOut) -> StoredSynapses:
        kept = fan_out.nonzero > 0
        sources, nonzero, taps = fan_out.sources, fan_out.nonzero, fan_out.taps
        if not kept.all():
            sources, nonzero, taps = sources[kept], nonzero[kept], taps[kept]
        part = FanOut(sources, nonzero, nonzero, taps)
        words = self._list_words(self.encodings.sparse, part.nonzero)
        return StoredSynapses(Encoding.SPARSE, self._taken(words, part), part, words, self._entries(part))

    def _store_kernel(self, transform: Conv2d, fan_out: FanOut, box: Box) -> StoredSynapses:
        # A depthwise pooling kernel of ones is one weight, whatever the channel.
        channels = 1 if isinstance(transform, Pool2d) else fan_out.structural // fan_out.taps
        read = self._list_words(self.encodings.conv, channels) * fan_out.taps
        return StoredSynapses(Encoding.CONV, self._kernel_words(transform, box), fan_out, read, None)

    def _kernel_words(self, transform: Conv2d, box: Box) -> int:
        # All sources share the kernel.
        return self._one_kernel_words(transform, box) * (1 if self.mirrored is None else 2)

    def _one_kernel_words(self, transform: Conv2d, box: Box) -> int:
        if isinstance(transform, Pool2d):
            return int(self._list_words(self.encodings.conv, 1))
        (low, high), *_ = box
        per_out = transform.out_shape[0] // transform.groups
        groups = np.arange(transform.groups)
        held = np.minimum((groups + 1) * per_out, high) - np.maximum(groups * per_out, low)
        lists = self._list_words(self.encodings.conv, held[held > 0])
        return int(lists.sum()) * math.prod(transform.weights.shape[1:])

    def words(self, part: CoreSlice) -> int:
        """Return the words of synapse memory that a core holding `part` needs."""
        if isinstance(self.transform, Conv2d):
            return self._kernel_words(self.transform, part.box)
        return self._size(part)[0]

    def axon_in_entries(self, part: CoreSlice) -> int:
        """Return the axon-in entries of a core holding `part`; 0 where they hang on the sources' splits."""
        if isinstance(self.transform, Conv2d):
            return 0
        return self._size(part)[1] or 0

    def _size(self, part: CoreSlice) -> tuple[int, int | None]:
        if part.box not in self._sizes:
            self.store(part)
        return self._sizes[part.box]
