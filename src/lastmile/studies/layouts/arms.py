"""The arms of the study: on which looks each policy learns, and on which it is tested."""

from __future__ import annotations

SEEN, LAYOUT, THEME, BOTH = "seen", "unseen layout", "unseen theme", "both unseen"
"""What is unseen in the looks that policies are tested on."""
TESTED = {
    SEEN: ("right", "dark"),
    LAYOUT: ("bottom", "dark"),
    THEME: ("right", "retro"),
    BOTH: ("bottom", "retro"),
}
"""Layout and theme of each. `bottom` and `retro` are held out of all arms of `LEARNED`."""

ONE, FEW, MANY = "one look", "few looks", "many looks"
LEARNED = {
    ONE: (("right",), ("dark",)),
    FEW: (("right", "left"), ("dark", "light")),
    MANY: (("right", "left", "top", "split"), ("dark", "light")),
}
"""Arms that learn from scratch, with the layouts and themes that the looks of their episodes are
drawn from: 1, 4 and 8 looks."""
TUNED, MIXED = "fine-tuned", "fine-tuned, mixed"
FINE_TUNED = {
    TUNED: (("bottom",), ("dark",)),
    MIXED: (("right", "bottom"), ("dark",)),
}
"""Arms that start from the policy of `ONE` and go on with the unseen layout: alone, or half and
half with the old one."""
ARMS = LEARNED | FINE_TUNED
"""All arms."""
KEPT = (SEEN, LAYOUT)
"""The looks that fine-tuned policies are tested on: the old and the new one."""
EPISODES = 300
"""Demonstrations of each arm, at most."""
SHARE = 4
"""A fine-tuning sees one in so many of the frames that a training from scratch sees."""


def tested(arm: str) -> tuple[str, ...]:
    """Return what is unseen in the looks that the policies of an arm are tested on."""
    return tuple(TESTED) if arm in LEARNED else KEPT
