"""The pages about the tasks, made from the code: `tasks.md`, a picture of a whole episode of each task, and a picture of all."""

from __future__ import annotations

import inspect
import io
import tempfile
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from lastmile.screen import HEIGHT, WIDTH, Look, draw, text
from lastmile.simulation.registration import env_id
from lastmile.simulation.trajectory import Source
from lastmile.storage import files
from lastmile.studies.tasks.study import story
from lastmile.tasks import get_task, task_names

SHOWN, ACROSS = 10, 5
"""Screens in the picture of an episode, and how many of them side by side."""
EPISODE, ALL = (1440, 250_000), (1800, 900_000)
"""Largest width (px) and size (bytes) of the picture of an episode, and of that of all tasks."""
_GAP, _LABEL, _RING = 6, 18, (255, 59, 107)


def write(folder: Path) -> list[Path]:
    """Write all pages and pictures into a folder; the files that were written."""
    made = [folder / "tasks.md"]
    files.write_text(made[0], page())
    for name in task_names():
        made.append(folder / "tasks" / f"{name}.png")
        _save(made[-1], episode_picture(name), *EPISODE)
    made.append(folder / "tasks.png")
    _save(made[-1], all_picture(), *ALL)
    return made


def page() -> str:
    """`tasks.md`: a section for each task."""
    names = task_names()
    lines = [
        "# The tasks",
        "",
        "Made from the code by `python -m lastmile docs`; do not edit. A new task: [adding_a_task.md](adding_a_task.md).",
        "",
    ]
    lines += [
        f"- [{get_task(name).interface.title}](#{name.replace('_', '-')}): `{env_id(name)}`"
        for name in names
    ]
    for name in names:
        lines += ["", *section(name)]
    return "\n".join(lines) + "\n"


def section(name: str) -> list[str]:
    """Lines about one task: what its class says, its buttons, its difficulties, a picture."""
    task = get_task(name)
    interface = task.interface(_source(name).world(0))
    lines = [
        f'<a name="{name.replace("_", "-")}"></a>',
        "",
        f"## {task.interface.title}",
        "",
        *inspect.getdoc(type(task)).splitlines(),
    ]
    lines += [
        "",
        f"![Screens along one episode](tasks/{name}.png)",
        "",
        f"*Ring: the click that follows. Gymnasium: `{env_id(name)}`.*",
        "",
    ]
    lines += ["| button | label | kind of action |", "| --- | --- | --- |"]
    for group in interface.controls(interface.start()):
        lines += [
            f"| `{b.id}` | {f'{group.title}: ' if group.title else ''}{b.label} | {b.kind} |"
            for b in group.buttons
        ]
    lines += [
        "",
        "| difficulty | " + " | ".join(f"`{one}`" for one in task.difficulties) + " |",
        "| --- |" + " --- |" * len(task.difficulties),
    ]
    values = {one: _values(value) for one, value in task.difficulties.items()}
    for key in dict.fromkeys(key for value in values.values() for key in value):
        lines.append(
            f"| {key} | "
            + " | ".join(_show(value.get(key, "")) for value in values.values())
            + " |"
        )
    meaning = inspect.getdoc(type(next(iter(task.difficulties.values())))) or ""
    if not meaning.startswith(f"{type(next(iter(task.difficulties.values()))).__name__}("):
        lines += ["", *meaning.splitlines()]
    return [
        *lines,
        "",
        f"Mistake rate of the typical annotator: {task.mistake_rate:g}. Version of the task: {task.version}.",
    ]


def episode_picture(name: str) -> np.ndarray:
    """Screens of an episode of the typical annotator at short difficulty, each with the click that follows, (h, w, 3) uint8."""
    source = _source(name)
    number, episode = story(source)
    interface, columns = get_task(name).interface(source.world(number)), episode.columns
    steps = len(columns["x"])
    chosen = moments(columns["phase"], columns["kind"])
    rows = -(-len(chosen) // ACROSS)
    wide, high = ACROSS * (WIDTH + _GAP) - _GAP, rows * (_LABEL + HEIGHT + _GAP) - _GAP
    sheet, state, place = np.full((high, wide, 3), 255, np.uint8), interface.start(), 0
    for step, at in enumerate(zip(columns["x"], columns["y"])):
        if step in chosen:
            x, y = place % ACROSS * (WIDTH + _GAP), place // ACROSS * (_LABEL + HEIGHT + _GAP)
            image = draw(interface.screen(state, Look()))
            for color, thick in (((255, 255, 255), 4), (_RING, 2)):
                cv2.circle(image, tuple(c * 16 for c in at), 14 * 16, color, thick, cv2.LINE_AA, 4)
            text.put(
                sheet,
                f"{step + 1} of {steps}  {columns['phase'][step]}: {columns['kind'][step]}",
                x,
                y,
                (34, 38, 46),
                15,
            )
            sheet[y + _LABEL : y + _LABEL + HEIGHT, x : x + WIDTH] = image
            place += 1
        state = interface.apply(state, interface.hit(state, *at))
    return sheet


def moments(phases: list[str], kinds: list[str], count: int = SHOWN) -> list[int]:
    """Up to `count` steps to show: the first and the last, the first and last of each phase, a look, an undo, and others evenly between."""
    last = len(phases) - 1
    wanted = {0, last}
    for phase in dict.fromkeys(phases):
        steps = [i for i, one in enumerate(phases) if one == phase]
        wanted |= {steps[0], steps[-1]} if len(wanted) < count - 2 else {steps[-1]}
    for kind in ("undo", "look", "decide"):
        steps = [i for i, one in enumerate(kinds) if one == kind and i not in wanted]
        wanted |= set(steps[-1:]) if len(wanted) < count - 1 else set()
    while len(wanted) < min(count, last + 1):
        known = sorted(wanted)
        gap, start = max((b - a, -a) for a, b in zip(known, known[1:]))
        wanted.add(-start + gap // 2)
    return sorted(wanted)[: count - 1] + [last] if len(wanted) > count else sorted(wanted)


def all_picture() -> np.ndarray:
    """The figure `tasks` of all tasks, (h, w, 3) uint8."""
    from lastmile.config import parse
    from lastmile.studies.render import render
    from lastmile.studies.tasks import study

    settings = parse({"tasks": list(task_names())}, "docs")
    with tempfile.TemporaryDirectory() as folder:
        study.table({}, settings).to_csv(Path(folder) / "tasks.csv", index=False)
        Image.fromarray(study.sheet(settings)).save(Path(folder) / "tasks_screens.png")
        made = render("tasks", Path(folder) / "tasks.csv", Path(folder) / "tasks")
        return np.asarray(Image.open(made[0]).convert("RGB"))


def _source(name: str) -> Source:
    return Source(name, "test", 0)


def _values(value: Any) -> dict[str, Any]:
    return (
        {item.name: getattr(value, item.name) for item in fields(value)}
        if is_dataclass(value)
        else {"value": value}
    )


def _show(value: Any) -> str:
    """A number, a range (4, 6), a labelled value (2, (4, 6)), or several of those."""
    if isinstance(value, tuple):
        numbers = [isinstance(part, (int, float)) for part in value]
        if len(value) == 2 and numbers[0]:
            return f"{_show(value[0])}{' to ' if numbers[1] else ': '}{_show(value[1])}"
        return (", " if all(numbers) else "; ").join(map(_show, value))
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _save(path: Path, image: np.ndarray, widest: int, largest: int) -> None:
    """A PNG with a palette, as wide as fits into `largest` bytes."""
    for width in range(widest, 400, -80):
        share = min(1.0, width / image.shape[1])
        small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        out = io.BytesIO()
        Image.fromarray(small).quantize(palette=_palette(small), dither=Image.Dither.NONE).save(
            out, "PNG", optimize=True
        )
        if out.tell() <= largest:
            break
    with files.writing(path) as temporary:
        temporary.write_bytes(out.getvalue())


def _palette(image: np.ndarray) -> Image.Image:
    """White and 255 colors by median cut, in which small bright things count as much as wide dark ones: each of the image's colors (to 5 bits a
    channel) weighs by the fourth root of its area."""
    pixels = image.reshape(-1, 3)
    bins = (pixels >> 3).astype(np.int64) @ (1024, 32, 1)
    counts = np.bincount(bins, minlength=32**3)
    used = np.flatnonzero(counts)
    means = (
        np.stack([np.bincount(bins, channel, 32**3)[used] for channel in pixels.T], 1)
        / counts[used, None]
    )
    weighed = np.repeat(
        means.round().astype(np.uint8), np.ceil(counts[used] ** 0.25).astype(int), axis=0
    )
    found = Image.fromarray(weighed[None]).quantize(255, Image.Quantize.MEDIANCUT)
    found.putpalette([*found.getpalette()[: 255 * 3], 255, 255, 255])
    return found
