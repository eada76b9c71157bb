"""What a policy would have done at every step of an episode, with teacher forcing.

The policy sees the screens and clicks of the episode as if they were its own. Its distribution over
the screen becomes a map for the eye and a short list of clicks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from lastmile.policy.head import BinsHead, PointerHead, click_of
from lastmile.policy.network import Frames
from lastmile.policy.policy import NO_CLICK, Policy
from lastmile.policy.sizes import CELL
from lastmile.screen import Screen, draw_small
from lastmile.simulation.session import Session

TOP = 5
"""Clicks that are listed."""
AROUND = 10
"""Half the side of the square that a click off the buttons stands for, logical px."""
_FRAMES = 32  # encoded at a time
_REFINED = 1e-3  # probability from which on a cell's inside is computed; below it is taken as even
_MOST_REFINED = 48  # cells of a screen at most: an untrained policy finds all of them as likely
_LISTED = 5e-4  # probability from which on a click is listed


class Click(NamedTuple):
    """One of the most likely clicks.

    Attributes:
        x: Logical px to the right.
        y: Logical px down.
        chance: Probability of the button at this place; off the buttons that of a square of
            2 x `AROUND` px around it. Clicks that are near a more likely one are not listed.
    """

    x: int
    y: int
    chance: float


class Outlook(NamedTuple):
    """What a policy says of its next click.

    Attributes:
        chances: Probabilities of the small squares of the screen, (h, w) float32; they sum to 1.
            With the head `pointer` these are the pixels that the policy sees, with `bins` its bins.
        block: Side, in squares, of the cells that a sparse map of them consists of.
        top: The most likely clicks, at most `TOP`.
    """

    chances: np.ndarray
    block: int
    top: tuple[Click, ...]


class Prediction(NamedTuple):
    """What a policy says of one step.

    Attributes:
        nats: Negative log-likelihood of the target: of the click that was made or, as in training,
            of the middle of the button that it hit.
        chances, block, top: See `Outlook`.
    """

    nats: float
    chances: np.ndarray
    block: int
    top: tuple[Click, ...]


class Seen(NamedTuple):
    """An episode as a policy sees it.

    Attributes:
        small: The small screens, (n, 126, 168, 3) uint8.
        clicks: The clicks that were made, (n, 2) logical px.
        targets: What is to be predicted, (n, 2) logical px: the clicks or, as in the tokens of
            training, the middles of the buttons that they hit.
        screens: The screens with their buttons, n of them.
    """

    small: np.ndarray
    clicks: np.ndarray
    targets: np.ndarray
    screens: list[Screen]


def seen_by(session: Session[Any, Any]) -> Seen:
    """Return what a policy sees in place of the player of a session, at every step."""
    screens = [session.interface.screen(step.before, session.look) for step in session.steps]
    clicks = [step.click for step in session.steps]
    targets = [
        step.click
        if step.hit.widget in ("", "canvas")
        else screen.widget(step.hit.widget).rect.middle
        for screen, step in zip(screens, session.steps)
    ]
    small = np.stack([draw_small(screen) for screen in screens])
    return Seen(small, np.array(clicks), np.array(targets), screens)


@torch.inference_mode()
def predict(policy: Policy, seen: Seen) -> list[Prediction]:
    """Predict every click of an episode."""
    made = torch.as_tensor(seen.clicks).long()
    previous = torch.cat([torch.tensor([NO_CLICK]), made[:-1]])
    memory = policy.begin(1)
    row = torch.zeros(1, dtype=torch.long, device=policy.device)

    predictions = []
    for start in range(0, len(made), _FRAMES):
        chunk = slice(start, start + _FRAMES)
        frames = policy.encode(
            torch.as_tensor(seen.small[chunk]).to(policy.device), previous[chunk].to(policy.device)
        )
        contexts = torch.cat(
            [policy.context.last(*memory.append(row, token[None]))[0] for token in frames.tokens]
        )  # (N, D)
        target = torch.as_tensor(seen.targets[chunk]).long().to(policy.device)
        nats = policy.head.loss(contexts, frames.cells, frames.patches, target).tolist()
        for i, screen in enumerate(seen.screens[chunk]):
            predicted = outlook(policy.head, contexts[i : i + 1], frames, i, screen)
            predictions.append(Prediction(nats[i], *predicted))
    return predictions


def outlook(
    head: PointerHead | BinsHead, context: Tensor, frames: Frames, i: int, screen: Screen
) -> Outlook:
    """Return the distribution of the next click.

    Args:
        head: The head of the policy.
        context: (1, D), the context of the frame.
        frames: Frames, of which it is number `i`.
        i: Number of the frame.
        screen: Its screen, with the buttons.
    """
    chances, places = _distribution(head, context, frames, i)
    block = 4
    most_likely = top(chances, places, screen)
    if isinstance(head, PointerHead):  # two of its bins are a pixel
        h, w = chances.shape
        chances = chances.reshape(h // 2, 2, w // 2, 2).sum((1, 3))
        block = CELL
    return Outlook(chances, block, most_likely)


Places = tuple[np.ndarray, np.ndarray]
"""The logical px at which the bins of each column, (w,), and of each row, (h,), are clicked."""


def _distribution(
    head: PointerHead | BinsHead, context: Tensor, frames: Frames, i: int
) -> tuple[np.ndarray, Places]:
    """Return the probabilities of all bins, (h, w), and where these are clicked."""
    if isinstance(head, BinsHead):
        across, down = (x(context).float().softmax(-1)[0].cpu().numpy() for x in (head.x, head.y))
        places = tuple(np.arange(len(p)) * head.PX + head.PX // 2 for p in (across, down))
        return down[:, None] * across, (places[0], places[1])

    cells, patches = frames.cells[i : i + 1], frames.patches[i : i + 1]
    p = head.cell_logits(context, cells).float().softmax(-1)[0]  # (rows * columns,)
    inside = torch.full((len(p), head.sub**2), 1 / head.sub**2, device=p.device)
    likely = p.topk(_MOST_REFINED).indices
    likely = likely[p[likely] >= _REFINED]
    k = len(likely)  # at least one, as there are fewer cells than 1 / _REFINED
    logits = head.place_logits(
        context.expand(k, -1),
        cells.expand(k, -1, -1, -1),
        patches.expand(k, *patches.shape[1:]),
        likely,
    )
    inside[likely] = logits.float().softmax(-1)
    bins = (p[:, None] * inside).view(head.rows, head.columns, head.sub, head.sub).swapaxes(1, 2)
    chances = bins.reshape(head.rows * head.sub, -1).cpu().numpy()
    across, down = (click_of(torch.arange(n)).numpy() for n in chances.shape[::-1])
    return chances, (across, down)


def top(chances: np.ndarray, places: Places, screen: Screen) -> tuple[Click, ...]:
    """Return the most likely clicks: the buttons as wholes, everything else by small squares.

    Args:
        chances: Probabilities of the bins, (h, w).
        places: Where the bins are.
        screen: The screen with its buttons.
    """
    across, down = places
    left = np.array(chances, np.float32)
    clicks = []

    def take(rows: slice, columns: slice) -> None:
        part = left[rows, columns]
        y, x = np.unravel_index(part.argmax(), part.shape)
        chance = float(part.sum())
        if chance >= _LISTED:
            clicks.append(Click(int(across[columns][x]), int(down[rows][y]), chance))

    for _, rect in screen.widgets:
        rows = slice(*np.searchsorted(down, (rect.y, rect.y + rect.height)))
        columns = slice(*np.searchsorted(across, (rect.x, rect.x + rect.width)))
        take(rows, columns)
        left[rows, columns] = 0

    reach = round(AROUND / (across[-1] - across[0]) * (len(across) - 1))  # in bins
    for _ in range(TOP):
        side = 2 * reach + 1
        mass = cv2.boxFilter(
            left, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        y, x = np.unravel_index(mass.argmax(), mass.shape)
        take(_around(y, reach), _around(x, reach))
        left[_around(y, side), _around(x, side)] = 0  # what is left of the same peak, too
    return tuple(sorted(clicks, key=lambda click: -click.chance)[:TOP])


def _around(middle: np.integer[Any], reach: int) -> slice:
    """Return the indices within `reach` of one, without those below 0."""
    return slice(max(0, int(middle) - reach), int(middle) + reach + 1)
