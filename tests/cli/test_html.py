"""The page: valid for a parser that others wrote, safe with hostile images, bounded, and drawn by a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import html5lib
import pytest

from benchmarks.images import full
from fixtures.recipes import CASES
from fixtures.writer import GIB, MIB, PARENT_ID, Image, differencing, dynamic, fixed
from tests.forms import written
from vhdcheck import Failure, audit, check, targets
from vhdcheck.report.formats.html import LISTED, SECTIONS

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET
    from collections.abc import Callable, Sequence

    from vhdcheck import Report

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
STYLE = Path(__file__).resolve().parents[2] / "vhdcheck" / "report" / "style.css"
XHTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"


def parsed(page: str) -> ET.Element:
    """Parse as a browser does, and fail where the page is not valid."""
    parser = html5lib.HTMLParser(strict=True)
    root: ET.Element = parser.parse(page)
    ids = [node.get("id", "") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    links = [node.get("href", "") for node in root.iter(f"{XHTML}a")] + [
        node.get("href", "") for node in root.iter(f"{SVG}a")
    ]
    assert {link for link in links if link.removeprefix("#") not in ids or not link.startswith("#")} == set()
    return root


def text(root: ET.Element) -> str:
    """Return what a person reads, and the hover texts."""
    return " ".join("".join(root.itertext()).split())


def page(reports: Sequence[Report | Failure]) -> str:
    """Write a page."""
    return written("html", reports, targets.load("rackspace"))


def test_a_damaged_image(run: Run, tmp_path: Path) -> None:
    dynamic(4 * GIB, blocks=range(300), bat={700: 2, 900: 0x7FFF_FFFF}).append(b"trailing").write(tmp_path / "x.vhd")
    done = run("--format", "html", "x.vhd")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.isascii()
    root = parsed(done.stdout)
    words = text(root)
    for expected in (
        "1 image: 1 refused",
        "396: The image cannot be imported. The file is not a valid VHD.",
        "VHD302 block-in-metadata",
        "fault: 3",
        "blocks 700 to 703, from 1.367 GiB: 1 of 4 in use, 1 faulty VHD302 block-in-metadata",
        "Behind the end of the file, and so on the first map only: 1 block.",
        "trailing bytes",
    ):
        assert expected in words, expected
    by_id = {node.get("id"): node for node in root.iter() if node.get("id")}
    (link,) = [
        node.get("href", "")
        for article in root.iter(f"{XHTML}article")
        if "VHD302" in text(article)
        for node in article.iter(f"{XHTML}a")
        if "disk" in node.get("href", "")
    ]
    cell = by_id[link.removeprefix("#")]
    assert cell.tag == f"{SVG}rect"
    assert (cell.get("class"), cell.get("x"), cell.get("y")) == ("x", str(700 // 4 % 32 * 10), str(700 // 4 // 32 * 10))


def test_what_an_image_says_is_text(run: Run, tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script><img src=x>\x1b[2J\u202e'
    name = "<b>&'\"\u00e9\x1b.vhd"
    differencing(10 * MIB, parent_name=evil, creator=b"<i>&", blocks=[1]).write(tmp_path / name)
    dynamic(10 * MIB, header={"parent_name": evil, "parent_id": PARENT_ID}).write(tmp_path / "b.vhd")
    Image.from_bytes(b"<script>" * 99).write(tmp_path / "c.vhd")
    done = run("--format", "html", name, "b.vhd", "c.vhd", "<u>.vhd", env={"LC_ALL": "C"})
    root = parsed(done.stdout)
    assert {node.tag for node in root.iter()} & {XHTML + tag for tag in ("script", "img", "b", "u", "i")} == set()
    assert "\x1b" not in done.stdout
    assert "<b>&'\"\u00e9\\x1b.vhd" in text(root) or "\\udcc3" in text(root)
    policy = next(node.get("content", "") for node in root.iter(f"{XHTML}meta") if node.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    # `style` attributes would be blocked by the policy, and nothing may be loaded.
    assert not [node for node in root.iter() if node.get("style") or node.get("src")]
    assert re.findall(r"https?:|@import|//", done.stdout) == []


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_every_fixture_has_a_valid_page(step: int) -> None:
    """A seventh of them; and all."""
    built = [(case.name, case.build()) for case in CASES[::step]]
    small = [(name, image.tobytes()) for name, image in built if image.length < 16 * MIB]
    for start in range(0, len(small), 8):
        parsed(page([check(data, name=name, allocation=True) for name, data in small[start : start + 8]]))


def test_the_largest_table_takes_a_small_page(tmp_path: Path) -> None:
    path = full(2040 * GIB, shuffled=True).write(tmp_path / "x.vhd")
    written = page(list(audit([path], allocation=True)))
    assert "1 044 480 of 1 044 480" in written
    assert len(written) < 64 << 10


def test_many_images_stay_bounded(tmp_path: Path) -> None:
    scattered = dynamic(4 * GIB, blocks=[number * 3 % 2048 for number in range(1000)])
    report = next(audit([scattered.write(tmp_path / "x.vhd")], allocation=True))
    good = next(audit([fixed(MIB).write(tmp_path / "good.vhd")], allocation=True))
    assert len(page([report])) < 256 << 10
    many = [good] * SECTIONS + [report, Failure("<gone>", "it is gone")] * SECTIONS
    written = page(many)
    assert written.count("<section") == SECTIONS
    assert "100 of them are drawn below" in written
    assert "good.vhd" not in written.partition("</nav>")[2]
    assert len(written) < 4 << 20
    assert "2 images more are not listed" in page([Failure("gone", "it is gone")] * (LISTED + 2))


def test_nothing_to_check(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.vhd").touch()
    assert "not checked" in text(parsed(run("--format", "html", "empty").stdout))
    parsed(run("--format", "html", "nothing.vhd").stdout)


def themes() -> dict[str, dict[str, str]]:
    """Return the colours of the style by theme."""
    light, dark = STYLE.read_text(encoding="ascii").split("@media (prefers-color-scheme:dark)")
    colours = {
        name: dict(re.findall(r"--([\w-]+):(#\w{6})", part)) for name, part in (("light", light), ("dark", dark))
    }
    assert colours["light"].keys() == colours["dark"].keys()
    return colours


def luminance(colour: str) -> float:
    """Compute the relative luminance of a colour (WCAG 2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Compute the contrast of two colours (WCAG 2)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_read_and_told_apart_by_lightness(theme: str) -> None:
    colours = themes()[theme]
    for name in ("text", "soft", "link", "error", "warning", "note", "good", "none"):
        assert contrast(colours[name], colours["card"]) >= 4.5, name
        assert contrast(colours[name], colours["page"]) >= 4.5, name
    assert contrast(colours["text"], colours["code"]) >= 4.5
    levels = [colours[f"c{number}"] for number in range(5)]
    assert [contrast(a, b) >= 1.35 for a, b in pairwise(levels)] == [True] * 4
    order = [luminance(colour) for colour in levels]
    assert order == sorted(order, reverse=theme == "light")
    for sign, ground in (("cross", "fault"), ("dot", "meta"), ("line", "c0")):
        assert contrast(colours[sign], colours[ground]) >= (2 if sign == "line" else 4.5), sign


@pytest.fixture(scope="session")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[str, str]]:
    """Open a page in Chromium: (the document as it stands then, what the browser logs)."""
    name = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)
    if name is None:
        pytest.skip("chromium is not installed")

    def opened(path: Path, *options: str) -> tuple[str, str]:
        words = [
            name,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing leaves this machine
            f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
            "--enable-logging=stderr",
            *options,
            path.as_uri(),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return opened


def test_a_browser_draws_it_and_asks_for_nothing(
    browse: Callable[..., tuple[str, str]], run: Run, tmp_path: Path
) -> None:
    dynamic(4 * GIB, blocks=range(0, 2000, 7), bat={2047: 2}).write(tmp_path / "<x>.vhd")
    fixed(3 * MIB).write(tmp_path / "y.vhd")
    path = tmp_path / "page.html"
    path.write_text(run("--format", "html", "<x>.vhd", "y.vhd").stdout, encoding="ascii")
    log = tmp_path / "net.json"
    dom, errors = browse(path, "--dump-dom", f"--log-net-log={log}")
    assert "CONSOLE" not in errors
    root = parsed(dom)
    assert len(list(root.iter(f"{XHTML}section"))) == 2
    assert len([node for node in root.iter(f"{SVG}svg") if node.get("class") == "map"]) == 3
    asked = set(re.findall(r'"url":"(\w+:[^"]+)"', log.read_text(encoding="utf-8")))
    own = re.compile(r"https?://([\w-]+\.)*(google|googleapis|gvt1)\.com/|(data|chrome|devtools)\S*:")  # the browser's
    assert [url for url in asked if not own.match(url)] == []


def test_a_browser_tells_of_errors_and_requests(browse: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    """So that the test above can fail."""
    path, log = tmp_path / "page.html", tmp_path / "net.json"
    path.write_text('<!DOCTYPE html><title>x</title><img src="http://127.0.0.1:9/x"><script>x()</script>', "ascii")
    _, errors = browse(path, "--dump-dom", f"--log-net-log={log}")
    assert "CONSOLE" in errors
    assert "127.0.0.1:9/x" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_style_is_in_force_at_phone_and_desk_width(
    browse: Callable[..., tuple[str, str]], tmp_path: Path, width: int
) -> None:
    """In a frame, because no window is as narrow as a phone; a script outside measures."""
    report = next(audit([dynamic(4 * GIB, blocks=range(300)).write(tmp_path / "x.vhd")], allocation=True))
    measure = (
        "const frame=document.querySelector('iframe');frame.onload=()=>{const inner=frame.contentDocument,"
        "map=inner.querySelector('.map');document.title=JSON.stringify([frame.contentWindow.innerWidth,"
        "inner.documentElement.scrollWidth,getComputedStyle(map.querySelector('.c4')).fill,map.clientWidth])}"
    )
    frame = f'<iframe width="{width}" height="800" srcdoc="{escape(page([report] * 9))}"></iframe>'
    path = tmp_path / "page.html"
    path.write_text(f"<!DOCTYPE html><title>?</title>{frame}<script>{measure}</script>", encoding="ascii")
    dom, _ = browse(path, "--dump-dom", "--virtual-time-budget=1000")
    title = re.search(r"<title>\[(\d+),(\d+),\"(rgb\([^\"]*\))\",(\d+)\]", dom)
    assert title is not None
    inner, scrolled, fill, drawn = title.groups()
    assert int(inner) == int(scrolled) == width  # nothing sticks out
    assert fill == "rgb({}, {}, {})".format(*bytes.fromhex(themes()["light"]["c4"][1:]))
    assert int(drawn) > width // 2
