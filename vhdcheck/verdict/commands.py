"""The commands of a remedy with the names of files in them, to be pasted into a shell."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Final

from vhdcheck.sources.urls import is_url

_PLACE: Final = re.compile(r"\{(?:in|in_option|out)\}")


def command_line(fix: str, source: str) -> str:
    """Put file names into a remedy, quoted for a shell. What is no file, a URL or `<stdin>`, is `in.vhd` once saved."""
    if is_url(source) or source in {"<stdin>", "<stream>", "<bytes>", "<file>"}:
        source = "in.vhd"
    # A dash would begin an option, a colon end a protocol of qemu's: `nbd:...`.
    name = f"./{source}" if source.startswith("-") or ":" in source.partition("/")[0] else source
    # In an option of qemu-img a comma is written twice. A shell empties what `>` names before it reads anything.
    places = {
        "{in}": _quoted(name),
        "{in_option}": _quoted(name.replace(",", ",,")),
        "{out}": "mended.vhd" if Path(source).name.lower() == "out.vhd" else "out.vhd",
    }
    return _PLACE.sub(lambda match: places[match[0]], fix)


def _quoted(name: str) -> str:
    r"""Quote for a POSIX shell; what cannot be printed as bash, zsh, ksh and POSIX 2024 read it: `$'a\012b'`."""
    if name.isprintable():
        return shlex.quote(name)
    safe = [
        ("\\" if char in "\\'" else "") + char
        if char.isprintable()
        else "".join(f"\\{byte:03o}" for byte in os.fsencode(char))
        for char in name
    ]
    return f"$'{''.join(safe)}'"
