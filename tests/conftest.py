"""What many tests need: a small recording, its tokens, an untrained policy, and made-up evaluations."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads of torch that wait without spinning, before torch is imported

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from lastmile import tokens, trajectory  # noqa: E402

settings.register_profile("lastmile", deadline=None)  # time never decides a test
settings.load_profile("lastmile")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> trajectory.Trajectories:
    """Four episodes of colored dots, short, with some mistakes and undos and with the annotator's second answers."""
    path = tmp_path_factory.mktemp("recorded") / "test.parquet"
    trajectory.write(path, trajectory.Source("colored_dots", "test", 3), 4)
    return trajectory.read(path)


@pytest.fixture(scope="session")
def token_file(recorded) -> Path:
    path = recorded.path.with_suffix(".tokens")
    tokens.write(path, recorded)
    return path


@pytest.fixture(scope="session")
def policy():
    """A tiny policy as it is before training."""
    from lastmile.config import PolicySettings
    from lastmile.policy.runs import initial

    return initial(PolicySettings(size="xs", window=4), 0)


@pytest.fixture(scope="session")
def evaluations() -> dict[str, pd.DataFrame]:
    """Made-up evaluations of one training on one task: skills come in the published order, recovery works, the last layer knows most."""
    from lastmile.evaluation.skills import SKILLS

    rng = np.random.default_rng(0)
    about = {"task": "colored_dots", "seed": 0}
    episodes, frames = range(12), (0, 100, 1_000, 10_000, 100_000)
    half = {"valid": 2, "button": 3, "placement@5": 4, "decision": 4.7}  # log10 of the frames to half of the gain
    skills = []
    for predictor, points in (("policy", frames), ("ceiling", (0,)), ("floor", (0,))):
        for at in points:
            for skill in SKILLS:
                share = {"ceiling": 0.97, "floor": 0.2}.get(predictor, 1 / (1 + np.exp(-4 * (np.log10(at + 1) - half.get(skill, 4)))))
                for e in episodes:
                    skills.append({**about, "predictor": predictor, "frames": at, "skill": skill, "episode": e, "hits": rng.binomial(30, share), "total": 30})
    closed = []
    for who, wrong in (("policy", 0.03), ("annotator", 0.2)):
        for e in episodes:
            counts = {"navigate": 14, "look": 3, "mode": 0, "place": 10, "decide": 0, "undo": 2, "done": 1, "invalid": 0}
            closed.append(
                {**about, "who": who, "episode": e, "score": 0.9 + 0.01 * (e % 5), "success": e % 3 > 0, "finished": True, "steps": 30, "coverage": 0.95,
                 **counts, "placements": 10, "mistakes": rng.binomial(10, wrong), "left": 0}
            )  # fmt: skip
    recovery = [
        {**about, "episode": e, "step": 7, "kind": kind, "condition": condition, "repaired": condition == "mistake" and bool(rng.random() < 0.8),
         "undone": condition == "mistake" or bool(rng.random() < 0.1), "delay": 1}
        for e in episodes for kind in ("slip", "confusion", "lapse") for condition in ("mistake", "control")
    ]  # fmt: skip
    probes = []
    shares = {"encoder": 0.6, "layer1": 0.7, "last": 0.95, "random:encoder": 0.4, "random:layer1": 0.4, "random:last": 0.4, "screen": 0.45, "metadata": 0.6}
    for target in ("phase", "position", "mistake"):
        for feature, share in shares.items():
            for labels in ("real", "control"):
                for e in episodes:
                    right = rng.binomial(40, share if labels == "real" else 0.4) / 40
                    score, total = (1 - right, 1.0) if target == "position" else (40 * right, 40.0)
                    if target != "position" or labels == "real":
                        probes.append(
                            {**about, "target": target, "feature": feature, "labels": labels, "episode": e, "score": score, "total": total, "steps": 40}
                        )
    tables = {"skills": skills, "closed_loop": closed, "recovery": recovery, "probes": probes}
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}
