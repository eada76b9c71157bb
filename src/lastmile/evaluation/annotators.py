"""Check a virtual annotator: its success, how it spends its clicks, and its mistakes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from lastmile.errors import LastmileError, UnknownNameError
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import LONGEST
from lastmile.tasks import get_task
from lastmile.tasks.annotator import STYLES, Annotator, click, make_annotator
from lastmile.tasks.real import SYNTHETIC, real_world
from lastmile.tasks.task import Task, generator

STARTS = ("start", "random")
"""Where an episode begins: at its start, or after random clicks."""
PLAYERS = (*STYLES, "random", "blind")
"""Who annotates: an annotator of a style, random valid clicks, or the typical annotator that knows
another world than it is shown."""
RANDOM_STEPS = 200
"""Steps of players that need not come to an end."""


def random_click(
    session: Session[Any, Any], rng: np.random.Generator, done: bool = False
) -> tuple[int, int]:
    """Draw a valid click: an enabled button or the live canvas, then a point inside.

    Args:
        session: The session; the click is drawn, but not made.
        rng: Random generator.
        done: Whether `Done` may be pressed too.
    """
    screen = session.screen()
    rects = [w.rect for w in screen.widgets if w.button.enabled and (done or w.button.id != "done")]
    if screen.canvas_live:
        rects.append(screen.canvas)
    rect = rects[int(rng.integers(len(rects)))]
    return int(rect.x + rng.integers(rect.width)), int(rect.y + rng.integers(rect.height))


def check(
    name: str,
    worlds: int = 100,
    style: str = "typical",
    start: str = "start",
    difficulty: str = "full",
    seed: int = 0,
    source: str = SYNTHETIC,
) -> dict[str, Any]:
    """Let an annotator work on several worlds and count.

    Args:
        name: Name of the task.
        worlds: Number of worlds.
        style: One of PLAYERS.
        start: "start", or "random": after 0 to 60 random valid clicks (`Done` left out).
        difficulty: Name of one of the task's difficulties.
        seed: Seed of worlds and annotator.
        source: Where the worlds come from: `synthetic`, `real`, or the folder of imported ones.
            Real and imported ones are of the test split.

    Returns:
        The arguments, and: `success` (share of the worlds), `failed` (indices of the other
        worlds), `score` (mean), `steps` (mean, shortest, longest), `actions` and `phases` (shares
        of the clicks), `mistakes_per_placement`, `verdicts` (number of placements by verdict of
        `Task.judge`), `mistakes` (number made and left), `repaired` (share of the mistakes made)
        and `correction_rate` (undos per placement).

    Raises:
        LastmileError: The task, style, start or difficulty is unknown, or `worlds` is below 1.
        RuntimeError: An annotator of a style did not finish.
    """
    if worlds < 1:
        raise LastmileError(f"worlds: expected at least 1, got {worlds}")
    if start not in STARTS:
        raise UnknownNameError("start", start, STARTS)
    if style not in PLAYERS:
        raise UnknownNameError("style", style, PLAYERS)
    task = get_task(name)
    task.difficulty(difficulty)

    def make(purpose: int, index: int) -> Any:
        key = (seed, purpose, index)
        if source == SYNTHETIC:
            return task.world(key, difficulty)
        return real_world(name, key, "test", difficulty, source)

    actions: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    scores: list[float] = []
    lengths: list[int] = []
    failed: list[int] = []
    made = 0
    left = 0
    for index in range(worlds):
        world = make(7, index)
        rng = generator((seed, 7, index), name, f"check {style}")
        session = Session(task, world)
        if start == "random":
            for _ in range(int(rng.integers(0, 61))):
                session.click(*random_click(session, rng))
        session.steps.clear()  # the random clicks do not count

        other_world = make(8, index) if style == "blind" else None
        annotator = _annotator(task, style, world, other_world, rng)
        limit = LONGEST if style in STYLES else RANDOM_STEPS
        while not session.done and len(session.steps) < limit:
            if annotator is None:
                # Random clicks may end the episode only after half of the steps.
                x, y = random_click(session, rng, done=len(session.steps) >= RANDOM_STEPS // 2)
            else:
                try:
                    intent = annotator.next(session.state)
                    x, y = click(intent, session.screen(), rng)
                except (KeyError, IndexError):
                    break  # a blind annotator may look for what does not exist here
                phases[intent.phase] += 1

            mistakes_before = len(session.mistakes)
            step = session.click(x, y)
            actions[step.hit.kind] += 1
            if verdict := session.verdict(step):
                verdicts[verdict] += 1
            made += len(session.mistakes) > mistakes_before and style in STYLES

        if style in STYLES and not session.done:
            raise RuntimeError(
                f"the {style} annotator of '{name}' did not finish world {index} "
                f"within {limit} steps"
            )
        scores.append(session.score.score)
        lengths.append(len(session.steps))
        left += len(session.mistakes)
        if not session.score.success:
            failed.append(index)

    placements = sum(verdicts.values())
    total = sum(actions.values())
    total_phases = sum(phases.values())
    return {
        "task": name,
        "style": style,
        "start": start,
        "difficulty": difficulty,
        "worlds": worlds,
        "seed": seed,
        "success": (worlds - len(failed)) / worlds,
        "failed": failed,
        "score": float(np.mean(scores)),
        "steps": {
            "mean": float(np.mean(lengths)),
            "shortest": min(lengths),
            "longest": max(lengths),
        },
        "actions": {kind: count / total for kind, count in sorted(actions.items())},
        "phases": {phase: count / total_phases for phase, count in sorted(phases.items())},
        "mistakes_per_placement": 1 - verdicts["right"] / placements if placements else 0.0,
        "verdicts": dict(sorted(verdicts.items())),
        "mistakes": {"made": made, "left": left},
        "repaired": 1 - left / made if made else 1.0,
        "correction_rate": actions["undo"] / actions["place"] if actions["place"] else 0.0,
    }


def _annotator(
    task: Task[Any, Any, Any], style: str, world: Any, other_world: Any, rng: np.random.Generator
) -> Annotator[Any, Any] | None:
    """Return the annotator of a player, or None for random clicks."""
    if style == "random":
        return None
    if style == "blind":
        # It believes to be in another world: its success is what luck alone reaches.
        return make_annotator(task, other_world, task.interface(other_world), "typical", rng)
    return make_annotator(task, world, task.interface(world), style, rng)
