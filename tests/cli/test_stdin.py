"""An image on standard input: `-`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed

if TYPE_CHECKING:
    from pathlib import Path

GOOD = dynamic(10 * MIB, blocks=[0, 3], bitmap={0: b"\xf0"}, content={0: b"x" * 5000}).tobytes()
COMMAND = [sys.executable, "-m", "vhdcheck", "--format", "json"]


def reported(*arguments: str, **streams: object) -> tuple[int, dict[str, object]]:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, check=False, **streams)  # type: ignore[call-overload]
    assert done.stderr == b""
    (report,) = json.loads(done.stdout)["reports"]
    return done.returncode, report


def test_a_pipe() -> None:
    status, report = reported("-", input=GOOD)
    assert (status, report["source"], report["verdict"]) == (0, "<stdin>", "accepted")
    status, report = reported("-", "--stdin-filename", "up.vhd", input=dynamic(41 * GIB).tobytes())
    assert (status, report["source"], report["code"]) == (1, "up.vhd", 413)


def test_a_file_is_read_where_it_lies(tmp_path: Path) -> None:
    """At most its metadata is read: of a fixed disk both ends."""
    path = fixed(3 * MIB).write(tmp_path / "a.vhd")
    with path.open("rb") as file:
        status, report = reported("-", stdin=file)
    assert (status, report["bytes_read"]) == (0, 8192)


def test_a_file_that_was_read_from_is_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "behind-a-header"
    path.write_bytes(b"HEADER" + GOOD)
    with path.open("rb", buffering=0) as file:
        file.read(6)
        status, report = reported("-", stdin=file)
    assert (status, report["size"]) == (0, len(GOOD))


def test_deep_sees_data_too() -> None:
    status, report = reported("-", "--deep", "--target", "generic", input=GOOD)
    findings = report["findings"]
    assert isinstance(findings, list)
    assert status == 0
    assert {finding["slug"] for finding in findings} == {"partial-bitmaps", "data-in-empty-sectors"}


def test_nothing_comes() -> None:
    status, report = reported("-", stdin=subprocess.DEVNULL)
    assert (status, report["verdict"]) in {(1, "refused"), (2, "not checked")}


def test_closed() -> None:
    script = f"{sys.executable} -m vhdcheck - <&-"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout.splitlines()[0]) == (2, "<stdin>: not checked: standard input is closed")


@pytest.mark.parametrize("arguments", [["-", "a.vhd"], ["-", "-"], ["-", "--files-from", "list"]])
def test_it_goes_alone(arguments: list[str]) -> None:
    done = subprocess.run([*COMMAND, *arguments], input=GOOD, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"goes alone" in done.stderr


def test_a_terminal_is_no_image() -> None:
    master, slave = pty.openpty()
    try:
        done = subprocess.run([*COMMAND, "-"], stdin=slave, capture_output=True, check=False, timeout=30)
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 2
    assert b"terminal" in done.stderr
