"""The images of neuron tracing: stained tissue, drawn slice by slice.

They are made at half the resolution of the canvas (1 half px = 2 logical px) and then enlarged.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.neuron_tracing.tissue import GRID, SIDE, Tissue, smooth_noise, warp

_NOISE = CANVAS + 32  # side of the noise field, of which each slice shows another part


class Stain(NamedTuple):
    """The look of the tissue.

    Attributes:
        tone: (256,) float32, gray value of the cytoplasm by cell.
        shade: (slices, 148, 148) uint8, darkness of mitochondria and vesicles on the padded grid.
        owner: (slices, 148, 148) uint8, the cell to which they belong; 255 without.
        grain: (256, 256) float32, texture of the cytoplasm, half px.
        light: (128, 128) float32, uneven illumination.
        gain: (slices,) float32, contrast.
        offset: (slices,) float32, brightness.
        noise: (288, 288) int8, noise of the detector, logical px.
    """

    tone: np.ndarray
    shade: np.ndarray
    owner: np.ndarray
    grain: np.ndarray
    light: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    noise: np.ndarray


def make_stain(rng: np.random.Generator, tissue: Tissue) -> Stain:
    """Stain a tissue: gray cytoplasm, organelles, uneven staining, and detector noise."""
    slices = len(tissue.depth)
    tone = np.clip(rng.normal(172, 11, 256), 140, 200).astype(np.float32)
    shade, owner = _organelles(rng, tissue.seeds)
    grain = (6 * smooth_noise(rng, 1.1, 1, 2 * SIDE) + 5 * smooth_noise(rng, 4.0, 1, 2 * SIDE))[
        ..., 0
    ].astype(np.float32)
    light = 1 + 0.05 * smooth_noise(rng, 30, 1)[..., 0].astype(np.float32)
    gain = rng.normal(1, 0.025, slices).astype(np.float32)
    offset = rng.normal(0, 2, slices).astype(np.float32)
    noise = (
        (11 * rng.standard_normal((_NOISE, _NOISE), dtype=np.float32)).clip(-60, 60).astype(np.int8)
    )
    return Stain(tone, shade, owner, grain, light, gain, offset, noise)


def _organelles(rng: np.random.Generator, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `Stain.shade` and `Stain.owner`: vesicles in some cells, mitochondria in others.

    Args:
        rng: The source of randomness.
        seeds: As in `Tissue`.
    """
    slices = len(seeds)
    count: int = seeds.shape[1]
    shade = np.zeros((slices, GRID, GRID), np.uint8)
    owner = np.full((slices, GRID, GRID), 255, np.uint8)
    middle = seeds[:, :, 3]  # (slices, cells, 2)

    # Vesicles: 14 dark pixels in every slice of a cell.
    synaptic = np.nonzero(rng.random(count) < 0.3)[0]
    spots = middle[:, synaptic, None] + rng.normal(
        0, 3.6, (slices, len(synaptic), 14, 2)
    )  # (slices, cells, vesicles, 2)
    x, y = np.floor(spots + 0.5).astype(np.int64).transpose(3, 0, 1, 2)
    z, k, s = np.nonzero((x >= 0) & (x < GRID) & (y >= 0) & (y < GRID))
    shade[z, y[z, k, s], x[z, k, s]] = 62
    owner[z, y[z, k, s], x[z, k, s]] = synaptic[k]

    # Mitochondria: a tube through some slices, an ellipse in each, thinner at both ends. OpenCV
    # takes coordinates in sixteenths of a pixel.
    for cell in np.nonzero(rng.random(count) < 0.45)[0].tolist():
        first = int(rng.integers(-8, slices))
        extent = int(rng.integers(7, 22))
        long, wide = (16 * rng.uniform((2.4, 1.7), (4.4, 2.7))).tolist()
        angle = rng.uniform(0, 180)
        spin = rng.uniform(-6, 6)
        path = (middle[:, cell] + rng.normal(0, 2.2, 2)).tolist()

        for level in range(max(first, 0), min(first + extent, slices)):
            x0, y0 = path[level]
            if not (4 < x0 < GRID - 4 and 4 < y0 < GRID - 4):
                continue
            fade = min(1.0, 0.45 + 0.3 * min(level - first, first + extent - 1 - level))
            spot = (round(x0 * 16), round(y0 * 16))
            size = (round(long * fade), round(wide * fade))
            outline = (size[0] + 16, size[1] + 16)
            turn = angle + spin * (level - first)
            cv2.ellipse(owner[level], spot, outline, turn, 0, 360, cell, -1, cv2.LINE_8, 4)
            cv2.ellipse(shade[level], spot, size, turn, 0, 360, 58, -1, cv2.LINE_AA, 4)
            cv2.ellipse(shade[level], spot, size, turn, 0, 360, 92, 1, cv2.LINE_AA, 4)
    return shade, owner


def draw_slice(labels: np.ndarray, z: int, tissue: Tissue, stain: Stain) -> np.ndarray:
    """Draw a slice at the resolution of the canvas.

    Args:
        labels: (128, 128) uint8, the cell at each half px of the slice.
        z: The slice.
        tissue: The geometry of the stack.
        stain: The look of the stack.

    Returns:
        (256, 256, 3) uint8, read-only.
    """
    soft = cv2.GaussianBlur(_stained(labels, z, tissue, stain), (3, 3), 0.55)
    large = cv2.resize(soft, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)

    # Noise is added last, at full resolution, from a part of its field that depends on the slice.
    x = z * 13 % 32
    y = z * 7 % 32
    noise = stain.noise[y : y + CANVAS, x : x + CANVAS]
    picture = cv2.cvtColor(cv2.add(large, noise, dtype=cv2.CV_8U), cv2.COLOR_GRAY2RGB)
    picture.flags.writeable = False
    return picture


def _stained(labels: np.ndarray, z: int, tissue: Tissue, stain: Stain) -> np.ndarray:
    """Return a slice with dark membranes, (128, 128) uint8; its texture drifts with the tissue."""
    depth = tissue.depth[z]
    maps = tissue.maps[z]

    # An organelle shows only inside its own cell.
    dark = warp(stain.shade[z], maps, cv2.INTER_LINEAR) * (
        warp(stain.owner[z], maps, cv2.INTER_NEAREST) == labels
    )
    x, y = np.clip(np.floor(SIDE / 2 - tissue.drift[z] + 0.5), 0, SIDE).astype(int)
    plane = stain.tone[labels] + stain.grain[y : y + SIDE, x : x + SIDE]
    plane -= dark * np.clip(depth - 1, 0, 1)
    plane -= (plane - 42) * np.exp(depth**2 * np.float32(-0.9))  # membranes, gray value 42
    plane *= stain.light * stain.gain[z]
    return np.clip(plane + stain.offset[z], 0, 255).astype(np.uint8)
