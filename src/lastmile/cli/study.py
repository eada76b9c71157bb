"""Commands about a study: `run`, `status`, `plan`, `why`, `verify`, `clean`, `figures` and more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lastmile.cli.options import FILE_IN, TASK, Cores, study_options
from lastmile.cli.policies import verify_evaluation
from lastmile.errors import LastmileError, UnknownNameError

if TYPE_CHECKING:
    from lastmile.config import Settings
    from lastmile.pipeline.why import Overlay


@click.command()
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option("--cores", type=Cores(), default="all", help="Cores to use.")
@study_options
def run(
    targets: tuple[str, ...],
    cores: int,
    configfiles: tuple[Path, ...],
    overrides: tuple[str, ...],
) -> int:
    """Run a study, or resume it.

    Only what is missing or stale is made. TARGET is the name of a study (emergence), a kind of
    results (trajectories, models, evaluations, findings, figures, report), a file in results/, or
    all, the default.
    """
    settings = study_settings(configfiles, overrides)
    check_targets(targets, settings)

    from lastmile.pipeline.run import run as run_workflow

    return run_workflow(
        settings, targets or ("all",), study_overlay(configfiles, overrides), str(cores)
    )


@click.command()
@click.option("--follow", is_flag=True, help="Keep showing the status until the study is done.")
@study_options
def status(follow: bool, configfiles: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Show what is being trained and what is left to do."""
    settings = study_settings(configfiles, overrides)

    from lastmile.pipeline.status import show

    show(settings, study_overlay(configfiles, overrides), follow)


@click.command()
@click.option("--cores", type=Cores(), default="all", help="Cores to plan for.")
@click.option(
    "--rates",
    "rates_file",
    metavar="FILE",
    type=FILE_IN,
    help="Rates of another machine, from `lastmile rates`.  [default: those of the package]",
)
@study_options
def plan(
    cores: int,
    rates_file: Path | None,
    configfiles: tuple[Path, ...],
    overrides: tuple[str, ...],
) -> None:
    """Estimate the jobs, time and disk space of a study."""
    settings = study_settings(configfiles, overrides)

    from lastmile.pipeline.pace import pace
    from lastmile.pipeline.plan import RATES, rates, to_text

    paces = None
    if rates_file is None:
        here = pace(settings, Path("results") / settings.name)
        paces = here.stages if here.jobs else None
    click.echo(to_text(settings, cores, rates(rates_file or RATES), paces), nl=False)


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@study_options
def why(
    targets: tuple[str, ...], configfiles: tuple[Path, ...], overrides: tuple[str, ...]
) -> None:
    """Tell why a result is stale.

    The answer names the settings and source files that have changed since it was made. TARGET is a
    file in results/, or a target of `lastmile run`, such as emergence or all.
    """
    settings = study_settings(configfiles, overrides)
    check_targets(targets, settings)

    from lastmile.pipeline.why import why as explain

    click.echo(explain(targets, study_overlay(configfiles, overrides)), nl=False)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER|FILE")
def verify(folder: Path) -> None:
    """Check results, or the scores of an evaluation.

    Results are compared with their manifests: in FOLDER, which is results/NAME or a folder in it,
    changed and missing files are found, and files that no manifest lists. FILE is what
    `lastmile evaluate` wrote: its clicks are replayed, and each of its scores must come out the
    same.
    """
    if folder.is_file():
        verify_evaluation(folder)
        return

    from lastmile.provenance.verify import verify as check_results

    report = check_results(folder)
    for problem in report.problems:
        click.echo(problem)

    for line in report.mixed:
        click.echo(f"made with several versions: {line}")
    aside = ""
    if report.elsewhere == 1:
        aside += "; 1 input is elsewhere and was not read"
    elif report.elsewhere:
        aside += f"; {report.elsewhere} inputs are elsewhere and were not read"
    if report.absent:
        inputs = "1 input is" if report.absent == 1 else f"{report.absent} inputs are"
        aside += f"; {inputs} not kept here"
    if report.problems:
        raise LastmileError(
            f"{folder}: {len(report.problems)} problems in {report.manifests} manifests "
            f"and {report.files} files{aside}"
        )
    click.echo(f"{folder}: {report.files} files match their {report.manifests} manifests{aside}")


@click.command()
@click.option("--unfinished", is_flag=True, help="Remove runs that could still be resumed, too.")
@click.option("--dry-run", "-n", is_flag=True, help="Only tell what would be removed.")
def clean(unfinished: bool, dry_run: bool) -> None:
    """Remove the checkpoints of finished training runs in runs/.

    Results stay. A policy that is lost later is then trained from the beginning.
    """
    check_checkout()

    from lastmile.pipeline.cleanup import clean as remove
    from lastmile.pipeline.plan import size_text

    removed = remove(Path("runs"), Path("results"), unfinished, dry_run)
    for work in removed:
        click.echo(f"{work.folder}: {work.state}, {size_text(work.size)}")
    verb = "would be removed" if dry_run else "removed"
    total = sum(work.size for work in removed)
    click.echo(f"{len(removed)} runs {verb}, {size_text(total) or '0 MB'}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def figures(folder: Path) -> None:
    """Draw the figures whose tables are in FOLDER.

    For example: lastmile figures results/reference/desk/figures
    """
    from lastmile.provenance.manifests import check_inputs
    from lastmile.studies.render import figure_names, render

    names = [name for name in figure_names() if (folder / f"{name}.csv").is_file()]
    if not names:
        tables = ", ".join(f"{name}.csv" for name in figure_names())
        raise LastmileError(f"{folder}: has no table of a figure (expected one of {tables})")
    check_inputs((folder / f"{name}.csv" for name in names), "move it or its manifest away")
    for name in names:
        paths = render(name, folder / f"{name}.csv", folder / name)
        formats = ", ".join(path.suffix[1:] for path in paths)
        click.echo(f"{paths[0].with_suffix('')}: {formats}")


@click.command()
@click.argument("stage")
@click.option("--task", "tasks", type=TASK, multiple=True, help="Task to include; repeatable.")
def fingerprint(stage: str, tasks: tuple[str, ...]) -> None:
    """Print the fingerprint of the code of STAGE, and its files."""
    from lastmile.pipeline.command_line import print_fingerprint

    print_fingerprint(stage, tasks)


def study_settings(configfiles: Sequence[Path], overrides: Sequence[str]) -> Settings:
    """Load the settings of the study in the current folder.

    Args:
        configfiles: Settings files, laid over config.yaml one after the other.
        overrides: Settings as `KEY=VALUE`, laid over all files. The key of a setting in a section
            is dotted, such as training.frames; the value is YAML.

    Raises:
        LastmileError: This is not a checkout, a setting is wrong, or recordings are missing.
    """
    check_checkout()

    from lastmile.config import load, parse

    settings = load("config.yaml", *configfiles)
    if overrides:
        values: dict[str, Any] = settings.model_dump(mode="json")
        for override in overrides:
            keys, value = _parse_override(override)
            _check_kind(values, override)
            _set(values, keys, value)
        settings = parse(values, "--config")
    _check_recordings(settings)
    return settings


def _check_recordings(settings: Settings) -> None:
    """Check that the recordings that the settings name are there, before anything is planned."""
    if settings.recordings:
        from lastmile.config import task_list
        from lastmile.evaluation.exclusions import logs_by_task

        logs_by_task(settings.recordings, task_list(settings))


def study_overlay(configfiles: Sequence[Path], overrides: Sequence[str]) -> Overlay:
    """Return the same settings files and overrides as Snakemake takes them.

    Snakemake knows no dotted keys, and of two values for one section it keeps the last. So each
    section becomes one mapping.
    """
    from lastmile.pipeline.why import Overlay

    changes: dict[str, Any] = {}
    for override in overrides:
        keys, value = _parse_override(override)
        _set(changes, keys, value)
    return Overlay(
        tuple(str(path) for path in configfiles),
        tuple(f"{key}={json.dumps(value)}" for key, value in changes.items()),
    )


def _parse_override(override: str) -> tuple[list[str], Any]:
    """Split `KEY=VALUE` into the parts of the key and the value."""
    import yaml

    from lastmile.storage.records import PlainYaml

    key, equals, text = override.partition("=")
    if not key or not equals:
        raise LastmileError(
            f"--config {override}: expected KEY=VALUE, such as seed=1 or training.frames=50000"
        )
    try:
        return key.split("."), yaml.load(text, PlainYaml)
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LastmileError(f"--config {override}: the value is not YAML ({reason})") from None


def _check_kind(values: Mapping[str, Any], override: str) -> None:
    """Check that an override gives a list where a list is expected, and so on.

    The type checks of the settings come later; they do not know how a value is written here.
    """
    keys, value = _parse_override(override)
    current: Any = values
    for depth, key in enumerate(keys):
        if not isinstance(current, dict):
            raise LastmileError(
                f"--config {override}: '{'.'.join(keys[:depth])}' is a setting, not a section"
            )
        current = current.get(key, {})  # unknown ones are reported by `lastmile.config.parse`

    key, _, text = override.partition("=")
    if isinstance(current, dict) and current and not isinstance(value, dict):
        raise LastmileError(
            f"--config {override}: '{key}' is a section; "
            f"change one of its settings, such as {key}.{next(iter(current))}=VALUE"
        )
    if isinstance(current, list) and not isinstance(value, list):
        raise LastmileError(
            f"--config {override}: '{key}' expects a list; write --config '{key}=[{text}]'"
        )


def _set(values: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set a value in nested mappings; mappings are merged, everything else is replaced."""
    *sections, name = keys
    for section in sections:
        values = values.setdefault(section, {})
    if isinstance(value, dict) and isinstance(values.get(name), dict):
        for key, item in value.items():
            _set(values[name], [key], item)
    else:
        values[name] = value


def check_checkout() -> None:
    """Check that the current folder is a checkout, which has the workflow and its settings.

    Raises:
        LastmileError: It is not.
    """
    if not (Path("config.yaml").is_file() and Path("Snakefile").is_file()):
        raise LastmileError(
            f"no config.yaml and Snakefile in {Path.cwd()}: "
            "run this in the folder of a lastmile checkout (where config.yaml is)"
        )


def check_targets(targets: Sequence[str], settings: Settings) -> None:
    """Check the targets that are not paths.

    Raises:
        UnknownNameError: There is no such target.
        LastmileError: A study has nothing to do with these settings.
    """
    from lastmile.pipeline.why import TARGETS
    from lastmile.studies import left_out, study_names

    known = (*TARGETS, *study_names())
    asked = [target for target in targets if "/" not in target and not Path(target).exists()]
    for target in asked:
        if target not in known:
            raise UnknownNameError("target", target, known)
    studies = set(asked) & set(study_names())
    reasons = left_out(settings) if studies else {}
    for name in sorted(studies & reasons.keys()):
        raise LastmileError(
            f"the study '{name}' has nothing to do with these settings: {reasons[name]}"
        )
