"""One door for players: evaluations as files, replayed; processes behind a pipe; the table of all."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

import lastmile
from lastmile import released
from lastmile.cli import main
from lastmile.errors import LastmileError
from lastmile.evaluation import leaderboard, results_file
from lastmile.evaluation.closed_loop import make_rollouts, play_rollouts
from lastmile.evaluation.pipe import Pipe, PipeError
from lastmile.evaluation.players import opened, step_limit
from lastmile.evaluation.results_file import Conditions, Results
from lastmile.policy.policy import Policy
from lastmile.simulation.trajectory import Source, Trajectories
from lastmile.storage.records import RecordError
from lastmile.tasks import get_task, task_names
from test_fuzz import mutate, mutations

PLAYERS = '''
import lastmile

class Corner:
    """Clicks the corner, and counts its episodes."""
    episodes = 0
    def reset(self):
        Corner.episodes += 1
    def __call__(self, observation, info):
        assert observation.shape == (126, 168, 3)
        return 0, 0

class Replay:
    """Repeats the oracle, which knows the worlds."""
    def __init__(self, task):
        self.recording = lastmile.record(task, episodes=2, style="oracle")
        self.episode = -1
    def reset(self):
        self.episode += 1
        self.clicks = iter(self.recording.clicks(self.episode).tolist())
    def __call__(self, observation, info):
        return next(self.clicks)

class Fraction:
    def __call__(self, observation, info):
        return 0.5, 10

def two(a, b): ...
def nothing(): ...
number = 3
'''
"""A module of somebody's players."""


def evaluate(source: str, *tasks: str, worlds: int = 2, **changes: Any) -> Results:
    conditions = Conditions(worlds=worlds, **changes)
    return results_file.evaluate(source, tasks, conditions, package="0", timeout=20)


@pytest.fixture
def players(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of players."""
    (tmp_path / "door_players.py").write_text(PLAYERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "door_players", raising=False)
    return tmp_path


# Players


def test_random_clicks_depend_on_task_and_seed_alone() -> None:
    one = evaluate("random", "colored_dots", "plume_finding", worlds=1)
    other = evaluate("random", "plume_finding", worlds=1)
    assert one.tasks[1] == other.tasks[0]
    assert one.tasks[0].episodes[0].clicks[:5] != one.tasks[1].episodes[0].clicks[:5]
    again = evaluate("random", "plume_finding", worlds=1, seed=1)
    assert again.tasks[0].episodes[0].clicks[:5] != other.tasks[0].episodes[0].clicks[:5]


def test_a_policy_makes_the_clicks_of_the_workflow(
    recorded: Trajectories, policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts = make_rollouts(recorded.first(2), 3)
    assert step_limit(Source("colored_dots", "test", 3), 2) == rollouts[0].max_steps
    monkeypatch.setattr(results_file, "step_limit", lambda source, worlds: 15)  # that is enough
    for rollout in rollouts:
        rollout.max_steps = 15
    played = play_rollouts(policy, rollouts, 0.4, 3)
    expected = [tuple(step.click for step in rollout.steps) for rollout in played]

    policy.save(tmp_path)
    results = evaluate(str(tmp_path), "colored_dots", seed=3)
    assert [episode.clicks for episode in results.tasks[0].episodes] == expected
    assert results.temperature == 0.4 and len(results.weights) == 32
    assert not results_file.replay(results)


def test_players_of_other_kinds_do_without_torch() -> None:
    code = (
        "import sys; from lastmile.cli import main;"
        "code = main(['evaluate', 'random', '--tasks', 'colored_dots', '--worlds', '1']);"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_factories_with_and_without_a_task(players: Path) -> None:
    results = evaluate("door_players:Corner", "colored_dots")
    assert sys.modules["door_players"].Corner.episodes == 2
    assert {click for episode in results.tasks[0].episodes for click in episode.clicks} == {(0, 0)}
    results = evaluate("door_players:Replay", "colored_dots", "object_exploration")
    assert all(episode.success for task in results.tasks for episode in task.episodes)
    assert results.temperature is None and results.weights == ""
    assert not results_file.replay(results)


@pytest.mark.parametrize(
    "source, words",
    [
        (
            "joitn",
            "unknown player 'joitn'; did you mean 'joint'? (known: joint, behavior_tracking, ",
        ),
        ("no/folder", "no/folder/config.json"),
        ("door_nowhere:make", "No module named 'door_nowhere'; expected a module that is"),
        ("door_players:Missing", "the module 'door_players' has no function 'Missing'"),
        ("door_players:number", "the module 'door_players' has no function 'number'"),
        ("door_players:two", "expected two(task) or two(), which returns a player; got two(a, b)"),
        ("door_players:nothing", "expected a player, which is called with a screen and info; got"),
        ("door_players:Fraction", "expected two integers (x, y) in logical px, got (0.5, 10)"),
        ("a b:c", "a b:c: expected MODULE:FACTORY, such as"),
        ("pipe:", "expected a command"),
        ("pipe:door-nowhere", "pipe:door-nowhere: cannot be started (No such file"),
        ("pipe:'", "cannot be read as a command (No closing quotation)"),
    ],
)
def test_players_that_do_not_exist(players: Path, source: str, words: str) -> None:
    with pytest.raises(LastmileError) as error:
        evaluate(source, "colored_dots", worlds=1)
    assert words in str(error.value) and "\n" not in str(error.value)


# Processes

ECHO = """
import base64, json, sys
for line in sys.stdin:
    message = json.loads(line)
    pixels = base64.b64decode(message.pop("screen"))
    assert len(pixels) == message["width"] * message["height"] * 3
    print(message, file=sys.stderr)
    print(json.dumps({"x": pixels[0], "y": message["step"]}), flush=True)
"""
INFO = {
    "task": "colored_dots",
    "step": 7,
    "max_steps": 9,
    "click": (1, 2),
    "widget": "",
    "kind": "",
}
SCREEN = np.full((126, 168, 3), 42, np.uint8)


def python(code: str) -> str:
    return shlex.join([sys.executable, "-u", "-c", code])


def test_a_process_is_asked_for_each_click(capfd: pytest.CaptureFixture[str]) -> None:
    pipe = Pipe(python(ECHO), 20)
    assert [pipe(SCREEN, {**INFO, "step": step}) for step in (0, 1)] == [(42, 0), (42, 1)]
    pipe.close()
    assert pipe._process.returncode == 0
    assert "'click': [1, 2]" in capfd.readouterr().err


def test_one_process_plays_all_tasks() -> None:
    code = 'n = 0\nwhile input():\n    n += 1; print(\'{"x": 0, "y": %d}\' % (n % 300))'
    results = evaluate(f"pipe:{python(code)}", "colored_dots", "object_exploration", worlds=1)
    clicks = [click for task in results.tasks for click in task.episodes[0].clicks]
    assert [y for _, y in clicks] == [n % 300 for n in range(1, len(clicks) + 1)]
    assert not results_file.replay(results)


@pytest.mark.parametrize(
    "code, words",
    [
        ("raise SystemExit(3)", "the process ended (exit code 3) without an answer"),
        ("import os; os.kill(os.getpid(), 9)", "the process ended (signal 9) without an answer"),
        ("input(); print('hello')", "\"y\": 0 to 335}, got 'hello'"),
        ('input(); print(\'{"x": 448, "y": 0}\')', 'got \'{"x": 448, "y": 0}\''),
        ('input(); print(\'{"x": 1, "y": 0, "z": 0}\')', 'expected one line {"x": 0 to 447'),
        ('input(); print(\'{"x": 1.5, "y": 0}\')', "expected one line"),
        ("input(); print('a' * 20_000)", "aaa...'"),
        ("input(); print()", "got ''"),
        ("import time; input(); time.sleep(1000)", "no answer within 1 s"),
        # Never read: the message is larger than what a pipe holds.
        ("import time; time.sleep(1000)", "no answer within 1 s"),
    ],
)
def test_a_process_that_does_not_play(code: str, words: str) -> None:
    pipe = Pipe(python(code), 1 if "sleep" in code else 20)
    with pytest.raises(PipeError) as error:
        pipe(SCREEN, INFO)
    pipe.close()
    message = str(error.value)
    assert words in message and "in task 'colored_dots' at step 7" in message
    assert "\n" not in message.replace(code, "") and pipe._process.returncode is not None


def test_a_process_that_ignores_the_end_of_its_input_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lastmile.evaluation.pipe._GRACE", 0.1)
    with opened("pipe:sleep 1000") as players:
        pipe = players.player_for("colored_dots")
    assert isinstance(pipe, Pipe) and pipe._process.returncode == -9


# Files


@pytest.fixture(scope="module")
def results() -> Results:
    return evaluate("random", "colored_dots", "plume_finding")


def test_a_file_is_small_and_read_as_it_was_written(tmp_path: Path, results: Results) -> None:
    path = tmp_path / "x.json"
    results_file.write(path, results)
    assert results_file.read(path) == results
    clicks = sum(len(episode.clicks) for task in results.tasks for episode in task.episodes)
    assert path.stat().st_size < 12 * clicks + 2000


def changed(results: Results, number: int, episode: int, **changes: Any) -> Results:
    """The same results with something changed in one episode, or in one task."""
    values = results.model_dump()
    if episode < 0:
        values["tasks"][number].update(changes)
    else:
        values["tasks"][number]["episodes"][episode].update(changes)
    return Results.model_validate(values)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"score": 0.9}, "episode 1: its clicks give score"),
        ({"success": True}, "episode 1: its clicks give success False, the file says True"),
        ({"finished": False}, "its clicks give finished True, the file says False"),
        ({"placements": 0}, "its clicks give placements"),
        ({"mistakes": 0}, "its clicks give mistakes"),
        ({"left": 77}, "the file says 77"),
        ({"world": "00"}, "was played in another world (digest 00, here"),
        ({"clicks": ()}, "stops after 0 clicks, before it is over"),
        ({"stopped": "message limit"}, "was not stopped (message limit): its clicks end it"),
    ],
)
def test_what_was_changed_by_hand_is_found(
    results: Results, changes: dict[str, Any], words: str
) -> None:
    assert results_file.replay(results) == []
    (problem,) = results_file.replay(changed(results, 1, 1, **changes))
    assert problem.startswith("task 'plume_finding', episode 1: ") and words in problem


def test_episodes_with_other_rules_are_found(results: Results) -> None:
    clicks = results.tasks[0].episodes[0].clicks
    (problem,) = results_file.replay(changed(results, 0, 0, clicks=(*clicks, (0, 0))))
    assert problem.endswith(f"goes on after its end, at click {len(clicks)}")
    (problem,) = results_file.replay(changed(results, 0, -1, max_steps=9999))
    assert "clicks an episode, got max_steps 9999" in problem
    version = get_task("colored_dots").version
    (problem,) = results_file.replay(changed(results, 0, -1, version=1))
    assert problem == f"task 'colored_dots': is version {version} here, 1 in the file"
    (problem,) = results_file.replay(changed(results, 0, -1, task="colored_dot"))
    assert "did you mean 'colored_dots'?" in problem


@pytest.mark.parametrize(
    "path, value, words",
    [
        (("format",), "lastmile.evaluation/0", "format: input should be"),
        (("pixels",), 1, "pixels: extra inputs are not permitted"),
        (("name",), "a\nb", "name: "),
        (("conditions", "worlds"), 3, "task 'colored_dots' has 2 episodes"),
        (("conditions", "seed"), -1, "conditions.seed"),
        (("conditions", "split"), "tests", "conditions.split"),
        (("tasks",), [], "tasks"),
        (("tasks", 1, "task"), "colored_dots", "a task is given twice"),
        (("tasks", 0, "episodes", 0, "clicks", 0), [448, 0], "tasks.0.episodes.0.clicks.0"),
        (("tasks", 0, "episodes", 0, "clicks", 0), [1], "tasks.0.episodes.0.clicks.0"),
    ],
)
def test_files_that_are_no_evaluation(
    tmp_path: Path, results: Results, path: tuple[Any, ...], value: Any, words: str
) -> None:
    values = results.model_dump(mode="json")
    inner: Any = values
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file = tmp_path / "x.json"
    file.write_text(json.dumps(values))
    with pytest.raises(RecordError) as error:
        results_file.read(file)
    assert str(file) in str(error.value) and words in str(error.value)


@hypothesis.settings(
    max_examples=150, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(mutations())
def test_mutated_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Results, changes: list[Any]
) -> None:
    """Whatever a file holds, it is refused, or its problems are listed, or its clicks are right."""
    limits = {result.task: result.max_steps for result in results.tasks}
    monkeypatch.setattr(results_file, "step_limit", lambda source, worlds: limits[source.task])
    path = tmp_path / "x.json"
    results_file.write(path, results)
    path.write_bytes(mutate(path.read_bytes(), changes))
    try:
        read = results_file.read(path)
    except RecordError:
        return
    if not results_file.replay(read):
        for task, whole in zip(read.tasks, results.tasks, strict=True):
            for episode, original in zip(task.episodes, whole.episodes, strict=True):
                assert abs(episode.score - original.score) <= results_file.SAME
                assert episode.success == original.success


# The table


def test_the_table_orders_players_and_keeps_conditions_apart(
    players: Path, results: Results
) -> None:
    results_file.write("scores/a.json", results)
    best = evaluate("door_players:Replay", "colored_dots", "plume_finding")
    results_file.write("scores/b.json", best.model_copy(update={"name": "a|b<c>"}))
    results_file.write("scores/c.json", evaluate("random", "colored_dots"))
    results_file.write("scores/d.json", evaluate("random", "colored_dots", theme="light"))
    entries = leaderboard.collect("scores", pytest.fail)

    lines = leaderboard.as_markdown(entries).splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        "## Worlds: test, short, seed 0, 2 a task; look: right, dark",
        "## Worlds: test, short, seed 0, 2 a task; look: right, light",
    ]
    start = next(i for i, line in enumerate(lines) if line.startswith("| player"))
    assert lines[start].endswith("| episodes | colored_dots | plume_finding |")
    assert lines[start + 2].startswith("| a\\|b&lt;c&gt; | 1.000 [0.510, 1.000] | 0.944 [")
    assert lines[start + 3].startswith("| random | 0.000 [0.000, 0.490] |")
    assert lines[start + 4].startswith("| random |  |  |  | 2 |")

    rows = list(csv.DictReader(leaderboard.as_csv(entries).splitlines()))
    assert list(rows[0]) == list(leaderboard.COLUMNS)
    assert [(row["file"], row["task"]) for row in rows][:4] == [
        ("a.json", "colored_dots"),
        ("a.json", "plume_finding"),
        ("a.json", "all"),
        ("b.json", "colored_dots"),
    ]
    assert (rows[5]["success"], rows[5]["success_low"], rows[5]["episodes"]) == (
        "1.0000",
        "0.5101",
        "4",
    )


def test_files_that_do_not_replay_are_left_out(
    players: Path, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    results_file.write("scores/good.json", results)
    results_file.write("scores/bad.json", changed(results, 0, 1, score=1.0))
    Path("scores/other.json").write_text("{}")
    assert main(["leaderboard", "scores", "--out", "table.csv"]) == 1
    out, err = capsys.readouterr()
    assert out == "table.csv\n"
    first, second, last = err.splitlines()
    assert first.startswith("scores/bad.json: task 'colored_dots', episode 1: its clicks give")
    assert second.startswith("scores/other.json: expected the results of `lastmile evaluate`")
    assert last == "error: scores: left out 2 of 3 files"
    assert "bad.json" not in Path("table.csv").read_text()

    for wrong, words in (("x.txt", "ends in .md or .csv"), ("x.md", "holds no .json file")):
        assert main(["leaderboard", "elsewhere", "--out", wrong]) == 1
        assert words in capsys.readouterr().err and not Path(wrong).exists()


# The command line


def test_evaluate_and_verify(players: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "door_players:Replay", "--tasks", "colored_dots,object_exploration"]
    assert main([*words, "--worlds", "2", "--name", "mine", "--out", "x.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("colored_dots: success 1.000 [0.342, 1.000], score 1.000")
    assert lines[2].startswith("2 tasks: success 1.000 [0.510, 1.000]") and lines[3] == "x.json"
    results = results_file.read("x.json")
    assert (results.name, results.package) == ("mine", lastmile.__version__)

    assert main(["verify", "x.json"]) == 0
    assert capsys.readouterr().out == "x.json: the clicks of 4 episodes give the scores in it\n"
    results_file.write("y.json", changed(results, 0, 0, left=5))
    assert main(["verify", "y.json"]) == 1
    out, err = capsys.readouterr()
    assert out == "task 'colored_dots', episode 0: its clicks give left 0, the file says 5\n"
    assert err == "error: y.json: 1 problems\n"


@pytest.mark.parametrize(
    "options, code, words",
    [
        (["--tasks", "colored_dot"], 2, "did you mean 'colored_dots'?"),
        (["--out", "x.csv"], 1, "x.csv: expected a file that ends in .json"),
        (["--worlds", "0"], 2, "'--worlds': 0 is not in"),
        (["--timeout", "0"], 2, "'--timeout': 0"),
        (
            ["--name", "a\nb", "--tasks", "colored_dots", "--worlds", "1"],
            1,
            "name: expected one line",
        ),
    ],
)
def test_evaluations_that_cannot_be_made(
    players: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    words: str,
) -> None:
    assert main(["evaluate", "random", *options]) == code
    assert words in capsys.readouterr().err
    assert not list(players.glob("*.json"))


# Released policies


def test_released_policies_are_loaded_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = lastmile.Policy.load("joint")
    assert policy.settings.size == "s" and not policy.training
    release = released.releases()["joint"]
    assert set(release.tasks) == {name for name in task_names() if not get_task(name).held_out}
    assert (release.folder / "README.md").is_file()
    assert sum(path.stat().st_size for path in release.folder.iterdir()) < 40e6

    # A folder of the same name is meant only where it is written as one.
    monkeypatch.chdir(tmp_path)
    Path("joint").mkdir()
    assert released.policy_folder("joint") == release.folder
    assert (
        released.policy_folder("./joint") == released.policy_folder(Path("joint")) == Path("joint")
    )


def test_the_name_of_a_task_is_the_released_policy_that_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joint = released.releases()["joint"]
    assert {released.policy_folder(task) for task in joint.tasks} == {joint.folder}
    assert '`lastmile.Policy.load("colored_dots")`' in (joint.folder / "README.md").read_text()
    of_task, of_name = (lastmile.Policy.load(name) for name in ("colored_dots", "joint"))
    assert isinstance(lastmile.load_policy("joint"), lastmile.Policy)
    for weight, same in zip(of_task.state_dict().values(), of_name.state_dict().values()):
        assert weight.equal(same)

    # A folder here is a released policy, and one that is called like a task is preferred for it.
    monkeypatch.setattr(released, "HERE", tmp_path)
    for name, tasks in (("joint", joint.tasks), ("colored_dots", ("colored_dots",))):
        (tmp_path / name).mkdir()
        record: dict[str, Any] = {"format": released.FORMAT, "tasks": tasks, "digests": {}}
        (tmp_path / name / released.RECORD).write_text(json.dumps(record))
    released.releases.cache_clear()
    try:
        assert released.policy_folder("colored_dots") == tmp_path / "colored_dots"
        assert released.policy_folder("limb_tracking") == tmp_path / "joint"
        (tmp_path / "joint" / released.RECORD).write_text('{"tasks": []}')
        released.releases.cache_clear()
        with pytest.raises(LastmileError, match="joint/release.json: expected the record of a rel"):
            released.policy_folder("colored_dots")
    finally:
        released.releases.cache_clear()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("joitn", "unknown policy or folder 'joitn'; did you mean 'joint'? (known: joint, behav"),
        ("colored_dot", "did you mean 'colored_dots'?"),
        ("shape_matching", "no released policy was trained on 'shape_matching'; expected a folder"),
    ],
)
def test_other_names_are_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    words: str,
) -> None:
    """By the class and by every verb, before any work."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LastmileError, match=re.escape(words)) as error:
        lastmile.Policy.load(name)
    assert "road_mapping" in str(error.value) and "\n" not in str(error.value)
    for verb in (
        ["watch", "colored_dots", "--policy", name, "--out", "x.gif"],
        ["view", "colored_dots", "--policy", name],
        ["view", "colored_dots", "--play", name],
        ["evaluate", name, "--tasks", "colored_dots", "--worlds", "1"],
    ):
        assert main(verb) == 1
        said = capsys.readouterr().err.replace("unknown player", "unknown policy or folder")
        assert words.partition(" (")[0] in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())
    (tmp_path / name).mkdir()  # whoever has a folder of this name means it
    assert released.policy_folder(name) == Path(name)


@pytest.mark.parametrize("damage", ["config.json", "policy.safetensors"])
def test_a_released_policy_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    release = released.releases()["joint"]
    folder = tmp_path / "joint"
    shutil.copytree(release.folder, folder)
    monkeypatch.setattr(released, "releases", lambda: {"joint": release._replace(folder=folder)})
    path = folder / damage
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(LastmileError, match="got another one; install the package again"):
        lastmile.load_policy("joint")
    path.unlink()
    with pytest.raises(LastmileError, match="but it is missing"):
        lastmile.load_policy("joint")


def test_the_card_has_the_scores_of_the_table(root: Path) -> None:
    """Shares of successes, by the rollouts that are kept in the repository."""
    card = (released.releases()["joint"].folder / "README.md").read_text(encoding="utf-8")
    table = (root / "results" / "reference" / "h100" / "closed_loop.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    for task in task_names():
        wins = [row["success"] == "True" for row in rows if row["task"] == task]
        version = get_task(task).version
        assert f"| {task} | {version} | {np.mean(wins):.3f} [" in card


def test_a_released_policy_can_be_watched_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []

    def watch(*words: Any, **more: Any) -> int:
        seen.extend(words)
        return 9

    monkeypatch.setattr("lastmile.evaluation.watch.watch", watch)
    out = str(tmp_path / "x.gif")
    assert main(["watch", "shape_matching", "--policy", "joint", "--out", out]) == 0
    assert seen[2] == released.releases()["joint"].folder
    assert "was trained on behavior_tracking" in capsys.readouterr().err

    monkeypatch.setattr("lastmile.evaluation.results_file.step_limit", lambda *_: 5)
    out = str(tmp_path / "x.json")
    words = ["evaluate", "joint", "--tasks", "object_exploration", "--worlds", "1", "--out", out]
    assert main(words) == 0
    results = results_file.read(out)
    assert results.weights == released.releases()["joint"].digests["policy.safetensors"]
    assert len(results.tasks[0].episodes[0].clicks) == 5
