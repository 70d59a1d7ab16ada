"""The driver for forward-only streams: what is kept of an image while it passes.

Kept are the first and the last 64 KiB, and the spans that the plan asks for, as they come; nothing is set aside for
what a header claims. What was asked for too late is gone, and answered with None.

All of an image passes here, so what is done to each byte decides how fast a stream is. Nothing is: the last 64 KiB are
kept as the very chunks that were fed, where those are `bytes`, which nobody changes. Copying them out of each chunk of
128 KiB would cost a third more than reading the pipe does. Short chunks are put together, and of very long ones a copy
is made, so that what is kept stays small. Of buffers that may be used again a copy is needed anyway.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vhdcheck.format.limits import SEARCH
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdcheck.format.span import Span

KEPT: Final = SEARCH
"""Bytes kept of either end: as much of the end as is searched for a footer."""
SHORT: Final = 8 << 10
"""Bytes of a chunk that is copied because many of them would be kept;"""
LONG: Final = 1 << 20
"""and of one that is copied because little of it is needed."""


@dataclass(slots=True)
class Awaited:
    """A span that is still to come, or coming."""

    span: Span
    data: bytearray = field(default_factory=bytearray)


class Passing:
    """Keeps what is needed of a stream."""

    def __init__(self) -> None:
        """Begin at the stream's first byte."""
        self.position = 0
        self._head = bytearray()
        self._tail: deque[bytes | memoryview | bytearray] = deque()
        self._tail_length = 0
        self._kept: list[tuple[int, bytearray]] = []
        self._awaited: list[Awaited] = []

    def wait_for(self, spans: Sequence[Span]) -> None:
        """Keep these spans when they come; in order, none overlapping. What has passed already is not waited for."""
        self._awaited = [Awaited(span) for span in spans if span.offset >= self.position or span.end > self.position]
        for awaited in self._awaited:
            if awaited.span.offset < self.position:
                awaited.data += self.cut(awaited.span.offset, self.position) or b""
            if awaited.span.part != "bitmap":  # these are answered once; all else is needed at the end
                self._kept.append((awaited.span.offset, awaited.data))

    @property
    def stop(self) -> int | None:
        """Where the next awaited span ends; None when none is awaited."""
        return self._awaited[0].span.end if self._awaited else None

    def arrived(self) -> Iterator[Awaited]:
        """Take the awaited spans that have passed."""
        while self._awaited and self._awaited[0].span.end <= self.position:
            yield self._awaited.pop(0)

    def lets_by(self, chunk: bytes) -> bool:
        """Let a chunk pass that is of no interest but for the end; nothing is done where it may be."""
        length = len(chunk)
        if not SHORT < length <= LONG or len(self._head) < KEPT:
            return False
        if self._awaited and self._awaited[0].span.offset < self.position + length:
            return False
        tail = self._tail
        tail.append(chunk)
        kept = self._tail_length + length
        while kept - len(tail[0]) >= KEPT:
            kept -= len(tail.popleft())
        self._tail_length = kept
        self.position += length
        return True

    def feed(self, view: memoryview, *, lasts: bool = False) -> None:
        """Let bytes pass, up to `stop` at the most.

        Args:
            view: the bytes.
            lasts: whether nobody ever changes them.
        """
        length = len(view)
        if len(self._head) < KEPT:
            self._head += view[: KEPT - len(self._head)]
        for awaited in self._awaited:
            if awaited.span.offset >= self.position + length:
                break
            start = max(awaited.span.offset - self.position, 0)
            awaited.data += view[start : awaited.span.end - self.position]
        self._keep(view if lasts and SHORT < length <= LONG else bytearray(view[-KEPT:]))
        self.position += length

    def _keep(self, piece: memoryview | bytearray) -> None:
        """Add to the tail; drop what is no longer of the last bytes."""
        tail = self._tail
        self._tail_length += len(piece)
        if tail and len(piece) <= SHORT and isinstance(tail[-1], bytearray) and len(tail[-1]) < KEPT:
            tail[-1] += piece
        else:
            tail.append(piece)
        while self._tail_length - len(tail[0]) >= KEPT:
            self._tail_length -= len(tail.popleft())

    def cut(self, start: int, end: int) -> bytes | None:
        """Return the bytes of a span that has passed, if they were kept."""
        found = b""
        pieces: list[tuple[int, bytes | memoryview | bytearray]] = [(0, self._head), *self._kept]
        at = self.position - self._tail_length
        for piece in self._tail:
            pieces.append((at, piece))
            at += len(piece)
        while start < end:
            for offset, data in pieces:
                if offset <= start < offset + len(data):
                    break
            else:
                return None
            part = bytes(data[start - offset : end - offset])
            found = found + part if found else part
            start += len(part)
        return found


class Kept:
    """A stream that has ended, as a source: it has what was kept."""

    def __init__(self, passing: Passing, name: str) -> None:
        """Take what was kept."""
        self.name = name
        self.size = passing.position
        self._passing = passing

    def read(self, spans: Sequence[Span]) -> list[bytes | None]:
        """Return each span's bytes, None for one that was not kept."""
        return [self._passing.cut(span.offset, span.end) for span in spans]

    def verify(self) -> None:
        """Do nothing: what has passed does not change."""


class DataWatch:
    """Looks for data in sectors that a block's bitmap calls empty, while the block passes."""

    def __init__(self, bitmap: Span, bits: bytes, sectors: int) -> None:
        """Prepare for the data of one block, which follows its bitmap.

        Args:
            bitmap: where the block's bitmap is.
            bits: what it says.
            sectors: in the block.
        """
        start = bitmap.end
        self.block = bitmap.number or 0
        self.first_sector = bitmap.offset // SECTOR
        self.end = start + sectors * SECTOR
        self._clear = list(_clear_runs(start, sectors, bits))

    def finds(self, offset: int, view: memoryview) -> bool:
        """Say whether `view`, at `offset`, has data where there should be none."""
        for start, end in self._clear:
            part = view[max(start - offset, 0) : max(end - offset, 0)]
            if bytes(part).count(0) != len(part):
                return True
        return False


def _clear_runs(start: int, sectors: int, bitmap: bytes) -> Iterator[tuple[int, int]]:
    """Yield the runs of sectors whose bits are clear, as (first byte, last byte + 1)."""
    bits = f"{int.from_bytes(bitmap, 'big'):0{8 * len(bitmap)}b}"[:sectors]
    at = 0
    while (first := bits.find("0", at)) >= 0:
        at = bits.find("1", first)
        at = len(bits) if at < 0 else at
        yield start + first * SECTOR, start + at * SECTOR
