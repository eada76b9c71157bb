"""Commands about tasks: `watch`, `check`, `new-task`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lastmile.cli.options import (
    AT_LEAST_0,
    AT_LEAST_1,
    FILE_OUT,
    FOLDER,
    KIND,
    LAYOUT,
    PLAYER,
    POSITIVE,
    STYLE,
    TASK,
    TASK_OR_ALL,
    THEME,
    TaskCommand,
    difficulty_option,
    json_option,
    seed_option,
    source_option,
)


@click.command(cls=TaskCommand)
@click.argument("task", type=TASK, metavar="TASK")
@click.option(
    "--out", metavar="FILE", type=FILE_OUT, required=True, help="File to write, .gif or .mp4."
)
@click.option(
    "--policy",
    metavar="NAME|FOLDER",
    help="Policy to watch: `joint`, which comes with the package, a task for the released policy "
    "that does it, or a folder.  [default: watch the annotator]",
)
@click.option("--style", type=STYLE, default="typical", help="Style of the annotator.")
@difficulty_option
@source_option
@click.option("--episode", type=AT_LEAST_0, default=0, help="Number of the world, from 0.")
@seed_option
@click.option(
    "--temperature", type=POSITIVE, default=0.4, help="Sampling temperature of the policy."
)
@click.option("--layout", type=LAYOUT, default="right", help="Layout of the interface.")
@click.option("--theme", type=THEME, default="dark", help="Theme of the interface.")
@click.option("--fps", type=POSITIVE, default=3.0, help="Steps per second.")
def watch(
    task: str,
    out: Path,
    policy: str | None,
    style: str,
    difficulty: str,
    source: str,
    episode: int,
    seed: int,
    temperature: float,
    layout: str,
    theme: str,
    fps: float,
) -> None:
    """Save an episode of TASK as GIF or MP4.

    It is played by the virtual annotator, or by a policy.
    """
    from lastmile.evaluation.watch import watch as save_episode
    from lastmile.screen import Look

    folder = None
    if policy is not None:
        from lastmile.released import policy_folder

        folder = policy_folder(policy)
        warn_of_other_task(folder, task)
    steps = save_episode(
        task,
        out,
        folder,
        style,
        difficulty,
        episode,
        seed,
        temperature,
        Look(layout, theme),
        fps,
        worlds=source,
    )
    click.echo(f"{out}: {steps} steps")


def warn_of_other_task(policy: Path, task: str) -> None:
    """Warn if the policy in a folder was not trained on a task, as far as is known."""
    from lastmile.released import trained_on

    tasks = trained_on(policy)
    if tasks and task not in tasks:
        click.echo(
            f"warning: the policy in {policy} was trained on {', '.join(tasks)}, not on {task}",
            err=True,
        )


@click.command(cls=TaskCommand)
@click.argument("task", type=TASK_OR_ALL, metavar="TASK|all")
@click.option("--worlds", type=AT_LEAST_1, default=100, help="Number of worlds.")
@click.option(
    "--style",
    type=PLAYER,
    default="typical",
    help="Style of the annotator; `random` clicks anywhere, `blind` sees another world.",
)
@click.option(
    "--from",
    "start",
    type=click.Choice(("start", "random")),
    default="start",
    help="State to begin in: the first one, or one after random clicks.",
)
@difficulty_option
@source_option
@seed_option
@json_option
def check(
    task: str,
    worlds: int,
    style: str,
    start: str,
    difficulty: str,
    source: str,
    seed: int,
    json_file: Path | None,
) -> None:
    """Measure how well the annotator does TASK.

    It works on many worlds. Printed are its success, score and steps, its mistakes and how many of
    them it repairs, and the shares of its actions.
    """
    from lastmile.evaluation.annotators import check as check_annotator
    from lastmile.storage import files
    from lastmile.tasks.real import tasks_with

    for name in tasks_with(source) if task == "all" else (task,):
        result = check_annotator(name, worlds, style, start, difficulty, seed, source)
        actions = ", ".join(f"{kind} {share:.1%}" for kind, share in result["actions"].items())
        click.echo(
            f"{name}: success {result['success']:.2f}, score {result['score']:.3f}, "
            f"{result['steps']['mean']:.1f} steps, "
            f"mistakes per placement {result['mistakes_per_placement']:.3f}, "
            f"repaired {result['repaired']:.3f}, {actions}"
        )
        if json_file is not None:
            # Several tasks do not fit into one file: check.json becomes check_TASK.json.
            path = json_file
            if task == "all":
                path = json_file.with_stem(f"{json_file.stem}_{name}")
            files.write_text(path, json.dumps(result, indent=2) + "\n")


@click.command("new-task")
@click.argument("name")
@click.option(
    "--kind",
    type=KIND,
    default="place",
    help="Template: annotations are placed on the canvas, or decided with buttons.",
)
@click.option(
    "--folder",
    type=FOLDER,
    help="Folder of the tasks.  [default: that of the package]",
)
def new_task(name: str, kind: str, folder: Path | None) -> None:
    """Make a new task NAME from a template that works as it is.

    NAME is in snake case, such as point_counting.
    """
    from lastmile.tasks._template.create import TASKS, create_task

    for path in create_task(name, kind, folder or TASKS):
        click.echo(path)
    now = (
        (f"lastmile watch {name} --out {name}.gif", ""),
        (f"lastmile check {name} --style oracle", "must always succeed; also with --from random"),
        (f"lastmile check {name}", "makes mistakes, repairs them, succeeds"),
    )
    then = (
        (f"python tests/golden.py {name}", "write the digests of its episodes"),
        (f"python -m pytest tests/test_tasks.py -k {name}", "the contract of a task"),
        ("python docs/task_pages.py", "its page in docs/, with a picture"),
    )
    width = max(len(command) for command, _ in now + then)

    def lines(commands: tuple[tuple[str, str], ...]) -> str:
        return "\n".join(
            f"  {command.ljust(width)}  ({meaning})" if meaning else f"  {command}"
            for command, meaning in commands
        )

    click.echo("\nNow change it to what you need, and look at it as you go:\n")
    click.echo(lines(now))
    click.echo("\nWhen it is as you want it:\n")
    click.echo(lines(then))
