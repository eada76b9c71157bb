"""One dial for the widths and depths of a policy, and what a size costs."""

from __future__ import annotations

from dataclasses import dataclass

from lastmile.config import PolicySettings
from lastmile.screen import SMALL_HEIGHT, SMALL_WIDTH

CELL = 7
"""Side of a grid cell in pixels of the small screen; 18 2/3 logical px."""


@dataclass(frozen=True)
class Size:
    """Widths and depths.

    fine, fine_blocks: channels and residual blocks on the full grid (18 x 24). coarse, coarse_blocks: the same on the grid merged two by two
    (9 x 12). squeeze: channels of a coarse cell that go into the frame vector. width, layers, heads: the causal transformer.
    place: channels of the map from which the place inside a cell is chosen.
    """

    fine: int
    fine_blocks: int
    coarse: int
    coarse_blocks: int
    squeeze: int
    width: int
    layers: int
    heads: int
    place: int


SIZES = {
    "xs": Size(fine=32, fine_blocks=1, coarse=48, coarse_blocks=1, squeeze=8, width=96, layers=2, heads=4, place=16),
    "s": Size(fine=48, fine_blocks=1, coarse=96, coarse_blocks=1, squeeze=12, width=160, layers=3, heads=4, place=24),
    "m": Size(fine=64, fine_blocks=2, coarse=128, coarse_blocks=2, squeeze=16, width=256, layers=4, heads=8, place=32),
    "l": Size(fine=96, fine_blocks=2, coarse=192, coarse_blocks=3, squeeze=16, width=512, layers=5, heads=8, place=48),
}
"""About 0.4, 1.7, 5 and 20 million parameters."""


def parameter_count(settings: PolicySettings) -> int:
    """Number of trained numbers."""
    import torch

    from lastmile.policy.policy import Policy

    with torch.device("meta"):
        return sum(p.numel() for p in Policy(settings).parameters())


def flops_per_frame(settings: PolicySettings) -> int:
    """Floating-point operations (two for a multiply-add) of matrix products and convolutions in one forward pass, for each frame of a full
    window, the click's likelihood included. A training step costs about three times as much."""
    size = SIZES[settings.size]
    cells = (SMALL_HEIGHT // CELL) * (SMALL_WIDTH // CELL)
    coarse = cells // 4
    encoder = cells * CELL * CELL * 3 * size.fine + size.fine_blocks * 2 * cells * 9 * size.fine**2
    encoder += coarse * 4 * size.fine * size.coarse + size.coarse_blocks * 2 * coarse * 9 * size.coarse**2
    encoder += coarse * size.coarse * (size.fine + size.squeeze) + (coarse * size.squeeze + 2 * size.coarse) * size.width
    return 2 * (encoder + _token(size) + _context(size, settings.window) + _head(settings, size, cells))


def _token(size: Size) -> int:
    look = 10 * 10 * 75 * 24 + 4 * 4 * 9 * 24 * 48 + 4 * 4 * 48 * size.width
    return (4 * 8 + size.fine) * size.width + look


def _context(size: Size, window: int) -> int:
    # Attention itself is counted in full, since the products that the mask hides are computed as well.
    return size.layers * (12 * size.width**2 + 2 * window * size.width)


def _head(settings: PolicySettings, size: Size, cells: int) -> int:
    if settings.head == "bins":
        return size.width * (112 + 84)
    choose = cells * size.fine * (size.fine + 1) + size.width * (size.fine + cells)
    place = 81 * 75 * size.place + 49 * size.place * (9 * size.place + 4)
    return choose + place + (size.fine + size.width) * size.place + size.fine * 4 * CELL * CELL
