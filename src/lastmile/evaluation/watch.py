"""Watching an episode: screens with the click on them, and beside them the state and the labels, as GIF or MP4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as imageio
import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, Look, draw, text
from lastmile.simulation.pool import Rollout
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Source, record
from lastmile.storage import files
from lastmile.tasks import get_task

_SIDE = 176
DEFAULT_LOOK = Look()
FORMATS = (".gif", ".mp4")


def watch(
    task: str,
    out: str | Path,
    policy: str | Path | None = None,
    style: str = "typical",
    difficulty: str = "short",
    episode: int = 0,
    seed: int = 0,
    temperature: float = 0.4,
    look: Look = DEFAULT_LOOK,
    fps: float = 3.0,
    max_steps: int = 300,
) -> int:
    """Write an episode of the virtual annotator, or of the policy in a folder, and return its number of steps.

    Raises ValueError for an unknown task, style, difficulty, look or file format, PolicyError for a folder without a policy.
    """
    out = Path(out)
    if out.suffix.lower() not in FORMATS:
        raise LastmileError(f"{out}: expected a file that ends in {' or '.join(FORMATS)}")
    if not fps > 0:
        raise LastmileError(f"fps: expected more than 0, got {fps}")
    look.check()
    get_task(task).difficulty(difficulty)
    source = Source(task, "test", seed, difficulty, style, (look.layout,), (look.theme,))
    labels: list[dict[str, str]] = []
    if policy is None:
        recorded = record(source, episode)
        columns = recorded.columns
        session = Rollout(episode, task, source.world(episode), look, len(columns["x"]))
        for _ in session.play(zip(columns["x"], columns["y"])):
            pass
        for i in range(len(columns["x"])):
            labels.append(
                {
                    "phase": columns["phase"][i],
                    "mistake": columns["mistake"][i],
                    "critical": "yes" if columns["critical"][i] else "",
                }
            )
        who = f"annotator, {style}"
    else:
        from lastmile.evaluation.closed_loop import roll_out
        from lastmile.policy.policy import Policy

        session = Rollout(episode, task, source.world(episode), look, max_steps)
        roll_out(Policy.load(policy), [session], temperature, seed)
        labels = [{} for _ in session.steps]
        who = f"policy, T = {temperature:g}"
    frames = [_frame(session, i, labels[i], who) for i in range(len(session.steps))]
    frames.append(_frame(session, len(session.steps), {}, who))
    frames += [frames[-1]] * 3
    with files.writing(out) as temporary:
        if out.suffix.lower() == ".gif":
            imageio.imwrite(
                temporary, np.stack(frames), extension=".gif", duration=1000 / fps, loop=0
            )
        else:
            imageio.imwrite(
                temporary,
                np.stack(frames),
                extension=".mp4",
                fps=fps,
                codec="libx264",
                macro_block_size=16,
                output_params=["-crf", "20", "-f", "mp4"],
            )
    return len(session.steps)


def _frame(session: Session[Any, Any], step: int, labels: dict[str, str], who: str) -> np.ndarray:
    """One picture, (336, 624, 3): the screen with the click that follows, and what is known of the moment."""
    state, task = session.states[step], session.task
    image = draw(session.interface.screen(state, session.look))
    if step < len(session.steps):
        at = tuple(int(c) * 16 for c in session.steps[step].click)
        cv2.circle(image, at, 9 * 16, (255, 255, 255), 3, cv2.LINE_AA, 4)
        cv2.circle(image, at, 9 * 16, (255, 59, 107), 2, cv2.LINE_AA, 4)
    side = np.full((HEIGHT, _SIDE, 3), 250, np.uint8)
    score = task.score(session.world, state)
    lines = [
        ("who", who),
        ("step", f"{step + 1} of {len(session.steps)}" if step < len(session.steps) else "end"),
    ]
    if step < len(session.steps):
        hit = session.steps[step].hit
        lines += [("action", f"{hit.kind} {hit.widget if hit.widget != 'canvas' else ''}".strip())]
        lines += [(name, value) for name, value in labels.items() if value]
        judged = session.verdict(session.steps[step])
        lines += [("verdict", judged)] if judged else []
    lines += [
        ("position", f"{session.interface.position(state):.2f}"),
        ("open mistakes", str(len(task.mistakes(session.world, state)))),
        ("score", f"{score.score:.3f}"),
    ]
    if state.done:
        lines.append(("result", "success" if score.success else "not a success"))
    y = 12
    for name, value in lines:
        text.put(side, name, 12, y, (122, 128, 140), 9)
        text.put(
            side,
            text.fit(value, _SIDE - 20, 12),
            12,
            y + 12,
            (200, 30, 60) if name in ("mistake",) else (34, 38, 46),
            12,
        )
        y += 34
    return np.hstack([image, side])
