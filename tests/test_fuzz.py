"""Readers given mutated files: each file is refused with the reader's error, or read as it was.

Nothing crashes, and nothing takes more memory than twice the size of the file. `make fuzz` mutates
10,000 files, the ordinary tests LASTMILE_FUZZ of them (600 by default).
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastmile import config
from lastmile.errors import LastmileError
from lastmile.performance.rates import RATES
from lastmile.pipeline import plan, run_columns
from lastmile.policy import Policy, PolicyError
from lastmile.provenance.fingerprints import code_label
from lastmile.provenance.manifests import (
    ManifestError,
    check_inputs,
    read_manifest,
    write_manifests,
)
from lastmile.simulation import trajectory
from lastmile.simulation.tokens import TokenError, TokenStore
from lastmile.storage import csv_tables, parquet, records, seal
from lastmile.studies import claims, tables
from lastmile.studies.claims import Claim
from lastmile.studies.findings import Published, read_published
from lastmile.training.runs import keep_spec
from lastmile.training.spec import KeptSpec, RunSpec, read_spec

FILES = int(os.environ.get("LASTMILE_FUZZ", 600))
SLACK = 32 << 20
"""Bytes that memory may grow beyond twice the file: what allocators and libraries hold back."""
CHUNK = 4 << 20
"""Bytes of the largest chunk of screens."""
NUMBERS = [
    0,
    1,
    2**7 - 1,
    2**8 - 1,
    2**15 - 1,
    2**16 - 1,
    2**31 - 1,
    2**32 - 1,
    2**62,
    2**63 - 1,
    2**64 - 1,
]


class Reader(NamedTuple):
    """How a kind of file is read.

    Attributes:
        files: Name and bytes of every file that is needed.
        mutated: Name of the file that is damaged.
        read: Reads from a folder.
        error: What `read` raises for a damaged file.
        same: Whether two results of `read` are alike.
        sealed: Number of bytes that the seal of a file covers; None for a file without a seal.
    """

    files: dict[str, bytes]
    mutated: str
    read: Callable[[Path], Any]
    error: type[Exception]
    same: Callable[[Any, Any], bool]
    sealed: Callable[[bytes], int] | None = None


class Readers(NamedTuple):
    """Readers by kind of file, and the undamaged files by name."""

    by_kind: dict[str, Reader]
    whole: dict[str, bytes]


def mutations() -> st.SearchStrategy:
    """Draw changes: what, where (as a share of the file, its ends preferred), and with what."""
    place = st.one_of(st.floats(0, 1), st.floats(0, 0.02), st.floats(0.98, 1))
    change = st.one_of(
        st.tuples(st.just("flip"), place, st.integers(0, 7)),
        st.tuples(st.just("byte"), place, st.integers(0, 255)),
        st.tuples(st.just("cut"), place, st.integers(1, 4000)),
        st.tuples(st.just("end"), place, st.just(0)),
        st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("repeat"), place, st.integers(1, 2000)),
        st.tuples(
            st.just("number"),
            place,
            st.tuples(st.sampled_from("<IiQq"[1:]), st.sampled_from(NUMBERS)),
        ),
        st.tuples(st.just("digit"), place, st.sampled_from("0123456789e-.[]{}*&:")),
    )
    return st.lists(change, min_size=1, max_size=4)


def mutate(whole: bytes, changes: list[Any]) -> bytes:
    """Apply changes to the bytes of a file."""
    data = bytearray(whole)
    for what, share, value in changes:
        at = min(int(share * len(data)), max(0, len(data) - 1))
        if what == "flip" and data:
            data[at] ^= 1 << value
        elif what == "byte" and data:
            data[at] = value
        elif what == "cut":
            del data[at : at + value]
        elif what == "end":
            del data[at:]
        elif what == "insert":
            data[at:at] = value
        elif what == "repeat":
            data[at:at] = data[at : at + value]
        elif what == "number":
            form, number = value
            packed = struct.pack("<Q", number)[: 4 if form in "Ii" else 8]
            data[at : at + len(packed)] = packed
        elif what == "digit":
            place = next(
                (i for i in range(at, min(len(data), at + 200)) if chr(data[i]).isdigit()), at
            )
            data[place : place + 1] = value.encode()
    return bytes(data)


def reseal(data: bytes, end: int, path: Path) -> bytes:
    """Forge the seal of damaged bytes; without a place for a seal they stay as they are."""
    path.write_bytes(data)
    with contextlib.suppress(seal.SealError):
        a, digits, _ = seal._read(io.BytesIO(data[:end]))
        b = a + len(digits)
        path.write_bytes(data[:a] + b"0" * (b - a) + data[b:])
        seal.close(path, end)
    return path.read_bytes()


def status(name: str) -> int:
    """Return a figure of this process's memory, in bytes, from the kernel."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)
    )
    return int(line.split()[1]) * 1024


@contextlib.contextmanager
def memory_bounded(bytes_: int) -> Iterator[None]:
    """Fail if the block ever holds more memory than that, or asks for vastly more."""
    if not Path("/proc/self/clear_refs").exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + bytes_ + (512 << 20), before[1]))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    held = status("VmRSS")
    try:
        yield
    finally:
        peak = status("VmHWM")
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert peak - held <= bytes_, f"held {(peak - held) / 1e6:.0f} MB more"


def attempt(reader: Reader, folder: Path, data: bytes) -> Any:
    """Read a damaged file; None if it is refused with an error that names a file here."""
    (folder / reader.mutated).write_bytes(data)
    with memory_bounded(2 * max(len(data), CHUNK) + SLACK):
        try:
            return reader.read(folder)
        except reader.error as error:
            assert str(folder) in str(error), f"does not name the file: {error}"
            assert len(str(error)) < 2000
            return None


@pytest.fixture(scope="module")
def readers(
    recorded: trajectory.Trajectories,
    token_file: Path,
    policy: Policy,
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Readers:
    folder = tmp_path_factory.mktemp("whole")
    policy.save(folder)
    parquet.write(
        pd.DataFrame(
            {"task": ["a", "b"] * 50, "value": np.arange(100) / 7, "hits": np.arange(100)}
        ),
        folder / "table.parquet",
    )
    write_manifests("tokens", {}, code_label("storage.files"), [], [folder / "table.parquet"])
    shutil.copy(token_file, folder / "test.tokens")
    for part in (recorded.path, trajectory.episodes_path(recorded.path)):
        shutil.copy(part, folder / part.name)
    tested = [
        Claim("a", "A is so", "colored_dots", "b", 0.5, low, 0.7, "c", "shown", "episode (4)")
        for low in (0.25, float("nan"))
    ]
    (folder / "claims.json").write_text(claims.to_json(tested))
    write_manifests("study", {}, code_label("storage.files"), [], [folder / "claims.json"])
    spec = RunSpec.parse({"run": {"run": "a"}, "seed": 0, "policy": {}, "training": {}})
    keep_spec(folder, "key", {**spec.values(), "data": {"a/train.tokens": "12"}, "code": "abc"})
    (folder / "key" / "spec.json").replace(folder / "spec.json")
    (folder / "key").rmdir()
    shutil.copy(RATES, folder)
    shutil.copy(root / "workflow" / "expected" / "figures.yaml", folder)
    reference = root / "results" / "reference" / "desk" / "figures"
    for name in ("emergence", "mistakes"):
        shutil.copy(reference / f"{name}.csv", folder)
    write_manifests("study", {}, code_label("storage.files"), [], [folder / "emergence.csv"])
    run = dict.fromkeys(run_columns.COLUMNS, "a") | {
        "start": True,
        "episodes": None,
        **dict.fromkeys(("seed", "frames", "seconds", "frames_per_s", "threads"), 3),
    }
    csv_tables.write(pd.DataFrame([run, run]), folder / "runs.csv", run_columns.COLUMNS)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    whole["config.yaml"] = (root / "config.yaml").read_bytes()
    recording = {name: whole[name] for name in ("test.parquet", "test.episodes.parquet")}
    weights = {name: whole[name] for name in ("config.json", "policy.safetensors")}

    def screens(path: Path) -> tuple[Any, ...]:
        store = TokenStore(path / "test.tokens")
        return (
            store.clicks,
            store.starts,
            store.phase,
            store.position,
            store.open_mistakes,
            [store.screens(at, at + 1) for at in range(0, store.frames, 50)],
        )

    def alike(one: Any, other: Any) -> bool:
        return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    def everything(data: bytes) -> int:
        return len(data)

    def of_tokens(data: bytes) -> int:
        return max(0, len(data) - (len(whole["test.tokens"]) - begin))

    begin = TokenStore(folder / "test.tokens")._blobs
    by_kind = {
        "settings": Reader(
            {},
            "config.yaml",
            lambda f: config.load(f / "config.yaml"),
            config.ConfigError,
            lambda a, b: isinstance(a, config.Settings),
        ),
        "steps": Reader(
            recording,
            "test.parquet",
            lambda f: trajectory.read(f / "test.parquet"),
            trajectory.TrajectoryError,
            lambda a, b: (
                a.source == b.source and a.steps.equals(b.steps) and a.episodes.equals(b.episodes)
            ),
            everything,
        ),
        "episodes": Reader(
            recording,
            "test.episodes.parquet",
            lambda f: trajectory.read(f / "test.parquet"),
            trajectory.TrajectoryError,
            lambda a, b: (
                a.source == b.source and a.steps.equals(b.steps) and a.episodes.equals(b.episodes)
            ),
            everything,
        ),
        "table": Reader(
            {},
            "table.parquet",
            lambda f: parquet.frame(f / "table.parquet"),
            parquet.TableError,
            pd.DataFrame.equals,
            everything,
        ),
        "tokens": Reader({}, "test.tokens", screens, TokenError, alike, of_tokens),
        "policy": Reader(
            weights,
            "policy.safetensors",
            Policy.load,
            PolicyError,
            lambda a, b: (
                a.config() == b.config() and alike(a.state_dict().values(), b.state_dict().values())
            ),
            everything,
        ),
        "policy settings": Reader(
            weights,
            "config.json",
            Policy.load,
            PolicyError,
            lambda a, b: (
                a.config() == b.config() and alike(a.state_dict().values(), b.state_dict().values())
            ),
        ),
        "manifest": Reader(
            {},
            "table.parquet.manifest.json",
            lambda f: read_manifest(f / "table.parquet.manifest.json"),
            ManifestError,
            dict.__eq__,
        ),
    }

    def attested_claims(path: Path) -> list[Claim]:
        """Claims as a job reads them: their manifest is checked before."""
        check_inputs([path / "claims.json"])
        return claims.from_json(path / "claims.json")

    def attested_table(path: Path) -> pd.DataFrame:
        """A table as a job, or `lastmile figures`, reads it."""
        check_inputs([path / "emergence.csv"])
        return tables.read("emergence", path / "emergence.csv")

    by_kind |= {
        "claims": Reader(
            {"claims.json.manifest.json": whole["claims.json.manifest.json"]},
            "claims.json",
            attested_claims,
            LastmileError,
            list.__eq__,
        ),
        "table of a figure": Reader(
            {"emergence.csv.manifest.json": whole["emergence.csv.manifest.json"]},
            "emergence.csv",
            attested_table,
            LastmileError,
            pd.DataFrame.equals,
        ),
        "table of a figure alone": Reader(
            {},
            "mistakes.csv",
            lambda f: tables.read("mistakes", f / "mistakes.csv"),
            csv_tables.CsvError,
            lambda a, b: list(a) == list(b) and a["n"].dtype == "int64",
        ),
        "table of runs": Reader(
            {},
            "runs.csv",
            lambda f: csv_tables.read(f / "runs.csv", run_columns.COLUMNS),
            csv_tables.CsvError,
            lambda a, b: list(a) == list(b),
        ),
        "published": Reader(
            {},
            "figures.yaml",
            lambda f: read_published([f / "figures.yaml"]),
            LastmileError,
            lambda a, b: isinstance(a, Published),
        ),
        "rates": Reader(
            {},
            "rates.json",
            lambda f: plan.rates.__wrapped__(f / "rates.json"),
            LastmileError,
            lambda a, b: a.keys() == b.keys(),
        ),
        "work": Reader(
            {},
            "spec.json",
            lambda f: read_spec(f / "spec.json"),
            LastmileError,
            lambda a, b: isinstance(a, KeptSpec),
        ),
    }
    return Readers(by_kind, whole)


KINDS = (
    "settings",
    "steps",
    "episodes",
    "table",
    "tokens",
    "policy",
    "policy settings",
    "manifest",
    "claims",
    "table of a figure",
    "table of a figure alone",
    "table of runs",
    "published",
    "rates",
    "work",
)
FORGED = ("steps", "episodes", "table", "tokens", "policy")


def run(readers: Readers, kind: str, forged: bool, count: int, folder: Path) -> None:
    """Mutate a kind of file `count` times and read it."""
    reader, whole = readers.by_kind[kind], readers.whole
    for name, data in reader.files.items():
        (folder / name).write_bytes(data)
    (folder / reader.mutated).write_bytes(whole[reader.mutated])
    wanted = reader.read(folder)

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=FILES < 10_000,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutations())
    def each(changes: list[Any]) -> None:
        data = mutate(whole[reader.mutated], changes)
        if forged:
            assert reader.sealed is not None
            data = reseal(data, reader.sealed(data), folder / "forged")
        result = attempt(reader, folder, data)
        assert result is None or forged or reader.same(result, wanted), "read as something else"

    try:
        each()
    finally:
        gc.collect()


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files(readers: Readers, kind: str, tmp_path: Path) -> None:
    run(readers, kind, False, -(-FILES * 2 // (3 * len(KINDS))), tmp_path)


@pytest.mark.parametrize("kind", FORGED)
def test_mutated_files_with_a_forged_seal(readers: Readers, kind: str, tmp_path: Path) -> None:
    """A forged seal lets wrong sizes and types through: such a file may be read, without harm."""
    run(readers, kind, True, -(-FILES // (3 * len(FORGED))), tmp_path)


def test_a_few_lines_that_stand_for_gigabytes(tmp_path: Path) -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    path = tmp_path / "config.yaml"
    for text, words in (
        (laughs, "an alias"),
        ("[" * 20_000, "cannot be parsed"),
        ("seed: 1\nseed: 2\n", "'seed' is given twice"),
        ("x" * 2_000_000, "2000000 bytes .at most"),
    ):
        path.write_text(text)
        with (
            memory_bounded(2 * len(text) + SLACK),
            pytest.raises(config.ConfigError, match=f"config.yaml: .*{words}"),
        ):
            config.load(path)


def test_sizes_that_are_only_stated(readers: Readers, tmp_path: Path) -> None:
    """Nothing is allocated for sizes that a file only states: a huge policy, screen or header."""
    whole = readers.whole
    values = json.loads(whole["config.json"])
    (tmp_path / "policy.safetensors").write_bytes(whole["policy.safetensors"])
    for change in (
        {"settings": {**values["settings"], "size": "l", "window": 512}},
        {"screen": [14_000_000, 14_000_000]},
    ):
        (tmp_path / "config.json").write_text(json.dumps({**values, **change}))
        with (
            memory_bounded(2 * len(whole["policy.safetensors"]) + SLACK),
            pytest.raises(PolicyError),
        ):
            Policy.load(tmp_path)
    for name, read, error in (
        ("test.tokens", TokenStore, TokenError),
        ("policy.safetensors", Policy.load, PolicyError),
    ):
        (tmp_path / "config.json").write_bytes(whole["config.json"])
        for length in (2**63, 2**40, 2**31, len(whole[name])):
            (tmp_path / name).write_bytes(struct.pack("<Q", length) + whole[name][8:])
            with memory_bounded(2 * len(whole[name]) + SLACK), pytest.raises(error):
                read(tmp_path / name if name == "test.tokens" else tmp_path)


@pytest.mark.parametrize(
    "rows, width, words",
    [(8_000_000, 0, "bytes hold a table of"), (150_000, 4000, "bytes hold a table of")],
    ids=["numbers", "one text in every row"],
)
def test_a_small_table_that_inflates(tmp_path: Path, rows: int, width: int, words: str) -> None:
    """Half a megabyte that would be half a gigabyte."""
    path = tmp_path / "t.parquet"
    filling = np.zeros(rows, np.int64)  # rows per byte and bytes per byte of the file are plausible
    filling[:60_000] = np.random.default_rng(0).integers(2**62, size=60_000)
    columns = {"filling": pa.array(filling)}
    if width:
        every_row = pa.array(np.zeros(rows, np.int32))
        columns["text"] = pa.DictionaryArray.from_arrays(every_row, pa.array(["x" * width]))
    else:
        columns |= {f"c{i}": pa.array(np.zeros(rows, np.int64)) for i in range(8)}
    parquet.write(pa.table(columns), path)
    assert path.stat().st_size < 1_000_000
    del columns
    with (
        memory_bounded(64 << 20),
        pytest.raises(parquet.TableError, match=rf"t\.parquet: .*{words}"),
    ):
        parquet.read(path)


def test_nothing_is_loaded_that_could_be_a_program(root: Path) -> None:
    """No pickles, no code: torch.load only with weights_only, YAML only by a safe loader."""
    for path in sorted((root / "src").rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            place = f"{path.name}:{number}"
            assert "torch.load(" not in line or "weights_only=True" in line, place
            assert "yaml.load(" not in line or "PlainYaml" in line, place
            for word in (
                "import pickle",
                "read_pickle",
                "to_pickle",
                "allow_pickle=True",
                "joblib",
                "import shelve",
                "import marshal",
                "eval(",
                "exec(",
                "load_from_checkpoint",
            ):
                assert word not in line.replace(".eval()", "").replace(".train().eval(", ""), (
                    f"{place}: {word}"
                )
    assert issubclass(records.PlainYaml, __import__("yaml").SafeLoader)
