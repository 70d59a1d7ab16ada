"""One import or export, from its input to its outcome. It knows no database, so any machine can do it."""

from __future__ import annotations

import hashlib
import logging
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final

from vhdcheck import SourceError, StreamChecker, check
from vhdcheck.errors import SourceChanged
from vhdcheck.mend import unsaved
from vhdcheck.report import written
from vhdcheck.report.context import Context
from vhdcheck.report.formats import html
from vhdcheck.report.formats.json import one
from vhdcheck.tasks import images, names, objects, repair
from vhdcheck.tasks.objects import Stopped
from vhdcheck.tasks.task import (
    BAD_NAME,
    CHANGED,
    EXISTS,
    INTERNAL,
    NO_CONTAINER,
    NO_IMAGE,
    NOT_OWNER,
    QUOTA,
    STORE,
    UNSUPPORTED,
    Kind,
    Outcome,
    Stored,
    now,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdcheck import Report
    from vhdcheck.tasks.settings import Settings
    from vhdcheck.tasks.task import Task

LOG: Final = logging.getLogger("vhdcheck.tasks")
_UNFOLLOWED: Final = "VHD650"
"""The rule that refuses a stream whose layout can only be followed in a file."""
TRIES: Final = 3
"""Times that an object is read that changes meanwhile."""
_LONGEST_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker needs."""

    task: Task
    settings: Settings
    image: Stored | None = None
    """What to export, if the tenant has such an image."""
    room: int | None = None
    """Bytes that the tenant may still keep, if there is a limit. It is looked at again when the task ends."""


def perform(job: Job, going: Callable[[], bool] = lambda: True) -> Outcome:
    """Do a task. Whatever goes wrong is its outcome.

    Args:
        job: the task.
        going: says whether to go on, and is asked between pieces of the image.

    Raises:
        Stopped: `going` said no.
    """
    try:
        return _import(job, going) if job.task.type == Kind.IMPORT else _export(job, going)
    except Stopped:
        raise
    except (SourceError, OSError):
        LOG.exception("the store failed", extra={"task": job.task.id})
        return Outcome(STORE)
    except Exception:
        LOG.exception("the task failed", extra={"task": job.task.id})
        return Outcome(INTERNAL)


def _import(job: Job, going: Callable[[], bool]) -> Outcome:
    properties = job.task.input.get("image_properties", {})
    if not isinstance(properties, dict) or set(properties) - {"name"}:
        return Outcome(UNSUPPORTED)
    name = properties.get("name")
    if name is not None and (not isinstance(name, str) or len(name) > _LONGEST_NAME):
        return Outcome(BAD_NAME)
    place = names.split(job.task.input.get("import_from"))
    if place is None:
        return Outcome(NO_IMAGE)
    for _ in range(TRIES):
        try:
            return _imported(job, place, name, going)
        except objects.NotThere:
            return Outcome(NO_IMAGE)
        except SourceChanged as error:
            LOG.info("changed while it was imported", extra={"task": job.task.id, "reason": str(error)})
    return Outcome(CHANGED)


def _imported(job: Job, place: tuple[str, str], name: str | None, going: Callable[[], bool]) -> Outcome:
    """Judge an object, and keep it.

    Raises:
        SourceChanged: somebody writes to it, and nothing was kept.
        NotThere: there is no such object.
    """
    store = objects.of(job.settings.objects_place, job.task.owner)
    with store.find(*place, plain("/".join(place))) as found:
        report = found.judge(job.settings.limits)
        if not report.ok:
            return _mended(job, found, report, name, going)
        if job.room is not None and report.size > job.room:
            return _over_quota(report)
        try:
            return replace(_kept(job, found, name, going), page=_page(report))
        except _Refused as error:
            found.source.verify()
            return _refused(error.report)


def _mended(job: Job, found: objects.Found, report: Report, name: str | None, going: Callable[[], bool]) -> Outcome:
    """Keep a mended copy of what is refused, if the operator wants that and the repair is certain; else refuse it."""
    if job.settings.mend != "certain":
        return _refused(report)
    plan = repair.plan(found, report)
    if not plan.is_certain:
        LOG.info("not mended", extra={"task": job.task.id, "reason": repair.why_not(plan)})
        return _refused(report)
    if job.room is not None and plan.least_length > job.room:
        return _over_quota(report)
    with repair.mended(found, report, job.settings, job.task.id, going) as copy:
        if copy is None:
            return _refused(report)
        if job.room is not None and copy.after.size > job.room:
            return _over_quota(report)
        kept = _kept(job, copy.found, name, going)
    assert kept.image is not None
    told = {"mended": copy.steps, "source_sha256": copy.sha256, "image_sha256": kept.image.sha256}
    about = {"task": job.task.id, "image": kept.image.id}
    LOG.warning("stored a mended copy of what would be refused", extra={**about, **told})
    page = _page(report, replace(copy.after, source=f"{report.source}, mended"))
    return replace(kept, result={**(kept.result or {}), **told}, findings=_plain_findings(report), page=page)


class _Refused(Exception):
    """What was accepted where it lay was refused while it was copied."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.message)
        self.report = report


def _kept(job: Job, found: objects.Found, name: str | None, going: Callable[[], bool]) -> Outcome:
    """Copy an image into the image store, judging the very bytes that are copied."""
    image_id = job.task.image_id
    checker = StreamChecker(name=plain(str(job.task.input["import_from"])), **job.settings.limits)
    digest = hashlib.sha256()
    with images.of(job.settings).write(image_id) as copy:
        for piece in found.pieces():
            if not going():
                raise Stopped
            checker.feed(piece)
            if checker.refused:
                raise _Refused(checker.early_report())
            digest.update(piece)
            copy.write(piece)
        report = _verdict(checker, copy, job)
        if not report.ok:
            raise _Refused(report)
        found.confirm(digest.digest(), going)
    footer = report.image.footer
    virtual_size = 0 if footer is None else footer.current_size
    moment = now()
    image = Stored(image_id, job.task.owner, name, moment, report.size, virtual_size, digest.hexdigest())
    return Outcome(result={"image_id": image_id}, findings=_plain_findings(report), image=image)


def _verdict(checker: StreamChecker, copy: IO[bytes], job: Job) -> Report:
    """End the stream; judge the copy itself where that cannot be followed in a stream."""
    report = checker.finish()
    if any(finding.rule == _UNFOLLOWED for finding in report.findings):
        copy.flush()
        return check(copy.name, name=checker.name, **job.settings.limits)
    return report


def _export(job: Job, going: Callable[[], bool]) -> Outcome:
    container = job.task.input.get("receiving_swift_container")
    if job.image is None:
        return Outcome(NOT_OWNER)
    missing = Outcome(NO_CONTAINER.format(container=plain(str(container))))
    if not isinstance(container, str) or not names.is_receiving_container(container):
        return missing
    name = f"{job.image.id}.vhd"
    done = Outcome(result={"export_location": f"{container}/{name}"})
    store = objects.of(job.settings.objects_place, job.task.owner)
    with _exported(job.settings, job.image.id) as file:
        if file is None:
            return Outcome(NOT_OWNER)
        try:
            store.put(container, name, file, objects.Try(job.task.id, job.task.attempt, going))
        except objects.NotThere:
            return missing
        except objects.Taken:
            # A worker that died may have stored it: then it is this task's own.
            if job.task.attempt > 1 and _is_there(store, container, name, job.image):
                return done
            return Outcome(EXISTS.format(image=job.image.id, container=container))
    return done


@contextmanager
def _exported(settings: Settings, image_id: str) -> Iterator[BinaryIO | None]:
    """Open an image; None where it has been deleted since the task was taken up."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(images.of(settings).open(image_id))
        except objects.NotThere:
            yield None
            return
        yield file


def _is_there(store: objects.Objects, container: str, name: str, image: Stored) -> bool:
    """Say whether an object is this image, byte for byte."""
    digest = hashlib.sha256()
    with store.find(container, name, name) as found:
        for piece in found.pieces():
            digest.update(piece)
    return digest.hexdigest() == image.sha256


def _refused(report: Report) -> Outcome:
    report = unsaved(report, program=("python", "-m", "vhdcheck.mend"))  # on the tenant's machine
    return Outcome(message=report.message or INTERNAL, findings=_plain_findings(report), page=_page(report))


def _over_quota(report: Report) -> Outcome:
    return Outcome(QUOTA, findings=_plain_findings(report), page=_page(report))


def _page(*reports: Report) -> bytes:
    context = Context(reports[0].target)
    for report in reports:
        context.results.add(report)
    return zlib.compress(written(html, reports, context).encode())


def _plain_findings(report: Report) -> list[dict[str, Any]]:
    made = one(report)
    findings: list[dict[str, Any]] = made["findings"]
    if made["repair"] is not None:  # with the finding that heads the report
        findings[0]["repair"] = made["repair"]
    return findings
