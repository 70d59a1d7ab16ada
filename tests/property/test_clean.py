"""What a writer may do: any size, block size, order and spacing of blocks, and nothing of it is an ERROR."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import EPOCH, GIB, KIB, MIB, NOWHERE, QEMU, SECTOR, TAP, Image, differencing, dynamic, fixed
from vhdcheck import Severity, check

NOW = EPOCH + 800_000_000
WRITERS: list[dict[str, Any]] = [{}, QEMU, TAP, {"creator": b"vbox"}, {"creator": b"\0\0\0\0", "host": bytes(4)}]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Image, bool]:
    """Draw a dynamic or differencing image that keeps the rules; and whether it has a parent."""
    block_size = draw(st.sampled_from([SECTOR, 4 * KIB, 512 * KIB, 2 * MIB, 16 * MIB]))
    entries = draw(st.integers(1, 60))
    size = entries * block_size - SECTOR * draw(st.integers(0, block_size // SECTOR - 1))
    blocks = draw(st.lists(st.integers(0, entries - 1), unique=True, max_size=6))
    bitmap_sectors = -(-block_size // SECTOR // 8 // SECTOR) or 1
    tight = bitmap_sectors + block_size // SECTOR
    options: dict[str, Any] = {
        "blocks": blocks,
        "block_size": block_size,
        "spacing": draw(st.sampled_from([None, None, tight, tight + 7, tight + 100, 2 * tight])),
        "align": draw(st.sampled_from([SECTOR, 4096, MIB])),
        "slack": draw(st.sampled_from([0, 0, 512, 3584, 5 * MIB])),
        "header_offset": draw(st.sampled_from([512, 512, 1024, 64 * KIB])),
        "max_entries": entries + draw(st.sampled_from([0, 0, 1, 1000])),
        "bat_padding": draw(st.sampled_from([b"\0", b"\xff"])),
        "bat_align": draw(st.sampled_from([SECTOR, 4096])),
        **draw(st.sampled_from(WRITERS)),
    }
    options["table_offset"] = options["header_offset"] + draw(st.sampled_from([1024, 1024, 1536, 1 << 20]))
    child = draw(st.booleans())
    return (differencing if child else dynamic)(size, **options), child


def errors(image: Image, target: str = "generic") -> list[str]:
    """Return what an image is refused for."""
    report = check(image.tobytes(), target=target, now=NOW, deep=True)
    return [f"{finding.slug}: {finding.message}" for finding in report.findings if finding.severity == Severity.ERROR]


@given(layouts())
def test_sparse_images(drawn: tuple[Image, bool]) -> None:
    image, _ = drawn
    if image.length < 64 * MIB:
        assert errors(image) == []


@given(st.integers(1, 4096), st.booleans(), st.sampled_from(WRITERS))
def test_fixed_images(sectors: int, is_short: bool, writer: dict[str, Any]) -> None:
    image = fixed(sectors * SECTOR, features=0 if is_short else 2, **writer)
    assert errors(image.cut(1) if is_short else image) == []


@given(
    st.integers(20, 40 * 1024 - 1),
    st.lists(st.integers(0, 9), unique=True, max_size=4),
    st.sampled_from([{}, {"creator": b"d2v "}, TAP]),
)
def test_what_the_destinations_accept(mebibytes: int, blocks: list[int], writer: dict[str, Any]) -> None:
    image = dynamic(mebibytes * MIB, blocks=blocks, **writer)
    for target in ("rackspace", "aws", "xenserver", "hyper-v"):
        report = check(image.tobytes(), target=target, now=NOW)
        assert report.ok, [finding.message for finding in report.findings]
    assert check(image.tobytes(), target="azure", now=NOW).code == 111
    sized = fixed(mebibytes * MIB, data_offset=NOWHERE, **writer)
    # The file itself is not wanted here, terabytes of zeros: only its length and its end.
    assert check(Sparse(sized), target="azure", now=NOW).ok  # type: ignore[arg-type]
    assert check(Sparse(sized), target="rackspace", now=NOW).ok  # type: ignore[arg-type]


class Sparse:
    """A file object on a sparse image."""

    name = "sparse"

    def __init__(self, image: Image) -> None:
        self._image, self._at = image, 0

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move there."""
        self._at = offset + (self._image.length if whence else 0)
        return self._at

    def read(self, size: int) -> bytes:
        """Read from there."""
        self._at += size
        return self._image.read(self._at - size, size)


@given(st.integers(0, 1 << 30), st.integers(1, 1 << 30))
def test_the_limit_of_40_gib_is_exact(under: int, over: int) -> None:
    under, over = under * SECTOR % (40 * GIB), over * SECTOR % (40 * GIB) + SECTOR
    assert check(dynamic(40 * GIB - under).tobytes(), now=NOW).ok
    assert check(dynamic(40 * GIB + over).tobytes(), now=NOW).code == 413
