"""`python -m compiler`, and the console script."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line of this process."""
    gc.disable()  # a command is short, and most of it is imports that stay: nothing here is worth collecting
    from compiler.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
