"""The kit for GPU machines without a package index (`make gpu-kit`), without a network."""

from __future__ import annotations

import importlib.util
import subprocess
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def gpu_kit(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_kit", root / "scripts" / "gpu_kit.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, name: str, files: dict[str, str], needs: Sequence[str] = ()) -> Path:
    """Write a wheel of version 1.0 with these files and requirements."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    metadata += "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"{metadata}\nRequires-Dist: prose\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


def test_needs_are_followed_through_metadata(gpu_kit: ModuleType, tmp_path: Path) -> None:
    needs = {
        "first": ["Second.Part>=2", "numpy>=1.26", 'old; python_version < "3.12"'],
        "second-part": ["first", 'third[speed]; sys_platform == "linux"', 'tests; extra == "test"'],
        "third": [],
    }
    wheels = {name: wheel(tmp_path, name.replace("-", "_"), {}, needs[name]) for name in needs}
    asked = []

    def fetch(names: Sequence[str]) -> dict[str, list[str]]:
        asked.append(list(names))
        return {name: gpu_kit.requirements_of(wheels[name]) for name in names}

    names, expected = gpu_kit.resolve(["first>=1", "torch>=2.6"], fetch, "3.12")
    assert names == ["first", "second-part", "third"]
    assert expected == ["numpy>=1.26", "torch>=2.6"]
    assert asked == [["first"], ["second-part"], ["third"]]


def test_kit_begins_with_what_the_workflow_needs(gpu_kit: ModuleType, root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    roots = gpu_kit.own_requirements(project, gpu_kit.EXTRA)
    names, _ = gpu_kit.resolve(roots, lambda names: dict.fromkeys(names, []), "3.12")
    assert names == ["gymnasium", "platformdirs", "pydantic", "snakemake", "zstandard"]
    versions = gpu_kit.locked_versions((root / "requirements.lock").read_text(encoding="utf-8"))
    assert versions.keys() >= {*names, *gpu_kit.ASSUMED, *gpu_kit.SOURCE_ONLY}


def test_only_used_files_are_unpacked(gpu_kit: ModuleType, tmp_path: Path) -> None:
    used = ("part/__init__.py", "part/testing.py", "part/data/table.json", "part/py.typed")
    unused = (
        "part/tests/__init__.py",
        "part/deep/test/data.bin",
        "part/docs/index.rst",
        "part/__pycache__/part.cpython-312.pyc",
        "part/fast.pyx",
        "pulp/solverdir/cbc/linux/cbc",
        "part-1.0.data/scripts/part",
    )
    files = dict.fromkeys((*used, *unused, "part-1.0.data/purelib/moved/module.py"), "")
    site = tmp_path / "site"
    gpu_kit.unpack(wheel(tmp_path, "part", files), site)
    found = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert found == {*used, "moved/module.py", "part-1.0.dist-info/METADATA"}


def test_wheels_that_are_there_are_not_downloaded(
    gpu_kit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(gpu_kit.subprocess, "run", run)
    wheel(tmp_path, "part", {})
    gpu_kit.download(["part"], {"part": "1.0"}, tmp_path, "3.12")
    assert commands == []
    with pytest.raises(SystemExit, match="error: pip found no wheel"):
        gpu_kit.download(["part"], {"part": "2.0"}, tmp_path, "3.12")
    assert commands[0][-1] == "part==2.0" and "--python-version=3.12" in commands[0]
    with pytest.raises(SystemExit, match="no version of other"):
        gpu_kit.download(["other"], {"part": "1.0"}, tmp_path, "3.12")


def test_contents_name_wheels_and_expectations(gpu_kit: ModuleType, tmp_path: Path) -> None:
    paths = [wheel(tmp_path, name, {}) for name in ("second_part", "first")]
    lines = gpu_kit.contents(paths, ["numpy>=1.26"]).splitlines()
    packages = [line.split() for line in lines if not line.startswith("#")]
    assert [package[:2] for package in packages] == [["first", "1.0"], ["second-part", "1.0"]]
    assert all(len(digest) == 64 for _, _, digest in packages)
    assert lines[-1] == "# numpy>=1.26"


def test_too_large_a_kit_is_an_error(gpu_kit: ModuleType) -> None:
    half = gpu_kit.LIMIT // 2
    assert "64.0 of 64 MiB" in gpu_kit.size_report(half, half)
    with pytest.raises(SystemExit, match="error: .*too large to copy"):
        gpu_kit.size_report(half, half + 1)


def test_size_of_the_tree_leaves_out_what_git_ignores(gpu_kit: ModuleType, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("build/\n")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "large").write_bytes(bytes(1000))
    (tmp_path / "tracked").write_bytes(bytes(100))
    (tmp_path / "gone").write_bytes(bytes(10))
    subprocess.run(["git", "add", "tracked", "gone"], cwd=tmp_path, check=True)
    (tmp_path / "gone").unlink()
    (tmp_path / "new").write_bytes(bytes(20))
    assert gpu_kit.tree_size(tmp_path) == len("build/\n") + 100 + 20
