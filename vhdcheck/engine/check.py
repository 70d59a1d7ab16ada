"""The wiring: a plan asks, a source answers, rules judge what is known, and findings come out as they are certain."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from vhdcheck import rules, targets
from vhdcheck.engine.plan import Known, steps
from vhdcheck.errors import UsageError
from vhdcheck.image import Image
from vhdcheck.sources.local import opened
from vhdcheck.sources.urls import is_url
from vhdcheck.verdict.codes import PRECEDENCE
from vhdcheck.verdict.finding import Finding, Severity
from vhdcheck.verdict.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from vhdcheck.blocks.facts import Bitmaps
    from vhdcheck.engine.windows import Answers, Wanted
    from vhdcheck.sources.local import Readable, Source
    from vhdcheck.sources.url import AsyncUrlSource, UrlSource
    from vhdcheck.targets import Target


def check(
    source: Readable,
    *,
    target: str | Target = targets.DEFAULT,
    max_virtual_size: str | int | None = None,
    max_physical_size: str | int | None = None,
    deep: bool = False,
    allocation: bool = False,
    now: float | None = None,
    name: str | None = None,
    download: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Check an image, and return the verdict with all findings.

    A bad image is never an exception: any bytes at all end in a report.

    Args:
        source: a path, a URL, the image as bytes, or an open binary file object that can seek. A file object's
            position is put back. URLs (`https://`, `s3://`, `az://`, ...) need the extra `vhdcheck[remote]`.
        target: what to judge for: `rackspace`, `azure`, `aws`, `xenserver`, `hyper-v`, `glance`, `generic` (the
            format alone), or the path of a TOML file.
        max_virtual_size: the target's limit on the disk's size, overridden: bytes, or `"160GiB"`.
        max_physical_size: the target's limit on the file's length, overridden.
        deep: read the sector bitmaps of all used blocks too (no guest data).
        allocation: count where the blocks lie, as `report.image.allocation`: what `--map` draws.
        now: the time to judge creation times by, in Unix seconds; the clock's by default.
        name: what to call the image in the report, instead of its path, or its URL without what may be secret.
        download: of a server that ignores ranges, download the whole image, into a temporary file.
        storage_options: arguments for fsspec's driver of a URL: credentials, endpoint.

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
    with _opened(source, name, download=download, storage_options=storage_options) as reader:
        return examine(reader, judged_for, deep=deep, allocation=allocation, now=now)


async def acheck(
    source: Readable,
    *,
    target: str | Target = targets.DEFAULT,
    max_virtual_size: str | int | None = None,
    max_physical_size: str | int | None = None,
    deep: bool = False,
    allocation: bool = False,
    now: float | None = None,
    name: str | None = None,
    download: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Check an image without blocking the event loop; as `check`, which explains the arguments.

    URLs are read by fsspec's asynchronous file systems; what is no URL is read in a thread.
    """
    import asyncio  # noqa: PLC0415 (costs 20 ms)

    from vhdcheck.sources.url import async_opened_url  # noqa: PLC0415

    judged_for = resolve(target, max_virtual_size, max_physical_size)
    if not is_url(source):
        return await asyncio.to_thread(
            check, source, target=judged_for, deep=deep, allocation=allocation, now=now, name=name
        )
    async with async_opened_url(source, name, download=download, storage_options=storage_options) as reader:
        run = _Run(reader, judged_for, deep=deep, allocation=allocation, now=now)
        wanted = run.answered(())
        while wanted is not None:
            wanted = run.answered(await reader.read(wanted.spans))
        await reader.verify()
        return run.report()


def iter_findings(
    source: Readable,
    *,
    target: str | Target = targets.DEFAULT,
    max_virtual_size: str | int | None = None,
    max_physical_size: str | int | None = None,
    deep: bool = False,
    now: float | None = None,
    download: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[Finding]:
    """Check an image, and yield each finding as soon as its part of the image is known.

    The findings are those of `check`, which explains the arguments, in the order in which they become certain, and
    before more is read. A pipeline can stop at the first ERROR: nothing more of the image is read then.

    Raises:
        UsageError: an unknown target, a malformed limit, a source of the wrong kind.
        SourceError: the image cannot be read, or changed meanwhile.
    """
    judged_for = resolve(target, max_virtual_size, max_physical_size)
    opening = partial(_opened, source, None, download=download, storage_options=storage_options)
    return _findings(opening, judged_for, deep=deep, now=now)


def _findings(
    opening: Callable[[], AbstractContextManager[Source]], target: Target, *, deep: bool, now: float | None
) -> Iterator[Finding]:
    with opening() as reader:  # now: whoever asked for them may never take the first
        run, taken = _Run(reader, target, deep=deep, now=now), 0
        wanted = run.answered(())
        while wanted is not None:
            yield from run.findings[taken:]
            taken = len(run.findings)
            wanted = run.answered(reader.read(wanted.spans))
        yield from run.findings[taken:]
        reader.verify()


def _opened(
    source: Readable, name: str | None, *, download: bool, storage_options: Mapping[str, Any] | None
) -> AbstractContextManager[Source]:
    if is_url(source):
        from vhdcheck.sources.url import opened_url  # noqa: PLC0415 (asyncio costs 20 ms)

        return opened_url(source, name, download=download, storage_options=storage_options)
    return opened(source, name)


def examine(
    reader: Source,
    target: Target,
    *,
    deep: bool = False,
    allocation: bool = False,
    now: float | None = None,
    bitmaps: Bitmaps | None = None,
) -> Report:
    """Examine an image by any driver, and report.

    Args:
        reader: the driver.
        target: what to judge for.
        deep: read the sector bitmaps too.
        allocation: count where the blocks lie too.
        now: the time, in Unix seconds; the clock's by default.
        bitmaps: what they said, where they were read already.

    Raises:
        SourceError: the image cannot be read, or changed meanwhile.
    """
    run = _Run(reader, target, deep=deep, allocation=allocation, now=now, bitmaps=bitmaps)
    wanted = run.answered(())
    while wanted is not None:
        wanted = run.answered(reader.read(wanted.spans))
    reader.verify()
    return run.report()


def resolve(target: str | Target, max_virtual_size: str | int | None, max_physical_size: str | int | None) -> Target:
    """Load the target, and see that it refuses only what exists."""
    loaded = targets.load(target, max_virtual_size=max_virtual_size, max_physical_size=max_physical_size)
    if unknown := loaded.refuses - rules.SLUGS:
        word = min(unknown)
        raise UsageError(f"target {loaded.name}: unknown rule {word!r}{targets.suggestion(word, tuple(rules.SLUGS))}")
    return loaded


class _Run:
    """One examination, whoever serves it; afterwards it knows what was read."""

    def __init__(
        self,
        reader: Source | UrlSource | AsyncUrlSource,
        target: Target,
        *,
        deep: bool,
        allocation: bool = False,
        now: float | None,
        bitmaps: Bitmaps | None = None,
    ) -> None:
        self.findings: list[Finding] = []
        self._bytes_read = self._rounds = 0
        self._reader, self._target = reader, target
        self._now = time.time() if now is None else now
        self._image = Image(reader.size)
        self._plan = steps(self._image, deep=deep, allocation=allocation, bitmaps=bitmaps)

    def answered(self, answer: Answers) -> Wanted | None:
        """Take the answer to what was wanted, at first `()`; judge what is known now; return what is wanted next."""
        if answer:
            self._rounds += 1
            self._bytes_read += sum([len(data) for data in answer if data is not None])
        try:
            step = self._plan.send(answer) if answer else next(self._plan)
            while isinstance(step, Known):
                self.findings += rules.judge(
                    step.part, step.value, image=self._image, target=self._target, now=self._now
                )
                step = next(self._plan)
        except StopIteration:
            return None
        return step

    def report(self) -> Report:
        """Report the findings, in order, and what they cost."""
        traffic = getattr(self._reader, "traffic", None)  # a driver for URLs knows what went over the wire
        return Report(
            source=self._reader.name,
            size=self._reader.size,
            target=self._target,
            findings=tuple(sorted(self.findings, key=_order)),
            image=self._image,
            bytes_read=traffic.bytes if traffic else self._bytes_read,
            rounds=traffic.rounds if traffic else self._rounds,
            requests=traffic.requests if traffic else 0,
        )


def _order(finding: Finding) -> tuple[int, int, int, str]:
    """ERRORs first, and of these first the ones that the verdict's code stands for; then by place."""
    rank = PRECEDENCE.index(finding.code) if finding.severity == Severity.ERROR else 0
    return -finding.severity, rank, finding.at.offset if finding.at else 0, finding.rule
