"""Repair record: let a policy and the annotator make demonstrations together, and store them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, ROLLOUT, TORCH, Cost, Estimates, OfRecording, Request
from lastmile.simulation.ways import WITH_POLICY, Way

LABELS = ("recording", "split")
STEP_BYTES = 14  # bytes per step in the file
ROW = 400  # bytes in memory of any other step


class Spec(OfRecording):
    """Which demonstrations to make.

    Attributes:
        split: Always `train`.
        way: How they are made, see `lastmile.simulation.ways.Way`.
        start: The run whose policy is at work; None where none is.
        start_seed: Seed of that run, and of the policy's clicks.
        temperature: Of the policy's clicks.
        first: Number of the first episode. All before it are the annotator's own recording.
        episodes: How many they are.
    """

    task: str
    split: str
    seed: int
    difficulty: str
    style: str
    layouts: tuple[str, ...]
    themes: tuple[str, ...]
    way: Way
    start: str | None
    start_seed: int
    temperature: float = Field(gt=0)
    first: int = Field(ge=0)
    episodes: int = Field(ge=1)


class Inputs(NamedTuple):
    """The policy that is at work, if there is one."""

    config: Path | None
    policy: Path | None


class Outputs(NamedTuple):
    """The steps, and the table of episodes."""

    steps: Path
    episodes: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    if spec.start is None:
        return Inputs(None, None)
    folder = paths.model(results, spec.start, spec.start_seed)
    return Inputs(folder / "config.json", folder / "policy.safetensors")


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(
        paths.trajectories(results, spec.recording, spec.split),
        paths.episodes(results, spec.recording, spec.split),
    )


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.evaluation import demonstrations
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress
    from lastmile.simulation.source import Source

    source = Source(
        spec.task,
        spec.split,
        spec.seed,
        spec.difficulty,
        spec.style,
        spec.layouts,
        spec.themes,
        spec.source,
    )
    with Progress(f"repair record {spec.recording}", None, "steps") as progress:
        demonstrations.write(
            outputs.steps,
            source,
            spec.way,
            Policy.load(inputs.policy.parent) if inputs.policy else None,
            range(spec.first, spec.first + spec.episodes),
            spec.temperature,
            spec.start_seed,
            progress,
        )


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    settings = request.settings
    specs = []
    for (name, split), recording in request.recordings.items():
        learner = recording.learner
        if learner is None or learner.way is None:
            continue
        start = learner.start if learner.way in WITH_POLICY else None
        specs.append(
            Spec(
                recording=name,
                task=recording.task,
                **request.origin(recording.task),
                split=split,
                seed=settings.seed,
                difficulty=settings.worlds.difficulty,
                style=recording.style,
                layouts=settings.worlds.layouts,
                themes=settings.worlds.themes,
                way=learner.way,
                start=start.name if start else None,
                start_seed=settings.training.seeds[0],
                temperature=settings.evaluation.temperature,
                first=settings.episodes.train + (learner.round - 1) * recording.episodes,
                episodes=recording.episodes,
            )
        )
    return specs


def cost(spec: Spec, estimates: Estimates) -> Cost:
    steps = spec.episodes * estimates.steps(spec.task)
    seconds = steps * estimates.task_rate(spec.task, "record_again")
    if spec.start is None:
        return Cost(seconds, STEP_BYTES * steps, TORCH + ROW * steps)
    # Half of the demonstrations are rollouts; a hand-over comes halfway, a rollout that is
    # relabelled takes as long as any in closed loop.
    played = steps / 2 if spec.way == "relabelled" else steps / 4
    rate = estimates.policy_rate(spec.start, "played")
    memory = TORCH + estimates.network_memory(spec.start, AT_ONCE, 3) + ROLLOUT * played
    return Cost(seconds + played / rate, STEP_BYTES * steps, memory)
