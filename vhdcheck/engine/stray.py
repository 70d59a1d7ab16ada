"""A footer that does not end its file: the search in the last 64 KiB, and guesses where else it may be. No I/O.

Someone enlarged a fixed disk's file as if it were a raw disk (`qemu-img resize -f raw`, `truncate`), or a build
appended something to it. The footer still stands at the end of the old disk, and the size that it states is its own
offset. So every guess is a size that the disk may have had:

* what its partition table says: where GPT has its backup, where the last partition ends, and the sizes that people and
  tools round that up to;
* what is left when a power of two from 64 KiB on is taken off the file's end;
* whole MiB, GiB, ... of the file, with a unit so large that there are few of them, also as qemu-img rounds them up.

The number of guesses is bounded, and each costs a sector.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from vhdcheck.format.geometry import chs_size_up
from vhdcheck.format.layout import FOOTER_SIZE, HEADER_SIZE
from vhdcheck.format.limits import SEARCH
from vhdcheck.format.lookalikes import VOLUME, recognise
from vhdcheck.format.span import Span
from vhdcheck.format.structures import COOKIE, FIXED, Footer, checksum, is_footer
from vhdcheck.units import GIB, MIB, SECTOR, round_up

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from vhdcheck.engine.windows import Answers, Reader, Wanted
    from vhdcheck.format.lookalikes import Format
    from vhdcheck.image import Image

MOST: Final = 192
"""Sectors looked at, at the most."""
VOLUME_MARK: Final = 5
"""Bytes of the mark of an optical disc's volume."""
_WHOLE: Final = 64
"""Multiples of a unit that are tried."""
_AFTER: Final = 4
"""Whole MiB behind the last partition that are tried."""


def guesses(head: bytes, size: int) -> list[int]:
    """Return offsets at which a footer may stand, ascending.

    Args:
        head: the first 4 KiB of the file.
        size: its length; what lies in its last 64 KiB is searched anyway.
    """
    found: dict[int, None] = {}
    for at in (*_by_partitions(head), *_by_what_was_appended(size), *_whole(size)):
        if 0 < at <= size - SEARCH and at % SECTOR == 0:
            found[at] = None
        if len(found) == MOST:
            break
    return sorted(found)


def _by_partitions(head: bytes) -> Iterator[int]:
    """Yield the sizes of a disk that its partition table allows for."""
    ends = [end for end in partition_ends(head) if end]
    for end in ends:
        yield end
        whole = round_up(end, MIB)
        for at in (*range(whole, whole + _AFTER * MIB, MIB), round_up(end, GIB)):
            yield at
            yield chs_size_up(at)


def partition_ends(head: bytes) -> tuple[int, ...]:
    """Return where a disk must end at the least by its partition table: by GPT, else by MBR; in bytes."""
    if head.startswith(b"EFI PART", SECTOR):
        (backup,) = struct.unpack_from("<Q", head, SECTOR + 32)
        (last_usable,) = struct.unpack_from("<Q", head, SECTOR + 48)
        return ((backup + 1) * SECTOR, (last_usable + 1) * SECTOR)
    if head[510:512] != b"\x55\xaa":
        return ()
    entries = [struct.unpack_from("<II", head, 446 + 16 * index + 8) for index in range(4)]
    return (max((first + count) * SECTOR for first, count in entries),)


def _by_what_was_appended(size: int) -> Iterator[int]:
    appended = SEARCH
    while appended < size:
        yield size - FOOTER_SIZE - appended
        appended *= 2


def _whole(size: int) -> Iterator[int]:
    unit = MIB
    while size // unit > _WHOLE:
        unit *= 2
    for at in range(unit, size, unit):
        yield at
        yield chs_size_up(at)


def find_a_stray(
    reader: Reader, image: Image, head: bytes, copy: Footer | None
) -> Generator[Wanted, Answers, tuple[Footer | None, Format | None]]:
    """Look for a footer that does not end the file, and for what else the file may be.

    A footer in an archive belongs to a file in that archive. One at the end of the fixed disk that it describes
    belongs to this file, whatever the disk begins with.
    """
    size = image.size
    header_at = copy.data_offset if copy is not None else size
    region, header, volume = yield from reader.ask(
        Span(max(0, size - SEARCH), SEARCH, "file"),
        Span(header_at, HEADER_SIZE, "header"),
        Span(VOLUME if copy is None else size, VOLUME_MARK, "file"),
    )
    reader.windows.append((header_at, header))
    found = _search(region, size - len(region))
    if found is not None and not found.offset and copy is not None:
        found = None  # the copy itself
    if copy is not None:
        return found, None
    lookalike = recognise(head, size, volume)
    if found is None and (lookalike is None or lookalike.is_raw):
        found = yield from _guess(reader, image, head)
    if found is not None and (lookalike is None or lookalike.is_raw or _ends_its_disk(found)):
        return found, None
    return None, lookalike


def _ends_its_disk(footer: Footer) -> bool:
    """Say whether a footer stands where the fixed disk ends that it describes."""
    return footer.disk_type == FIXED and footer.offset == footer.current_size


def _guess(reader: Reader, image: Image, head: bytes) -> Generator[Wanted, Answers, Footer | None]:
    """Look for a footer in the middle of the file, where one may be."""
    places = guesses(head, image.size)
    if not places:
        return None
    sectors = yield from reader.ask(*(Span(at, FOOTER_SIZE, "file") for at in places), needed=False)
    if b"" in sectors:
        image.unexamined.append("the middle of the file: a footer may be there, and the stream had passed it")
    for at, raw in zip(places, sectors, strict=True):
        if is_footer(raw) and _ends_its_disk(footer := Footer.parse(raw, at, "footer")) and footer.is_signed:
            return footer
    return None


def _search(region: bytes, offset: int) -> Footer | None:
    """Find the last footer with a good checksum that something follows."""
    at = len(region)
    while (at := region.rfind(COOKIE, 0, at)) >= 0:
        raw = region[at : at + FOOTER_SIZE]
        if len(raw) == FOOTER_SIZE and checksum(raw, 64).to_bytes(4, "big") == raw[64:68]:
            return Footer.parse(raw, offset + at, "footer")
        at += len(COOKIE) - 1
    return None
