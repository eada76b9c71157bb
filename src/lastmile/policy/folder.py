"""The folder of a saved policy: `config.json` beside `policy.safetensors`.

`config.json` says how to build the network and how it reads clicks; the weights file carries the
same configuration, so that two files from different policies are told apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lastmile.closed import explain_errors
from lastmile.config import PolicySettings
from lastmile.policy.head import BinsHead
from lastmile.policy.weights import PolicyError
from lastmile.screen import HEIGHT, WIDTH
from lastmile.storage.records import RecordError, read_json

FORMAT = "lastmile.policy/2"
CONFIG = "config.json"
WEIGHTS = "policy.safetensors"

LARGEST = 100_000
"""Bytes of the largest configuration that is read."""

_KEYS = {"format", "settings", "screen", "bins"}


def make_config(settings: PolicySettings, screen: tuple[int, int]) -> dict[str, Any]:
    """Return what `config.json` holds for a policy.

    Args:
        settings: Settings of the policy.
        screen: (height, width) of its small screen in px.
    """
    bins = (
        [WIDTH * 3 // 4, HEIGHT * 3 // 4]
        if settings.head == "pointer"
        else [WIDTH // BinsHead.PX, HEIGHT // BinsHead.PX]
    )
    return {
        "format": FORMAT,
        "settings": settings.model_dump(mode="json"),
        "screen": list(screen),
        "bins": bins,
    }


def read_config(path: Path) -> Any:
    """Read a `config.json` as JSON.

    Raises:
        PolicyError: If it is missing or not JSON; the message names the file.
    """
    if not path.exists():
        raise PolicyError(f"{path}: no such file; expected the {CONFIG} of a policy")
    try:
        return read_json(path, dict[str, Any], f"the {CONFIG} of a policy", LARGEST)
    except RecordError as error:
        raise PolicyError(str(error)) from None


def parse_config(config: Any, source: str | Path) -> tuple[PolicySettings, tuple[int, int]]:
    """Return the settings and the (height, width) of the screen that a configuration holds.

    Args:
        config: What was read as `config.json`.
        source: The file it comes from, for messages.

    Raises:
        PolicyError: If it is of another format, or a key or setting is missing, unknown or wrong;
            the message names `source`.
    """
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        actual = repr(config.get("format")) if isinstance(config, dict) else type(config).__name__
        raise PolicyError(f"{source}: expected a policy of format '{FORMAT}', got {actual}")
    if set(config) != _KEYS:
        raise PolicyError(
            f"{source}: expected the keys {', '.join(sorted(_KEYS))}, "
            f"got {', '.join(sorted(config))}"
        )
    try:
        settings = PolicySettings.model_validate(config["settings"])
    except ValidationError as error:
        raise PolicyError(explain_errors(PolicySettings, error, str(source))) from None
    screen = config["screen"]
    if not (
        isinstance(screen, list) and len(screen) == 2 and all(type(side) is int for side in screen)
    ):
        raise PolicyError(f"{source}: expected 'screen' as [height, width], got {screen!r}")
    return settings, (screen[0], screen[1])
