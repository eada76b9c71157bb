"""Keyboard shortcuts: a key for every button of a task, the same in all of its states."""

from __future__ import annotations

from collections.abc import Iterable

from lastmile.screen import Button

ARROWS = {"left": "ArrowLeft", "right": "ArrowRight", "up": "ArrowUp", "down": "ArrowDown"}
PAIRS = (("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"))
"""Keys of the first and second pair of buttons that go back (`-...`) and forth (`+...`)."""
TAKEN = "h"
"""The page's own key: show a hint."""


def shortcuts(buttons: Iterable[Button]) -> dict[str, str]:
    """Return a key for each button, by its id, as `KeyboardEvent.key` names it.

    Arrows move, digits press buttons that are labeled by one, and all others have a letter of their
    label. A button without any key left has none.
    """
    buttons = list(buttons)
    keys: dict[str, str] = {}
    backward = [button.id for button in buttons if button.id.startswith("-")]
    for back, (key, other) in zip(backward, PAIRS):
        keys |= {back: key, "+" + back[1:]: other}
    for button in buttons:
        if button.id in ARROWS:
            keys[button.id] = ARROWS[button.id]
        elif button.label.isdigit() and len(button.label) == 1:
            keys[button.id] = button.label

    # Undo and Done have their letters in every task.
    rest = [button for button in buttons if button.id not in keys]
    for button in sorted(rest, key=lambda button: button.id not in ("undo", "done")):
        letters = [c for c in button.label.lower() if c.isascii() and c.isalnum()]
        free = [c for c in [*letters, *"123456789"] if c not in {*keys.values(), TAKEN}]
        if free:
            keys[button.id] = free[0]
    return keys
