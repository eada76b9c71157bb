"""From logs of Inspect to the file of an evaluation, as `lastmile evaluate` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai.log import EvalLog, EvalSample, read_eval_log, read_eval_log_samples
from pydantic import ValidationError

from lastmile.agents.tasks import SCORER, Setting
from lastmile.closed import explain_errors
from lastmile.errors import LastmileError
from lastmile.evaluation import results_file
from lastmile.evaluation.results_file import EpisodeResult, Results, TaskResult, Usage
from lastmile.tasks import get_task

NO_ACTION = "no action"
"""Why an episode stopped that no limit ended: the model no longer used the tool."""


class _Log(NamedTuple):
    path: Path
    model: str
    setting: Setting
    result: TaskResult

    @property
    def compared(self) -> tuple[Any, ...]:
        """What all logs in one file have in common."""
        setting = self.setting
        return self.model, setting.model_copy(update={"task": "", "max_steps": 0})


def results(paths: Sequence[Path], name: str = "") -> Results:
    """Return the evaluation in the logs of a model, one log for each task.

    Args:
        paths: The logs.
        name: Name of the player in tables; by default the model, and what it saw.

    Raises:
        LastmileError: A file is no complete log of our tasks, the logs do not belong together, or
            their clicks do not give their scores.
    """
    logs = [_read(path) for path in paths]
    first = logs[0]
    for log in logs[1:]:
        if log.compared != first.compared:
            raise LastmileError(
                f"{log.path}: expected the model, version, worlds and screens of {first.path}: "
                f"{_in_words(first)}; got {_in_words(log)}"
            )
    setting = first.setting
    saw = f"screens of {setting.screen} px" + (" and status" if setting.status else "")
    try:
        evaluation = Results(
            format=results_file.FORMAT,
            package=setting.package,
            name=name or f"{first.model}, {saw}"[-100:],
            source=_in_words(first),
            conditions=setting.conditions,
            tasks=tuple(log.result for log in logs),
        )
    except ValidationError as error:
        files = ", ".join(map(str, paths))
        raise LastmileError(explain_errors(Results, error, files, "value")) from None
    problems = results_file.replay(evaluation)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise LastmileError(f"{', '.join(map(str, paths))}: {problems[0]}{more}")
    return evaluation


def _in_words(log: _Log) -> str:
    setting = log.setting
    under = " ".join(f"{key}={value}" for key, value in setting.conditions.model_dump().items())
    return (
        f"inspect: {log.model} lastmile={setting.package} {under} screen={setting.screen} "
        f"status={setting.status} kept={setting.kept}"
    )


def _read(path: Path) -> _Log:
    try:
        header = read_eval_log(path, header_only=True)
        setting = _setting(path, header)
        samples = {}
        for sample in read_eval_log_samples(path, all_samples_required=False):
            if sample.epoch > 1:
                raise LastmileError(f"{path}: expected one epoch, got {sample.epoch}")
            samples[str(sample.id)] = _episode(path, sample)
    except LastmileError:
        raise
    # Inspect names no errors of its own for files that it cannot read.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise LastmileError(f"{path}: expected a log of Inspect ({reason})") from None

    wanted = [f"{setting.task}-{number}" for number in range(setting.conditions.worlds)]
    missing = [world for world in wanted if world not in samples]
    if missing:
        raise LastmileError(
            f"{path}: expected all {len(wanted)} worlds, but it lacks {len(missing)}, "
            f"'{missing[0]}' first; finish it with `inspect eval-retry`"
        )
    result = TaskResult(
        task=setting.task,
        version=get_task(setting.task).version,
        max_steps=setting.max_steps,
        episodes=tuple(samples[world] for world in wanted),
    )
    return _Log(path, header.eval.model, setting, result)


def _setting(path: Path, header: EvalLog) -> Setting:
    """Return what all samples of a log have in common."""
    values = (header.eval.metadata or {}).get("lastmile")
    if values is None:
        raise LastmileError(
            f"{path}: expected a log of a task of lastmile, got one of '{header.eval.task}'"
        )
    try:
        setting = Setting.model_validate(values)
    except ValidationError as error:
        raise LastmileError(explain_errors(Setting, error, str(path), "value")) from None
    version = get_task(setting.task).version
    if header.eval.task_version != version:
        raise LastmileError(
            f"{path}: task '{setting.task}' is version {version} here, "
            f"{header.eval.task_version} in the log"
        )
    return setting


def _episode(path: Path, sample: EvalSample) -> EpisodeResult:
    """Return the result of a sample, with why it stopped early, and what the model used."""
    score = (sample.scores or {}).get(SCORER)
    if score is None or score.metadata is None:
        reason = sample.error.message.splitlines()[0][:200] if sample.error else "it has no score"
        raise LastmileError(f"{path}: sample '{sample.id}' did not end ({reason})")
    stopped = ""
    if not score.metadata["over"]:
        stopped = f"{sample.limit.type} limit" if sample.limit else NO_ACTION
    used = list(sample.model_usage.values())
    costs = [usage.total_cost for usage in used if usage.total_cost is not None]
    usage = Usage(
        input_tokens=sum(
            usage.input_tokens
            + (usage.input_tokens_cache_read or 0)
            + (usage.input_tokens_cache_write or 0)
            for usage in used
        ),
        output_tokens=sum(usage.output_tokens for usage in used),
        cost=sum(costs) if costs and len(costs) == len(used) else None,
    )
    values = {**score.metadata["episode"], "stopped": stopped, "usage": usage}
    return EpisodeResult.model_validate(values)
