"""How far a run is: over many images by their number, within one by its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.units import count, grouped, human

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vhdcheck.format.span import Span
    from vhdcheck.report.results import Results
    from vhdcheck.sources.source import Source
    from vhdcheck.terminal.progress import Progress


def of_many(results: Results) -> Callable[[], str]:
    """Say how many images came, and how many of them fail."""

    def words() -> str:
        done = count(results.checked + results.failed, "image")
        return f"{done}, {grouped(results.refused)} refused, {grouped(results.failed)} not checked"

    return words


class Reading:
    """How far one image was read: a file as the driver is asked, a stream as it passes."""

    def __init__(self) -> None:
        """Begin before the first byte."""
        self.size: int | None = None
        """Of the image, where that is known."""
        self._position: Callable[[], int] = lambda: 0

    def __call__(self) -> str:
        """Say it."""
        read = human(self._position())
        return f"{read} read" if self.size is None else f"{read} of {human(self.size)}"

    def follow(self, position: Callable[[], int]) -> None:
        """Ask for the position whenever it is drawn."""
        self._position = position


class Watched:
    """A driver that tells how far into its image it was read."""

    def __init__(self, source: Source, reading: Reading, line: Progress) -> None:
        """Serve what `source` serves."""
        self.name, self.size = source.name, source.size
        self.traffic = getattr(source, "traffic", None)
        self._source, self._line = source, line
        reading.size = line.total = source.size
        reading.follow(lambda: line.done)

    def read(self, spans: Sequence[Span]) -> Sequence[bytes | None]:
        """Return each span's bytes."""
        answer = self._source.read(spans)
        self._line.move(min(max((span.end for span in spans), default=0), self.size))
        return answer

    def verify(self) -> None:
        """Raise SourceError if the image changed since it was opened."""
        self._source.verify()
