"""Manifests, and the check of a folder of results against them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conftest import RECORDING
from lastmile.cli import main
from lastmile.errors import LastmileError
from lastmile.pipeline.runner import run_stage
from lastmile.provenance import fingerprints, manifests
from lastmile.provenance import verify as verifying
from lastmile.provenance.fingerprints import code_label
from lastmile.provenance.manifests import (
    ManifestError,
    check_inputs,
    is_manifest,
    read_manifest,
    write_manifests,
)
from lastmile.provenance.verify import verify
from lastmile.storage import files

STEPS, TOKENS = "trajectories/colored_dots/test.parquet", "tokens/colored_dots/test.tokens"
CODE = ("pipeline.stages.record", ("tasks.colored_dots",))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recorded episodes, their tokens, and a table, made by stages."""
    root = tmp_path_factory.mktemp("results")
    table = root / "figures" / "probes.csv"
    table.parent.mkdir()
    rows = {
        "task": "colored_dots",
        "seed": 0,
        "target": "phase",
        "feature": ["encoder", "last"],
        "measure": "accuracy",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
    }
    pd.DataFrame(rows).to_csv(table, index=False)
    label = fingerprints.code_label(*CODE)
    run_stage("record", json.dumps(RECORDING), root, code=label)
    run_stage("tokenize", json.dumps({"task": "colored_dots", "split": "test"}), root)
    write_manifests("other", {}, label, [root / TOKENS], [table])
    return root


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


def test_a_manifest_tells_all(made: Path) -> None:
    manifest = read_manifest(made / f"{TOKENS}.manifest.json")
    assert manifest["stage"] == "tokenize" and manifest["inputs"].keys() == {
        "../../trajectories/colored_dots/test.parquet",
        "../../trajectories/colored_dots/test.episodes.parquet",
    }
    assert manifest["outputs"] == {
        "test.tokens": {
            "bytes": (made / TOKENS).stat().st_size,
            "digest": manifests.file_digest(made / TOKENS),
        }
    }
    assert {"python", "numpy", "torch"} <= manifest["packages"].keys() and {
        "device",
        "threads",
        "seconds",
    } <= manifest["system"].keys()
    manifest = read_manifest(made / f"{STEPS}.manifest.json")
    assert manifest["spec"] == RECORDING and manifest["outputs"].keys() == {
        "test.parquet",
        "test.episodes.parquet",
    }
    assert manifest["code"]["label"] == fingerprints.code_label(*CODE)
    assert {"simulation/trajectory.py", "tasks/colored_dots/world.py"} <= manifest["code"][
        "files"
    ].keys() and "simulation/tokens.py" not in manifest["code"]["files"]


def test_what_was_not_touched_is_as_it_was(
    capsys: pytest.CaptureFixture[str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["verify", str(results)]) == 0
    assert capsys.readouterr().out == f"{results}: 4 files match their 3 manifests\n"
    assert main(["verify", str(results / "tokens")]) == 0
    assert "2 inputs are elsewhere and were not read" in capsys.readouterr().out
    monkeypatch.chdir(results / "tokens")
    assert main(["verify", "."]) == 0
    assert "2 inputs are elsewhere and were not read" in capsys.readouterr().out


def test_every_changed_byte_is_found(results: Path) -> None:
    for path in sorted(path for path in results.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for place in sorted(
            {0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2, len(whole) - 1}
        ):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert any(str(path) in problem for problem in verify(results).problems), (path, place)
        path.write_bytes(whole)
    assert verify(results).problems == []


def test_every_missing_file_is_found(results: Path) -> None:
    for path in sorted(path for path in results.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        path.unlink()
        problems = verify(results).problems
        told = (
            f"{path}: is missing"
            if not is_manifest(path)
            else f"{path.name.removesuffix('.manifest.json')}: no manifest tells where it comes from"
        )
        assert any(told in problem for problem in problems), (path, problems)
        path.write_bytes(whole)


def test_what_was_made_from_other_bytes_is_stale(results: Path) -> None:
    """Recorded again with another seed.

    The recording is right, the tokens are of the one before.
    """
    run_stage("record", json.dumps({**RECORDING, "seed": 4}), results)
    told = f"{results / TOKENS}.manifest.json: was made from other bytes than {results / STEPS} now has"
    assert told in verify(results).problems
    assert not any(
        problem.startswith(str(results / "trajectories")) for problem in verify(results).problems
    )


def test_links_and_devices_are_named_and_not_opened(results: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").write_text("a")
    (results / "linked").symlink_to(tmp_path / "elsewhere")
    (results / "endless.manifest.json").symlink_to("/dev/zero")
    os.mkfifo(results / "waits.manifest.json")
    os.mkfifo(results / "waits.csv")
    problems = verify(results).problems
    for name in ("linked", "waits.csv"):
        assert f"{results / name}: no manifest tells where it comes from" in problems
    for name in ("endless", "waits"):
        assert f"{results / name}.manifest.json: is no regular file" in problems


def test_devices_are_not_replaced(tmp_path: Path) -> None:
    for kind, make in (("pipe", os.mkfifo), ("folder", os.mkdir)):
        path = tmp_path / kind
        make(path)
        with pytest.raises(LastmileError, match="is no regular file; it is not replaced"):
            files.write_text(path, "words")
        assert path.exists() and not path.is_file() and sorted(tmp_path.iterdir())[-1] == path
        if kind == "pipe":
            path.unlink()


def test_a_job_refuses_inputs_that_were_changed(results: Path) -> None:
    path = results / STEPS
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = (results / TOKENS).read_bytes()
    with pytest.raises(ManifestError, match=f"{path}: was changed after it was made"):
        run_stage("tokenize", json.dumps({"task": "colored_dots", "split": "test"}), results)
    assert (results / TOKENS).read_bytes() == before


def test_a_part_of_the_results_holds_by_itself(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables are kept, what they were made from is not: that is no damage."""
    shutil.rmtree(results / "tokens")
    assert main(["verify", str(results)]) == 0
    assert "1 input is not kept here" in capsys.readouterr().out


def test_mixed_versions_are_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = results / f"{TOKENS}.manifest.json"
    rewrite(path, lambda manifest: manifest["packages"].update({"numpy": "1.0"}))
    assert main(["verify", str(results)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"several versions: numpy: .*1\.0 in 1 manifests", said)
    assert "torch" not in said


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A manifest with a change, and with the digest that belongs to it."""
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(manifests.manifest_text(manifest))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../secret", "..", "..\\secret", "sub/file"]
)
def test_an_output_outside_its_folder_is_not_opened(
    results: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    path = results / f"{TOKENS}.manifest.json"
    rewrite(path, lambda manifest: manifest["outputs"].update({name: {"bytes": 6, "digest": "0"}}))
    with pytest.raises(ManifestError, match="leads outside its folder"):
        read_manifest(path)
    assert any(
        f"the output '{name}' leads outside its folder" in problem
        for problem in verify(results).problems
    )


def test_inputs_outside_the_folder_are_not_opened(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("secret")
    path = results / f"{TOKENS}.manifest.json"
    rewrite(
        path,
        lambda manifest: manifest["inputs"].update(
            {"../../../secret": {"bytes": 6, "digest": "0"}}
        ),
    )
    opened = []
    digest = verifying.file_digest

    def watched(item: Path) -> str:
        opened.append(item.name)
        return digest(item)

    monkeypatch.setattr(verifying, "file_digest", watched)
    report = verify(results)
    assert report.elsewhere == 1 and report.problems == [] and "secret" not in opened
    rewrite(
        path,
        lambda manifest: manifest["inputs"].update(
            {str(tmp_path / "secret"): {"bytes": 6, "digest": "0"}}
        ),
    )
    assert any("leads outside its folder" in problem for problem in verify(results).problems)


def test_a_link_that_leads_outside_is_found(results: Path, tmp_path: Path) -> None:
    path = results / TOKENS
    path.rename(tmp_path / "elsewhere.tokens")
    os.symlink(tmp_path / "elsewhere.tokens", path)
    assert any(problem.startswith(f"{path}: leads outside") for problem in verify(results).problems)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": "other"}',
        "[" * 100_000,
        '{"format": "lastmile.manifest/1"}',
    ],
)
def test_a_manifest_that_is_none_is_named(results: Path, text: str) -> None:
    path = results / f"{TOKENS}.manifest.json"
    path.write_text(text)
    with pytest.raises(ManifestError, match="test.tokens.manifest.json: "):
        read_manifest(path)


def test_a_folder_without_results(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert main(["verify", str(folder)]) == 1
        assert str(folder) in capsys.readouterr().err


@pytest.mark.parametrize(
    "label",
    [
        "pipeline.stages.record:tasks.colored_dots:0123456789abcdef",
        "nothing::0123456789abcdef",
        "pipeline.stages.record:tasks.colored_cats:0",
        "x",
        "a:b:c/d",
    ],
)
def test_other_code_than_planned_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, label: str
) -> None:
    spec = ["--spec", json.dumps(RECORDING), "--results", str(tmp_path), "--code", label]
    assert main(["stage", "record", *spec]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and label in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{", "--spec: expected JSON"),
        ("[]", "--spec: expected a JSON object"),
        ("{}", "'task' is missing"),
        (
            json.dumps({**RECORDING, "episodes": 0}),
            "'episodes': input should be greater than or equal",
        ),
        (json.dumps({**RECORDING, "episods": 1}), "'episods'; did you mean 'episodes'?"),
        (json.dumps({**RECORDING, "split": "tests"}), "'tests'"),
        (json.dumps({**RECORDING, "task": "colored_dot"}), "did you mean 'colored_dots'?"),
    ],
)
def test_a_wrong_spec_is_named_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, spec: str, words: str
) -> None:
    assert main(["stage", "record", "--spec", spec, "--results", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and words in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_missing_input_is_named_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A spec without its policy costs no time and no traceback."""
    spec = {"run": "none", "seed": 0, "task": "colored_dots", "temperature": 0.4, "max_steps": 1}
    arguments = ["--spec", json.dumps(spec), "--results", str(tmp_path)]
    assert main(["stage", "closed_loop", *arguments]) == 1
    missing = tmp_path / "models/none/seed0/config.json"
    expected = f"error: stage closed_loop: its input {missing} is missing\n"
    assert capsys.readouterr().err == expected


def test_what_is_no_manifest_of_an_input_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "my.manifest.json").write_text("{}")
    check_inputs([tmp_path / "a.csv"])
    write_manifests("study", {}, code_label("storage.files"), [], [tmp_path / "a.csv"])
    (tmp_path / "b.csv.manifest.json").write_text("{")
    (tmp_path / "b.csv").write_text("b")
    check_inputs([tmp_path / "a.csv"])
    with pytest.raises(ManifestError, match=r"b\.csv\.manifest\.json: not readable"):
        check_inputs([tmp_path / "b.csv"])
    (tmp_path / "a.csv").write_text("b")
    with pytest.raises(ManifestError, match=r"a\.csv: was changed .*; think"):
        check_inputs([tmp_path / "a.csv"], "think")


def test_inputs_are_read_once_but_changes_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, made = tmp_path / "source.csv", tmp_path / "made" / "made.csv"
    source.write_text("before")
    made.parent.mkdir()
    made.write_text("made")
    read = []
    digest = manifests.file_digest

    def counted(path: str | Path) -> str:
        read.append(Path(path).name)
        return digest(path)

    monkeypatch.setattr(manifests, "file_digest", counted)
    label = code_label("storage.files")
    write_manifests("study", {}, label, [], [source])
    read.clear()
    check_inputs([source])
    write_manifests("study", {}, label, [source], [made])
    assert read.count("source.csv") == 1

    state = source.stat()
    source.write_text("after!")  # as long, and with the same times
    os.utime(source, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(ManifestError, match=r"source\.csv: was changed"):
        check_inputs([source])
