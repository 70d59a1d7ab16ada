"""StreamChecker: an image is judged while it passes through.

A stream cannot be asked for its end, and what has passed is gone. So the image is examined twice, by the same plan:

1. While it passes. `self._plan` runs on an image of endless length (`open_ended`). What it wants is noted as awaited,
   kept when it passes (`sources.stream_window`), and given to the plan when all of it is there. Parts that no later
   byte can make better are judged at once (`CERTAIN`), and ERRORs count: that is `refused`. Nothing else is judged yet.
2. When it has ended. `finish` runs `examine` over what was kept, with the true length and the footer at the end. This
   is the report, and it is that of a file of the same bytes. What was not kept is answered with None and becomes
   VHD650.

States: `_plan` is None once the first run needs no more; `_report` is set once the stream has ended. `feed` after that
is the caller's mistake.

The first run may only judge what the second will find too. A sound copy of the footer guarantees that: if the footer at
the end differs, the image is refused for that (`_is_trusted`).
"""

from __future__ import annotations

import contextlib
import io
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from vhdcheck import rules
from vhdcheck.blocks.facts import Blocks
from vhdcheck.engine.check import Settled, examine
from vhdcheck.engine.plan import Known, steps
from vhdcheck.errors import SourceError, UsageError
from vhdcheck.format.limits import ENDLESS
from vhdcheck.format.structures import COOKIE
from vhdcheck.image import Image
from vhdcheck.redaction import redacted
from vhdcheck.sources.stream_window import DataWatch, Kept, Passing
from vhdcheck.units import SECTOR
from vhdcheck.verdict.finding import Finding, Severity
from vhdcheck.verdict.report import ImageRefused, Report

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Generator
    from typing import Unpack

    from vhdcheck.engine.options import JudgeOptions
    from vhdcheck.engine.windows import Answers, Wanted
    from vhdcheck.format.span import Span

PIPE: Final = 1 << 20
"""Bytes that a pipe is made to hold: as many as Linux lets anyone have."""
CHUNK: Final = 128 << 10
"""Bytes read at once. They stay in the processor's cache, which 1 MiB may not; 64 KiB cost more calls."""
CERTAIN: Final = ("footer", "header", "no_header", "locators", "table")
"""Parts whose ERRORs at the start of an image hold whatever follows."""


class StreamChecker:
    """Checks an image that can be read only once, from its beginning.

    Feed it the chunks, in any sizes; `refused` turns true as soon as the image can no longer be accepted; `finish`
    gives the report, the same as for a file. A layout that cannot be followed in a stream (a table before its header)
    is judged as far as possible and refused with finding VHD650, which names what was not seen.

    Memory: the table (32 MiB at the most) and 1.2 MiB, whatever the headers claim.
    """

    def __init__(
        self,
        *,
        name: str = "<stream>",
        **options: Unpack[JudgeOptions],
    ) -> None:
        """Prepare for one image; the arguments are those of `check`.

        With `deep` the sector bitmaps are judged as they pass and, since the data passes anyway, also whether there is
        data in sectors that they call empty.

        Raises:
            UsageError: an unknown target, a malformed limit.
        """
        settled = Settled.by(**options)
        deep = self._deep = settled.deep
        self._target, self._allocation, self.name = settled.target, settled.allocation, redacted(name)
        self._now = time.time() if settled.now is None else settled.now
        self._passing = Passing()
        self._early = Image(ENDLESS)
        self._plan: Generator[Wanted | Known, Answers, None] | None = steps(self._early, deep=deep, open_ended=True)
        self._request: tuple[Span, ...] = ()
        self._answers: dict[int, bytes] = {}
        self._watch: DataWatch | None = None
        self._unmarked = Blocks()
        self._found: list[Finding] = []
        self._report: Report | None = None
        self._advance(next(self._plan))

    @property
    def refused(self) -> bool:
        """Whether it is certain that the image will be refused."""
        return bool(self._found) if self._report is None else not self._report.ok

    @property
    def position(self) -> int:
        """How many bytes have passed."""
        return self._passing.position

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Finding]:
        """Let the next bytes pass.

        Returns:
            The ERRORs that have become certain, judged by the footer's copy at the start: whatever follows, the image
            is refused. The report has them too, with their final places, if the footer at the end says the same as its
            copy. If it differs, the image is refused for that, and the report is judged by the footer at the end: it
            may have other findings in their place.

        Raises:
            UsageError: the stream has ended: `finish` was called.
        """
        before = len(self._found)
        if not (
            type(chunk) is bytes  # which nobody changes
            and self._watch is None
            and self._report is None
            and self._passing.lets_by(chunk)
        ):
            self._examine(memoryview(chunk).cast("B"), lasts=type(chunk) is bytes)
        limit = self._target.max_physical_size
        if limit is not None and self.position > limit and not any(each.rule == "VHD702" for each in self._found):
            self._judge("size", self.position)
        return self._found[before:]

    def _examine(self, view: memoryview, *, lasts: bool) -> None:
        """Let bytes pass of which some may be wanted."""
        if len(view) and self._report is not None:
            raise UsageError(f"{self.name}: bytes behind the end: finish was called; each image needs its own checker")
        while len(view):
            stop = self._passing.stop
            step = len(view) if stop is None else min(len(view), stop - self.position)
            self._look(view[:step], self.position)
            self._passing.feed(view[:step], lasts=lasts)
            view = view[step:]
            if stop is not None and self.position >= stop:
                self._arrived()

    def finish(self) -> Report:
        """End the stream.

        Returns:
            The report on the whole image, as `check` gives it; the same at every call.
        """
        if self._report is None:
            bitmaps = self._early.bitmaps
            if bitmaps is not None:
                bitmaps.unmarked = self._unmarked
            self._report = examine(
                Kept(self._passing, self.name),
                self._target,
                deep=self._deep,
                allocation=self._allocation,
                now=self._now,
                bitmaps=bitmaps,
            )
        return self._report

    def early_report(self) -> Report:
        """Report what is certain so far, for one who stops here."""
        return Report(self.name, self.position, self._target, tuple(self._found), self._early, self.position)

    def wrap(self, file: BinaryIO, *, raise_early: bool = False) -> CheckedReader:
        """Give back a file object that reads `file` and checks what passes.

        Args:
            file: a binary file object, such as the body of a request.
            raise_early: raise ImageRefused, with the report, as soon as the image is refused, also at its end; an
                uploader that reads from it stops then, and does not commit.
        """
        return CheckedReader(self, file, raise_early=raise_early)

    async def awrap(self, chunks: AsyncIterable[bytes], *, raise_early: bool = False) -> AsyncIterator[bytes]:
        """Pass chunks through and check them; `finish` gives the report afterwards. `raise_early` as in `wrap`."""
        async for chunk in chunks:
            self.feed(chunk)
            if raise_early and self.refused:
                raise ImageRefused(self.early_report())
            yield chunk
        if not self.finish().ok and raise_early:
            raise ImageRefused(self.finish())

    def _arrived(self) -> None:
        """Note the spans that have come; go on with the plan when it has all that it asked for."""
        for awaited in self._passing.arrived():
            self._answers[awaited.span.offset] = bytes(awaited.data)
            self._watch_block(awaited.span, bytes(awaited.data))
        if self._passing.stop is None and self._plan is not None:
            answers = [self._answer(span) for span in self._request]
            self._answers.clear()
            try:
                self._advance(self._plan.send(answers))
            except StopIteration:
                self._plan = None

    def _advance(self, step: Wanted | Known) -> None:
        """Take what the plan knows, until it wants what has not come yet."""
        assert self._plan is not None  # only called with one
        try:
            while True:
                if isinstance(step, Known):
                    if step.part in CERTAIN and self._is_trusted():
                        self._judge(step.part, step.value)
                    step = self._plan.send(())
                    continue
                if any(span.part == "bitmaps" for span in step.spans):  # of each, the data behind it is looked at
                    step = self._plan.send([None] * len(step.spans))
                    continue
                self._request = step.spans
                self._passing.wait_for(step.spans)
                for span in step.spans:
                    if span.end <= self.position:
                        self._watch_block(span, self._passing.cut(span.offset, span.end))
                if self._passing.stop is not None:
                    return
                step = self._plan.send([self._answer(span) for span in step.spans])
        except StopIteration:
            self._plan = None

    def _answer(self, span: Span) -> bytes | None:
        return self._answers.get(span.offset) or self._passing.cut(span.offset, span.end)

    def _is_trusted(self) -> bool:
        """Say whether the start of the image can be judged by itself.

        A sound copy of the footer can: if the footer at the end differs from it the image is refused for that, and also
        if that is a fixed disk's. The copy in which an old blktap hid an image may differ, and is not sound: its
        checksum is that of before.
        """
        copy = self._early.copy
        return copy is not None and copy.is_signed and copy.cookie == COOKIE

    def _judge(self, part: str, value: Any) -> None:  # whatever the part is
        judged = rules.judge(part, value, image=self._early, target=self._target, now=self._now)
        self._found += [finding for finding in judged if finding.severity == Severity.ERROR]

    def _watch_block(self, span: Span, bitmap: bytes | None) -> None:
        """Begin to look for data in the sectors that a bitmap calls empty, and look at what has passed already."""
        if span.part != "bitmap" or bitmap is None or self._early.header is None:
            return
        self._watch = DataWatch(span, bitmap, self._early.header.block_size // SECTOR)
        passed = self._passing.cut(span.end, min(self._watch.end, self.position)) if span.end < self.position else None
        if passed:
            self._look(memoryview(passed), span.end)

    def _look(self, view: memoryview, offset: int) -> None:
        """Look at the data of the block that passes."""
        watch = self._watch
        if watch is not None and watch.finds(offset, view):
            self._unmarked.add(watch.block, watch.first_sector)
            self._watch = None
        elif watch is not None and offset + len(view) >= watch.end:
            self._watch = None


class CheckedReader(io.RawIOBase):
    """A file object that checks what is read through it; `checker.finish()` gives the report when all was read."""

    def __init__(self, checker: StreamChecker, file: BinaryIO, *, raise_early: bool) -> None:
        """Wrap a file object; closing this one closes that one."""
        self.checker = checker
        self._file, self._raise_early = file, raise_early

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int | Any:  # any writable buffer; None only where nobody need expect it
        """Read into a buffer; None where the file does not block and has nothing yet."""
        view = memoryview(buffer).cast("B")
        length = self._fill(view) if len(view) else 0
        return None if length is None else self._passed(view[:length], asked=len(view))

    def read(self, size: int | None = -1) -> bytes | Any:
        """Read up to `size` bytes, or all; None as in `readinto`."""
        data: bytes | None = self._file.read(-1 if size is None else size)
        if data is not None:
            self._passed(memoryview(data), asked=-1 if size is None else size)
        return data

    def _fill(self, view: memoryview) -> int | None:
        if hasattr(self._file, "readinto"):
            length: int | None = self._file.readinto(view)
            return length
        data: bytes | None = self._file.read(len(view))
        if data is None:
            return None
        view[: len(data)] = data
        return len(data)

    def _passed(self, view: memoryview, *, asked: int) -> int:
        """Check bytes; at the end, and with `raise_early` at once, raise if the image is refused."""
        self.checker.feed(view)
        ended = (not len(view) and asked != 0) or asked < 0
        if ended:
            self.checker.finish()
        if self._raise_early and self.checker.refused:
            raise ImageRefused(self.checker.finish() if ended else self.checker.early_report())
        return len(view)

    def close(self) -> None:
        """Close the file object below."""
        if not self.closed:
            self._file.close()
        super().close()


def _next(file: BinaryIO) -> bytes:
    """Read what comes next; wait for it where the file does not block, as who started us may have set it."""
    while (chunk := cast("bytes | None", file.read(CHUNK))) is None:
        import select  # seldom

        select.select([file], [], [])
    return chunk


def check_stream(file: BinaryIO, checker: StreamChecker) -> Report:
    """Read a stream to its end, and report. A pipe is enlarged first: four times faster between two processes.

    Raises:
        SourceError: the stream cannot be read.
    """
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import fcntl  # not on every system

        fcntl.fcntl(file.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
    try:
        while chunk := _next(file):
            checker.feed(chunk)
    except OSError as error:
        raise SourceError(f"{checker.name}: {error.strerror or error}") from error
    return checker.finish()
