"""Which optional dependency brings which package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lastmile.errors import MissingExtraError

EXTRAS = {
    "pandas": "data",
    "pyarrow": "data",
    "safetensors": "data",
    "zstandard": "data",
    "pytorch_lightning": "train",
    "sklearn": "train",
    "torch": "train",
    "imageio": "watch",
    "imageio_ffmpeg": "watch",
    "matplotlib": "workflow",
    "seaborn": "workflow",
    "snakemake": "workflow",
    "starlette": "web",
    "uvicorn": "web",
    "websockets": "web",
    "transformers": "dinov2",
    "inspect_ai": "agents",
}
"""Extra of each package, by the name that is imported."""


@contextmanager
def needed_for(feature: str) -> Iterator[None]:
    """Say which extra to install if a package turns out to be missing.

    Args:
        feature: What needs it, in words.

    Raises:
        MissingExtraError: A package of an extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtraError(feature, extra, error) from None
