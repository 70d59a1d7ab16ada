"""Images made to hurt are refused or flagged for what they are, in little memory, by a file's check and a stream's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.faults.hostile import EVERY, PATTERNS, Pattern, measured

if TYPE_CHECKING:
    from pathlib import Path

MOST = 256 << 20
"""Bytes that a check may take, interpreter and libraries included."""
LONGEST_STREAM = 64 << 20


@pytest.mark.parametrize("streamed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["file", "stream"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_a_hostile_image_is_found_out_in_little_memory(pattern: Pattern, streamed: bool, tmp_path: Path) -> None:
    path = pattern.build().write(tmp_path / "image.vhd")
    if streamed and path.stat().st_size > LONGEST_STREAM:
        pytest.skip("a stream of it takes minutes")
    cost = measured(pattern, path, streamed=streamed)
    assert b"Traceback" not in cost.errors
    assert cost.status in (0, 1)
    report = json.loads(cost.output)
    slugs = {finding["slug"] for finding in report["findings"]}
    assert pattern.slug in slugs
    assert "internal-error" not in slugs
    assert cost.memory <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("options", EVERY, ids=" ".join)
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_in_little_memory_with_every_option(pattern: Pattern, options: tuple[str, ...], tmp_path: Path) -> None:
    if pattern.takes_minutes and "--deep" in options:
        pytest.skip("reads millions of bitmaps")
    cost = measured(pattern, pattern.build().write(tmp_path / "image.vhd"), options=options)
    assert (b"Traceback" in cost.errors, cost.status in (0, 1), pattern.slug.encode() in cost.output) == (
        False,
        True,
        True,
    )
    assert cost.memory <= MOST
