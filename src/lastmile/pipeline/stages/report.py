"""Report: write one page with what the policies can do, all claims and figures, and all runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from lastmile.pipeline import paths
from lastmile.pipeline.examples import moments_of, page_of
from lastmile.pipeline.stage import Cost, Estimates, OnWorlds, Request

LABELS = ()
TABLES = ("emergence", "mistakes")
"""Studies whose tables hold how well the policies do the tasks."""
SECONDS = 5.0
BYTES = 2e7


class Spec(OnWorlds):
    """What to show.

    Attributes:
        name: Name of the study.
        studies: Its parts in the order of the story.
        left_out: Parts that the settings leave out, each with the reason.
        figures: Those of its parts that have a figure.
        task: Task of the episode that can be played.
        seed: Seed of its world.
        difficulty: Difficulty of its world.
        style: Style of its annotator.
        examples: Tasks with a page of an example.
        settings: All settings of the study.
    """

    name: str
    studies: tuple[str, ...]
    left_out: dict[str, str]
    figures: tuple[str, ...]
    task: str
    seed: int
    difficulty: str
    style: str
    examples: tuple[str, ...]
    settings: dict[str, Any]


class Inputs(NamedTuple):
    """Ledger, runs, claims by study, tables, figures with their captions, and pages of examples."""

    ledger: Path
    runs: Path
    claims: tuple[Path, ...]
    tables: tuple[Path, ...]
    pictures: tuple[Path, ...]
    captions: tuple[Path, ...]
    examples: tuple[Path, ...]
    moments: tuple[Path, ...]


class Outputs(NamedTuple):
    """The page, which needs nothing else but the examples that it links to."""

    report: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    tables = [paths.table(results, study) for study in spec.studies if study in TABLES]
    drawn = [paths.table(results, figure) for figure in spec.figures]
    pages = [page_of(results, task) for task in spec.examples]
    return Inputs(
        results / "findings.json",
        results / "runs.csv",
        tuple(paths.claims(results, study) for study in spec.studies),
        tuple(tables),
        tuple(table.with_suffix(".svg") for table in drawn if table.stem != "tasks")
        + tuple(table.with_suffix(".png") for table in drawn if table.stem == "tasks"),
        tuple(table.with_suffix(".md") for table in drawn),
        tuple(pages),
        tuple(map(moments_of, pages)),
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(results / "report.html")


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.pipeline.report_page import report_page
    from lastmile.storage import files

    files.write_text(outputs.report, report_page(spec, inputs))


def parts(spec: Spec) -> tuple[str, ...]:
    """Return the task of the episode, and the studies, which put their claims into words."""
    return (*spec.task_parts(spec.task), *(f"studies.{study}.study" for study in spec.studies))


def wanted(request: Request) -> list[Spec]:
    from lastmile.studies import left_out
    from lastmile.studies.render import figure_names

    drawn = tuple(name for name in request.needs if name in figure_names())
    return [
        Spec(
            name=request.settings.name,
            studies=tuple(request.needs),
            left_out=left_out(request.settings),
            figures=drawn,
            task=request.tasks[0],
            **request.origin(request.tasks[0]),
            seed=request.settings.seed,
            difficulty=request.settings.worlds.difficulty,
            style=request.settings.worlds.style,
            examples=request.tasks,
            settings=request.settings.model_dump(mode="json"),
        )
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    return Cost(SECONDS, BYTES)
