"""THE declaration: every structure of the format, field by field, with its unit and its place in the specification.

Source: Microsoft, "Virtual Hard Disk Image Format Specification" 1.0, 11 October 2006; for the batmap, which the
specification does not know, blktap's `include/vhd.h`. All numbers are big-endian. Each declaration parses and builds.

This is the one module that imports construct; `structures` turns what it parses into dataclasses.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from construct import Array, Bytes, Construct, Int8ub, Int16ub, Int32ub, Int64ub, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

FOOTER_SIZE: Final = 512
SHORT_FOOTER_SIZE: Final = 511
HEADER_SIZE: Final = 1024
LOCATOR_SIZE: Final = 24
BATMAP_HEADER_SIZE: Final = 512
WORTH_COMPILING: Final = 64
"""Times that a structure is parsed before it is compiled, which takes as long as 60 interpreted parses."""


def _footer(size: int) -> Struct:
    """Hard Disk Footer Format. Before Virtual PC 2004 the structure was one byte shorter."""
    return Struct(
        "cookie" / Bytes(8) * "'conectix'; XenServer writes 'v_poison' over it to disable an image",
        "features" / Int32ub * "bits: 0 temporary disk, 1 reserved and always set",
        "file_format_version" / Int32ub * "major.minor in 16 bits each: 0x00010000",
        "data_offset" / Int64ub * "bytes from the start of the file to the dynamic header; fixed disks: all ones",
        "timestamp" / Int32ub * "seconds since 2000-01-01 00:00:00 UTC",
        "creator_application" / Bytes(4) * "tag of the program, padded with spaces or zeros",
        "creator_version" / Int32ub * "major.minor in 16 bits each",
        "creator_host_os" / Bytes(4) * "'Wi2k' or 'Mac '; XenServer writes zeros",
        "original_size" / Int64ub * "bytes, at creation",
        "current_size" / Int64ub * "bytes: the virtual size",
        "cylinders" / Int16ub * "disk geometry",
        "heads" / Int8ub * "disk geometry",
        "sectors_per_track" / Int8ub * "disk geometry",
        "disk_type" / Int32ub * "2 fixed, 3 dynamic, 4 differencing; 0, 1, 5, 6 reserved or deprecated",
        "checksum" / Int32ub * "one's complement of the sum of all other bytes",
        "unique_id" / Bytes(16) * "UUID",
        "saved_state" / Int8ub * "1: the virtual machine is saved",
        "hidden" / Int8ub * "reserved; XenServer: 1 marks an interior image of a chain",
        "reserved" / Bytes(size - 86) * "zeros",
    )


FOOTER: Final = _footer(FOOTER_SIZE)
SHORT_FOOTER: Final = _footer(SHORT_FOOTER_SIZE)

LOCATOR: Final = Struct(
    "platform_code" / Bytes(4) * "'W2ru', 'W2ku', 'MacX', 'Mac ', 'Wi2r', 'Wi2k', or zeros for an unused entry",
    "data_space" / Int32ub * "room reserved: sectors in the specification, bytes as Windows and all others write it",
    "data_length" / Int32ub * "bytes of the locator",
    "reserved" / Int32ub * "zero",
    "data_offset" / Int64ub * "bytes from the start of the file",
)

DYNAMIC_HEADER: Final = Struct(
    "cookie" / Bytes(8) * "'cxsparse'",
    "data_offset" / Int64ub * "unused: all ones",
    "table_offset" / Int64ub * "bytes from the start of the file to the block allocation table",
    "header_version" / Int32ub * "major.minor in 16 bits each: 0x00010000",
    "max_table_entries" / Int32ub * "entries of the block allocation table",
    "block_size" / Int32ub * "bytes of data in a block, without its sector bitmap: a power of two, usually 2 MiB",
    "checksum" / Int32ub * "one's complement of the sum of all other bytes",
    "parent_unique_id" / Bytes(16) * "UUID of the parent; zeros unless differencing",
    "parent_timestamp" / Int32ub * "seconds since 2000-01-01 00:00:00 UTC: the parent's modification time",
    "reserved_1" / Int32ub * "zero",
    "parent_unicode_name" / Bytes(512) * "UTF-16BE, padded with zeros",
    "parent_locators" / Array(8, LOCATOR) * "parent locator entries",
    "reserved_2" / Bytes(256) * "zeros",
)

DYNAMIC_HEADER_RAW_LOCATORS: Final = Struct(
    *(
        "parent_locators" / Bytes(8 * LOCATOR_SIZE) if field.name == "parent_locators" else field
        for field in DYNAMIC_HEADER.subcons
    )
)
"""The same with its locators left as bytes: they are zeros in all but differencing disks, and cost most of the time."""

BATMAP_HEADER_1_1: Final = Struct(
    "cookie" / Bytes(8) * "'tdbatmap'",
    "offset" / Int64ub * "bytes from the start of the file to the map",
    "size" / Int32ub * "sectors of the map",
    "version" / Int32ub * "major.minor in 16 bits each",
    "checksum" / Int32ub * "one's complement of the sum of the map's bytes (1.1: taken as signed)",
    "reserved" / Bytes(484) * "zeros",
)

BATMAP_HEADER_1_2: Final = Struct(
    "cookie" / Bytes(8) * "'tdbatmap'",
    "offset" / Int64ub * "bytes from the start of the file to the map",
    "size" / Int32ub * "sectors of the map",
    "version" / Int32ub * "major.minor in 16 bits each: 0x00010002",
    "checksum" / Int32ub * "one's complement of the sum of the map's bytes",
    "marker" / Int8ub * "free use of the storage manager",
    "key_hash_cookie" / Int8ub * "1: the data is encrypted and the two fields below describe the key",
    "key_nonce" / Bytes(32) * "nonce of the key's hash",
    "key_hash" / Bytes(32) * "SHA-256 of nonce and key",
    "reserved" / Bytes(418) * "zeros",
)


def block_allocation_table(entries: int) -> Construct[Any, Any]:
    """Declare a block allocation table: the first sector of each block's bitmap, 0xFFFFFFFF where there is no block.

    `blocks.arrays` decodes the same bytes 3,000 times faster; this is the plain statement that it is tested against.
    """
    return Array(entries, Int32ub)


def values(structure: Struct, raw: bytes) -> list[Any]:
    """Parse a structure into its values, in order.

    It is interpreted by construct at first, and compiled by it once so many were parsed that it pays.
    """
    parser = _COMPILED.get(structure)
    if parser is not None:
        return [*parser(BytesIO(raw), _NO_CONTEXT).values()]
    parsed = _PARSED[structure] = _PARSED.get(structure, 0) + 1
    if parsed == WORTH_COMPILING:
        _COMPILED[structure] = compiled(structure).parsefunc
    fields = structure.parse(raw)
    del fields["_io"]  # an entry of construct's own
    return [*fields.values()]


_PARSED: Final[dict[Struct, int]] = {}
"""How often this process parsed a structure before it was compiled."""
_COMPILED: Final[dict[Struct, Callable[[BytesIO, dict[str, Any]], Any]]] = {}
"""What construct compiled, without the frame that it puts around each parse: that takes a third of the time."""
_NO_CONTEXT: Final[dict[str, Any]] = {"_params": None, "_root": None}
"""What a structure inside another one would be told of that; and of what the caller gave, which is nothing."""


@cache
def compiled(structure: Construct[Any, Any]) -> Any:  # a type that construct keeps to itself
    """Compile a structure, once (1-2 ms; parsing is then seven times faster)."""
    return structure.compile()


@cache
def fields(structure: Struct) -> dict[str, tuple[int, int]]:
    """Return each field's offset within its structure and its length, in bytes."""
    places: dict[str, tuple[int, int]] = {}
    offset = 0
    for field in structure.subcons:
        places[str(field.name)] = (offset, field.sizeof())
        offset += field.sizeof()
    return places
