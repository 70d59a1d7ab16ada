"""What `benchmarks/compare.py` calls reached follows from the figures that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from benchmarks import many, stream_rate
from benchmarks.aims import Aim, aims
from benchmarks.remote import Count, metadata
from benchmarks.tools import FIRST
from fixtures.writer import GIB, MIB, dynamic, fixed

if TYPE_CHECKING:
    from benchmarks.turns import Timings

NOTHING: Final[dict[str, Timings]] = {"processes": {}, "loops": {}, "many": {}, "streams": {}, "remote": {}}


@pytest.mark.parametrize(
    ("figures", "sign", "verdict"),
    [
        ({"": 3.0}, "≤", "reached"),
        ({"": 3.0}, "<", "**not reached**"),
        ({"": 3.0}, "≥", "reached"),
        ({"": 3.01}, "≤", "**not reached**"),
        ({"": 2.99}, "≥", "**not reached**"),
        ({"one": 1.0, "other": 3.01}, "≤", "**not reached**"),
        ({"one": 1.0, "other": None}, "≤", "reached (not measured: other)"),
        ({"one": None}, "≤", "not measured"),
    ],
)
def test_verdict(figures: dict[str, float | None], sign: str, verdict: str) -> None:
    assert Aim("what", figures, sign, 3).row().split(" | ")[-1] == f"{verdict} |"


def test_nothing_is_reached_that_was_not_measured() -> None:
    lines = aims(NOTHING, {})
    rows = [line for line in lines if line.startswith("| ")][1:]
    assert len(rows) == 17
    assert all(row.endswith("| – | not measured |") for row in rows)
    assert "reached" not in "\n".join(lines)


def test_verdicts_come_from_medians() -> None:
    timings: dict[str, Timings] = {
        **NOTHING,
        "processes": {("vhdcheck --help", FIRST): [0.03, 0.06, 9.0], ("python -c pass", FIRST): [0.02, 0.02, 0.0]},
        "many": {
            (many.QEMU, many.COLUMN): [0.006],
            (many.ONE_JOB, many.COLUMN): [0.001],
            (many.TWO_JOBS, many.COLUMN): [0.0005],
            (many.TWO_JOBS, many.PARENT): [39e-6],
            (many.FORMS["sarif"], many.PARENT): [41e-6],
        },
        "streams": {
            (reader, "fixed"): [seconds] for reader, seconds in ((stream_rate.OURS, 1.0), ("read and discard", 0.95))
        },
    }
    text = "\n".join(aims(timings, {"HTTP, 40 GiB full": Count(4, 1000, 1000)}))
    assert "| ≤ 3 | 3 | reached |" in text
    assert "| ≥ 15 | 12 | **not reached** (not measured: 2000 images) |" in text
    assert "as fast as one job | ≥ 1.8 | 2 | reached |" in text
    assert "| < 40 | 39 (jsonl), 41 (sarif) | **not reached** (not measured: text, junit) |" in text
    assert "| ≥ 0.9 | 0.95 | reached (not measured: dynamic, full) |" in text
    assert "| HTTP: requests | ≤ 3 | 4 | **not reached**" in text
    assert "here it took 20.0 ms" in text


def test_a_share_of_the_metadata_is_counted_in_its_own_bytes() -> None:
    assert metadata(fixed(1 * MIB)) == 512
    assert metadata(dynamic(10 * MIB, blocks=[])) == 512 + 1024 + 512 + 512
    assert metadata(dynamic(40 * GIB)) == 512 + 1024 + 4 * 20_480 + 512
