"""Stores that run on this machine for the tests, and what they log."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.helpers import begun, ended, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_REQUEST = re.compile(r'"(?:\x1b\[\d+m)*((?:GET|HEAD|PUT|POST) [^ "]+)')


@dataclass
class Served:
    """A store that runs for the tests."""

    scheme: str
    options: dict[str, Any]
    log: Path
    put: Callable[[str, bytes], None]
    mark: int = field(default=0)

    def asked(self) -> list[str]:
        """Method and path of each request since the last call."""
        time.sleep(0.05)
        lines = self.log.read_text("utf-8", "replace").splitlines()
        new, self.mark = lines[self.mark :], len(lines)
        return [match[1] for line in new if (match := _REQUEST.search(line))]


@contextmanager
def started(command: list[str], log: Path, says: str) -> Iterator[str]:
    """Run a server until the end of the tests; yield its URL."""
    process = begun(command, log, cwd=log.parent)
    try:
        yield until(lambda: re.search(says, log.read_text("utf-8", "replace")), process, log)[1]
    finally:
        ended(process, log)
