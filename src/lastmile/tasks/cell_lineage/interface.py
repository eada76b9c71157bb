"""The interface of cell lineage: a movie, one button per track, and Split."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.cell_lineage.world import CellLineageWorld

SLOTS = 8
"""Largest number of tracks. Each has its own button, disabled while the track is not open."""
COLORS = (
    (235, 60, 55),
    (65, 145, 255),
    (250, 210, 45),
    (70, 205, 85),
    (230, 90, 225),
    (45, 210, 220),
    (250, 140, 35),
    (150, 105, 255),
)
"""Colors of the tracks."""
RING = 12.0
"""Radius of the ring around a point, logical px: nuclei stay visible inside."""
OLD_RING = 10.0
"""Radius of the ring around the point of the frame before, logical px."""


class Point(NamedTuple):
    """An annotation: a track is at (u, v) in a frame. It replaces the track's point in the frame.

    Attributes:
        track: The track.
        t: The frame.
        u: Canvas coordinate, logical px to the right.
        v: Canvas coordinate, logical px down.
    """

    track: int
    t: int
    u: float
    v: float


class Split(NamedTuple):
    """An annotation: a track has divided by a frame.

    The track ends there, its points from that frame on no longer count, and two new tracks begin.

    Attributes:
        track: The track.
        t: The frame, the first of the daughters.
    """

    track: int
    t: int


Edits = tuple[Point | Split, ...]
"""The annotations, oldest first."""


class Track(NamedTuple):
    """A track, open in the frames from `birth` up to but not including `end`.

    Attributes:
        parent: The track it was split from, -1 for founders.
        birth: Its first frame.
        end: The frame after its last.
        children: The first of its two daughters, the second being the next track; -1 without.
    """

    parent: int
    birth: int
    end: int
    children: int


class Lineage(NamedTuple):
    """What annotations amount to.

    Attributes:
        tracks: All tracks, founders first.
        points: By (track, frame), the index in `edits` of the point that counts.
        pending: Number of daughters of the last split that still need to be clicked.
    """

    tracks: tuple[Track, ...]
    points: dict[tuple[int, int], int]
    pending: int

    def open(self, track: int, t: int) -> bool:
        """Return whether a track exists and is open in a frame."""
        return track < len(self.tracks) and self.tracks[track].birth <= t < self.tracks[track].end


# Cached and recursive: each new annotation costs one step, not a pass over all annotations.
@lru_cache(maxsize=1024)
def read_lineage(founders: int, frames: int, edits: Edits) -> Lineage:
    """Return the lineage that annotations describe.

    Args:
        founders: Number of tracks that are open from the first frame.
        frames: Number of frames.
        edits: The annotations.
    """
    if not edits:
        return Lineage((Track(-1, 0, frames, -1),) * founders, {}, 0)

    before = read_lineage(founders, frames, edits[:-1])
    last = edits[-1]
    if isinstance(last, Point):
        return Lineage(
            before.tracks,
            {**before.points, (last.track, last.t): len(edits) - 1},
            max(before.pending - 1, 0),
        )

    # A split ends its track, drops the track's points from then on, and opens two new tracks.
    count = len(before.tracks)
    parent = before.tracks[last.track]._replace(end=last.t, children=count)
    tracks = (
        *before.tracks[: last.track],
        parent,
        *before.tracks[last.track + 1 :],
        *(Track(last.track, last.t, frames, -1),) * 2,
    )
    points = {
        key: index
        for key, index in before.points.items()
        if key[0] != last.track or key[1] < last.t
    }
    return Lineage(tracks, points, 2)


def point_at(edits: Edits, index: int) -> Point:
    """Return the annotation at an index of `Lineage.points`, which is a point."""
    edit = edits[index]
    assert isinstance(edit, Point)
    return edit


@dataclass(frozen=True, slots=True)
class State(task.MovieState):
    """The annotations and the view.

    Attributes:
        edits: The points and splits.
        t: The current frame.
        track: The selected track. It is always open in the current frame.
    """

    edits: Edits = ()
    track: int = 0


class CellLineageInterface(task.Interface[CellLineageWorld, State]):
    """`-t`, `+t`, `Split` and one button per track; a click on the canvas puts the track there.

    After `Split` everything except `Undo` and `Done` is disabled until both daughters have been
    clicked. The selection follows the lineage: it goes to the parent in frames before a track
    begins and to the first daughter in frames after it has divided. `Undo` goes to the frame of
    what it takes back, and selects its track.
    """

    title = "Cell lineage"

    def __init__(self, world: CellLineageWorld) -> None:
        super().__init__(world)
        self._last_lineage: tuple[Edits, Lineage] | None = None

    def lineage(self, state: State) -> Lineage:
        """Return the lineage that the annotations of a state describe."""
        # Compared by identity first: hashing a long tuple for the cache of `read_lineage` is slow.
        last = self._last_lineage
        if last is not None and last[0] is state.edits:
            return last[1]
        lineage = read_lineage(self.world.founders, self.world.frames, state.edits)
        self._last_lineage = (state.edits, lineage)
        return lineage

    def start(self) -> State:
        """Begin in the first frame, with the first founder selected."""
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        lineage = self.lineage(state)
        t = state.t
        busy = lineage.pending > 0

        buttons = []
        for k in range(SLOTS):
            is_open = lineage.open(k, t)
            label = f"{k + 1}✓" if is_open and (k, t) in lineage.points else f"{k + 1}"
            buttons.append(
                Button(
                    f"track{k + 1}",
                    label,
                    "mode",
                    is_open and not busy,
                    is_open and k == state.track,
                    COLORS[k] if is_open else None,
                )
            )
        return (
            Group(
                "Frame",
                (
                    Button("-t", "− t", "navigate", not busy and t > 0),
                    Button("+t", "+ t", "navigate", not busy and t < self.world.frames - 1),
                ),
            ),
            Group("Tracks", tuple(buttons)),
            Group(
                "Division",
                (Button("split", "Split", "decide", not busy and self.splits(state), busy),),
                1,
            ),
        )

    def splits(self, state: State) -> bool:
        """Return whether the selected track can be split in the current frame.

        It must have existed before and not have been split, and two tracks must be left.
        """
        lineage = self.lineage(state)
        track = lineage.tracks[state.track]
        return state.t > track.birth and track.children < 0 and len(lineage.tracks) + 2 <= SLOTS

    def image(self, state: State) -> np.ndarray:
        """Return the frame."""
        return self.world.image_frames[state.t]

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return each open track's point as a numbered ring, and where it was one frame before.

        Nothing is drawn over what is inside the rings but the small cross of the selected track.
        """
        lineage = self.lineage(state)
        t = state.t
        marks = []
        for k, track in enumerate(lineage.tracks):
            if not track.birth <= t < track.end:
                continue
            color = COLORS[k]
            selected = k == state.track
            here = self.point(state, k, t)
            # A newborn track comes from the last point of its parent.
            before = (
                self.point(state, k if t > track.birth else track.parent, t - 1) if t > 0 else None
            )

            if here and before and (distance := math.dist(here, before)) > RING:
                share = RING / distance  # the line ends at the ring
                rim = tuple(a + (b - a) * share for a, b in zip(here, before))
                marks.append(Mark("line", (before, (rim[0], rim[1])), color, 1))
            if here:
                marks.append(Mark("ring", (here,), color, RING, label=str(k + 1)))
            elif before and t > track.birth:
                marks.append(Mark("ring", (before,), color, OLD_RING, faint=not selected))
            if before and not here and selected:
                marks.append(Mark("cross", (before,), color, 3))
        return tuple(marks)

    def point(self, state: State, track: int, t: int) -> tuple[float, float] | None:
        """Return where a track is in a frame, or None. In frame 0 the founders are given."""
        if t == 0 and track < self.world.founders:
            return self.world.center(track, 0)
        index = self.lineage(state).points.get((track, t))
        if index is None:
            return None
        point = point_at(state.edits, index)
        return point.u, point.v

    def status(self, state: State) -> tuple[str, ...]:
        """Return the frame, how many tracks have a point in it, and what to do next."""
        lineage = self.lineage(state)
        t = state.t
        where = f"frame {t + 1} of {self.world.frames}"
        if lineage.pending:
            return where, f"click daughter {3 - lineage.pending} of 2", "then go on"
        if t == 0:
            return where, "these cells are given", "follow each cell"

        present = [k for k in range(len(lineage.tracks)) if lineage.open(k, t)]
        marked = sum((k, t) in lineage.points for k in present)
        if marked == len(present):
            hint = "all marked here"
        elif (state.track, t) in lineage.points:
            hint = "choose a track"
        else:
            hint = f"click cell {state.track + 1}"
        return where, f"{marked} of {len(present)} marked", hint

    def position(self, state: State) -> float:
        """Return the time in the movie."""
        return state.t / (self.world.frames - 1)

    def live(self, state: State) -> bool:
        """Take no clicks in the first frame, where the founders are given."""
        return state.t > 0

    def act(self, state: State, button: str) -> State:
        """Split the selected track, change the frame, or select a track."""
        if button == "split":
            edits = (*state.edits, Split(state.track, state.t))
            return replace(state, edits=edits, track=len(self.lineage(state).tracks))
        if button in ("+t", "-t"):
            return self.show(state, state.t + (1 if button == "+t" else -1), state.track)
        return replace(state, track=int(button.removeprefix("track")) - 1)

    def place(self, state: State, u: float, v: float) -> State:
        """Put the selected track at (u, v). After a split, select the other daughter."""
        pending = self.lineage(state).pending
        after = replace(state, edits=(*state.edits, Point(state.track, state.t, u, v)))
        if pending:
            return replace(after, track=state.track + 1 if pending == 2 else state.track - 1)
        return after

    def undo(self, state: State) -> State:
        """Take back the last annotation, show its frame and select its track."""
        last = state.edits[-1]
        return self.show(replace(state, edits=state.edits[:-1]), last.t, last.track)

    def show(self, state: State, t: int, track: int) -> State:
        """Return the state with another frame on display.

        Args:
            state: The state.
            t: The frame to show.
            track: The track to select. If it is not open in the frame, its ancestor or first
                descendant that is open there is selected instead.
        """
        tracks = self.lineage(state).tracks
        while t < tracks[track].birth:
            track = tracks[track].parent
        while t >= tracks[track].end:
            track = tracks[track].children
        return replace(state, t=t, track=track)
