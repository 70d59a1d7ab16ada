"""A JSON document whose long lists are written entry by entry, each where its image was checked.

The document is written without them, and they are put into it. It reads as if it had been written as a whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INDENT = 2


def entry(value: Any, depth: int) -> str:
    """Write an entry of a list.

    Args:
        value: what `json` can write.
        depth: lists and objects that it lies in.
    """
    lines = json.dumps(value, indent=INDENT).split("\n")  # within a string there is none
    return ("\n" + " " * INDENT * depth).join(lines)


def filled(document: str, **lists: Sequence[str]) -> Iterator[str]:
    """Put entries into the empty lists of a document.

    Args:
        document: as `json.dumps` with the same indent writes it.
        lists: by their name in the document, which it has once, and in its order.
    """
    for name, entries in lists.items():
        # A string cannot look like that: each quotation mark in it has a backslash before it.
        before, found, document = document.partition(f'"{name}": []')
        yield before
        if not entries:
            yield found
            continue
        line = "\n" + before.rpartition("\n")[2]  # a list's end is indented as its name is
        yield f'"{name}": ['
        for number, text in enumerate(entries):
            yield f"{',' if number else ''}{line}{' ' * INDENT}{text}"
        yield f"{line}]"
    yield document
