"""The OpenAPI document, from the same schemas that the service serves and the same limits that it enforces."""

from __future__ import annotations

import functools
from typing import Any, Final

from vhdcheck.engine.check import UNLIMITED
from vhdcheck.tasks import catalog, store
from vhdcheck.tasks.routes import checks, images
from vhdcheck.tasks.schemas import SCHEMAS
from vhdcheck.tasks.states import Status
from vhdcheck.tasks.task import Kind
from vhdcheck.tasks.wire import JSON, MOST, USUAL, UUID
from vhdcheck.version import __version__

_TEXTS: Final = {
    "200": "Success",
    "201": "The task was created",
    "204": "The image was deleted",
    "206": "A range of the image",
    "400": "Bad request: malformed parameter or body",
    "401": "Unauthorized: no token, or not a valid one",
    "403": "Forbidden: the role does not allow it",
    "404": "Not found: none, another tenant's, or expired",
    "405": "Bad method",
    "408": "The body did not come in time",
    "413": "Over limit: more items than allowed, or too long a body",
    "415": "Bad media type",
    "416": "The image has no such bytes",
    "500": "API fault",
    "503": "Service unavailable: too many tasks wait, or the database is away; see Retry-After",
}
_FAULTS: Final = ("400", "401", "403", "404", "405", "413", "500", "503")
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "title", "message"],
            "properties": {
                "code": {"type": "integer"},
                "title": {"type": "string"},
                "message": {"type": "string"},
            },
        }
    },
}
_VERSIONS: Final = {
    "type": "object",
    "required": ["versions"],
    "properties": {"versions": {"type": "array", "items": {"type": "object"}}},
}
_SCHEMA: Final = {
    "type": "object",
    "required": ["name", "properties"],
    "properties": {"name": {"type": "string"}, "properties": {"type": "object"}},
}
_HEALTH: Final = {
    "type": "object",
    "required": ["status", "pending", "processing"],
    "properties": {
        "status": {"const": "ok"},
        "pending": {"type": "integer", "minimum": 0},
        "processing": {"type": "integer", "minimum": 0},
    },
}
_BASIC: Final = ["id", "type", "status", "owner", "created_at", "updated_at", "schema", "self"]
_NEW_TASK: Final = {
    "type": "object",
    "required": ["type", "input"],
    "properties": {"type": {"enum": [kind.value for kind in Kind]}, "input": {"type": "object"}},
    "examples": [
        {"type": "import", "input": {"import_from": "exports/a.vhd", "image_properties": {"name": "My image"}}},
        {
            "type": "export",
            "input": {
                "image_uuid": "ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6",
                "receiving_swift_container": "exports",
            },
        },
    ],
}
_BYTES: Final = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_SPAN: Final = {
    "type": "object",
    "required": ["offset", "length"],
    "properties": {"offset": {"type": "integer", "minimum": 0}, "length": {"type": "integer", "minimum": 1}},
}
_CHECK: Final = {
    "type": "object",
    "oneOf": [
        {"required": ["wanted"], "properties": {"wanted": {"type": "array", "minItems": 1, "items": _SPAN}}},
        {"required": ["report"], "properties": {"report": {"type": "object", "required": ["verdict", "findings"]}}},
    ],
}
_LIMIT: Final = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 0, "maximum": MOST, "default": USUAL},
}
_MARKER: Final = {
    "name": "marker",
    "in": "query",
    "description": "The last item of the page before; one that is not there is answered with 400",
    "schema": {"type": "string", "pattern": f"^{UUID}$"},
}


@functools.cache
def document() -> dict[str, Any]:
    """Write the document."""
    listing = [
        _LIMIT,
        _MARKER,
        *_sorting(store.SORT_KEYS),
        _choice("type", tuple(kind.value for kind in Kind)),
        _choice("status", tuple(status.value for status in Status)),
        *(_free(name) for name in store.FILTERS if name not in ("type", "status")),
    ]
    listing_images = [
        _LIMIT,
        _MARKER,
        *_sorting(catalog.SORT_KEYS),
        *(_free(name) for name in (*images.FILTERS, *images.ALIKE)),
    ]
    create = _operation("createTask", "Import or export an image", _component("Task"), done="201")
    create["requestBody"] = {"required": True, "content": {JSON: {"schema": _NEW_TASK}}}
    create["responses"]["415"] = _failure("415")
    versions = _open("Versions of the API", _VERSIONS)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Image tasks",
            "version": __version__,
            "description": "Imports and exports of VHD images, as tasks",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": {
            **{path: {"get": versions} for path in ("/", "/versions", "/v2", "/v2/")},
            "/v2/tasks": {
                "get": _operation("listTasks", "List tasks", _component("Tasks"), listing),
                "post": create,
            },
            "/v2/tasks/{task_id}": {
                "get": _operation("showTask", "Show a task", _component("Task"), [_in_path("task_id")])
            },
            "/v2/checks": {"post": _check()},
            "/v2/images": {"get": _operation("listImages", "List images", _component("Images"), listing_images)},
            "/v2/images/{image_id}": {
                "get": _operation("showImage", "Show an image", _component("Image"), [_in_path("image_id")]),
                "delete": _without_json("deleteImage", "Delete an image", {"204": {}}),
            },
            "/v2/images/{image_id}/file": {
                "get": _without_json(
                    "downloadImage", "Get an image's bytes, or a range of them", {"200": _BYTES, "206": _BYTES}
                )
            },
            **{f"/v2/schemas/{name}": {"get": _open(f"Schema of {name}", _SCHEMA)} for name in SCHEMAS},
            "/healthz": {"get": _open("Whether the service works", _HEALTH)},
            "/metrics": {"get": _open("Figures for Prometheus", {"type": "string"}, media="text/plain")},
            "/openapi.json": {"get": _open("This document", {"type": "object"})},
        },
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            "schemas": {
                "Error": _ERROR,
                "Task": _object("task", [*_BASIC, "input", "message"]),
                "Tasks": _object("tasks", ["tasks", "first", "schema"]),
                "Image": _object("image", list(SCHEMAS["image"]["properties"])),
                "Images": _object("images", ["images", "first", "schema"]),
            },
        },
    }


def _check() -> dict[str, Any]:
    """Describe a check, which needs no token where the service is open for that."""
    size: dict[str, Any] = {
        "name": "size",
        "in": "query",
        "required": True,
        "description": "Length of the image in bytes",
    }
    size["schema"] = {"type": "integer", "minimum": 0, "maximum": UNLIMITED - 1}
    made = _operation(
        "checkImage",
        "Say which bytes of an image to send, or report",
        _CHECK,
        [size, _choice("format", checks.FORMATS)],
    )
    made["responses"]["200"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    made["responses"]["408"] = _failure("408")
    made["requestBody"] = {"description": "All bytes that were asked for so far, in that order", **_BYTES}
    return made


def _object(name: str, required: list[str]) -> dict[str, Any]:
    properties = dict(SCHEMAS[name]["properties"])
    if name in ("tasks", "images"):
        inner = SCHEMAS[name]["properties"][name]["items"]["properties"]
        needed = _BASIC if name == "tasks" else list(inner)
        properties[name] = {"type": "array", "items": {"type": "object", "required": needed, "properties": inner}}
    return {"type": "object", "required": required, "properties": properties}


def _component(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _choice(name: str, values: tuple[str, ...], usual: str | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    if usual is not None:
        schema["default"] = usual
    return {"name": name, "in": "query", "schema": schema}


def _sorting(keys: tuple[str, ...]) -> list[dict[str, Any]]:
    ways = ("asc", "desc")
    both = tuple(f"{key}{way}" for key in keys for way in ("", *(f":{way}" for way in ways)))
    return [_choice("sort_key", keys, "created_at"), _choice("sort_dir", ways, "desc"), _choice("sort", both)]


def _free(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": "Only those with this value", "schema": {"type": "string"}}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def _failure(status: str) -> dict[str, Any]:
    return {"description": _TEXTS[status], "content": {JSON: {"schema": _component("Error")}}}


def _operation(
    name: str,
    summary: str,
    schema: dict[str, Any],
    parameters: list[dict[str, Any]] | None = None,
    *,
    done: str = "200",
) -> dict[str, Any]:
    responses = {done: {"description": _TEXTS[done], "content": {JSON: {"schema": schema}}}}
    responses |= {status: _failure(status) for status in _FAULTS}
    return {"operationId": name, "summary": summary, "parameters": parameters or [], "responses": responses}


def _without_json(name: str, summary: str, done: dict[str, Any]) -> dict[str, Any]:
    """Describe what is done with an image, and answers with anything but JSON."""
    made = _operation(name, summary, {}, [_in_path("image_id")])
    faults = {status: made["responses"][status] for status in _FAULTS}
    if "206" in done:
        made["parameters"].append({"name": "Range", "in": "header", "schema": {"type": "string"}})
        faults["416"] = _failure("416")
    made["responses"] = {
        status: {"description": _TEXTS[status], **content} for status, content in done.items()
    } | faults
    return made


def _open(summary: str, schema: dict[str, Any], media: str = JSON) -> dict[str, Any]:
    """Describe what needs no token."""
    responses = {"200": {"description": _TEXTS["200"], "content": {media: {"schema": schema}}}}
    responses |= {status: _failure(status) for status in ("405", "500", "503")}
    return {"summary": summary, "security": [], "responses": responses}
