"""The end of a command: an exit status that tells the truth, whatever became of what it writes to.

Standard output and error may be closed, full or read no more. Python ends such a process with a status of its own, when
it writes out what is left at the very end. So all is written out here, where a failure can still be told, and what
cannot be written is dropped.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing takes 3 of the 35 ms that --help has (tests/cost holds it)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


def exit_status(prog: str, work: Callable[[], int]) -> int:
    """Run a command.

    Args:
        prog: what the command calls itself on standard error.
        work: what it does; it returns its exit status.

    Returns:
        That status; 2 where something could not be read or written, the arguments make no sense, or the command itself
        failed; 130 after Ctrl-C.
    """
    if sys.stderr is None:  # Python's word for a descriptor that was closed when it started
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for the rest of the process)
    if sys.stdout is None:
        print(f"{prog}: cannot write: standard output is closed", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from vhdcheck.errors import SourceError, UsageError  # not needed for --help

    try:
        status = work()
        sys.stdout.flush()  # here, where a failure can still be told
    except (UsageError, SourceError) as error:
        _complain(prog, str(error))
        return 2
    except BrokenPipeError:
        _discard(sys.stdout)  # the reader has seen enough
        return 2
    except OSError as error:
        _complain(prog, f"cannot write: {error.strerror or error}")
        _discard(sys.stdout)
        return 2
    except KeyboardInterrupt:
        _complain(prog, "interrupted")
        _discard(sys.stdout)
        _leave_threads()
        return INTERRUPTED
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        _complain(prog, f"failed by a defect of its own: {words} (python -X dev shows where)")
        return 2
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)  # nobody can be told, but the status still tells
    return status


def _complain(prog: str, text: str) -> None:
    from contextlib import suppress  # only for a failure

    from vhdcheck.escape import printable
    from vhdcheck.redaction import without_urls

    with suppress(OSError):
        print(f"{prog}: {printable(without_urls(text, sys.argv))}", file=sys.stderr)


def _discard(stream: TextIO) -> None:
    """Drop what could not be written: Python would try again at exit, and end with a status of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _leave_threads() -> None:
    """End the process if threads still wait for servers: Python would wait for them."""
    import threading  # not needed otherwise

    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stderr.flush()
        os._exit(INTERRUPTED)
