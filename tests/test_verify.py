"""Manifests, and the check of a folder of results against them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from lastmile import provenance
from lastmile.__main__ import main
from lastmile.provenance.verify import ManifestError, is_manifest, read_manifest, verify

SPEC = {"task": "colored_dots", "split": "test", "seed": 3, "episodes": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two recorded episodes, their tokens, and a figure, made by the verbs."""
    root = tmp_path_factory.mktemp("results")
    steps, tokens, table = (
        root / "trajectories" / "test.parquet",
        root / "tokens" / "test.tokens",
        root / "figures" / "probes.csv",
    )
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
    label = provenance.code_label("trajectory", ("colored_dots",))
    assert (
        main(["trajectories", "--spec", json.dumps(SPEC), "--out", str(steps), "--code", label])
        == 0
    )
    assert main(["tokens", "--trajectories", str(steps), "--out", str(tokens)]) == 0
    assert main(["manifest", "--outputs", str(table), "--inputs", str(tokens)]) == 0
    return root


@pytest.fixture
def results(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


def test_a_manifest_tells_all(made):
    manifest = read_manifest(made / "tokens" / "test.tokens.manifest.json")
    assert manifest["verb"] == "tokens" and manifest["inputs"].keys() == {
        "../trajectories/test.parquet",
        "../trajectories/test.episodes.parquet",
    }
    assert manifest["outputs"] == {
        "test.tokens": {
            "bytes": (made / "tokens" / "test.tokens").stat().st_size,
            "digest": provenance.file_digest(made / "tokens" / "test.tokens"),
        }
    }
    assert {"python", "numpy", "torch"} <= manifest["packages"].keys() and {
        "device",
        "threads",
        "seconds",
    } <= manifest["system"].keys()
    manifest = read_manifest(made / "trajectories" / "test.parquet.manifest.json")
    assert manifest["spec"] == SPEC and manifest["outputs"].keys() == {
        "test.parquet",
        "test.episodes.parquet",
    }
    assert manifest["code"]["label"] == provenance.code_label("trajectory", ("colored_dots",))
    assert {"trajectory.py", "tasks/colored_dots/world.py"} <= manifest["code"][
        "files"
    ].keys() and "tokens.py" not in manifest["code"]["files"]


def test_what_was_not_touched_is_as_it_was(capsys, results, monkeypatch):
    assert main(["verify", str(results)]) == 0
    assert capsys.readouterr().out == f"{results}: 4 files are as their 3 manifests say\n"
    assert main(["verify", str(results / "tokens")]) == 0
    assert "2 inputs lie elsewhere and were not opened" in capsys.readouterr().out
    monkeypatch.chdir(results / "tokens")
    assert main(["verify", "."]) == 0
    assert "2 inputs lie elsewhere and were not opened" in capsys.readouterr().out


def test_every_changed_byte_is_found(results):
    for path in sorted(path for path in results.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for place in sorted(
            {0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2, len(whole) - 1}
        ):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert any(str(path) in problem for problem in verify(results).problems), (path, place)
        path.write_bytes(whole)
    assert verify(results).problems == []


def test_every_missing_file_is_found(results):
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


def test_what_was_made_from_other_bytes_is_stale(results):
    """Recorded again with another seed: the recording is right, the tokens are of the one before."""
    steps = results / "trajectories" / "test.parquet"
    assert (
        main(["trajectories", "--spec", json.dumps({**SPEC, "seed": 4}), "--out", str(steps)]) == 0
    )
    told = [
        f"{results}/tokens/test.tokens.manifest.json: was made from other bytes than {results}/trajectories/{n} now has"
        for n in ("test.parquet",)
    ]
    assert set(told) <= set(verify(results).problems)
    assert not any(
        problem.startswith(str(results / "trajectories")) for problem in verify(results).problems
    )


def rewrite(path: Path, change) -> None:
    """A manifest with a change, and with the digest that belongs to it."""
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(provenance.manifest_text(manifest))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../secret", "..", "..\\secret", "sub/file"]
)
def test_an_output_outside_its_folder_is_not_opened(results, tmp_path, name):
    (tmp_path / "secret").write_text("secret")
    path = results / "tokens" / "test.tokens.manifest.json"
    rewrite(path, lambda manifest: manifest["outputs"].update({name: {"bytes": 6, "digest": "0"}}))
    with pytest.raises(ManifestError, match="leads outside its folder"):
        read_manifest(path)
    assert any(
        f"the output '{name}' leads outside its folder" in problem
        for problem in verify(results).problems
    )


def test_inputs_outside_the_folder_are_not_opened(results, tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("secret")
    path = results / "tokens" / "test.tokens.manifest.json"
    rewrite(
        path,
        lambda manifest: manifest["inputs"].update({"../../secret": {"bytes": 6, "digest": "0"}}),
    )
    opened, digest = [], provenance.file_digest
    monkeypatch.setattr(
        provenance, "file_digest", lambda item: (opened.append(Path(item).name), digest(item))[1]
    )
    report = verify(results)
    assert report.elsewhere == 1 and report.problems == [] and "secret" not in opened
    rewrite(
        path,
        lambda manifest: manifest["inputs"].update(
            {str(tmp_path / "secret"): {"bytes": 6, "digest": "0"}}
        ),
    )
    assert any("leads outside its folder" in problem for problem in verify(results).problems)


def test_a_link_that_leads_outside_is_found(results, tmp_path):
    path = results / "tokens" / "test.tokens"
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
def test_a_manifest_that_is_none_is_named(results, text):
    path = results / "tokens" / "test.tokens.manifest.json"
    path.write_text(text)
    with pytest.raises(ManifestError, match="test.tokens.manifest.json: "):
        read_manifest(path)


def test_a_folder_without_results(capsys, tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        assert main(["verify", str(folder)]) == 1
        assert str(folder) in capsys.readouterr().err


@pytest.mark.parametrize(
    "label",
    [
        "trajectory:colored_dots:0123456789abcdef",
        "nothing::0123456789abcdef",
        "trajectory:colored_cats:0",
        "x",
        "a:b:c/d",
    ],
)
def test_other_code_than_planned_is_refused(capsys, tmp_path, label):
    assert (
        main(
            [
                "trajectories",
                "--spec",
                json.dumps(SPEC),
                "--out",
                str(tmp_path / "x.parquet"),
                "--code",
                label,
            ]
        )
        == 1
    )
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and label in err
    assert not list(tmp_path.iterdir())


def test_code_edited_after_the_plan_is_named(monkeypatch, tmp_path):
    copy = shutil.copytree(
        provenance.ROOT, tmp_path / "lastmile", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(provenance, "ROOT", Path(copy))
    label = provenance.code_label("tokens", ("colored_dots",))
    provenance.check_code(label)
    with open(Path(copy) / "trajectory.py", "a") as handle:
        handle.write("# edited\n")
    provenance.fingerprint.cache_clear()
    with pytest.raises(provenance.CodeError, match="was edited after the plan"):
        provenance.check_code(label)
    provenance.imports.cache_clear()
    provenance.fingerprint.cache_clear()
