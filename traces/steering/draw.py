"""Draws the driving video: a winding road seen from a car that follows it, and the car's steering angle.

Everything is drawn from a seed. The random numbers are uniform ones of PCG64, the part of numpy's generators
whose stream does not depend on the version.

The road is laid out as real ones are: its curvature rises and falls linearly with arc length (clothoids). The
car is a bicycle model that steers by pure pursuit (R. C. Coulter, "Implementation of the Pure Pursuit Path
Tracking Algorithm", CMU-RI-TR-92-01, 1992): the wheel angle that leads on a circle to the lane's centre
ahead. A slow disturbance keeps it from ever driving perfectly. The law's angle, without the disturbance, is
the truth that the network has to read from the picture.

Coordinates: x to the right, z ahead, both in metres on the ground; angles grow to the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CHANNELS, HEIGHT, WIDTH = 3, 32, 64
UNITS_PER_ONE = 64
"""Value of full brightness in a frame: real 1.0 in a network's units."""

FRAMES_PER_S = 25.0
SPEED_M_PER_S = 15.0
WHEELBASE_M = 2.7
STEERING_RATIO = 15.0
"""Angle of the steering wheel over that of the front wheels."""
LOOK_AHEAD_M = 10.0

CAMERA_HEIGHT_M = 1.4
FOCAL_PIXELS = 56.0
"""About 60 degrees from left to right."""
HORIZON_ROW = 10.0
SUPERSAMPLING = 3
"""Rows and columns drawn for each one kept: the mean of them is the pixel."""

LANE_M = 3.4
FARTHEST_M = 110.0
STATION_M = 0.5
"""Spacing of the points by which the road is kept."""
SHARPEST_PER_M = 1 / 40


@dataclass(frozen=True)
class Video:
    """A drawn sequence.

    Attributes
    ----------
    frames
        int16 (T, 3, 32, 64): red, green, blue, in 1/64 of full brightness.
    angle
        float32 (T,): angle of the steering wheel in radians, positive to the right.
    """

    frames: NDArray[np.int16]
    angle: NDArray[np.float32]


class _Road:
    """Points of the centre line, and the things beside it."""

    def __init__(self, random: np.random.Generator, length_m: float) -> None:
        self.station = np.arange(0.0, length_m, STATION_M)
        curvature = _ramps(random, self.station, 12.0, 35.0, SHARPEST_PER_M)
        self.heading = np.cumsum(curvature) * STATION_M
        self.x = np.cumsum(np.sin(self.heading)) * STATION_M
        self.z = np.cumsum(np.cos(self.heading)) * STATION_M
        posts = np.arange(4.0, length_m, 12.0)
        count = int(length_m / 5.0)
        side = np.where(random.random(count) < 0.5, -1.0, 1.0)
        trees = np.stack(
            (
                random.random(count) * length_m,
                side * (7.0 + 9.0 * random.random(count)),
                3.0 + 4.0 * random.random(count),
                1.6 + 1.8 * random.random(count),
                random.random(count),
            ),
            axis=1,
        )
        rows = [(s, u * 1.45 * LANE_M, 1.0, 0.24, -1.0) for s in posts for u in (-1.0, 1.0)]
        self.things = np.concatenate((np.array(rows), trees))
        """(n, 5): station, lateral place, height, width, all in metres; shade of a tree, or -1 for a post."""


@dataclass(frozen=True)
class _Look:
    """What stays the same through a sequence: light, colours, and the pattern of the ground."""

    light: float
    grass: FloatArray
    tarmac: FloatArray
    sky: FloatArray
    pattern: FloatArray
    hills: FloatArray


def draw_video(seed: int, frames: int) -> Video:
    """Draw a sequence.

    Parameters
    ----------
    seed
        Not negative; the same seed draws the same video.
    frames
        Number of frames, 1 or more.

    Returns
    -------
    Video
    """
    random = np.random.Generator(np.random.PCG64(seed))
    travel_m = frames * SPEED_M_PER_S / FRAMES_PER_S
    road = _Road(random, travel_m + FARTHEST_M + 50.0)
    look = _choose_look(random)
    clock = np.arange(frames) / FRAMES_PER_S
    disturbance = _ramps(random, clock, 0.4, 1.6, 0.35)
    bounce = _ramps(random, clock, 0.15, 0.4, 0.2)
    # The car starts some way along the road, beside the lane's centre and askew.
    start = int((12.0 + 12.0 * random.random()) / STATION_M)
    lateral = LANE_M / 2 + (2 * random.random() - 1) * 0.6
    yaw = float(road.heading[start]) + (2 * random.random() - 1) * 0.06
    x = float(road.x[start]) + lateral * float(np.cos(road.heading[start]))
    z = float(road.z[start]) - lateral * float(np.sin(road.heading[start]))
    drawn = np.empty((frames, CHANNELS, HEIGHT, WIDTH), dtype=np.int16)
    angle = np.empty(frames, dtype=np.float32)
    for t in range(frames):
        east, north = road.x - x, road.z - z
        right = east * np.cos(yaw) - north * np.sin(yaw)
        ahead = east * np.sin(yaw) + north * np.cos(yaw)
        here = int(np.argmin(right**2 + ahead**2))
        truth = _pursue(road, right, ahead, here, yaw)
        angle[t] = truth
        picture = _picture(road, look, right, ahead, here, yaw, HORIZON_ROW + float(bounce[t]))
        noise = 0.012 * (random.random(picture.shape) + random.random(picture.shape) - 1.0)
        drawn[t] = np.rint(np.clip(picture + noise, 0.0, 1.0) * UNITS_PER_ONE)
        step_m = SPEED_M_PER_S / FRAMES_PER_S
        yaw += step_m * float(np.tan((truth + disturbance[t]) / STEERING_RATIO)) / WHEELBASE_M
        x += step_m * float(np.sin(yaw))
        z += step_m * float(np.cos(yaw))
    return Video(drawn, angle)


def _ramps(
    random: np.random.Generator, places: FloatArray, shortest: float, longest: float, limit: float
) -> FloatArray:
    """Return at `places` a line through random values in +-`limit`, `shortest` to `longest` apart."""
    count = int((places[-1] - places[0]) / shortest) + 2
    spacing = shortest + (longest - shortest) * random.random(count)
    knots = np.concatenate(([0.0], np.cumsum(spacing)))
    values = limit * (2.0 * random.random(count + 1) - 1.0)
    return np.interp(places, knots, values)


def _choose_look(random: np.random.Generator) -> _Look:
    def near(colour: tuple[float, float, float], spread: float) -> FloatArray:
        return np.array(colour) + spread * (2.0 * random.random(3) - 1.0)

    grey = 0.34 + 0.14 * random.random()
    return _Look(
        light=0.8 + 0.3 * random.random(),
        grass=near((0.33, 0.46, 0.20), 0.07),
        tarmac=near((grey, grey, grey), 0.02),
        sky=near((0.55, 0.68, 0.85), 0.08),
        pattern=random.random((64, 64)) - 0.5,
        hills=0.02 + 0.07 * random.random(49),
    )


def _pursue(road: _Road, right: FloatArray, ahead: FloatArray, here: int, yaw: float) -> float:
    """Return the angle of the steering wheel, in radians, that leads to the lane's centre ahead."""
    there = here + int(LOOK_AHEAD_M / STATION_M)
    turn = float(road.heading[there]) - yaw
    target_x = float(right[there]) + LANE_M / 2 * float(np.cos(turn))
    target_z = float(ahead[there]) - LANE_M / 2 * float(np.sin(turn))
    # The circle through the car, along its heading, and the target has curvature 2 x / distance^2.
    curvature = 2.0 * target_x / (target_x**2 + target_z**2)
    return STEERING_RATIO * float(np.arctan(WHEELBASE_M * curvature))


def _picture(
    road: _Road, look: _Look, right: FloatArray, ahead: FloatArray, here: int, yaw: float, horizon: float
) -> FloatArray:
    """Return the picture, float64 (3, 32, 64) in 0..1 without noise."""
    n = SUPERSAMPLING
    row = ((np.arange(HEIGHT * n) + 0.5) / n)[:, None]
    bearing = (((np.arange(WIDTH * n) + 0.5) / n) - WIDTH / 2)[None, :] / FOCAL_PIXELS
    haze = np.array([0.78, 0.82, 0.86])

    # Sky and hills: they turn with the car and do not come nearer.
    height = np.broadcast_to((horizon - row) / FOCAL_PIXELS, (HEIGHT * n, WIDTH * n))
    towards = (np.arctan(bearing) + yaw) * 24 / np.pi % 48
    crest = np.interp(towards, np.arange(49), np.append(look.hills[:48], look.hills[0]))
    share = np.clip(height / 0.2, 0.0, 1.0)[..., None]
    canvas = share * look.sky + (1 - share) * haze
    canvas[height < crest] = 0.45 * look.grass + 0.55 * haze

    # Ground: each row below the horizon lies at one distance.
    below = np.flatnonzero(row[:, 0] - horizon > CAMERA_HEIGHT_M * FOCAL_PIXELS / FARTHEST_M)
    distance = (CAMERA_HEIGHT_M * FOCAL_PIXELS / (row[below] - horizon))[:, 0]
    canvas[below] = _ground(road, look, right, ahead, here, yaw, distance, bearing[0])
    fade = np.exp(-distance / 90.0)[:, None, None]
    canvas[below] = fade * canvas[below] + (1 - fade) * haze

    _stand_things(canvas, road, look, right, ahead, here, yaw, horizon, haze)
    canvas = canvas.reshape(HEIGHT, n, WIDTH, n, CHANNELS).mean(axis=(1, 3))
    return np.ascontiguousarray((look.light * canvas).transpose(2, 0, 1))


def _ground(
    road: _Road,
    look: _Look,
    right: FloatArray,
    ahead: FloatArray,
    here: int,
    yaw: float,
    distance: FloatArray,
    bearing: FloatArray,
) -> FloatArray:
    """Return the colours (rows, columns, 3) of ground rows at `distance` metres."""
    # The road is followed as long as it leads away; behind a bend it is out of sight.
    first = max(here - 8, 0)
    away = np.diff(ahead[first:])
    end = first + 1 + (int(np.argmax(away <= 0.1)) if (away <= 0.1).any() else away.size)
    seen = slice(first, end)
    centre = np.interp(distance, ahead[seen], right[seen])[:, None]
    station = np.interp(distance, ahead[seen], road.station[seen])[:, None]
    turn = np.interp(distance, ahead[seen], road.heading[seen] - yaw)[:, None]
    lateral = (distance[:, None] * bearing[None, :] - centre) * np.cos(turn)
    lateral = np.where(distance[:, None] > ahead[end - 1], 1e3, lateral)

    blur = 1.0 / (1.0 + distance[:, None] / 10.0)
    rough = blur * _sample(look.pattern, station / 1.6, lateral / 1.6)
    fine = blur * _sample(look.pattern, station / 0.7 + 31.0, lateral / 0.35 + 17.0)
    colour = look.grass * (1.0 + 0.55 * rough)[..., None]
    on_road = np.abs(lateral) < LANE_M + 0.35
    colour[on_road] = (look.tarmac * (1.0 + 0.12 * fine)[..., None])[on_road]
    edge = np.abs(np.abs(lateral) - LANE_M) < 0.09
    dash = (np.abs(lateral) < 0.09) & (station % 9.0 < 4.0)
    colour[edge | dash] = (0.92, 0.92, 0.88)
    return colour


def _sample(pattern: FloatArray, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Return the repeated pattern at broken places, interpolated linearly."""
    rows, columns = np.broadcast_arrays(rows, columns)
    low_row, low_column = np.floor(rows), np.floor(columns)
    part_row, part_column = rows - low_row, columns - low_column
    i, j = low_row.astype(np.int64) & 63, low_column.astype(np.int64) & 63
    k, m = (i + 1) & 63, (j + 1) & 63
    upper = pattern[i, j] * (1 - part_column) + pattern[i, m] * part_column
    lower = pattern[k, j] * (1 - part_column) + pattern[k, m] * part_column
    sampled: FloatArray = upper * (1 - part_row) + lower * part_row
    return sampled


def _stand_things(
    canvas: FloatArray,
    road: _Road,
    look: _Look,
    right: FloatArray,
    ahead: FloatArray,
    here: int,
    yaw: float,
    horizon: float,
    haze: FloatArray,
) -> None:
    """Draw posts and trees on `canvas`, the far ones first."""
    n = SUPERSAMPLING
    index = np.minimum((road.things[:, 0] / STATION_M).astype(np.int64), road.station.size - 1)
    turn = road.heading[index] - yaw
    x = right[index] + road.things[:, 1] * np.cos(turn)
    z = ahead[index] - road.things[:, 1] * np.sin(turn)
    near = (z > 4.0) & (z < 70.0) & (index > here) & (np.abs(x) < z)
    for i in np.flatnonzero(near)[np.argsort(-z[near], kind="stable")]:
        _, _, height, width, shade = (float(v) for v in road.things[i])
        scale = FOCAL_PIXELS / float(z[i])
        column = WIDTH / 2 + scale * float(x[i])
        foot, top = horizon + scale * CAMERA_HEIGHT_M, horizon + scale * (CAMERA_HEIGHT_M - height)
        left, end = (int(np.rint((column + s * scale * width / 2) * n)) for s in (-1, 1))
        rows = np.arange(max(int(np.rint(top * n)), 0), min(int(np.rint(foot * n)), HEIGHT * n))
        columns = np.arange(max(left, 0), min(max(end, left + 1), WIDTH * n))
        if not rows.size or not columns.size:
            continue
        fade = float(np.exp(-float(z[i]) / 90.0))
        tall = (rows[:, None] / n - top) / (foot - top)
        wide = (columns[None, :] / n - column) / (scale * width / 2)
        if shade < 0:
            colour = np.where(((tall > 0.15) & (tall < 0.35))[..., None], (0.1, 0.1, 0.1), (0.9, 0.9, 0.9))
            inside = np.ones((rows.size, columns.size), dtype=bool)
        else:
            colour = np.broadcast_to((0.35 + 0.35 * shade) * look.grass, (1, 1, 3))
            crown = ((tall - 0.4) / 0.4) ** 2 + wide**2 < 1.0
            inside = crown | ((tall >= 0.7) & (np.abs(wide) < 0.16))
        part = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        shown = np.broadcast_to(fade * colour + (1 - fade) * haze, part.shape)
        part[inside] = shown[inside]
