"""The command `finetune`."""

from __future__ import annotations

from pathlib import Path

import click

from lastmile.cli.options import (
    AT_LEAST_1,
    FOLDER,
    TASK,
    TaskCommand,
    difficulty_option,
    seed_option,
    source_option,
)


@click.command(cls=TaskCommand)
@click.argument("policy", metavar="NAME|FOLDER")
@click.argument("task", type=TASK, metavar="TASK")
@click.option(
    "--out", metavar="FOLDER", type=FOLDER, required=True, help="Folder of the new policy."
)
@difficulty_option
@source_option
@seed_option
@click.option("--episodes", type=AT_LEAST_1, default=200, help="Distinct episodes to learn from.")
@click.option("--frames", type=AT_LEAST_1, default=20_000, help="Frames seen in training.")
def finetune(
    policy: str,
    task: str,
    out: Path,
    difficulty: str,
    source: str,
    seed: int,
    episodes: int,
    frames: int,
) -> None:
    """Fine-tune a policy to TASK, on worlds of any source.

    NAME|FOLDER is a policy that comes with the package (joint), or the folder of any. The virtual
    annotator works on worlds of the split for training, and the policy learns from it. Interrupted,
    the same command resumes.
    """
    from lastmile.released import policy_folder
    from lastmile.training.adapting import finetune as adapt

    adapt(
        policy_folder(policy),
        task,
        out,
        frames=frames,
        episodes=episodes,
        difficulty=difficulty,
        source=source,
        seed=seed,
        say=lambda line: click.echo(line, err=True),
    )
    click.echo(f"{out}: policy for {task}, fine-tuned from {policy}")
