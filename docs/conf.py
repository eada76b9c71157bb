"""Settings of Sphinx: `make docs`. The build needs no network."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE = str(HERE.parent / "src")
sys.path[:0] = [SOURCE, str(HERE)]
os.environ["PYTHONPATH"] = SOURCE  # of the notebook's kernel

import lastmile  # noqa: E402
import reference_pages  # noqa: E402

project = "lastmile"
author = "The lastmile authors"
project_copyright = "2026, The lastmile authors"
version = release = getattr(lastmile, "__version__", "0.2.0")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
default_role = "code"  # `name` in docstrings is code
suppress_warnings = ["ref.python"]  # two modules may have a class of one name, such as `Spec`

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

autodoc_inherit_docstrings = False  # those of torch and Gymnasium are theirs
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "special-members": "__call__",
}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = "lastmile"
html_copy_source = False
html_show_sphinx = False

NOT_IN_API = (
    "lastmile.__main__",
    "lastmile.agents.logs",  # with the next one: imports Inspect, which the pages are made without
    "lastmile.agents.tasks",
    "lastmile.tasks.",  # each task has a page of its own
    "lastmile.studies.",
)
IN_API = ("lastmile.tasks.annotator", "lastmile.tasks.task", "lastmile.studies.claims")
"""Of those left out, the modules that a new task or study builds on."""


def write_api(folder: Path) -> None:
    """Write a page for each part of the package, with all of its public modules."""
    parts: dict[str, list[str]] = {}
    for module in pkgutil.walk_packages(lastmile.__path__, "lastmile."):
        name = module.name
        private = any(part.startswith("_") for part in name.split("."))
        if name in IN_API or not (private or name.startswith(NOT_IN_API)):
            parts.setdefault(name.split(".")[1], []).append(name)

    pages = {"index.md": ["# API reference", "", "```{toctree}", *sorted(parts), "```"]}
    public = {name: getattr(lastmile, name) for name in lastmile.__all__ if name[:1] != "_"}
    pages["index.md"][1:1] = [
        "",
        "The names that most users need, to be imported from `lastmile`:",
        "",
        *(f"- {{py:obj}}`{name} <{value.__module__}.{name}>`" for name, value in public.items()),
        "",
        "The pages below describe every public module.",
        "",
    ]
    for part, names in parts.items():
        lines = [f"# lastmile.{part}"]
        for name in sorted(names):
            if name != f"lastmile.{part}":
                lines += ["", f"## {name}"]
            lines += ["", "```{eval-rst}", f".. automodule:: {name}", "```"]
        pages[f"{part}.md"] = lines

    folder.mkdir(exist_ok=True)
    for old in set(folder.glob("*.md")) - {folder / name for name in pages}:
        old.unlink()
    for name, lines in pages.items():
        reference_pages.write_if_changed(folder / name, "\n".join(lines) + "\n")


def skip_member(
    app: Any, kind: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Leave out what a library documents: fields of named tuples, members of pydantic models."""
    text = inspect.getdoc(member) or ""
    if text.startswith("Alias for field number") or name in ("model_config", "model_post_init"):
        return True
    return None


def setup(app: Any) -> None:
    """Write the generated pages, then let Sphinx find them."""
    importlib.invalidate_caches()
    write_api(HERE / "api")
    reference_pages.write(HERE / "reference")
    app.connect("autodoc-skip-member", skip_member)
