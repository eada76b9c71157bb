"""Training runs: what is trained from a spec and tokens, on which devices, why it starts over."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lastmile.errors import LastmileError
from lastmile.pipeline.cleanup import clean
from lastmile.policy import Policy, PolicyError
from lastmile.provenance.fingerprints import code_label
from lastmile.provenance.manifests import file_digest, write_manifest
from lastmile.simulation import tokens, trajectory
from lastmile.simulation.tokens import TokenStore
from lastmile.training import devices
from lastmile.training.devices import precision
from lastmile.training.runs import RunResult, RunSpec, run

SPEC: dict[str, Any] = {
    "run": {"task": "colored_dots"},
    "seed": 0,
    "policy": {"size": "xs", "window": 4},
    "training": {"frames": 60, "snapshots": 1},
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TokenStore]:
    """Three episodes to train on, one for validation."""
    folder = tmp_path_factory.mktemp("tokens")
    stores = {}
    for split, count in (("train", 3), ("validation", 1)):
        trajectory.write(
            folder / f"{split}.parquet", trajectory.Source("colored_dots", split, 0), count
        )
        tokens.write(folder / f"{split}.tokens", trajectory.read(folder / f"{split}.parquet"))
        stores[split] = TokenStore(folder / f"{split}.tokens")
    return stores


def train(
    stores: dict[str, TokenStore],
    folder: Path,
    spec: dict[str, Any] = SPEC,
    start: Path | None = None,
    code: str = "abc",
) -> RunResult:
    """Train what `spec` says, with the results in `folder / "out"`."""
    result = run(
        RunSpec.parse(spec),
        [stores["train"]],
        [stores["validation"]],
        folder / "runs",
        folder / "out",
        start=start,
        code=code,
    )
    assert result is not None
    return result


def run_folders(folder: Path) -> list[Path]:
    return [path for path in (folder / "runs").iterdir() if path.is_dir()]


def test_a_new_run_says_what_has_changed(
    stores: dict[str, TokenStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(stores, tmp_path)
    assert "changed since" not in capsys.readouterr().err
    train(stores, tmp_path)
    assert "changed since" not in capsys.readouterr().err
    train(stores, tmp_path, {**SPEC, "training": {"frames": 40, "snapshots": 1}, "episodes": 2})
    assert (
        "changed since then: episodes None -> 2; training.frames 60 -> 40\n"
        in capsys.readouterr().err
    )
    assert len(run_folders(tmp_path)) == 2


def test_the_result_says_what_was_read_and_written(
    stores: dict[str, TokenStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(stores, tmp_path)
    assert result.spec["code"] == "abc" and result.spec["policy"]["encoder"] == "conv"
    assert "seeds" not in result.spec["training"] and "episodes" not in result.spec
    assert sorted(result.spec["data"]) == [
        "colored_dots/train.tokens",
        "colored_dots/validation.tokens",
    ]
    assert result.inputs == [stores["train"].path, stores["validation"].path]
    assert all(path.is_file() for path in result.outputs)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert (result.device, result.threads) == ("cpu", 1) and result.seconds > 0
    assert result.arithmetic == precision("auto", "cpu")

    train(stores, tmp_path, code="other")
    assert "changed since then: code\n" in capsys.readouterr().err
    assert len(run_folders(tmp_path)) == 2


def test_work_in_progress_is_cleaned_up(stores: dict[str, TokenStore], tmp_path: Path) -> None:
    """Finished runs go, unfinished ones only if asked for, running ones never."""
    out = tmp_path / "results" / "x" / "models" / "dots" / "seed0"
    result = run(
        RunSpec.parse(SPEC),
        [stores["train"]],
        [stores["validation"]],
        tmp_path / "runs",
        out,
        start=None,
        code="abc",
    )
    assert result is not None
    label = code_label("pipeline.stages.train")
    manifest = out / "manifest.json"
    write_manifest(manifest, "train", result.spec, label, result.inputs, result.outputs)
    (finished,) = run_folders(tmp_path)
    train(stores, tmp_path, {**SPEC, "seed": 1})  # without a manifest: its job was killed
    runs, results = tmp_path / "runs", tmp_path / "results"
    (other,) = set(run_folders(tmp_path)) - {finished}

    assert [work.folder for work in clean(runs, results, dry=True)] == [finished]
    assert finished.exists()
    with open(finished / ".lock", "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert clean(runs, results) == []
    whole = (out / "policy.safetensors").read_bytes()
    (out / "policy.safetensors").unlink()
    assert clean(runs, results) == [], "its policy is lost: it is what that is made from"
    (out / "policy.safetensors").write_bytes(whole)
    (removed,) = clean(runs, results)
    assert removed.folder == finished and removed.size > 10_000 and not finished.exists()
    assert [work.folder for work in clean(runs, results, unfinished=True)] == [other]
    assert run_folders(tmp_path) == []


def test_settings_left_out_are_the_default_ones() -> None:
    spelled_out = {**SPEC["policy"], "encoder": "conv", "head": "pointer"}
    spec = RunSpec.parse({**SPEC, "policy": spelled_out, "episodes": None})
    assert spec.values() == RunSpec.parse(SPEC).values()


def test_the_start_is_part_of_the_run(
    stores: dict[str, TokenStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(stores, tmp_path / "a")
    start = tmp_path / "a" / "out"
    result = train(stores, tmp_path / "b", start=start)
    assert result.spec["data"]["start"] == file_digest(start / "policy.safetensors")
    assert start / "policy.safetensors" in result.inputs
    assert "weight tensors copied" in capsys.readouterr().err
    with pytest.raises(PolicyError, match="none.policy.safetensors: no such file"):
        train(stores, tmp_path, start=tmp_path / "none")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"policy": None}, "spec: key 'policy': input should be a valid dictionary .*, got None"),
        ({"colour": 1}, "spec: unknown key 'colour' .known: run, seed"),
        ({"sead": 1}, "unknown key 'sead'; did you mean 'seed'"),
        (
            {"training": {"frame": 1}},
            "unknown key 'training.frame'; did you mean 'frames'",
        ),
        ({"mixture": {"colored_dots": 1}}, "spec: unknown key 'mixture'"),
        ({"episodes": 9}, "train.tokens has, got 9"),
        ({"episodes": 1.5}, "'episodes': input should be a valid integer, got 1.5"),
        ({"episodes": 0}, "'episodes': input should be greater"),
        ({"training": {"devices": 0}}, "'training.devices'"),
        ({"training": {"precision": "int8"}}, "'training.precision'"),
        ({"seed": "x"}, "'seed': input should be a valid integer, got 'x'"),
        ({"seed": True}, "'seed': .*expected a number or text, not true/false, got True"),
        ({"seed": -1}, "'seed': input should be greater than or equal to 0"),
    ],
)
def test_a_spec_that_cannot_be_trained(
    stores: dict[str, TokenStore], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(LastmileError, match=words):
        train(stores, tmp_path, {**SPEC, **change})
    assert not (tmp_path / "out").exists()


def test_a_spec_needs_seed_policy_and_training() -> None:
    with pytest.raises(LastmileError, match="spec: expected a mapping, got list"):
        RunSpec.parse([SPEC])
    for key in ("seed", "policy", "training"):
        with pytest.raises(LastmileError, match=f"spec: '{key}' is missing"):
            RunSpec.parse({name: value for name, value in SPEC.items() if name != key})


def test_tokens_in_the_wrong_place(stores: dict[str, TokenStore], tmp_path: Path) -> None:
    training = stores["train"]
    held_out = stores["validation"]
    for given, validation, words in (
        (
            [held_out],
            [held_out],
            "validation.tokens: holds the split 'validation' of colored_dots; "
            "--tokens expects 'train'",
        ),
        (
            [training],
            [training],
            "train.tokens: holds the split 'train' of colored_dots; "
            "--validation expects 'validation'",
        ),
        ([training, training], [held_out], "were given already"),
    ):
        with pytest.raises(LastmileError, match=words):
            run(
                RunSpec.parse(SPEC),
                given,
                validation,
                tmp_path / "runs",
                tmp_path / "out",
                start=None,
                code="abc",
            )


def test_two_trainings_of_one_run_take_turns(
    stores: dict[str, TokenStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(stores, tmp_path)
    (folder,) = run_folders(tmp_path)
    with open(folder / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        second = threading.Thread(target=train, args=(stores, tmp_path))
        second.start()
        second.join(1.5)
        assert second.is_alive()
    second.join(60)
    assert not second.is_alive() and "waiting for it" in capsys.readouterr().err


def test_two_devices_make_the_same_training(stores: dict[str, TokenStore], tmp_path: Path) -> None:
    """Two processes on the CPU read half of each update and learn the same, up to rounding."""
    how = {"frames": 40, "snapshots": 1, "precision": "32"}
    train(stores, tmp_path, {**SPEC, "training": how})
    alone = tmp_path / "out"
    results = tmp_path / "results"
    for split in ("train", "validation"):
        link = results / "tokens" / stores[split].task / f"{split}.tokens"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(stores[split].path)
    spec = {
        "run": "two",
        "seed": SPEC["seed"],
        "tasks": [stores["train"].task],
        "policy": SPEC["policy"],
        "training": {**how, "devices": 2},
    }
    words = ["stage", "train", "--spec", json.dumps(spec), "--results", str(results)]
    command = [sys.executable, "-m", "lastmile", *words]
    together = results / "models" / "two" / f"seed{SPEC['seed']}"
    # Inside SLURM as well Lightning starts its processes itself.
    process = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "SLURM_NTASKS": "1", "SLURM_JOB_ID": "1", "SLURM_PROCID": "0"},
    )
    assert process.returncode == 0, process.stderr
    one, two = (Policy.load(folder).state_dict() for folder in (alone, together))
    distances = torch.cat([(one[name] - two[name]).abs().flatten() for name in one])
    assert float(distances.quantile(0.99)) < 1e-4
    logs = [(folder / "progress.csv").read_text().splitlines() for folder in (alone, together)]
    assert [row.split(",")[:2] for row in logs[0]] == [row.split(",")[:2] for row in logs[1]]
    assert [float(row.split(",")[2]) for row in logs[1][1:]] == pytest.approx(
        [float(row.split(",")[2]) for row in logs[0][1:]], rel=1e-3
    )


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three GPUs, as torch would report it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "device_count", lambda: len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))
    )
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda n: SimpleNamespace(uuid=f"uuid{os.environ['CUDA_VISIBLE_DEVICES'].split(',')[n]}"),
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setattr(devices, "WAIT_SECONDS", 0.02)


def test_without_gpus_no_one_waits(tmp_path: Path) -> None:
    with devices.device_slot(tmp_path) as first, devices.device_slot(tmp_path) as second:
        assert first == second == []


def test_each_training_has_gpus_of_its_own(gpus: None, tmp_path: Path) -> None:
    with devices.device_slot(tmp_path) as first:
        os.environ.pop(devices.SLOTS)  # as in another process
        with devices.device_slot(tmp_path, 2) as second:
            assert first == [0] and second == [1, 2]
            with devices.device_slot(
                tmp_path, 2
            ) as further:  # a further process of the same training
                assert further == [1, 2]
    with devices.device_slot(tmp_path, 3) as again:
        assert again == [0, 1, 2]
    with (
        pytest.raises(ValueError, match="training.devices: 4 GPUs wanted, but there are 3"),
        devices.device_slot(tmp_path, 4),
    ):
        pass


def test_a_gpu_is_the_same_by_any_number(
    gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With CUDA_VISIBLE_DEVICES, which SLURM sets for each job, the first GPU is number 0."""
    with devices.device_slot(tmp_path):
        os.environ.pop(devices.SLOTS)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
        with devices.device_slot(tmp_path) as second:
            assert second == [0]
            os.environ.pop(devices.SLOTS)
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
            with devices.device_slot(tmp_path) as third:
                assert third == [0]


def test_it_waits_without_holding_any(
    gpus: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    got = threading.Event()

    def want_all() -> None:
        with devices.device_slot(tmp_path, 3):
            got.set()

    with devices.device_slot(tmp_path):
        os.environ.pop(devices.SLOTS)
        waiting = threading.Thread(target=want_all)
        waiting.start()
        assert not got.wait(0.3)
        for _ in range(50):  # the other GPUs are free in between
            with open(tmp_path / ".gpu-uuid2.lock", "a") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    got.wait(0.005)
        else:
            raise AssertionError("held forever")
    waiting.join(10)
    assert got.is_set() and capsys.readouterr().err.count("waiting for 3 of 3 GPUs") == 1


def test_the_lock_of_a_killed_training_is_free(gpus: None, tmp_path: Path) -> None:
    code = (
        "import fcntl, sys, time\n"
        "h = open(sys.argv[1], 'a')\n"
        "fcntl.flock(h, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(60)"
    )
    tmp_path.mkdir(exist_ok=True)
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / ".gpu-uuid0.lock")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with devices.device_slot(tmp_path) as numbers:
        assert numbers == [1]
    other.kill()
    other.wait()
    with devices.device_slot(tmp_path) as numbers:
        assert numbers == [0]
