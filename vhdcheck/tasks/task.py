"""A task, what becomes of it, and what it says. Times are microseconds since 1970; shown are whole seconds."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from vhdcheck.tasks.states import FINAL, Status

NONE: Final = "None"
"""The message of a task that has not failed: these four letters, not null, which clients cannot validate."""
NO_IMAGE: Final = "Error: Image not found for import. Possible invalid location"
UNSUPPORTED: Final = "Unsupported element in image_properties, please consult the documentation."
NOT_OWNER: Final = "An image may only be exported by the image owner."
NO_CONTAINER: Final = "Container not found. Container: {container}"
EXISTS: Final = "Swift already has an object with id '{image}.vhd' in container '{container}'"
BAD_NAME: Final = "Error: The name of an image is a string of at most 255 characters"
STORE: Final = "Error: The object store could not be read or written. Please try again"
CHANGED: Final = "Error: The object changed while it was imported. Please try again when it is complete"
QUOTA: Final = "Error: The image is more than the tenant may keep. Please delete images that are no longer needed"
INTERNAL: Final = "Error: The task failed unexpectedly. Please tell the operator its id"
GAVE_UP: Final = "Error: The task was started several times and never finished. Please tell the operator its id"


class Kind(StrEnum):
    """What a task does."""

    IMPORT = "import"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it is stored."""

    id: str
    type: Kind
    owner: str
    """The tenant."""
    input: dict[str, Any]
    """What was asked for, unchanged."""
    created_at: int
    updated_at: int
    status: Status = Status.PENDING
    expires_at: int | None = None
    message: str = NONE
    result: dict[str, str] | None = None
    findings: list[dict[str, Any]] | None = None
    """Of an import whose image was judged: what was found, as in the report for programs."""
    attempt: int = 0
    """How many workers have taken it up; the last one's number is the right to finish it."""
    user_id: str | None = None
    """Who asked for it, if the token says so."""
    request_id: str | None = None
    """The request that made it; tasks of the first service have none."""

    seed: str = ""
    """Of one taking up, not stored: a database that was put back from a backup issues no image's id a second time."""

    @property
    def image_id(self) -> str:
        """The image that this attempt of an import makes: another attempt's remains are never mistaken for it."""
        return str(uuid.uuid5(uuid.UUID(self.id), f"{self.attempt}{self.seed}"))


@dataclass(frozen=True, slots=True)
class Stored:
    """An image in the image store."""

    id: str
    owner: str
    name: str | None
    created_at: int
    size: int
    virtual_size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker made of a task."""

    message: str = NONE
    """Why it failed."""
    result: dict[str, str] | None = None
    """Set if, and only if, it succeeded."""
    findings: list[dict[str, Any]] | None = None
    page: bytes | None = None
    """Of an import whose image was judged: the report as a page for browsers, compressed by zlib."""
    image: Stored | None = None

    @property
    def status(self) -> Status:
        """The final state."""
        return Status.FAILURE if self.result is None else Status.SUCCESS


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one tenant may keep; None: as much as it likes."""

    images: int | None = None
    bytes: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return (self.images, self.bytes) != (None, None)


UNLIMITED: Final = Quota()


@dataclass(frozen=True, slots=True)
class Query:
    """Which tasks to list."""

    limit: int
    marker: str | None = None
    sort_key: str = "created_at"
    sort_dir: str = "desc"
    filters: dict[str, str] = field(default_factory=dict)


def new(kind: Kind, owner: str, given: dict[str, Any], **who: str | None) -> Task:
    """Make a task; its times are the database's to say, when it is stored."""
    return Task(str(uuid.uuid4()), kind, owner, given, 0, 0, **who)  # type: ignore[arg-type]


def now() -> int:
    """Tell the time."""
    return time.time_ns() // 1000


def stamp(moment: int) -> str:
    """Write a time as the API does: `2014-02-26T02:58:46Z`."""
    return datetime.fromtimestamp(moment // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def brief(task: Task) -> dict[str, Any]:
    """Show a task as a list does: without input, message and result."""
    shown = {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "created_at": stamp(task.created_at),
        "updated_at": stamp(task.updated_at),
        "schema": "/v2/schemas/task",
        "self": f"/v2/tasks/{task.id}",
    }
    if task.expires_at is not None and task.status in FINAL:
        shown["expires_at"] = stamp(task.expires_at)
    return shown | {name: value for name in ("user_id", "request_id") if (value := getattr(task, name)) is not None}


def full(task: Task) -> dict[str, Any]:
    """Show all of a task. What it does not have is absent, never null: clients validate against the schema."""
    shown = {**brief(task), "input": task.input, "message": task.message}
    if task.result is not None:
        shown["result"] = task.result
        if task.type == Kind.IMPORT:
            shown["image_id"] = task.result["image_id"]
    if task.findings is not None:
        shown["findings"] = task.findings
    return shown


def plain(text: str, longest: int = 256) -> str:
    """Make a name from a request fit for a message of one line."""
    cut = text if len(text) <= longest else text[:longest] + "..."
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)
