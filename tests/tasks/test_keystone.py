"""Tokens of a real Keystone; and of one that is away, that hangs, or that is something else."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import pytest

from fixtures.writer import MIB, fixed

pytest.importorskip("keystoneauth1", reason="keystoneauth1 is not installed: extra test-tasks")
pytest.importorskip("keystone", reason="keystone is not installed: extra test-tasks")

from tests.tasks.keystone import PASSWORD, Keystone, keystone
from tests.tasks.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CREDENTIALS = {
    "OS_USERNAME": "admin",
    "OS_PASSWORD": PASSWORD,
    "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_NAME": "Default",
    "OS_PROJECT_DOMAIN_NAME": "Default",
}
EXPORT = {"type": "export", "input": {"image_uuid": "x", "receiving_swift_container": "x"}}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    with keystone(tmp_path_factory.mktemp("keystone"), free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def service(identity: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that trusts this Keystone."""
    options = ["--keystone", identity.url.removesuffix("/v3")]
    with Service(tmp_path_factory.mktemp("service"), options, CREDENTIALS, static=False) as running:
        yield running


def start(serve: Callable[..., Service], url: str, **environment: str) -> Service:
    return serve("--keystone", url, static=False, **{**CREDENTIALS, **environment})


def test_project_and_role(identity: Keystone, service: Service) -> None:
    acme, other = identity.project("acme"), identity.project("other")
    for name, project, role in (
        ("boss", acme, "admin"),
        ("hand", acme, "member"),
        ("eye", acme, "reader"),
        ("stranger", other, "admin"),
    ):
        identity.user(name, project, role)
    boss = identity.token("boss", project_id=acme)
    container = service.folder / "data" / "objects" / acme / "in"
    container.mkdir(parents=True)
    fixed(MIB).write(container / "a.vhd")
    task = service.wait(service.create("import", {"import_from": "in/a.vhd"}, boss), boss)
    assert (task["status"], task["owner"]) == ("success", acme)
    assert task["user_id"] == identity.id_of("users", "boss")
    for name in ("hand", "eye"):
        token = identity.token(name, project_id=acme)
        assert service.get(task["self"], token=token).json == task
        assert service.request("POST", "/v2/tasks", EXPORT, token=token).status == 403
    stranger = identity.token("stranger", project_id=other)
    assert service.get(task["self"], token=stranger).status == 404
    assert service.get("/v2/tasks", token=stranger).json["tasks"] == []
    # No project, or no role that means anything here.
    assert service.get("/v2/tasks", token=identity.token("boss")).status == 401
    assert service.get("/v2/tasks", token=identity.token("admin", system_scope="all")).status == 401


@pytest.mark.parametrize("token", ["nonsense", "gAAAAA" + "x" * 180, "x" * 9000, "a b", "\xe9", "..%2f", ""])
def test_no_token_of_keystone(service: Service, token: str) -> None:
    answer = service.get("/v2/tasks", token=token)
    assert answer.status == 401, answer
    assert answer.json["error"]["code"] == 401
    assert re.fullmatch(r'Keystone uri="http://127\.0\.0\.1:\d+/v3"', answer.headers["www-authenticate"])


def test_revoked(identity: Keystone, service: Service) -> None:
    project = identity.project("revoking")
    identity.user("leaver", project, "reader")
    token = identity.token("leaver", project_id=project)
    identity.revoke(token)
    assert service.get("/v2/tasks", token=token).status == 401


def test_an_expired_token_is_not_remembered(identity: Keystone, service: Service) -> None:
    """Answers are kept for a minute, but no longer than the token lasts; an application credential's ends with it."""
    project = identity.project("expiring")
    identity.user("brief", project, "reader")
    own = identity.session("brief", project_id=project)
    lifetime = 4
    while True:
        ends = (datetime.now(UTC) + timedelta(seconds=lifetime)).replace(microsecond=0)
        token = short_lived(identity, own, ends)
        first = service.get("/v2/tasks", token=token)
        if datetime.now(UTC) < ends:  # else the machine is busy: the first answer has to come before the end
            break
        lifetime *= 2
        assert lifetime < 100
    assert first.status == 200
    time.sleep(max((ends - datetime.now(UTC)).total_seconds(), 0) + 0.1)
    assert service.get("/v2/tasks", token=token).status == 401


def short_lived(identity: Keystone, own: Any, ends: datetime) -> str:
    given = {"name": str(ends), "secret": PASSWORD, "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S")}
    url = f"{identity.url}/users/{own.get_user_id()}/application_credentials"
    made = own.post(url, json={"application_credential": given}).json()["application_credential"]
    credential = {"id": made["id"], "secret": PASSWORD}
    asking = {"methods": ["application_credential"], "application_credential": credential}
    answer = own.post(f"{identity.url}/auth/tokens", json={"auth": {"identity": asking}}, authenticated=False)
    return str(answer.headers["X-Subject-Token"])


def test_an_answer_is_remembered_for_many_requests(identity: Keystone, serve: Callable[..., Service]) -> None:
    project = identity.project("busy")
    identity.user("busy", project, "reader")
    token = identity.token("busy", project_id=project)
    with Between(identity.url) as between:
        service = start(serve, between.url)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: service.get("/v2/tasks", token=token).status, range(100)))
        assert answers == [200] * 100
        validations = [path for path in between.seen if path.startswith("/v3/auth/tokens?")]
        assert 1 <= len(validations) <= 8  # those that came before the first answer


def test_an_application_credential_for_the_service(identity: Keystone, serve: Callable[..., Service]) -> None:
    user = identity.admin.get_user_id()
    given = {"application_credential": {"name": "tasks", "secret": PASSWORD}}
    made = identity.ask("POST", f"/users/{user}/application_credentials", given)["application_credential"]
    service = serve(
        "--keystone",
        identity.url,
        static=False,
        OS_AUTH_TYPE="v3applicationcredential",
        OS_APPLICATION_CREDENTIAL_ID=made["id"],
        OS_APPLICATION_CREDENTIAL_SECRET=PASSWORD,
    )
    assert (
        service.get("/v2/tasks", token=identity.token("admin", project_id=identity.id_of("projects", "admin"))).status
        == 200
    )


def test_wrong_credentials_of_the_service(identity: Keystone, serve: Callable[..., Service]) -> None:
    """That is no fault of whoever asks, so it is no 401."""
    service = start(serve, identity.url, OS_PASSWORD="wrong")
    answer = service.get("/v2/tasks", token="any")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "requires authentication" in service.log
    assert "wrong" not in service.log


def test_credentials_that_are_missing(identity: Keystone, serve: Callable[..., Service]) -> None:
    with pytest.raises(AssertionError, match="Keystone has to know this service: set OS_USERNAME"):
        serve("--keystone", identity.url, static=False, **dict.fromkeys(CREDENTIALS, ""))
    with pytest.raises(AssertionError, match="user_domain_name"):
        start(serve, identity.url, OS_USER_DOMAIN_NAME="")


def test_away(serve: Callable[..., Service]) -> None:
    service = start(serve, f"http://127.0.0.1:{free_port()}")
    answer = service.get("/v2/tasks", token="any")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "identity service" in answer.json["error"]["message"]
    assert service.get("/healthz", token=None).status == 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert service.request("POST", "/session", body=b"token=any", headers=form, token=None).status == 503


def test_no_such_file_of_certificates(serve: Callable[..., Service]) -> None:
    service = start(serve, f"https://127.0.0.1:{free_port()}", OS_CACERT="/nowhere")
    assert service.get("/v2/tasks", token="any").status == 503


def test_hanging(serve: Callable[..., Service]) -> None:
    """Requests that wait for Keystone get an answer in time, and hold nobody else up."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        service = start(serve, f"http://127.0.0.1:{listener.getsockname()[1]}")
        with ThreadPoolExecutor(40) as pool:
            waiting = [pool.submit(service.get, "/v2/tasks", token=f"t{index}") for index in range(40)]
            time.sleep(0.5)
            assert service.get("/healthz", token=None).status == 200
            assert service.get("/v2/schemas/task", token=None).status == 200
            assert not any(future.done() for future in waiting)
            assert [future.result().status for future in waiting] == [503] * 40


SOMETHING_ELSE = [
    (200, b"<html>Sign in to the hotel's network</html>"),
    (200, b"[]"),
    (200, b'{"token": {}}'),
    (200, b'{"token": {"expires_at": 5}}'),
    (200, b'{"token": {"expires_at": "2999-01-01T00:00:00"}}'),
    (200, b'{"token": {"expires_at": "2999-01-01T00:00:00Z", "roles": [7], "project": 9}}'),
    (403, b"{}"),
    (429, b"{}"),
    (500, b"{}"),
    (503, b""),
]


def test_something_else(identity: Keystone, serve: Callable[..., Service]) -> None:
    """What is said by something in between is no word on a token."""
    with Between(identity.url) as between:
        service = start(serve, between.url)
        for index, between.answer in enumerate(SOMETHING_ELSE):
            assert service.get("/v2/tasks", token=f"any-{index}").status == 503, between.answer
        between.answer = None
        assert service.get("/v2/tasks", token="any-0").status == 401  # Keystone's own word, now


class Between:
    """A proxy before Keystone: it notes what is asked, and may answer validations itself."""

    def __init__(self, url: str) -> None:
        self.seen: list[str] = []
        self.answer: tuple[int, bytes] | None = None
        between = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                between.seen.append(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers: dict[str, str] = {}
                if between.answer is not None and self.command == "GET":
                    status, content = between.answer
                else:
                    connection = http.client.HTTPConnection(url.split("/")[2])
                    connection.request(self.command, self.path, body, dict(self.headers.items()))
                    response = connection.getresponse()
                    status, headers, content = response.status, dict(response.getheaders()), response.read()
                    connection.close()
                self.send_response(status)
                for name in ("X-Subject-Token", "Content-Type"):
                    if name in headers:
                        self.send_header(name, headers[name])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
