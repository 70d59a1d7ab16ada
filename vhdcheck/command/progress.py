"""How far a run over many images is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from vhdcheck.terminal.progress import Progress
from vhdcheck.units import count, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.results import Results
    from vhdcheck.verdict.report import Failure, Report


@contextmanager
def watching(
    checked: Iterator[Report | Failure], results: Results, errors: TextIO
) -> Iterator[Iterator[Report | Failure]]:
    """Pass on what comes, and show how many came."""

    def words() -> str:
        done = count(results.checked + results.failed, "image")
        return f"{done}, {grouped(results.refused)} refused, {grouped(results.failed)} not checked"

    def passed_on() -> Iterator[Report | Failure]:
        for result in checked:
            line.move(results.checked + results.failed)
            yield result

    with Progress(errors, words) as line:
        yield passed_on()
