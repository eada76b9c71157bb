"""From a screen to features on a grid of cells and one vector: convolutions from scratch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.errors import LastmileError
from lastmile.policy.outline import small_parameter
from lastmile.policy.sizes import CELL, Size


class Block(nn.Module):
    """A pre-norm residual block of two 3 x 3 convolutions, initially the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        # Channels stay last in memory: the permuted view is what oneDNN calls channels_last, so
        # that no convolution copies anything.
        y = self.norm(x).permute(0, 3, 1, 2)
        y = self.second(F.relu(self.first(y), inplace=True))
        return x + y.permute(0, 2, 3, 1)


class Texture(nn.Module):
    """Features of what things look like, independent of where they are.

    Two strided convolutions over all pixels, to a map of a sixth of the height and width. The stem
    cuts cells without overlap, so that the same spot looks different to it at each place within a
    cell; here it does not.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels // 2, 6, stride=3, padding=2)
        self.second = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1)

    def forward(self, screens: Tensor) -> Tensor:
        """(N, height, width, 3) uint8 -> (N, C, height / 6, width / 6)."""
        third = F.relu(self.first(scale_pixels(screens).permute(0, 3, 1, 2)), inplace=True)
        return F.relu(self.second(third), inplace=True)


class ConvEncoder(nn.Module):
    """Encode screens with convolutions from scratch.

    A stem of one matrix product per cell of 7 x 7 px; residual blocks on the grid of cells; then
    residual blocks on the grid merged two by two, whose features are added back to the cells that
    they came from. So each cell sees 5 x 5 cells finely and about 14 x 14 coarsely; what is further
    away reaches it through the frame vector. That vector is a linear map of all coarse cells, which
    keeps positions, plus one of the mean and maximum of cells and textures, which says what is on
    the screen wherever it is. Textures enter the merged grid as their maximum over each cell.

    On a CPU nearly all time goes into large 3 x 3 convolutions, which oneDNN runs at the rate of a
    plain matrix product. Depthwise convolutions with 1 x 1 products need fewer operations but run
    at a third of that rate.

    Args:
        size: Widths and depths.
        screen: (height, width) of the small screen in px.

    Raises:
        LastmileError: If the screen is not an even number of 7 px cells high and wide.
    """

    cell = CELL

    def __init__(self, size: Size, screen: tuple[int, int]) -> None:
        super().__init__()
        height, width = screen
        if height <= 0 or width <= 0 or height % (2 * CELL) or width % (2 * CELL):
            raise LastmileError(
                f"screen: the encoder needs a height and width divisible by {2 * CELL} px, "
                f"got {height} x {width}"
            )
        self.screen = (height, width)
        self.rows = height // CELL
        self.columns = width // CELL
        self.channels = size.fine

        self.stem = nn.Linear(CELL * CELL * 3, size.fine)
        self.position = small_parameter(self.rows, self.columns, size.fine)
        self.fine = nn.ModuleList(Block(size.fine) for _ in range(size.fine_blocks))
        self.merge = nn.Linear(4 * size.fine, size.coarse)
        self.texture = Texture(size.texture)
        self.textured = nn.Linear(size.texture, size.coarse)
        self.coarse = nn.ModuleList(Block(size.coarse) for _ in range(size.coarse_blocks))
        self.up = nn.Linear(size.coarse, size.fine)
        self.norm = nn.LayerNorm(size.fine)

        self.squeeze = nn.Linear(size.coarse, size.squeeze)
        flat = self.rows // 2 * (self.columns // 2) * size.squeeze
        self.vector_norm = nn.LayerNorm(flat)
        self.vector = nn.Linear(flat, size.width)
        self.anywhere_norm = nn.LayerNorm(2 * (size.coarse + size.texture))
        self.anywhere = nn.Linear(2 * (size.coarse + size.texture), size.width)

    def forward(self, screens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode screens.

        Args:
            screens: (N, height, width, 3) uint8.

        Returns:
            The pixels of the cells, (N, rows, columns, 7 * 7 * 3) uint8; their features,
            (N, rows, columns, C); and frame vectors, (N, D).
        """
        patches = cut_cells(screens, self.screen, CELL)
        n = len(patches)
        half_rows = self.rows // 2
        half_columns = self.columns // 2

        x = F.relu(self.stem(scale_pixels(patches)) + self.position)  # (N, H, W, C)
        for block in self.fine:
            x = block(x)

        merged = x.reshape(n, half_rows, 2, half_columns, 2, -1).permute(0, 1, 3, 2, 4, 5)
        texture = self.texture(screens)  # (N, X, height / 6, width / 6)
        strongest = F.adaptive_max_pool2d(texture, (half_rows, half_columns)).permute(0, 2, 3, 1)
        # (N, H / 2, W / 2, K)
        z = self.merge(merged.reshape(n, half_rows, half_columns, -1)) + self.textured(strongest)
        for block in self.coarse:
            z = block(z)
        z = F.relu(z)

        pooled = torch.cat(
            [z.mean((1, 2)), z.amax((1, 2)), texture.mean((2, 3)), strongest.amax((1, 2))], 1
        )  # (N, 2 (K + X))
        vector = self.vector(self.vector_norm(self.squeeze(z).flatten(1))) + self.anywhere(
            self.anywhere_norm(pooled)
        )  # (N, D)

        # Add each coarse cell to its four fine ones. Rows are doubled by a copy and columns by
        # broadcasting: the gradient is then a sum over one axis, far faster than one over two.
        doubled = (
            self.up(z)[:, :, None]
            .expand(-1, -1, 2, -1, -1)
            .reshape(n, self.rows, half_columns, 1, -1)
        )
        x = x.reshape(n, self.rows, half_columns, 2, -1) + doubled
        return patches, self.norm(x.reshape(n, self.rows, self.columns, -1)), vector


def scale_pixels(values: Tensor) -> Tensor:
    """Scale uint8 pixels to floats, with the background of a dark theme near 0.

    So what differs between screens is not small beside what all of them share. Under autocast the
    result has its type at once: bfloat16 holds all of these values exactly.
    """
    kind = values.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    return values.to(dtype).sub_(48).mul_(1 / 64)


def cut_cells(screens: Tensor, screen: tuple[int, int], side: int) -> Tensor:
    """Cut screens into square cells.

    Args:
        screens: (N, height, width, 3) uint8.
        screen: The (height, width) that is expected.
        side: Side of a cell in px.

    Returns:
        The pixels of each cell, (N, rows, columns, side * side * 3) uint8.

    Raises:
        LastmileError: For screens of another size than `screen`.
    """
    height, width = screen
    if tuple(screens.shape[1:]) != (height, width, 3):
        raise LastmileError(
            f"screens: expected (frames, {height}, {width}, 3), got {tuple(screens.shape)}"
        )
    x = screens.reshape(-1, height // side, side, width // side, side, 3).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, height // side, width // side, side * side * 3)
