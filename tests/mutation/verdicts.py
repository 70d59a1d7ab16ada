"""The first, fast look at a mutant: the findings on every fixture, without pytest. Exits 1 where one is different."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from vhdcheck import check

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"


def main() -> int:
    """Compare what is found with the manifest."""
    manifest = json.loads((FIXTURES / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["images"]:
        path = FIXTURES / entry["file"]
        if path.exists() and not entry["stream"]:
            report = check(path, target=entry["target"], deep=entry["deep"], now=manifest["now"])
            if sorted(f"{each.severity.word} {each.slug}" for each in report.findings) != entry["findings"]:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
