"""A stand-in for the page of `lastmile play`, and virtual annotators who work through it."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession

from lastmile.screen import Look
from lastmile.simulation.people import SPLIT
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.tasks import get_task
from lastmile.tasks.annotator import click, make_annotator
from lastmile.tasks.task import generator
from lastmile.web import window
from lastmile.web.live import Helpers
from lastmile.web.server import make_app
from lastmile.web.work import Settings

TOKEN = "token-of-the-test"
ADDRESS = "http://127.0.0.1:8710"
SOCKET = "ws://127.0.0.1:8710/socket"


class Page:
    """A window without pixels: it answers each screen as the page does."""

    def __init__(self, socket: WebSocketTestSession) -> None:
        self.socket = socket
        self.screen: dict[str, Any] = {}
        self.pixels = b""

    def send(self, **message: Any) -> None:
        self.socket.send_text(json.dumps(message))

    def receive(self) -> dict[str, Any]:
        """Return the next message; the header of a screen, whose pixels are kept."""
        event = self.socket.receive()
        self.socket._raise_on_close(event)
        if event.get("bytes") is None:
            answer: dict[str, Any] = json.loads(event["text"])
            return answer
        data = event["bytes"]
        (length,) = struct.unpack("<I", data[:4])
        self.screen = json.loads(data[4 : 4 + length])
        self.pixels = data[4 + length :]
        if self.screen["png"]:
            self.pixels = np.asarray(Image.open(io.BytesIO(self.pixels)).convert("RGB")).tobytes()
        assert len(self.pixels) == 336 * 448 * 3
        if self.screen["type"] == "review":
            return self.screen
        digest = hashlib.blake2b(self.pixels, digest_size=8).hexdigest()
        assert digest == self.screen["digest"]
        return self.screen

    def hello(
        self, token: str = TOKEN, person: str = "", device: str = "1280x720 @1 mouse"
    ) -> dict[str, Any]:
        """Join; returns the welcome."""
        self.send(type="hello", token=token, person=person, device=device)
        welcome = self.receive()
        assert welcome["type"] == "welcome"
        self.menu = self.receive()
        assert self.menu["type"] == "menu"
        return welcome

    def start(self, task: str, practice: bool = False) -> dict[str, Any]:
        self.send(type="start", task=task, practice=practice)
        return self.receive()

    def click(self, x: int, y: int, via: str = "pointer", **changes: Any) -> dict[str, Any]:
        """Click on the current screen; returns the next one."""
        number = self.screen["step"]
        message = {
            "type": "click",
            "step": number,
            "screen": self.screen["digest"],
            "x": x,
            "y": y,
            "via": via,
            "shown_ms": 1000.0 * number,
            "down_ms": 1000.0 * number + 500,
            "up_ms": 1000.0 * number + 600,
        }
        self.send(**{**message, **changes})
        return self.receive()

    def ask(self, kind: str = "policy") -> dict[str, Any]:
        """Ask the policy for a click, or for an `outlook`; returns what comes next."""
        self.send(type=kind, step=self.screen["step"], screen=self.screen["digest"])
        return self.receive()


@contextmanager
def page(app: Starlette, origin: str = ADDRESS) -> Iterator[Page]:
    """Open a window on an application."""
    client = TestClient(app)
    with client.websocket_connect(SOCKET, headers={"origin": origin}) as socket:
        yield Page(socket)


def app_at(
    folder: Path,
    *tasks: str,
    helpers: Helpers | None = None,
    loopback: bool = True,
    **settings: Any,
) -> Starlette:
    """Return a server that offers these tasks."""
    return make_app(Settings(folder, tasks, **settings), TOKEN, loopback, helpers)


class Thinker:
    """A player that clicks at (9, 9), once it is allowed to.

    Attributes:
        asked: Set when somebody waits for an answer.
        allowed: Answers are given while it is set.
    """

    asked = threading.Event()
    allowed = threading.Event()

    def __call__(self, observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
        self.asked.set()
        assert self.allowed.wait(30)
        return 9, 9


def make_thinker() -> Thinker:
    """Return a player, for `lastmile play --policy people_at_work:make_thinker`."""
    return Thinker()


def make_failing() -> Callable[..., Any]:
    """Return a player that fails."""

    def player(observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
        raise ValueError("no idea")

    return player


def stand_in(
    folder: Path, name: str, style: str, tasks: tuple[str, ...], worlds: int = 5, **settings: Any
) -> None:
    """Let a virtual annotator stand in for a person: it works through the page, and is recorded.

    Args:
        folder: Where the recordings go.
        name: What it is called; the pseudonym is `person-stand-in-NAME`.
        style: Its style.
        tasks: Its tasks.
        worlds: Worlds of each.
        **settings: Of the server.
    """
    app = app_at(folder, *tasks, worlds=worlds, **settings)
    with (
        patch("lastmile.web.work.secrets.token_hex", return_value=f"stand-in-{name}"),
        patch.object(window, "PER_SECOND", 1e9),  # it clicks faster than people
        page(app) as one,
    ):
        one.hello(device=f"stand-in, virtual style {style}")
        for task in tasks:
            for world in range(worlds):
                one.start(task)
                for x, y in _clicks(task, world, style, name, settings.get("look", Look())):
                    one.click(x, y)
                assert one.receive()["type"] == "result"


def _clicks(task: str, number: int, style: str, name: str, look: Look) -> Iterator[tuple[int, int]]:
    """Yield the clicks of a virtual annotator on a world of people."""
    source = Source(task, SPLIT, 0)
    session = Session(get_task(task), source.world(number), look)
    rng = generator(source.key(number), task, f"stand-in {name}")
    annotator = make_annotator(session.task, session.world, session.interface, style, rng)
    while not session.done:
        x, y = click(annotator.next(session.state), session.screen(), rng)
        yield x, y
        session.click(x, y)
