"""What is known of where blocks lie: of the table, its map and the sector bitmaps. Plain values, without numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from vhdcheck.values import value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdcheck.format.span import Span

UNUSED: Final = 0xFFFF_FFFF


EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Hits:
    """Entries with one defect: how many, and the first few as (block, first sector)."""

    count: int = 0
    examples: tuple[tuple[int, int], ...] = ()


NONE: Final = Hits()


class Bounds(NamedTuple):
    """What a table is judged against; offsets in bytes."""

    needed: int
    """Blocks of the virtual disk; entries behind them belong to no block."""
    slot: int
    """Bytes that a block takes: bitmap and data."""
    metadata: Sequence[Span]
    footer: int
    """Where the footer begins, or the end of the file."""
    size: int
    """Length of the file."""
    rooms: Sequence[Span] = ()
    """What is set apart for metadata, and a block may lie in without a byte of the guest's being in doubt."""


@value(frozen=True, slots=True)
class Table:
    """What the table says. Offsets are bytes; a block's span is its bitmap and data.

    Entries behind the last block of the disk are spare. No reader shows what they lead to, so they are judged apart.
    """

    entries: int
    used: int = 0
    first_block_used: bool = False
    data_start: int = 0
    """Offset of the first block in the file; 0 where there is none."""
    data_end: int = 0
    """End of the last block that ends in the file, leaving out blocks in the metadata."""
    claimed_end: int = 0
    """End of the last block by the table's word, also where the file is shorter."""
    last_block: int = -1
    """The block that ends there."""
    in_order: bool = True
    gaps: int = 0
    """Bytes between blocks that belong to none."""
    largest_gap: int = 0
    past_end: Hits = NONE
    """Blocks that end behind the end of the file."""
    over_footer: Hits = NONE
    """Blocks that end in the file, but behind the beginning of the footer."""
    in_metadata: Hits = NONE
    """Blocks that share bytes with a metadata region."""
    hit_regions: tuple[Span, ...] = ()
    in_rooms: Hits = NONE
    """Blocks that share bytes with the batmap or with the room of a parent locator, leaving out the ones above."""
    hit_rooms: tuple[Span, ...] = ()
    beyond_disk: Hits = NONE
    """Used entries behind the last block of the virtual disk. Only these three tell of them, and `used`."""
    beyond_faulty: Hits = NONE
    """Those of them that share bytes with a block of the disk or with metadata, or do not end before the footer."""
    beyond_past_end: Hits = NONE
    """Those of them that end behind the end of the file."""
    duplicate: Hits = NONE
    """Blocks at the same place as another, leaving out those past the end and in the metadata."""
    overlapping: Hits = NONE
    """Blocks that begin inside another one, leaving out the same, and duplicates."""
    full_unused: Hits = NONE
    """Unused blocks of the disk that the batmap calls full."""
    padding: bytes = b""
    """What stands between the last entry and the end of its sector."""

    @property
    def is_sane(self) -> bool:
        """Whether every block of the disk in use has a place of its own in the file's data area."""
        return not (
            self.past_end.count
            or self.over_footer.count
            or self.in_metadata.count
            or self.duplicate.count
            or self.overlapping.count
        )


@dataclass(slots=True)
class Blocks:
    """Blocks of one kind: how many, and the first few as (block, first sector)."""

    count: int = 0
    examples: list[tuple[int, int]] = field(default_factory=list)

    def add(self, block: int, sector: int) -> None:
        """Count one."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append((block, sector))


@dataclass(slots=True)
class Bitmaps:
    """What the bitmaps say."""

    full: Blocks = field(default_factory=Blocks)
    """Every sector of the disk in it holds data."""
    partial: Blocks = field(default_factory=Blocks)
    empty: Blocks = field(default_factory=Blocks)
    """No bit is set, and yet the block is in the file."""
    padding: Blocks = field(default_factory=Blocks)
    """The bytes behind the last bit are neither all zeros nor all ones."""
    contradicted: Blocks = field(default_factory=Blocks)
    """The batmap calls the block full, its bitmap does not."""
    unmarked: Blocks = field(default_factory=Blocks)
    """Sectors that the bitmap calls empty hold data. Known only of a stream, where the data passes anyway."""
    basis: tuple[int, ...] = ()
    """What they were sorted by. By another footer or header they would mean something else."""
