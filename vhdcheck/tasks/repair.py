"""An object that is refused, and whose repair is certain, mended in the folder of data.

    in the store -> a temporary file -> another one, mended and proven -> the image store, as any image

Certain is what the metadata alone show to be possible (`Plan.is_certain`). So an object whose repair is not is never
fetched. Neither temporary file has a name: nothing is left of them when the worker is killed.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from vhdcheck.errors import SourceError
from vhdcheck.mend.route import routed
from vhdcheck.mend.run import mend_into
from vhdcheck.mend.wish import Wish
from vhdcheck.sources.local import FileSource
from vhdcheck.tasks.objects import Found, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdcheck import Report
    from vhdcheck.mend.plans import Plan
    from vhdcheck.tasks.settings import Settings

LOG: Final = logging.getLogger("vhdcheck.tasks")


@dataclass(frozen=True, slots=True)
class Repair:
    """A mended copy of an object."""

    found: Found
    """The copy, to be read as any object."""
    after: Report
    """The verdict on it."""
    steps: str
    """What was done: `correct, cut`."""
    sha256: str
    """Of the object."""


def plan(found: Found, report: Report) -> Plan:
    """Say what would make an object pass, by reading its metadata where it lies."""
    return routed(found.source, report, Wish(), now=time.time(), new_id=uuid.uuid4().bytes).plan


def why_not(plan: Plan) -> str:
    """Say why an object is not mended."""
    return "; ".join(plan.reasons) or "; ".join(condition.kind for condition in plan.conditions) or "nothing to do"


@contextmanager
def mended(
    found: Found, report: Report, settings: Settings, task: str, going: Callable[[], bool]
) -> Iterator[Repair | None]:
    """Mend a copy of an object; None where that fails, and the log says why.

    Args:
        found: the object; its repair is certain.
        report: the verdict on it.
        settings: the service's.
        task: the task's ID, for the log.
        going: says whether to go on, and is asked between pieces.

    Raises:
        Stopped: `going` said no.
        SourceChanged: somebody writes to the object.
        SourceError: it cannot be read.
        OSError: the folder of data cannot be written.
    """
    folder = settings.data / "scratch"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryFile(dir=folder) as copy, tempfile.TemporaryFile(dir=folder) as file:
        sha256 = _fetched(found, copy, going)
        try:
            done = mend_into(file, _path(copy), report.target, lambda *_: _go_on(going))
        except SourceError:
            LOG.exception("not mended", extra={"task": task})
            yield None
            return
        if done.after is None:
            LOG.warning("not mended", extra={"task": task, "reason": why_not(done.plan)})
            yield None
            return
        steps = ", ".join(step.kind for step in done.plan.steps)
        with _Copy(_path(file), found.source.name) as source:
            yield Repair(Found(source), done.after, steps, sha256)


class _Copy(FileSource):
    """A file that nobody else has."""

    versioned = True


def _fetched(found: Found, copy: BinaryIO, going: Callable[[], bool]) -> str:
    """Write one state of an object into a file, and return its SHA-256."""
    digest = hashlib.sha256()
    for piece in found.pieces():
        _go_on(going)
        digest.update(piece)
        copy.write(piece)
    copy.flush()
    found.confirm(digest.digest(), going)
    return digest.hexdigest()


def _go_on(going: Callable[[], bool]) -> None:
    if not going():
        raise Stopped


def _path(file: BinaryIO) -> str:
    return f"/proc/self/fd/{file.fileno()}"
