"""How far long work is: a line on a terminal, once the work has lasted for a while, erased at the end.

    with Progress(sys.stderr, lambda: "comparing", total=size) as line:
        for done in work:
            line.move(done)

The work only tells how far it is. A thread of its own draws, a few times a second: so the line moves, or at least its
clock, while one step of the work takes long, and drawing never slows the work. tqdm draws. It takes as long to import
as rich (45 ms), and is one package of 0.6 MB instead of four of 13 MB. It is imported when there is a line to draw.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

PATIENCE: Final = 2.0
"""Seconds before anything is shown."""
PACE: Final = 0.25
"""Seconds between two drawings."""
_PARTS: Final = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left"
_WHOLE: Final = "{desc} {elapsed}"


class Progress:
    """A line that is shown from `PATIENCE` on."""

    def __init__(self, stream: TextIO, words: Callable[[], str], *, total: int | None = None) -> None:
        """Prepare it.

        Args:
            stream: where it is shown, if that is a terminal.
            words: what is said, each time that it is drawn; in a thread of its own.
            total: how much there is to do; by default that is not known, and the words alone are shown.
        """
        self.done = 0
        self.total = total
        self._stream = stream
        self._words = words
        self._lock: AbstractContextManager[Any] = nullcontext()
        self._ended: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._bar: Any = None

    def __enter__(self) -> Self:
        """Begin to wait."""
        if self._stream.isatty():
            import threading  # 2 ms that most runs do without

            self._lock, self._ended = threading.RLock(), threading.Event()
            self._thread = threading.Thread(target=self._draw, args=(self._ended,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the line."""
        if self._thread is not None and self._ended is not None:
            self._ended.set()
            self._thread.join()

    def move(self, done: int) -> None:
        """Say how much is done by now."""
        self.done = done

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Erase the line while something else is written to the terminal; it comes back."""
        with self._lock:
            if self._bar is not None:
                self._bar.clear()
            yield

    def _draw(self, ended: threading.Event) -> None:
        if ended.wait(PATIENCE):
            return
        from tqdm import tqdm  # 45 ms

        tqdm.monitor_interval = 0  # else a thread watches over lines that move seldom,
        tqdm.set_lock(self._lock)  # and a semaphore is made for other processes
        with self._lock:
            self._bar = tqdm(
                file=self._stream,
                leave=False,
                smoothing=0,  # what is left by the rate of all that was done
                ncols=_columns(self._stream),
                nrows=24,  # a terminal that does not tell its size is said to have none, where nothing is drawn
                delay=1e-9,  # not drawn before it knows when the work began
            )
        self._bar.start_t -= PATIENCE
        while True:
            with self._lock:
                self._bar.ncols = _columns(self._stream)
                self._bar.n, self._bar.total = self.done, self.total
                self._bar.bar_format = _WHOLE if self.total is None else _PARTS
                self._bar.set_description_str(self._words(), refresh=True)
            if ended.wait(PACE):
                break
        self._bar.close()


def _columns(stream: TextIO) -> int:
    """Say how wide a terminal is; serial lines and containers often do not tell."""
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80
