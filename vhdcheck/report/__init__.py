"""Reports for people and programs, a module each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    Document: TypeAlias = Callable[..., str]

DOCUMENTS: Final = {
    "json": ("json", "document"),
    "sarif": ("sarif", "document"),
    "sarif-github": ("sarif", "github_document"),
    "junit": ("junit", "document"),
    "github": ("github", "document"),
    "html": ("html", "document"),
}
"""Formats that are written as a whole, once all images are checked: the module here, and its function.

`FORMATS` of the command, which imports nothing for `--help`, names them too.
"""


def document(name: str) -> Document:
    """Import what writes a format of DOCUMENTS, and nothing else."""
    module, function = DOCUMENTS[name]
    writer: Document = getattr(import_module(f"{__name__}.{module}"), function)
    return writer
