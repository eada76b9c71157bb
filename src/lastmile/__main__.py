"""`python -m lastmile` is the same as `lastmile`, but that jobs of the workflow start warm."""

from __future__ import annotations

import sys


def main() -> int:
    """Run a command, a stage in a fork of the server of warm starts where there is one."""
    if sys.argv[1:2] == ["stage"]:
        from lastmile.warm import ask

        if (code := ask(sys.argv[1:])) is not None:
            return code

    from lastmile.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
