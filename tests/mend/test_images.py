"""Every fixture, the oracle's cases, and the corpus: mended as they should be, or refused; and read by others."""

from __future__ import annotations

import calendar
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.recipes import CASES, NOW, Case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vhdcheck.mend import Mending

    Mended = Callable[..., Mending]

ORACLE_NOW = calendar.timegm((2026, 1, 2, 0, 0, 0))
PARTS = 4
"""In which many images are taken, so that processes share them."""
CORPUS_NOW = calendar.timegm((2027, 1, 1, 0, 0, 0))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fixtures(case: Case, mended: Mended, tmp_path: Path) -> None:
    path = case.build().write(tmp_path / "image.vhd")
    mending = mended(path, target=case.target, now=NOW, others=case.kind == "hit")
    refused = any(severity == "error" for severity, _ in case.findings)
    assert mending.ok or refused, "an image without an ERROR is never refused"


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("target", ["generic", pytest.param("rackspace", marks=pytest.mark.slow)])
def test_oracle(target: str, part: int, oracle: dict[str, dict[str, Any]], mended: Mended) -> None:
    assert oracle.keys() >= RESCUED | REFUSED
    mendings = {
        name: mended(oracle[name]["path"], target=target, now=ORACLE_NOW, others=target == "generic")
        for name in [*oracle][part::PARTS]
    }
    changed = {name for name, mending in mendings.items() if mending.changes}
    rescued = {name for name in changed if not mendings[name].before.ok}
    assert rescued >= RESCUED & mendings.keys()
    assert {name for name, mending in mendings.items() if not mending.ok} >= REFUSED & mendings.keys()
    assert not {name for name, mending in mendings.items() if not mending.ok and mending.before.ok}


RESCUED = {
    "csum-end",
    "csum-front",
    "end-zero",
    "front-missing",
    "hdr-csum",
    "trail-512",
    "trail-100",
    "fix-trail-512",
    "fix-511",
    "dyn-511",
}
REFUSED = {
    "footers-differ-size",
    "footers-differ-uuid",
    "end-c7",
    "cut-in-block",
    "hdr-cookie",
    "bat-dup",
    "tiny-0",
    "cur-exceeds-bat",
    "table-over-hdr",
}


@pytest.mark.parametrize("part", range(PARTS))
def test_corpus(part: int, corpus: dict[str, dict[str, Any]], mended: Mended) -> None:
    for row in [*corpus.values()][part::PARTS]:
        others = row["path"].stat().st_blocks * 512 < 32 << 20
        mended(row["path"], target="generic", now=CORPUS_NOW, others=others)
