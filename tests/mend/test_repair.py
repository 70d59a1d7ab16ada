"""The end of a report: what it prints is run by a shell, in another process, and does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.recipes import CASES, Case
from fixtures.writer import GIB, MIB, Image, dynamic, fixed
from tests.mend.all_repairs import wrong_about
from vhdcheck import StreamChecker, audit, check
from vhdcheck.engine.executors import processes
from vhdcheck.mend import mend, plan, unsaved, with_repair
from vhdcheck.targets import names

if TYPE_CHECKING:
    from collections.abc import Callable

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = [case for case in CASES if case.kind == "hit"][::7]
NAMES = {
    "plain": "x.vhd",
    "spaces, quotes, a comma": 'it\'s "a", b $HOME `id` \\n.vhd',
    "a leading dash": "-n.vhd",
    "a line break and an escape": "a\nb\x1b[31m'\\.vhd",
    "no UTF-8": "\udcff\udc80.vhd",
    "another alphabet": "größe.vhd",
    "like a protocol": "nbd:x.vhd",
    "like a place for a name": "{in}{out}.vhd",
    "in a folder": "a b/-c.vhd",
    "no suffix": "disk",
}


def commands(text: str) -> list[str]:
    """Find the commands in a report as text."""
    return re.findall(r"^    (\S+ -m vhdcheck\.mend .*|qemu-img .*)$", text, re.MULTILINE)


def paste(folder: Path, command: str) -> None:
    """Paste a command into a shell, in the folder where it was printed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-c", command], cwd=folder, env=env, check=True, capture_output=True, timeout=60)


def as_typed(folder: Path, *words: str, data: bytes | None = None) -> str:
    """Run the command in a process of its own, and return the report."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "vhdcheck", *words]
    done = subprocess.run(command, cwd=folder, env=env, input=data, capture_output=True, check=False, timeout=60)
    return done.stdout.decode()


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_what_is_printed_is_so(case: Case, tmp_path: Path) -> None:
    """For one target each; `tests.mend.all_repairs` takes every image and every target."""
    target = names()[SAMPLE.index(case) % len(names())]
    assert list(wrong_about(case.build().write(tmp_path / "in.vhd"), target)) == []


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_any_name_can_be_pasted(main: Main, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    fixed(3 * MIB).append(b"abc").write(path)
    for number in ("", "-2"):  # the second copy has another name
        done = main("--", name)
        assert (done.returncode, "\x1b" in done.stdout) == (1, False)
        (command,) = commands(done.stdout)
        paste(tmp_path, command)
        assert check(path.with_name(f"{path.stem}-mended{number}.vhd")).ok
    assert path.stat().st_size == 3 * MIB + 515, "the image itself is as it was"


@pytest.mark.parametrize("name", ["nbd:x.qcow2", "-f.qcow2", "it's, odd.qcow2"])
def test_another_format(main: Main, tmp_path: Path, name: str, run_tool: Callable[..., str]) -> None:
    raw = Image(4 * MIB).patch(510, b"\x55\xaa").write(tmp_path / "source.img")
    run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / name)
    pasted = commands(main("--", name).stdout)
    assert [command.split()[0].endswith("qemu-img") for command in pasted] == [True, False]
    for command in pasted:
        paste(tmp_path, command)
    (copy,) = tmp_path.glob("*-mended.vhd")
    assert check(copy).ok


def test_a_target_of_ones_own_and_limits(main: Main, tmp_path: Path) -> None:
    (tmp_path / "our cloud.toml").write_text('disk_types = ["fixed"]\n')
    dynamic(10 * MIB, blocks=[0]).write(tmp_path / "in.vhd")
    done = main("--target", "our cloud.toml", "--max-virtual-size", "9MiB", "in.vhd")
    (command,) = commands(done.stdout)
    assert command.endswith("--target 'our cloud.toml' --max-virtual-size 9437184")
    paste(tmp_path, command)
    assert check(tmp_path / "in-mended.vhd", target=str(tmp_path / "our cloud.toml"), max_virtual_size="9MiB").ok


def test_standard_input_is_saved_first(tmp_path: Path) -> None:
    """Even where a file has the name that the stream is called by."""
    image = fixed(3 * MIB).append(b"abc")
    dynamic(10 * MIB).write(tmp_path / "other.vhd")
    printed = as_typed(tmp_path, "--stdin-filename", "other.vhd", "-", data=image.tobytes())
    (command,) = commands(printed)
    assert "called in.vhd here." in printed
    image.write(tmp_path / "in.vhd")
    paste(tmp_path, command)
    assert check(tmp_path / "in-mended.vhd").ok


def test_accepted_images_and_ignored_findings_have_none(main: Main, tmp_path: Path) -> None:
    accepted = with_repair(check(fixed(3 * MIB).write(tmp_path / "good.vhd")))
    assert accepted.repair is None
    fixed(3 * MIB).append(b"abc").write(tmp_path / "bad.vhd")
    done = main("--format", "json", "--ignore", "trailing-bytes", "bad.vhd")
    assert json.loads(done.stdout)["reports"][0]["repair"] is None
    assert "To mend" not in main("--format", "line", "bad.vhd").stdout


def test_every_form_says_it_once(main: Main, tmp_path: Path) -> None:
    fixed(3 * MIB).append(b"abc").patch(3 * MIB + 100, b"\1").write(tmp_path / "bad.vhd")
    fixed(3 * MIB, unique_id=bytes(16), hidden=1).write(tmp_path / "two.vhd")
    for form in ("text", "html", "json", "jsonl", "sarif", "sarif-github", "junit", "github"):
        text = main("--format", form, "two.vhd").stdout
        times = 2 if form.startswith("sarif") else 1  # for people and for programs
        assert text.count("two-mended.vhd") == (2 if form in ("json", "jsonl") else times + form.startswith("sarif")), (
            form
        )


def test_a_crowd_is_planned_where_it_is_checked(tmp_path: Path) -> None:
    paths = [fixed(3 * MIB, unique_id=bytes(16)).write(tmp_path / f"{number}.vhd") for number in range(5)]
    with processes(2) as executor:
        there = {each.source: each for each in audit(paths, executor=executor, batch=2, finish=with_repair)}
    for path in paths:
        assert there[str(path)] == next(audit([path], finish=with_repair))
    one, two = (as_typed(tmp_path, "--format", "json", "--jobs", jobs, *map(str, paths)) for jobs in "12")
    by_source = [{each["source"]: each for each in json.loads(text)["reports"]} for text in (one, two)]
    assert by_source[0] == by_source[1]


def test_what_was_lost_meanwhile_is_not_planned(tmp_path: Path) -> None:
    path = fixed(3 * MIB, unique_id=bytes(16)).write(tmp_path / "in.vhd")
    report = check(path)
    path.unlink()
    repair = with_repair(report).repair
    assert repair is not None
    assert (repair.possible, repair.commands) == (None, ())
    assert "could not be read a second time" in repair.reasons[0]


def test_a_stream(tmp_path: Path) -> None:
    checker = StreamChecker()
    checker.feed(fixed(3 * MIB, unique_id=bytes(16)).tobytes())
    repair = unsaved(checker.finish()).repair
    assert repair is not None
    assert (repair.possible, len(repair.commands)) == (None, 1)


def test_nothing_can(tmp_path: Path) -> None:
    """The reasons are the ones for which mend refuses."""
    path = dynamic(10 * MIB, blocks=[0, 1], spacing=4096).write(tmp_path / "in.vhd")
    repair = with_repair(check(path)).repair
    assert repair is not None
    assert repair.possible is False
    assert repair.reasons == mend(path, tmp_path / "out.vhd").reasons == plan(path).reasons
    assert repair.ask.startswith("Ask the sender to export")
    large = with_repair(check(fixed(41 * GIB).write(tmp_path / "large.vhd"))).repair
    assert large is not None
    assert large.possible


def test_a_link_to_a_drive_is_not_to_be_exported_again() -> None:
    report = asked_for(fixed(64 << 10, disk_type=6))
    assert report == "Ask the sender for an image of the drive itself: this file only links to it."
    assert "again" in asked_for(fixed(64 << 10, disk_type=7))


def asked_for(image: Image) -> str:
    """Return what the repair of an image asks for."""
    with tempfile.NamedTemporaryFile(suffix=".vhd") as file:
        repair = with_repair(check(image.write(file.name))).repair
    assert repair is not None
    return repair.ask
