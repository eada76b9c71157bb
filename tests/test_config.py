"""Settings: presets load, everything else is refused by name."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from lastmile.config import ConfigError, Settings, canonical, load, parse, schema, task_list
from lastmile.tasks import task_names


def test_the_default_and_every_preset_load(root: Path) -> None:
    default = load(root / "config.yaml")
    presets = sorted((root / "workflow" / "presets").glob("*.yaml"))
    loaded = [load(root / "config.yaml", preset) for preset in presets]
    assert default.name == "desk"
    assert [settings.name for settings in loaded] == [preset.stem for preset in presets] and presets


def test_the_default_explains_every_setting(root: Path) -> None:
    """config.yaml spells out every key there is, so that nothing has to be looked up elsewhere."""
    assert canonical_keys(yaml.safe_load((root / "config.yaml").read_text())) == canonical_keys(
        Settings().model_dump()
    )


def canonical_keys(values: dict, prefix: str = "") -> set[str]:
    return {
        k
        for name, value in values.items()
        for k in (
            canonical_keys(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {prefix + name}
        )
    }


def test_overlays_merge_mappings_and_replace_lists(tmp_path: Path) -> None:
    base, over = tmp_path / "base.yaml", tmp_path / "over.yaml"
    base.write_text("tasks: [colored_dots, object_exploration]\nepisodes: {train: 7, test: 9}\n")
    over.write_text("tasks: [object_exploration]\nepisodes: {train: 8}\n")
    settings = load(base, over)
    assert settings.tasks == ("object_exploration",)
    assert (settings.episodes.train, settings.episodes.test) == (8, 9)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"episode": {}}, ["'episode'", "did you mean 'episodes'?"]),
        ({"policy": {"siz": "s"}}, ["'policy.siz'", "did you mean 'size'?"]),
        ({"zzz": 1}, ["'zzz'", "known: name, seed"]),
        ({"tasks": ["colored_dot"]}, ["'tasks'", "'colored_dot'", "did you mean 'colored_dots'?"]),
        ({"tasks": ["colored_dots", "colored_dots"]}, ["'tasks'", "twice"]),
        ({"tasks": "colored_dots"}, ["'tasks'", "'colored_dots'"]),
        ({"worlds": {"style": "hastyy"}}, ["'worlds.style'", "did you mean 'hasty'?"]),
        ({"worlds": {"difficulty": "hard"}}, ["'worlds.difficulty'", "'hard'", "short, full"]),
        ({"worlds": {"layouts": ["rigth"]}}, ["'worlds.layouts'", "did you mean 'right'?"]),
        ({"worlds": {"layouts": []}}, ["'worlds.layouts'"]),
        ({"worlds": {"themes": ["neon"]}}, ["'worlds.themes'", "'neon'", "dark, light, retro"]),
        ({"policy": {"size": "xl"}}, ["'policy.size'", "'xl'"]),
        ({"episodes": {"train": -1}}, ["'episodes.train'", "-1"]),
        ({"episodes": {"test": 2.5}}, ["'episodes.test'", "2.5"]),
        ({"episodes": 3}, ["'episodes'", "3"]),
        ({"training": {"seeds": [1, 1]}}, ["'training.seeds'", "distinct"]),
        ({"training": {"seeds": [-1]}}, ["'training.seeds'", "-1"]),
        ({"training": {"learning_rate": float("inf")}}, ["'training.learning_rate'", "inf"]),
        ({"evaluation": {"temperature": 0}}, ["'evaluation.temperature'", "0"]),
        ({"probes": {"frames": 1}}, ["'probes.frames'", "1"]),
        (
            {"transfer": {"held_out": [["colored_dot"]]}},
            ["'transfer.held_out'", "did you mean 'colored_dots'?"],
        ),
        (
            {"transfer": {"held_out": [["colored_dots"], ["colored_dots"]]}},
            ["'transfer.held_out'", "twice"],
        ),
        ({"heads": {"tasks": ["dots"]}}, ["'heads.tasks'", "'dots'"]),
        ({"scaling": {"sizes": ["xl"]}}, ["'scaling.sizes", "'xl'"]),
        ({"name": "../elsewhere"}, ["'name'", "../elsewhere"]),
        ({"seed": None}, ["'seed'", "None"]),
        ([1], ["mapping", "list"]),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(values: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(values, "some.yaml")
    message = str(error.value)
    assert message.startswith("some.yaml: ") and "\n" not in message
    assert all(word in message for word in words), message


def test_every_bad_key_gets_a_line() -> None:
    with pytest.raises(ConfigError) as error:
        parse({"sed": 1, "episodes": {"train": 0}})
    assert "'sed'" in str(error.value) and "'episodes.train'" in str(error.value)


@pytest.mark.parametrize(
    "content, words",
    [
        ("a: [1, 2", "cannot be parsed"),
        ("- 1\n- 2\n", "expected a mapping"),
        ("\xff\xfe", "cannot be parsed"),
        (None, "cannot be read"),
    ],
)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, content: str | None, words: str
) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=words) as error:
        load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "values, words",
    [
        (
            {"training": {"frames": True}},
            "'training.frames': .*expected a number or text, not true/false, got True",
        ),
        ({"training": {"learning_rate": True}}, "expected a number or text, not true/false"),
        ({"seed": False}, "expected a number or text, not true/false"),
        ({"training": {"compile": 3}}, "'training.compile'"),
        ({"training": {"frames": 10**18}}, "less than or equal to 1000000000000"),
        ({"training": {"batch": 10**6}}, "less than or equal to"),
        ({"training": {"snapshots": 10**7}}, "less than or equal to"),
        ({"training": {"threads": 0}}, "greater than or equal to 1"),
        ({"training": {"seeds": [2**40]}}, "seeds must be distinct, from 0 to"),
        ({"episodes": {"train": 10**9}}, "less than or equal to"),
        ({"name": "reference"}, "results/reference keeps published results"),
    ],
)
def test_absurd_values_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(values)


def test_the_published_schema_is_that_of_the_code(root: Path) -> None:
    published = (root / "workflow" / "schemas" / "settings.schema.json").read_text()
    assert json.loads(published) == json.loads(schema())


def test_no_study_trains_on_a_task_that_is_held_out_unless_it_is_named() -> None:
    studied = task_list(parse({}))
    assert set(task_names()) - set(studied) == {"shape_matching"} and len(studied) == 9
    assert task_list(parse({"tasks": ["shape_matching"]})) == ("shape_matching",)


def test_canonical_does_not_depend_on_order() -> None:
    items = list(Settings().model_dump(mode="json").items())
    random.Random(0).shuffle(items)
    assert parse(dict(items)).canonical() == Settings().canonical()
    assert (
        canonical({"b": (1, 2), "a": 1}) == canonical({"a": 1, "b": [1, 2]}) == '{"a":1,"b":[1,2]}'
    )


def test_settings_stay_few() -> None:
    def leaves(model: type[BaseModel]) -> int:
        kinds = [item.annotation for item in model.model_fields.values()]
        return sum(
            leaves(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else 1
            for kind in kinds
        )

    assert leaves(Settings) <= 60  # the last five sections name little more than tasks and frames


def test_parsing_imports_no_torch(root: Path) -> None:
    code = f"import sys; from lastmile import config; config.load({str(root / 'config.yaml')!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_preset_trains_longer_by_what_it_leaves_out(root: Path) -> None:
    """Presets are laid over `desk`, whose longer joint policy would be most of the smoke study."""
    for path in sorted((root / "workflow" / "presets").glob("*.yaml")):
        scaling = yaml.safe_load(path.read_text()).get("scaling", {})
        assert "joint" in scaling or "frames" not in scaling, path.name
