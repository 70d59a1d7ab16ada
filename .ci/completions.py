"""Keep the completion scripts, `vhdcheck/command/completions/SHELL`, true to the arguments.

Rewrites them, or, with --check, names those that would change and exits 1. It takes shtab, of the extra `test`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import shtab

from vhdcheck.command.cli import SHELLS, parser

FOLDER = Path(__file__).resolve().parent.parent / "vhdcheck" / "command" / "completions"
TAKE_FILES = {"paths", "files_from", "target", "output", "resume", "config", "parent", "parents"}


def script(shell: str) -> str:
    """Write the script of one shell."""
    described = parser()
    for action in described._actions:  # noqa: SLF001 (argparse has no other way to them)
        if action.dest in TAKE_FILES:
            action.complete = shtab.FILE
    return "\n".join(line.rstrip() for line in shtab.complete(described, shell).splitlines()) + "\n"


def main(arguments: list[str]) -> int:
    """Bring the scripts up to date, or say that they are not."""
    if arguments not in ([], ["--check"]):
        print("usage: completions.py [--check]", file=sys.stderr)
        return 2
    stale = [shell for shell in SHELLS if _read(FOLDER / shell) != script(shell)]
    if arguments and stale:
        print(f"out of date: {', '.join(stale)}: python .ci/completions.py", file=sys.stderr)
        return 1
    for shell in stale:
        (FOLDER / shell).write_text(script(shell), encoding="utf-8", newline="\n")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
