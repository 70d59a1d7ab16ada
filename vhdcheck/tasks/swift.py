"""Objects in OpenStack Swift, through its own client library.

fsspec's driver of Swift is no help: it asks for one byte too many in each range, knows HTTPS only, uploads from memory,
and has had no version since 2022.

A place is the account's storage URL with `swift+` before it, and perhaps more behind it:
`swift+https://HOST/v1/AUTH_{tenant}` has the tenant's containers, `swift+https://HOST/v1/AUTH_images/kept` is the
container `kept`. Who the service is, is said by the variables of the `swift` command: `ST_AUTH`, `ST_USER`, `ST_KEY`.

Swift takes no object over 5 GiB, so a longer one is a static large object: segments first, in the container of the
same name with `_segments` behind it, then the manifest, with which the object is there, whole. Segments lie below the
name of who uploads them and of the object, so that what a killed worker left is found again. They are deleted unless
the object is there: the worker may have been killed just after it stored the manifest.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from vhdcheck.errors import SourceChanged, SourceError, UsageError
from vhdcheck.redaction import redacted
from vhdcheck.tasks.blobs import NotThere, Taken

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdcheck.format.span import Span

SEGMENT: Final = 1 << 30
"""Bytes of a segment."""
_PLACE: Final = re.compile(r"swift\+(https?://[^?#]*?/v1(?:\.0)?/[^/?#]+)/?([^?#]*)")
_TIMEOUT: Final = 60
_TRIES: Final = 3
_NONE: Final = (401, 403, 404)
"""What says that there is no such object, or none that the service may read."""


class Swift:
    """Objects below a place."""

    def __init__(self, place: str) -> None:
        """Take the place.

        Raises:
            UsageError: it is none, or the client library or the credentials are missing.
        """
        match = _PLACE.fullmatch(place)
        if match is None:
            raise UsageError(
                f"{redacted(place)}: Swift's places look like swift+https://HOST/v1/AUTH_ACCOUNT/CONTAINER"
            )
        try:
            from swiftclient import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
                ClientException,
                Connection,
            )
        except ImportError:
            raise UsageError("Swift needs its client: install vhdcheck with its extra swift") from None
        try:
            who = [os.environ[name] for name in ("ST_AUTH", "ST_USER", "ST_KEY")]
        except KeyError as error:
            raise UsageError(f"Swift needs credentials: ST_AUTH, ST_USER, ST_KEY; {error} is not set") from None
        self._failure: type[Any] = ClientException
        self._prefix = f"{match[2].strip('/')}/" if match[2].strip("/") else ""
        storage = {"object_storage_url": match[1]}
        self._client: Any = Connection(*who, os_options=storage, timeout=_TIMEOUT, retries=_TRIES)

    @contextmanager
    def opened(self, key: str, name: str) -> Iterator[_Object]:
        """Open an object."""
        container, inner = self._split(key)
        with self._answers(missing=NotThere):
            headers = self._client.head_object(container, inner)
        yield _Object(self, (container, inner), name, headers)

    def is_container(self, name: str) -> bool:
        """Ask for it."""
        try:
            with self._answers(missing=NotThere):
                self._client.head_container(self._split(f"{name}/x")[0])
        except NotThere:
            return False
        return True

    def put(self, key: str, file: BinaryIO, size: int, owner: str) -> None:
        """Upload an object, in segments if need be."""
        container, inner = self._split(key)
        first = {"If-None-Match": "*"}
        file.seek(0)
        if size <= SEGMENT:
            with self._answers(taken=True):
                self._client.put_object(container, inner, file, size, headers=first)
            return
        beside, manifest = f"{container}_segments", []
        try:
            with self._answers():
                self._client.put_container(beside)
                for number, start in enumerate(range(0, size, SEGMENT)):
                    length, part = min(SEGMENT, size - start), f"{owner}/{inner}/{number:08}"
                    etag = self._client.put_object(beside, part, file, length)
                    manifest.append({"path": f"/{beside}/{part}", "etag": etag, "size_bytes": length})
            with self._answers(taken=True):
                kind = "multipart-manifest=put"
                self._client.put_object(container, inner, json.dumps(manifest), query_string=kind, headers=first)
        except BaseException as error:
            if isinstance(error, Taken) and manifest[0]["path"] in self._segments(container, inner):
                return  # the first answer got lost, and the client asked again
            self.discard(key, owner)
            raise

    def delete(self, key: str, owner: str) -> None:
        """Delete an object, and its segments, also where there is no manifest yet."""
        container, inner = self._split(key)
        try:
            with self._answers(missing=NotThere):
                is_large = self._client.head_object(container, inner).get("x-static-large-object")
                kind = "multipart-manifest=delete" if is_large else None
                self._client.delete_object(container, inner, query_string=kind)
        except NotThere:
            pass
        self.discard(key, owner)

    def discard(self, key: str, owner: str) -> None:
        """Delete the segments that somebody uploaded; not those of an object that is there."""
        container = self._split(key)[0]
        beside, prefix = f"{container}_segments", f"{owner}/"
        try:
            with self._answers(missing=NotThere):
                for entry in self._client.get_container(beside, prefix=prefix, full_listing=True)[1]:
                    inner = entry["name"].removeprefix(prefix).rpartition("/")[0]
                    if f"/{beside}/{entry['name']}" not in self._segments(container, inner):
                        self._client.delete_object(beside, entry["name"])
        except NotThere:
            return

    def _segments(self, container: str, inner: str) -> set[str]:
        """List the segments of an object, if it is there and has any."""
        try:
            with self._answers(missing=NotThere):
                if "x-static-large-object" not in self._client.head_object(container, inner):
                    return set()
                manifest = self._client.get_object(container, inner, query_string="multipart-manifest=get")[1]
        except NotThere:
            return set()
        return {entry["name"] for entry in json.loads(manifest)}

    def names(self) -> list[str]:
        """List the place; the first 10,000 of what lies in it."""
        container, prefix = self._split("x")[0], self._prefix.partition("/")[2]
        try:
            with self._answers(missing=NotThere):
                found = self._client.get_container(container, prefix=prefix, delimiter="/")[1]
        except NotThere:
            return []
        return [(entry.get("name") or entry["subdir"]).removeprefix(prefix).rstrip("/") for entry in found]

    def get(self, where: tuple[str, str], start: int, end: int, tag: str) -> tuple[dict[str, str], bytes]:
        """Fetch a range of an object that still has this ETag."""
        wanted = {"Range": f"bytes={start}-{end - 1}", "If-Match": tag}
        with self._answers():
            headers, data = self._client.get_object(*where, headers=wanted)
            return headers, data

    def _split(self, key: str) -> tuple[str, str]:
        if {"", ".", ".."}.intersection(key.split("/")):  # no name has these; no way out of the place, come what may
            raise NotThere
        container, _, inner = f"{self._prefix}{key}".partition("/")
        return container, inner

    @contextmanager
    def _answers(self, missing: type[Exception] | None = None, *, taken: bool = False) -> Iterator[None]:
        """Tell the client's failures as ours. They hold URLs and tokens, so nothing is quoted."""
        try:
            yield
        except self._failure as error:
            status = int(error.http_status or 0)
        else:
            return
        if missing is not None and status in _NONE:
            raise missing
        if status == 412:  # noqa: PLR2004 (Precondition Failed)
            raise Taken if taken else SourceChanged("the object changed while it was read")
        raise SourceError("Swift does not answer" if status == 0 else f"Swift answers HTTP {status}")


class _Object:
    """An object that is there. Each answer is one of the version that was found first."""

    versioned = True

    def __init__(self, store: Swift, where: tuple[str, str], name: str, headers: dict[str, str]) -> None:
        self.name, self.size, self._tag = name, int(headers["content-length"]), headers["etag"]
        self._store, self._where = store, where

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return each span's bytes."""
        return [self._read(span.offset, span.end) for span in spans]

    def _read(self, start: int, end: int) -> bytes:
        if start == end:
            return b""
        headers, data = self._store.get(self._where, start, end, self._tag)
        if headers.get("etag") != self._tag:
            raise SourceChanged(f"{self.name}: the object changed while it was read")
        if len(data) != end - start:
            raise SourceError(f"{self.name}: Swift sent {len(data)} bytes of {end - start}")
        return data

    def verify(self) -> None:
        """Do nothing: each answer told its version."""
