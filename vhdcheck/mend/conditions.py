"""Whether what a plan supposes of the guest's data is so; asked before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.mend.gpt import GPT, NONE, PartitionTable, free_for_end, read_partitions
from vhdcheck.mend.guest import DynamicDisk, RawDisk, first_data, windows
from vhdcheck.mend.plans import BEHIND_DISK, BEHIND_FOOTER, BETWEEN, FITS, PARTITIONS, SECTORS, UNMARKED
from vhdcheck.mend.stack import Stack
from vhdcheck.units import SECTOR, count, exact, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.mend.guest import Disk
    from vhdcheck.mend.plans import Condition
    from vhdcheck.sources.source import Source


def unmet(conditions: tuple[Condition, ...], source: Source, disk: Disk, result: Disk) -> Iterator[str]:
    """Yield a reason for each condition that is not met.

    Args:
        conditions: of the plan.
        source: the image's file.
        disk: the guest's disk, as it is.
        result: the guest's disk, as it would be.

    Raises:
        SourceError: the image cannot be read.
    """
    for condition in conditions:
        if condition.kind == UNMARKED:
            yield from _unmarked(disk)
        elif condition.kind in (BETWEEN, BEHIND_FOOTER):
            yield from _in_file(condition, source)
        elif condition.kind == PARTITIONS:
            yield from _problem(read_partitions(disk))
        elif condition.kind == SECTORS:
            table = read_partitions(disk)
            if table.has_large_sectors:
                yield f"its partitions would not be found: {table.problem}"
        elif condition.kind == BEHIND_DISK:
            yield from _behind(condition, disk)
        elif condition.kind == FITS:
            yield from _fits(condition, result)


def _unmarked(disk: Disk) -> Iterator[str]:
    if isinstance(disk, Stack):  # of a differencing disk all readers go to its parent there
        disk = disk.base
    if isinstance(disk, DynamicDisk) and (at := first_data(disk.unmarked())) is not None:
        yield (
            f"sector {at // SECTOR} of the disk holds data, and its block's bitmap says that it is empty: qemu and"
            " dissect read the data, libvhdi and XenServer zeros. Ask who made the image which is right"
        )


def _in_file(condition: Condition, source: Source) -> Iterator[str]:
    whole = RawDisk(source, condition.limit)
    if (at := first_data(whole.pieces(condition.offset))) is not None:
        what = "behind the footer" if condition.kind == BEHIND_FOOTER else "between the end of the disk and the footer"
        yield f"{what}, at 0x{at:x}, is data: it may belong to the disk. Ask who made the image how large it is"


def _problem(table: PartitionTable) -> Iterator[str]:
    if table.problem:
        yield f"the disk's end cannot be moved: {table.problem}"


def _behind(condition: Condition, disk: Disk) -> Iterator[str]:
    end = condition.offset
    table = read_partitions(disk)
    if table.problem:
        yield from _problem(table)
    elif table.scheme == NONE:
        if first_data(disk.pieces()) is not None:
            yield (
                "the disk has data and no partition table, so that nothing says how far its file system reaches:"
                f" shrink it inside the guest, so that it ends before {exact(end)}, under a partition table"
            )
    elif table.header is not None and table.usable_end(end) < table.header.first_usable * SECTOR:
        yield f"{exact(end)} are too few for the disk's partition table (GPT) and its backup"
    elif over := table.over(table.usable_end(end)):
        for partition in over:
            yield (
                f"partition {partition.number} ends at {exact(partition.end)}, and reaches"
                f" {grouped(partition.end - table.usable_end(end))} bytes over what the destination accepts: shrink its"
                f" file system and the partition inside the guest, to end before {exact(table.usable_end(end))}"
            )
    else:
        for start, behind in free_for_end(table, disk, end):
            if (at := first_data(disk.pieces(start, behind))) is not None:
                spare = ", where the GPT's backup would be" if table.scheme == GPT and at < end else ""
                yield f"no partition reaches there, and yet the disk has data at {exact(at)}, in byte {at}{spare}"
                break


def _fits(condition: Condition, result: Disk) -> Iterator[str]:
    used = sum(1 for _ in windows(result))
    if used > condition.limit:
        yield (
            f"{count(used, 'block')} of 2 MiB hold data, and the destination's limit on the file's length leaves room"
            f" for {grouped(condition.limit)}: free space inside the guest, and fill it with zeros"
        )
