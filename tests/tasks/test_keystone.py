"""Tokens of a real Keystone, which runs here on SQLite."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tasks.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("keystone", reason="keystone is not installed")
pytest.importorskip("keystoneauth1", reason="keystoneauth1 is not installed")

CONFIGURATION = """
[database]
connection = sqlite:///{folder}/keystone.sqlite
[token]
provider = fernet
[fernet_tokens]
key_repository = {folder}/fernet
[fernet_receipts]
key_repository = {folder}/receipts
[credential]
key_repository = {folder}/credential
"""
SERVE = """
import sys
from wsgiref.simple_server import make_server
from keystone.server.wsgi import initialize_public_application
sys.argv = ["keystone"]
server = make_server("127.0.0.1", 0, initialize_public_application())
print(f"listening: {server.server_port}", flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Keystone whose administrator's password is `secret`."""
    folder = tmp_path_factory.mktemp("keystone")
    (folder / "keystone.conf").write_text(CONFIGURATION.format(folder=folder))
    environment = {**os.environ, "OS_KEYSTONE_CONFIG_DIR": str(folder)}
    (folder / "serve.py").write_text(SERVE)
    for name in ("fernet", "receipts", "credential"):
        (folder / name).mkdir(mode=0o700)

    def manage(*words: str) -> None:
        command: list[str | Path] = [
            Path(sys.executable).parent / "keystone-manage",
            "--config-file",
            str(folder / "keystone.conf"),
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr

    manage("db_sync")
    for what in ("fernet_setup", "receipt_setup", "credential_setup"):
        manage(what, "--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
    manage("bootstrap", "--bootstrap-password", "secret", "--bootstrap-region-id", "here")
    with (folder / "log").open("wb") as log, (folder / "out").open("wb") as out:
        server = subprocess.Popen([sys.executable, "serve.py"], cwd=folder, env=environment, stdout=out, stderr=log)
    try:
        end = time.monotonic() + 60
        while (match := re.search(r"listening: (\d+)", (folder / "out").read_text())) is None:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield f"http://127.0.0.1:{match[1]}/v3"
    finally:
        server.terminate()
        server.wait()


def call(url: str, content: object, token: str = "", method: str = "POST") -> tuple[Any, str]:
    headers = {"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {})}
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 (our own)
    with urllib.request.urlopen(request) as response:  # noqa: S310
        text = response.read()
        return json.loads(text) if text else None, response.headers.get("X-Subject-Token", "")


def log_in(keystone: str, name: str, password: str, project: str | None) -> tuple[str, Any]:
    domain = {"id": "default"}
    user = {"name": name, "domain": domain, "password": password}
    content: dict[str, Any] = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    content["auth"]["scope"] = "unscoped" if project is None else {"project": {"name": project, "domain": domain}}
    answer, token = call(f"{keystone}/auth/tokens", content)
    return token, answer["token"]


@pytest.fixture(scope="module")
def guarded(keystone: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks this Keystone."""
    credentials = {"OS_USERNAME": "admin", "OS_PASSWORD": "secret", "OS_PROJECT_NAME": "admin"}
    ids = {"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default"}
    folder = tmp_path_factory.mktemp("guarded")
    with Service(folder, ["--keystone", keystone], {**credentials, **ids}, static=False) as service:
        yield service


def test_roles_and_projects_are_keystones(keystone: str, guarded: Service) -> None:
    admin, told = log_in(keystone, "admin", "secret", "admin")
    for name in ("reader", "nobody"):
        user = {"name": name, "password": "pass", "domain_id": "default"}
        made, _ = call(f"{keystone}/users", {"user": user}, admin)
        if name == "reader":
            roles, _ = call(f"{keystone}/roles?name=reader", None, admin, "GET")
            grant = f"projects/{told['project']['id']}/users/{made['user']['id']}/roles/{roles['roles'][0]['id']}"
            call(f"{keystone}/{grant}", None, admin, "PUT")
    task = guarded.imported("exports/none", token=admin)
    assert task["owner"] == told["project"]["id"]

    reader, _ = log_in(keystone, "reader", "pass", "admin")
    assert guarded.get(task["self"], token=reader).json == task
    assert guarded.request("POST", "/v2/tasks", {"type": "import", "input": {}}, token=reader).status == 403
    unscoped, _ = log_in(keystone, "nobody", "pass", None)
    for token in (unscoped, "guess", "line\tbreak", "\xe9"):
        assert guarded.get("/v2/tasks", token=token).status == 401


def test_a_keystone_that_does_not_answer_is_503(guarded: Service, tmp_path: Path) -> None:
    environment = {**guarded.environment}
    with Service(tmp_path, ["--keystone", "http://127.0.0.1:1/v3"], environment, static=False) as service:
        answer = service.get("/v2/tasks", token="any")
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert service.get("/", token=None).status == 200
