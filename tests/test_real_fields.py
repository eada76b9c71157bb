"""Real worlds of fields and streets: what their data mean, and which data are refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lastmile.config import SPLITS
from lastmile.datasets.cache import DataError
from lastmile.tasks.plume_finding import real as plumes
from lastmile.tasks.road_mapping import real as roads
from lastmile.tasks.road_mapping import world as synthetic
from lastmile.tasks.road_mapping.streets import crop, read_streets
from lastmile.tasks.task import generator

CROPS = Path(__file__).parent / "real"


def scene(folder: Path | None = None) -> plumes.Scene:
    folder = folder or CROPS / "plume_finding"
    return plumes.read(folder, folder)


def plume_world(
    data: plumes.Scene, number: int, split: str = "train"
) -> plumes.RealPlumeFindingWorld:
    rng = generator((0, number), "plume_finding", "real")
    return plumes.make_world(data, rng, split, "full")


def test_methane_absorbs_from_2200_to_2400_nm_and_more_gas_absorbs_more() -> None:
    through = scene().transmission
    assert through.shape[0] == 200 and np.all(through[:, 0] == 1) and through.min() > 0.1
    assert np.all(np.diff(through, axis=1) <= 1e-12)
    strongest = 1 - through[:, -1]
    waves = np.concatenate([np.linspace(*segment) for segment in plumes._SEGMENTS])
    assert 2280 < waves[strongest.argmax()] < 2400
    assert (
        strongest[waves < 1390].max() == 0
        and strongest[(waves > 1480) & (waves < 1600)].max() < 0.01
    )


@pytest.mark.parametrize("number", range(4))
def test_the_plume_is_darkest_in_its_band_and_not_to_be_seen_far_from_it(number: int) -> None:
    world = plume_world(scene(), number)
    empty = replace(world, image_column=0.0)
    with_gas, without = (plumes._cube(each, np.random.default_rng(0)) for each in (world, empty))
    inside = world.mask[::2, ::2] == 1
    loss = 1 - with_gas[:, inside].sum(1) / without[:, inside].sum(1)
    assert abs(int(loss.argmax()) - world.best) <= 1 and loss[world.best] > 0.25
    far = np.abs(np.arange(world.bands) - world.best) > 6
    assert loss[far].max() < 0.12 and np.allclose(loss[world.channels[:, 0] < 102], 0)
    assert 2 <= world.best < world.bands - 2  # there are bands two away, for a wrong one


def test_bands_are_neighboring_channels_and_none_reaches_over_a_gap() -> None:
    data = scene()
    for number in range(12):
        channels = plume_world(data, number).channels
        assert np.all(np.diff(channels, axis=1) == 1) and len(np.unique(channels)) == channels.size
        segment = np.searchsorted(plumes._BEGINS, channels, "right")
        assert np.all(segment == segment[:, :1])


def test_splits_of_plumes_share_no_pixel() -> None:
    data = scene()
    rows, columns, channels = data.radiance.shape
    marked = np.zeros(data.radiance.shape, np.uint16)
    marked[..., 0] = np.arange(rows * columns).reshape(rows, columns)
    numbered = data._replace(radiance=marked)
    seen = [
        {
            int(k)
            for n in range(8)
            for k in np.unique(plume_world(numbered, n, split).image_crop[..., 0])
        }
        for split in SPLITS
    ]
    assert sum(map(len, seen)) == len(set.union(*seen)) and min(map(len, seen)) > 30


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("Indian_pines_corrected.npy", lambda a: a[..., :100], "expected uint16 of at least 16"),
        ("Indian_pines_corrected.npy", lambda a: a[:12], "expected uint16 of at least 16"),
        ("Indian_pines_corrected.npy", lambda a: a.astype(np.float32), "expected uint16"),
        ("ch4.lut", lambda a: a[:-3], "expected 7 positive numbers"),
        ("ch4.lut", lambda a: -a, "expected 7 positive numbers"),
        ("ch4.lut", lambda a: np.full_like(a, np.nan), "expected 7 positive numbers"),
        ("ch4.hdr", lambda text: text.replace("wavelength =", "waves ="), "expected a list"),
        ("ch4.hdr", lambda text: text.replace("1404.002", "words"), "expected a list"),
        ("ch4.hdr", lambda text: text.replace("1404.002", "1.0"), "expected a list"),
    ],
)
def test_scenes_and_tables_of_another_kind_are_refused(
    name: str, change: Callable, words: str, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(CROPS / "plume_finding", tmp_path / "plumes")) / name
    if path.suffix == ".npy":
        np.save(path, change(np.load(path)))
    elif path.suffix == ".lut":
        change(np.fromfile(path, "<f8")).tofile(path)
    else:
        path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: {words}"):
        scene(path.parent)
    path.unlink()
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: no such file"):
        scene(path.parent)


def test_members_of_equal_names_are_kept_apart() -> None:
    names = [roads.STREETS.kept(member) for member in roads.STREETS.members]
    assert len(set(names)) == len(names) == len(roads.STREETS.files())
    assert {"liege_1656-simplified.parquet", "LICENSE"} <= set(names)


def test_splits_share_no_city_and_maps_show_streets_of_their_own() -> None:
    cities = [city for split in SPLITS for city in roads.CITIES[split]]
    assert len(set(cities)) == len(cities)
    data = roads.read(CROPS / "road_mapping")
    assert set(data.streets) == set(cities)
    for split in SPLITS:
        rng = generator((0, 0), "road_mapping", "real")
        world = roads.make_world(data, rng, split, "short")
        assert world.city in roads.CITIES[split]


def test_a_map_that_is_turned_or_mirrored_shows_the_same_streets() -> None:
    streets = read_streets(CROPS / "road_mapping" / "auckland_869-simplified.parquet")
    side, scale = 384, 1.1
    found = 0
    for k in range(0, len(streets.points), 9):
        middle = streets.points[k]
        network = crop(streets, middle, scale * np.eye(2), side)
        for turn in (np.array([[0, -1], [1, 0]]), np.diag([-1, 1])):
            other = crop(streets, middle, scale * turn, side)
            assert (network is None) == (other is None)
            if network is None or other is None:
                continue
            found += 1
            assert np.array_equal(network.links, other.links)
            expected = (network.nodes - side / 2) @ turn.T + side / 2
            np.testing.assert_allclose(other.nodes, expected, atol=1e-6)
            for path, turned in zip(network.paths, other.paths):
                assert path.shape == turned.shape
    assert found >= 4


def test_straight_links_stay_on_their_streets_and_streets_stay_apart() -> None:
    data = roads.read(CROPS / "road_mapping")
    for number in range(3):
        world = roads.make_world(
            data, generator((0, number), "road_mapping", "real"), "train", "short"
        )
        for (a, b), path in zip(world.links, world.image_network.paths):
            p, q = world.nodes[a], world.nodes[b]
            np.testing.assert_allclose(path[[0, -1]], [p, q])
            share = np.clip((path - p) @ (q - p) / ((q - p) @ (q - p)), 0, 1)
            assert np.hypot(*(path - p - share[:, None] * (q - p)).T).max() < synthetic.WIDE
        gaps = np.hypot(*(world.nodes[:, None] - world.nodes[None]).transpose(2, 0, 1))
        assert gaps[gaps > 0].min() > 16  # a node nearer to a junction would count as a slip
        degree = np.bincount(world.links.ravel(), minlength=len(world.nodes))
        assert np.array_equal(degree, world.degree) and (degree == 1).any()


def _points(table: pa.Table) -> pa.Table:
    content = [value.as_py()[:1] + b"\1" + value.as_py()[2:] for value in table["geometry"]]
    return pa.table({"geometry": content})


def _unbounded(table: pa.Table) -> pa.Table:
    first = table["geometry"][0].as_py()
    return pa.table({"geometry": [first[:9] + np.float64(np.inf).tobytes() + first[17:]]})


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda table: table.rename_columns(["lines"]), "has no readable column 'geometry'"),
        (lambda table: table[:0], "expected at least one street"),
        (lambda table: pa.table({"geometry": [None, *table["geometry"]]}), "expected at least one"),
        (lambda table: pa.table({"geometry": [1.5]}), "has no readable column 'geometry'"),
        (lambda table: pa.table({"geometry": [b"", b"line"]}), "expected lines in two dimensions"),
        (_points, "expected lines in two dimensions"),
        (_unbounded, "expected finite coordinates"),
    ],
)
def test_streets_of_another_kind_are_refused(
    change: Callable[[pa.Table], pa.Table], words: str, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(CROPS / "road_mapping", tmp_path / "roads"))
    path = path / "liege_1656-simplified.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: {words}"):
        roads.read(path.parent)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: has no readable column"):
        roads.read(path.parent)
    path.unlink()
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: no such file"):
        roads.read(path.parent)
