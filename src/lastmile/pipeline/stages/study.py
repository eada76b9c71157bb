"""Study: turn measurements into the table of a figure and into tested claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lastmile.config import Settings, parse
from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, OnWorlds, Request, seeds_of
from lastmile.pipeline.task_paths import task_table

if TYPE_CHECKING:
    import pandas as pd

LABELS = ("study",)
COMMON = ("seed", "tasks", "worlds")
"""Settings that every study reads."""
SECONDS = 6.0
MEMORY = 600e6  # what packages, samples and the worlds of a study without measurements take
ALONG = ("skills", "losses", "closed_loop_curve")
"""Measurements with rows for each snapshot and episode."""
WHOLE, SOME = 4000, 1000
"""Bytes in memory for each snapshot, episode and seed of these; less for a study that keeps only
some skills. Measured on made-up tables of the preset `overnight` with eight seeds."""


class Spec(OnWorlds):
    """Which study, what it measures, and the settings that it reads.

    Attributes:
        study: Name of the study.
        needs: Table, run and task of every measurement.
        seeds: Seeds of the training runs.
        once: Runs that the study reads with the first seed alone.
        of_tasks: Table and task of every measurement that belongs to no training run.
        settings: The settings that the study declares. It gets no others, so it cannot read a
            setting that it does not declare.
    """

    study: str
    needs: tuple[tuple[str, str, str], ...]
    seeds: tuple[int, ...]
    once: tuple[str, ...]
    of_tasks: tuple[tuple[str, str], ...]
    settings: dict[str, Any]

    def given(self) -> Settings:
        """Return the settings; reading a setting that is not among them is an error."""
        names: list[str] = []
        for name, value in self.settings.items():
            names += [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]
        settings: Settings = parse(self.settings, "spec").only(tuple(names))
        return settings


class Inputs(NamedTuple):
    """The tables of measurements that the study needs."""

    measurements: tuple[Path, ...]


class Outputs(NamedTuple):
    """The table of the figure, the claims, and a picture if the study shows screens."""

    table: Path
    claims: Path
    screens: Path | None


def inputs(spec: Spec, results: Path) -> Inputs:
    of_runs = (
        paths.evaluation(results, run_name, task, seed, table)
        for table, run_name, task in spec.needs
        for seed in seeds_of(run_name, spec.seeds, spec.once)
    )
    of_tasks = (task_table(results, task, table) for table, task in spec.of_tasks)
    return Inputs((*of_runs, *of_tasks))


def outputs(spec: Spec, results: Path) -> Outputs:
    from lastmile.studies import get_study

    shows_screens = hasattr(get_study(spec.study), "sheet")
    return Outputs(
        paths.table(results, spec.study),
        paths.claims(results, spec.study),
        paths.screens(results, spec.study) if shows_screens else None,
    )


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    import pandas as pd

    from lastmile.storage import csv_tables, files, parquet
    from lastmile.studies import get_study
    from lastmile.studies.claims import to_json

    study = get_study(spec.study)
    settings = spec.given()
    measurements: dict[str, pd.DataFrame] = {}
    names = [table for table, _, _ in spec.needs] + [table for table, _ in spec.of_tasks]
    for name in dict.fromkeys(names):
        kept = getattr(study, "KEEPS", {}).get(name, {})
        measurements[name] = pd.concat(
            [_kept(parquet.frame(path), kept) for path in inputs.measurements if path.stem == name],
            ignore_index=True,
        )

    table = study.table(measurements, settings)
    csv_tables.write(table, outputs.table, study.COLUMNS, float_format="%.6g")
    if outputs.screens is not None:
        import cv2

        picture = cv2.imencode(".png", study.sheet(settings)[..., ::-1])[1].tobytes()
        with files.writing(outputs.screens) as temporary:
            temporary.write_bytes(picture)
    files.write_text(outputs.claims, to_json(study.claims(measurements, settings)))


def _kept(rows: pd.DataFrame, kept: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """Return the rows whose columns have one of the values that are kept."""
    for column, values in kept.items():
        rows = rows[rows[column].isin(values)]
    return rows


def parts(spec: Spec) -> tuple[str, ...]:
    """Return the study, and the tasks if it has no measurements.

    Such a study draws the worlds itself.
    """
    name = f"studies.{spec.study}.study"
    if spec.needs:
        return (name,)
    return (name, *spec.task_parts(*spec.settings["tasks"]))


def wanted(request: Request) -> list[Spec]:
    from lastmile.studies import get_study, task_tables

    settings = request.settings.model_copy(update={"tasks": request.tasks})
    specs = []
    for name, needs in request.needs.items():
        reads = settings.only((*COMMON, *get_study(name).READS))
        specs.append(
            Spec(
                study=name,
                **({} if needs else request.origin(*request.tasks)),
                needs=tuple((need.table, need.run.name, need.task) for need in needs),
                seeds=settings.training.seeds if needs else (),
                once=tuple(dict.fromkeys(need.run.name for need in needs if need.run.once)),
                of_tasks=tuple(
                    (table, task) for table in task_tables((name,)) for task in request.tasks
                ),
                settings=reads.model_dump(mode="json"),
            )
        )
    return specs


def cost(spec: Spec, estimates: Estimates) -> Cost:
    from lastmile.studies import get_study

    settings = estimates.request.settings
    points = (settings.training.snapshots + 1) * settings.episodes.test
    tables = sum(table in ALONG for table, _, _ in spec.needs) * len(spec.seeds)
    each = SOME if hasattr(get_study(spec.study), "KEEPS") else WHOLE
    return Cost(SECONDS, memory=MEMORY + each * points * tables)
