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

# The account that Azurite has for everybody; its key is in Azurite's manual.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
AZURE_LOGIN = f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
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


@dataclass
class Azurite:
    """Azurite's services, `blob` and `queue`, where npm installed them."""

    node: str
    folder: Path

    def log(self, service: str) -> Path:
        return self.folder / service

    @contextmanager
    def serving(self, service: str) -> Iterator[str]:
        """Run a service; yield the URL of its account."""
        program = str(self.folder / f"node_modules/azurite/dist/src/{service}/main.js")
        flags = [f"--{service}Port", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
        command = [self.node, program, *flags]
        with started(command, self.log(service), r"successfully listens on (http://\S+)") as url:
            yield f"{url}/{_ACCOUNT}"


@contextmanager
def started(command: list[str], log: Path, says: str) -> Iterator[str]:
    """Run a server until the end of the tests; yield its URL."""
    process = begun(command, log, cwd=log.parent)
    try:
        yield until(lambda: re.search(says, log.read_text("utf-8", "replace")), process, log)[1]
    finally:
        ended(process, log)
