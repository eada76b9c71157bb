"""What a window of `lastmile play` is told: the messages, and the pixels of screens."""

from __future__ import annotations

from typing import Any

from lastmile.screen import Screen
from lastmile.web.live import Helpers
from lastmile.web.work import Work


def screen(work: Work, helpers: Helpers | None) -> dict[str, Any]:
    """Return what is told of the current screen beside its pixels."""
    shown = work.session.screen()
    return {
        "type": "screen",
        "task": work.opening.task,
        "title": shown.title,
        "practice": work.opening.practice,
        "world": work.opening.episode,
        "step": work.step,
        "digest": work.screen()[0],
        "status": [text for text in shown.status() if text],
        "buttons": [
            {
                "key": work.keys.get(button.id, ""),
                "label": button.label,
                "enabled": button.enabled,
                "x": rect.middle[0],
                "y": rect.middle[1],
            }
            for button, rect in shown.widgets
        ],
        "clicked": [*work.session.steps[-1].click, work.via] if work.step else None,
        "policy": helpers
        and {
            "name": helpers.helper.policy,
            "foresees": helpers.foresees,
            "worked": work.helper is not None,
        },
    }


def result(work: Work) -> dict[str, Any]:
    """Return the message about the end of an episode."""
    score = work.session.score
    return {
        "type": "result",
        "ended": work.ending,
        "score": score.score,
        "success": score.success,
        "details": {name: round(float(v), 3) for name, v in score.details.items()},
        "missed": work.missed(),
        "views": [
            {
                "status": next(iter(view.screen.status()), ""),
                "marks": [mark._asdict() for mark in view.marks],
            }
            for view in work.views()
        ],
        "steps": work.step,
    }


def outlook(work: Work, helpers: Helpers) -> dict[str, Any]:
    """Return the message about where the policy would click, in the thread of the players."""
    from lastmile.viewer.page import sparse  # with torch
    from lastmile.web.live_policy import LivePolicy

    live = work.live(helpers)
    assert isinstance(live, LivePolicy)
    clicks = work.clicks
    ahead, shown = live.outlook(clicks)
    height, width = ahead.chances.shape
    return {
        "type": "outlook",
        "step": len(clicks),
        "width": width,
        "height": height,
        "block": ahead.block,
        "map": sparse(ahead),
        "top": [[x, y, round(chance, 4), _label(shown, x, y)] for x, y, chance in ahead.top],
    }


def _label(screen: Screen, x: int, y: int) -> str:
    """Return what is at a place of a screen, in words."""
    for button, rect in screen.widgets:
        if rect.contains(x, y):
            return button.label
    return "image" if screen.canvas.contains(x, y) else "nothing"
