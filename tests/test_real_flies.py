"""Real worlds of flies: videos, key points of people and of a network, and skeletons of a world."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lastmile.datasets import flies
from lastmile.datasets.cache import DataError
from lastmile.datasets.video import read_luma
from lastmile.exports import export
from lastmile.pipeline.stages import record
from lastmile.screen import LAYOUTS, Look
from lastmile.simulation import trajectory
from lastmile.simulation.session import Session
from lastmile.tasks import get_task, real
from lastmile.tasks.limb_tracking.interface import NO_PART, Point, State
from lastmile.tasks.limb_tracking.real import FLY, SOURCES, levels
from lastmile.tasks.limb_tracking.world import CLEAR, EDGE, HIDDEN, QUADRUPED
from lastmile.tasks.task import RIGHT, generator

CROPS = Path(__file__).parent / "real"
TASKS = ("behavior_tracking", "limb_tracking")


def read(task: str, folder: Path | None = None) -> Any:
    return import_module(f"lastmile.tasks.{task}.real").read(folder or CROPS / task)


def make(task: str, data: Any, number: int, difficulty: str = "short") -> Any:
    module = import_module(f"lastmile.tasks.{task}.real")
    return module.make_world(data, generator((0, number), task, "real"), "train", difficulty)


def copy(task: str, folder: Path) -> Path:
    return Path(shutil.copytree(CROPS / task, folder / task))


def bright(world: Any, t: int, u: float, v: float) -> float:
    """Return the brightest pixel at a point of a frame."""
    x, y = int(u), int(v)
    return float(world.image_frames[t, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].max())


@pytest.mark.parametrize("task", TASKS)
def test_marked_points_are_on_the_fly_and_far_from_the_border(task: str) -> None:
    data = read(task)
    seen: list[float] = []
    ground: list[float] = []
    for number in range(8):
        world = make(task, data, number)
        for t in range(world.frames):
            points = world.points[t].reshape(-1, 2)
            inside = points[(points > -500).all(1)]
            assert inside.min() >= 8 and inside.max() <= 248
            seen += [bright(world, t, *point) for point in inside.tolist()]
            ground += [float(np.median(world.image_frames[t]))]
    assert np.percentile(seen, 25) > np.mean(ground) + 40


def test_the_tabs_and_the_words_are_those_of_the_world() -> None:
    for world, skeleton in (
        (make("limb_tracking", read("limb_tracking"), 0), FLY),
        (get_task("limb_tracking").world(0, "short"), QUADRUPED),
    ):
        interface = get_task("limb_tracking").interface(world)
        state = interface.start()
        tabs = [b for g in interface.groups(state) for b in g.buttons if b.id.startswith("part")]
        assert tuple(tab.label for tab in tabs) == skeleton.names
        assert interface.status(state)[-1] == f"Place: {skeleton.words[0]}"
        for _ in skeleton.names:
            state = interface.place(state, 20.0, 20.0)
        assert isinstance(state, State) and state.part == NO_PART
        assert f"{len(skeleton.names)} of {len(skeleton.names)} points" in interface.status(state)
        for part, other in enumerate(skeleton.partner):
            assert other is None or skeleton.partner[other] == part


def test_the_tabs_of_a_fly_are_wide_enough_for_their_names_in_every_layout() -> None:
    world = make("limb_tracking", read("limb_tracking"), 0)
    for layout in LAYOUTS:
        session = Session(get_task("limb_tracking"), world, Look(layout))
        for _ in FLY.names:
            session.state = session.interface.place(session.state, 20.0, 20.0)
        for widget in session.screen().widgets:
            assert not widget.button.id.startswith("part") or widget.rect.width >= 44


def test_recorded_work_on_flies_replays_and_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in TASKS:
        data = read(task)
        monkeypatch.setattr(real, "_data", lambda task, folder, data=data: data)
        spec = record.Spec(
            recording=task,
            task=task,
            split="train",
            seed=0,
            difficulty="short",
            style="careful",
            layouts=("split",),
            themes=("dark",),
            episodes=1,
            source="real",
        )
        paths = record.outputs(spec, tmp_path / task)
        record.run(spec, record.Inputs(), paths)
        recording = trajectory.read(paths.steps)
        replay = recording.open(0)
        assert len(list(replay.replay())) == len(replay.clicks) and replay.done
        export(recording, "deeplabcut", tmp_path / task / "out")
        (table,) = (tmp_path / task / "out").rglob("*.csv")
        names = table.read_text("utf-8").splitlines()[1].split(",")[3::2]
        fly = [name.lower() for name in FLY.names]
        pair = ["animal1", "animal1", "animal2", "animal2"]
        assert names == (fly if task == "limb_tracking" else pair)


def test_left_legs_are_on_the_left_of_the_fly_also_in_mirror_images() -> None:
    data = read("limb_tracking")
    for number in range(10):
        world = make("limb_tracking", data, number, "full")
        head, rear = world.points[:, 0], world.points[:, 1]
        ahead = head - rear
        away = world.points - ((head + rear) / 2)[:, None]
        left = away[..., 0] * ahead[:, None, 1] - away[..., 1] * ahead[:, None, 0]
        for part in (4, 5):  # the middle legs are never in front of the head or beneath the body
            sides = left[:, part][world.seen[:, part] == CLEAR]
            assert (sides > 0 if FLY.names[part][0] == "L" else sides < 0).all()


def test_key_points_that_people_did_not_see_are_hidden_and_their_place_is_wrong() -> None:
    task = get_task("limb_tracking")
    data = read("limb_tracking")
    assert data.seen.shape == (len(data.numbers), flies.FLIES, len(SOURCES))
    found = 0
    for number in range(20):
        world = make("limb_tracking", data, number)
        for frame, part in np.argwhere(world.seen == HIDDEN).tolist():
            found += 1
            assert task.judge(world, (), Point(frame, part)) == RIGHT
            assert task.judge(world, (), Point(frame, part, 128.0, 128.0)) != RIGHT
    assert found > 5


def test_tips_beneath_the_body_may_be_hidden_and_legs_mixed_up_are_not_used() -> None:
    # A fly that heads to the right, its left above; tips of its legs well away from it.
    fly = [(35, 0), (-35, 0), (50, -15), (50, 15), (0, -40), (0, 40), (-40, -30), (-40, 30)]
    xy = np.array([[fly, fly]], float)
    placed = np.ones((1, 2, 8), bool)
    seen, usable = levels(xy, placed)
    assert (seen == CLEAR).all() and usable.all()
    xy[0, 0, 6] = -40, -4  # the left hind leg beneath the body
    xy[0, 1, 6] = -40, 25  # and on the other side
    placed[0, 0, 2] = False
    seen, usable = levels(xy, placed)
    assert seen[0, 0].tolist() == [CLEAR, CLEAR, HIDDEN, CLEAR, CLEAR, CLEAR, EDGE, CLEAR]
    assert usable.tolist() == [[True, False]]


def test_marks_on_the_other_fly_are_a_confusion() -> None:
    task = get_task("behavior_tracking")
    world = make("behavior_tracking", read("behavior_tracking"), 0)
    session = Session(task, world)
    state = session.interface.place(session.interface.start(), *world.point(0, 1, 0))
    assert [mistake.kind for mistake in task.mistakes(world, state)] == ["confusion"]


def test_frames_of_a_video_are_its_own_in_any_choice(tmp_path: Path) -> None:
    path = CROPS / "behavior_tracking" / flies.VIDEO
    frames = read_luma(path, range(60))
    assert frames.shape == (60, 384, 384) and frames.dtype == np.uint8
    assert np.array_equal(read_luma(path, [3, 3, 40]), frames[[3, 3, 40]])
    with pytest.raises(DataError, match="holds 60 frames, expected more than 60"):
        read_luma(path, [2, 60])
    with pytest.raises(DataError, match="no such file; expected a video"):
        read_luma(tmp_path / "none.mp4", [0])
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"broken.mp4: not readable as a video"):
        read_luma(broken, [0])


def without_track(content: dict[str, Any]) -> None:
    content["predicted_instances"] = [
        one for one in content["predicted_instances"] if one["trackId"] == 1
    ]


def without_abdomen(content: dict[str, Any]) -> None:
    names = content["skeleton"]["nodeNames"]
    names[names.index("abdomen")] = "rump"


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda content: content.pop("skeleton"), "no labels of SLEAP's first format .KeyError"),
        (without_abdomen, "has no key point 'abdomen'"),
        (without_track, "expected 2 flies in each frame"),
        (lambda content: content["predicted_points"][0].update(x="far"), "no labels of SLEAP"),
        (lambda content: content["predicted_points"][0].update(node=99), "no labels of SLEAP"),
        (lambda content: content.update(predicted_instances=[]), "expected 2 flies"),
    ],
)
@pytest.mark.parametrize("task", TASKS)
def test_labels_of_another_kind_are_refused(
    task: str, change: Callable[[dict[str, Any]], None], words: str, tmp_path: Path
) -> None:
    path = copy(task, tmp_path) / flies.LABELS
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError, match=words):
        read(task, path.parent)


@pytest.mark.parametrize("task", TASKS)
def test_labels_that_are_missing_or_damaged_are_refused(task: str, tmp_path: Path) -> None:
    path = copy(task, tmp_path) / flies.LABELS
    for content, words in (("{", "not readable as JSON"), ("[]", "expected labels of SLEAP")):
        path.write_text(content, "utf-8")
        with pytest.raises(DataError, match=words):
            read(task, path.parent)
    path.unlink()
    with pytest.raises(DataError, match="no such file; expected labels"):
        read(task, path.parent)


@pytest.mark.parametrize("task", TASKS)
def test_splits_beyond_the_end_of_the_video_are_refused(task: str) -> None:
    module = import_module(f"lastmile.tasks.{task}.real")
    with pytest.raises(DataError, match="frames for split 'people': expected"):
        module.make_world(read(task), generator((0,), task, "real"), "people", "short")
