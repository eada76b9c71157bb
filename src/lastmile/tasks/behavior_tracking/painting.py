"""The images of behavior tracking: mice on bedding, fish in a tank, flies on paper, from above."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from lastmile.screen import CANVAS
from lastmile.screen.widgets import Color

LENGTH = {"mouse": 42.0, "fish": 40.0, "fly": 34.0}
"""Length from the front (nose, snout, head) to the back (base of the tail or tail fin, tip of the
abdomen), logical px."""
SPECIES = tuple(LENGTH)

_SHIFT = 4  # sub-pixel bits of the coordinates given to OpenCV's drawing functions
_ALONG = np.linspace(-1, 1, 21)  # positions along a body at which its width is given
_PATCH_HALF = {"mouse": 48, "fish": 38, "fly": 30}  # half the side of an animal's patch, px

# Coats and grounds go together by index, so that the animals stand out
_COATS: dict[str, tuple[Color, ...]] = {
    "mouse": ((70, 60, 54), (196, 188, 178), (120, 84, 56)),
    "fish": ((214, 122, 60), (190, 196, 204), (206, 176, 84)),
    "fly": ((176, 128, 70), (126, 104, 84), (150, 120, 60)),
}
_GROUNDS: dict[str, tuple[Color, ...]] = {
    "mouse": ((158, 146, 126), (96, 98, 100), (150, 156, 150)),
    "fish": ((62, 104, 112), (50, 88, 118), (74, 104, 92)),
    "fly": ((196, 194, 186), (186, 190, 196), (200, 190, 172)),
}

_Coordinates = Sequence[float] | np.ndarray
_Paint = Sequence[float] | np.ndarray  # red, green, blue; clipped to 0..255 by OpenCV


def paint(
    rng: np.random.Generator,
    species: str,
    center: np.ndarray,
    heading: np.ndarray,
    bend: np.ndarray,
    covered: np.ndarray,
) -> np.ndarray:
    """Paint the video.

    Args:
        rng: Random numbers for colors and texture.
        species: One of SPECIES.
        center: (frames, animals, 2) canvas positions.
        heading: (frames, animals) directions, radians.
        bend: (frames, animals) turn of each body from back to front, radians.
        covered: (frames, animals) distance covered so far, px; it drives the gait.

    Returns:
        (frames, 256, 256, 3) uint8.
    """
    frames, count = heading.shape
    variant = int(rng.integers(3))
    ground = _ground(rng, species, _GROUNDS[species][variant])
    coat = np.array(_COATS[species][variant], float)
    half = _PATCH_HALF[species]
    grain = cv2.GaussianBlur(
        rng.standard_normal((2 * half, 2 * half, 1), dtype=np.float32), (0, 0), 0.7
    )[..., None]
    grain *= 18 if species == "mouse" else 9
    draw = _DRAW[species]
    order = rng.permutation(count)  # who is on top, the same in all frames

    image = np.empty((frames, CANVAS, CANVAS, 3), np.uint8)
    for t in range(frames):
        image[t] = ground
        for k in order:
            x0, y0 = (int(c) - half for c in center[t, k])
            pen = Pen(
                half,
                center[t, k] - (x0, y0),
                float(heading[t, k]),
                float(bend[t, k]),
                LENGTH[species],
            )
            draw(pen, coat, float(covered[t, k]))
            _blend(image[t], x0, y0, pen, grain)
    return image


class Pen:
    """Draws one animal on a square patch, in the coordinates of its body.

    `along` runs from -1 (back) to 1 (front) on the bent middle line of the body; `across` is the
    distance to its right, px.

    Attributes:
        paper: Colors, (2 half, 2 half, 3) uint8.
        cover: Coverage by the animal, (2 half, 2 half) uint8.
    """

    def __init__(
        self, half: int, center: np.ndarray, heading: float, bend: float, length: float
    ) -> None:
        """Start with an empty patch.

        Args:
            half: Half the side of the patch, px.
            center: (2,) center of the body on the patch, px.
            heading: Direction of the body, radians.
            bend: Turn of the body from back to front, radians.
            length: Length of the body, px.
        """
        self.paper = np.zeros((2 * half, 2 * half, 3), np.uint8)
        self.cover = np.zeros((2 * half, 2 * half), np.uint8)
        self.center = center
        self.heading = heading
        self.bend = bend
        self.length = length

    def fill(self, along: _Coordinates, across: _Coordinates, color: _Paint) -> None:
        """Fill a polygon."""
        points = self._path(along, across)
        cv2.fillPoly(self.paper, [points], _scalar(color), cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.cover, [points], 255, cv2.LINE_AA, _SHIFT)

    def stroke(self, along: _Coordinates, across: _Coordinates, color: _Paint, width: int) -> None:
        """Draw an open line, `width` px wide."""
        points = self._path(along, across)
        cv2.polylines(self.paper, [points], False, _scalar(color), width, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.cover, [points], False, 255, width, cv2.LINE_AA, _SHIFT)

    def spot(self, along: float, across: float, radius: float, color: _Paint) -> None:
        """Draw a disk with a radius in px."""
        x, y = self._on_patch([along], [across])[0]
        scale = 1 << _SHIFT
        center = (round(x * scale), round(y * scale))
        size = round(radius * scale)
        cv2.circle(self.paper, center, size, _scalar(color), -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(self.cover, center, size, 255, -1, cv2.LINE_AA, _SHIFT)

    def outline(self, widths: np.ndarray, color: _Paint, shrink: float = 1.0) -> None:
        """Fill the body.

        Args:
            widths: (21,) half widths from back to front, px.
            color: Red, green, blue.
            shrink: Factor on the widths, for layers on top of each other.
        """
        along = np.concatenate([_ALONG, _ALONG[::-1]])
        self.fill(
            along * (1 - 0.06 * (1 - shrink)),
            np.concatenate([widths, -widths[::-1]]) * shrink,
            color,
        )

    def _on_patch(self, along: _Coordinates, across: _Coordinates) -> np.ndarray:
        """Return body coordinates as (n, 2) points of the patch, px."""
        offsets = body_points(
            self.heading,
            self.bend,
            self.length,
            np.asarray(along, float),
            np.asarray(across, float),
        )
        points: np.ndarray = self.center + offsets
        return points

    def _path(self, along: _Coordinates, across: _Coordinates) -> np.ndarray:
        """Return body coordinates as (n, 1, 2) int32 points in OpenCV's fixed point."""
        scaled = self._on_patch(along, across) * (1 << _SHIFT)
        return scaled.round().astype(np.int32).reshape(-1, 1, 2)


def _scalar(color: _Paint) -> tuple[float, ...]:
    return tuple(float(c) for c in color)


def body_points(
    heading: npt.ArrayLike,
    bend: npt.ArrayLike,
    length: float,
    along: np.ndarray,
    across: np.ndarray,
) -> np.ndarray:
    """Map body coordinates to offsets from the center of the body.

    The middle line of the body is an arc. All arguments broadcast.

    Args:
        heading: Direction at the center, radians.
        bend: Turn from back to front, radians.
        length: Length of the body, px.
        along: Position on the middle line, from -1 (back) to 1 (front).
        across: Distance to the right of the middle line, px.

    Returns:
        (..., 2) offsets, px.
    """
    distance = along * length / 2
    curvature = (np.asarray(bend) + 1e-6) / length  # a straight body must not divide by 0
    sin = np.sin(curvature * distance)
    cos = np.cos(curvature * distance)
    forward = sin / curvature - across * sin
    sideways = (1 - cos) / curvature + across * cos

    cos = np.cos(heading)
    sin = np.sin(heading)
    points = np.empty((*forward.shape, 2))
    points[..., 0] = forward * cos - sideways * sin
    points[..., 1] = forward * sin + sideways * cos
    return points


def _blend(image: np.ndarray, x0: int, y0: int, pen: Pen, grain: np.ndarray) -> None:
    """Blend one animal and its shadow into a frame.

    Args:
        image: The frame, written to, (256, 256, 3) uint8.
        x0, y0: Top left corner of the patch in the frame, px; may be outside.
        pen: The animal.
        grain: Texture of the coat, (2 half, 2 half, 1) float32.
    """
    side = len(pen.cover)
    shadow = cv2.blur(cv2.blur(np.roll(pen.cover, (4, 3), (0, 1)), (5, 5)), (5, 5))

    # The part of the patch that is inside the frame
    rows = slice(max(y0, 0), min(y0 + side, CANVAS))
    columns = slice(max(x0, 0), min(x0 + side, CANVAS))
    inner = slice(rows.start - y0, rows.stop - y0), slice(columns.start - x0, columns.stop - x0)

    cover = pen.cover[inner][..., None] * np.float32(1 / 255)
    ground = (1 - shadow[inner][..., None] * np.float32(0.45 / 255)) * (1 - cover)
    part = image[rows, columns]
    np.clip(
        part * ground + (pen.paper[inner] + grain[inner]) * cover,
        0,
        255,
        out=part,
        casting="unsafe",
    )


def _mouse(pen: Pen, coat: np.ndarray, covered: float) -> None:
    """Draw tail, paws, body, ears, eyes and nose."""
    phase = covered * 2 * np.pi / 26
    tail = np.linspace(-1.0, -2.0, 9)
    pen.stroke(
        tail,
        4.5 * np.sin(1.8 * (tail + 1) * 2 + phase * 0.5) * (-(tail + 1)),
        np.array((206, 160, 150)) * 0.9,
        2,
    )
    for along, side, offset in ((0.42, 1, 0), (0.42, -1, np.pi), (-0.6, 1, np.pi), (-0.6, -1, 0)):
        pen.spot(along + 0.14 * np.sin(phase + offset), side * 8.5, 2.2, (212, 164, 150))
    widths = np.interp(
        _ALONG, (-1, -0.9, -0.55, -0.1, 0.35, 0.6, 0.85, 1), (2.5, 6, 9.6, 9.2, 7.0, 6.2, 3.4, 0.8)
    )
    pen.outline(widths, coat * 0.72)
    pen.outline(widths, coat, 0.78)
    pen.outline(widths, coat * 1.12 + 8, 0.4)
    for side in (1, -1):
        pen.spot(0.47, side * 6.0, 3.9, coat * 0.6)
        pen.spot(0.47, side * 6.0, 2.6, (222, 168, 160))
        pen.spot(0.74, side * 3.0, 1.2, (14, 12, 12))
    pen.spot(0.97, 0, 1.6, (226, 140, 140))


def _fish(pen: Pen, coat: np.ndarray, covered: float) -> None:
    """Draw fins, body, a stripe along the back, and eyes."""
    sway = 3.0 * np.sin(covered * 2 * np.pi / 30)
    fin = coat * 0.7 + 20
    pen.fill((-0.92, -1.5, -1.38, -1.5, -0.92), (1.5, 7 + sway, sway, -7 + sway, -1.5), fin)
    for side in (1, -1):
        pen.fill((0.38, 0.02, 0.2), (side * 5, side * 12.5, side * 5), fin)
    widths = np.interp(
        _ALONG, (-1, -0.6, -0.1, 0.3, 0.65, 0.88, 1), (1.6, 3.4, 6.2, 7.6, 7.0, 4.8, 1.6)
    )
    pen.outline(widths, coat * 0.6)
    pen.outline(widths, coat, 0.8)
    pen.outline(widths * np.interp(_ALONG, (-1, 0.5, 1), (1, 1, 0.6)), coat * 1.25 + 12, 0.35)
    pen.fill((-0.75, 0.05, -0.75), (1.2, 0, -1.2), coat * 0.5)
    for side in (1, -1):
        pen.spot(0.74, side * 5.0, 2.2, (240, 240, 232))
        pen.spot(0.76, side * 5.3, 1.3, (10, 10, 14))


def _fly(pen: Pen, coat: np.ndarray, covered: float) -> None:
    """Draw six legs, body, bands, wings and eyes."""
    phase = covered * 2 * np.pi / 22
    for i, along in enumerate((0.42, 0.22, 0.02)):
        for side in (1, -1):
            swing = 0.12 * np.sin(phase + np.pi * ((i + (side > 0)) % 2))
            reach = (0.3, 0.0, -0.35)[i]
            pen.stroke(
                (along, along + 0.4 * reach + swing, along + reach + swing),
                (side * 3, side * 9, side * 13),
                coat * 0.45,
                1,
            )
    abdomen = np.interp(
        _ALONG,
        (-1, -0.85, -0.5, -0.1, 0.12, 0.4, 0.6, 0.66, 0.8, 0.95, 1),
        (0.8, 3.4, 5.4, 4.8, 4.2, 5.2, 3.6, 3.0, 4.8, 3.0, 1.0),
    )
    pen.outline(abdomen, coat * 0.62)
    pen.outline(abdomen, coat, 0.76)
    for along in (-0.3, -0.52, -0.72):
        pen.stroke((along, along), (-4.2, 4.2), coat * 0.3, 2)
    for side in (1, -1):
        pen.fill(
            (0.3, -0.2, -0.95, -1.12, -0.6), np.array((2, 1.5, 3.5, 6, 8.5)) * side, (206, 208, 212)
        )
        pen.stroke((0.3, -0.4, -1.05), np.array((2, 4, 5.5)) * side, (150, 150, 150), 1)
        pen.spot(0.84, side * 4.0, 2.5, (196, 30, 26))
    pen.stroke((0.26, -0.6), (0, 0), coat * 0.5, 1)


_DRAW: dict[str, Callable[[Pen, np.ndarray, float], None]] = {
    "mouse": _mouse,
    "fish": _fish,
    "fly": _fly,
}
"""How to draw each species: pen, color of the coat, distance covered."""


def _ground(rng: np.random.Generator, species: str, color: Color) -> np.ndarray:
    """Draw the still ground, (256, 256, 3) uint8.

    Gray grain and uneven light on a tone; bedding has wood chips, a tank has ripples of light.
    """
    strength = {"mouse": 5.0, "fish": 2.5, "fly": 3.0}[species]
    grain = rng.standard_normal((CANVAS, CANVAS), dtype=np.float32) * strength
    light = grain + _smooth_noise(rng, 7) * 6

    if species == "fish":
        # Caustics: bright lines where the noise crosses 0
        ripple = _smooth_noise(rng, 16)
        light += cv2.GaussianBlur(np.exp(-((ripple / 0.25) ** 2)), (0, 0), 2.0) * 20
    elif species == "mouse":
        chips = np.zeros((CANVAS, CANVAS), np.uint8)
        centers = rng.uniform(0, CANVAS, (220, 2))
        angles = rng.uniform(0, np.pi, 220)
        tones = rng.integers(80, 176, 220).tolist()
        for center, angle, tone in zip(centers, angles, tones):
            half = 4 * np.array((np.cos(angle), np.sin(angle)))
            start = tuple(int(c) for c in center - half)
            end = tuple(int(c) for c in center + half)
            cv2.line(chips, start, end, tone, 2, cv2.LINE_AA)
        light += np.where(chips > 0, (chips.astype(np.float32) - 128) * 0.35, 0)

    scalar = (*map(float, color), 0.0)
    gray = cv2.merge([light] * 3)
    return cv2.add(gray, scalar, dtype=cv2.CV_8U)  # type: ignore[call-overload]  # a scalar is fine


def _smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Return (256, 256) float32 noise that varies over `cells` cells."""
    return cv2.resize(
        rng.standard_normal((cells, cells), dtype=np.float32),
        (CANVAS, CANVAS),
        interpolation=cv2.INTER_CUBIC,
    )
