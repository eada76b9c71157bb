"""The interface of cell lineage: a movie, one button for each track, and Split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task

SLOTS = 8
"""Tracks that can be opened in all; every one has a button of its own, disabled while the track is not in the frame that is shown."""
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


class Point(NamedTuple):
    """Track `track` is at canvas position (u, v) in frame t. A later point of the same track and frame replaces it."""

    track: int
    t: int
    u: float
    v: float


class Split(NamedTuple):
    """Track `track` has divided by frame t: it ends there, its points from t on no longer count, and the next two tracks begin."""

    track: int
    t: int


class Track(NamedTuple):
    """A track is open in the frames `birth` <= t < `end`. `children` is the first of its two daughters, -1 without any."""

    parent: int
    birth: int
    end: int
    children: int


class Tracks(NamedTuple):
    """What the edits amount to. points: the index of the edit that counts, by (track, frame). pending: daughters still to be clicked."""

    tracks: tuple[Track, ...]
    points: dict[tuple[int, int], int]
    pending: int

    def open(self, track: int, t: int) -> bool:
        return track < len(self.tracks) and self.tracks[track].birth <= t < self.tracks[track].end


@lru_cache(maxsize=1024)
def read(founders: int, frames: int, edits: tuple) -> Tracks:
    """The tracks that edits describe; the founders are open from frame 0."""
    if not edits:
        return Tracks((Track(-1, 0, frames, -1),) * founders, {}, 0)
    before, last = read(founders, frames, edits[:-1]), edits[-1]
    if isinstance(last, Point):
        return Tracks(
            before.tracks,
            {**before.points, (last.track, last.t): len(edits) - 1},
            max(before.pending - 1, 0),
        )
    count = len(before.tracks)
    parent = before.tracks[last.track]._replace(end=last.t, children=count)
    tracks = (
        *before.tracks[: last.track],
        parent,
        *before.tracks[last.track + 1 :],
        *(Track(last.track, last.t, frames, -1),) * 2,
    )
    kept = {
        key: index
        for key, index in before.points.items()
        if key[0] != last.track or key[1] < last.t
    }
    return Tracks(tracks, kept, 2)


@dataclass(frozen=True, slots=True)
class State(task.State):
    """t: the frame that is shown. track: the track that is selected; it is always open in that frame."""

    t: int = 0
    track: int = 0


class CellLineageInterface(task.Interface):
    """`-t`, `+t`, `Split` and one button a track; a click on the canvas puts the selected track there in the frame that is shown.

    After `Split` everything but `Undo` and `Done` rests until both daughters were clicked. The selection follows the lineage: it goes to
    the parent in frames before a track begins and to the first daughter in frames after it has divided. `Undo` shows the frame and selects
    the track of what it took back.
    """

    title = "Cell lineage"

    def __init__(self, world) -> None:
        super().__init__(world)
        self._last: tuple[State | None, tuple[Group, ...]] = (None, ())
        self._read: tuple[tuple | None, Tracks | None] = (None, None)

    def tracks(self, state: State) -> Tracks:
        if self._read[0] is not state.edits:
            self._read = (state.edits, read(self.world.founders, self.world.frames, state.edits))
        return self._read[1]

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        if self._last[0] is not state:
            self._last = (state, self._groups(state))
        return self._last[1]

    def _groups(self, state: State) -> tuple[Group, ...]:
        known, t = self.tracks(state), state.t
        busy = known.pending > 0
        buttons = []
        for k in range(SLOTS):
            there = known.open(k, t)
            label = f"{k + 1}✓" if there and (k, t) in known.points else f"{k + 1}"
            buttons.append(
                Button(
                    f"track{k + 1}",
                    label,
                    "mode",
                    there and not busy,
                    there and k == state.track,
                    COLORS[k] if there else None,
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
        """Whether the selected track can be split here: it was there before, has not been split, and two tracks are free."""
        known = self.tracks(state)
        track = known.tracks[state.track]
        return state.t > track.birth and track.children < 0 and len(known.tracks) + 2 <= SLOTS

    def image(self, state: State) -> np.ndarray:
        return self.world.image_frames[state.t]

    def marks(self, state: State) -> tuple[Mark, ...]:
        known, t, shown = self.tracks(state), state.t, []
        for k, track in enumerate(known.tracks):
            if not track.birth <= t < track.end:
                continue
            color = COLORS[k]
            here = self.point(state, k, t)
            before = (
                self.point(state, k if t > track.birth else track.parent, t - 1) if t > 0 else None
            )
            chosen = k == state.track
            if here and before:
                shown.append(Mark("line", (before, here), color, 1))
            if here:
                shown.append(Mark("ring", (here,), color, 8.5, label=str(k + 1)))
            elif before and t > track.birth:
                shown.append(Mark("ring", (before,), color, 6.0, faint=not chosen))
                if chosen:
                    shown.append(Mark("dot", (before,), color, 2.5))
            elif before and chosen:
                shown.append(Mark("dot", (before,), color, 2.5))
        return tuple(shown)

    def point(self, state: State, track: int, t: int) -> tuple[float, float] | None:
        """Where a track was put in a frame; in frame 0 the founders are given."""
        if t == 0 and track < self.world.founders:
            return float(self.world.xy[0, track, 0]), float(self.world.xy[0, track, 1])
        index = self.tracks(state).points.get((track, t))
        return None if index is None else state.edits[index][2:]

    def status(self, state: State) -> tuple[str, ...]:
        known, t = self.tracks(state), state.t
        where = f"frame {t + 1} of {self.world.frames}"
        if known.pending:
            return where, f"click daughter {3 - known.pending} of 2", "then go on"
        if t == 0:
            return where, "these cells are given", "follow each cell"
        present = [k for k in range(len(known.tracks)) if known.open(k, t)]
        marked = sum((k, t) in known.points for k in present)
        task = (
            "choose a track"
            if (state.track, t) in known.points
            else f"click cell {state.track + 1}"
        )
        return (
            where,
            f"{marked} of {len(present)} marked",
            "all marked here" if marked == len(present) else task,
        )

    def position(self, state: State) -> float:
        return state.t / (self.world.frames - 1)

    def live(self, state: State) -> bool:
        return state.t > 0

    def act(self, state: State, button: str) -> State:
        if button == "split":
            edits = (*state.edits, Split(state.track, state.t))
            return replace(state, edits=edits, track=len(self.tracks(state).tracks))
        if button in ("+t", "-t"):
            return self.show(state, state.t + (1 if button == "+t" else -1), state.track)
        return replace(state, track=int(button[5:]) - 1)

    def place(self, state: State, u: float, v: float) -> State:
        pending = self.tracks(state).pending
        after = replace(state, edits=(*state.edits, Point(state.track, state.t, u, v)))
        if pending:
            return replace(after, track=state.track + 1 if pending == 2 else state.track - 1)
        return after

    def undo(self, state: State) -> State:
        last = state.edits[-1]
        return self.show(replace(state, edits=state.edits[:-1]), last.t, last.track)

    def show(self, state: State, t: int, track: int) -> State:
        """The state with frame t shown and a track selected, or its ancestor or first descendant that is open in that frame."""
        tracks = self.tracks(state).tracks
        while t < tracks[track].birth:
            track = tracks[track].parent
        while t >= tracks[track].end:
            track = tracks[track].children
        return replace(state, t=t, track=track)
