"""Damaged results: found without reading what nobody touched, put aside, and never anything else."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import RECORDING, flip
from fault_log import class_of, fault
from lastmile.pipeline import damage, lock
from lastmile.pipeline.runner import run_stage
from lastmile.pipeline.stage import files_of, parse_spec
from lastmile.pipeline.stages import get_stage
from lastmile.provenance.manifests import ManifestReadError
from lastmile.storage import files, locks
from lastmile.training import devices, processes

SPECS = {
    "record": json.dumps(RECORDING),
    "tokenize": json.dumps({"task": "colored_dots", "split": "test"}),
}
STEPS, EPISODES = (
    f"trajectories/colored_dots/test.{name}" for name in ("parquet", "episodes.parquet")
)
TOKENS = "tokens/colored_dots/test.tokens"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    for stage, spec in SPECS.items():
        run_stage(stage, spec, root)
    return root


@pytest.fixture
def results(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the results in a folder in which Snakemake has worked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    return Path(shutil.copytree(made, tmp_path / "results" / "x")).relative_to(tmp_path)


def outputs(results: Path) -> list[tuple[Path, ...]]:
    """The outputs of both jobs."""
    jobs = []
    for name, spec in SPECS.items():
        stage = get_stage(name)
        jobs.append(tuple(files_of(stage.outputs(parse_spec(stage.Spec, spec), results))))
    return jobs


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


MANIFEST = f"{STEPS}.manifest.json"
DAMAGES: list[tuple[str, str, Callable[[Path], object], set[str]]] = [
    (TOKENS, "a bit flipped", flip, {TOKENS}),
    (TOKENS, "cut", cut, {TOKENS}),
    (TOKENS, "emptied", lambda path: path.write_bytes(b""), {TOKENS}),
    (
        EPISODES,
        "bytes appended",
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        {EPISODES},
    ),
    (TOKENS, "replaced by a folder", replace_by_folder, {TOKENS}),
    (TOKENS, "replaced by a link", replace_by_link, {TOKENS}),
    (TOKENS, "deleted", Path.unlink, set()),  # Snakemake itself makes again what is missing
    (MANIFEST, "deleted", Path.unlink, {STEPS, EPISODES}),
    (MANIFEST, "a bit flipped", flip, {STEPS, EPISODES, MANIFEST}),
    (MANIFEST, "cut", cut, {STEPS, EPISODES, MANIFEST}),
    (MANIFEST, "replaced", lambda path: path.write_text("{}"), {STEPS, EPISODES, MANIFEST}),
]


@pytest.mark.parametrize("name, kind, change, expected", DAMAGES)
def test_damage_is_put_aside(
    results: Path, name: str, kind: str, change: Callable[[Path], object], expected: set[str]
) -> None:
    with fault(kind, class_of(name), "put aside or missing, and nothing else touched"):
        put_aside(results, name, change, expected)


def put_aside(
    results: Path, name: str, change: Callable[[Path], object], expected: set[str]
) -> None:
    """Damage a result: it is put aside, and looking at it changes nothing."""
    assert damage.mend(results, outputs(results)) == 0
    change(results / name)
    before = contents(results)
    named = {found.path for found in damage.find(outputs(results), damage.Checked())}
    damage.report(results, outputs(results))
    assert contents(results) == before, "looking changes nothing"
    assert named == {results / path for path in expected}

    assert damage.mend(results, outputs(results)) == len(expected)
    now = contents(results)
    assert {path: now[f"{damage.ASIDE}/{path}"] for path in expected & before.keys()} == {
        path: before[path] for path in expected & before.keys()
    }
    assert {path for path in now if not path.startswith(damage.ASIDE)} == before.keys() - expected
    assert damage.mend(results, outputs(results)) == 0


def test_damage_again_is_kept_beside_the_first(results: Path) -> None:
    first = (results / TOKENS).read_bytes()
    for _ in range(2):
        (results / TOKENS).write_bytes(first)
        cut(results / TOKENS)
        assert damage.mend(results, outputs(results)) == 1
    kept = sorted(path.name for path in (results / damage.ASIDE / TOKENS).parent.iterdir())
    assert kept == ["test.tokens", "test.tokens.2"]


def test_nothing_of_the_user_is_touched(results: Path) -> None:
    """Not even what has the name of a manifest."""
    for name in ("manifest.json", "my.manifest.json", f"{Path(TOKENS).parent}/a.manifest.json"):
        (results / name).write_text("{}")
    (results / "my").write_text("notes")
    before = contents(results)
    assert damage.mend(results, outputs(results)) == 0
    assert contents(results) == before


def test_what_nobody_touched_is_not_read(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage.mend(results, outputs(results))

    def read(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(damage, "file_digest", read)
    monkeypatch.setattr(damage, "read_manifest", read)
    assert damage.mend(results, outputs(results)) == 0
    flip(results / TOKENS)
    with pytest.raises(AssertionError, match="was read"):
        damage.mend(results, outputs(results))


@pytest.mark.parametrize("memory", ["", "[]", "{", f'{{"results/x/{TOKENS}": 3}}', "\0" * 100])
def test_a_damaged_memory_only_costs_time(results: Path, memory: str) -> None:
    damage.mend(results, outputs(results))
    damage.MEMORY.write_text(memory)
    flip(results / TOKENS)
    assert damage.mend(results, outputs(results)) == 1


@pytest.mark.parametrize("name", [TOKENS, MANIFEST])
def test_an_error_that_passes_is_no_damage(
    results: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = contents(results)
    read_text = Path.read_text
    error = OSError(errno.EIO, "Input/output error")

    def fails(path: Path, *args: object, **kwargs: object) -> str:
        if path == results / name:
            raise error
        return original(path, *args, **kwargs)

    if name == MANIFEST:
        original: Callable[..., str] = Path.read_text
        monkeypatch.setattr(Path, "read_text", fails)
    else:
        original = damage.file_digest
        monkeypatch.setattr(damage, "file_digest", fails)
    with pytest.raises((OSError, ManifestReadError), match="Input/output error"):
        damage.mend(results, outputs(results))
    monkeypatch.setattr(Path, "read_text", read_text)
    assert contents(results) == before


def test_results_are_verified_once(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file without a manifest is named and left alone; what does not fit is put aside."""
    (results / "notes.txt").write_text("mine")
    assert damage.verified(results)
    assert (
        "notes.txt: no manifest tells where it comes from (left alone)" in capsys.readouterr().err
    )
    with monkeypatch.context() as patch:
        patch.setattr(damage, "verify", None)
        assert damage.verified(results)
    # Another recording with its own, right manifest: the tokens were made from other bytes.
    run_stage("record", json.dumps({**RECORDING, "seed": 4}), results)
    assert not damage.verified(results)
    assert "was made from other bytes than" in capsys.readouterr().err
    assert not (results / TOKENS).exists() and (results / damage.ASIDE / TOKENS).exists()
    assert (results / STEPS).exists() and (results / "notes.txt").exists()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_where_there_are_no_locks_training_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    def no_locks(handle: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with processes.alone(tmp_path):
        assert "has no locks" in capsys.readouterr().err
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "device_name", lambda number: f"gpu-{number}")
    with devices.device_slot(tmp_path) as gpus:
        assert gpus == [0]


def test_another_error_of_a_lock_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(handle: object, operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(locks.fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output error"), processes.alone(tmp_path):
        pass


def test_a_snakemake_that_is_about_to_end_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lock, "PATIENCE", 0)
    monkeypatch.setattr(lock, "_held", None)
    lock.claim()
    other = lock._held
    assert other is not None
    with pytest.raises(lock.WorkplaceError, match=rf"another Snakemake \(process {os.getpid()} on"):
        lock.claim()

    monkeypatch.setattr(lock, "_held", other)
    lock._mark_ending()
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: other.close())  # it ends meanwhile
    lock.claim()
    assert lock._held is not None and lock._held is not other
    assert str(lock.holder()) == f"process {os.getpid()} on {files.HOST}"
    lock._held.close()
