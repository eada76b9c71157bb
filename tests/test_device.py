"""Training with the data on the device: on the CPU, by the code that a GPU runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lastmile.config import PolicySettings, Training
from lastmile.policy.policy import Policy
from lastmile.simulation.tokens import FirstEpisodes, Store, TokenStore
from lastmile.training import bookkeeper, loop, module
from lastmile.training.device_data import (
    DeviceData,
    borders,
    device_bytes,
    first_frames,
    fits,
    make_plan,
)
from lastmile.training.loop import train
from lastmile.training.module import TrainingError
from lastmile.training.windows import WindowSampler, read_batch

CPU = torch.device("cpu")
SETTINGS = PolicySettings(size="xs", window=8)
TRAINING = Training(frames=260, batch=4, snapshots=2, precision="32")


@pytest.fixture(scope="module")
def stores(token_file: Path) -> list[Store]:
    return [FirstEpisodes(TokenStore(token_file), 3), TokenStore(token_file)]


def test_all_updates_at_once_are_the_updates_one_by_one(stores: list[Store]) -> None:
    sampler = WindowSampler([store.starts for store in stores], 8, 5, 3)
    expected = [[tuple(window) for window in sampler.windows(update)] for update in range(60)]
    fresh = WindowSampler([store.starts for store in stores], 8, 5, 3)
    assert [[tuple(row) for row in rows] for rows in fresh.table(0, 60).tolist()] == expected
    assert fresh.table(17, 19).tolist() == [[list(w) for w in rows] for rows in expected[17:19]]

    lengths = np.array([sum(window[2] for window in windows) for windows in expected])
    seen = fresh.schedule(1500)
    assert seen.tolist() == lengths.cumsum()[: len(seen)].tolist()
    assert seen[-1] >= 1500 > seen[-2]


def test_screens_and_clicks_on_the_device_are_those_of_the_files(stores: list[Store]) -> None:
    data = DeviceData(stores, CPU)
    offsets = first_frames(stores)
    assert offsets.tolist() == [0, *np.cumsum([len(store.clicks) for store in stores])]
    rng = np.random.default_rng(0)
    for number in rng.integers(0, offsets[-1], 30).tolist():
        which = int(np.searchsorted(offsets, number, "right")) - 1
        store, frame = stores[which], number - int(offsets[which])
        index = torch.tensor([number])
        assert (data.screens(index).numpy() == store.screens(frame, frame + 1)).all()
        assert data.targets[number].tolist() == store.targets[frame].tolist()
        begins = frame in store.starts
        before = [-1, -1] if begins else store.clicks[frame - 1].tolist()
        assert data.previous(index)[0].tolist() == before


def test_the_bytes_are_told_beforehand(stores: list[Store]) -> None:
    data = DeviceData(stores, CPU)
    tensors = [data._pieces, data._index, data._base, data.clicks, data.targets, data.first]
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert device_bytes(stores) == held


@pytest.mark.parametrize("window, stretch", [(8, None), (1, 8), (3, 8)])
def test_a_plan_holds_the_frames_of_the_windows(
    stores: list[Store], window: int, stretch: int | None
) -> None:
    sampler = WindowSampler([store.starts for store in stores], window, 5, 0, stretch)
    offsets = first_frames(stores)
    table = sampler.table(0, 12)
    room = int(table[:, :, 2].sum(1).max())
    plan = make_plan(sampler, offsets, 0, 12, room)
    for update in range(12):
        count = int(plan.counts[update])
        expected = [
            (int(offsets[store]) + start + i, row * window + i)
            for row, (store, start, length) in enumerate(sampler.windows(update))
            for i in range(length)
        ]
        pairs = list(zip(plan.frames[update].tolist(), plan.slots[update].tolist()))
        assert pairs[:count] == expected
        assert len(set(plan.slots[update].tolist())) == room  # padding takes slots of its own


@given(st.sets(st.integers(1, 60), max_size=8), st.integers(0, 59), st.integers(1, 40), st.data())
def test_blocks_end_where_they_have_to(
    ends: set[int], first: int, most: int, data: st.DataObject
) -> None:
    last = data.draw(st.integers(first + 1, 60))
    blocks = borders(sorted(ends), first, last, most)
    updates = [update for begin, end in blocks for update in range(begin, end)]
    assert updates == list(range(first, last))
    assert all(0 < end - begin <= most for begin, end in blocks)
    assert {end for end in ends if first < end < last} <= {end for _, end in blocks}


def trained(
    folder: Path,
    stores: list[Store],
    on_device: bool,
    stretch: int | None = None,
    **changes: object,
) -> Policy:
    training = TRAINING.model_copy(update=changes)
    train(
        folder / "run",
        SETTINGS,
        training,
        0,
        stores,
        stores[:1],
        {},
        folder / "out",
        on_device=on_device,
        stretch=stretch,
    )
    return Policy.load(folder / "out")


def losses(folder: Path) -> np.ndarray:
    lines = (folder / "out/progress.csv").read_text().splitlines()[1:]
    return np.array([[float(x or "nan") for x in line.split(",")] for line in lines])


@pytest.mark.parametrize("stretch", [None, 16])
def test_updates_on_the_device_are_the_ordinary_ones(
    tmp_path: Path, stores: list[Store], stretch: int | None
) -> None:
    trained(tmp_path / "host", stores, False, stretch)
    trained(tmp_path / "device", stores, True, stretch)
    host, device = losses(tmp_path / "host"), losses(tmp_path / "device")
    assert host.shape == device.shape
    assert (host[:, :2] == device[:, :2]).all()  # updates and frames
    # The same sums in another order; Muon makes small differences larger, update by update.
    np.testing.assert_allclose(device[:3, 2], host[:3, 2], rtol=1e-4)
    np.testing.assert_allclose(device[:, 2:], host[:, 2:], rtol=2e-2)


def fail(patch: pytest.MonkeyPatch, call: int, error: BaseException) -> None:
    """Keep a checkpoint after each block of two updates, and let one block raise an error."""
    calls = 0
    run = module.DeviceUpdates.run

    def failing(self: module.DeviceUpdates, *arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return run(self, *arguments)  # type: ignore[arg-type]

    patch.setattr(bookkeeper, "CHECKPOINT_SECONDS", -1)
    patch.setattr(loop, "UPDATES_AT_ONCE", 2)
    patch.setattr(module.DeviceUpdates, "run", failing)


def test_a_stopped_run_on_the_device_resumes(
    tmp_path: Path, stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path / "whole", stores, True)
    fail(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained(tmp_path / "stopped", stores, True)
    resumed = trained(tmp_path / "stopped", stores, True)
    for a, b in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_finite_is_named(
    tmp_path: Path, stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLIP", float("nan"))
    with pytest.raises(TrainingError, match=r"update [12] of \d+: the loss .* episode \d+, frames"):
        trained(tmp_path, stores, True)


def test_only_token_files_stay_on_a_device(stores: list[Store]) -> None:
    class Other:
        starts = stores[0].starts
        clicks = stores[0].clicks
        targets = stores[0].targets

        def screens(self, start: int, stop: int) -> np.ndarray:
            return stores[0].screens(start, stop)

    assert not fits([*stores, Other()], CPU)


def test_batches_and_plans_agree(stores: list[Store]) -> None:
    """The frames of a plan are those that `read_batch` reads for the same update."""
    sampler = WindowSampler([store.starts for store in stores], 8, 5, 1)
    batch = read_batch(stores, sampler.windows(3), 8)
    table = sampler.table(3, 4)
    plan = make_plan(sampler, first_frames(stores), 3, 4, int(table[:, :, 2].sum()))
    data = DeviceData(stores, CPU)
    real = batch["mask"].flatten()
    assert torch.equal(data.screens(plan.frames[0]), batch["screens"].flatten(0, 1)[real])
    assert torch.equal(data.previous(plan.frames[0]), batch["previous"].flatten(0, 1)[real])
    assert torch.equal(data.targets[plan.frames[0]].long(), batch["targets"].flatten(0, 1)[real])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "CUDA error: unspecified launch failure\nmore",
            r"update 5 .*GPU failed \(CUDA error.*resume",
        ),
        ("CUDA out of memory. Tried to allocate", r"update 5 .*too little free memory.*another"),
    ],
)
def test_a_gpu_that_fails_leaves_the_checkpoint(
    tmp_path: Path, stores: list[Store], monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    fail(monkeypatch, 3, RuntimeError(words))
    monkeypatch.setattr(loop, "progress_interval", lambda updates: 100)
    with pytest.raises(TrainingError, match=said):
        trained(tmp_path, stores, True)
    assert (tmp_path / "run/last.ckpt").exists()
    trained(tmp_path, stores, True)  # goes on
