"""Real worlds of neuron tracing: the shapes are those of the data, and which data are refused."""

from __future__ import annotations

import gzip
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lastmile.config import SPLITS
from lastmile.datasets.cache import DataError
from lastmile.tasks.neuron_tracing import real
from lastmile.tasks.neuron_tracing.tissue import SIDE
from lastmile.tasks.task import generator

CROP = Path(__file__).parent / "real" / "neuron_tracing"


@pytest.fixture(scope="module")
def data() -> real.Neurites:
    return real.read(CROP)


def make(data: real.Neurites, number: int, split: str) -> real.RealNeuronTracingWorld:
    rng = generator((0, number), "neuron_tracing", "real")
    return real.make_world(data, rng, split, "short")


def test_splits_trace_no_neurite_of_each_other(data: real.Neurites) -> None:
    traced = [{make(data, n, split).neurite for n in range(5)} for split in SPLITS]
    assert sum(map(len, traced)) == len(set.union(*traced))
    for split, neurites in zip(SPLITS, traced):
        row, column = real.QUARTERS[split]
        assert {int(data.quarter[k]) for k in neurites} == {2 * row + column}


def test_the_target_has_the_shape_of_its_neurite(data: real.Neurites) -> None:
    for split in SPLITS:
        world = make(data, 0, split)
        row, column = real.QUARTERS[split]
        rows, columns = (size // 2 for size in data.labels.shape[1:])
        quarter = data.labels[:, row * rows :, column * columns :][:, :rows, :columns]
        # The crop is the whole quarter here, so only flips, turns and the order are free.
        shape = (quarter == world.neurite).sum((1, 2)) * (SIDE / rows) ** 2
        area = (world.labels == world.target).sum((1, 2))
        fits = [
            np.allclose(shape[k : k + world.slices][::way], area, rtol=0.08, atol=8)
            for k in range(len(shape) - world.slices + 1)
            for way in (1, -1)
        ]
        assert any(fits)
        assert all(world.inside(z, *world.point(z)) for z in range(world.slices))


def test_membranes_are_drawn_where_the_label_changes_and_unlabelled_tissue_is_dark(
    data: real.Neurites,
) -> None:
    world = make(data, 1, "train")
    depth = world.image_tissue.depth
    for z in (0, world.slices - 1):
        gray = world.picture(z)[::2, ::2, 0].astype(float)
        inside = gray[(depth[z] > 3) & (world.labels[z] > 0)].mean()
        assert gray[depth[z] <= 1].mean() < 0.7 * inside
    assert (depth[world.labels == 0] == 0).all()


def _zipped(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version=version)
    return gzip.compress(content.getvalue(), 1)


def test_segmentations_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = Path(shutil.copytree(CROP, tmp_path / "neurites")) / "connectomics.npy.gz"
    whole = path.read_bytes()
    with gzip.open(path) as handle:
        array = np.load(io.BytesIO(handle.read()))

    def refused(content: bytes, words: str) -> None:
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{re.escape(str(path))}: {words}"):
            real.read(path.parent)

    refused(b"", "not readable as a compressed array")
    refused(whole[:5000], "not readable as a compressed array")
    refused(whole[:200] + b"\1\2\3" + whole[203:], "not readable as a compressed array")
    refused(gzip.compress(b"words"), "not readable as a compressed array")
    refused(_zipped(array, (2, 0)), "not readable as a compressed array")
    refused(_zipped(array.astype(np.uint64)), "expected uint32 of at least 208 x 208 px")
    refused(_zipped(np.ascontiguousarray(array)), "expected uint32 .* in Fortran order")
    refused(_zipped(np.asfortranarray(array[:90])), "expected uint32 of at least")
    refused(_zipped(np.asfortranarray(array[..., 0])), "expected uint32 of at least")
    path.write_bytes(_zipped(np.asfortranarray(array[..., :4])))
    with pytest.raises(DataError, match="has 4 slices, expected at least 10"):
        make(real.read(path.parent), 0, "train")
    path.write_bytes(_zipped(np.zeros_like(array)))
    with pytest.raises(DataError, match="no crop of the segmentation holds a cell to trace"):
        make(real.read(path.parent), 0, "train")
    path.unlink()
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: no such file"):
        real.read(path.parent)
