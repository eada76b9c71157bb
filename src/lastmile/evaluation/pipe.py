"""A player in a process of its own, in any language: JSON lines over standard input and output.

For every click the process reads one line:

    {"task": "colored_dots", "step": 0, "max_steps": 180, "click": null, "widget": "", "kind": "",
     "width": 168, "height": 126, "screen": "..."}

`screen` is the base64 of the pixels, row by row, three bytes (red, green, blue) each; the other
keys are those of a player's `info`. `step` is 0 where an episode begins. The process answers with
one line, the click in logical px, and writes nothing else to its standard output:

    {"x": 224, "y": 168}

When its input ends it has nothing more to do.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import subprocess
import threading
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from lastmile.closed import Closed
from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, WIDTH

LONGEST = 10_000
"""Bytes of the longest answer that is read."""
_SHOWN = 80  # characters of a wrong answer that a message quotes
_GRACE = 5.0  # seconds for a process to end when its input has ended


class PipeError(LastmileError):
    """A process that does not play: it does not start, answers too late, wrongly, or ended."""


class _Answer(Closed):
    x: int = Field(ge=0, lt=WIDTH)
    y: int = Field(ge=0, lt=HEIGHT)


class Pipe:
    """A player that asks a process for each click.

    Attributes:
        command: The command of the process.
        timeout: Seconds that it may take for a click.
    """

    def __init__(self, command: str, timeout: float) -> None:
        """Start the process; it is not given to a shell.

        Raises:
            PipeError: It cannot be started.
        """
        self.command = command
        self.timeout = timeout
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise PipeError(f"pipe:{command}: cannot be read as a command ({error})") from None
        if not words:
            raise PipeError("pipe: expected a command, as in 'pipe:python my_policy.py'")
        try:
            # A session of its own: what it starts itself can be ended with it.
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PipeError(f"pipe:{command}: cannot be started ({reason})") from None
        self._late = False

    def __call__(self, observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
        """Send a screen and return the click that is answered.

        Raises:
            PipeError: The process took too long, ended, or answered something else.
        """
        height, width, _ = observation.shape
        screen = base64.b64encode(observation.tobytes()).decode()
        message = {**info, "width": width, "height": height, "screen": screen}
        line = self._ask(json.dumps(message).encode() + b"\n")
        where = f"pipe:{self.command}: in task '{info['task']}' at step {info['step']}"
        if self._late:
            raise PipeError(f"{where}: no answer within {self.timeout:g} s")
        if not line:
            raise PipeError(
                f"{where}: the process ended ({self._how_it_ended()}) without an answer"
            )
        try:
            answer = _Answer.model_validate_json(line)
        except ValidationError:
            text = line.decode(errors="replace").strip()
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
            raise PipeError(
                f'{where}: expected one line {{"x": 0 to {WIDTH - 1}, "y": 0 to {HEIGHT - 1}}}, '
                f"got {shown!r}"
            ) from None
        return answer.x, answer.y

    def close(self) -> None:
        """End the process: its input ends; if that does not help, it is killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # it is gone, with a message unread
        try:
            self._process.wait(0 if self._late else _GRACE)
        except subprocess.TimeoutExpired:
            pass
        self._kill()  # also what it may have left behind
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, message: bytes) -> bytes:
        """Send a message and return the answer; empty if the process is gone.

        Whatever blocks, writing or reading, ends when the process is killed for being late.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        timer = threading.Timer(self.timeout, self._expire)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(message)
            self._process.stdin.flush()
            return self._process.stdout.readline(LONGEST)
        except OSError:
            return b""
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nothing is left of it

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return "its output is closed"
        return f"exit code {code}" if code >= 0 else f"signal {-code}"
