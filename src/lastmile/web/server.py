"""The server of `lastmile play`: a page, and a socket for each window that shows it.

A socket speaks JSON (`lastmile.web.messages`). Screens come as binary messages: the length of a
JSON header in 4 bytes, little-endian, the header, and the pixels as RGB, row by row.

Whoever has the token of the address may join. A person gets a secret of their own, which their
browser keeps, and with which they come back after a reload or a restart of the server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
import struct
import time
from collections.abc import Callable
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from lastmile.errors import LastmileError
from lastmile.simulation.people import Click
from lastmile.storage import locks
from lastmile.tasks.guide import about
from lastmile.web.messages import (
    LARGEST,
    AskHint,
    GiveUp,
    Hello,
    Menu,
    Message,
    Press,
    Start,
    parse,
)
from lastmile.web.work import People, Person, Refused, Settings, Work, now_ms

LOG = logging.getLogger("lastmile.play")

FILES = {
    "/": ("index.html", "text/html"),
    "/play.js": ("play.js", "text/javascript"),
    "/play.css": ("play.css", "text/css"),
}
"""What is served, with file and type."""
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; img-src 'self' data:; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")

PATIENCE = 10.0
"""Seconds in which the first message must come."""
PER_SECOND = 50.0
"""Messages that a socket may send per second, in the long run."""
BURST = 200.0
"""Messages that it may send at once."""
MOST_SOCKETS = 200
"""Sockets that are open at a time."""

MALFORMED, UNKNOWN_PERSON, TOO_LARGE, TOO_MANY, FULL, FAILED = 4400, 4401, 1009, 4429, 1013, 1011
"""Codes with which a socket is closed."""


class Closing(Exception):
    """The socket is to be closed.

    Attributes:
        code: The code to close it with.
        reason: Why, for the log and the page.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Bucket:
    """A limit on the rate of messages: a token bucket."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = BURST
        self._then = clock()

    def take(self) -> bool:
        """Return whether one more message may come now."""
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._then) * PER_SECOND)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Window:
    """A window of a browser: one socket, one person, at most one episode at a time."""

    def __init__(self, web_socket: WebSocket, people: People, token: str) -> None:
        self.socket = web_socket
        self.people = people
        self.token = token
        self.device = ""
        self.person: Person | None = None
        self.work: Work | None = None
        self._bucket = Bucket()

    async def serve(self) -> None:
        """Answer messages until the socket is closed.

        Raises:
            Closing: A message was refused.
            WebSocketDisconnect: The browser has gone.
        """
        try:
            hello = await asyncio.wait_for(self._receive(), PATIENCE)
        except TimeoutError:
            raise Closing(MALFORMED, "no greeting") from None
        if not isinstance(hello, Hello):
            raise Closing(MALFORMED, "the first message is no greeting")
        await self._welcome(hello)
        while True:
            await self._answer(await self._receive())

    async def _receive(self) -> Message:
        event = await self.socket.receive()
        if event["type"] != "websocket.receive":
            raise WebSocketDisconnect(event.get("code", 1000))
        if not self._bucket.take():
            raise Closing(TOO_MANY, "too many messages")
        text = event.get("text")
        if text is None:
            raise Closing(MALFORMED, "a message is no text")
        if len(text) > LARGEST:
            raise Closing(TOO_LARGE, "a message is too large")
        message = parse(text)
        if message is None:
            raise Closing(MALFORMED, "a message is malformed")
        return message

    async def _welcome(self, hello: Hello) -> None:
        person, secret = self.people.find(hello.person), hello.person
        if person is None:
            if not secrets.compare_digest(hello.token, self.token):
                raise Closing(UNKNOWN_PERSON, "wrong token")
            person, secret = self.people.join()
        self.person, self.device = person, hello.device
        await self.socket.send_json({"type": "welcome", "person": secret, "name": person.name})
        await self._menu()

    async def _menu(self) -> None:
        assert self.person is not None
        settings = self.people.settings
        done = await run_in_threadpool(self.people.progress, self.person)
        tasks = [{**about(name), "done": worlds} for name, worlds in done.items()]
        await self.socket.send_json({"type": "menu", "tasks": tasks, "worlds": settings.worlds})

    async def _answer(self, message: Message) -> None:
        work = self.work
        if isinstance(message, Start):
            await self._start(message)
        elif isinstance(message, Menu):
            self.work = None
            await self._menu()
        elif work is None or isinstance(message, Hello):
            raise Closing(MALFORMED, "a message out of place")
        elif isinstance(message, Press):
            await self._click(work, message)
        elif isinstance(message, AskHint):
            await self._hint(work)
        elif isinstance(message, GiveUp):
            async with work.lock:
                await run_in_threadpool(work.abandon)
            await self._result(work)

    async def _start(self, message: Start) -> None:
        assert self.person is not None
        if message.task not in self.people.settings.offered:
            raise Closing(MALFORMED, "no such task")
        self.work = None
        arguments = (self.person, message.task, message.practice, self.device)
        self.work = await run_in_threadpool(self.people.open, *arguments)
        if self.work is None:
            await self._menu()
        else:
            await run_in_threadpool(self.work.screen)
            await self._show(self.work)

    async def _click(self, work: Work, press: Press) -> None:
        click = Click(**press.model_dump(exclude={"type"}), received_ms=now_ms())
        refused = ""
        async with work.lock:
            try:
                await run_in_threadpool(work.click_and_draw, click)
            except Refused as error:
                refused = str(error)
        await self._show(work, refused)
        if work.ending:
            await self._result(work)

    async def _hint(self, work: Work) -> None:
        async with work.lock:
            try:
                hint = await run_in_threadpool(work.hint)
            except Refused as error:
                await self.socket.send_json({"type": "notice", "text": str(error)})
                return
            answer = {"type": "hint", "step": work.step, **hint._asdict()}
        await self.socket.send_json(answer)

    async def _show(self, work: Work, refused: str = "") -> None:
        """Send the current screen, and why the last click was refused, if it was."""
        async with work.lock:  # as long as the screen and its number belong together
            digest, pixels = work.screen()  # drawn already
            screen = work.session.screen()
            header = {
                "type": "screen",
                "task": work.opening.task,
                "title": screen.title,
                "practice": work.opening.practice,
                "world": work.opening.episode,
                "step": work.step,
                "digest": digest,
                "status": [text for text in screen.status() if text],
                "buttons": [
                    {
                        "key": work.keys.get(button.id, ""),
                        "label": button.label,
                        "enabled": button.enabled,
                        "x": rect.middle[0],
                        "y": rect.middle[1],
                    }
                    for button, rect in screen.widgets
                ],
                "refused": refused,
            }
        text = json.dumps(header).encode()
        await self.socket.send_bytes(struct.pack("<I", len(text)) + text + pixels.tobytes())

    async def _result(self, work: Work) -> None:
        async with work.lock:
            score = work.session.score
            result = {
                "type": "result",
                "ended": work.ending,
                "score": score.score,
                "success": score.success,
                "details": {name: round(float(v), 3) for name, v in score.details.items()},
                "missed": work.missed(),
                "steps": work.step,
            }
        await self.socket.send_json(result)


def make_app(settings: Settings, token: str, loopback: bool = True) -> Starlette:
    """Return the application.

    Args:
        settings: What is offered.
        token: Who has it may join.
        loopback: Whether only pages of this machine are answered; else, any that the server itself
            delivered.

    Raises:
        LastmileError: Something that is offered does not exist.
    """
    settings.check()
    people = People(settings)
    contents = {
        path: Response(
            (resources.files("lastmile.web") / "static" / name).read_bytes(),
            media_type=media_type,
            headers=HEADERS,
        )
        for path, (name, media_type) in FILES.items()
    }
    open_sockets: set[Window] = set()

    async def page(request: Request) -> Response:
        return contents[request.url.path]

    async def window(web_socket: WebSocket) -> None:
        origin = web_socket.headers.get("origin", "")
        if not is_own(origin, web_socket.headers.get("host", ""), loopback):
            LOG.warning("refused a page of %r", origin[:100])
            await web_socket.close(1008)
            return
        await web_socket.accept()
        one = Window(web_socket, people, token)
        code, reason = 1000, ""
        try:
            if len(open_sockets) >= MOST_SOCKETS:
                raise Closing(FULL, "too many windows are open")
            open_sockets.add(one)
            await one.serve()
        except WebSocketDisconnect as gone:
            if gone.code == TOO_LARGE:  # uvicorn refused it before it came here
                LOG.warning("closed a window of %s: a message is too large", _name(one))
            return
        except Closing as closing:
            code, reason = closing.code, closing.reason
            LOG.warning("closed a window of %s: %s", _name(one), reason)
        except OSError as error:
            code, reason = FAILED, f"the click could not be stored ({error.strerror})"
            LOG.error("closed a window of %s: %s", _name(one), reason)
        except Exception:
            code, reason = FAILED, "an error of the server"
            LOG.exception("closed a window of %s after an error", _name(one))
        finally:
            open_sockets.discard(one)
        try:
            await web_socket.close(code, reason)
        except (RuntimeError, WebSocketDisconnect):
            pass  # the browser was faster

    routes = [Route(path, page) for path in FILES]
    return Starlette(routes=[*routes, WebSocketRoute("/socket", window)])


def _name(window: Window) -> str:
    return window.person.name if window.person else "somebody unknown"


def is_own(origin: str, host: str, loopback: bool) -> bool:
    """Return whether a page of this origin came from the server that it now talks to.

    Args:
        origin: Header `Origin`.
        host: Header `Host`.
        loopback: Whether both must name this machine. That keeps out foreign pages whose name
            was made to resolve to it.
    """
    try:
        page = urlsplit(origin)
        own = page.scheme in ("http", "https") and page.netloc == host and bool(host)
        return own and (not loopback or page.hostname in LOOPBACK)
    except ValueError:
        return False


def serve(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8710,
    say: Callable[[str], Any] = print,
) -> None:
    """Serve until interrupted.

    Args:
        settings: What is offered.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        say: Called with the address, once it answers.

    Raises:
        LastmileError: The address cannot be listened at, a setting is wrong, or another server
            records in the folder.
    """
    settings.check()
    settings.folder.mkdir(parents=True, exist_ok=True)
    with open(settings.folder / ".lock", "w", encoding="utf-8") as lock:
        if locks.take(lock) is False:  # two servers would write to one log
            raise LastmileError(f"{settings.folder}: another lastmile play records there")
        _serve(settings, host, port, say)


def _serve(settings: Settings, host: str, port: int, say: Callable[[str], Any]) -> None:
    token = secrets.token_urlsafe(32)
    app = make_app(settings, token, host in LOOPBACK)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise LastmileError(
            f"cannot listen at {host}, port {port} ({error.strerror}); choose another --port"
        ) from None
    shown = f"[{host}]" if ":" in host else host
    say(f"http://{shown}:{listener.getsockname()[1]}/#token={token}")
    config = uvicorn.Config(
        app,
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=LARGEST,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listener])
