"""Fields that can hold one value only: what the specification says, whatever stands there."""

from __future__ import annotations

from typing import Final

from vhdcheck.format import layout
from vhdcheck.format.geometry import geometry, is_mended_by_its_own
from vhdcheck.format.limits import CLOCK_SLACK
from vhdcheck.format.structures import COOKIE, EPOCH, FIXED, NO_OFFSET, DynamicHeader, Footer, checksum
from vhdcheck.rules.offsets import PRINTED_NO_OFFSET

FOOTER_SUM: Final = 64
HEADER_SUM: Final = 36


def put(raw: bytes, **values: bytes | int) -> bytes:
    """Return a footer with other values in some of its fields, and its checksum as it was."""
    changed = bytearray(raw)
    for name, value in values.items():
        place, length = layout.fields(layout.FOOTER)[name]
        changed[place : place + length] = value.to_bytes(length, "big") if isinstance(value, int) else value
    return bytes(changed)


def signed(raw: bytes, at: int = FOOTER_SUM) -> bytes:
    """Return a structure with its checksum, which stands `at`, computed anew."""
    return raw[:at] + checksum(raw, at).to_bytes(4, "big") + raw[at + 4 :]


def is_from_the_future(footer: Footer, now: float) -> bool:
    """Say whether a footer's time stamp lies further ahead than clocks differ."""
    return footer.timestamp + EPOCH > now + CLOCK_SLACK


def mended_footer(raw: bytes, *, now: float, new_id: bytes, is_short: bool) -> bytes:
    """Mend the fields of a footer of 512 bytes, and sign it.

    Args:
        raw: the footer.
        now: the time, in Unix seconds, for a time stamp in the future.
        new_id: the unique ID for one of zeros.
        is_short: it is of the old kind, of 511 bytes, whose features have bit 1 clear.
    """
    footer = Footer.parse(raw, 0, "footer")
    values: dict[str, bytes | int] = {
        "cookie": COOKIE,
        "features": footer.features & (1 if is_short else 3) | (0 if is_short else 2),
        "hidden": 0,
        "reserved": bytes(len(footer.reserved)),
    }
    if footer.disk_type == FIXED and footer.data_offset == PRINTED_NO_OFFSET:
        values["data_offset"] = NO_OFFSET
    if is_from_the_future(footer, now):
        values["timestamp"] = max(0, int(now) - EPOCH)
    if not any(footer.unique_id):
        values["unique_id"] = new_id
    return signed(put(raw, **values, **_geometry(footer)))


def _geometry(footer: Footer) -> dict[str, int]:
    """Return the specification's geometry, unless a reader that goes by it would then cut off the disk."""
    if not is_mended_by_its_own(footer):
        return {}
    cylinders, heads, per_track = geometry(footer.current_size)
    return {"cylinders": cylinders, "heads": heads, "sectors_per_track": per_track}


def mended_header(header: DynamicHeader) -> bytes:
    """Mend the fields of a dynamic header that is what it should be otherwise, and sign it."""
    raw = bytearray(header.raw)
    for name, value in (("data_offset", b"\xff"), ("reserved_1", b"\0"), ("reserved_2", b"\0")):
        place, length = layout.fields(layout.DYNAMIC_HEADER)[name]
        raw[place : place + length] = value * length
    return signed(bytes(raw), HEADER_SUM)
