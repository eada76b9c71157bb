"""Minari: a dataset for offline reinforcement learning (Farama Foundation), for any task.

The folder `data` of the export is the dataset: `minari.MinariDataset(out / "data")`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lastmile.config import SPLITS
from lastmile.errors import MissingExtraError
from lastmile.exports.format import Details, Episode, Format
from lastmile.exports.rollout import rollout, small_screens

if TYPE_CHECKING:
    from minari.data_collector import EpisodeBuffer

COORDINATES = {
    "": "actions: (x, y) in logical px on the screen, 448 x 336, from its upper left corner. "
    "Observations: screens shrunk to 168 x 126 px, one before each click and the last one. "
    "Rewards: gain in score."
}


def _write(folder: Path, episodes: Iterable[Episode]) -> list[Details]:
    import gymnasium

    try:
        from minari import __version__
        from minari.dataset.minari_storage import MinariStorage
    except ModuleNotFoundError as error:
        # Not in `lastmile.extras.EXTRAS`: training depends on that file, and would be made again.
        raise MissingExtraError("an export to 'minari'", "exports", error) from None

    from lastmile.simulation.registration import env_id

    details: list[Details] = []
    for index, episode in enumerate(episodes):
        task = episode.session.task
        if index == 0:
            # Once the first episode is there: an unusable recording has none.
            spec = copy.deepcopy(gymnasium.spec(env_id(task.name)))
            spec.kwargs = {"task": task.name, "difficulty": episode.difficulty}
            storage = MinariStorage.new(
                folder / "data", env_spec=spec, data_format="parquet", jpeg_encoding=False
            )
            storage.update_metadata(
                {
                    "dataset_id": f"lastmile/{task.name}/{episode.difficulty}-v{task.version}",
                    "minari_version": __version__,
                    "description": f"{task.interface.title}: clicks of an annotator. "
                    f"{COORDINATES['']}",
                }
            )
        storage.update_episodes([_buffer(index, episode)])
        details.append({"files": [f"data/{index}"], "minari_episode": index})
    return details


def _buffer(index: int, episode: Episode) -> EpisodeBuffer:
    from minari.data_collector import EpisodeBuffer

    played = rollout(episode)
    count = len(played.clicks)
    ends = [False] * (count - 1)
    seed, split, number = episode.seed
    return EpisodeBuffer(
        id=index,
        # With these, `reset` of the environment makes the same world; it has those of seed 0 alone.
        options={"world": number, "split": SPLITS[split]} if seed == 0 else None,
        observations=list(small_screens(episode)),
        actions=list(played.clicks),
        rewards=played.rewards.tolist(),
        terminations=[*ends, played.terminated],
        truncations=[*ends, not played.terminated],
    )


FORMAT = Format("Minari, a dataset for offline learning", COORDINATES, _write, for_learning=True)
