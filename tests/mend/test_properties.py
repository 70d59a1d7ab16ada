"""What holds for any image: one damage of a mendable kind is undone, and any bytes at all end in a result."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import EPOCH, KIB, MIB, QEMU, TAP, checksum, differencing, dynamic, fixed
from vhdcheck import check
from vhdcheck.mend import Mending, mend

pytestmark = pytest.mark.usefixtures("unsynced")

NOW = EPOCH + 800_000_000
SMALL: dict[str, Any] = {"block_size": 4 * KIB}
DISK = 963 * 5 * 17 * 512  # what its geometry spans
CLEAN = {
    "fixed": fixed(8 * KIB, content=b"guest").tobytes(),
    "fixed, qemu": fixed(4 * 17 * 512, **QEMU).tobytes(),
    "dynamic": dynamic(20 * KIB, blocks=[3, 0], content={0: b"boot", 3: b"data"}, **SMALL).tobytes(),
    "dynamic, spread": dynamic(20 * KIB, blocks=[0, 3], header_offset=4096, table_offset=8192, **SMALL).tobytes(),
    "empty": dynamic(DISK).tobytes(),
    "XenServer": dynamic(20 * KIB, blocks=[0, 3], **SMALL, **TAP).tobytes(),
    "differencing": differencing(20 * KIB, blocks=[0], **SMALL).tobytes(),
    "block of 2 MiB": dynamic(DISK, blocks=[2], content={2: b"data"}).tobytes(),
}
SPARSE = [name for name in CLEAN if not name.startswith("fixed")]
FOOTER = 512


def mended(data: bytes, target: str = "generic") -> tuple[Mending, bytes | None]:
    """Mend bytes by way of files; nothing but the two files is there afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.vhd", Path(folder) / "out.vhd"
        source.write_bytes(data)
        mending = mend(source, out, target=target, now=NOW)
        assert source.read_bytes() == data
        written = out.read_bytes() if out.exists() else None
        assert {path.name for path in Path(folder).iterdir()} == {
            "in.vhd",
            *(["out.vhd"] if written is not None else []),
        }
    assert mending.ok == (written is not None)
    return mending, written


def signed(data: bytearray, start: int, *, at: int = 64, size: int = FOOTER) -> None:
    """Compute a structure's checksum anew, after a change."""
    data[start + at : start + at + 4] = checksum(bytes(data[start : start + size]), at).to_bytes(4, "big")


def places(name: str) -> list[int]:
    """Say where the footers are."""
    return [len(CLEAN[name]) - FOOTER, *([0] if name in SPARSE else [])]


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_image_is_copied_as_it_is(name: str) -> None:
    mending, written = mended(CLEAN[name])
    assert (mending.changes, written) == ((), CLEAN[name])


@given(st.sampled_from(SPARSE), st.sampled_from([0, -FOOTER]), st.binary(min_size=1, max_size=64), st.data())
def test_one_damaged_footer(name: str, start: int, noise: bytes, data: st.DataObject) -> None:
    damaged = bytearray(CLEAN[name])
    at = data.draw(st.integers(0, FOOTER - len(noise)))
    begin = start % len(damaged) + at
    damaged[begin : begin + len(noise)] = noise
    # A fixed disk by the footer at the end, a dynamic one by its copy: two readings, so it is refused.
    if damaged[-FOOTER + 60 : -FOOTER + 64] == b"\0\0\0\2" or damaged[-FOOTER : -FOOTER + 8] == b"v_poison":
        return
    mending, written = mended(bytes(damaged))
    assert (written, mending.reasons) == (CLEAN[name], ())


@given(st.sampled_from(SPARSE), st.sampled_from([0, -FOOTER]), st.sampled_from([0, 0xFF]))
def test_one_footer_wiped_out(name: str, start: int, byte: int) -> None:
    damaged = bytearray(CLEAN[name])
    begin = start % len(damaged)
    damaged[begin : begin + FOOTER] = bytes([byte]) * FOOTER
    mending, written = mended(bytes(damaged))
    if start and byte:
        assert mending.reasons[0].startswith("where the footer should stand"), "it might be data"
    else:
        assert written == CLEAN[name]


@given(st.sampled_from(SPARSE), st.integers(1, FOOTER))
def test_the_end_cut_off_within_the_footer(name: str, cut: int) -> None:
    mending, written = mended(CLEAN[name][:-cut])
    assert (written, mending.reasons) == (CLEAN[name], ())


@given(st.sampled_from(sorted(CLEAN)), st.binary(min_size=1, max_size=40 * KIB))
def test_trailing_bytes(name: str, trailing: bytes) -> None:
    data = CLEAN[name] + trailing
    mending, written = mended(data)
    if name.startswith("fixed") and len(trailing) % 512 in (0, 511) and any(trailing):
        assert "may belong to the disk" in mending.reasons[0] or check(data, target="generic", now=NOW).image.tail
    elif check(data, target="generic", now=NOW).image.tail is None:  # else what trails is a footer itself
        assert (written, mending.reasons) == (CLEAN[name], ())


@given(
    st.sampled_from(sorted(CLEAN)),
    st.sampled_from(["unique_id", "timestamp", "hidden", "reserved", "geometry", "checksum"]),
    st.data(),
)
def test_a_field(name: str, field: str, data: st.DataObject) -> None:
    damaged = bytearray(CLEAN[name])
    if field == "checksum" and name in {"XenServer", "differencing", "dynamic", "dynamic, spread"}:
        field = "hidden"  # those are refused: not everything else about them is confirmed
    at, value = {
        "unique_id": (68, bytes(16)),
        "timestamp": (24, data.draw(st.integers(NOW - EPOCH + 1801, 2**32 - 1)).to_bytes(4, "big")),
        "hidden": (85, bytes([data.draw(st.integers(1, 255))])),
        "reserved": (86, data.draw(st.binary(min_size=1, max_size=426))),
        "geometry": (56, data.draw(st.sampled_from([b"\xff\xff\x10\xff", b"\xff\0\4\x11"]))),
        "checksum": (64, data.draw(st.binary(min_size=4, max_size=4))),
    }[field]
    for start in places(name):
        damaged[start + at : start + at + len(value)] = value
        if field != "checksum":
            signed(damaged, start)
    mending, written = mended(bytes(damaged))
    assert mending.reasons == ()
    assert written is not None
    assert {finding.slug for finding in check(written, target="generic", now=NOW).findings} == {
        finding.slug for finding in check(CLEAN[name], target="generic", now=NOW).findings
    }
    random = {"unique_id": range(68, 84), "timestamp": range(24, 28)}.get(field, range(0))
    summed = {64, 65, 66, 67} if random else set()
    for place, (one, other) in enumerate(zip(written, CLEAN[name], strict=True)):
        assert one == other or any(place - start in {*random, *summed} for start in places(name))
    again, twice = mended(written)
    assert (again.changes, twice) == ((), written)


@given(st.binary(min_size=4, max_size=4))
def test_the_checksum_of_a_header(value: bytes) -> None:
    for name in ("empty", "block of 2 MiB"):
        damaged = bytearray(CLEAN[name])
        damaged[512 + 36 : 512 + 40] = value
        assert mended(bytes(damaged))[1] == CLEAN[name]


@given(st.integers(0, 1023), st.integers(1, 255))
def test_a_damaged_header_is_never_believed(at: int, change: int) -> None:
    """Whatever byte but the checksum's own is wrong: it is refused, or it carries nothing."""
    damaged = bytearray(CLEAN["block of 2 MiB"])
    damaged[512 + at] ^= change
    mending, written = mended(bytes(damaged))
    assert written in (None, CLEAN["block of 2 MiB"])
    assert mending.ok == (36 <= at < 40)


@given(st.sampled_from(sorted(CLEAN)), st.lists(st.tuples(st.integers(0, 2047), st.binary(max_size=8)), max_size=4))
def test_any_damage_ends_in_a_result(name: str, noise: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(CLEAN[name])
    for at, value in noise:
        begin = at if at < 1536 else len(damaged) - 2048 + at
        damaged[begin : begin + len(value)] = value
    for target in ("generic", "rackspace"):
        mending, written = mended(bytes(damaged), target)
        if written is not None:
            assert check(written, target=target, now=NOW).ok
            assert not mended(written, target)[0].changes
        else:
            assert mending.reasons


@given(st.binary(max_size=4 * KIB))
def test_any_bytes_end_in_a_result(data: bytes) -> None:
    mended(data)
    mended(b"conectix" + data)


def test_footers_that_differ_and_may_both_be_right() -> None:
    damaged = bytearray(CLEAN["block of 2 MiB"])
    damaged[48 + 4 : 48 + 6] = (int.from_bytes(damaged[52:54], "big") - 1).to_bytes(2, "big")
    signed(damaged, 0)
    mending, written = mended(bytes(damaged))
    assert written is None
    assert mending.reasons[0].startswith("the footer and its copy are both sound and differ in current_size")


def test_a_footer_that_the_rest_of_the_file_contradicts() -> None:
    stale = bytearray(CLEAN["block of 2 MiB"])
    for at in (40, 48):
        stale[at : at + 8] = (100 * MIB).to_bytes(8, "big")  # a table of ten blocks cannot hold that
    signed(stale, 0)
    assert mended(bytes(stale))[1] == CLEAN["block of 2 MiB"]


def test_a_sound_footer_by_which_blocks_in_use_would_be_lost() -> None:
    """The footer at the end was resized without its checksum, and the copy not at all: its size hides a block."""
    grown = bytearray(dynamic(DISK, blocks=[0, 9], content={9: b"new"}).tobytes())
    grown[-1] = 1  # the checksum at the end is wrong
    for at in (40, 48):
        grown[at : at + 8] = (8 * MIB).to_bytes(8, "big")
    signed(grown, 0)
    mending, written = mended(bytes(grown))
    assert written is None
    assert "blocks in use would lie behind the end" in mending.reasons[0]


def test_a_lost_footer_is_not_put_where_a_structure_only_claims_to_be() -> None:
    """A batmap that says it lies at 2 GiB must not make a file of 2 GiB of this one, out of nothing."""
    lost = dynamic(DISK, blocks=[0], **TAP, batmap={"offset": 1 << 31}, tail=False).tobytes()
    mending, written = mended(lost)
    assert mending.ok
    assert written is not None
    assert len(written) <= len(lost) + FOOTER
