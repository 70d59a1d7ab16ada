"""The driver for forward-only streams: what is kept of an image while it passes.

Kept are the first and the last 64 KiB, and the spans that the plan asks for, as they come; nothing is set aside for
what a header claims. What was asked for too late is gone, and answered with None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vhdcheck.format.limits import SEARCH
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdcheck.format.span import Span

KEPT: Final = SEARCH
"""Bytes kept of either end: as much of the end as is searched for a footer."""


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
        self._ring = bytearray()
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

    def feed(self, view: memoryview) -> None:
        """Let bytes pass, up to `stop` at the most."""
        if len(self._head) < KEPT:
            self._head += view[: KEPT - len(self._head)]
        for awaited in self._awaited:
            if awaited.span.offset >= self.position + len(view):
                break
            start = max(awaited.span.offset - self.position, 0)
            awaited.data += view[start : awaited.span.end - self.position]
        if len(view) >= KEPT:
            self._ring[:] = view[-KEPT:]
        else:
            self._ring += view
            if len(self._ring) > 2 * KEPT:
                del self._ring[:-KEPT]
        self.position += len(view)

    def cut(self, start: int, end: int) -> bytes | None:
        """Return the bytes of a span that has passed, if they were kept."""
        found = b""
        pieces = [(0, self._head), *self._kept, (self.position - len(self._ring), self._ring)]
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
