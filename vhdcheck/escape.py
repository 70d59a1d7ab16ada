"""Text from strangers (names of files, fields of images, answers of servers) made fit to be shown."""

from __future__ import annotations


def as_unicode(text: str) -> str:
    """Keep what JSON cannot carry, such as bytes of a file name that are no UTF-8, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """Escape whatever could move a cursor, colour a terminal, turn text around, or is no character at all."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
