"""The corrected image, as the old one with other bytes in a few places; and what is different, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vhdcheck import targets
from vhdcheck.engine.check import examine
from vhdcheck.format import layout
from vhdcheck.format.layout import FOOTER_SIZE, SHORT_FOOTER_SIZE
from vhdcheck.format.limits import SEARCH
from vhdcheck.format.span import Span
from vhdcheck.format.structures import COOKIE, FIXED, KILLED, is_zero
from vhdcheck.mend.errors import Unmendable
from vhdcheck.mend.footers import is_short, true_footer
from vhdcheck.mend.headers import true_header
from vhdcheck.units import SECTOR, round_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdcheck.image import Image
    from vhdcheck.sources.source import Source
    from vhdcheck.verdict.report import Report

WRECK = 64
"""Bytes of a footer that may be wrong where it is still to be known for what it was: most of one are zeros."""


@dataclass(frozen=True, slots=True)
class Change:
    """A byte range that is different; `old` is empty for what was added, `new` for what was cut off."""

    offset: int
    field: str
    """A path such as `footer.unique_id`."""
    old: bytes
    """The bytes themselves; of a longer end that is cut off, the first 64 KiB."""
    new: bytes
    cut: int = 0
    """Bytes that are cut off."""

    @property
    def length(self) -> int:
        """Bytes of the range."""
        return max(len(self.old), len(self.new), self.cut)


class Patched:
    """A source with other bytes in a few places, and another length."""

    def __init__(self, base: Source, patches: dict[int, bytes], size: int) -> None:
        """Lay the patches (offset -> bytes, disjoint) over `base`."""
        self.name, self.size, self.patches = base.name, size, patches
        self._base = base

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return each span's bytes."""
        return [self._read(span) for span in spans]

    def _read(self, span: Span) -> bytes:
        inside = min(span.end, self._base.size)
        (old,) = self._base.read([Span(span.offset, inside - span.offset)]) if inside > span.offset else (b"",)
        data = bytearray((old or b"").ljust(span.length, b"\0"))
        for offset, patch in self.patches.items():
            start, end = max(offset, span.offset), min(offset + len(patch), span.end)
            if start < end:
                data[start - span.offset : end - span.offset] = patch[start - offset : end - offset]
        return bytes(data)

    def verify(self) -> None:
        """Ask the source."""
        self._base.verify()


def corrections(reader: Source, image: Image, *, now: float, new_id: bytes) -> Patched:
    """Lay over an image what mends it.

    Args:
        reader: the image.
        image: what is known of it.
        now: the time, in Unix seconds.
        new_id: a unique ID in place of zeros.

    Raises:
        Unmendable: the image does not say what would be right.
    """
    if image.footer is None:
        raise Unmendable("there is no footer to begin with")
    header = true_header(image)
    place, size = _place_of_the_footer(reader, image)

    def with_footer(raw: bytes) -> Patched:
        patches = {place: raw[: size - place]}
        if image.footer is not None and image.footer.is_sparse:
            patches[0] = raw
        if header is not None and image.header is not None:
            patches[image.header.offset] = header
        return Patched(reader, patches, size)

    def stands(raw: bytes) -> bool:
        return examine(with_footer(raw), targets.load("generic"), now=now).ok

    patched = with_footer(true_footer(image, now=now, new_id=new_id, stands=stands))
    if image.footer.is_sparse and not _footers_agree(image):
        _refuse_another_disk(examine(patched, targets.load("generic"), now=now))
    return patched


def _footers_agree(image: Image) -> bool:
    """Say whether both footers are there and say the same, so that neither is taken for the other.

    The one behind the blocks need not end the file: something may have been appended to it.
    """
    end, copy = image.tail or image.stray, image.copy
    return end is not None and copy is not None and end.raw == copy.raw and end.is_signed


def _refuse_another_disk(after: Report) -> None:
    """See that the footer that is taken for both belongs to all of the file.

    Raises:
        Unmendable: by its word blocks in use are behind the end of the disk, or something follows the image.
    """
    table, slack = after.image.table, after.image.slack
    if table is not None and table.beyond_disk.count:
        raise Unmendable(
            "one footer is lost or damaged, and by the other one blocks in use would lie behind the end of the disk:"
            " ask who made the image how large it is"
        )
    if slack is not None and COOKIE in slack.data:
        raise Unmendable("the footers differ, and between them is a footer of another image: two images in one file")
    if any(finding.slug == "leftover-data" for finding in after.findings):
        raise Unmendable(
            "the footers differ, and between the last block and the footer is data: of blocks that the table should"
            " have, or of another image"
        )


def _place_of_the_footer(reader: Source, image: Image) -> tuple[int, int]:
    """Return where the footer at the end belongs, and how long the file then is.

    Raises:
        Unmendable: what stands there may be something else.
    """
    footer = image.footer
    assert footer is not None  # the caller has one
    if footer is image.copy and image.stray is not None and _footers_agree(image):
        return image.stray.offset, image.stray.offset + FOOTER_SIZE  # it is not lost: something was appended to it
    if footer is image.copy:
        return _place_of_a_lost_footer(reader, image)
    if image.tail is None and footer.disk_type == FIXED:
        if footer.offset != footer.current_size:
            raise Unmendable(
                "the footer before the trailing bytes does not stand at the end of the disk that it describes"
            )
        _refuse_a_grown_disk(reader, footer.offset + FOOTER_SIZE)
    return footer.offset, footer.offset + (SHORT_FOOTER_SIZE if is_short(image) else FOOTER_SIZE)


def _refuse_a_grown_disk(reader: Source, end: int) -> None:
    """See that what follows a fixed disk's footer is not the rest of a disk that grew.

    Such a disk keeps its old footer as data. With its new footer it is a whole number of sectors longer. What is not,
    or is all zeros (`qemu-img resize -f raw`), can be cut off. More than SEARCH bytes are left to who reads the data.

    Raises:
        Unmendable: it may be.
    """
    length = reader.size - end
    if length % SECTOR not in (0, SHORT_FOOTER_SIZE) or length > SEARCH:
        return
    (data,) = reader.read([Span(end, length)])
    if data is None or not is_zero(data):
        raise Unmendable(
            f"the {length} bytes behind the footer may belong to the disk: one that grew keeps its old footer as data,"
            " and its new one is damaged or missing. Ask who made the image how large it is"
        )


def _place_of_a_lost_footer(reader: Source, image: Image) -> tuple[int, int]:
    """Find the place for a footer of which the copy is left: behind all blocks, over nothing but its own remains."""
    if image.table is None or not image.table.is_sane or image.copy is None:
        raise Unmendable("the footer at the end is missing, and the block allocation table does not say where that is")
    behind = round_up(max(image.table.data_end, *(span.end for span in image.metadata)), SECTOR)
    if behind > round_up(image.size, SECTOR):
        raise Unmendable("the footer at the end is missing, and a structure lies behind the end of the file")
    place = max(image.size - (image.size % SECTOR or SECTOR), behind)
    if image.size < place:  # a sector's last bytes are missing
        place = behind
    (left,) = reader.read([Span(place, max(0, image.size - place))]) if image.size > place else (b"",)
    left = left or b""
    if left == KILLED:
        raise Unmendable("XenServer overwrote the footer because the image was in use: its data may be torn")
    wrong = sum(one != other for one, other in zip(left, image.copy.raw, strict=False))
    if left.strip(b"\0") and wrong > (WRECK if len(left) == FOOTER_SIZE else 0):
        raise Unmendable(
            f"where the footer should stand, at 0x{place:x}, is neither zeros nor what is left of a footer"
        )
    return place, place + FOOTER_SIZE


def changes(reader: Source, image: Image, patched: Patched) -> tuple[Change, ...]:
    """List what is different, field by field, by offset."""
    found: list[Change] = []
    for start, new in sorted(patched.patches.items()):
        inside = min(start + len(new), reader.size)
        (old,) = reader.read([Span(start, inside - start)]) if inside > start else (b"",)
        found += _by_field(_structure(image, start), start, old or b"", new)
    if patched.size < reader.size:
        length = reader.size - patched.size
        (cut,) = reader.read([Span(patched.size, min(length, SEARCH))])
        found.append(Change(patched.size, "file", cut or b"", b"", length))
    return tuple(found)


def _structure(image: Image, start: int) -> str:
    if image.header is not None and start == image.header.offset:
        return "header"
    return "footer" if start or image.footer is None or not image.footer.is_sparse else "footer_copy"


def _by_field(structure: str, start: int, old: bytes, new: bytes) -> list[Change]:
    """Split what is different into fields; a structure where there was none is one change."""
    if old[:8] != new[:8] and old[8:] != new[8:]:
        return [Change(start, structure, old, new)]
    places = layout.fields(layout.DYNAMIC_HEADER if structure == "header" else layout.FOOTER)
    spans = ((name, slice(at, at + length)) for name, (at, length) in places.items())
    return [
        Change(start + where.start, f"{structure}.{name}", old[where], new[where])
        for name, where in spans
        if old[where] != new[where]
    ]
