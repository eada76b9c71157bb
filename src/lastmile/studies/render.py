"""Figures: table in, picture out; nothing else is read.

A folder of a study whose `figure.py` defines `draw` and `caption` has a figure. `draw(table, folder)` returns a matplotlib figure, `caption(table)` a text
with the numbers of this table. `folder` is where the table is, for figures that show pictures beside it.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import pandas as pd

from lastmile.errors import LastmileError, UnknownNameError

FORMATS = ("png", "svg", "pdf")


@lru_cache(maxsize=1)
def figure_names() -> tuple[str, ...]:
    """Names of all figures, sorted: the folders beside this file that hold a `figure.py`."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/figure.py")))


def get_figure(name: str) -> ModuleType:
    """A figure by name. Raises ValueError naming those that exist."""
    if name not in figure_names():
        raise UnknownNameError("figure", name, figure_names())
    return importlib.import_module(f"lastmile.studies.{name}.figure")


def render(name: str, table: str | Path, out: str | Path) -> list[Path]:
    """Draw a figure from its CSV table: `out`.png, .svg, .pdf, and its caption as .rst.

    Raises ValueError naming the table if it cannot be read or is empty.
    """
    from lastmile.storage import files
    from lastmile.studies import style

    module, table, out = get_figure(name), Path(table), Path(out)
    try:
        rows = pd.read_csv(table, keep_default_na=True)
    except (OSError, ValueError) as error:
        raise LastmileError(f"{table}: not a readable CSV table ({error})") from None
    if rows.empty:
        raise LastmileError(f"{table}: has no rows to draw")
    with style.applied():
        figure = module.draw(rows, table.parent)
        made = []
        for form in FORMATS:
            path = out.with_suffix(f".{form}")
            with files.writing(path) as temporary:
                figure.savefig(temporary, format=form, **style.SAVE[form])
            made.append(path)
        style.close(figure)
    files.write_text(out.with_suffix(".rst"), module.caption(rows) + "\n")
    return [*made, out.with_suffix(".rst")]
