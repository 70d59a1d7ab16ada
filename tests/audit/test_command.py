"""The command on many images: lists, patterns, jobs, lines, resuming, summaries, interrupts."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed
from tests.audit.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
Start: TypeAlias = "Callable[..., subprocess.Popen[bytes]]"


def reports(text: str) -> dict[str, str]:
    """Return each line's verdict, by source; each source once."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert len({line["source"] for line in lines}) == len(lines)
    return {line["source"]: line["verdict"] for line in lines}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Images in folders."""
    for name in ("d/a.vhd", "d/b.vhd", "d/e/c.avhd"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        fixed(3 * MIB).write(tmp_path / name)
    dynamic(41 * GIB).write(tmp_path / "d" / "bad.vhd")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("d/*.vhd", ["d/a.vhd", "d/b.vhd", "d/bad.vhd"]),
        ("d/?.vhd", ["d/a.vhd", "d/b.vhd"]),
        ("d/[ab].vhd", ["d/a.vhd", "d/b.vhd"]),
        ("**/*.*vhd", ["d/a.vhd", "d/b.vhd", "d/bad.vhd", "d/e/c.avhd"]),
        ("*", ["d/a.vhd", "d/b.vhd", "d/bad.vhd", "d/e/c.avhd"]),
        ("x*.vhd", ["x*.vhd"]),
    ],
)
def test_patterns(run: Run, tree: Path, pattern: str, found: list[str]) -> None:
    done = run("--format", "jsonl", pattern)
    assert sorted(reports(done.stdout)) == found
    (full,) = {str(tree / pattern)}
    assert len(reports(run("--format", "jsonl", full).stdout)) == len(found)


def test_a_file_named_like_a_pattern_is_that_file(run: Run, tree: Path) -> None:
    fixed(3 * MIB).write(tree / "d" / "[a].vhd")
    done = run("d/[a].vhd")
    assert done.stdout.startswith("d/[a].vhd: accepted\n\n  A fixed disk"), "as any single image"
    assert run("nothing*.vhd").stdout.startswith("nothing*.vhd: not checked: No such file or directory\n")


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("stdin", [False, True])
def test_lists(run: Run, tree: Path, null: bool, last: bool, stdin: bool) -> None:
    names = ["d/a.vhd", "none.vhd", "d/e"]
    if null:
        fixed(3 * MIB).write(tree / "two\nlines.vhd")
        names.append("two\nlines.vhd")
    end = b"\0" if null else b"\n"
    data = end.join(name.encode() for name in names) + (end + end if last else b"")
    (tree / "list").write_bytes(data)
    words = ["--files-from", "-" if stdin else "list", *(["-0"] if null else [])]
    done = run(*words, "d/bad.vhd", "--format", "jsonl", data=data if stdin else None)
    assert done.returncode == 2
    assert reports(done.stdout) == {
        "d/a.vhd": "accepted",
        "none.vhd": "not checked",
        "d/e/c.avhd": "accepted",
        "d/bad.vhd": "refused",
        **({"two\nlines.vhd": "accepted"} if null else {}),
    }


def test_a_list_may_hold_any_name_and_is_read_as_it_comes(start: Start, tree: Path) -> None:
    name = os.fsencode(tree) + b"/\xff[*].vhd"
    Path(os.fsdecode(name)).write_bytes(b"")
    with start("--files-from", "-", "--format", "jsonl", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"d/a.vhd\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["source"] == "d/a.vhd"
        process.stdin.write(name)
        process.stdin.close()
        assert json.loads(process.stdout.readline())["source"].endswith("/\\udcff[*].vhd")
        assert process.stderr is not None
        assert process.stderr.read().startswith(b"2 images: 1 accepted, 1 refused;")
    assert process.returncode == 1


def test_what_is_no_list(run: Run, tree: Path) -> None:
    (tree / "zeros").write_bytes(bytes(1 << 20))
    for words, line in {
        ("--files-from", "none"): "vhdcheck: none: No such file or directory",
        ("--files-from", "zeros"): "vhdcheck: zeros: not a list of paths: nothing ends the one that begins b'\\x00",
        ("-0", "d"): "vhdcheck: -0 goes with --files-from",
        ("--jobs", "0", "d"): "vhdcheck: --jobs takes a number from 1 on",
        ("--jobs", "2", "--executor", "dask://h:1", "d"): "vhdcheck: error: argument --executor: not allowed with ",
        ("--executor", "ray://h:1", "d"): "vhdcheck: not an executor: 'ray://h:1'; give dask://HOST:PORT",
        ("--resume", "none", "d"): "vhdcheck: none: No such file or directory",
        ("--resume", "d/a.vhd", "d"): "vhdcheck: d/a.vhd: line 1 is no report of --format jsonl",
        ("--resume", "x", "--format", "json", "d"): "vhdcheck: --resume goes with --format text, jsonl or line",
    }.items():
        done = run(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1].startswith(line)


@pytest.mark.parametrize("form", ["text", "json", "jsonl"])
def test_jobs_change_nothing_but_the_order(run: Run, images: Callable[[int], list[str]], form: str) -> None:
    folder = str(Path(images(200)[0]).parent)
    one, two = (run("--format", form, *words, folder) for words in ((), ("--jobs", "2")))
    assert one.returncode == two.returncode == 1
    lines = [sorted(re.sub(r", such as .*", "", done.stdout).splitlines()) for done in (one, two)]
    assert lines[0] == lines[1], "but for the examples, which are the first that were done"
    assert one.stderr.splitlines()[-1:] == two.stderr.splitlines()[-1:]


def test_lines(run: Run, tree: Path) -> None:
    done = run("d", "none", "--format", "jsonl")
    document = json.loads(run("d", "none", "--format", "json").stdout)
    assert [json.loads(line) for line in done.stdout.splitlines()] == document["reports"]
    assert done.stdout.isascii()
    assert done.stderr == "5 images: 3 accepted, 1 refused, 1 not checked; 1 error, 0 warnings, 1 note\n"
    assert done.returncode == 2


def test_a_summary_by_code(run: Run, tmp_path: Path) -> None:
    for number in range(5):
        dynamic(41 * GIB).write(tmp_path / f"big{number}.vhd")
    (tmp_path / "a\x1bb.vhd").write_bytes(bytes(600))
    expected = (
        "  396: 1 image: a\\x1bb.vhd\n"
        "  413: 5 images, such as big0.vhd, big1.vhd, big2.vhd\n"
        "6 images: 6 refused; 6 errors, 0 warnings, 5 notes\n"
    )
    assert run(".").stdout.endswith("\n" + expected)
    assert run(".", "--format", "jsonl").stderr == expected
    assert "413: 1 image" not in run("big1.vhd", "--format", "jsonl").stderr


def test_resuming(run: Run, tree: Path) -> None:
    done = tree / "done.jsonl"
    with done.open("ab") as output:
        assert run("d/a.vhd", "d/bad.vhd", "none.vhd", "--format", "jsonl", stdout=output).returncode == 2
    with done.open("ab") as output:
        again = run("d", "--resume", "done.jsonl", "--format", "jsonl", stdout=output)
    assert again.returncode == 1, "as the refused image's that was done before"
    assert again.stderr == "2 images: 2 accepted; 0 errors, 0 warnings, 0 notes; 2 done before\n"
    assert sorted(reports(done.read_text())) == ["d/a.vhd", "d/b.vhd", "d/bad.vhd", "d/e/c.avhd", "none.vhd"]
    nothing = run("d", "--resume", "done.jsonl")
    assert (nothing.returncode, nothing.stdout) == (1, "no images; 4 done before\n")
    assert run("d/a.vhd", "--resume", "done.jsonl").returncode == 0
    assert run("d/a.vhd", "none.vhd", "--resume", "done.jsonl").returncode == 2


@pytest.mark.parametrize("kept", [1, 7, 11, 12, 60, -2, -1])
def test_a_torn_line_is_done_again(run: Run, tree: Path, kept: int) -> None:
    done = tree / "done.jsonl"
    whole = run("d/a.vhd", "d/b.vhd", "--format", "jsonl").stdout.splitlines(keepends=True)
    done.write_text(whole[0] + whole[1][:kept])
    for _ in range(2):
        with done.open("ab") as output:
            assert run("d", "--resume", "done.jsonl", "--format", "jsonl", stdout=output).returncode == 1
    lines = done.read_text().splitlines()
    if kept != -1:  # there only the line's end was missing
        assert lines.pop(1) == whole[1][:kept]
    assert sorted(reports("\n".join(lines))) == ["d/a.vhd", "d/b.vhd", "d/bad.vhd", "d/e/c.avhd"]


def interrupted(process: subprocess.Popen[bytes], group: bool) -> tuple[bytes, bytes]:
    """Interrupt a run after its first line, as a terminal does it or as `kill` does; and take what is left of it."""
    assert process.stdout is not None
    first = process.stdout.readline()
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    started = time.monotonic()
    assert process.stderr is not None
    rest, errors = process.stdout.read(), process.stderr.read()
    process.wait(timeout=30)
    assert time.monotonic() - started < 10
    return first + rest, errors


def is_gone(group: int) -> bool:
    """Wait, up to 5 seconds, until no process of a group is left."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupt_leaves_whole_lines(
    start: Start, images: Callable[[int], list[str]], jobs: str, group: bool
) -> None:
    folder = str(Path(images(3000)[0]).parent)
    with start("--jobs", jobs, "--format", "jsonl", folder) as process:
        out, err = interrupted(process, group)
    assert process.returncode == 130
    done = reports(out.decode())
    assert 0 < len(done) < 3000
    *_, census, last = err.decode().splitlines()
    assert last == "vhdcheck: interrupted"
    counted = int(census.partition(" image")[0].replace(" ", ""))
    assert counted - len(done) in {-1, 0, 1}, "the interrupt may fall between the line and its count"
    assert "Traceback" not in err.decode()
    assert len(err.splitlines()) <= 3
    assert is_gone(process.pid), "no worker is left"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("after", [0.0, 0.03, 0.06, 0.1, 0.15, 0.2])
def test_an_interrupt_while_workers_start(start: Start, images: Callable[[int], list[str]], after: float) -> None:
    """Nobody but the command itself hears it, however far the processes that it starts are."""
    folder = str(Path(images(3000)[0]).parent)
    with start("--jobs", "3", "--format", "line", "--output", "/dev/null", folder) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        every = Path(f"/proc/{process.pid}/task")
        while not any((task / "children").read_text() for task in every.iterdir()):
            assert process.poll() is None
        assert children.exists()
        time.sleep(after)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    lines = [line for line in err.decode().splitlines() if not line.startswith("  ")]
    assert (len(lines), lines[-1]) == (2, "vhdcheck: interrupted"), err.decode()
    assert process.returncode in {130, -signal.SIGINT}
    assert is_gone(process.pid), "no worker is left"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_text_ends_with_a_whole_report(
    start: Start, images: Callable[[int], list[str]], jobs: str
) -> None:
    folder = str(Path(images(3000)[0]).parent)
    with start("--jobs", jobs, folder) as process:
        out, err = interrupted(process, group=False)
    assert (process.returncode, err) == (130, b"vhdcheck: interrupted\n")
    assert out.endswith(b"\n")


def test_progress_on_a_terminal_when_the_work_lasts(start: Start, tree: Path) -> None:
    ours, theirs = pty.openpty()
    with start("--files-from", "-", "--format", "jsonl", stdin=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        assert process.stdin is not None
        process.stdin.write(b"d/a.vhd\n")
        process.stdin.flush()
        shown = b""
        while b"1 image, 0 refused" not in shown:
            shown += os.read(ours, 1000)
        process.stdin.close()
        while True:
            try:
                shown += os.read(ours, 1000)
            except OSError:
                break
    assert shown.endswith(b"1 image: 1 accepted; 0 errors, 0 warnings, 0 notes\r\n")
    os.close(ours)
    assert process.returncode == 0


def shown_on(terminal: int) -> bytes:
    """Read what is written to a terminal until nobody has it open."""
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1000)
        except OSError:
            return shown


def test_progress_of_a_stream(start: Start, tmp_path: Path) -> None:
    """The bar shows bytes, leaves the report alone, and is gone at the end; the report is the last of the terminal."""
    ours, theirs = pty.openpty()
    data = fixed(3 * MIB).tobytes()
    with start("-", stdin=subprocess.PIPE, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        assert process.stdin is not None
        process.stdin.write(data[: 2 * MIB])
        process.stdin.flush()
        shown = b""
        while b"2 MiB read" not in shown:
            shown += os.read(ours, 1000)
        process.stdin.write(data[2 * MIB :])
        process.stdin.close()
        shown += shown_on(ours)
    os.close(ours)
    report = shown.rpartition(b"\r\x1b")[2] if b"\r\x1b" in shown else shown.rpartition(b" \r")[2]
    assert b"<stdin>: \x1b[1;32maccepted" in report
    assert report.rstrip(b"\r").endswith(b"notes\r\n")


def test_no_progress_otherwise(start: Start, tree: Path) -> None:
    ours, theirs = pty.openpty()
    with start("d", "--format", "jsonl", stderr=theirs):
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 1000)
            except OSError:
                break
    os.close(ours)
    assert shown == b"4 images: 3 accepted, 1 refused; 1 error, 0 warnings, 1 note\r\n"


# Looks at itself each time that it opens so many more images: as many of each kind are behind it then, and what
# waits for the collector has been collected. Blocks are those of Python's allocator, which has all small objects: their
# number is exact, so a single object that each image left would show. What is larger shows in the resident pages.
WATCHED = """
import gc, json, sys
from vhdcheck.command.cli import main

images, last, seen = 0, "", []

def look(event, words):
    global images, last
    if event == "open" and str(words[0]).endswith(".vhd") and words[0] != last:  # a refused one is opened twice
        images, last = images + 1, words[0]
        if images % 300 == 0:
            gc.collect()
            with open("/proc/self/statm") as file:
                seen.append((sys.getallocatedblocks(), int(file.read().split()[1])))

sys.addaudithook(look)
status = main(["--files-from", "list", "--format", "jsonl", "--output", "reports"])
print(json.dumps([status, *seen]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat(images: Callable[[int], list[str]], tmp_path: Path) -> None:
    """From the 600th image to the 1,800th: a tenth of an object for each, and no bytes."""
    (tmp_path / "list").write_text("\n".join(images(1800)), encoding="ascii")
    words = [sys.executable, "-c", WATCHED]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=280)
    status, *seen = json.loads(done.stdout)
    assert (status, len(seen), len((tmp_path / "reports").read_text("ascii").splitlines())) == (1, 6, 1800)
    blocks, pages = ([look[which] for look in seen[1:]] for which in (0, 1))
    grown = [after - before for before, after in pairwise(blocks)]  # something is freed or made once, at times
    assert statistics.median(grown) < 30, blocks
    assert (pages[-1] - pages[0]) * os.sysconf("SC_PAGE_SIZE") < 1 << 20, pages
