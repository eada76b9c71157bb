"""LeRobotDataset v3: a data set for imitation learning (Hugging Face LeRobot), for any task.

    meta/info.json                              features and paths
    meta/stats.json                             statistics of each feature
    meta/tasks.parquet                          the task in words, and its number
    meta/episodes/chunk-000/file-000.parquet    a row per episode, with its own statistics
    data/chunk-000/file-000.parquet             a row per click; many episodes share a file

Screens are PNG inside the tables: without loss, other than videos.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lastmile.errors import UnknownNameError
from lastmile.exports.format import Details, Episode, Format
from lastmile.exports.rollout import Screens, full_screens, rollout, small_screens
from lastmile.exports.statistics import Statistics, histogram, of_images, of_values
from lastmile.screen import HEIGHT, SMALL_HEIGHT, SMALL_WIDTH, WIDTH

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

VERSION = "v3.0"
FPS = 4
"""Clicks per second of the nominal time stamps: clicks have no rhythm of their own."""
CHUNK = 1000
"""Files per folder, at most."""
DATA_MB = 100
"""Size of a data file, MB, after which the next one begins."""
SCREEN = "observation.images.screen"
COORDINATES = {
    "": "action, observation.state: (x, y) in logical px on the screen, 448 x 336, from its upper "
    "left corner. The action is the click that was made on the screen of its row; the state is "
    "where the pointer was, at the click before or, at first, in the middle of the screen. "
    f"{SCREEN} may be smaller than the screen (see its shape). next.reward is the gain in score, "
    "next.done that the episode ends here, next.success that it ends well. Time stamps are nominal."
}

SIZES: dict[str, tuple[Screens, tuple[int, int]]] = {
    "small": (small_screens, (SMALL_HEIGHT, SMALL_WIDTH)),
    "full": (full_screens, (HEIGHT, WIDTH)),
}
"""By name how screens are drawn, and their height and width, px."""

Columns = dict[str, np.ndarray]
"""Numbers by the name of their feature, (frames,) or (frames, 2) each."""


def write(folder: Path, episodes: Iterable[Episode], screens: str = "small") -> list[Details]:
    """Write a data set; see `Format.write`.

    Args:
        folder: An empty folder.
        episodes: The episodes.
        screens: A name of `SIZES`.

    Raises:
        UnknownNameError: There are no such screens.
    """
    if screens not in SIZES:
        raise UnknownNameError("screens", screens, SIZES)
    draw, size = SIZES[screens]

    (folder / "meta").mkdir()
    rows: list[dict[str, Any]] = []
    collected: list[Columns] = []
    counts = np.zeros((3, 256), np.int64)
    task = ""
    with _DataFiles(folder, size) as data:
        for index, episode in enumerate(episodes):
            task = _in_words(episode)
            images = draw(episode)[:-1]  # the last screen was not clicked
            columns = _columns(episode, index, rows[-1]["dataset_to_index"] if rows else 0)
            place = data.add(images, columns)
            counted = histogram(images)
            rows.append(_row(index, task, columns, place, of_images(counted, len(images))))
            collected.append(columns)
            counts += counted
    if not rows:
        return []

    together = {name: np.concatenate([c[name] for c in collected]) for name in collected[0]}
    frames = len(together["index"])
    _write_json(folder / "meta" / "info.json", _info(len(rows), frames, size))
    statistics = {SCREEN: of_images(counts, frames), **_statistics(together)}
    _write_json(folder / "meta" / "stats.json", statistics)
    _write_tasks(folder, task)
    _write_episodes(folder, rows)
    return [
        {"files": [_data_file(row["data/chunk_index"], row["data/file_index"])]} for row in rows
    ]


def _in_words(episode: Episode) -> str:
    """Return the task as an instruction: its title, and the first line of its page."""
    task = episode.session.task
    summary = (task.__doc__ or "").strip().splitlines()[0]
    return f"{task.interface.title}: {summary}"


def _columns(episode: Episode, index: int, first: int) -> Columns:
    """Return all features of an episode but its screens.

    Args:
        episode: The episode.
        index: Its number in the data set.
        first: Number of frames before it.
    """
    played = rollout(episode)
    frames = len(played.clicks)
    number = np.arange(frames)
    start = np.array([[WIDTH // 2, HEIGHT // 2]])
    last = number == frames - 1
    return {
        "observation.state": np.concatenate([start, played.clicks[:-1]]).astype(np.float32),
        "action": played.clicks.astype(np.float32),
        "next.reward": played.rewards,
        "next.done": last,
        "next.success": last & played.success,
        "timestamp": (number / FPS).astype(np.float32),
        "frame_index": number,
        "episode_index": np.full(frames, index),
        "index": first + number,
        "task_index": np.zeros(frames, np.int64),
    }


def _features(size: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """Return the features as `info.json` describes them."""
    names = ["height", "width", "channels"]
    point = {"dtype": "float32", "shape": [2], "names": ["x", "y"]}

    def number(dtype: str) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [1], "names": None}

    return {
        SCREEN: {"dtype": "image", "shape": [*size, 3], "names": names},
        "observation.state": point,
        "action": point,
        "next.reward": number("float32"),
        "next.done": number("bool"),
        "next.success": number("bool"),
        "timestamp": number("float32"),
        "frame_index": number("int64"),
        "episode_index": number("int64"),
        "index": number("int64"),
        "task_index": number("int64"),
    }


def _info(episodes: int, frames: int, size: tuple[int, int]) -> dict[str, Any]:
    return {
        "codebase_version": VERSION,
        "robot_type": "lastmile",
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": 1,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": DATA_MB,
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": _features(size),
    }


def _statistics(columns: Columns) -> dict[str, Statistics]:
    return {name: of_values(values.reshape(len(values), -1)) for name, values in columns.items()}


def _row(
    index: int, task: str, columns: Columns, place: tuple[int, int], of_screens: Statistics
) -> dict[str, Any]:
    """Return the row of an episode in `meta/episodes`."""
    statistics = {SCREEN: of_screens, **_statistics(columns)}
    return {
        "episode_index": index,
        "tasks": [task],
        "length": len(columns["index"]),
        "data/chunk_index": place[0],
        "data/file_index": place[1],
        "dataset_from_index": int(columns["index"][0]),
        "dataset_to_index": int(columns["index"][-1]) + 1,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
        **{
            f"stats/{feature}/{name}": value
            for feature, named in statistics.items()
            for name, value in named.items()
        },
    }


def _data_file(chunk: int, file: int) -> str:
    return f"data/chunk-{chunk:03d}/file-{file:03d}.parquet"


class _DataFiles:
    """The files under `data`: one row group per episode, and a new file when one is large."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.folder = folder
        self.schema = _schema(size)
        self.number = 0
        self.writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _DataFiles:
        return self

    def __exit__(self, *error: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def add(self, images: np.ndarray, columns: Columns) -> tuple[int, int]:
        """Add an episode, and return the numbers of the chunk and file that it is in."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        place = divmod(self.number, CHUNK)
        path = self.folder / _data_file(*place)
        if self.writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(path, self.schema, compression="snappy")
        pictures = [{"bytes": _png(image), "path": None} for image in images]
        arrays: dict[str, Any] = {SCREEN: pictures}
        for name, values in columns.items():
            arrays[name] = values if values.ndim == 1 else values.tolist()
        self.writer.write_table(pa.Table.from_pydict(arrays, schema=self.schema))

        if path.stat().st_size >= DATA_MB * 1_000_000:
            self.writer.close()
            self.writer = None
            self.number += 1
        return place


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _schema(size: tuple[int, int]) -> pa.Schema:
    """Return the columns of the data, with what `datasets` is to make of them."""
    import pyarrow as pa

    fields = []
    described: dict[str, dict[str, Any]] = {}
    for name, feature in _features(size).items():
        if feature["dtype"] == "image":
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            described[name] = {"_type": "Image"}
        else:
            kind = pa.bool_() if feature["dtype"] == "bool" else getattr(pa, feature["dtype"])()
            described[name] = {"dtype": feature["dtype"], "_type": "Value"}
        if feature["shape"] == [2]:
            kind = pa.list_(kind, 2)
            described[name] = {"feature": described[name], "length": 2, "_type": "Sequence"}
        fields.append((name, kind))
    hints = json.dumps({"info": {"features": described}})
    return pa.schema(fields, metadata={"huggingface": hints})


def _write_tasks(folder: Path, task: str) -> None:
    import pandas as pd

    tasks = pd.DataFrame({"task_index": [0]}, index=pd.Index([task], name="task"))
    tasks.to_parquet(folder / "meta" / "tasks.parquet")


def _write_episodes(folder: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path, compression="snappy")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=4, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


FORMAT = Format("LeRobotDataset v3, for imitation learning", COORDINATES, write, for_learning=True)
