"""An image on standard input: a stream, or, where it is redirected from a file, that file."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO, cast

from vhdcheck.engine.check import examine
from vhdcheck.engine.stream_checker import StreamChecker, check_stream
from vhdcheck.errors import SourceError, UsageError
from vhdcheck.redaction import redacted
from vhdcheck.sources.local import opened
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdcheck.command.options import Options
    from vhdcheck.command.progress import Reading
    from vhdcheck.sources.source import Source
    from vhdcheck.verdict.report import Report


def check_stdin(
    options: Options, watch: Callable[[Source], Source] | None, reading: Reading | None
) -> Report | Failure:
    """Check what comes on standard input, to its end.

    A file is read where it lies, if it stands at its beginning; of a stream, which passes anyway, `deep` reads more.

    Raises:
        UsageError: standard input is a terminal.
    """
    name, deep, allocation = redacted(options.stdin_filename), options.deep, options.allocation
    if sys.stdin is None or sys.stdin.closed:
        return Failure(name, "standard input is closed")
    if sys.stdin.isatty():
        raise UsageError("- reads an image from standard input, which is a terminal here: pipe one into it")
    file = cast("BinaryIO", getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))
    if _is_a_device(file):
        return Failure(name, "standard input is a device such as /dev/null, and no image")
    try:
        if _is_a_file(file):
            with opened(file, name) as source:
                return examine(
                    source if watch is None else watch(source), options.target, deep=deep, allocation=allocation
                )
        checker = StreamChecker(target=options.target, deep=deep, allocation=allocation, name=name)
        if reading is not None:
            reading.follow(lambda: checker.position)
        return check_stream(file, checker)
    except SourceError as error:
        return Failure(name, str(error).removeprefix(f"{name}: "))


def _is_a_device(file: BinaryIO) -> bool:
    """Say whether it is a character device, which has no end or nothing in it."""
    try:
        return stat.S_ISCHR(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _is_a_file(file: BinaryIO) -> bool:
    """Say whether it can be read at any place, and stands at its beginning."""
    try:
        return file.seekable() and file.tell() == 0
    except OSError:
        return False
