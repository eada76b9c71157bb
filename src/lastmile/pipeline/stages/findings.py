"""Findings: write the ledger of all claims, beside the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, Request
from lastmile.pipeline.stage import Spec as BaseSpec

LABELS = ()
TABLES = ("emergence", "mistakes", "comparison", "layouts")
"""Studies whose tables hold how well the policies do the tasks, and figures that are published."""
EXPECTED = (Path("workflow/expected/claims.yaml"), Path("workflow/expected/figures.yaml"))


class Spec(BaseSpec):
    """The name of the study, and its parts in the order of the story.

    Attributes:
        name: Name of the study.
        studies: Its parts.
        left_out: Parts that the settings leave out, each with the reason.
    """

    name: str
    studies: tuple[str, ...]
    left_out: dict[str, str] = {}


class Inputs(NamedTuple):
    """Claims and tables of the studies, and what is published."""

    claims: tuple[Path, ...]
    tables: tuple[Path, ...]
    expected: tuple[Path, ...]


class Outputs(NamedTuple):
    """The ledger to read and for machines."""

    findings: Path
    ledger: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    return Inputs(
        tuple(paths.claims(results, study) for study in spec.studies),
        tuple(paths.table(results, study) for study in TABLES if study in spec.studies),
        EXPECTED,
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(results / "findings.md", results / "findings.json")


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.storage import files
    from lastmile.studies import tables
    from lastmile.studies.claims import from_json, to_json
    from lastmile.studies.findings import beside, read_published, to_markdown, with_published

    published = read_published(inputs.expected)
    claims = [claim for path in inputs.claims for claim in from_json(path)]
    claims = with_published(claims, published)
    measured = {path.stem: tables.read(path.stem, path) for path in inputs.tables}
    page = to_markdown(claims, spec.name, beside(published, measured), measured, spec.left_out)
    files.write_text(outputs.ledger, to_json(claims))
    files.write_text(outputs.findings, page)


def parts(spec: Spec) -> tuple[str, ...]:
    """Return the studies, which put their claims into words."""
    return tuple(f"studies.{study}.study" for study in spec.studies)


def wanted(request: Request) -> list[Spec]:
    from lastmile.studies import left_out

    settings = request.settings
    return [Spec(name=settings.name, studies=tuple(request.needs), left_out=left_out(settings))]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    return Cost(1.0)
