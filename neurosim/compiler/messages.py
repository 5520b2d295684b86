"""How messages with a value go where packets cannot carry it whole: as unit spikes, or in pieces.

docs/decisions/0008-number-formats.md says what is modelled and why.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.errors import InputError, MessageWidthError, suggest
from neurosim.network import Network

MESSAGES = ("graded", "units", "split")
"""``graded``: one packet a destination, with the value; ``units``: |d| spikes; ``split``: digits of a payload each."""

MESSAGE_BITS = 24
"""Width for which ``split`` has axons: that of an accumulator and of the state that messages are cut from."""

LARGEST_MESSAGE = 1 << 40
"""Largest message that goes as unit spikes, so that sums over a run stay within 64 bits."""


def places(chip: Chip) -> int:
    """Return how many digits of a payload each have an axon of their own: enough for `MESSAGE_BITS`."""
    return -(-MESSAGE_BITS // int(chip.network.payload.value))


def check_messages(network: Network, chip: Chip, messages: str) -> None:
    """Refuse layers whose messages the chip cannot carry as they are to be sent.

    Raises
    ------
    InputError
        `messages` is none of `MESSAGES`.
    MessageWidthError
        The chip cannot carry them.
    """
    if messages not in MESSAGES:
        raise InputError(f'messages "{messages}" is not known; use {", ".join(MESSAGES)}' + suggest(messages, MESSAGES))
    payload = int(chip.network.payload.value)
    if messages != "graded":
        how = f"messages sent as {messages}"
        if chip.sync.kind == "none":
            raise MessageWidthError(
                f"{network.name}: {how} are not modelled on {chip.name}, which has no timesteps (sync.kind): there the "
                "order of spikes decides values; send them graded, or choose a chip with timesteps"
            )
        if chip.core.kind == "crossbar":
            raise MessageWidthError(
                f"{network.name}: {how} are not modelled on {chip.name}, a crossbar (core.kind): its lines hold one "
                "spike a timestep, so several of a neuron cannot be told apart; choose a chip of another kind"
            )
    if messages == "split" and payload < 2:
        raise MessageWidthError(
            f"{network.name}: messages sent as split need a payload for signed pieces, of 2 bits or more; on "
            f"{chip.name} network.payload is {payload} bits; send them as units"
        )
    if messages == "graded" and not payload:
        _refuse_graded(network, chip)


def _refuse_graded(network: Network, chip: Chip) -> None:
    feeding = {name for connection in network.connections for name in connection.sources}
    graded = [
        layer.name for layer in network.layers if layer.unit.graded and layer.unit.state_names and layer.name in feeding
    ]
    if graded:
        raise MessageWidthError(
            f"{network.name}: layers {', '.join(graded)} send messages with a value; {chip.name} carries spikes "
            "without a value (network.payload is 0 bits); choose a chip with graded messages, such as loihi2"
            f"{other_ways(chip)}"
        )


def other_ways(chip: Chip) -> str:
    """Return words on how else than graded the chip could send values; none where it cannot."""
    if chip.sync.kind == "none" or chip.core.kind == "crossbar":
        return ""
    split = " or split" if int(chip.network.payload.value) > 1 else ""
    return f", or send them as units{split} (--messages)"


def axons(network: Network, chip: Chip, messages: str) -> NDArray[np.int64]:
    """Return the axons that each neuron has, int64 (n,): each has entries of its own at both ends.

    As unit spikes a neuron whose messages have a value has one for either sign; in pieces, one for each place of a
    digit, by which the receiver knows how far to shift its weights.
    """
    each = {"graded": 1, "units": 2, "split": 1 if messages != "split" else places(chip)}[messages]
    return np.repeat(
        [each if layer.unit.graded else 1 for layer in network.layers], [layer.size for layer in network.layers]
    ).astype(np.int64)


def mirrored(network: Network, messages: str) -> NDArray[np.bool_]:
    """Return the neurons whose synapses are stored twice, for either sign of a unit spike, bool (n,)."""
    return np.repeat(
        [messages == "units" and layer.unit.graded for layer in network.layers],
        [layer.size for layer in network.layers],
    )


def packet_bits(network: Network, chip: Chip, messages: str) -> list[int]:
    """Return the bits of a packet of each layer: unit spikes carry no value."""
    header, payload = int(chip.network.header.value), int(chip.network.payload.value)
    return [header + (payload if layer.unit.graded and messages != "units" else 0) for layer in network.layers]


def message_ranges(network: Network, chip: Chip, messages: str) -> NDArray[np.int64]:
    """Return the least and the greatest message that each layer can send, int64 (layers, 2); spikes are 1."""
    payload = int(chip.network.payload.value)
    low = high = 1
    if messages == "units":
        low, high = -LARGEST_MESSAGE, LARGEST_MESSAGE
    elif payload:
        digits = places(chip) if messages == "split" else 1
        ones = sum(1 << (payload * place) for place in range(digits))
        low, high = -(1 << (payload - 1)) * ones, ((1 << (payload - 1)) - 1) * ones
    graded = np.array([layer.unit.graded for layer in network.layers])
    return np.where(graded[:, None], np.array([low, high]), 1).astype(np.int64)
