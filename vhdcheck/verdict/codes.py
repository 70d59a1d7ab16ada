"""The message codes of a failed import task, their wording, and which one heads a report.

Source: the image task resource ("Get task details"), response field `message`. The source writes the first sentence
of 111 with "/" where the other six have "."; that is mended here.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from vhdcheck.units import limit_words


class Code(IntEnum):
    """What an import task says when it refuses an image."""

    UNSPECIFIED = 111
    NOT_A_VHD = 396
    VIRTUAL_SIZE = 413
    DISK_TYPE = 523
    PHYSICAL_SIZE = 609
    ZERO_UUID = 614
    PARENT = 721


PRECEDENCE: Final = (
    Code.NOT_A_VHD,
    Code.PARENT,
    Code.DISK_TYPE,
    Code.VIRTUAL_SIZE,
    Code.PHYSICAL_SIZE,
    Code.ZERO_UUID,
    Code.UNSPECIFIED,
)
"""Several may apply, one heads the report: the first of these."""

TEXTS: Final = {
    Code.UNSPECIFIED: "The image cannot be imported. There is an unspecified problem with your VHD that caused it to"
    " fail our validation checks.",
    Code.NOT_A_VHD: "The image cannot be imported. The file is not a valid VHD.",
    Code.VIRTUAL_SIZE: "The image cannot be imported. The virtual size of the disk exceeds the {limit} limit.",
    Code.DISK_TYPE: "The image cannot be imported. Only fixed or dynamic disks may be imported.",
    Code.PHYSICAL_SIZE: "The image cannot be imported. The physical size of the disk exceeds the {limit} limit.",
    Code.ZERO_UUID: "The image cannot be imported. The internal UUID of the VHD is all zeros.",
    Code.PARENT: "The image cannot be imported. Your VHD has a parent disk. You can only import a stand-alone VHD.",
}

MEANINGS: Final = {
    Code.UNSPECIFIED: "well formed, and still refused: hidden flag, saved state, time in the future, parent fields on a"
    " stand-alone disk, geometry that XenServer refuses, a demand of the destination, ...",
    Code.NOT_A_VHD: "a reader that follows the specification could not find or trust the disk's data: no footer, wrong"
    " checksum, copies that disagree, broken header, block allocation table out of bounds or overlapping, truncation;"
    " or it is another format",
    Code.VIRTUAL_SIZE: "the current size is over the target's limit",
    Code.DISK_TYPE: "the disk type is none of fixed (2), dynamic (3) and differencing (4)",
    Code.PHYSICAL_SIZE: "the file is longer than the target's limit",
    Code.ZERO_UUID: "the unique ID is all zeros",
    Code.PARENT: "a differencing disk (type 4): its data is incomplete without its parent",
}


def message(code: Code, *, max_virtual_size: int | None, max_physical_size: int | None) -> str:
    """Write a task's message for a code: `"413: The image cannot be imported. ..."`.

    Args:
        code: what heads the report.
        max_virtual_size: the target's limit in bytes, for 413.
        max_physical_size: the target's limit in bytes, for 609.
    """
    limit = max_virtual_size if code == Code.VIRTUAL_SIZE else max_physical_size
    return f"{int(code)}: {TEXTS[code].format(limit=limit_words(limit) if limit is not None else '')}"
