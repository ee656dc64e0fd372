"""The thirty features of trifeature: ten shapes, ten textures and ten colours.

A shape says whether a point belongs to the object. A texture says how much of the object's second tone a point has. Both
consist of operations that IEEE 754 rounds exactly (no sines, no powers), so that every machine computes the same bits. The
order in each table is part of the dataset: it numbers the classes, and the number seeds their images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]
Texture = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

# Literal values for 18°, 54° and the root of 3, since the last bit of a library's sine or power may differ.
COS_18, SIN_18, COS_54, SIN_54 = 0.9510565162951535, 0.3090169943749474, 0.5877852522924731, 0.8090169943749475
EDGE_NORMALS = ((0.0, 1.0), (COS_18, SIN_18), (-COS_18, SIN_18), (COS_54, -SIN_54), (-COS_54, -SIN_54))
ROOT_3 = 1.7320508075688772


def _disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x * x + y * y < 0.81


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) < 0.75


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (y > -0.55) & (ROOT_3 * np.abs(x) + y < 1.1)


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # A point is in a five-pointed star where it is beyond at most one of the five lines along the edges.
    crossed = np.zeros(np.shape(x), dtype=np.int8)
    for cosine, sine in EDGE_NORMALS:
        crossed += cosine * x + sine * y > 0.34
    return crossed <= 1


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    return (np.minimum(x, y) < 0.3) & (np.maximum(x, y) < 0.92)


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squared = x * x + y * y
    return (squared > 0.25) & (squared < 0.95)


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    outer, inner = x - 0.25, x - 0.72
    return (outer * outer + y * y < 0.98) & (inner * inner + y * y > 0.6)


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = 1.2 * x, 1.2 * y + 0.15
    lifted = y - 0.75 * np.sqrt(np.abs(x))
    return x * x + lifted * lifted < 1.0


def _arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    shaft = (x < 0.25) & (np.abs(y + 0.4) < 0.55)
    return shaft | ((y > 0.0) & (x + 0.85 * y < 0.85))


def _hourglass(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    return (y < 0.88) & (x < 0.1 + 0.75 * y)


SHAPES: dict[str, Shape] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "heart": _heart,
    "arrow": _arrow,
    "hourglass": _hourglass,
}
"""Each maps x, y (units of the object's radius, origin at its centre) to bool of the same shape."""


def _fraction(x: np.ndarray) -> np.ndarray:
    return x - np.floor(x)


def _solid(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.zeros(np.shape(s), dtype=bool)


def _striped(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _fraction(u) < 0.5


def _dotted(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = _fraction(u) - 0.5, _fraction(v) - 0.5
    return u * u + v * v < 0.1


def _checkered(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (_fraction(0.65 * u) < 0.5) != (_fraction(0.65 * v) < 0.5)


def _gridded(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.minimum(_fraction(u), _fraction(v)) < 0.25


def _zigzag(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _fraction(v + 1.6 * np.abs(_fraction(0.6 * u) - 0.5)) < 0.5


def _shaded(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(0.5 + 0.65 * s, 0.0), 1.0)


def _speckled(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # A hash of its place turns each cell of a fine grid on or off; unsigned arithmetic wraps around alike on every machine.
    column, row = np.floor(3.0 * u).astype(np.uint32), np.floor(3.0 * v).astype(np.uint32)
    mixed = (column * np.uint32(0x9E3779B1)) ^ (row * np.uint32(0x85EBCA77))
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0xC2B2AE3D)
    return (mixed ^ (mixed >> np.uint32(13))) < np.uint32(0x60000000)


def _rippled(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _fraction(2.4 * np.sqrt(s * s + t * t)) < 0.5


def _rayed(s: np.ndarray, t: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # The imaginary part of (s + it)⁶ changes its sign every 30°.
    ss, tt = s * s, t * t
    return s * t * (3.0 * ss - tt) * (ss - 3.0 * tt) > 0.0


TEXTURES: dict[str, Texture] = {
    "solid": _solid,
    "striped": _striped,
    "dotted": _dotted,
    "checkered": _checkered,
    "gridded": _gridded,
    "zigzag": _zigzag,
    "shaded": _shaded,
    "speckled": _speckled,
    "rippled": _rippled,
    "rayed": _rayed,
}
"""Each maps s, t (units of the radius, origin at the centre) and u, v (units of the pattern's period, at least 0) to 0 … 1."""

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.10, 0.12),
    "orange": (0.98, 0.50, 0.05),
    "yellow": (0.95, 0.88, 0.15),
    "green": (0.15, 0.60, 0.20),
    "cyan": (0.10, 0.80, 0.85),
    "blue": (0.10, 0.25, 0.85),
    "purple": (0.50, 0.12, 0.65),
    "pink": (0.98, 0.55, 0.75),
    "brown": (0.42, 0.25, 0.10),
    "grey": (0.52, 0.52, 0.52),
}
"""Red, green and blue, 0 to 1."""
