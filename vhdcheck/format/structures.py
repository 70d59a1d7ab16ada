"""Values for the structures, which nobody changes, and the one boundary where bytes become them.

Field names are the specification's. Offsets are bytes from the start of the file unless a name says sectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final
from zlib import adler32

from vhdcheck.format import layout
from vhdcheck.format.span import Span
from vhdcheck.units import SECTOR, round_up
from vhdcheck.values import value

COOKIE: Final = b"conectix"
POISONED_COOKIE: Final = b"v_poison"
HEADER_COOKIE: Final = b"cxsparse"
BATMAP_COOKIE: Final = b"tdbatmap"
BATMAP_1_2: Final = 0x00010002
"""The batmap's version from which it has a key hash; creator "tap" has one from the same version on."""
FORMAT_VERSION: Final = 0x00010000
NO_OFFSET: Final = (1 << 64) - 1
"""What fixed disks and dynamic headers have for a data offset. Specified with 32 one-bits; every writer uses 64."""
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
LINK = 6
"""To a physical drive, as Virtual PC made them."""
EPOCH: Final = 946_684_800
"""2000-01-01 00:00:00 UTC, the format's zero of time, in Unix seconds."""
BLOCK_SIZE: Final = 2 << 20
"""The default block size, in bytes, and the only one that XenServer reads correctly."""


def checksum(data: bytes, at: int) -> int:
    """Compute a structure's checksum: the one's complement of the sum of its bytes, the field itself left out.

    Args:
        data: the structure.
        at: offset of its checksum field, 4 bytes.
    """
    total = -sum(data[at : at + 4])
    for start in range(0, len(data), 256):  # Adler-32 adds up bytes in its lower half, from 1 on; 256 do not wrap there
        total += (adler32(data[start : start + 256]) & 0xFFFF) - 1
    return ~total & 0xFFFF_FFFF


def is_zero(data: bytes) -> bool:
    """Say whether all bytes are zero: a comparison, 20 times as fast as looking at each."""
    return data == bytes(len(data))


@value(frozen=True, slots=True)
class Footer:
    """A footer as it is stored: at the end of the file, or its copy at the start of a dynamic one."""

    offset: int
    raw: bytes
    where: str
    """`footer` or `footer_copy`: the first word of every field path."""
    cookie: bytes
    features: int
    file_format_version: int
    data_offset: int
    timestamp: int
    creator_application: bytes
    creator_version: int
    creator_host_os: bytes
    original_size: int
    current_size: int
    cylinders: int
    heads: int
    sectors_per_track: int
    disk_type: int
    checksum: int
    unique_id: bytes
    saved_state: int
    hidden: int
    reserved: bytes

    @classmethod
    def parse(cls, raw: bytes, offset: int, where: str) -> Footer:
        """Parse 512 or 511 bytes found at `offset`. Any bytes parse: the rules judge them.

        One that is little-endian throughout is read as what it means; `raw` is what stands in the file.
        """
        structure = layout.FOOTER if len(raw) == layout.FOOTER_SIZE else layout.SHORT_FOOTER
        return cls(offset, raw, where, *layout.values(structure, _swapped(raw) if _is_little_endian(raw) else raw))

    def copied(self, where: str, offset: int) -> Footer:
        """Return the same bytes as found at another place."""
        return Footer(offset, self.raw, where, *_FOOTER_FIELDS(self))

    def span(self, name: str) -> Span:
        """Say where a field is."""
        return _span(layout.FOOTER, name, self.offset, self.where)

    @property
    def geometry(self) -> tuple[int, int, int]:
        """Cylinders, heads, sectors per track, as stored."""
        return self.cylinders, self.heads, self.sectors_per_track

    @property
    def geometry_size(self) -> int:
        """The bytes that the stored geometry spans."""
        return self.cylinders * self.heads * self.sectors_per_track * SECTOR

    @property
    def is_sparse(self) -> bool:
        """Whether a dynamic header and a block allocation table belong to it."""
        return self.disk_type in (DYNAMIC, DIFFERENCING)

    @property
    def is_tap(self) -> bool:
        """Whether blktap wrote it (libvhd compares three characters)."""
        return self.creator_application[:3] == b"tap"

    @property
    def is_little_endian(self) -> bool:
        """Whether its numbers are written the wrong way round, all of them."""
        return _is_little_endian(self.raw)

    @property
    def computed_checksum(self) -> int:
        """What the checksum field should hold."""
        return checksum(self.raw, 64)

    @property
    def is_signed(self) -> bool:
        """Whether the checksum is right."""
        return self.checksum == self.computed_checksum


def _is_little_endian(raw: bytes) -> bool:
    """Say whether a footer's numbers are little-endian: by the features and the version, of which both are known."""
    return raw[8:16] in (b"\2\0\0\0\0\0\1\0", b"\3\0\0\0\0\0\1\0")


def _swapped(raw: bytes) -> bytes:
    """Turn the bytes of each of a footer's numbers round."""
    turned = bytearray(raw)
    for name in _NUMBERS:
        at, length = layout.fields(layout.FOOTER)[name]
        turned[at : at + length] = raw[at : at + length][::-1]
    return bytes(turned)


_NUMBERS: Final = (
    *("features", "file_format_version", "data_offset", "timestamp", "creator_version", "original_size"),
    *("current_size", "cylinders", "disk_type", "checksum"),
)
_FOOTER_FIELDS: Final = attrgetter(*Footer.__slots__[3:])


@dataclass(frozen=True, slots=True)
class ParentLocator:
    """One of the eight parent locator entries of a dynamic header; `data` is what it points at, as far as read."""

    index: int
    platform_code: bytes
    data_space: int
    data_length: int
    reserved: int
    data_offset: int
    data: bytes = b""

    @property
    def space(self) -> int:
        """Bytes reserved: a number below 512 is sectors, as specified; more is bytes, as every writer has it."""
        return self.data_space * SECTOR if self.data_space < SECTOR else self.data_space

    @property
    def path(self) -> str:
        """The text, decoded; empty for platforms whose text is none. Attacker-controlled; bad bytes are replaced."""
        if self.platform_code in (b"W2ru", b"W2ku"):
            return self.data[: len(self.data) & ~1].decode("utf-16-le", "replace").partition("\0")[0]
        if self.platform_code == b"MacX":
            return self.data.decode("utf-8", "replace").partition("\0")[0]
        return ""

    @property
    def is_empty(self) -> bool:
        """Whether every field of the entry is zero."""
        return not (any(self.platform_code) or self.data_space or self.data_length or self.reserved or self.data_offset)


NO_LOCATORS: Final = tuple(ParentLocator(index, bytes(4), 0, 0, 0, 0) for index in range(8))
"""Eight unused entries."""


@value(frozen=True, slots=True)
class DynamicHeader:
    """The header of a dynamic or differencing disk."""

    offset: int
    raw: bytes
    cookie: bytes
    data_offset: int
    table_offset: int
    header_version: int
    max_table_entries: int
    block_size: int
    checksum: int
    parent_unique_id: bytes
    parent_timestamp: int
    reserved_1: int
    parent_unicode_name: bytes
    parent_locators: tuple[ParentLocator, ...]
    reserved_2: bytes

    @classmethod
    def parse(cls, raw: bytes, offset: int) -> DynamicHeader:
        """Parse 1024 bytes found at `offset`. Any bytes parse: the rules judge them."""
        values = layout.values(layout.DYNAMIC_HEADER_RAW_LOCATORS, raw)
        values[11] = _locators(values[11])
        return cls(offset, raw, *values)

    def span(self, name: str) -> Span:
        """Say where a field is."""
        return _span(layout.DYNAMIC_HEADER, name, self.offset, "header")

    def locator_span(self, index: int, name: str) -> Span:
        """Say where a field of a parent locator entry is."""
        start = self.span("parent_locators").offset + index * layout.LOCATOR_SIZE
        return _span(layout.LOCATOR, name, start, "parent_locator", index)

    @property
    def computed_checksum(self) -> int:
        """What the checksum field should hold."""
        return checksum(self.raw, 36)

    @property
    def table_length(self) -> int:
        """Bytes of the block allocation table, padded to whole sectors."""
        return round_up(4 * self.max_table_entries, SECTOR)

    @property
    def table_end(self) -> int:
        """The offset of the first byte behind the padded table."""
        return self.table_offset + self.table_length

    @property
    def has_usable_block_size(self) -> bool:
        """Whether blocks can be counted with it: a power of two of at least one sector."""
        return self.block_size >= SECTOR and self.block_size & (self.block_size - 1) == 0

    @property
    def bitmap_length(self) -> int:
        """Bytes of a block's sector bitmap: one bit a sector, padded to whole sectors."""
        return round_up(-(-self.block_size // SECTOR // 8) or 1, SECTOR)

    @property
    def slot_length(self) -> int:
        """Bytes that a block takes in the file: bitmap and data."""
        return self.bitmap_length + self.block_size

    @property
    def parent_name(self) -> str:
        """The parent's name, up to its first NUL; what does not decode is replaced. Attacker-controlled text."""
        order = "utf-16-le" if self.has_little_endian_name else "utf-16-be"
        return self.parent_unicode_name.decode(order, "replace").partition("\0")[0]

    @property
    def has_little_endian_name(self) -> bool:
        """Whether the parent's name is written little-endian: it has two characters or more, all of Latin-1."""
        raw = self.parent_unicode_name
        name = next((raw[:at] for at in range(0, len(raw), 2) if raw[at : at + 2] == b"\0\0"), raw)
        return len(name) > 2 and not any(name[1::2])  # noqa: PLR2004 (of one character it cannot be told)

    def blocks_needed(self, current_size: int) -> int:
        """Count the blocks that a disk of `current_size` bytes has."""
        return -(-current_size // self.block_size)


@dataclass(frozen=True, slots=True)
class Batmap:
    """XenServer's map of fully populated blocks: its header, and the map as far as it could be read."""

    offset: int
    cookie: bytes
    map_offset: int
    size: int
    version: int
    checksum: int
    encrypted: bool
    map: bytes = b""

    @classmethod
    def parse(cls, raw: bytes, offset: int) -> Batmap:
        """Parse 512 bytes found at `offset`. Any bytes parse: the rules judge them."""
        cookie, map_offset, size, version, total, _marker, key, *_ = layout.values(layout.BATMAP_HEADER_1_2, raw)
        return cls(offset, cookie, map_offset, size, version, total, encrypted=version >= BATMAP_1_2 and key == 1)

    @property
    def length(self) -> int:
        """Bytes of the map."""
        return self.size * SECTOR

    def span(self, name: str) -> Span:
        """Say where a field is."""
        return _span(layout.BATMAP_HEADER_1_2, name, self.offset, "batmap")


def _locators(raw: bytes) -> tuple[ParentLocator, ...]:
    """Parse the eight parent locator entries."""
    if is_zero(raw):
        return NO_LOCATORS
    entries = [raw[at : at + layout.LOCATOR_SIZE] for at in range(0, len(raw), layout.LOCATOR_SIZE)]
    return tuple(ParentLocator(index, *layout.values(layout.LOCATOR, entry)) for index, entry in enumerate(entries))


def _span(structure: Any, name: str, offset: int, part: str, index: int | None = None) -> Span:
    place, length = layout.fields(structure)[name]
    return Span(offset + place, length, part, index, name)


KILLED: Final = b"\xc7" * layout.FOOTER_SIZE
"""What tapdisk writes over the footer of an image while it is open for writing (blktap, `vhd_kill_footer`)."""


def is_footer(raw: bytes) -> bool:
    """Say whether 512 or 511 bytes are meant as a footer: by the cookie, or by a checksum right but for the cookie."""
    if len(raw) < layout.SHORT_FOOTER_SIZE:
        return False
    if raw.startswith((COOKIE, POISONED_COOKIE)):
        return True
    if raw[8:12] not in (b"\0\0\0\2", b"\0\0\0\3"):  # features, so that the sum is rarely taken
        return False
    return checksum(COOKIE + raw[8:], 64).to_bytes(4, "big") == raw[64:68]
