"""The page for browsers, in a real one."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from fixtures.writer import MIB, fixed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tasks.service import Answer, Service

HTML = {"Accept": "text/html,application/xhtml+xml"}
NASTY = "exports/<script>document.title='owned'</script>\"'&<img src=x onerror=document.title=1>"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def sign_in(service: Service, token: str = "tok", **headers: str) -> Answer:
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    return service.request("POST", "/session", body=urlencode({"token": token}).encode(), headers=form, token=None)


def page(service: Service, path: str = "/", cookie: str = "") -> Answer:
    return service.get(path, token=None, headers={**HTML, **({"Cookie": cookie} if cookie else {})})


@pytest.fixture(scope="module")
def tasks(service: Service) -> dict[str, str]:
    """Tasks of each kind, one with a name that wants to be markup."""
    (service.objects / "exports").mkdir()
    good = service.imported(service.put("exports/good", fixed(MIB).tobytes()), name="<q>A</q>")
    image = good["result"]["image_id"]
    return {
        "good": good["id"],
        "nasty": service.imported(NASTY)["id"],
        "container": service.exported(image, "<b>bold</b>")["id"],
        "refused": service.imported(
            service.put("exports/<i>x</i>", fixed(MIB, hidden=1).tobytes()[:-512] + b"x" * 512)
        )["id"],
        "export": service.exported(image)["id"],
        "unwritable": service.imported("exports/\u202e\x1b[2J", name="a line\u2028" + "<u>long</u>" * 20)["id"],
        "shapes": service.wait(
            service.create("import", {"import_from": "<s>", "image_properties": [1, {"<s>": None}]})
        )["id"],
        "nothing": service.exported("<s>", "<s>")["id"],
    }


@pytest.fixture(scope="module")
def cookie(service: Service) -> str:
    return sign_in(service).headers["set-cookie"].partition(";")[0]


def test_a_browser_gets_a_form_and_a_client_does_not(service: Service) -> None:
    shown = page(service)
    assert (shown.status, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert '<form class="token" method="post" action="/session">' in shown.text
    for accept in ("*/*", "application/json", ""):
        assert service.get("/", token=None, headers={"Accept": accept}).json["versions"]


def test_a_token_becomes_a_cookie_that_only_this_page_can_use(service: Service, tasks: dict[str, str]) -> None:
    answer = sign_in(service)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "tok" not in re.sub("Token|vhdcheck-session=[^;]*", "", cookie)
    session = cookie.partition(";")[0]
    assert tasks["good"] in page(service, cookie=session).text
    assert service.get("/v2/tasks", token=None, headers={"Cookie": session}).status == 401
    out = service.request("POST", "/session/end", token=None, headers={"Cookie": session})
    assert out.status == 303
    assert "<form" in page(service, cookie=session).text
    assert tasks["good"] not in page(service, cookie=session).text


def test_no_other_site_and_no_wrong_token_signs_in(service: Service) -> None:
    assert sign_in(service, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    wrong = sign_in(service, "wrong")
    assert "set-cookie" not in wrong.headers
    assert "This token is not valid" in page(service, wrong.headers["location"]).text
    assert sign_in(service, "x" * 20_000).status == 413
    assert "set-cookie" not in sign_in(service, "\xff\0").headers
    assert "<form" in page(service, cookie="vhdcheck-session=guess").text


def test_the_page_says_what_happened(service: Service, tasks: dict[str, str], cookie: str) -> None:
    text = page(service, cookie=cookie).text
    assert all(task in text for task in tasks.values())
    assert "expires in 47 h 5" in text
    assert "396: The image cannot be imported. The file is not a valid VHD." in text
    assert "1 finding" in text
    image = service.get(f"/v2/tasks/{tasks['good']}").json["result"]["image_id"]
    assert f"image <code>{image}</code>" in text
    assert f"object <code>exports/{image}.vhd</code>" in text
    assert '<span class="soft">fix</span>' in text
    assert "&lt;q&gt;A&lt;/q&gt;" in text
    failures = page(service, "/?status=failure", cookie).text
    assert tasks["nasty"] in failures
    assert tasks["good"] not in failures
    assert page(service, "/?status=<script>&marker=x", cookie).status == 200
    assert page(service, "/?marker=00000000-0000-0000-0000-000000000000", cookie).status == 303
    assert tasks["good"] not in page(service, cookie=sign_in(service, "other").headers["set-cookie"]).text


def test_nothing_from_a_request_becomes_markup(service: Service, tasks: dict[str, str], cookie: str) -> None:
    shown = page(service, cookie=cookie)
    assert "&lt;script&gt;document.title" in shown.text
    for markup in ("<script", "<img", "<b>", "<i>", "<q>", "<s>", "<u>", "\u202e", "\x1b"):
        assert markup not in shown.text
    assert "exports/\\u202e\\x1b[2J" in shown.text
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert shown.headers["cache-control"] == "no-store"


def test_the_report_on_an_image(service: Service, tasks: dict[str, str], cookie: str) -> None:
    listed = page(service, cookie=cookie).text
    for name, verdict in (("good", "accepted"), ("refused", "396: The image cannot be imported.")):
        path = f"/tasks/{tasks[name]}/report"
        assert f'href="{path}"' in listed
        shown = page(service, path, cookie)
        assert (shown.status, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert verdict in shown.text
        assert "<svg" in shown.text
        assert "<i>x</i>" not in shown.text
        assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
        other = sign_in(service, "other").headers["set-cookie"].partition(";")[0]
        assert page(service, path, other).status == 404
        assert page(service, path).status == 303
        assert service.get(path).status == 303, "a token of the API opens no page"
    for name in (tasks["nothing"], tasks["export"], "x", "00000000-0000-0000-0000-000000000000", "%00"):
        assert page(service, f"/tasks/{name}/report", cookie).status == 404


def test_long_lists_have_pages(service: Service) -> None:
    cookie = sign_in(service, "other").headers["set-cookie"].partition(";")[0]
    made = [service.create("import", {"import_from": "exports/none"}, "other") for _ in range(52)]
    first = page(service, cookie=cookie).text
    match = re.search(r'href="(/\?marker=[0-9a-f-]+)">Older tasks', first)
    assert match is not None
    older = page(service, match[1], cookie).text
    assert [first.count('<span class="status'), older.count('<span class="status')] == [50, 2]
    assert all((task in first) != (task in older) for task in made)
    assert "Older tasks" not in older


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_chromium(service: Service, tasks: dict[str, str], tmp_path: Path, width: int, scheme: str) -> None:
    """Sign in through the form, as a person does, and look at what the browser made of the page."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    from tests.tasks.browser import Browser

    with Browser([*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"], tmp_path) as browser:
        browser.look_like(width, scheme)
        browser.open(service.url)
        browser.run("document.getElementById('token').value = 'tok'; document.querySelector('button').click()")
        browser.until("document.querySelectorAll('ul.tasks > li').length >= 5")
        browser.open(f"{service.url}/?status=failure")
        seen = json.loads(
            browser.run(
                """JSON.stringify({
                title: document.title,
                text: document.body.innerText,
                scripts: document.scripts.length,
                images: document.images.length,
                wide: document.documentElement.scrollWidth - window.innerWidth,
                cookie: document.cookie,
                background: getComputedStyle(document.body).backgroundColor,
                small: [...document.querySelectorAll('button')].filter(b => b.offsetHeight < 40).length,
                })"""
            )
        )
        browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
        screens = os.environ.get("SCREENSHOTS")
        if screens:
            browser.screenshot(f"{screens}/tasks-{width}-{scheme}.png")
    assert seen["title"] == "Image tasks"
    assert "<script>document.title='owned'</script>" in seen["text"]
    assert (seen["scripts"], seen["images"], seen["cookie"], seen["small"]) == (0, 0, "", 0)
    assert seen["wide"] <= 0
    assert seen["background"] == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 26)")
    assert browser.complaints == []
