"""Collect what a GPU machine without a package index needs to run lastmile (`make gpu-kit`).

    python scripts/gpu_kit.py --out build/gpu-kit

The machine is a bare x86-64 Linux that has a Python with torch and the packages of `ASSUMED`, and
gets a copy of the working tree. The other packages that the extra `workflow` needs come from
wheels of the versions in requirements.lock, unpacked into one folder. Use it with

    PYTHONPATH=build/gpu-kit/site:src python -m lastmile ...

The solvers of Snakemake's default scheduler are left out: it falls back to `--scheduler greedy`.
`contents.txt` lists the name, version and SHA-256 of every wheel, and the versions that these
packages, and lastmile itself, expect of the packages that are not in the kit. A second call reads
the wheels of the first one, without a network. Exit status 1 if a wheel is missing or the kit and
the working tree together are too large to copy.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.parser import Parser
from fnmatch import fnmatchcase
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 64 * 2**20
"""Bytes that the working tree and the unpacked kit may have together."""
EXTRA = "workflow"
ASSUMED = (
    # Usual on a machine for deep learning, so the kit leaves them out: most are large, or compiled
    # against each other. What is missing here and needed is carried, whatever the machine has.
    # So typing-extensions is not named: pydantic asks for a recent one, and it is a single file.
    "attrs",
    "click",
    "cloudpickle",
    "jinja2",
    "matplotlib",
    "numpy",
    "opencv-python-headless",
    "packaging",
    "pandas",
    "pillow",
    "psutil",
    "pyarrow",
    "pytorch-lightning",
    "pyyaml",
    "requests",
    "safetensors",
    "scikit-learn",
    "scipy",
    "seaborn",
    "tabulate",
    "torch",
    "wrapt",
)
"""Packages that the machine already has, with all that they need, by canonical name."""
SOURCE_ONLY = ("connection-pool",)
"""Pure Python packages that the index has no wheel of; theirs are built here."""
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_24_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
)
UNUSED = (
    "*/test/*",
    "*/tests/*",
    "*/docs/*",
    "*/__pycache__/*",
    "*.pyc",
    # Sources and stubs of compiled modules.
    *("*.c", "*.cpp", "*.h", "*.hpp", "*.pxd", "*.pyi", "*.pyx"),
    # Says which files were unpacked, which no longer holds; lists of parts.
    "*.dist-info/RECORD",
    "*.dist-info/sboms/*",
    # Solvers for every platform; Snakemake's greedy scheduler needs none.
    "pulp/solverdir/*",
    # Parts of the pages of `snakemake --report`; our report has its own.
    "snakemake/assets/data/*",
    # The other binding of the same library, for PyPy.
    "zstandard/_cffi*",
    # The workflow has no database: its speedups, which have twins in Python, and its servers.
    "sqlalchemy/cyextension/*.so",
    *(f"sqlalchemy/dialects/{name}/*" for name in ("mssql", "mysql", "oracle", "postgresql")),
    "sqlalchemy/testing/*",
    # Models and pictures of robots and games.
    "gymnasium/envs/*/assets/*",
    "gymnasium/envs/*/img/*",
)
"""Patterns of files that are not unpacked."""


def environment(python: str) -> dict[str, str]:
    """Return what the markers of requirements see on the machine, for Python `python` (`3.12`)."""
    return {
        "extra": "",
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def own_requirements(project: Mapping[str, object], extra: str) -> list[str]:
    """Return the requirements of a `[project]` table and one extra, extras of itself expanded."""
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)

    def expanded(items: Iterable[str]) -> Iterable[str]:
        for item in items:
            requirement = Requirement(item)
            if requirement.name == project["name"]:
                for name in sorted(requirement.extras):
                    yield from expanded(extras[name])
            else:
                yield item

    dependencies = project["dependencies"]
    assert isinstance(dependencies, list)
    return [*expanded(dependencies), *expanded(extras[extra])]


def resolve(
    roots: Iterable[str], fetch: Callable[[Sequence[str]], Mapping[str, list[str]]], python: str
) -> tuple[list[str], list[str]]:
    """Find all packages that are needed, directly or through others.

    Args:
        roots: Requirements to begin with, as in pyproject.toml.
        fetch: Takes canonical names of packages and returns the requirements of each.
        python: The machine's version of Python, such as `3.12`.

    Returns:
        The sorted names of the packages to carry, and the sorted requirements that the packages
        of `ASSUMED` must meet.
    """
    carried: set[str] = set()
    expected: set[str] = set()
    pending = list(roots)
    while pending:
        names = set()
        for requirement in map(Requirement, pending):
            if requirement.marker and not requirement.marker.evaluate(environment(python)):
                continue
            name = canonicalize_name(requirement.name)
            if name in ASSUMED:
                expected.add(f"{name}{requirement.specifier}")
            else:
                names.add(name)
        # One fetch per level, not per package: each is a call of pip.
        new = sorted(names - carried)
        carried.update(new)
        pending = [item for items in fetch(new).values() for item in items] if new else []
    return sorted(carried), sorted(expected)


def locked_versions(lock: str) -> dict[str, str]:
    """Return the version of each package, by canonical name, from the text of a lock file."""
    pairs = re.findall(r"^([\w.-]+)==(\S+)$", lock, flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pairs}


def wheels_in(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the wheels of a folder by canonical name and version."""
    wheels = {}
    for path in folder.glob("*.whl"):
        name, version, _, _ = parse_wheel_filename(path.name)
        wheels[str(name), str(version)] = path
    return wheels


def requirements_of(wheel: Path) -> list[str]:
    """Return the requirements in the METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [
            name
            for name in archive.namelist()
            if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
        ]
        text = archive.read(member).decode("utf-8")
    return Parser().parsestr(text, headersonly=True).get_all("Requires-Dist", [])


def download(names: Sequence[str], versions: Mapping[str, str], folder: Path, python: str) -> None:
    """Put the wheels of packages into a folder, but for those that are there.

    Raises:
        SystemExit: If a package has no locked version, or pip finds no wheel of it.
    """
    unlocked = [name for name in names if name not in versions]
    if unlocked:
        sys.exit(f"error: requirements.lock has no version of {', '.join(unlocked)}; add them")
    present = wheels_in(folder)
    missing = [name for name in names if (name, versions[name]) not in present]
    built = [name for name in missing if name in SOURCE_ONLY]
    fetched = [name for name in missing if name not in SOURCE_ONLY]

    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    target += [f"--platform={platform}" for platform in PLATFORMS]
    commands = []
    if fetched:
        commands.append([*pip, "download", "--no-deps", *target, "--dest", str(folder)])
        commands[-1] += [f"{name}=={versions[name]}" for name in fetched]
    if built:
        commands.append([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder)])
        commands[-1] += [f"{name}=={versions[name]}" for name in built]
    for command in commands:
        # A fixed time in the archives: the same source makes the same wheel.
        if subprocess.run(command, env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"}).returncode:
            sys.exit(
                "error: pip found no wheel; is the package index reachable (pip config list)?"
                " A pure Python package without wheels belongs into SOURCE_ONLY of this script."
            )
    for name in built:
        wheel = wheels_in(folder)[name, versions[name]]
        if not wheel.name.endswith("-none-any.whl"):
            wheel.unlink()
            sys.exit(f"error: {name} is not pure Python: built here, it may not run elsewhere")


def unpacked_path(member: str) -> str | None:
    """Return where a file of a wheel goes in the folder of packages, or None if it is not used."""
    # Wheels may keep modules in NAME.data/purelib; its other folders hold scripts and headers.
    data = re.fullmatch(r"[^/]+\.data/([^/]+)/(.+)", member)
    if data:
        if data[1] not in ("purelib", "platlib"):
            return None
        member = data[2]
    if member.endswith("/") or any(fnmatchcase(member, pattern) for pattern in UNUSED):
        return None
    return member


def unpack(wheel: Path, site: Path) -> None:
    """Unpack the files of a wheel that are used."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            relative = unpacked_path(member)
            if relative is not None:
                path = site / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(member))


def strip_symbols(site: Path) -> None:
    """Shrink compiled modules, some tenfold, where binutils are installed."""
    modules = [str(path) for path in sorted(site.rglob("*.so"))]
    strip = shutil.which("strip")
    if strip and modules:
        subprocess.run([strip, "--strip-unneeded", *modules], check=True)


def folder_size(folder: Path) -> int:
    """Return the bytes in the files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def tree_size(root: Path) -> int:
    """Return the bytes in the files of a working tree that git does not ignore."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout
    paths = [root / name for name in set(names.split("\0")) - {""}]
    return sum(path.lstat().st_size for path in paths if path.is_file())


def size_report(tree: int, kit: int) -> str:
    """Describe the sizes, in bytes, of the working tree and the kit.

    Raises:
        SystemExit: If they exceed `LIMIT` together.
    """
    report = (
        f"{tree / 2**20:.1f} MiB of working tree and {kit / 2**20:.1f} MiB of kit,"
        f" {(tree + kit) / 2**20:.1f} of {LIMIT / 2**20:.0f} MiB"
    )
    if tree + kit > LIMIT:
        sys.exit(
            f"error: {report}: too large to copy; remove or ignore large files of the tree, or"
            " leave out more of the packages (UNUSED, ASSUMED)"
        )
    return report


def contents(wheels: Iterable[Path], expected: Iterable[str]) -> str:
    """Return the text of contents.txt."""
    lines = ["# Packages of this kit: name, version, SHA-256 of the wheel."]
    for wheel in sorted(wheels, key=lambda path: path.name.lower()):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        lines.append(f"{name} {version} {hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    lines.append("# What they and lastmile expect of the machine's packages:")
    return "\n".join([*lines, *(f"# {requirement}" for requirement in expected), ""])


def main() -> None:
    """Make the kit that the command line asks for."""
    parser = argparse.ArgumentParser(description="Collect packages for an offline GPU machine.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the kit")
    parser.add_argument("--python", default="3.12", help="Python version of the machine")
    options = parser.parse_args()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = locked_versions((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    folder = options.out / "wheels" / options.python
    folder.mkdir(parents=True, exist_ok=True)

    def fetch(names: Sequence[str]) -> dict[str, list[str]]:
        download(names, versions, folder, options.python)
        present = wheels_in(folder)
        return {name: requirements_of(present[name, versions[name]]) for name in names}

    names, expected = resolve(own_requirements(project, EXTRA), fetch, options.python)
    present = wheels_in(folder)
    wheels = [present[name, versions[name]] for name in names]

    # Made beside the kit that may be there, which stays whole until this one is complete.
    partial, site = options.out / "site.partial", options.out / "site"
    shutil.rmtree(partial, ignore_errors=True)
    for wheel in wheels:
        unpack(wheel, partial)
    strip_symbols(partial)
    report = size_report(tree_size(ROOT), folder_size(partial))
    shutil.rmtree(site, ignore_errors=True)
    partial.rename(site)
    (options.out / "contents.txt").write_text(contents(wheels, expected), encoding="utf-8")
    print(f"{site}: {len(wheels)} packages for Python {options.python}; {report}")


if __name__ == "__main__":
    main()
