"""The parser of a command's arguments, and what the command is called."""

from __future__ import annotations

import argparse
import os
import sys

TYPE_CHECKING = False  # typing takes 3 of the 35 ms that --help has (tests/cost holds it)
if TYPE_CHECKING:
    from typing import NoReturn

    from _typeshed import SupportsWrite


class Parser(argparse.ArgumentParser):
    """A parser whose words reach whom they are for."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments; file names of a stranger may be among them, and URLs with passwords."""
        from vhdcheck.escape import printable
        from vhdcheck.redaction import without_urls

        unknown = message.removeprefix("unrecognized arguments: ").split()
        if file := next((word for word in unknown if word.startswith("-") and os.path.exists(word)), None):
            message += f" (for the file of that name give ./{file})"
        super().error(printable(without_urls(message, sys.argv)))

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Write, and let a failure be told: argparse keeps it to itself, which shows where output has no buffer."""
        (file or sys.stderr).write(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Write out the text of --help and --version first, while a failure can still be told."""
        sys.stdout.flush()
        super().exit(status, message)


def called(script: str, module: str) -> str:
    """Return what people typed to run this: the script's name, or the module's."""
    return script if os.path.basename(sys.argv[0]).startswith(script) else f"python -m {module}"  # at start
