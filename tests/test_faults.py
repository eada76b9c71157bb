"""Faults put into a small study: kills, loss of power, a full disk, two Snakemakes, files changed under their readers, a clock that goes back.
After each of them the same command ends with the results of an undisturbed run, byte for byte. Two
undisturbed runs are thereby alike as well.

`make test-faults` runs them; they take minutes."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from conftest import SETTINGS, flip
from fault_log import class_of, fault
from lastmile.pipeline import damage, lock
from lastmile.pipeline.stage import files_of, parse_spec
from lastmile.pipeline.stages import get_stage
from lastmile.provenance import verify as verifying
from lastmile.provenance.manifests import is_manifest
from lastmile.provenance.verify import verify
from lastmile.storage import files
from lastmile.studies.emergence import study as emergence

pytestmark = pytest.mark.xdist_group("faults")
STUDY = {
    "name": "fault",
    "tasks": ["colored_dots"],
    "episodes": {"train": 8, "validation": 2, "test": 4, "shared_test": 2},
    "training": {"frames": 1000},
    "scaling": {"sizes": ["xs"], "episodes": []},
    "transfer": {"held_out": []},
}
POLICY = "results/fault/models/colored_dots/seed0/policy.safetensors"
PATIENCE = 3600
"""Seconds after which something hangs, also on a machine that does other work."""


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != lock.PARENT}
    return {
        **kept,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # every job would compile the package again
        "PYTHONPATH": os.pathsep.join(
            [str(folder / "src"), *kept.get("PYTHONPATH", "").split(os.pathsep)]
        ),
    }


in_proc = pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="finds its victims in /proc"
)


def start(
    folder: Path, *arguments: str, words: tuple[str, ...] = ("--cores", "2")
) -> subprocess.Popen:
    """Snakemake on the small study, in a session of its own."""
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        *words,
        *arguments,
        "--configfile",
        "workflow/presets/smoke.yaml",
        "study.yaml",
    ]
    with open(folder / "said.txt", "wb") as said:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(folder: Path, *targets: str, words: tuple[str, ...] = ("--cores", "2")) -> str:
    """Snakemake left alone: what it says. It must succeed."""
    process = start(folder, *targets, words=words)
    code = process.wait(PATIENCE)
    said = (folder / "said.txt").read_text(errors="replace")
    assert code == 0, said[-6000:]
    return said


def jobs(folder: Path, verb: str | None = None) -> list[int]:
    """Processes that run a stage, or any, in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if (
                    words[1:4] == [b"-m", b"lastmile", b"stage"]
                    and (verb is None or words[4] == verb.encode())
                    and os.readlink(entry / "cwd") == str(folder)
                ):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def when(condition: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    """What a condition gives as soon as it gives something, while a process runs."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert process.poll() is None, "ended before the fault could be put in"
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def kill_job(
    folder: Path, target: str, verb: str, ready: Callable[[], object] = lambda: True
) -> None:
    """Start the study, SIGKILL the first job with this verb, and see Snakemake end with a failure."""
    with fault("job killed", verb, "Snakemake ends with a failure, and the next run resumes"):
        process = start(folder, target)
        found = when(lambda: ready() and jobs(folder, verb), process)
        os.kill(found[0], signal.SIGKILL)
        assert process.wait(PATIENCE) != 0


def progress(folder: Path) -> int:
    """Lines of progress of the training."""
    return sum(
        path.read_bytes().count(b"\n") for path in (folder / "runs").glob("*/progress.jsonl")
    )


MEASURED = re.compile(r"^(logs|benchmarks)/|(^|/)(report|runs|findings|speed|scaling)[^/]*\.\w+$")
"""What tells times.

Logs and benchmarks, the report, the table of trainings, and what has frames per second among its
numbers.
"""


def results(folder: Path) -> dict[str, bytes]:
    """All that must be alike."""
    root = folder / "results" / "fault"
    names = {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*")
        if path.is_file() and not is_manifest(path)
    }
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if not MEASURED.search(name) and not name.startswith(f"{damage.ASIDE}/")
    }


def alike(folder: Path, reference: dict[str, bytes]) -> None:
    found = results(folder)
    assert sorted(found) == sorted(reference)
    assert [name for name in found if found[name] != reference[name]] == []
    report = verify(folder / "results" / "fault")
    assert report.problems == []
    assert not [path for path in folder.rglob("*.part") if ".snakemake" not in path.parts]


def copy(root: Path, folder: Path) -> Path:
    """The workflow and the package, without results."""
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(root / name, folder)
    for name in ("rules", "profiles", "workflow", "src"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study as far as a policy, with all recordings."""
    folder = copy(root, tmp_path_factory.mktemp("undisturbed").resolve())
    finish(folder, POLICY, "trajectories")
    return folder


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study as far as its report."""
    folder = copy(root, tmp_path_factory.mktemp("whole").resolve())
    finish(folder, "all")
    return folder


def kill_on_the_way(folder: Path, target: str) -> None:
    """SIGKILL of a data job, of Snakemake while it trains, and of a training, one after the other."""
    kill_job(folder, target, "record")

    process = start(folder, target)
    when(lambda: progress(folder) >= 2, process)
    trained = jobs(folder, "train")
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while any(files.alive(job) for job in trained) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert trained and not any(files.alive(job) for job in trained), (
        "the training outlived its Snakemake"
    )
    assert list((folder / ".snakemake" / "locks").iterdir()), "Snakemake has left its lock"

    before = progress(folder)
    kill_job(folder, target, "train", lambda: progress(folder) > before)
    assert "its lock was removed" in (folder / "said.txt").read_text()


@in_proc
@pytest.mark.slow
def test_kills(root: Path, undisturbed: Path, tmp_path: Path) -> None:
    folder = copy(root, tmp_path.resolve())
    kill_on_the_way(folder, POLICY)
    assert "rule record" not in finish(folder, POLICY), "what was done is done again"
    finish(folder, "trajectories")
    alike(folder, results(undisturbed))
    assert (
        "resuming after update"
        in next(
            path
            for path in (folder / "results" / "fault" / "logs" / "train").rglob(
                "colored_dots.seed0.log"
            )
        ).read_text()
    )


@in_proc
@pytest.mark.slow
def test_kills_to_the_end(root: Path, whole: Path, tmp_path: Path) -> None:
    """The same, and SIGKILL of the drawing of a figure."""
    folder = copy(root, tmp_path.resolve())
    kill_on_the_way(folder, "all")
    policies = "results/fault/models/*/seed*/manifest.json"
    wanted = len(list(whole.glob(policies)))
    kill_job(folder, "all", "figure", lambda: len(list(folder.glob(policies))) == wanted)
    said = finish(folder, "all")
    assert "rule train" not in said and "rule record" not in said, "what was done is done again"
    alike(folder, results(whole))


@pytest.mark.slow
def test_a_second_snakemake_is_told_of_the_first(undisturbed: Path) -> None:
    """And by us, before Snakemake recommends to unlock."""
    for path in (undisturbed / "results" / "fault" / "trajectories").rglob("*.parquet"):
        path.unlink()
    process = start(undisturbed, "trajectories")
    stopped = when(lambda: jobs(undisturbed, "record"), process)
    second = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "1",
        "trajectories",
        "--configfile",
        "workflow/presets/smoke.yaml",
        "study.yaml",
    ]
    given: dict[str, Any] = {
        "cwd": undisturbed,
        "env": environment(undisturbed),
        "capture_output": True,
        "text": True,
    }
    os.kill(
        stopped[0], signal.SIGSTOP
    )  # so that the first one does not end before the second one asks
    try:
        done = subprocess.run(second, **given)
        assert "--unlock" not in done.stdout + done.stderr
        assert done.returncode != 0 and re.search(
            rf"another Snakemake \(process {process.pid} on .*\) works in",
            done.stdout + done.stderr,
        )
        assert "Traceback" not in done.stderr
    finally:
        os.kill(stopped[0], signal.SIGCONT)
    assert process.wait(PATIENCE) == 0


def lose_power(folder: Path) -> list[str]:
    """Lose power: return the classes of files.

    Cut every file short, or to nothing: results, manifests, checkpoints, snapshots."""
    found = [
        path
        for path in sorted((folder / "results" / "fault").rglob("*"))
        if path.is_file() and not set(path.parts) & {"logs", "benchmarks"}
    ]
    for number, path in enumerate(found):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if number % 2 else b"")
    for path in (folder / "runs").glob("*/*"):
        if path.suffix != ".lock":
            path.write_bytes(path.read_bytes()[:-20])
    return [class_of(path.relative_to(folder / "results" / "fault").as_posix()) for path in found]


def change(folder: Path, *names: str) -> None:
    """Change a byte in the middle of files with these names."""
    for name in names:
        root = folder / "results" / "fault"
        path = root / next(one for one in all_names(folder) if one.endswith(f"/{name}"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


@pytest.mark.slow
def test_loss_of_power(undisturbed: Path) -> None:
    before = results(undisturbed)
    lost = lose_power(undisturbed)
    with fault("power lost: cut short or emptied", lost):
        assert "its manifest is damaged" in finish(undisturbed, POLICY, "trajectories")
        alike(undisturbed, before)
    change(undisturbed, "train.tokens", "policy.safetensors")
    assert finish(undisturbed, POLICY).count("was changed after it was made; it was moved") == 2
    alike(undisturbed, before)


@pytest.mark.slow
def test_loss_of_power_to_the_end(whole: Path) -> None:
    before = results(whole)
    lost = lose_power(whole)
    with fault("power lost: cut short or emptied", lost):
        finish(whole, "all")
        alike(whole, before)
    change(whole, "test.tokens", "skills.parquet", "emergence.csv")
    assert finish(whole, "all").count("was changed after it was made; it was moved") == 3
    alike(whole, before)


def replace(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "a bit flipped": flip,
    "replaced": replace,
}


def all_names(folder: Path) -> list[str]:
    """Every file of the results, manifests and what tells times included."""
    root = folder / "results" / "fault"
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    return sorted(name for name in names if name.split("/")[0] not in verifying.NO_RESULTS)


def damage_at_random(folder: Path, rng: random.Random, most: int = 3) -> list[tuple[str, str]]:
    """Damage up to `most` files of the results and of runs/; return what was done to what."""
    root = folder / "results" / "fault"
    work = [path for path in (folder / "runs").glob("*/*") if path.suffix != ".lock"]
    found = sorted(root / name for name in all_names(folder)) + sorted(work)
    told = []
    for path in rng.sample([path for path in found if path.stat().st_size], rng.randint(1, most)):
        name = rng.choice([*DAMAGES])
        DAMAGES[name](path)
        told.append((name, path.relative_to(folder).as_posix()))
    if rng.random() < 0.2 and (folder / "runs").exists():
        shutil.rmtree(folder / "runs")
        told.append(("deleted", "runs/"))
    return told


@contextmanager
def recorded(told: list[tuple[str, str]]) -> Iterator[None]:
    """Record damage, by kind of file, and whether it heals in the block."""
    with ExitStack() as stack:
        for name, path in told:
            stack.enter_context(fault(name, class_of(path.removeprefix("results/fault/"))))
        yield


@pytest.mark.slow
def test_damage_heals(undisturbed: Path) -> None:
    """Whatever is damaged, the same command ends with the files of an undisturbed run."""
    finish(undisturbed, POLICY, "trajectories")
    before, names = results(undisturbed), all_names(undisturbed)
    wanted = [f"results/fault/{name}" for name in before]
    told = damage_at_random(undisturbed, random.Random(0))
    with recorded(told):
        finish(undisturbed, *wanted)
        assert all_names(undisturbed) == names, told
        alike(undisturbed, before)


KILLED = ("job", "workflow", "all at once")


def kill_at_random(folder: Path, rng: random.Random) -> list[tuple[str, str]]:
    """Lose a result, and SIGKILL what makes it again; return what was killed over which file."""
    lost = rng.choice([name for name in results(folder)])
    (folder / "results" / "fault" / lost).unlink(missing_ok=True)
    killed = rng.choice(KILLED)
    process = start_run(folder)
    found = when(lambda: jobs(folder), process)
    if killed != "workflow":
        os.kill(found[0], signal.SIGKILL)
    if killed != "job":
        os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    deadline = time.monotonic() + 60
    while jobs(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [(f"killed: {killed}", f"results/fault/{lost}")]


def lose_power_at_random(folder: Path, rng: random.Random) -> list[tuple[str, str]]:
    """Cut short, or empty, a third of all files, as if they had not reached the disk."""
    root = folder / "results" / "fault"
    names = [name for name in all_names(folder) if rng.random() < 1 / 3]
    for name in names:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: rng.choice((0, len(content) // 2))])
    return [("power lost: cut short or emptied", f"results/fault/{name}") for name in names]


AT_ONCE = 8
"""Files that are damaged at once, at most."""


def faults_at_random(folder: Path, rng: random.Random) -> tuple[int, list[tuple[str, str]]]:
    """Inject several faults; return how many, and what was done to which files.

    One time in ten power is lost, which is one fault to many files. Else files are damaged, and
    every other time the run that heals them is killed.
    """
    if rng.random() < 0.1:
        return 1, lose_power_at_random(folder, rng)
    told = damage_at_random(folder, rng, AT_ONCE)
    if rng.random() < 0.5:
        told += kill_at_random(folder, rng)
    return len(told), told


@in_proc
@pytest.mark.slow
def test_faults_heal_to_the_end(whole: Path) -> None:
    """The same for `lastmile run`, of everything, with kills and losses of power among the faults.

    LASTMILE_FAULTS says how many are drawn, and LASTMILE_FAULTS_SEED from which seed on.
    """
    run_to_the_end(whole)
    before, names = results(whole), all_names(whole)
    left = int(os.environ.get("LASTMILE_FAULTS", "10"))
    for seed in itertools.count(int(os.environ.get("LASTMILE_FAULTS_SEED", "0"))):
        if left <= 0:
            break
        count, told = faults_at_random(whole, random.Random(seed))
        left -= count
        with recorded(told):
            run_to_the_end(whole)
            assert all_names(whole) == names, (seed, told)
            alike(whole, before)
        words = "; ".join(f"{path} {name}" for name, path in told[:3])
        more = f" and {len(told) - 3} more" if len(told) > 3 else ""
        print(f"{seed}, {left} left: {words}{more}: as if undisturbed", flush=True)


def start_run(folder: Path, **settings: Any) -> subprocess.Popen[bytes]:
    """The whole study by our own command, which verifies it at the end."""
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY | settings))
    command = [sys.executable, "-m", "lastmile", "run", "--cores", "2"]
    presets = ["--configfile", "workflow/presets/smoke.yaml", "--configfile", "study.yaml"]
    with open(folder / "said.txt", "wb") as said:
        return subprocess.Popen(
            [*command, *presets],
            cwd=folder,
            env=environment(folder),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run_to_the_end(folder: Path) -> None:
    """The same, left alone. It must succeed."""
    code = start_run(folder).wait(PATIENCE)
    assert code == 0, (folder / "said.txt").read_text(errors="replace")[-6000:]


@in_proc
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command_ends_its_jobs(undisturbed: Path, number: signal.Signals) -> None:
    """Of `docker stop`, a batch system or a shell that is closed: only the command itself gets it."""
    before = set(undisturbed.glob("runs/*"))
    with fault(f"{number.name} to lastmile run", "train", "its jobs end, with a checkpoint"):
        process = start_run(undisturbed, training={"frames": 10_000_000})
        begun = when(
            lambda: {
                path.parent
                for path in undisturbed.glob("runs/*/progress.jsonl")
                if path.stat().st_size and path.parent not in before
            },
            process,
        )
        process.send_signal(number)
        assert process.wait(PATIENCE) == 130
        assert not jobs(undisturbed)
    said = (undisturbed / "said.txt").read_text()
    assert "run the same command again to resume" in said, said
    assert all((run / "last.ckpt").exists() for run in begun)
    for run in set(undisturbed.glob("runs/*")) - before:
        shutil.rmtree(run)


@pytest.mark.slow
def test_a_clock_that_goes_back(undisturbed: Path) -> None:
    """Files from tomorrow, as they look when the clock was put back.

    Nothing is made again for that.
    """
    root, tomorrow = undisturbed / "results" / "fault", time.time() + 86_400
    finish(undisturbed, POLICY)
    for number, path in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
        if number % 3 == 0:
            os.utime(path, (tomorrow, tomorrow))
    with fault("clock put back", "results", "nothing is made again"):
        assert "Nothing to be done" in finish(undisturbed, POLICY)


def test_durations_are_taken_from_a_clock_that_does_not_go_back(root: Path) -> None:
    for path in (root / "src").rglob("*.py"):
        assert not re.search(r"\btime\.time\(|datetime\.(now|utcnow)\(", path.read_text()), path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A folder on a disk of a few pages. Without the right to mount one: None."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and shutil.which("mount")
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16k", "none", folder], capture_output=True
        )
    )
    if not mounted or mounted.returncode:
        yield None
    else:
        yield folder
        subprocess.run(["umount", folder], check=True)


LABELS = {"run": "colored_dots", "seed": 0}
SOURCE = {"difficulty": "short", "style": "typical", "layouts": ["right"], "themes": ["dark"]}
SPECS = {
    stage: json.dumps(spec)
    for stage, spec in {
        "record": {"task": "colored_dots", "split": "test", "seed": 3, "episodes": 4, **SOURCE},
        "tokenize": {"task": "colored_dots", "split": "validation"},
        "train": {
            **LABELS,
            "tasks": ["colored_dots"],
            "policy": {"size": "xs"},
            "training": {"frames": 300, "snapshots": 1},
        },
        "skills": {**LABELS, "task": "colored_dots", "episodes": 2, "every": 1, "least": 0},
        "figure": {"study": "emergence"},
    }.items()
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["record", "figure", "tokenize", "train", "skills"])
def test_a_full_disk(
    undisturbed: Path,
    evaluations: dict[str, dict[str, pd.DataFrame]],
    small_disk: Path | None,
    tmp_path: Path,
    verb: str,
) -> None:
    """One line that says so, nothing half-made; with room, the same command works."""
    root = undisturbed / "results" / "fault"
    out = small_disk or tmp_path / "limited"
    out.mkdir(exist_ok=True)
    table = tmp_path / "emergence.csv"
    emergence.table(evaluations["emergence"], SETTINGS).to_csv(table, index=False)
    stage = get_stage(verb)
    for path in files_of(stage.inputs(parse_spec(stage.Spec, SPECS[verb]), out)):
        path.parent.mkdir(parents=True, exist_ok=True)
        # No test split was tokenized: validation stands in for it. Links take no room.
        name = path.relative_to(out).as_posix().replace("/test.", "/validation.")
        path.symlink_to(table if path.name == table.name else root / name)
    words = ["stage", verb, "--spec", SPECS[verb], "--results", str(out)]
    command = [sys.executable, "-m", "lastmile", *words]
    about: dict[str, Any] = {
        "cwd": out,
        "env": environment(undisturbed),
        "capture_output": True,
        "text": True,
    }
    if small_disk:
        (out / "others").write_bytes(bytes(8192))  # nearly full
    else:
        command = ["bash", "-c", 'ulimit -f 8; exec "$@"', "-", *command]
    done = subprocess.run(command, **about)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert re.search(
        r"^error: .*(No space left|too large|os error|write)", done.stderr, re.MULTILINE
    ), done.stderr
    # Of two tables the first may be there, whole.
    kept = {"others", "spec.json", ".lock", "progress.jsonl", "skills.parquet"}
    left = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in left if path.name not in kept] == []
    with fault("disk full", verb, "one line says so; with room, the same command works"):
        if small_disk:
            subprocess.run(["mount", "-o", "remount,size=100m", out], check=True)
        else:
            command = command[5:]
        done = subprocess.run(command, **about)
        assert done.returncode == 0, done.stderr
