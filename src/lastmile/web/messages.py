"""What a browser may send: closed schemas, bounded in every direction."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from lastmile.closed import Closed
from lastmile.simulation.people import BrowserClick, Device, Digest, Number

LARGEST = 4000
"""Bytes of the largest message."""

Secret = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")]


class Hello(Closed):
    """The first message.

    Attributes:
        token: The token of the server's address; empty for people who come back.
        person: The secret of a person who comes back; empty for a new one.
        device: What the browser says of the device.
    """

    type: Literal["hello"]
    token: Secret
    person: Secret
    device: Device


class Start(Closed):
    """Begin a world of a task, or go on with it."""

    type: Literal["start"]
    task: Annotated[str, Field(max_length=100)]
    practice: bool


class Press(BrowserClick):
    """A click."""

    type: Literal["click"]


class AskHint(Closed):
    """Ask for the next click of the virtual annotator."""

    type: Literal["hint"]


class GiveUp(Closed):
    """Give up on the world."""

    type: Literal["give up"]


class AskClick(Closed):
    """Let the policy make a click on this screen."""

    type: Literal["policy"]
    step: Number
    screen: Digest


class AskOutlook(Closed):
    """Ask where the policy would click on this screen."""

    type: Literal["outlook"]
    step: Number
    screen: Digest


class Pause(Closed):
    """Take back the question to the policy that is not answered yet."""

    type: Literal["pause"]


class Review(Closed):
    """Show one of the views in which something is missed or wrong, after the end."""

    type: Literal["review"]
    view: Annotated[int, Field(ge=0, le=10_000)]


class Menu(Closed):
    """Go back to the list of tasks; the world stays open."""

    type: Literal["menu"]


Message = Hello | Start | Press | AskHint | GiveUp | AskClick | AskOutlook | Pause | Review | Menu

_MESSAGES: TypeAdapter[Message] = TypeAdapter(Message)


def parse(text: str) -> Message | None:
    """Return a message; None if it is not one."""
    try:
        return _MESSAGES.validate_json(text, strict=True)
    except (ValidationError, UnicodeError):
        return None
