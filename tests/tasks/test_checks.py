"""`/v2/checks`: an image is judged by the bytes that the plan asks for, and the service keeps nothing in between."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed
from tests.helpers import finished
from vhdcheck import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tasks.service import Answer, Service

ROOT = Path(__file__).parents[2]
README = (ROOT / "vhdcheck" / "tasks" / "README.md").read_text(encoding="utf-8")
IMAGES = sorted((ROOT / "fixtures").glob("**/*.vhd"))
LONGEST_PLAN = 8
"""Requests, with the first empty one, that any image of the fixtures takes."""


def ask(service: Service, size: object, body: bytes = b"", more: str = "", **options: Any) -> Answer:
    return service.request("POST", f"/v2/checks?size={size}{more}", body=body, **options)


def driven(service: Service, path: Path) -> tuple[dict[str, Any], int, int]:
    """Check a file: the report, the bytes of the file that were sent, and the requests."""
    body, requests = b"", 0
    with path.open("rb") as file:
        while True:
            answer = ask(service, path.stat().st_size, body)
            requests += 1
            assert answer.status == 200, answer
            if "report" in answer.json:
                return answer.json["report"], len(body), requests
            for span in answer.json["wanted"]:
                file.seek(span["offset"])
                body += file.read(span["length"])


def test_the_report_is_that_of_the_command(service: Service) -> None:
    """For every fixture: nothing but the name and the moment differs, and no more is sent than a file is read."""
    assert len(IMAGES) > 250
    most = 0
    for path in IMAGES:
        report, sent, requests = driven(service, path)
        expected = json.loads(json.dumps(check(path, name="image.vhd").to_dict()))
        assert report["findings"] == expected["findings"], path
        assert (report["verdict"], report["message"]) == (expected["verdict"], expected["message"]), path
        assert sent == expected["bytes_read"], path
        assert requests == expected["rounds"] + 1, path
        most = max(most, requests)
    assert most <= LONGEST_PLAN


def test_what_is_sent_of_large_disks(service: Service, tmp_path: Path) -> None:
    """A fixed disk of 40 GiB needs its ends, a dynamic one of 2040 GiB its table too."""
    fixed(40 * GIB).write(tmp_path / "fixed.vhd")
    report, sent, requests = driven(service, tmp_path / "fixed.vhd")
    assert (report["code"], sent, requests) == (609, 8192, 2)
    dynamic(2040 * GIB, blocks=range(3)).write(tmp_path / "dynamic.vhd")
    report, sent, requests = driven(service, tmp_path / "dynamic.vhd")
    assert (report["code"], requests) == (413, 3)
    assert sent - 4 * 1_044_480 in range(8192)


def test_more_or_less_than_was_asked_for_is_refused(service: Service) -> None:
    image = fixed(4 * MIB).tobytes()
    ends = image[:4096] + image[-4096:]
    assert ask(service, len(image), ends).json["report"]["verdict"] == "accepted"
    short = ask(service, len(image), ends[:-1])
    assert (short.status, "ends 1 bytes before" in short.text) == (400, True)
    long = ask(service, len(image), ends + b"guest data")
    assert (long.status, "10 bytes that nobody asked for" in long.text) == (400, True)
    whole = ask(service, len(image), image)
    assert whole.status == 400
    assert ask(service, 0, b"x").status == 400
    assert ask(service, 4 << 40, bytes(12 << 20)).status == 413


def test_what_is_asked_wrongly(service: Service) -> None:
    for size in ("", "x", "-1", "1.5", "%D9%A1", "9" * 19, "1" * 5000, "1&size=1", "1&deep=1", "1&format=html"):
        answer = ask(service, size)
        assert (answer.status, answer.json["error"]["code"]) == (400, 400), size
    assert service.request("POST", "/v2/checks", body=b"").status == 400
    assert service.get("/v2/checks").status == 405


def test_it_needs_any_token_unless_it_is_open(service: Service, serve: Callable[..., Service]) -> None:
    assert ask(service, 0, token=None).status == 401
    assert ask(service, 0, token="wrong").status == 401
    assert ask(service, 0, token="reader").status == 200
    for opened in (serve("--open-checks"), serve(VHDCHECK_TASKS_OPEN_CHECKS="true")):
        assert ask(opened, 0, token=None).status == 200
        assert opened.get("/v2/tasks", token=None).status == 401, "nothing else is open"


def test_the_settings_are_what_is_judged_by(serve: Callable[..., Service], tmp_path: Path) -> None:
    (tmp_path / "tasks.toml").write_text('open-checks = true\nmax-virtual-size = "3MiB"\n')
    opened = serve("--config", str(tmp_path / "tasks.toml"))
    image = fixed(4 * MIB).tobytes()
    report = ask(opened, len(image), image[:4096] + image[-4096:], token=None).json["report"]
    assert report["message"].startswith("413: ")


def test_many_at_once_are_all_answered(service: Service, tmp_path: Path) -> None:
    """Or told to come again; and the service stays small."""
    dynamic(2040 * GIB, blocks=range(3)).write(tmp_path / "dynamic.vhd")
    with (tmp_path / "dynamic.vhd").open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        body = b""
        while "wanted" in (answer := ask(service, size, body).json):
            for span in answer["wanted"]:
                file.seek(span["offset"])
                body += file.read(span["length"])
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: ask(service, size, body), range(40)))
    assert {answer.status for answer in answers} <= {200, 503}
    assert all(answer.headers["retry-after"] == "5" for answer in answers if answer.status == 503)
    assert all(answer.json["report"]["code"] == 413 for answer in answers if answer.status == 200)
    assert sum(answer.status == 200 for answer in answers) >= 5, "so many have room at a time"
    assert ask(service, size, body).status == 200, "what was held is free again"
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    match = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert match is not None
    assert int(match[1]) < 256 << 10


def test_bodies_that_do_not_end_hold_no_more_than_their_room(serve: Callable[..., Service]) -> None:
    """While they have it, others are told to come again; what is left of them when they go is nothing."""
    held = serve("--open-checks")
    host, port = held.url.removeprefix("http://").split(":")
    head = b"POST /v2/checks?size=99999999 HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
    image = fixed(4 * MIB).tobytes()
    ends = image[:4096] + image[-4096:]
    with ExitStack() as connections:
        for _ in range(3):
            slow = connections.enter_context(socket.create_connection((host, int(port)), 30))
            slow.sendall(head + bytes(7 * MIB))
        time.sleep(2)  # until the service has taken what was sent: a body that asks meanwhile would take their room
        refused = ask(held, len(image), ends + bytes(MIB), token=None)
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert ask(held, len(image), ends, token=None).status == 200, "a small one has room"
        assert held.get("/v2/tasks").status == 200, "nobody else is held up"
    end = time.monotonic() + 30
    while ask(held, len(image), ends + bytes(MIB), token=None).status == 503:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_table_that_is_too_long_is_not_sent(service: Service, tmp_path: Path) -> None:
    """The table's second 8 MiB would be too much, so they are not asked for."""
    dynamic(2040 * GIB, block_size=256 << 10, blocks=range(3)).write(tmp_path / "small-blocks.vhd")
    with (tmp_path / "small-blocks.vhd").open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        body = file.read(4096)
        file.seek(size - 4096)
        body += file.read(4096)
        table = ask(service, size, body)
        assert table.status == 200
        for span in table.json["wanted"]:
            file.seek(span["offset"])
            body += file.read(span["length"])
    refused = ask(service, size, body)
    assert (refused.status, "use python -m vhdcheck" in refused.text) == (413, True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One that is accepted, one that takes three requests, one that is refused."""
    folder = tmp_path_factory.mktemp("images")
    made = {"good": fixed(4 * MIB), "dynamic": dynamic(30 * GIB, blocks=range(3)), "large": dynamic(41 * GIB)}
    for name, image in made.items():
        image.write(folder / f"{name}.vhd")
    return {name: folder / f"{name}.vhd" for name in made}


def example(name: str) -> str:
    match = re.search(rf"<!-- test: {name} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert match is not None, name
    return match[1]


def test_the_documented_client_in_python(service: Service, images: dict[str, Path], tmp_path: Path) -> None:
    program = example("check-python")
    assert len(program.splitlines()) <= 20
    (tmp_path / "check.py").write_text(program)
    for name, said in (("good", "accepted"), ("dynamic", "accepted"), ("large", "refused 413: ")):
        command = [sys.executable, "-I", str(tmp_path / "check.py"), service.url, str(images[name])]
        printed = finished(command, env={**os.environ, "TOKEN": "tok"})
        assert printed.startswith(said)
        assert ("VHD701" in printed) is (name == "large")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_documented_client_in_the_shell(service: Service, images: dict[str, Path]) -> None:
    program = example("check-shell")
    for name, said in (("good", "accepted"), ("dynamic", "accepted"), ("large", "413: The image cannot")):
        given = {"url": service.url, "token": "tok", "file": str(images[name])}
        printed = finished(["sh", "-euc", program], env={**os.environ, **given})
        assert said in printed
        assert "image.vhd" in printed
