"""Nothing that a stranger wrote, into an image or a file's name, reaches a terminal as it is."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import MIB, Image, Locator, differencing, dynamic, fixed

if TYPE_CHECKING:
    from collections.abc import Callable

Done: TypeAlias = "subprocess.CompletedProcess[str]"

# Clear the screen; set a title; C1's CSI; turn text around; hide it; separate lines; and no character at all.
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj\u2066\u200b\u2028\r\n\x7f\ud800"
RAW = b"\x1b[2J"
SAFE = r"\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj"
STYLES = re.compile(r"\x1b\[(?:[012]|1;3[1-6])m")


def images() -> dict[str, Image]:
    """Hostile text in every place that holds text."""
    lines = "\n1 image: 1 accepted"
    return {
        "creator": fixed(3 * MIB, creator=RAW, host=b"\x9b3\x00m"),
        "creator, no ASCII": fixed(3 * MIB, creator=b"\xff\xfe\n\r", host=b"\xe2\x80\xae\x07"),
        "cookie": dynamic(3 * MIB, tail={"cookie": RAW * 2}, header={"cookie": RAW + b"\r\n\x9b1"}),
        "parent name": differencing(10 * MIB, parent_name=EVIL + "parent.vhd"),
        "parent name, no UTF-16": differencing(10 * MIB, parent_name=b"\xdc\x00\x00\x1b\xd8"),
        "parent name on a stand-alone disk": dynamic(10 * MIB, blocks=[0], header={"parent_name": EVIL + lines}),
        "locators": differencing(
            10 * MIB,
            locators=(
                Locator(b"W2ru", EVIL + "a.vhd"),
                Locator(b"W2ku", "\\\\host\\" + EVIL),
                Locator(b"MacX", b"file://host/\x1b[2J\xff\n"),
                Locator(RAW, EVIL),
            ),
        ),
        "unique ID and reserved": fixed(3 * MIB, unique_id=RAW * 4, reserved=RAW * 9),
        "batmap": dynamic(10 * MIB, creator=b"tap\0", creator_version=0x10003, host=RAW, batmap={"cookie": RAW * 2}),
        "other format": Image.from_bytes(b"<html>\x1b[2J</html>" + bytes(600)),
        "no footer": Image.from_bytes(RAW * 200),
    }


@pytest.mark.parametrize("target", ["rackspace", "generic", "xenserver"])
@pytest.mark.parametrize("name", images())
def test_text_in_images_is_escaped(main: Callable[..., Done], tmp_path: Path, name: str, target: str) -> None:
    images()[name].write(tmp_path / "x.vhd")
    done = main("--target", target, "--deep", "x.vhd")
    assert "VHD999" not in done.stdout
    assert [line for line in done.stdout.split("\n") if not line.isprintable()] == []
    assert done.stdout.replace("\ufffd", "").isascii()  # the character that stands for what is none
    assert done.stdout.splitlines()[-1].startswith("1 image: 1 ")
    assert sum(line.startswith("1 image: ") for line in done.stdout.splitlines()) == 1

    document = main("--target", target, "--deep", "--format", "json", "x.vhd").stdout
    assert document.isascii()
    assert document.replace("\n", "").isprintable()
    json.dumps(json.loads(document), ensure_ascii=False).encode("utf-8")  # no half of a surrogate pair


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("creator", r'an unknown program ("\x1b[2J" 10.0)'),
        ("parent name on a stand-alone disk", f"found {SAFE}"),
        ("locators", rf"\\host\{SAFE}"),
    ],
)
def test_what_is_escaped_is_shown(main: Callable[..., Done], tmp_path: Path, name: str, words: str) -> None:
    images()[name].write(tmp_path / "x.vhd")
    assert words in " ".join(main("x.vhd").stdout.split())


BYTES = b"\x1b[2J\xff\xc2\x9b31m\xe2\x80\xae\n.vhd"
ESCAPED = r"\x1b[2J\udcff\x9b31m\u202e\n.vhd"


@pytest.mark.parametrize("kind", ["accepted", "refused", "missing", "a folder without images"])
def test_file_names_are_escaped(run: Callable[..., Done], tmp_path: Path, kind: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + BYTES))
    if kind == "accepted":
        fixed(3 * MIB).write(path)
    elif kind == "refused":
        fixed(3 * MIB).append(b"abc").write(path)
    elif kind == "a folder without images":
        path.mkdir()
    done = run(BYTES)
    assert done.stderr == ""
    assert done.stdout.replace("\n", "").isprintable()
    verdict = "not checked" if done.returncode == 2 else kind
    assert done.stdout.startswith(f"{ESCAPED}: {verdict}")
    document = run("--format", "json", BYTES).stdout
    assert document.isascii()
    (report,) = json.loads(document)["reports"]
    assert (report["source"], report["verdict"]) == ("\x1b[2J\\udcff\x9b31m\u202e\n.vhd", verdict)
    json.dumps(report, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        [b"--" + BYTES],  # what `vhdcheck *` makes of a file of that name
        [b"--target", BYTES],
        [b"--target", BYTES + b".toml"],
        [b"--explain", BYTES],
        [b"--max-virtual-size", BYTES],
        [b"--format", BYTES],
        [b"--max=" + BYTES],
    ],
)
def test_arguments_are_escaped(run: Callable[..., Done], arguments: list[bytes]) -> None:
    done = run(*arguments, "x.vhd")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.replace("\n", "").isprintable()
    assert r"\x1b[2J" in done.stderr


def test_a_hostile_target(main: Callable[..., Done], tmp_path: Path) -> None:
    fixed(3 * MIB, unique_id=bytes(16)).write(tmp_path / "x.vhd")
    (tmp_path / "t.toml").write_text(r'name = "\u001b[2J\u202e"' + '\nrefuses = ["unique-id-zero"]\n', encoding="ascii")
    done = main("--target", "t.toml", "x.vhd")
    assert done.returncode == 1
    assert r"unique-id-zero (an error for \x1b[2J\u202e)" in done.stdout


def on_a_terminal(start: Callable[..., subprocess.Popen[bytes]], *words: str, cwd: Path, **env: str) -> str:
    """Run the command on a terminal, and return what arrives there."""
    leader, follower = pty.openpty()
    output = b""
    try:
        with start(*words, cwd=cwd, env=env, stdout=follower, stderr=subprocess.PIPE) as process:
            os.close(follower)
            with suppress(OSError):  # EIO: the other end is closed
                while data := os.read(leader, 65536):
                    output += data
            assert process.stderr is not None
            assert process.stderr.read() == b""
    finally:
        os.close(leader)
    return output.decode().replace("\r\n", "\n")


def test_colours_only_on_a_terminal(
    run: Callable[..., Done], start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, good: Path, bad: Path
) -> None:
    differencing(10 * MIB, parent_name=EVIL, creator=RAW).write(tmp_path / "evil.vhd")
    names = ["good.vhd", "bad.vhd", "evil.vhd", "none.vhd", "\x1b[31m.vhd"]
    plain = run(*names).stdout
    assert "\x1b" not in plain
    coloured = on_a_terminal(start, *names, cwd=tmp_path)
    assert "good.vhd: \x1b[1;32maccepted\x1b[0m\n" in coloured
    assert "bad.vhd: \x1b[1;31mrefused\x1b[0m: 413: " in coloured
    assert "  \x1b[1;36mnote[VHD311]\x1b[0m no-blocks\n" in coloured
    assert "none.vhd: \x1b[1;35mnot checked\x1b[0m: No such file or directory\n" in coloured
    assert STYLES.sub("", coloured) == plain
    assert on_a_terminal(start, *names, cwd=tmp_path, NO_COLOR="") == coloured
    for off in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "0"}):
        assert on_a_terminal(start, *names, cwd=tmp_path, **off) == plain
