"""Painting animals from above: mice on bedding, fish in a tank, flies on paper."""

from __future__ import annotations

import cv2
import numpy as np

from lastmile.screen import CANVAS

_SHIFT = 4
_ALONG = np.linspace(-1, 1, 21)

LENGTH = {"mouse": 42.0, "fish": 40.0, "fly": 34.0}
"""From front (nose, snout, head) to back (base of the tail or of its fin, tip of the abdomen), logical px."""
SPECIES = tuple(LENGTH)
_HALF = {
    "mouse": 48,
    "fish": 38,
    "fly": 30,
}  # half the side of the patch that an animal is drawn on

_COATS = {
    "mouse": ((70, 60, 54), (196, 188, 178), (120, 84, 56)),
    "fish": ((214, 122, 60), (190, 196, 204), (206, 176, 84)),
    "fly": ((176, 128, 70), (126, 104, 84), (150, 120, 60)),
}
_GROUNDS = {
    "mouse": ((158, 146, 126), (96, 98, 100), (150, 156, 150)),
    "fish": ((62, 104, 112), (50, 88, 118), (74, 104, 92)),
    "fly": ((196, 194, 186), (186, 190, 196), (200, 190, 172)),
}


def paint(
    rng: np.random.Generator,
    species: str,
    center: np.ndarray,
    heading: np.ndarray,
    bend: np.ndarray,
    moved: np.ndarray,
) -> np.ndarray:
    """The frames, (frames, 256, 256, 3) uint8, of animals with center (frames, n, 2), heading and bend (frames, n) in radians, and the way
    that each has gone so far, `moved` (frames, n), which drives its gait."""
    frames, count = heading.shape
    kind = int(rng.integers(3))
    ground = _ground(rng, species, _GROUNDS[species][kind])
    coat = np.array(_COATS[species][kind], float)
    half = _HALF[species]
    grain = cv2.GaussianBlur(
        rng.standard_normal((2 * half, 2 * half, 1), dtype=np.float32), (0, 0), 0.7
    )[..., None]
    grain *= 18 if species == "mouse" else 9
    draw = {"mouse": _mouse, "fish": _fish, "fly": _fly}[species]
    order = rng.permutation(count)
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
            draw(pen, coat, float(moved[t, k]))
            _blend(image[t], x0, y0, pen, grain)
    return image


class Pen:
    """Draws on a patch of side 2 `half` in the coordinates of a body: `along` from -1 (back) to 1 (front) on its bent middle line, `across`
    in px to its right."""

    def __init__(
        self, half: int, center: np.ndarray, heading: float, bend: float, length: float
    ) -> None:
        self.paper = np.zeros((2 * half, 2 * half, 3), np.uint8)
        self.cover = np.zeros((2 * half, 2 * half), np.uint8)
        self.center, self.heading, self.bend, self.length = center, heading, bend, length

    def at(self, along, across) -> np.ndarray:
        """(n, 2) points of the patch."""
        return self.center + body(
            self.heading,
            self.bend,
            self.length,
            np.asarray(along, float),
            np.asarray(across, float),
        )

    def fill(self, along, across, color, solid: bool = True) -> None:
        points = (self.at(along, across) * (1 << _SHIFT)).round().astype(np.int32).reshape(-1, 1, 2)
        cv2.fillPoly(self.paper, [points], tuple(float(c) for c in color), cv2.LINE_AA, _SHIFT)
        if solid:
            cv2.fillPoly(self.cover, [points], 255, cv2.LINE_AA, _SHIFT)

    def stroke(self, along, across, color, width: int) -> None:
        points = (self.at(along, across) * (1 << _SHIFT)).round().astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(
            self.paper, [points], False, tuple(float(c) for c in color), width, cv2.LINE_AA, _SHIFT
        )
        cv2.polylines(self.cover, [points], False, 255, width, cv2.LINE_AA, _SHIFT)

    def spot(self, along: float, across: float, radius: float, color) -> None:
        (x, y), scale = self.at([along], [across])[0], 1 << _SHIFT
        place = (round(x * scale), round(y * scale))
        cv2.circle(
            self.paper,
            place,
            round(radius * scale),
            tuple(float(c) for c in color),
            -1,
            cv2.LINE_AA,
            _SHIFT,
        )
        cv2.circle(self.cover, place, round(radius * scale), 255, -1, cv2.LINE_AA, _SHIFT)

    def outline(self, widths: np.ndarray, color, shrink: float = 1.0) -> None:
        """Fill the body with half widths (21,) from back to front, in px."""
        along = np.concatenate([_ALONG, _ALONG[::-1]])
        self.fill(
            along * (1 - 0.06 * (1 - shrink)),
            np.concatenate([widths, -widths[::-1]]) * shrink,
            color,
        )


def body(heading, bend, length: float, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Points of a body relative to its center, (..., 2): its middle line is an arc that turns by `bend` from back to front."""
    distance = along * length / 2
    turn = (bend + 1e-6) / length
    sin, cos = np.sin(turn * distance), np.cos(turn * distance)
    forward, sideways = sin / turn - across * sin, (1 - cos) / turn + across * cos
    cos, sin = np.cos(heading), np.sin(heading)
    points = np.empty((*forward.shape, 2))
    points[..., 0], points[..., 1] = forward * cos - sideways * sin, forward * sin + sideways * cos
    return points


def _blend(image: np.ndarray, x0: int, y0: int, pen: Pen, grain: np.ndarray) -> None:
    """One animal with its shadow onto a frame."""
    side = len(pen.cover)
    shadow = cv2.blur(cv2.blur(np.roll(pen.cover, (4, 3), (0, 1)), (5, 5)), (5, 5))
    rows, columns = (
        slice(max(y0, 0), min(y0 + side, CANVAS)),
        slice(max(x0, 0), min(x0 + side, CANVAS)),
    )
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


def _mouse(pen: Pen, coat: np.ndarray, moved: float) -> None:
    pace = moved * 2 * np.pi / 26
    tail = np.linspace(-1.0, -2.0, 9)
    pen.stroke(
        tail,
        4.5 * np.sin(1.8 * (tail + 1) * 2 + pace * 0.5) * (-(tail + 1)),
        np.array((206, 160, 150)) * 0.9,
        2,
    )
    for along, side, phase in ((0.42, 1, 0), (0.42, -1, np.pi), (-0.6, 1, np.pi), (-0.6, -1, 0)):
        pen.spot(along + 0.14 * np.sin(pace + phase), side * 8.5, 2.2, (212, 164, 150))
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


def _fish(pen: Pen, coat: np.ndarray, moved: float) -> None:
    sway = 3.0 * np.sin(moved * 2 * np.pi / 30)
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


def _fly(pen: Pen, coat: np.ndarray, moved: float) -> None:
    pace = moved * 2 * np.pi / 22
    for i, along in enumerate((0.42, 0.22, 0.02)):
        for side in (1, -1):
            swing = 0.12 * np.sin(pace + np.pi * ((i + (side > 0)) % 2))
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


def _ground(rng: np.random.Generator, species: str, color: tuple[int, int, int]) -> np.ndarray:
    """The still ground, (256, 256, 3) uint8: gray grain and uneven light on a tone; bedding has chips, a tank has ripples of light."""
    grain = (
        rng.standard_normal((CANVAS, CANVAS), dtype=np.float32)
        * {"mouse": 5.0, "fish": 2.5, "fly": 3.0}[species]
    )
    coarse = (
        cv2.resize(
            rng.standard_normal((7, 7), dtype=np.float32),
            (CANVAS, CANVAS),
            interpolation=cv2.INTER_CUBIC,
        )
        * 6
    )
    light = grain + coarse
    if species == "fish":
        ripple = cv2.resize(
            rng.standard_normal((16, 16), dtype=np.float32),
            (CANVAS, CANVAS),
            interpolation=cv2.INTER_CUBIC,
        )
        light += cv2.GaussianBlur(np.exp(-((ripple / 0.25) ** 2)), (0, 0), 2.0) * 20
    elif species == "mouse":
        chips = np.zeros((CANVAS, CANVAS), np.uint8)
        places, turns = rng.uniform(0, CANVAS, (220, 2)), rng.uniform(0, np.pi, 220)
        for (x, y), turn, tone in zip(places, turns, rng.integers(80, 176, 220).tolist()):
            step = 4 * np.array((np.cos(turn), np.sin(turn)))
            ends = [tuple(int(c) for c in (x, y) + side * step) for side in (-1, 1)]
            cv2.line(chips, *ends, tone, 2, cv2.LINE_AA)
        light += np.where(chips > 0, (chips.astype(np.float32) - 128) * 0.35, 0)
    return cv2.add(cv2.merge([light] * 3), (*map(float, color), 0.0), dtype=cv2.CV_8U)
