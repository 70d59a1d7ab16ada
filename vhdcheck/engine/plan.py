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
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vhdcheck.blocks.bitmaps import Tally
from vhdcheck.blocks.facts import Bounds
from vhdcheck.blocks.small import sound
from vhdcheck.engine.stray import guesses
from vhdcheck.engine.windows import Reader, Wanted
from vhdcheck.format.layout import BATMAP_HEADER_SIZE, FOOTER_SIZE, HEADER_SIZE, SHORT_FOOTER_SIZE
from vhdcheck.format.limits import (
    BITMAPS_AT_ONCE,
    END,
    HEAD,
    MAX_BATMAP,
    MAX_ENTRIES,
    MAX_LOCATOR,
    NEAR,
    SEARCH,
    TABLE_PIECE,
)
from vhdcheck.format.lookalikes import VOLUME, recognise
from vhdcheck.format.span import Span
from vhdcheck.format.structures import (
    BATMAP_1_2,
    BATMAP_COOKIE,
    COOKIE,
    DIFFERENCING,
    FIXED,
    HEADER_COOKIE,
    Batmap,
    DynamicHeader,
    Footer,
    checksum,
    is_footer,
)
from vhdcheck.image import FileEnds, Image, Slack, metadata_of, vital_of
from vhdcheck.units import SECTOR, round_up

if TYPE_CHECKING:
    from collections.abc import Generator

    from vhdcheck.blocks.arrays import Entries, Places
    from vhdcheck.blocks.facts import Bitmaps
    from vhdcheck.engine.windows import Answers
    from vhdcheck.format.lookalikes import Format


VOLUME_MARK: Final = 5
"""Bytes of the mark of an optical disc's volume."""


class Known(NamedTuple):
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
    head, tail = yield from reader.ask(Span(0, END, "file"), Span(max(0, size - END), END, "file"))
    reader.windows = [(0, head), (size - len(tail), tail)]
    yield Known("size", size)
    yield from _find_footers(reader, image, head, tail)
    footer = image.footer
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


class _Expected(NamedTuple):
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


def _find_footers(reader: Reader, image: Image, head: bytes, tail: bytes) -> Generator[Wanted | Known, Answers, None]:
    """Find the footer at the end, else one with something behind it, and the copy at the start."""
    size = image.size
    image.tail = _footer_at_end(tail, size)
    copy = None
    if image.tail is not None and head[:FOOTER_SIZE] == image.tail.raw and size > FOOTER_SIZE:
        copy = image.tail.copied("footer_copy", 0)
    elif is_footer(head[:FOOTER_SIZE]) and size > FOOTER_SIZE:
        copy = Footer.parse(head[:FOOTER_SIZE], 0, "footer_copy")
    if image.tail is None:
        image.stray, image.lookalike = yield from _find_a_stray(reader, image, head, copy)
    image.footer = image.tail or image.stray or copy
    if image.footer is not None and image.footer.disk_type != FIXED:
        image.copy = copy
    yield Known("file", FileEnds(size, head, tail))


def _find_a_stray(
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


def _footer_at_end(tail: bytes, size: int) -> Footer | None:
    for length in (FOOTER_SIZE, SHORT_FOOTER_SIZE):
        if len(tail) >= length and is_footer(tail[-length:]):
            return Footer.parse(tail[-length:], size - length, "footer")
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
        if footer.is_tap and not any(span.part == "batmap_map" for span in image.unseen):
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
    batmap_at = header.table_end if expected.has_batmap else image.size
    predicted_map = min(round_up(-(-header.max_table_entries // 8), SECTOR), MAX_BATMAP)
    held = reader.held(header.table_offset, table_bytes) // 4 * 4  # apart, so that the rest need not be copied
    answers = yield from reader.ask(
        Span(header.table_offset, held, "table"),
        Span(header.table_offset + held, min(table_bytes - held, TABLE_PIECE), "table"),
        Span(batmap_at, BATMAP_HEADER_SIZE + predicted_map, "batmap_map"),
        *(
            Span(loc.data_offset, min(loc.data_length, MAX_LOCATOR), "parent_locator_data", loc.index)
            for loc in located
        ),
    )
    *pieces, batmap = answers[:3]
    texts = answers[3:]
    image.locators = tuple(replace(loc, data=text) for loc, text in zip(located, texts, strict=True))
    yield Known("locators", image.locators)
    if len(batmap) >= BATMAP_HEADER_SIZE:
        yield from _read_batmap(reader, image, batmap, batmap_at, insists=expected.insists_on_batmap)
    image.vital = vital_of(image)
    image.metadata = metadata_of(image)
    if entries:
        for start in range(held + TABLE_PIECE, table_bytes, TABLE_PIECE):
            span = Span(header.table_offset + start, min(TABLE_PIECE, table_bytes - start), "table")
            pieces += yield from reader.ask(span)
        if not any(span.part == "table" for span in image.unseen):
            disk = expected.disk_size
            yield from _judge_table(reader, image, header, pieces, disk, deep=deep, allocation=allocation)


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
    inside = _inside(image, image.metadata)
    rooms = [span for span in inside if span.part in {"batmap_map", "parent_locator_data"}]
    entries = header.max_table_entries
    needed = header.blocks_needed(disk_size)
    bounds = Bounds(needed, header.slot_length, _inside(image, image.vital), image.footer_offset, image.size, rooms)
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
            yield from _read_bitmaps(image, table, header, disk_size)
        if image.bitmaps is not None:
            yield Known("bitmaps", image.bitmaps)
        yield from _read_slack(reader, image, inside)
    elif deep:
        image.unexamined.append("the sector bitmaps: the block allocation table is damaged")


def _inside(image: Image, spans: list[Span]) -> list[Span]:
    """Cut spans off where the file ends."""
    return [
        span if span.end <= image.size else span._replace(length=image.size - span.offset)
        for span in spans
        if span.offset < image.size
    ]


def _read_slack(reader: Reader, image: Image, metadata: list[Span]) -> Generator[Wanted | Known, Answers, None]:
    """Read what lies between the last block or the metadata and the footer, up to 64 KiB of it.

    Where the file does not end with a footer, that is where it may stand, with something behind it.
    """
    assert image.table is not None  # just set
    start = max([image.table.data_end, *(span.end for span in metadata)])
    length = image.footer_offset - start
    if length > 0:
        (data,) = yield from reader.ask(Span(start, min(length, SEARCH), "slack"))
        if image.footer is image.copy and image.copy is not None and (at := data.find(image.copy.raw)) >= 0:
            image.stray = image.copy.copied("footer", start + at)
            length, data = at, data[:at]
        if data:
            image.slack = Slack(start, length, data)
            yield Known("slack", image.slack)


def _read_bitmaps(
    image: Image, table: Entries, header: DynamicHeader, disk_size: int
) -> Generator[Wanted | Known, Answers, None]:
    """Read the sector bitmap of each used block, in file order, a bounded number at a time.

    Those that passed in a stream are taken as they were sorted then, unless by a copy that the footer contradicts.
    """
    from vhdcheck.blocks import arrays

    full = image.batmap.map if image.batmap is not None else b""
    if image.table is not None and any(room.part == "batmap_map" for room in image.table.hit_rooms):
        full = b""  # it is some block's data
    last_block = header.blocks_needed(disk_size) - 1
    last_sectors = (disk_size - last_block * header.block_size) // SECTOR
    tally = Tally(header.offset, header.block_size // SECTOR, last_block, last_sectors, full)
    if image.bitmaps is not None and image.bitmaps.basis == tally.result.basis:
        return
    length = header.bitmap_length
    near = NEAR if header.block_size <= NEAR else 0
    keys = arrays.by_place(table)
    at_once = max(1, BITMAPS_AT_ONCE // length)
    for start in range(0, len(keys), at_once):
        blocks, sectors = arrays.split(keys[start : start + at_once])
        firsts = arrays.runs(sectors, length, near)
        answers = yield _wanted_bitmaps(blocks, sectors, firsts, length)
        if None in answers and len(firsts) < len(blocks):
            near = -1  # which of a run's bitmaps is lost is not known: ask for each by itself
            firsts = arrays.runs(sectors, length, near)
            answers = yield _wanted_bitmaps(blocks, sectors, firsts, length)
        if None in answers:
            if not any(span.part == "bitmaps" for span in image.unseen):
                lost = next(number for number, data in enumerate(answers) if data is None)
                image.unseen.append(Span(int(sectors[lost]) * SECTOR, length, "bitmaps"))
            seen = [number for number, data in enumerate(answers) if data is not None]
            blocks, sectors, firsts = blocks[seen], sectors[seen], firsts[: len(seen)]
        bitmaps = arrays.cut([data for data in answers if data is not None], sectors, firsts, length)
        tally.add(blocks, sectors, bitmaps, arrays.called_full(full, blocks) if full else None)
    image.bitmaps = tally.result


def _wanted_bitmaps(blocks: Entries, sectors: Entries, firsts: Places, length: int) -> Wanted:
    """Ask for runs of bitmaps; a run of more than one is of part `bitmaps`, for what lies between them is read too."""
    if len(firsts) == len(blocks):
        places = zip(blocks.tolist(), sectors.tolist(), strict=True)
        return Wanted(tuple(Span(sector * SECTOR, length, "bitmap", block) for block, sector in places))
    begins = sectors[firsts].tolist()
    ends = [*sectors[firsts[1:] - 1].tolist(), int(sectors[-1])]
    return Wanted(
        tuple(
            Span(begin * SECTOR, (end - begin) * SECTOR + length, "bitmaps")
            for begin, end in zip(begins, ends, strict=True)
        )
    )
