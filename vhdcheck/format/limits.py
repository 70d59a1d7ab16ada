"""How much of an image is read, and what is too much."""

from __future__ import annotations

from typing import Final

from vhdcheck.units import GIB

END: Final = 4096
"""Bytes read at either end of the file: covers the header, a short table, and the slack that Windows leaves."""
HEAD: Final = 2048
"""Bytes of a stream after which the first verdict is possible: the copy of the footer, and the usual header."""
ENDLESS: Final = 1 << 62
"""The length that an image is taken to have while its end has not come."""
SEARCH: Final = 64 << 10
"""Bytes before the end of the file that are searched for a footer with something behind it."""
TABLE_PIECE: Final = 8 << 20
"""Bytes of a table asked for at once: the table of a 2040 GiB disk, twice."""
MAX_ENTRIES: Final = 1 << 23
"""Entries examined at the most: the largest disk, 2040 GiB, has 8,355,840 blocks of 256 KiB. More would cost memory."""
MAX_LOCATOR: Final = 64 << 10
"""Bytes of a parent locator read at the most: a Windows path has 32,767 UTF-16 units."""
MAX_BATMAP: Final = MAX_ENTRIES // 8
NEAR: Final = 4096
"""Bytes between two bitmaps that are read rather than asked around: a page is read at the least, whoever asks."""
BITMAPS_AT_ONCE: Final = 1 << 20
"""Bytes of sector bitmaps asked for at once, when deep."""
CLOCK_SLACK: Final = 1800
"""Seconds that a creation time may lie ahead: `vhd-util check` allows as much."""
MAX_DYNAMIC: Final = 2040 * GIB
"""The largest dynamic disk: 0xFF000000 sectors (qemu `VHD_MAX_SECTORS`; Hyper-V; XenServer `MAX_VHD_SIZE`)."""
