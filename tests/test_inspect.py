"""Agents of Inspect at our screens, offline: scripted, random, and a policy of ours as the model.

Skipped without Inspect; `make test-agents` installs it into an environment of its own.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("inspect_ai", reason="needs Inspect: pip install -e '.[agents]'")

import inspect_ai
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    ContentImage,
    ContentText,
    Model,
    ModelCost,
    ModelInfo,
    ModelOutput,
    ModelUsage,
    get_model,
    set_model_info,
)
from inspect_ai.solver import generate
from inspect_ai.tool import ToolDef, ToolInfo
from inspect_ai.util import registry_info

from lastmile.agents import logs, tasks
from lastmile.agents.frames import FRAMES, Frame
from lastmile.agents.tasks import make_task
from lastmile.cli import main
from lastmile.errors import LastmileError
from lastmile.evaluation import leaderboard, results_file
from lastmile.evaluation.players import RandomPlayer
from lastmile.evaluation.results_file import Conditions, EpisodeResult, Results
from lastmile.screen import shrink
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import record
from lastmile.tasks import get_task, task_names
from lastmile.tasks.guide import about

# Inspect warns of what it uses itself, and its pools of connections are closed late.
pytestmark = pytest.mark.filterwarnings("default")

Messages = list[ChatMessage]
Agent = Callable[[Messages], dict[str, Any] | None]
"""What a model does: from the messages to the arguments of the tool; None for no action."""
MODEL = "mockllm/model"


def model(agent: Agent, seen: list[Any] | None = None) -> Model:
    """A model of Inspect's that does what an agent says; what it is given is put into `seen`."""

    def answer(messages: Messages, tools: list[ToolInfo], *_: Any) -> ModelOutput:
        if seen is not None:
            seen.append((messages, tools))
        arguments = agent(messages)
        output = (
            ModelOutput.from_content(MODEL, "Well.")
            if arguments is None
            else ModelOutput.for_tool_call(MODEL, "computer", arguments)
        )
        # Given, since Inspect would download a tokenizer to count them.
        output.usage = ModelUsage(
            input_tokens=70, input_tokens_cache_read=30, output_tokens=10, total_tokens=110
        )
        return output

    return get_model(MODEL, custom_outputs=answer, memoize=False)


def run(agent: Agent, folder: Path, task: Any, **options: Any) -> EvalLog:
    seen = options.pop("seen", None)
    (log,) = inspect_ai.eval(
        task,
        model=model(agent, seen),
        max_samples=1,  # one world after the other, as the agents of these tests expect
        log_dir=str(folder),
        log_images=False,
        log_model_api=False,
        log_realtime=False,
        display="none",
        **options,
    )
    return log


def results(log: EvalLog) -> Results:
    return logs.results([Path(log.location)])


def evaluate(source: str, task: str, **conditions: Any) -> Results:
    return results_file.evaluate(source, [task], Conditions(**conditions), package="0")


def plain(episode: EpisodeResult) -> EpisodeResult:
    """An episode without what only models have."""
    return episode.model_copy(update={"usage": None})


def left_click(frame: Frame, x: int, y: int) -> dict[str, Any]:
    return {"action": "left_click", "coordinate": list(frame.pixel(x, y))}


def oracle(task: str, frame: Frame) -> Agent:
    """An agent that makes the clicks of the oracle, world after world."""
    source = Source(task, "test", 0, style="oracle")

    def script() -> Iterator[dict[str, Any]]:
        for number in range(100):
            columns = record(source, number).columns
            for click in zip(columns["x"], columns["y"]):
                yield left_click(frame, *click)

    clicks = script()
    return lambda messages: next(clicks)


def images(messages: Messages) -> list[np.ndarray]:
    """The screens in messages, as pixels."""
    found = []
    for message in messages:
        for part in message.content if isinstance(message.content, list) else []:
            if isinstance(part, ContentImage):
                content = base64.b64decode(part.image.partition(",")[2])
                found.append(np.asarray(Image.open(io.BytesIO(content))))
    return found


def texts(messages: Messages) -> list[str]:
    """The texts in the results of the tool."""
    return [
        part.text
        for message in messages
        if message.role == "tool" and isinstance(message.content, list)
        for part in message.content
        if isinstance(part, ContentText)
    ]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit of clicks that keeps these tests fast, everywhere."""
    for module in (tasks, results_file):
        monkeypatch.setattr(module, "step_limit", lambda source, worlds: 8)
    return 8


@pytest.mark.parametrize("screen, status", [("896x672", False), ("1366x768", True)])
def test_a_scripted_agent(
    tmp_path: Path, screen: str, status: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    set_model_info(
        MODEL,
        ModelInfo(cost=ModelCost(input=10, output=100, input_cache_write=0, input_cache_read=1)),
    )
    frame, seen = FRAMES[screen], list[Any]()
    task = make_task("object_exploration", worlds=1, screen=screen, status=status)
    log = run(oracle("object_exploration", frame), tmp_path / "logs", task, seen=seen)
    assert log.status == "success" and log.results is not None
    values = {score.name: score.metrics["mean"].value for score in log.results.scores}
    assert values["success"] == values["score"] == values["finished"] == 1

    # The same worlds, limits and scores as through the other door.
    out = tmp_path / "scores" / "x.json"
    out.parent.mkdir()
    words = ["from-inspect", log.location, "--name", "mine", "--out", str(out)]
    assert main(words) == main(["verify", str(out)]) == 0
    assert "success 1.000" in capsys.readouterr().out
    result = results_file.read(out)
    other = evaluate("random", "object_exploration", worlds=1).tasks[0]
    mine = result.tasks[0]
    assert (mine.version, mine.max_steps) == (other.version, other.max_steps)
    assert [a.world for a in mine.episodes] == [b.world for b in other.episodes]
    (entry,) = leaderboard.collect(out.parent, pytest.fail)
    assert entry.results.name == "mine"
    assert f"screen={screen} status={status}" in result.source

    for episode in mine.episodes:
        steps = len(episode.clicks)
        assert episode.usage is not None and episode.stopped == ""
        assert episode.usage.input_tokens == 100 * steps
        assert episode.usage.output_tokens == 10 * steps
        assert episode.usage.cost == pytest.approx(steps * (700 + 30 + 1000) / 1e6)
    assert values["steps"] == np.mean([len(episode.clicks) for episode in mine.episodes])

    # What the model is told.
    messages, (tool,) = seen[2]
    guide = about("object_exploration")["guide"]
    assert all(text in messages[0].text for _, text in guide)
    assert f"{frame.width} x {frame.height} px" in messages[0].text
    assert f"{mine.max_steps} clicks" in messages[0].text
    assert all(("Status: " in text) == status for text in texts(messages)[:1])
    assert bool(texts(messages)) and (status or "Status" not in "".join(texts(messages)))
    assert [image.shape for image in images(messages)] == [(frame.height, frame.width, 3)]
    assert tool.name == "computer" and "Only left_click acts" in tool.description


def test_a_random_agent_is_the_random_player(tmp_path: Path, short: int) -> None:
    player = RandomPlayer("colored_dots", 0)
    frame = FRAMES["1366x768"]

    def agent(messages: Messages) -> dict[str, Any]:
        return left_click(frame, *player(np.zeros(0), {}))

    task = make_task("colored_dots", worlds=2, screen="1366x768", theme="light", layout="left")
    mine = results(run(agent, tmp_path, task))
    other = evaluate("random", "colored_dots", worlds=2, theme="light", layout="left")
    assert mine.conditions == other.conditions
    assert tuple(map(plain, mine.tasks[0].episodes)) == other.tasks[0].episodes


def test_a_policy_of_ours_scores_the_same_through_both_doors(tmp_path: Path, short: int) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: pip install -e '.[train]'")
    import lastmile
    from lastmile.evaluation.closed_loop import GROUP, ROWS, _act
    from lastmile.policy.policy import NO_CLICK

    policy = lastmile.load_policy("joint")
    number = -1
    memory: Any = None
    rng = np.random.default_rng(0)
    last = np.zeros((1, 2), np.int64)

    def agent(messages: Messages) -> dict[str, Any]:
        nonlocal number, memory, rng, last
        if len(messages) == 1:  # an episode begins
            number += 1
            memory = policy.begin(ROWS + GROUP - 1)
            rng = np.random.default_rng(np.random.SeedSequence([0, number]))
            last = np.full((1, 2), NO_CLICK)
            return {"action": "screenshot"}
        screen = shrink(images(messages)[-1][::2, ::2])
        last = _act(
            policy,
            memory,
            ROWS,
            [0],
            torch.from_numpy(screen[None]),
            torch.from_numpy(last),
            0.4,
            torch.from_numpy(rng.random((1, 2)).astype(np.float32)),
        )
        return left_click(FRAMES["896x672"], *last[0].tolist())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        mine = results(run(agent, tmp_path, make_task("colored_dots", worlds=2)))
    finally:
        torch.set_num_threads(threads)
    other = evaluate("joint", "colored_dots", worlds=2)
    assert tuple(map(plain, mine.tasks[0].episodes)) == other.tasks[0].episodes
    assert all(len(episode.clicks) == short for episode in other.tasks[0].episodes)


def test_refused_and_joint_actions(tmp_path: Path, short: int) -> None:
    click = {"action": "left_click", "coordinate": [600, 300]}
    script: list[dict[str, Any]] = [
        {"action": "key", "text": "Return"},
        {"action": "left_click", "coordinate": [3, 300]},
        {"actions": [click, {"action": "scroll"}, click]},
        {"actions": []},
        {"text": "hello"},
        {"actions": [click] * 20},
    ]
    steps = iter(script)
    seen: list[Any] = []
    task = make_task("colored_dots", worlds=1, screen="1366x768", kept=2)
    log = run(lambda messages: next(steps), tmp_path, task, seen=seen)
    assert log.samples is not None and log.samples[0].scores is not None
    value = log.samples[0].scores["replayed"].value
    assert isinstance(value, dict)
    assert (value["steps"], value["refused"]) == (short, 5 + (20 - short + 2))
    lines = texts(log.samples[0].messages)
    assert lines[0].startswith("'key': only left_click acts on this screen; nothing was done")
    assert lines[1].startswith("left_click: [3, 300] is in the margin; expected 235 <= x")
    assert lines[2].startswith("'scroll': only")
    assert "the episode is over" in lines[-1]
    assert [len(images(messages)) for messages, _ in seen] == [0, 1, 2, 2, 2, 2]
    assert len(results(log).tasks[0].episodes[0].clicks) == short


def test_episodes_that_stop_early(tmp_path: Path, short: int) -> None:
    limited = run(
        lambda messages: {"action": "screenshot"},
        tmp_path / "limit",
        make_task("colored_dots", worlds=1),
    )
    (episode,) = results(limited).tasks[0].episodes
    assert episode.stopped == "message limit" and not episode.clicks and not episode.success
    assert limited.samples is not None and len(limited.samples[0].messages) == 4 * short + 1

    replies = iter([True, False, False, True, False, False, False])
    click = {"action": "left_click", "coordinate": [500, 300]}
    seen: list[Any] = []
    idle = run(
        lambda messages: click if next(replies) else None,
        tmp_path / "idle",
        make_task("colored_dots", worlds=1),
        seen=seen,
    )
    (episode,) = results(idle).tasks[0].episodes
    assert (episode.stopped, len(episode.clicks)) == ("no action", 2)
    assert seen[2][0][-1].text == tasks.REMINDER
    path = tmp_path / "x.json"
    results_file.write(path, results(idle))
    assert main(["verify", str(path)]) == 0


def test_another_solver_uses_the_same_tool(tmp_path: Path, short: int) -> None:
    click = {"action": "left_click", "coordinate": [500, 300]}
    replies = iter([click] * short + [None])
    task = make_task("colored_dots", worlds=1)
    log = run(lambda messages: next(replies), tmp_path, task, solver=generate())
    (episode,) = results(log).tasks[0].episodes
    assert episode.clicks == ((250, 150),) * short and episode.stopped == ""


def test_only_the_tool_of_the_declared_size_is_replaced_by_that_of_a_provider() -> None:
    """Inspect tells its own tool by its name and the names of its arguments."""
    known = ToolDef(inspect_ai.tool.computer())
    for screen, same in (("1366x768", True), ("896x672", False)):
        setting = tasks.Setting(
            package="0",
            task="colored_dots",
            conditions=Conditions(worlds=1),
            max_steps=5,
            screen=screen,
            status=False,
            kept=1,
        )
        computer = tasks.Computer(setting.rollout(0), FRAMES[screen])
        tool = ToolDef(tasks.computer_tool(computer, setting))
        assert tool.name == known.name
        names = tool.parameters.properties.keys()
        assert (names == known.parameters.properties.keys()) == same
        assert names >= {"action", "coordinate", "text", "scroll_direction"}


def test_inspect_knows_every_task() -> None:
    assert tuple(tasks.TASKS) == task_names()
    names = [registry_info(task).name for task in tasks.TASKS.values()]
    assert names == [f"lastmile/{name}" for name in task_names()]
    task = tasks.TASKS["plume_finding"](worlds=1, difficulty="full", split="validation")
    assert task.name == "plume_finding" and task.version == get_task("plume_finding").version
    assert task.metadata is not None
    assert task.metadata["lastmile"]["conditions"]["difficulty"] == "full"


def test_the_example_of_the_page(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not entry_points(group="inspect_ai", name="lastmile"):
        pytest.skip("needs the package installed: pip install -e '.[agents]'")
    monkeypatch.chdir(tmp_path)
    page = (root / "docs" / "howto" / "evaluate_an_agent.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    exec(compile(code, "page", "exec"), {"__name__": "page"})
    (log,) = tmp_path.glob("logs/*.eval")
    assert main(["from-inspect", str(log), "--out", "x.json"]) == main(["verify", "x.json"]) == 0
    episodes = results_file.read("x.json").tasks[0].episodes
    assert [(len(episode.clicks), episode.finished) for episode in episodes] == [(1, True)] * 2


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"screen": "800x600"}, "unknown screen '800x600'"),
        ({"kept": 0}, "kept: expected at least 1, got 0"),
        ({"worlds": 0}, "argument 'worlds': input should be greater than or equal to 1, got 0"),
        ({"split": "people"}, "argument 'split': input should be 'train'"),
        ({"seed": -1}, "argument 'seed'"),
        ({"difficulty": "hard"}, "unknown difficulty 'hard'"),
        ({"theme": "pink"}, "theme"),
        ({"name": "colored_dot"}, "did you mean 'colored_dots'?"),
    ],
)
def test_tasks_that_cannot_be_made(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LastmileError) as error:
        make_task(**{"name": "colored_dots", "worlds": 1, **changes})
    assert words in str(error.value) and "\n" not in str(error.value)
    name = changes.pop("name", "colored_dots")
    if name in tasks.TASKS:
        with pytest.raises(PrerequisiteError) as shown:
            tasks.TASKS[name](**{"worlds": 1, **changes})
        assert str(shown.value.message) == f"error: {error.value}"


def test_logs_that_are_no_evaluation(tmp_path: Path, short: int) -> None:
    click = {"action": "left_click", "coordinate": [500, 300]}

    def agent(messages: Messages) -> dict[str, Any]:
        return click

    good = run(agent, tmp_path / "a", make_task("colored_dots", worlds=2))
    part = run(agent, tmp_path / "b", make_task("plume_finding", worlds=2), limit=1)
    twice = run(agent, tmp_path / "c", make_task("colored_dots", worlds=1), epochs=2)
    light = run(agent, tmp_path / "d", make_task("plume_finding", worlds=2, theme="light"))
    question = inspect_ai.Task(dataset=[inspect_ai.dataset.Sample("?")])
    other = run(lambda messages: None, tmp_path / "e", question)
    text = tmp_path / "x.json"
    text.write_text(json.dumps({"a": 1}))
    for paths, words in (
        ([part.location], "expected all 2 worlds, but it lacks 1, 'plume_finding-1' first"),
        ([twice.location], "expected one epoch, got 2"),
        ([good.location, light.location], "expected the model, version, worlds and screens of"),
        ([good.location, good.location], "a task is given twice"),
        ([other.location], "expected a log of a task of lastmile, got one of"),
        ([str(text)], "x.json: expected a log of Inspect ("),
    ):
        with pytest.raises(LastmileError) as error:
            logs.results(list(map(Path, paths)))
        assert words in str(error.value) and "\n" not in str(error.value)


def test_an_error_of_the_model_is_named(tmp_path: Path, short: int) -> None:
    def broken(messages: Messages) -> None:
        raise RuntimeError("no such model")

    log = run(broken, tmp_path, make_task("colored_dots", worlds=1))
    with pytest.raises(LastmileError, match="sample 'colored_dots-0' did not end .*no such model"):
        results(log)
