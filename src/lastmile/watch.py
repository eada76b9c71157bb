"""Watching an episode: screens with the click on them, and beside them the state and the labels, as GIF or MP4."""

from __future__ import annotations

from pathlib import Path

import cv2
import imageio.v3 as imageio
import numpy as np

from lastmile import files
from lastmile.env import Job
from lastmile.screen import HEIGHT, Look, draw, text
from lastmile.tasks import get_task
from lastmile.trajectory import Source, record, verdict

_SIDE = 176
DEFAULT_LOOK = Look()
FORMATS = (".gif", ".mp4")


def watch(
    task: str, out: str | Path, policy: str | Path | None = None, style: str = "typical", difficulty: str = "short", episode: int = 0, seed: int = 0,
    temperature: float = 0.4, look: Look = DEFAULT_LOOK, fps: float = 3.0, max_steps: int = 300,
) -> int:  # fmt: skip
    """Write an episode of the virtual annotator, or of the policy in a folder, and return its number of steps.

    Raises ValueError for an unknown task, style, difficulty, look or file format, PolicyError for a folder without a policy.
    """
    out = Path(out)
    if out.suffix.lower() not in FORMATS:
        raise ValueError(f"{out}: expected a file that ends in {' or '.join(FORMATS)}")
    if not fps > 0:
        raise ValueError(f"fps: expected more than 0, got {fps}")
    look.check()
    get_task(task).difficulty(difficulty)
    source = Source(task, "test", seed, difficulty, style, (look.layout,), (look.theme,))
    labels: list[dict[str, str]] = []
    if policy is None:
        recorded = record(source, episode)
        columns = recorded.columns
        job = Job(episode, task, source.world(episode), look, len(columns["x"]))
        for x, y in zip(columns["x"], columns["y"]):
            job.step(x, y)
        for i in range(len(columns["x"])):
            labels.append({"phase": columns["phase"][i], "mistake": columns["mistake"][i], "critical": "yes" if columns["critical"][i] else ""})
        who = f"annotator, {style}"
    else:
        from lastmile.evaluation.rollout import rollout
        from lastmile.policy.policy import Policy

        job = Job(episode, task, source.world(episode), look, max_steps)
        rollout(Policy.load(policy), [job], temperature, seed)
        labels = [{} for _ in job.clicks]
        who = f"policy, T = {temperature:g}"
    frames = [_frame(job, i, labels[i], who) for i in range(len(job.clicks))]
    frames.append(_frame(job, len(job.clicks), {}, who))
    frames += [frames[-1]] * 3
    with files.writing(out) as temporary:
        if out.suffix.lower() == ".gif":
            imageio.imwrite(temporary, np.stack(frames), extension=".gif", duration=1000 / fps, loop=0)
        else:
            imageio.imwrite(temporary, np.stack(frames), extension=".mp4", fps=fps, codec="libx264", macro_block_size=16, output_params=["-crf", "20", "-f", "mp4"])
    return len(job.clicks)


def _frame(job: Job, step: int, labels: dict[str, str], who: str) -> np.ndarray:
    """One picture, (336, 624, 3): the screen with the click that follows, and what is known of the moment."""
    state, task = job.states[step], get_task(job.task)
    image = draw(job.interface.screen(state, job.look))
    if step < len(job.clicks):
        at = tuple(int(c) * 16 for c in job.clicks[step])
        cv2.circle(image, at, 9 * 16, (255, 255, 255), 3, cv2.LINE_AA, 4)
        cv2.circle(image, at, 9 * 16, (255, 59, 107), 2, cv2.LINE_AA, 4)
    side = np.full((HEIGHT, _SIDE, 3), 250, np.uint8)
    score = task.score(job.world, state)
    lines = [("who", who), ("step", f"{step + 1} of {len(job.clicks)}" if step < len(job.clicks) else "end")]
    if step < len(job.clicks):
        hit = job.hits[step]
        lines += [("action", f"{hit.kind} {hit.widget if hit.widget != 'canvas' else ''}".strip())]
        lines += [(name, value) for name, value in labels.items() if value]
        judged = verdict(task, job.world, state, job.states[step + 1])
        lines += [("verdict", judged)] if judged else []
    lines += [("position", f"{job.interface.position(state):.2f}"), ("open mistakes", str(len(task.mistakes(job.world, state)))), ("score", f"{score.score:.3f}")]
    if state.done:
        lines.append(("result", "success" if score.success else "not a success"))
    y = 12
    for name, value in lines:
        text.put(side, name, 12, y, (122, 128, 140), 9)
        text.put(side, text.fit(value, _SIDE - 20, 12), 12, y + 12, (200, 30, 60) if name in ("mistake",) else (34, 38, 46), 12)
        y += 34
    return np.hstack([image, side])
