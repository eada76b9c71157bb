"""What many tests need.

A small recording, its tokens, an untrained policy, and made-up evaluations.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before torch is imported: workers side by side have a core each, and threads wait without spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pandas as pd
import pytest
from hypothesis import settings

from lastmile.config import Settings, parse
from lastmile.simulation import tokens, trajectory
from made_up import inputs_of_studies

if TYPE_CHECKING:
    from lastmile.policy.policy import Policy

settings.register_profile("lastmile", deadline=None)  # time never decides a test
settings.load_profile("lastmile")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> trajectory.Trajectories:
    """Four episodes of colored dots, short, with some mistakes and undos and with the annotator's second answers."""
    path = tmp_path_factory.mktemp("recorded") / "test.parquet"
    trajectory.write(path, trajectory.Source("colored_dots", "test", 3), 4)
    return trajectory.read(path)


@pytest.fixture(scope="session")
def token_file(recorded: trajectory.Trajectories) -> Path:
    path = recorded.path.with_suffix(".tokens")
    tokens.write(path, recorded)
    return path


@pytest.fixture(scope="session")
def policy() -> Policy:
    """A tiny policy as it is before training."""
    from lastmile.config import PolicySettings
    from lastmile.policy.policy import initial

    return initial(PolicySettings(size="xs", window=4), 0)


SETTINGS = parse(
    {
        "tasks": ["cell_lineage", "colored_dots", "object_exploration"],
        "episodes": {"train": 500, "test": 12, "shared_test": 8},
        "scaling": {"sizes": ["xs", "s", "m"], "episodes": [50]},
        "transfer": {"held_out": [["cell_lineage", "colored_dots"]]},
        "heads": {"tasks": ["cell_lineage", "colored_dots"]},
        "composition": {"tasks": ["cell_lineage", "colored_dots"]},
        "repair": {"tasks": ["cell_lineage", "colored_dots"]},
        "memory": {"tasks": ["colored_dots", "object_exploration"]},
        "layouts": {"tasks": ["cell_lineage", "colored_dots"]},
        "training": {"seeds": [0, 1, 2]},
        "evaluation": {"resamples": 500},
    }
)
"""Settings of the made-up evaluations."""
QUICK = SETTINGS.model_copy(
    update={"evaluation": SETTINGS.evaluation.model_copy(update={"resamples": 50})}
)
"""The same for tests that read no interval."""

RECORDING: dict[str, Any] = {
    "recording": "colored_dots",
    "task": "colored_dots",
    "split": "test",
    "seed": 3,
    "difficulty": "short",
    "style": "typical",
    "layouts": ["right"],
    "themes": ["dark"],
    "episodes": 2,
}
"""A spec of the stage `record`."""


def flip(path: Path) -> None:
    """Change a bit in the middle of a file, and put its time back."""
    state, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """Results of a study of two tasks, made by its stages.

    A joint policy, trained for a moment, its episodes on the test worlds, and the example pages.
    """
    from lastmile.pipeline.plan import Jobs
    from lastmile.pipeline.runner import run_stage

    settings = parse(
        {
            "name": "small",
            "tasks": ["colored_dots", "plume_finding"],
            "episodes": {"train": 4, "validation": 1, "test": 3, "shared_test": 2},
            "policy": {"size": "xs", "window": 4},
            "training": {"frames": 80, "batch": 4, "snapshots": 1, "seeds": [0]},
            "evaluation": {"max_steps": 1},
            "scaling": {"sizes": ["xs"], "frames": [80], "joint": None, "episodes": []},
            "transfer": {"held_out": []},
        }
    )
    folder = tmp_path_factory.mktemp("small")
    results = folder / "results"
    jobs = Jobs(settings)
    here = os.getcwd()
    os.chdir(folder)  # where a training run keeps its work
    try:
        for stage in ("record", "tokenize", "train", "closed_loop", "example"):
            for labels, spec in jobs.specs(stage).items():
                if stage not in ("train", "closed_loop") or labels[0] == "all":
                    run_stage(stage, spec.canonical(), results)
    finally:
        os.chdir(here)
    return settings, results


Evaluations = dict[str, dict[str, pd.DataFrame]]
"""Tables of measurements by study, then by name."""


@pytest.fixture(scope="session")
def evaluations() -> Evaluations:
    """Made-up evaluations by study, as the workflow gives them.

    Skills come in the published order, mistakes are repaired, the last layer knows most.
    """
    # No folder is read: what would be measured of the recordings is made up, too.
    return inputs_of_studies(SETTINGS.model_copy(update={"recordings": ("recordings",)}))
