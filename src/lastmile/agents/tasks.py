"""Tasks of Inspect: `inspect eval lastmile/TASK`, with a computer tool that runs in this process.

A sample is a world. Setup puts the tool in its place, the solver lets a model use it, and the
scorer plays the recorded clicks again, as `lastmile verify` does; so any other solver can be given
that uses the tools of the sample. `lastmile.agents.logs` makes the file of an evaluation from logs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.agent import AgentState, as_solver, react
from inspect_ai.dataset import Sample
from inspect_ai.model import ContentImage, ContentText
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import Tool, ToolDef, ToolParams, ToolResult, tool_with
from inspect_ai.tool import computer as computer_of_inspect
from inspect_ai.util import StoreModel, registry_info, store_as
from pydantic import Field, ValidationError
from rich.text import Text

import lastmile
from lastmile.agents.computer import Computer
from lastmile.agents.frames import Frame, get_frame
from lastmile.closed import Closed, explain_errors
from lastmile.errors import LastmileError
from lastmile.evaluation.players import step_limit
from lastmile.evaluation.results_file import Conditions, episode_result
from lastmile.simulation.pool import Rollout
from lastmile.tasks import get_task, task_names
from lastmile.tasks.guide import about

SIZE_OF_PROVIDERS = "1366x768"
"""The screen whose size Inspect declares where a provider has a computer tool of its own."""
SCORER = "replayed"
"""Name of the scores in a log."""
PREFIX = "lastmile/"
"""Begins the names of our tasks in Inspect."""
PATIENCE = 3
"""Replies without an action, one after the other, after which an episode is left."""
REMINDER = "Nothing was done. Go on with the tool `computer`, and press Done when you are finished."


class Setting(Closed):
    """What all samples of a task have in common; the log holds it.

    Attributes:
        package: Version of lastmile.
        task: Name of the task.
        conditions: The worlds and their look.
        max_steps: Clicks after which an episode is over.
        screen: Name of the frame.
        status: Whether the agent is told the texts of the status bar.
        kept: How many of the latest screens the agent sees.
    """

    package: str
    task: str
    conditions: Conditions
    max_steps: int
    screen: str
    status: bool
    kept: int

    def rollout(self, number: int) -> Rollout:
        """Return the episode on a world, at its beginning."""
        world = self.conditions.worlds_of(self.task).world(number)
        return Rollout(number, self.task, world, self.conditions.look, self.max_steps)


class Record(StoreModel):
    """What happened in an episode; the log holds it.

    Attributes:
        clicks: The clicks (x, y), logical px.
        refused: Actions that were refused.
        over: Whether the episode is over.
        idle: Replies without an action, since the last action.
    """

    clicks: list[tuple[int, int]] = Field(default_factory=list)
    refused: int = 0
    over: bool = False
    idle: int = 0


def make_task(
    name: str,
    *,
    worlds: int = 20,
    difficulty: str = "short",
    seed: int = 0,
    split: str = "test",
    layout: str = "right",
    theme: str = "dark",
    screen: str = "896x672",
    status: bool = False,
    kept: int = 1,
    source: str = "synthetic",
) -> Task:
    """Make the Inspect task of one of our tasks.

    Worlds and limits are those of `lastmile evaluate` with the same arguments.

    Args:
        name: Name of our task.
        worlds: Number of worlds, from the first one on.
        difficulty: Their difficulty.
        seed: Their seed.
        split: Their split: "train", "validation" or "test".
        layout: Layout of the interface.
        theme: Theme of the interface.
        screen: "896x672", the interface alone, or "1366x768", with margins: the size that Inspect
            declares for computer tools of providers.
        status: Whether the texts of the status bar are given beside the screen.
        kept: How many of the latest screens the model sees again; at least 1.
        source: Where worlds come from: "synthetic", "real", or the folder of imported worlds.

    Raises:
        LastmileError: A name does not exist, or a number is out of range.
    """
    if kept < 1:
        raise LastmileError(f"kept: expected at least 1, got {kept}")
    frame = get_frame(screen)
    conditions = parse_conditions(
        {
            "split": split,
            "difficulty": difficulty,
            "seed": seed,
            "worlds": worlds,
            "layout": layout,
            "theme": theme,
            "source": source,
        }
    )
    origin, _ = conditions.worlds_of(name), conditions.look
    setting = Setting(
        package=lastmile.__version__,
        task=name,
        conditions=conditions,
        max_steps=step_limit(origin, worlds),
        screen=screen,
        status=status,
        kept=kept,
    )
    text = instructions(name, frame, setting.max_steps)
    return Task(
        dataset=[
            Sample(input=text, id=f"{name}-{number}", metadata={"world": number})
            for number in range(worlds)
        ],
        setup=sit_down(setting),
        solver=annotate(),
        scorer=replayed(setting),
        # A look and a click are two messages each; and the instructions.
        message_limit=4 * setting.max_steps + 1,
        name=name,
        version=get_task(name).version,
        metadata={"lastmile": setting.model_dump(mode="json")},
    )


def parse_conditions(values: dict[str, Any]) -> Conditions:
    """Return conditions; wrong ones are refused with a line for each.

    Raises:
        LastmileError: A value is out of range or of the wrong kind.
    """
    try:
        return Conditions.model_validate(values)
    except ValidationError as error:
        raise LastmileError(explain_errors(Conditions, error, "lastmile", "argument")) from None


def instructions(name: str, frame: Frame, max_steps: int) -> str:
    """Return what an agent is told before it begins: what people are told, and how to click."""
    words = about(name)
    return "\n\n".join(
        [
            f"{words['title']}: {words['about']}",
            *(f"{title}: {text}" for title, text in words["guide"]),
            f"You work with the tool `computer`, on a screen of {frame.width} x {frame.height} px. "
            "Only the action left_click does something; screenshot shows the screen and is free. "
            f"You have {max_steps} clicks. Press Done when you are finished.",
        ]
    )


def computer_tool(computer: Computer, setting: Setting) -> Tool:
    """Return the computer tool of an episode.

    Its arguments are those of Inspect's own computer tool, so that models know it. Inspect replaces
    a tool with exactly these arguments by that of a provider which has one, and declares a screen
    of 1366 x 768 px; with the other screen, the argument for many actions at once is left out, and
    the tool stays as it is.
    """

    async def execute(**kwargs: Any) -> ToolResult:
        actions = kwargs.get("actions")
        many = actions if isinstance(actions, list) and actions else [kwargs]
        lines = [
            computer.act(action if isinstance(action, dict) else {"action": action})
            for action in many
        ]
        record = store_as(Record)
        record.clicks = [step.click for step in computer.rollout.steps]
        record.refused = computer.refused
        record.over = computer.rollout.over

        if setting.status:
            lines.append(f"Status: {computer.status()}")
        screen = base64.b64encode(computer.screen()).decode()
        return [
            *(ContentText(text=line) for line in lines if line),
            ContentImage(image=f"data:image/png;base64,{screen}"),
        ]

    known = ToolDef(computer_of_inspect(max_screenshots=setting.kept))
    parameters = known.parameters
    if setting.screen != SIZE_OF_PROVIDERS:
        properties = {name: p for name, p in parameters.properties.items() if name != "actions"}
        parameters = ToolParams(properties=properties, required=parameters.required)
    frame = computer.frame
    description = (
        f"Look at a screen of {frame.width} x {frame.height} px and click on it. Coordinates are "
        "pixels [x, y] from the upper left corner. Only left_click acts, once per call; screenshot "
        "shows the screen. Keys, typing, scrolling, dragging and other buttons do nothing."
    )
    tool = ToolDef(execute, known.name, description, parameters).as_tool()
    # Given here, since `as_tool` drops it: without it every screen would be sent again and again.
    return tool_with(tool, known.name, description, model_input=known.model_input)


@solver
def sit_down(setting: Setting) -> Solver:
    """Give each sample its episode, behind the computer tool."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        rollout = setting.rollout(state.metadata["world"])
        desk = Computer(rollout, get_frame(setting.screen))
        state.tools = [computer_tool(desk, setting)]
        return state

    return solve


@solver
def annotate() -> Solver:
    """Let a model use the tools until the episode is over, or it no longer acts."""

    async def go_on(agent: AgentState) -> bool | str:
        record = store_as(Record)
        if record.over:
            return False
        if agent.output.message.tool_calls:
            record.idle = 0
            return True
        record.idle += 1
        return REMINDER if record.idle < PATIENCE else False

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        agent = react(prompt=None, tools=state.tools, submit=False, on_continue=go_on)
        return await as_solver(agent)(state, generate)

    return solve


@scorer(
    name=SCORER,
    metrics={
        "success": [mean(), stderr()],
        "score": [mean(), stderr()],
        "finished": [mean()],
        "steps": [mean()],
        "refused": [mean()],
    },
)
def replayed(setting: Setting) -> Scorer:
    """Score the clicks of an episode by playing them again; the metadata has its whole result."""

    async def score(state: TaskState, target: Target) -> Score:
        record = state.store_as(Record)
        rollout = setting.rollout(state.metadata["world"])
        for click in record.clicks:
            rollout.click(*click)
        result = episode_result(rollout)
        return Score(
            value={
                "success": float(result.success),
                "score": result.score,
                "finished": float(result.finished),
                "steps": len(result.clicks),
                "refused": record.refused,
            },
            metadata={"over": rollout.over, "episode": result.model_dump(mode="json")},
        )

    return score


def _register(name: str) -> Callable[..., Task]:
    """Make one of our tasks known to Inspect, as `lastmile/NAME`."""

    def annotation(
        worlds: int = 20,
        difficulty: str = "short",
        seed: int = 0,
        split: str = "test",
        layout: str = "right",
        theme: str = "dark",
        screen: str = "896x672",
        status: bool = False,
        kept: int = 1,
        source: str = "synthetic",
    ) -> Task:
        try:
            return make_task(
                name,
                worlds=worlds,
                difficulty=difficulty,
                seed=seed,
                split=split,
                layout=layout,
                theme=theme,
                screen=screen,
                status=status,
                kept=kept,
                source=source,
            )
        except LastmileError as error:
            # The one kind of error that Inspect shows without a traceback.
            raise PrerequisiteError(Text(f"error: {error}")) from None

    made = task(name=name)(annotation)
    # Inspect finds the name of the package if it is installed as a wheel, but not if its sources
    # are: it looks for a distribution with the name that is imported.
    if not registry_info(made).name.startswith(PREFIX):
        made = task(name=PREFIX + name)(annotation)
    return made


TASKS = {name: _register(name) for name in task_names()}
"""What `inspect eval lastmile/NAME` runs, by name; arguments as for `make_task`."""
