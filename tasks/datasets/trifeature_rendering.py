"""Draws the images of trifeature: one object, in varying place, light and surroundings.

Every image is a pure function of its class and its number in the class, and every machine computes the same bits: random
numbers come from Philox by counter, and all arithmetic is element by element, with operations that IEEE 754 rounds exactly.
Each aspect (place, texture, tones, background, clutter, occlusion, light, noise) has a random stream of its own, so that a
change of one leaves the others as they were. A pair (low, high) below is the range of a uniform draw for each image.

Letters in shape comments: n images, 3 colour channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.random_streams import uniform, words
from .trifeature_features import COLOURS, SHAPES, TEXTURES

SIZE = 32  # pixels a side
IMAGES = 40  # images a class
SEED = 200612433  # seed of all images; another seed makes another dataset

# Lengths are in pixels, colours and tones from 0 (black) to 1 (white), probabilities from 0 to 1.
SCALE = (0.55, 1.0)  # diameter of the object as a part of the frame
SHIFT = (-5.0, 5.0)  # of the object's centre from the frame's, along each axis
PERIOD = (5.0, 7.5)  # of the texture
TONE_DEPTH = (0.55, 0.85)  # how far the second tone is from the first towards black or white
COLOUR_JITTER = (-0.07, 0.07)  # added to each channel of the object's colour
COLOUR_GAIN = (0.85, 1.15)  # times the object's colour
CAMOUFLAGE_CHANCE, CAMOUFLAGE = 0.3, (0.5, 0.85)  # of a background colour near the object's, and how near (1 is equal)
BLOBS_CHANCE = 0.6  # of blobs rather than an even gradient between the two background colours
CLUTTER, CLUTTER_CHANCE = 3, 0.5  # discs behind the object, and the chance of each
CLUTTER_RADIUS = (2.0, 6.0)
BAR_CHANCE, BAR_WIDTH, BAR_OFFSET = 0.35, (3.0, 6.0), (-9.0, 9.0)  # a bar before the object, by its distance from the middle
BRIGHTNESS = (0.65, 1.25)  # times every pixel
CONTRAST = (0.6, 1.1)  # about middle grey
CAST = (0.88, 1.12)  # times each channel: the colour of the light
LIGHT_SLOPE = (0.0, 0.35)  # brightness gained or lost from the middle of the frame to its border
NOISE = (0.02, 0.08)  # standard deviation

PLACE, TEXTURE, TONES, BACKGROUND, BLOBS, DISCS, BAR, LIGHT, GRAIN = range(9)  # the random streams
KNOTS = 5  # a side, of the grid of random values behind the blobs
SUBPIXELS = ((-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25))  # the object is sampled four times a pixel
COLUMNS = np.arange(SIZE)[None, None, :] + 0.5 - SIZE / 2  # [1, 1, W], from the middle of the frame
ROWS = np.arange(SIZE)[None, :, None] + 0.5 - SIZE / 2  # [1, H, 1]
EIGHTH_TURN = 0.41421356237309503  # tan(π/8)
BYTES_DEVIATION = 147.8  # of a sum of four random bytes: sqrt(4 · (256² − 1) / 12)


@dataclass(frozen=True)
class _Draws:
    """The random numbers of consecutive images; `first` and `stop` count images over the whole dataset."""

    first: int
    stop: int

    def words(self, stream: int, width: int) -> np.ndarray:
        """uint32 [n, width]."""
        return words(SEED, stream, 0, self.first, self.stop, width)

    def uniforms(self, stream: int, width: int) -> np.ndarray:
        """float64 [n, width, 1, 1] in (0, 1]."""
        return uniform(self.words(stream, width))[:, :, None, None]


def render(shape: str, texture: str, colour: str, start: int = 0, stop: int = IMAGES) -> np.ndarray:
    """Draw images `start` to `stop` of a class.

    Args:
        shape: a key of `SHAPES`.
        texture: a key of `TEXTURES`.
        colour: a key of `COLOURS`.
        start: first image, counted from 0.
        stop: one past the last image. Those from `IMAGES` on are no images of the dataset's classes.

    Returns:
        uint8 [stop − start, 32, 32, 3]. Image i of a class does not depend on `start` and `stop`.
    """
    block = start // IMAGES
    if stop > (end := IMAGES * (block + 1)):
        return np.concatenate([render(shape, texture, colour, *part) for part in ((start, end), (end, stop))])
    kinds = [list(table).index(name) for table, name in ((SHAPES, shape), (TEXTURES, texture), (COLOURS, colour))]
    # Further images of a class have the random numbers after those of all classes.
    first = IMAGES * (1000 * block + 100 * kinds[0] + 10 * kinds[1] + kinds[2] - block)
    draws = _Draws(first + start, first + stop)
    tones = _tones(draws, colour)
    picture = _add_clutter(draws, _background(draws, tones[0]))  # [n, 3, H, W], 0 … 1
    picture = _add_object(picture, *_object(draws, shape, texture), tones)
    picture = _light(draws, _add_bar(draws, picture)) + _noise(draws)
    levels = np.minimum(np.maximum(np.floor(255.0 * picture + 0.5), 0.0), 255.0)
    return levels.astype(np.uint8).transpose(0, 2, 3, 1)


def _between(draw: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    low, high = limits
    return low + (high - low) * draw


def _mix(first: np.ndarray, second: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return first + amount * (second - first)


def _direction(quarter: np.ndarray, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of a random angle, from two uniform draws, by the rational parametrisation of the unit circle."""
    t = EIGHTH_TURN * (2.0 * within - 1.0)
    scale = 1.0 / (1.0 + t * t)
    cosine, sine = (1.0 - t * t) * scale, 2.0 * t * scale  # from −45° to 45°
    flip = quarter <= 0.5  # together with the swap: one of four quarter turns
    swap = np.abs(quarter - 0.5) <= 0.25
    cosine, sine = np.where(swap, -sine, cosine), np.where(swap, cosine, sine)
    return np.where(flip, -cosine, cosine), np.where(flip, -sine, sine)


def _tones(draws: _Draws, colour: str) -> tuple[np.ndarray, np.ndarray]:
    """The object's colour and its second tone, [n, 3, 1, 1] each."""
    draw = draws.uniforms(TONES, 6)
    base = np.array(COLOURS[colour])[:, None, None]
    first = base * _between(draw[:, 3:4], COLOUR_GAIN) + _between(draw[:, 0:3], COLOUR_JITTER)
    towards = np.where(draw[:, 4:5] <= 0.5, 0.0, 1.0)
    return first, _mix(first, towards, _between(draw[:, 5:6], TONE_DEPTH))


def _object(draws: _Draws, shape: str, texture: str) -> tuple[np.ndarray, np.ndarray]:
    """The part of each pixel that the object covers, and the part that its second tone covers, [n, 1, H, W] each, 0 … 1."""
    place, pattern = draws.uniforms(PLACE, 5), draws.uniforms(TEXTURE, 5)
    radius = SIZE / 2 * _between(place[:, 0], SCALE)
    centre_x, centre_y = _between(place[:, 1], SHIFT), _between(place[:, 2], SHIFT)
    turn, pattern_turn = _direction(place[:, 3], place[:, 4]), _direction(pattern[:, 0], pattern[:, 1])
    frequency = radius / _between(pattern[:, 2], PERIOD)
    # Phases are far from 0, so that u and v are positive and the hash behind the speckles differs from image to image.
    phase_u, phase_v = 64.0 + 64.0 * pattern[:, 3], 64.0 + 64.0 * pattern[:, 4]
    cover = np.zeros((draws.stop - draws.first, SIZE, SIZE))
    second = np.zeros_like(cover)
    for right, down in SUBPIXELS:
        across, along = (COLUMNS + right - centre_x) / radius, (ROWS + down - centre_y) / radius
        inside = SHAPES[shape](*_rotated(across, along, turn))
        s, t = _rotated(across, along, pattern_turn)
        cover += inside
        second += inside * TEXTURES[texture](s, t, s * frequency + phase_u, t * frequency + phase_v)
    return cover[:, None] * 0.25, second[:, None] * 0.25


def _rotated(x: np.ndarray, y: np.ndarray, turn: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    cosine, sine = turn
    return x * cosine + y * sine, y * cosine - x * sine


def _add_object(picture: np.ndarray, cover: np.ndarray, second: np.ndarray, tones: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return picture * (1.0 - cover) + tones[0] * (cover - second) + tones[1] * second


def _background(draws: _Draws, object_colour: np.ndarray) -> np.ndarray:
    """Two random colours, one of them sometimes near the object's, in a gradient or in blobs; [n, 3, H, W]."""
    draw = draws.uniforms(BACKGROUND, 11)
    camouflaged = np.where(draw[:, 6:7] <= CAMOUFLAGE_CHANCE, _between(draw[:, 7:8], CAMOUFLAGE), 0.0)
    near, far = _mix(draw[:, 0:3], object_colour, camouflaged), draw[:, 3:6]
    cosine, sine = _direction(draw[:, 8], draw[:, 9])
    gradient = 0.5 + (COLUMNS * cosine + ROWS * sine) / (1.5 * SIZE)
    field = np.where(draw[:, 10] <= BLOBS_CHANCE, _blobs(draws), gradient)
    return _mix(near, far, field[:, None])


def _blobs(draws: _Draws) -> np.ndarray:
    """Random values on a coarse grid, interpolated, with the contrast stretched; [n, H, W], 0 … 1."""
    knots = draws.uniforms(BLOBS, KNOTS * KNOTS).reshape(-1, KNOTS, KNOTS)
    place = (np.arange(SIZE) + 0.5) * ((KNOTS - 1) / SIZE)
    before = np.floor(place).astype(np.int64)
    step = place - before
    rows = _mix(knots[:, before], knots[:, before + 1], step[:, None])  # [n, H, knots]
    field = _mix(rows[:, :, before], rows[:, :, before + 1], step)
    return np.minimum(np.maximum(2.5 * (field - 0.5) + 0.5, 0.0), 1.0)


def _add_clutter(draws: _Draws, picture: np.ndarray) -> np.ndarray:
    """Lay discs of random colour over the background."""
    draw = draws.uniforms(DISCS, 7 * CLUTTER)
    for i in range(0, 7 * CLUTTER, 7):
        x, y = COLUMNS - SIZE * (draw[:, i + 3] - 0.5), ROWS - SIZE * (draw[:, i + 4] - 0.5)
        edge = _between(draw[:, i + 5], CLUTTER_RADIUS) - np.sqrt(x * x + y * y)
        there = np.where(draw[:, i + 6] <= CLUTTER_CHANCE, _soft(edge), 0.0)
        picture = _mix(picture, draw[:, i : i + 3], there[:, None])
    return picture


def _add_bar(draws: _Draws, picture: np.ndarray) -> np.ndarray:
    """Lay a bar of random colour over the object in some of the images."""
    draw = draws.uniforms(BAR, 8)
    cosine, sine = _direction(draw[:, 3], draw[:, 4])
    distance = np.abs(COLUMNS * cosine + ROWS * sine - _between(draw[:, 5], BAR_OFFSET))
    edge = 0.5 * _between(draw[:, 6], BAR_WIDTH) - distance
    there = np.where(draw[:, 7] <= BAR_CHANCE, _soft(edge), 0.0)
    return _mix(picture, draw[:, 0:3], there[:, None])


def _soft(edge: np.ndarray) -> np.ndarray:
    """The part of a pixel that is inside, from the distance of its middle to the edge (positive inside)."""
    return np.minimum(np.maximum(edge + 0.5, 0.0), 1.0)


def _light(draws: _Draws, picture: np.ndarray) -> np.ndarray:
    """Apply contrast, brightness, the colour of the light and its fall across the frame."""
    draw = draws.uniforms(LIGHT, 8)
    cosine, sine = _direction(draw[:, 5], draw[:, 6])
    slope = _between(draw[:, 7], LIGHT_SLOPE) / (SIZE / 2)
    gain = _between(draw[:, 0:1], BRIGHTNESS) * _between(draw[:, 2:5], CAST)  # [n, 3, 1, 1]
    picture = 0.5 + (picture - 0.5) * _between(draw[:, 1:2], CONTRAST)
    return picture * gain * (1.0 + slope * (COLUMNS * cosine + ROWS * sine))[:, None]


def _noise(draws: _Draws) -> np.ndarray:
    """Nearly Gaussian noise, a sum of four random bytes for each value; [n, 3, H, W]."""
    drawn = draws.words(GRAIN, 3 * SIZE * SIZE + 1)
    halves = (drawn & np.uint32(0x00FF00FF)) + ((drawn >> np.uint32(8)) & np.uint32(0x00FF00FF))
    sums = (halves & np.uint32(0xFFFF)) + (halves >> np.uint32(16))  # 0 … 1020
    deviation = _between(uniform(drawn[:, -1:]), NOISE) / BYTES_DEVIATION  # [n, 1]
    noise = (sums[:, :-1] - 510.0) * deviation
    return noise.reshape(-1, 3, SIZE, SIZE)
