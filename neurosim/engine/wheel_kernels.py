"""A timing wheel: at most one pending wake-up for each of n components, found again in order of slots.

Everything stands in one int64 array, because the compiler counts references of every array that a helper is
given: `slots` list heads, a bit for each slot (32 to a word), a bit for each such word, the earliest wake-up
beyond the wheel, and for each component its time, its neighbours in the list of its slot, and whether it
waits beyond the wheel. A slot covers 2**shift ticks.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from neurosim.engine.bits import lowest_bit

NEVER = np.int64(1) << np.int64(62)


@nb.njit(cache=True, nogil=True)
def new_wheel(slots, components):
    """Return an empty wheel; `slots` is a power of two and at least 32."""
    bits = slots + (slots >> 5) + max(slots >> 10, 1)
    wheel = np.zeros(bits + 1 + 4 * components, dtype=np.int64)
    wheel[:slots] = -1
    wheel[bits : bits + 1 + components] = NEVER
    return wheel


@nb.njit(cache=True, nogil=True, inline="always")
def schedule(component, when, now, shift, slots, components, wheel):
    """Make `component` wake at `when`, and not before now + 1, unless it wakes earlier anyway."""
    when = max(when, now + 1)
    far_from = slots + (slots >> 5) + max(slots >> 10, 1)
    mine = far_from + 1 + component
    if when < wheel[mine]:
        if wheel[mine] != NEVER:
            unlink(component, shift, slots, components, wheel)
        wheel[mine] = when
        if (when >> shift) - (now >> shift) >= slots:
            wheel[mine + 3 * components] = 1
            wheel[far_from] = min(wheel[far_from], when)
        else:
            slot = (when >> shift) & (slots - 1)
            first = wheel[slot]
            wheel[mine + components] = first
            wheel[mine + 2 * components] = -1
            if first >= 0:
                wheel[far_from + 1 + first + 2 * components] = component
            else:
                word = slots + (slot >> 5)
                wheel[word] |= np.int64(1) << (slot & 31)
                wheel[slots + (slots >> 5) + (slot >> 10)] |= np.int64(1) << ((slot >> 5) & 31)
            wheel[slot] = component


@nb.njit(cache=True, nogil=True, inline="always")
def unlink(component, shift, slots, components, wheel):
    """Take away the pending wake-up of `component`."""
    first = slots + (slots >> 5) + max(slots >> 10, 1) + 1
    mine = first + component
    if wheel[mine + 3 * components] != 0:
        wheel[mine + 3 * components] = 0
    else:
        slot = (wheel[mine] >> shift) & (slots - 1)
        after, before = wheel[mine + components], wheel[mine + 2 * components]
        if before >= 0:
            wheel[first + before + components] = after
        else:
            wheel[slot] = after
            if after < 0:
                word = slots + (slot >> 5)
                wheel[word] &= ~(np.int64(1) << (slot & 31))
                if wheel[word] == 0:
                    wheel[slots + (slots >> 5) + (slot >> 10)] &= ~(np.int64(1) << ((slot >> 5) & 31))
        if after >= 0:
            wheel[first + after + 2 * components] = before
    wheel[mine] = NEVER


@nb.njit(cache=True, nogil=True)
def bring_near(now, shift, slots, components, wheel):
    """Put the far wake-ups that the wheel reaches by now onto it; keep the earliest time of the rest."""
    far_from = slots + (slots >> 5) + max(slots >> 10, 1)
    wheel[far_from] = NEVER
    for component in range(components):
        mine = far_from + 1 + component
        if wheel[mine + 3 * components] != 0:
            when = wheel[mine]
            wheel[mine + 3 * components] = 0
            wheel[mine] = NEVER
            schedule(component, when, now, shift, slots, components, wheel)


@nb.njit(cache=True, nogil=True, inline="always")
def next_slot(slot, slots, wheel):
    """Return how many slots after `slot` (counting it) the first occupied one is, or -1."""
    word = slot >> 5
    bits = wheel[slots + word] >> (slot & 31)
    found = np.int64(-1)
    if bits != 0:
        found = lowest_bit(bits)
    else:
        # Whole words after this one, then, once round, those up to and including it.
        groups = max(slots >> 10, 1)
        step = np.int64(0)
        while step <= groups:
            group = ((word >> 5) + step) & (groups - 1)
            bits = wheel[slots + (slots >> 5) + group]
            if step == 0:
                bits &= ~((np.int64(2) << (word & 31)) - 1)
            elif step == groups:
                bits &= (np.int64(2) << (word & 31)) - 1
            if bits != 0:
                at = (group << 5) + lowest_bit(bits)
                found = ((at << 5) + lowest_bit(wheel[slots + at]) - slot) & (slots - 1)
                step = groups
            step += 1
    return found
