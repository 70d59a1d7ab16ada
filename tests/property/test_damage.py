"""One changed byte under a checksum is always found, whichever byte and whatever it becomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import EPOCH, KIB, MIB, QEMU, TAP, differencing, dynamic, fixed
from vhdcheck import Severity, check

NOW = EPOCH + 800_000_000
SMALL: dict[str, Any] = {"block_size": 4 * KIB}
IMAGES = {
    "fixed": fixed(8 * KIB).tobytes(),
    "fixed, qemu": fixed(8 * KIB, **QEMU).tobytes(),
    "fixed, 511": fixed(8 * KIB, features=0).cut(1).tobytes(),
    "dynamic": dynamic(20 * KIB, blocks=[0, 3], **SMALL).tobytes(),
    "empty": dynamic(10 * MIB).tobytes(),
    "XenServer": dynamic(20 * KIB, blocks=[0, 3], **SMALL, **TAP).tobytes(),
    "XenServer 1.1, hidden": dynamic(10 * MIB, hidden=1, creator=b"tap\0", creator_version=0x10001).tobytes(),
    "differencing": differencing(20 * KIB, blocks=[0], **SMALL).tobytes(),
}


def protected(name: str) -> list[int]:
    """List the bytes that a checksum covers: the footer, its copy, the header."""
    data = IMAGES[name]
    size = 511 if name.endswith("511") else 512
    footer = range(len(data) - size, len(data))
    return list(footer) if name.startswith("fixed") else [*range(1536), *footer]


def errors(data: bytes) -> set[str]:
    """Return what the format alone refuses an image for."""
    report = check(data, target="generic", now=NOW)
    assert not report.crashed
    return {finding.slug for finding in report.findings if finding.severity == Severity.ERROR}


@pytest.mark.parametrize("name", IMAGES)
def test_undamaged(name: str) -> None:
    assert errors(IMAGES[name]) == set()


@pytest.mark.parametrize("change", [0x01, *(pytest.param(each, marks=pytest.mark.slow) for each in (0x80, 0xFF))])
@pytest.mark.parametrize("name", IMAGES)
def test_every_byte(name: str, change: int) -> None:
    unseen = []
    for place in protected(name):
        data = bytearray(IMAGES[name])
        data[place] ^= change
        if not errors(bytes(data)):
            unseen.append(place)
    assert unseen == []


@given(st.sampled_from(sorted(IMAGES)), st.data())
def test_any_change(name: str, data: st.DataObject) -> None:
    damaged = bytearray(IMAGES[name])
    damaged[data.draw(st.sampled_from(protected(name)))] ^= data.draw(st.integers(1, 255))
    assert errors(bytes(damaged))


@given(st.sampled_from([name for name in sorted(IMAGES) if not name.startswith("fixed")]), st.data())
def test_a_change_that_is_well_signed_in_one_footer_only(name: str, data: st.DataObject) -> None:
    """Two footers that both look right and disagree: no reader's choice may decide silently."""
    damaged = bytearray(IMAGES[name])
    start = data.draw(st.sampled_from([0, len(damaged) - 512]))
    # Not the checksum; nor the hidden flag, which old XenServer images carry in one footer only.
    place = start + data.draw(st.integers(8, 511).filter(lambda place: place not in {64, 65, 66, 67, 85}))
    damaged[place] ^= data.draw(st.integers(1, 255))
    total = ~(sum(damaged[start : start + 512]) - sum(damaged[start + 64 : start + 68])) & 0xFFFF_FFFF
    damaged[start + 64 : start + 68] = total.to_bytes(4, "big")
    assert errors(bytes(damaged))
