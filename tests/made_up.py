"""Made-up measurements of every run that the studies need.

All published claims hold in them, and object_exploration differs from the other tasks.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from lastmile.config import Settings, task_list
from lastmile.evaluation.deferral import HELPERS, SHARES, TEMPERATURES
from lastmile.evaluation.recovery import DELAYS
from lastmile.evaluation.skills import SKILLS
from lastmile.probing.probes import AUC, VIEWS
from lastmile.probing.steering import STRENGTHS, TESTED
from lastmile.screen import Look
from lastmile.studies import all_needs, task_tables
from lastmile.studies.runs import Looks, Need, Run

HALF = {
    "valid": 2.0,
    "button": 2.8,
    "placement@5": 3.4,
    "decision": 4.0,
    "decision by sight": 4.0,
}
"""log10 of the frames to half of the gain."""
FASTER = {"xs": -0.2, "s": 0.0, "m": 0.25, "l": 0.45}
"""log10 of how many frames one frame is worth, by size."""
GAINS = {"shared": 0.08, "random": 0.005}
"""Chance of Undo added by a shift of 1, by direction."""
POINTS = 6
"""Snapshots of a training run."""
LAYERS = {"encoder": 0.6, "layer1": 0.7, "last": 0.95}
BASELINES = {
    **{f"random:{name}": 0.4 for name in LAYERS},
    "screen": 0.45,
    "metadata": 0.6,
    "chance": 0.4,
}

Rows = Iterator[dict[str, Any]]


def measurements(settings: Settings) -> dict[str, pd.DataFrame]:
    """Return all measurements, by name."""
    tables: dict[str, list[pd.DataFrame]] = {}
    asked = {
        (need.table, need.run.name, need.task): need
        for needs in all_needs(settings).values()
        for need in needs
    }
    for need in (asked[key] for key in sorted(asked)):
        for seed in need.run.of_seeds(settings.training.seeds):
            purpose = f"{need.table} {need.run.name} {need.task} {seed}"
            rng = np.random.default_rng(zlib.crc32(purpose.encode()))
            rows = pd.DataFrame(MEASURES[need.table](need, settings, rng))
            tagged = rows.assign(run=need.run.name, task=need.task, seed=seed)
            tables.setdefault(need.table, []).append(tagged)
    for name in task_tables(tuple(all_needs(settings))):
        for task in task_list(settings):
            rng = np.random.default_rng(zlib.crc32(f"{name} {task}".encode()))
            rows = pd.DataFrame(OF_TASKS[name](settings, rng))
            tables.setdefault(name, []).append(rows.assign(task=task, seed=settings.seed))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def inputs_of_studies(settings: Settings) -> dict[str, dict[str, pd.DataFrame]]:
    """Return what each study reads, by study, then by name of the measurement."""
    tables = measurements(settings)
    inputs: dict[str, dict[str, pd.DataFrame]] = {}
    for name, needs in all_needs(settings).items():
        inputs[name] = {}
        for table in dict.fromkeys(need.table for need in needs):
            needed = {(need.run.name, need.task) for need in needs if need.table == table}
            rows = tables[table]
            inputs[name][table] = rows[pd.MultiIndex.from_frame(rows[["run", "task"]]).isin(needed)]
        for table in task_tables((name,)):
            inputs[name][table] = tables[table]
    return inputs


def _frames(run: Run) -> list[int]:
    """Return the frames seen at each snapshot; the first is before training."""
    return [0, *np.geomspace(min(1000, run.frames / 8), run.frames, POINTS).astype(int).tolist()]


def _ahead(run: Run, at: int) -> float:
    """Return log10 of the frames that a policy is worth."""
    ahead = (
        FASTER[run.policy.size]
        - 0.4 * (run.policy.head == "bins")
        + 0.15 * np.log10(run.episodes / 500)
    )
    return float(
        np.log10(at + 1 + (20_000 if run.start else 0)) + ahead - 0.5 * np.log10(len(run.tasks))
    )


def _episodes(need: Need, settings: Settings) -> range:
    fewer = len(need.run.tasks) > 1 or need.run.policy.context == "patch"
    if not fewer:
        return range(settings.episodes.test)
    return range(min(settings.episodes.shared_test, settings.episodes.test))


def _skills(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    for predictor, points in (
        ("policy", _frames(need.run)),
        *((fixed, [0]) for fixed in ("ceiling", "floor", "trigram")),
    ):
        for at in points:
            for skill in SKILLS:
                learned = 0.95 / (1 + np.exp(-4 * (_ahead(need.run, at) - HALF.get(skill, 3.7))))
                ceiling = 0.8 if skill == "annotation" else 0.97
                fixed = {"ceiling": ceiling, "floor": 0.2, "trigram": 0.3}
                share = fixed.get(predictor, learned)
                placing = skill.startswith("placement")
                total = 0 if placing and need.task == "object_exploration" else 30
                for episode in _episodes(need, settings):
                    yield {
                        "predictor": predictor,
                        "frames": at,
                        "skill": skill,
                        "episode": episode,
                        "hits": rng.binomial(total, share),
                        "total": total,
                    }


def _losses(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    for at in _frames(need.run):
        for episode in _episodes(need, settings):
            nats = 2 + 9 * 10 ** (-0.3 * max(0.0, _ahead(need.run, at) - 1)) + rng.normal(0, 0.2)
            yield {"frames": at, "episode": episode, "nats": 40 * nats, "steps": 40}


def _played(rng: np.random.Generator, episode: int, wrong: float, good: float) -> dict[str, Any]:
    """Return an episode in closed loop, with the chance of a mistake and the mean score."""
    counts = {
        "navigate": 14,
        "look": 3,
        "mode": 0,
        "place": 10,
        "decide": 0,
        "undo": 2,
        "done": 1,
        "invalid": 0,
    }
    score = float(np.clip(good + rng.normal(0, 0.1), 0, 1))
    return {
        "episode": episode,
        "score": score,
        "success": score > 0.8,
        "finished": bool(rng.random() < good + 0.1),
        "steps": 30,
        "coverage": score,
        **counts,
        "placements": 10,
        "mistakes": rng.binomial(10, wrong),
        "left": 0,
    }


def _closed_loop(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    for who, wrong, good in (("policy", 0.3, 0.85), ("annotator", 0.2, 0.97)):
        for episode in _episodes(need, settings):
            yield {"who": who, "loop": 1, **_played(rng, episode, wrong, good)}


def _reference_players(settings: Settings, rng: np.random.Generator) -> Rows:
    for who, wrong, good in (
        ("random", 0.9, 0.02),
        ("trigram", 0.7, 0.1),
        ("script", 0.2, 0.7),
        ("oracle", 0.0, 1.0),
    ):
        for episode in range(settings.episodes.test):
            yield {"who": who, **_played(rng, episode, wrong, good)}


def _closed_loop_curve(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    for at in _frames(need.run)[::2]:
        good = 1 / (1 + np.exp(-4 * (_ahead(need.run, at) - 3.9)))
        for episode in _episodes(need, settings)[: settings.episodes.shared_test]:
            yield {"frames": at, **_played(rng, episode, 0.1, good)}


def _recovery(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    for episode in _episodes(need, settings):
        for kind in ("slip", "confusion", "lapse"):
            for delay in DELAYS:
                for condition in ("mistake", "control"):
                    wrong = condition == "mistake"
                    gone = bool(rng.random() < (0.8 - 0.04 * delay if wrong else 0.1))
                    yield {
                        "episode": episode,
                        "step": 7,
                        "kind": kind,
                        "delay": delay,
                        "condition": condition,
                        "seen": kind != "lapse",
                        "after": 1 if gone else -1,
                        "gone": gone,
                        "repaired": wrong and gone,
                        "undone": gone,
                    }


def _deferral(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    """The policy errs more when it is hot, and asking when unsure helps more than at random."""
    arms = [("alone", "", 0.0, heat, 0.7) for heat in TEMPERATURES]
    for helper in HELPERS:
        arms += [("unsure", helper, share, 0.4, 0.7 + 2 * share) for share in (*SHARES, 1.0)]
    arms += [("random", HELPERS[0], share, 0.4, 0.7 + 0.1 * share) for share in SHARES]
    for rule, helper, share, heat, good in arms:
        for episode in _episodes(need, settings):
            played = _played(rng, episode, 0.05 + 0.3 * heat, min(good, 0.97))
            yield {
                **played,
                "rule": rule,
                "helper": helper,
                "share": share,
                "level": share,
                "temperature": heat,
                "deferred": round(min(3 * share, 1) * played["steps"]),
                "calls": round(10 * share),
            }


def _confidences(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    """Annotations are right as often as the policy is certain of them."""
    for episode in _episodes(need, settings):
        for step, confidence in enumerate(rng.beta(3, 1, 20).round(5).tolist()):
            yield {
                "episode": episode,
                "step": step,
                "kind": "place",
                "confidence": confidence,
                "right": bool(rng.random() < confidence),
            }


KNOWN = {"right": 0.95, "bottom": 0.35, "dark": 1.0, "retro": 0.9}
"""How much of a policy's skill is left in a layout and theme, if it has learned on one look."""


def _left(need: Need, look: Look) -> float:
    """Return how much of a policy's skill is left in a look, after what it has learned on."""
    looks = need.run.looks or Looks(("right",), ("dark",))
    seen = look.layout in looks.layouts
    lost = 1 - KNOWN[look.layout if look.layout == "right" or not seen else "right"]
    if need.run.start is not None and not seen:
        return 0.5  # it has forgotten
    lost += 0.0 if look.theme in looks.themes else 1 - KNOWN[look.theme]
    return 1 - lost * (0.4 if len(looks.layouts) > 2 else 1)


def _other_looks(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    """Where a look is unseen, widgets are missed in their old places."""
    for look, due, episode in itertools.product(
        need.looks, ("button", "canvas"), _episodes(need, settings)[: settings.episodes.shared_test]
    ):
        judged, left = 20, _left(need, look)
        right = rng.binomial(judged, left)
        old = rng.binomial(judged - right, 0.7) if look.layout != "right" else 0
        wrong = rng.binomial(judged - right - old, 0.5)
        rest = judged - right - old - wrong
        off = rest if due == "canvas" else 0
        yield {
            "layout": look.layout,
            "theme": look.theme,
            "due": due,
            "episode": episode,
            "clicks": judged + 2,
            "within": right,
            "judged": judged,
            "widget": right + off,
            "right": right,
            "old_place": old,
            "off": off,
            "wrong_widget": wrong,
            "nothing": rest - off,
        }


def _other_looks_played(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    for look, episode in itertools.product(
        need.looks, _episodes(need, settings)[: settings.episodes.shared_test]
    ):
        played = _played(rng, episode, 0.3, 0.95 * _left(need, look))
        yield {"layout": look.layout, "theme": look.theme, **played}


def _linear_probes(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    for target in ("phase", "position", "mistake", *VIEWS, AUC):
        for feature, share in {**LAYERS, **BASELINES}.items():
            for labels in ("real", "control"):
                for episode in _episodes(need, settings):
                    right = rng.binomial(40, share if labels == "real" else 0.4) / 40
                    if labels == "control" and target in ("position", *VIEWS, AUC):
                        continue
                    score, total = (1 - right, 1.0) if target == "position" else (40 * right, 40.0)
                    yield {
                        "target": target,
                        "feature": feature,
                        "labels": labels,
                        "episode": episode,
                        "score": score,
                        "total": total,
                        "steps": 40,
                    }


def _cross_task_probes(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    tasks = need.run.tasks
    for target in tasks:
        for source in (*tasks, "others"):
            shares = {"accuracy": _accuracy(source, target), "auc": _accuracy(source, target)}
            if source == "others":
                shares["accuracy:random"] = 0.5
            for measure, share in shares.items():
                for episode in _episodes(need, settings):
                    yield {
                        "measure": measure,
                        "source": source,
                        "target": target,
                        "episode": episode,
                        "score": rng.binomial(20, share),
                        "total": 20.0,
                        "draw": 0,
                    }
        moved = [(name, gain, at, 0) for name, gain in GAINS.items() for at in STRENGTHS]
        moved += [("shared", GAINS["shared"], TESTED, draw) for draw in (1, 2)]
        for name, gain, strength, draw in moved:
            for episode in _episodes(need, settings):
                chance = np.clip(0.06 + gain * strength + rng.normal(0, 0.01), 0, 1)
                yield {
                    "measure": f"undo:{name}",
                    "source": "others",
                    "target": target,
                    "strength": strength,
                    "draw": draw,
                    "episode": episode,
                    "score": 20 * chance,
                    "total": 20.0,
                }

        for name, strength, share in (
            ("shared", 0.0, 0.1),
            ("shared", TESTED, 0.4),
            ("random", TESTED, 0.15),
        ):
            for episode in _episodes(need, settings):
                yield {
                    "measure": f"gone:{name}",
                    "source": "others",
                    "target": target,
                    "strength": strength,
                    "draw": 0,
                    "episode": episode,
                    "score": float(rng.binomial(4, share)),
                    "total": 4.0,
                }

    pairs = [(a, b) for i, a in enumerate(tasks) for b in tasks[i + 1 :]] + [("others", "others")]
    for source, target in pairs:
        value = rng.normal(0.02 if "object_exploration" in (source, target) else 0.4, 0.05)
        yield {
            "measure": "cosine",
            "source": source,
            "target": target,
            "score": value,
            "total": 1.0,
            "low": -0.15,
            "high": 0.15,
            "draw": 0,
        }


def _accuracy(source: str, target: str) -> float:
    """Return the accuracy of a mistake probe: those of object_exploration do not generalize."""
    if source == target:
        return 0.85
    if "object_exploration" in (source, target):
        return 0.5
    return 0.8 if source == "others" else 0.7


def _speed(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    rate = {"xs": 900, "s": 350, "m": 120, "l": 40}[need.run.policy.size]
    size = {"xs": 0.5e6, "s": 1.6e6, "m": 5e6, "l": 20e6}[need.run.policy.size]
    patches = need.run.policy.context == "patch"
    yield {
        "frames_per_s": rate / (8 if patches else 1),
        "wait_share": 0.01,
        "parameters": size,
        "flops_per_frame": (200 if patches else 40) * size,
    }


PERSONS, WORLDS, CLICKS = 3, 4, 24
"""People, their worlds, and clicks of everybody on each, where people are compared."""
PLACING = {"careful": 0.2, "typical": 0.25, "hasty": 0.35, "policy": 0.3, "people": 0.45}
"""Share of placements among the clicks, by who makes them."""


def _side_by_side(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    for who, placing in PLACING.items():
        for repeat, episode in np.ndindex(PERSONS, WORLDS):
            for step in range(CLICKS):
                place = rng.random() < placing and need.task != "object_exploration"
                wrong = place and rng.random() < placing
                asked = who in ("people", "typical")
                same = asked and rng.random() < 0.8 - placing
                repaired = int(rng.random() < 0.1)
                yield {
                    "who": who,
                    "person": f"person-{repeat}" if who == "people" else "",
                    "episode": episode,
                    "repeat": repeat,
                    "step": step,
                    "kind": "place" if place else "navigate" if rng.random() < 0.8 else "undo",
                    "again": bool(rng.random() < 0.5),
                    "off_x": np.nan if place else rng.uniform(-0.4, 0.4),
                    "off_y": np.nan if place else rng.uniform(-0.4, 0.4),
                    "jump": np.nan if step == 0 else rng.uniform(0, 200),
                    "verdict": "slip" if wrong else "right" if place else "",
                    "distance": rng.uniform(0, 4) if place and not wrong else np.nan,
                    "made": int(wrong),
                    "repaired": repaired,
                    "delay": repaired * int(rng.integers(1, 9)),
                    "predicted": asked,
                    "same_kind": same,
                    "same_widget": same,
                    "near": same and place,
                }


def _attempts(need: Need, settings: Settings, rng: np.random.Generator) -> Rows:
    for who in PLACING:
        for repeat, episode in np.ndindex(PERSONS, WORLDS):
            yield {
                "who": who,
                "person": f"person-{repeat}" if who == "people" else "",
                "episode": episode,
                "repeat": repeat,
                "rule": "",
                "log": f"person-{repeat}/{episode}.jsonl" if who == "people" else "",
                "steps": CLICKS,
                "finished": True,
                "success": bool(rng.random() < 0.8),
                "seconds": rng.uniform(20, 90) if who == "people" else np.nan,
            }
    for rule in ("not finished", "practice"):
        yield {
            "who": "people",
            "person": "person-0",
            "episode": -1,
            "repeat": 0,
            "rule": rule,
            "log": f"person-0/{rule}.jsonl",
            "steps": 5,
            "finished": False,
            "success": False,
            "seconds": np.nan,
        }


MEASURES: dict[str, Callable[[Need, Settings, np.random.Generator], Rows]] = {
    "skills": _skills,
    "losses": _losses,
    "closed_loop": _closed_loop,
    "closed_loop_curve": _closed_loop_curve,
    "recovery": _recovery,
    "deferral": _deferral,
    "confidences": _confidences,
    "other_looks": _other_looks,
    "other_looks_played": _other_looks_played,
    "linear_probes": _linear_probes,
    "cross_task_probes": _cross_task_probes,
    "speed": _speed,
    "side_by_side": _side_by_side,
    "attempts": _attempts,
}
"""What makes up each measurement."""

OF_TASKS: dict[str, Callable[[Settings, np.random.Generator], Rows]] = {
    "reference_players": _reference_players
}
"""What makes up each measurement of a task that belongs to no training run."""
