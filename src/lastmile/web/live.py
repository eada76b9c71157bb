"""A player at work on one world, a click at a time, beside a person who may click too.

What it does next depends on the world, the look and all clicks so far, whoever made them, and on
nothing else: a server that was restarted goes on as if nothing had happened. Alone, it makes the
clicks that it makes in `lastmile evaluate`, with the same seed.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from lastmile.errors import LastmileError
from lastmile.evaluation import players, playing
from lastmile.evaluation.players import Opened, Player
from lastmile.screen import Look
from lastmile.simulation.people import LONGEST, Helper, Opening
from lastmile.simulation.pool import Rollout

if TYPE_CHECKING:
    from lastmile.policy.policy import Policy

Answer = TypeVar("Answer")

MOST_WAITING = 16
"""Questions that may wait for the players; further ones are refused."""

Clicks = Sequence[tuple[int, int]]
"""All clicks of an episode so far, (x, y) in logical px."""


class Busy(LastmileError):
    """Too many questions are waiting."""


class Live(Protocol):
    """A player at work on one world."""

    def click(self, clicks: Clicks) -> tuple[int, int]:
        """Return the next click, given all so far; asked again, it says the same."""

    @property
    def close(self) -> Callable[[], object]:
        """Lets go of what it holds; it may be called more than once."""


class LivePlayer:
    """A player that is no policy of ours.

    Like the player itself it may remember what it was asked. After a restart of the server it
    begins anew, on the screen that is shown then.
    """

    close: Callable[[], object]

    def __init__(self, player: Player, rollout: Rollout) -> None:
        self._player = player
        self._rollout = rollout
        self._answer: tuple[int, tuple[int, int]] | None = None
        playing.begin(player)

    def click(self, clicks: Clicks) -> tuple[int, int]:
        """Return the next click."""
        if self._answer is None or self._answer[0] != len(clicks):
            for _ in self._rollout.play(clicks[len(self._rollout.steps) :]):
                pass
            self._answer = len(clicks), playing.ask(self._player, self._rollout)
        return self._answer[1]


class Helpers:
    """The player that a server lets work beside people, on as many worlds as they like.

    All its computing is done by one thread, one question after the other, so that sockets are
    answered meanwhile, and with the arithmetic of one core.

    Attributes:
        helper: Who it is, as logs name it.
        foresees: Whether it can tell its next click as a distribution.
    """

    def __init__(
        self, source: str, temperature: float = 0.4, seed: int = 0, timeout: float = 60.0
    ) -> None:
        """Find the player.

        Args:
            source: Who plays, in words; see `lastmile.evaluation.players.opened`.
            temperature: Temperature at which a policy of ours samples its clicks, above 0.
            seed: Seed of its clicks.
            timeout: Seconds that a process may take for a click.

        Raises:
            LastmileError: There is no such player, or the temperature is not above 0.
        """
        if temperature <= 0:
            raise LastmileError(f"temperature: expected more than 0, got {temperature}")
        self._arguments = (source, seed, timeout)
        self._temperature = temperature
        self._seed = seed
        self._stack = ExitStack()
        self._held: set[ExitStack] = set()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._policy: Policy | None = None
        opened = self._stack.enter_context(players.opened(*self._arguments))
        self.foresees = bool(opened.weights)
        if self.foresees:
            self._policy = cast("Policy", opened.player_for(""))
        else:
            self._stack.close()  # it gets a player of its own for each world
        self.helper = Helper(
            policy=" ".join(source.split())[:100],
            weights=opened.weights,
            temperature=temperature if self.foresees else None,
        )
        self._thread = ThreadPoolExecutor(1, "policy", initializer=self._one_core)

    def live(self, opening: Opening) -> Live:
        """Return a player for a world that somebody has opened. It may take a while.

        Raises:
            LastmileError: The player cannot be made.
        """
        look = Look(opening.layout, opening.theme)
        world = opening.source.world(opening.episode)
        rollout = Rollout(opening.episode, opening.task, world, look, LONGEST)
        if self._policy is not None:
            return self._live_policy(self._policy, rollout)
        stack = ExitStack()
        try:
            opened: Opened = stack.enter_context(players.opened(*self._arguments))
            player = opened.player_for(opening.task)
        except BaseException:
            stack.close()
            raise
        if players.is_policy(player):  # made by a factory
            return self._live_policy(player, rollout)
        self._held.add(stack)
        live = LivePlayer(cast(Player, player), rollout)
        live.close = weakref.finalize(live, self._let_go, stack)  # also when nobody wants it
        return live

    def ask(self, question: Callable[[], Answer]) -> Future[Answer]:
        """Have a question answered by the thread of the players.

        Raises:
            Busy: Too many are waiting.
        """
        if not self._waiting.acquire(blocking=False):
            raise Busy("The policy is busy with other worlds. Try again in a moment.")
        try:
            future = self._thread.submit(question)
        except BaseException:
            self._waiting.release()
            raise
        future.add_done_callback(lambda _: self._waiting.release())
        return future

    def close(self) -> None:
        """End what the players have started."""
        self._thread.shutdown(cancel_futures=True)
        for stack in [*self._held]:
            stack.close()
        self._stack.close()

    def _let_go(self, stack: ExitStack) -> None:
        """Close what a player holds, in the thread of the players: a process may take seconds."""
        if stack in self._held:
            self._held.discard(stack)
            try:
                self._thread.submit(stack.close)
            except RuntimeError:  # the server ends
                stack.close()

    def _live_policy(self, policy: Policy, rollout: Rollout) -> Live:
        from lastmile.web.live_policy import LivePolicy  # with torch

        return LivePolicy(policy, rollout, self._temperature, self._seed)

    def _one_core(self) -> None:
        if self._policy is not None:
            import torch

            torch.set_num_threads(1)  # with others, clicks may differ in rare cases
