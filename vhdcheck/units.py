"""Sizes and offsets as people write and read them: IEC units in, grouped digits out."""

from __future__ import annotations

import re
from typing import Final

from vhdcheck.errors import UsageError

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
SECTOR: Final = 512
"""Bytes in a sector. The format knows no other (Windows reports such disks as 512e)."""

_UNITS: Final = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": 1 << 40}
_SHOWN: Final = (("EiB", 1 << 60), ("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB))
_SIZE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?b)?\s*", re.IGNORECASE)


def parse_size(text: str | int) -> int:
    """Read a size such as `160GiB`, `1.5 TiB`, `40G`, `512B` or `42949672960`.

    `GB` and `G` mean GiB, as they do in the task API ("the 40GB limit") and in qemu-img. A text without a unit means
    bytes; one of less than a MiB is refused, because whoever writes `40` hardly means 40 bytes.

    Args:
        text: a number with a unit, a number of bytes, or an integer, which always counts bytes.

    Returns:
        The size in bytes.

    Raises:
        UsageError: it is not a size, not a whole number of bytes, or a small number without a unit.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise UsageError(f"a size cannot be negative: {text}")
        return text
    match = _SIZE.fullmatch(text) if isinstance(text, str) and len(text) <= 64 else None  # noqa: PLR2004
    if match is None:
        raise UsageError(f"not a size: {text!r} (write 40GiB, 1.5TiB or a number of bytes)")
    number, unit, byte = match.groups()
    factor = _UNITS[unit.lower()]
    whole, _, fraction = number.partition(".")
    scaled, rest = divmod(int(whole + fraction) * factor, int("1" + "0" * len(fraction)))
    if rest:
        raise UsageError(f"not a whole number of bytes: {text!r}")
    if not unit and not byte and 0 < scaled < MIB:
        raise UsageError(f"a size without a unit: {text!r} (write {number}GiB, {number}MiB, or {number}B for bytes)")
    return scaled


def grouped(number: int) -> str:
    """Write a number with its digits in groups of three: `42 949 672 960`."""
    return f"{number:,}".replace(",", " ")


def human(size: int) -> str:
    """Write a size in the largest unit it fills, to four digits: `1.5 MiB`, `40 GiB`, `2040 GiB`, `512 bytes`."""
    if size < KIB:
        return "1 byte" if size == 1 else f"{size} bytes"
    if size % GIB == 0 and size < 10_000 * GIB:
        return f"{size // GIB} GiB"
    unit, factor = next((unit, factor) for unit, factor in _SHOWN if size >= factor)
    return f"{size / factor:.4g} {unit}"


def exact(size: int, beside: int | None = None) -> str:
    """Write a size for people and machines: `1.5 MiB (1 572 864 bytes)`.

    Args:
        size: bytes.
        beside: another size that is read together with it. Where both look the same once they are rounded, the exact
            figure comes first: `42 951 106 560 bytes (40 GiB)`.
    """
    if size < KIB:
        return human(size)
    if beside is not None and beside != size and human(beside) == human(size):
        return f"{grouped(size)} bytes ({human(size)})"
    return f"{human(size)} ({grouped(size)} bytes)"


def limit_words(size: int) -> str:
    """Write a limit as the task API does: `40GB` for 40 GiB, `160GB`; `512MB`, or bytes, where it is not whole."""
    for unit, factor in (("GB", GIB), ("MB", MIB), ("KB", KIB)):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}-byte"


def count(number: int, noun: str) -> str:
    """Write a count with its noun: `1 block`, `2 blocks`."""
    return f"{grouped(number)} {noun}" if number == 1 else f"{grouped(number)} {noun}s"


def round_up(number: int, multiple: int) -> int:
    """Round up to a multiple."""
    return -(-number // multiple) * multiple
