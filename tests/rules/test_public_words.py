"""What public functions return can be shown as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fixtures.recipes import NOW
from vhdcheck import check, iter_findings, targets

if TYPE_CHECKING:
    from pathlib import Path

PLACE = re.compile(r"\{\w+\}")


def test_no_name_of_a_file_is_left_open(root: Path) -> None:
    for path in sorted((root / "fixtures").rglob("*.vhd")):
        for target in targets.names():
            report = check(path, target=target, now=NOW)
            for finding in (*report.findings, *iter_findings(path, target=target, now=NOW)):
                texts = (finding.message, finding.expected, finding.found, finding.fix)
                assert not any(PLACE.search(text) for text in texts), (path.name, finding)
