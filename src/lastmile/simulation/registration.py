"""Register the tasks as Gymnasium environments, without importing Gymnasium.

`import lastmile` calls `register_environments`. Importing Gymnasium takes most of a second, and
most users of lastmile never need it. So if Gymnasium is not imported yet, the registration waits
for it: a finder on `sys.meta_path` notices the import and registers the tasks at its end. Gymnasium
has no other way: since version 1.0 it no longer looks for entry points of installed packages.

Only small modules of the standard library are imported here: `importlib.abc` alone would take
longer than all the rest, so finder and loader do without its base classes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

MAX_EPISODE_STEPS = 500
"""Steps after which an episode is truncated, unless `gymnasium.make` is told another number."""
_TASKS = Path(__file__).parents[1] / "tasks"


def env_id(task: str) -> str:
    """Return the Gymnasium id of a task: `lastmile/ColoredDots-v0` for `colored_dots`."""
    return f"lastmile/{''.join(part.capitalize() for part in task.split('_'))}-v0"


def register_environments() -> None:
    """Register every task with Gymnasium: now if it is imported, else as soon as it is."""
    if "gymnasium" in sys.modules:
        _register()
    elif not any(isinstance(finder, _GymnasiumFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _GymnasiumFinder())


def _register() -> None:
    import gymnasium

    # The same folders as `lastmile.tasks.task_names`, which would import numpy.
    for path in sorted(_TASKS.glob("[!_]*/world.py")):
        task = path.parent.name
        if env_id(task) not in gymnasium.registry:
            gymnasium.register(
                env_id(task),
                entry_point="lastmile.simulation.env:make_environment",
                max_episode_steps=MAX_EPISODE_STEPS,
                kwargs={"task": task},
            )


class _GymnasiumFinder:
    """Let the other finders find Gymnasium, and register the tasks once it is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "gymnasium":
            return None
        for finder in [finder for finder in sys.meta_path if finder is not self]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    loader = _RegisteringLoader(spec.loader, self)
                    spec.loader = loader  # type: ignore[assignment]  # no base class, see above
                return spec
        return None


class _RegisteringLoader:
    """Import Gymnasium with its own loader, then register the tasks and step aside."""

    def __init__(self, loader: Loader, finder: _GymnasiumFinder) -> None:
        self.loader = loader
        self.finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on the module looks as if it had been imported without us.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)

        if self.finder in sys.meta_path:
            sys.meta_path.remove(self.finder)
        _register()
