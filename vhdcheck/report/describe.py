"""What an image is, in one paragraph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format import creators
from vhdcheck.format.structures import DIFFERENCING, DYNAMIC, FIXED, Footer
from vhdcheck.units import count, exact, grouped, human
from vhdcheck.verdict.plain import created, creator, kind, other_sizes

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


def _article(word: str) -> str:
    return "An" if word[0] in "aeiou" else "A"


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
