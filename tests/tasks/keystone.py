"""A Keystone of its own: set up by its own commands in a folder, served by the server that comes with its framework."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Keystone brings WebOb, which imports `cgi`
    from keystoneauth1 import exceptions, session
    from keystoneauth1.identity import v3

from tests.helpers import begun, ended, finished, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "a-password"
CONFIGURATION = """
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{folder}/keystone.sqlite
[identity]
password_hash_rounds = 4
[fernet_tokens]
key_repository = {folder}/fernet
[fernet_receipts]
key_repository = {folder}/receipts
[credential]
key_repository = {folder}/credential
"""
SERVE = """
import sys
from werkzeug.serving import make_server
from keystone.server.flask.core import initialize_application
port = int(sys.argv.pop())
application = initialize_application("public", config_files=[sys.argv.pop()])
make_server("127.0.0.1", port, application, threaded=True).serve_forever()
"""


@dataclass
class Keystone:
    """A running Keystone, and its administrator."""

    url: str
    admin: Any

    @property
    def environment(self) -> dict[str, str]:
        """What the service is told of itself."""
        names = {"USERNAME": "admin", "PASSWORD": PASSWORD, "PROJECT_NAME": "admin"}
        domains = dict.fromkeys(("USER_DOMAIN_NAME", "PROJECT_DOMAIN_NAME"), "Default")
        return {f"OS_{name}": value for name, value in {**names, **domains}.items()}

    def ask(self, method: str, path: str, content: object = None) -> dict[str, Any]:
        """Ask as the administrator."""
        answer = self.admin.request(self.url + path, method, json=content)
        parsed: dict[str, Any] = answer.json() if answer.content else {}
        return parsed

    def id_of(self, kind: str, name: str) -> str:
        return str(self.ask("GET", f"/{kind}?name={name}")[kind][0]["id"])

    def project(self, name: str) -> str:
        return str(self.ask("POST", "/projects", {"project": {"name": name, "domain_id": "default"}})["project"]["id"])

    def user(self, name: str, project: str, *roles: str) -> None:
        """Make a user with roles in a project."""
        given = {"name": name, "password": PASSWORD, "domain_id": "default"}
        user = self.ask("POST", "/users", {"user": given})["user"]["id"]
        for role in roles:
            self.ask("PUT", f"/projects/{project}/users/{user}/roles/{self.id_of('roles', role)}")

    def session(self, name: str, **scope: Any) -> Any:
        plugin = v3.Password(self.url, username=name, password=PASSWORD, user_domain_id="default", **scope)
        return session.Session(auth=plugin)

    def token(self, name: str, **scope: Any) -> str:
        """Have a token issued to a user."""
        return str(self.session(name, **scope).get_token())

    def revoke(self, token: str) -> None:
        self.admin.delete(f"{self.url}/auth/tokens", headers={"X-Subject-Token": token})


@contextmanager
def keystone(folder: Path, port: int) -> Iterator[Keystone]:
    """Set a Keystone up and serve it."""
    configuration = folder / "keystone.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    for name in ("fernet", "receipts", "credential"):
        (folder / name).mkdir(mode=0o700)
        for index in ("0", "1"):
            (folder / name / index).write_bytes(Fernet.generate_key())
    manage = [shutil.which("keystone-manage", path=str(Path(sys.executable).parent)) or "keystone-manage"]
    manage += ["--config-file", str(configuration)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    for command in (["db_sync"], ["bootstrap", "--bootstrap-password", PASSWORD]):
        finished([*manage, *command], timeout=120, env=environment)
    log = folder / "log"
    server = begun([sys.executable, "-c", SERVE, configuration, str(port)], log, env=environment)
    try:
        url = f"http://127.0.0.1:{port}/v3"
        until(lambda: _answers(url) or None, server, log, patience=120)
        scope: dict[str, Any] = {"project_name": "admin", "project_domain_id": "default"}
        plugin = v3.Password(url, username="admin", password=PASSWORD, user_domain_id="default", **scope)
        yield Keystone(url, session.Session(auth=plugin))
    finally:
        ended(server, log)


def _answers(url: str) -> bool:
    try:
        session.Session().get(url)
    except exceptions.ConnectFailure:
        return False
    return True
