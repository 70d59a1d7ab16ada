"""A Glance of its own: SQLite, stores that are folders, no Keystone. Whoever asks says in headers who he is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION = """
[DEFAULT]
log_file = {folder}/glance.log
enabled_backends = files:file
enabled_import_methods = [glance-direct,web-download]
worker_self_reference_url = http://127.0.0.1
[database]
connection = sqlite:///{folder}/glance.sqlite?timeout=60
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[paste_deploy]
config_file = {folder}/paste.ini
[task]
task_executor = taskflow
[import_filtering_opts]
# Loopback is refused, whatever the ports, unless the host is named.
allowed_hosts = [127.0.0.1]
allowed_ports = [{web_port}]
"""
PASTE = """
[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api
[pipeline:api]
pipeline = cors http_proxy_to_wsgi versionnegotiation context rootapp
[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: versions
/v2: v2
[app:versions]
paste.app_factory = glance.api.versions:create_resource
[app:v2]
paste.app_factory = glance.api.v2.router:API.factory
[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
[filter:cors]
paste.filter_factory = oslo_middleware.cors:filter_factory
oslo_config_project = glance
[filter:http_proxy_to_wsgi]
paste.filter_factory = oslo_middleware:HTTPProxyToWSGI.factory
"""
HEADERS = {
    "X-Identity-Status": "Confirmed",
    "X-User-Id": "me",
    "X-Tenant-Id": "ours",
    "X-Project-Id": "ours",
    "X-Roles": "admin,member,reader",
}
# oslo.db begins each transaction of SQLite as a reader. One that then writes while another does fails at once, whatever
# the timeout, so imports would fail at random. Begun as a writer it waits.
SERVE = """
import waitress
from sqlalchemy import Engine, event
@event.listens_for(Engine, "before_cursor_execute", retval=True)
def begin_as_writer(connection, cursor, statement, parameters, context, executemany):
    return "BEGIN IMMEDIATE" if statement == "BEGIN" else statement, parameters
from glance.wsgi.api import application
server = waitress.create_server(application, listen="127.0.0.1:0", threads=30)
print("listening:", server.effective_port, flush=True)
server.run()
"""
MADE = {"name": "an image", "disk_format": "vhd", "container_format": "bare"}
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Web:
    """A server that images are downloaded from."""

    port: int
    served: dict[str, bytes] = field(default_factory=dict)
    """By path."""


@dataclass
class Glance:
    """A Glance that runs as its own process."""

    folder: Path
    home: Path
    """The virtual environment that has it."""
    site: Path
    """The folder that vhdcheck is installed in."""
    options: str = ""
    """More of its configuration."""
    web: Web = field(default_factory=lambda: Web(1))
    environment: dict[str, str] = field(default_factory=dict)
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return "".join(path.read_text("utf-8", "replace") for path in (self.folder / "out", self.folder / "glance.log"))

    @property
    def staged(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "staging").iterdir())

    def start(self) -> Self:
        fresh = not (self.folder / "paste.ini").exists()
        for name in ("images", "staging", "tasks"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "paste.ini").write_text(PASTE)
        base = CONFIGURATION.format(folder=self.folder, web_port=self.web.port)
        (self.folder / "glance-api.conf").write_text(base + self.options)
        inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        told = {"OS_GLANCE_CONFIG_DIR": str(self.folder), "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"}
        env = {**inherited, **told, **self.environment}
        if fresh:
            manage = [f"{self.home}/bin/glance-manage", "--config-file", f"{self.folder}/glance-api.conf", "db_sync"]
            subprocess.run(manage, env=env, check=True, capture_output=True, timeout=300)
        with (self.folder / "out").open("wb") as out:
            words = [f"{self.home}/bin/python", "-c", SERVE]
            self.process = subprocess.Popen(words, cwd=self.folder, env=env, stdout=out, stderr=out)
        end = time.monotonic() + 180
        while (match := re.search(r"^listening: (\d+)$", (self.folder / "out").read_text(), re.MULTILINE)) is None:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, f"does not start: {self.log}"
            time.sleep(0.1)
        self.url = f"http://127.0.0.1:{match[1]}"
        return self

    def kill(self) -> None:
        """As `kill -9` does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ask(self, method: str, path: str, content: Any = None, *, status: int = 200) -> Any:
        """Ask, see that the answer has that status, and return its JSON or its text. Bytes are sent as they are."""
        is_data = isinstance(content, bytes)
        data = content if is_data or content is None else json.dumps(content).encode()
        kind = "application/octet-stream" if is_data else "application/json"
        request = urllib.request.Request(self.url + path, data, {**HEADERS, "Content-Type": kind}, method=method)  # noqa: S310 (loopback)
        try:
            with NO_PROXY.open(request, timeout=120) as answer:
                got, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            got, text = error.code, error.read()
        assert got == status, (method, path, got, text, self.log[-3000:])
        return json.loads(text) if text.startswith(b"{") else text

    def staged_image(self, data: bytes, disk_format: str = "vhd", **properties: str) -> str:
        """Make an image, and put its data into the staging area; return its ID."""
        asked = {**MADE, "disk_format": disk_format, **properties}
        image: str = self.ask("POST", "/v2/images", asked, status=201)["id"]
        self.stage(image, data)
        return image

    def stage(self, image: str, data: bytes) -> None:
        self.ask("PUT", f"/v2/images/{image}/stage", data, status=204)

    def begin(self, image: str, method: dict[str, str] | None = None, *, status: int = 202, **options: Any) -> None:
        """Ask for an import of what was staged, or by another method."""
        asked = {"method": method or {"name": "glance-direct"}, **options}
        self.ask("POST", f"/v2/images/{image}/import", asked, status=status)

    def end(self, image: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Wait for the end of an image's last import; return its task, and the image."""
        limit = time.monotonic() + 120
        while (task := self.task(image))["status"] not in ("success", "failure"):
            assert time.monotonic() < limit, self.log[-3000:]
            time.sleep(0.05)
        return task, self.image(image)

    def task(self, image: str) -> dict[str, Any]:
        """Return the last import of an image."""
        tasks = self.ask("GET", f"/v2/images/{image}/tasks")["tasks"]
        return max(tasks, key=lambda task: str(task["created_at"]))

    def image(self, image: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("GET", f"/v2/images/{image}")
        return answer

    def data(self, image: str) -> bytes:
        """Return what was stored."""
        return (self.folder / "images" / image).read_bytes()

    def downloaded(self, data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Import an image that Glance downloads, to the end."""
        image: str = self.ask("POST", "/v2/images", MADE, status=201)["id"]
        self.web.served[f"/{image}"] = data
        self.begin(image, {"name": "web-download", "uri": f"http://127.0.0.1:{self.web.port}/{image}"})
        return self.end(image)

    def imported(
        self, data: bytes, disk_format: str = "vhd", **properties: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Import an image to the end."""
        image = self.staged_image(data, disk_format, **properties)
        self.begin(image)
        return self.end(image)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
