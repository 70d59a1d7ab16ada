"""The page on which files are checked before their upload, in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import GIB, KIB, MIB, dynamic, fixed
from tests.tasks.browser import Browser
from tests.tasks.test_page import FLAGS, page, sign_in
from vhdcheck.units import exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.tasks.service import Service

TABLE = 4 * 1_044_480
"""Bytes of the table of a dynamic disk of 2040 GiB."""
WATCHED = "window.bodies = []; const real = fetch; window.fetch = (url, given) => {"
"""Note what is sent, in the page."""
SHOWN = """JSON.stringify([...document.querySelectorAll('#checks > li')].map(item => ({
    name: item.querySelector('h2').textContent,
    verdict: item.querySelectorAll('p')[0].textContent,
    cost: item.querySelectorAll('p')[1].textContent.replaceAll('\\u202f', ''),
    frame: item.querySelector('iframe')?.title ?? null,
    report: item.querySelector('iframe')?.contentDocument.body.innerText ?? null,
    maps: item.querySelector('iframe')?.contentDocument.querySelectorAll('svg.map').length,
    scripts: item.querySelector('iframe')?.contentDocument.scripts.length,
    open: item.querySelector('details')?.open ?? null,
})))"""


@pytest.fixture(scope="module")
def opened(service: Service) -> Service:
    """The page needs a session; `test_who_may_use_it` has the other way."""
    return service


@pytest.fixture
def browser(opened: Service, tmp_path: Path) -> Iterator[Browser]:
    """A browser on the page, with what it sends written down."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    with Browser([*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"], tmp_path) as started:
        started.look_like(1280, "light")
        started.open(opened.url)
        started.run("document.getElementById('token').value = 'tok'; document.querySelector('button').click()")
        started.until("document.querySelector('nav a[href=\"/check\"]') !== null")
        started.open(f"{opened.url}/check")
        started.run(f"{WATCHED} bodies.push(given.body.size); return real(url, given); }}; 0")
        yield started
        assert started.complaints == []


def choose(browser: Browser, *paths: Path) -> None:
    browser.choose("#files", [str(path) for path in paths])


def results(browser: Browser, number: int) -> list[dict[str, Any]]:
    browser.until(f"document.querySelectorAll('#checks > li[aria-busy=false]').length === {number}")
    loaded = "[...document.querySelectorAll('iframe')].every(each => each.contentDocument?.querySelector('main'))"
    browser.until(loaded)
    shown: list[dict[str, Any]] = json.loads(browser.run(SHOWN))
    return shown


def test_who_may_use_it(service: Service, serve: Callable[..., Service]) -> None:
    assert page(service, "/check").status == 303
    refused = service.request("POST", "/check?size=0", body=b"", token="tok")
    assert refused.status == 401, "the page takes a session, not a token"
    session = {"Cookie": sign_in(service, "reader").headers["set-cookie"].partition(";")[0]}
    shown = page(service, "/check", session["Cookie"])
    assert shown.status == 200
    assert "/check" not in page(service).text
    assert service.request("POST", "/check?size=0", body=b"", headers=session, token=None).status == 200
    elsewhere = {**session, "Sec-Fetch-Site": "cross-site"}
    assert service.request("POST", "/check?size=0", body=b"", headers=elsewhere, token=None).status == 403
    assert service.request("POST", "/v2/checks?size=0", body=b"", headers=session, token=None).status == 401
    policy = shown.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert re.search(r"script-src 'sha256-[^']+';", policy)
    anyone = serve("--open-checks")
    assert page(anyone, "/check").status == 200
    assert 'href="/check"' in page(anyone).text
    assert anyone.request("POST", "/check?size=0", body=b"", token=None).status == 200


def test_large_files_cost_little(browser: Browser, opened: Service, tmp_path: Path) -> None:
    """40 GiB of holes, 2040 GiB of disk, and a broken one, all at once: a second, and the bytes of the plan."""
    largest, dynamic_disk, broken = (tmp_path / name for name in ("40 GiB.vhd", "2040 GiB.vhd", "<b>broken.vhd"))
    fixed(40 * GIB - 8 * MIB).write(largest)
    dynamic(2040 * GIB, blocks=range(3), slack=64 * KIB).write(dynamic_disk)
    data = bytearray(dynamic(10 * MIB, blocks=[0]).tobytes())
    data[-512 + 70] ^= 1
    broken.write_bytes(data)
    choose(browser, largest, dynamic_disk, broken)
    fixed_shown, dynamic_shown, broken_shown = results(browser, 3)
    assert fixed_shown["name"] == "40 GiB.vhd"
    assert fixed_shown["verdict"] == "\u2713 accepted"
    assert fixed_shown["cost"].startswith(f"8192 of {largest.stat().st_size} bytes sent in 1 round trip. ")
    assert dynamic_shown["verdict"].startswith("\u2717 refused: 413: The image cannot be imported.")
    assert broken_shown["verdict"].startswith("\u2717 refused: 396: The image cannot be imported.")
    assert broken_shown["name"] == "<b>broken.vhd"
    assert [each["open"] for each in (fixed_shown, dynamic_shown, broken_shown)] == [False, True, True]
    assert "VHD103 footer-checksum" in broken_shown["report"]
    assert [each["maps"] for each in (fixed_shown, dynamic_shown, broken_shown)] == [1, 2, 2]
    assert [each["scripts"] for each in (fixed_shown, dynamic_shown, broken_shown)] == [0, 0, 0]
    assert dynamic_shown["frame"] == "Report on 2040 GiB.vhd"

    cost = re.match(r"(\d+) of \d+ bytes sent in 3 round trips, (\d+) with what was sent again", dynamic_shown["cost"])
    assert cost is not None, dynamic_shown["cost"]
    bodies = json.loads(browser.run("JSON.stringify(window.bodies)"))
    assert bodies[0] == 8192
    assert bodies[-1] == 8192
    assert bodies[1:-1] == sorted(bodies[1:-1])
    assert int(cost[1]) == bodies[-2]
    assert TABLE < int(cost[1]) <= TABLE + 8192 + 64 * KIB
    assert int(cost[2]) == sum(bodies[1:-1])
    told = [json.loads(line) for line in opened.log.splitlines()]
    received = [line["bytes"] for line in told if line["message"] == "checked"][-3:]
    assert received == [8192, int(cost[1]), 8192], "what the page says is what came"
    assert "40 GiB.vhd" not in opened.log, "no name leaves the machine"
    assert browser.run("document.getElementById('status').textContent").startswith("<b>broken.vhd: refused: 396")
    if screens := os.environ.get("SCREENSHOTS"):
        browser.screenshot(f"{screens}/check.png")


def test_links_lead_to_the_map_within_the_report(browser: Browser, tmp_path: Path) -> None:
    dynamic(41 * GIB, blocks=[0]).write(tmp_path / "a.vhd")
    choose(browser, tmp_path / "a.vhd")
    results(browser, 1)
    frame = "document.querySelector('iframe')"
    browser.run(f"{frame}.contentDocument.querySelector('a.where').click()")
    browser.until(f"{frame}.contentDocument.querySelector(':target') !== null")
    assert browser.run(f"{frame}.offsetHeight >= {frame}.contentDocument.body.scrollHeight")


def test_a_file_that_changes_meanwhile_has_no_verdict(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "grows.vhd"
    dynamic(30 * GIB, blocks=range(3)).write(path)
    held = "return new Promise(go => { window.go = () => go(real(url, given)); }); }; 0"
    browser.run(f"window.fetch = (url, given) => {{ {held}")
    choose(browser, path)
    browser.until("window.go !== undefined")
    with path.open("r+b") as file:
        file.seek(600)
        file.write(b"another guest")
    os.utime(path, (1, 1))
    browser.run("window.fetch = real; window.go(); 0")
    (shown,) = results(browser, 1)
    assert "it has changed since it was chosen" in shown["verdict"]
    assert shown["verdict"].startswith("? not checked")
    assert shown["frame"] is None
    choose(browser, path)
    assert not results(browser, 2)[1]["verdict"].startswith("?"), "chosen again, it is another file"


def test_a_file_that_changes_while_the_last_answer_comes(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "fixed.vhd"
    path.write_bytes(fixed(4 * MIB).tobytes())
    held = "return new Promise(go => { window.go = () => go(real(url, given)); }); }; 0"
    browser.run(f"window.fetch = (url, given) => {{ {held}")
    choose(browser, path)
    browser.until("window.go !== undefined")
    path.write_bytes(b"something else")
    browser.run("window.go(); 0")
    (shown,) = results(browser, 1)
    assert "? not checked" in shown["verdict"]


def test_what_the_service_refuses_is_said(browser: Browser, opened: Service, tmp_path: Path) -> None:
    """A session that has ended; and what no check can come to is not sent."""
    (tmp_path / "a.vhd").write_bytes(fixed(4 * MIB).tobytes())
    browser.run("fetch('/session/end', {method: 'POST', body: new Blob()}).then(() => { window.out = true; }); 0")
    browser.until("window.out === true")
    choose(browser, tmp_path / "a.vhd")
    assert "sign in again" in results(browser, 1)[0]["verdict"]
    assert [each for each in browser.complaints if "status of 401" not in each] == []
    browser.complaints.clear()
    browser.run('window.fetch = async () => new Response(\'{"wanted": [{"offset": 0, "length": 1e12}]}\'); 0')
    choose(browser, tmp_path / "a.vhd")
    assert "asks for more than it should" in results(browser, 2)[1]["verdict"]
    browser.run("window.fetch = async () => { throw new TypeError(); }; 0")
    choose(browser, tmp_path / "a.vhd")
    assert "the service does not answer" in results(browser, 3)[2]["verdict"]


def test_by_keyboard_by_drop_and_for_screen_readers(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.vhd").write_bytes(fixed(4 * MIB).tobytes())
    browser.run("document.getElementById('files').focus()")
    assert browser.run("document.activeElement.id") == "files"
    assert browser.run("document.getElementById('files').labels[0].innerText").startswith("Drop VHD files")
    assert browser.run("document.getElementById('files').getAttribute('aria-describedby')") == "leaves"
    told = browser.run("document.getElementById('leaves').innerText")
    from vhdcheck.tasks.routes.checks import LONGEST  # what it imports may not be installed

    assert f"At most {exact(LONGEST)} of it leave this machine" in told
    assert browser.run("MOST") == LONGEST
    assert browser.run("document.getElementById('status').getAttribute('role')") == "status"
    browser.drop([str(tmp_path / "a.vhd")], 200, 600)
    (shown,) = results(browser, 1)
    assert shown["verdict"] == "\u2713 accepted"
    assert browser.run("location.pathname") == "/check", "the browser did not open the file"


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_it_fits(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    name = "a-long-name-without-a-space" * 8 + ".vhd"
    (tmp_path / name).write_bytes(b"no disk" * 9999)
    browser.look_like(width, scheme)
    choose(browser, tmp_path / name)
    (shown,) = results(browser, 1)
    assert "396" in shown["verdict"]
    assert shown["cost"].startswith("69632 of 69993 bytes sent in 2 round trips, ")  # 4 KiB, and the last 64
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelector('iframe').contentDocument.documentElement.scrollWidth") <= width
    if screens := os.environ.get("SCREENSHOTS"):
        browser.screenshot(f"{screens}/check-{width}-{scheme}.png")
