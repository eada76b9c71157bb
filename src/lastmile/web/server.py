"""The server of `lastmile play`: a page, and a socket for each window that shows it.

What the socket speaks is described in `lastmile.web.window`.

Whoever has the token of the address may join. A person gets a secret of their own, which their
browser keeps, and with which they come back after a reload or a restart of the server.
"""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import closing, nullcontext
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from lastmile.errors import LastmileError
from lastmile.storage import locks
from lastmile.web.live import Helpers
from lastmile.web.messages import LARGEST
from lastmile.web.window import FAILED, FULL, TOO_LARGE, Closing, Window
from lastmile.web.work import People, Settings

LOG = logging.getLogger("lastmile.play")

FILES = {
    "/": ("lastmile.web", "static/index.html", "text/html"),
    "/map.js": ("lastmile.viewer", "page.map.js", "text/javascript"),
    "/play.css": ("lastmile.web", "static/play.css", "text/css"),
    "/play.js": ("lastmile.web", "static/play.js", "text/javascript"),
    "/policy.js": ("lastmile.web", "static/policy.js", "text/javascript"),
    "/review.js": ("lastmile.web", "static/review.js", "text/javascript"),
}
"""What is served, with package, file and type."""
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; img-src 'self' data:; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")

MOST_SOCKETS = 200
"""Sockets that are open at a time."""


def make_app(
    settings: Settings, token: str, loopback: bool = True, helpers: Helpers | None = None
) -> Starlette:
    """Return the application.

    Args:
        settings: What is offered.
        token: Who has it may join.
        loopback: Whether only pages of this machine are answered; else, any that the server itself
            delivered, with screens as PNG.
        helpers: The policy that works beside people, if there is one.

    Raises:
        LastmileError: Something that is offered does not exist.
    """
    settings.check()
    people = People(settings)
    contents = {
        path: Response(
            (resources.files(package) / name).read_bytes(), media_type=media_type, headers=HEADERS
        )
        for path, (package, name, media_type) in FILES.items()
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
        one = Window(web_socket, people, token, helpers, png=not loopback)
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
    open_helpers: Callable[[], Helpers] | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        settings: What is offered.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        say: Called with the address, once it answers.
        open_helpers: Returns the policy that works beside people.

    Raises:
        LastmileError: The address cannot be listened at, a setting is wrong, another server records
            in the folder, or there is no such policy.
    """
    settings.check()
    settings.folder.mkdir(parents=True, exist_ok=True)
    with open(settings.folder / ".lock", "w", encoding="utf-8") as lock:
        if locks.take(lock) is False:  # two servers would write to one log
            raise LastmileError(f"{settings.folder}: another lastmile play records there")
        with closing(open_helpers()) if open_helpers else nullcontext() as helpers:
            _serve(settings, host, port, say, helpers)


def _serve(
    settings: Settings,
    host: str,
    port: int,
    say: Callable[[str], Any],
    helpers: Helpers | None,
) -> None:
    token = secrets.token_urlsafe(32)
    app = make_app(settings, token, host in LOOPBACK, helpers)
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
