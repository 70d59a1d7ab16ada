"""Which names may reach a store. A name is taken literally: nothing in it is decoded, expanded or resolved."""

from __future__ import annotations

import re
from typing import Final, TypeGuard

LONGEST: Final = 1024
"""Characters of an object's name, as Swift has it."""
_TENANT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def is_tenant(name: str) -> bool:
    """Say whether a tenant's name can be part of a path."""
    return _TENANT.fullmatch(name) is not None


def split(import_from: object) -> tuple[str, str] | None:
    """Split CONTAINER/OBJECT; None for what names no object: `..`, an absolute path, a URL, control characters.

    Examples:
        >>> split("exports/my-image.vhd")
        ('exports', 'my-image.vhd')
        >>> split("https://example.org/my-image.vhd"), split("exports/../../etc/passwd"), split("/etc/passwd")
        (None, None, None)
    """
    if not isinstance(import_from, str) or "://" in import_from or not _is_text(import_from):
        return None
    container, _, name = import_from.partition("/")
    parts = [container, *name.split("/")]
    if any(part in ("", ".", "..") for part in parts) or "\\" in import_from:
        return None
    return container, name


def is_receiving_container(name: object) -> TypeGuard[str]:
    """Say whether a name may be that of a container to export to: none of `/ ? .` is in it, as such or in `%2e`."""
    if not isinstance(name, str) or name == "" or not _is_text(name):
        return False
    return re.search(r"[/?.\\]|%(2f|3f|2e|5c)", name, re.IGNORECASE) is None


def _is_text(name: str) -> bool:
    if len(name) > LONGEST or any(ord(each) < 32 or ord(each) == 127 for each in name):  # noqa: PLR2004 (control)
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True
