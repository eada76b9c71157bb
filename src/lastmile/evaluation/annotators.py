"""Checking an annotator: how often it succeeds, how it spends its clicks, and what becomes of its mistakes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from lastmile.errors import LastmileError
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import LONGEST
from lastmile.tasks import get_task
from lastmile.tasks.annotator import STYLES, click, make_annotator
from lastmile.tasks.task import generator

STARTS = ("start", "random")
PLAYERS = (*STYLES, "random", "blind")
"""Who works: an annotator of a style, random valid clicks, or the typical annotator shown another world's seed."""
RANDOM_STEPS = 200


def random_click(
    session: Session[Any, Any], rng: np.random.Generator, done: bool = False
) -> tuple[int, int]:
    """Draw a valid click: an enabled button (but `Done`, unless asked for) or the live canvas, each as likely; then a point inside."""
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
) -> dict[str, Any]:
    """Let an annotator work on `worlds` worlds and count.

    start: "start", or "random": from the state after 0 to 60 random valid clicks (`Done` left out).
    Returns success (share), score (mean), steps (mean, shortest, longest), shares of actions and phases, mistakes per placement by the verdict
    of `judge` and by kind, mistakes made and left, share of mistakes repaired, and the correction rate (undos per placement).
    Raises ValueError for an unknown task, style, start or difficulty, or a number of worlds below 1.
    """
    if worlds < 1:
        raise LastmileError(f"worlds: expected at least 1, got {worlds}")
    if start not in STARTS:
        raise LastmileError(f"unknown start '{start}': expected one of {', '.join(STARTS)}")
    if style not in PLAYERS:
        raise LastmileError(f"unknown style '{style}': expected one of {', '.join(PLAYERS)}")
    task = get_task(name)
    task.difficulty(difficulty)
    actions: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    scores, successes, lengths, made, left = [], 0, [], 0, 0
    for index in range(worlds):
        world = task.world((seed, 7, index), difficulty)
        rng = generator((seed, 7, index), name, f"check {style}")
        session = Session(task, world)
        if start == "random":
            for _ in range(int(rng.integers(0, 61))):
                session.click(*random_click(session, rng))
        session.steps.clear()

        annotator = None
        if style != "random":
            shown = task.world((seed, 8, index), difficulty) if style == "blind" else world
            working = "typical" if style == "blind" else style
            annotator = make_annotator(task, shown, task.interface(shown), working, rng)
        limit = LONGEST if style in STYLES else RANDOM_STEPS
        while not session.done and len(session.steps) < limit:
            if annotator is None:
                done = len(session.steps) >= RANDOM_STEPS // 2
                x, y = random_click(session, rng, done)
            else:
                try:
                    intent = annotator.next(session.state)
                    x, y = click(intent, session.screen(), rng)
                except (KeyError, IndexError):
                    break  # a blind annotator may look for what is not there
                phases[intent.phase] += 1
            before = len(session.mistakes)
            step = session.click(x, y)
            actions[step.hit.kind] += 1
            outcome = session.verdict(step)
            if outcome:
                verdicts[outcome] += 1
            made += len(session.mistakes) > before and style in STYLES
        if style in STYLES and not session.done:
            raise RuntimeError(
                f"the {style} annotator of '{name}' did not finish world {index} within {limit} steps"
            )
        scores.append(session.score.score)
        successes += session.score.success
        lengths.append(len(session.steps))
        left += len(session.mistakes)
    placements = sum(verdicts.values())
    total, total_phases = sum(actions.values()), sum(phases.values())
    return {
        "task": name,
        "style": style,
        "start": start,
        "difficulty": difficulty,
        "worlds": worlds,
        "seed": seed,
        "success": successes / worlds,
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
