"""`python -m lastmile` is the same as `lastmile`."""

from __future__ import annotations

import sys

from lastmile.cli import main

if __name__ == "__main__":
    sys.exit(main())
