"""What is fuzzed, and what must hold for any bytes: a report or one of our two errors, and the same from every driver.

Each harness takes bytes and returns; what it finds wrong is an AssertionError, or whatever else comes out of vhdcheck.
"""

from __future__ import annotations

import importlib.util
import io
import json
import tempfile
import time
import zlib
from itertools import repeat
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from fixtures.recipes import NOW
from vhdcheck import StreamChecker, check, targets
from vhdcheck.command.cli import parser
from vhdcheck.command.options import options
from vhdcheck.errors import SourceError, UsageError
from vhdcheck.mend import mend
from vhdcheck.mend.plans import CORRECT, CUT
from vhdcheck.report.formats import json as json_report
from vhdcheck.report.formats.text import TextReport
from vhdcheck.rules import SLUGS
from vhdcheck.verdict.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdcheck.verdict.report import Report

ONLY_IN_STREAMS: Final = {"VHD424", "VHD650"}
SECONDS: Final = 2
LONGEST_HOLE: Final = 1 << 43
_FOLDER: Final = tempfile.TemporaryDirectory(prefix="vhdcheck-fuzz-")
_FILE: Final = Path(_FOLDER.name, "image.vhd")


def image(data: bytes) -> None:
    """An image: whole reports, the same from bytes, a file, a file object and a stream in random chunks."""
    random = Random(zlib.crc32(data))
    target, deep = random.choice(targets.names()), random.random() < 0.5
    expected = check(data, target=target, deep=deep, now=NOW)
    _assert_whole(expected, len(data))
    _assert_written(expected)
    _FILE.write_bytes(data)
    for source in (_FILE, io.BytesIO(data)):
        report = check(source, target=target, deep=deep, now=NOW)
        assert report.findings == expected.findings
        assert (report.bytes_read, report.rounds) == (expected.bytes_read, expected.rounds)
    checker = StreamChecker(target=target, deep=deep, now=NOW)
    sizes = random.choice((repeat(512), repeat(1 << 20), iter(lambda: random.choice((1, 7, 511, 512, 4096, 9999)), 0)))
    position, refused = 0, False
    while position < len(data):
        size = next(sizes)
        checker.feed(data[position : position + size])
        position += size
        refused = refused or checker.refused
    streamed = checker.finish()
    _assert_whole(streamed, len(data))
    assert not (refused and streamed.ok), "an early refusal does not hold"
    assert expected.ok or not streamed.ok, "a stream accepts what a file's check refuses"
    if any(finding.rule == "VHD650" for finding in streamed.findings):
        _assert_written(streamed)
    else:
        assert [each for each in streamed.findings if each.rule not in ONLY_IN_STREAMS] == list(expected.findings)


def sparse(data: bytes) -> None:
    """A file of any length up to 8 TiB: the input's last 12 bytes say where zeros stand in it, and how many."""
    content, at, length = data[:-12], int.from_bytes(data[-12:-8], "big"), int.from_bytes(data[-8:], "big")
    at, length = at % (len(content) + 1), length % LONGEST_HOLE
    report = check(_Holed(content, at, length), target=targets.names()[len(content) % len(targets.names())], now=NOW)  # type: ignore[arg-type]
    _assert_whole(report, len(content) + length)
    _assert_written(report)


class _Holed(io.RawIOBase):
    """A file object with a hole."""

    def __init__(self, content: bytes, at: int, length: int) -> None:
        self._content, self._hole, self._end = content, at, at + length
        self._size, self._position = len(content) + length, 0
        self.name = "holed"

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        start = self._position
        assert 0 <= size < 64 << 20, "an unbounded read"
        stop = min(start + size, self._size)
        zeros = bytes(max(min(stop, self._end) - max(start, self._hole), 0))
        before = self._content[start : min(stop, self._hole)]
        behind = self._content[max(start - self._end, 0) + self._hole : stop - self._end + self._hole]
        found = before + zeros + (behind if stop > self._end else b"")
        self._position = start + len(found)
        return found


def target(data: bytes) -> None:
    """A target file: it loads and judges, or is refused as a UsageError or SourceError."""
    path = _FILE.with_name("target.toml")
    path.write_bytes(data)
    try:
        loaded = targets.load(str(path))
        report = check(_SAMPLE, target=loaded, now=NOW)
    except (UsageError, SourceError):
        return
    assert loaded.refuses <= SLUGS
    _assert_whole(report, len(_SAMPLE))


def config(data: bytes) -> None:
    """A pyproject.toml: it fills in the arguments, or is refused as a UsageError or SourceError."""
    path = _FILE.with_name("pyproject.toml")
    path.write_bytes(data)
    arguments = parser().parse_args(["--config", str(path), "x.vhd"])
    try:
        options(arguments)
    except (UsageError, SourceError):
        return


ROOM = 6 << 20
"""Bytes that a copy may take more than its image: a table of 2040 GiB, and a block where there was part of one."""


def mending(data: bytes) -> None:
    """An image is mended into one that is accepted, and stays as it is; or nothing is written, and why is said."""
    chosen = targets.names()[zlib.crc32(data) % len(targets.names())]
    _FILE.write_bytes(data)
    out = _FILE.with_name("mended.vhd")
    out.unlink(missing_ok=True)
    result = mend(_FILE, out, target=chosen, now=NOW)
    assert _FILE.read_bytes() == data
    _assert_whole(result.before, len(data))
    assert result.ok == out.exists() == (not result.reasons)
    if result.after is not None:
        assert result.after.ok
        written = check(out, target=chosen, now=NOW)
        assert written.findings == result.after.findings
        taken = out.stat().st_blocks * 512
        assert taken <= len(data) + ROOM, "a file made of what an image claims"
        if not {step.kind for step in result.plan.steps} <= {CORRECT, CUT}:
            return  # written anew
        assert out.stat().st_size <= len(data) + 1024
        changed = [at for at, (old, new) in enumerate(zip(data, out.read_bytes(), strict=False)) if old != new]
        told = {at for change in result.changes for at in range(change.offset, change.offset + change.length)}
        assert told.issuperset(changed)


def _assert_whole(report: Report, size: int) -> None:
    """A report is complete and does not contradict itself."""
    assert not report.crashed, [finding.message for finding in report.findings]
    assert report.size == size
    assert (report.code is None, report.message is None) == (report.ok, report.ok)
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, reverse=True)
    assert report.ok != (Severity.ERROR in severities)
    for finding in report.findings:
        for span in (finding.at, *finding.related):
            assert span is None or min(span.offset, span.length) >= 0


def _assert_written(report: Report) -> None:
    """A report can be written: as text for a terminal, and as JSON in ASCII."""
    for line in TextReport(colour=False).image(report):
        assert line.isprintable(), ascii(line)
    line = json.dumps(json_report.one(report))
    assert line.isascii()
    json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8")


def _timed(harness: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Hold a harness to its time, by the processor's clock: a busy machine proves nothing."""

    def run(data: bytes) -> None:
        started = time.process_time()
        harness(data)
        assert time.process_time() - started < SECONDS, "too slow"

    return run


HARNESSES: Final[dict[str, Callable[[bytes], None]]] = {
    harness.__name__: _timed(harness) for harness in (image, sparse, mending, target)
}
IMAGES: Final = {"image": 0, "sparse": 12, "mending": 0}
"""Harnesses that take images, and how many bytes of their inputs' ends are something else."""
CORPORA: Final = {"mending": "image"}
"""Whose corpus a harness shares; its own if it is not here."""
if importlib.util.find_spec("vhdcheck.command.config") is not None:
    HARNESSES["config"] = _timed(config)
_SAMPLE: Final = (Path(__file__).parents[2] / "fixtures" / "qemu" / "dynamic-40m.vhd").read_bytes()
