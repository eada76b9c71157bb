"""Deferral: the policy hands the steps that it is least certain of to an annotator.

At every step the policy draws a click, and knows how probable it is. If that confidence is below a
threshold, the annotator takes over: it sees the screen as the policy left it, and works on until it
has changed the annotation. Then it is the policy's turn again, which remembers the annotator's
clicks as its own. (With single clicks both get into each other's way: the annotator goes to look
for something, and the policy goes back.)

The confidence of a click is the probability, in the distribution that the policy learned
(temperature 1), of doing the same: of a click on the button that was hit, or, on the canvas and
where nothing was hit, of a click within `NEAR` px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import torch

from lastmile.errors import LastmileError
from lastmile.evaluation.closed_loop import GROUP, ROWS
from lastmile.policy.policy import NO_CLICK, Memory, Policy
from lastmile.policy.regions import Region, chances, disc
from lastmile.simulation.pool import Pool, Rollout, describe
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import Replay, Trajectories
from lastmile.tasks.annotator import Annotator, click, make_annotator
from lastmile.tasks.task import RIGHT

NEAR = 5
"""Distance, logical px, within which two placements are the same; the judges of the tasks allow as
much."""
DECIMALS = 5
"""Digits of a confidence: the last bits depend on what is computed beside it."""
TEMPERATURES = (0.1, 0.2, 0.4, 0.7, 1.0)
"""Temperatures at which the policy works alone."""
SHARES = (0.02, 0.05, 0.1, 0.2)
"""Shares of the steps, least certain first, at which the annotator takes over, beside none and all.
The share of the steps that it makes is larger: it works on until it has changed the annotation."""
HELPERS = ("typical", "oracle")
"""Styles of the annotators that get them; the first one also gets those at random."""
ANNOTATION_COLUMNS = ("episode", "step", "kind", "confidence", "right")
Rule: TypeAlias = Literal["alone", "unsure", "random"]
"""Where the annotator takes over: nowhere, below a confidence, or at random."""


class Arm(NamedTuple):
    """A way of working that a policy is measured in.

    Attributes:
        rule: Where the annotator takes over.
        helper: Its style; empty without an annotator.
        share: The share of the policy's steps at which it is meant to take over.
        level: The confidence below which (`unsure`), or the probability with which (`random`) it
            takes over.
    """

    rule: Rule = "alone"
    helper: str = ""
    share: float = 0.0
    level: float = 0.0


class Assisted(Rollout):
    """A rollout in which steps may be handed to an annotator.

    Attributes:
        arm: The way of working.
        episode: Number of the episode whose world it is.
        confidences: Confidence of the policy's own click at each step.
        deferred: Whether the annotator made the step instead.
        calls: How often the annotator took over.
        turn: Whether it works on.
    """

    def __init__(
        self, number: int, arm: Arm, source: Source, episode: int, replay: Replay, limit: int
    ) -> None:
        super().__init__(number, source.task, replay.world, replay.look, limit)
        self.arm = arm
        self.episode = episode
        self.confidences: list[float] = []
        self.deferred: list[bool] = []
        self.calls = 0
        self.turn = False
        self._chance = source.generator(episode, "deferral")
        self._rng = source.generator(episode, "helper")
        self._annotator: Annotator[Any, Any] | None = None
        if arm.helper:
            self._annotator = make_annotator(
                self.task, self.world, self.interface, arm.helper, self._rng
            )

    def take(self, x: int, y: int, confidence: float) -> tuple[int, int]:
        """Make the policy's click, or hand the step over, and return the click that was made."""
        self.confidences.append(confidence)
        if self.turn or self._calls(confidence):
            return self.hand_over()
        self.deferred.append(False)
        self.click(x, y)
        return x, y

    def hand_over(self) -> tuple[int, int]:
        """Let the annotator make the step, and return its click."""
        annotator = self._annotator
        if annotator is None:
            raise LastmileError("a step was handed over, but the arm has no annotator")
        if self.deferred and not self.deferred[-1]:
            # The newest annotation is the policy's, not what the annotator last did itself.
            annotator.meant = False
            annotator.slipped = None
        x, y = click(annotator.next(self.state), self.screen(), self._rng)
        self.deferred.append(True)
        self.calls += not self.turn
        step = self.click(x, y)
        self.turn = step.after.edits == step.before.edits
        return x, y

    def _calls(self, confidence: float) -> bool:
        if self._annotator is None:
            return False
        if self.arm.rule == "random":
            return bool(self._chance.random() < self.arm.level)
        return confidence < self.arm.level


def region_of(session: Session[Any, Any], x: int, y: int) -> Region:
    """Return the region in which a click does the same as one at (x, y).

    That is the button that it hits; on the canvas, and where it hits nothing, the points within
    `NEAR` px.
    """
    hit = session.interface.hit(session.state, x, y, session.look)
    if hit.widget in ("", "canvas"):
        return disc(x, y, NEAR)
    return Region(*session.screen().widget(hit.widget).rect)


def play(
    policy: Policy,
    recording: Trajectories,
    arms: Sequence[Arm],
    temperature: float,
    max_factor: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[Assisted]:
    """Let a policy work on the worlds of recorded episodes, in several arms side by side.

    The random numbers of the policy are those of `closed_loop`, the same in all arms.

    Args:
        policy: The policy.
        recording: The recording whose worlds are annotated.
        arms: The ways of working.
        temperature: Temperature of the sampled clicks, above 0.
        max_factor: Rollouts are truncated after this many times the annotator's median length.
        seed: Seed of the sampled clicks.
        progress: Called with the number of clicks after each round.

    Returns:
        The rollouts by arm, in the order of the episodes.

    Raises:
        LastmileError: The temperature is not above 0.
    """
    if temperature <= 0:
        raise LastmileError(f"temperature: expected more than 0, got {temperature}")
    pool = Pool(_rollouts(recording, arms, max_factor), ROWS)
    memory = policy.begin(ROWS + GROUP - 1)  # the last rows are for the empty screens
    generators: dict[int, np.random.Generator] = {}  # by row
    previous = np.full((ROWS, 2), NO_CLICK, np.int64)  # the last click of each row
    finished: list[Rollout] = []

    while True:
        for row in pool.refill():
            episode = _assisted(pool[row]).episode
            generators[row] = np.random.default_rng(np.random.SeedSequence([seed, episode]))
            memory.reset([row])
            previous[row] = NO_CLICK

        active = pool.active()
        if not active:
            return [_assisted(one) for one in sorted(finished, key=lambda one: one.number)]

        for start in range(0, len(active), GROUP):
            rows = active[start : start + GROUP]
            rollouts = [_assisted(pool[row]) for row in rows]
            uniforms = np.stack([generators[row].random(2) for row in rows]).astype(np.float32)
            clicks, confidences = _act(
                policy, memory, rows, rollouts, previous[rows], temperature, uniforms
            )
            for row, rollout, (x, y), confidence in zip(rows, rollouts, clicks, confidences):
                previous[row] = rollout.take(int(x), int(y), confidence)

        finished += pool.collect()
        if progress:
            progress(len(active))


def _rollouts(recording: Trajectories, arms: Sequence[Arm], max_factor: int) -> Iterator[Assisted]:
    """Make a rollout for each arm and episode, those of an arm one after the other."""
    limit = int(max_factor * np.median(recording.episodes["steps"]))
    episodes = recording.episodes["episode"].astype(int).tolist()
    replays = [recording.open(index) for index in range(len(episodes))]
    for i, arm in enumerate(arms):
        for j, (episode, replay) in enumerate(zip(episodes, replays)):
            number = i * len(episodes) + j
            yield Assisted(number, arm, recording.source, episode, replay, limit)


def _assisted(rollout: Rollout) -> Assisted:
    assert isinstance(rollout, Assisted)  # the pool holds no others
    return rollout


def _act(
    policy: Policy,
    memory: Memory,
    rows: list[int],
    rollouts: Sequence[Assisted],
    previous: np.ndarray,
    temperature: float,
    uniforms: np.ndarray,
) -> tuple[np.ndarray, list[float]]:
    """Draw the clicks of up to GROUP rollouts, (B, 2), and return them with their confidences.

    As in `closed_loop`, the policy always acts on as many screens, padded with empty ones.
    """
    missing = GROUP - len(rows)
    index = torch.tensor([*rows, *range(ROWS, ROWS + missing)], device=policy.device)
    screens = np.stack([rollout.observe() for rollout in rollouts])
    padded = [
        torch.from_numpy(np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])).to(
            policy.device
        )
        for x in (screens, previous, uniforms)
    ]
    with torch.inference_mode():
        frames = policy.encode(padded[0], padded[1])
        context, _ = policy.context.last(*memory.append(index, frames.tokens))
        clicks = (
            policy.head.sample(context, frames.cells, frames.patches, temperature, padded[2])[
                : len(rows)
            ]
            .cpu()
            .numpy()
        )

        # Only where it decides or is reported.
        wanted = [i for i, rollout in enumerate(rollouts) if rollout.arm.rule != "random"]
        confidences = [float("nan")] * len(rows)
        if wanted:
            regions = [region_of(rollouts[i], *map(int, clicks[i])) for i in wanted]
            values = chances(
                policy.head,
                context[wanted],
                frames.cells[wanted],
                frames.patches[wanted],
                regions,
            )
            for i, value in zip(wanted, values.tolist()):
                confidences[i] = round(value, DECIMALS)
    return clicks, confidences


def annotate(recording: Trajectories, style: str, max_factor: int) -> list[Assisted]:
    """Let an annotator do everything on the worlds of recorded episodes; arguments as in `play`."""
    arm = Arm("unsure", style, 1.0, float("inf"))
    rollouts = list(_rollouts(recording, [arm], max_factor))
    for rollout in rollouts:
        while not rollout.over:
            rollout.hand_over()
    return rollouts


def measure(
    policy: Policy,
    validation: Trajectories,
    test: Trajectories,
    temperature: float,
    max_factor: int,
    seed: int,
    temperatures: Sequence[float] = TEMPERATURES,
    shares: Sequence[float] = SHARES,
    progress: Callable[[int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure temperatures, confidence, and the handing over of steps.

    The thresholds are quantiles of the confidences on the validation worlds, where the policy works
    alone. The annotator takes over at random as often as it did for lack of confidence, as a share
    of the policy's steps on the same worlds.

    Args:
        policy: The policy.
        validation: The recording on whose worlds the thresholds are fixed.
        test: The recording whose worlds are annotated.
        temperature: Temperature of the sampled clicks wherever steps may be handed over.
        max_factor: Rollouts are truncated after this many times the annotator's median length.
        seed: Seed of the sampled clicks.
        temperatures: Temperatures at which the policy works alone.
        shares: Shares of the policy's steps at which to hand over, between 0 and 1.
        progress: Called with the number of clicks after each round.

    Returns:
        One row per rollout on the test worlds: `rule`, `helper`, `share` and `level` (see `Arm`),
        `temperature`, `deferred` (steps made by the annotator), `calls` (times it took over), and
        the columns of `describe`. And one row per annotation that the policy made alone at
        `temperature`: `episode`, `step`, `kind` of the click, `confidence`, and whether it was
        `right`.
    """

    def played(recording: Trajectories, arms: Sequence[Arm], heat: float) -> list[Assisted]:
        return play(policy, recording, arms, heat, max_factor, seed, progress)

    tuned = played(validation, [Arm()], temperature)
    levels = np.quantile(np.concatenate([one.confidences for one in tuned]), shares).tolist()
    unsure = [
        Arm("unsure", helper, share, level)
        for helper in HELPERS
        for share, level in zip(shares, levels)
    ]
    rollouts = {temperature: played(test, [Arm(), *unsure], temperature)}
    annotations = _annotations([one for one in rollouts[temperature] if one.arm == Arm()])

    control = []
    for share in shares:
        arm = [
            one
            for one in rollouts[temperature]
            if (one.arm.helper, one.arm.share) == (HELPERS[0], share)
        ]
        calls = sum(one.calls for one in arm)
        # Where the annotator could have been called: not while it was at work.
        occasions = sum(len(one.steps) - sum(one.deferred) for one in arm) + calls
        control.append(Arm("random", HELPERS[0], share, calls / occasions))
    rollouts[temperature] += played(test, control, temperature)
    for helper in HELPERS:
        rollouts[temperature] += annotate(test, helper, max_factor)
    for heat in temperatures:
        if heat != temperature:
            rollouts[heat] = played(test, [Arm()], heat)

    rows = [
        {
            **one.arm._asdict(),
            "temperature": heat,
            "deferred": sum(one.deferred),
            "calls": one.calls,
            **describe(one),
            "episode": one.episode,
        }
        for heat, of_heat in rollouts.items()
        for one in of_heat
    ]
    return pd.DataFrame(rows), annotations


def _annotations(rollouts: Sequence[Assisted]) -> pd.DataFrame:
    rows = [
        {
            "episode": one.episode,
            "step": number,
            "kind": step.hit.kind,
            "confidence": confidence,
            "right": verdict == RIGHT,
        }
        for one in rollouts
        for number, (step, confidence) in enumerate(zip(one.steps, one.confidences))
        if (verdict := one.verdict(step))
    ]
    return pd.DataFrame(rows, columns=list(ANNOTATION_COLUMNS))
