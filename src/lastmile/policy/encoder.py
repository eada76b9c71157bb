"""From a screen to features on a grid and one vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.errors import LastmileError
from lastmile.policy.sizes import CELL, Size


class Block(nn.Module):
    """A pre-norm residual block of two 3 x 3 convolutions; at the start it is the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, H, W, C) -> same
        # Channels stay last in memory: the permuted view is what oneDNN calls channels_last, so no convolution copies anything.
        y = self.norm(x).permute(0, 3, 1, 2)
        y = self.second(F.relu(self.first(y), inplace=True))
        return x + y.permute(0, 2, 3, 1)


class Texture(nn.Module):
    """What things look like, wherever they are: two small strided convolutions over all pixels, to a map of a third, then a sixth of the height
    and width. Cells are cut without overlap, so to the stem the same spot looks different at each place within a cell; here it does not."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels // 2, 6, stride=3, padding=2)
        self.second = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1)

    def forward(
        self, screens: Tensor
    ) -> Tensor:  # (N, height, width, 3) uint8 -> (N, C, height / 6, width / 6)
        return F.relu(
            self.second(F.relu(self.first(pixels(screens).permute(0, 3, 1, 2)), inplace=True)),
            inplace=True,
        )


class ConvEncoder(nn.Module):
    """Convolutions from scratch.

    A stem of one matrix product for each 7 x 7 pixel cell, residual blocks on the grid of cells, then on the grid merged two by two, whose
    features are added back to the cells they came from. Every cell so sees 5 x 5 cells finely and about 14 x 14 coarsely; what is
    further away reaches it through the frame vector. That is a linear map of all coarse cells, which keeps positions, plus one of the mean and
    maximum of them and of the textures, which tells what there is wherever it is. Textures enter the merged grid as their maximum over each cell.

    On a CPU nearly all time goes into large 3 x 3 convolutions, which oneDNN runs at the rate of a plain matrix product; depthwise
    convolutions with 1 x 1 products need fewer operations but run at a third of that rate.

    screen: (height, width) of the small screen in px. Raises ValueError if it cannot be cut into an even number of 7 px cells each way.
    """

    cell = CELL

    def __init__(self, size: Size, screen: tuple[int, int]) -> None:
        super().__init__()
        height, width = screen
        if height <= 0 or width <= 0 or height % (2 * CELL) or width % (2 * CELL):
            raise LastmileError(
                f"screen: the encoder needs a height and width divisible by {2 * CELL} px, got {height} x {width}"
            )
        self.screen = (height, width)
        self.rows, self.columns = height // CELL, width // CELL
        self.channels = size.fine
        self.stem = nn.Linear(CELL * CELL * 3, size.fine)
        self.position = nn.Parameter(0.02 * torch.randn(self.rows, self.columns, size.fine))
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
        """(N, height, width, 3) uint8 -> the pixels of the cells (N, rows, columns, 7 * 7 * 3) uint8, their features (N, rows, columns, C), and frame
        vectors (N, D)."""
        patches = cut(screens, self.screen, CELL)
        n, half_rows, half_columns = len(patches), self.rows // 2, self.columns // 2
        x = F.relu(self.stem(pixels(patches)) + self.position)  # (N, H, W, C)
        for block in self.fine:
            x = block(x)
        merged = x.reshape(n, half_rows, 2, half_columns, 2, -1).permute(0, 1, 3, 2, 4, 5)
        texture = self.texture(screens)  # (N, X, height / 6, width / 6)
        strongest = F.adaptive_max_pool2d(texture, (half_rows, half_columns)).permute(0, 2, 3, 1)
        z = self.merge(merged.reshape(n, half_rows, half_columns, -1)) + self.textured(
            strongest
        )  # (N, H/2, W/2, K)
        for block in self.coarse:
            z = block(z)
        z = F.relu(z)
        pooled = torch.cat(
            [z.mean((1, 2)), z.amax((1, 2)), texture.mean((2, 3)), strongest.amax((1, 2))], 1
        )  # (N, 2 (K + X))
        vector = self.vector(self.vector_norm(self.squeeze(z).flatten(1))) + self.anywhere(
            self.anywhere_norm(pooled)
        )  # (N, D)
        # Each coarse cell is added to its four: rows are doubled by a copy, since the sum that is the gradient of that is far faster than one over two axes.
        doubled = (
            self.up(z)[:, :, None]
            .expand(-1, -1, 2, -1, -1)
            .reshape(n, self.rows, half_columns, 1, -1)
        )
        x = x.reshape(n, self.rows, half_columns, 2, -1) + doubled
        return patches, self.norm(x.reshape(n, self.rows, self.columns, -1)), vector


def pixels(values: Tensor) -> Tensor:
    """uint8 -> float about 0 for a dark theme's background, so that what differs between screens is not small beside what is on all.

    Under autocast the values are of its type at once: bfloat16 holds all of them exactly."""
    kind = values.device.type
    return (
        values.to(
            torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        )
        .sub_(48)
        .mul_(1 / 64)
    )


def cut(screens: Tensor, screen: tuple[int, int], side: int) -> Tensor:
    """(N, height, width, 3) uint8 -> (N, rows, columns, side * side * 3) uint8, the pixels of each square cell.

    Raises ValueError for screens of another size than `screen`.
    """
    height, width = screen
    if tuple(screens.shape[1:]) != (height, width, 3):
        raise LastmileError(
            f"screens: expected (frames, {height}, {width}, 3), got {tuple(screens.shape)}"
        )
    x = screens.reshape(-1, height // side, side, width // side, side, 3).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, height // side, width // side, side * side * 3)
