"""Where `--output` puts a report: whole or not at all, and never over an image."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from vhdcheck.errors import SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_END: Final = 4096


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Write a file beside `path`, and put it there at the end; an exception leaves what was there.

    What is no regular file, such as `/dev/stdout`, is written to as it is.

    Raises:
        SourceError: it cannot be written there.
    """
    real = Path(os.path.realpath(path))  # a link stays a link
    if real.exists() and not real.is_file():
        with appending(path) as file:
            yield file
        return
    part = real.with_name(f".{real.name[:200]}.{os.getpid()}.part")
    try:
        try:
            file = part.open("x", encoding="utf-8", errors="backslashreplace", newline="\n")
        except OSError as error:
            raise SourceError(f"{path}: cannot write: {error.strerror or error}") from error
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(real)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def appending(path: Path, *, empty: bool = False) -> Iterator[TextIO]:
    """Write lines to a file as they come, behind what it holds or instead of it.

    Raises:
        SourceError: it cannot be opened.
    """
    try:
        file = path.open("w" if empty else "a", encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise SourceError(f"{path}: cannot write: {error.strerror or error}") from error
    with file:
        yield file


def refuse_image(path: Path, inputs: Sequence[str]) -> None:
    """Refuse to write over what may be an image: an input, a name that ends like one, or anything but a text.

    Args:
        path: where a report is to be written.
        inputs: the paths that are checked.

    Raises:
        UsageError: it may be one.
    """
    if path.suffix.lower() in {".vhd", ".avhd"}:
        raise UsageError(f"--output {path}: that is the name of an image")
    if not path.is_file():
        return
    if any(os.path.exists(name) and path.samefile(name) for name in inputs):  # any name at all
        raise UsageError(f"--output {path}: that file is to be checked")
    if _holds_nul(path):
        raise UsageError(f"--output {path}: there is a file which is no text, so no report; remove it first")


def _holds_nul(path: Path) -> bool:
    """Say whether a file's ends have a NUL, as every footer has; a report has none."""
    try:
        with path.open("rb") as file:
            head = file.read(_END)
            file.seek(max(0, path.stat().st_size - _END))
            return b"\0" in head or b"\0" in file.read(_END)
    except OSError as error:
        raise SourceError(f"{path}: cannot write: {error.strerror or error}") from error
