"""What holds state, tokens or images is its owner's alone: files 0600, folders 0700."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OTHERS: Final = 0o077
_STATE: Final = ("*.sqlite", "*.sqlite-*", "*.sha256", "images", "scratch")


def make_private(data: Path) -> None:
    """Have all that this process makes be private, and what an earlier version made in the folder of data.

    The folder itself is made, if need be. Where somebody else made it, its mode is that person's decision.
    """
    os.umask(OTHERS)
    data.mkdir(parents=True, exist_ok=True)
    close(path for pattern in _STATE for path in data.glob(pattern))


def close(paths: Iterable[Path]) -> None:
    """Take the group's and the others' rights away."""
    for path in paths:
        mode = path.lstat().st_mode
        if mode & OTHERS and not path.is_symlink():
            path.chmod(mode & 0o700)
