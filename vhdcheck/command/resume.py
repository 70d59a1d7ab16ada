"""What an earlier run wrote as `--format jsonl`, read back: what need not be checked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from vhdcheck.errors import SourceError, UsageError
from vhdcheck.report.results import Before

BEGINNING: Final = b'{"source": '
"""Of every line. An interrupted run may end within one, and the next one go on behind that."""


def read(name: str) -> Before:
    """Read a file of an earlier run, a line at a time.

    Raises:
        UsageError: a line is none of vhdcheck's.
        SourceError: the file cannot be read.
    """
    before = Before()
    line = b"\n"
    try:
        with Path(name).open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.isspace():
                    continue
                try:
                    _add(line, before)
                except (ValueError, TypeError, KeyError, AttributeError):
                    if not line.startswith(BEGINNING) and not BEGINNING.startswith(line.rstrip()):
                        raise UsageError(f"{name}: line {number} is no report of --format jsonl") from None
    except OSError as error:
        raise SourceError(f"{name}: {error.strerror or error}") from error
    before.torn = not line.endswith(b"\n")
    return before


def _add(line: bytes, before: Before) -> None:
    report = json.loads(line)
    verdict = report["verdict"]
    findings = report.get("findings", ())
    if any(finding["rule"] == "VHD999" for finding in findings):
        verdict = "not checked"
    elif verdict == "accepted" and any(finding["severity"] == "warning" for finding in findings):
        verdict = "accepted with warnings"
    before.verdicts[report["source"]] = _WORDS[verdict]


_WORDS: Final = {word: word for word in ("accepted", "accepted with warnings", "refused", "not checked")}
"""One string a verdict, not one a line."""
