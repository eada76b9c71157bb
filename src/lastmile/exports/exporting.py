"""Export a recording: replay its episodes, write them in a format, and say what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lastmile.errors import LastmileError, UnknownNameError
from lastmile.exports import (
    ctc,
    deeplabcut,
    folders,
    geojson,
    lerobot,
    minari,
    napari,
    swc,
    table,
)
from lastmile.exports.format import Details, Episode, Format
from lastmile.extras import needed_for
from lastmile.tasks import get_task

if TYPE_CHECKING:
    from lastmile.simulation.trajectory import Trajectories

SIDECAR_FORMAT = "lastmile.export/1"

FORMATS: dict[str, Format] = {
    "lerobot": lerobot.FORMAT,
    "minari": minari.FORMAT,
    "swc": swc.FORMAT,
    "ctc": ctc.FORMAT,
    "deeplabcut": deeplabcut.FORMAT,
    "napari": napari.FORMAT,
    "geojson": geojson.FORMAT,
    "csv": table.FORMAT,
}
"""The formats by name, those for learning first."""


def formats_of(task: str) -> list[str]:
    """Return the names of the formats that fit a task."""
    return [name for name, known in FORMATS.items() if known.fits(task)]


def export(
    recording: Trajectories | str | Path,
    to: str,
    out: str | Path,
    *,
    episodes: int | None = None,
    screens: str | None = None,
    skip_unfinished: bool = False,
    force: bool = False,
) -> int:
    """Export a recording to the format of another tool.

    Args:
        recording: A recording, or its file of steps.
        to: Name of the format, one of `FORMATS`. "lerobot" and "minari" take any task; the others
            hold what was annotated, and each fits some tasks only.
        out: Folder to make. It appears when everything in it is written.
        episodes: Export only the first ones, so many; all by default.
        screens: Only for "lerobot": "small" for screens of 168 x 126 px as in the environments, the
            default, or "full" for 448 x 336 px.
        skip_unfinished: Leave out episodes in which `Done` was not pressed. Without it, such an
            episode is an error in formats for annotations; in those for learning it is truncated.
        force: Replace an earlier export in the same folder.

    Returns:
        The number of episodes in the export.

    Raises:
        LastmileError: The recording cannot be used, the format does not exist or does not fit its
            task, an episode is unfinished or none is left, or the folder exists.
        MissingExtraError: The format needs a package that is not installed.
    """
    if to not in FORMATS:
        raise UnknownNameError("format", to, FORMATS)
    if episodes is not None and episodes < 1:
        raise LastmileError(f"episodes: expected at least 1, got {episodes}")
    written_format = FORMATS[to]
    write = written_format.write
    if screens is not None:
        if to != "lerobot":
            raise LastmileError(f"screens: only the format 'lerobot' has a choice, not '{to}'")
        write = partial(lerobot.write, screens=screens)

    with needed_for("lastmile.exports"):
        from lastmile.simulation import trajectory

    if isinstance(recording, (str, Path)):
        recording = trajectory.read(recording)
    task = recording.source.task
    if not written_format.fits(task):
        raise LastmileError(
            f"{recording.path}: task '{task}' cannot be exported to '{to}'; "
            f"expected one of {', '.join(formats_of(task))}"
        )
    if episodes is not None:
        recording = recording.first(episodes)

    summaries: list[Details] = []

    def keep(played: Iterator[Episode]) -> Iterator[Episode]:
        for episode in played:
            if not episode.session.done:
                if skip_unfinished:
                    continue
                if not written_format.for_learning:
                    raise LastmileError(
                        f"{recording.path}: episode {episode.number} is unfinished ('Done' was not "
                        "pressed); leave such episodes out with --skip-unfinished"
                    )
            # Not the episode itself: worlds with their images are large.
            summaries.append(_summary(episode))
            yield episode

    with folders.writing(out, force) as folder, needed_for(f"an export to '{to}'"):
        details = write(folder, keep(_play(recording)))
        if not summaries:
            raise LastmileError(f"{recording.path}: has no finished episode to export")
        sidecar = {
            "format": SIDECAR_FORMAT,
            "to": to,
            "what": written_format.what,
            "coordinates": written_format.coordinates(task),
            "task": task,
            "task_version": get_task(task).version,
            "source": recording.source.values(),
            "episodes": [
                {**summary, **more} for summary, more in zip(summaries, details, strict=True)
            ],
        }
        text = json.dumps(sidecar, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / folders.SIDECAR).write_text(text + "\n", encoding="utf-8")
    return len(summaries)


def _play(recording: Trajectories) -> Iterator[Episode]:
    """Replay every episode of a recording to its end."""
    source = recording.source
    for number in range(len(recording.episodes)):
        replay = recording.open(number)
        for _ in replay.replay():
            pass
        row = recording.episodes.iloc[number]
        seed = source.key(int(row["episode"]))
        yield Episode(number, seed, source.difficulty, str(row["world"]), replay)


def _summary(episode: Episode) -> Details:
    """Return what the sidecar says of any episode."""
    session = episode.session
    score = session.score
    return {
        "episode": episode.number,
        "world_seed": list(episode.seed),
        "world": episode.world,
        "layout": session.look.layout,
        "theme": session.look.theme,
        "steps": len(session.steps),
        "finished": session.done,
        "score": float(score.score),
        "success": bool(score.success),
    }
