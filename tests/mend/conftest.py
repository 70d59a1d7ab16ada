"""What the tests of mending share: what is written, compared with what was said, and read by others."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import main
from tests.corpus.conftest import corpus, oracle
from vhdcheck import check
from vhdcheck.mend import Mending, mend, plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vhdcheck import Target

    Tool = Callable[..., str]

__all__ = ["corpus", "main", "oracle"]  # fixtures


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


def guest_data(path: Path) -> bytes | None:
    """Read the guest's disk with `struct` alone; None where an image is not whole enough for that.

    Sectors that a bitmap does not mark are zeros. Of a damaged footer the copy is taken.
    """
    data = path.read_bytes()
    tails = (data[-512:], data[-511:] + b"\0", data[:512])
    footer = next((raw for raw in tails if raw.startswith(b"conectix") and is_summed(raw, 64)), None)
    if footer is None:
        return None
    (at,), (size, kind) = struct.unpack(">Q", footer[16:24]), struct.unpack(">Q4xI", footer[48:64])
    if kind == 2:
        return data[:size] if size <= len(data) - 511 else None
    header = data[at : at + 1024]
    if kind != 3 or not header.startswith(b"cxsparse") or size > 64 << 20:
        return None
    table, entries, block = struct.unpack(">Q4xII", header[16:36])
    if block < 512 or block & (block - 1) or entries < -(-size // block) or table + 4 * entries > len(data):
        return None
    bitmap = -(-(block // 512 // 8 or 1) // 512) * 512
    disk = bytearray(-(-size // block) * block)
    for number, sector in enumerate(struct.unpack_from(f">{-(-size // block)}I", data, table)):
        start = sector * 512
        marks = -(-block // 4096)
        if block % 4096 == 0 and data[start : start + marks] == b"\xff" * marks:  # all sectors at once
            part = data[start + bitmap : start + bitmap + block]
            disk[number * block : number * block + len(part)] = part
            continue
        for place in range(block // 512 if sector != 0xFFFFFFFF else 0):
            if start + bitmap < len(data) and data[start + place // 8] & 0x80 >> place % 8:
                at = start + bitmap + place * 512
                part = data[at : at + 512]
                disk[number * block + place * 512 : number * block + place * 512 + len(part)] = part
    return bytes(disk[:size])


def is_summed(raw: bytes, at: int) -> bool:
    """Say whether a structure's checksum is right."""
    return ~(sum(raw) - sum(raw[at : at + 4])) & 0xFFFFFFFF == int.from_bytes(raw[at : at + 4], "big")


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


def assert_holds_the_same(source: Path, out: Path, mending: Mending) -> None:
    """Compare the guest's disk of an image that was written anew with the original's, as `struct` alone reads both."""
    if max(source.stat().st_size, out.stat().st_size, mending.plan.size) > 64 << 20:
        return
    new = guest_data(out)
    assert new is not None
    assert len(new) == mending.plan.size
    if mending.sums_zeros:
        assert hashlib.sha256(new).hexdigest() == mending.sha256
    is_raw = mending.before.image.footer is None
    old = source.read_bytes() if is_raw else guest_data(source)
    if old is not None:
        length = max(len(old), len(new))
        assert old.ljust(length, b"\0") == new.ljust(length, b"\0")


def option(path: Path) -> str:
    """Name an image to qemu so that it reads the whole disk."""
    return f"driver=vpc,force_size_calc=current_size,file.filename={path}"


def is_mistaken_by_qemu(mending: Mending) -> bool:
    """Say whether a fixed disk's content begins like a VHD, for which qemu then takes it."""
    return any(finding.slug == "content-looks-like-image" for finding in mending.before.findings)


def assert_others_read_it(source: Path, out: Path, mending: Mending, run_tool: Tool) -> None:
    """Let qemu and libvhdi open what was written; and compare the guest's data where the original can be read."""
    footer = mending.before.image.footer
    if is_mistaken_by_qemu(mending):
        return
    if footer is None:
        run_tool("qemu-img", "info", "--image-opts", option(out))
        run_tool("vhdiinfo", out)
        return
    run_tool("qemu-img", "info", "--image-opts", option(out))
    copy = mending.before.image.copy
    if copy is not None and copy.current_size != footer.current_size:
        return  # qemu reads the copy: which size is right is what was wrong
    block = mending.before.image.header.block_size if mending.before.image.header else 0
    if 0 < block < 4096:
        pass  # of such blocks qemu reads the bitmap as data, and says nothing
    elif footer.current_size <= 1 << 30 or source.stat().st_blocks * 512 < 64 << 20:
        words = ["qemu-img", "compare", "--image-opts", option(source), option(out)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in (0, 2), f"{source}: {done.stdout}{done.stderr}"  # 2: the original cannot be read
    if footer.disk_type != 4:  # not differencing: libvhdi wants the parent
        run_tool("vhdiinfo", out)


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk, where thousands of copies are written and none needs to outlive a power failure."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def mended(tmp_path: Path, run_tool: Tool, unsynced: None) -> Callable[..., Mending]:
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
        is_rebuilt = {step.kind for step in mending.plan.steps} - {"correct", "cut"}
        (assert_holds_the_same if is_rebuilt else assert_is_what_it_says)(source, out, mending)
        if mending.plan.steps and others:
            assert_others_read_it(source, out, mending, run_tool)
        again = plan(out, target=target, now=now)
        assert (again.possible, again.steps) == (True, ()), "nothing is left to do"
        return mending

    return into_a_copy
