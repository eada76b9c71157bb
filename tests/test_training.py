"""Training: which windows are seen, that it learns, and that it resumes exactly."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lastmile.config import PolicySettings, Training
from lastmile.errors import LastmileError
from lastmile.policy import Policy, PolicyError
from lastmile.policy.outline import outline
from lastmile.simulation.tokens import FirstEpisodes, TokenError, TokenStore
from lastmile.training import bookkeeper, checkpoints, devices, loop, windows
from lastmile.training.bookkeeper import Curves
from lastmile.training.checkpoints import load_snapshots, snapshot_updates
from lastmile.training.loop import train
from lastmile.training.module import TrainingError
from lastmile.training.optimizer import BETAS, orthogonalize, takes_muon
from lastmile.training.windows import (
    Batches,
    WindowSampler,
    read_batch,
)

TINY = PolicySettings(size="xs", window=4)


class Toy:
    """A store in memory: on a dark screen the click belongs on the bright square; if the corner is
    red, anywhere on the wide button."""

    def __init__(self, lengths: list[int], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.frames = int(self.starts[-1])
        x = rng.integers(20, 300, self.frames)
        y = rng.integers(80, 316, self.frames)
        self.button = rng.random(self.frames) < 0.4
        self.images = np.full((self.frames, 126, 168, 3), 30, np.uint8)
        for k in range(self.frames):
            r = int(y[k] * 3 / 8)
            c = int(x[k] * 3 / 8)
            self.images[k, r - 2 : r + 3, c - 2 : c + 3] = 230
            self.images[k, 4:16, 100:160] = 120
            if self.button[k]:
                self.images[k, 20:27, 140:160] = (220, 40, 40)
        on_button = np.stack(
            [rng.integers(270, 425, self.frames), rng.integers(12, 42, self.frames)], 1
        )
        self.clicks = np.where(self.button[:, None], on_button, np.stack([x, y], 1)).astype(
            np.int16
        )
        self.targets = np.where(self.button[:, None], np.array([[347, 27]]), self.clicks).astype(
            np.int16
        )

    def screens(self, start: int, stop: int) -> np.ndarray:
        return self.images[start:stop]


def run(
    folder: Path,
    frames: int = 120,
    spec: dict[str, Any] | None = None,
    stores: list[Any] | None = None,
    how: dict[str, Any] | None = None,
    start: Path | None = None,
    trained: list[loop.Trained] | None = None,
) -> Path:
    """Train a tiny policy and return the folder of its results."""
    values = {"frames": frames, "batch": 4, "snapshots": 3, "learning_rate": 1e-3, **(how or {})}
    training = Training(**values)
    stores = stores or [Toy([9, 3, 14, 6])]
    result = train(
        folder / "run",
        TINY,
        training,
        0,
        stores,
        [Toy([5, 9], 1)],
        spec or {"a": 1},
        folder / "out",
        start=start,
    )
    if trained is not None:
        trained.append(result)
    return folder / "out"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run leaves."""
    return contents(run(tmp_path_factory.mktemp("reference")))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=6), min_size=1, max_size=3),
    st.integers(1, 25),
    st.integers(1, 7),
    st.integers(0, 9),
)
def test_sampler(lengths: list[int], window: int, batch: int, seed: int) -> None:
    starts = [np.concatenate([[0], np.cumsum(each)]) for each in lengths]
    sampler = WindowSampler(starts, window, batch, seed)
    steps = [sampler.windows(step) for step in range(40)]
    other = WindowSampler(starts, window, batch, seed)
    assert [other.windows(step) for step in (39, 0, 17)] == [
        steps[39],
        steps[0],
        steps[17],
    ]  # it does not depend on what was asked before
    rows = [w for step in steps for w in step]
    turns = Counter(w.store for w in rows)
    assert (
        max(turns[k] for k in range(len(starts))) - min(turns[k] for k in range(len(starts))) <= 1
    )
    for store, edges in enumerate(starts):
        counts = np.zeros(edges[-1], int)
        for w in (w for w in rows if w.store == store):
            assert 1 <= w.length <= window
            assert np.searchsorted(edges, w.start, "right") == np.searchsorted(
                edges, w.start + w.length - 1, "right"
            )
            before = counts.copy()
            counts[w.start : w.start + w.length] += 1
            if (
                before.min() == before.max()
            ):  # an epoch is over: now no frame may be seen twice before all are seen once
                level = before.min()
            assert counts.max() <= level + 1 and counts.min() >= level
    seen = sampler.schedule(50)
    assert (
        seen[-1] >= 50
        and (len(seen) == 1 or seen[-2] < 50)
        and seen[0] == sum(w.length for w in steps[0])
    )


@pytest.mark.parametrize("stores", [[[47, 12, 30]], [[47, 12], [5, 80, 1]]])
def test_equal_stretches_show_the_same_frames_with_any_window(stores: list[list[int]]) -> None:
    """Each update holds the same frames, each once, however many of them a frame can see."""
    starts = [np.concatenate([[0], np.cumsum(each)]) for each in stores]

    def frames(window: int, update: int) -> list[tuple[int, int]]:
        sampler = WindowSampler(starts, window, 3, 7, stretch=20)
        windows = sampler.windows(update)
        assert len(windows) == 3 * sampler.pieces
        assert all(0 <= length <= window for _, _, length in windows)
        return [(store, begin + i) for store, begin, n in windows for i in range(n)]

    for update in (0, 1, 17):
        whole = frames(20, update)
        assert len(set(whole)) <= len(whole) <= 60
        assert all(frames(window, update) == whole for window in (1, 4, 5, 7, 10))
    ordinary = WindowSampler(starts, 20, 3, 7)
    cut = WindowSampler(starts, 1, 3, 7, stretch=20)
    assert cut.schedule(500).tolist() == ordinary.schedule(500).tolist()
    with pytest.raises(LastmileError, match="at least the 20 frames of a window, got 19"):
        WindowSampler(starts, 20, 3, 7, stretch=19)


def test_windows_of_a_stretch_know_the_click_before_them() -> None:
    toy = Toy([5, 7])
    sampler = WindowSampler([toy.starts], 1, 2, 0, stretch=5)
    chosen = sampler.windows(0)
    batch = read_batch([toy], chosen, 1)
    assert batch["mask"][:, 0].tolist() == [bool(n) for _, _, n in chosen]
    for row, (_, k, n) in enumerate(chosen):
        before = [-1, -1] if k in (0, 5) or not n else toy.clicks[k - 1].tolist()
        assert batch["previous"][row, 0].tolist() == before
        assert not n or np.array_equal(batch["screens"][row, 0].numpy(), toy.images[k])


def test_stretches_are_shared_among_parts() -> None:
    toys = [Toy([3, 1, 2, 9])]
    sampler = WindowSampler([toys[0].starts], 1, 3, 0, stretch=8)
    for update in range(9):
        parts = [Batches(toys, sampler, 0, 9, parts=2).part(update, part) for part in range(2)]
        assert [w for part in parts for w in part] == sampler.windows(update)
        assert all(any(w.length for w in part) for part in parts)
    with pytest.raises(LastmileError, match="3 windows per update cannot be divided"):
        Batches(toys, sampler, 0, 9, parts=4)


def test_sampler_cuts_anew_in_each_epoch() -> None:
    sampler = WindowSampler([np.array([0, 47])], 20, 1, 0)
    assert (
        len({tuple(sorted(map(tuple, sampler._epoch(0, epoch).tolist()))) for epoch in range(10)})
        > 5
    )


@pytest.mark.parametrize("starts", [[], [np.array([0])], [np.array([0, 3, 3])]])
def test_nothing_to_sample(starts: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        WindowSampler(starts, 20, 4, 0)


def test_the_first_episodes_of_a_store() -> None:
    toy = Toy([5, 6, 7])
    part = FirstEpisodes(toy, 2)
    assert (
        part.starts.tolist() == [0, 5, 11]
        and len(part.clicks) == 11
        and np.array_equal(part.screens(3, 9), toy.images[3:9])
    )
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"expected 1 to 3, .* got {count}"):
            FirstEpisodes(toy, count)


def test_batches_know_where_episodes_begin() -> None:
    toy = Toy([5, 6])
    sampler = WindowSampler([toy.starts], 4, 16, 0)
    chosen = sampler.windows(0)
    batch = read_batch([toy], chosen, 4)
    for row, (_, start, n) in enumerate(chosen):
        assert batch["mask"][row].tolist() == [True] * n + [False] * (4 - n)
        for i in range(n):
            k = start + i
            assert batch["targets"][row, i].tolist() == toy.targets[k].tolist()
            assert batch["previous"][row, i].tolist() == (
                [-1, -1] if k in (0, 5) else toy.clicks[k - 1].tolist()
            )
            assert np.array_equal(batch["screens"][row, i].numpy(), toy.images[k])


def test_snapshots_are_spread_over_the_training() -> None:
    seen = np.cumsum(np.full(1000, 300))
    steps = snapshot_updates(seen, 8)
    early = [1, 2, 4, 8]
    assert steps[:4] == early and len(steps) == 12 and steps[4] == 10 and steps[-1] == 1000
    assert snapshot_updates(seen, 1) == [*early, 1000] and snapshot_updates(seen[:2], 8) == [2]


@pytest.mark.parametrize(
    "head, frames", [("pointer", 800), pytest.param("bins", 1800, marks=pytest.mark.slow)]
)
def test_it_learns(tmp_path: Path, head: str, frames: int) -> None:
    """The policy learns when to press the button, and the pointer beats every policy that does not
    look for the square."""
    toy = Toy([4] * 150)
    held = Toy([8] * 8, 1)
    training = Training(frames=frames, batch=2, snapshots=1, learning_rate=2e-3)
    train(
        tmp_path / "run",
        PolicySettings(size="xs", head=head, window=4),
        training,
        0,
        [toy],
        [],
        {},
        tmp_path / "out",
    )
    policy = Policy.load(tmp_path / "out")
    predictions = [
        policy.predict_episode(held.screens(a, b), held.clicks[a:b], held.targets[a:b])
        for a, b in zip(held.starts[:-1], held.starts[1:])
    ]
    modes, nll = (np.concatenate(values) for values in zip(*predictions))
    on_button = (modes[:, 0] >= 260) & (modes[:, 1] < 50)
    assert (on_button == held.button).mean() > 0.9
    # Areas in bins: all of the screen, the button, and where squares can be.
    screen, button, squares = np.array([448 * 336, 155 * 30, 280 * 236]) * (
        (3 / 4) ** 2 if head == "pointer" else 1 / 16
    )
    blind = np.log(squares) * (~held.button).mean() + np.log(button) * held.button.mean()
    assert nll.mean() < (blind if head == "pointer" else np.log(screen))


def test_outputs(tmp_path: Path, reference: dict[str, bytes]) -> None:
    out = run(tmp_path)
    assert contents(out) == reference  # nothing in them holds a time, a path or a host
    assert sorted(reference) == [
        "config.json",
        "policy.safetensors",
        "progress.csv",
        "snapshots.safetensors",
    ]
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("lightning_logs"))
    snapshots = list(load_snapshots(out / "snapshots.safetensors"))
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "progress.jsonl").read_text().splitlines()
    ]
    assert [frames for frames, _ in snapshots] == [
        row["frames"] for row in rows if row["validation_loss"] is not None
    ]
    final = Policy.load(out).state_dict()
    assert all(
        torch.equal(value, final[name]) for name, value in snapshots[-1][1].state_dict().items()
    )
    assert rows[-1]["frames"] >= 120 and {
        "loss",
        "frames_per_s",
        "wait_share",
        "seconds_left",
    } <= set(rows[0])


def test_snapshots_are_merged_as_safetensors_writes_them(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    out = run(tmp_path)
    merged: dict[str, torch.Tensor] = {}
    for path in (tmp_path / "run").glob("snapshot-*"):
        frames = int(path.stem.removeprefix("snapshot-"))
        merged |= {f"{frames}/{name}": value for name, value in load_file(path).items()}
    with safe_open(out / "snapshots.safetensors", "pt") as file:
        about = file.metadata()
    save_file(merged, tmp_path / "whole.safetensors", about)
    assert (tmp_path / "whole.safetensors").read_bytes() == reference["snapshots.safetensors"]


def test_snapshots_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="none.safetensors"):
        list(load_snapshots(tmp_path / "none.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes(b"1234567")
    with pytest.raises(PolicyError, match="cut.safetensors"):
        list(load_snapshots(tmp_path / "cut.safetensors"))


class Stops(Exception):
    pass


@pytest.fixture
def frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after each update."""
    monkeypatch.setattr(bookkeeper, "CHECKPOINT_SECONDS", 0)


def stop_after(monkeypatch: pytest.MonkeyPatch, update: int, action: Callable[[], object]) -> None:
    """Run `action` at the end of an update, as a signal would arrive."""
    original = loop.Bookkeeper.on_train_batch_end

    def end(self: Any, trainer: Any, module: Any, *args: Any) -> None:
        original(self, trainer, module, *args)
        if module.done == update:
            action()

    monkeypatch.setattr(loop.Bookkeeper, "on_train_batch_end", end)


def run_until(
    monkeypatch: pytest.MonkeyPatch, update: int, folder: Path, *args: Any, **options: Any
) -> None:
    """Train until an error at the end of an update."""

    def fail() -> None:
        raise Stops

    with monkeypatch.context() as patch:
        stop_after(patch, update, fail)
        with pytest.raises(Stops):
            run(folder, *args, **options)


def test_resumed_after_an_error(
    tmp_path: Path,
    reference: dict[str, bytes],
    frequent: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_until(monkeypatch, 5, tmp_path)
    with open(tmp_path / "run" / "progress.jsonl", "a") as handle:
        handle.write('{"step": 6, "frames"')  # as a kill would leave it
    assert not (tmp_path / "out").exists()
    assert contents(run(tmp_path)) == reference
    assert "resuming after update 5" in capsys.readouterr().err


@pytest.mark.parametrize(
    "number, error", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_resumed_after_a_signal(
    tmp_path: Path,
    reference: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    error: type[BaseException],
) -> None:
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        stop_after(patch, 4, lambda: os.kill(os.getpid(), number))
        with pytest.raises(error):
            run(tmp_path)
    log = capsys.readouterr().err
    assert f"stopped by {signal.Signals(number).name} after update" in log
    resume_hint = "interrupted; run the same command again to resume\n"
    assert log.endswith(resume_hint) == (number == signal.SIGTERM)  # else the command line says it
    assert signal.getsignal(number) == before
    assert contents(run(tmp_path)) == reference
    assert re.search(
        "resuming after update [45]", capsys.readouterr().err
    )  # no update that was under way is lost


def test_resumed_after_a_kill(tmp_path: Path, reference: dict[str, bytes]) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nimport test_training as t\nt.bookkeeper.CHECKPOINT_SECONDS = 0\n"
        "import time; slow = t.Toy.screens\n"
        "t.Toy.screens = lambda *a: (time.sleep(0.05), slow(*a))[1]\n"
        f"t.run(Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    progress = tmp_path / "run" / "progress.jsonl"
    while process.poll() is None and not (
        progress.exists() and progress.read_text().count("\n") >= 3
    ):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "out").exists() and (tmp_path / "run" / "last.ckpt").exists()
    assert contents(run(tmp_path)) == reference


class Killed(BaseException):
    """Stands in for SIGKILL, after which nothing is cleaned up."""


@pytest.mark.parametrize(
    "moment",
    ["while writing", "before the rename", "after the rename", "while the results are moved"],
)
@pytest.mark.parametrize("which", ["last.ckpt", "snapshot-", "progress.csv"])
def test_killed_while_a_file_is_written(
    tmp_path: Path,
    reference: dict[str, bytes],
    frequent: None,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    which: str,
) -> None:
    if (which == "progress.csv") != (moment == "while the results are moved"):
        pytest.skip("no such moment")
    replace = os.replace
    counted = []

    def dies(source: Any, target: Any) -> None:
        if which in str(target):
            counted.append(target)
            if (
                len(counted) == (1 if which == "snapshot-" else 2)
                or which == "progress.csv"
                and "out" in Path(target).parts[-2:]
                and not Path(target).parent.name.startswith(".")
            ):
                if moment == "while writing":
                    os.truncate(source, Path(source).stat().st_size // 2)
                if moment == "after the rename":
                    replace(source, target)
                raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        patch.setattr(
            Path, "unlink", lambda self, missing_ok=False: None
        )  # no tidying up in the moment of death
        patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
        with pytest.raises(Killed):
            run(tmp_path)
    assert moment == "after the rename" or list(tmp_path.rglob("*.part"))
    assert contents(run(tmp_path)) == reference
    assert not list(tmp_path.rglob("*.part"))


def test_a_finished_run_is_only_written_again(tmp_path: Path, reference: dict[str, bytes]) -> None:
    run(tmp_path)
    (tmp_path / "out" / "policy.safetensors").unlink()
    assert contents(run(tmp_path)) == reference


def flip(path: Path) -> None:
    """Change one bit of a weight."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("lost", [0, 30, None])
def test_lost_lines_of_progress_come_back(
    tmp_path: Path,
    reference: dict[str, bytes],
    frequent: None,
    monkeypatch: pytest.MonkeyPatch,
    lost: int | None,
) -> None:
    """After a loss of power the file may be shorter than in the checkpoint, or missing."""
    with monkeypatch.context() as patch:
        stop_after(patch, 6, lambda: (_ for _ in ()).throw(Stops()))
        with pytest.raises(Stops):
            run(tmp_path)
    path = tmp_path / "run" / "progress.jsonl"
    path.unlink() if lost is None else path.write_bytes(path.read_bytes()[:lost])
    assert contents(run(tmp_path)) == reference


def test_tokens_changed_under_a_training(tmp_path: Path, token_file: Path, frequent: None) -> None:
    """It stops with the name of the file; once that is back, it ends as if nothing had happened."""
    whole = token_file.read_bytes()
    shared = tmp_path / "train.tokens"
    shared.write_bytes(whole)
    wanted = contents(run(tmp_path / "undisturbed", stores=[TokenStore(shared)]))
    store = TokenStore(shared)
    read = []
    original = store.screens

    def screens(start: int, stop: int) -> np.ndarray:
        read.append(start)
        if len(read) == 20:
            shared.write_bytes(whole[:-3000])
        return original(start, stop)

    store.screens = screens  # type: ignore[method-assign]
    with pytest.raises(TokenError, match="train.tokens: was changed while it was read"):
        run(tmp_path / "disturbed", stores=[store])
    assert not (tmp_path / "disturbed" / "out").exists()
    shared.write_bytes(whole)
    assert contents(run(tmp_path / "disturbed", stores=[TokenStore(shared)])) == wanted


def test_a_reader_that_dies_without_a_word(
    tmp_path: Path, reference: dict[str, bytes], frequent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training does not wait forever for a thread that is gone without an error."""
    original = windows.read_batch
    calls = []

    def read(*args: Any) -> Any:
        if threading.current_thread().name == "batches":  # and not for the validation loss
            calls.append(1)
            if len(calls) == 6:
                raise SystemExit
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(windows, "read_batch", read)
        patch.setattr(
            windows.queue.Queue,
            "put",
            lambda self, item, timeout=None, _put=windows.queue.Queue.put: (
                None if isinstance(item, BaseException) else _put(self, item, timeout=timeout)
            ),
        )
        with pytest.raises(OSError, match="thread that reads batches has died"):
            run(tmp_path)
    assert contents(run(tmp_path)) == reference


def test_a_clock_that_goes_back_changes_nothing(
    tmp_path: Path, reference: dict[str, bytes], frequent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    assert contents(run(tmp_path)) == reference


@pytest.mark.parametrize(
    "what, words",
    [
        ("spec", "other settings"),
        ("truncated", "damaged or foreign"),
        ("empty", "damaged or foreign"),
        ("changed", "bytes were changed"),
        ("foreign", "damaged or foreign"),
        ("snapshot", "missing"),
        ("cut snapshot", "damaged"),
        ("changed snapshot", "damaged"),
    ],
)
def test_work_that_cannot_be_taken_up(
    tmp_path: Path,
    reference: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
    what: str,
    words: str,
) -> None:
    run(tmp_path, spec={"a": 2} if what == "spec" else None)
    path = tmp_path / "run" / "last.ckpt"
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "changed":
        flip(path)
    elif what == "foreign":
        torch.save({"weights": 1}, path)
    elif what == "snapshot":
        min((tmp_path / "run").glob("snapshot-*")).unlink()
    elif what == "cut snapshot":
        cut = max((tmp_path / "run").glob("snapshot-*"))
        cut.write_bytes(cut.read_bytes()[:-10])
    elif what == "changed snapshot":
        flip(max((tmp_path / "run").glob("snapshot-*")))
    broken = path.read_bytes()
    assert contents(run(tmp_path)) == reference
    message = capsys.readouterr().err
    assert words in message and "starting from the beginning" in message
    assert path.with_name("last.ckpt.bad").read_bytes() == broken


@pytest.mark.parametrize("which", ["last.ckpt", "snapshot-"])
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.EMFILE, "Too many open files"),
        PermissionError(errno.EACCES, "Permission denied"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_an_error_that_passes_costs_no_work(
    tmp_path: Path,
    reference: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    which: str,
    error: Exception,
) -> None:
    """The run stops and changes nothing; later it resumes."""
    if which == "last.ckpt":
        with monkeypatch.context() as patch:
            stop_after(patch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
            with pytest.raises(SystemExit):
                run(tmp_path)
    else:  # the snapshots of so short a run come at its end
        run(tmp_path)
    before = contents(tmp_path / "run")
    read, opened = Path.read_bytes, Path.open

    def fails(path: Path) -> bytes:
        if path.name.startswith(which):
            raise error
        return read(path)

    def fails_open(path: Path, *how: Any, **more: Any) -> Any:
        if path.name.startswith(which):
            raise error
        return opened(path, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        patch.setattr(Path, "open", fails_open)
        with pytest.raises(LastmileError, match="cannot be read now .*nothing was changed"):
            run(tmp_path)
    assert contents(tmp_path / "run") == before
    capsys.readouterr()
    assert contents(run(tmp_path)) == reference
    assert "resuming after update" in capsys.readouterr().err


def test_a_run_keeps_its_arithmetic_and_its_time(
    tmp_path: Path,
    frequent: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run that began in float32 ends in it, on a machine that would have begun in bfloat16."""

    monkeypatch.setattr(devices, "fast_bfloat16", lambda: False)
    wanted = contents(run(tmp_path / "whole", 50))
    run_until(monkeypatch, 2, tmp_path / "cut", 50)
    path = tmp_path / "cut" / "run" / "last.ckpt"
    checkpoint = checkpoints.read_checkpoint(path)
    assert checkpoint["arithmetic"] == "32-true" and checkpoint["seconds"] > 0
    checkpoints.write_checkpoint(path, {**checkpoint, "seconds": 1000.0})

    monkeypatch.setattr(devices, "fast_bfloat16", lambda: True)
    assert contents(run(tmp_path / "other", 50)) != wanted
    capsys.readouterr()
    trained: list[loop.Trained] = []
    assert contents(run(tmp_path / "cut", 50, trained=trained)) == wanted
    assert trained[0].arithmetic == "32-true" and trained[0].seconds > 1000
    assert "computing in 32-true, as before" in capsys.readouterr().err


def test_threads_are_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    stop_after(monkeypatch, 1, lambda: used.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    try:
        run(tmp_path, 8, how={"threads": 3})
    finally:
        torch.set_num_threads(before)
    assert used == [3]


def test_a_loss_that_is_not_finite(
    tmp_path: Path, frequent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Policy.loss
    calls = []

    def loss(self: Policy, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        calls.append(1)
        nats = original(self, batch)
        return nats * (float("nan") if len(calls) == 4 else 1.0)

    monkeypatch.setattr(Policy, "loss", loss)
    monkeypatch.setattr(loop, "held_out_batches", lambda *args: [])
    with pytest.raises(
        TrainingError,
        match="update 4 of .* nan, from (store 0, episode [0-3], frames [0-9]+ to [0-9]+(; )?)+",
    ):
        run(tmp_path)
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["done"] == 3 and all(
        torch.isfinite(value).all() for value in state["policy"].values()
    )
    assert not (tmp_path / "out").exists()


def test_the_bad_window_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy([9, 5])
    other = Toy([7], 1)
    sampler = WindowSampler([toy.starts, other.starts], 4, 4, 0)
    store, start, length = sampler.windows(2)[3]
    original = Policy.loss
    calls = []

    def loss(self: Policy, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        calls.append(1)
        nats = original(self, batch)
        return (
            nats * torch.tensor([1.0, 1.0, 1.0, float("inf")])[:, None] if len(calls) == 3 else nats
        )

    monkeypatch.setattr(Policy, "loss", loss)
    monkeypatch.setattr(loop, "held_out_batches", lambda *args: [])
    begin = [toy, other][store].starts
    episode = int(np.searchsorted(begin, start, "right")) - 1
    first = start - begin[episode]
    with pytest.raises(
        TrainingError,
        match=f"from store {store}, episode {episode}, "
        f"frames {first} to {first + length - 1}; a lower",
    ):
        run(tmp_path, stores=[toy, other])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_names_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def loss(self: Policy, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        raise error

    monkeypatch.setattr(Policy, "loss", loss)
    monkeypatch.setattr(loop, "held_out_batches", lambda *args: [])
    with pytest.raises(
        TrainingError,
        match="update 1 of .*: too little memory for training.batch: 4 .*training.accumulate",
    ):
        run(tmp_path)


def test_screens_of_another_size(tmp_path: Path) -> None:
    toy = Toy([9])
    toy.images = toy.images[:, :112]
    with pytest.raises(
        ValueError, match=r"screens of \(112, 168, 3\), but the policy expects \(126, 168, 3\)"
    ):
        run(tmp_path, stores=[toy])


def test_a_step_in_parts_is_the_same_step(tmp_path: Path) -> None:
    """Up to rounding, with padded windows of different lengths in the parts."""
    whole, parts = (run(tmp_path / f"{k}", how={"accumulate": k, "precision": 32}) for k in (1, 3))
    one, other = (
        np.genfromtxt(out / "progress.csv", delimiter=",", names=True) for out in (whole, parts)
    )
    assert np.array_equal(one["frames"], other["frames"]) and np.allclose(
        one["loss"], other["loss"], rtol=1e-3
    )


def test_a_batch_that_cannot_be_divided(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match="training.batch: 4 windows per update cannot be divided among 1 devices .* 5 parts",
    ):
        run(tmp_path, how={"accumulate": 5})


def test_parts_and_devices_divide_the_windows() -> None:
    toys = [Toy([30, 9]), Toy([25])]
    sampler = WindowSampler([toy.starts for toy in toys], 4, 7, 0)
    for step in range(5):
        shares = [
            Batches(toys, sampler, 0, 5, rank, 2, 3).part(step, part)
            for rank in range(2)
            for part in range(3)
        ]
        assert all(shares) and [w for share in shares for w in share] == sampler.windows(step)
    batches = list(Batches(toys, sampler, 1, 3, 1, 2, 3))
    assert len(batches) == 6 and [b["frames"] for b in batches[::3]] == [
        sum(w.length for w in sampler.windows(step)) for step in (1, 2)
    ]


def test_the_encoder_learns_at_its_own_rate() -> None:
    policy = Policy(TINY)
    learner = loop.PolicyModule(policy, Training(encoder_rate=0.1), 100)
    groups = learner.configure_optimizers().param_groups
    peak = {id(p): group["peak"] for group in groups for p in group["params"]}
    muon = {id(p): group["muon"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, p in policy.named_parameters():
        share = 0.1 if name.startswith("encoder.") else 1.0
        assert muon[id(p)] == takes_muon(name, p)
        assert peak[id(p)] == pytest.approx(share * (0.02 if takes_muon(name, p) else 1e-3))
        assert decay[id(p)] == (0.01 if p.ndim >= 2 else 0.0)
    named = dict(policy.named_parameters())
    assert muon[id(named["context.layers.0.up.weight"])]
    assert not muon[id(named["head.cell_prior.weight"])]
    assert not muon[id(named["encoder.stem.weight"])]
    learner.done = 50
    optimizer = SimpleNamespace(param_groups=groups)
    learner.optimizers = lambda: optimizer  # type: ignore[method-assign, assignment]
    learner.on_train_batch_start({}, 0)
    assert all(group["lr"] == group["peak"] * learner.schedule(50) for group in groups)


@pytest.mark.parametrize(
    "settings",
    [{}, {"encoder": "vit", "context": "patch", "head": "bins"}, {"encoder": "dinov2"}],
)
def test_muon_leaves_ends_and_pretrained_weights_to_adamw(settings: dict[str, Any]) -> None:
    if settings.get("encoder") == "dinov2":
        pytest.importorskip("transformers")
        settings = {**settings, "backbone": "small", "weights": "random"}
    with outline():
        policy = Policy(PolicySettings.model_validate({"size": "xs", **settings}))
    muon = {name for name, p in policy.named_parameters() if takes_muon(name, p)}
    assert any(name.startswith("context.layers.") for name in muon)
    first_and_last = ("encoder.model.", "encoder.stem.", "encoder.embed.", "head.x.", "head.y.")
    assert not {name for name in muon if name.startswith(first_and_last)}
    assert not {name for name in muon if name.startswith("head.place.") or "position" in name}


def test_muon_makes_steps_orthogonal() -> None:
    torch.manual_seed(0)
    shapes = ((32, 147), (96, 24), (48, 48), (24, 96), (147, 32), (48, 48))
    matrices = [torch.randn(rows, columns) for rows, columns in shapes]
    for matrix, made in zip(matrices, orthogonalize(matrices)):
        assert made.shape == matrix.shape
        singular = torch.linalg.svdvals(made)
        # A random square matrix has a few directions near 0, which stay small.
        assert 0.6 < singular.quantile(0.1) and singular.max() < 1.3
        # Alone or with others, a matrix gets the same step.
        torch.testing.assert_close(orthogonalize([matrix])[0], made)


def test_without_muon_the_optimizer_is_adamw() -> None:
    def trained(make: Callable[[Policy], torch.optim.Optimizer]) -> Policy:
        torch.manual_seed(0)
        policy = Policy(TINY)
        optimizer = make(policy)
        for _ in range(3):
            optimizer.zero_grad()
            policy.loss(batch).sum().backward()
            optimizer.step()
        return policy

    toy = Toy([9, 3, 14])
    batch = next(iter(Batches([toy], WindowSampler([toy.starts], 4, 2, 0), 0, 1)))
    ours = trained(
        lambda policy: loop.PolicyModule(policy, Training(muon_rate=0), 3).configure_optimizers()
    )
    theirs = trained(
        lambda policy: torch.optim.AdamW(
            [
                {"params": [p for p in policy.parameters() if p.ndim >= 2], "weight_decay": 0.01},
                {"params": [p for p in policy.parameters() if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=1e-3,
            betas=BETAS,
            fused=True,
        )
    )
    for a, b in zip(ours.parameters(), theirs.parameters()):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "how", [{"precision": "bf16"}, {"precision": "fp16"}, {"accumulate": 2, "precision": 32}]
)
def test_resumed_exactly_in_every_precision(
    tmp_path: Path, frequent: None, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    wanted = contents(run(tmp_path / "whole", 50, how=how))
    run_until(monkeypatch, 2, tmp_path / "cut", 50, how=how)
    assert contents(run(tmp_path / "cut", 50, how=how)) == wanted


def test_float16_that_overflows_leaves_out_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scale that is too large for some gradients is lowered, and training continues."""
    scales = []
    original = loop.Bookkeeper.on_train_batch_end

    def end(self: Any, trainer: Any, *args: Any) -> None:
        original(self, trainer, *args)
        scales.append(trainer.precision_plugin.scaler.get_scale())

    monkeypatch.setattr(loop.Bookkeeper, "on_train_batch_end", end)
    original_init = torch.amp.GradScaler.__init__
    monkeypatch.setattr(
        torch.amp.GradScaler,
        "__init__",
        lambda self, device="cuda", **kw: original_init(self, device, init_scale=2.0**30),
    )
    out = run(tmp_path, 50, how={"precision": "fp16"})
    assert scales[0] < 2.0**30 and all(
        torch.isfinite(v).all() for v in Policy.load(out).state_dict().values()
    )


def test_a_store_that_fails_ends_the_training(tmp_path: Path) -> None:
    toy = Toy([9, 9])

    def screens(start: int, stop: int) -> np.ndarray:
        raise OSError("disk gone")

    toy.screens = screens  # type: ignore[method-assign]
    with pytest.raises(OSError, match="disk gone"):
        run(tmp_path, stores=[toy])


def test_started_from_another_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(tmp_path / "first")
    capsys.readouterr()
    run(tmp_path / "second", frames=1, start=out, how={"muon_rate": 0})
    log = capsys.readouterr().err
    count = len(Policy.load(out).state_dict())
    assert (
        f"starting from {out}: {count} of {count} weight tensors copied" in log
        and "new: none" in log
    )
    one = Policy.load(out).state_dict()
    other = Policy.load(tmp_path / "second" / "out").state_dict()
    assert all((one[name] - other[name]).abs().max() < 0.01 for name in one)  # one step away


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"window": 5}, "window 4, not 5"),
        ({"size": "s"}, "size xs, not s"),
        ({"head": "bins"}, r"bins \[336, 252\], not \[112, 84\]"),
    ],
)
def test_a_policy_that_cannot_be_started_from(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with torch.random.fork_rng():
        Policy(TINY).save(tmp_path / "start")
    with pytest.raises(PolicyError, match=f"start: .*{words}"):
        train(
            tmp_path / "x",
            TINY.model_copy(update=settings),
            Training(frames=1),
            0,
            [Toy([9])],
            [],
            {},
            tmp_path / "y",
            start=tmp_path / "start",
        )


def test_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    printed = capfd.readouterr()
    assert printed.out == "" and all(
        line.startswith("update ") for line in printed.err.splitlines()
    )


def test_curves_are_written_for_tensorboard(tmp_path: Path) -> None:
    row = {"step": 3, "frames": 40, "loss": 2.5, "validation_loss": None}
    row |= {"learning_rate": 1e-3, "frames_per_s": 100.0}
    spec = {"run": {"run": "colored_dots", "seed": 1}}
    if importlib.util.find_spec("tensorboard") is None:
        Curves(tmp_path, spec, 40).add(row)
        assert not list(tmp_path.iterdir())  # without the package nothing is written
        return
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Curves(tmp_path, spec, 40).add(row)
    events = EventAccumulator(str(tmp_path / "colored_dots.1")).Reload()
    assert sorted(events.Tags()["scalars"]) == ["frames_per_s", "learning_rate", "loss"]
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(40, 2.5)]
