"""Runs: what is trained from a spec and tokens, on which devices, and why it starts afresh."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch

from lastmile.policy import Policy, PolicyError
from lastmile.provenance import file_digest
from lastmile.simulation import tokens, trajectory
from lastmile.simulation.tokens import TokenStore
from lastmile.training import runs

SPEC = {
    "run": {"task": "colored_dots"},
    "seed": 0,
    "policy": {"size": "xs", "window": 4},
    "training": {"frames": 60, "snapshots": 1},
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, TokenStore]:
    """Three episodes to train on, one for validation."""
    folder, found = tmp_path_factory.mktemp("tokens"), {}
    for split, count in (("train", 3), ("validation", 1)):
        trajectory.write(
            folder / f"{split}.parquet", trajectory.Source("colored_dots", split, 0), count
        )
        tokens.write(folder / f"{split}.tokens", trajectory.read(folder / f"{split}.parquet"))
        found[split] = TokenStore(folder / f"{split}.tokens")
    return found


def run(stores, folder, spec=SPEC, **kwargs):
    runs.run(
        spec,
        [stores["train"]],
        [stores["validation"]],
        folder / "runs",
        folder / "out",
        1,
        **kwargs,
    )
    return folder / "out"


def test_a_new_run_says_what_has_changed(stores, tmp_path, capsys):
    run(stores, tmp_path)
    assert "has changed" not in capsys.readouterr().err
    run(stores, tmp_path)
    assert "has changed" not in capsys.readouterr().err
    run(stores, tmp_path, {**SPEC, "training": {"frames": 40, "snapshots": 1}, "episodes": 2})
    assert (
        "since this has changed: episodes None -> 2; training.frames 60 -> 40\n"
        in capsys.readouterr().err
    )
    assert len([path for path in (tmp_path / "runs").iterdir() if path.is_dir()]) == 2


def test_the_start_is_part_of_the_run(stores, tmp_path, capsys):
    first = run(stores, tmp_path / "a")
    out = run(stores, tmp_path / "b", start=first)
    manifest = json.loads((out / "manifest.json").read_text())
    digest = file_digest(first / "policy.safetensors")
    assert manifest["spec"]["data"]["start"] == digest
    assert digest in [
        entry["digest"]
        for name, entry in manifest["inputs"].items()
        if name.endswith("policy.safetensors")
    ]
    assert "weights copied" in capsys.readouterr().err
    with pytest.raises(PolicyError, match="none.policy.safetensors: no such file"):
        run(stores, tmp_path, start=tmp_path / "none")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"policy": None}, "'policy' must be of type dict"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"mixture": {}}, "mixture: .*got none"),
        ({"mixture": [1]}, "'mixture' must give a weight"),
        ({"mixture": {"colored_dots": 0}}, "above 0"),
        ({"episodes": 9}, "train.tokens has, got 9"),
        ({"episodes": 1.5}, "'episodes' must be a whole number"),
        ({"training": {"devices": 0}}, "'training.devices'"),
        ({"training": {"precision": "int8"}}, "'training.precision'"),
        ({"seed": "x"}, "'seed' must be of type int"),
    ],
)
def test_a_spec_that_cannot_be_trained(stores, tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        run(stores, tmp_path, {**SPEC, **change})
    assert not (tmp_path / "out").exists()


def test_tokens_in_the_wrong_place(stores, tmp_path):
    train, held = stores["train"], stores["validation"]
    for given, validation, words in (
        (
            [held],
            [held],
            "validation.tokens: holds the split 'validation' of colored_dots; --tokens expects 'train'",
        ),
        (
            [train],
            [train],
            "train.tokens: holds the split 'train' of colored_dots; --validation expects 'validation'",
        ),
        ([train, train], [held], "were given already"),
    ):
        with pytest.raises(ValueError, match=words):
            runs.run(SPEC, given, validation, tmp_path / "runs", tmp_path / "out", 1)


def test_two_trainings_of_one_run_take_turns(stores, tmp_path, capsys):
    run(stores, tmp_path)
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    with open(folder / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        second = threading.Thread(target=run, args=(stores, tmp_path))
        second.start()
        second.join(1.5)
        assert second.is_alive()
    second.join(60)
    assert not second.is_alive() and "waiting for it" in capsys.readouterr().err


def test_two_devices_make_the_same_training(stores, tmp_path):
    """Two processes on the CPU: each reads its own half of every step, and up to rounding they learn what one learns."""
    how = {"frames": 40, "snapshots": 1, "precision": "32"}
    alone, together = run(stores, tmp_path, {**SPEC, "training": how}), tmp_path / "together"
    command = [
        sys.executable,
        "-m",
        "lastmile",
        "train",
        "--spec",
        json.dumps({**SPEC, "training": {**how, "devices": 2}}),
        "--tokens",
        stores["train"].path,
        "--validation",
        stores["validation"].path,
        "--runs",
        tmp_path / "runs",
        "--out",
        together,
        "--threads",
        "1",
    ]
    # Inside SLURM as well Lightning starts its processes itself.
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "SLURM_NTASKS": "1", "SLURM_JOB_ID": "1", "SLURM_PROCID": "0"},
    )
    assert done.returncode == 0, done.stderr
    one, two = (Policy.load(folder).state_dict() for folder in (alone, together))
    far = torch.cat([(one[name] - two[name]).abs().flatten() for name in one])
    assert float(far.quantile(0.99)) < 1e-4
    logs = [(folder / "progress.csv").read_text().splitlines() for folder in (alone, together)]
    assert [row.split(",")[:2] for row in logs[0]] == [row.split(",")[:2] for row in logs[1]]
    assert [float(row.split(",")[2]) for row in logs[1][1:]] == pytest.approx(
        [float(row.split(",")[2]) for row in logs[0][1:]], rel=1e-3
    )


@pytest.fixture
def gpus(monkeypatch):
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
    monkeypatch.setattr(runs, "WAIT_SECONDS", 0.02)


def test_without_gpus_no_one_waits(tmp_path):
    with runs.device_slot(tmp_path) as first, runs.device_slot(tmp_path) as second:
        assert first == second == []


def test_each_training_has_gpus_of_its_own(gpus, tmp_path):
    with runs.device_slot(tmp_path) as first:
        os.environ.pop(runs.SLOTS)  # as in another process
        with runs.device_slot(tmp_path, 2) as second:
            assert first == [0] and second == [1, 2]
            with runs.device_slot(tmp_path, 2) as further:  # a further process of the same training
                assert further == [1, 2]
    with runs.device_slot(tmp_path, 3) as again:
        assert again == [0, 1, 2]
    with (
        pytest.raises(ValueError, match="training.devices: 4 GPUs wanted, but there are 3"),
        runs.device_slot(tmp_path, 4),
    ):
        pass


def test_a_gpu_is_the_same_by_any_number(gpus, tmp_path, monkeypatch):
    """With CUDA_VISIBLE_DEVICES, which SLURM sets for each job, every training's first GPU is number 0."""
    with runs.device_slot(tmp_path):
        os.environ.pop(runs.SLOTS)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
        with runs.device_slot(tmp_path) as second:
            assert second == [0]
            os.environ.pop(runs.SLOTS)
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
            with runs.device_slot(tmp_path) as third:
                assert third == [0]


def test_it_waits_without_holding_any(gpus, tmp_path, capsys):
    got = threading.Event()

    def want_all() -> None:
        with runs.device_slot(tmp_path, 3):
            got.set()

    with runs.device_slot(tmp_path):
        os.environ.pop(runs.SLOTS)
        waiting = threading.Thread(target=want_all)
        waiting.start()
        assert not got.wait(0.3)
        for _ in range(50):  # the others can be had in between
            with open(tmp_path / ".gpu-uuid2.lock", "a") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    got.wait(0.005)
        else:
            raise AssertionError("held for ever")
    waiting.join(10)
    assert got.is_set() and capsys.readouterr().err.count("waiting for 3 of 3 GPUs") == 1


def test_the_lock_of_a_killed_training_is_free(gpus, tmp_path):
    code = "import fcntl, sys, time\nh = open(sys.argv[1], 'a'); fcntl.flock(h, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    tmp_path.mkdir(exist_ok=True)
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / ".gpu-uuid0.lock")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "held\n"
    with runs.device_slot(tmp_path) as numbers:
        assert numbers == [1]
    other.kill()
    other.wait()
    with runs.device_slot(tmp_path) as numbers:
        assert numbers == [0]
