"""Channel alignment: bring two channels of one tissue together by pairs of landmarks."""

from __future__ import annotations

from lastmile.tasks.channel_alignment.annotator import ChannelAlignmentAnnotator
from lastmile.tasks.channel_alignment.interface import ChannelAlignmentInterface, State
from lastmile.tasks.channel_alignment.registration import Point, error, pairs
from lastmile.tasks.channel_alignment.world import (
    DIFFICULTIES,
    ChannelAlignmentWorld,
    make_world,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, Task

ENOUGH = 6
"""Pairs that a registration needs at least."""
CLOSE = 3.0
"""Largest registration error of a success, logical px."""


class ChannelAlignment(Task):
    """Two-channel image alignment by landmarks.

    **What it is.** Two stainings of one tissue were imaged one after the other; between them the tissue moved and stretched. Landmarks
    (large cell bodies of striking shapes) are marked in both, as pairs, so that the second image can be warped onto the first.

    **What is seen.** One channel at a time: A (magenta) stains cell bodies, B (green) their rims, and vessels. A few large cells show in
    one channel only. Marks carry the number and color of their pair. `Overlay` shows B on A, warped by the pairs placed so far: where both
    agree it is white, a wrong pair shows as ghosting. The status bar tells the number of pairs and what comes next.

    **What can be done.** `Channel` switches between A and B, `Overlay` turns the overlay on and off (nothing is placed in it), a click on
    the canvas places a point in the channel that is shown; the k-th points of both channels are a pair, so a point in A is to be followed
    by its partner in B. `Undo` takes the last point back, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** Share of right pairs among all pairs (at least 6 count): A on a landmark, B within 5 px of its true partner.
    Success: at least 6 pairs, all right, none open, and a registration error (root mean square target registration error over a grid) under
    3 px. `short` worlds have 6 landmarks, `full` ones 9 to 12 instead of 6 to 8, since an episode of 8 pairs takes under 60 clicks.

    **Mistakes.** slip: beside a landmark or beside the partner. confusion: a cell without a partner, a landmark twice, or the partner of
    another landmark. lapse: in the wrong channel, a second point in A before the partner in B or the other way round.

    **Sources.** Target registration error: Fitzpatrick and West, IEEE Transactions on Medical Imaging 2001. Thin-plate splines: Bookstein,
    IEEE PAMI 1989. Landmark pairs across stainings: Borovec et al. (ANHIR), IEEE Transactions on Medical Imaging 2020.
    """

    name = "channel_alignment"
    version = 1
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = ChannelAlignmentInterface
    annotator = ChannelAlignmentAnnotator
    mistake_rate = 0.17

    def judge(self, world: ChannelAlignmentWorld, earlier: tuple[Point, ...], edit: Point) -> str:
        return world.verdicts((*earlier, edit))[-1]

    def mistakes(self, world: ChannelAlignmentWorld, state: State) -> tuple[Mistake, ...]:
        verdicts = world.verdicts(state.edits)
        return tuple(Mistake(verdict, i) for i, verdict in enumerate(verdicts) if verdict != RIGHT)

    def score(self, world: ChannelAlignmentWorld, state: State) -> Score:
        verdicts = world.verdicts(state.edits)
        of_a = [verdict for point, verdict in zip(state.edits, verdicts) if point.channel == "A"]
        of_b = [verdict for point, verdict in zip(state.edits, verdicts) if point.channel == "B"]
        placed = max(len(of_a), len(of_b))
        right = sum(one == other == RIGHT for one, other in zip(of_a, of_b))
        off = error(world.field, pairs(state.edits))
        success = state.done and right == placed >= ENOUGH and off < CLOSE
        details = {"pairs": float(placed), "error": off, "coverage": right / len(world.a)}
        return Score(right / max(placed, ENOUGH), bool(success), details)


TASK = ChannelAlignment()
