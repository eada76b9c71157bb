"""Real worlds: made of crops that are kept here, and of the whole data where they were fetched."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lastmile.cli import main
from lastmile.config import SPLITS, ConfigError, parse
from lastmile.datasets import cache, fetching
from lastmile.datasets.archives import Archive, joint_digest
from lastmile.datasets.cache import ABOUT, VARIABLE, DataError, data_folder
from lastmile.datasets.images import read_stack
from lastmile.errors import LastmileError
from lastmile.pipeline.stages import record, tokenize
from lastmile.screen import draw
from lastmile.simulation import trajectory
from lastmile.simulation.annotating import work_on
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.tasks import get_task, real
from lastmile.tasks.task import digest, generator

CROPS = Path(__file__).parent / "real"
TASKS = real.real_tasks()


def make(task: str, data: Any, number: int, split: str = "train", difficulty: str = "short") -> Any:
    module = import_module(f"lastmile.tasks.{task}.real")
    return module.make_world(data, generator((0, number), task, "real"), split, difficulty)


def read(task: str, folder: Path | None = None) -> Any:
    module = import_module(f"lastmile.tasks.{task}.real")
    return module.read(*[folder or CROPS / task] * len(module.ARCHIVES))


@pytest.mark.parametrize("task", TASKS)
def test_a_real_world_is_done_by_the_same_annotator_on_the_same_screens(task: str) -> None:
    data = read(task)
    for number in range(2):
        world = make(task, data, number)
        session = Session(get_task(task), world)
        first = draw(session.screen())
        work_on(session, "oracle", generator((0, number), task, "annotator"))
        assert session.score.success, session.score
        assert session.score.details["coverage"] > 0.85
        blank = draw(Session(get_task(task), get_task(task).world(number, "short")).screen())
        assert first.shape == blank.shape and not np.array_equal(first, blank)


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_gives_one_world_and_another_seed_another(task: str) -> None:
    data, again = read(task), read(task)
    world = make(task, data, 0)
    assert digest(world) == digest(make(task, again, 0)) != digest(make(task, data, 1))
    images = [draw(Session(get_task(task), w).screen()) for w in (world, make(task, again, 0))]
    assert np.array_equal(images[0], images[1])
    assert world.data == joint_digest(real.archives_of(task))


def test_the_outline_of_a_cell_holds_its_center() -> None:
    world = make("cell_lineage", read("cell_lineage"), 0, difficulty="full")
    for t in range(world.frames):
        for cell in range(world.founders):
            assert world.at(t, *world.center(cell, t)) == cell
    assert world.at(0, 0.0, 0.0) == -1


def test_a_movie_without_divisions_is_scored_by_its_links_and_by_wrong_divisions() -> None:
    task = get_task("cell_lineage")
    session = Session(task, make("cell_lineage", read("cell_lineage"), 0))
    before = session.score
    assert before.details["division_f1"] == 1 and before.details["link_f1"] == 0
    state = session.interface.press(session.interface.start(), "+t")
    split = session.interface.press(state, "split")
    for point in ((20.0, 20.0), (40.0, 40.0)):
        split = session.interface.touch(split, *point)
    assert task.score(session.world, split).details["division_f1"] == 0
    assert [m.kind for m in task.mistakes(session.world, split)][0] == "confusion"


def test_splits_share_no_frame_no_nucleus_and_no_part_of_a_field() -> None:
    from lastmile.datasets import flies
    from lastmile.tasks.cell_lineage.real import FRAMES, SPANS
    from lastmile.tasks.channel_alignment.real import FIELDS

    ends = [end for span in sorted(flies.SPANS[split] for split in SPLITS) for end in span]
    assert min(np.diff(ends)) >= 15  # frames, a second

    frames = [set(range(*SPANS[split])) for split in SPLITS]
    assert sum(map(len, frames)) == len(set.union(*frames))
    assert min(map(len, frames)) >= FRAMES

    parts: dict[str, list[tuple[float, float]]] = {}
    for field, share in (FIELDS[split] for split in SPLITS):
        parts.setdefault(field, []).append(share)
    for shares in parts.values():
        borders = [border for share in sorted(shares) for border in share]
        assert borders == sorted(borders)

    data = read("colored_dots")
    nuclei = [
        {n for number in range(6) for n in make("colored_dots", data, number, split).nuclei}
        for split in SPLITS
    ]
    assert sum(map(len, nuclei)) == len(set.union(*nuclei)) == len(data.tiles)


def test_importing_the_tasks_reads_no_data_and_looks_for_none(tmp_path: Path) -> None:
    code = (
        "import sys; from lastmile.tasks import *; from lastmile.simulation.source import Source;"
        "[get_task(name) for name in task_names()]; Source('cell_lineage', 'test', 0).world(0);"
        "assert not [m for m in sys.modules if m.endswith('.real') and m.count('.') > 2]"
    )
    environment = {VARIABLE: str(tmp_path / "none"), "PATH": ""}
    environment["PYTHONPATH"] = str(Path(real.__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not (tmp_path / "none").exists()


def test_without_data_a_real_world_says_how_to_fetch_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match=r"no such file.*run: lastmile fetch real cell_lineage$"):
        Source("cell_lineage", "test", 0, worlds="real").world(0)
    assert main(["check", "cell_lineage", "--source", "real", "--worlds", "1"]) == 1
    assert "lastmile fetch real" in capsys.readouterr().err


def test_tasks_without_real_worlds_and_wrong_sources_are_refused_by_name() -> None:
    with pytest.raises(LastmileError, match="task 'shape_matching' has no real worlds"):
        Source("shape_matching", "test", 0, worlds="real").world(0)
    with pytest.raises(LastmileError, match="unknown source of worlds 'reel'; did you mean 'real'"):
        Source("cell_lineage", "test", 0, worlds="reel").world(0)
    with pytest.raises(ConfigError, match="'worlds.source': no real worlds of shape_matching"):
        parse({"worlds": {"source": "real"}, "tasks": ["shape_matching", "cell_lineage"]})
    assert parse({"worlds": {"source": "real"}, "tasks": ["cell_lineage"]}).worlds.source == "real"


def copy(task: str, folder: Path) -> Path:
    return Path(shutil.copytree(CROPS / task, folder / task))


@pytest.mark.parametrize(
    "task, name",
    [
        ("cell_lineage", "2D_timelapse.tif"),
        ("colored_dots", "nuclei.tif"),
        ("channel_alignment", "01_POS218_F.TIF"),
    ],
)
def test_images_that_are_missing_damaged_or_of_another_kind_are_refused(
    task: str, name: str, tmp_path: Path
) -> None:
    path = copy(task, tmp_path) / name
    whole = path.read_bytes()
    pages = cv2.imreadmulti(str(path), [], cv2.IMREAD_UNCHANGED)[1]
    color = np.zeros((300, 300, 3), np.uint8)
    color[..., 2] = 9

    def refused(words: str) -> None:
        with pytest.raises(DataError, match=f"{re.escape(str(path))}: {words}"):
            read(task, path.parent)

    path.write_bytes(whole[:100])
    refused("not readable as a TIFF image")
    path.write_bytes(b"")
    refused("not readable as a TIFF image")
    cv2.imwritemulti(str(path), [color] * len(pages))
    refused("expected gray pages, got 3 colors")
    cv2.imwritemulti(str(path), [np.zeros((300, 300), np.float32)] * len(pages))
    refused("expected pixels of type uint(8|16), got float32")
    cv2.imwritemulti(str(path), [page[:30, :30] for page in pages])
    refused("expected at least")
    cv2.imwritemulti(str(path), [pages[0], pages[0][:-5]])
    refused("its pages differ")
    path.unlink()
    refused("no such file")


def test_labels_of_another_size_and_too_few_nuclei_are_refused(tmp_path: Path) -> None:
    folder = copy("colored_dots", tmp_path)
    path = folder / "nuclei_label.tif"
    labels = read_stack(path, "uint8", (1, 1, 1))
    cv2.imwritemulti(str(path), list(labels[:, :80]))
    with pytest.raises(DataError, match=r"nuclei_label.tif: expected the size of nuclei.tif"):
        read("colored_dots", folder)
    cv2.imwritemulti(str(path), list(np.where(labels == labels.max(), 1, 0).astype(np.uint8)))
    with pytest.raises(DataError, match=r"whole nuclei, expected at least 4"):
        read("colored_dots", folder)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t[:0], "expected a table of finite numbers with 4 columns"),
        (lambda t: t[:, :3], "expected a table of finite numbers with 4 columns"),
        (lambda t: np.where(t == t[0, 2], np.nan, t), "expected a table of finite numbers"),
        (lambda t: t + [0, 0, 500, 0], "a point lies outside the 6 frames of 128 x 128 px"),
        (lambda t: t - [0, 1, 0, 0], "a point lies outside"),
        (lambda t: np.concatenate([t, t[:1]]), "has two points in one frame"),
        (lambda t: np.array([[{}]], object), "not readable as an array of numbers"),
    ],
)
def test_tracks_that_fit_no_movie_are_refused(change: Any, words: str, tmp_path: Path) -> None:
    path = copy("cell_lineage", tmp_path) / "timelapse_track.npy"
    np.save(path, change(np.load(path)), allow_pickle=True)
    with pytest.raises(DataError, match=f"timelapse_track.npy: .*{words}"):
        read("cell_lineage", path.parent)


# Fetching, from an index of our own.


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; a range of bytes is honored, as package indexes do."""

    asked: list[str | None] = []

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        if not self.path.endswith(".whl"):
            return super().do_GET()
        self.asked.append(wanted)
        content = Path(self.translate_path(self.path)).read_bytes()
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin:])


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """An index with one wheel, and an empty cache."""
    folder = tmp_path / "index"
    (folder / "simple" / "tiny").mkdir(parents=True)
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    members = {"tiny/data.bin": b"data" * 1000, "tiny/LICENSE": b"free"}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {**members, "tiny/../../outside": b"not wanted"}.items():
            archive.writestr(name, content)
    page = f'<a href="../../{wheel.name}#sha256=0">{wheel.name}</a>'
    (folder / "simple" / "tiny" / "index.html").write_text(page)

    Handler.asked.clear()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: Handler(*arguments, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(
        "PIP_INDEX_URL", f"http://user:secret@127.0.0.1:{server.server_port}/simple/"
    )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    yield Archive("tiny", "1.0", wheel.name, sha256, hashes, "MIT", "nobody")
    server.shutdown()
    server.server_close()


def test_data_are_fetched_once_with_licence_and_source_and_nothing_else(index: Archive) -> None:
    assert fetching.fetch(index)
    folder = data_folder(index)
    assert sorted(path.name for path in folder.iterdir()) == ["LICENSE", ABOUT, "data.bin"]
    about = json.loads((folder / ABOUT).read_text())
    assert (about["licence"], about["credits"], about["digest"]) == ("MIT", "nobody", index.digest)
    assert not fetching.fetch(index) and len(Handler.asked) == 1


def test_damaged_data_are_fetched_again(index: Archive) -> None:
    fetching.fetch(index)
    (data_folder(index) / "data.bin").write_bytes(b"dat")
    with pytest.raises(DataError, match="data.bin: damaged"):
        cache.check(index, data_folder(index))
    assert fetching.fetch(index) and cache.complete(index)


def test_an_interrupted_download_resumes(index: Archive, tmp_path: Path) -> None:
    folder = data_folder(index)
    folder.mkdir(parents=True)
    whole = (tmp_path / "index" / index.file).read_bytes()
    (folder / f"{index.file}.part").write_bytes(whole[:123])
    assert fetching.fetch(index) and Handler.asked == ["bytes=123-"]


def test_another_archive_under_the_same_name_is_refused(index: Archive, tmp_path: Path) -> None:
    path = tmp_path / "index" / index.file
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(DataError, match=r"tiny-1.0.*damaged or another file"):
        fetching.fetch(index)
    assert not list(data_folder(index).iterdir())


def test_an_archive_without_a_member_or_an_index_without_the_archive_is_refused(
    index: Archive,
) -> None:
    values = dict(vars(index))
    with pytest.raises(DataError, match="has no member .*gone"):
        fetching.fetch(Archive(**{**values, "members": {"tiny/gone": "0"}}))
    with pytest.raises(DataError, match=r"^http://127[^@]*: lists no file other.whl"):
        fetching.fetch(Archive(**{**values, "file": "other.whl", "version": "2"}))


def test_offline_is_one_clear_line(index: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    with pytest.raises(DataError) as caught:
        fetching.fetch(index)
    line = str(caught.value)
    assert "\n" not in line and "secret" not in line
    assert "cannot be fetched from http://127.0.0.1:9/simple/tiny/" in line and "resumes" in line


# Recordings.


def test_synthetic_specs_and_recordings_do_not_mention_the_source() -> None:
    values: dict[str, Any] = {"task": "colored_dots", "split": "test"}
    assert "source" not in tokenize.Spec(**values).canonical()
    assert '"source":"real"' in tokenize.Spec(**values, source="real").canonical()
    more = {"seed": 0, "difficulty": "short", "style": "typical", "layouts": ["right"]}
    values |= {**more, "themes": ["dark"], "episodes": 1}
    assert "source" not in record.Spec(**values).canonical()
    spec = record.Spec(**values, source="real")
    assert record.parts(spec) == ("tasks.colored_dots", "tasks.colored_dots.real")
    assert "worlds" not in Source("colored_dots", "test", 0).values()


@pytest.mark.parametrize("task", ["cell_lineage", "plume_finding"])
def test_a_recording_of_real_worlds_replays_and_its_manifest_names_the_data(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = read(task)
    monkeypatch.setattr(real, "_data", lambda task, folders: data)
    spec = record.Spec(
        recording=task,
        task=task,
        split="train",
        seed=0,
        difficulty="short",
        style="typical",
        layouts=("right",),
        themes=("dark",),
        episodes=2,
        source="real",
    )
    paths = record.outputs(spec, tmp_path)
    facts = record.run(spec, record.Inputs(), paths)
    archives = real.archives_of(task)
    assert facts is not None and facts.spec["data"]["digest"] == joint_digest(archives)
    assert facts.spec["data"]["package"].split() == [archive.name for archive in archives]
    recording = trajectory.read(paths.steps)
    assert recording.source.worlds == "real"
    replay = recording.open(1)
    assert len(list(replay.replay())) == len(replay.clicks) and replay.done


# The whole data.


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("difficulty", ["short", "full"])
def test_the_oracle_succeeds_in_worlds_of_the_whole_data(task: str, difficulty: str) -> None:
    if not all(map(cache.complete, real.archives_of(task))):
        pytest.skip(f"the data are not here: lastmile fetch real {task}")
    for split in SPLITS:
        for number in range(5):
            world = real.real_world(task, (0, number), split, difficulty)
            session = Session(get_task(task), world)
            work_on(session, "oracle", generator((0, number), task, "annotator"))
            assert session.score.success, (split, number, session.score)
