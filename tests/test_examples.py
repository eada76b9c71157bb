"""Example pages of a study: the episode on them is the one of the closed loop, and links lead to it."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from lastmile.config import Settings
from lastmile.pipeline import report_examples
from lastmile.pipeline.plan import Jobs
from lastmile.pipeline.stages import example, report
from lastmile.provenance.verify import verify
from lastmile.simulation import trajectory
from lastmile.viewer import template

pytestmark = pytest.mark.xdist_group("small study")
Study = tuple[Settings, Path]


def embedded(page: Path) -> dict[str, Any]:
    match = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data


def spec_of(settings: Settings, task: str = "colored_dots") -> Any:
    return Jobs(settings).specs("example")[(task,)]


def examples(small_study: Study) -> list[report_examples.Example]:
    settings, results = small_study
    spec: Any = Jobs(settings).specs("report")[()]
    inputs = report.inputs(spec, results)
    return report_examples.read(inputs.examples, inputs.moments)


def test_the_annotator_is_the_recorded_one_and_the_policy_that_of_the_closed_loop(
    small_study: Study,
) -> None:
    _, results = small_study
    for task in ("colored_dots", "plume_finding"):
        (episode,) = embedded(results / "examples" / f"{task}.html")["episodes"]
        annotator, policy = episode["tracks"]
        recording = trajectory.read(results / "trajectories" / task / "test.parquet")
        clicks = list(zip(annotator["steps"]["x"], annotator["steps"]["y"]))
        assert clicks == [tuple(click) for click in recording.clicks(0).tolist()]

        table = pd.read_parquet(results / f"evaluations/all/{task}/seed0/closed_loop.parquet")
        (row,) = table[(table["who"] == "policy") & (table["episode"] == 0)].to_dict("records")
        assert len(policy["steps"]["x"]) == row["steps"]
        assert policy["score"][-1] == pytest.approx(row["score"], abs=1e-4)
        assert policy["success"] == row["success"] and policy["finished"] == row["finished"]
        for kind in ("navigate", "look", "place", "undo", "invalid"):
            assert policy["steps"]["kind"].count(kind) == row.get(kind, 0)
        assert policy["player"] == "policy all, seed 0, T = 0.4"
        assert len(policy["predictions"]["nats"]) == row["steps"]


def test_the_page_says_how_its_world_was_chosen(small_study: Study) -> None:
    settings, results = small_study
    note = embedded(results / "examples" / "colored_dots.html")["note"]
    assert note.startswith("World 0 of the test split: chosen by its number, before anything")
    for task in settings.tasks:
        spec = spec_of(settings, task)
        assert (spec.world, spec.run) == (0, "all")


def test_it_is_made_again_with_the_same_bytes_and_is_in_its_manifest(
    small_study: Study, tmp_path: Path
) -> None:
    settings, results = small_study
    spec = spec_of(settings)
    made = example.outputs(spec, results)
    again = example.outputs(spec, tmp_path)
    example.run(spec, example.inputs(spec, results), again)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in made]
    assert verify(results).problems == []
    manifest = json.loads(made.page.with_name("colored_dots.html.manifest.json").read_text())
    assert set(manifest["outputs"]) == {"colored_dots.html", "colored_dots.json"}
    assert made.page.stat().st_size < 3e6


def test_a_study_without_trainings_shows_the_annotator_alone(
    small_study: Study, tmp_path: Path
) -> None:
    settings, results = small_study
    spec = spec_of(settings).model_copy(update={"run": None})
    made = example.outputs(spec, tmp_path)
    example.run(spec, example.inputs(spec, results), made)
    (episode,) = embedded(made.page)["episodes"]
    assert [track["player"] for track in episode["tracks"]] == ["annotator, typical"]
    assert "policy" not in embedded(made.page)["note"]
    (alone,) = report_examples.read([made.page], [made.moments])
    links = report_examples.beside("annotators", [alone]) + report_examples.introduction([alone])
    assert "href" in links and "v=" not in links
    assert "Where the policy" not in report_examples.beside("mistakes", [alone])


def test_without_joint_policy_the_one_for_the_task_plays(small_study: Study) -> None:
    settings, _ = small_study
    alone = settings.model_copy(update={"tasks": ("colored_dots",)})
    assert spec_of(alone).run == "colored_dots"


def test_a_changed_script_makes_another_page(
    small_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = small_study
    before = spec_of(settings).template
    text = template.text
    monkeypatch.setattr(template, "text", lambda name: text(name) + " ")
    assert spec_of(settings).template != before


def test_links_lead_to_what_they_name(small_study: Study) -> None:
    """To the page, the episode, the player and the step at which it happens."""
    _, results = small_study
    shown = examples(small_study)
    checked = 0
    for study, lines in report_examples.SHOWN.items():
        text = report_examples.beside(study, shown)
        for moment, who, words in lines:
            line = re.search(rf"<p>{words}: (.*?)</p>", text)
            links = re.findall(r"href='(.*?)'", line[1]) if line else []
            expected = 0
            for one in shown:
                tracks = embedded(results / "examples" / f"{one.task}.html")["episodes"][0][
                    "tracks"
                ]
                track = tracks[who == "policy"]
                expected += not moment or bool(track["events"][moment])
            assert len(links) == expected, (study, words)
            for link in map(unescape, links):
                url = urlsplit(link)
                data = embedded(results / url.path)
                place = {name: value for name, (value,) in parse_qs(url.fragment).items()}
                (episode,) = data["episodes"]
                assert place["e"] == episode["key"]
                track = episode["tracks"][place.get("v") == "2"]
                assert track["player"].startswith("policy" if who == "policy" else "annotator")
                assert (place.get("v") == "all") == (who == "all")
                if moment:
                    assert track["events"][moment][0] == int(place["s"]) - 1
                    checked += 1
    assert checked
    text = report_examples.introduction(shown)
    size = sum((results / "examples" / f"{one.task}.html").stat().st_size for one in shown)
    assert (
        f"2 pages in the folder <code>examples</code> beside this report, {size / 1e6:.1f} MB"
        in text
    )
    assert report_examples.beside("heads", shown) == report_examples.introduction([]) == ""
