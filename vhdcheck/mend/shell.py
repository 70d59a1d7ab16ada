"""A command as a line that can be pasted into a shell, whatever the files are called."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def as_file(name: str) -> str:
    """Write a file's name so that no program takes it for an option, or qemu-img for a protocol: `./nbd:x.vhd`."""
    return f"./{name}" if name.startswith("-") or ":" in name.partition("/")[0] else name


def line(words: Iterable[str]) -> str:
    """Join words to a line for a POSIX shell, in printable characters."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    r"""Quote for a POSIX shell; what cannot be printed as bash, zsh, ksh and POSIX 2024 read it: `$'a\012b'`."""
    if word.isprintable():
        return shlex.quote(word)
    safe = [
        ("\\" if char in "\\'" else "") + char
        if char.isprintable()
        else "".join(f"\\{byte:03o}" for byte in os.fsencode(char))
        for char in word
    ]
    return f"$'{''.join(safe)}'"
