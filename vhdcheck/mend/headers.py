"""The dynamic header: its fields, and a checksum that everything else confirms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format.layout import HEADER_SIZE
from vhdcheck.format.structures import BLOCK_SIZE, FORMAT_VERSION, HEADER_COOKIE, NO_OFFSET
from vhdcheck.mend.errors import Unmendable
from vhdcheck.mend.fields import HEADER_SUM, mended_header, signed

if TYPE_CHECKING:
    from vhdcheck.format.structures import DynamicHeader
    from vhdcheck.image import Image


def true_header(image: Image) -> bytes | None:
    """Return the header that the image should have; None where nothing says so.

    Raises:
        Unmendable: its checksum is wrong, and not everything else about it is beyond doubt.
    """
    header = image.header
    if header is None or header.cookie != HEADER_COOKIE:
        return None
    if header.checksum == header.computed_checksum:
        return mended_header(header)
    if not (_every_field_is_plausible(header, image) and _the_table_accounts_for_the_file(header, image)):
        raise Unmendable(
            "the dynamic header's checksum is wrong, and its other fields are not beyond doubt: a table of blocks"
            " that is read from the wrong place gives wrong data. Ask for the image again"
        )
    return signed(header.raw, HEADER_SUM)


def _every_field_is_plausible(header: DynamicHeader, image: Image) -> bool:
    """Say whether the header is what every writer of stand-alone disks makes it for a disk of this size."""
    return (
        image.footer is not None
        and image.copy is not None
        and image.footer.raw == image.copy.raw
        and image.footer.checksum == image.footer.computed_checksum
        and header.data_offset == NO_OFFSET
        and header.header_version == FORMAT_VERSION
        and header.block_size == BLOCK_SIZE
        and header.table_offset == header.offset + HEADER_SIZE
        and header.max_table_entries == image.blocks_needed
        and not header.raw[HEADER_SUM + 4 :].strip(b"\0")
    )


def _the_table_accounts_for_the_file(header: DynamicHeader, image: Image) -> bool:
    """Say whether every block that the file has room for is in the table: at a wrong place it would miss some."""
    table = image.table
    if table is None or not table.is_sane or table.beyond_disk.count:
        return False
    metadata = max(span.end for span in image.metadata)
    return image.footer_offset - metadata - table.used * header.slot_length < header.slot_length
