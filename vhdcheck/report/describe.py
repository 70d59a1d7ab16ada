"""What an image is, in one paragraph and in one dictionary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdcheck.format import creators
from vhdcheck.format.geometry import MAX_GEOMETRY
from vhdcheck.format.structures import DIFFERENCING, DYNAMIC, EPOCH, FIXED, Footer
from vhdcheck.units import count, exact, grouped, human

if TYPE_CHECKING:
    from vhdcheck.format.structures import DynamicHeader
    from vhdcheck.image import Image


def paragraph(image: Image) -> str:
    """Describe an image to a person: type, sizes, creator, time, blocks in use. Creator fields are untrusted text."""
    footer = image.footer
    if footer is None:
        return ""
    what = kind(footer)
    if footer.disk_type in (FIXED, DYNAMIC, DIFFERENCING):
        what = f"{_article(what)} {what} disk"
    else:  # "a link to a physical drive disk" would puzzle
        what = f"A disk of type {footer.disk_type}" + (f" ({what})" if footer.disk_type in creators.DISK_TYPES else "")
    disk = f"{what} of {exact(footer.current_size)}"
    sentences = [f"{disk} in a file of {exact(image.size)}, made by {creator(footer)}{_when(footer)}."]
    if image.header is not None:
        sentences.append(_blocks(image, image.header))
    sizes = other_sizes(image)
    if sizes:
        listed = "; ".join(f"{why}, {human(size)} ({grouped(size)})" for why, size in sizes)
        sentences.append(f"Not every reader sees that size: {listed}.")
    return " ".join(sentences)


def kind(footer: Footer) -> str:
    """The disk type in a word."""
    return creators.DISK_TYPES.get(footer.disk_type, f"type {footer.disk_type}")


def _article(word: str) -> str:
    return "An" if word[0] in "aeiou" else "A"


def creator(footer: Footer) -> str:
    """The creator in words: `qemu-img ("qemu" 5.3)`."""
    tag = footer.creator_application.rstrip(b"\0 ").decode("ascii", "backslashreplace")
    version = f"{footer.creator_version >> 16}.{footer.creator_version & 0xFFFF}"
    name = creators.CREATORS.get(footer.creator_application)
    host = creators.HOSTS.get(footer.creator_host_os)
    words = f'{name} ("{tag}" {version})' if name else f'an unknown program ("{tag}" {version})'
    return f"{words} on {host}" if host and host != name else words


def created(footer: Footer) -> str:
    """The creation time as `2024-01-01T00:00:00Z`; empty where it is not recorded."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(footer.timestamp + EPOCH)) if footer.timestamp else ""


def _when(footer: Footer) -> str:
    date = created(footer)
    return f" on {date[:10]} at {date[11:16]} UTC" if date else " at a time that is not recorded"


def _blocks(image: Image, header: DynamicHeader) -> str:
    table = image.table
    if table is None:
        return "Its blocks were not examined."
    unit = f"of {human(header.block_size)}"
    order = ""
    if table.used > 1:
        order = ", in order" if table.in_order else ", not in order"
    return f"{grouped(table.used)} of {count(image.blocks_needed, 'block')} {unit} in use{order}."


class OtherSize(NamedTuple):
    """A size, in bytes, that some readers take for the disk's; and why, as a clause: `qemu goes by the geometry`."""

    why: str
    size: int


def other_sizes(image: Image) -> list[OtherSize]:
    """List readers that see another size than the current one, and which."""
    footer, sizes = image.footer, list[OtherSize]()
    if footer is None:
        return sizes
    if footer.original_size != footer.current_size:
        sizes.append(OtherSize("libvhdi and oslo.utils go by the original size", footer.original_size))
    tag = footer.creator_application
    saturated = footer.geometry == MAX_GEOMETRY
    if footer.geometry_size != footer.current_size and not saturated and tag not in creators.CURRENT_SIZE_ALWAYS:
        who = "qemu" if tag in creators.CHS_ALWAYS else "qemu 9 and older"
        sizes.append(OtherSize(f"{who} goes by the geometry", footer.geometry_size))
    if image.copy is not None and footer is not image.copy and image.copy.current_size != footer.current_size:
        sizes.append(OtherSize("readers of the footer's copy go by that", image.copy.current_size))
    return sizes


def facts(image: Image) -> dict[str, Any] | None:
    """Describe an image to a program; None where there is no footer. Sizes and offsets are bytes."""
    import uuid  # the text has no use for it

    footer = image.footer
    if footer is None:
        return None
    facts: dict[str, Any] = {
        "disk_type": kind(footer),
        "virtual_size": footer.current_size,
        "original_size": footer.original_size,
        "geometry": {
            "cylinders": footer.cylinders,
            "heads": footer.heads,
            "sectors_per_track": footer.sectors_per_track,
            "size": footer.geometry_size,
        },
        "creator": {
            "application": footer.creator_application.decode("latin-1"),
            "version": f"{footer.creator_version >> 16}.{footer.creator_version & 0xFFFF}",
            "host_os": footer.creator_host_os.decode("latin-1"),
            "words": creator(footer),
        },
        "created": created(footer) or None,
        "unique_id": str(uuid.UUID(bytes=footer.unique_id)),
        "footer_offset": footer.offset,
        "blocks": None,
        "parent": None,
    }
    if (header := image.header) is not None and (table := image.table) is not None:
        facts["blocks"] = {
            "size": header.block_size,
            "total": image.blocks_needed,
            "used": table.used,
            "in_order": table.in_order,
            "table_offset": header.table_offset,
            "table_entries": header.max_table_entries,
            "capacity": header.block_size * header.max_table_entries,
        }
    if footer.disk_type == DIFFERENCING and image.header is not None:
        facts["parent"] = {
            "unique_id": str(uuid.UUID(bytes=image.header.parent_unique_id)),
            "name": image.header.parent_name,
        }
    return facts
