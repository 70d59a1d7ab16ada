"""New files: whole or not there, never over another, on any file system and with few of the system's calls."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.mend.driver import new, old
from vhdcheck import SourceError
from vhdcheck.mend import temporary
from vhdcheck.mend.files import output_path, replacing
from vhdcheck.mend.in_place import in_place

if TYPE_CHECKING:
    from pathlib import Path

WINDOWS: Final = (
    *("O_TMPFILE", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "pread", "pwrite", "copy_file_range", "posix_fadvise"),
    *("fchmod", "fchown", "listxattr", "getxattr", "setxattr", "removexattr", "SEEK_DATA", "SEEK_HOLE", "geteuid"),
)
"""Names of `os` that Windows has not, or not in every version. It was not run there: this is as near as it gets."""


def names(folder: Path) -> set[str]:
    """List a folder."""
    return {path.name for path in folder.iterdir()}


@pytest.fixture(params=["unnamed", "named", "no links", "Windows"])
def system(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system that has what this one has, or less; until `tmp_path` is cleared away."""
    gone = {"unnamed": (), "named": ("O_TMPFILE",), "no links": ("O_TMPFILE", "link"), "Windows": WINDOWS}
    for name in gone[request.param]:
        monkeypatch.delattr(os, name, raising=False)
    if request.param == "Windows":
        monkeypatch.setattr(temporary, "fcntl", None)
        monkeypatch.setattr(temporary, "PLAIN", 0)
    return str(request.param)


def write(image: Path, out: Path | str, data: bytes = new()) -> None:
    """Write a copy."""
    with replacing(out, source=image) as copy:
        copy.file.write(data)
        copy.commit()


def write_and_fail(image: Path, out: Path, error: BaseException) -> None:
    """Write a copy, and do not come to its end."""
    with replacing(out, source=image) as copy:
        copy.file.write(new())
        raise error


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image."""
    path = tmp_path / "in.vhd"
    path.write_bytes(old())
    return path


@pytest.mark.usefixtures("system")
def test_whole_or_not_at_all(image: Path, tmp_path: Path) -> None:
    write(image, tmp_path / "out.vhd")
    assert (tmp_path / "out.vhd").read_bytes() == new()
    with replacing(tmp_path / "not.vhd", source=image) as copy:
        copy.file.write(new())
    for error in (KeyboardInterrupt(), RuntimeError(), OSError(errno.ENOSPC, "No space left on device")):
        with pytest.raises((KeyboardInterrupt, RuntimeError, SourceError)):
            write_and_fail(image, tmp_path / "not.vhd", error)
    assert names(tmp_path) == {"in.vhd", "out.vhd"}


@pytest.mark.usefixtures("system")
def test_two_at_once(image: Path, tmp_path: Path) -> None:
    """One wins, and the other says so."""
    out = tmp_path / "out.vhd"
    with replacing(out, source=image) as one:
        one.file.write(b"one")
        with replacing(out, source=image) as other:
            other.file.write(b"other")
            one.commit()
            with pytest.raises(SourceError, match="it exists, and nothing is overwritten"):
                other.commit()
    assert out.read_bytes() == b"one"
    assert names(tmp_path) == {"in.vhd", "out.vhd"}


def test_many_processes_at_once(root: Path, image: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(root / "tests" / "mend" / "driver.py")]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    order = {
        "words": ["new", image.name, "out.vhd"],
        "folder": str(tmp_path),
        "without": ["O_TMPFILE", "link"],
        "environment": {},
    }
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(6)
        ]
        for run in runs:
            assert run.stdin is not None
            run.stdin.write(json.dumps(order) + "\n")
            run.stdin.flush()
        ends = [json.loads(run.communicate()[0]) for run in runs]
    assert sorted(status for status, _ in ends) == [0, 2, 2, 2, 2, 2]
    assert {words for status, words in ends if status} == {"out.vhd: it exists, and nothing is overwritten\n"}
    assert (tmp_path / "out.vhd").read_bytes() == new()
    assert names(tmp_path) == {"in.vhd", "out.vhd"}


@pytest.mark.usefixtures("system")
def test_nothing_is_overwritten(image: Path, tmp_path: Path) -> None:
    (tmp_path / "other.vhd").touch()
    (tmp_path / "link.vhd").symlink_to("in.vhd")
    (tmp_path / "dangling.vhd").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / image.name).write_bytes(image.read_bytes())
    if hasattr(os, "link"):
        os.link(image, tmp_path / "hard.vhd")
    before = names(tmp_path)
    for name, why in {
        "in.vhd": "it is the image itself; --in-place mends that",
        "link.vhd": "it is the image itself",
        "hard.vhd": "it is the image itself" if hasattr(os, "link") else None,
        "other.vhd": "it exists, and nothing is overwritten",
        "dangling.vhd": "it exists",
        "folder": "folder/in.vhd: it exists",
        ".": "in.vhd: it is the image itself",
        "nofolder/": "no such folder",
        "nofolder/out.vhd": "No such file or directory",
    }.items():
        if why is not None:
            with pytest.raises(SourceError, match=why):
                write(image, f"{tmp_path}/{name}")
    assert (image.read_bytes(), names(tmp_path)) == (old(), before)


def test_into_a_folder(image: Path, tmp_path: Path) -> None:
    for number, name in enumerate(["folder", "other/"]):
        folder = tmp_path / name
        folder.mkdir()
        write(image, f"{tmp_path}/{name}", bytes([number]))
        assert (folder / "in.vhd").read_bytes() == bytes([number])
    assert output_path("a/b.vhd", f"{tmp_path}/c.vhd") == tmp_path / "c.vhd"


@pytest.mark.usefixtures("system")
def test_a_name_as_long_as_names_can_be(image: Path, tmp_path: Path) -> None:
    out = tmp_path / ("é" * 125 + ".vhd")
    write(image, out)
    assert out.read_bytes() == new()


def test_what_a_killed_run_left_is_swept(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not what another run is writing, and nothing that is named otherwise."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    left = tmp_path / f"{temporary.mark('else.vhd')}.{'0' * 16}"
    left.write_bytes(new())
    others = {".vhdcheck-mend.txt", f"{temporary.mark('in.vhd')}.{'0' * 15}", ".vhdcheck-mend.00000000.journal"}
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / f"{temporary.mark('x')}.{'1' * 16}").symlink_to(image)
    with replacing(tmp_path / "a.vhd", source=image) as running:
        write(image, tmp_path / "b.vhd")
        assert running.temporary is not None
        assert running.temporary.exists()
        assert not left.exists()
        running.commit()
    assert names(tmp_path) - others - {f"{temporary.mark('x')}.{'1' * 16}"} == {"in.vhd", "a.vhd", "b.vhd"}
    assert image.read_bytes() == old()


def test_what_is_swept_without_locks(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "fcntl", None)
    young, aged = (tmp_path / f"{temporary.mark('x')}.{digit * 16}" for digit in "01")
    young.touch()
    aged.touch()
    os.utime(aged, (time.time() - 100, time.time() - 100))
    write(image, tmp_path / "out.vhd")
    assert names(tmp_path) == {"in.vhd", "out.vhd", young.name}


def test_an_empty_file_that_a_killed_run_left(image: Path, tmp_path: Path) -> None:
    """Where there are no hard links it takes the name for the whole file, which is still beside it."""
    out = tmp_path / "out.vhd"
    out.touch()
    with pytest.raises(SourceError, match="it exists"):
        write(image, out)
    (tmp_path / f"{temporary.mark('out.vhd')}.{'0' * 16}").write_bytes(new())
    write(image, out)
    assert (out.read_bytes(), names(tmp_path)) == (new(), {"in.vhd", "out.vhd"})


@pytest.mark.usefixtures("system")
def test_holes_stay_holes(image: Path, tmp_path: Path) -> None:
    with replacing(tmp_path / "out.vhd", source=image) as copy:
        copy.file.seek(1 << 32)
        copy.file.write(b"end")
        copy.commit()
    assert (tmp_path / "out.vhd").stat().st_size == (1 << 32) + 3
    assert (tmp_path / "out.vhd").stat().st_blocks < 1000


def test_permissions_are_the_images(image: Path, tmp_path: Path) -> None:
    image.chmod(0o640)
    with image.open("rb") as file, replacing(tmp_path / "out.vhd", source=image, like=file.fileno()) as copy:
        copy.commit()
    write(image, tmp_path / "own.vhd")
    assert [(tmp_path / name).stat().st_mode & 0o7777 for name in ("out.vhd", "own.vhd")] == [0o640, 0o600]


def mounted(stack: ExitStack, kind: str, folder: Path) -> Path:
    """Make a file system, and mount it; the test is skipped where that is not possible."""
    size, make, mount = {
        "FAT": ("64M", ["mkfs.fat"], ["fusefat", "DISK", "FOLDER", "-o", "rw+"]),
        "exFAT": ("256M", ["mkfs.exfat"], ["mount.exfat-fuse", "DEVICE", "FOLDER"]),
        "NTFS": ("64M", ["mkfs.ntfs", "-q", "-F"], ["ntfs-3g", "DISK", "FOLDER"]),
    }[kind]
    disk, point = folder / "disk", folder / "mounted"
    point.mkdir()

    def run(*words: str | Path) -> str:
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, check=True, timeout=60, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"{kind} cannot be mounted here: {error}")
        return done.stdout.strip()

    run("truncate", "-s", size, disk)
    run(*make, disk)
    device = ""
    if "DEVICE" in mount:
        device = run("losetup", "-f", "--show", disk)
        stack.callback(run, "losetup", "-d", device)
    run(*({"DISK": str(disk), "FOLDER": str(point), "DEVICE": device}.get(word, word) for word in mount))
    for _ in range(100):
        if point.is_mount():
            break
        time.sleep(0.02)
    else:
        pytest.skip(f"{kind} was not mounted")
    stack.callback(run, "umount", point)
    return point


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["FAT", "exFAT", "NTFS"])
def test_other_file_systems(kind: str, tmp_path: Path) -> None:
    """FAT and exFAT have no hard links, and FAT no permissions; all of them are drivers in user space here."""
    with ExitStack() as stack:
        folder = mounted(stack, kind, tmp_path)
        image = folder / "in.vhd"
        image.write_bytes(old())
        with image.open("rb") as file, replacing(folder / "out.vhd", source=image, like=file.fileno()) as copy:
            copy.file.write(new())
            copy.commit()
        assert (folder / "out.vhd").read_bytes() == new()
        for name in ("in.vhd", "out.vhd"):
            with pytest.raises(SourceError, match=r"it exists|the image itself"):
                write(image, folder / name)
        with replacing(folder / "two.vhd", source=image) as one:
            write(image, folder / "two.vhd", b"first")
            with pytest.raises(SourceError, match="it exists"):
                one.commit()
        assert (folder / "two.vhd").read_bytes() == b"first"
        with in_place(image) as held:
            held.correct({0: b"corrected"}, 100_000)
        assert image.read_bytes() == b"corrected" + old()[9:100_000]
        with in_place(image) as held, held.replaced() as copy:
            copy.file.write(new())
            copy.commit()
        assert image.read_bytes() == new()
        assert names(folder) - {"System Volume Information"} == {"in.vhd", "out.vhd", "two.vhd"}
