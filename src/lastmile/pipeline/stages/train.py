"""Train: train a policy on tokens.

Work in progress is kept in `runs/`, so that an interrupted run resumes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lastmile.config import PolicySettings, Training
from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, Facts, Request
from lastmile.pipeline.stage import Spec as BaseSpec

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
        start: The run of the same seed whose policy it starts from; None for random weights.
        style: Style of the annotator to learn from; None for that of the study.
        looks: Name of the looks of the interface to learn from; None for those of the study.
    """

    run: str
    seed: int
    tasks: tuple[str, ...]
    policy: PolicySettings
    training: Training
    episodes: int | None = None
    start: str | None = None
    style: str | None = None
    looks: str | None = None


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
    return Inputs(
        tuple(
            paths.tokens(results, paths.recording(task, spec.style, spec.looks), "train")
            for task in spec.tasks
        ),
        tuple(paths.tokens(results, task, "validation") for task in spec.tasks),
        paths.model(results, spec.start, spec.seed) / "policy.safetensors" if spec.start else None,
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


def wanted(request: Request) -> list[Spec]:
    specs = []
    for one in request.runs.values():
        training = request.settings.training.model_copy(
            update={"frames": one.frames, "seeds": (0,)}
        )
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
                style=one.style,
                looks=one.looks_name,
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
    at_once = -(-training.batch // (training.accumulate * training.devices)) * spec.policy.window
    recorded = spec.episodes or estimates.request.settings.episodes.train
    frames = recorded * sum(estimates.steps(task) for task in spec.tasks)
    memory = MEMORY + LABELS_BYTES * frames + estimates.network_memory(spec.run, at_once, COPIES)
    seconds = training.frames / rate * (MUON if training.muon_rate else 1.0)
    return Cost(START + seconds, weights * (kept + work), training.devices * memory)
