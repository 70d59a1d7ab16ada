"""A real Glance with the plugin: what `.ci/glance` installs, one for each configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.glance.server import Glance, Web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def home() -> Path:
    """The virtual environment that has Glance."""
    if "VHDCHECK_GLANCE" not in os.environ:
        pytest.skip("Glance is not installed: VHDCHECK_GLANCE=$(.ci/glance)")
    return Path(os.environ["VHDCHECK_GLANCE"])


@pytest.fixture(scope="session")
def site(home: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vhdcheck as pip installs it: its entry point is what Glance finds."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(root)]
    subprocess.run(words, check=True, timeout=300, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def web() -> Iterator[Web]:
    """A server of this machine that images are downloaded from."""
    served: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(served[self.path])))
            self.end_headers()
            self.wfile.write(served[self.path])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}).start()
        yield Web(listener.server_port, served)
        listener.shutdown()


@pytest.fixture(scope="session")
def documented(root: Path) -> dict[str, str]:
    """The configurations that .github/GLANCE.md shows, by name."""
    text = (root / ".github" / "GLANCE.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^<!-- run: (\S+) -->\n```ini\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="session")
def make(
    home: Path, site: Path, web: Web, documented: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Glance]:
    """Make Glances, each in a folder of its own. They run as long as one is in their context."""

    def made(options: str = "", plugins: str = documented["plugin"], **environment: str) -> Glance:
        return Glance(tmp_path_factory.mktemp("glance"), home, site, plugins + options, web, environment)

    return made


@pytest.fixture(scope="session")
def glance(make: Callable[..., Glance]) -> Iterator[Glance]:
    """A Glance with nothing but the plugin configured."""
    with make() as running:
        yield running
