"""How synapses are stored: bits a weight takes, words a message reads, words a core needs.

Layout assumed for every chip: a synapse list starts at a word boundary with a header, then one entry a
synapse (an index beside the weight where the encoding is sparse). A convolution kernel is stored once a
core, one list of output channels for each (input channel, kernel row, kernel column).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.program import Box, Encoding
from neurosim.errors import CapacityError
from neurosim.network import Connection, Conv2d, FanOut, Transform


def weight_bits(weights: NDArray[np.int32], chip: Chip, label: str) -> int:
    """Return the stored width of each weight, in bits.

    A power of two common to all weights is stored once, as an exponent. Where the chip has sign modes
    and all weights share a sign, only magnitudes are stored.

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
        need = 1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)
    fitting = [bits for bits in formats.bits.value if bits >= need]
    if not fitting:
        raise CapacityError(
            f"{label}: weights {weights.min()}..{weights.max()} need {need} bits; {chip.name} stores at most "
            f"{max(formats.bits.value)}; quantise the layer to fewer bits"
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


def _list_words(entries: NDArray[np.int64] | int, entry_bits: int, header_bits: int, word_bits: int) -> NDArray[np.int64]:
    return -(-(header_bits + np.asarray(entries, dtype=np.int64) * entry_bits) // word_bits)


class SynapseStore:
    """Stores the synapses of one connection on the cores of one chip.

    Parameters
    ----------
    connection
        What to store.
    chip
        Where.

    Raises
    ------
    CapacityError
        The weights are too wide for the chip.
    """

    def __init__(self, connection: Connection, chip: Chip) -> None:
        self.transform: Transform = connection.transform
        self.encodings = chip.core.encodings
        self.word_bits = int(chip.core.memories.synapse.word.value)
        self.weight_bits = weight_bits(self.transform.weights, chip, connection.label)

    def store(self, box: Box) -> StoredSynapses:
        """Return how a core that holds `box` of the target stores its synapses."""
        if isinstance(self.transform, Conv2d):
            return self._store_kernel(self.transform, box)
        fan_out = self.transform.fan_out(box)
        return min(self._store_dense(fan_out), self._store_sparse(fan_out), key=lambda kept: kept.words)

    def _store_dense(self, fan_out: FanOut) -> StoredSynapses:
        header = int(self.encodings.dense.header.value)
        words = _list_words(fan_out.structural, self.weight_bits, header, self.word_bits)
        if self.transform.kind != "dense":  # a list without indices cannot leave targets out
            words = words + np.int64(1 << 40)
        return StoredSynapses(Encoding.DENSE, int(words.sum()), fan_out, words, int(fan_out.sources.size))

    def _store_sparse(self, fan_out: FanOut) -> StoredSynapses:
        kind = self.encodings.sparse
        kept = fan_out.nonzero > 0
        part = FanOut(*(a[kept] for a in (fan_out.sources, fan_out.nonzero, fan_out.nonzero, fan_out.taps)))
        entry = self.weight_bits + int(kind.index.value)
        words = _list_words(part.nonzero, entry, int(kind.header.value), self.word_bits)
        return StoredSynapses(Encoding.SPARSE, int(words.sum()), part, words, int(part.sources.size))

    def _store_kernel(self, transform: Conv2d, box: Box) -> StoredSynapses:
        header = int(self.encodings.conv.header.value)
        fan_out = transform.fan_out(box)
        # A depthwise pooling kernel of ones is one weight, whatever the channel.
        channels = 1 if transform.kind == "pool2d" else np.maximum(fan_out.structural // np.maximum(fan_out.taps, 1), 1)
        row_words = _list_words(channels, self.weight_bits, header, self.word_bits)
        return StoredSynapses(Encoding.CONV, self._kernel_words(transform, box), fan_out, row_words * fan_out.taps, None)

    def _kernel_words(self, transform: Conv2d, box: Box) -> int:
        header = int(self.encodings.conv.header.value)
        if transform.kind == "pool2d":
            return int(_list_words(1, self.weight_bits, header, self.word_bits))
        (low, high), *_ = box
        per_in = transform.in_shape[0] // transform.groups
        per_out = transform.out_shape[0] // transform.groups
        groups = np.arange(transform.groups)
        held = np.minimum((groups + 1) * per_out, high) - np.maximum(groups * per_out, low)
        positions = per_in * transform.weights.shape[2] * transform.weights.shape[3]
        return int(_list_words(held[held > 0], self.weight_bits, header, self.word_bits).sum()) * positions

    def words(self, box: Box) -> int:
        """Return the words of synapse memory that a core holding `box` needs."""
        if isinstance(self.transform, Conv2d):
            return self._kernel_words(self.transform, box)
        return self.store(box).words
