"""`python -m runtime`, and the console script."""

from __future__ import annotations

import sys


def main() -> int:
    """`python -m runtime` of this process."""
    from runtime.cli.main import main as run

    return run()


def console() -> int:
    """`blockwright` of this process."""
    from runtime.cli.main import console as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
