"""The first, fast look at a mutant: the findings on every fixture, and their words, without pytest.

Exits 1 where one is different.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from tests.rules.said import SAID, findings
from vhdcheck import Report, StreamChecker, check
from vhdcheck.engine.stream_checker import check_stream

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"


def main() -> int:
    """Compare what is found with the manifest, and what is said with what was written down."""
    manifest = json.loads((FIXTURES / "manifest.json").read_text(encoding="utf-8"))
    said: list[str] = []
    for entry in sorted(manifest["images"], key=lambda entry: str(entry["name"])):
        report = judged(FIXTURES / entry["file"], entry, manifest["now"])
        if sorted(f"{each.severity.word} {each.slug}" for each in report.findings) != entry["findings"]:
            return 1
        said += findings(entry["name"], entry["rule"] or "", report)
    return int(said != SAID.read_text(encoding="utf-8").splitlines())


def given(entry: dict[str, Any]) -> list[Path]:
    """Return the parents that go with a fixture, with the times that they must have."""
    paths = [FIXTURES / "parents" / entry["name"] / name for name in entry.get("parents", ())]
    for path in paths:
        os.utime(path, (entry["written"], entry["written"]))
    return paths


def judged(path: Path, entry: dict[str, Any], now: float) -> Report:
    """Check a fixture as its entry in the manifest says: as a file or as a stream."""
    if not entry["stream"]:
        parents = given(entry)
        return check(path, target=entry["target"], deep=entry["deep"], now=now, parents=parents or None)
    with path.open("rb") as file:
        return check_stream(file, StreamChecker(target=entry["target"], deep=entry["deep"], now=now))


if __name__ == "__main__":
    sys.exit(main())
