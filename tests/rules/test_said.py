"""What rules say of the images that they must find: `said.txt`, which `python -m tests.rules.said` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fixtures.recipes import CASES
from tests.rules.said import SAID, findings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.recipes import Case
    from vhdcheck import Report


def test_places_numbers_and_words_are_those_that_were_written_down(checked: Callable[[Case], Report]) -> None:
    cases = sorted(CASES, key=lambda case: case.name)
    found = [line for case in cases for line in findings(case.name, case.rule, checked(case))]
    written = SAID.read_text(encoding="utf-8").splitlines()
    differing = [pair for pair in zip(found, written, strict=False) if pair[0] != pair[1]]
    assert differing[:3] == []
    assert len(found) == len(written)
