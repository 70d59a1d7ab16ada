"""What a client without a token can hold: little memory, a few seconds, and no connection that another one needs."""

from __future__ import annotations

import http.client
import json
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tasks.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = b"GET /v2/tasks HTTP/1.1\r\nHost: x\r\n"
SECONDS = 1.5


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that is short of patience and of connections."""
    options = ["--request-seconds", str(SECONDS), "--max-connections", "40"]
    with Service(tmp_path_factory.mktemp("service"), options) as running:
        yield running


def connect(service: Service) -> socket.socket:
    host, _, port = service.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def rest(connection: socket.socket) -> bytes:
    """All that comes until the end."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def send(connection: socket.socket, data: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)


def memory(service: Service) -> int:
    """Resident bytes of the service."""
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def refused(answer: bytes, status: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"connection: close" in head
    error = json.loads(body)["error"]
    assert error["code"] == status
    assert error["message"].startswith(f"{status} ")


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(HEAD + b"X-A: ", id="a field"),
        pytest.param(HEAD + b"X" * 60_000, id="a name"),
        pytest.param(b"GET /", id="a target"),
        pytest.param(HEAD + b"X-A: b\r\n" * 5000, id="fields"),
        pytest.param(
            b"POST /session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", id="a trailer"
        ),
        pytest.param(b"POST /session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", id="of a chunk"),
    ],
)
def test_300_mb_of_a_head_cost_no_memory(service: Service, endless: bytes) -> None:
    before = memory(service)
    piece = b"x" * (1 << 20)
    with connect(service) as connection:
        send(connection, endless)
        for _ in range(300):
            try:
                connection.sendall(piece)
            except OSError:
                break
        else:
            pytest.fail("it took all of it")
    assert memory(service) < before + (16 << 20)
    assert service.get("/v2/tasks").status == 200


def test_431_for_a_head_that_is_too_long(service: Service) -> None:
    with connect(service) as connection:
        send(connection, HEAD + b"X-A: " + b"x" * (64 << 10) + b"\r\n\r\n")
        refused(rest(connection), 431)
    assert service.get("/v2/tasks", headers={"X-A": "x" * 20_000}).status == 200


def test_400_for_what_is_no_http(service: Service) -> None:
    with connect(service) as connection:
        send(connection, b"\x16\x03\x01 nonsense\r\n\r\n")
        refused(rest(connection), 400)


@pytest.mark.parametrize(
    "part", [b"", b"GET", HEAD, b"POST /session HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"]
)
def test_408_for_a_request_that_does_not_come(service: Service, part: bytes) -> None:
    with connect(service) as connection:
        send(connection, part)
        start = time.monotonic()
        refused(rest(connection), 408)
        assert SECONDS - 0.1 < time.monotonic() - start < SECONDS + 3


@pytest.mark.parametrize(
    "begin", [HEAD + b"X-A: ", b"POST /v2/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"]
)
def test_a_trickle_buys_no_time(service: Service, begin: bytes) -> None:
    with connect(service) as connection:
        send(connection, begin)
        start = time.monotonic()
        connection.settimeout(0.2)
        while time.monotonic() < start + 20:
            send(connection, b"x")
            try:
                if not connection.recv(65536):
                    break
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
        assert time.monotonic() - start < SECONDS + 3


def test_a_slow_line_is_served(service: Service) -> None:
    body = json.dumps({"type": "import", "input": {"import_from": "a/b", "pad": "x" * 30_000}}).encode()
    head = f"POST /v2/tasks HTTP/1.1\r\nHost: x\r\nX-Auth-Token: tok\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(service) as connection:
        send(connection, head.encode())
        start = time.monotonic()
        for place in range(0, len(body), 2000):
            send(connection, body[place : place + 2000])
            time.sleep(0.2)
        assert time.monotonic() - start > SECONDS + 1
        connection.settimeout(30)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_a_connection_may_be_used_again_and_again(service: Service) -> None:
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
    for _ in range(4):
        connection.request("GET", "/v2/tasks", headers={"X-Auth-Token": "tok"})
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        time.sleep(SECONDS / 3)
    connection.close()


def test_requests_that_are_sent_at_once_are_answered_in_turn(service: Service) -> None:
    with connect(service) as connection:
        send(
            connection,
            (HEAD + b"X-Auth-Token: tok\r\n\r\n") * 5 + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        assert rest(connection).count(b"HTTP/1.1 200 ") == 6


def test_an_answer_that_nobody_takes_does_not_wait_for_ever(service: Service) -> None:
    with connect(service) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        send(connection, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 3000)
        time.sleep(0.2)
        assert established(service, connection), "it is still being answered"
        time.sleep(SECONDS + 8)
        assert not established(service, connection)


def established(service: Service, connection: socket.socket) -> bool:
    """Whether the service still has its end of a connection."""
    port = f":{connection.getsockname()[1]:04X}"
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(line[2].endswith(port) and line[3] == "01" for line in table)


def test_800_half_requests_keep_nobody_out(service: Service) -> None:
    with ExitStack() as stack:
        for number in range(800):
            connection = stack.enter_context(connect(service))
            send(connection, HEAD if number % 2 else b"")
            if number % 100 == 0:
                assert service.get("/v2/tasks").status == 200
        assert service.get("/v2/tasks").status == 200
        lines: list[dict[str, Any]] = [json.loads(line) for line in service.log.splitlines()]
        assert sum(line.get("status") == 503 for line in lines) > 700
    assert service.get("/v2/tasks").status == 200


def test_503_when_every_connection_is_served(serve: Callable[..., Service]) -> None:
    service = serve("--max-connections", "2", "--request-seconds", "20")
    begun = b"POST /v2/tasks HTTP/1.1\r\nHost: x\r\nX-Auth-Token: tok\r\nContent-Length: 100\r\n\r\n"
    with connect(service) as first, connect(service) as second:
        for connection in (first, second):
            send(connection, begun)
        time.sleep(0.5)
        with connect(service) as third:
            refused(rest(third), 503)
    assert service.get("/v2/tasks").status == 200
