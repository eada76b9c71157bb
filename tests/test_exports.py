"""Exports: what other tools read equals what was annotated, seen and clicked."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lastmile.cli import main
from lastmile.errors import LastmileError, MissingExtraError
from lastmile.exports import FORMATS, export
from lastmile.exports.ctc import draw as draw_mask
from lastmile.exports.exporting import formats_of
from lastmile.exports.folders import SIDECAR
from lastmile.screen import draw, draw_small
from lastmile.simulation import trajectory
from lastmile.simulation.env import AnnotationEnv
from lastmile.simulation.trajectory import Replay, Source, Trajectories
from lastmile.tasks import task_names
from lastmile.tasks.behavior_tracking.interface import PARTS, latest_markers
from lastmile.tasks.cell_lineage.interface import point_at, read_lineage
from lastmile.tasks.channel_alignment.registration import pair_points
from lastmile.tasks.limb_tracking.interface import latest_entries
from lastmile.tasks.limb_tracking.world import NAMES
from lastmile.tasks.neuron_tracing.world import nodes_by_slice
from lastmile.tasks.object_exploration.world import CLASSES
from lastmile.tasks.road_mapping import graph
from lastmile.tasks.shape_matching.interface import latest

Recordings = Callable[[str], Trajectories]

SHARES = (0.0, 0.2, 0.5, 1.0)
"""How much of an episode is done before `Done` is pressed: half an annotation is one too."""


DRAWN = {"small": draw_small, "full": draw}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """Two episodes of any task, with mistakes, undos and replaced annotations."""
    folder = tmp_path_factory.mktemp("recordings")
    made: dict[str, Trajectories] = {}

    def recording(task: str) -> Trajectories:
        if task not in made:
            path = folder / f"{task}.parquet"
            trajectory.write(path, Source(task, "test", 0, style="hasty"), 2)
            made[task] = trajectory.read(path)
        return made[task]

    return recording


def cut(recording: Trajectories, share: float, done: bool = True) -> Trajectories:
    """Return the beginning of each episode, ended with `Done` or left unfinished."""
    # The button is at the same place in all episodes.
    middle = np.array([recording.open(0).screen().widget("done").rect.middle]).astype(int)
    parts = []
    for number in range(len(recording.episodes)):
        clicks = recording.clicks(number)
        begin = clicks[: int(share * (len(clicks) - 1))]
        parts.append(np.concatenate([begin, middle]) if done else begin)
    steps = pd.DataFrame(np.concatenate(parts).astype(np.int16), columns=["x", "y"])
    lengths = [len(part) for part in parts]
    return replace(recording, steps=steps, episodes=recording.episodes.assign(steps=lengths))


def last(recording: Trajectories, number: int) -> Replay:
    """Return an episode at its end."""
    replay = recording.open(number)
    list(replay.replay())
    return replay


def each_state(
    recordings: Recordings,
    task: str,
    to: str,
    tmp_path: Path,
    shares: tuple[float, ...] = SHARES,
) -> list[Any]:
    """Export episodes cut at many places, and return folder, number and replay of each."""
    states = []
    for share in shares:
        recording = cut(recordings(task), share)
        out = tmp_path / f"{share}"
        assert export(recording, to, out) == 2
        states += [(out, number, last(recording, number)) for number in range(2)]
    assert any(len(replay.state.edits) > 2 for _, _, replay in states)
    return states


def sidecar(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / SIDECAR).read_text())
    return content


# What was annotated


def test_swc_has_the_last_node_of_each_slice(recordings: Recordings, tmp_path: Path) -> None:
    for out, number, replay in each_state(recordings, "neuron_tracing", "swc", tmp_path):
        path = out / f"episode_{number:05d}.swc"
        rows = [line.split() for line in path.read_text().splitlines() if line[0] != "#"]
        edits = replay.state.edits
        counted = nodes_by_slice(replay.world.slices, edits)
        nodes = [edits[index] for index in counted if index >= 0]
        assert [tuple(map(float, row[2:5])) for row in rows] == [(n.u, n.v, n.z) for n in nodes]
        assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
        assert [int(row[6]) for row in rows] == [-1, *range(1, len(rows))][: len(rows)]

        about = json.loads(path.read_text().splitlines()[1].removeprefix("# "))
        assert about["task"] == "neuron_tracing" and about["world_seed"] == [0, 2, number]
        assert about["task_version"] == replay.task.version


def test_neurom_reads_the_skeletons(recordings: Recordings, tmp_path: Path) -> None:
    """As one neurite without branches or soma; that there is no soma is said on stderr."""
    neurom = pytest.importorskip("neurom", reason="NeuroM is not installed: pip install neurom")
    recording = recordings("neuron_tracing")
    export(recording, "swc", tmp_path / "out")
    for number in range(2):
        read = neurom.load_morphology(tmp_path / "out" / f"episode_{number:05d}.swc")
        replay = last(recording, number)
        edits = replay.state.edits
        counted = nodes_by_slice(replay.world.slices, edits)
        nodes = [edits[index] for index in counted if index >= 0]
        (neurite,) = read.neurites
        (section,) = neurite.sections
        expected = [(node.u, node.v, node.z, 1.0) for node in nodes]
        np.testing.assert_array_equal(section.points, np.array(expected, np.float32))
        lengths = np.linalg.norm(np.diff(section.points[:, :3], axis=0), axis=1)
        assert neurom.get("total_length", read) == pytest.approx(lengths.sum(), rel=1e-5)


def lineage_points(replay: Replay) -> dict[tuple[int, int], tuple[float, float]]:
    """Return the points that count by (track, frame), those of the given founders too."""
    world, edits = replay.world, replay.state.edits
    points = {(k, 0): world.center(k, 0) for k in range(world.founders)}
    for key, index in read_lineage(world.founders, world.frames, edits).points.items():
        point = point_at(edits, index)
        points[key] = (point.u, point.v)
    return points


def test_masks_and_tracks_are_the_lineage(recordings: Recordings, tmp_path: Path) -> None:
    for out, number, replay in each_state(recordings, "cell_lineage", "ctc", tmp_path):
        folder = out / f"{number + 1:02d}_RES"
        masks = [np.asarray(Image.open(path)) for path in sorted(folder.glob("mask*.tif"))]
        assert len(masks) == replay.world.frames and masks[0].dtype == np.uint16
        rows = [line.split() for line in (folder / "res_track.txt").read_text().splitlines()]
        table = {int(row[0]): tuple(map(int, row[1:])) for row in rows}
        for t, mask in enumerate(masks):
            here = {label for label, (begin, end, _) in table.items() if begin <= t <= end}
            assert {*np.unique(mask)} - {0} == here

        points = lineage_points(replay)
        labels = {(k, t): int(masks[t][int(v), int(u)]) for (k, t), (u, v) in points.items()}
        world = replay.world
        tracks = read_lineage(world.founders, world.frames, replay.state.edits).tracks
        for (k, t), label in labels.items():
            before = [labels[k, s] for s in range(t) if (k, s) in labels]
            if (k, t - 1) in labels:
                assert label == before[-1]
                continue
            mother = [
                labels[tracks[k].parent, s] for s in range(t) if (tracks[k].parent, s) in labels
            ]
            assert table[label][0] == t
            assert table[label][2] == (before or mother or [0])[-1]
        assert len({*labels.values()}) == len(table)


def test_discs_are_around_their_points_and_every_label_is_seen() -> None:
    mask = draw_mask({1: (100.0, 50.0), 2: (200.0, 60.0)})
    rows, columns = np.nonzero(mask == 1)
    assert (columns.mean(), rows.mean()) == (100, 50)
    assert math.hypot(columns.max() - 100, 0) == 5

    crowded = draw_mask({1: (0.0, 0.0), 2: (0.0, 0.0), 3: (1.0, 0.0), 4: (255.0, 255.0)})
    assert {*np.unique(crowded)} == {0, 1, 2, 3, 4}
    assert draw_mask({}).max() == 0


def test_traccuracy_reads_the_tracks(recordings: Recordings, tmp_path: Path) -> None:
    loaders = pytest.importorskip("traccuracy.loaders")
    recording = recordings("cell_lineage")
    export(recording, "ctc", tmp_path / "out")
    for number in range(2):
        graph_read = loaders.load_ctc_data(str(tmp_path / "out" / f"{number + 1:02d}_RES")).graph
        replay = last(recording, number)
        read = {(a["t"], a["x"], a["y"]) for _, a in graph_read.nodes(data=True)}
        points = lineage_points(replay)
        assert {(t, int(u), int(v)) for (_, t), (u, v) in points.items()} == {
            (t, round(x), round(y)) for t, x, y in read
        }


def deeplabcut_table(out: Path, number: int, levels: int) -> pd.DataFrame:
    """Read a table as DeepLabCut does, with a row for each frame."""
    folder = out / "labeled-data" / f"episode_{number:05d}"
    table = pd.read_csv(
        folder / "CollectedData_lastmile.csv", header=list(range(levels)), index_col=[0, 1, 2]
    )
    frames = sorted(path.name for path in folder.glob("*.png"))
    assert not table.isna().all(axis=1).any()
    return table.reindex([("labeled-data", folder.name, frame) for frame in frames])


def test_deeplabcut_has_the_key_points(recordings: Recordings, tmp_path: Path) -> None:
    for out, number, replay in each_state(
        recordings, "limb_tracking", "deeplabcut", tmp_path, (0.0, 0.9)
    ):
        table = deeplabcut_table(out, number, 3)
        edits = replay.state.edits
        counted = {key: edits[i] for key, i in latest_entries(edits).items()}
        expected = np.full((replay.world.frames, len(NAMES), 2), np.nan)
        for (frame, part), edit in counted.items():
            if not edit.hidden:
                expected[frame, part] = (edit.u, edit.v)
        names = [name.lower().replace(" ", "_") for name in NAMES]
        assert list(table.columns) == [("lastmile", n, axis) for n in names for axis in "xy"]
        assert len(table) == replay.world.frames
        np.testing.assert_array_equal(table.to_numpy(float).reshape(expected.shape), expected)

        hidden = [
            (entry["frame"], entry["bodypart"])
            for entry in sidecar(out)["episodes"][number]["hidden"]
        ]
        assert {*hidden} == {(t, names[part]) for (t, part), edit in counted.items() if edit.hidden}


def test_deeplabcut_has_the_animals(recordings: Recordings, tmp_path: Path) -> None:
    for out, number, replay in each_state(
        recordings, "behavior_tracking", "deeplabcut", tmp_path, (0.0, 0.9)
    ):
        table = deeplabcut_table(out, number, 4)
        world, edits = replay.world, replay.state.edits
        expected = np.full((world.frames, world.animals, len(PARTS), 2), np.nan)
        for (t, animal, part), index in latest_markers(edits).items():
            expected[t, animal, part] = (edits[index].u, edits[index].v)
        assert list(table.columns) == [
            ("lastmile", f"animal{k + 1}", part, axis)
            for k in range(world.animals)
            for part in PARTS
            for axis in "xy"
        ]
        np.testing.assert_array_equal(table.to_numpy(float).reshape(expected.shape), expected)


def test_frames_beside_the_key_points_have_no_marks(recordings: Recordings, tmp_path: Path) -> None:
    recording = recordings("behavior_tracking")
    export(recording, "deeplabcut", tmp_path / "out")
    frames = recording.open(0).world.image_frames
    for t, frame in enumerate(frames):
        path = tmp_path / "out" / "labeled-data" / "episode_00000" / f"img{t:03d}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(path)), frame)


@pytest.mark.parametrize("task", ["limb_tracking", "behavior_tracking"])
def test_sleap_reads_the_key_points(recordings: Recordings, task: str, tmp_path: Path) -> None:
    sleap = pytest.importorskip("sleap_io")
    recording = recordings(task)
    export(recording, "deeplabcut", tmp_path / "out")
    path = tmp_path / "out" / "labeled-data" / "episode_00001" / "CollectedData_lastmile.csv"
    labels = sleap.load_dlc(str(path))
    read = {
        (frame.frame_idx, *map(float, point))
        for frame in labels
        for instance in frame.instances
        for point in instance.numpy()
        if not np.isnan(point).any()
    }
    edits = last(recording, 1).state.edits
    counted: dict[Any, Any] = {
        (edit.frame, edit.part) if task == "limb_tracking" else edit[:3]: edit for edit in edits
    }
    assert read == {
        (edit[0] if task == "limb_tracking" else edit.t, edit.u, edit.v)
        for edit in counted.values()
        if edit.u >= 0
    }


def test_napari_has_the_markers(recordings: Recordings, tmp_path: Path) -> None:
    for out, number, replay in each_state(recordings, "colored_dots", "napari", tmp_path):
        table = pd.read_csv(out / f"episode_{number:05d}.csv")
        assert list(table) == ["index", "axis-0", "axis-1", "axis-2"]
        read = [tuple(row) for row in table.to_numpy()[:, 1:]]
        assert read == [(marker.z, marker.v, marker.u) for marker in replay.state.edits]


def test_napari_has_the_pairs(recordings: Recordings, tmp_path: Path) -> None:
    for out, number, replay in each_state(recordings, "channel_alignment", "napari", tmp_path):
        table = pd.read_csv(out / f"episode_{number:05d}.csv")
        assert len(table) == len(replay.state.edits)
        a, b = (table[table["axis-0"] == channel] for channel in (0, 1))
        assert not a["pair"].duplicated().any() and not b["pair"].duplicated().any()
        pairs = a.merge(b, on="pair", suffixes=("_a", "_b")).sort_values("pair")
        read = pairs[["axis-2_a", "axis-1_a", "axis-2_b", "axis-1_b"]].to_numpy()
        assert [tuple(row) for row in read] == list(pair_points(replay.state.edits))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of napari's own models
@pytest.mark.parametrize("task", ["colored_dots", "channel_alignment"])
def test_napari_reads_the_points(recordings: Recordings, task: str, tmp_path: Path) -> None:
    """With the reader that napari opens files with, and as its layer of points; no window opens."""
    napari = pytest.importorskip("napari", reason="napari is not installed: pip install napari")
    from napari_builtins.io import napari_get_reader

    recording = recordings(task)
    export(recording, "napari", tmp_path / "out")
    for number in range(2):
        path = str(tmp_path / "out" / f"episode_{number:05d}.csv")
        reader = napari_get_reader(path)
        assert reader is not None
        (layer_data,) = reader(path)
        layer = napari.layers.Layer.create(*layer_data)
        assert isinstance(layer, napari.layers.Points)
        edits = last(recording, number).state.edits
        if task == "colored_dots":
            assert [tuple(p) for p in layer.data] == [(m.z, m.v, m.u) for m in edits]
            continue
        assert [tuple(point) for point in layer.data] == [
            ("AB".index(point.channel), point.v, point.u) for point in edits
        ]
        pairs = layer.features["pair"].to_numpy()
        of_a, of_b = (layer.data[:, 0] == channel for channel in (0, 1))
        assert len(set(pairs[of_a])) == of_a.sum() and len(set(pairs[of_b])) == of_b.sum()


def collection(out: Path, number: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / f"episode_{number:05d}.geojson").read_text())
    assert content["lastmile"]["episode"] == number
    return content


def test_geojson_has_the_roads(recordings: Recordings, tmp_path: Path) -> None:
    for out, number, replay in each_state(recordings, "road_mapping", "geojson", tmp_path):
        nodes, links = graph.nodes(replay.state.edits), graph.links(replay.state.edits)
        features = collection(out, number)["features"]
        lines = [f for f in features if f["geometry"]["type"] == "LineString"]
        assert [tuple(line["properties"]["nodes"]) for line in lines] == list(links)
        assert [line["geometry"]["coordinates"] for line in lines] == [
            [list(nodes[a]), list(nodes[b])] for a, b in links
        ]
        read = {tuple(node) for line in lines for node in line["geometry"]["coordinates"]}
        read |= {tuple(f["geometry"]["coordinates"]) for f in features if f not in lines}
        assert read == {*nodes}


def test_geojson_has_the_plume(recordings: Recordings, tmp_path: Path) -> None:
    kinds = set()
    for out, number, replay in each_state(recordings, "plume_finding", "geojson", tmp_path):
        features = collection(out, number)["features"]
        edits = replay.state.edits
        vertices = [((edit.u, edit.v), edit.band) for edit in edits if hasattr(edit, "u")]
        if not vertices:
            assert features == []
            continue
        (feature,) = features
        kind = feature["geometry"]["type"]
        kinds.add(kind)
        positions = feature["geometry"]["coordinates"]
        if kind == "Polygon":
            ((*positions, closing),) = positions
            assert closing == positions[0]
            assert feature["properties"]["closed_in"] == edits[-1].band
        elif kind == "Point":
            positions = [positions]
        read = list(zip(map(tuple, positions), feature["properties"]["bands"]))
        assert read in (vertices, vertices[::-1])
        assert (kind == "Polygon") == (len(vertices) < len(edits))
    assert {"Polygon", "LineString"} <= kinds


@pytest.mark.parametrize("task", ["road_mapping", "plume_finding"])
def test_shapely_reads_the_shapes(recordings: Recordings, task: str, tmp_path: Path) -> None:
    geometry = pytest.importorskip("shapely.geometry")
    export(recordings(task), "geojson", tmp_path / "out")
    replay = last(recordings(task), 0)
    shapes = [geometry.shape(f["geometry"]) for f in collection(tmp_path / "out", 0)["features"]]
    if task == "road_mapping":
        nodes = graph.nodes(replay.state.edits)
        lengths = [math.dist(nodes[a], nodes[b]) for a, b in graph.links(replay.state.edits)]
        assert [shape.length for shape in shapes if shape.length] == pytest.approx(lengths)
    else:
        assert shapes[0].exterior.is_ccw
        drawn = geometry.Polygon([(e.u, e.v) for e in replay.state.edits if hasattr(e, "u")])
        assert shapes[0].equals(drawn)


def test_csv_has_the_classes(recordings: Recordings, tmp_path: Path) -> None:
    for share in SHARES:
        recording = cut(recordings("object_exploration"), share)
        out = tmp_path / str(share)
        export(recording, "csv", out)
        read = pd.read_csv(out / "annotations.csv").values.tolist()
        choices = [(n, last(recording, n).state.edits[-1:]) for n in range(2)]
        assert read == [
            [number, CLASSES[choice.kinds].label, choice.seen.bit_count()]
            for number, choice_or_none in choices
            for choice in choice_or_none
        ]


def test_csv_has_the_matches(recordings: Recordings, tmp_path: Path) -> None:
    without = 0
    for share in SHARES:
        recording = cut(recordings("shape_matching"), share)
        out = tmp_path / str(share)
        export(recording, "csv", out)
        read = pd.read_csv(out / "annotations.csv").fillna(-1)
        expected = []
        for number in range(2):
            edits = last(recording, number).state.edits
            for source, index in sorted(latest(edits).items()):
                edit = edits[index]
                without += edit.without
                expected.append([number, source, not edit.without, edit.field, edit.u, edit.v])
        assert read.to_numpy().tolist() == expected
    assert without


# What was seen and clicked


def numbers(folder: Path, name: str) -> pd.DataFrame:
    return pq.read_table(folder / name).to_pandas()


def test_lerobot_has_screens_and_clicks(recordings: Recordings, tmp_path: Path) -> None:
    recording = recordings("colored_dots")
    out = tmp_path / "out"
    assert export(recording, "lerobot", out) == 2
    info = json.loads((out / "meta/info.json").read_text())
    episodes = numbers(out, "meta/episodes/chunk-000/file-000.parquet")
    tasks = numbers(out, "meta/tasks.parquet")
    data = numbers(out, info["data_path"].format(chunk_index=0, file_index=0))
    lengths = recording.episodes["steps"].tolist()

    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"]) == (2, sum(lengths))
    assert {*data} == {*info["features"]}
    assert episodes["length"].tolist() == lengths
    assert episodes["dataset_from_index"].tolist() == [0, lengths[0]]
    assert episodes["dataset_to_index"].tolist() == [lengths[0], sum(lengths)]
    assert [list(row) for row in episodes["tasks"]] == [[tasks.index[0]]] * 2
    assert data["index"].tolist() == list(range(sum(lengths)))
    assert data["frame_index"].tolist() == [t for length in lengths for t in range(length)]

    actions = np.stack(data["action"].tolist())
    np.testing.assert_array_equal(actions, recording.steps[["x", "y"]])
    states = np.stack(data["observation.state"].tolist())
    assert (states[1 : lengths[0]] == actions[: lengths[0] - 1]).all()
    assert data["next.done"].to_numpy().nonzero()[0].tolist() == [lengths[0] - 1, sum(lengths) - 1]
    for number in range(2):
        replay = last(recording, number)
        gain = replay.score.score - replay.task.score(replay.world, replay.states[0]).score
        rows = data[data["episode_index"] == number]
        assert rows["next.reward"].sum() == pytest.approx(gain, abs=1e-5)
        assert rows["next.success"].any() == replay.score.success


@pytest.mark.parametrize(("screens", "shape"), [("small", (126, 168, 3)), ("full", (336, 448, 3))])
def test_lerobot_has_every_pixel(
    recordings: Recordings, screens: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    recording = cut(recordings("colored_dots"), 0.1)
    export(recording, "lerobot", tmp_path / "out", episodes=1, screens=screens)
    info = json.loads((tmp_path / "out" / "meta/info.json").read_text())
    assert tuple(info["features"]["observation.images.screen"]["shape"]) == shape
    replay = last(recording, 0)
    column = numbers(tmp_path / "out", "data/chunk-000/file-000.parquet")[
        "observation.images.screen"
    ]
    assert len(column) == len(replay.steps)
    for stored, step in zip(column, replay.steps):
        before = replay.interface.screen(step.before, replay.look)
        picture = np.asarray(Image.open(io.BytesIO(stored["bytes"])))
        np.testing.assert_array_equal(picture, DRAWN[screens](before))


def test_statistics_of_lerobot_are_those_of_the_data(
    recordings: Recordings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export(recordings("colored_dots"), "lerobot", out)
    stats = json.loads((out / "meta/stats.json").read_text())
    data = numbers(out, "data/chunk-000/file-000.parquet")
    episodes = numbers(out, "meta/episodes/chunk-000/file-000.parquet")

    actions = np.stack(data["action"].tolist())
    assert stats["action"]["mean"] == pytest.approx(actions.mean(0))
    assert stats["action"]["q90"] == pytest.approx(np.quantile(actions, 0.9, axis=0))
    pictures = np.stack(
        [np.asarray(Image.open(io.BytesIO(p["bytes"]))) for p in data["observation.images.screen"]]
    )
    screen = stats["observation.images.screen"]
    assert np.shape(screen["mean"]) == (3, 1, 1) and screen["count"] == [len(data)]
    assert np.ravel(screen["mean"]) == pytest.approx(pictures.mean((0, 1, 2)) / 255)
    assert np.ravel(screen["std"]) == pytest.approx(pictures.std((0, 1, 2)) / 255)
    assert np.ravel(screen["min"]) == pytest.approx(pictures.min((0, 1, 2)) / 255)
    assert np.ravel(screen["q50"]) == pytest.approx(np.median(pictures, (0, 1, 2)) / 255)
    first = pictures[: int(episodes["length"][0])]
    mean = [value[0][0] for value in episodes["stats/observation.images.screen/mean"][0]]
    assert mean == pytest.approx(first.mean((0, 1, 2)) / 255)


def test_large_data_sets_of_lerobot_have_many_files(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lastmile.exports.lerobot.DATA_MB", 0.1)
    monkeypatch.setattr("lastmile.exports.lerobot.CHUNK", 1)
    export(recordings("colored_dots"), "lerobot", tmp_path / "out")
    episodes = numbers(tmp_path / "out", "meta/episodes/chunk-000/file-000.parquet")
    assert episodes["data/chunk_index"].tolist() == [0, 1]
    for number, row in episodes.iterrows():
        path = f"data/chunk-{row['data/chunk_index']:03d}/file-{row['data/file_index']:03d}.parquet"
        assert {*numbers(tmp_path / "out", path)["episode_index"]} == {number}


def test_datasets_reads_lerobot(recordings: Recordings, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    recording = recordings("colored_dots")
    export(recording, "lerobot", tmp_path / "out")
    path = tmp_path / "out" / "data/chunk-000/file-000.parquet"
    data = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert isinstance(data.features["observation.images.screen"], datasets.Image)
    assert data[5]["observation.images.screen"].size == (168, 126)
    assert data[5]["action"] == recording.steps[["x", "y"]].iloc[5].tolist()


def test_minari_has_what_the_environment_shows(recordings: Recordings, tmp_path: Path) -> None:
    minari = pytest.importorskip("minari")
    recording = recordings("plume_finding")
    export(recording, "minari", tmp_path / "out")
    dataset = minari.MinariDataset(tmp_path / "out" / "data")
    assert dataset.total_episodes == 2 and dataset.total_steps == len(recording.steps)
    assert dataset.spec.dataset_id.startswith("lastmile/plume_finding/short-v")

    env = dataset.recover_environment()
    assert isinstance(env.unwrapped, AnnotationEnv)
    options = [meta["options"] for meta in dataset.storage.get_episode_metadata([0, 1])]
    for number, episode in enumerate(dataset.iterate_episodes()):
        np.testing.assert_array_equal(episode.actions, recording.clicks(number))
        observation, _ = env.reset(options=options[number])
        np.testing.assert_array_equal(episode.observations[0], observation)
        for t, action in enumerate(episode.actions):
            observation, reward, terminated, _, _ = env.step(action)
            np.testing.assert_array_equal(episode.observations[t + 1], observation)
            assert episode.rewards[t] == pytest.approx(reward, abs=1e-6)
            assert episode.terminations[t] == terminated
        assert terminated and not episode.truncations.any()


def test_minari_truncates_what_is_unfinished(recordings: Recordings, tmp_path: Path) -> None:
    minari = pytest.importorskip("minari")
    export(cut(recordings("plume_finding"), 0.3, done=False), "minari", tmp_path / "out")
    for episode in minari.MinariDataset(tmp_path / "out" / "data").iterate_episodes():
        assert episode.truncations[-1] and not episode.terminations.any()


# What all formats share


def test_formats_name_tasks_that_exist() -> None:
    named = {task for known in FORMATS.values() for task in known.tasks if task}
    assert named <= {*task_names()}


@pytest.mark.parametrize(
    ("task", "to"),
    [(task, name) for name, known in FORMATS.items() for task in known.tasks if task],
)
def test_the_sidecar_says_what_was_exported(
    recordings: Recordings, task: str, to: str, tmp_path: Path
) -> None:
    recording = recordings(task)
    out = tmp_path / "new" / "out"
    assert export(recording, to, out, episodes=1) == 1
    content = sidecar(out)
    assert content["to"] == to and content["task"] == task
    assert content["task_version"] == recording.open(0).task.version
    assert content["source"]["style"] == "hasty"
    assert content["coordinates"]
    (episode,) = content["episodes"]
    assert episode["world_seed"] == [0, 2, 0] and episode["finished"]
    assert episode["world"] == recording.episodes["world"][0]
    assert episode["score"] == pytest.approx(recording.episodes["score"][0])
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {*episode["files"]} | {SIDECAR} == files
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_exports_have_the_same_bytes_each_time(recordings: Recordings, tmp_path: Path) -> None:
    for to in ("lerobot", "napari"):
        for out in ("a", "b"):
            export(recordings("colored_dots"), to, tmp_path / to / out, episodes=1)
        first, second = (
            {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            for folder in (tmp_path / to / "a", tmp_path / to / "b")
        )
        assert first == second


def test_two_episodes_in_one_world_have_a_file_each(recordings: Recordings, tmp_path: Path) -> None:
    """Two people may annotate the same world."""
    recording = recordings("colored_dots")
    clicks = len(recording.clicks(0))
    twice = replace(
        recording,
        steps=pd.concat([recording.steps.iloc[:clicks]] * 2),
        episodes=pd.concat([recording.episodes.iloc[:1]] * 2),
    )
    assert export(twice, "napari", tmp_path / "out") == 2
    assert [path.name for path in sorted(tmp_path.glob("out/*.csv"))] == [
        "episode_00000.csv",
        "episode_00001.csv",
    ]
    worlds = [episode["world_seed"] for episode in sidecar(tmp_path / "out")["episodes"]]
    assert worlds == [[0, 2, 0]] * 2


def test_the_command_exports(
    recordings: Recordings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = str(recordings("colored_dots").path)
    command = ["export", recording, "--to", "napari", "--out", str(tmp_path / "out")]
    assert main([*command, "--episodes", "1"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: 1 episode\n"
    assert main(command) == 1
    assert "exists; name another folder, or replace it with --force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert len(sidecar(tmp_path / "out")["episodes"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    assert main(["export", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in FORMATS)


# Bad input


def test_a_format_that_does_not_fit_names_those_that_do(
    recordings: Recordings, tmp_path: Path
) -> None:
    with pytest.raises(LastmileError, match="'colored_dots' cannot be exported to 'swc'; expected one of lerobot, minari, napari$"):  # fmt: skip
        export(recordings("colored_dots"), "swc", tmp_path / "out")
    with pytest.raises(LastmileError, match="unknown format 'geojsn'; did you mean 'geojson'"):
        export(recordings("colored_dots"), "geojsn", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert formats_of("no_such_task") == ["lerobot", "minari"]


def test_unfinished_episodes_are_refused_or_left_out(
    recordings: Recordings, tmp_path: Path
) -> None:
    recording = recordings("colored_dots")
    unfinished = cut(recording, 0.5, done=False)
    with pytest.raises(LastmileError, match="episode 0 is unfinished .*--skip-unfinished"):
        export(unfinished, "napari", tmp_path / "out")
    with pytest.raises(LastmileError, match="has no finished episode"):
        export(unfinished, "napari", tmp_path / "out", skip_unfinished=True)
    assert list(tmp_path.iterdir()) == []

    half = len(unfinished.clicks(0))
    begin = len(recording.clicks(0))
    mixed = replace(
        recording,
        steps=pd.concat([recording.steps.iloc[:half], recording.steps.iloc[begin:]]),
        episodes=recording.episodes.assign(steps=[half, len(recording.clicks(1))]),
    )
    assert export(mixed, "napari", tmp_path / "out", skip_unfinished=True) == 1
    assert [path.name for path in sorted(tmp_path.glob("out/*.csv"))] == ["episode_00001.csv"]
    assert export(unfinished, "lerobot", tmp_path / "screens") == 2
    assert not any(episode["finished"] for episode in sidecar(tmp_path / "screens")["episodes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episodes": 0}, "episodes: expected at least 1, got 0"),
        ({"screens": "small"}, "only the format 'lerobot' has a choice, not 'napari'"),
        ({"to": "lerobot", "screens": "huge"}, "unknown screens 'huge'"),
    ],
)
def test_impossible_arguments_are_refused(
    recordings: Recordings, arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(LastmileError, match=message):
        export(recordings("colored_dots"), **{"to": "napari", "out": tmp_path / "out", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_recording_makes_no_folder(recordings: Recordings, tmp_path: Path) -> None:
    damaged = tmp_path / "test.parquet"
    damaged.write_bytes(recordings("colored_dots").path.read_bytes()[:-40])
    with pytest.raises(trajectory.TrajectoryError, match="test.parquet"):
        export(damaged, "napari", tmp_path / "out")

    recording = recordings("colored_dots")
    other = replace(recording, episodes=recording.episodes.assign(world=["0" * 16] * 2))
    with pytest.raises(trajectory.TrajectoryError, match="another world"):
        export(other, "napari", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["test.parquet"]


def test_what_is_no_export_is_never_replaced(recordings: Recordings, tmp_path: Path) -> None:
    recording = recordings("colored_dots")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years")
    (tmp_path / "file").write_text("more years")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(LastmileError, match=f"{name}: is not replaced, as it is not an export"):
            export(recording, "napari", tmp_path / name, force=True)
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "years"
    assert (tmp_path / "file").read_text() == "more years"
    assert len(list(tmp_path.iterdir())) == 3


def test_an_interrupt_leaves_the_earlier_export(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = recordings("colored_dots")
    out = tmp_path / "out"
    export(recording, "napari", out)
    before = (out / SIDECAR).read_bytes()

    def interrupted(folder: Path, episodes: Any) -> list[Any]:
        (folder / "half").write_text("a")
        raise KeyboardInterrupt

    monkeypatch.setitem(FORMATS, "napari", FORMATS["napari"]._replace(write=interrupted))
    with pytest.raises(KeyboardInterrupt):
        export(recording, "napari", out, episodes=1, force=True)
    assert (out / SIDECAR).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_leftovers_of_killed_processes_are_removed(recordings: Recordings, tmp_path: Path) -> None:
    from lastmile.storage.files import HOST

    leftover = tmp_path / f".out.{HOST}.{2**30}.part"
    leftover.mkdir()
    (leftover / "half").write_text("a")
    export(recordings("colored_dots"), "napari", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_missing_package_is_named(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingExtraError, match=r"minari.*\[exports\]"):
        export(recordings("colored_dots"), "minari", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
