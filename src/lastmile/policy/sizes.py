"""Sizes of the policy: one dial for all widths and depths, and what a forward pass costs.

Imports no torch, so that a plan can be made without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lastmile.config import PolicySettings
from lastmile.screen import SMALL_HEIGHT, SMALL_WIDTH

CELL = 7
"""Side of a cell of the convolutional encoder's grid, in px of the small screen (18 2/3 logical
px)."""

TRAINING_PASSES = 3
"""Forward passes that a frame of training costs: one forward, and about two backward."""

PATCH = 14
"""Side of a patch of the vision transformers, in px of the small screen, as published."""


@dataclass(frozen=True)
class Size:
    """Widths and depths of a policy.

    Attributes:
        fine: Channels of the `conv` encoder on the full grid, 18 x 24 cells.
        fine_blocks: Residual blocks on that grid.
        coarse: Channels of the `conv` encoder on the grid merged two by two, 9 x 12.
        coarse_blocks: Residual blocks on the merged grid.
        texture: Channels of the `conv` encoder's textures.
        vit_width: Width of the `vit` encoder.
        vit_layers: Layers of the `vit` encoder.
        vit_heads: Attention heads of the `vit` encoder.
        squeeze: Channels of a coarse cell or patch that enter the frame vector.
        width: Width of the causal transformer.
        layers: Layers of the causal transformer.
        heads: Attention heads of the causal transformer.
        place: Channels of the map from which the pointer head chooses the place inside a cell.
        feed_forward: Width of the causal transformer's perceptrons, in multiples of its own; 0
            for attention alone.
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
"""With the `conv` encoder about 0.5, 1.6, 5 and 20 million parameters.

`paper` is the published transformer: 8 layers of width 512 with 8 heads. With ViT-B/14 (86.6
million) its published total is about 95 million parameters, which its layers only reach without
perceptrons; with them it would be 112 million.
"""


@dataclass(frozen=True)
class Backbone:
    """Shape of a published vision transformer."""

    width: int
    layers: int
    heads: int


BACKBONES = {
    "small": Backbone(384, 12, 6),
    "base": Backbone(768, 12, 12),
    "large": Backbone(1024, 24, 16),
}
"""Sizes of DINOv2 with registers (Darcet et al., 2024)."""


def flops_per_frame(settings: PolicySettings) -> int:
    """Return the floating-point operations of one forward pass, per frame of a full window.

    Counts the matrix products and convolutions, two operations per multiply-add, including the
    likelihood of the click. An update in training costs about three times as much.
    """
    size = SIZES[settings.size]
    cell = CELL if settings.encoder == "conv" else PATCH
    cells = (SMALL_HEIGHT // cell) * (SMALL_WIDTH // cell)
    patches = (SMALL_HEIGHT // PATCH) * (SMALL_WIDTH // PATCH)

    if settings.encoder == "conv":
        channels = size.fine
        encoder = _conv(size, cells)
    elif settings.encoder == "vit":
        channels = size.vit_width
        encoder = _transformer(size.vit_width, size.vit_layers, patches, patches)
    else:
        backbone = BACKBONES[settings.backbone]
        channels = backbone.width
        tokens_seen = patches + 5  # the class token and four registers
        encoder = _transformer(backbone.width, backbone.layers, tokens_seen, tokens_seen)
    if settings.encoder != "conv":
        encoder += patches * PATCH * PATCH * 3 * channels
        encoder += (
            patches * channels * size.squeeze + (patches * size.squeeze + 2 * channels) * size.width
        )

    if settings.context == "frame":
        context = _previous_click(channels, size.width) + _transformer(
            size.width, size.layers, 1, settings.window, size.feed_forward
        )
    else:
        seen = settings.window * (patches + 1)
        context = cells * channels * size.width + _transformer(
            size.width, size.layers - 1, patches + 1, seen, size.feed_forward
        )
        # The last layer computes keys and values of all tokens, but only one output per frame.
        context += 2 * patches * size.width**2 + _transformer(
            size.width, 1, 1, seen, size.feed_forward
        )
    return 2 * (encoder + context + _head(settings, size, cells, cell, channels))


def _conv(size: Size, cells: int) -> int:
    """Return the multiply-adds of the convolutional encoder."""
    coarse = cells // 4
    third = (SMALL_HEIGHT // 3) * (SMALL_WIDTH // 3)
    sixth = (SMALL_HEIGHT // 6) * (SMALL_WIDTH // 6)
    pooled = 2 * (size.coarse + size.texture)

    stem = cells * CELL * CELL * 3 * size.fine
    fine_blocks = size.fine_blocks * 2 * cells * 9 * size.fine**2
    merge = coarse * 4 * size.fine * size.coarse
    coarse_blocks = size.coarse_blocks * 2 * coarse * 9 * size.coarse**2
    texture = (third * 108 + sixth * 9 * size.texture) * (size.texture // 2)
    textured = coarse * size.texture * size.coarse
    up_and_squeeze = coarse * size.coarse * (size.fine + size.squeeze)
    vector = (coarse * size.squeeze + pooled) * size.width
    return stem + fine_blocks + merge + coarse_blocks + texture + textured + up_and_squeeze + vector


def _transformer(width: int, layers: int, tokens: int, seen: int, feed_forward: int = 4) -> int:
    """Return the multiply-adds of a transformer on `tokens` tokens that attend to `seen` each.

    Attention counts in full, since the products that a mask hides are computed as well.
    """
    return layers * tokens * ((4 + 2 * feed_forward) * width**2 + 2 * seen * width)


def _previous_click(channels: int, width: int) -> int:
    """Return the multiply-adds of the previous click's embedding."""
    pixels_around = 10 * 10 * 75 * 24 + 4 * 4 * 9 * 24 * 48 + 4 * 4 * 48 * width
    return (4 * 8 + channels) * width + pixels_around


def _head(settings: PolicySettings, size: Size, cells: int, cell: int, channels: int) -> int:
    """Return the multiply-adds of the likelihood of one click."""
    if settings.head == "bins":
        return size.width * (112 + 84)
    choose_cell = cells * channels * (channels + 1) + size.width * (channels + cells)
    place_map = (cell + 2) ** 2 * 75 * size.place + cell**2 * size.place * (9 * size.place + 4)
    return choose_cell + place_map + (channels + size.width) * size.place + channels * 4 * cell**2
