"""Styles of annotators and what can be changed in them, on every task."""

from __future__ import annotations

from collections import Counter

import pytest

from lastmile.config import ConfigError, parse
from lastmile.errors import LastmileError
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import record
from lastmile.tasks import task_names
from lastmile.tasks.styles import MIXTURE, STYLES, get_style

EPISODES = 6


def recorded(task: str, style: str) -> tuple[Counter[str], Counter[str], float]:
    """Phases, mistakes by kind (empty: none) of annotations, and the share of successes."""
    phases: Counter[str] = Counter()
    mistakes: Counter[str] = Counter()
    successes = 0
    for number in range(EPISODES):
        episode = record(Source(task, "train", 5, style=style), number)
        phases.update(episode.columns["phase"])
        mistakes.update(
            mistake
            for mistake, verdict in zip(episode.columns["mistake"], episode.columns["verdict"])
            if verdict
        )
        successes += episode.score.success
    return phases, mistakes, successes / EPISODES


@pytest.mark.parametrize("task", task_names())
def test_changes_of_a_style_change_what_they_say(task: str) -> None:
    phases, mistakes, success = recorded(task, "typical+mistakes=0+unexplored+unverified")
    assert not {"explore", "verify", "correct"} & set(phases) and set(mistakes) == {""}
    if task != "object_exploration":  # whose work is to explore
        assert success == 1.0

    _, mistakes, _ = recorded(task, "typical+mistakes=0.3")
    share = 1 - mistakes[""] / mistakes.total()
    assert 0.05 < share < 0.5, mistakes

    if task != "road_mapping":  # a wrong node leads astray, and has to be taken back
        phases, mistakes, _ = recorded(task, "typical+mistakes=0.3+uncorrected")
        assert "correct" not in phases and mistakes.total() > mistakes[""]


def test_a_mixture_is_by_several_people() -> None:
    source = Source("colored_dots", "train", 0, style="mixed")
    drawn = [source.style_of(number) for number in range(30)]
    assert set(drawn) == set(MIXTURE)
    alone = Source("colored_dots", "train", 0, style=drawn[3])
    assert record(source, 3).columns == record(alone, 3).columns


def test_a_style_without_changes_is_the_style() -> None:
    assert {name: get_style(name) for name in STYLES} == STYLES


@pytest.mark.parametrize(
    "style, words",
    [
        ("typcal", "did you mean 'typical'?"),
        ("typical+uncorected", "did you mean 'uncorrected'?"),
        ("typical+mistakes=2", "expected a mistake rate from 0 to 0.5, got '2'"),
        ("typical+mistakes=nan", "got 'nan'"),
        ("typical+mistakes", "got ''"),
        ("typical+", "unknown change of a style ''"),
        ("mixed+uncorrected", "unknown style 'mixed'"),
    ],
)
def test_a_wrong_name_says_what_was_expected(style: str, words: str) -> None:
    with pytest.raises(LastmileError, match="style"):
        get_style(style)
    with pytest.raises(ConfigError) as error:
        parse({"worlds": {"style": style}})
    assert "worlds.style" in str(error.value) and words in str(error.value)
