"""The network of a policy: encoder, tokens, causal transformer and click head."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lastmile.config import PolicySettings
from lastmile.policy.context import Context
from lastmile.policy.encoder import ConvEncoder
from lastmile.policy.head import BinsHead, PointerHead
from lastmile.policy.sizes import SIZES
from lastmile.policy.tokens import PatchTokens, PreviousClick
from lastmile.policy.vit import Dinov2Encoder, ViTEncoder
from lastmile.screen import SMALL_HEIGHT, SMALL_WIDTH

FRAME_COUNTS = 10
"""Most different numbers of frames that are encoded for the losses of batches of one size."""


class Frames(NamedTuple):
    """What the encoder makes of N frames.

    Attributes:
        cells: (N, rows, columns, C), features of the cells.
        patches: (N, rows, columns, pixels of a cell) uint8.
        vectors: (N, D), frame vectors.
        tokens: (N, P, D), what enters the transformer; the last token is read out.
    """

    cells: Tensor
    patches: Tensor
    vectors: Tensor
    tokens: Tensor


class Network(nn.Module):
    """Map the last screens and the previous click to the distribution of the next click.

    Screens are (126, 168, 3) uint8. Clicks are (x, y) in logical px, 0 <= x < 448 and
    0 <= y < 336; before the first click of an episode the previous one is (-1, -1). Each frame is
    encoded once.

    In the context `frame` a frame is one token: its frame vector plus the previous click. In the
    context `patch`, as published, the transformer sees the screens alone, without the previous
    click: one token per 14 x 14 px, and the frame vector as the token that is read out. The head
    `bins` sees only the context vector; the head `pointer` also sees the features of the frame.

    Args:
        settings: What to build.
        screen: (height, width) of the small screen in px.

    Attributes:
        settings: The settings it was built from.
        size: The widths and depths of `settings.size`.

    Raises:
        LastmileError: If the encoder cannot cut the screen into cells.
    """

    encoder: ConvEncoder | ViTEncoder | Dinov2Encoder
    head: PointerHead | BinsHead

    def __init__(
        self, settings: PolicySettings, screen: tuple[int, int] = (SMALL_HEIGHT, SMALL_WIDTH)
    ) -> None:
        super().__init__()
        size = SIZES[settings.size]
        self.settings = settings
        self.size = size
        # The order in which the modules are created fixes the random initial weights.
        if settings.encoder == "conv":
            self.encoder = ConvEncoder(size, screen)
        elif settings.encoder == "vit":
            self.encoder = ViTEncoder(size, screen)
        else:
            self.encoder = Dinov2Encoder(size, screen, settings.backbone)
        grid = (
            self.encoder.rows,
            self.encoder.columns,
            self.encoder.cell,
            self.encoder.channels,
        )
        if settings.context == "frame":
            self.previous = PreviousClick(self.encoder.channels, size.width)
        else:
            self.tokens = PatchTokens(*grid, size.width)
        self.context = Context(size)
        self.head = PointerHead(size, *grid) if settings.head == "pointer" else BinsHead(size)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def tokens_per_frame(self) -> int:
        """Number of tokens per frame, P."""
        return 1 if self.settings.context == "frame" else len(self.tokens.position) + 1

    def load_pretrained(self) -> None:
        """Give the encoder the pretrained weights that the settings ask for, if any.

        Raises:
            WeightsError: If they cannot be fetched, or belong to another network.
        """
        if isinstance(self.encoder, Dinov2Encoder) and self.settings.weights != "random":
            self.encoder.load_pretrained(self.settings.weights)

    def encode(self, screens: Tensor, previous: Tensor) -> Frames:
        """Encode frames, each on its own.

        Args:
            screens: (N, 126, 168, 3) uint8.
            previous: (N, 2), the click before each screen.
        """
        patches, cells, vectors = self.encoder(screens)
        if self.settings.context == "frame":
            tokens = (vectors + self.previous(cells, screens, previous.long()))[:, None]
        else:
            tokens = torch.cat([self.tokens(cells), vectors[:, None]], 1)
        return Frames(cells, patches, vectors, tokens)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the negative log-likelihood of every click of a batch of windows.

        Args:
            batch: `screens` (B, T, 126, 168, 3) uint8; `targets` and `previous` (B, T, 2);
                `mask` (B, T) bool, True for real frames, which come first in each window.

        Returns:
            (B, T) nats, 0 where the mask is False.
        """
        mask = batch["mask"]
        b, t = mask.shape
        index = frames_to_encode(mask)  # (N,)
        screens, previous, targets = (
            batch[name].flatten(0, 1).index_select(0, index)
            for name in ("screens", "previous", "targets")
        )
        nats = self.nats(screens, previous, targets, index, (b, t))
        return nats.new_zeros(b * t).index_copy(0, index, nats).view(b, t).where(mask, 0.0)

    def nats(
        self,
        screens: Tensor,
        previous: Tensor,
        targets: Tensor,
        index: Tensor,
        shape: tuple[int, int],
    ) -> Tensor:
        """Return the negative log-likelihood of the clicks of N frames of several windows.

        Args:
            screens: (N, 126, 168, 3) uint8.
            previous: (N, 2), the click before each screen.
            targets: (N, 2), the click on each screen; negative where none is to be learned.
            index: (N,), where each frame is in the flattened windows; no number twice.
            shape: (B, T), number and length of the windows.

        Returns:
            (N,) nats, 0 where nothing is to be learned.
        """
        frames = self.encode(screens, previous)

        # Back into windows for the transformer, and out of them again for the head.
        b, t = shape
        tokens = frames.tokens.new_zeros(b * t, *frames.tokens.shape[1:]).index_copy(
            0, index, frames.tokens
        )
        context = self.context(tokens.unflatten(0, shape)).flatten(0, 1)[index]
        nats = self.head.loss(context, frames.cells, frames.patches, targets.clamp_min(0))
        return nats.where((targets >= 0).all(-1), 0.0)


def frames_to_encode(mask: Tensor) -> Tensor:
    """Return indices of all real frames, and of some padding to make their number a round one.

    oneDNN compiles its kernels for each new number of frames, which takes about as long as the
    update itself; with few different numbers it finds them in its cache.

    Args:
        mask: (B, T) bool, True for real frames.

    Returns:
        (N,) indices into the flattened mask, the real frames first.
    """
    grain = math.ceil(mask.numel() / FRAME_COUNTS)
    count = min(math.ceil(int(mask.sum()) / grain) * grain, mask.numel())
    return (~mask.flatten()).byte().argsort(stable=True)[:count]
