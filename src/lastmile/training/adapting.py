"""Fine-tune a policy in one go: record the annotator, draw the screens, train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lastmile.config import Training
from lastmile.policy.policy import Policy
from lastmile.provenance.fingerprints import code_label
from lastmile.provenance.manifests import write_manifest
from lastmile.simulation import tokens, trajectory
from lastmile.simulation.source import Source
from lastmile.simulation.tokens import TokenStore
from lastmile.tasks import get_task
from lastmile.tasks.real import SYNTHETIC, check_source
from lastmile.training.runs import RunSpec, run

VALIDATION = 10
"""Episodes of the validation split, for the loss that is printed."""
EPISODES = "episodes"
"""Folder in that of the policy with the episodes that it learns from."""
RUNS = "runs"
"""Folder there with the work in progress."""


def finetune(
    policy: Path,
    task: str,
    out: Path,
    *,
    frames: int,
    episodes: int,
    difficulty: str = "short",
    source: str = SYNTHETIC,
    seed: int = 0,
    say: Callable[[str], None],
) -> None:
    """Fine-tune a policy to a task, on worlds of a source.

    An interrupted call resumes when it is repeated.

    Args:
        policy: Folder of the policy to start from.
        task: Name of the task.
        out: Folder of the new policy; it also gets the episodes that it learns from.
        frames: Frames seen in training, repetitions counted.
        episodes: Distinct episodes of the annotator to learn from.
        difficulty: Name of one of the task's difficulties.
        source: Where the worlds come from: "synthetic", "real", or the folder of imported ones.
        seed: Seed of the episodes and of the training.
        say: Called with a line before each part.

    Raises:
        LastmileError: A name does not exist, the task has no such worlds, or `policy` is no policy.
        KeyboardInterrupt: After SIGINT.
        SystemExit: With code 143, after SIGTERM.
    """
    get_task(task).difficulty(difficulty)
    check_source(source, task)
    settings = Policy.load(policy).settings
    folder = out / EPISODES
    folder.mkdir(parents=True, exist_ok=True)

    say(f"recording {episodes:,} episodes of {task}, and {VALIDATION} in validation worlds")
    stores = {}
    for split, count in (("train", episodes), ("validation", VALIDATION)):
        steps = folder / f"{split}.parquet"
        trajectory.write(steps, Source(task, split, seed, difficulty, worlds=source), count)
        tokens.write(steps.with_suffix(".tokens"), trajectory.read(steps))
        stores[split] = TokenStore(steps.with_suffix(".tokens"))

    say(f"training for {frames:,} frames")
    code = code_label("training.adapting")
    result = run(
        RunSpec(
            run={"task": task},
            seed=seed,
            policy=settings,
            training=Training(frames=frames, snapshots=1),
        ),
        [stores["train"]],
        [stores["validation"]],
        out / RUNS,
        out,
        policy,
        code,
    )
    if result is not None:
        write_manifest(
            out / "manifest.json",
            "finetune",
            result.spec,
            code,
            result.inputs,
            result.outputs,
            device=result.device,
            threads=result.threads,
            seconds=result.seconds,
            arithmetic=result.arithmetic,
        )
