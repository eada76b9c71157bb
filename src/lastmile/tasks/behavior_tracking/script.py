"""Behavior tracking by script: bodies as Gaussians of one size, fitted frame after frame."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen.widgets import Color
from lastmile.tasks.script import Clicks, Script, logical

COLORS: tuple[Color, ...] = ((240, 50, 50), (60, 140, 255), (255, 205, 40), (60, 205, 90))
"""Colors of the animals, as on their tabs."""
AXES = (4.6, 1.9)
"""Standard deviations of a body along and across, px of the small canvas."""
CONTRAST = 34.0
"""Least difference of an animal from the ground, of 255 in any channel."""
ENDS = {"fly": (5.3, -7.3), "other": (8.7, -6.6)}
"""Where front and back are on the axis, from the middle, px of the small canvas."""
EYES = 4
"""Red pixels from which the animals are flies."""
ROUNDS = 25
"""Rounds of expectation and maximization in each frame."""
FAR = 12.0
"""Pixels that count as this many standard deviations away belong to no animal."""


class Pose(NamedTuple):
    """Where an animal is, px of the small canvas: its middle and its axis, each (x, y)."""

    middle: np.ndarray
    axis: np.ndarray


class BehaviorTrackingScript(Script):
    """Fit a Gaussian to each animal, beginning with the squares of the first frame.

    Which end is the front is told by how the animal moves over all frames: forward. Bodies are
    taken to be straight, and of one length for flies and one for others. Animals that cover each
    other may be exchanged.
    """

    GROUPS = (
        ("Frame", ("-t", "+t"), 2),
        ("Animal", ("animal1", "animal2", "animal3", "animal4"), 2),
        ("Marker", ("front", "back"), 2),
    )

    def work(self) -> Clicks:
        """Scan, follow the animals, then mark frame by frame from the first."""
        animals = [k for k in range(4) if self.enabled(f"animal{k + 1}")]
        views = yield from self.scan("+t")
        yield from self.scan("-t")
        tracks = follow(views, animals)
        ends = [body_ends(track, views) for track in tracks]
        for t in range(len(views)):
            for k, both in zip(animals, ends):
                yield from self.press(f"animal{k + 1}")
                for point in both[t]:
                    yield from self.place(logical(point))
            if t < len(views) - 1:
                yield from self.press("+t")


def contrast(view: np.ndarray) -> np.ndarray:
    """Return how much a frame differs from the ground around, (96, 96)."""
    ground = cv2.medianBlur(view.astype(np.uint8), 41).astype(np.float32)
    return np.abs(view - ground).max(-1)


def follow(views: list[np.ndarray], animals: list[int]) -> list[list[Pose]]:
    """Return the poses of each animal in every frame."""
    poses = [Pose(square(views[0], COLORS[k]), np.zeros(2)) for k in animals]
    tracks: list[list[Pose]] = [[] for _ in animals]
    speed = [np.zeros(2) for _ in animals]
    for view in views:
        rows, columns = np.nonzero(contrast(view) > CONTRAST)
        pixels = np.stack([columns, rows], 1).astype(float)
        start = [Pose(pose.middle + 0.6 * step, pose.axis) for pose, step in zip(poses, speed)]
        fitted = fit(pixels, start)
        if tracks[0]:
            speed = [new.middle - old.middle for new, old in zip(fitted, poses)]
        poses = fitted
        for track, pose in zip(tracks, poses):
            track.append(pose)
    return tracks


def square(view: np.ndarray, color: Color) -> np.ndarray:
    """Return where the square of an animal is in the first frame."""
    close = (np.abs(view - np.array(color)).sum(-1) < 130).astype(np.float32)
    sums = cv2.boxFilter(close, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(cv2.GaussianBlur(sums, (0, 0), 1).argmax(), sums.shape)
    return np.array([column, row], float)


def fit(pixels: np.ndarray, poses: list[Pose]) -> list[Pose]:
    """Fit Gaussians of one size to pixels, (n, 2), from where the animals are expected."""
    for _ in range(ROUNDS):
        distances = np.array([squared(pixels, pose) for pose in poses])  # (animals, n)
        weights = np.exp(-0.5 * (distances - distances.min(0)))
        weights *= np.exp(-0.5 * distances.min(0) / FAR)
        weights /= np.maximum(weights.sum(0), 1.0)
        fitted = []
        for weight, pose in zip(weights, poses):
            if weight.sum() < 1:
                fitted.append(pose)
                continue
            middle = weight @ pixels / weight.sum()
            away = pixels - middle
            spread = (weight[:, None] * away).T @ away
            axis = np.linalg.eigh(spread)[1][:, 1]
            fitted.append(Pose(middle, axis if axis @ pose.axis >= 0 else -axis))
        poses = fitted
    return poses


def squared(pixels: np.ndarray, pose: Pose) -> np.ndarray:
    """Return squared distances of pixels from an animal, in standard deviations, (n,)."""
    away = pixels - pose.middle
    if not pose.axis.any():
        near: np.ndarray = (away**2).sum(1) / (AXES[0] * AXES[1])
        return near
    along = away @ pose.axis
    across = away @ np.array([-pose.axis[1], pose.axis[0]])
    return (along / AXES[0]) ** 2 + (across / AXES[1]) ** 2


def body_ends(track: list[Pose], views: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return front and back of an animal in every frame, px of the small canvas."""
    kind = "fly" if max(map(eyes, views[1:])) > EYES else "other"
    steps = zip(track[:-1], track[1:])
    forward = sum(float((new.middle - old.middle) @ new.axis) for old, new in steps)
    sign = 1.0 if forward >= 0 else -1.0
    front, back = ENDS[kind]
    return [
        (pose.middle + sign * front * pose.axis, pose.middle + sign * back * pose.axis)
        for pose in track
    ]


def eyes(view: np.ndarray) -> int:
    """Return the number of pixels as red as the eyes of a fly."""
    return int(((view[..., 0] > 1.8 * view[..., 1]) & (view[..., 0] > 90)).sum())


SCRIPT = BehaviorTrackingScript
