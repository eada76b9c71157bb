"""The virtual annotator of cell lineage."""

from __future__ import annotations

import math

from lastmile.tasks.annotator import Intent, MovieAnnotator
from lastmile.tasks.cell_lineage.interface import (
    CellLineageInterface,
    Lineage,
    Point,
    Split,
    State,
)
from lastmile.tasks.cell_lineage.reading import assess
from lastmile.tasks.cell_lineage.world import CellLineageWorld
from lastmile.tasks.task import Mistake


class CellLineageAnnotator(MovieAnnotator[CellLineageWorld, State]):
    """Marks all cells of a frame before it goes on to the next.

    Unless hasty, it first watches the movie to its end and back. In each frame it marks the
    selected track first, then the others by their number. Where a cell has divided it selects the
    track, presses Split and clicks the left daughter, then the right one. At the end it goes back
    through the frames and compares.

    It takes a division that it overlooks for a movement: it continues the parent's track on one
    daughter, and sees only in a later frame that there are two. It then goes back to the frame of
    the division and presses Split there, which ends the parent's track.

    Attributes:
        watch: Direction of the first look through the movie: 0 before it has decided, 1 forward, -1
            back, 2 when it is over.
    """

    weights = {"slip": 0.45, "confusion": 0.35, "lapse": 0.2}
    decisions = frozenset({"undo", "done", "split"})

    interface: CellLineageInterface
    watch: int = 0

    # Correct steps.

    def explore(self, state: State) -> Intent | None:
        """Watch the movie to its end and back."""
        if state.edits or self.watch == 2:
            self.watch = 2
            return None
        if self.watch == 0:
            self.watch = 1 if self.style.explore > 0.5 else 2
        if self.watch == 1 and state.t == self.world.frames - 1:
            self.watch = -1
        if self.watch == -1 and state.t == 0:
            self.watch = 2
        return None if self.watch == 2 else Intent("+t" if self.watch == 1 else "-t")

    def annotate(self, state: State) -> Intent | None:
        """Follow the plan, but overlook a division now and then."""
        intent = self._plan(state)
        divides = intent is not None and intent.widget == "split"
        if divides and self.rng.random() < 0.25 * self.style.mistakes:
            daughter = self._followed(state, state.track, state.t)
            return self.put(self.world.center(daughter, state.t))._replace(mistake="lapse")
        return intent

    def complete(self, state: State) -> bool:
        """Return whether every track is marked in all frames in which it is open."""
        return self._plan(state) is None

    def _plan(self, state: State) -> Intent | None:
        """Return the next correct step. Only the jitter of a placement is random."""
        world = self.world
        lineage = self.interface.lineage(state)
        cells = assess(world, state.edits).cells
        if lineage.pending:
            return self._daughter(state, cells)

        for t in range(1, world.frames):
            work = self._work_in(state, t, lineage, cells)
            if not work:
                continue
            if t != state.t:
                return Intent("+t" if t > state.t else "-t")
            track = state.track if state.track in work else work[0]
            if track != state.track:
                return Intent(f"track{track + 1}")

            cell = cells[track]
            if world.end[cell] > t:
                return self.put(world.center(cell, t))
            if world.end[cell] == t and (track, t) not in lineage.points:
                return self._split(state)
            # The division was overlooked earlier: continue on the daughter.
            daughter = self._followed(state, track, t)
            return self.put(world.center(daughter, t))._replace(mistake="lapse")
        return None

    def _split(self, state: State) -> Intent:
        """Return Split or, where an earlier wrong split has disabled the button, Undo."""
        return Intent("split" if self.interface.splits(state) else "undo")

    def _work_in(self, state: State, t: int, lineage: Lineage, cells: tuple[int, ...]) -> list[int]:
        """Return the tracks that lack a point or a split in a frame."""
        work = []
        for k, track in enumerate(lineage.tracks):
            if not track.birth <= t < track.end or (k, t) in lineage.points or cells[k] < 0:
                continue
            if self.world.end[cells[k]] >= t or self._followed(state, k, t) >= 0:
                work.append(k)
        return work

    def _followed(self, state: State, track: int, t: int) -> int:
        """Return the daughter that a parent's track follows if the division is overlooked.

        It is the daughter closer to the last point of the track; -1 if it does not exist in frame
        t, or if the cell does not divide.
        """
        cell = assess(self.world, state.edits).cells[track]
        born = int(self.world.end[cell])
        pair = self.world.children[cell].tolist()
        if pair[0] < 0:
            return -1
        where = (
            self.interface.point(state, track, born)
            or self.interface.point(state, track, born - 1)
            or self.world.center(cell, born - 1)
        )
        child: int = min(pair, key=lambda c: math.dist(self.world.center(c, born), where))
        return child if self.world.exists(child, t) else -1

    def _daughter(self, state: State, cells: tuple[int, ...]) -> Intent:
        """Return a click on the pending daughter, the left one first.

        After a wrong split there is none: then it is a click on one end of the nucleus.
        """
        split = next(edit for edit in reversed(state.edits) if isinstance(edit, Split))
        cell = cells[state.track]
        if cell >= 0 and self.world.exists(cell, state.t):
            return self.put(self.world.center(cell, state.t))

        parent = cells[split.track]
        if parent >= 0 and self.world.exists(parent, state.t):
            x, y = self.world.center(parent, state.t)
        else:
            x, y = self.interface.point(state, split.track, state.t - 1) or (128.0, 128.0)
        return self.put((x + (5 if state.track % 2 else -5), y))

    # Mistakes.

    def blunder(self, state: State, kind: str) -> Intent | None:
        """Miss the cell, click a near cell or debris, or forget to select the next track."""
        plan = self._plan(state)
        if plan is None or plan.mistake:
            return None

        if kind == "lapse":
            if plan.widget == "split" or not plan.widget.startswith("track"):
                return None
            track = int(plan.widget.removeprefix("track")) - 1
            cell = assess(self.world, state.edits).cells[track]
            marked = (state.track, state.t) in self.interface.lineage(state).points
            if not marked or not self.world.exists(cell, state.t):
                return None
            return self.put(self.world.center(cell, state.t))

        target = plan.target
        if plan.widget != "canvas" or target is None:
            return None
        if kind == "slip":
            return self.beside(state, target, 14.0, 22.0)
        near = [point for point in self._others(state.t, target) if math.dist(point, target) < 70]
        if not near:
            return None
        return self.put(min(near, key=lambda point: math.dist(point, target)))._replace(
            target=target
        )

    def _others(self, t: int, target: tuple[float, float]) -> list[tuple[float, float]]:
        """Return the centers of cells and debris in a frame, except the one at `target`."""
        cells = [
            self.world.center(k, t)
            for k in range(len(self.world.parent))
            if self.world.exists(k, t)
        ]
        debris = [(x, y) for x, y in self.world.debris[t].tolist() if 4 < x < 252 and 4 < y < 252]
        return [point for point in (*cells, *debris) if point != target]

    # Noticing and repairing.

    def visible(self, state: State, mistake: Mistake) -> bool:
        """See a wrong point in its frame, and an overlooked division in a later one."""
        assert mistake.edit is not None  # nothing can be left out in this task
        edit = state.edits[mistake.edit]
        if isinstance(edit, Split):
            return state.t >= edit.t or not self.interface.splits(state)
        if self._overlooked(state, edit):
            return state.t > edit.t or (
                state.t == edit.t and (self.phase == "verify" or edit.t == self.world.frames - 1)
            )
        return state.t == edit.t or (mistake.kind != "slip" and state.t == edit.t + 1)

    def _overlooked(self, state: State, point: Point) -> bool:
        """Return whether the cell of a point's track has divided by the point's frame."""
        cell = assess(self.world, state.edits).cells[point.track]
        return cell >= 0 and self.world.divides(cell) and bool(self.world.end[cell] <= point.t)

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        """Undo wrong splits and the last point; go back to earlier points and move them."""
        lineage = self.interface.lineage(state)
        cells = assess(self.world, state.edits).cells
        wrong = [state.edits[m.edit] for m in mistakes if m.edit is not None]
        points = [edit for edit in wrong if isinstance(edit, Point)]
        if len(points) < len(wrong) or any(cells[point.track] < 0 for point in points):
            return Intent("undo")

        overlooked = [point for point in points if self._overlooked(state, point)]
        last = state.edits[-1]
        if last in points and last not in overlooked:
            return Intent("undo")
        if lineage.pending:
            return self._daughter(state, cells)

        # The earliest first. An overlooked division is repaired in the frame of the division.
        first = min(points, key=lambda point: (point.t, point.track))
        t = int(self.world.end[cells[first.track]]) if first in overlooked else first.t
        if t != state.t:
            return Intent("+t" if t > state.t else "-t")
        if first.track != state.track:
            return Intent(f"track{first.track + 1}")
        if first in overlooked:
            return self._split(state)
        return self.put(self.world.center(cells[first.track], t))
