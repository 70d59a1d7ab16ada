"""Images by real writers and the oracle's, drawn: a page that parses, and regions that cover the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import html5lib

from tests.forms import written
from vhdcheck import audit, targets
from vhdcheck.report.map import ASCII, map_lines
from vhdcheck.report.regions import compacted, regions
from vhdcheck.verdict.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterable

Rows = dict[str, dict[str, Any]]


def drawn(rows: Iterable[dict[str, Any]]) -> dict[str, Report]:
    """Draw each image in both forms, and return the reports by source."""
    found = {}
    for report in audit([row["path"] for row in rows], allocation=True):
        assert isinstance(report, Report)
        found[report.source] = report
        assert all(line.isascii() and line.isprintable() for line in map_lines(report.image, 80, ASCII, lambda _, t: t))
        at = 0
        for part in regions(report.image):
            assert part.offset <= at or part.offset > report.size, (report.source, part)
            at = max(at, min(part.end, report.size))
        assert at == report.size, report.source
    html5lib.HTMLParser(strict=True).parse(written("html", list(found.values()), targets.load("generic")))
    return found


def test_the_corpus(corpus: Rows) -> None:
    found = drawn(corpus.values())
    assert len(found) == len(corpus)
    for source, report in found.items():
        if report.ok and report.image.footer is not None:
            smaller = compacted(report.image)
            assert smaller is not None, source
            assert smaller <= report.size, source


def test_the_oracle(oracle: Rows) -> None:
    assert len(drawn(oracle.values())) == len(oracle)
