"""How far a run is, on a terminal, when it lasts; nothing where rich is not installed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Self

from vhdcheck.units import count, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.results import Results
    from vhdcheck.verdict.report import Failure, Report

PATIENCE: Final = 2.0
"""Seconds before anything is shown."""


class Progress:
    """A line that counts on standard error, from `PATIENCE` on, and is erased at the end."""

    def __init__(self, results: Results) -> None:
        """Show the counts of a run."""
        self._results = results
        self._lock = threading.Lock()
        self._ended = False
        self._bar: Any = None
        self._timer = threading.Timer(PATIENCE, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Begin to wait."""
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the line."""
        self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._bar is not None:
                self._bar.stop()

    def watch(self, checked: Iterator[Report | Failure]) -> Iterator[Report | Failure]:
        """Pass on what comes, and count it."""
        for result in checked:
            if self._bar is not None:
                self._bar.update(0, completed=self._done(), counts=self._counts())
            yield result

    def _done(self) -> int:
        return self._results.checked + self._results.failed

    def _counts(self) -> str:
        results = self._results
        return (
            f"{count(self._done(), 'image')}, {grouped(results.refused)} refused, {grouped(results.failed)} not checked"
        )

    def _show(self) -> None:
        try:
            from rich.console import Console  # noqa: PLC0415 (an extra)
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
            from rich.progress import Progress as Bar  # noqa: PLC0415
        except ImportError:
            return
        with self._lock:
            if self._ended:
                return
            columns = BarColumn(), TextColumn("{task.fields[counts]}"), TimeElapsedColumn()
            # What is written elsewhere stays untouched: its lines are to be pasted, and must not be wrapped.
            bar = Bar(
                *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
            )
            bar.add_task("", total=None, counts=self._counts())
            bar.start()
            self._bar = bar
