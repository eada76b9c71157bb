"""Study: from measurements to the table of a figure and to tested claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from lastmile.config import Settings, given
from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, Request
from lastmile.pipeline.stage import Spec as BaseSpec

LABELS = ("study",)
COMMON = ("seed", "tasks", "worlds")
"""Settings that every study reads."""
SECONDS = 6.0


class Spec(BaseSpec):
    """Which study, and the settings that it reads: no others, so that it cannot forget one silently."""

    study: str
    settings: dict[str, Any]

    def given(self) -> Settings:
        """Return these settings; reading any other one is an error."""
        return given(self.settings)


class Inputs(NamedTuple):
    """The tables of measurements that the study needs."""

    measurements: tuple[Path, ...]


class Outputs(NamedTuple):
    """The table of the figure, the claims, and for a study that shows screens their picture."""

    table: Path
    claims: Path
    screens: Path | None


def inputs(spec: Spec, results: Path) -> Inputs:
    from lastmile.studies import get_study

    settings = spec.given()
    needs = get_study(spec.study).needs(settings)
    seeds = settings.training.seeds if needs else ()
    return Inputs(
        tuple(
            paths.evaluation(results, need.run.name, need.task, seed, need.table)
            for need in needs
            for seed in seeds
        )
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    from lastmile.studies import get_study

    shows_screens = hasattr(get_study(spec.study), "sheet")
    return Outputs(
        paths.table(results, spec.study),
        paths.claims(results, spec.study),
        paths.screens(results, spec.study) if shows_screens else None,
    )


def run(spec: Spec, inputs: Inputs, outputs: Outputs, threads: int) -> None:
    import pandas as pd

    from lastmile.storage import files, parquet
    from lastmile.studies import get_study
    from lastmile.studies.claims import to_json

    study = get_study(spec.study)
    settings = spec.given()
    measurements: dict[str, pd.DataFrame] = {}
    for name in dict.fromkeys(need.table for need in study.needs(settings)):
        tables = [parquet.frame(path) for path in inputs.measurements if path.stem == name]
        measurements[name] = pd.concat(tables, ignore_index=True)

    table = study.table(measurements, settings)
    with files.writing(outputs.table) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    if outputs.screens is not None:
        import cv2

        picture = cv2.imencode(".png", study.sheet(settings)[..., ::-1])[1].tobytes()
        with files.writing(outputs.screens) as temporary:
            temporary.write_bytes(picture)
    files.write_text(outputs.claims, to_json(study.claims(measurements, settings)))


def parts(spec: Spec) -> tuple[str, ...]:
    """The study; one that needs no measurements draws the worlds itself, and then depends on the tasks."""
    from lastmile.studies import get_study

    name = f"studies.{spec.study}.study"
    settings = spec.given()
    if get_study(spec.study).needs(settings):
        return (name,)
    return (name, *(f"tasks.{task}" for task in settings.tasks))


def wanted(request: Request) -> list[Spec]:
    from lastmile.studies import get_study

    settings = request.settings.model_copy(update={"tasks": request.tasks})
    specs = []
    for name in request.needs:
        study = get_study(name)
        reads = settings.only((*COMMON, *study.READS))
        specs.append(Spec(study=name, settings=reads.model_dump(mode="json", exclude_unset=False)))
    return specs


def cost(spec: Spec, estimates: Estimates) -> Cost:
    return Cost(SECONDS)
