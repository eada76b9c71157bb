"""Channel alignment: register two channels of the same tissue with pairs of landmarks."""

from __future__ import annotations

from lastmile.tasks.channel_alignment.annotator import ChannelAlignmentAnnotator
from lastmile.tasks.channel_alignment.interface import ChannelAlignmentInterface, State
from lastmile.tasks.channel_alignment.registration import Point, pair_points, registration_error
from lastmile.tasks.channel_alignment.world import (
    DIFFICULTIES,
    ChannelAlignmentWorld,
    make_world,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, Task

MIN_PAIRS = 6
"""Smallest number of pairs of a success; fewer pairs lower the score."""
MAX_ERROR = 3.0
"""A success needs a registration error below this, logical px."""


class ChannelAlignment(Task[ChannelAlignmentWorld, State, Point]):
    """Register two image channels with landmarks.

    **What it is.** Two stains of the same tissue were imaged one after the other, and in between
    the tissue moved and stretched. Landmarks (large cell bodies with distinctive shapes) are marked
    in both images, as pairs, so that the second image can be warped onto the first.

    **What is seen.** One channel at a time. Channel A (magenta) shows cell bodies; channel B
    (green) shows cell outlines and vessels. A few large cells appear in only one channel. Each mark
    has the number and color of its pair. `Overlay` shows B on top of A, warped by the pairs placed
    so far: where the channels agree it is white, and a wrong pair causes ghosting. The status bar
    shows the number of points in each channel and what to place next.

    **What can be done.** `Channel` switches between A and B, and `Overlay` turns the overlay on and
    off; nothing can be placed in the overlay. A click on the canvas places a point in the channel
    shown. The k-th point in A and the k-th point in B form a pair, so each point in A should be
    followed by its partner in B. `Undo` removes the last point, `Done` ends the episode.

    **When it ends.** When `Done` is clicked.

    **How it is scored.** The score is the fraction of pairs that are correct, out of the pairs
    placed or 6, whichever is larger. A pair is correct if its point in A is on a landmark and its
    point in B is within 5 px of the true partner. Success requires at least 6 pairs, all of them
    correct, no unpaired point, and a target registration error (root mean square over a grid) below
    3 px. `short` worlds have 6 landmarks, `full` worlds 9 to 12.

    **Mistakes.** slip: the point misses the landmark or the partner. confusion: the point is on a
    cell without a partner, on a landmark that is already marked, or on the partner of another
    landmark. lapse: the point is in the wrong channel, such as a second point in A before the first
    one has its partner in B, or a point in B when none is due.

    **Sources.** Target registration error: Fitzpatrick and West, IEEE Transactions on Medical
    Imaging 2001. Thin-plate splines: Bookstein, IEEE PAMI 1989. Landmark pairs across stains:
    Borovec et al. (ANHIR), IEEE Transactions on Medical Imaging 2020.
    """

    name = "channel_alignment"
    version = 3
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = ChannelAlignmentInterface
    annotator = ChannelAlignmentAnnotator
    mistake_rate = 0.17
    overlooked = 0.012

    def judge(self, world: ChannelAlignmentWorld, earlier: tuple[Point, ...], edit: Point) -> str:
        return world.verdicts((*earlier, edit))[-1]

    def mistakes(self, world: ChannelAlignmentWorld, state: State) -> tuple[Mistake, ...]:
        verdicts = world.verdicts(state.edits)
        return tuple(Mistake(verdict, i) for i, verdict in enumerate(verdicts) if verdict != RIGHT)

    def score(self, world: ChannelAlignmentWorld, state: State) -> Score:
        judged = list(zip(state.edits, world.verdicts(state.edits)))
        in_a = [verdict for point, verdict in judged if point.channel == "A"]
        in_b = [verdict for point, verdict in judged if point.channel == "B"]
        placed = max(len(in_a), len(in_b))  # an unpaired point counts as a wrong pair
        right = sum(a == b == RIGHT for a, b in zip(in_a, in_b))
        error = registration_error(world.field, pair_points(state.edits))

        success = state.done and right == placed >= MIN_PAIRS and error < MAX_ERROR
        details = {"pairs": float(placed), "error": error, "coverage": right / world.needed}
        return Score(right / max(placed, MIN_PAIRS), bool(success), details)


TASK = ChannelAlignment()
