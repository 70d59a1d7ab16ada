"""Whatever the caller has is read the same way; what cannot be read is a SourceError with its name."""

from __future__ import annotations

import array
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, dynamic, fixed
from vhdcheck import Severity, SourceError, Span, UsageError, check, iter_findings
from vhdcheck.sources import local
from vhdcheck.sources.local import BufferSource, FileSource, ObjectSource, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[..., Path]

IMAGE = dynamic(10 * MIB, blocks=[0], saved_state=1).tobytes()
SPANS = (Span(0, 8), Span(len(IMAGE) - 512, 512), Span(1536, 0))
PARTS = [IMAGE[:8], IMAGE[-512:], b""]


def test_every_kind_of_source_gives_the_same_bytes(write: Write) -> None:
    path = write(IMAGE)
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        sources: list[Any] = [
            *(path, str(path), IMAGE, bytearray(IMAGE), memoryview(IMAGE), io.BytesIO(IMAGE), file, raw),
            *(memoryview(array.array("I", IMAGE)), memoryview(b"x" + IMAGE)[1:]),
        ]
        for source in sources:
            with opened(source) as reader:
                assert reader.size == len(IMAGE)
                assert reader.read(SPANS) == PARTS
                assert all(type(part) is bytes for part in reader.read(SPANS))
                reader.verify()


def test_names(write: Write) -> None:
    path = write(IMAGE, "disk é.vhd")
    assert check(path).source == check(str(path)).source == str(path)
    assert check(IMAGE).source == "<bytes>"
    assert check(io.BytesIO(IMAGE)).source == "<file>"
    with path.open("rb") as file:
        assert check(file).source == str(path)
        assert check(file, name="disk of a customer").source == "disk of a customer"
    assert check(path, name="another").source == check(IMAGE, name="another").source == "another"


def test_many_spans_are_prefetched_and_read(write: Write) -> None:
    source = FileSource(write(IMAGE))
    spans = [Span(offset, 16) for offset in range(0, 16_000, 1000)]
    assert source.read(spans) == [IMAGE[span.offset : span.end] for span in spans]
    source.close()


@pytest.mark.parametrize("position", [0, 7, len(IMAGE), len(IMAGE) + 9])
def test_a_file_object_s_position_is_put_back(position: int) -> None:
    file = io.BytesIO(IMAGE)
    file.seek(position)
    check(file)
    assert file.tell() == position
    list(iter_findings(file))
    assert file.tell() == position
    assert not file.closed


def test_a_file_object_s_position_is_put_back_by_who_stops_early() -> None:
    file = io.BytesIO(IMAGE)
    file.seek(7)
    findings = iter_findings(file)
    next(findings)
    findings.close()  # type: ignore[attr-defined]
    assert file.tell() == 7


def test_a_file_object_s_position_is_put_back_after_an_error() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            super().read(size)
            raise OSError(5, "Input/output error")

    file = Broken(IMAGE)
    file.seek(7)
    with pytest.raises(SourceError, match=r"<file>: Input/output error"):
        check(file)
    assert file.tell() == 7


def test_a_file_that_is_read_in_small_pieces(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(IMAGE)
    monkeypatch.setattr(local, "_pread", lambda descriptor, length, at: os.pread(descriptor, min(length, 100), at))
    assert check(path).findings == check(IMAGE).findings


def test_reads_that_come_in_small_pieces() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(100, size if size is not None and size >= 0 else 100))

    assert check(Slow(IMAGE)).findings == check(IMAGE).findings


@pytest.mark.parametrize("data", [b"text " * 2000, IMAGE, b"\xff" * 9000], ids=["text", "image", "not UTF-8"])
def test_a_file_opened_as_text_is_the_caller_s_mistake(data: bytes, write: Write) -> None:
    path = write(data)
    with path.open(encoding="utf-8") as file, pytest.raises(UsageError, match="binary"):
        check(file)  # type: ignore[arg-type]


def test_a_text_buffer_is_the_caller_s_mistake() -> None:
    with pytest.raises(UsageError, match="binary"):
        check(io.StringIO("conectix" * 1000))  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [None, 3, 1.5, [b"x"], object(), io])
def test_what_is_no_source_is_the_caller_s_mistake(source: Any) -> None:
    with pytest.raises(UsageError, match="neither a path, nor bytes, nor an open binary file"):
        check(source)


def test_a_view_with_holes_is_read_or_the_caller_s_mistake() -> None:
    try:
        report = check(memoryview(IMAGE + IMAGE)[::2])
    except UsageError:
        return
    assert not report.ok


def test_a_file_object_that_cannot_seek(write: Write) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as pipe, os.fdopen(writing, "wb"), pytest.raises(SourceError):
        check(pipe)
    closed = io.BytesIO(IMAGE)
    closed.close()
    with pytest.raises(SourceError, match="closed"):
        check(closed)
    with write(IMAGE).open("ab") as appending, pytest.raises(SourceError):
        check(appending)


def test_a_missing_file() -> None:
    with pytest.raises(SourceError, match=r"no/such\.vhd: No such file"):
        check("no/such.vhd")
    with pytest.raises(SourceError, match=r"no/such\.vhd: No such file"):
        check(Path("no/such.vhd"))
    with pytest.raises(SourceError, match="shown: No such file"):
        check("no/such.vhd", name="shown")


def test_paths_that_cannot_be() -> None:
    for path in ("", "a\0b", "x" * 5000):
        with pytest.raises(SourceError):
            check(path)


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"{tmp_path}: a directory"):
        check(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.vhd"
    os.mkfifo(fifo)
    with pytest.raises(SourceError, match=r"fifo\.vhd: .*pipe"):
        check(fifo)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="this system has no /dev/null")
def test_a_device_that_is_no_disk() -> None:
    with pytest.raises(SourceError, match="/dev/null: a device"):
        check("/dev/null")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(write: Write) -> None:
    path = write(IMAGE)
    path.chmod(0)
    with pytest.raises(SourceError, match=r"image\.vhd: Permission denied"):
        check(path)


def test_a_link_is_followed(write: Write, tmp_path: Path) -> None:
    (tmp_path / "link.vhd").symlink_to(write(IMAGE))
    assert check(tmp_path / "link.vhd").findings == check(IMAGE).findings


def changed(path: Path, change: Callable[[Path], object]) -> None:
    """Check a file that is changed after its first finding."""
    findings = iter_findings(path, target="generic")
    assert next(findings).severity is Severity.WARNING  # the saved state: the footer is known, the table is not
    change(path)
    list(findings)


def truncate(path: Path, length: int) -> None:
    """Cut a file, or make it longer."""
    with path.open("r+b") as file:
        file.truncate(length)


FAR = dynamic(40 << 30, blocks=[0], saved_state=1).tobytes()  # its table does not fit into what is read first


def test_a_file_that_shrinks(write: Write) -> None:
    with pytest.raises(SourceError, match=r"image\.vhd: the file became shorter"):
        changed(write(FAR), lambda path: truncate(path, 5000))


def test_a_file_that_grows(write: Write) -> None:
    with pytest.raises(SourceError, match=r"image\.vhd: the file changed"):
        changed(write(FAR), lambda path: truncate(path, len(FAR) + 1))


def test_a_file_that_is_written_to(write: Write) -> None:
    path = write(FAR)
    before = path.stat().st_mtime_ns
    with pytest.raises(SourceError, match=r"image\.vhd: the file changed"):
        changed(path, lambda path: os.utime(path, ns=(before, before + 1)))


def test_a_file_that_is_replaced_is_read_to_its_end(write: Write, tmp_path: Path) -> None:
    path = write(FAR)
    changed(path, lambda path: write(b"new", "new").replace(path))


def test_a_buffer_object_that_changes() -> None:
    for length in (5000, len(FAR) + 1):
        file = io.BytesIO(FAR)
        findings = iter_findings(file)
        next(findings)
        file.truncate(length)
        file.seek(0, io.SEEK_END)
        file.write(bytes(max(0, length - file.tell())))
        with pytest.raises(SourceError, match=r"<file>: the file (became shorter|changed)"):
            list(findings)


def test_drivers_know_their_length_at_once(write: Write) -> None:
    source = FileSource(write(IMAGE))
    assert (source.size, BufferSource(IMAGE, "n").size, ObjectSource(io.BytesIO(IMAGE)).size) == (len(IMAGE),) * 3
    source.close()


def descriptors() -> int:
    """Count what is open; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_files_are_closed(write: Write) -> None:
    path = write(IMAGE)
    before = descriptors()
    check(path)
    stopped = iter_findings(path)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    not_begun = iter_findings(path)
    assert descriptors() == before
    del not_begun
    with pytest.raises(SourceError):
        check(path.parent)
    assert descriptors() == before


def test_errors_are_both_ours_and_the_system_s() -> None:
    assert issubclass(SourceError, OSError)
    assert issubclass(UsageError, ValueError)


def test_a_sparse_file_of_terabytes(tmp_path: Path) -> None:
    try:
        path = fixed(2040 << 30).write(tmp_path / "image.vhd")
    except OSError as error:
        pytest.skip(f"this file system has no room for a sparse file of 2040 GiB: {error}")
    report = check(path, target="generic")
    assert (report.ok, report.bytes_read) == (True, 8192)
