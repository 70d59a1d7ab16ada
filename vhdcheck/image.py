"""Image: all that is known of one file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from vhdcheck.format import layout
from vhdcheck.format.span import Span
from vhdcheck.format.structures import BATMAP_COOKIE, HEADER_COOKIE, Batmap, DynamicHeader, Footer, ParentLocator
from vhdcheck.units import SECTOR
from vhdcheck.values import value

if TYPE_CHECKING:
    from vhdcheck.blocks.facts import Bitmaps, Table
    from vhdcheck.blocks.strips import Allocation
    from vhdcheck.format.lookalikes import Format


@value(frozen=True, slots=True)
class FileEnds:
    """The first and the last bytes of a file, at most 4 KiB each."""

    size: int
    head: bytes
    tail: bytes


@dataclass(frozen=True, slots=True)
class Slack:
    """The bytes between the end of the last block (or of the metadata) and the footer; `data` up to 64 KiB of them."""

    offset: int
    length: int
    data: bytes


@dataclass(slots=True)
class Image:
    """What is known of an image. The plan fills it part by part; to everyone else it is read-only."""

    size: int
    """Length of the file in bytes: the physical size; ENDLESS while a stream has not ended."""
    tail: Footer | None = None
    """The footer at the end of the file."""
    stray: Footer | None = None
    """A footer with something behind it, in a file that does not end with one: cut behind it, the file is whole."""
    lookalike: Format | None = None
    """The other format that a file without a footer is of."""
    copy: Footer | None = None
    """The footer's copy at offset 0 of a dynamic or differencing disk."""
    footer: Footer | None = None
    """The footer that is judged: the tail; where that is gone, a stray one before trailing bytes; else the copy."""
    header: DynamicHeader | None = None
    locators: tuple[ParentLocator, ...] = ()
    """The used parent locators of a differencing disk, with their data."""
    batmap: Batmap | None = None
    vital: list[Span] = field(default_factory=list)
    """The regions whose every byte says something, by offset: what lies over one of them destroys it.

    The batmap's map is none of them, because it says nothing that the bitmaps do not say, and of a parent locator's
    room its text alone is one.
    """
    metadata: list[Span] = field(default_factory=list)
    """Every metadata region but the footer at the end, by offset; complete when the table is known. Where there are
    only vital ones, it is their list.

    Of a parent locator that is its room, which may be longer than its text. A batmap that lies where none can be is
    not among them.
    """
    table: Table | None = None
    allocation: Allocation | None = None
    """Where the blocks lie, for a map; only where asked for."""
    slack: Slack | None = None
    bitmaps: Bitmaps | None = None
    unexamined: list[str] = field(default_factory=list)
    """Parts that exist by the footer's word and could not be examined, with the reason."""
    unseen: list[Span] = field(default_factory=list)
    """Parts that the source could not deliver: a stream that had passed them before it was known where they are."""

    @property
    def footer_offset(self) -> int:
        """Where blocks must end: the footer's offset, or the file's end where it has none."""
        return self.size if self.footer is None or self.footer is self.copy else self.footer.offset

    @property
    def has_batmap_in_place(self) -> bool:
        """Whether the batmap's map lies where one can be: in the file, at a sector, over no other structure."""
        batmap = self.batmap
        if batmap is None or batmap.cookie != BATMAP_COOKIE or not batmap.map_offset or not batmap.size:
            return False
        end = batmap.map_offset + batmap.length
        if batmap.map_offset % SECTOR or end > self.footer_offset:
            return False
        return not any(span.offset < end and batmap.map_offset < span.end for span in vital_of(self))

    @property
    def blocks_needed(self) -> int:
        """The blocks of the virtual disk; 0 for a fixed one."""
        if self.footer is None or self.header is None or not self.header.has_usable_block_size:
            return 0
        return self.header.blocks_needed(self.footer.current_size)


def metadata_of(image: Image) -> list[Span]:
    """List every metadata region but the footer at the end, by offset; the vital ones are known, and often all.

    A stand-alone disk's parent locators are none.
    """
    if not image.locators and image.batmap is None:
        return image.vital
    spans = list(image.vital)
    for locator in image.locators:
        text = next((span for span in spans if span[2:4] == ("parent_locator_data", locator.index)), None)
        if text is not None:
            spans[spans.index(text)] = text._replace(length=max(locator.space, 1))
    if (batmap := image.batmap) is not None and image.has_batmap_in_place:
        spans.append(Span(batmap.map_offset, batmap.length, "batmap_map"))
        spans.sort(key=attrgetter("offset"))
    return spans


def vital_of(image: Image) -> list[Span]:
    """List the regions of an image whose every byte says something, by offset."""
    spans = [] if image.copy is None else [Span(0, SECTOR, "footer_copy")]
    if (header := image.header) is not None:
        spans.append(Span(header.offset, layout.HEADER_SIZE, "header"))
        if header.cookie == HEADER_COOKIE and header.max_table_entries:
            spans.append(Span(header.table_offset, header.table_length, "table"))
        for locator in image.locators:
            if locator.data_offset:
                length = max(min(locator.data_length, locator.space), 1)
                spans.append(Span(locator.data_offset, length, "parent_locator_data", locator.index))
    if (batmap := image.batmap) is not None and batmap.cookie == BATMAP_COOKIE:
        spans.append(Span(batmap.offset, layout.BATMAP_HEADER_SIZE, "batmap"))
    return sorted(spans, key=attrgetter("offset"))


def slimmed(image: Image) -> Image:
    """Leave out of an image what can be long: 64 KiB of slack and of each locator, 1 MiB of batmap."""
    changes: dict[str, Any] = {}
    if image.slack is not None and image.slack.data:
        changes["slack"] = replace(image.slack, data=b"")
    if image.batmap is not None and image.batmap.map:
        changes["batmap"] = replace(image.batmap, map=b"")
    if any(locator.data for locator in image.locators):
        changes["locators"] = tuple(replace(locator, data=b"") for locator in image.locators)
    return replace(image, **changes) if changes else image
