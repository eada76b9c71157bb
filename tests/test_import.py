"""Data of one's own: crops of real data, written as laboratories have them and imported back."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

import lastmile
from lastmile.cli import main
from lastmile.config import SPLITS, ConfigError, parse
from lastmile.datasets.cache import ABOUT, DataError
from lastmile.errors import LastmileError
from lastmile.pipeline.plan import Jobs
from lastmile.pipeline.stages import record
from lastmile.released import trained_on
from lastmile.simulation import trajectory
from lastmile.simulation.source import Source
from lastmile.tasks import importing, real
from lastmile.tasks.cell_lineage.real import FRAMES, SPANS, Timelapse, read, spans
from lastmile.tasks.importing import import_data
from test_real import CROPS, make

if TYPE_CHECKING:
    from lastmile.policy.policy import Policy

TASK = "cell_lineage"
ORDER = np.tile([0, 1, 2, 3, 4, 5, 4, 3, 2, 1], 3)
"""The frames of the crops to and fro: 30 frames, of which each split gets enough."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Timelapse, np.ndarray]:
    """The crops, 30 frames long, as the task reads them; and the table of their tracks."""
    folder = tmp_path_factory.mktemp("original")
    movie = read(CROPS / TASK).frames[ORDER]
    short = np.load(CROPS / TASK / "timelapse_track.npy")
    table = np.concatenate(
        [np.column_stack([p[:, 0], np.full(len(p), t), p[:, 2:]])
         for t, frame in enumerate(ORDER) for p in [short[short[:, 1] == frame]]]
    )  # fmt: skip
    cv2.imwritemulti(str(folder / "2D_timelapse.tif"), list(movie))
    np.save(folder / "timelapse_track.npy", table)
    return read(folder), table


def write_images(folder: Path, movie: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for t, frame in enumerate(movie):
        cv2.imwrite(str(folder / f"t{t:03d}.tif"), frame)
    return folder


def write_challenge(folder: Path, table: np.ndarray, shape: tuple[int, ...]) -> Path:
    """Write tracks as the Cell Tracking Challenge has them; the crops have them at half pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(shape[0]):
        labels = np.zeros(shape[1:], np.uint16)
        for name, _, row, column in table[table[:, 1] == t]:
            # A box whose center is the point: of 2 pixels around a half, of 3 around a whole one.
            rows, columns = ((int(np.ceil(x - 1)), int(np.floor(x + 1)) + 1) for x in (row, column))
            labels[slice(*rows), slice(*columns)] = name
        cv2.imwrite(str(folder / f"man_track{t:03d}.tif"), labels)
    names = np.unique(table[:, 0]).astype(int)
    lines = [f"{name} 0 {shape[0] - 1} 0\n" for name in names]
    (folder / "man_track.txt").write_text("".join(lines))
    return folder


def write_napari(path: Path, table: np.ndarray) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["track_id", "t", "y", "x"])
        writer.writerows(table.tolist())
    return path


@pytest.fixture(scope="module", params=["challenge", "napari"])
def laboratory(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    original: tuple[Timelapse, np.ndarray],
) -> Path:
    """A folder of images with annotations, in each format."""
    data, table = original
    folder = write_images(tmp_path_factory.mktemp("laboratory") / "01", data.frames)
    if request.param == "challenge":
        write_challenge(folder.with_name("01_GT") / "TRA", table, data.frames.shape)
    else:
        write_napari(folder / "tracks.csv", table)
    return folder


def test_imported_worlds_are_those_of_the_original_data(
    laboratory: Path, original: tuple[Timelapse, np.ndarray], tmp_path: Path
) -> None:
    worlds = tmp_path / "worlds"
    lines = import_data(TASK, laboratory, worlds, licence="CC-BY-4.0", credits="our laboratory")
    assert "30 frames of 128 x 128 px, 7 tracks, 210 points" in lines[0]
    assert [line.partition(":")[0] for line in lines[1:]] == list(SPLITS)
    assert all("10 of 10 short worlds" in line for line in lines[1:])

    data, _ = original
    again = real.read_imported(TASK, worlds)
    assert np.array_equal(again.xy, data.xy) and np.array_equal(again.frames, data.frames)
    about = json.loads((worlds / TASK / ABOUT).read_text())
    assert (about["licence"], about["credits"]) == ("CC-BY-4.0", "our laboratory")
    assert str(laboratory) not in json.dumps(about)
    for number, split in enumerate(SPLITS):
        one, other = make(TASK, again, number, split), make(TASK, data, number, split)
        assert one.data == real.data_digest(str(worlds), [TASK]) != other.data
        for field in fields(one):
            if field.name not in ("data", "image_rng"):
                assert np.array_equal(getattr(one, field.name), getattr(other, field.name))
        assert np.array_equal(one.image_frames, other.image_frames)


def test_an_imported_folder_is_a_source_like_any_other(
    laboratory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worlds = tmp_path / "worlds"
    words = ["import", TASK, str(laboratory), "--out", str(worlds)]
    assert main(words) == 0
    assert "train: frames 0 to 11, 10 of 10 short worlds" in capsys.readouterr().out
    assert main(words) == 1
    assert "there already" in capsys.readouterr().err

    assert main(["check", TASK, "--source", str(worlds), "--worlds", "2", "--style", "oracle"]) == 0
    assert "success 1.00" in capsys.readouterr().out
    recording = lastmile.record(TASK, source=str(worlds), split="train")
    assert recording.source.worlds == str(worlds)
    assert recording.open(0).world.data == real.data_digest(str(worlds), [TASK])

    settings = parse({"worlds": {"source": str(worlds)}, "tasks": [TASK]})
    specs = Jobs(settings).specs("record")
    spec = next(iter(specs.values()))
    assert isinstance(spec, record.Spec) and spec.source == str(worlds)
    assert spec.data == real.data_digest(str(worlds), [TASK])
    assert record.parts(spec) == (f"tasks.{TASK}", f"tasks.{TASK}.real")
    spec = spec.model_copy(update={"episodes": 1})
    facts = record.run(spec, record.Inputs(), record.outputs(spec, tmp_path))
    assert facts is not None and facts.spec["data"]["digest"] == spec.data
    assert trajectory.read(record.outputs(spec, tmp_path).steps).open(0).world.data == spec.data
    with pytest.raises(
        ConfigError, match="no imported worlds of object_exploration; expected 'tasks' to"
    ):
        parse({"worlds": {"source": str(worlds)}, "tasks": ["object_exploration"]})


def test_other_data_in_the_same_folder_are_other_worlds(
    original: tuple[Timelapse, np.ndarray], tmp_path: Path
) -> None:
    data, table = original
    digests: list[str] = []
    for frames in (data.frames, np.flip(data.frames, 2)):
        images = write_images(tmp_path / f"images{len(digests)}", frames)
        write_napari(images / "tracks.csv", table)
        worlds = tmp_path / "worlds"
        if worlds.exists():
            (worlds / TASK).rename(tmp_path / "old")
        import_data(TASK, images, worlds)
        digests.append(Source(TASK, "train", 0, worlds=str(worlds)).world(0).data)
    assert digests[0] != digests[1]
    (worlds / TASK / "timelapse_track.npy").write_bytes(b"")
    real._imported_data.cache_clear()
    with pytest.raises(DataError, match="timelapse_track.npy: damaged"):
        Source(TASK, "train", 0, worlds=str(worlds)).world(0)


def test_images_of_16_bits_and_other_sizes_are_adapted(
    original: tuple[Timelapse, np.ndarray], tmp_path: Path
) -> None:
    data, table = original
    large = np.stack(
        [cv2.resize(f, (256, 256), interpolation=cv2.INTER_LINEAR) for f in data.frames]
    )
    images = write_images(tmp_path / "01", large.astype(np.uint16) * 100 + 1000)
    table = table.copy()
    table[:, 2:] = (table[:, 2:] + 0.5) * 2 - 0.5
    tracks = write_napari(tmp_path / "points.csv", table)
    worlds = tmp_path / "worlds"
    lines = import_data(TASK, images, worlds, tracks, diameter=70)
    assert "of 16 bits became 0 to 255; resized to 128 x 128 px" in lines[0]
    again = real.read_imported(TASK, worlds)
    assert again.frames.shape == data.frames.shape
    assert np.allclose(again.xy, data.xy)
    assert np.corrcoef(again.frames.ravel(), data.frames.ravel())[0, 1] > 0.99


def test_all_frames_may_be_in_one_file(
    original: tuple[Timelapse, np.ndarray], tmp_path: Path
) -> None:
    data, table = original
    (tmp_path / "movie").mkdir()
    cv2.imwritemulti(str(tmp_path / "movie" / "nuclei.tif"), list(data.frames))
    write_napari(tmp_path / "movie" / "tracks.csv", table)
    import_data(TASK, tmp_path / "movie", tmp_path / "worlds")
    assert np.array_equal(real.read_imported(TASK, tmp_path / "worlds").frames, data.frames)


def test_spans_of_longer_movies_share_no_frame() -> None:
    assert spans(30) == spans(6) == SPANS
    for count in range(30, 200):
        bounds = list(spans(count).values())
        assert bounds[0][0] == 0 and bounds[-1][1] == count
        assert all(a[1] == b[0] for a, b in zip(bounds, bounds[1:]))
        assert min(stop - begin for begin, stop in bounds) >= FRAMES


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(re.sub(old, new, path.read_text(), count=1, flags=re.MULTILINE))


def smaller(path: Path) -> None:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    cv2.imwrite(str(path), image[:-8])


def shorter(folder: Path) -> None:
    for t in range(20, 30):
        (folder / f"t{t:03d}.tif").unlink()


WRONG: list[tuple[str, Callable[[Path], object], str]] = [
    ("napari", lambda f: (f / "tracks.csv").unlink(), "01: no tracks; expected man_track.txt"),
    ("napari", lambda f: (f / "t004.tif").unlink(), "t004.tif: no such file; expected frames"),
    ("napari", lambda f: smaller(f / "t004.tif"), "t004.tif: expected 128 x 128 px of type uint8"),
    ("napari", lambda f: (f / "t004.tif").write_bytes(b"x"), "t004.tif: not readable as a TIFF"),
    ("napari", shorter, "got 20"),
    ("napari", lambda f: edit(f / "tracks.csv", "^track_id", "cell"), "no column track_id"),
    ("napari", lambda f: edit(f / "tracks.csv", r"^(1.0,0.0),[\d.]+", r"\1,500"), "outside the im"),
    ("napari", lambda f: edit(f / "tracks.csv", r"^(1.0,0.0),[\d.]+", r"\1,nan"), "finite numbers"),
    ("napari", lambda f: edit(f / "tracks.csv", r"^(1.0,0.0),[\d.]+", r"\1,top"), "four numbers"),
    (
        "napari",
        lambda f: edit(f / "tracks.csv", "^1.0,1.0", "1.0,0.0"),
        "frame 0 already, in line 2",
    ),
    ("napari", lambda f: edit(f / "tracks.csv", "^1.0,1.0", "1.0,99"), "frame from 0 to 29"),
    ("napari", lambda f: edit(f / "tracks.csv", "^1.0,1.0", "1.5,1.0"), "whole numbers"),
    ("challenge", lambda f: (f / "man_track003.tif").unlink(), "man_track003.tif: no such file"),
    (
        "challenge",
        lambda f: smaller(f / "man_track003.tif"),
        "one page of 128 x 128 px with labels",
    ),
    ("challenge", lambda f: edit(f / "man_track.txt", "^3 .*", "3 0 29"), "four whole numbers"),
    ("challenge", lambda f: edit(f / "man_track.txt", "^3 0 29", "3 0 99"), "images have 0 to 29"),
    ("challenge", lambda f: edit(f / "man_track.txt", "^3 0", "3 2"), "lacks in frame 0"),
    ("challenge", lambda f: edit(f / "man_track.txt", "^4 ", "3 "), "3 is there twice"),
    ("challenge", lambda f: edit(f / "man_track.txt", "^3 ", "77 "), "no pixel of track 77"),
    ("challenge", lambda f: (f / "man_track.txt").write_text(""), "man_track.txt: no tracks"),
]


@pytest.mark.parametrize("kind, change, words", WRONG)
def test_what_is_wrong_is_said_in_a_line_that_names_the_file(
    kind: str,
    change: Callable[[Path], object],
    words: str,
    original: tuple[Timelapse, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, table = original
    folder = write_images(tmp_path / "01", data.frames)
    if kind == "challenge":
        write_challenge(folder, table, data.frames.shape)
    else:
        write_napari(folder / "tracks.csv", table)
    change(folder)
    assert main(["import", TASK, str(folder), "--out", str(tmp_path / "worlds")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert any(words in line and str(folder) in line for line in lines), lines
    assert len(lines) <= 31
    assert not list(tmp_path.glob("worlds/*"))


def test_data_without_a_cell_to_follow_are_refused_by_split(
    original: tuple[Timelapse, np.ndarray], tmp_path: Path
) -> None:
    data, table = original
    folder = write_images(tmp_path / "01", data.frames)
    write_napari(folder / "tracks.csv", table[table[:, 1] < 15])
    with pytest.raises(DataError, match=r"split 'test' \(frames 18 to 23\), short: no crop"):
        import_data(TASK, folder, tmp_path / "worlds")


def test_tasks_and_folders_that_cannot_be_used_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LastmileError, match="task 'colored_dots' cannot import data yet"):
        import_data("colored_dots", tmp_path, tmp_path / "worlds")
    assert importing.importing_tasks() == (TASK,)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        import_data(TASK, tmp_path / "nowhere", tmp_path / "worlds")
    with pytest.raises(DataError, match="no/where: no such folder; expected worlds"):
        Source(TASK, "test", 0, worlds="no/where").world(0)
    with pytest.raises(DataError, match=f"holds no worlds of task '{TASK}' .it has: none"):
        Source(TASK, "test", 0, worlds=str(tmp_path)).world(0)
    (tmp_path / TASK).mkdir()
    (tmp_path / TASK / ABOUT).write_text("{}")
    with pytest.raises(DataError, match="expected a file that `lastmile import` wrote; task"):
        Source(TASK, "test", 0, worlds=str(tmp_path)).world(0)


# The page about it.


def test_the_commands_of_the_page_take_a_folder_to_a_policy_and_its_score(
    original: tuple[Timelapse, np.ndarray],
    policy: Policy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data, table = original
    write_images(tmp_path / "01", data.frames)
    write_challenge(tmp_path / "01_GT" / "TRA", table, data.frames.shape)
    policy.save(tmp_path / "small")
    page = (Path(__file__).parents[1] / "docs/howto/import_your_data.md").read_text()
    commands = [
        shlex.split(line)[1:]
        for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert [words[0] for words in commands] == [
        *("import", "watch", "check", "evaluate", "finetune", "evaluate", "leaderboard", "run")
    ]
    less = {"finetune": ["--frames", "40", "--episodes", "1"]}  # the last of two options counts
    less |= {verb: ["--worlds", "1"] for verb in ("check", "evaluate")}
    for words in commands[:-1]:  # the last one needs a clone
        words = ["./small" if word == "joint" else word for word in words]
        assert main([*words, *less.get(words[0], [])]) == 0, words
    shown = capsys.readouterr().out
    assert "test: frames 18 to 23, 10 of 10 short worlds" in shown
    assert "| tuned |" in shown and "## Worlds: worlds, test, short" in shown
    settings = commands[-1][2]
    assert settings == "worlds.source=worlds"
    assert parse({"worlds": {"source": "worlds"}, "tasks": [TASK]}).worlds.source == "worlds"

    manifest = json.loads((tmp_path / "tuned" / "manifest.json").read_text())
    assert trained_on(tmp_path / "tuned") == [TASK]
    assert f"{TASK}/train.tokens" in manifest["spec"]["data"]
