"""What enters the transformer: the previous click, and the cells of a frame as tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.policy.encoder import scale_pixels
from lastmile.policy.outline import small_parameter
from lastmile.policy.sizes import PATCH
from lastmile.screen import HEIGHT, WIDTH


class PreviousClick(nn.Module):
    """Embed the previous click: where it was, and what is there now, which shows a mistake.

    What is there enters twice: as the feature of the cell, and as the pixels around the click.
    These are cut out with the click in the middle, so that the look of a marker that missed its
    target is learned once and not anew for every place on the screen.

    Args:
        channels: Channels of a cell's feature.
        width: Width of the transformer.
    """

    FREQUENCIES = 8
    """Octaves of the sines and cosines of each coordinate."""
    REACH = 12
    """Pixels of the small screen cut out on each side of the click."""

    octaves: Tensor
    extent: Tensor

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.place = nn.Linear(4 * self.FREQUENCIES, width)
        self.found = nn.Linear(channels, width)
        self.near = nn.Conv2d(3, 24, 5, stride=2)
        self.far = nn.Conv2d(24, 48, 3, stride=2)
        self.looked = nn.Linear(48 * 4 * 4, width)
        self.start = small_parameter(width)
        octaves = torch.arange(self.FREQUENCIES, device="cpu")
        self.register_buffer("octaves", torch.pi * 2.0**octaves, persistent=False)
        extent = torch.tensor([WIDTH, HEIGHT], dtype=torch.float32, device="cpu")
        self.register_buffer("extent", extent, persistent=False)

    def forward(self, cells: Tensor, screens: Tensor, previous: Tensor) -> Tensor:
        """Embed the clicks before N frames.

        Args:
            cells: (N, rows, columns, C), features of the frames.
            screens: (N, 126, 168, 3) uint8.
            previous: (N, 2) int64 logical px; negative before the first click of an episode.

        Returns:
            (N, D).
        """
        rows, columns = cells.shape[1:3]
        before_first = previous[:, :1] < 0  # (N, 1)
        click = previous.clamp_min(0)
        index = torch.arange(len(click), device=click.device)
        x = click[:, 0]
        y = click[:, 1]

        # (N, 2, FREQUENCIES)
        angles = (click.float() / self.extent)[:, :, None] * self.octaves
        where = self.place(torch.cat([angles.sin(), angles.cos()], -1).flatten(1))
        feature = self.found(cells[index, y * rows // HEIGHT, x * columns // WIDTH])

        height, width = screens.shape[1:3]
        reach = torch.arange(-self.REACH, self.REACH, device=click.device)
        # Past the edge of the screen its last pixel is repeated.
        down = ((y * height // HEIGHT)[:, None] + reach).clamp(0, height - 1)[:, :, None]
        across = ((x * width // WIDTH)[:, None] + reach).clamp(0, width - 1)[:, None]
        # down is (N, 24, 1) and across (N, 1, 24), so around is (N, 3, 24, 24).
        around = scale_pixels(screens[index[:, None, None], down, across]).permute(0, 3, 1, 2)
        look = self.looked(F.relu(self.far(F.relu(self.near(around)))).flatten(1))
        return torch.where(before_first, self.start, where + feature + look)


class PatchTokens(nn.Module):
    """The cells of a frame as tokens of the transformer, one per 14 x 14 px.

    Maps (N, rows, columns, C) to (N, P, D). Smaller cells are merged.

    Args:
        rows: Rows of cells.
        columns: Columns of cells.
        cell: Side of a cell in px.
        channels: Channels of a cell's feature.
        width: Width of the transformer.
    """

    def __init__(self, rows: int, columns: int, cell: int, channels: int, width: int) -> None:
        super().__init__()
        self.merged = PATCH // cell
        self.project = nn.Linear(self.merged**2 * channels, width)
        patches = rows // self.merged * (columns // self.merged)
        self.position = small_parameter(patches, width)

    def forward(self, cells: Tensor) -> Tensor:
        """(N, rows, columns, C) -> (N, P, D)."""
        n, rows, columns, channels = cells.shape
        k = self.merged
        x = cells.reshape(n, rows // k, k, columns // k, k, channels).permute(0, 1, 3, 2, 4, 5)
        return self.project(x.reshape(n, -1, k * k * channels)) + self.position
