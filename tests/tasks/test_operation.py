"""What an operator does: watch, reload, restart, back up, serve from two machines, behind a proxy, over TLS."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from http.client import HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from fixtures.writer import MIB, fixed
from tests.tasks.service import TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tasks.service import Service

GOOD = fixed(MIB).tobytes()


def lines(service: Service, message: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in service.log.splitlines()]
    return [line for line in every if line["message"] == message]


def until(condition: Callable[[], Any], patience: float = 20) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_each_request_is_one_line_refused_ones_too(serve: Callable[..., Service]) -> None:
    service = serve()
    asked = [
        ("GET", "/v2/tasks?limit=1", "tok", 200),
        ("GET", "/v2/tasks", "wrong", 401),
        ("POST", "/v2/tasks", "reader", 403),
        ("GET", "/nowhere/%1b%5b2J%0a", None, 404),
        ("DELETE", "/v2/tasks", "tok", 405),
        ("GET", "/v2/tasks?limit=1001", "tok", 413),
        ("GET", "/", None, 200),
    ]
    answers = [service.request(method, path, token=token) for method, path, token, _ in asked]
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2]))) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        connection.recv(1000)
    until(lambda: lines(service, "refused"))
    told = lines(service, "answered")
    assert [(line["method"], line["status"]) for line in told] == [(method, status) for method, _, _, status in asked]
    assert [line["path"] for line in told][:1] == ["/v2/tasks?limit=1"]
    assert [line["request"] for line in told] == [answer.headers["x-openstack-request-id"] for answer in answers]
    assert [line["bytes"] for line in told] == [len(answer.text) for answer in answers]
    assert [line.get("tenant") for line in told[:3]] == ["00000123", None, "00000123"]
    assert {line["client"] for line in told} == {"127.0.0.1"}
    (refused,) = lines(service, "refused")
    assert (refused["status"], refused["client"]) == (400, "127.0.0.1")
    assert "tok" not in re.sub(r"/v2/tokens|tokens", "", service.log)
    assert "\x1b" not in service.log


def test_sighup_reloads_tokens_and_keeps_them_if_the_file_is_wrong(serve: Callable[..., Service]) -> None:
    service = serve()
    assert service.process is not None
    file = service.folder / "tokens.toml"
    file.write_text(TOKENS.replace('"tok"', '"new"'))
    assert service.get("/v2/tasks", token="new").status == 401
    service.process.send_signal(signal.SIGHUP)
    until(lambda: lines(service, "tokens reloaded"))
    assert [service.get("/v2/tasks", token=token).status for token in ("new", "tok", "reader")] == [200, 401, 200]
    file.write_text(TOKENS + 'roel = "admin"\n')
    service.process.send_signal(signal.SIGHUP)
    until(lambda: lines(service, "the tokens stay as they were"))
    assert "roel: unknown key" in lines(service, "the tokens stay as they were")[0]["reason"]
    assert service.get("/v2/tasks", token="new").status == 200


def test_sighup_without_a_file_of_tokens_ends_nothing(serve: Callable[..., Service]) -> None:
    service = serve(static=False)
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    until(lambda: lines(service, "no file of tokens to be reloaded"))
    assert service.get("/healthz").status == 200


@pytest.mark.parametrize("host", ["::1", "::", "localhost", "0.0.0.0"])  # noqa: S104 (on purpose)
def test_the_url_that_is_printed_works(serve: Callable[..., Service], host: str) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    service = serve("--host", host)
    assert service.get("/healthz").json["status"] == "ok"


def test_healthz_fails_when_nothing_can_be_written(serve: Callable[..., Service]) -> None:
    service = serve()
    assert service.get("/healthz").status == 200
    path = service.folder / "data/tasks.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TRIGGER full BEFORE UPDATE ON about BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    until(lambda: service.get("/healthz").status != 200)
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER full")
    database.close()
    until(lambda: service.get("/healthz").status == 200)
    service.images.rename(service.folder / "away")
    until(lambda: service.get("/healthz").status == 503)
    assert service.get("/v2/tasks").status == 200, "it still reads"
    (service.folder / "away").rename(service.images)
    until(lambda: service.get("/healthz").status == 200)


def test_healthz_does_not_write_for_everyone_who_asks(serve: Callable[..., Service]) -> None:
    service = serve()
    path = service.folder / "data/tasks.sqlite"

    def written() -> str:
        with sqlite3.connect(path) as database:
            found: str = database.execute("SELECT value FROM about WHERE name = 'written'").fetchone()[0]
        database.close()
        return found

    service.get("/healthz")
    first = written()
    assert int(first) > 0
    for _ in range(20):
        service.get("/healthz")
    assert written() == first


def test_a_graceful_restart_costs_no_try(serve: Callable[..., Service]) -> None:
    """Stop a service in the middle of an import, more often than a task may be tried."""
    service = serve("--grace-seconds", "0.1", "--max-attempts", "2")
    fixed(600 * MIB).write(service.objects / "large")
    (service.objects / "c").mkdir()
    (service.objects / "large").rename(service.objects / "c" / "large")
    task = service.create("import", {"import_from": "c/large"})
    for _ in range(4):
        until(lambda: service.get(f"/v2/tasks/{task}").json["status"] != "pending")
        service.stop()
        service.start()
    done = service.wait(task)
    assert done["status"] == "success", done
    assert len(lines(service, "taken up")) > 1


def test_a_session_is_known_to_every_server_and_after_a_restart(serve: Callable[..., Service], database: str) -> None:
    one, two = (serve("--database", database) for _ in range(2))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = one.request("POST", "/session", body=urlencode({"token": "tok"}).encode(), headers=form, token=None)
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0], "Accept": "text/html"}

    def signed_in(service: Service) -> bool:
        return "Sign out" in service.get("/", token=None, headers=cookie).text

    assert signed_in(one)
    assert signed_in(two)
    one.stop()
    one.start()
    assert signed_in(one)
    if database.startswith("sqlite:///"):
        kept = b"".join(path.read_bytes() for path in Path(database[10:]).parent.glob("tasks.sqlite*"))
        assert cookie["Cookie"].partition("=")[2].encode() not in kept
    two.request("POST", "/session/end", token=None, headers=cookie)
    assert not signed_in(one)
    assert not signed_in(two)


def test_a_server_whose_clock_is_wrong_neither_steals_nor_forgets(serve: Callable[..., Service], postgres: str) -> None:
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: libfaketime)")
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    right = serve("--database", postgres)
    ended = right.imported("a/b")
    right.stop()
    wrong = {"LD_PRELOAD": str(library), "FAKETIME": "+30d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    ahead = serve("--database", postgres, **wrong)
    assert ahead.get(ended["self"]).json == ended, "not expired"
    new = ahead.imported("a/b")
    assert new["created_at"][:7] == ended["created_at"][:7] or new["created_at"] > ended["created_at"]
    assert abs(_seconds(new["expires_at"]) - _seconds(ended["expires_at"])) < 600
    time.sleep(1.5)
    assert ahead.get(ended["self"]).status == 200, "not forgotten"


def _seconds(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))


def readme(root: Path) -> str:
    return (root / "vhdcheck/tasks/README.md").read_text()


def block(text: str, name: str) -> str:
    """The fenced block that follows a mark in the README."""
    match = re.search(rf"<!-- test: {name} -->\n```\w*\n(.*?)```", text, re.DOTALL)
    assert match is not None, name
    return match[1]


def test_a_backup_made_under_way_can_be_restored(serve: Callable[..., Service], root: Path, tmp_path: Path) -> None:
    """Run the README's own commands, while tasks are taken up."""
    service = serve()
    before = [service.imported(service.put(f"c/{number}", GOOD), name=f"{number}") for number in range(5)]
    waiting = [service.create("import", {"import_from": "c/0"}) for _ in range(20)]
    environment = {**os.environ, "DATA": str(service.folder / "data"), "BACKUP": str(tmp_path / "backup")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    backup = subprocess.run(
        ["bash", "-euxc", block(readme(root), "backup")], env=environment, check=False, text=True, capture_output=True
    )
    assert backup.returncode == 0, backup.stderr
    for task in waiting:
        service.wait(task)
    service.stop()
    shutil.rmtree(service.folder / "data")
    restore = subprocess.run(
        ["bash", "-euxc", block(readme(root), "restore")], env=environment, check=False, text=True, capture_output=True
    )
    assert restore.returncode == 0, restore.stderr
    service.put("c/0", GOOD)
    service.start()
    for ended in before:
        assert service.get(ended["self"]).json == ended
        image = service.get(f"/v2/images/{ended['image_id']}").json
        assert (service.images / f"{image['id']}.vhd").read_bytes() == GOOD
    assert {service.wait(task)["status"] for task in waiting} == {"success"}
    for image in service.get("/v2/images").json["images"]:
        assert (service.images / f"{image['id']}.vhd").read_bytes() == GOOD
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("backup/**/*")} == {0}


def test_the_systemd_unit_is_valid_and_hardened(root: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    unit = (root / "vhdcheck/tasks/vhdcheck-tasks.service").read_text()
    command = re.search(r"^ExecStart=(\S+) (.*)$", unit, re.MULTILINE)
    assert command is not None
    here = tmp_path / "vhdcheck-tasks.service"
    here.write_text(unit.replace(command[1], sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", here],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout
    options = command[2].split()
    assert options[:3] == ["-m", "vhdcheck.tasks", "serve"]
    from vhdcheck.tasks.__main__ import parser

    assert parser().parse_args(options[2:]).config == "/etc/vhdcheck/tasks.toml"


def test_the_readmes_settings_are_valid(root: Path, tmp_path: Path) -> None:
    from vhdcheck.tasks import configure
    from vhdcheck.tasks.auth import StaticTokens

    for name in ("settings", "postgresql"):
        (tmp_path / "tasks.toml").write_text(block(readme(root), name))
        configure.settings({}, {}, tmp_path / "tasks.toml")
    (tmp_path / "tokens.toml").write_text(block(readme(root), "tokens"))
    assert StaticTokens.read(tmp_path / "tokens.toml").tenants == {"00000123"}


def certificates(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    subprocess.run(
        [*request, "-subj", "/CN=localhost", "-addext", names, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


def ask(
    connection: HTTPSConnection, method: str, path: str, headers: dict[str, str], body: str | None = None
) -> tuple[dict[str, str], bytes]:
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_behind_nginx_with_tls(serve: Callable[..., Service], root: Path, tmp_path: Path) -> None:
    """Serve the README's own configuration of nginx, before two servers."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    certificate, key = certificates(tmp_path)
    database = f"sqlite:///{tmp_path}/tasks.sqlite"
    services = [serve("--database", database) for _ in range(2)]
    ports = [service.url.rpartition(":")[2] for service in services]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site = block(readme(root), "nginx").replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    site = site.replace("/etc/ssl/images.pem", str(certificate)).replace("/etc/ssl/images.key", str(key))
    site = site.replace("10.0.0.1:9292", f"127.0.0.1:{ports[0]}").replace("10.0.0.2:9292", f"127.0.0.1:{ports[1]}")
    temporary = "".join(
        f"{name}_temp_path {tmp_path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"pid {tmp_path}/pid;\nerror_log {tmp_path}/error;\nevents {{}}\n"
    (tmp_path / "nginx.conf").write_text(f"{main}http {{\naccess_log off;\n{temporary}{site}\n}}\n")
    server = subprocess.Popen([nginx, "-c", tmp_path / "nginx.conf", "-g", "daemon off;", "-e", tmp_path / "error"])
    try:
        until(lambda: listens(port))
        trusted = ssl.create_default_context(cafile=certificate)
        for _ in range(4):
            listed = ask(
                HTTPSConnection("localhost", port, context=trusted), "GET", "/v2/tasks", {"X-Auth-Token": "tok"}
            )
            assert json.loads(listed[1])["tasks"] == []
        lying = {"X-Forwarded-Proto": "http", "X-Forwarded-For": "10.1.2.3"}
        signed_in = ask(HTTPSConnection("localhost", port, context=trusted), "POST", "/session", lying, "token=tok")
        assert "Secure" in signed_in[0]["set-cookie"]
        assert not any("10.1.2.3" in service.log for service in services)
        assert all(lines(service, "answered") for service in services), "both are asked"
    finally:
        server.terminate()
        server.wait()
