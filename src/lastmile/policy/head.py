"""From a context vector and the features of a frame to a click.

Both heads answer three questions: `loss`, the negative log-likelihood of a click in nats, up to the size of a bin; `mode`, the most likely click;
`sample`, a random one. Randomness comes in as uniform numbers, one row for each frame, so that a click depends on nothing else in the batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.policy.encoder import pixels
from lastmile.policy.sizes import CELL, PLACE_CELLS, Size
from lastmile.screen import HEIGHT, WIDTH

SUB = 16
"""Bins across a cell, each way. A bin is 7/6 logical px wide and so holds one or two whole pixels."""


def bin_of(click: Tensor) -> Tensor:
    """Logical px -> pointer bin, along either axis: floor(6/7 click). The cell is bin // 16, the bin inside it bin % 16."""
    return click * 6 // 7


def click_of(bins: Tensor) -> Tensor:
    """Pointer bin -> the whole logical px in it that is nearest to its centre: ceil(7/6 bin). `bin_of` undoes it."""
    return (bins * 7 + 5) // 6


class PointerHead(nn.Module):
    """Choose a cell of the grid by its features, then one of 16 x 16 places inside it.

    The place depends on the chosen cell's feature, the context vector and the pixels of the 3 x 3 cells around it.

    Clicks inside a button are jittered and so spread over several cells, while a placement lies in one: the most likely *cell* would
    favour placements. So with p the probabilities of the cells and m the mass of the 3 x 3 cells around each, the mode is the most likely
    cell inside the 3 x 3 window of largest mass, and at temperature T cells are drawn with weights p m^(1/T - 1): exact at T = 1, p^(1/T)
    for a lone peak, and a spread-out region counts as one mode whose inside keeps its shape.
    """

    def __init__(self, size: Size, rows: int, columns: int) -> None:
        super().__init__()
        if (rows, columns) != (HEIGHT * 6 // 7 // SUB, WIDTH * 6 // 7 // SUB):
            raise ValueError(f"the pointer head needs a grid of 18 x 24 cells, got {rows} x {columns}")
        self.rows, self.columns = rows, columns
        self.cell_key = nn.Linear(size.fine, size.fine)
        self.cell_query = nn.Linear(size.width, size.fine)
        self.cell_score = nn.Linear(size.fine, 1)
        self.cell_prior = nn.Linear(size.width, rows * columns)
        hidden = 2 * size.fine
        self.place_cell = nn.Linear(size.fine, hidden)
        self.place_context = nn.Linear(size.width, hidden)
        self.place_pixels = nn.Linear(PLACE_CELLS * CELL * CELL * 3, hidden)
        self.place = nn.Linear(hidden, 2 * SUB)
        nn.init.zeros_(self.cell_prior.weight)
        nn.init.zeros_(self.place.weight)

    def cell_logits(self, context: Tensor, cells: Tensor) -> Tensor:
        """context: (N, D). cells: (N, rows, columns, C). Returns (N, rows * columns)."""
        joint = F.relu(self.cell_key(cells) + self.cell_query(context)[:, None, None])  # (N, H, W, C)
        return self.cell_score(joint).flatten(1) + self.cell_prior(context)

    def place_logits(self, context: Tensor, cells: Tensor, patches: Tensor, cell: Tensor) -> Tensor:
        """Logits of the bin inside the chosen `cell`, (N,): (N, 2, 16), x first."""
        index = torch.arange(len(cell), device=cell.device)
        row, column = cell // self.columns, cell % self.columns
        # Past the edge of the screen the nearest cell is repeated.
        near = torch.arange(-1, 2, device=cell.device)
        rows = (row[:, None] + near).clamp(0, self.rows - 1)[:, :, None]  # (N, 3, 1)
        columns = (column[:, None] + near).clamp(0, self.columns - 1)[:, None]  # (N, 1, 3)
        around = pixels(patches[index[:, None, None], rows, columns].flatten(1))  # (N, 9 * 147)
        hidden = self.place_cell(cells[index, row, column]) + self.place_context(context) + self.place_pixels(around)
        return self.place(F.relu(hidden)).view(-1, 2, SUB)

    def loss(self, context: Tensor, cells: Tensor, patches: Tensor, clicks: Tensor) -> Tensor:
        """clicks: (N, 2) logical px. Returns (N,) nats."""
        bins = bin_of(clicks.long())
        cell = bins[:, 1] // SUB * self.columns + bins[:, 0] // SUB
        place = self.place_logits(context, cells, patches, cell).float()
        inside = F.cross_entropy(place.flatten(0, 1), (bins % SUB).flatten(), reduction="none").view(-1, 2).sum(1)
        return F.cross_entropy(self.cell_logits(context, cells).float(), cell, reduction="none") + inside

    def mode(self, context: Tensor, cells: Tensor, patches: Tensor) -> Tensor:
        """(N, 2) clicks in logical px."""
        p = self.cell_logits(context, cells).float().softmax(-1)
        best = self._mass(p).argmax(-1, keepdim=True)  # (N, 1)
        cell = torch.arange(p.shape[1], device=p.device)
        apart = torch.maximum((cell // self.columns - best // self.columns).abs(), (cell % self.columns - best % self.columns).abs())
        cell = p.masked_fill(apart > 1, -1.0).argmax(-1)
        return self._click(cell, self.place_logits(context, cells, patches, cell).argmax(-1))

    def sample(self, context: Tensor, cells: Tensor, patches: Tensor, temperature: float, uniforms: Tensor) -> Tensor:
        """(N, 2) clicks in logical px. uniforms: (N, 3) in [0, 1), for the cell, x and y."""
        p = self.cell_logits(context, cells).double().softmax(-1)
        # m is divided by its largest value so that no power underflows everywhere.
        m = self._mass(p)
        weights = p * (m / m.amax(-1, keepdim=True)) ** (1 / temperature - 1)
        cell = draw(weights, uniforms[:, 0])
        place = (self.place_logits(context, cells, patches, cell).double() / temperature).softmax(-1)
        inside = torch.stack([draw(place[:, 0], uniforms[:, 1]), draw(place[:, 1], uniforms[:, 2])], 1)
        return self._click(cell, inside)

    def _mass(self, p: Tensor) -> Tensor:
        """(N, cells) probabilities -> (N, cells) sums over the 3 x 3 cells around each; beyond the edge is nothing."""
        return F.avg_pool2d(p.view(-1, 1, self.rows, self.columns), 3, stride=1, padding=1).flatten(1) * 9

    def _click(self, cell: Tensor, inside: Tensor) -> Tensor:
        return click_of(torch.stack([cell % self.columns, cell // self.columns], 1) * SUB + inside)


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

    def sample(self, context: Tensor, cells: Tensor, patches: Tensor, temperature: float, uniforms: Tensor) -> Tensor:
        """(N, 2) clicks in logical px. uniforms: (N, 3) in [0, 1); the first is not used."""
        x, y = ((linear(context).double() / temperature).softmax(-1) for linear in (self.x, self.y))
        return self._click(draw(x, uniforms[:, 1]), draw(y, uniforms[:, 2]))

    def _click(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([x, y], 1) * self.PX + self.PX // 2


def draw(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Inverse of the cumulative distribution: (N, K) weights, not negative and not all zero; (N,) uniforms in [0, 1) -> (N,) index."""
    cumulative = weights.double().cumsum(-1)
    index = torch.searchsorted(cumulative, uniforms.double()[:, None] * cumulative[:, -1:], right=True)[:, 0]
    # Rounding may carry a uniform close to 1 past the end: then the last index that has any weight.
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())[:, 0]
    return torch.minimum(index, last)
