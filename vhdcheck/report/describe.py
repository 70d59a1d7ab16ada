"""What an image is, in one paragraph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.chain import own_data
from vhdcheck.format import creators
from vhdcheck.format.structures import DIFFERENCING, DYNAMIC, FIXED, Footer
from vhdcheck.units import count, exact, grouped, human
from vhdcheck.verdict.plain import created, creator, kind, other_sizes

if TYPE_CHECKING:
    from vhdcheck.chain import Chain
    from vhdcheck.format.structures import DynamicHeader
    from vhdcheck.image import Image

NAMED: Final = 8
"""Parents that are named."""


def paragraph(image: Image, chain: Chain | None = None) -> str:
    """Describe an image to a person: type, sizes, creator, time, blocks in use, what it inherits.

    Creator fields are untrusted text, and so are the names of files.
    """
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
    if chain is not None and chain.parents:
        sentences.append(_inherited(chain))
    return " ".join(sentences)


def _inherited(chain: Chain) -> str:
    named = [f"{parent.name} ({human(own_data(parent.image))})" for parent in chain.parents[:NAMED]]
    more = f" and {len(chain.parents) - NAMED} more" if len(chain.parents) > NAMED else ""
    own = f"Up to {human(own_data(chain.image))} of the disk is its own"
    return f"{own}, and the rest is inherited from {count(len(chain.parents), 'parent')}: {', '.join(named)}{more}."


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
