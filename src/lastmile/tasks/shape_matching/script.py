"""Shape matching by script: size, lobes and pores, assigned at the least difference."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from lastmile.tasks.script import Clicks, Script, logical

HEADER = 7
"""Rows of the small canvas that the titles of the photographs cover."""
HALF = 48
"""Columns of the left photograph on the small canvas."""
LIGHT = 62.0
"""Least brightness of a specimen, of 255."""
SMALLEST = 25
"""Least area of a specimen, px of the small canvas."""
ANGLES = 64
WEIGHTS = 1 / np.array([0.025, 0.035, 0.025, 0.025, 0.025, 0.65])
"""Weights of the features: about how much they differ between two photographs of a specimen."""
DIFFERENT = 4.5
"""Difference from which two specimens are two."""


class Specimen(NamedTuple):
    """A specimen.

    Attributes:
        field: Field of view.
        at: Its middle, (u, v) in logical px.
        features: log of its size, amplitudes of harmonics 2 to 5 of its outline, darkness of pores.
    """

    field: int
    at: np.ndarray
    features: np.ndarray


class ShapeMatchingScript(Script):
    """Measure every specimen in every field, and assign those that differ least, one to one.

    Harmonics of the outline do not depend on how a specimen lies, so none is turned. Pores are
    counted by how much of the inside is dark, not one by one.
    """

    GROUPS = (
        ("Before", ("-before", "+before"), 2),
        ("After", ("-after", "+after"), 2),
        ("Selected", ("turn-left", "turn-right"), 2),
        ("", ("without",), 1),
    )

    def work(self) -> Clicks:
        """Scan both photographs, assign, go back, and decide specimen by specimen."""
        lefts = yield from self.scan("+before")
        rights = yield from self.scan("+after")
        yield from self.scan("-before")
        sources = [one for k, view in enumerate(lefts) for one in specimens(view, k, True)]
        targets = [one for k, view in enumerate(rights) for one in specimens(view, k, False)]
        partner = assigned(sources, targets)
        before, after = 0, len(rights) - 1
        for k, source in enumerate(sources):
            for _ in range(source.field - before):
                yield from self.press("+before")
            before = source.field
            yield from self.place(source.at)
            if k not in partner:
                yield from self.press("without")
                continue
            target = targets[partner[k]]
            for _ in range(abs(target.field - after)):
                yield from self.press("+after" if target.field > after else "-after")
            after = target.field
            yield from self.place(target.at)


def specimens(view: np.ndarray, field: int, left: bool) -> list[Specimen]:
    """Return the specimens of one photograph of a view."""
    gray = view.mean(-1)
    gray[:HEADER] = 0
    gray[:, slice(HALF - 1, None) if left else slice(None, HALF + 1)] = 0
    mask = ndimage.binary_fill_holes(gray > LIGHT)
    labels, count = ndimage.label(mask)
    found = []
    for k in range(1, count + 1):
        inside = labels == k
        if inside.sum() >= SMALLEST:
            middle, features = measured(gray, inside)
            found.append(Specimen(field, logical(middle), features))
    return found


def measured(gray: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle (column, row) of a specimen and its features, see `Specimen`."""
    zoom = 4
    around = cv2.GaussianBlur(
        np.where(cv2.dilate(inside.astype(np.uint8), np.ones((3, 3))) > 0, gray, 0).astype(
            np.float32
        ),
        (0, 0),
        0.5,
    )
    large = cv2.resize(around, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    outline, _ = cv2.findContours(
        (large > LIGHT).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    points = max(outline, key=cv2.contourArea)[:, 0].astype(float)
    points = (points + 0.5) / zoom - 0.5
    middle = np.array(ndimage.center_of_mass(inside))[::-1]
    across = points - middle
    angle = np.arctan2(across[:, 1], across[:, 0])
    order = np.argsort(angle)
    at = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False)
    radius = np.interp(at, angle[order], np.hypot(*across.T)[order], period=2 * np.pi)
    waves = np.abs(np.fft.rfft(radius)) / ANGLES
    core = ndimage.binary_erosion(inside, iterations=2)
    smooth = cv2.GaussianBlur(gray, (0, 0), 3.5)
    dark = np.clip(1 - gray / np.maximum(smooth, 1) - 0.1, 0, None)[core].sum()
    features = [np.log(waves[0]), *(2 * waves[2:6] / waves[0]), dark]
    return middle, np.array(features)


def assigned(sources: list[Specimen], targets: list[Specimen]) -> dict[int, int]:
    """Return the partners of the specimens on the left that have one."""
    if not sources or not targets:
        return {}
    left, right = (
        np.array([one.features for one in side]) * WEIGHTS for side in (sources, targets)
    )
    difference = np.sqrt(((left[:, None] - right[None]) ** 2).sum(-1))
    rows, columns = linear_sum_assignment(np.minimum(difference, DIFFERENT))
    pairs = zip(rows.tolist(), columns.tolist())
    return {k: j for k, j in pairs if difference[k, j] < DIFFERENT}


SCRIPT = ShapeMatchingScript
