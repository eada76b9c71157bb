"""What only a GPU can show. Run where there is one: `python -m pytest -m gpu tests/test_gpu.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lastmile.config import PolicySettings, Training
from lastmile.evaluation.closed_loop import play_rollouts
from lastmile.evaluation.lockstep import lockstep
from lastmile.policy.policy import Policy, initial
from lastmile.simulation.shared_rows import worlds_of
from lastmile.simulation.source import Source
from lastmile.simulation.tokens import Store, TokenStore
from lastmile.training.device_data import DeviceData, first_frames, make_plan
from lastmile.training.device_updates import DeviceUpdates
from lastmile.training.devices import device_slot
from lastmile.training.loop import train
from lastmile.training.module import CLIP, PolicyModule
from lastmile.training.optimizer import MuonAdamW
from lastmile.training.windows import WindowSampler

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore"),  # of a torch that is not the tested one
]

SETTINGS = PolicySettings(size="xs", window=8)


@pytest.fixture(scope="module")
def stores(token_file: Path) -> list[Store]:
    return [TokenStore(token_file)]


def updates(stores: list[Store], device: str, count: int = 6, **how: Any) -> list[float]:
    """Return the losses of some updates, one by one."""
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    training = Training(batch=4)
    policy = Policy(SETTINGS).to(device)
    optimizer = PolicyModule(policy, training, count).configure_optimizers()
    assert isinstance(optimizer, MuonAdamW)
    sampler = WindowSampler([store.starts for store in stores], 8, 4, 0)
    room = int(sampler.table(0, count)[:, :, 2].sum(1).max())
    plans = [make_plan(sampler, first_frames(stores), u, u + 1, room) for u in range(count)]
    data = DeviceData(stores, torch.device(device))
    taker = DeviceUpdates(
        policy, optimizer, lambda update: 0.2, data, plans[0], (4, 8), CLIP, **how
    )
    sums = [taker.run(plan, update) for update, plan in enumerate(plans)]
    assert all(one.bad == -1 for one in sums)
    return [one.nats / one.frames for one in sums]


def test_a_recorded_update_is_the_one_of_the_cpu(stores: list[Store]) -> None:
    expected = updates(stores, "cpu")
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(updates(stores, "cuda", recorded=False), expected, rtol=2e-3)
    np.testing.assert_allclose(updates(stores, "cuda"), expected, rtol=2e-3)


def test_bfloat16_and_compilation_change_little(stores: list[Store]) -> None:
    expected = updates(stores, "cpu")
    half = updates(stores, "cuda", half=torch.bfloat16)
    np.testing.assert_allclose(half, expected, rtol=2e-2)
    compiled = updates(stores, "cuda", half=torch.bfloat16, compiled=True)
    np.testing.assert_allclose(compiled, expected, rtol=2e-2)


@pytest.mark.parametrize("precision", ["auto", "fp16"])
def test_a_training_stops_and_resumes(tmp_path: Path, stores: list[Store], precision: str) -> None:
    training = Training.model_validate(
        {"frames": 900, "batch": 4, "snapshots": 2, "precision": precision}
    )
    trained = train(
        tmp_path / "run", SETTINGS, training, 0, stores, stores, {}, tmp_path / "out", gpus=[0]
    )
    assert trained.arithmetic == ("16-mixed" if precision == "fp16" else "bf16-mixed")
    rows = (tmp_path / "out/progress.csv").read_text().splitlines()[1:]
    assert float(rows[-1].split(",")[2]) < float(rows[0].split(",")[2])

    # The run is done: given again, it only writes its results.
    train(tmp_path / "run", SETTINGS, training, 0, stores, stores, {}, tmp_path / "new", gpus=[0])
    first, again = Policy.load(tmp_path / "out"), Policy.load(tmp_path / "new")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters()))


def test_a_gpu_serves_one_training_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lastmile.training.devices import device_slot\n"
        "with device_slot(Path(sys.argv[1])) as gpus: print(gpus, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None and other.stdin is not None
    assert other.stdout.readline().strip() == "[0]"
    if torch.cuda.device_count() == 1:
        locked = list(tmp_path.glob(".gpu-*.lock"))
        assert len(locked) == 1
    other.stdin.close()
    other.wait()
    with device_slot(tmp_path) as gpus:
        assert gpus == [0]


def test_lockstep_on_a_gpu_plays_the_same_rollouts() -> None:
    source = Source("colored_dots", "test", 0)
    worlds = worlds_of(source, 4, 1)
    policy = initial(PolicySettings(size="xs", window=4), 0)
    table = lockstep(policy.to("cuda"), worlds, 1.0, 0, workers=2, rows=4)
    assert all(0 < steps <= w.limit for steps, w in zip(table["steps"], worlds))

    from lastmile.simulation.pool import Rollout, describe

    rollouts = [
        Rollout(w.number, source.task, source.world(w.episode), source.look(w.episode), w.limit)
        for w in worlds
    ]
    expected = [describe(r) for r in play_rollouts(policy.to("cpu"), rollouts, 1.0)]
    same = [row["score"] == expected[n]["score"] for n, row in table.iterrows()]
    assert np.mean(same) >= 0.5  # a rounding may flip a click, which changes what follows
