"""What to read next, and when a part of the image is known. No I/O.

`steps` is a generator, and whoever drives it is a driver: a file, a buffer, a URL, a stream, a browser. It yields one
of two things, and is sent one of two answers:

    yields                      is sent
    Wanted(spans)               the bytes of each span, in order; None for one that is out of reach
    Known(part, value)          ()

The spans of one Wanted lie inside the file and do not overlap, so a driver may fetch them in any order, at once. Known
is yielded as soon as nothing that is still to be read can change the part. That is what makes it possible to refuse an
upload after 2 KiB.

Invariants:

* Nothing is asked for twice: both ends of the file stay in the reader's windows, and what lies in them is answered from
  there. A span that begins in a window is only asked for from where the window ends.
* What is asked for is bounded by the constants of `format.limits`, never by a field of the image.
* A part that cannot be read is named: in `image.unexamined` where the image is at fault, in `image.unseen` where the
  driver could not deliver it. Silence would be taken for acceptance.
* The plan judges nothing. It only decides what to read, and where it goes by a field it first looks whether the field
  can be true.

The work at header level takes three rounds at the most. Round one reads both ends of the file. Round two reads the
header where it is not in the first 4 KiB, and looks for a footer that is not at the end. Round three reads all that the
header points at. A batmap that does not lie behind the table, or dead space longer than the last 4 KiB, costs one round
more. So does a file without a footer near its ends: one may be in the middle, see `stray`.

A stream has no end yet. `open_ended` says so: then the plan begins at the beginning and takes the word of the footer's
copy. Where the copy is gone it asks for all that the header points at, since the footer at the end may need any of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vhdcheck.blocks.facts import Bounds
from vhdcheck.blocks.small import sound
from vhdcheck.engine.bitmap_reads import read_bitmaps
from vhdcheck.engine.stray import find_a_stray
from vhdcheck.engine.windows import Reader, Wanted
from vhdcheck.format.layout import BATMAP_HEADER_SIZE, FOOTER_SIZE, HEADER_SIZE, SHORT_FOOTER_SIZE
from vhdcheck.format.limits import (
    HEAD,
    MAX_BATMAP,
    MAX_ENTRIES,
    MAX_LOCATOR,
    SEARCH,
    TABLE_PIECE,
)
from vhdcheck.format.span import Span
from vhdcheck.format.structures import (
    BATMAP_1_2,
    BATMAP_COOKIE,
    DIFFERENCING,
    FIXED,
    HEADER_COOKIE,
    Batmap,
    DynamicHeader,
    Footer,
    is_footer,
)
from vhdcheck.image import FileEnds, Image, Slack, metadata_of, vital_of
from vhdcheck.units import SECTOR, round_up
from vhdcheck.values import value

if TYPE_CHECKING:
    from collections.abc import Generator

    from vhdcheck.blocks.facts import Bitmaps
    from vhdcheck.engine.windows import Answers


@value(frozen=True, slots=True)
class Known:
    """A part of the image that is complete: `file`, `footer`, `copies`, `header`, `locators`, `table`, ..."""

    part: str
    value: Any


def steps(
    image: Image,
    *,
    deep: bool = False,
    allocation: bool = False,
    bitmaps: Bitmaps | None = None,
    open_ended: bool = False,
) -> Generator[Wanted | Known, Answers, None]:
    """Read an image, part by part, into `image`.

    Args:
        image: a new Image with its size.
        deep: read the sector bitmaps of all used blocks too.
        allocation: count where the blocks lie too.
        bitmaps: what they said, where they were read already.
        open_ended: the end is not there yet, as in a stream: begin at the beginning, and ask for all that its header
            points at, whatever a footer at the end will make of it.
    """
    image.bitmaps = bitmaps
    if open_ended:
        yield from _from_the_start(image, deep=deep)
        return
    size = image.size
    reader = Reader(image)
    head, tail = yield from reader.ends()
    yield Known("size", size)
    image.tail = _footer_at_end(tail, size)
    copy = _footer_at_start(head, image.tail, size)
    if image.tail is None:
        image.stray, image.lookalike = yield from find_a_stray(reader, image, head, copy)
    footer = image.footer = image.tail or image.stray or copy
    if footer is not None and footer.disk_type != FIXED:
        image.copy = copy
    yield Known("file", FileEnds(size, head, tail))
    if footer is None:
        return
    yield Known("footer", footer)
    yield Known("copies", image)
    if footer.is_sparse:
        yield from _sparse_parts(reader, image, footer, deep=deep, allocation=allocation)
        if not image.metadata:
            image.vital = vital_of(image)
            image.metadata = metadata_of(image)
    yield Known("image", image)


def _from_the_start(image: Image, *, deep: bool) -> Generator[Wanted | Known, Answers, None]:
    """Read what can be read before the end has come, by the word of the footer's copy.

    Where the copy is gone, its header alone says what to read: the type and the creator of the disk, which the footer
    at the end will tell, decide whether there are parents and a batmap. So both are asked for.
    """
    reader = Reader(image)
    (head,) = yield from reader.ask(Span(0, HEAD, "file"))
    reader.windows = [(0, head)]
    raw = head[FOOTER_SIZE : FOOTER_SIZE + HEADER_SIZE]
    if is_footer(head[:FOOTER_SIZE]):
        copy = Footer.parse(head[:FOOTER_SIZE], 0, "footer_copy")
        image.footer = copy
        image.copy = copy if copy.disk_type != FIXED else None
        yield Known("footer", copy)
        if copy.is_sparse:
            yield from _sparse_parts(reader, image, copy, deep=deep, allocation=False)
    elif raw.startswith(HEADER_COOKIE) and len(raw) == HEADER_SIZE:
        header = image.header = DynamicHeader.parse(raw, FOOTER_SIZE)
        every = _Expected(header.max_table_entries * header.block_size, has_parents=True, has_batmap=True)
        yield from _pointed_at(reader, image, header, every, deep=deep, allocation=False)


@value(frozen=True, slots=True)
class _Expected:
    """What a footer says of the parts behind the dynamic header."""

    disk_size: int
    has_parents: bool
    has_batmap: bool
    insists_on_batmap: bool = True
    """Whether libvhd takes what stands in the batmap's place for one, whatever it is."""

    @classmethod
    def by(cls, footer: Footer) -> _Expected:
        """Take a footer's word."""
        return cls(
            footer.current_size,
            has_parents=footer.disk_type == DIFFERENCING,
            has_batmap=footer.is_tap and footer.creator_version > 1,
            insists_on_batmap=footer.creator_version >= BATMAP_1_2,
        )


def _footer_at_end(tail: bytes, size: int) -> Footer | None:
    for length in (FOOTER_SIZE, SHORT_FOOTER_SIZE):
        raw = tail[-length:]
        if len(raw) == length and is_footer(raw):
            return Footer.parse(raw, size - length, "footer")
    return None


def _footer_at_start(head: bytes, tail: Footer | None, size: int) -> Footer | None:
    raw = head[:FOOTER_SIZE]
    if size <= FOOTER_SIZE or not is_footer(raw):
        return None
    return (
        tail.copied("footer_copy", 0) if tail is not None and tail.raw == raw else Footer.parse(raw, 0, "footer_copy")
    )


def _sparse_parts(
    reader: Reader, image: Image, footer: Footer, *, deep: bool, allocation: bool
) -> Generator[Wanted | Known, Answers, None]:
    """Read the dynamic header and what it points at."""
    if footer.is_little_endian:
        image.unexamined.append("the dynamic header: it is little-endian too, or contradicts the footer")
        return
    if footer.data_offset + HEADER_SIZE > image.size:
        image.unexamined.append("the dynamic header: its offset lies outside the file")
        return
    (raw,) = yield from reader.ask(Span(footer.data_offset, HEADER_SIZE, "header"))
    if not raw:
        return
    header = image.header = DynamicHeader.parse(raw, footer.data_offset)
    if header.cookie == HEADER_COOKIE:
        yield Known("header", header)
        yield from _pointed_at(reader, image, header, _Expected.by(footer), deep=deep, allocation=allocation)
        if footer.is_tap and not _is_unseen(image, "batmap_map"):
            yield Known("batmap", image.batmap)
    else:
        yield Known("no_header", header)
        image.unexamined.append("the block allocation table: there is no dynamic header to say where it is")


def _pointed_at(
    reader: Reader, image: Image, header: DynamicHeader, expected: _Expected, *, deep: bool, allocation: bool
) -> Generator[Wanted | Known, Answers, None]:
    """Read table, batmap and parent locators in one round."""
    entries = _readable_entries(image, header)
    located = (
        [loc for loc in header.parent_locators if any(loc.platform_code) and loc.data_offset]
        if expected.has_parents
        else []
    )
    table_bytes = header.table_length if entries else 0
    held = reader.held(header.table_offset, table_bytes) // 4 * 4  # apart, so that the rest need not be copied
    wanted = [Span(header.table_offset, held, "table")]
    if table_bytes > held:
        wanted.append(Span(header.table_offset + held, min(table_bytes - held, TABLE_PIECE), "table"))
    parts = len(wanted)
    if expected.has_batmap:
        predicted_map = min(round_up(-(-header.max_table_entries // 8), SECTOR), MAX_BATMAP)
        wanted.append(Span(header.table_end, BATMAP_HEADER_SIZE + predicted_map, "batmap_map"))
    for loc in located:
        length = min(loc.data_length, MAX_LOCATOR)
        wanted.append(Span(loc.data_offset, length, "parent_locator_data", loc.index))
    answers = yield from reader.ask(*wanted)
    pieces = answers[:parts]
    if located:
        texts = answers[-len(located) :]
        image.locators = tuple(replace(loc, data=text) for loc, text in zip(located, texts, strict=True))
    yield Known("locators", image.locators)
    if expected.has_batmap and len(answers[parts]) >= BATMAP_HEADER_SIZE:
        yield from _read_batmap(reader, image, answers[parts], header.table_end, insists=expected.insists_on_batmap)
    image.vital = vital_of(image)
    image.metadata = metadata_of(image)
    if entries:
        for start in range(held + TABLE_PIECE, table_bytes, TABLE_PIECE):
            span = Span(header.table_offset + start, min(TABLE_PIECE, table_bytes - start), "table")
            pieces += yield from reader.ask(span)
        if not _is_unseen(image, "table"):
            disk = expected.disk_size
            yield from _judge_table(reader, image, header, pieces, disk, deep=deep, allocation=allocation)


def _is_unseen(image: Image, part: str) -> bool:
    return bool(image.unseen) and any(span.part == part for span in image.unseen)


def _readable_entries(image: Image, header: DynamicHeader) -> int:
    """Count the entries worth reading: all of them, or none where the table cannot be what the header says."""
    why = ""
    if not header.has_usable_block_size:
        why = "the block size is not usable"
    elif header.table_offset < SECTOR or header.table_offset + 4 * header.max_table_entries > image.footer_offset:
        why = "it does not lie inside the file"
    elif header.max_table_entries > MAX_ENTRIES:
        why = f"it claims more than {MAX_ENTRIES} entries"
    if why:
        image.unexamined.append(f"the block allocation table: {why}")
        return 0
    return header.max_table_entries


def _read_batmap(
    reader: Reader, image: Image, raw: bytes, offset: int, *, insists: bool
) -> Generator[Wanted | Known, Answers, None]:
    """Take the batmap's header, and its map from where that says it is, if a map can be there.

    An image of blktap 1.1 may have none: what is no batmap that blktap knows is not taken for one.
    """
    batmap = Batmap.parse(raw[:BATMAP_HEADER_SIZE], offset)
    if not insists and (batmap.cookie != BATMAP_COOKIE or batmap.version > BATMAP_1_2):
        return
    image.batmap = batmap
    if image.has_batmap_in_place and batmap.length <= MAX_BATMAP:
        bits = raw[BATMAP_HEADER_SIZE : BATMAP_HEADER_SIZE + batmap.length]
        if batmap.map_offset != offset + BATMAP_HEADER_SIZE or len(bits) < batmap.length:
            (bits,) = yield from reader.ask(Span(batmap.map_offset, batmap.length, "batmap_map"))
        image.batmap = replace(batmap, map=bits)


def _judge_table(
    reader: Reader,
    image: Image,
    header: DynamicHeader,
    pieces: list[bytes],
    disk_size: int,
    *,
    deep: bool,
    allocation: bool,
) -> Generator[Wanted | Known, Answers, None]:
    """Analyse the table, then read what lies between the last block and the footer and, if deep, the bitmaps."""
    inside = vital = _inside(image, image.vital)
    rooms: list[Span] = []
    if image.metadata is not image.vital:  # there is a batmap, or there are parent locators
        inside = _inside(image, image.metadata)
        rooms = [span for span in inside if span.part in {"batmap_map", "parent_locator_data"}]
    entries = header.max_table_entries
    needed = header.blocks_needed(disk_size)
    bounds = Bounds(needed, header.slot_length, vital, image.footer_offset, image.size, rooms)
    pieces[:] = [piece for piece in pieces if piece]
    batmap = image.batmap.map if image.batmap is not None else b""
    table = None
    image.table = None if deep or allocation else sound(pieces, entries, bounds, batmap)
    if image.table is None:
        from vhdcheck.blocks import arrays  # numpy costs 100 ms to import

        table, padding = arrays.decode(pieces, entries)
        image.table = arrays.analyse(table, bounds, padding=padding, batmap=batmap)
        if allocation:
            from vhdcheck.blocks.allocation import allocate  # numpy

            image.allocation = allocate(table, bounds)
    yield Known("table", image.table)
    if image.table.is_sane and not image.table.beyond_faulty.count:  # else what looks unused may belong to a block
        if deep and table is not None:
            yield from read_bitmaps(image, table, header, disk_size)
        if image.bitmaps is not None:
            yield Known("bitmaps", image.bitmaps)
        yield from _read_slack(reader, image, inside)
    elif deep:
        image.unexamined.append("the sector bitmaps: the block allocation table is damaged")


def _inside(image: Image, spans: list[Span]) -> list[Span]:
    """Cut spans off where the file ends."""
    size = image.size
    return [
        span if span.offset + span.length <= size else span._replace(length=size - span.offset)
        for span in spans
        if span.offset < size
    ]


def _read_slack(reader: Reader, image: Image, metadata: list[Span]) -> Generator[Wanted | Known, Answers, None]:
    """Read what lies between the last block or the metadata and the footer, up to 64 KiB of it.

    Where the file does not end with a footer, that is where it may stand, with something behind it.
    """
    assert image.table is not None  # just set
    start = max([image.table.data_end, *[span.offset + span.length for span in metadata]])
    length = image.footer_offset - start
    if length > 0:
        (data,) = yield from reader.ask(Span(start, min(length, SEARCH), "slack"))
        if image.footer is image.copy and image.copy is not None and (at := data.find(image.copy.raw)) >= 0:
            image.stray = image.copy.copied("footer", start + at)
            length, data = at, data[:at]
        if data:
            image.slack = Slack(start, length, data)
            yield Known("slack", image.slack)
