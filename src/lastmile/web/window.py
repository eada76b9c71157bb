"""A window of `lastmile play`: what its socket may ask, and what it is answered.

A socket speaks JSON (`lastmile.web.messages`). Screens come as binary messages: the length of a
JSON header in 4 bytes, little-endian, the header, and the pixels: RGB, row by row, or a PNG.

A policy that works beside the person is asked for one click at a time, by the page. It computes in
a thread of its own while this window and all others are answered, and its click is made only if
nothing else happened meanwhile: a click of the person or a pause takes the question back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from lastmile.errors import LastmileError
from lastmile.screen import draw
from lastmile.screen.png import encode_png
from lastmile.simulation.people import Click
from lastmile.tasks.guide import about
from lastmile.web import answers
from lastmile.web.live import Busy, Helpers
from lastmile.web.messages import (
    LARGEST,
    AskClick,
    AskHint,
    AskOutlook,
    GiveUp,
    Hello,
    Menu,
    Message,
    Pause,
    Press,
    Review,
    Start,
    parse,
)
from lastmile.web.work import People, Person, Refused, Work, now_ms

LOG = logging.getLogger("lastmile.play")

PATIENCE = 10.0
"""Seconds in which the first message must come."""
PER_SECOND = 50.0
"""Messages that a socket may send per second, in the long run."""
BURST = 200.0
"""Messages that it may send at once."""
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


class Question(NamedTuple):
    """What a policy was asked.

    Attributes:
        work: The episode.
        message: The question.
        answer: What it will say: a click, or the message of an outlook.
    """

    work: Work
    message: AskClick | AskOutlook
    answer: asyncio.Future[Any]


class Window:
    """A window of a browser: one socket, one person, at most one episode at a time."""

    def __init__(
        self,
        web_socket: WebSocket,
        people: People,
        token: str,
        helpers: Helpers | None = None,
        png: bool = False,
    ) -> None:
        """Prepare to serve.

        Args:
            web_socket: The socket.
            people: Everybody who works here.
            token: Who has it may join.
            helpers: The policy that works beside people, if there is one.
            png: Whether pixels are sent as PNG, for slower connections.
        """
        self.socket = web_socket
        self.people = people
        self.token = token
        self.helpers = helpers
        self.png = png
        self.device = ""
        self.person: Person | None = None
        self.work: Work | None = None
        self._bucket = Bucket()
        self._questions: dict[type[Message], Question] = {}  # at most one of each kind

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
        receiving = asyncio.ensure_future(self._receive())
        try:
            while True:
                questions = {question.answer for question in self._questions.values()}
                await asyncio.wait({receiving, *questions}, return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():  # first: what the person does comes before the policy
                    message = receiving.result()
                    receiving = asyncio.ensure_future(self._receive())
                    await self._answer(message)
                else:
                    await self._take_answers()
        finally:
            self._withdraw(AskClick, AskOutlook)
            receiving.cancel()

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
            self._withdraw(AskClick, AskOutlook)
            self.work = None
            await self._menu()
        elif work is None or isinstance(message, Hello):
            raise Closing(MALFORMED, "a message out of place")
        elif isinstance(message, Press):
            await self._click(work, message)
        elif isinstance(message, AskHint):
            await self._hint(work)
        elif isinstance(message, Pause):
            self._withdraw(AskClick)
        elif isinstance(message, Review):
            await self._review(work, message.view)
        elif isinstance(message, (AskClick, AskOutlook)):
            await self._ask(work, message)
        elif isinstance(message, GiveUp):
            self._withdraw(AskClick, AskOutlook)
            async with work.lock:
                await run_in_threadpool(work.abandon)
            await self._result(work)

    async def _start(self, message: Start) -> None:
        assert self.person is not None
        if message.task not in self.people.settings.offered:
            raise Closing(MALFORMED, "no such task")
        self._withdraw(AskClick, AskOutlook)
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
        self._withdraw(AskClick)
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
                await self._notice(str(error))
                return
            answer = {"type": "hint", "step": work.step, **hint._asdict()}
        await self.socket.send_json(answer)

    # The policy

    async def _ask(self, work: Work, message: AskClick | AskOutlook) -> None:
        """Ask the policy for a click, or where it would click."""
        helpers = self.helpers
        outlook = isinstance(message, AskOutlook)
        if helpers is None or (outlook and not helpers.foresees):
            raise Closing(MALFORMED, "no policy can be asked here")
        async with work.lock:
            current = work.fits(message.step, message.screen)
        if not current:
            await self._catch_up(work, message)
            return
        kind = type(message)
        self._withdraw(kind)
        try:
            work.expect(helpers.helper)
            ask = partial(answers.outlook if outlook else _click, work, helpers)
            answer = asyncio.wrap_future(helpers.ask(ask))
        except (Busy, Refused) as error:
            await self._notice(str(error), paused=True)
            return
        self._questions[kind] = Question(work, message, answer)

    def _withdraw(self, *kinds: type[Message]) -> None:
        """Take questions back that are not answered yet."""
        for kind in kinds:
            question = self._questions.pop(kind, None)
            if question and not question.answer.cancel() and not question.answer.cancelled():
                question.answer.exception()  # it may have failed: nobody wants to know

    async def _take_answers(self) -> None:
        for kind, question in [*self._questions.items()]:
            if question.answer.done():
                del self._questions[kind]
                await self._take(question)

    async def _take(self, question: Question) -> None:
        work, message = question.work, question.message
        try:
            answer = question.answer.result()
        except LastmileError as error:
            await self._notice(f"The policy stopped: {error}", paused=True)
            return
        except Exception:
            LOG.exception("the policy of %s failed", self.person and self.person.name)
            await self._notice("The policy stopped after an error.", paused=True)
            return
        async with work.lock:
            current = work.fits(message.step, message.screen)
            if current and isinstance(message, AskClick):
                assert self.helpers is not None
                await run_in_threadpool(work.click_of, self.helpers.helper, *answer)
        if not current:
            await self._catch_up(work, message)
        elif isinstance(message, AskOutlook):
            await self.socket.send_json(answer)
        else:
            await self._show(work)
            if work.ending:
                await self._result(work)

    async def _catch_up(self, work: Work, message: AskClick | AskOutlook) -> None:
        """Answer a question about an old screen: who waits for the next one is shown it."""
        if isinstance(message, AskClick) and not work.ending:
            await self._show(work)

    async def _notice(self, text: str, paused: bool = False) -> None:
        """Tell the person something; `paused` if the policy does not go on by itself."""
        await self.socket.send_json({"type": "notice", "text": text, "paused": paused})

    # Screens

    async def _show(self, work: Work, refused: str = "") -> None:
        """Send the current screen, and why the last click was refused, if it was."""
        async with work.lock:  # as long as the screen and its number belong together
            _, pixels = work.screen()  # drawn already
            header = answers.screen(work, self.helpers)
        await self._send_pixels({**header, "refused": refused}, pixels)

    async def _send_pixels(self, header: dict[str, Any], pixels: np.ndarray) -> None:
        if self.png:
            data = await run_in_threadpool(encode_png, pixels)
        else:
            data = pixels.tobytes()
        text = json.dumps({**header, "png": self.png}).encode()
        await self.socket.send_bytes(struct.pack("<I", len(text)) + text + data)

    async def _review(self, work: Work, number: int) -> None:
        """Send the screen of one of the views in which something is missed or wrong."""
        async with work.lock:
            views = work.views() if work.ending else []
        if number >= len(views):
            raise Closing(MALFORMED, "no such view")
        pixels = await run_in_threadpool(draw, views[number].screen)
        await self._send_pixels({"type": "review", "view": number}, pixels)

    async def _result(self, work: Work) -> None:
        async with work.lock:
            await run_in_threadpool(work.views)
            result = answers.result(work)
        await self.socket.send_json(result)


def _click(work: Work, helpers: Helpers) -> tuple[int, int]:
    return work.live(helpers).click(work.clicks)
