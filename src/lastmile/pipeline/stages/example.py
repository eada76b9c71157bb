"""Example: write a page that shows one test world of a task, annotated by annotator and policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.examples import Moments, Player, moments_of, page_of
from lastmile.pipeline.stage import AT_ONCE, TORCH, Cost, Estimates, OnWorlds, Request

if TYPE_CHECKING:
    from lastmile.viewer.episodes import Track

LABELS = ("task",)
WORLD = 0
"""Number of the world: the first one of the test split, which all policies share."""
SECONDS = 2.0
STEP = 0.05
"""Seconds to draw the screens of a step of both players."""
BYTES = 2e4
"""Bytes of the page for each step of the annotator."""


class Spec(OnWorlds):
    """What to show.

    Attributes:
        task: Name of the task.
        world: Number of the test world.
        run: Training run of the policy that plays beside the annotator; none without a policy.
        seed: Seed of its training, and of its clicks.
        temperature: Temperature of its clicks.
        max_steps: It is cut off after this many times the annotator's median length.
        template: Digest of the files that the page is made of.
    """

    task: str
    world: int = Field(ge=0)
    run: str | None
    seed: int
    temperature: float = Field(gt=0)
    max_steps: int = Field(ge=1)
    template: str


class Inputs(NamedTuple):
    """The recorded episodes, and the policy."""

    trajectories: Path
    episodes: Path
    config: Path | None
    policy: Path | None


class Outputs(NamedTuple):
    """The page, which is self-contained, and what happens when in it."""

    page: Path
    moments: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    folder = None if spec.run is None else paths.model(results, spec.run, spec.seed)
    return Inputs(
        paths.trajectories(results, spec.task, "test"),
        paths.episodes(results, spec.task, "test"),
        folder and folder / "config.json",
        folder and folder / "policy.safetensors",
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    page = page_of(results, spec.task)
    return Outputs(page, moments_of(page))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    import numpy as np

    from lastmile.simulation.trajectory import read
    from lastmile.storage import files
    from lastmile.tasks import get_task
    from lastmile.viewer import page
    from lastmile.viewer.episodes import of_recording, with_predictions, with_rollouts

    shown = of_recording(inputs.trajectories, [spec.world])
    if inputs.policy is not None:
        from lastmile.policy.policy import Policy

        policy = Policy.load(inputs.policy.parent)
        # As in the stage `closed_loop`: the same clicks on the same world.
        median = np.median(read(inputs.trajectories).episodes["steps"])
        limit = int(spec.max_steps * median)
        shown = with_rollouts(shown, policy, name(spec), spec.temperature, limit, spec.seed)
        shown = with_predictions(shown, policy)

    title = f"lastmile: {get_task(spec.task).interface.title}"
    page.write(outputs.page, shown, title, name(spec), note(spec))
    moments = Moments(
        episode=page.keys(shown)[0], players=tuple(_player(track) for track in shown[0].tracks)
    )
    files.write_text(outputs.moments, moments.model_dump_json(indent=1) + "\n")


def name(spec: Spec) -> str:
    """Return what to call the policy; empty without one."""
    return "" if spec.run is None else f"{spec.run}, seed {spec.seed}"


def note(spec: Spec) -> str:
    """Say how the episode was chosen."""
    choice = (
        f"World {spec.world} of the test split: chosen by its number, before anything was trained, "
        "and not by what happens on it."
    )
    return choice if spec.run is None else f"{choice} The policy plays as in the closed loop."


def _player(track: Track) -> Player:
    events = track.events()
    return Player(
        player=track.player,
        success=bool(track.session.score.success),
        steps=len(track.session.steps),
        first={
            kind: events[kind][0] + 1 for kind in ("made", "noticed", "repaired") if events[kind]
        },
    )


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    """Return a job for each task: with the joint policy, or else the one for the task alone."""
    from lastmile.studies import runs
    from lastmile.viewer import template

    settings = request.settings
    specs = []
    for task in request.tasks:
        kinds = [one for one in runs.both_kinds(settings, task) if one.name in request.runs]
        specs.append(
            Spec(
                task=task,
                **request.origin(task),
                world=WORLD,
                run=kinds[-1].name if kinds else None,
                seed=settings.training.seeds[0],
                temperature=settings.evaluation.temperature,
                max_steps=settings.evaluation.max_steps,
                template=template.digest(),
            )
        )
    return specs


def cost(spec: Spec, estimates: Estimates) -> Cost:
    steps = estimates.steps(spec.task)
    seconds, disk, memory = SECONDS + STEP * steps, BYTES * steps, TORCH
    if spec.run is not None:
        seconds += steps / estimates.policy_rate(spec.run, "played")
        seconds += 2 * steps / estimates.policy_rate(spec.run, "predict")
        memory += estimates.network_memory(spec.run, AT_ONCE, 2)
    return Cost(seconds, disk, memory)
