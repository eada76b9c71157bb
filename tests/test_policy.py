"""The policy: shapes, clicks and bins, decoding, rollouts and teacher forcing, saving, loading."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lastmile.config import PolicySettings
from lastmile.policy import Policy, PolicyError, flops_per_frame, parameter_count, sizes
from lastmile.policy.head import BinsHead, bin_of, click_of, draw
from lastmile.policy.network import frames_to_encode
from lastmile.policy.policy import initial
from lastmile.policy.vit import Dinov2Encoder
from lastmile.policy.weights import write_tensors
from lastmile.screen import HEIGHT, WIDTH

HEADS = ("pointer", "bins")
KINDS = [(e, c, h) for e in ("conv", "vit") for c in ("frame", "patch") for h in HEADS]
"""Encoder, context and head."""


def make(
    head: str = "pointer",
    window: int = 4,
    seed: int = 0,
    encoder: str = "conv",
    context: str = "frame",
) -> Policy:
    """A tiny policy whose weights are all random, so that every path matters."""
    torch.manual_seed(seed)
    policy = Policy(
        PolicySettings(size="xs", head=head, window=window, encoder=encoder, context=context)
    ).eval()
    for p in policy.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)
    return policy


def episode(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clicks = np.stack([rng.integers(0, WIDTH, n), rng.integers(0, HEIGHT, n)], 1)
    return rng.integers(0, 256, (n, 126, 168, 3), dtype=np.uint8), clicks.astype(np.int16)


def batch(b: int, t: int, seed: int = 0) -> dict[str, torch.Tensor]:
    screens, clicks = episode(b * t, seed)
    targets = torch.from_numpy(clicks).long().view(b, t, 2)
    previous = torch.cat([torch.full((b, 1, 2), -1), targets[:, :-1]], 1)
    mask = torch.ones(b, t, dtype=torch.bool)
    return {
        "screens": torch.from_numpy(screens).view(b, t, 126, 168, 3),
        "targets": targets,
        "previous": previous,
        "mask": mask,
    }


@pytest.mark.parametrize("size, millions", [("xs", 0.5), ("s", 1.6), ("m", 5), ("l", 20)])
def test_sizes(size: str, millions: float) -> None:
    assert parameter_count(PolicySettings(size=size)) / 1e6 == pytest.approx(millions, rel=0.2)


@pytest.mark.parametrize("encoder, context, head", KINDS)
def test_flops_are_counted_exactly(encoder: str, context: str, head: str) -> None:
    settings = PolicySettings(size="xs", encoder=encoder, context=context, head=head, window=8)
    policy = Policy(settings)
    # The counter knows plain products, but not the fused attention of the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        policy.loss(batch(2, 8))
    assert flops_per_frame(settings) == pytest.approx(counter.get_total_flops() / 16, rel=0.001)


@pytest.mark.parametrize("encoder, context, head", KINDS)
def test_padding_does_not_matter(encoder: str, context: str, head: str) -> None:
    policy = make(head, encoder=encoder, context=context)
    data = batch(3, 4)
    data["mask"][1, 2:] = False
    with torch.no_grad():
        nll = policy.loss(data)
        assert (
            nll.shape == (3, 4)
            and torch.equal(nll[1, 2:], torch.zeros(2))
            and bool((nll[data["mask"]] > 0).all())
        )
        for name in ("screens", "targets", "previous"):
            data[name][1, 2:] = 7
        torch.testing.assert_close(policy.loss(data), nll)


@pytest.mark.parametrize("encoder, context, head", KINDS)
def test_how_much_padding_is_encoded_does_not_matter(
    encoder: str, context: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changes neither the loss nor its gradient."""
    policy = make(head, encoder=encoder, context=context)
    data = batch(3, 4)
    data["mask"][0, 3:] = data["mask"][1, 1:] = False
    results = []
    for counts in (12, 1):  # no padding, and all of it
        monkeypatch.setattr("lastmile.policy.network.FRAME_COUNTS", counts)
        policy.zero_grad()
        nll = policy.loss(data)
        nll.sum().backward()
        results.append(
            [nll.detach(), *(p.grad.clone() for p in policy.parameters() if p.grad is not None)]
        )
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-4)


@given(lengths=st.lists(st.integers(1, 20), min_size=4, max_size=4))
def test_few_numbers_of_frames_are_worked_on(lengths: list[int]) -> None:
    """For each new number of frames oneDNN would compile its kernels."""
    mask = torch.arange(20) < torch.tensor(lengths)[:, None]
    index = frames_to_encode(mask)
    assert len(index) % 8 == 0 and len(index) - 8 < mask.sum() <= len(index)
    assert torch.equal(index[: mask.sum()], mask.flatten().nonzero()[:, 0])
    assert len(set(index.tolist())) == len(index)


@pytest.mark.parametrize("context", ["frame", "patch"])
def test_a_step_does_not_see_the_future(context: str) -> None:
    policy = make(context=context)
    data = batch(1, 4)
    with torch.no_grad():
        before = policy.loss(data)
        data["screens"][0, 3] = 0
        after = policy.loss(data)
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert not torch.allclose(after[:, 3], before[:, 3])


@pytest.mark.parametrize("encoder, context, head", KINDS)
def test_every_weight_learns(encoder: str, context: str, head: str) -> None:
    if (context, head) == ("frame", "bins"):
        pytest.skip("its cells are only read where the last click was")
    policy = make(head, encoder=encoder, context=context)
    policy.loss(batch(2, 4)).sum().backward()
    assert [
        name for name, p in policy.named_parameters() if p.grad is None or not p.grad.any()
    ] == []


@pytest.mark.parametrize("screen", [(128, 168), (126, 160), (133, 168), (0, 0)])
def test_a_screen_that_cannot_be_cut_into_cells(screen: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="divisible by 14"):
        Policy(PolicySettings(size="xs"), screen)


def test_another_screen_than_promised() -> None:
    with pytest.raises(ValueError, match="expected .*126, 168, 3"):
        make().encode(torch.zeros(1, 112, 168, 3, dtype=torch.uint8), torch.zeros(1, 2))


@given(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1))
def test_bins_of_clicks(x: int, y: int) -> None:
    click = torch.tensor([x, y])
    bins = bin_of(click)
    again = click_of(bins)
    assert bool((again - click).abs().max() <= 1) and torch.equal(bin_of(again), bins)
    assert (bins // 14).tolist() == [
        int(x * 24 / 448),
        int(y * 18 / 336),
    ]  # the cell, by its definition
    assert 0 <= bins[0] < 24 * 14 and 0 <= bins[1] < 18 * 14


def test_every_bin_is_decoded_onto_the_screen() -> None:
    bins = torch.arange(24 * 14)
    assert (
        torch.equal(bin_of(click_of(bins)), bins)
        and int(click_of(bins).max()) < WIDTH
        and int(click_of(torch.tensor(18 * 14 - 1))) < HEIGHT
    )


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=9).filter(lambda w: sum(w) > 1e-6),
    st.floats(0, 1, exclude_max=True),
)
def test_draws_follow_the_weights(weights: list[float], u: float) -> None:
    index = int(draw(torch.tensor([weights]).double(), torch.tensor([u]).double()))
    low = sum(weights[:index])
    high = sum(weights[: index + 1])
    assert weights[index] > 0
    assert low - 1e-9 <= u * sum(weights) <= high + 1e-9


def fixed(policy: Policy, p: torch.Tensor) -> None:
    """Make the pointer head give the cells the probabilities p, (rows, columns)."""
    policy.head.cell_logits = lambda context, cells: (  # type: ignore[method-assign]
        (p + 1e-12).log().flatten().expand(len(context), -1)
    )


def test_a_button_is_not_beaten_by_a_lone_peak() -> None:
    policy = make()
    p = torch.zeros(18, 24)
    p[4:6, 4:6] = 0.6 / 4
    p[4, 5] += 0.01
    p[15, 20] = 0.4
    fixed(policy, p / p.sum())
    context = torch.zeros(4000, 96)
    (cells, patches, _, _) = policy.encode(
        *(torch.zeros(1, *s, dtype=torch.uint8) for s in ((126, 168, 3), (2,)))
    )
    cells, patches = cells.expand(4000, -1, -1, -1), patches.expand(4000, -1, -1, -1)
    click = policy.head.mode(context[:1], cells[:1], patches[:1])
    assert (bin_of(click) // 14).tolist() == [[5, 4]]
    for temperature, share in ((1.0, 0.4 / 1.01), (0.5, 0.4**2 / (0.4**2 + 0.61**2))):
        u = torch.rand(4000, 3, generator=torch.Generator().manual_seed(1))
        cell = bin_of(policy.head.sample(context, cells, patches, temperature, u)) // 14
        assert float((cell == torch.tensor([20, 15])).all(1).float().mean()) == pytest.approx(
            share, abs=0.03
        )


@pytest.mark.parametrize("encoder, context, head", KINDS)
@pytest.mark.parametrize("temperature", [None, 0.4, 1.0])
def test_a_rollout_depends_on_nothing_else_in_the_batch(
    encoder: str, context: str, head: str, temperature: float | None
) -> None:
    policy = make(head, window=3, encoder=encoder, context=context)
    steps = 6
    screens = torch.from_numpy(episode(5 * steps)[0]).view(steps, 5, 126, 168, 3)
    u = torch.rand(steps, 5, 3, generator=torch.Generator().manual_seed(0))

    def play(groups: list[list[int]]) -> torch.Tensor:
        clicks = torch.full((steps + 1, 5, 2), -1)
        memory = policy.begin(5)
        for t in range(steps):
            for rows in groups:
                clicks[t + 1, rows] = policy.act(
                    memory,
                    torch.tensor(rows),
                    screens[t, rows],
                    clicks[t, rows],
                    temperature,
                    u[t, rows],
                )
        return clicks

    together = play([[0, 1, 2, 3, 4]])
    assert torch.equal(together, play([[3], [0, 4], [2, 1]]))
    assert bool((together[1:] >= 0).all()) and bool(
        (together[1:] < torch.tensor([WIDTH, HEIGHT])).all()
    )


@pytest.mark.parametrize("encoder, context, head", KINDS)
def test_teacher_forcing_is_what_a_rollout_does(
    encoder: str, context: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lastmile.policy.policy.CHUNK", 5)  # chunks end inside windows
    policy = make(head, window=4, encoder=encoder, context=context)
    (screens, clicks) = episode(13)
    modes, nll = policy.predict_episode(screens, clicks, clicks)
    memory = policy.begin(2)
    for t in range(13):
        previous = torch.from_numpy(clicks[t - 1 : t] if t else np.array([[-1, -1]])).long()
        click = policy.act(
            memory, torch.tensor([1]), torch.from_numpy(screens[t : t + 1]), previous
        )
        assert click[0].tolist() == modes[t].tolist()
    # In training the same: at the last place of a full window.
    data = batch(1, 13)
    data["previous"][0, 0] = -1
    part = {name: value[:, 6:10] for name, value in data.items()}
    with torch.no_grad():
        assert float(policy.loss(part)[0, -1]) == pytest.approx(float(nll[9]), abs=1e-4)


def test_a_new_episode_forgets_the_old_one() -> None:
    policy = make(window=3)
    screens = torch.from_numpy(episode(4)[0])
    rows = torch.tensor([0])
    start = torch.tensor([[-1, -1]])
    memory = policy.begin(1)
    fresh = policy.begin(1)
    for t in range(3):
        policy.act(memory, rows, screens[t : t + 1], start)
    memory.reset([0])
    policy.act(memory, rows, screens[3:], start)
    policy.act(fresh, rows, screens[3:], start)
    assert memory.lengths.tolist() == [1] and torch.equal(memory.tokens[0, 0], fresh.tokens[0, 0])


@pytest.mark.parametrize("context", ["frame", "patch"])
def test_activations_have_names_and_rows(context: str) -> None:
    policy = make(context=context)
    (screens, clicks) = episode(9)
    activations = policy.activations(screens, clicks)
    assert list(activations) == ["encoder", "token", "layer1", "layer2"]
    assert all(
        values.shape == (9, 96) and values.dtype == np.float32 and np.isfinite(values).all()
        for values in activations.values()
    )


@pytest.mark.parametrize("encoder, context, head", KINDS)
def test_saved_and_loaded(encoder: str, context: str, head: str, tmp_path: Path) -> None:
    policy = make(head, encoder=encoder, context=context)
    (screens, clicks) = episode(5)
    policy.save(tmp_path / "p")
    again = Policy.load(tmp_path / "p")
    assert again.settings == policy.settings and not again.training
    for one, other in zip(
        policy.predict_episode(screens, clicks, clicks),
        again.predict_episode(screens, clicks, clicks),
    ):
        assert np.array_equal(one, other)
    first = (tmp_path / "p" / "policy.safetensors").read_bytes()
    policy.save(tmp_path / "p")
    assert (tmp_path / "p" / "policy.safetensors").read_bytes() == first
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == [
        "config.json",
        "policy.safetensors",
    ]


def damage(folder: Path, what: str) -> None:
    """Damage a saved policy in one of many ways."""
    config = folder / "config.json"
    weights = folder / "policy.safetensors"
    values = json.loads(config.read_text())
    if what == "no config":
        config.unlink()
    elif what == "no weights":
        weights.unlink()
    elif what == "not json":
        config.write_text('{"format": ')
    elif what == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif what == "other shape":
        state = load(weights.read_bytes())
        state["encoder.stem.bias"] = torch.zeros(3)
        write_tensors(weights, state, {"config": values})
    elif what == "not finite":
        state = load(weights.read_bytes())
        state["encoder.stem.bias"][2] = float("nan")
        write_tensors(weights, state, {"config": values})
    elif what == "missing weight":
        state = load(weights.read_bytes())
        del state["encoder.stem.bias"]
        write_tensors(weights, state, {"config": values})
    elif what == "changed":
        whole = bytearray(weights.read_bytes())
        whole[-5] ^= 1
        weights.write_bytes(whole)
    elif what == "another window":
        values["settings"]["window"] += 1
        config.write_text(json.dumps(values))
    else:
        if what == "other format":
            values["format"] = "lastmile.policy/0"
        elif what == "unknown key":
            values["colour"] = 1
        elif what == "unknown setting":
            values["settings"]["colour"] = 1
        elif what == "missing setting":
            del values["settings"]["window"]
        elif what == "bad size":
            values["settings"]["size"] = "xxl"
        elif what == "bad screen":
            values["screen"] = [100, 100]
        elif what == "a list":
            values = [1]
        config.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "what, file, words",
    [
        ("no config", "config.json", "no such file"),
        ("changed", "policy.safetensors", "bytes were changed"),
        ("another window", "policy.safetensors", "belongs to another config.json"),
        ("no weights", "policy.safetensors", "no such file"),
        ("not json", "config.json", "cannot be parsed"),
        ("truncated", "policy.safetensors", "not a readable safetensors file"),
        (
            "other shape",
            "policy.safetensors",
            r"encoder.stem.bias.*expected shape \(32,\), got \(3,\)",
        ),
        (
            "not finite",
            "policy.safetensors",
            "'encoder.stem.bias' holds values that are not finite",
        ),
        ("missing weight", "policy.safetensors", "encoder.stem.bias.*missing"),
        ("other format", "config.json", "lastmile.policy/2.*lastmile.policy/0"),
        ("unknown key", "config.json", "colour"),
        ("unknown setting", "config.json", "settings?.*colour"),
        ("missing setting", "config.json", "all settings"),
        ("bad size", "config.json", "size.*xxl"),
        ("bad screen", "config.json", "divisible by 14"),
        ("a list", "config.json", "valid dictionary"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(
    tmp_path: Path, what: str, file: str, words: str
) -> None:
    make().save(tmp_path)
    damage(tmp_path, what)
    with pytest.raises(PolicyError, match=words) as error:
        Policy.load(tmp_path)
    assert str(error.value).startswith(str(tmp_path / file))


def test_files_have_the_permissions_of_any_other(tmp_path: Path) -> None:
    make().save(tmp_path / "policy")
    (tmp_path / "other").touch()
    usual = stat.S_IMODE((tmp_path / "other").stat().st_mode)
    for path in (tmp_path / "policy").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == usual


@pytest.mark.parametrize(
    "imports, absent",
    [
        ("lastmile.policy", "torch"),
        ("lastmile.policy.sizes", "torch"),
        ("lastmile.training.spec", "torch"),
        ("lastmile.policy.policy", "pytorch_lightning"),
        ("lastmile.training.checkpoints", "pytorch_lightning"),
    ],
)
def test_light_modules_stay_light(imports: str, absent: str) -> None:
    code = f"import sys, {imports}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_reading_a_policy_leaves_the_compiler_of_torch_alone(
    policy: Policy, tmp_path: Path
) -> None:
    """Its import takes seconds, in every job that reads a policy."""
    policy.save(tmp_path)
    code = (
        "import sys; from lastmile.policy.policy import Policy; Policy.load(sys.argv[1]); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == 0


def test_bins_cover_the_screen() -> None:
    assert WIDTH % BinsHead.PX == 0 and HEIGHT % BinsHead.PX == 0


@pytest.mark.parametrize("encoder, context, head", KINDS)
def test_half_precision_is_close(encoder: str, context: str, head: str) -> None:
    """On a GPU training runs in bfloat16; the likelihood itself stays float32."""
    policy = make(head, encoder=encoder, context=context)
    data = batch(2, 4)
    with torch.no_grad():
        exact = policy.loss(data)
        with torch.autocast("cpu", torch.bfloat16):
            half = policy.loss(data)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("kinds", [("conv", "frame"), ("vit", "patch")])
def test_no_frame_is_encoded_twice(kinds: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in training, where each position of a window is supervised, nor with teacher forcing,
    nor in a rollout."""
    policy = make(encoder=kinds[0], context=kinds[1])
    images, clicks = episode(11)
    encoded = []
    original = policy.encoder.forward

    def forward(screens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        encoded.append(len(screens))
        return original(screens)

    monkeypatch.setattr(policy.encoder, "forward", forward)
    data = batch(3, 4)
    data["mask"][1, 2:] = False
    policy.loss(data)
    assert sum(encoded) == 10  # padding is not encoded either
    encoded.clear()
    policy.predict_episode(images, clicks, clicks)
    assert sum(encoded) == 11
    encoded.clear()
    memory = policy.begin(2)
    screens = torch.from_numpy(images)
    policy.remember(memory, 1, screens[:3], torch.full((3, 2), -1))
    for t in range(3, 9):
        policy.act(
            memory, torch.tensor([0, 1]), screens[[t, t]], torch.zeros(2, 2, dtype=torch.long)
        )
    assert encoded == [3] + [2] * 6


PAPER = PolicySettings(
    size="paper", encoder="dinov2", context="patch", head="bins", weights="random"
)


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    pytest.importorskip("transformers")
    monkeypatch.setitem(sizes.BACKBONES, "small", sizes.Backbone(48, 2, 3))
    return {"size": "xs", "encoder": "dinov2", "backbone": "small"}


def test_the_published_model() -> None:
    """ViT-B/14 with registers, 8 layers of width 512 with 8 heads over the patch tokens of 20
    frames, softmax bins: about 95 million parameters."""
    pytest.importorskip("transformers")
    assert parameter_count(PAPER) / 1e6 == pytest.approx(95, rel=0.02)
    torch.manual_seed(0)
    policy = Policy(PAPER)
    data = batch(1, 2)
    assert isinstance(policy.encoder, Dinov2Encoder)
    backbone: Any = policy.encoder.model
    assert backbone.config.num_register_tokens == 4 and (
        policy.encoder.rows,
        policy.encoder.columns,
    ) == (9, 12)
    assert (
        policy.tokens_per_frame == 109
        and len(policy.context.layers) == 8
        and policy.context.layers[0].heads == 8
    )
    assert policy.config()["bins"] == [112, 84]
    frames = policy.encode(data["screens"][0], data["previous"][0])
    assert frames.cells.shape == (2, 9, 12, 768) and frames.tokens.shape == (2, 109, 512)
    optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], 1e-4)
    first = policy.loss(data).sum()
    assert float(first.detach()) / 2 == pytest.approx(
        np.log(112 * 84), rel=0.2
    )  # knows nothing yet
    first.backward()
    still = [
        name
        for name, p in policy.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert still == []
    optimizer.step()
    with torch.no_grad():
        assert policy.loss(data).sum() < first


@pytest.mark.parametrize(
    "context, head", [("frame", "pointer"), ("patch", "bins"), ("patch", "pointer")]
)
def test_dinov2(tiny_backbone: dict[str, Any], context: str, head: str) -> None:
    settings = PolicySettings(
        **tiny_backbone, weights="random", context=context, head=head, window=8
    )
    torch.manual_seed(0)
    policy = Policy(settings)
    for p in policy.parameters():
        if not p.any() and p.requires_grad:
            torch.nn.init.normal_(p, std=0.05)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = policy.loss(batch(2, 8))
    loss.sum().backward()
    assert [
        name
        for name, p in policy.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ] == []
    assert flops_per_frame(settings) == pytest.approx(counter.get_total_flops() / 16, rel=0.001)


def test_pretrained_weights(tiny_backbone: dict[str, Any], tmp_path: Path) -> None:
    """From a folder; they give the features that DINOv2 itself gives for the normalized screen."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(1)
    shape: dict[str, Any] = {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "patch_size": 14,
        "image_size": 518,
    }
    theirs = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**shape)).eval()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.1)
    theirs.save_pretrained(tmp_path / "dino")
    mine = initial(PolicySettings(**tiny_backbone, weights=str(tmp_path / "dino")), 0)
    screens = torch.from_numpy(episode(3)[0])
    pixels = (
        screens.permute(0, 3, 1, 2) / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    ) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        wanted = theirs(pixels).last_hidden_state[:, 5:].view(3, 9, 12, 48)
        _, features, _ = mine.encoder(screens)
    torch.testing.assert_close(features, wanted, rtol=1e-3, atol=1e-4)
    # A trained policy is loaded without them.
    mine.save(tmp_path / "policy")
    shutil.rmtree(tmp_path / "dino")
    again = Policy.load(tmp_path / "policy")
    assert all(
        torch.equal(value, again.state_dict()[name]) for name, value in mine.state_dict().items()
    )


def test_weights_that_cannot_be_had(
    tiny_backbone: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    other = Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, patch_size=14, image_size=518
    )
    Dinov2WithRegistersModel(other).save_pretrained(tmp_path / "other")
    with pytest.raises(
        ValueError, match="size 'small': embeddings.cls_token is .*24.*, expected .*48"
    ):
        initial(PolicySettings(**tiny_backbone, weights=str(tmp_path / "other")), 0)
    with pytest.raises(
        ValueError,
        match="none' cannot be fetched(.|\n)*"
        "hf download facebook/dinov2-with-registers-small(.|\n)*policy.weights",
    ):
        initial(PolicySettings(**tiny_backbone, weights=str(tmp_path / "none")), 0)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"needs packages .*transformers.*\[dinov2\]"):
        Policy(PolicySettings(**tiny_backbone))
