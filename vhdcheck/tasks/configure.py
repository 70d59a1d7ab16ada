"""Where settings come from: the command line, the environment, a TOML file; the first of these that has a value wins.

A setting has one name, `max-waiting`, in three spellings: `--max-waiting`, `VHDCHECK_TASKS_MAX_WAITING`, and the key
`max-waiting`. An error says where the value stands: the option, the variable, or the file with key and line.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from vhdcheck.errors import UsageError
from vhdcheck.targets import suggestion
from vhdcheck.tasks.settings import Serving, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    Model = TypeVar("Model", bound=BaseModel)

PREFIX: Final = "VHDCHECK_TASKS_"
FIELDS: Final = Serving.model_fields | Settings.model_fields
MAX_FILE: Final = 1 << 20
"""Bytes of a TOML file: more is none."""
_HEADER: Final = re.compile(r"\s*\[\[?\s*([^\[\]#]+?)\s*\]")


class Document:
    """A TOML file, and in which of its lines a value stands."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            UsageError: it cannot be read, or is no TOML.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                self._text = file.read(MAX_FILE + 1).decode()
            if len(self._text) > MAX_FILE:
                raise UsageError(f"{path}: longer than {MAX_FILE} bytes")
            self.content: dict[str, Any] = tomllib.loads(self._text)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise error if isinstance(error, UsageError) else UsageError(f"{path}: not TOML: {error}") from error

    def place(self, where: tuple[int | str, ...]) -> str:
        """Say where a value stands: `tokens.toml:7: role`. Of a table that lacks a key, the line is its header's."""
        tables = [part for part in where if isinstance(part, int)]
        names = [str(part) for part in where if isinstance(part, str)]
        table, wanted, line = (names[0] if tables else ""), names[-1] if names else "", 0
        inside, number = not tables, -1
        for position, text in enumerate(self._text.splitlines(), 1):
            if header := _HEADER.match(text):
                if not tables and header[1] == wanted:
                    line = position
                    break
                number += header[1] == table
                inside = bool(tables) and header[1] == table and number == tables[0]
                line = position if inside else line
            elif inside and re.match(rf"""\s*["']?{re.escape(wanted)}["']?\s*=""", text):
                line = position
                break
            elif number < 0 and tables and re.match(rf"\s*{re.escape(table)}\s*=", text):
                line = position  # a list of inline tables
        return f"{self.path}:{line}: {wanted}" if line else f"{self.path}: {wanted}"


def read(path: Path, model: type[Model]) -> tuple[Document, Model]:
    """Read a TOML file that holds what a model says.

    Raises:
        UsageError: it does not, or cannot be read.
    """
    document = Document(path)
    try:
        return document, model.model_validate(document.content)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)
        places = [f"{document.place(each['loc'])}: {_words(each, _keys(model, each['loc']))}" for each in told]
        raise UsageError("\n".join(places)) from None


def _keys(model: type[BaseModel], where: tuple[int | str, ...]) -> tuple[str, ...]:
    """List the keys that are known where an unknown one stands."""
    for part in where[:-1]:
        if isinstance(part, str):
            (inner,) = getattr(model.model_fields[part].annotation, "__args__", (model,))
            model = inner
    return tuple(model.model_fields)


def settings(
    options: Mapping[str, str | None], environment: Mapping[str, str], file: Path | None
) -> tuple[Serving, Settings]:
    """Put the settings together.

    Args:
        options: those of the command line, by field; None where one was not given.
        environment: its variables that begin with `VHDCHECK_TASKS_` are settings.
        file: of TOML.

    Raises:
        UsageError: a value is refused, or a key of the file or a variable with that prefix is no setting.
    """
    given: dict[str, Any] = {}
    places: dict[str, str] = {}
    document = None if file is None else Document(file)
    for key, value in document.content.items() if document is not None else ():
        keys = tuple(name.replace("_", "-") for name in FIELDS)
        if key not in keys:
            raise UsageError(f"{document.place((key,))}: unknown key{suggestion(key, keys)}")  # type: ignore[union-attr]
        given[key.replace("-", "_")] = value
        places[key.replace("-", "_")] = document.place((key,))  # type: ignore[union-attr]
    known = tuple(PREFIX + name.upper() for name in ("config", *FIELDS))
    for variable in environment:
        if variable.startswith(PREFIX) and variable not in known:
            raise UsageError(f"{variable}: no such setting{suggestion(variable, known)}")
    for name in FIELDS:
        if (text := environment.get(PREFIX + name.upper())) is not None:
            given[name], places[name] = text, PREFIX + name.upper()
        if (text := options.get(name)) is not None:
            given[name], places[name] = text, "--" + name.replace("_", "-")
    try:
        return _All.model_validate(given).parts()
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)
        raise UsageError("\n".join(f"{places[str(each['loc'][0])]}: {_words(each)}" for each in told)) from None


class _All(Serving, Settings):
    """All settings, so that all that is wrong is said at once."""

    def parts(self) -> tuple[Serving, Settings]:
        """Take them apart: workers elsewhere get only what they need."""
        serving, working = ({name: getattr(self, name) for name in model.model_fields} for model in (Serving, Settings))
        return Serving.model_construct(**serving), Settings.model_construct(**working)


def _words(error: ErrorDetails, known: tuple[str, ...] = ()) -> str:
    """Say what is wrong, as pydantic does; not the value, which may be secret."""
    if error["type"] == "extra_forbidden":
        return f"unknown key{suggestion(str(error['loc'][-1]), known)}"
    if error["type"] == "missing":
        return "is missing"
    return (
        error["msg"].removeprefix("Value error, ").replace("Input should", "should").replace("String should", "should")
    )
