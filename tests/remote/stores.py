"""Stores that run on this machine for the tests, and what they log."""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        end = time.monotonic() + 30
        while (found := re.search(says, log.read_text("utf-8", "replace"))) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"{command[0]} does not start"
            time.sleep(0.05)
        yield found[1]
    finally:
        process.terminate()
        process.wait(timeout=30)
