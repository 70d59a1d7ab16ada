"""How far long work is: a line on a terminal that is erased at the end.

    with Progress(sys.stderr, lambda: "comparing", total=size) as line:
        for done in work:
            line.move(done)

tqdm draws it. It takes as long to import as rich (45 ms), and is one package of 0.6 MB instead of four of 13 MB. It is
imported only once the work has lasted for a while, and where there is a terminal.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE: Final = 2.0
"""Seconds before anything is shown."""
_PARTS: Final = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left"
_WHOLE: Final = "{desc} {elapsed}"


class Progress:
    """A line that is shown from `PATIENCE` on."""

    def __init__(self, stream: TextIO, words: Callable[[], str], *, total: int | None = None) -> None:
        """Prepare it.

        Args:
            stream: where it is shown, if that is a terminal.
            words: what is said, each time that it is drawn.
            total: how much there is to do; by default that is not known, and the words alone are shown.
        """
        self._stream = stream
        self._words = words
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self._ended = False
        self._bar: Any = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        """Begin to wait."""
        if self._stream.isatty():
            self._timer = threading.Timer(PATIENCE, self._show)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the line."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._bar is not None:
                self._bar.close()

    def move(self, done: int) -> None:
        """Say how much is done by now."""
        self._done = done
        if self._bar is not None:
            self._draw()

    def _draw(self) -> None:
        self._bar.set_description_str(self._words(), refresh=False)
        self._bar.update(self._done - self._bar.n)

    def _show(self) -> None:
        from tqdm import tqdm  # noqa: PLC0415 (45 ms)

        with self._lock:
            if self._ended:
                return
            tqdm.monitor_interval = 0  # else a thread watches over lines that move seldom,
            tqdm.set_lock(threading.RLock())  # and a semaphore is made for other processes
            self._bar = tqdm(
                file=self._stream,
                desc=self._words(),
                total=self._total,
                leave=False,
                smoothing=0,  # what is left by the rate of all that was done
                ncols=_columns(self._stream),
                nrows=24,  # a terminal that does not tell its size is said to have none, where nothing is drawn
                miniters=0,
                bar_format=_WHOLE if self._total is None else _PARTS,
                delay=1e-9,  # not drawn before it knows when the work began
            )
            self._bar.start_t -= PATIENCE
            self._bar.n = self._done
            self._bar.refresh()


def _columns(stream: TextIO) -> int:
    """Say how wide a terminal is; serial lines and containers often do not tell."""
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80
