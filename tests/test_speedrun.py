"""Speedruns: what is measured against the bar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lastmile.cli import main
from lastmile.config import PolicySettings, Training
from lastmile.evaluation import skills
from lastmile.performance import speedrun
from lastmile.performance.speedrun import Result
from lastmile.policy.policy import initial
from lastmile.simulation import trajectory
from lastmile.simulation.tokens import TokenStore

XS = PolicySettings(size="xs")


def test_the_annotator_asked_again_is_the_ceiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, tokens = speedrun.record(tmp_path, "colored_dots", "validation", 12)
    recording = trajectory.read(steps)
    policy = initial(XS, 0)
    assert max(speedrun.measure(policy, recording, TokenStore(tokens))) < 0.5

    clicks = skills.ceiling(recording)
    monkeypatch.setattr(skills, "predictions", lambda *_: (clicks, np.zeros(len(clicks))))
    assert speedrun.measure(policy, recording, TokenStore(tokens)) == (1.0, 1.0)


def test_a_run_passes_with_both_halves_of_the_bar() -> None:
    assert Result(0, 1, 1.0, 1.0, 0.9, 0.5).passed
    assert not Result(0, 1, 1.0, 1.0, 0.89, 1.0).passed
    assert not Result(0, 1, 1.0, 1.0, 1.0, 0.49).passed


def test_a_wrong_setting_is_refused_before_anything_is_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["speedrun", "colored_dots", "--frames", "40", "--config", "training.batch=x"]
    assert main(command) == 1
    errors = capsys.readouterr().err
    assert "'training.batch'" in errors and "recording" not in errors


def test_a_short_run_misses_the_bar_and_says_what_it_took() -> None:
    said: list[str] = []
    results = speedrun.speedrun(
        "colored_dots", 40, (0, 1), XS, Training(), said.append, episodes=3, validation=2
    )
    assert [result.seed for result in results] == [0, 1] and len(said) == 3
    for result in results:
        assert result.frames == 40 and result.core_seconds > 0 and not result.passed
        assert result.operations == pytest.approx(3 * 39.2e6 * 40, rel=0.1)
    assert speedrun.row("colored_dots", results).endswith("| missed |")
