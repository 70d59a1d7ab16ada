"""The wiring: a plan asks, a source answers, rules judge what is known, and findings come out as they are certain."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from vhdcheck import rules, targets
from vhdcheck.chain import has_parent
from vhdcheck.engine.parents import Parents
from vhdcheck.engine.plan import Known, steps
from vhdcheck.errors import SourceError, UsageError
from vhdcheck.image import Image
from vhdcheck.sources.local import opened
from vhdcheck.sources.urls import is_url
from vhdcheck.values import value
from vhdcheck.verdict.codes import PRECEDENCE
from vhdcheck.verdict.finding import Finding, Severity
from vhdcheck.verdict.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import Unpack

    from vhdcheck.blocks.facts import Bitmaps
    from vhdcheck.engine.options import CheckOptions
    from vhdcheck.engine.parents import Given, Opening
    from vhdcheck.engine.windows import Answers, Wanted
    from vhdcheck.sources.local import Readable
    from vhdcheck.sources.source import AsyncSource, Source
    from vhdcheck.targets import Target

UNLIMITED: Final = 1 << 63
"""A length that no file has."""


def check(source: Readable, *, name: str | None = None, **options: Unpack[CheckOptions]) -> Report:
    """Check an image, and return the verdict with all findings.

    A bad image is never an exception: any bytes at all end in a report.

    Args:
        source: a path, a URL, the image as bytes, or an open binary file object that can seek. A file object's
            position is put back. URLs (`https://`, `s3://`, `az://`, ...) need the extra `vhdcheck[remote]`.
        name: what to call the image in the report, instead of its path, or its URL without what may be secret.
        **options: `vhdcheck.CheckOptions` explains them.

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
    settled = Settled.by(**options)
    return settled.with_parents(settled.report(source, name), source)


async def acheck(source: Readable, *, name: str | None = None, **options: Unpack[CheckOptions]) -> Report:
    """Check an image without blocking the event loop; as `check`, which explains the arguments.

    URLs are read by fsspec's asynchronous file systems; what is no URL is read in a thread.
    """
    settled = Settled.by(**options)
    if not is_url(source):
        import asyncio  # costs 20 ms

        return await asyncio.to_thread(check, source, name=name, **options)
    from vhdcheck.sources.url import aused  # asyncio

    report = await aused(settled.examined_there, source, name, settled.downloads, settled.storage_options)
    if settled.parents is None:
        return report
    import asyncio

    return await asyncio.to_thread(settled.with_parents, report, source)


def iter_findings(source: Readable, *, name: str | None = None, **options: Unpack[CheckOptions]) -> Iterator[Finding]:
    """Check an image, and yield each finding as soon as its part of the image is known.

    The findings are those of `check`, which explains the arguments, in the order in which they become certain, and
    before more is read. A pipeline can stop at the first ERROR: nothing more of the image is read then.

    Raises:
        UsageError: an unknown target, a malformed limit, a source of the wrong kind.
        SourceError: the image cannot be read, or changed meanwhile.
    """
    return _findings(source, name, Settled.by(**options))


def _findings(source: Readable, name: str | None, settled: Settled) -> Iterator[Finding]:
    with settled.opened(source, name) as reader:  # now: whoever asked for them may never take the first
        run, taken = _Run(reader, settled.target, deep=settled.deep, now=settled.now), 0
        wanted = run.answered(())
        while wanted is not None:
            yield from run.findings[taken:]
            taken = len(run.findings)
            wanted = run.answered(reader.read(wanted.spans))
        yield from run.findings[taken:]
        reader.verify()
    report = run.report()
    yield from (each for each in settled.with_parents(report, source).findings if each not in report.findings)


@value(frozen=True, slots=True)
class Settled:
    """The options of one check, with the target loaded and what was left out filled in."""

    target: Target
    deep: bool = False
    allocation: bool = False
    now: float | None = None
    download: bool = False
    storage_options: Mapping[str, Any] | None = None
    parents: Given | None = None

    @classmethod
    def by(
        cls,
        *,
        target: str | Target = targets.DEFAULT,
        max_virtual_size: str | int | None = None,
        max_physical_size: str | int | None = None,
        **others: Any,  # the fields above, which say it
    ) -> Self:
        """Settle options.

        Raises:
            UsageError: an unknown target, a malformed limit.
            TypeError: there is no such option.
        """
        return cls(resolve(target, max_virtual_size, max_physical_size), **others)

    @property
    def downloads(self) -> int | None:
        """Bytes that may be downloaded of a server that does not send parts; None: no more than parts."""
        if not self.download:
            return None
        return UNLIMITED if self.target.max_physical_size is None else self.target.max_physical_size

    def opened(self, source: Readable, name: str | None) -> AbstractContextManager[Source]:
        """Open whatever the caller has."""
        if is_url(source):
            from vhdcheck.sources.url import opened_url  # asyncio costs 20 ms

            return opened_url(source, name, self.downloads, self.storage_options)
        return opened(source, name)

    def report(self, source: Readable, name: str | None) -> Report:
        """Open an image, and examine it; what is behind a URL in the thread that makes the requests."""
        if is_url(source):
            from vhdcheck.sources.url import used  # asyncio costs 20 ms

            return used(self.examined_there, source, name, self.downloads, self.storage_options)
        with self.opened(source, name) as reader:
            return self.examined(reader)

    def examined(self, reader: Source) -> Report:
        """Examine what is open."""
        return _examined(_Run(reader, self.target, deep=self.deep, allocation=self.allocation, now=self.now), reader)

    async def examined_there(self, reader: AsyncSource) -> Report:
        """Examine what is open in the loop that this runs in."""
        return await aexamine(reader, self.target, deep=self.deep, allocation=self.allocation, now=self.now)

    def with_parents(self, report: Report, source: Readable) -> Report:
        """Add what is found of the parents, where files were given to find them among."""
        if self.parents is None:
            return report
        return with_chain(report, source, self.parents, opening=partial(self.opened, name=None), now=self.now)


def examine(
    reader: Source,
    target: str | Target = targets.DEFAULT,
    *,
    deep: bool = False,
    allocation: bool = False,
    now: float | None = None,
    bitmaps: Bitmaps | None = None,
) -> Report:
    """Examine an image by any driver, one of your own too, and report; `vhdcheck.sources.source` has an example.

    Args:
        reader: the driver.
        target: what to judge for, as in `JudgeOptions`, like all that follows.
        deep: read the sector bitmaps too.
        allocation: count where the blocks lie too.
        now: the time, in Unix seconds; the clock's by default.
        bitmaps: what they said, where they were read already.

    Raises:
        UsageError: an unknown target.
        SourceError: the image cannot be read, or changed meanwhile.
    """
    run = _Run(reader, resolve(target), deep=deep, allocation=allocation, now=now, bitmaps=bitmaps)
    return _examined(run, reader)


def _examined(run: _Run, reader: Source) -> Report:
    wanted = run.answered(())
    while wanted is not None:
        wanted = run.answered(reader.read(wanted.spans))
    reader.verify()
    return run.report()


async def aexamine(
    reader: AsyncSource,
    target: str | Target = targets.DEFAULT,
    *,
    deep: bool = False,
    allocation: bool = False,
    now: float | None = None,
) -> Report:
    """Examine an image by an asynchronous driver; as `examine`, which explains the arguments."""
    run = _Run(reader, resolve(target), deep=deep, allocation=allocation, now=now)
    wanted = run.answered(())
    while wanted is not None:
        wanted = run.answered(await reader.read(wanted.spans))
    await reader.verify()
    return run.report()


def with_chain(
    report: Report, source: Readable, parents: Given, *, opening: Opening | None = None, now: float | None = None
) -> Report:
    """Add to a report on a differencing disk what is found of its parents.

    Args:
        report: the report.
        source: the image that it is on.
        parents: files to find its parents among, as in `CheckOptions`.
        opening: opens what is given, if not by its path or URL.
        now: the time to judge by, in Unix seconds; the clock's by default.

    Raises:
        SourceError: a file that was given cannot be read.
    """
    if not has_parent(report.image):
        return report
    clock = time.time() if now is None else now
    among = parents if isinstance(parents, Parents) else Parents(parents, opening=opening)
    alone = targets.load("generic")
    chain = among.chain(report.source, source, report.image, lambda parent: examine(parent, alone, now=clock))
    found = rules.judge("chain", chain, image=report.image, target=report.target, now=clock)
    return replace(report, findings=tuple(sorted((*report.findings, *found), key=_order)), chain=chain)


def resolve(
    target: str | Target, max_virtual_size: str | int | None = None, max_physical_size: str | int | None = None
) -> Target:
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
        reader: Source | AsyncSource,
        target: Target,
        *,
        deep: bool,
        allocation: bool = False,
        now: float | None,
        bitmaps: Bitmaps | None = None,
    ) -> None:
        self.findings: list[Finding] = []
        self._bytes_read = self._rounds = 0
        self._asked: list[int] = []
        self._reader, self._target = reader, target
        self._now = time.time() if now is None else now
        self._image = Image(reader.size)
        self._plan = steps(self._image, deep=deep, allocation=allocation, bitmaps=bitmaps)

    def answered(self, answer: Answers) -> Wanted | None:
        """Take the answer to what was wanted, at first `()`; judge what is known now; return what is wanted next."""
        if answer:
            self._rounds += 1
            read = [len(data) for data in answer if data is not None]
            self._bytes_read += sum(read)
            if read != self._asked and None not in answer:
                raise SourceError(f"{self._reader.name}: the driver did not answer with the bytes that were asked for")
        try:
            step = self._plan.send(answer or None)  # type: ignore[arg-type]  # a generator begins with None
            while isinstance(step, Known):
                self.findings += rules.judge(
                    step.part, step.value, image=self._image, target=self._target, now=self._now
                )
                step = next(self._plan)
        except StopIteration:
            return None
        self._asked = [span.length for span in step.spans]
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
