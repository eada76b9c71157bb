"""The virtual annotator of cell lineage."""

from __future__ import annotations

import math

from lastmile.tasks.annotator import Intent, MovieAnnotator
from lastmile.tasks.cell_lineage.interface import Point, Split, State
from lastmile.tasks.cell_lineage.reading import assess
from lastmile.tasks.task import Mistake


class CellLineageAnnotator(MovieAnnotator):
    """First watches the movie to its end and back, unless hasty. Then frame by frame: the selected track first, then the others from the lowest
    number, and on to the next frame when all are marked. Where a cell has divided it selects the track, presses Split and clicks the left
    daughter, then the right one. At the end it goes back through the frames and compares.

    A division that it overlooks it takes for a move: it goes on with the parent on one daughter, and sees only in a later frame that there
    are two. It then goes back to the frame of the division and presses Split there, which ends the parent's track.
    """

    weights = {"slip": 0.45, "confusion": 0.35, "lapse": 0.2}
    decisions = frozenset({"undo", "done", "split"})

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.watch = 0  # direction of the first look through the movie: 0 not decided yet, 1 forward, -1 back, 2 over

    # The right steps

    def explore(self, state: State) -> Intent | None:
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
        intent = self._plan(state)
        overlooked = intent is not None and intent.widget == "split"
        if overlooked and self.rng.random() < 0.25 * self.style.mistakes:
            return self.put(self.world.center(self._followed(state), state.t))._replace(
                mistake="lapse"
            )
        return intent

    def complete(self, state: State) -> bool:
        return self._plan(state) is None

    def _plan(self, state: State) -> Intent | None:
        """The next right step, without any chance in it but the jitter of a placement."""
        world, known = self.world, self.interface.tracks(state)
        cells = assess(world, state.edits).cells
        if known.pending:
            return self._daughter(state, cells)
        for t in range(1, world.frames):
            work = self._work_in(state, t, known, cells)
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
            if world.end[cell] == t and (track, t) not in known.points:
                return self._split(state)
            return self.put(world.center(self._followed(state), t))._replace(mistake="lapse")
        return None

    def _split(self, state: State) -> Intent:
        """Split, or where the button is gray because of an earlier wrong split, back to before that."""
        return Intent("split" if self.interface.splits(state) else "undo")

    def _work_in(self, state: State, t: int, known, cells: tuple[int, ...]) -> list[int]:
        """Tracks that lack a mark or a split in a frame."""
        work = []
        for k, track in enumerate(known.tracks):
            if not track.birth <= t < track.end or (k, t) in known.points or cells[k] < 0:
                continue
            if self.world.end[cells[k]] >= t or self._followed(state, k, t) >= 0:
                work.append(k)
        return work

    def _followed(self, state: State, track: int = -1, t: int = -1) -> int:
        """The daughter that the parent's track goes on with when its division was overlooked, -1 if there is none in that frame."""
        track, t = (state.track, state.t) if track < 0 else (track, t)
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
        child = min(pair, key=lambda c: math.dist(self.world.center(c, born), where))
        return child if self.world.there(child, t) else -1

    def _daughter(self, state: State, cells: tuple[int, ...]) -> Intent:
        """A click on the daughter to be marked next, the left one first; on an end of the nucleus where none has divided."""
        split = next(edit for edit in reversed(state.edits) if isinstance(edit, Split))
        cell = cells[state.track]
        if cell >= 0 and self.world.there(cell, state.t):
            return self.put(self.world.center(cell, state.t))
        parent = cells[split.track]
        if parent >= 0 and self.world.there(parent, state.t):
            x, y = self.world.center(parent, state.t)
        else:
            x, y = self.interface.point(state, split.track, state.t - 1) or (128.0, 128.0)
        return self.put((x + (5 if state.track % 2 else -5), y))

    # Mistakes

    def blunder(self, state: State, kind: str) -> Intent | None:
        plan = self._plan(state)
        if plan is None or plan.mistake:
            return None
        if kind == "lapse":
            if plan.widget == "split" or not plan.widget.startswith("track"):
                return None
            cell = assess(self.world, state.edits).cells[int(plan.widget[5:]) - 1]
            marked = (state.track, state.t) in self.interface.tracks(state).points
            if not marked or not self.world.there(cell, state.t):
                return None
            return self.put(self.world.center(cell, state.t))
        if plan.widget != "canvas":
            return None
        if kind == "slip":
            return self.beside(state, plan.target, 14.0, 22.0)
        near = [
            point
            for point in self._others(state.t, plan.target)
            if math.dist(point, plan.target) < 70
        ]
        return (
            self.put(min(near, key=lambda p: math.dist(p, plan.target)))._replace(
                target=plan.target
            )
            if near
            else None
        )

    def _others(self, t: int, target: tuple[float, float]) -> list[tuple[float, float]]:
        """Cells and debris of a frame but the one at `target`."""
        cells = [
            self.world.center(k, t) for k in range(len(self.world.parent)) if self.world.there(k, t)
        ]
        debris = [(x, y) for x, y in self.world.debris[t].tolist() if 4 < x < 252 and 4 < y < 252]
        return [point for point in (*cells, *debris) if point != target]

    def visible(self, state: State, mistake: Mistake) -> bool:
        edit = state.edits[mistake.edit]
        if isinstance(edit, Split):
            return state.t >= edit.t or not self.interface.splits(state)
        if self._overlooked(state, edit):
            return state.t > edit.t or (
                state.t == edit.t and (self.phase == "verify" or edit.t == self.world.frames - 1)
            )
        return state.t == edit.t or (mistake.kind != "slip" and state.t == edit.t + 1)

    def _overlooked(self, state: State, edit: Point) -> bool:
        cell = assess(self.world, state.edits).cells[edit.track]
        return cell >= 0 and self.world.divides(cell) and self.world.end[cell] <= edit.t

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        known, cells = self.interface.tracks(state), assess(self.world, state.edits).cells
        wrong = [state.edits[m.edit] for m in mistakes]
        if any(isinstance(edit, Split) or cells[edit.track] < 0 for edit in wrong):
            return Intent("undo")
        overlooked = [edit for edit in wrong if self._overlooked(state, edit)]
        last = state.edits[-1]
        if last in wrong and last not in overlooked:
            return Intent("undo")
        if known.pending:
            return self._daughter(state, cells)
        first = min(wrong, key=lambda edit: (edit.t, edit.track))
        t = int(self.world.end[cells[first.track]]) if first in overlooked else first.t
        if t != state.t:
            return Intent("+t" if t > state.t else "-t")
        if first.track != state.track:
            return Intent(f"track{first.track + 1}")
        return (
            self._split(state)
            if first in overlooked
            else self.put(self.world.center(cells[first.track], t))
        )
