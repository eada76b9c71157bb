"""From a context vector and the features of a frame to a click.

Both heads answer the same questions: `loss`, the negative log-likelihood of a click in nats;
`mode`, the most likely click; `sample`, a random one; `chance`, the probability of a rectangle. A
likelihood is that of the click's bin. Randomness comes in as uniform numbers, one row per frame, so
that a click depends on nothing else in the batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.errors import LastmileError
from lastmile.policy.encoder import scale_pixels
from lastmile.policy.sizes import Size
from lastmile.screen import HEIGHT, WIDTH

AROUND = 3
"""Pixels beyond the cell that the choice of the place inside it sees."""


def bin_of(click: Tensor) -> Tensor:
    """Return the pointer bin of a coordinate in logical px, along either axis: floor(3/4 click).

    There are two bins per pixel of the small screen. A bin is 4/3 logical px wide and so holds one
    or two whole pixels.
    """
    return click * 3 // 4


def click_of(bins: Tensor) -> Tensor:
    """Return the whole logical px nearest to the center of its pointer bin: ceil(4/3 bin).

    The inverse of `bin_of` on bins.
    """
    return (bins * 4 + 2) // 3


class PointerHead(nn.Module):
    """Choose a cell of the grid by its features, then a place inside it.

    A cell of 7 px has 14 x 14 places (bins), one of 14 px has 28 x 28. The place is chosen from a
    map: small convolutions over the pixels of the cell and 3 px around it, conditioned on the
    cell's feature and the context vector. So what is learned about a spot at one place of a cell
    holds at all places.

    Clicks inside a button are jittered and spread over several cells, while a placement falls into
    one; picking the most likely *cell* would favor placements. So with p the probabilities of the
    cells and m the mass of the 3 x 3 cells around each, the mode is the most likely cell inside the
    3 x 3 window of largest mass, and at temperature T cells are drawn with weights p m^(1/T - 1).
    This is exact at T = 1 and p^(1/T) for a lone peak; a spread-out region counts as one mode whose
    inside keeps its shape.

    Args:
        size: Widths and depths.
        rows: Rows of cells.
        columns: Columns of cells.
        cell: Side of a cell, in px of the small screen.
        channels: Channels of a cell's feature.

    Raises:
        LastmileError: If the cells do not cover the screen.
    """

    def __init__(self, size: Size, rows: int, columns: int, cell: int, channels: int) -> None:
        super().__init__()
        self.cell = cell
        self.sub = 2 * cell  # bins across a cell
        if (rows * self.sub, columns * self.sub) != (HEIGHT * 3 // 4, WIDTH * 3 // 4):
            raise LastmileError(
                f"the pointer head needs cells that cover the screen of {HEIGHT} x {WIDTH} px, "
                f"got {rows} x {columns} of {cell} px"
            )
        self.rows = rows
        self.columns = columns
        self.cell_key = nn.Linear(channels, channels)
        self.cell_query = nn.Linear(size.width, channels)
        self.cell_score = nn.Linear(channels, 1, bias=False)
        self.cell_prior = nn.Linear(size.width, rows * columns)
        self.place_near = nn.Conv2d(3, size.place, 5)
        self.place_far = nn.Conv2d(size.place, size.place, 3)
        self.place_cell = nn.Linear(channels, size.place)
        self.place_context = nn.Linear(size.width, size.place)
        self.place = nn.Conv2d(size.place, 4, 1)
        self.place_prior = nn.Linear(channels, self.sub * self.sub)
        for layer in (self.cell_prior, self.place, self.place_prior):
            nn.init.zeros_(layer.weight)

    def cell_logits(self, context: Tensor, cells: Tensor) -> Tensor:
        """Return the logits of the cells.

        Args:
            context: (N, D).
            cells: (N, rows, columns, C).

        Returns:
            (N, rows * columns), row by row.
        """
        # (N, rows, columns, C)
        joint = F.relu(self.cell_key(cells) + self.cell_query(context)[:, None, None])
        return self.cell_score(joint).flatten(1) + self.cell_prior(context)

    def place_logits(self, context: Tensor, cells: Tensor, patches: Tensor, cell: Tensor) -> Tensor:
        """Return the logits of the bins inside the given cells.

        Args:
            context: (N, D).
            cells: (N, rows, columns, C).
            patches: (N, rows, columns, pixels of a cell) uint8.
            cell: (N,), index of a cell for each frame.

        Returns:
            (N, sub * sub), row by row.
        """
        n = len(cell)
        index = torch.arange(len(cell), device=cell.device)
        row = cell // self.columns
        column = cell % self.columns

        # The pixels of the 3 x 3 cells around; past the edge of the screen the nearest cell is
        # repeated.
        near = torch.arange(-1, 2, device=cell.device)
        rows = (row[:, None] + near).clamp(0, self.rows - 1)[:, :, None]  # (N, 3, 1)
        columns = (column[:, None] + near).clamp(0, self.columns - 1)[:, None]  # (N, 1, 3)
        # Rows and columns of cells, then of pixels, then channels.
        around = patches[index[:, None, None], rows, columns].view(n, 3, 3, self.cell, self.cell, 3)
        around = around.permute(0, 5, 1, 3, 2, 4).reshape(n, 3, 3 * self.cell, 3 * self.cell)

        # The convolutions lose AROUND px on each side, which leaves the cell itself.
        inner = slice(self.cell - AROUND, 2 * self.cell + AROUND)
        seen = self.place_far(
            F.relu(self.place_near(scale_pixels(around[:, :, inner, inner])))
        )  # (N, P, cell, cell)
        feature = cells[index, row, column]  # (N, C)
        wanted = self.place_cell(feature) + self.place_context(context)  # (N, P)
        # (N, 4, cell, cell): four bins per pixel.
        quarters = self.place(F.relu(seen + wanted[:, :, None, None]))
        return F.pixel_shuffle(quarters, 2).flatten(1) + self.place_prior(feature)

    def loss(self, context: Tensor, cells: Tensor, patches: Tensor, clicks: Tensor) -> Tensor:
        """Return the negative log-likelihood of clicks, (N,) nats.

        Args:
            context: (N, D).
            cells: (N, rows, columns, C).
            patches: (N, rows, columns, pixels of a cell) uint8.
            clicks: (N, 2) logical px.
        """
        bins = bin_of(clicks.long())
        cell = bins[:, 1] // self.sub * self.columns + bins[:, 0] // self.sub
        inside = bins[:, 1] % self.sub * self.sub + bins[:, 0] % self.sub
        place = F.cross_entropy(
            self.place_logits(context, cells, patches, cell).float(), inside, reduction="none"
        )
        return (
            F.cross_entropy(self.cell_logits(context, cells).float(), cell, reduction="none")
            + place
        )

    def mode(self, context: Tensor, cells: Tensor, patches: Tensor) -> Tensor:
        """Return the most likely clicks, (N, 2) int64 logical px.

        Args:
            context: (N, D).
            cells: (N, rows, columns, C).
            patches: (N, rows, columns, pixels of a cell) uint8.
        """
        p = self.cell_logits(context, cells).float().softmax(-1)
        heaviest = self._mass(p).argmax(-1, keepdim=True)  # (N, 1)
        cell = torch.arange(p.shape[1], device=p.device)
        distance = torch.maximum(
            (cell // self.columns - heaviest // self.columns).abs(),
            (cell % self.columns - heaviest % self.columns).abs(),
        )
        cell = p.masked_fill(distance > 1, -1.0).argmax(-1)
        return self._click(cell, self.place_logits(context, cells, patches, cell).argmax(-1))

    def sample(
        self, context: Tensor, cells: Tensor, patches: Tensor, temperature: float, uniforms: Tensor
    ) -> Tensor:
        """Draw clicks, (N, 2) int64 logical px.

        Args:
            context: (N, D).
            cells: (N, rows, columns, C).
            patches: (N, rows, columns, pixels of a cell) uint8.
            temperature: Above 0; 1 draws from the distribution itself.
            uniforms: (N, 2) in [0, 1), for the cell and for the place in it.
        """
        p = self.cell_logits(context, cells).double().softmax(-1)
        # Divided by the largest mass, so that the power does not underflow everywhere.
        mass = self._mass(p)
        weights = p * (mass / mass.amax(-1, keepdim=True)) ** (1 / temperature - 1)
        cell = draw(weights, uniforms[:, 0])
        place = (self.place_logits(context, cells, patches, cell).double() / temperature).softmax(
            -1
        )
        return self._click(cell, draw(place, uniforms[:, 1]))

    def _mass(self, p: Tensor) -> Tensor:
        """Sum (N, cells) probabilities over the 3 x 3 cells around each; none beyond the edge."""
        return (
            F.avg_pool2d(p.view(-1, 1, self.rows, self.columns), 3, stride=1, padding=1).flatten(1)
            * 9
        )

    def chance(
        self, context: Tensor, cells: Tensor, patches: Tensor, rect: tuple[int, int, int, int]
    ) -> Tensor:
        """Return the probability, (N,), that the click falls into a rectangle.

        Args:
            context: (N, D).
            cells: (N, rows, columns, C).
            patches: (N, rows, columns, pixels of a cell) uint8.
            rect: (x, y, width, height) in logical px.
        """
        x, y, width, height = rect
        across = click_of(torch.arange(self.columns * self.sub))
        down = click_of(torch.arange(self.rows * self.sub))
        # Which bins of each column and row of cells are in the rectangle.
        across_in = ((x <= across) & (across < x + width)).view(-1, self.sub)  # (columns, sub)
        down_in = ((y <= down) & (down < y + height)).view(-1, self.sub)  # (rows, sub)

        cell = self.cell_logits(context, cells).float().softmax(-1)
        total = torch.zeros(len(context), device=context.device)
        for row in down_in.any(1).nonzero()[:, 0].tolist():
            for column in across_in.any(1).nonzero()[:, 0].tolist():
                number = row * self.columns + column
                index = torch.full((len(context),), number, device=context.device)
                place = self.place_logits(context, cells, patches, index).float().softmax(-1)
                inside = (down_in[row][:, None] & across_in[column]).flatten().to(context.device)
                total = total + cell[:, number] * place[:, inside].sum(-1)
        return total

    def _click(self, cell: Tensor, inside: Tensor) -> Tensor:
        """Return the clicks, (N, 2) logical px, of cells and of bins inside them, both (N,)."""
        x = cell % self.columns * self.sub + inside % self.sub
        y = cell // self.columns * self.sub + inside // self.sub
        return click_of(torch.stack([x, y], 1))


class BinsHead(nn.Module):
    """Two softmaxes over 112 bins of x and 84 of y, from the context vector alone, as published.

    A bin is 4 logical px wide. The methods take the features of the frame, as those of
    `PointerHead` do, and ignore them.

    Args:
        size: Widths and depths.
    """

    PX = 4
    """Width of a bin in logical px."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.x = nn.Linear(size.width, WIDTH // self.PX)
        self.y = nn.Linear(size.width, HEIGHT // self.PX)

    def loss(self, context: Tensor, cells: Tensor, patches: Tensor, clicks: Tensor) -> Tensor:
        """Return the negative log-likelihood of clicks, (N, 2) logical px, as (N,) nats."""
        bins = clicks.long() // self.PX
        x = F.cross_entropy(self.x(context).float(), bins[:, 0], reduction="none")
        return x + F.cross_entropy(self.y(context).float(), bins[:, 1], reduction="none")

    def mode(self, context: Tensor, cells: Tensor, patches: Tensor) -> Tensor:
        """Return the most likely clicks, (N, 2) int64 logical px."""
        return self._click(self.x(context).argmax(-1), self.y(context).argmax(-1))

    def sample(
        self, context: Tensor, cells: Tensor, patches: Tensor, temperature: float, uniforms: Tensor
    ) -> Tensor:
        """Draw clicks, (N, 2) int64 logical px, from (N, 2) uniforms for x and y."""
        x, y = ((linear(context).double() / temperature).softmax(-1) for linear in (self.x, self.y))
        return self._click(draw(x, uniforms[:, 0]), draw(y, uniforms[:, 1]))

    def chance(
        self, context: Tensor, cells: Tensor, patches: Tensor, rect: tuple[int, int, int, int]
    ) -> Tensor:
        """Return the probability, (N,), that the click falls into (x, y, width, height)."""
        total = torch.ones(len(context), device=context.device)
        for linear, first, length in ((self.x, rect[0], rect[2]), (self.y, rect[1], rect[3])):
            clicks = (
                torch.arange(linear.out_features, device=context.device) * self.PX + self.PX // 2
            )
            inside = (first <= clicks) & (clicks < first + length)
            total = total * linear(context).float().softmax(-1)[:, inside].sum(-1)
        return total

    def _click(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the middles of bins, (N, 2) logical px."""
        return torch.stack([x, y], 1) * self.PX + self.PX // 2


def draw(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Draw indices by the inverse of the cumulative distribution.

    Args:
        weights: (N, K), not negative, not all zero.
        uniforms: (N,) in [0, 1).

    Returns:
        (N,) indices.
    """
    cumulative = weights.double().cumsum(-1)
    index = torch.searchsorted(
        cumulative, uniforms.double()[:, None] * cumulative[:, -1:], right=True
    )[:, 0]
    # Rounding may carry a uniform near 1 past the end: then take the last index with any weight.
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())[:, 0]
    return torch.minimum(index, last)
