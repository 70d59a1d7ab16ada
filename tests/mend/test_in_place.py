"""Images that are mended where they are: who may have them open meanwhile, what is kept, what is refused."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mend.driver import SIZE, new, old, pieces
from vhdcheck import SourceError
from vhdcheck.mend import holding, temporary
from vhdcheck.mend.in_place import in_place, interrupted
from vhdcheck.mend.journal import MOST, Journal, journal_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="no leases: nothing is mended in place")

HAS_OPENED = "import sys, time; file = open(sys.argv[1], sys.argv[2]); print('open', flush=True); time.sleep(60)"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image."""
    path = tmp_path / "in.vhd"
    path.write_bytes(old())
    return path


def correct(path: Path, cut: int = 0) -> None:
    """Correct its bytes."""
    with in_place(path) as image:
        image.correct(pieces(cut), SIZE - cut)


def replace(path: Path) -> None:
    """Put another file in its place."""
    with in_place(path) as image, image.replaced() as copy:
        copy.file.write(new())
        copy.commit()


@contextmanager
def opened(path: Path, mode: str) -> Iterator[None]:
    """Let another process have it open."""
    words = [sys.executable, "-c", HAS_OPENED, str(path), mode]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def names(folder: Path) -> set[str]:
    """List a folder."""
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("way", [correct, replace])
def test_it_is_mended(way: object, image: Path, tmp_path: Path) -> None:
    (tmp_path / "link.vhd").symlink_to("in.vhd")
    image.chmod(0o604)
    way(tmp_path / "link.vhd")  # type: ignore[operator]
    assert image.read_bytes() == new()
    assert image.stat().st_mode & 0o7777 == 0o604
    assert (tmp_path / "link.vhd").is_symlink()
    assert names(tmp_path) == {"in.vhd", "link.vhd"}


@pytest.mark.parametrize("way", [correct, replace])
def test_a_writer_at_work(way: object, image: Path, tmp_path: Path) -> None:
    with opened(image, "r+b"), pytest.raises(SourceError, match="has the image open for writing: close it there"):
        way(image)  # type: ignore[operator]
    assert (image.read_bytes(), names(tmp_path)) == (old(), {"in.vhd"})
    way(image)  # type: ignore[operator]


def test_a_reader_keeps_bytes_from_being_corrected(image: Path, tmp_path: Path) -> None:
    with opened(image, "rb"):
        with pytest.raises(SourceError, match="another program has the image open: close it there first"):
            correct(image)
        assert (image.read_bytes(), names(tmp_path)) == (old(), {"in.vhd"})
        replace(image)
    assert image.read_bytes() == new()


def test_who_reads_it_goes_on_with_the_old_one(image: Path) -> None:
    with image.open("rb") as reader:
        replace(image)
        assert reader.read() == old()


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_writer_that_comes_meanwhile(seconds: float, image: Path, tmp_path: Path) -> None:
    """It waits until the image is let go; and gets the old one, so the new one does not take its place."""
    wrote = threading.Event()

    def write() -> None:
        subprocess.run([sys.executable, "-c", f"open({str(image)!r}, 'r+b').write(b'guest')"], check=True, timeout=60)
        wrote.set()

    with in_place(image) as held:
        writer = threading.Thread(target=write)
        with held.replaced() as copy:
            writer.start()
            while holding.is_held(held.file.fileno()):
                time.sleep(0.01)
            time.sleep(seconds)
            assert not wrote.is_set()
            copy.file.write(new())
            with pytest.raises(SourceError, match="opened the image for writing meanwhile: nothing is changed"):
                copy.commit()
    writer.join()
    assert image.read_bytes() == b"guest" + old()[5:]
    assert names(tmp_path) == {"in.vhd"}


def test_two_at_once(image: Path, tmp_path: Path) -> None:
    with in_place(image) as one, in_place(image) as other, one.replaced() as first, other.replaced() as second:
        first.file.write(new())
        first.commit()
        second.file.write(b"second")
        with pytest.raises(SourceError, match="another file took the image's place meanwhile"):
            second.commit()
    with (
        in_place(image) as one,
        in_place(image),
        pytest.raises(SourceError, match="another program has the image open"),
    ):
        one.correct({0: b"second"}, SIZE)
    assert (image.read_bytes(), names(tmp_path)) == (new(), {"in.vhd"})


def another_file(image: Path) -> None:
    """Give its name to another file, which no lease keeps anyone from."""
    other = image.with_name("other.vhd")
    other.write_bytes(old())
    other.replace(image)


def another_time(image: Path) -> None:
    """Set its time, as who wrote to it would."""
    os.utime(image, ns=(0, image.stat().st_mtime_ns - 1))


@pytest.mark.parametrize(("happens", "told"), [(another_file, "another file took"), (another_time, "the file changed")])
def test_what_happens_between_reading_and_writing(happens: Callable[[Path], None], told: str, image: Path) -> None:
    with in_place(image) as held:
        happens(image)
        with pytest.raises(SourceError, match=told):
            held.correct(pieces(), SIZE)
    with in_place(image) as held, held.replaced() as copy:
        happens(image)
        copy.file.write(new())
        with pytest.raises(SourceError, match=told):
            copy.commit()
    assert image.read_bytes() == old()
    assert names(image.parent) == {"in.vhd"}


def test_other_names(image: Path, tmp_path: Path) -> None:
    """A new file would leave them the old one; corrected bytes are theirs too."""
    os.link(image, tmp_path / "hard.vhd")
    with pytest.raises(SourceError, match="2 names"):
        replace(image)
    assert image.read_bytes() == old()
    correct(image)
    assert (tmp_path / "hard.vhd").read_bytes() == new()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("way", [correct, replace])
def test_the_owner_is_kept(way: object, image: Path) -> None:
    os.chown(image, 1234, 4321)
    image.chmod(0o6640)
    way(image)  # type: ignore[operator]
    state = image.stat()
    assert (state.st_uid, state.st_gid) == (1234, 4321)
    assert state.st_mode & 0o777 == 0o640
    if way is replace:
        assert state.st_mode & 0o7777 == 0o6640


def acl(*, user: int) -> bytes:
    """Encode an ACL that lets a user read: version, then tag, permissions, ID of each entry."""
    entries = [(1, 6, -1), (2, 4, user), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def attributes(path: Path) -> dict[str, bytes]:
    """Read a file's attributes."""
    return {key: os.getxattr(path, key) for key in os.listxattr(path)}


@pytest.mark.parametrize("way", [correct, replace])
def test_attributes_and_acls_are_kept(way: object, image: Path, tmp_path: Path) -> None:
    try:
        os.setxattr(image, "user.origin", b"somewhere")
        os.setxattr(image, "system.posix_acl_access", acl(user=1234))
        os.setxattr(tmp_path, "system.posix_acl_default", acl(user=77))  # what new files there get
    except OSError as error:
        pytest.skip(f"no attributes on this file system: {error}")
    before = attributes(image)
    assert before.keys() >= {"user.origin", "system.posix_acl_access"}
    way(image)  # type: ignore[operator]
    assert attributes(image) == before
    os.removexattr(image, "system.posix_acl_access")
    before = attributes(image)
    image.write_bytes(old())
    way(image)  # type: ignore[operator]
    assert attributes(image) == before, "what the folder gives is taken away"


@pytest.mark.parametrize("name", ["setxattr", "fchown", "fchmod"])
def test_what_cannot_be_kept_is_refused(
    name: str, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    os.setxattr(image, "user.origin", b"somewhere")
    if os.geteuid() == 0:
        os.chown(image, 1234, 4321)
    elif name == "fchown":
        pytest.skip("only root can give a file away")
    image.chmod(0o640)
    monkeypatch.setattr(os, name, refuse)
    with pytest.raises(SourceError, match=r"cannot be kept.*write a copy with -o instead"):
        replace(image)
    assert (image.read_bytes(), names(tmp_path)) == (old(), {"in.vhd"})


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_somebody_elses_image(root: Path) -> None:
    """Only its owner gets a lease."""
    code = (
        "import os, sys; from vhdcheck.mend.in_place import in_place; os.setgid(1234); os.setuid(1234)\n"
        "try: in_place(sys.argv[1]).__enter__()\n"
        "except OSError as error: print(error)"
    )
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "in.vhd"
        image.write_bytes(old())
        for path in (image, image.parent):
            path.chmod(0o777)
        words = [sys.executable, "-c", code, str(image)]
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True)
    assert "only the owner of the image, or root, can tell whether another program has the image open" in done.stdout


def test_a_system_without_leases(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "fcntl", None)
    monkeypatch.setattr(temporary, "fcntl", None)
    with pytest.raises(SourceError, match="cannot tell whether another program has the image open: write a copy"):
        replace(image)
    assert image.read_bytes() == old()


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, why in {"pipe": "not a regular file", ".": "not a regular file", "nowhere": "no such file"}.items():
        with pytest.raises(SourceError, match=why):
            correct(tmp_path / name)


def test_what_is_too_much_or_behind_the_end(image: Path) -> None:
    with in_place(image) as held:
        for wrong in ({0: bytes(MOST + 1)}, {SIZE - 1: b"ab"}):
            with pytest.raises(ValueError, match="too much"):
                held.correct(wrong, max(SIZE, 0))
        assert held.file.read() == old()


def half_done(image: Path, *, cut: int = 0) -> Path:
    """Leave what a killed run leaves: the journal, and some of the pieces new."""
    with image.open("r+b", buffering=0) as file:
        journal = Journal.of(file, image.name, pieces(cut), SIZE - cut)
        journal.write(journal_path(image))
        file.seek(0)
        file.write(pieces()[0][:100])
    return journal_path(image)


@pytest.mark.parametrize("cut", [0, 1000, -300])
def test_a_killed_run_is_put_back(cut: int, image: Path, tmp_path: Path) -> None:
    half_done(image, cut=cut)
    assert image.read_bytes() != old()
    assert interrupted(image)
    with in_place(image):
        pass
    assert not interrupted(image)
    assert (image.read_bytes(), names(tmp_path)) == (old(), {"in.vhd"})


def test_who_wrote_since_is_not_undone(image: Path) -> None:
    path = half_done(image)
    with image.open("r+b") as file:
        file.seek(300)
        file.write(b"guest")
    found = image.read_bytes()
    with pytest.raises(SourceError, match="other bytes were written to the image since") as caught:
        correct(image)
    assert str(path) in str(caught.value)
    assert image.read_bytes() == found
    path.unlink()
    correct(image)


@pytest.mark.parametrize(
    ("cut", "size"),
    [
        *((0, SIZE + 10), (0, SIZE - 1)),
        *((1000, SIZE + 1), (1000, SIZE - 500), (1000, SIZE - 1000), (1000, SIZE - 1001)),
        *((-300, SIZE + 301), (-300, SIZE - 1)),
    ],
)
def test_a_length_that_no_killed_run_leaves(cut: int, size: int, image: Path) -> None:
    """Somebody else made it so: what they added is not cut off, and what is gone is not made zeros."""
    half_done(image, cut=cut)
    os.truncate(image, size)
    found = image.read_bytes()
    with pytest.raises(SourceError, match="other bytes were written to the image since"):
        correct(image)
    assert image.read_bytes() == found


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\0" * 100, b'{"vhdcheck-mend": 1}\n' + b"0" * 64 + b"\n"],
    ids=["empty", "no", "zeros", "sum"],
)
def test_a_journal_that_is_not_whole(content: bytes, image: Path, tmp_path: Path) -> None:
    """Nothing was written to the image then."""
    journal_path(image).write_bytes(content)
    assert not interrupted(image)
    with in_place(image):
        pass
    assert (image.read_bytes(), names(tmp_path)) == (old(), {"in.vhd"})


@pytest.mark.parametrize(
    "lies",
    [
        {"pieces": ((-1, b"", b"x"),)},
        {"pieces": ((1 << 70, b"", b"x"),)},
        {"pieces": ((0, b"long", b"x"),)},
        {"old_size": 1 << 80},
        {"new_size": 10, "pieces": ((8, b"", b"abc"),)},
    ],
)
def test_a_journal_of_a_stranger(lies: dict[str, object], image: Path, tmp_path: Path) -> None:
    given = {"image": "in.vhd", "old_size": SIZE, "new_size": SIZE, "pieces": (), **lies}
    journal_path(image).write_bytes(Journal(**given).encode())  # type: ignore[arg-type]
    with in_place(image):
        pass
    assert (image.read_bytes(), names(tmp_path)) == (old(), {"in.vhd"})
