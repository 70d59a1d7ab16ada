"""The wiring: a plan asks, a source answers, rules judge what is known, and findings come out as they are certain."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vhdcheck import rules, targets
from vhdcheck.codes import PRECEDENCE
from vhdcheck.errors import UsageError
from vhdcheck.findings import Finding, Report, Severity
from vhdcheck.model import Image
from vhdcheck.plan import Wanted, steps
from vhdcheck.sources import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.bitmaps import Bitmaps
    from vhdcheck.sources import Readable, Source
    from vhdcheck.targets import Target


def check(
    source: Readable,
    *,
    target: str | Target = targets.DEFAULT,
    max_virtual_size: str | int | None = None,
    max_physical_size: str | int | None = None,
    deep: bool = False,
    now: float | None = None,
    name: str | None = None,
) -> Report:
    """Check an image, and return the verdict with all findings.

    A bad image is never an exception: any bytes at all end in a report.

    Args:
        source: a path, the image as bytes, or an open binary file object that can seek. A file object's position is
            put back.
        target: what to judge for: `rackspace`, `azure`, `aws`, `xenserver`, `hyper-v`, `generic` (the format alone),
            or the path of a TOML file.
        max_virtual_size: the target's limit on the disk's size, overridden: bytes, or `"160GiB"`.
        max_physical_size: the target's limit on the file's length, overridden.
        deep: read the sector bitmaps of all used blocks too (no guest data).
        now: the time to judge creation times by, in Unix seconds; the clock's by default.
        name: what to call the image in the report, instead of its path.

    Returns:
        The report: `ok`, `code`, `message`, `findings`, `image`.

    Raises:
        UsageError: an unknown target, a malformed limit, a source of the wrong kind.
        SourceError: the image cannot be read, or changed meanwhile.

    Examples:
        >>> from vhdcheck import check
        >>> report = check(b"not a disk image")
        >>> report.ok, report.message
        (False, '396: The image cannot be imported. The file is not a valid VHD.')
    """
    judged_for = resolve(target, max_virtual_size, max_physical_size)
    with opened(source, name) as reader:
        return examine(reader, judged_for, deep=deep, now=now)


def iter_findings(
    source: Readable,
    *,
    target: str | Target = targets.DEFAULT,
    max_virtual_size: str | int | None = None,
    max_physical_size: str | int | None = None,
    deep: bool = False,
    now: float | None = None,
) -> Iterator[Finding]:
    """Check an image, and yield each finding as soon as its part of the image is known.

    The findings are those of `check`, which explains the arguments, in the order in which they become certain. A
    pipeline can stop at the first ERROR: nothing more of the image is read then.

    Raises:
        UsageError: an unknown target, a malformed limit, a source of the wrong kind.
        SourceError: the image cannot be read, or changed meanwhile.
    """
    judged_for = resolve(target, max_virtual_size, max_physical_size)
    return _findings(source, judged_for, deep=deep, now=now)


def _findings(source: Readable, target: Target, *, deep: bool, now: float | None) -> Iterator[Finding]:
    with opened(source) as reader:
        yield from _Run(reader, Image(reader.size), target, deep=deep, now=now)
        reader.verify()


def examine(
    reader: Source, target: Target, *, deep: bool = False, now: float | None = None, bitmaps: Bitmaps | None = None
) -> Report:
    """Examine an image by any driver, and report.

    Args:
        reader: the driver.
        target: what to judge for.
        deep: read the sector bitmaps too.
        now: the time, in Unix seconds; the clock's by default.
        bitmaps: what they said, where they were read already.

    Raises:
        SourceError: the image cannot be read, or changed meanwhile.
    """
    image = Image(reader.size)
    run = _Run(reader, image, target, deep=deep, now=now, bitmaps=bitmaps)
    findings = sorted(run, key=_order)
    reader.verify()
    return Report(
        source=reader.name,
        size=reader.size,
        target=target,
        findings=tuple(findings),
        image=image,
        bytes_read=run.bytes_read,
        rounds=run.rounds,
    )


def resolve(target: str | Target, max_virtual_size: str | int | None, max_physical_size: str | int | None) -> Target:
    """Load the target, and see that it refuses only what exists."""
    loaded = targets.load(target, max_virtual_size=max_virtual_size, max_physical_size=max_physical_size)
    if unknown := loaded.refuses - rules.SLUGS:
        word = min(unknown)
        raise UsageError(f"target {loaded.name}: unknown rule {word!r}{targets.suggestion(word, tuple(rules.SLUGS))}")
    return loaded


class _Run:
    """One examination: iterate over it for the findings; afterwards it knows what was read."""

    def __init__(
        self,
        reader: Source,
        image: Image,
        target: Target,
        *,
        deep: bool,
        now: float | None,
        bitmaps: Bitmaps | None = None,
    ) -> None:
        self.bytes_read = 0
        self.rounds = 0
        self._reader, self._image, self._target = reader, image, target
        self._plan = steps(image, deep=deep, bitmaps=bitmaps)
        self._now = time.time() if now is None else now

    def __iter__(self) -> Iterator[Finding]:
        plan = self._plan
        try:
            step = next(plan)
            while True:
                if isinstance(step, Wanted):
                    answer = self._reader.read(step.spans)
                    self.rounds += 1
                    self.bytes_read += sum(len(data) for data in answer if data is not None)
                    step = plan.send(answer)
                else:
                    yield from rules.judge(step.part, step.value, image=self._image, target=self._target, now=self._now)
                    step = plan.send(())
        except StopIteration:
            return


def _order(finding: Finding) -> tuple[int, int, int, str]:
    """ERRORs first, and of these first the ones that the verdict's code stands for; then by place."""
    rank = PRECEDENCE.index(finding.code) if finding.severity == Severity.ERROR else 0
    return -finding.severity, rank, finding.at.offset if finding.at else 0, finding.rule
