"""The files: what is kept, what is never overwritten, and that whatever happens leaves the old image or the new one."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, SECTOR, dynamic, fixed
from vhdcheck import SourceError, UsageError, check
from vhdcheck.mend import mend, plan
from vhdcheck.mend import run as run_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"

ID = slice(-512 + 68, -512 + 84)


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Run the command in a process of its own, in `tmp_path`."""

    def to_end(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "vhdcheck.mend", *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        given = {
            "capture_output": True,
            "text": True,
            "timeout": 60,
            "cwd": tmp_path,
            "env": environment,
        }
        return subprocess.run(line, check=False, **{**given, **options})  # type: ignore[call-overload, no-any-return]

    return to_end


@pytest.fixture(params=["unnamed", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With files that have no name until they are whole, and without, as on file systems that have no such files."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return str(request.param)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """An image with an ID of zeros."""
    return fixed(3 * MIB, content=b"guest", unique_id=bytes(16)).write(tmp_path / "in.vhd")


def names(folder: Path) -> set[str]:
    """List a folder."""
    return {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("way")
def test_a_copy(bad: Path, tmp_path: Path) -> None:
    bad.chmod(0o640)
    old = bad.read_bytes()
    mending = mend(bad, tmp_path / "out.vhd")
    assert [change.field for change in mending.changes] == ["footer.checksum", "footer.unique_id"]
    assert bad.read_bytes() == old
    assert check(tmp_path / "out.vhd").ok
    assert (tmp_path / "out.vhd").stat().st_mode & 0o7777 == 0o640
    assert names(tmp_path) == {"in.vhd", "out.vhd"}


@pytest.mark.parametrize("where", [{"out": "out.vhd"}, {"in_place": True}], ids=["copy", "in place"])
def test_an_image_that_was_written_to_since_it_was_looked_at(
    where: dict[str, Any], bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan is made of what the image was; nobody is kept from writing to it before the work begins."""
    monkeypatch.chdir(tmp_path)

    def after_another(work: Callable[..., None], *arguments: object) -> None:
        with bad.open("r+b") as image:
            image.write(b"another")
        os.utime(bad, (1, 1))
        work(*arguments)

    for name in ("write_new", "write_over"):
        monkeypatch.setattr(run_module, name, partial(after_another, getattr(run_module, name)))
    with pytest.raises(SourceError, match="the file changed"):
        mend(bad, **where)
    assert names(tmp_path) == {"in.vhd"}
    assert bad.read_bytes()[:7] == b"another"


@pytest.mark.usefixtures("way")
def test_in_place(bad: Path, tmp_path: Path) -> None:
    bad.chmod(0o604)
    (tmp_path / "link.vhd").symlink_to("in.vhd")
    old = bad.read_bytes()
    assert mend(tmp_path / "link.vhd", in_place=True).ok
    new = bad.read_bytes()
    assert check(bad).ok
    assert (new[: 3 * MIB], len(new)) == (old[: 3 * MIB], len(old))
    assert bad.stat().st_mode & 0o7777 == 0o604
    assert (tmp_path / "link.vhd").is_symlink()
    assert names(tmp_path) == {"in.vhd", "link.vhd"}
    before = bad.stat()
    assert mend(bad, in_place=True).changes == ()
    assert (bad.stat().st_ino, bad.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_in_place_keeps_the_owner(bad: Path) -> None:
    os.chown(bad, 1234, 4321)
    assert mend(bad, in_place=True).ok
    assert (bad.stat().st_uid, bad.stat().st_gid) == (1234, 4321)


@pytest.mark.usefixtures("way")
def test_nothing_is_overwritten(bad: Path, tmp_path: Path) -> None:
    (tmp_path / "other.vhd").write_bytes(b"other")
    (tmp_path / "link.vhd").symlink_to("in.vhd")
    (tmp_path / "dangling.vhd").symlink_to("nowhere")
    os.link(bad, tmp_path / "hard.vhd")
    old = bad.read_bytes()
    for name, why in {
        "in.vhd": "the image itself",
        "link.vhd": "the image itself",
        "hard.vhd": "the image itself",
        "other.vhd": "it exists",
        "dangling.vhd": "it exists",
        "nofolder/out.vhd": "No such file or directory",
    }.items():
        with pytest.raises(SourceError, match=why):
            mend(bad, tmp_path / name)
    with pytest.raises(SourceError, match="2 names"):
        mend(bad, in_place=True)
    assert (bad.read_bytes(), (tmp_path / "other.vhd").read_bytes()) == (old, b"other")
    assert names(tmp_path) == {"in.vhd", "link.vhd", "hard.vhd", "other.vhd", "dangling.vhd"}


def test_one_of_the_two_ways(bad: Path, tmp_path: Path) -> None:
    for arguments in ({}, {"out": tmp_path / "out.vhd", "in_place": True}):
        with pytest.raises(UsageError, match="one of the two"):
            mend(bad, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("by_hand", [False, True])
def test_holes_are_kept(by_hand: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if by_hand:  # as where the system has no call for it
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    image = fixed(39 * GIB, content=b"guest", hidden=1)
    path = image.put(20 * GIB, b"middle").write(tmp_path / "in.vhd")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert mend(path, tmp_path / "out.vhd").ok
    out = tmp_path / "out.vhd"
    assert out.stat().st_size == path.stat().st_size
    assert out.stat().st_blocks * 512 <= path.stat().st_blocks * 512 + 64 * 1024
    with out.open("rb") as file:
        assert file.read(5) == b"guest"
        file.seek(20 * GIB)
        assert file.read(6) == b"middle"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 64 * 1024


@pytest.mark.usefixtures("way")
def test_no_room(tmp_path: Path, bad: Path) -> None:
    """The kernel stops a file at a limit, as it does on a full disk; then nothing is left of it."""
    old = bad.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limit[1]))
    try:
        for arguments in ({"out": tmp_path / "out.vhd"}, {"in_place": True}):
            with pytest.raises(SourceError, match="cannot write: File too large"):
                mend(bad, **arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert names(tmp_path) == {"in.vhd"}
    assert bad.read_bytes() == old


def test_a_full_disk(tmp_path: Path, run: Run) -> None:
    """A file system of 4 MiB holds the image, and not a second one."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        path = folder / "in.vhd"
        path.write_bytes(random.Random(1).randbytes(3 * MIB) + fixed(3 * MIB, unique_id=bytes(16)).tobytes()[3 * MIB :])
        old = path.read_bytes()
        for words in (["in.vhd", "-o", "out.vhd"], ["in.vhd", "--in-place"]):
            done = run(*words, cwd=folder)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.endswith("cannot write: No space left on device\n")
            assert names(folder) == {"in.vhd"}
        assert path.read_bytes() == old
    finally:
        subprocess.run(["umount", folder], check=True)


def test_the_command(run: Run, bad: Path, tmp_path: Path) -> None:
    done = run("in.vhd", "-o", "out.vhd")
    new = (tmp_path / "out.vhd").read_bytes()
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, lines[0]) == (0, "", "in.vhd: mended, as out.vhd")
    assert lines[2] == f"  0x300044 footer.unique_id, 16 bytes: {bytes(16).hex(' ')} -> {new[ID].hex(' ')}"
    assert (run("out.vhd", "-o", "again.vhd").stdout) == "out.vhd: nothing to mend; again.vhd is a copy of it\n"
    assert (tmp_path / "again.vhd").read_bytes() == new
    assert run("in.vhd", "-o", "out.vhd").returncode == 2
    assert run("in.vhd", "--in-place").returncode == 0
    assert run("in.vhd", "--in-place").stdout == "in.vhd: nothing to mend\n"
    assert (run("in.vhd").returncode, run("nowhere.vhd", "-o", "x.vhd").returncode) == (2, 2)
    assert run("in.vhd", "-o", "y.vhd", "--target", "rackspaec").stderr.endswith("did you mean 'rackspace'?\n")
    done = run("--help")
    assert (done.returncode, done.stdout.isascii()) == (0, True)


def test_refused(run: Run, tmp_path: Path) -> None:
    dynamic(41 * GIB, unique_id=bytes(16), blocks=[0], content={0: b"data"}).write(tmp_path / "in.vhd")
    done = run("in.vhd", "-o", "out.vhd")
    assert (done.returncode, done.stderr) == (1, "")
    first, reason = done.stdout.splitlines()
    assert (first, "no partition table" in reason) == ("in.vhd: not mended, and nothing written:", True)
    assert names(tmp_path) == {"in.vhd"}
    assert run("in.vhd", "-o", "out.vhd", "--max-virtual-size", "41GiB").returncode == 0


def test_what_an_image_says_is_escaped(run: Run, tmp_path: Path) -> None:
    fixed(3 * MIB, creator=b"\x1b[2J", hidden=1).write(tmp_path / "a\x1b[2Jb.vhd")
    done = run("a\x1b[2Jb.vhd", "-o", "out.vhd")
    assert (done.returncode, done.stdout.isprintable(), "\x1b" in done.stdout) == (0, False, False)
    assert "a\\x1b[2Jb.vhd: mended" in done.stdout


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="the copy is made by other calls here")
def test_an_image_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: Path) -> None:
    copy = os.copy_file_range

    def written_to(*arguments: int) -> int:
        with bad.open("ab") as file:
            file.write(bytes(SECTOR))
        return copy(*arguments)

    monkeypatch.setattr(os, "copy_file_range", written_to)
    with pytest.raises(SourceError, match="changed"):
        mend(bad, tmp_path / "out.vhd")
    assert names(tmp_path) == {"in.vhd"}


def test_a_plan_alone(run: Run, tmp_path: Path) -> None:
    """--dry-run writes nothing, and its last line is the command that does it."""
    dynamic(10 * MIB, blocks=[1], content={1: b"data"}, unique_id=bytes(16)).write(tmp_path / "in.vhd")
    done = run("in.vhd", "--dry-run", "--target", "azure")
    assert (done.returncode, done.stderr, names(tmp_path)) == (0, "", {"in.vhd"})
    first, *steps, command = done.stdout.splitlines()
    assert (first, command.endswith("-m vhdcheck.mend in.vhd -o in-mended.vhd --target azure")) == (
        "in.vhd: can be mended for azure:",
        True,
    )
    assert steps[:5] == [
        "  correct the footers and the dynamic header",
        "  write the disk as a fixed one",
        "  enlarge the disk by zeros, from 10 MiB (10 485 760 bytes) to 20 MiB (20 971 520 bytes)",
        "  result: a fixed disk of 20 MiB (20 971 520 bytes), in a file of 20 MiB (20 972 032 bytes)",
        "  on the condition that sectors that a block's bitmap marks as empty hold only zeros",
    ]
    assert "GPT" in steps[5]
    done = run("in.vhd", "-o", "out.vhd", "--target", "azure")
    assert done.stdout.splitlines()[:4] == ["in.vhd: mended, as out.vhd", *steps[:3]]
    assert run("out.vhd", "--dry-run", "--target", "azure").stdout == "out.vhd: nothing to mend\n"
    (tmp_path / "no.vhd").write_bytes(b"<html>")
    done = run("no.vhd", "--dry-run")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "no.vhd: cannot be mended for rackspace:")
    assert run("in.vhd").returncode == 2


@pytest.mark.parametrize(
    ("source", "out", "words"),
    [
        ("https://user:pw@store.invalid/a.vhd?sig=abc", "b.vhd", "download the image first"),
        ("s3://bucket/a.vhd", "b.vhd", "download the image first"),
        ("a.vhd", "s3://bucket/b.vhd", "upload it afterwards"),
    ],
)
def test_a_url_is_refused_in_words(source: str, out: str, words: str, tmp_path: Path) -> None:
    dynamic(10 * MIB, saved_state=1).write(tmp_path / "a.vhd")
    with contextlib.chdir(tmp_path), pytest.raises(UsageError, match=words) as told:
        mend(source, out)
    assert "pw" not in str(told.value)
    assert "abc" not in str(told.value)
    with contextlib.chdir(tmp_path), pytest.raises(UsageError, match=words):
        plan(source, out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["a.vhd"]
