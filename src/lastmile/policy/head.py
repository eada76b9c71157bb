"""From a context vector and the features of a frame to a click.

Both heads answer three questions: `loss`, the negative log-likelihood of a click in nats, up to the size of a bin; `mode`, the most likely click;
`sample`, a random one. Randomness comes in as uniform numbers, one row for each frame, so that a click depends on nothing else in the batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.errors import LastmileError
from lastmile.policy.encoder import pixels
from lastmile.policy.sizes import Size
from lastmile.screen import HEIGHT, WIDTH

AROUND = 3
"""Pixels beyond the cell that the choice of the place inside it sees."""


def bin_of(click: Tensor) -> Tensor:
    """Logical px -> pointer bin, along either axis: floor(3/4 click). There are two to a pixel of the small screen; a bin is 4/3 logical px wide and
    so holds one or two whole pixels."""
    return click * 3 // 4


def click_of(bins: Tensor) -> Tensor:
    """Pointer bin -> the whole logical px in it that is nearest to its centre: ceil(4/3 bin). `bin_of` undoes it."""
    return (bins * 4 + 2) // 3


class PointerHead(nn.Module):
    """Choose a cell of the grid by its features, then one of the places inside it: 14 x 14 in a cell of 7 px, 28 x 28 in one of 14 px.

    The place is chosen from a map: small convolutions over the pixels of the cell and 3 px around it, to which the chosen cell's feature and
    the context vector say what is looked for; what is learned about a spot at one place of a cell so holds at all places.

    Clicks inside a button are jittered and so spread over several cells, while a placement lies in one: the most likely *cell* would
    favour placements. So with p the probabilities of the cells and m the mass of the 3 x 3 cells around each, the mode is the most likely
    cell inside the 3 x 3 window of largest mass, and at temperature T cells are drawn with weights p m^(1/T - 1): exact at T = 1, p^(1/T)
    for a lone peak, and a spread-out region counts as one mode whose inside keeps its shape.
    """

    def __init__(self, size: Size, rows: int, columns: int, cell: int, channels: int) -> None:
        super().__init__()
        self.cell, self.sub = cell, 2 * cell  # px of the small screen, and bins, across a cell
        if (rows * self.sub, columns * self.sub) != (HEIGHT * 3 // 4, WIDTH * 3 // 4):
            raise LastmileError(
                f"the pointer head needs cells that cover the screen of {HEIGHT} x {WIDTH} px, got {rows} x {columns} of {cell} px"
            )
        self.rows, self.columns = rows, columns
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
        """context: (N, D). cells: (N, rows, columns, C). Returns (N, rows * columns)."""
        joint = F.relu(
            self.cell_key(cells) + self.cell_query(context)[:, None, None]
        )  # (N, H, W, C)
        return self.cell_score(joint).flatten(1) + self.cell_prior(context)

    def place_logits(self, context: Tensor, cells: Tensor, patches: Tensor, cell: Tensor) -> Tensor:
        """Logits of the bins inside the chosen `cell`, (N,): (N, sub * sub), row by row."""
        n, index = len(cell), torch.arange(len(cell), device=cell.device)
        row, column = cell // self.columns, cell % self.columns
        # Past the edge of the screen the nearest cell is repeated.
        near = torch.arange(-1, 2, device=cell.device)
        rows = (row[:, None] + near).clamp(0, self.rows - 1)[:, :, None]  # (N, 3, 1)
        columns = (column[:, None] + near).clamp(0, self.columns - 1)[:, None]  # (N, 1, 3)
        around = patches[index[:, None, None], rows, columns].view(
            n, 3, 3, self.cell, self.cell, 3
        )  # rows, columns of cells, then of pixels
        around = around.permute(0, 5, 1, 3, 2, 4).reshape(n, 3, 3 * self.cell, 3 * self.cell)
        inner = slice(self.cell - AROUND, 2 * self.cell + AROUND)
        seen = self.place_far(
            F.relu(self.place_near(pixels(around[:, :, inner, inner])))
        )  # (N, P, cell, cell)
        feature = cells[index, row, column]
        wanted = self.place_cell(feature) + self.place_context(context)  # (N, P)
        quarters = self.place(
            F.relu(seen + wanted[:, :, None, None])
        )  # (N, 4, cell, cell): the four bins of each pixel
        return F.pixel_shuffle(quarters, 2).flatten(1) + self.place_prior(feature)

    def loss(self, context: Tensor, cells: Tensor, patches: Tensor, clicks: Tensor) -> Tensor:
        """clicks: (N, 2) logical px. Returns (N,) nats."""
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
        """(N, 2) clicks in logical px."""
        p = self.cell_logits(context, cells).float().softmax(-1)
        best = self._mass(p).argmax(-1, keepdim=True)  # (N, 1)
        cell = torch.arange(p.shape[1], device=p.device)
        apart = torch.maximum(
            (cell // self.columns - best // self.columns).abs(),
            (cell % self.columns - best % self.columns).abs(),
        )
        cell = p.masked_fill(apart > 1, -1.0).argmax(-1)
        return self._click(cell, self.place_logits(context, cells, patches, cell).argmax(-1))

    def sample(
        self, context: Tensor, cells: Tensor, patches: Tensor, temperature: float, uniforms: Tensor
    ) -> Tensor:
        """(N, 2) clicks in logical px. uniforms: (N, 2) in [0, 1), for the cell and the place in it."""
        p = self.cell_logits(context, cells).double().softmax(-1)
        # m is divided by its largest value so that no power underflows everywhere.
        m = self._mass(p)
        weights = p * (m / m.amax(-1, keepdim=True)) ** (1 / temperature - 1)
        cell = draw(weights, uniforms[:, 0])
        place = (self.place_logits(context, cells, patches, cell).double() / temperature).softmax(
            -1
        )
        return self._click(cell, draw(place, uniforms[:, 1]))

    def _mass(self, p: Tensor) -> Tensor:
        """(N, cells) probabilities -> (N, cells) sums over the 3 x 3 cells around each; beyond the edge is nothing."""
        return (
            F.avg_pool2d(p.view(-1, 1, self.rows, self.columns), 3, stride=1, padding=1).flatten(1)
            * 9
        )

    def chance(
        self, context: Tensor, cells: Tensor, patches: Tensor, rect: tuple[int, int, int, int]
    ) -> Tensor:
        """The probability, (N,), that the click falls into a rectangle (x, y, width, height), logical px."""
        x, y, width, height = rect
        across, down = (
            click_of(torch.arange(self.columns * self.sub)),
            click_of(torch.arange(self.rows * self.sub)),
        )
        across, down = (
            ((x <= across) & (across < x + width)).view(-1, self.sub),
            ((y <= down) & (down < y + height)).view(-1, self.sub),
        )
        cell = self.cell_logits(context, cells).float().softmax(-1)
        total = torch.zeros(len(context), device=context.device)
        for row in down.any(1).nonzero()[:, 0].tolist():
            for column in across.any(1).nonzero()[:, 0].tolist():
                number = row * self.columns + column
                index = torch.full((len(context),), number, device=context.device)
                place = self.place_logits(context, cells, patches, index).float().softmax(-1)
                kept = (down[row][:, None] & across[column]).flatten().to(context.device)
                total = total + cell[:, number] * place[:, kept].sum(-1)
        return total

    def _click(self, cell: Tensor, inside: Tensor) -> Tensor:
        """cell, inside: (N,) -> (N, 2) logical px."""
        x = cell % self.columns * self.sub + inside % self.sub
        y = cell // self.columns * self.sub + inside // self.sub
        return click_of(torch.stack([x, y], 1))


class BinsHead(nn.Module):
    """Two softmaxes, over 112 bins of x and 84 of y (4 logical px each), from the context vector alone, as published."""

    PX = 4

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.x = nn.Linear(size.width, WIDTH // self.PX)
        self.y = nn.Linear(size.width, HEIGHT // self.PX)

    def loss(self, context: Tensor, cells: Tensor, patches: Tensor, clicks: Tensor) -> Tensor:
        """clicks: (N, 2) logical px. Returns (N,) nats."""
        bins = clicks.long() // self.PX
        x = F.cross_entropy(self.x(context).float(), bins[:, 0], reduction="none")
        return x + F.cross_entropy(self.y(context).float(), bins[:, 1], reduction="none")

    def mode(self, context: Tensor, cells: Tensor, patches: Tensor) -> Tensor:
        """(N, 2) clicks in logical px."""
        return self._click(self.x(context).argmax(-1), self.y(context).argmax(-1))

    def sample(
        self, context: Tensor, cells: Tensor, patches: Tensor, temperature: float, uniforms: Tensor
    ) -> Tensor:
        """(N, 2) clicks in logical px. uniforms: (N, 2) in [0, 1), for x and y."""
        x, y = ((linear(context).double() / temperature).softmax(-1) for linear in (self.x, self.y))
        return self._click(draw(x, uniforms[:, 0]), draw(y, uniforms[:, 1]))

    def chance(
        self, context: Tensor, cells: Tensor, patches: Tensor, rect: tuple[int, int, int, int]
    ) -> Tensor:
        """The probability, (N,), that the click falls into a rectangle (x, y, width, height), logical px."""
        total = torch.ones(len(context), device=context.device)
        for linear, first, length in ((self.x, rect[0], rect[2]), (self.y, rect[1], rect[3])):
            clicks = (
                torch.arange(linear.out_features, device=context.device) * self.PX + self.PX // 2
            )
            total = total * linear(context).float().softmax(-1)[
                :, (first <= clicks) & (clicks < first + length)
            ].sum(-1)
        return total

    def _click(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([x, y], 1) * self.PX + self.PX // 2


def draw(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Inverse of the cumulative distribution: (N, K) weights, not negative and not all zero; (N,) uniforms in [0, 1) -> (N,) index."""
    cumulative = weights.double().cumsum(-1)
    index = torch.searchsorted(
        cumulative, uniforms.double()[:, None] * cumulative[:, -1:], right=True
    )[:, 0]
    # Rounding may carry a uniform close to 1 past the end: then the last index that has any weight.
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())[:, 0]
    return torch.minimum(index, last)
