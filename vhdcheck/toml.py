"""The one reader of TOML: of targets and of the configuration."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.errors import SourceError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE: Final = 1 << 20
"""Bytes of a TOML file that are read at the most."""


def tables(path: Path, word: bytes = b"") -> dict[str, Any]:
    """Read a regular file: never a pipe, which could make the command wait, or a device without an end.

    Args:
        path: the file.
        word: what must stand in it to be worth the time; a file without it counts as empty.

    Raises:
        UsageError: it is no TOML.
        SourceError: it cannot be read, or is no regular file.
    """
    content = _content(path)
    if word not in content:
        return {}
    import tomllib  # 25 ms; only the command and named targets need it

    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error


def is_file(path: Path) -> bool:
    """Say whether a regular file is there, within reach."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(f"{path}: a directory, device or pipe, not a regular file")
        with path.open("rb") as file:
            return file.read(MAX_FILE)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise error if isinstance(error, SourceError) else SourceError(f"{path}: {reason}") from error
