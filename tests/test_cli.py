"""The command line: a mistake of the user ends in one message, and leaves nothing behind."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import click
import imageio.v3 as imageio
import pandas as pd
import pytest

import lastmile
from lastmile import cli
from lastmile.cli import main
from lastmile.cli.study import study_overlay, study_settings
from lastmile.cli.tasks import warn_of_other_task
from lastmile.errors import LastmileError
from lastmile.extras import EXTRAS, needed_for
from lastmile.simulation.trajectory import Trajectories, episodes_path

USAGE = 2
"""Exit code after a wrong command line."""


def commands(group: click.Group = cli.group, path: str = "") -> dict[str, click.Command]:
    """All commands by name, but those of the workflow, which are made from the stages."""
    return {name: command for name, command in group.commands.items() if name != "stage"}


def refused(
    capsys: pytest.CaptureFixture[str], folder: Path, *arguments: object, code: int = 1
) -> str:
    """The message with which arguments are refused; nothing new is in `folder`."""
    before = sorted(folder.rglob("*"))
    assert main([str(argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    *usage, message = err.splitlines()
    assert out == "" and message.startswith("error: ")
    assert usage == [] if code == 1 else usage[0].startswith("Usage: lastmile ")
    assert sorted(folder.rglob("*")) == before
    return message


@pytest.fixture
def checkout(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the settings and the presets, which is the current one."""
    for name in ("config.yaml", "Snakefile"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "workflow" / "presets", tmp_path / "workflow" / "presets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The command itself


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    alone = capsys.readouterr()
    assert main(["--help"]) == 0
    assert capsys.readouterr() == alone and alone.err == ""
    people, workflow = alone.out.split("Commands:\n")[1].split("Commands for the rules")
    assert [line.split()[0] for line in people.splitlines() if line] == list(commands())
    assert "stage" in workflow and "..." not in people + workflow, "descriptions are cut"


def test_it_knows_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lastmile, version {lastmile.__version__}\n"


def test_as_a_module_it_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lastmile", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("Usage: lastmile [OPTIONS] ")


def test_its_help_imports_nothing_large() -> None:
    code = (
        "import sys; from lastmile.cli import main; main(['--help']);"
        "print([name for name in ('numpy', 'cv2', 'pydantic', 'pandas', 'torch', 'yaml') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_every_option_has_help() -> None:
    for name, command in commands().items():
        assert command.help, name
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help and option.help.rstrip("].")[-1] != " ", f"{name} {option.name}"


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: lastmile {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["dance"], "No such command 'dance'"),
        (["wach"], "watch"),
        (["check"], "Missing argument 'TASK|all'"),
        (["watch", "colored_dots", "--out", "x.gif", "--seeds", "1"], "--seed"),
        (["plan", "--conf", "seed=1"], "No such option"),
        (["watch", "colored_dots", "--out", "x.gif", "--styl", "hasty"], "No such option"),
        (["stage", "recor"], "unknown stage 'recor'; did you mean 'record'?"),
        (["watch", "colored_dot", "--out", "x.gif"], "'colored_dot'; did you mean 'colored_dots'?"),
        (["watch", "colored_dots", "--out", "x.gif", "--style", "lazy"], "'lazy'"),
        (["watch", "colored_dots", "--out", "x.gif", "--style", "hast"], "did you mean 'hasty'?"),
        (["watch", "colored_dots", "--out", "x.gif", "--difficulty", "hard"], "'hard'"),
        (["watch", "colored_dots", "--out", "x.gif", "--layout", "middle"], "'middle'"),
        (["watch", "colored_dots", "--out", "x.gif", "--theme", "neon"], "'neon'"),
        (["watch", "colored_dots", "--out", "x.gif", "--seed", "-1"], "'--seed': -1 is not in"),
        (["watch", "colored_dots", "--out", "x.gif", "--episode", "-1"], "'--episode': -1 is not"),
        (["watch", "colored_dots", "--out", "x.gif", "--fps", "0"], "'--fps': 0"),
        (["watch", "colored_dots", "--out", "x.gif", "--temperature", "0"], "'--temperature': 0"),
        (
            ["check", "colored_dot", "--json", "x.json"],
            "'colored_dot'; did you mean 'colored_dots'?",
        ),
        (["check", "colored_dots", "--worlds", "0", "--json", "x.json"], "'--worlds': 0 is not in"),
        (["check", "colored_dots", "--style", "lazy", "--json", "x.json"], "'lazy'"),
        (["bench", "--size", "xl"], "unknown size 'xl'"),
        (["sizes", "--threads", "0"], "'--threads': 0 is not in"),
        (["plan", "--cores", "0"], "expected 'all' or an integer of at least 1, got '0'"),
        (["run", "--cores", "many"], "got 'many'"),
        (["plan", "--configfile", "none.yaml"], "'none.yaml' does not exist"),
        (["new-task", "counting", "--kind", "plac"], "'plac'; did you mean 'place'?"),
        (["completion", "tcsh"], "'tcsh'"),
    ],
)
def test_a_wrong_command_line_shows_the_usage(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, tmp_path, *arguments, code=USAGE)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            ["watch", "colored_dots", "--out", "x.avi"],
            "x.avi: expected a file that ends in .gif or .mp4",
        ),
        (["watch", "colored_dots", "--out", "x.gif", "--policy", "nowhere"], "nowhere"),
        (["figures", "nowhere"], "nowhere: has no table of a figure"),
        (["verify", "nowhere"], "nowhere"),
        (["new-task", "Counting"], "cannot name a task 'Counting': expected snake case"),
        (["fingerprint", "recor"], "unknown stage 'recor'; did you mean 'record'?"),
        *(
            (
                [verb, *target],
                "run this in the folder of a lastmile checkout (where config.yaml is)",
            )
            for verb, *target in (["run"], ["status"], ["plan"], ["why", "all"])
        ),
    ],
)
def test_bad_input_is_refused_by_name(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, tmp_path, *arguments)


# Errors


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes the command `schema` raise an error."""

    def fail(error: BaseException) -> None:
        def raise_error(out: Path | None) -> None:
            raise error

        monkeypatch.setattr(cli.group.commands["schema"], "callback", raise_error)

    return fail


def test_an_error_that_a_user_can_mend_is_one_message(
    capsys: pytest.CaptureFixture[str], failing: Any
) -> None:
    for error in (LastmileError("the file is gone"), OSError("the file is gone")):
        failing(error)
        assert main(["schema"]) == 1
        assert capsys.readouterr() == ("", "error: the file is gone\n")


def test_an_error_in_the_program_is_a_traceback(failing: Any) -> None:
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["schema"])


def test_an_interrupt_says_how_to_resume(capsys: pytest.CaptureFixture[str], failing: Any) -> None:
    failing(KeyboardInterrupt())
    assert main(["schema"]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "interrupted; run the same command again to resume"


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package_names_its_extra(
    capsys: pytest.CaptureFixture[str], failing: Any, package: str
) -> None:
    failing(ModuleNotFoundError(f"No module named '{package}'", name=f"{package}.part"))
    assert main(["schema"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: lastmile schema needs packages that are not installed")
    assert package in err and f"[{EXTRAS[package]}]" in err and "Traceback" not in err


def test_another_missing_module_is_an_error_in_the_program() -> None:
    with pytest.raises(ModuleNotFoundError), needed_for("a test"):
        raise ModuleNotFoundError(name="lastmile.nothing")


@pytest.mark.parametrize("reader", ["head -c 1", "true"])
def test_a_closed_pipe_is_quiet(reader: str) -> None:
    command = f"{sys.executable} -m lastmile schema | {reader}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stderr == ""


# The settings of a study


def test_settings_come_from_all_sources(checkout: Path) -> None:
    plain = study_settings([], [])
    assert plain.name == "desk"
    smoke = study_settings([Path("workflow/presets/smoke.yaml")], [])
    assert smoke.name == "smoke" != plain.name
    overrides = [
        "seed=3",
        "name=second",
        "tasks=[colored_dots]",
        "training.frames=900",
        "training={snapshots: 2}",
        "training.seeds=[0, 1]",
        "training.learning_rate=1.0e-4",
        "policy.size=xs",
        "transfer.held_out=[[colored_dots]]",
    ]
    settings = study_settings([Path("workflow/presets/smoke.yaml")], overrides)
    assert (settings.seed, settings.name, settings.tasks) == (3, "second", ("colored_dots",))
    assert (settings.training.frames, settings.training.snapshots) == (900, 2)
    assert settings.training.seeds == (0, 1) and settings.training.learning_rate == 1e-4
    assert settings.policy.size == "xs"
    assert settings.transfer.held_out == (("colored_dots",),)
    assert settings.evaluation == smoke.evaluation


def test_snakemake_understands_the_same_settings(checkout: Path) -> None:
    from snakemake.cli import parse_config
    from snakemake.utils import update_config

    from lastmile.config import parse

    overrides = [
        "name=second",
        "seed=3",
        "tasks=[colored_dots]",
        "training.frames=900",
        "training.seeds=[0, 1]",
        "training.learning_rate=1.0e-4",
    ]
    overlay = study_overlay([], overrides)
    values = study_settings([], []).model_dump(mode="json")
    update_config(values, parse_config(list(overlay.overrides)))
    assert parse(values) == study_settings([], overrides)
    assert study_overlay([Path("a.yaml"), Path("b.yaml")], []).configfiles == ("a.yaml", "b.yaml")


@pytest.mark.parametrize(
    "override, words",
    [
        ("seed", "--config seed: expected KEY=VALUE, such as seed=1"),
        ("=1", "expected KEY=VALUE"),
        ("sed=1", "unknown setting 'sed'; did you mean 'seed'?"),
        ("training.frame=1", "unknown setting 'training.frame'; did you mean 'frames'?"),
        ("trainin.frames=1", "unknown setting 'trainin'; did you mean 'training'?"),
        ("tasks=colored_dots", "'tasks' expects a list; write --config 'tasks=[colored_dots]'"),
        ("training.seeds=1", "write --config 'training.seeds=[1]'"),
        ("tasks=[colored_dot]", "'colored_dot'; did you mean 'colored_dots'?"),
        ("training=5", "'training' is a section; change one of its settings, such as training."),
        ("seed.deep=5", "'seed' is a setting, not a section"),
        ("seed=-1", "setting 'seed'"),
        ("seed=[", "the value is not YAML"),
    ],
)
def test_a_wrong_override_is_explained(
    capsys: pytest.CaptureFixture[str], checkout: Path, override: str, words: str
) -> None:
    for command in (["plan"], ["status"], ["run"], ["why", "all"]):
        assert words in refused(capsys, checkout, *command, "--config", override)


def test_an_unknown_target_is_refused_with_the_closest(
    capsys: pytest.CaptureFixture[str], checkout: Path
) -> None:
    for command in ("why", "run"):
        message = refused(capsys, checkout, command, "emergenc")
        assert "unknown target 'emergenc'; did you mean 'emergence'?" in message
        assert all(name in message for name in ("all", "models", "findings", "report", "scaling"))


def test_a_study_that_is_left_out_is_no_target(
    capsys: pytest.CaptureFixture[str], checkout: Path
) -> None:
    for command in ("why", "run"):
        message = refused(capsys, checkout, command, "heads")
        assert "the study 'heads' has nothing to do" in message and "heads.tasks" in message
        message = refused(capsys, checkout, command, "comparison")
        assert "the study 'comparison' has nothing to do" in message
        assert "no recordings of people" in message and "--config recordings=" in message


def test_recordings_that_are_not_there_are_named(
    capsys: pytest.CaptureFixture[str], checkout: Path
) -> None:
    (checkout / "empty").mkdir()
    (checkout / "other" / "person-1").mkdir(parents=True)
    (checkout / "other" / "person-1" / "sky_watching-short-0-0.jsonl").touch()
    for folders, words in (
        ("nowhere", "setting 'recordings': nowhere: no such folder"),
        ("[other, empty]", "setting 'recordings': empty: holds no recordings"),
        ("other", r"no recording in other is of a task of this study"),
    ):
        for command in (["run", "comparison"], ["plan"], ["status"]):
            message = refused(capsys, checkout, *command, "--config", f"recordings={folders}")
            assert words in message and "sky_watching" in message or "other" not in folders[:5]


def test_run_hands_over_to_the_workflow(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def run(*arguments: Any) -> int:
        calls.append(arguments)
        return 7

    module = types.ModuleType("lastmile.pipeline.run")
    module.run = run  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "lastmile.pipeline.run", module)
    smoke = "workflow/presets/smoke.yaml"
    assert main(["run"]) == 7
    arguments = ["run", "emergence", "results/x.png", "--cores", "3", "--configfile", smoke]
    assert main([*arguments, "--config", "seed=2"]) == 7
    (_, targets, overlay, cores), (settings, *rest) = calls
    assert tuple(targets) == ("all",) and tuple(overlay) == ((), ()) and int(cores) >= 1
    assert settings.seed == 2
    assert rest == [("emergence", "results/x.png"), ((smoke,), ("seed=2",)), "3"]


def test_a_plan_is_printed(capsys: pytest.CaptureFixture[str], checkout: Path) -> None:
    tiny = ["--config", "tasks=[colored_dots]", "--config", "name=tiny"]
    assert main(["plan", "--cores", "2", *tiny]) == 0
    out = capsys.readouterr().out
    assert out.startswith("tiny: 1 task") and "train" in out


# Stages


def closed_loop_arguments(results: Path) -> list[str]:
    spec = {"run": "dots", "seed": 0, "task": "colored_dots", "temperature": 0.4, "max_steps": 1}
    return ["stage", "closed_loop", "--spec", json.dumps(spec), "--results", str(results)]


@pytest.fixture
def results(tmp_path: Path, recorded: Trajectories, policy: Any) -> Path:
    """Results of a study, as far as closed loop needs them."""
    folder = tmp_path / "results"
    steps = folder / "trajectories" / "colored_dots" / "test.parquet"
    steps.parent.mkdir(parents=True)
    shutil.copy(recorded.path, steps)
    shutil.copy(episodes_path(recorded.path), episodes_path(steps))
    policy.save(folder / "models" / "dots" / "seed0")
    return folder


@pytest.mark.parametrize(
    "stage, spec, words",
    [
        (
            "tokenize",
            {"task": "colored_dots", "split": "test"},
            "trajectories/colored_dots/test.parquet is missing",
        ),
        ("figure", {"study": "nothing"}, "nothing"),
        ("figure", {"study": "emergence"}, "emergence.csv is missing"),
        (
            "study",
            {
                "study": "nothing",
                "needs": [],
                "seeds": [],
                "once": [],
                "of_tasks": [],
                "settings": {},
            },
            "'nothing'",
        ),
        (
            "study",
            {
                "study": "emergence",
                "needs": [],
                "seeds": [],
                "once": [],
                "of_tasks": [],
                "settings": {"sed": 1},
            },
            "did you mean 'seed'?",
        ),
        ("findings", {"name": "desk", "studies": ["none"]}, "none.json is missing"),
        (
            "run_table",
            {"runs": ["none"], "seeds": [0], "once": [], "settings": {}},
            "models/none/seed0/manifest.json is missing",
        ),
    ],
)
def test_a_stage_refuses_bad_input_by_name(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    stage: str,
    spec: dict[str, Any],
    words: str,
) -> None:
    arguments = ["stage", stage, "--spec", json.dumps(spec), "--results", tmp_path]
    assert words in refused(capsys, tmp_path, *arguments)


@pytest.mark.parametrize("damage", ["config.json", "policy.safetensors"])
def test_a_folder_without_a_policy_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, results: Path, damage: str
) -> None:
    folder = results / "models" / "dots" / "seed0"
    (folder / damage).unlink()
    for command in (
        ["watch", "colored_dots", "--out", tmp_path / "x.gif", "--policy", folder],
        closed_loop_arguments(results),
    ):
        assert str(folder / damage) in refused(capsys, tmp_path, *command)


def test_closed_loop_is_a_table_of_both(results: Path) -> None:
    assert main(closed_loop_arguments(results)) == 0
    folder = results / "evaluations" / "dots" / "colored_dots" / "seed0"
    table = pd.read_parquet(folder / "closed_loop.parquet")
    assert {"run", "task", "seed"} <= set(table.columns[:3])
    assert table["who"].value_counts().to_dict() == {"policy": 4, "annotator": 4}


def training_arguments(
    results: Path, token_file: Path, **changes: dict[str, Any] | None
) -> list[str]:
    for split in ("train", "validation"):
        path = results / "tokens" / "colored_dots" / f"{split}.tokens"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(token_file, path)
    spec = {
        "run": "dots",
        "seed": 0,
        "tasks": ["colored_dots"],
        "policy": {"size": "xs"},
        "training": {"frames": 50},
    } | changes
    spec = {key: value for key, value in spec.items() if value is not None}
    return ["stage", "train", "--spec", json.dumps(spec), "--results", str(results)]


def test_somebody_elses_tokens_are_not_trained_on(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token_file: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = training_arguments(tmp_path, token_file)
    (tmp_path / "tokens" / "colored_dots" / "train.tokens").write_bytes(b"no tokens")
    message = refused(capsys, tmp_path, *arguments)
    assert "train.tokens: not a readable token file" in message


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"policy": {"siz": "xs"}}, "'policy.siz'"),
        ({"training": {"frames": 0}}, "'training.frames'"),
        ({"seed": None}, "'seed' is missing"),
    ],
)
def test_a_training_that_is_not_specified_is_not_begun(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    token_file: Path,
    changes: dict[str, Any],
    words: str,
) -> None:
    arguments = training_arguments(tmp_path, token_file, **changes)
    assert words in refused(capsys, tmp_path, *arguments)


# Watching and checking


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_an_episode_can_be_watched(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"episode.{suffix}"
    arguments = ["watch", "object_exploration", "--out", str(out)]
    assert main([*arguments, "--layout", "left", "--theme", "light"]) == 0
    steps = int(capsys.readouterr().out.removeprefix(f"{out}: ").removesuffix(" steps\n"))
    frames = imageio.imread(out, index=None)
    assert list(tmp_path.iterdir()) == [out] and frames.shape[1:] == (336, 624, 3)
    if suffix == "mp4":
        assert steps < len(frames) <= steps + 4
    else:
        assert len(frames) > 1  # a GIF joins equal frames


@pytest.mark.parametrize(
    "manifest, warned",
    [
        ('{"spec": {"data": {"limb_tracking/train.tokens": "1", "start": "2"}}}', True),
        ('{"spec": {"data": {"colored_dots/train.tokens": "1", "start": "2"}}}', False),
        ('{"spec": {"data": {"start": "2"}}}', False),
        ('{"spec": {}}', False),
        ('["spec"]', False),
        ("{", False),
        (None, False),
    ],
)
def test_a_policy_of_another_task_is_pointed_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, manifest: str | None, warned: bool
) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    warn_of_other_task(tmp_path, "colored_dots")
    expected = (
        f"warning: the policy in {tmp_path} was trained on limb_tracking, not on colored_dots\n"
    )
    assert capsys.readouterr().err == (expected if warned else "")


def test_watching_a_policy_of_another_task_warns(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, policy: Any
) -> None:
    folder = tmp_path / "policy"
    policy.save(folder)
    (folder / "manifest.json").write_text('{"spec": {"data": {"limb_tracking/train.tokens": "1"}}}')
    arguments = ["watch", "colored_dots", "--out", str(tmp_path / "x.gif")]
    assert main([*arguments, "--policy", str(folder)]) == 0
    assert capsys.readouterr().err.startswith("warning: the policy in ")


def test_a_check_can_be_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    arguments = ["check", "colored_dots", "--worlds", "2", "--from", "random"]
    assert main([*arguments, "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    keys = ("task", "worlds", "style", "start", "difficulty")
    values = ["colored_dots", 2, "typical", "random", "short"]
    assert [result[key] for key in keys] == values
    assert {
        "success",
        "score",
        "steps",
        "actions",
        "phases",
        "mistakes_per_placement",
        "verdicts",
        "repaired",
        "correction_rate",
    } <= set(result)
    assert sum(result["actions"].values()) == pytest.approx(1) == sum(result["phases"].values())
    assert 0 <= result["repaired"] <= 1
    assert capsys.readouterr().out.startswith(f"colored_dots: success {result['success']:.2f}")


def test_watch_and_check_begin_with_the_same_difficulty() -> None:
    for name in ("watch", "check"):
        defaults = {option.name: option.default for option in commands()[name].params}
        assert defaults["difficulty"] == "short"


# Printing


def test_the_schema_is_printed(
    capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path
) -> None:
    schema = json.loads((root / "workflow" / "schemas" / "settings.schema.json").read_text())
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema
    assert main(["schema", "--out", str(tmp_path / "x.json")]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "x.json").read_text()) == schema


def test_a_bench_is_a_table_and_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lastmile.performance import bench

    result = {"task": "limb_tracking", "size": "xs"}
    monkeypatch.setattr(bench, "bench", lambda *positional, **named: dict(result))
    monkeypatch.setattr(bench, "table", lambda result: f"| {result['task']} |", raising=False)
    path = tmp_path / "x.json"
    arguments = ["bench", "--task", "limb_tracking", "--size", "xs", "--no-chromium"]
    assert main([*arguments, "--json", str(path)]) == 0
    assert capsys.readouterr().out == "| limb_tracking |\n"
    assert json.loads(path.read_text()) == result


def test_a_fingerprint_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fingerprint", "record", "--task", "colored_dots"]) == 0
    first, *files = capsys.readouterr().out.splitlines()
    assert "record" in first and "colored_dots" in first
    assert any("tasks/colored_dots/world.py" in file for file in files)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_one_line(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    comment, line = capsys.readouterr().out.splitlines()
    assert comment.startswith("# ") and f"_LASTMILE_COMPLETE={shell}_source lastmile" in line

    environment = {**os.environ, "_LASTMILE_COMPLETE": f"{shell}_complete"}
    environment |= {"COMP_WORDS": "lastmile watch col", "COMP_CWORD": "2"}
    if shell == "fish":
        environment["COMP_WORDS"] = "lastmile watch col"
        environment["COMP_CWORD"] = "col"
    code = "from lastmile.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert "colored_dots" in done.stdout, done.stderr


def test_argparse_is_gone() -> None:
    """The rules and people go through the same door."""
    for path in Path(lastmile.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
        assert all(alias.name != "argparse" for node in imports for alias in node.names), path
