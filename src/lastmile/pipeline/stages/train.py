"""Train: train a policy on tokens.

Work in progress is kept in `runs/`, so that an interrupted run resumes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lastmile.config import PolicySettings, Training
from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, Facts, Request
from lastmile.pipeline.stage import Spec as BaseSpec

if TYPE_CHECKING:
    from lastmile.studies.runs import Run

LABELS = ("run", "seed")
RUNS = Path("runs")
"""Folder of work in progress. Snakemake does not own it, so it survives a job that is killed."""
START = 3.5  # extra seconds that a training run takes to start, compared to other jobs
MEMORY = 900e6  # what packages and the batches read ahead take
COPIES = 6  # of the weights: with gradients, two moments, and a checkpoint
LABELS_BYTES = 15  # bytes in memory of a frame to train on; its screen is read when it is needed
SHARED = 0.65
"""Training rate of a core while all cores train, as a share of its rate while the others are idle:
cores share the memory bandwidth. Measured on the study `desk` on two cores."""

MUON = 1.2
"""Time of a training with Muon, as a multiple of one with AdamW alone, whose rates are measured.
At size `xs` with two windows an update."""


class Spec(BaseSpec):
    """What to train.

    Attributes:
        run: Name of the training run.
        seed: Seed of the training run.
        tasks: Tasks of the mixture.
        policy: Settings of the policy.
        training: Settings of the training.
        episodes: Train on the first n episodes of each task; None for all.
        start: The run whose policy it starts from; None for random weights.
        start_seed: Seed of that run; None for the same seed.
        variant: What the recordings to learn from are called beside their tasks: the style of the
            annotator, the looks of the interface, or how demonstrations are made with the policy;
            None for those of the study.
        stretch: Frames of the stretches that are drawn and cut into windows, of which
            `training.batch` make an update; None to draw windows.
    """

    run: str
    seed: int
    tasks: tuple[str, ...]
    policy: PolicySettings
    training: Training
    episodes: int | None = None
    start: str | None = None
    start_seed: int | None = None
    variant: str | None = None
    stretch: int | None = None


class Inputs(NamedTuple):
    """Tokens of all tasks, and the weights that the run or its encoder starts from."""

    tokens: tuple[Path, ...]
    validation: tuple[Path, ...]
    start: Path | None
    backbone: Path | None


class Outputs(NamedTuple):
    """The policy, its snapshots, the progress of its training, and the manifest."""

    config: Path
    policy: Path
    snapshots: Path
    progress: Path
    manifest: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    start_seed = spec.seed if spec.start_seed is None else spec.start_seed
    return Inputs(
        tuple(
            paths.tokens(results, paths.recording(task, spec.variant), "train")
            for task in spec.tasks
        ),
        tuple(paths.tokens(results, task, "validation") for task in spec.tasks),
        paths.model(results, spec.start, start_seed) / "policy.safetensors" if spec.start else None,
        _backbone(spec.policy),
    )


def _backbone(policy: PolicySettings) -> Path | None:
    """Return the file of pretrained weights, if the settings name a folder."""
    if policy.encoder != "dinov2" or not Path(policy.weights).is_dir():
        return None
    return Path(policy.weights) / "model.safetensors"


def outputs(spec: Spec, results: Path) -> Outputs:
    folder = paths.model(results, spec.run, spec.seed)
    return Outputs(
        folder / "config.json",
        folder / "policy.safetensors",
        folder / "snapshots.safetensors",
        folder / "progress.csv",
        folder / "manifest.json",
    )


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> Facts | None:
    from lastmile.provenance.fingerprints import code_label
    from lastmile.simulation.tokens import TokenStore
    from lastmile.training import runs

    result = runs.run(
        runs.RunSpec(
            run={"run": spec.run, "seed": spec.seed},
            seed=spec.seed,
            policy=spec.policy,
            training=spec.training,
            episodes=spec.episodes,
            stretch=spec.stretch,
        ),
        [TokenStore(path) for path in inputs.tokens],
        [TokenStore(path) for path in inputs.validation],
        RUNS,
        outputs.policy.parent,
        inputs.start.parent if inputs.start else None,
        code_label("pipeline.stages.train"),
    )
    if result is None:  # a further process of the run: the first one writes everything
        return None
    return Facts(
        result.spec,
        result.inputs,
        result.device,
        result.threads,
        result.seconds,
        result.arithmetic,
    )


def parts(spec: Spec) -> tuple[str, ...]:
    return ()


def _start_seed(run: Run, seed: int, request: Request) -> int | None:
    """Return the seed of the policy to start from; None for the same seed.

    Demonstrations that a policy had a part in are learned by that very policy, whatever the seed.
    """
    if run.start is None or run.way is None:
        return None
    return request.seeds(run.start)[0]


def wanted(request: Request) -> list[Spec]:
    specs = []
    for one in request.runs.values():
        training = request.settings.training
        changes: dict[str, object] = {"frames": one.frames, "seeds": (0,)}
        if one.stretch is not None:  # an update has about as many frames as with windows
            full = training.batch * request.settings.policy.window
            changes["batch"] = max(1, round(full / one.stretch))
        training = training.model_copy(update=changes)
        fewer = one.episodes < request.settings.episodes.train
        specs += [
            Spec(
                run=one.name,
                seed=seed,
                tasks=one.tasks,
                policy=one.policy,
                training=training,
                episodes=one.episodes if fewer else None,
                start=one.start.name if one.start else None,
                start_seed=_start_seed(one, seed, request),
                variant=one.variant,
                stretch=one.stretch,
            )
            for seed in request.seeds(one)
        ]
    return specs


def cost(spec: Spec, estimates: Estimates) -> Cost:
    rate = SHARED * estimates.policy_rate(spec.run, "train")
    weights = 4 * estimates.policy_rate(spec.run, "parameters")
    kept = spec.training.snapshots + 1
    work = spec.training.snapshots + 3  # in runs/: snapshots, and weights with two moments
    training = spec.training
    drawn = spec.stretch or spec.policy.window
    at_once = -(-training.batch // (training.accumulate * training.devices)) * drawn
    recorded = spec.episodes or estimates.request.settings.episodes.train
    frames = recorded * sum(estimates.steps(task) for task in spec.tasks)
    memory = MEMORY + LABELS_BYTES * frames + estimates.network_memory(spec.run, at_once, COPIES)
    seconds = training.frames / rate * (MUON if training.muon_rate else 1.0)
    return Cost(START + seconds, weights * (kept + work), training.devices * memory)
