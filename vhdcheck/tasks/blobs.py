"""Stores that are behind a URL, as what the service needs of them: whole objects by their name, in one flat space.

A name is quoted once, here, so that what stands in the path of a request is the name itself: `%2e%2e` is the name
`%2e%2e`, and reaches the server as `%252e%252e`. Nothing in a name is decoded or resolved on the way, so a name leads
to nothing outside of its tenant's place.

An object is read through the drivers of `sources`, which notice when it is replaced meanwhile: S3 is asked for the
version that was found first, Azure's and HTTP's answers tell theirs, others are asked again at the end.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol
from urllib.parse import quote

from vhdcheck.sources.source import Source
from vhdcheck.sources.url import opened_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

SETTLE: Final = 1.1
"""Seconds. Servers of HTTP tell the time of a change in whole seconds, in ETags too: what is written in the same second
as the last change goes unnoticed. So between the look at an object and its first byte that second has to pass."""


_MISREAD: Final = re.compile(r"\?(versionid|generation)=|#\d+$|\?.*#", re.IGNORECASE | re.DOTALL)
"""Names that fsspec's drivers take for another: those of S3, Azure and Google see versions in them, Azure's also turns
`a?b#c` into `a#c?b`."""


class NotThere(Exception):
    """There is no such object, or container."""


class Taken(Exception):
    """There is an object of that name already."""


class VersionedSource(Source, Protocol):
    """A source that knows whether it can tell that the object changed."""

    @property
    def versioned(self) -> bool:
        """Whether `verify` means something."""


class Blobs(Protocol):
    """Objects below one place."""

    def opened(self, key: str, name: str) -> AbstractContextManager[VersionedSource]:
        """Open an object to read it; `name` is what to call it. NotThere if there is none."""

    def is_container(self, name: str) -> bool:
        """Say whether there is such a container."""

    def put(self, key: str, file: BinaryIO, size: int, owner: str) -> None:
        """Store an object whole, or not at all.

        Args:
            key: its name.
            file: an open file that has a name under which it can be opened again.
            size: its length in bytes.
            owner: who does it: what is left of it where this is killed is found again under this name.

        Raises:
            Taken: there is one already.
        """

    def delete(self, key: str, owner: str) -> None:
        """Delete an object, if it is there, and what is left of its upload."""

    def discard(self, key: str, owner: str) -> None:
        """Delete what is left of the upload of an object in the same container."""

    def names(self) -> list[str]:
        """List what lies directly below the place."""


class Driven:
    """Objects in a store that fsspec has a driver for. Credentials come from the environment, as the driver wants."""

    def __init__(self, place: str) -> None:
        """Take the URL below which the objects are."""
        import fsspec  # type: ignore[import-not-found, import-untyped, unused-ignore]

        scheme, _, inner = place.partition("://")
        self._is_web = scheme.lower() in ("http", "https")
        self._place = f"{scheme.lower()}://{inner.strip('/')}"
        self._options: dict[str, Any] = {"encoded": True} if self._is_web else {}
        own = fsspec.get_filesystem_class(scheme)._get_kwargs_from_urls(place)  # noqa: SLF001 (Azure's account)
        self._files: Any = fsspec.filesystem(scheme, **own, **self._options)

    @contextmanager
    def opened(self, key: str, name: str) -> Iterator[VersionedSource]:
        """Open an object."""
        url = self._url(key)
        self._files.invalidate_cache()
        try:
            kind = self._files.info(url)["type"]
        except (FileNotFoundError, PermissionError, ValueError):
            raise NotThere from None
        if kind != "file":
            raise NotThere
        with opened_url(url, name, storage_options=self._options) as source:
            if self._is_web:
                time.sleep(SETTLE)
            yield source

    def is_container(self, name: str) -> bool:
        """Ask whether anything is below that name."""
        self._files.invalidate_cache()
        found: bool = self._files.exists(self._url(name))
        return found

    def put(self, key: str, file: BinaryIO, size: int, owner: str) -> None:  # noqa: ARG002 (see `discard`)
        """Upload an object: such a store shows it when it is whole."""
        url = self._url(key)
        self._files.invalidate_cache()
        if self._files.exists(url):
            raise Taken
        how = {"method": "put", "headers": {"If-None-Match": "*"}} if self._is_web else {"mode": "create"}
        try:
            self._files.put_file(file.name, url, **how)
        except FileExistsError:
            raise Taken from None
        self._files.invalidate_cache()
        stored = self._files.info(url)["size"]
        if stored not in (size, None):  # a server of HTTP need not tell
            raise OSError(f"the store holds {stored} bytes of {size}")

    def delete(self, key: str, owner: str) -> None:  # noqa: ARG002
        """Remove the object."""
        url = self._url(key)
        self._files.invalidate_cache()
        if self._files.exists(url):
            self._files.rm_file(url)

    def discard(self, key: str, owner: str) -> None:
        """Do nothing: an upload that does not end leaves nothing under a name. The store's own rules clear it away."""

    def names(self) -> list[str]:
        """List the place."""
        self._files.invalidate_cache()
        try:
            return [path.rstrip("/").rpartition("/")[2] for path in self._files.ls(self._place, detail=False)]
        except FileNotFoundError:
            return []

    def _url(self, key: str) -> str:
        if {"", ".", ".."}.intersection(key.split("/")):  # no name has these; no way out of the place, come what may
            raise NotThere
        if self._is_web:
            return f"{self._place}/{'/'.join(quote(part, safe='') for part in key.split('/'))}"
        if _MISREAD.search(key):
            raise NotThere
        return f"{self._place}/{key}"


def of(place: str) -> Blobs:
    """Open the store at a URL."""
    if place.lower().startswith("swift+"):
        from vhdcheck.tasks.swift import Swift

        return Swift(place)
    return Driven(place)
