"""Trajectories: written and read, replayed, and refused when they no longer fit."""

from __future__ import annotations

import errno
import json
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmile.config import SPLITS
from lastmile.screen import LAYOUTS, THEMES, Look
from lastmile.simulation import trajectory
from lastmile.simulation.session import verdict
from lastmile.simulation.trajectory import (
    EPISODES,
    STEPS,
    Episode,
    Source,
    Trajectories,
    TrajectoryError,
    episodes_path,
    read,
    record,
    write,
)
from lastmile.storage import parquet
from lastmile.tasks import get_task
from lastmile.tasks.annotator import PHASES
from lastmile.tasks.task import MISTAKES, RIGHT, digest

PARTS = ("test.parquet", "test.episodes.parquet")


@pytest.fixture
def copied(recorded: Trajectories, tmp_path: Path) -> Path:
    """Return the folder of a recording that may be damaged."""
    for name in PARTS:
        shutil.copy(recorded.path.with_name(name), tmp_path / name)
    return tmp_path


def test_what_is_read_is_what_was_recorded(recorded: Trajectories) -> None:
    assert recorded.source == Source("colored_dots", "test", 3)
    assert list(recorded.steps) == STEPS.names and list(recorded.episodes) == EPISODES.names
    for number in range(len(recorded.episodes)):
        episode = record(recorded.source, number, again=True)
        a, b = recorded.starts[number : number + 2]
        for name, values in episode.columns.items():
            assert np.array_equal(
                recorded.steps[name].to_numpy()[a:b],
                np.asarray(values, recorded.steps[name].to_numpy().dtype),
            ), name
        row = recorded.episodes.iloc[number]
        assert (row["score"], row["success"]) == (
            np.float32(episode.score.score),
            episode.score.success,
        )
        assert (row["layout"], row["theme"], row["world"], row["steps"]) == (
            episode.look.layout,
            episode.look.theme,
            episode.world,
            b - a,
        )


def test_writing_again_gives_the_same_bytes(recorded: Trajectories, tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", recorded.source, 4)
    assert all(
        (tmp_path / name).read_bytes() == recorded.path.with_name(name).read_bytes()
        for name in PARTS
    )


def test_a_recording_in_several_row_groups_is_the_same(
    recorded: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trajectory, "GROUP", int(recorded.starts[1]) + 1)
    write(tmp_path / "test.parquet", recorded.source, 4)
    assert pq.ParquetFile(tmp_path / "test.parquet").num_row_groups == 3
    again = read(tmp_path / "test.parquet")
    for kind in ("steps", "episodes"):
        ours, whole = getattr(again, kind), getattr(recorded, kind)
        assert [str(of) for of in ours.dtypes] == [str(of) for of in whole.dtypes]
        pd.testing.assert_frame_equal(ours.astype(str), whole.astype(str))


def test_recording_takes_no_more_memory_for_more_episodes(
    recorded: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = record(recorded.source, 0).columns

    def again(source: Source, number: int, again: bool) -> Episode:
        # Objects of their own, as the numbers of a new episode are.
        own = {name: json.loads(json.dumps(values)) for name, values in columns.items()}
        return episode._replace(columns={**own, "episode": [number] * len(own["x"])})

    episode = record(recorded.source, 0)
    monkeypatch.setattr(trajectory, "record", again)
    monkeypatch.setattr(trajectory, "GROUP", 1 << 12)
    peaks = []
    for episodes in (200, 800):
        tracemalloc.start()
        write(tmp_path / "many.parquet", recorded.source, episodes)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 2000 * (800 - 200)  # a row of each episode is kept


def test_more_episodes_begin_with_the_same_ones(recorded: Trajectories, tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", recorded.source, 2)
    fewer = read(tmp_path / "test.parquet")
    pd.testing.assert_frame_equal(
        fewer.steps.astype(str), recorded.steps.iloc[: len(fewer.steps)].astype(str)
    )


def test_a_replay_reproduces_what_was_recorded(recorded: Trajectories) -> None:
    row = 0
    for number in range(len(recorded.episodes)):
        replay = recorded.open(number)
        for state, _, hit, after in replay.replay():
            label = recorded.steps.iloc[row]
            assert (hit.widget, hit.kind) == (label["widget"], label["kind"])
            assert replay.interface.position(state) == pytest.approx(label["position"], abs=1e-6)
            assert len(replay.task.mistakes(replay.world, state)) == label["open_mistakes"]
            assert verdict(replay.task, replay.world, state, after) == label["verdict"]
            row += 1
        assert replay.done
        score = replay.score
        assert (np.float32(score.score), score.success) == tuple(
            recorded.episodes.loc[number, ["score", "success"]]
        )
    assert row == len(recorded.steps)


def test_labels_are_in_their_ranges(recorded: Trajectories) -> None:
    steps = recorded.steps
    assert (
        set(steps["phase"]) <= set(PHASES)
        and set(steps["mistake"]) <= {"", *MISTAKES}
        and set(steps["verdict"]) <= {"", RIGHT, *MISTAKES}
    )
    assert steps["position"].between(0, 1).all()
    assert (steps.groupby("episode")["step"].agg(lambda s: list(s) == list(range(len(s))))).all()
    assert (steps["again_x"] >= 0).all()


def test_only_held_out_splits_are_asked_again(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", Source("colored_dots", "train", 0), 1)
    assert (read(tmp_path / "train.parquet").steps[["again_x", "again_y"]] == -1).all(axis=None)


def test_no_two_splits_seeds_or_episodes_share_a_world() -> None:
    worlds = [
        digest(Source("colored_dots", split, seed).world(episode))
        for split in SPLITS
        for seed in (0, 1)
        for episode in (0, 1)
    ]
    assert len(set(worlds)) == len(worlds)


@given(
    st.tuples(*[st.tuples(st.sampled_from(SPLITS), st.integers(0, 99), st.integers(0, 9999))] * 2)
)
def test_keys_tell_episodes_apart(two: Any) -> None:
    keys = [Source("colored_dots", split, seed).key(episode) for split, seed, episode in two]
    assert (keys[0] == keys[1]) == (two[0] == two[1])


def test_looks_are_drawn_by_episode_from_those_asked_for() -> None:
    source = Source("colored_dots", "train", 0, layouts=tuple(LAYOUTS), themes=("dark", "retro"))
    looks = {source.look(episode) for episode in range(60)}
    assert {look.layout for look in looks} == set(LAYOUTS) and {look.theme for look in looks} == {
        "dark",
        "retro",
    } < set(THEMES)
    assert replace(source, layouts=("top",), themes=("light",)).look(3) == Look("top", "light")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"task": "colored_dot"}, "colored_dots"),
        ({"split": "dev"}, "'dev'"),
        ({"style": "lazy"}, "'lazy'"),
        ({"difficulty": "hard"}, "'hard'"),
        ({"layouts": ("middle",)}, "'middle'"),
        ({"seed": -1}, "-1"),
    ],
)
def test_an_impossible_source_is_refused_and_writes_nothing(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        write(tmp_path / "x.parquet", replace(Source("colored_dots", "test", 0), **change), 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_file_is_named(copied: Path, part: str) -> None:
    (copied / part).unlink()
    with pytest.raises(TrajectoryError, match=f"{part}: no such file"):
        read(copied / "test.parquet")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(copied: Path, part: str, share: float) -> None:
    whole = (copied / part).read_bytes()
    (copied / part).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(TrajectoryError, match=f"{part}: not a readable Parquet file"):
        read(copied / "test.parquet")


def rewrite(path: Path, table: pa.Table) -> None:
    """Replace a file by another table, with the seal that belongs to it."""
    parquet.write(table, path, json.loads(table.schema.metadata[b"lastmile"]))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("place", [4, 0.2, 0.5, 0.9, -9])
def test_a_changed_byte_is_named(copied: Path, part: str, place: float) -> None:
    whole = bytearray((copied / part).read_bytes())
    whole[int(place * len(whole)) if isinstance(place, float) else place] ^= 1
    (copied / part).write_bytes(whole)
    with pytest.raises(TrajectoryError, match=f"{part}: not a table of lastmile as it was written"):
        read(copied / "test.parquet")


@pytest.mark.parametrize(
    "part, column, value, words",
    [
        (0, "x", 448, "a click lies outside"),
        (0, "phase", "dancing", "unknown phase 'dancing'"),
        (0, "episode", 3, "not those of its"),
        (1, "layout", "upside down", "unknown layout 'upside down'"),
        (1, "theme", "pink", "unknown theme 'pink'"),
    ],
)
def test_what_cannot_be_in_a_recording_is_refused(
    copied: Path, part: int, column: str, value: Any, words: str
) -> None:
    path = copied / PARTS[part]
    table = pq.read_table(path)
    field = table.schema.field(column)
    values = table[column].to_pylist()
    rewrite(
        path,
        table.set_column(
            table.schema.get_field_index(column), field, pa.array([value, *values[1:]], field.type)
        ),
    )
    with pytest.raises(TrajectoryError, match=f"test.parquet: .*{words}"):
        read(copied / PARTS[0])


@pytest.mark.parametrize("part", PARTS)
def test_somebody_elses_parquet_is_named(copied: Path, part: str) -> None:
    pd.DataFrame({"a": [1, 2]}).to_parquet(copied / part)
    with pytest.raises(TrajectoryError, match=f"{part}: not a table of lastmile"):
        read(copied / "test.parquet")


def test_a_table_without_a_column_is_named(copied: Path) -> None:
    path = copied / PARTS[0]
    rewrite(path, pq.read_table(path).drop_columns(["phase"]))
    with pytest.raises(TrajectoryError, match=f"{path}: columns missing: phase"):
        read(path)


def test_steps_and_episodes_of_two_recordings_are_refused(copied: Path) -> None:
    write(copied / "other.parquet", Source("colored_dots", "test", 1), 4)
    shutil.copy(episodes_path(copied / "other.parquet"), copied / PARTS[1])
    with pytest.raises(TrajectoryError, match="test.parquet: comes from .*seed=3.*seed=1"):
        read(copied / "test.parquet")


def test_fewer_steps_than_counted_are_refused(copied: Path) -> None:
    path = copied / PARTS[0]
    rewrite(path, pq.read_table(path).slice(0, 20))
    with pytest.raises(TrajectoryError, match="test.parquet: has 20 steps"):
        read(path)


def test_another_version_of_the_task_is_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(get_task("colored_dots")), "version", 99)
    with pytest.raises(
        TrajectoryError,
        match=r"test.parquet: recorded with version \d+ of task 'colored_dots', "
        "which is now at version 99",
    ):
        read(copied / "test.parquet")


@pytest.mark.parametrize(
    "old, new, words",
    [
        (b"lastmile.trajectory/", b"lastmile.trajectory/0", "format"),
        (b'"colored_dots"', b'"colored_cats"', "unknown task 'colored_cats'"),
    ],
)
def test_another_format_or_an_unknown_task_is_refused(
    copied: Path, old: bytes, new: bytes, words: str
) -> None:
    path = copied / PARTS[0]
    table = pq.read_table(path)
    rewrite(
        path,
        table.replace_schema_metadata(
            {b"lastmile": table.schema.metadata[b"lastmile"].replace(old, new)}
        ),
    )
    with pytest.raises(TrajectoryError, match=f"test.parquet: {words}"):
        read(path)


def test_another_world_is_refused(copied: Path) -> None:
    path = copied / PARTS[1]
    table = pq.read_table(path)
    worlds = table["world"].to_pylist()
    worlds[2] = "0" * len(worlds[2])
    rewrite(
        path, table.set_column(table.schema.get_field_index("world"), "world", pa.array(worlds))
    )
    recording = read(copied / "test.parquet")
    recording.open(1)
    with pytest.raises(
        TrajectoryError,
        match="test.parquet: episode 2 of task 'colored_dots' was recorded in another world",
    ):
        recording.open(2)


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_everything_as_it_was(
    copied: Path, monkeypatch: pytest.MonkeyPatch, failing: int, exists: bool
) -> None:
    if not exists:
        for name in PARTS:
            (copied / name).unlink()
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    calls: list[pa.Table] = []
    real = pq.ParquetWriter.write_table

    def full(writer: pq.ParquetWriter, table: pa.Table) -> None:
        calls.append(table)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(writer, table)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    monkeypatch.setattr(trajectory, "GROUP", 1)
    with pytest.raises(OSError, match="No space left"):
        write(copied / "test.parquet", Source("colored_dots", "test", 7), 2)
    assert len(calls) == failing
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
