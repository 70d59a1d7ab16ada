"""The schemas that clients fetch, and validate every answer against. None says `required` or forbids more fields."""

from __future__ import annotations

from typing import Any, Final

from vhdcheck.tasks.states import Status
from vhdcheck.tasks.task import Kind
from vhdcheck.tasks.wire import UUID


def _string(description: str, **more: Any) -> dict[str, Any]:  # keywords of JSON Schema
    return {"type": "string", "description": description, **more}


_ID: Final = f"^{UUID}$"
_LISTED: Final = {
    "id": _string("An identifier for the task", pattern=_ID),
    "type": _string("The type of task", enum=[kind.value for kind in Kind]),
    "status": _string("The current status of this task", enum=[status.value for status in Status]),
    "owner": _string("An identifier for the owner of this task"),
    "created_at": _string("When the task was created"),
    "updated_at": _string("When the task was last changed"),
    "expires_at": _string("When the task is no longer available; only of a task that has ended"),
    "self": _string("The link to this task"),
    "schema": _string("The link to its schema"),
    "user_id": _string("Who asked for the task, where the token says so"),
    "request_id": _string("The request that made the task"),
}
_RESULT: Final = (
    "Only of a task that succeeded: image_id or export_location; of a mended image also what was done (mended), and the"
    " SHA-256 of the object and of the image that is stored (source_sha256, image_sha256)"
)
TASK: Final = {
    "name": "task",
    "properties": {
        **_LISTED,
        "input": {"type": "object", "description": "The parameters of the task, as they were given"},
        "message": _string("Why the task failed; None if it has not"),
        "result": {"type": "object", "description": _RESULT},
        "image_id": _string("The image that was imported", pattern=_ID),
        "findings": {
            "type": "array",
            "description": "What was found in the image: rule, severity, place, expected, found, fix; the first of a"
            " refused image has its repair",
            "items": {"type": "object"},
        },
    },
}
# glanceclient makes an option of `image-create` of each property that is not readOnly, and has a --size of its own.
_READ_ONLY: Final[dict[str, dict[str, Any]]] = {
    "id": _string("An identifier for the image", pattern=_ID),
    "status": _string("Status of the image", enum=["active"]),
    "visibility": _string("Scope of accessibility", enum=["private"]),
    "owner": _string("Owner of the image"),
    "size": {"type": "integer", "description": "Length of the file, in bytes"},
    "virtual_size": {"type": "integer", "description": "Size of the disk, in bytes"},
    "disk_format": _string("Format of the disk", enum=["vhd"]),
    "container_format": _string("Format of the container", enum=["bare"]),
    "os_hash_algo": _string("Algorithm of os_hash_value", enum=["sha256"]),
    "os_hash_value": _string("Hexdigest of the file's content"),
    "created_at": _string("When the image was imported"),
    "updated_at": _string("The same: an image does not change"),
    "min_disk": {"type": "integer", "description": "GiB that a server's disk needs for it"},
    "min_ram": {"type": "integer", "description": "MiB of memory that it needs: not known, 0"},
    "protected": {"type": "boolean", "description": "Whether it cannot be deleted"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "self": _string("The link to this image"),
    "schema": _string("The link to its schema"),
}
IMAGE: Final = {
    "name": "image",
    "properties": {
        "name": {"type": ["null", "string"], "description": "Descriptive name of the image"},
        **{name: {**schema, "readOnly": True} for name, schema in _READ_ONLY.items()},
    },
}


def _list_of(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            name: {"type": "array", "items": item},
            "first": _string("The first page"),
            "next": _string("The next page"),
            "schema": _string("The link to this schema"),
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


SCHEMAS: Final = {
    "task": TASK,
    "tasks": _list_of("tasks", {"name": "task", "properties": _LISTED}),
    "image": IMAGE,
    "images": _list_of("images", IMAGE),
}
