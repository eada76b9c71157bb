"""Figures: a table in, a picture and a caption out; nothing else is read.

A study's folder has a `figure.py` that defines `draw(table, folder)`, which returns a matplotlib
figure, and `caption(table)`, a text with the numbers of this table. `folder` is where the table is,
for figures that show pictures beside it.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from lastmile.errors import UnknownNameError

FORMATS = ("png", "svg", "pdf")


@lru_cache(maxsize=1)
def figure_names() -> tuple[str, ...]:
    """Return the names of all figures, sorted."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/figure.py")))


def get_figure(name: str) -> ModuleType:
    """Return the `figure` module of a study.

    Raises:
        UnknownNameError: No figure has this name.
    """
    if name not in figure_names():
        raise UnknownNameError("figure", name, figure_names())
    return importlib.import_module(f"lastmile.studies.{name}.figure")


def render(name: str, table: str | Path, out: str | Path) -> list[Path]:
    """Draw a figure from its table.

    The table of a study that measured nothing (columns without rows) gives a figure that says so.

    Args:
        name: Name of the figure.
        table: The CSV table.
        out: Path of the figure without its ending.

    Returns:
        The files written: `out`.png, .svg, .pdf, and the caption as .md.

    Raises:
        CsvError: The table cannot be read, or is not one that the study writes.
    """
    from lastmile.storage import files
    from lastmile.studies import style, tables

    module = get_figure(name)
    table = Path(table)
    out = Path(out)
    rows = tables.read(name, table)

    with style.applied():
        if rows.empty:
            figure = style.blank("Not measured: too few data")
            caption = f"**{style.title(name)}.** Not measured: too few data."
        else:
            figure = module.draw(rows, table.parent)
            caption = module.caption(rows)

        written = []
        for form in FORMATS:
            path = out.with_suffix(f".{form}")
            with files.writing(path) as temporary:
                figure.savefig(temporary, format=form, **style.SAVE[form])
            written.append(path)
        style.close(figure)
    files.write_text(out.with_suffix(".md"), caption + "\n")
    return [*written, out.with_suffix(".md")]
