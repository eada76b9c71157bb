"""Figures: a table in, a picture out, the same bytes each time."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from conftest import QUICK, SETTINGS, Evaluations
from lastmile.cli import main
from lastmile.config import SIZES
from lastmile.evaluation.skills import SKILLS
from lastmile.studies import get_study, study_names, style
from lastmile.studies.emergence import figure as emergence_figure
from lastmile.studies.render import FORMATS, figure_names, get_figure, render
from lastmile.tasks import task_names
from lastmile.tasks.task import MISTAKES


@pytest.fixture(scope="module")
def tables(evaluations: Evaluations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the table of every study, as the workflow writes it."""
    folder = tmp_path_factory.mktemp("tables")
    for name in study_names():
        study = get_study(name)
        study.table(evaluations[name], QUICK).to_csv(
            folder / f"{name}.csv", index=False, float_format="%.6g"
        )
        if hasattr(study, "sheet"):
            Image.fromarray(study.sheet(SETTINGS)).save(folder / f"{name}_screens.png")
    return folder


def test_every_study_has_a_figure() -> None:
    assert set(figure_names()) == set(study_names())


@pytest.mark.parametrize("name", figure_names())
def test_a_figure_is_drawn_with_its_caption_and_twice_the_same(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One figure is compared as a PDF, too; its fonts take most of the time."""
    written = render(name, tables / f"{name}.csv", tmp_path / "one" / name)
    assert [path.name for path in written] == [f"{name}.{form}" for form in (*FORMATS, "md")]
    assert sorted((tmp_path / "one").iterdir()) == sorted(written)
    if name != "probe_generalization":  # it has pictures, lines and bars of color
        monkeypatch.setattr("lastmile.studies.render.FORMATS", FORMATS[:2])
    for path in render(name, tables / f"{name}.csv", tmp_path / "two" / name):
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()

    png, svg, pdf, caption = written
    assert min(Image.open(png).size) >= 400
    assert len(Image.open(png).convert("L").getcolors() or ()) > 10
    assert b"<svg" in svg.read_bytes()[:1000]
    assert pdf.read_bytes().startswith(b"%PDF-")

    text = caption.read_text()
    assert text.startswith("**") and "Colored dots" in text and "nan" not in text
    if name not in ("tasks", "annotators"):
        assert "unit of inference" in text.lower()
    if name not in ("tasks", "annotators", "scaling", "probe_generalization"):
        assert "All tasks" in text


def test_captions_tell_the_numbers_of_their_table(tables: Path) -> None:
    table = pd.read_csv(tables / "mistakes.csv")
    score = table[
        (table["who"] == "policy") & (table["measure"] == "score") & (table["task"] == "all tasks")
    ]["value"].item()
    assert f"score {score:.2f}" in get_figure("mistakes").caption(table)


@pytest.mark.parametrize("name", figure_names())
@pytest.mark.parametrize(
    "content, words",
    [
        (None, "not a readable CSV"),
        ("", "not a readable CSV"),
        ("task,value\n", "expected the columns .*; unknown: value|missing: "),
    ],
)
def test_a_missing_or_empty_table_is_named(
    tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    table = tmp_path / "in" / f"{name}.csv"
    if content is not None:
        table.parent.mkdir()
        table.write_text(content)
    with pytest.raises(ValueError, match=words) as error:
        render(name, table, tmp_path / "out" / name)
    assert str(table) in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", figure_names())
def test_a_study_that_measured_nothing_has_a_figure_that_says_so(tmp_path: Path, name: str) -> None:
    table = tmp_path / f"{name}.csv"
    pd.DataFrame(columns=list(get_study(name).COLUMNS)).to_csv(table, index=False)
    written = render(name, table, tmp_path / name)
    assert "Not measured" in written[-1].read_text()
    assert np.asarray(Image.open(written[0]).convert("L")).min() < 255


def test_an_unknown_figure_is_named() -> None:
    with pytest.raises(ValueError, match="unknown figure 'nothing' .*emergence"):
        get_figure("nothing")


def test_a_table_that_was_edited_is_not_drawn(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = root / "results" / "reference" / "desk" / "figures"
    for name in ("tasks.csv", "tasks.csv.manifest.json"):
        shutil.copy(figures / name, tmp_path)
    table = tmp_path / "tasks.csv"
    table.write_text(table.read_text().replace("explore", "explain", 1))
    assert main(["figures", str(tmp_path)]) == 1
    assert "tasks.csv: was changed after it was made; move" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 2


def test_figures_do_without_torch() -> None:
    code = (
        "import sys, lastmile.studies.render as r\n"
        "[r.get_figure(name) for name in r.figure_names()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_all_figures_are_drawn_again_from_a_folder_of_tables(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("emergence", "transfer"):
        shutil.copy(tables / f"{name}.csv", tmp_path)
    assert main(["figures", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{form}" for name in ("emergence", "transfer") for form in (*FORMATS, "md", "csv")
    )

    capsys.readouterr()
    (tmp_path / "empty").mkdir()
    assert main(["figures", str(tmp_path / "empty")]) == 1
    assert "has no table of a figure" in capsys.readouterr().err


def test_the_front_door_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, lastmile.cli as m\n"
        "m.main(['figures', sys.argv[1]])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True)
    assert done.returncode == 0


def test_one_color_for_each_task_and_skill() -> None:
    colors = [style.task_color(task) for task in task_names()]
    assert len(set(colors)) == len(colors)
    assert not set(style.TASK_COLORS.values()) & set(style.SPARE_COLORS)
    assert set(SKILLS) == set(style.SKILL_COLORS)
    assert set(SIZES) == set(style.SIZE_COLORS)
    assert set(MISTAKES) == set(style.MISTAKE_COLORS) == set(style.MISTAKE_MARKERS)


def test_a_new_task_gets_a_color_by_its_name() -> None:
    color = style.task_color("mitosis_counting")
    assert color == style.task_color("mitosis_counting")
    assert color in style.SPARE_COLORS
    assert {style.task_color(f"task_{i}") for i in range(50)} == set(style.SPARE_COLORS)


SEEN_BY = {
    "everybody": np.eye(3),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}
"""Linear RGB as it is seen (Machado, Oliveira and Fernandes, 2009, severity 1)."""
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(color: str, seen: np.ndarray) -> np.ndarray:
    """Return the CIELAB coordinates of a color as it is seen, (3,)."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(seen @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("who", SEEN_BY)
@pytest.mark.parametrize(
    "colors",
    [
        [*style.TASK_COLORS.values(), *style.SPARE_COLORS],
        [style.SKILL_COLORS[skill] for skill in emergence_figure.SHOWN],
        [*style.MISTAKE_COLORS.values(), style.INK],
        [style.WHO_COLORS["policy"], style.WHO_COLORS["annotator"]],
    ],
    ids=["tasks", "skills", "mistakes", "who"],
)
def test_colors_drawn_together_differ_for_the_color_blind(colors: list[str], who: str) -> None:
    seen = [lab(color, SEEN_BY[who]) for color in colors]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) > 20  # about ten just noticeable differences
