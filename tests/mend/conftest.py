"""What the tests of mending share: what is written, compared with what was said, and read by others."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.corpus.conftest import corpus, oracle
from vhdcheck import check
from vhdcheck.mend import Mending, mend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vhdcheck import Target

    Tool = Callable[..., str]

__all__ = ["corpus", "oracle"]  # fixtures


def guest_ranges(path: Path) -> list[tuple[int, int]]:
    """Say where guest data and bitmaps are, by the mended file's own word; with `struct` alone."""
    with path.open("rb") as file:
        file.seek(-512, 2)
        footer = file.read(512)
        footer = footer if footer.startswith(b"conectix") else footer[1:]  # 511 bytes
        (data_offset,), (current, kind) = struct.unpack(">Q", footer[16:24]), struct.unpack(">Q4xI", footer[48:64])
        if kind == 2:
            return [(0, current)]
        file.seek(data_offset)
        header = file.read(1024)
        table, entries, block = struct.unpack(">Q4xII", header[16:36])
        file.seek(table)
        bat = struct.unpack(f">{entries}I", file.read(4 * entries))
    slot = -(-(block // 512 // 8 or 1) // 512) * 512 + block
    return [(table, table + 4 * entries), *((at * 512, at * 512 + slot) for at in bat if at != 0xFFFFFFFF)]


def assert_is_what_it_says(source: Path, out: Path, mending: Mending) -> None:
    """Compare both files byte by byte: they differ in the stated ranges and nowhere else, and not in guest data."""
    said = {change.offset: change for change in mending.changes}
    for start, end in guest_ranges(out):
        for change in said.values():
            assert change.offset >= end or change.offset + change.length <= start, change
    with source.open("rb") as old, out.open("rb") as new:
        size, new_size = old.seek(0, 2), new.seek(0, 2)
        for change in said.values():
            old.seek(change.offset)
            new.seek(change.offset)
            assert old.read(len(change.old)) == change.old, change
            assert new.read(len(change.new)) == change.new, change
        if max(size, new_size) > 64 << 20:
            return
        old.seek(0)
        new.seek(0)
        before, after = bytearray(old.read()), new.read()
    cut = [change for change in said.values() if change.old and not change.new]
    for change in cut:
        del before[change.offset :]
    for change in said.values():
        if change not in cut:
            before[change.offset : change.offset + len(change.old)] = change.new
    assert bytes(before) == after


def option(path: Path) -> str:
    """Name an image to qemu so that it reads the whole disk."""
    return f"driver=vpc,force_size_calc=current_size,file.filename={path}"


def is_mistaken_by_qemu(mending: Mending) -> bool:
    """Say whether a fixed disk's content begins like a VHD, for which qemu then takes it."""
    return any(finding.slug == "content-looks-like-image" for finding in mending.before.findings)


def assert_others_read_it(source: Path, out: Path, mending: Mending, run_tool: Tool) -> None:
    """Let qemu and libvhdi open what was written; and compare the guest's data where the original can be read."""
    footer = mending.before.image.footer
    assert footer is not None
    if is_mistaken_by_qemu(mending):
        return
    run_tool("qemu-img", "info", "--image-opts", option(out))
    copy = mending.before.image.copy
    if copy is not None and copy.current_size != footer.current_size:
        return  # qemu reads the copy: which size is right is what was wrong
    if footer.current_size <= 1 << 30 or source.stat().st_blocks * 512 < 64 << 20:
        words = ["qemu-img", "compare", "--image-opts", option(source), option(out)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in (0, 2), f"{source}: {done.stdout}{done.stderr}"  # 2: the original cannot be read
    if footer.disk_type != 4:  # not differencing: libvhdi wants the parent
        run_tool("vhdiinfo", out)


@pytest.fixture
def mended(tmp_path: Path, run_tool: Tool) -> Callable[..., Mending]:
    """Mend an image into a new file, and hold whatever is promised of the result."""

    def into_a_copy(source: Path, *, target: str | Target = "generic", now: float, others: bool = False) -> Mending:
        out = tmp_path / "mended.out"
        out.unlink(missing_ok=True)
        before = source.stat()
        mending = mend(source, out, target=target, now=now)
        assert (source.stat().st_size, source.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        if not mending.ok:
            assert not out.exists()
            assert mending.changes == ()
            assert mending.after is None
            return mending
        report = check(out, target=target, now=now)
        assert report.ok
        assert mending.after is not None
        assert report.findings == mending.after.findings
        assert_is_what_it_says(source, out, mending)
        if mending.changes and others:
            assert_others_read_it(source, out, mending, run_tool)
        again = tmp_path / "again.out"
        again.unlink(missing_ok=True)
        second = mend(out, again, target=target, now=now)
        assert (second.ok, second.changes) == (True, ())
        return mending

    return into_a_copy
