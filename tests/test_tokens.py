"""Tokens: screens come back pixel by pixel, labels as recorded, and damaged files are refused."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from lastmile.screen import draw_small
from lastmile.simulation import chunks, drawing, tokens
from lastmile.simulation.chunks import CHUNK, gather, pack, unpack
from lastmile.simulation.tokens import TokenError, TokenStore
from lastmile.simulation.trajectory import Trajectories
from lastmile.storage import seal
from lastmile.storage.tensors import array_part, file_part, write_streamed
from lastmile.tasks import get_task
from lastmile.tasks.annotator import PHASES


@pytest.fixture(scope="module")
def frames(recorded: Trajectories) -> np.ndarray:
    """Draw every screen of the recording afresh."""
    replays = [recorded.open(number) for number in range(len(recorded.episodes))]
    return np.stack(
        [
            draw_small(replay.interface.screen(step.before, replay.look))
            for replay in replays
            for step in replay.replay()
        ]
    )


@pytest.fixture
def copied(token_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(token_file, tmp_path / "test.tokens"))


@given(
    st.integers(1, CHUNK), st.integers(0, 2**32), st.integers(0, 40), st.sampled_from([1, 2, 256])
)
@settings(max_examples=25)
def test_frames_come_back(count: int, seed: int, changes: int, values: int) -> None:
    """Frames differ from the ones before in a few places, and have few or many colors."""
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, values, (126, 168, 3)).astype(np.uint8)
    drawn = []
    for _ in range(count):
        drawn.append(frame.copy())
        for y, x in rng.integers(0, 126, (changes, 2)):
            frame[y, x : x + 40] = rng.integers(0, values, 3)
    stacked = np.stack(drawn)
    pieces, index = unpack(pack(stacked))
    assert np.array_equal(gather(pieces, index), stacked)
    assert len(np.unique(pieces, axis=0)) == len(pieces)


def test_a_file_is_written_as_safetensors_writes_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    blobs = rng.integers(0, 256, 5001).astype(np.uint8)
    parts: dict[str, np.ndarray] = {
        "starts": np.arange(7),
        "position": rng.random(5).astype(np.float32),
        "clicks": rng.integers(0, 9, (3, 2)).astype(np.int16).T,
        "phase": np.arange(4, dtype=np.int8),
        "a": np.arange(3, dtype=np.int8),
        "yes": np.array([True, False]),
        "half": rng.random(3).astype(np.float16),
        "double": rng.random(1),
        "none": np.zeros((0, 3), np.int32),
    }
    about = {"lastmile": '{"a": "\u00fc \\" x"}'}
    whole = {name: np.ascontiguousarray(part) for name, part in parts.items()}
    save_file({**whole, "blobs": blobs}, tmp_path / "theirs", metadata=about)
    with open(tmp_path / "blobs", "w+b") as content:
        content.write(blobs.tobytes())
        arrays = {name: array_part(part) for name, part in parts.items()}
        write_streamed(tmp_path / "ours", {**arrays, "blobs": file_part(content)}, about)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_memory_does_not_grow_with_the_file(
    recorded: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 30 << 20
    made = []

    def packed(frames: np.ndarray) -> bytes:
        made.append(len(frames))
        return bytes(size)

    monkeypatch.setattr(drawing, "pack", packed)
    tracemalloc.start()
    tokens.write(tmp_path / "large.tokens", recorded)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "large.tokens").stat().st_size > len(made) * size >= 4 * size
    assert peak < 3 * size


def test_rows_with_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        chunks, "_weights", lambda: np.zeros(16, np.uint64)
    )  # all rows get the hash 0
    stacked = np.random.default_rng(0).integers(0, 256, (3, 126, 168, 3), dtype=np.uint8)
    assert np.array_equal(gather(*unpack(pack(stacked))), stacked)


@pytest.mark.parametrize("count", [0, CHUNK + 1])
def test_a_chunk_has_its_limits(count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {CHUNK} frames, got {count}"):
        pack(np.zeros((count, 126, 168, 3), np.uint8))


def test_any_range_of_screens_is_what_is_drawn(token_file: Path, frames: np.ndarray) -> None:
    store, rng = TokenStore(token_file), np.random.default_rng(0)
    borders = [int(b) for b in store.chunk_frames]
    assert len(borders) - 1 >= len(store) and max(np.diff(borders)) <= CHUNK
    ranges = [(0, len(frames))] + [
        (max(0, b + i), min(len(frames), b + j))
        for b in borders
        for i, j in ((-1, 0), (-1, 1), (0, 1), (-3, 20))
    ]
    ranges += [
        tuple(sorted(rng.choice(len(frames) + 1, 2, replace=False).tolist())) for _ in range(20)
    ]
    for start, stop in ranges:
        if start < stop:
            assert np.array_equal(store.screens(start, stop), frames[start:stop]), (start, stop)


@pytest.mark.parametrize("start, stop", [(-1, 2), (3, 3), (5, 4), (0, 10**6)])
def test_screens_that_are_not_there(token_file: Path, start: int, stop: int) -> None:
    with pytest.raises(IndexError, match="test.tokens"):
        TokenStore(token_file).screens(start, stop)


def test_labels_are_those_of_the_trajectory(token_file: Path, recorded: Trajectories) -> None:
    store, steps = TokenStore(token_file), recorded.steps
    assert (store.task, store.split, store.frames, len(store)) == (
        "colored_dots",
        "test",
        len(steps),
        4,
    )
    assert np.array_equal(store.starts, recorded.starts)
    assert np.array_equal(store.clicks, steps[["x", "y"]].to_numpy())
    canvas = (steps["widget"] == "canvas").to_numpy()
    assert np.array_equal(store.targets[canvas], store.clicks[canvas])
    assert all(
        len(np.unique(store.targets[steps["widget"] == widget], axis=0)) == 1
        for widget in ("done", "undo")
        if (steps["widget"] == widget).any()
    )
    assert [PHASES[p] for p in store.phase] == list(steps["phase"])
    assert np.array_equal(store.position, steps["position"].to_numpy(np.float32))
    assert np.array_equal(store.open_mistakes, steps["open_mistakes"].to_numpy())


def test_a_frame_takes_little_room(token_file: Path, recorded: Trajectories) -> None:
    assert token_file.stat().st_size / len(recorded.steps) <= 3000


def test_writing_again_gives_the_same_bytes(
    token_file: Path, recorded: Trajectories, tmp_path: Path
) -> None:
    tokens.write(tmp_path / "again.tokens", recorded)
    assert (tmp_path / "again.tokens").read_bytes() == token_file.read_bytes()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="none.tokens: no such file"):
        TokenStore(tmp_path / "none.tokens")


@pytest.mark.parametrize("share", [0, 1e-5, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(copied: Path, share: float) -> None:
    whole = copied.read_bytes()
    copied.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(TokenError, match="test.tokens"):
        TokenStore(copied)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"PAR1" * 50, bytes(500)])
def test_somebody_elses_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tokens").write_bytes(content)
    with pytest.raises(TokenError, match="x.tokens: not a readable token file"):
        TokenStore(tmp_path / "x.tokens")


def test_somebody_elses_safetensors_are_named(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3)}, tmp_path / "x.tokens")
    with pytest.raises(TokenError, match="x.tokens: not a lastmile token file"):
        TokenStore(tmp_path / "x.tokens")


def test_another_version_of_the_task_is_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(get_task("colored_dots")), "version", 99)
    with pytest.raises(TokenError, match="test.tokens: made for version .* 99"):
        TokenStore(copied)


def rewrite(
    path: Path, metadata: dict[str, Any] | None = None, **tensors: np.ndarray | None
) -> None:
    """Write a token file again with some parts replaced, and seal it; None leaves a part out."""
    with safe_open(path, "numpy") as file:
        names = file.keys()  # the file itself is no mapping
        parts = {name: file.get_tensor(name) for name in names} | tensors
        meta = json.loads(file.metadata()["lastmile"]) | {"seal": seal.BLANK} | (metadata or {})
    parts = {name: values for name, values in parts.items() if values is not None}
    save_file(parts, path, {"lastmile": json.dumps(meta)})
    seal.close(path, path.stat().st_size - len(parts.get("blobs", ())))


@pytest.mark.parametrize(
    "meta, words",
    [
        ({"format": "lastmile.tokens/0"}, "lastmile.tokens/0"),
        ({"task": "colored_cats"}, "colored_cats"),
    ],
)
def test_another_format_or_an_unknown_task_is_refused(
    copied: Path, meta: dict[str, Any], words: str
) -> None:
    rewrite(copied, meta)
    with pytest.raises(TokenError, match=f"test.tokens: .*{words}"):
        TokenStore(copied)


def test_an_unknown_part_is_refused(copied: Path) -> None:
    rewrite(copied, extra=np.zeros(3))
    with pytest.raises(TokenError, match="test.tokens: .*unknown parts: extra"):
        TokenStore(copied)


@pytest.mark.parametrize(
    "part, values",
    [
        ("phase", np.zeros(5, np.int64)),
        ("clicks", np.zeros(6, np.int16)),
        ("targets", np.zeros((3, 3), np.int16)),
    ],
)
def test_a_part_of_another_type_or_shape_is_refused(
    copied: Path, part: str, values: np.ndarray
) -> None:
    rewrite(copied, None, **{part: values})
    with pytest.raises(TokenError, match=f"test.tokens: .*'{part}' is .*expected"):
        TokenStore(copied)


def test_labels_are_sealed(copied: Path) -> None:
    whole = bytearray(copied.read_bytes())
    whole[TokenStore(copied)._blobs - 1] ^= 1
    copied.write_bytes(whole)
    with pytest.raises(TokenError, match="test.tokens: not a readable token file .*seal"):
        TokenStore(copied)


@pytest.mark.parametrize(
    "part", ["clicks", "starts", "chunk_frames", "blob_offsets", "blobs", "phase"]
)
def test_a_missing_part_is_refused(copied: Path, part: str) -> None:
    rewrite(copied, None, **{part: None})
    with pytest.raises(TokenError, match="test.tokens: a part is missing"):
        TokenStore(copied)


@pytest.mark.parametrize("part", ["starts", "chunk_frames", "blob_offsets"])
def test_borders_out_of_order_are_refused(copied: Path, part: str) -> None:
    borders = getattr(
        TokenStore(copied),
        {"starts": "starts", "chunk_frames": "chunk_frames", "blob_offsets": "_offsets"}[part],
    ).copy()
    borders[1] = borders[2] + 1
    rewrite(copied, None, **{part: borders})
    with pytest.raises(TokenError, match="test.tokens: its parts do not belong together"):
        TokenStore(copied)


def test_a_file_changed_under_its_reader_is_refused(copied: Path) -> None:
    """A mapped file would kill the process if truncated, or give other screens."""
    store, whole = TokenStore(copied), copied.read_bytes()
    for change in (whole[:-1000], whole[:100], b"", whole[:-5] + b"12345"):
        copied.write_bytes(change)
        with pytest.raises(TokenError, match="test.tokens: was changed while it was read"):
            store.screens(0, 1)


def test_a_file_that_is_replaced_stays_open_as_it_was(copied: Path, frames: np.ndarray) -> None:
    store = TokenStore(copied)
    copied.unlink()
    copied.write_bytes(b"another")
    assert np.array_equal(store.screens(0, 3), frames[:3])


@given(st.data())
@settings(max_examples=60)
def test_a_flipped_bit_is_noticed_or_harmless(
    token_file: Path,
    frames: np.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    """A damaged chunk is refused by its checksum, unless the bit means nothing."""
    store = TokenStore(token_file)
    number = data.draw(st.integers(0, len(store._offsets) - 2))
    a, b = store._offsets[number : number + 2].tolist()
    blobs = np.frombuffer(token_file.read_bytes()[store._blobs :], np.uint8).copy()
    blobs[data.draw(st.one_of(st.integers(a, a + 16), st.integers(a, b - 1)))] ^= 1 << data.draw(
        st.integers(0, 7)
    )
    path = tmp_path_factory.mktemp("flipped") / "flipped.tokens"
    shutil.copy(token_file, path)
    rewrite(path, blobs=blobs)
    begin, end = store.chunk_frames[number : number + 2].tolist()
    try:
        screens = TokenStore(path).screens(begin, end)
    except TokenError as error:
        assert f"flipped.tokens: chunk {number} is damaged" in str(error)
    else:
        assert np.array_equal(screens, frames[begin:end])
