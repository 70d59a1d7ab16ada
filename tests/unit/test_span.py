"""Spans: one grammar for every place that is reported, and fields instead of paths that somebody takes apart."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from fixtures.recipes import CASES, Case
from fixtures.writer import TAP, dynamic
from vhdcheck import Span, StreamChecker, check
from vhdcheck.format.span import WORDS
from vhdcheck.units import GIB

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = json.loads((files("vhdcheck") / "report" / "schemas" / "report-v2.schema.json").read_text(encoding="utf-8"))
PATH = re.compile(SCHEMA["$defs"]["span"]["properties"]["field"]["pattern"])


@pytest.mark.parametrize(
    ("span", "field", "words", "block"),
    [
        (Span(0, 512, "footer"), "footer", "footer", None),
        (Span(48, 8, "footer", name="current_size"), "footer.current_size", "footer", None),
        (Span(0, 4, "table", 17), "table[17]", "block allocation table 17", 17),
        (Span(0, 512, "bitmap", 0), "bitmap[0]", "sector bitmap 0", 0),
        (
            Span(0, 8, "parent_locator", 2, "data_offset"),
            "parent_locator[2].data_offset",
            "parent locator entry 2",
            None,
        ),
        (Span(0, 9), "", "", None),
    ],
)
def test_a_place_in_words(span: Span, field: str, words: str, block: int | None) -> None:
    assert (span.field, span.words, span.block) == (field, words, block)


@pytest.mark.parametrize("part", WORDS)
def test_the_schema_knows_each_part(part: str) -> None:
    assert PATH.fullmatch(Span(0, 1, part, 3, "data_offset").field)
    assert not PATH.fullmatch(part + "s.")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_finding_keeps_to_the_grammar(case: Case, tmp_path: Path) -> None:
    report = check(case.build().write(tmp_path / "a.vhd"), target=case.target, deep=True)
    for finding in report.findings:
        for span in (finding.at, *finding.related):
            assert span is None or PATH.fullmatch(span.field), (finding.rule, span)


@pytest.mark.parametrize("chunk", [511, 1 << 20])
def test_a_stream_without_a_copy_of_its_footer_keeps_the_batmap(chunk: int) -> None:
    """Only the footer at the end says that there is one."""
    image = dynamic(40 * GIB, blocks=[0], front=False, **TAP)
    checker, data = StreamChecker(target="generic"), image.tobytes()
    for start in range(0, len(data), chunk):
        checker.feed(data[start : start + chunk])
    found = checker.finish()
    assert [finding.rule for finding in found.findings] == [
        finding.rule for finding in check(data, target="generic").findings
    ]
    assert "VHD650" not in {finding.rule for finding in found.findings}
