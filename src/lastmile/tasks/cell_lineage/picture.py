"""The images of cell lineage: fluorescent nuclei and debris on an uneven background."""

from __future__ import annotations

import cv2
import numpy as np

from lastmile.screen import CANVAS

_TILE = 64  # side of the tile on which a nucleus is modelled, px
_DISC = 24.0  # radius of the nucleus on its tile, px
_HALF = 18  # half the side of the patch in which a nucleus is drawn, logical px

_AXIS = np.arange(_TILE, dtype=np.float32) - (_TILE - 1) / 2
_AZIMUTH = np.arctan2(_AXIS[:, None], _AXIS[None])  # (64, 64)
_RADIUS = np.hypot(_AXIS[:, None], _AXIS[None]) / _DISC  # (64, 64), 1 at the nucleus' border


def draw_frames(
    rng: np.random.Generator,
    birth: np.ndarray,
    end: np.ndarray,
    xy: np.ndarray,
    axes: np.ndarray,
    angle: np.ndarray,
    bright: np.ndarray,
    debris: np.ndarray,
) -> np.ndarray:
    """Draw all frames of a movie.

    The noise of the camera is the same in all frames; shot noise grows with the root of the light.

    Args:
        rng: The source of randomness.
        birth: (n,) first frame of each cell.
        end: (n,) frame after the last of each cell.
        xy: (frames, n, 2) centers, canvas coordinates.
        axes: (frames, n, 2) semi-axes, logical px.
        angle: (frames, n) angle of the first axis, radians.
        bright: (frames, n) brightness, about 1.
        debris: (frames, m, 2) centers of the pieces of debris, canvas coordinates.

    Returns:
        (frames, 256, 256, 3) uint8.
    """
    frames = len(xy)
    ground, noise, tint = _ground(rng)
    tiles = [_tile(rng) for _ in birth]

    # Debris are small nuclei that do not change: tile, minor semi-axis, elongation, angle, light.
    pieces = [
        (
            _tile(rng),
            rng.uniform(2.6, 5.0),
            rng.uniform(1.0, 1.7),
            rng.uniform(0, np.pi),
            rng.uniform(0.7, 1.2),
        )
        for _ in range(debris.shape[1])
    ]

    image = np.empty((frames, CANVAS, CANVAS, 3), np.uint8)
    for t in range(frames):
        image[t] = ground
        spots = [
            (tiles[k], xy[t, k], axes[t, k], angle[t, k], bright[t, k])
            for k in np.flatnonzero((birth <= t) & (t < end))
        ]
        spots += [
            (tile, debris[t, i], (long * minor, minor), turn, light)
            for i, (tile, minor, long, turn, light) in enumerate(pieces)
        ]
        for tile, center, semi_axes, turn, light in spots:
            _add_spot(image[t], tile, center, semi_axes, turn, light, noise, tint)
    return image


def _add_spot(
    image: np.ndarray,
    tile: np.ndarray,
    center: np.ndarray,
    axes: np.ndarray | tuple[float, float],
    turn: float,
    light: float,
    noise: np.ndarray,
    tint: np.ndarray,
) -> None:
    """Add a tile to a frame (in place): scaled to its semi-axes, turned, and with shot noise."""
    a, b = axes
    x0 = int(center[0]) - _HALF
    y0 = int(center[1]) - _HALF
    cos = np.cos(turn)
    sin = np.sin(turn)
    scale = np.array([[cos * a, -sin * b], [sin * a, cos * b]]) / _DISC
    shift = np.array(center) - (x0, y0) - scale @ np.full(2, (_TILE - 1) / 2)
    spot = cv2.warpAffine(
        tile, np.column_stack([scale, shift]), (2 * _HALF, 2 * _HALF), flags=cv2.INTER_LINEAR
    )

    # Debris can drift across the border of the canvas.
    rows = slice(max(y0, 0), min(y0 + 2 * _HALF, CANVAS))
    columns = slice(max(x0, 0), min(x0 + 2 * _HALF, CANVAS))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return

    spot = spot[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0] * (
        190 * light
    )
    spot = spot + noise[rows, columns] * np.sqrt(np.maximum(spot, 0)) * 0.8
    patch = image[rows, columns]
    # Light adds up; OpenCV saturates at 255 instead of wrapping around.
    cv2.add(
        patch,
        cv2.merge([spot * shade for shade in tint.tolist()]),
        dst=patch,
        dtype=cv2.CV_8U,
    )


def _tile(rng: np.random.Generator) -> np.ndarray:
    """Draw a nucleus: uneven outline, mottled chromatin, one or two dark nucleoli.

    Returns:
        (64, 64) float32, a disc of radius 24 of brightness about 1.
    """
    radius = _RADIUS
    for waves in (2, 3, 5):
        radius = radius * (1 + rng.normal(0, 0.022) * np.sin(waves * _AZIMUTH + rng.uniform(0, 6)))

    mottle = cv2.resize(
        rng.standard_normal((11, 11), dtype=np.float32),
        (_TILE, _TILE),
        interpolation=cv2.INTER_CUBIC,
    )
    value = (0.82 + 0.14 * mottle) * (1 - 0.25 * radius**2)
    for _ in range(int(rng.integers(1, 3))):
        cx, cy = rng.uniform(-10, 10, 2)
        value = value * (
            1 - 0.4 * np.exp(-((_AXIS - cy) ** 2) / 20)[:, None] * np.exp(-((_AXIS - cx) ** 2) / 20)
        )
    return (value / (1 + np.exp((radius - 1) * 14))).astype(np.float32)  # a soft border


def _ground(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw what is the same in all frames.

    Returns:
        The background with bleed-through of a second channel, (256, 256, 3) uint8; the noise field,
        (256, 256) float32; the tint of the nuclei, (3,) float32.
    """
    noise = rng.standard_normal((CANVAS, CANVAS), dtype=np.float32)
    coarse = rng.standard_normal((9, 9), dtype=np.float32)
    fine = rng.standard_normal((26, 26), dtype=np.float32)
    haze = cv2.resize(coarse, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)

    # The second channel shows fibers: the zero crossings of a smooth noise field.
    fibers = cv2.resize(fine, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
    fibers = cv2.exp(-(fibers * fibers) / np.float32(0.09)) * np.clip(haze + 0.6, 0, 1.2)
    fibers = cv2.GaussianBlur(fibers, (0, 0), 1.6) * rng.uniform(10, 18)
    bleed = np.array(
        [(1.0, 0.55, 0.5), (0.5, 0.75, 1.0), (0.9, 0.5, 0.9)][int(rng.integers(3))], np.float32
    )
    tint = np.array(
        [(0.92, 1.0, 0.95), (1.0, 1.0, 1.0), (0.9, 0.96, 1.0)][int(rng.integers(3))], np.float32
    )

    light = 24 + 5 * haze
    grain = noise * np.sqrt(np.maximum(light, 4)) * 0.9
    ground = cv2.merge(
        [light * t + fibers * b + grain for t, b in zip(tint.tolist(), bleed.tolist())]
    )
    return cv2.convertScaleAbs(np.maximum(ground, 0)), noise, tint
