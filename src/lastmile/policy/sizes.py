"""One dial for the widths and depths of a policy, and what a size costs."""

from __future__ import annotations

from dataclasses import dataclass

from lastmile.config import PolicySettings
from lastmile.screen import SMALL_HEIGHT, SMALL_WIDTH

CELL = 7
"""Side of a cell of the convolutional encoder's grid, in pixels of the small screen; 18 2/3 logical px."""
PATCH = 14
"""Side of a patch of the vision transformers, as published."""


@dataclass(frozen=True)
class Size:
    """Widths and depths.

    fine, fine_blocks: channels and residual blocks of `conv` on the full grid (18 x 24). coarse, coarse_blocks: the same on the grid merged two by
    two (9 x 12). texture: channels of its textures. vit: width, layers and heads of `vit`. squeeze: channels of a coarse cell that go into the frame vector. width, layers, heads: the
    causal transformer; feed_forward: width of its perceptrons over its own. place: channels of the map from which the place inside a cell is chosen.
    """

    fine: int
    fine_blocks: int
    coarse: int
    coarse_blocks: int
    texture: int
    vit_width: int
    vit_layers: int
    vit_heads: int
    squeeze: int
    width: int
    layers: int
    heads: int
    place: int
    feed_forward: int = 4


SIZES = {
    "xs": Size(32, 1, 48, 1, 16, 64, 3, 2, squeeze=8, width=96, layers=2, heads=4, place=16),
    "s": Size(48, 1, 96, 1, 32, 96, 4, 3, squeeze=12, width=160, layers=3, heads=4, place=24),
    "m": Size(64, 2, 128, 2, 48, 128, 6, 4, squeeze=16, width=256, layers=4, heads=8, place=32),
    "l": Size(96, 2, 192, 3, 64, 192, 8, 6, squeeze=16, width=512, layers=5, heads=8, place=48),
    "paper": Size(
        96,
        2,
        192,
        3,
        64,
        192,
        8,
        6,
        squeeze=4,
        width=512,
        layers=8,
        heads=8,
        place=48,
        feed_forward=0,
    ),
}
"""With `conv` about 0.5, 1.6, 5 and 20 million parameters. `paper`: the published transformer of 8 layers, 512 wide, with 8 heads. The total given for
it and ViT-B/14 (86.6 million) is about 95 million, which is what its layers take without perceptrons; with them it would be 112."""


@dataclass(frozen=True)
class Backbone:
    """A published vision transformer: width, layers, heads."""

    width: int
    layers: int
    heads: int


BACKBONES = {
    "small": Backbone(384, 12, 6),
    "base": Backbone(768, 12, 12),
    "large": Backbone(1024, 24, 16),
}


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
    cell = CELL if settings.encoder == "conv" else PATCH
    cells = (SMALL_HEIGHT // cell) * (SMALL_WIDTH // cell)
    patches = (SMALL_HEIGHT // PATCH) * (SMALL_WIDTH // PATCH)
    if settings.encoder == "conv":
        channels, encoder = size.fine, _conv(size, cells)
    elif settings.encoder == "vit":
        channels, encoder = (
            size.vit_width,
            _transformer(size.vit_width, size.vit_layers, patches, patches),
        )
    else:
        backbone = BACKBONES[settings.backbone]
        channels, encoder = (
            backbone.width,
            _transformer(backbone.width, backbone.layers, patches + 5, patches + 5),
        )
    if settings.encoder != "conv":
        encoder += patches * PATCH * PATCH * 3 * channels
        encoder += (
            patches * channels * size.squeeze + (patches * size.squeeze + 2 * channels) * size.width
        )
    if settings.context == "frame":
        tokens = _previous(channels, size.width) + _transformer(
            size.width, size.layers, 1, settings.window, size.feed_forward
        )
    else:
        there = settings.window * (patches + 1)
        tokens = cells * channels * size.width + _transformer(
            size.width, size.layers - 1, patches + 1, there, size.feed_forward
        )
        # The last layer is only computed where it is read.
        tokens += 2 * patches * size.width**2 + _transformer(
            size.width, 1, 1, there, size.feed_forward
        )
    return 2 * (encoder + tokens + _head(settings, size, cells, cell, channels))


def _conv(size: Size, cells: int) -> int:
    coarse = cells // 4
    found = cells * CELL * CELL * 3 * size.fine + size.fine_blocks * 2 * cells * 9 * size.fine**2
    found += (
        coarse * 4 * size.fine * size.coarse + size.coarse_blocks * 2 * coarse * 9 * size.coarse**2
    )
    third, sixth = (
        (SMALL_HEIGHT // 3) * (SMALL_WIDTH // 3),
        (SMALL_HEIGHT // 6) * (SMALL_WIDTH // 6),
    )
    found += (third * 108 + sixth * 9 * size.texture) * (
        size.texture // 2
    ) + coarse * size.texture * size.coarse
    pooled = 2 * (size.coarse + size.texture)
    return (
        found
        + coarse * size.coarse * (size.fine + size.squeeze)
        + (coarse * size.squeeze + pooled) * size.width
    )


def _transformer(width: int, layers: int, tokens: int, seen: int, feed_forward: int = 4) -> int:
    """`tokens` tokens that each look at `seen`. Attention is counted in full, since the products that a mask hides are computed as well."""
    return layers * tokens * ((4 + 2 * feed_forward) * width**2 + 2 * seen * width)


def _previous(channels: int, width: int) -> int:
    look = 10 * 10 * 75 * 24 + 4 * 4 * 9 * 24 * 48 + 4 * 4 * 48 * width
    return (4 * 8 + channels) * width + look


def _head(settings: PolicySettings, size: Size, cells: int, cell: int, channels: int) -> int:
    if settings.head == "bins":
        return size.width * (112 + 84)
    choose = cells * channels * (channels + 1) + size.width * (channels + cells)
    place = (cell + 2) ** 2 * 75 * size.place + cell**2 * size.place * (9 * size.place + 4)
    return choose + place + (channels + size.width) * size.place + channels * 4 * cell**2
