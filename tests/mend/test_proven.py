"""A copy is read back before it has a name: on a medium that writes another byte than it was given, there is none."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, SECTOR, Image, dynamic, fixed
from vhdcheck import SourceError
from vhdcheck.mend import mend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="the calls of Linux")

GUEST = random.Random(1).randbytes(3 * MIB)
DATA = "the copy does not hold the same data, so that it was not kept"
VERDICT = r"the copy would not be accepted, so that it was not kept \(VHD"


def lie(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Have the system write another byte at one place of a file."""

    def told(data: Any, offset: int) -> bytes:
        wrong = bytearray(data)
        if offset <= at < offset + len(wrong):
            wrong[at - offset] ^= 1
        return bytes(wrong)

    def pwrite(descriptor: int, data: Any, offset: int, real: Callable[..., int] = os.pwrite) -> int:
        return real(descriptor, told(data, offset), offset)

    def pwritev(descriptor: int, parts: Any, offset: int) -> int:
        return pwrite(descriptor, b"".join(map(bytes, parts)), offset)

    copy_file_range = os.copy_file_range

    def copied(source: int, to: int, count: int, start: int, offset: int) -> int:
        done = copy_file_range(source, to, count, start, offset)
        if offset <= at < offset + done:
            pwrite(to, os.pread(to, 1, at), at)
        return done

    for name, call in {"pwrite": pwrite, "pwritev": pwritev, "copy_file_range": copied}.items():
        monkeypatch.setattr(os, name, call)


SMALL = fixed(3 * MIB, content=GUEST, unique_id=bytes(16))
FIXED = fixed(3 * MIB, content=GUEST)
DYNAMIC = dynamic(4 * MIB, blocks=[1, 0], content={0: GUEST[: 2 * MIB], 1: GUEST[2 * MIB :]})


CASES = [
    (SMALL, {"target": "rackspace"}, 0, DATA),
    (SMALL, {"target": "rackspace"}, 3 * MIB - 1, DATA),
    (DYNAMIC, {"to": "fixed"}, 0, DATA),
    (DYNAMIC, {"to": "fixed"}, 3 * MIB - 1, DATA),
    (DYNAMIC, {"to": "fixed"}, 4 * MIB + 100, VERDICT),
    (FIXED, {"to": "dynamic"}, 2048 + SECTOR, DATA),
    (FIXED, {"to": "dynamic"}, 2048 + 4097 * SECTOR + SECTOR + MIB - 1, DATA),
    (FIXED, {"to": "dynamic"}, 1536 + 1, VERDICT),
    (FIXED, {"to": "dynamic"}, 512, VERDICT),
]
"""What is written anew, as what; which byte of the copy is wrong, and what is said of it."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("where", [{"out": "out.vhd"}, {"in_place": True}], ids=["copy", "in place"])
def test_a_wrong_byte(
    case: tuple[Image, dict[str, str], int, str], where: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, options, at, told = case
    path = image.write(tmp_path / "in.vhd")
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    asked: dict[str, Any] = {"target": "generic", **where, **options}
    with monkeypatch.context() as lying:
        lie(lying, at)
        with pytest.raises(SourceError, match=told):
            mend(path, **asked)
    assert {each.name for each in tmp_path.iterdir()} == {"in.vhd"}
    assert path.read_bytes() == before
    assert mend(path, **asked).ok


@pytest.mark.parametrize("most", [0, 100, 511])
def test_a_copy_that_is_read_back_in_pieces(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = SMALL.write(tmp_path / "in.vhd"), tmp_path / "out.vhd"
    real = os.pread
    with monkeypatch.context() as slow:
        slow.setattr(os, "pread", lambda descriptor, length, at: real(descriptor, min(length, most), at))
        if most:
            assert mend(path, out).ok
        else:
            with pytest.raises(SourceError, match=r"out\.vhd: it became shorter while it was read back"):
                mend(path, out)
    assert out.exists() == bool(most)


def test_a_copy_that_cannot_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    path = SMALL.write(tmp_path / "in.vhd")
    with monkeypatch.context() as medium:
        medium.setattr(os, "pread", broken)
        with pytest.raises(SourceError, match=r"out\.vhd: cannot read it back: Input/output error"):
            mend(path, tmp_path / "out.vhd")
    assert {each.name for each in tmp_path.iterdir()} == {"in.vhd"}
