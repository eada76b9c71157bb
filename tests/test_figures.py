"""Figures: table in, picture out, the same bytes each time."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from conftest import SETTINGS
from lastmile.__main__ import main
from lastmile.config import SIZES
from lastmile.evaluation.skills import SKILLS
from lastmile.studies import get_study, study_names, style
from lastmile.studies.render import FORMATS, figure_names, get_figure, render
from lastmile.tasks import task_names
from lastmile.tasks.task import MISTAKES


@pytest.fixture(scope="module")
def tables(evaluations, tmp_path_factory):
    """The folder with the table of every study, as the workflow writes it."""
    folder = tmp_path_factory.mktemp("tables")
    for name in study_names():
        study = get_study(name)
        study.table(evaluations[name], SETTINGS).to_csv(
            folder / f"{name}.csv", index=False, float_format="%.6g"
        )
        if hasattr(study, "sheet"):
            Image.fromarray(study.sheet(SETTINGS)).save(folder / f"{name}_screens.png")
    return folder


def test_every_study_has_a_figure():
    assert set(figure_names()) == set(study_names())


@pytest.mark.parametrize("name", figure_names())
def test_a_figure_is_drawn_with_its_caption_and_twice_the_same(tables, tmp_path, name):
    made = render(name, tables / f"{name}.csv", tmp_path / "one" / name)
    again = render(name, tables / f"{name}.csv", tmp_path / "two" / name)
    assert [path.name for path in made] == [f"{name}.{form}" for form in (*FORMATS, "rst")]
    assert sorted((tmp_path / "one").iterdir()) == sorted(made)
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in again]
    png, svg, pdf, caption = made
    assert min(Image.open(png).size) >= 400 and len(Image.open(png).convert("L").getcolors()) > 10
    assert b"<svg" in svg.read_bytes()[:1000] and pdf.read_bytes().startswith(b"%PDF-")
    text = caption.read_text()
    assert text.startswith("**") and "Colored dots" in text and "nan" not in text
    if name not in ("tasks", "annotators"):
        assert (
            "unit of inference" in text.lower()
            and "All tasks" in text
            or name in ("scaling", "probe_transfer")
        )


def test_captions_tell_the_numbers_of_their_table(tables):
    table = pd.read_csv(tables / "mistakes.csv")
    score = table[
        (table["who"] == "policy") & (table["measure"] == "score") & (table["task"] == "all tasks")
    ]["value"].item()
    assert f"score {score:.2f}" in get_figure("mistakes").caption(table)


@pytest.mark.parametrize("name", figure_names())
@pytest.mark.parametrize(
    "content, words",
    [(None, "not a readable CSV"), ("", "not a readable CSV"), ("task,value\n", "has no rows")],
)
def test_a_missing_or_empty_table_is_named(tmp_path, name, content, words):
    table = tmp_path / "in" / f"{name}.csv"
    if content is not None:
        table.parent.mkdir()
        table.write_text(content)
    with pytest.raises(ValueError, match=words) as error:
        render(name, table, tmp_path / "out" / name)
    assert str(table) in str(error.value) and not (tmp_path / "out").exists()


def test_an_unknown_figure_is_named():
    with pytest.raises(ValueError, match="unknown figure 'nothing' .*emergence"):
        get_figure("nothing")


def test_figures_do_without_torch():
    code = "import sys, lastmile.figures as f; [f.get_figure(n) for n in f.figure_names()]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_all_figures_are_drawn_again_from_a_folder_of_tables(tables, tmp_path, capsys):
    for name in ("emergence", "transfer"):
        shutil.copy(tables / f"{name}.csv", tmp_path)
    assert main(["figures", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{form}" for name in ("emergence", "transfer") for form in (*FORMATS, "rst", "csv")
    )
    capsys.readouterr()
    (tmp_path / "empty").mkdir()
    assert main(["figures", str(tmp_path / "empty")]) == 1
    assert "holds no table of a figure" in capsys.readouterr().err


def test_the_front_door_needs_no_torch(tmp_path):
    code = "import sys, lastmile.__main__ as m; m.main(['figures', sys.argv[1]]); sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True).returncode
        == 0
    )


def test_one_color_for_each_task_and_skill():
    assert set(task_names()) <= set(style.TASK_COLORS) and len(
        set(style.TASK_COLORS.values())
    ) == len(style.TASK_COLORS)
    assert (
        set(SKILLS) == set(style.SKILL_COLORS)
        and set(SIZES) == set(style.SIZE_COLORS)
        and set(MISTAKES) == set(style.MISTAKE_COLORS)
    )
