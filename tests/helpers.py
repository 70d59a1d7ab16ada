"""Programs and servers that tests start beside themselves.

A test that fails because a helper failed is of no use unless it says what the helper wrote. So one that runs to its end
is run by `finished`, and one that serves is begun by `begun`, which makes its log known: `conftest.py` shows the end of
each known log beside every test that fails while the helper serves, in its set-up too.
"""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")

LOGS: dict[Path, str] = {}
"""What is known of helpers that serve: where they write, and how they were begun."""
SHOWN = 6000
"""Characters of a log."""


def finished(command: Sequence[str | Path], *, timeout: float = 60, **options: Any) -> str:
    """Run a program, and return what it printed; fail with all of that where it fails or does not end."""
    words = [*map(str, command)]
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        done = subprocess.run(words, timeout=timeout, check=False, **{**given, **options})
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{words} does not end in {timeout:.0f} s, and wrote:\n{as_text(error.stdout)}") from None
    assert done.returncode == 0, f"{words} ended with status {done.returncode}, and wrote:\n{as_text(done.stdout)}"
    return str(done.stdout)


def begun(command: Sequence[str | Path], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Begin a server that writes into a log, which is shown where tests fail until `ended` is called."""
    LOGS[log] = " ".join(map(str, command))
    with log.open("ab") as output:
        given = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, **options}
        return subprocess.Popen([*map(str, command)], **given)


def until(ready: Callable[[], T | None], process: subprocess.Popen[bytes], log: Path, patience: float = 60) -> T:
    """Wait until a server is ready, and return what `ready` then says; fail with its log where it never is."""
    end = time.monotonic() + patience
    while (said := ready()) is None:
        assert process.poll() is None, f"{LOGS[log]} ended with status {process.returncode}, and wrote:\n{tail(log)}"
        assert time.monotonic() < end, f"{LOGS[log]} is not ready in {patience:.0f} s, and wrote:\n{tail(log)}"
        time.sleep(0.02)
    return said


def ended(process: subprocess.Popen[bytes], log: Path, patience: float = 30) -> None:
    """Have a server end, by force where it does not when it is asked to; its log is of no interest any more."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    LOGS.pop(log, None)


def tail(log: Path) -> str:
    """Return the end of a log."""
    return as_text(log.read_bytes() if log.exists() else None)


def as_text(written: bytes | str | None) -> str:
    """Return the end of what was written, as text."""
    text = written.decode("utf-8", "replace") if isinstance(written, bytes) else written or ""
    return text[-SHOWN:] or "(nothing)"
