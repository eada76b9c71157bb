"""Real worlds of fields and streets: what their data mean, and which data are refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lastmile.config import SPLITS
from lastmile.datasets.cache import DataError
from lastmile.tasks.plume_finding import real as plumes
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
