"""Whoever can play: our policies, any callable, random clicks, and processes behind a pipe.

Nothing here needs torch, unless a policy of ours plays.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeGuard, cast

import numpy as np

from lastmile import released
from lastmile.errors import LastmileError, UnknownNameError
from lastmile.evaluation.pipe import Pipe
from lastmile.evaluation.playing import Player, RandomPlayer, play
from lastmile.evaluation.trigram import TrigramPlayer
from lastmile.extras import needed_for
from lastmile.provenance.manifests import file_digest
from lastmile.screen import Look
from lastmile.simulation.pool import Rollout
from lastmile.simulation.source import Source
from lastmile.tasks.script import Script, make_script

if TYPE_CHECKING:
    from lastmile.policy.policy import Policy

RANDOM = "random"
"""Name of the player that clicks anywhere on the screen."""
TRIGRAM = "trigram"
"""Name of the player that clicks as annotators did after the same two widgets."""
SCRIPTED = "scripted"
"""Name of the hand-written solvers, one for each task, that see what a policy sees."""
TRIGRAM_EPISODES = 50
"""Training episodes that are recorded to fit the trigram to."""
PIPE = "pipe:"
"""What the command of a process is written after."""


AnyPlayer: TypeAlias = "Policy | Player"
"""A policy of ours, or a player of any kind."""


class Opened(NamedTuple):
    """Players that are ready.

    Attributes:
        player_for: Returns the player for a task, by its name.
        weights: Digest of the weights of a policy of ours that was named; empty for others.
    """

    player_for: Callable[[str], AnyPlayer]
    weights: str = ""


@contextmanager
def opened(source: str, seed: int = 0, timeout: float = 60.0) -> Iterator[Opened]:
    """Find the player that a few words describe.

    Args:
        source: `random`, `trigram` or `scripted`; `pipe:COMMAND`, a process (see
            `lastmile.evaluation.pipe`); the name of a released policy, or of a task for the one
            that does it; the folder of a policy; or `MODULE:FACTORY`, where `FACTORY(task)` or
            `FACTORY()` returns a player. Modules of the current folder are found, too.
        seed: Seed of the players that draw their clicks.
        timeout: Seconds that a process may take for a click.

    Raises:
        LastmileError: There is no such player, or it cannot be made.
    """
    if source == RANDOM:
        yield Opened(lambda task: RandomPlayer(task, seed))
    elif source == TRIGRAM:
        yield Opened(lambda task: _trigram(task, seed))
    elif source == SCRIPTED:
        yield Opened(make_script)
    elif source.startswith(PIPE):
        pipe = Pipe(source.removeprefix(PIPE), timeout)
        try:
            yield Opened(lambda task: pipe)
        finally:
            pipe.close()
    elif ":" in source and not Path(source).exists():
        yield Opened(_imported(source))
    else:
        try:
            folder = released.policy_folder(source)
        except UnknownNameError:
            known = (
                *released.names(),
                RANDOM,
                TRIGRAM,
                SCRIPTED,
                f"{PIPE}COMMAND",
                "MODULE:FACTORY",
                "FOLDER",
            )
            raise UnknownNameError("player", source, known) from None
        with needed_for(f"the policy {source}"):
            from lastmile.policy.folder import WEIGHTS
            from lastmile.released.loading import Policy
        policy = Policy.load(folder)
        yield Opened(lambda task: policy, file_digest(folder / WEIGHTS))


def _trigram(task: str, seed: int) -> TrigramPlayer:
    """Return a trigram that is fitted to new training episodes of the typical annotator."""
    from lastmile.simulation.trajectory import record

    source = Source(task, "train", seed)
    columns = [record(source, number).columns for number in range(TRIGRAM_EPISODES)]
    episodes = [
        (list(map(str, of["widget"])), np.stack([of["x"], of["y"]], axis=1)) for of in columns
    ]
    return TrigramPlayer(task, seed, episodes)


def _imported(source: str) -> Callable[[str], AnyPlayer]:
    """Return what makes players, given `MODULE:FACTORY`."""
    module_name, _, name = source.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise LastmileError(f"{source}: expected MODULE:FACTORY, such as my_policies:make_player")
    # The command of a package, unlike `python -m`, does not look into the current folder.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise LastmileError(
            f"{source}: {error}; expected a module that is installed or in {os.getcwd()}"
        ) from None
    factory = getattr(module, name, None)
    if not callable(factory):
        raise LastmileError(f"{source}: the module '{module_name}' has no function '{name}'")

    try:
        signature = inspect.signature(factory)
    except ValueError:
        raise LastmileError(f"{source}: expected a function of Python") from None
    arguments = next((words for words in (1, 0) if _takes(signature, words)), None)
    if arguments is None:
        raise LastmileError(
            f"{source}: expected {name}(task) or {name}(), which returns a player; "
            f"got {name}{signature}"
        )

    def make(task: str) -> AnyPlayer:
        player: AnyPlayer = factory(*(task,)[:arguments])
        if not (callable(player) or is_policy(player)):
            raise LastmileError(
                f"{source}: expected a player, which is called with a screen and info; "
                f"got {type(player).__name__}"
            )
        return player

    return make


def _takes(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True


def is_policy(player: object) -> TypeGuard[Policy]:
    """Return whether a player is a policy of ours, without importing torch to find out."""
    module = sys.modules.get("lastmile.policy.policy")  # without it no policy can exist
    return module is not None and isinstance(player, module.Policy)


def step_limit(source: Source, worlds: int) -> int:
    """Return the clicks that an episode may have in the studies.

    It is a multiple of the median length of the annotator's episodes on the same worlds.
    """
    from lastmile.config import Evaluation
    from lastmile.simulation.trajectory import record

    lengths = [len(record(source, number).columns["x"]) for number in range(worlds)]
    return int(Evaluation().max_steps * np.median(lengths))


def play_worlds(
    player: AnyPlayer,
    source: Source,
    worlds: int,
    look: Look,
    max_steps: int,
    temperature: float,
) -> list[Rollout]:
    """Let a player work on the first worlds of a source.

    Args:
        player: Who plays.
        source: Where the worlds come from; its seed is that of a policy's clicks, too.
        worlds: Number of worlds.
        look: Layout and theme of the interface.
        max_steps: Clicks after which an episode is truncated.
        temperature: Temperature at which a policy of ours samples its clicks.

    Returns:
        The rollouts, played to their ends, in the order of the worlds.

    Raises:
        LastmileError: A click is no pair of integers, or outside the screen; or a script plays in
            a look that it does not know.
    """
    if isinstance(player, Script) and look != Look():
        raise LastmileError(
            f"scripts know the layout '{Look().layout}' and the theme '{Look().theme}' alone, "
            f"got '{look.layout}' and '{look.theme}'"
        )
    rollouts = [
        Rollout(number, source.task, source.world(number), look, max_steps)
        for number in range(worlds)
    ]
    if is_policy(player):
        import torch

        from lastmile.evaluation.closed_loop import play_rollouts

        # One thread, as the jobs of the workflow: with others, clicks may differ in rare cases.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return play_rollouts(player, rollouts, temperature, source.seed)
        finally:
            torch.set_num_threads(threads)
    for rollout in rollouts:
        play(cast(Player, player), rollout)
    return rollouts
