"""lastmile: teach models to annotate scientific data the way people do, click by click.

The names here are all that most users need:

    >>> import lastmile
    >>> env = lastmile.make_env("colored_dots")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape
    (126, 168, 3)

Importing this module is instant: it loads nothing but the standard library, and registers the tasks
with Gymnasium, so that `gymnasium.make("lastmile/ColoredDots-v0")` works too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lastmile.simulation.registration import register_environments

if TYPE_CHECKING:
    from lastmile.api import evaluate, load_policy, make_env, record
    from lastmile.evaluation.players import Player
    from lastmile.released.loading import Policy
    from lastmile.tasks import task_names

__version__ = "0.2.0"

__all__ = [
    "Player",
    "Policy",
    "__version__",
    "evaluate",
    "load_policy",
    "make_env",
    "record",
    "task_names",
]

_MODULES = {
    "Player": "lastmile.evaluation.players",
    "Policy": "lastmile.released.loading",
    "evaluate": "lastmile.api",
    "load_policy": "lastmile.api",
    "make_env": "lastmile.api",
    "record": "lastmile.api",
    "task_names": "lastmile.tasks",
}
"""Where each name comes from; it is imported when it is first used."""

register_environments()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'lastmile' has no attribute '{name}'")

    from lastmile.extras import needed_for

    with needed_for(f"lastmile.{name}"):
        return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
