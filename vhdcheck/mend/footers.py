"""Which footer is the true one: only where the image leaves no choice.

What decides is in the file: the checksums, the copy, the file's length, the sizes and the geometry, which say the same
thing three times, and the table. Who made the image proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.format import layout
from vhdcheck.format.geometry import MAX_GEOMETRY, geometry
from vhdcheck.format.layout import FOOTER_SIZE, SHORT_FOOTER_SIZE
from vhdcheck.format.structures import (
    COOKIE,
    DYNAMIC,
    EPOCH,
    FIXED,
    FORMAT_VERSION,
    NO_OFFSET,
    POISONED_COOKIE,
    Footer,
    checksum,
)
from vhdcheck.mend.errors import Unmendable
from vhdcheck.mend.fields import FOOTER_SUM, is_from_the_future, mended_footer, put
from vhdcheck.mend.writer import Identity
from vhdcheck.mend.writer import footer as made_anew
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdcheck.image import Image


UNCONFIRMED: Final = ("timestamp", "creator_application", "creator_version", "creator_host_os", "unique_id")
"""Fields that nothing else in a fixed disk's file says too."""


def is_short(image: Image) -> bool:
    """Say whether the footer at the end is one of 511 bytes, as Virtual PC wrote it before 2004."""
    return image.tail is not None and len(image.tail.raw) == SHORT_FOOTER_SIZE and not image.tail.features & 2


def true_footer(image: Image, *, now: float, new_id: bytes, stands: Callable[[bytes], bool]) -> bytes:
    """Return the footer that the image should have, mended: 512 bytes.

    Args:
        image: the image.
        now: the time, in Unix seconds.
        new_id: a unique ID in place of zeros.
        stands: says whether the image has no ERROR by the format if a footer were at both its places.

    Raises:
        Unmendable: none of them is sound, or two are and either may be right.
    """
    end = image.footer if image.footer is not image.copy else None
    both = [footer for footer in (end, image.copy) if footer is not None]
    if any(footer.cookie == POISONED_COOKIE for footer in both):
        raise Unmendable("XenServer disabled the image on purpose (v_poison): ask its owner why")
    short = is_short(image)
    sound = [_whole(footer) for footer in both if _is_sound(footer)]
    if not sound:
        sound = [_confirmed_by_itself(image, both, now, new_id)]
    first, last = _completed(sound[0], sound[-1], now)
    first = mended_footer(first, now=now, new_id=new_id, is_short=short)
    last = mended_footer(last, now=now, new_id=new_id, is_short=short)
    if first == last:
        return first
    proven = [raw for raw in (first, last) if stands(raw)]
    if len(proven) != 1:
        raise Unmendable(
            f"the footer and its copy are both sound and differ in {_differing(first, last)}: either may be right."
            " Ask who made the image which one is"
        )
    return proven[0]


def _whole(footer: Footer) -> bytes:
    """Return 512 bytes with the right cookie; the last byte of 511 was a zero, or the checksum would not hold."""
    return COOKIE + footer.raw[len(COOKIE) :].ljust(FOOTER_SIZE - len(COOKIE), b"\0")


def _is_sound(footer: Footer) -> bool:
    """Say whether a footer's checksum holds, but for a damaged cookie, or a flag that blktap sets without summing."""
    raw = _whole(footer)
    unhidden = put(raw, hidden=0)
    return footer.checksum in (checksum(raw, FOOTER_SUM), checksum(unhidden, FOOTER_SUM))


def _completed(first: bytes, second: bytes, now: float) -> tuple[bytes, bytes]:
    """Give a footer without an ID, or with a time in the future, what the other one has for it."""
    one, two = Footer.parse(first, 0, "footer"), Footer.parse(second, 0, "footer_copy")
    if any(one.unique_id) != any(two.unique_id):
        given = one.unique_id if any(one.unique_id) else two.unique_id
        first, second = put(first, unique_id=given), put(second, unique_id=given)
    if is_from_the_future(one, now) != is_from_the_future(two, now):
        given_time = min(one.timestamp, two.timestamp)
        first, second = put(first, timestamp=given_time), put(second, timestamp=given_time)
    return first, second


def _differing(first: bytes, second: bytes) -> str:
    places = layout.fields(layout.FOOTER).items()
    return ", ".join(
        name
        for name, (at, length) in places
        if name != "checksum" and first[at : at + length] != second[at : at + length]
    )


def _confirmed_by_itself(image: Image, both: list[Footer], now: float, new_id: bytes) -> bytes:
    """Return the footer of an image of which no footer has a right checksum, 512 bytes, where the rest confirms it.

    A fixed disk's has one witness for its size, type and geometry: the file's length. Nothing vouches for ID, time and
    creator. Where a wrong byte among these explains the wrong checksum, it is not signed: the footer is made anew, with
    another ID. A dynamic disk's has its copy for all of that.

    Raises:
        Unmendable: some field has no witness, or contradicts its own.
    """
    footer = both[0]
    if not (_is_confirmed(image, both) and _every_field_is_plausible(footer)):
        raise Unmendable(
            "no footer has a right checksum, and its fields do not confirm one another: nothing says what they"
            " should be. Ask for the image again"
        )
    if footer.disk_type == FIXED and _is_explained_by_what_nothing_confirms(footer):
        return made_anew(footer.current_size, FIXED, Identity(new_id, max(0, int(now) - EPOCH)))
    return _whole(footer)


def _is_confirmed(image: Image, both: list[Footer]) -> bool:
    """Say whether the file confirms a footer's size and type."""
    footer = both[0]
    if footer.disk_type == FIXED:
        return footer.data_offset == NO_OFFSET and footer.offset == footer.current_size
    header = image.header
    return (
        footer.disk_type == DYNAMIC
        and len(both) > 1
        and both[0].raw == both[1].raw
        and header is not None
        and header.checksum == header.computed_checksum
        and header.max_table_entries == image.blocks_needed
    )


def _is_explained_by_what_nothing_confirms(footer: Footer) -> bool:
    """Say whether other values of time, creator and ID would make the checksum right: it is a sum of bytes."""
    free = [footer.span(name) for name in UNCONFIRMED]
    summed = ~footer.checksum & 0xFFFF_FFFF
    least = ~checksum(put(footer.raw, **dict.fromkeys(UNCONFIRMED, 0)), FOOTER_SUM) & 0xFFFF_FFFF
    return least <= summed <= least + 0xFF * sum(span.length for span in free)


def _every_field_is_plausible(footer: Footer) -> bool:
    return (
        footer.cookie == COOKIE
        and len(footer.raw) == FOOTER_SIZE
        and footer.features == 2  # noqa: PLR2004 (the reserved bit alone)
        and footer.file_format_version == FORMAT_VERSION
        and footer.original_size == footer.current_size > 0
        and footer.current_size % SECTOR == 0
        and footer.geometry in (geometry(footer.current_size), MAX_GEOMETRY)
        and any(footer.unique_id)
        and not any((footer.saved_state, footer.hidden, *footer.reserved))
    )
