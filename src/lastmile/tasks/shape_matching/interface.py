"""The interface of shape matching: two photographs side by side, each with its fields of view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lastmile.screen import CANVAS, Button, Group, Mark, text
from lastmile.screen.widgets import Color, Kind
from lastmile.tasks import task
from lastmile.tasks.shape_matching.picture import AFTER, BEFORE, HALF, OFFSETS, PATCH, shell
from lastmile.tasks.shape_matching.world import HEADER, LOST, ShapeMatchingWorld

TURNS = 8
"""Steps of a full turn."""
NOTHING = -1
"""`State.selected` when no specimen is selected."""
SELECTED: Color = (255, 225, 25)
"""Color of the outline of the selected specimen."""
WITHOUT: Color = (175, 175, 185)
"""Color of specimens that were said to have no match."""
COLORS: tuple[Color, ...] = (
    (0, 210, 255),
    (255, 110, 40),
    (150, 255, 60),
    (255, 80, 190),
    (90, 130, 255),
    (255, 60, 60),
    (60, 235, 180),
    (190, 130, 255),
    (255, 170, 160),
    (40, 170, 60),
    (205, 150, 60),
    (150, 220, 150),
)
"""Colors of the matches, by specimen on the left."""

_INK = (225, 225, 230)
_STRIP = (34, 36, 42)
_LINE = (90, 92, 100)


class Match(NamedTuple):
    """A decision on a specimen on the left.

    Attributes:
        source: The specimen.
        field: Field of view of its match on the right, or -1 if it was said to have none.
        u: Canvas coordinate of its match, logical px to the right, or -1.
        v: Canvas coordinate of its match, logical px down, or -1.
    """

    source: int
    field: int = -1
    u: float = -1.0
    v: float = -1.0

    @property
    def without(self) -> bool:
        """Whether the decision is that the specimen has no match."""
        return self.field < 0


@dataclass(frozen=True, slots=True)
class State(task.State):
    """The decisions and the view.

    Attributes:
        edits: The decisions; the last one on a specimen counts.
        before: The field of view on the left.
        after: The field of view on the right.
        selected: The selected specimen on the left, which is in view, or `NOTHING`.
        turn: By how many steps it is turned clockwise, 0 to 7.
    """

    edits: tuple[Match, ...] = ()
    before: int = 0
    after: int = 0
    selected: int = NOTHING
    turn: int = 0


@lru_cache(maxsize=512)
def latest(edits: tuple[Match, ...]) -> Mapping[int, int]:
    """Return the decisions that count: specimen on the left -> index of the last edit on it."""
    return {edit.source: index for index, edit in enumerate(edits)}


def angle(turn: int) -> float:
    """Return the angle of some steps of turning, rad."""
    return 2 * np.pi * turn / TURNS


class ShapeMatchingInterface(task.Interface[ShapeMatchingWorld, State]):
    """Fields of view, turns of the selected specimen, and `No match`.

    A click on a specimen on the left selects it, a click on the right says where its match is.
    """

    title = "Shape matching"

    def start(self) -> State:
        """Begin with the first fields of view and nothing selected."""
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        """Return the buttons; those of the last group work on the selected specimen."""
        index = latest(state.edits).get(state.selected)
        decided = index is not None and state.edits[index].without
        selected = state.selected != NOTHING
        world = self.world
        return (
            Group(
                "Before",
                (
                    Button("-before", "− field", "navigate", state.before > 0),
                    Button(
                        "+before", "+ field", "navigate", state.before < world.before.fields - 1
                    ),
                ),
            ),
            Group(
                "After",
                (
                    Button("-after", "− field", "navigate", state.after > 0),
                    Button("+after", "+ field", "navigate", state.after < world.after.fields - 1),
                ),
            ),
            Group(
                "Selected",
                (
                    Button("turn-left", "Turn left", "look", selected),
                    Button("turn-right", "Turn right", "look", selected),
                ),
            ),
            Group("", (Button("without", "No match", "decide", selected and not decided),), 1),
        )

    def image(self, state: State) -> np.ndarray:
        """Return both photographs."""
        left = _photograph(self.world, True, state.before, state.selected, state.turn)
        right = _photograph(self.world, False, state.after, NOTHING, 0)
        image = np.concatenate([left, right], 1)
        image[:, HALF - 1 : HALF + 1] = _LINE
        return image

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return outlines in a color for each match, and that of the selected specimen."""
        marks = []
        slide = self.world.before
        found = self.world.after
        for source, index in latest(state.edits).items():
            edit = state.edits[index]
            color = WITHOUT if edit.without else COLORS[source % len(COLORS)]
            if slide.field[source] == state.before:
                turn = angle(state.turn) if source == state.selected else 0.0
                outline = slide.outline(source, turn, 2.5)
                marks.append(Mark("polygon", outline, color, 2, str(source + 1)))
                if edit.without:
                    marks.append(Mark("line", (outline[0], outline[20]), color, 2))
            if edit.field == state.after:
                target = found.at(edit.field, edit.u, edit.v)
                point = ((edit.u, edit.v),)
                if target == LOST:
                    marks.append(Mark("ring", point, color, 6, str(source + 1)))
                else:
                    outline = found.outline(target, 0.0, 2.5)
                    marks.append(Mark("polygon", outline, color, 2, str(source + 1)))
                    marks.append(Mark("cross", point, color, 4))  # leaves the pores visible
        if state.selected != NOTHING:
            outline = slide.outline(state.selected, angle(state.turn), 5.5)
            marks.append(Mark("polygon", outline, SELECTED, 2))
        return tuple(marks)

    def status(self, state: State) -> tuple[str, ...]:
        """Return the fields of view, the number of decisions, and what to do."""
        count = len(self.world.before.field)
        decided = latest(state.edits)
        if state.selected != NOTHING and state.selected not in decided:
            prompt = f"Find {state.selected + 1} on the right"
        else:
            prompt = "Select one on the left" if len(decided) < count else "All decided"
        where = f"field {state.before + 1} | {state.after + 1}"
        return where, f"{len(decided)} of {count} decided", prompt

    def position(self, state: State) -> float:
        """Return the share of the specimens that are decided on."""
        return len(latest(state.edits)) / len(self.world.before.field)

    def act(self, state: State, button: str) -> State:
        """Change a field of view, turn the selected specimen, or say that it has no match."""
        if button == "without":
            return replace(state, edits=(*state.edits, Match(state.selected)))
        step = 1 if button in ("+before", "+after", "turn-right") else -1
        if button.startswith("turn"):
            return replace(state, turn=(state.turn + step) % TURNS)
        if button.endswith("after"):
            return replace(state, after=state.after + step)
        return replace(state, before=state.before + step, selected=NOTHING, turn=0)

    def place(self, state: State, u: float, v: float) -> State:
        """Select on the left, or say on the right where the match of the selected one is."""
        if u < HALF:
            source = self.world.before.at(state.before, u, v)
            if source == state.selected:
                return state
            return replace(state, selected=source, turn=0)
        if state.selected == NOTHING:
            return state
        return replace(state, edits=(*state.edits, Match(state.selected, state.after, u, v)))

    def place_kind(self, state: State, u: float, v: float) -> Kind:
        """Return `mode` on the left, and on the right `invalid` while nothing is selected."""
        if u < HALF:
            return "mode"
        return "place" if state.selected != NOTHING else "invalid"

    def undo(self, state: State) -> State:
        """Take back a decision, select its specimen and go to where the match was."""
        last = state.edits[-1]
        return replace(
            state,
            edits=state.edits[:-1],
            before=int(self.world.before.field[last.source]),
            after=state.after if last.without else last.field,
            selected=last.source,
            turn=state.turn if last.source == state.selected else 0,
        )


@lru_cache(maxsize=64)
def _photograph(
    world: ShapeMatchingWorld, left: bool, field: int, selected: int, turn: int
) -> np.ndarray:
    """Return a field of view with its title, (256, 128, 3) uint8; read only."""
    slide = world.before if left else world.after
    image = world.image_backgrounds[0 if left else 1].copy()
    for specimen in np.flatnonzero(slide.field == field).tolist():
        color, coverage = _specimen(world, left, specimen, turn if specimen == selected else 0)
        u, v = slide.center(specimen)
        x = round(u) - PATCH // 2 - (0 if left else HALF)
        y = round(v) - PATCH // 2

        # The patch may reach beyond the photograph, a specimen never does.
        rows = slice(max(y, 0), min(y + PATCH, CANVAS))
        columns = slice(max(x, 0), min(x + PATCH, HALF))
        within = (
            slice(rows.start - y, rows.stop - y),
            slice(columns.start - x, columns.stop - x),
        )
        image[rows, columns] += coverage[within] * (color[within] - image[rows, columns])

    photograph = np.clip(image, 0, 255).astype(np.uint8)
    photograph[:HEADER] = _STRIP
    title = f"{'Before' if left else 'After'} {field + 1} / {slide.fields}"
    text.put(photograph, title, 6, 1, _INK, 10, bold=True)
    photograph.flags.writeable = False
    return photograph


@lru_cache(maxsize=256)
def _specimen(
    world: ShapeMatchingWorld, left: bool, specimen: int, turn: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return color and coverage of a specimen, see `shell`."""
    slide = world.before if left else world.after
    turned = float(slide.angles[specimen]) + angle(turn)
    xs, ys = OFFSETS
    radius = slide.radius(specimen, np.arctan2(ys, xs) - turned)
    pores = slide.pores[specimen, : slide.kinds[specimen, 2]]
    rough = world.image_grain[0 if left else 1][specimen]
    return shell(radius, turned, pores, rough, BEFORE if left else AFTER)
