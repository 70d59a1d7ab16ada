"""What a driver offers, so that an image can be checked wherever its bytes are.

The engine asks for spans of bytes, a few at a time, and hardly ever for more than some sectors. Whoever can answer
that is a driver: a file, a buffer, a URL, or one of your own. It can be as short as this one, for a disk that a program
keeps in pieces of 1 MiB:

    from vhdcheck import SourceError, examine

    class Pieces:
        def __init__(self, name, pieces):
            self.name, self.pieces = name, pieces
            self.size = sum(map(len, pieces))

        def read(self, spans):
            return [self._cut(span.offset, span.end) for span in spans]

        def verify(self):
            if self.size != sum(map(len, self.pieces)):
                raise SourceError(f"{self.name}: changed while it was checked")

        def _cut(self, start, end):
            first, last = start >> 20, -(-end >> 20)
            joined = b"".join(self.pieces[first:last + 1])
            return joined[start - (first << 20):end - (first << 20)]

    report = examine(Pieces("disk 7", pieces), "azure")
    print(report)

With `async def read` and `async def verify` it is a driver for `await aexamine(...)`, which can fetch all spans at
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdcheck.format.span import Span


class Source(Protocol):
    """A driver for `examine`."""

    name: str
    """What the report calls the image."""
    size: int
    """Length in bytes, learned once."""

    def read(self, spans: Sequence[Span]) -> Sequence[bytes | None]:
        """Return the bytes of each span, as many as `span.length`. All spans lie in the image.

        None stands for a span that cannot be had, as of a stream that has passed it: the report says then that it was
        not examined.

        Raises:
            SourceError: the medium fails.
        """

    def verify(self) -> None:
        """See at the end that it is the image that it was at the beginning.

        Raises:
            SourceError: it changed meanwhile.
        """


class AsyncSource(Protocol):
    """A driver for `aexamine`: as `Source`, which explains it."""

    name: str
    size: int

    async def read(self, spans: Sequence[Span]) -> Sequence[bytes | None]:
        """Return the bytes of each span."""

    async def verify(self) -> None:
        """See that the image did not change."""
