"""The command line: what people give it by mistake ends in one line and code 1, and leaves nothing behind."""

from __future__ import annotations

import json

import imageio.v3 as imageio
import pandas as pd
import pytest

from lastmile.__main__ import main

CLOSED = json.dumps(
    {"run": {"task": "colored_dots", "seed": 0}, "seed": 0, "temperature": 0.4, "max_steps": 1}
)
TRAIN = json.dumps(
    {
        "run": {"task": "colored_dots", "seed": 0},
        "seed": 0,
        "policy": {"size": "xs"},
        "training": {"frames": 50},
    }
)


def refused(capsys, folder, *arguments) -> str:
    """The message with which arguments are refused; nothing new lies in `folder`."""
    before = sorted(folder.rglob("*"))
    assert main([str(argument) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    assert sorted(folder.rglob("*")) == before
    return err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["watch", "colored_dot", "--out", "x.gif"], "'colored_dot'; did you mean 'colored_dots'?"),
        (
            ["watch", "colored_dots", "--out", "x.avi"],
            "x.avi: expected a file that ends in .gif or .mp4",
        ),
        (["watch", "colored_dots", "--out", "x.gif", "--style", "lazy"], "'lazy'"),
        (["watch", "colored_dots", "--out", "x.gif", "--difficulty", "hard"], "'hard'"),
        (["watch", "colored_dots", "--out", "x.gif", "--layout", "middle"], "'middle'"),
        (["watch", "colored_dots", "--out", "x.gif", "--theme", "neon"], "'neon'"),
        (["watch", "colored_dots", "--out", "x.gif", "--seed", "-1"], "seed"),
        (["watch", "colored_dots", "--out", "x.gif", "--episode", "-1"], "-1"),
        (["watch", "colored_dots", "--out", "x.gif", "--fps", "0"], "fps"),
        (["watch", "colored_dots", "--out", "x.gif", "--policy", "nowhere"], "nowhere"),
        (
            ["check", "colored_dot", "--json", "x.json"],
            "'colored_dot'; did you mean 'colored_dots'?",
        ),
        (
            ["check", "colored_dots", "--worlds", "0", "--json", "x.json"],
            "worlds: expected at least 1, got 0",
        ),
        (
            ["check", "colored_dots", "--worlds", "1", "--style", "lazy", "--json", "x.json"],
            "'lazy'",
        ),
        (["trajectories", "--spec", "{}", "--out", "x.parquet"], "spec: 'episodes' is missing"),
        (
            [
                "trajectories",
                "--spec",
                '{"episodes": 1, "task": "colored_dots"}',
                "--out",
                "x.parquet",
            ],
            "spec: ",
        ),
        (
            [
                "trajectories",
                "--spec",
                '{"episodes": 0, "task": "colored_dots", "split": "test", "seed": 0}',
                "--out",
                "x.parquet",
            ],
            "episodes",
        ),
        (
            ["tokens", "--trajectories", "none.parquet", "--out", "x.tokens"],
            "none.parquet: no such file",
        ),
        (["figure", "nothing", "--table", "t.csv", "--out", "x"], "'nothing'"),
        (["figure", "emergence", "--table", "t.csv", "--out", "x"], "t.csv"),
        (["study", "nothing", "--spec", "{}", "--out", "x.csv", "--claims", "x.json"], "'nothing'"),
        (
            ["study", "emergence", "--spec", "{}", "--out", "x.csv", "--claims", "x.json"],
            "'skills'",
        ),
        (
            ["study", "emergence", "--spec", '{"sed": 1}', "--out", "x.csv", "--claims", "x.json"],
            "did you mean 'seed'?",
        ),
        (["findings", "--name", "desk", "--claims", "none.json", "--out", "x.json"], "none.json"),
        (
            [
                "findings",
                "--name",
                "desk",
                "--claims",
                "none.json",
                "--expected",
                "none.yaml",
                "--out",
                "x.json",
            ],
            "none.yaml",
        ),
        (["runs", "--spec", "{}", "--manifests", "none.json", "--out", "x.csv"], "none.json"),
        (["plan", "--configfile", "none.yaml"], "config.yaml: cannot be read"),
        (["figures", "nowhere"], "nowhere: holds no table of a figure"),
    ],
)
def test_bad_input_is_refused_by_name(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, tmp_path, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["check"],
        ["trajectories", "--spec", "{", "--out", "x"],
        ["trajectories", "--spec", "3", "--out", "x"],
    ],
)
def test_a_wrong_command_shows_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and "usage: python -m lastmile" in capsys.readouterr().err


def test_somebody_elses_tokens_are_not_trained_on(capsys, tmp_path, token_file):
    (tmp_path / "x.tokens").write_bytes(b"no tokens")
    words = refused(
        capsys,
        tmp_path,
        "train",
        "--spec",
        TRAIN,
        "--tokens",
        tmp_path / "x.tokens",
        "--validation",
        token_file,
        "--runs",
        tmp_path / "runs",
        "--out",
        tmp_path / "out",
    )
    assert "x.tokens: not a readable token file" in words


def test_a_training_that_is_not_said_is_not_begun(capsys, tmp_path, token_file):
    for part, value, words in (
        ("policy", {"siz": "xs"}, "'policy.siz'"),
        ("training", {"frames": 0}, "'training.frames'"),
        ("seeds", [], "'seed' is missing"),
    ):
        spec = json.dumps(
            {"policy": {"size": "xs"}, "training": {"frames": 50}}
            | ({"seed": 0} if part != "seeds" else {})
            | {part: value}
        )
        where = [
            "--tokens",
            token_file,
            "--validation",
            token_file,
            "--runs",
            tmp_path / "runs",
            "--out",
            tmp_path / "out",
        ]
        assert words in refused(capsys, tmp_path, "train", "--spec", spec, *where)


@pytest.mark.parametrize("damage", ["config.json", "policy.safetensors"])
def test_a_folder_without_a_policy_is_named(capsys, tmp_path, policy, recorded, damage):
    policy.save(tmp_path / "policy")
    (tmp_path / "policy" / damage).unlink()
    for command in (
        ["watch", "colored_dots", "--out", tmp_path / "x.gif", "--policy", tmp_path / "policy"],
        [
            "closed-loop",
            "--spec",
            CLOSED,
            "--policy",
            tmp_path / "policy",
            "--trajectories",
            recorded.path,
            "--out",
            tmp_path / "x.parquet",
        ],
    ):
        assert str(tmp_path / "policy" / damage) in refused(capsys, tmp_path, *command)


def test_closed_loop_is_a_table_of_both(capsys, tmp_path, policy, recorded):
    policy.save(tmp_path / "policy")
    out = tmp_path / "x.parquet"
    assert (
        main(
            [
                "closed-loop",
                "--spec",
                CLOSED,
                "--policy",
                str(tmp_path / "policy"),
                "--trajectories",
                str(recorded.path),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    table = pd.read_parquet(out)
    assert table.columns[:2].tolist() == ["task", "seed"] and table[
        "who"
    ].value_counts().to_dict() == {"policy": 4, "annotator": 4}


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_an_episode_can_be_watched(capsys, tmp_path, suffix):
    out = tmp_path / f"episode.{suffix}"
    assert (
        main(
            [
                "watch",
                "object_exploration",
                "--out",
                str(out),
                "--layout",
                "left",
                "--theme",
                "light",
            ]
        )
        == 0
    )
    steps = int(capsys.readouterr().out.removeprefix(f"{out}: ").removesuffix(" steps\n"))
    frames = imageio.imread(out, index=None)
    assert list(tmp_path.iterdir()) == [out] and frames.shape[1:] == (336, 624, 3)
    assert (
        steps < len(frames) <= steps + 4 if suffix == "mp4" else len(frames) > 1
    )  # a GIF joins equal frames


def test_a_check_can_be_kept(capsys, tmp_path):
    assert (
        main(
            [
                "check",
                "colored_dots",
                "--worlds",
                "2",
                "--difficulty",
                "short",
                "--from",
                "random",
                "--json",
                str(tmp_path / "x.json"),
            ]
        )
        == 0
    )
    kept = json.loads((tmp_path / "x.json").read_text())
    assert (kept["task"], kept["worlds"], kept["style"], kept["start"], kept["difficulty"]) == (
        "colored_dots",
        2,
        "typical",
        "random",
        "short",
    )
    assert {
        "success",
        "score",
        "steps",
        "actions",
        "phases",
        "mistakes_per_placement",
        "verdicts",
        "repaired",
        "correction_rate",
    } <= set(kept)
    assert (
        sum(kept["actions"].values()) == pytest.approx(1) == sum(kept["phases"].values())
        and 0 <= kept["repaired"] <= 1
    )
    assert capsys.readouterr().out.startswith(f"colored_dots: success {kept['success']:.2f}")


def test_the_schema_is_printed(capsys, root):
    assert main(["schema"]) == 0
    assert (
        capsys.readouterr().out
        == (root / "workflow" / "schemas" / "settings.schema.json").read_text()
    )
