"""`python -m vhdcheck`, and the script `vhdcheck`: the command as a process of its own."""

from __future__ import annotations

import gc

from vhdcheck.command.cli import main


def command() -> int:
    """Run the command in a process that ends with it; return the exit status."""
    try:
        return main()
    finally:
        if hasattr(gc, "freeze"):  # CPython
            gc.freeze()  # else the whole heap is searched for garbage once more at the end: 10 ms


if __name__ == "__main__":
    raise SystemExit(command())
