"""Exit status and the line that explains it: 0 accepted, 1 refused, 2 could not be checked; 2 beats 1 beats 0."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"


def test_accepted_and_refused_in_a_process(run: Main, good: Path, bad: Path) -> None:
    accepted, refused = run("good.vhd"), run("bad.vhd")
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert accepted.stdout.startswith("good.vhd: accepted\n")
    assert (refused.returncode, refused.stderr) == (1, "")
    assert refused.stdout.startswith("bad.vhd: refused: 413: The image cannot be imported. The virtual size of the ")


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["good.vhd", "bad.vhd"], 1),
        (["bad.vhd", "good.vhd"], 1),
        (["none.vhd", "good.vhd"], 2),
        (["bad.vhd", "none.vhd", "good.vhd"], 2),
        (["good.vhd", "good.vhd"], 0),
    ],
)
def test_worst_wins_and_all_are_checked(main: Main, good: Path, bad: Path, names: list[str], status: int) -> None:
    done = main(*names)
    lines = {"good.vhd": "accepted", "bad.vhd": "refused: 413: ", "none.vhd": "not checked: No such file or directory"}
    assert done.returncode == status
    verdicts = [line for line in done.stdout.splitlines() if line.startswith(tuple(lines))]
    assert len(verdicts) == len(names)
    for name, verdict in zip(names, verdicts, strict=True):
        assert verdict.startswith(f"{name}: {lines[name]}")


def test_a_file_that_looks_like_an_option(main: Main, good: Path) -> None:
    good.rename(good.with_name("-good.vhd"))
    done = main("-good.vhd")
    assert done.returncode == 2
    assert done.stderr.endswith("unrecognized arguments: -good.vhd (for the file of that name give ./-good.vhd)\n")
    assert main("./-good.vhd").returncode == 0
    assert main("-none.vhd").stderr.endswith("unrecognized arguments: -none.vhd\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "vhdcheck: name an image or a folder (see --help)"),
        (("--target", "azur", "x.vhd"), "vhdcheck: unknown target 'azur': one of aws, azure, generic, "),
        (("--target", "./none.toml", "x.vhd"), "vhdcheck: none.toml: No such file or directory"),
        (("--explain", "footer-cheksum"), "vhdcheck: unknown rule 'footer-cheksum', did you mean 'footer-checksum'?"),
        (("--explain", "414"), "vhdcheck: unknown message code 414: one of 111, 396, 413, 523, 609, 614, 721"),
        (("--explain", "1" * 5000), "vhdcheck: unknown message code 1111"),
        (("--explain", ""), "vhdcheck: unknown rule ''"),
        (("--max-virtual-size", "40 apples", "x.vhd"), "vhdcheck: not a size: '40 apples'"),
        (("--max-physical-size", "0.3", "x.vhd"), "vhdcheck: not a whole number of bytes: '0.3'"),
        (("--nonsense", "x.vhd"), "vhdcheck: error: unrecognized arguments: --nonsense"),
        (("--format", "yaml", "x.vhd"), "vhdcheck: error: argument --format: invalid choice: 'yaml'"),
    ],
)
def test_wrong_arguments(main: Main, arguments: tuple[str, ...], line: str) -> None:
    done = main(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(line)


@pytest.mark.parametrize(
    ("data", "found"),
    [(b"", "the file is empty"), (b"x", "the file is shorter than a footer"), (bytes(4096), "there is no footer")],
)
def test_too_little_is_refused(main: Main, tmp_path: Path, data: bytes, found: str) -> None:
    (tmp_path / "x.vhd").write_bytes(data)
    done = main("x.vhd")
    assert done.returncode == 1
    assert done.stdout.startswith("x.vhd: refused: 396: The image cannot be imported. The file is not a valid VHD.\n")
    assert found in done.stdout


def test_a_named_text_is_checked(main: Main, tmp_path: Path) -> None:
    (tmp_path / "adder.vhd").write_text("entity adder is\nend;\n", encoding="ascii")
    done = main("adder.vhd")
    assert done.returncode == 1
    assert done.stdout.startswith("adder.vhd: refused: 396: ")
    assert done.stdout.endswith("1 image: 1 refused; 1 error, 0 warnings, 0 notes\n")


def test_what_is_no_file(run: Main, tmp_path: Path, good: Path) -> None:
    """In a process, because a command that waits for a FIFO's writer would wait for ever."""
    os.mkfifo(tmp_path / "fifo.vhd")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(tmp_path, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/socket.vhd")  # a socket's own path may not be long
        finally:
            os.close(here)
        (tmp_path / "loop.vhd").symlink_to("loop.vhd")
        (tmp_path / "dangling.vhd").symlink_to("none")
        long = "n" * 300
        kind = "not checked: a device, a pipe or a socket"
        expected = {
            "/dev/null": kind,
            "/dev/zero": kind,
            "fifo.vhd": kind,
            "socket.vhd": "not checked: ",
            "loop.vhd": "not checked: Too many levels of symbolic links",
            "dangling.vhd": "not checked: No such file or directory",
            "good.vhd/x.vhd": "not checked: Not a directory",
            long: "not checked: File name too long",
            "good.vhd": "accepted",
        }
        done = run(*expected)
    assert (done.returncode, done.stderr) == (2, "")
    *lines, summary = done.stdout.splitlines()
    assert len(lines) == len(expected)
    for line, (name, verdict) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"{name}: {verdict}")
    assert summary == "9 images: 1 accepted, 8 not checked; 0 errors, 0 warnings, 0 notes"


def test_permission_denied(run: Main, powerless: tuple[str, ...], tmp_path: Path, good: Path) -> None:
    secret, locked = tmp_path / "secret.vhd", tmp_path / "locked"
    secret.write_bytes(good.read_bytes())
    locked.mkdir()
    secret.chmod(0)
    locked.chmod(0)
    try:
        done = run("secret.vhd", "locked/x.vhd", "locked", "good.vhd", under=powerless)
    finally:
        locked.chmod(0o700)
    assert (done.returncode, done.stderr) == (2, "")
    assert sorted(done.stdout.splitlines()[:-1]) == [
        "good.vhd: accepted",
        "locked/x.vhd: not checked: Permission denied",
        "locked: not checked: Permission denied",
        "secret.vhd: not checked: Permission denied",
    ]


def test_limits_follow_into_the_message(main: Main, tmp_path: Path) -> None:
    dynamic(161 * GIB).write(tmp_path / "x.vhd")
    fixed(3 * MIB).write(tmp_path / "y.vhd")
    for words in (["--max-virtual-size", "160GB"], ["--max-virtual-size=160GiB"], ["--max-virtual-size=171798691840"]):
        done = main(*words, "x.vhd")
        assert done.returncode == 1
        assert done.stdout.startswith(
            "x.vhd: refused: 413: The image cannot be imported. The virtual size of the disk exceeds the 160GB limit.\n"
        )
    assert main("--max-virtual-size", "161GiB", "x.vhd").returncode == 0
    assert main("y.vhd", "--max-physical-size", "3146240").returncode == 0
    short = main("y.vhd", "--max-physical-size", "3MiB")
    assert (short.returncode, "609: " in short.stdout, "the 3MB limit." in short.stdout) == (1, True, True)


def test_own_target(main: Main, tmp_path: Path, good: Path) -> None:
    target = tmp_path / "ours.toml"
    target.write_text('max_virtual_size = "2MiB"\n', encoding="ascii")
    for word in ("ours.toml", "./ours.toml", str(target)):
        done = main("--target", word, "good.vhd")
        assert (done.returncode, "exceeds the 2MB limit." in done.stdout) == (1, True)
    for content, line in (
        ("max_virtual_sise = 1", "unknown key 'max_virtual_sise', did you mean 'max_virtual_size'?"),
        ("max_virtual_size = true", "not a size: True"),
        ('refuses = ["footer-cheksum"]', "unknown rule 'footer-cheksum', did you mean 'footer-checksum'?"),
        ("[", "not a TOML file: "),
    ):
        target.write_text(content, encoding="ascii")
        done = main("--target", "ours.toml", "good.vhd")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("vhdcheck: ")
        assert line in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_defect_of_the_command_is_no_verdict() -> None:
    """Python would end with 1, which says that an image was refused."""
    program = (
        "from vhdcheck.terminal.ending import exit_status; raise SystemExit(exit_status('vhdcheck', lambda: 1 // 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vhdcheck: failed by a defect of its own: ZeroDivisionError: ")
    assert done.stderr.count("\n") == 1
