"""The command `bitpress`: without arguments the window, with arguments the command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run, and give back the exit status. Nothing heavy is imported before it is known what is wanted."""
    if len(sys.argv) > 1:
        try:
            from app.cli.main import run

            return run(sys.argv[1:])
        except KeyboardInterrupt:
            return 130
    from app.window import run_window

    return run_window()


if __name__ == "__main__":
    sys.exit(main())
