"""Parents are found by unique ID among what is given, and nothing that an image names is ever opened."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, Locator, differencing, dynamic
from tests.chains.chain import identity
from vhdcheck import Parents, SourceError, acheck, audit, check, iter_findings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = 1_767_225_600


def link(folder: Path, number: int, above: int = 0, name: str = "", **options: Any) -> Path:
    """Write an image of a number; a child of another one, or a disk that stands alone."""
    options = {"unique_id": identity(number), "parent_timestamp": 0, **options}
    if not above:
        del options["parent_timestamp"]
        return dynamic(4 * MIB, **options).write(folder / (name or f"{number}.vhd"))
    return differencing(4 * MIB, parent_id=identity(above), **options).write(folder / (name or f"{number}.vhd"))


def slugs(path: Path | bytes, *parents: Any, target: str = "generic") -> list[str]:
    """Check an image with parents, and return what is found."""
    return sorted(finding.slug for finding in check(path, parents=parents, target=target, now=NOW).findings)


def test_any_order_other_names_and_strangers(tmp_path: Path) -> None:
    base, middle, child = link(tmp_path, 1, name="zebra.vhd"), link(tmp_path, 2, 1, name="a"), link(tmp_path, 3, 2)
    stranger = link(tmp_path, 9)
    for parents in ((base, middle, stranger), (stranger, middle, base), (child, middle, base)):
        report = check(child, parents=parents, target="rackspace", now=NOW)
        assert report.chain is not None
        assert [parent.name for parent in report.chain.parents] == [str(middle), str(base)]
        assert (report.chain.end, report.chain.is_sound, report.code) == ("whole", True, 721)


def test_bytes_files_and_open_files_are_parents(tmp_path: Path) -> None:
    base, child = link(tmp_path, 1), link(tmp_path, 2, 1)
    for parent in (base, str(base), base.read_bytes(), io.BytesIO(base.read_bytes())):
        assert slugs(child, parent) == ["differencing-disk"]
    assert slugs(child.read_bytes(), base) == ["differencing-disk"]


def test_every_driver_says_the_same(tmp_path: Path) -> None:
    base, child, orphan = link(tmp_path, 1), link(tmp_path, 2, 1), link(tmp_path, 3, 8)
    for path in (child, orphan, base):
        expected = check(path, parents=[base], now=NOW)
        assert asyncio.run(acheck(path, parents=[base], now=NOW)).findings == expected.findings
        assert sorted(iter_findings(path, parents=[base], now=NOW), key=repr) == sorted(expected.findings, key=repr)
    results = {each.source: each for each in audit([str(child), str(orphan), str(base)], parents=[base], now=NOW)}
    for path in (child, orphan, base):
        assert results[str(path)].findings == check(path, parents=[base], now=NOW).findings  # type: ignore[union-attr]


def test_a_family_serves_for_many_images(tmp_path: Path) -> None:
    base = link(tmp_path, 1)
    family = Parents([base, base, str(base)])
    assert len(family) == 1
    os.link(base, tmp_path / "other-name.vhd")
    family.add(tmp_path / "other-name.vhd")
    assert len(family) == 1
    for number in range(2, 6):
        assert check(link(tmp_path, number, 1), parents=family, now=NOW).chain is not None


def test_a_circle_ends(tmp_path: Path) -> None:
    ring = [link(tmp_path, number, number % 5 + 1) for number in range(1, 6)]
    for path in ring:
        assert slugs(path, *ring) == ["circular-chain", "differencing-disk"]
        assert told(path, *ring)[:2] == ("circle", 4), "the image itself, which was given too, is none of its parents"


def told(path: Path, *parents: Any) -> tuple[str, int, tuple[str, ...]]:
    """Check an image with parents; return how its chain ends, how many parents it has, and what is named at its end."""
    chain = check(path, parents=parents, now=NOW).chain
    assert chain is not None
    return chain.end, chain.depth, chain.at_end


def test_an_image_whose_parent_has_its_own_id(tmp_path: Path) -> None:
    child, base = link(tmp_path, 1, 1, name="child.vhd"), link(tmp_path, 1, name="base.vhd")
    assert told(child, child) == ("missing", 0, ())
    assert told(child, child, base) == ("whole", 1, ())
    assert told(child, base, link(tmp_path, 1, name="other.vhd"))[:2] == ("twice", 0)


def test_files_of_the_parent_s_name_are_named_where_it_is_missing(tmp_path: Path) -> None:
    child = link(tmp_path, 2, 1, parent_name="Base.VHD")
    family = Parents([link(tmp_path, 8, name="stranger.vhd")])
    chain = check(child, parents=family, now=NOW).chain
    assert chain is not None
    assert chain.at_end == ()
    base = link(tmp_path, 9, name="base.vhd")
    family.add(base)  # after names were asked for
    chain = check(child, parents=family, now=NOW).chain
    assert chain is not None
    assert (chain.end, chain.at_end, chain.given) == ("missing", (str(base),), 2)


def test_a_parent_that_is_another_image_by_now(tmp_path: Path) -> None:
    base, child = link(tmp_path, 1), link(tmp_path, 2, 1)
    family = Parents([base])
    link(tmp_path, 7, name="1.vhd")
    with pytest.raises(SourceError, match=r"1\.vhd: the file changed"):
        check(child, parents=family, now=NOW)


def test_a_folder_of_parents(tmp_path: Path) -> None:
    """In either case of the suffix, and in folders below; what cannot be read there is counted."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    link(tmp_path / "in" / "deep", 1, name="BASE.AVHD")
    link(tmp_path / "in", 8, name="other.txt")
    (tmp_path / "in" / "gone.vhd").symlink_to("nowhere")
    family = Parents()
    family.add_folder(tmp_path / "in")
    assert (len(family), family.unread) == (1, 1)
    chain = check(link(tmp_path, 2, 1), parents=family, now=NOW).chain
    assert chain is not None
    assert (chain.end, chain.unread) == ("whole", 1)
    with pytest.raises(SourceError, match=r"nowhere: No such file or directory"):
        family.add_folder(tmp_path / "nowhere")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no file in memory, which can have any time")
def test_a_parent_written_in_a_year_that_no_calendar_has(tmp_path: Path) -> None:
    with os.fdopen(os.memfd_create("base"), "r+b") as base:
        base.write(link(tmp_path, 1).read_bytes())
        base.flush()
        os.utime(base.fileno(), (10**12, 10**12))
        report = check(link(tmp_path, 2, 1, parent_timestamp=1), parents=[f"/proc/self/fd/{base.fileno()}"], now=NOW)
    assert not report.crashed
    found = {finding.slug: finding.found for finding in report.findings}
    assert found["parent-file-newer"] == "9999-12-31 23:59:59 UTC"


def test_what_a_chain_settles_puts_no_parent_in_doubt(tmp_path: Path) -> None:
    base, middle, child = link(tmp_path, 1), link(tmp_path, 2, 1), link(tmp_path, 3, 2)
    for saved in (0, 1):
        link(tmp_path, 1, saved_state=saved)
        chain = check(child, parents=[base, middle], now=NOW).chain
        assert chain is not None
        assert [bool(parent.in_doubt) for parent in chain.parents] == [False, bool(saved)]
        assert chain.is_sound


def test_ten_thousand_levels_end_soon(tmp_path: Path) -> None:
    original = differencing(4 * MIB, unique_id=identity(1), parent_id=identity(2), parent_timestamp=0).tobytes()
    paths = []
    for number in range(1, 10_001):  # only the IDs differ; checksums would take the test longer than the walk
        path = tmp_path / f"{number}.vhd"
        path.write_bytes(original.replace(identity(2), identity(number + 1)).replace(identity(1), identity(number)))
        paths.append(path)
    start = time.monotonic()
    family = Parents(paths)
    report = check(paths[0], parents=family, now=NOW)
    assert time.monotonic() - start < 60
    assert report.chain is not None
    assert (report.chain.depth, len(report.chain.parents), report.chain.end) == (9_999, 256, "missing")


@pytest.fixture
def traced(tmp_path: Path) -> Callable[..., list[str]]:
    """Run the command under strace, and return the names of all files that it opened or looked at."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not on PATH")

    def run(*words: str | Path) -> list[str]:
        log = tmp_path / "log"
        command = ["strace", "-f", "-e", "trace=%file,connect", "-o", log, sys.executable, "-m", "vhdcheck", *words]
        subprocess.run(command, capture_output=True, timeout=120, check=False)
        return log.read_text(errors="replace").splitlines()

    return run


HOSTILE = (
    "/srv/vhdcheck-named-by-an-image",
    "..\\..\\vhdcheck-named-by-an-image",
    "\\\\10.11.12.13\\vhdcheck-named-by-an-image",
    "C:\\vhdcheck-named-by-an-image\x1b[31m",
    "/dev/zero/vhdcheck-named-by-an-image",
)


def test_nothing_that_an_image_names_is_opened(tmp_path: Path, traced: Callable[..., list[str]]) -> None:
    words: list[str | Path] = ["--parents", tmp_path]
    for number, name in enumerate(HOSTILE):
        locators = [Locator(b"W2ru", name), Locator(b"W2ku", name), Locator(b"MacX", f"file://{name}")]
        words.append(link(tmp_path, number + 10, 99, parent_name=name, locators=locators))
    lines = traced(*words)
    assert any("10.vhd" in line for line in lines)
    assert [line for line in lines if "named-by-an-image" in line or "connect(" in line] == []


def test_what_an_image_says_is_escaped(tmp_path: Path) -> None:
    child = link(tmp_path, 2, 1, parent_name="a\x1b[31m\u202e.vhd", locators=[])
    for form in ("text", "html", "line", "github"):
        done = subprocess.run(
            [sys.executable, "-m", "vhdcheck", child, "--parents", tmp_path, "--format", form],
            *(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert "\x1b[31m" not in done.stdout
        assert "\u202e" not in done.stdout


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    line = [sys.executable, "-m", "vhdcheck", "--no-config", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_a_pipe_for_a_parent_is_told_at_once(tmp_path: Path) -> None:
    child, pipe = link(tmp_path, 2, 1), tmp_path / "pipe.vhd"
    os.mkfifo(pipe)
    done = command(child, "--parent", pipe)
    assert done.returncode == 2
    assert "pipe.vhd: a device, a pipe or a socket" in done.stderr
    done = command(child, "--parents", tmp_path)
    assert (done.returncode, "1 file could not be read" in done.stdout) == (1, True)


def test_the_command_finds_parents_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    link(tmp_path / "deep" / "er", 1, name="base.avhd")
    child = link(tmp_path, 2, 1)
    done = command(child, "--parents", tmp_path, "--format", "json", "--target", "generic")
    (report,) = json.loads(done.stdout)["reports"]
    assert [finding["slug"] for finding in report["findings"]] == ["differencing-disk"]
    assert done.returncode == 0
    missing = command(child, "--target", "generic", "--parents", tmp_path / "none")
    assert missing.returncode == 2


def test_the_map_lists_what_a_child_changes(tmp_path: Path) -> None:
    child = link(tmp_path, 2, 1, blocks=[5, 0, 1, 6], block_size=MIB // 2)
    base = link(tmp_path, 1, blocks=[0])
    (own, other) = json.loads(command(child, base, "--map", "--format", "json").stdout)["reports"]
    half = MIB // 2
    assert own["map"]["changed"] == [{"offset": 0, "length": 2 * half}, {"offset": 5 * half, "length": 2 * half}]
    assert other["map"]["changed"] is None


def test_what_changed_is_never_left_out(tmp_path: Path) -> None:
    """Of too many ranges those that lie close together are one."""
    blocks = 1 << 18
    image = differencing(blocks * 512, parent_id=identity(1), block_size=512, blocks=range(0, blocks, 2)).tobytes()
    allocation = check(image, allocation=True).image.allocation
    assert allocation is not None
    assert 0 < len(allocation.changed) <= 65_536
    covered = bytearray(blocks)
    for first, behind in allocation.changed:
        covered[first:behind] = b"\1" * (behind - first)
    assert all(covered[::2])
