"""How a plan asks for bytes: spans are clamped to the file, merged, and never asked for twice. No I/O.

The plan thinks in structures, a driver in reads. Between them stands `Reader.ask`: it takes the spans of the
structures, cuts off what lies behind the end of the file, leaves out what a window holds already, and joins what
touches. So three structures that lie side by side cost one read, and a header in the first 4 KiB costs none. The
windows are the pieces of the file that the plan keeps, as (offset, bytes); the first one begins at 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.format.limits import END
from vhdcheck.format.span import Span
from vhdcheck.values import value

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from vhdcheck.image import Image

    Answers = Sequence[bytes | None]


_HEAD: Final = Span(0, END)


@value(frozen=True, slots=True)
class Wanted:
    """Spans whose bytes the plan needs next."""

    spans: tuple[Span, ...]


class Reader:
    """Asks for spans, keeps both ends of the file, and answers from them what they hold."""

    def __init__(self, image: Image) -> None:
        """Take a new image, whose `unseen` is written to."""
        self.size = image.size
        self.unseen = image.unseen
        self.windows: list[tuple[int, bytes]] = []

    def ends(self) -> Generator[Wanted, Answers, tuple[bytes, bytes]]:
        """Ask for both ends of the file, at once where they touch, and keep them as the windows."""
        size, head, tail = self.size, b"", b""
        if size > 2 * END:
            answer = yield Wanted((_HEAD, Span(size - END, END)))
            head, tail = self._seen(answer[0], 0, END), self._seen(answer[1], size - END, END)
        elif size:
            (whole,) = yield Wanted((Span(0, size),))
            head = self._seen(whole, 0, END)[:END]
            tail = self._seen(whole, max(0, size - END), END)[-END:]
        self.windows = [(0, head), (size - len(tail), tail)]
        return head, tail

    def _seen(self, data: bytes | None, offset: int, length: int) -> bytes:
        """Note what is out of reach."""
        if data is None:
            self.unseen.append(Span(offset, length, "file"))
        return data or b""

    def ask(self, *spans: Span, needed: bool = True) -> Generator[Wanted, Answers, list[bytes]]:
        """Yield what has to be read (clamped to the file, merged), return each span's bytes, none for one unseen.

        Where the bytes are not `needed`, one that is out of reach is not noted as unseen.
        """
        size = self.size
        held = [self._whole(span) for span in spans]
        if None not in held:
            return held  # type: ignore[return-value]  # none is None
        clamped = [(min(span.offset, size), min(span.offset + span.length, size)) for span in spans]
        missing = sorted(part for part in map(self._missing, clamped) if part[0] < part[1])
        merged: list[tuple[int, int]] = []
        for start, end in missing:
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        pieces = list(self.windows)
        if merged:
            answer = yield Wanted(tuple(Span(start, end - start) for start, end in merged))
            pieces += [(start, data) for (start, _), data in zip(merged, answer, strict=True) if data is not None]
        found = [self._cut(pieces, start, end) for start, end in clamped]
        if needed:
            self.unseen += (span for span, data in zip(spans, found, strict=True) if data is None)
        return [data or b"" for data in found]

    def _whole(self, span: Span) -> bytes | None:
        """Return a span's bytes, up to the end of the file, if one window holds them all."""
        start = span.offset
        end = min(start + span.length, self.size)
        if start >= end:
            return b""
        for offset, data in self.windows:
            if offset <= start and end <= offset + len(data):
                return data[start - offset : end - offset]
        return None

    def _missing(self, span: tuple[int, int]) -> tuple[int, int]:
        """What is left of a span when its beginning, its end, or all of it, is in a window."""
        start, end = span
        for offset, data in self.windows:
            if offset <= start < offset + len(data):
                start = min(offset + len(data), end)
            elif start < offset < end <= offset + len(data):
                end = offset
        return start, end

    @staticmethod
    def _cut(pieces: list[tuple[int, bytes]], start: int, end: int) -> bytes | None:
        """Put a span together from the pieces; None if they do not hold all of it."""
        if start >= end:
            return b""
        for offset, data in pieces:
            if offset <= start and end <= offset + len(data):
                return data[start - offset : end - offset]
        found = b""
        while start < end:
            for offset, data in pieces:
                if offset <= start < offset + len(data):
                    break
            else:
                return None
            part = data[start - offset : end - offset]
            found += part
            start += len(part)
        return found

    def held(self, offset: int, length: int) -> int:
        """Count the bytes from `offset` on, up to `length`, that are in the first window."""
        start, data = self.windows[0]
        return max(0, min(length, start + len(data) - offset)) if start <= offset else 0
