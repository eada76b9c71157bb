"""Training a policy from clicks. It can be killed at any moment, goes on where it was, and on a CPU ends bit for bit where it would have ended."""

from __future__ import annotations

import csv
import json
import logging
import os
import queue
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.exceptions import SIGTERMException
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lastmile import files
from lastmile.config import PolicySettings, Training, canonical
from lastmile.policy.policy import NOWHERE, Policy, PolicyError, restore, weights

CHECKPOINT_SECONDS = 60
LOG_LINES = 100
"""Lines of progress in a training, about."""
PREFETCH = 4
"""Batches that wait for the model."""
VALIDATION_WINDOWS = 48
BETAS = (0.9, 0.95)


class TrainingError(RuntimeError):
    """A training that cannot go on; the message names the step. The last good checkpoint is kept."""


class Store(Protocol):
    """What training needs of a TokenStore."""

    starts: np.ndarray  # (episodes + 1,)
    clicks: np.ndarray  # (frames, 2)

    def screens(self, start: int, stop: int) -> np.ndarray: ...  # (stop - start, 126, 168, 3) uint8


class Window(NamedTuple):
    """Consecutive frames of one episode."""

    store: int
    start: int
    length: int


class WindowSampler:
    """Which windows each step sees: a pure function of (seed, step).

    Each epoch of a store cuts every episode at a random offset into consecutive windows of at most `window` frames and shuffles them, so every
    frame, the first and the last of an episode included, is seen exactly once in an epoch. Stores take turns, window by window.
    Frames are counted as they are: padding of short windows does not count.

    starts: one array (episodes + 1,) for each store. batch: windows a step.
    """

    def __init__(self, starts: Sequence[np.ndarray], window: int, batch: int, seed: int) -> None:
        for number, each in enumerate(starts):
            if len(each) < 2 or np.any(np.diff(each) < 1):
                raise ValueError(f"store {number}: expected at least one episode, none of them empty")
        if not starts:
            raise ValueError("expected at least one store of tokens")
        self.starts = [np.asarray(each, np.int64) for each in starts]
        self.window, self.batch, self.seed = window, batch, seed
        self._ends: list[list[int]] = [[0] for _ in starts]  # windows of a store before each epoch
        self._epoch = lru_cache(maxsize=2 * len(starts))(self._cut)

    def _cut(self, store: int, epoch: int) -> np.ndarray:
        """All windows of an epoch in their order, (windows, 2): start and length."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, store, epoch]))
        first, last = self.starts[store][:-1], self.starts[store][1:]
        offset = rng.integers(1, self.window + 1, len(first))  # length of an episode's first window
        counts = 1 + np.maximum(0, -(-(last - first - offset) // self.window))
        episode = np.repeat(np.arange(len(first)), counts)
        piece = np.arange(len(episode)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = np.maximum(first[episode], first[episode] + offset[episode] + (piece - 1) * self.window)
        end = np.minimum(last[episode], first[episode] + offset[episode] + piece * self.window)
        return np.stack([begin, end - begin], 1)[rng.permutation(len(episode))]

    def _at(self, store: int, position: int) -> Window:
        """A store's window by its position in the row of all epochs."""
        ends = self._ends[store]
        while position >= ends[-1]:
            ends.append(ends[-1] + len(self._epoch(store, len(ends) - 1)))
        epoch = int(np.searchsorted(ends, position, side="right")) - 1
        start, length = self._epoch(store, epoch)[position - ends[epoch]].tolist()
        return Window(store, start, length)

    def windows(self, step: int) -> list[Window]:
        """The windows of a step, counted from 0."""
        stores = len(self.starts)
        return [self._at(number % stores, number // stores) for number in range(step * self.batch, (step + 1) * self.batch)]

    def schedule(self, frames: int) -> np.ndarray:
        """Frames seen after each step, (steps,), up to the first step that reaches `frames`."""
        seen = []
        while not seen or seen[-1] < frames:
            seen.append((seen[-1] if seen else 0) + sum(window.length for window in self.windows(len(seen))))
        return np.array(seen)


def read_batch(stores: Sequence[Store], chosen: Sequence[Window], length: int) -> dict[str, Tensor]:
    """Windows as the policy takes them: screens (B, T, 126, 168, 3) uint8, clicks and previous (B, T, 2) int64, mask (B, T); T = length."""
    shape = (len(chosen), length)
    screens = None
    clicks, previous = np.zeros((*shape, 2), np.int64), np.full((*shape, 2), NOWHERE, np.int64)
    mask = np.arange(length) < np.array([window.length for window in chosen])[:, None]
    for row, (number, start, n) in enumerate(chosen):
        store = stores[number]
        read = store.screens(start, start + n)
        if screens is None:
            screens = np.zeros((*shape, *read.shape[1:]), np.uint8)
        screens[row, :n] = read
        clicks[row, :n] = store.clicks[start : start + n]
        previous[row, 1:n] = clicks[row, : n - 1]
        if not _begins(store, start):
            previous[row, 0] = store.clicks[start - 1]
    return {
        name: torch.from_numpy(value) for name, value in zip(("screens", "clicks", "previous", "mask"), (screens, clicks, previous, mask))
    }


def _begins(store: Store, frame: int) -> bool:
    """Whether an episode begins at this frame."""
    return store.starts[np.searchsorted(store.starts, frame)] == frame


class Batches:
    """The batches of steps `first` to `last` - 1, read ahead by a thread. `waited` counts the seconds in which the model waited for them."""

    def __init__(self, stores: Sequence[Store], sampler: WindowSampler, first: int, last: int) -> None:
        self.stores, self.sampler, self.first, self.last = stores, sampler, first, last
        self.waited = 0.0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        ready: queue.Queue = queue.Queue(PREFETCH)
        stop = threading.Event()

        def put(item: Any) -> bool:
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    return True
                except queue.Full:
                    continue
            return False

        def read() -> None:
            try:
                for step in range(self.first, self.last):
                    if not put(read_batch(self.stores, self.sampler.windows(step), self.sampler.window)):
                        return
            except BaseException as error:  # handed to the training, which fails with it
                put(error)

        thread = threading.Thread(target=read, name="batches", daemon=True)
        thread.start()
        try:
            for _ in range(self.first, self.last):
                asked = time.perf_counter()
                item = ready.get()
                self.waited += time.perf_counter() - asked
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()


class PolicyModule(pl.LightningModule):
    """How a policy learns: AdamW, linear warm-up, cosine to a tenth, clipped gradients.

    done: steps taken, over all sittings. losses: sums of nats and frames since the last line of progress.
    """

    def __init__(self, policy: Policy, training: Training, steps: int) -> None:
        super().__init__()
        self.policy, self.training_settings, self.steps = policy, training, steps
        self.done = 0
        self.losses = [0.0, 0]
        self.resumed: dict | None = None  # state of the optimizer to go on from

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = self.training_settings.warmup * self.steps
        rise = min(1.0, (step + 1) / max(warm, 1.0))
        fall = 0.5 * (1 + np.cos(np.pi * max(0.0, step - warm) / max(self.steps - warm, 1.0)))
        return self.training_settings.learning_rate * rise * (0.1 + 0.9 * float(fall))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        matrices = [p for p in self.policy.parameters() if p.ndim >= 2]
        others = [p for p in self.policy.parameters() if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": self.training_settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.training_settings.learning_rate, betas=BETAS, fused=True)
        if self.resumed:
            optimizer.load_state_dict(self.resumed)
        return optimizer

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        for group in self.optimizers().param_groups:
            group["lr"] = self.learning_rate(self.done)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        total, frames = self.policy.loss(batch).sum(), int(batch["mask"].sum())
        value = total.item()
        if not np.isfinite(value):
            raise TrainingError(f"step {self.done + 1} of {self.steps}: the loss is {value}; a lower training.learning_rate may help")
        self.losses = [self.losses[0] + value, self.losses[1] + frames]
        return total / frames

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.training_settings.clip)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"step {self.done + 1} of {self.steps}: the gradient's norm is {norm.item()}; a lower learning rate may help"
            )


class Keeper(pl.Callback):
    """Keeps a training's progress, snapshots and checkpoint in its folder, and stops it cleanly after a signal."""

    def __init__(
        self, folder: Path, spec: str, seen: np.ndarray, snapshots: list[int], batches: Batches, validation: list[dict[str, Tensor]]
    ):
        self.folder, self.spec, self.seen, self.batches, self.validation = folder, spec, seen, batches, validation
        self.snapshots = set(snapshots)
        self.every = max(1, len(seen) // LOG_LINES)
        self.signal: int | None = None
        self.started = self.saved = time.monotonic()
        self.first = batches.first

    def on_train_batch_end(self, trainer: pl.Trainer, module: PolicyModule, *args: Any) -> None:
        module.done += 1
        done = module.done
        if done in self.snapshots:
            save_snapshot(self.folder, int(self.seen[done - 1]), module.policy)
        if done in self.snapshots or done % self.every == 0 or done == len(self.seen):
            self._log(module)
        if done == len(self.seen) or self.signal or time.monotonic() - self.saved > CHECKPOINT_SECONDS:
            self._checkpoint(trainer, module)
        if self.signal:
            trainer.should_stop = True

    def on_exception(self, trainer: pl.Trainer, module: PolicyModule, exception: BaseException) -> None:
        if isinstance(exception, SIGTERMException):  # raised between steps, if the signal came too late for the step's own checkpoint
            self._checkpoint(trainer, module)

    def _log(self, module: PolicyModule) -> None:
        done, frames = module.done, int(self.seen[module.done - 1])
        elapsed = time.monotonic() - self.started
        rate = (frames - (int(self.seen[self.first - 1]) if self.first else 0)) / elapsed
        row = {
            "step": done,
            "frames": frames,
            "loss": module.losses[0] / module.losses[1],
            "learning_rate": module.learning_rate(done - 1),
            "validation_loss": self._validate(module) if done in self.snapshots and self.validation else None,
            "frames_per_s": round(rate, 1),
            "wait_share": round(self.batches.waited / elapsed, 4),
            "seconds_left": round((int(self.seen[-1]) - frames) / rate, 1),
        }
        module.losses = [0.0, 0]
        with open(self.folder / "progress.jsonl", "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")
        held = "" if row["validation_loss"] is None else f"  validation {row['validation_loss']:.3f}"
        say(
            f"step {done}/{len(self.seen)}  {frames} frames  loss {row['loss']:.3f}{held}  {rate:.0f} frames/s  "
            f"waiting {row['wait_share']:.1%}  {row['seconds_left']:.0f} s left"
        )

    def _validate(self, module: PolicyModule) -> float:
        """Mean nats over a fixed small set of held-out windows."""
        total, frames = 0.0, 0
        with torch.inference_mode(), torch.autocast(module.device.type, torch.bfloat16, enabled=module.device.type == "cuda"):
            for batch in self.validation:
                batch = {name: value.to(module.device) for name, value in batch.items()}
                total += module.policy.loss(batch).sum().item()
                frames += int(batch["mask"].sum())
        return total / frames

    def _checkpoint(self, trainer: pl.Trainer, module: PolicyModule) -> None:
        state = {
            "spec": self.spec,
            "done": module.done,
            "losses": module.losses,
            "policy": module.policy.state_dict(),
            "optimizer": trainer.optimizers[0].state_dict(),
        }
        with files.writing(self.folder / "last.ckpt") as temporary:
            torch.save(state, temporary)
        self.saved = time.monotonic()


def train(
    run_dir: str | Path,
    settings: PolicySettings,
    training: Training,
    seed: int,
    stores: Sequence[Store],
    validation: Sequence[Store],
    spec: dict[str, Any],
    out_dir: str | Path,
    threads: int | None = None,
    start: str | Path | None = None,
) -> None:
    """Train a policy, working in `run_dir`, and put the results into `out_dir`.

    Written to out_dir at the end: config.json, policy.safetensors, snapshots.safetensors, progress.csv (nothing in them holds a time).
    spec: what the run is; work in run_dir is taken up only if it was for an equal spec. start: folder of a policy to start from.
    A first SIGINT or SIGTERM stops the training after the step, with a checkpoint; it then raises KeyboardInterrupt or SystemExit(143).
    Raises TrainingError on a loss or gradient that is not finite, PolicyError on a bad `start`, ValueError without any frames.
    """
    run_dir, out_dir = Path(run_dir), Path(out_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    if threads:
        torch.set_num_threads(threads)
    sampler = WindowSampler([store.starts for store in stores], settings.window, training.batch, seed)
    seen = sampler.schedule(training.frames)
    snapshots = snapshot_steps(seen, training.snapshots)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Policy(settings)
    if start is not None:
        other = Policy.load(start)
        if other.config() != policy.config():
            raise PolicyError(f"{start}: a policy with {canonical(other.config())} cannot start one with {canonical(policy.config())}")
        policy.load_state_dict(other.state_dict())
    module = PolicyModule(policy, training, len(seen))
    wanted = canonical(
        {"spec": spec, "settings": settings.model_dump(mode="json"), "training": training.model_dump(mode="json"), "seed": seed}
    )
    resume(run_dir, module, wanted, [int(seen[step - 1]) for step in snapshots], snapshots)
    batches = Batches(stores, sampler, module.done, len(seen))
    keeper = Keeper(run_dir, wanted, seen, snapshots, batches, held_out(validation, settings.window, training.batch))
    if module.done < len(seen):
        fit(module, keeper, batches)
    finish(run_dir, out_dir, policy, [int(seen[step - 1]) for step in snapshots])


def fit(module: PolicyModule, keeper: Keeper, batches: Batches) -> None:
    """Take the steps that are left."""
    with quiet_lightning(), stopping(keeper):
        gpu = torch.cuda.is_available()
        trainer = pl.Trainer(
            accelerator="gpu" if gpu else "cpu",
            devices=1,
            precision="bf16-mixed" if gpu or fast_bfloat16() else "32-true",
            max_steps=batches.last - batches.first,
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[keeper],
            plugins=[LightningEnvironment()],
            default_root_dir=keeper.folder,
        )
        try:
            trainer.fit(module, train_dataloaders=batches)
        except SIGTERMException:  # Lightning's own answer to the signal
            pass
    if keeper.signal and module.done < len(keeper.seen):
        say(f"stopped by signal {keeper.signal} after step {module.done}/{len(keeper.seen)}; start again to go on")
        raise KeyboardInterrupt if keeper.signal == signal.SIGINT else SystemExit(128 + keeper.signal)
    module.cpu()


def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; elsewhere mixed precision would only be slower."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


def snapshot_steps(seen: np.ndarray, count: int) -> list[int]:
    """Steps (counted from 1) after which a snapshot is kept: log-spaced in frames from a hundredth of all (at least 1000) to the last step."""
    last = int(seen[-1])
    first = min(max(1000, last // 100), last)
    wanted = np.geomspace(first, last, count) if count > 1 else np.array([last])
    return sorted({min(int(np.searchsorted(seen, frames)) + 1, len(seen)) for frames in wanted} | {len(seen)})


def held_out(stores: Sequence[Store], window: int, batch: int) -> list[dict[str, Tensor]]:
    """A fixed small set of windows, the same for every training."""
    if not stores:
        return []
    chosen = WindowSampler([store.starts for store in stores], window, max(VALIDATION_WINDOWS, len(stores)), 0).windows(0)
    return [read_batch(stores, chosen[i : i + batch], window) for i in range(0, len(chosen), batch)]


def resume(folder: Path, module: PolicyModule, spec: str, snapshots: list[int], steps: list[int]) -> None:
    """Take up the work in `folder` if there is any for this spec, else clear the folder of it and say why."""
    path = folder / "last.ckpt"
    problem = None
    if path.exists():
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            missing = [
                frames for frames, step in zip(snapshots, steps) if step <= state["done"] and not snapshot_path(folder, frames).is_file()
            ]
            if state["spec"] != spec:
                problem = "it belongs to other settings, data or code"
            elif missing:
                problem = f"the snapshot after {missing[0]} frames is missing"
            else:
                restore(module.policy, state["policy"], path)
                module.done, module.losses, module.resumed = state["done"], list(state["losses"]), state["optimizer"]
                keep_progress(folder / "progress.jsonl", module.done)
                say(f"going on after step {module.done}/{module.steps}")
                return
        except Exception as error:  # torch.load raises whatever the damage makes it stumble over
            problem = f"it cannot be read ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        say(f"{path}: {problem}; starting from the beginning")
    for old in (path, folder / "progress.jsonl", *folder.glob("snapshot-*.safetensors")):
        old.unlink(missing_ok=True)


def keep_progress(path: Path, done: int) -> None:
    """Drop the lines of progress after step `done`, and a torn last one."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            break
        if row["step"] <= done:
            kept.append(line + "\n")
    files.write_text(path, "".join(kept))


def snapshot_path(folder: Path, frames: int) -> Path:
    return folder / f"snapshot-{frames:012d}.safetensors"


def save_snapshot(folder: Path, frames: int, policy: Policy) -> None:
    with files.writing(snapshot_path(folder, frames)) as temporary:
        save_file(weights(policy), temporary)


def load_snapshots(path: str | Path) -> Iterator[tuple[int, Policy]]:
    """Frames seen and the policy then, in order, from a snapshots.safetensors file.

    Raises PolicyError naming the file when it is missing, truncated or foreign.
    """
    try:
        with safe_open(str(path), "pt") as handle:
            meta = json.loads((handle.metadata() or {})["lastmile"])
            config, counts = meta["config"], meta["frames"]
            for frames in counts:
                policy = Policy.from_config(config, path)
                prefix = f"{frames}/"
                restore(policy, {name[len(prefix) :]: handle.get_tensor(name) for name in handle.keys() if name.startswith(prefix)}, path)
                yield frames, policy.eval()
    except (SafetensorError, OSError) as error:
        raise PolicyError(f"{path}: not a readable safetensors file ({error})") from None
    except (KeyError, json.JSONDecodeError):
        raise PolicyError(f"{path}: not a file of snapshots (no such metadata)") from None


def finish(run_dir: Path, out_dir: Path, policy: Policy, snapshots: list[int]) -> None:
    """Put the results into out_dir: first all are written beside it, then each is moved into place."""
    beside = out_dir.with_name(f".{out_dir.name}.{os.getpid()}.part")
    try:
        policy.save(beside)
        merged = {}
        for frames in snapshots:
            merged.update({f"{frames}/{name}": value for name, value in load_file(snapshot_path(run_dir, frames)).items()})
        with files.writing(beside / "snapshots.safetensors") as temporary:
            # One entry only: safetensors writes several in random order.
            save_file(merged, temporary, metadata={"lastmile": canonical({"config": policy.config(), "frames": snapshots})})
        rows = [json.loads(line) for line in (run_dir / "progress.jsonl").read_text(encoding="utf-8").splitlines()]
        with files.writing(beside / "progress.csv") as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
            columns = ["step", "frames", "loss", "learning_rate", "validation_loss"]
            table = csv.DictWriter(handle, columns, extrasaction="ignore", lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        out_dir.mkdir(parents=True, exist_ok=True)
        for path in sorted(beside.iterdir()):
            os.replace(path, out_dir / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning without its banners, tips and warnings about what is meant to be."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|lightning)\b")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


@contextmanager
def stopping(keeper: Keeper) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the training after its step; a second one acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: Any) -> None:
        if keeper.signal:
            raise KeyboardInterrupt
        keeper.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
