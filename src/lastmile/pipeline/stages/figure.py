"""Figure: draw the figure of a study from its table, and write its caption."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, Request
from lastmile.pipeline.stage import Spec as BaseSpec

LABELS = ("study",)
SECONDS = 3.0
BYTES = 4e6


class Spec(BaseSpec):
    """Which figure to draw.

    Attributes:
        study: Name of the study.
        screens: Whether the figure shows a picture of screens in addition to its table.
    """

    study: str
    screens: bool = False


class Inputs(NamedTuple):
    """The table, and the picture of screens."""

    table: Path
    screens: Path | None


class Outputs(NamedTuple):
    """The figure in three formats, and its caption in Markdown."""

    png: Path
    svg: Path
    pdf: Path
    caption: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    screens = paths.screens(results, spec.study) if spec.screens else None
    return Inputs(paths.table(results, spec.study), screens)


def outputs(spec: Spec, results: Path) -> Outputs:
    table = paths.table(results, spec.study)
    forms = (".png", ".svg", ".pdf", ".md")
    return Outputs(*(table.with_suffix(form) for form in forms))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.studies.render import render

    render(spec.study, inputs.table, outputs.png.with_suffix(""))


def parts(spec: Spec) -> tuple[str, ...]:
    return (f"studies.{spec.study}.figure",)


def wanted(request: Request) -> list[Spec]:
    from lastmile.studies import get_study
    from lastmile.studies.render import figure_names

    drawn = [name for name in request.needs if name in figure_names()]
    return [Spec(study=name, screens=hasattr(get_study(name), "sheet")) for name in drawn]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    return Cost(SECONDS, BYTES)
