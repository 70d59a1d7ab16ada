"""What an earlier run wrote, read back: what need not be checked again, and how it was judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from vhdcheck import SourceError, UsageError
from vhdcheck.command.resume import read

if TYPE_CHECKING:
    from pathlib import Path


def line(source: str, verdict: str, *findings: tuple[str, str]) -> str:
    said = [{"rule": rule, "severity": severity} for rule, severity in findings]
    return json.dumps({"source": source, "verdict": verdict, "findings": said}) + "\n"


WHOLE = (
    line("a", "accepted")
    + line("b", "accepted", ("VHD118", "warning"), ("VHD301", "note"))
    + "\n"
    + line("c", "refused", ("VHD118", "warning"), ("VHD103", "error"))
    + line("d", "refused", ("VHD999", "error"))
    + json.dumps({"source": "e", "verdict": "not checked", "reason": "gone"})
    + "\n"
    + line("f", "accepted", ("VHD301", "note"))
)
VERDICTS = {
    "a": "accepted",
    "b": "accepted with warnings",
    "c": "refused",
    "d": "not checked",
    "e": "not checked",
    "f": "accepted",
}


@pytest.mark.parametrize(
    ("torn", "is_torn"),
    [
        ("", False),
        ('{"source": "g", "ver', True),
        ('{"sou', True),
        (line("g", "accepted")[:40] + "\n" + line("f", "accepted"), False),  # the next run went on behind that
    ],
)
def test_a_run_that_was_interrupted(torn: str, is_torn: bool, tmp_path: Path) -> None:
    (tmp_path / "done.jsonl").write_text(WHOLE + torn, encoding="ascii")
    before = read(str(tmp_path / "done.jsonl"))
    assert (before.verdicts, before.torn) == (VERDICTS, is_torn)


@pytest.mark.parametrize("wrong", ["text\n", "[]\n", '{"verdict": "accepted"}\n', '{"sourc": "a"}\n', "1"])
def test_what_is_no_report(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "done.jsonl").write_text(line("a", "accepted") + wrong, encoding="ascii")
    with pytest.raises(UsageError, match="line 2 is no report of --format jsonl"):
        read(str(tmp_path / "done.jsonl"))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file or directory"):
        read(str(tmp_path / "done.jsonl"))
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert (read(str(tmp_path / "empty.jsonl")).verdicts, read(str(tmp_path / "empty.jsonl")).torn) == ({}, False)
