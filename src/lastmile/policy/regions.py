"""How likely a click falls into a region of the screen, another region for each frame.

`chance` of the heads answers this for one rectangle and many frames. Here every frame has its own
region, since the clicks of rollouts that are played side by side hit different things.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lastmile.policy.head import BinsHead, PointerHead, click_of
from lastmile.screen import HEIGHT, WIDTH


class Region(NamedTuple):
    """A rectangle in logical px: [x, x + width) by [y, y + height), or the disc inside it.

    Attributes:
        x: Left side.
        y: Upper side.
        width: Width.
        height: Height.
        radius: Radius of a disc around the middle of the rectangle; 0 for the whole rectangle.
    """

    x: int
    y: int
    width: int
    height: int
    radius: int = 0


def disc(x: int, y: int, radius: int) -> Region:
    """Return the points at most `radius` px from a point, clipped to the screen by its bins."""
    return Region(x - radius, y - radius, 2 * radius + 1, 2 * radius + 1, radius)


@torch.inference_mode()
def chances(
    head: PointerHead | BinsHead,
    context: Tensor,
    cells: Tensor,
    patches: Tensor,
    regions: Sequence[Region],
) -> Tensor:
    """Return the probability that the click falls into a region, for each frame its own.

    The probability is that of the distribution that the head learned, at temperature 1. A bin
    belongs to a region if the click that it stands for does.

    Args:
        head: The head of a policy.
        context: (N, D).
        cells: (N, rows, columns, C).
        patches: (N, rows, columns, pixels of a cell) uint8.
        regions: N regions.

    Returns:
        (N,) float32 probabilities.
    """
    if isinstance(head, BinsHead):
        return _of_bins(head, context, regions)
    return _of_pointer(head, context, cells, patches, regions)


def _of_pointer(
    head: PointerHead, context: Tensor, cells: Tensor, patches: Tensor, regions: Sequence[Region]
) -> Tensor:
    device = context.device
    across = click_of(torch.arange(head.columns * head.sub, device=device)).view(-1, head.sub)
    down = click_of(torch.arange(head.rows * head.sub, device=device)).view(-1, head.sub)
    box = torch.tensor(regions, device=device)  # (N, 5)
    across_in = _within(across, box[:, 0], box[:, 2])  # (N, columns, sub)
    down_in = _within(down, box[:, 1], box[:, 3])  # (N, rows, sub)

    # Only the cells that a region touches are looked into: M pairs of a frame and a cell.
    touched = down_in.any(-1)[:, :, None] & across_in.any(-1)[:, None]  # (N, rows, columns)
    frame, row, column = touched.nonzero(as_tuple=True)  # (M,)
    inside = down_in[frame, row][:, :, None] & across_in[frame, column][:, None]  # (M, sub, sub)
    inside &= _in_disc(across[column][:, None], down[row][:, :, None], box[frame])

    number = row * head.columns + column
    place = head.place_logits(context[frame], cells[frame], patches[frame], number)
    share = (place.float().softmax(-1) * inside.flatten(1)).sum(-1)  # (M,)
    cell = head.cell_logits(context, cells).float().softmax(-1)
    total = torch.zeros(len(context), device=device)
    return total.index_add(0, frame, cell[frame, number] * share)


def _of_bins(head: BinsHead, context: Tensor, regions: Sequence[Region]) -> Tensor:
    device = context.device
    across = torch.arange(WIDTH // head.PX, device=device) * head.PX + head.PX // 2
    down = torch.arange(HEIGHT // head.PX, device=device) * head.PX + head.PX // 2
    box = torch.tensor(regions, device=device)  # (N, 5)
    inside = (
        _within(down, box[:, 1], box[:, 3])[:, :, None]
        & _within(across, box[:, 0], box[:, 2])[:, None]
        & _in_disc(across, down[:, None], box)
    )  # (N, rows, columns)
    x, y = (linear(context).float().softmax(-1) for linear in (head.x, head.y))
    return (y[:, :, None] * x[:, None] * inside).sum((1, 2))


def _within(points: Tensor, first: Tensor, length: Tensor) -> Tensor:
    """Return which points (...) are in the ranges [first, first + length), (N, ...)."""
    shape = (-1, *[1] * points.dim())
    return (points >= first.view(shape)) & (points < (first + length).view(shape))


def _in_disc(x: Tensor, y: Tensor, box: Tensor) -> Tensor:
    """Return whether points are in the discs of regions; all are in a region without a radius.

    Args:
        x: Horizontal places, that broadcast to (N, rows, columns).
        y: Vertical places, likewise.
        box: (N, 5), the regions.
    """
    radius = box[:, 4, None, None]
    middle_x, middle_y = (box[:, axis, None, None] + radius for axis in (0, 1))
    near = (x - middle_x) ** 2 + (y - middle_y) ** 2 <= radius**2
    return near | (radius == 0)
