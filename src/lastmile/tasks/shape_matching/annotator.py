"""The virtual annotator of shape matching."""

from __future__ import annotations

import numpy as np

from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.shape_matching.interface import NOTHING, TURNS, State, angle, latest
from lastmile.tasks.shape_matching.picture import HALF
from lastmile.tasks.shape_matching.world import LOST, ShapeMatchingWorld, difference
from lastmile.tasks.task import RIGHT, Mistake


class ShapeMatchingAnnotator(Annotator[ShapeMatchingWorld, State]):
    """Finds the match of one specimen after the other, in reading order.

    It first looks at all fields of view after the shipment, unless hasty. It selects a specimen and
    goes through the fields on the right, the nearest first, until it sees its match. If that has a
    look-alike, and otherwise now and then, it turns the specimen until both are turned alike before
    it decides. A specimen whose match is in no field has none. At the end it compares the matches
    in all pairs of fields; who is hasty sees only the fields on the right.

    The last decision is taken back with `Undo`; an earlier one is replaced after its specimen was
    selected again.

    Attributes:
        tour: Fields on the right still to see before the work begins; None before it has decided.
        search: The specimen that it looks for, and the fields on the right in which it has looked.
        compares: The last specimen of which it decided whether to turn it, and what it decided.
        pairs: Pairs of fields still to see in the final check.
    """

    weights = {"slip": 0.4, "confusion": 0.25, "lapse": 0.35}
    decisions = frozenset({"undo", "done", "without"})

    tour: tuple[int, ...] | None = None
    search: tuple[int, frozenset[int]] = (NOTHING, frozenset())
    compares: tuple[int, bool] = (NOTHING, False)
    pairs: tuple[tuple[int, int], ...] = ()

    def explore(self, state: State) -> Intent | None:
        """Look at the fields on the right."""
        if state.edits:
            return None
        if self.tour is None:
            fields = self.world.after.fields
            self.tour = tuple(range(fields)) if self.style.explore > 0.5 else ()
        self.tour = tuple(field for field in self.tour if field != state.after)
        return self._go_after(state, self.tour[0]) if self.tour else None

    def annotate(self, state: State) -> Intent | None:
        """Work on the selected specimen if it is open, else select the next open one."""
        source = self._next_source(state)
        return None if source == NOTHING else self._decide(state, source)

    def verify(self, state: State) -> Intent | None:
        """Compare all pairs of fields, those on the left in turn, from the nearer end."""
        view = (state.before, state.after)
        if self.phase != "verify":
            self.pairs = self._round(state)
        self.pairs = tuple(pair for pair in self.pairs if pair != view)
        if not self.pairs:
            return None
        before, after = self.pairs[0]
        if before != state.before:
            return Intent("+before" if before > state.before else "-before")
        return self._go_after(state, after)

    def blunder(self, state: State, kind: str) -> Intent | None:
        """Miss the match, take a look-alike for it, forget to select, or give up too early."""
        source = self._next_source(state)
        if source == NOTHING:
            return None
        if kind == "lapse":
            return self._forget(state, source)
        if state.selected != source:
            return None

        partner = int(self.world.partner[source])
        if kind == "slip":
            in_view = partner != LOST and self.world.after.field[partner] == state.after
            due = in_view and self._compare(state, source, partner) is None
            return self._miss(state, partner) if due else None
        return self._mistake_for_another(state, source, partner)

    def visible(self, state: State, mistake: Mistake) -> bool:
        """See a wrong match beside its specimen where it is in view, or where the right one is.

        The last decision is still known in other fields on the right.
        """
        assert mistake.edit is not None  # nothing is left out in this task before it is finished
        edit = state.edits[mistake.edit]
        if self.world.before.field[edit.source] != state.before:
            return False
        partner = int(self.world.partner[edit.source])
        fields = {edit.field}
        if partner != LOST:
            fields.add(int(self.world.after.field[partner]))
        return mistake.edit == len(state.edits) - 1 or state.after in fields

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        """Undo the last decision, or decide again on the specimen that is nearest."""
        newest = len(state.edits) - 1
        if any(mistake.edit == newest for mistake in mistakes):
            return Intent("undo")
        sources = [state.edits[m.edit].source for m in mistakes if m.edit is not None]
        if state.selected in sources:
            return self._decide(state, state.selected)
        field = self.world.before.field
        return self._decide(
            state, min(sources, key=lambda one: (abs(int(field[one]) - state.before), one))
        )

    def _next_source(self, state: State) -> int:
        """Return the specimen to decide on next; `NOTHING` if all are decided."""
        decided = latest(state.edits)
        if state.selected != NOTHING and state.selected not in decided:
            return state.selected
        field = self.world.before.field
        return min(
            (one for one in range(len(field)) if one not in decided),
            key=lambda one: (abs(int(field[one]) - state.before), one),
            default=NOTHING,
        )

    def _decide(self, state: State, source: int) -> Intent:
        """Return the next step towards the right decision on a specimen."""
        world = self.world
        field = int(world.before.field[source])
        if field != state.before:
            return Intent("+before" if field > state.before else "-before")
        if state.selected != source:
            return self.put(world.before.center(source))

        # Look for its match in this field, then in the nearest one in which it has not looked.
        seen = self.search[1] if self.search[0] == source else frozenset()
        seen |= {state.after}
        self.search = (source, seen)
        partner = int(world.partner[source])
        if partner != LOST and world.after.field[partner] == state.after:
            return self._compare(state, source, partner) or self.put(world.after.center(partner))
        unseen = [one for one in range(world.after.fields) if one not in seen]
        if not unseen:
            if partner == LOST:
                return Intent("without")
            unseen = [int(world.after.field[partner])]  # it has missed it before
        return self._go_after(state, min(unseen, key=lambda one: (abs(one - state.after), one)))

    def _compare(self, state: State, source: int, target: int) -> Intent | None:
        """Return the next turn of the selected specimen; None if both are turned alike."""
        if self.compares[0] != source:
            often = self.rng.random() < 0.1 + 0.4 * self.style.verify
            self.compares = (source, often or bool(self.world.alike(source)))
        if not self.compares[1]:
            return None
        world = self.world
        off = float(world.after.angles[target] - world.before.angles[source]) - angle(state.turn)
        steps = round(off / angle(1)) % TURNS
        if steps == 0:
            return None
        return Intent("turn-right" if steps <= TURNS // 2 else "turn-left")

    def _miss(self, state: State, target: int) -> Intent | None:
        """Return a click beside a specimen on the right, on nothing."""
        slide = self.world.after
        center = slide.center(target)
        reach = float(slide.radii[target].max())
        for _ in range(20):
            slip = self.beside(state, center, reach + 1, reach + 12)
            if slip.u > HALF + 2 and slide.at(state.after, round(slip.u), round(slip.v)) == LOST:
                return slip
        return None

    def _mistake_for_another(self, state: State, source: int, partner: int) -> Intent | None:
        """Return a click on the specimen in view that is the most alike, if any is."""
        slide = self.world.after
        others = np.array(
            [one for one in self.world.alike(source, 2) if slide.field[one] == state.after], int
        )
        if not len(others):
            return None
        unlike = difference(self.world.before.kinds[source], slide.kinds[others])
        other = int(others[unlike.argmin()])
        target = None
        if partner != LOST and slide.field[partner] == state.after:
            target = slide.center(partner)
        return self.put(slide.center(other))._replace(target=target)

    def _forget(self, state: State, source: int) -> Intent | None:
        """Return a match of the next specimen while the last is selected, or an early `No match`.

        The first would replace the match of the last one.
        """
        world = self.world
        partner = int(world.partner[source])
        if partner == LOST:
            return None
        in_view = world.after.field[partner] == state.after
        if state.selected == source:
            return None if in_view else Intent("without")

        index = latest(state.edits).get(state.selected)
        if index is None or not in_view or int(world.before.field[source]) != state.before:
            return None
        edits = state.edits
        if self.task.judge(world, edits[:index], edits[index]) != RIGHT:
            return None
        return self.put(world.after.center(partner))

    def _round(self, state: State) -> tuple[tuple[int, int], ...]:
        """Return the pairs of fields to see in the final check, in order."""
        lefts = list(range(self.world.before.fields))
        rights = list(range(self.world.after.fields))
        if state.before > lefts[-1] / 2:
            lefts.reverse()
        if state.after > rights[-1] / 2:
            rights.reverse()
        if self.style.verify < 0.5:
            lefts = [state.before]

        pairs = []
        for before in lefts:
            pairs += [(before, after) for after in rights]
            rights = rights[::-1]
        return tuple(pairs)

    @staticmethod
    def _go_after(state: State, field: int) -> Intent:
        return Intent("+after" if field > state.after else "-after")
