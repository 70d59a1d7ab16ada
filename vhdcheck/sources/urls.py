"""Which sources are URLs, and what a listing told of one."""

from __future__ import annotations

import re
from typing import Any, Final, Self, TypeGuard

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://", re.ASCII)


class StoredObject(str):
    """The URL of an object whose length a listing told, so that nobody has to ask for it."""

    __slots__ = ("info",)
    info: dict[str, Any]
    """What the store's driver told: `size` in bytes, and what changes with the object (`ETag`, time)."""

    def __new__(cls, url: str, info: dict[str, Any]) -> Self:
        """Keep what was told with the URL."""
        stored = super().__new__(cls, url)
        stored.info = info
        return stored

    def __reduce__(self) -> tuple[type[Self], tuple[str, dict[str, Any]]]:
        """Be pickled whole, for workers in other processes."""
        return type(self), (str(self), self.info)


def is_url(source: object) -> TypeGuard[str]:
    """Say whether a source is a URL: a scheme of two characters at least (one is a drive of Windows), and `://`."""
    return isinstance(source, str) and "://" in source and _URL.match(source) is not None


def is_store_folder(source: object) -> TypeGuard[str]:
    """Say whether a source is the URL of a folder in a store: it ends in `/`. HTTP has no folders, only pages."""
    return is_in_store(source) and source.endswith("/")


def is_store_pattern(source: object) -> TypeGuard[str]:
    """Say whether a source stands for several objects of a store: it has a `*`. A `?` or `[` alone may be in a name."""
    return is_in_store(source) and "*" in source


def is_in_store(source: object) -> TypeGuard[str]:
    """Say whether a source is the URL of something in a store, which can list what it has."""
    return is_url(source) and not is_web(source)


def is_web(url: str) -> bool:
    """Say whether a URL is one of HTTP."""
    return url[:8].lower().startswith(("http://", "https://"))
