"""How far long work is: a line on a terminal's standard error, once the work lasts, erased when it ends.

The work is never slowed or changed by it. It only counts, in plain attributes; a thread of its own looks at the counts
a few times a second and draws. So the line moves also while one step of the work takes long, and a line that could not
be drawn costs nothing but the line.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TextIO

    from vhdcheck.format.span import Span
    from vhdcheck.sources.source import Source

PATIENCE: Final = 2.0
"""Seconds before anything is shown."""
PACE: Final = 0.25
"""Seconds between two looks."""
COLUMNS: Final = 80
"""What a terminal is taken to have that does not say."""


class Progress:
    """Counts work, and shows the count on a terminal.

    Examples:
        with Progress("bytes", total=length) as progress:
            for chunk in chunks:
                progress.done += len(chunk)
    """

    def __init__(self, unit: str, *, total: int | None = None, stream: TextIO | None = None) -> None:
        """Count up.

        Args:
            unit: `bytes` or `images`.
            total: how many there are, where that is known.
            stream: the terminal; standard error by default. Nothing is shown on anything else.
        """
        self.done = 0
        """How many are done. The work adds to it."""
        self.total = total
        self.note = ""
        """What else to say, such as how many were refused; printable."""
        self._unit = unit
        self._stream = sys.stderr if stream is None else stream
        self._bar: Any = None
        self._lock: AbstractContextManager[Any] = nullcontext()
        self._ended: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._counter: Callable[[], int] | None = None

    def __enter__(self) -> Self:
        """Begin to wait."""
        if self._stream is not None and self._stream.isatty():
            import threading  # 2 ms that most runs do without

            self._lock, self._ended = threading.RLock(), threading.Event()
            self._thread = threading.Thread(target=self._look, args=(self._ended,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the line."""
        if self._thread is not None and self._ended is not None:
            self._ended.set()
            self._thread.join()

    def follow(self, counter: Callable[[], int]) -> None:
        """Ask for the count, whenever it is drawn, instead of being told."""
        self._counter = counter

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Erase the line while something else is written to the terminal; it comes back."""
        with self._lock:
            if self._bar is not None:
                self._bar.clear()
            yield

    def _look(self, ended: threading.Event) -> None:
        if ended.wait(PATIENCE):
            return
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore] # 50 ms, for long work only

        tqdm.set_lock(self._lock)  # tqdm's own is one of multiprocessing, which starts a process
        tqdm.monitor_interval = 0  # and it needs no thread besides this one
        is_bytes = self._unit == "bytes"
        with self._lock:
            self._bar = tqdm(
                total=self.total,
                unit="iB" if is_bytes else f" {self._unit}",
                unit_scale=is_bytes,
                unit_divisor=1024,
                file=self._stream,
                leave=False,
                ncols=self._columns(),
                nrows=2,  # of which one is used; some terminals do not know that either
            )
        self._bar.start_t -= PATIENCE  # the work began before its line
        while not ended.wait(PACE):
            with self._lock:
                self._bar.ncols, self._bar.total = self._columns(), self.total
                self._bar.n = self.done if self._counter is None else self._counter()
                self._bar.set_postfix_str(self.note, refresh=True)
        self._bar.close()

    def _columns(self) -> int:
        """Look how wide the terminal is now; some do not know, and tqdm would then write nothing."""
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._stream.fileno()).columns or COLUMNS
        return COLUMNS


class Watched:
    """A driver that tells how far into its image it was read."""

    def __init__(self, source: Source, progress: Progress) -> None:
        """Serve what `source` serves."""
        self.name, self.size = source.name, source.size
        self.traffic = getattr(source, "traffic", None)
        self._source, self._progress = source, progress
        progress.done, progress.total = 0, source.size

    def read(self, spans: Sequence[Span]) -> Sequence[bytes | None]:
        """Return each span's bytes."""
        answer = self._source.read(spans)
        self._progress.done = min(max((span.end for span in spans), default=0), self.size)
        return answer

    def verify(self) -> None:
        """Raise SourceError if the image changed since it was opened."""
        self._source.verify()
