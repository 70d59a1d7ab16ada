"""A service that runs as its own process, a client for it, and a PostgreSQL."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.helpers import LOGS, begun, finished, until

if TYPE_CHECKING:
    from collections.abc import Iterator

TENANT = "00000123"
TOKENS = """
[[token]]
token = "tok"
tenant = "00000123"
role = "admin"
user = "somebody"
[[token]]
token = "reader"
tenant = "00000123"
role = "observer"
[[token]]
token = "other"
tenant = "00000999"
role = "admin"
[[token]]
token = "notused"
tenant = "00000123"
role = "admin"
"""
FINAL = ("success", "failure")


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Service:
    """`python -m vhdcheck.tasks serve`, with a folder of its own."""

    folder: Path
    options: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    static: bool = True
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def objects(self) -> Path:
        return self.folder / "data" / "objects" / TENANT

    @property
    def images(self) -> Path:
        return self.folder / "data" / "images"

    @property
    def kept(self) -> list[Path]:
        """All that is in the image store but its mark."""
        return sorted(path for path in self.images.iterdir() if path.name != "vhdcheck-images.id")

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def printed(self) -> str:
        return (self.folder / "out").read_text()

    def start(self) -> Self:
        self.objects.mkdir(parents=True, exist_ok=True)
        options = ["--port", "0", "--data", "data", *self.options]
        if self.static:
            (self.folder / "tokens.toml").write_text(TOKENS)
            options += ["--tokens", "tokens.toml"]
        command = [sys.executable, "-m", "vhdcheck.tasks", "serve", *options]
        log = self.folder / "log"
        with (self.folder / "out").open("wb") as out:
            environment = {**os.environ, **self.environment}
            self.process = begun(command, log, cwd=self.folder, stdout=out, env=environment)
        listening = re.compile(r"^listening: (\S+)$", re.MULTILINE)
        match = until(lambda: listening.search(self.printed), self.process, log)
        self.url = match[1]
        return self

    def kill(self) -> None:
        """As `kill -9` does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As a supervisor does."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(60) in (0, -signal.SIGTERM), self.log

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        LOGS.pop(self.folder / "log", None)

    def request(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        token: str | None = "tok",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        given = {**({"X-Auth-Token": token} if token is not None else {}), **(headers or {})}
        if content is not None:
            body = json.dumps(content).encode()
            given.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        try:
            connection.request(method, path, body, given)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read().decode())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def create(self, kind: str, given: dict[str, Any], token: str = "tok") -> str:
        answer = self.request("POST", "/v2/tasks", {"type": kind, "input": given}, token=token)
        assert answer.status == 201, answer
        task: dict[str, Any] = answer.json
        assert task["status"] == "pending"
        return str(task["id"])

    def wait(self, task_id: str, token: str = "tok", patience: float = 60) -> dict[str, Any]:
        end = time.monotonic() + patience
        while True:
            task: dict[str, Any] = self.get(f"/v2/tasks/{task_id}", token=token).json
            if task["status"] in FINAL:
                return task
            assert time.monotonic() < end, task
            time.sleep(0.02)

    def put(self, name: str, data: bytes) -> str:
        path = self.objects / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return name

    def imported(self, source: str, /, token: str = "tok", **properties: Any) -> dict[str, Any]:
        """Import an object, and return the finished task."""
        task = self.create("import", {"import_from": source, "image_properties": properties or {"name": "x"}}, token)
        return self.wait(task, token)

    def exported(self, image: str, container: object = "exports", token: str = "tok") -> dict[str, Any]:
        task = self.create("export", {"image_uuid": image, "receiving_swift_container": container}, token)
        return self.wait(task, token)


def _as_nobody(*command: str) -> list[str]:
    """Run a command as somebody who is not root: PostgreSQL insists."""
    return (
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command] if os.geteuid() == 0 else [*command]
    )


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Start Debian's PostgreSQL in a folder, on a socket in it; yield its URL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("postgresql is not installed (Debian: postgresql)")
    binaries, data = found[-1].parent, folder / "data"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, 65534, 65534)
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "tasks", "-A", "trust", "-E", "UTF8", "--no-sync"]
    finished(_as_nobody(*initdb), cwd=folder)
    serve = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses="]
    log = folder / "log"
    server = begun(_as_nobody(*serve), log, cwd=folder)
    ready = [str(binaries / "pg_isready"), "-h", str(folder), "-U", "tasks", "-d", "postgres"]
    try:
        until(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0 or None, server, log)
        yield f"postgresql://tasks@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # its "fast shutdown"
        server.wait(60)
        LOGS.pop(log, None)
