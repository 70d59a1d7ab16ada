"""What a new task may ask for. The malformed is refused at once; whether the rest can be done, the task will tell."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.redaction import redacted
from vhdcheck.tasks.task import Kind
from vhdcheck.tasks.wire import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST: Final = 64
"""Lists and objects in one another. An image's input has two."""
NEEDED: Final = {Kind.IMPORT: ("import_from",), Kind.EXPORT: ("image_uuid", "receiving_swift_container")}
"""What each kind of task cannot do without: texts that are not empty."""


def task(content: dict[str, Any]) -> tuple[Kind, dict[str, Any]]:
    """Read the body of `POST /v2/tasks`.

    Raises:
        Refusal: 400.
    """
    for name in ("type", "input"):
        if name not in content:
            raise _bad(f"Task '{name}' is required")
    if content["type"] not in list(Kind):
        raise _bad("Task 'type' must be import or export")
    kind, given = Kind(content["type"]), content["input"]
    if not isinstance(given, dict):
        raise _bad("Task 'input' must be an object")
    for each in _texts(given):
        if any("\ud800" <= character <= "\udfff" for character in each):  # json.loads has joined the true pairs
            raise _bad("The input has half of a surrogate pair, which is no character")
    for name in NEEDED[kind]:
        if name not in given:
            raise _bad(f"Input does not contain '{name}' field")
        if not isinstance(given[name], str) or not given[name]:
            raise _bad(f"'{name}' must be a string, and not empty")
    return kind, _without_secrets(given)


def _texts(given: dict[str, Any]) -> Iterator[str]:
    """Walk through all names and texts.

    Raises:
        Refusal: 400, for what is nested too deeply.
    """
    waiting: list[tuple[Any, int]] = [(given, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, (dict, list)):
            if depth > DEEPEST:
                raise _bad(f"The input is nested more than {DEEPEST} deep")
            if isinstance(value, dict):
                yield from value
                value = value.values()
            waiting += [(each, depth + 1) for each in value]


def _without_secrets(value: Any) -> Any:
    """Leave out what is secret in URLs, before anything is stored: no task takes a URL, but people send them."""
    if isinstance(value, str):
        return redacted(value) if "://" in value else value
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    if isinstance(value, dict):
        return {_without_secrets(name): _without_secrets(each) for name, each in value.items()}
    return value


def _bad(message: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, message)
