"""Watch an episode: a video of its screens with the clicks on them, beside state and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as imageio
import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, Look, draw, text
from lastmile.simulation.pool import Rollout
from lastmile.simulation.session import DEFAULT_LOOK, Session
from lastmile.simulation.trajectory import Source, record
from lastmile.storage import files
from lastmile.tasks import get_task
from lastmile.tasks.real import SYNTHETIC

FORMATS = (".gif", ".mp4")
_SIDE = 176  # width of the panel beside the screen, px
_MARK = (255, 59, 107)
_WHITE = (255, 255, 255)
_NAME, _VALUE, _ALARM = (122, 128, 140), (34, 38, 46), (200, 30, 60)


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
    worlds: str = SYNTHETIC,
) -> int:
    """Write a video of an episode of the test split.

    Args:
        task: Name of the task.
        out: File to write, .gif or .mp4.
        policy: Name or folder of the policy that plays; without one, the virtual annotator plays.
        style: Style of the annotator.
        difficulty: Name of one of the task's difficulties.
        episode: Number of the episode.
        seed: Seed of the split and of the policy's clicks.
        temperature: Temperature of the policy's clicks.
        look: Layout and theme of the interface.
        fps: Frames per second.
        max_steps: Steps after which a policy's episode is truncated.
        worlds: `synthetic`, `real`, or the folder of imported worlds.

    Returns:
        The number of steps.

    Raises:
        LastmileError: The task, style, difficulty, look or file format is unknown, the frame rate
            is not above 0, or there is no such policy.
    """
    out = Path(out)
    if out.suffix.lower() not in FORMATS:
        raise LastmileError(f"{out}: expected a file that ends in {' or '.join(FORMATS)}")
    if not fps > 0:
        raise LastmileError(f"fps: expected more than 0, got {fps}")
    look.check()
    get_task(task).difficulty(difficulty)

    source = Source(task, "test", seed, difficulty, style, (look.layout,), (look.theme,), worlds)
    labels: list[dict[str, str]]
    if policy is None:
        columns = record(source, episode).columns
        session = Rollout(episode, task, source.world(episode), look, len(columns["x"]))
        for _ in session.play(zip(columns["x"], columns["y"])):
            pass
        labels = [
            {"phase": phase, "mistake": mistake, "critical": "yes" if critical else ""}
            for phase, mistake, critical in zip(
                columns["phase"], columns["mistake"], columns["critical"]
            )
        ]
        player = f"annotator, {style}"
    else:
        # Torch is imported only where a policy plays.
        from lastmile.evaluation.closed_loop import play_rollouts
        from lastmile.released.loading import Policy

        session = Rollout(episode, task, source.world(episode), look, max_steps)
        play_rollouts(Policy.load(policy), [session], temperature, seed)
        labels = [{} for _ in session.steps]
        player = f"policy, T = {temperature:g}"

    pictures = [_picture(session, i, labels[i], player) for i in range(len(session.steps))]
    pictures.append(_picture(session, len(session.steps), {}, player))
    pictures += [pictures[-1]] * 3  # time to read the result
    with files.writing(out) as temporary:
        if out.suffix.lower() == ".gif":
            imageio.imwrite(
                temporary, np.stack(pictures), extension=".gif", duration=1000 / fps, loop=0
            )
        else:
            imageio.imwrite(
                temporary,
                np.stack(pictures),
                extension=".mp4",
                fps=fps,
                codec="libx264",
                macro_block_size=16,
                output_params=["-crf", "20", "-f", "mp4"],
            )
    return len(session.steps)


def _picture(
    session: Session[Any, Any], step: int, labels: dict[str, str], player: str
) -> np.ndarray:
    """Draw one picture, (336, 624, 3) uint8: a screen with the click on it, and a panel beside."""
    state = session.states[step]
    image = draw(session.interface.screen(state, session.look))
    if step < len(session.steps):
        # OpenCV draws at sixteenths of a pixel here (four fractional bits).
        center = tuple(int(c) * 16 for c in session.steps[step].click)
        cv2.circle(image, center, 9 * 16, _WHITE, 3, cv2.LINE_AA, 4)
        cv2.circle(image, center, 9 * 16, _MARK, 2, cv2.LINE_AA, 4)

    panel = np.full((HEIGHT, _SIDE, 3), 250, np.uint8)
    y = 12
    for name, value in _lines(session, step, labels, player):
        text.put(panel, name, 12, y, _NAME, 9)
        color = _ALARM if name == "mistake" else _VALUE
        text.put(panel, text.fit(value, _SIDE - 20, 12), 12, y + 12, color, 12)
        y += 34
    return np.hstack([image, panel])


def _lines(
    session: Session[Any, Any], step: int, labels: dict[str, str], player: str
) -> list[tuple[str, str]]:
    """List what the panel says about the moment before a step: names and values."""
    state, task = session.states[step], session.task
    score = task.score(session.world, state)
    ended = step == len(session.steps)

    lines = [
        ("who", player),
        ("step", "end" if ended else f"{step + 1} of {len(session.steps)}"),
    ]
    if not ended:
        hit = session.steps[step].hit
        lines.append(
            ("action", f"{hit.kind} {hit.widget if hit.widget != 'canvas' else ''}".strip())
        )
        lines += [(name, value) for name, value in labels.items() if value]
        if verdict := session.verdict(session.steps[step]):
            lines.append(("verdict", verdict))
    lines += [
        ("position", f"{session.interface.position(state):.2f}"),
        ("open mistakes", str(len(task.mistakes(session.world, state)))),
        ("score", f"{score.score:.3f}"),
    ]
    if state.done:
        lines.append(("result", "success" if score.success else "not a success"))
    return lines
