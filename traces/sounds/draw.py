"""Draws sounds as a bank of band filters would show them: the loudness of 16 bands, frame by frame.

A sound begins somewhere in the sequence, lasts for a while, and its pitch moves in one of six ways; the sound is to be
told by that. Before, after and beside it there is a floor that drifts slowly, and noise. Everything is drawn from a
seed, with uniform numbers of PCG64, the part of numpy's generators whose stream does not depend on the version.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BANDS, FRAMES = 16, 48
KINDS = ("rises", "falls", "rises and falls", "falls and rises", "stays", "trembles")
UNITS_PER_ONE = 256
"""Of an integer frame: loudness in steps of 1/256, of which it takes every 16th."""
STEP = 16
WIDTH_BANDS = 1.2
NOISE = 0.15


@dataclass(frozen=True)
class Sounds:
    """Drawn sequences.

    Attributes
    ----------
    frames
        int16 (sequences, 48, 16), in 1/256.
    kind
        int64 (sequences,): number in `KINDS`.
    """

    frames: NDArray[np.int16]
    kind: NDArray[np.int64]


def draw_sounds(seed: int, count: int) -> Sounds:
    """Draw `count` sequences; the same seed draws the same."""
    random = np.random.Generator(np.random.PCG64(seed))
    frames = np.zeros((count, FRAMES, BANDS), dtype=np.int16)
    kind = np.zeros(count, dtype=np.int64)
    for i in range(count):
        kind[i] = min(int(random.random() * len(KINDS)), len(KINDS) - 1)
        loudness = _floor(random) + _sound(random, int(kind[i]))
        loudness += NOISE * (random.random((FRAMES, BANDS)) + random.random((FRAMES, BANDS)) - 1.0)
        steps = np.rint(np.clip(loudness, -3.0, 3.0) * (UNITS_PER_ONE / STEP))
        frames[i] = steps.astype(np.int16) * STEP
    return Sounds(frames, kind)


def _floor(random: np.random.Generator) -> FloatArray:
    """Return a floor that drifts along a straight line in each band."""
    begin, end = 0.6 * (random.random((2, BANDS)) - 0.5)
    drifts: FloatArray = begin + (end - begin) * np.linspace(0.0, 1.0, FRAMES)[:, None] - 0.4
    return drifts


def _sound(random: np.random.Generator, kind: int) -> FloatArray:
    lasts = 22 + int(random.random() * 20)
    begins = int(random.random() * (FRAMES - lasts))
    reach = 3.0 + 4.0 * random.random()
    middle = 4.0 + 7.0 * random.random()
    clock = np.linspace(0.0, 1.0, lasts)
    turn = 0.35 + 0.3 * random.random()
    bent = np.where(clock < turn, clock / turn, (1.0 - clock) / (1.0 - turn))
    tremble = np.sin(2 * np.pi * (random.random() + (2.0 + 2.0 * random.random()) * clock))
    ways = (clock - 0.5, 0.5 - clock, bent - 0.5, 0.5 - bent, 0.0 * clock, 0.3 * tremble)
    pitch = middle + reach * ways[kind]
    loud = (1.0 + random.random()) * np.minimum(1.0, 6.0 * np.minimum(clock, 1.0 - clock) + 0.1)
    shape = np.exp(-(((np.arange(BANDS) - pitch[:, None]) / WIDTH_BANDS) ** 2))
    out = np.zeros((FRAMES, BANDS))
    out[begins : begins + lasts] = loud[:, None] * shape
    return out
