"""The images in a folder of a store, or by a pattern, as the listing comes.

The listing tells the lengths of the images, so that nobody asks for these again.

S3 and Azure are read page by page; other drivers of fsspec tell all at once.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.errors import SourceError
from vhdcheck.format.creators import SUFFIXES
from vhdcheck.redaction import redacted
from vhdcheck.sources.clients import client
from vhdcheck.sources.failures import TIMEOUT, Told, reason, secrets_in
from vhdcheck.sources.transports import LISTED, traits
from vhdcheck.sources.url import close_in, driver_of, loop_of_fsspec, lowered, wait_for
from vhdcheck.sources.urls import StoredObject, is_store_pattern

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from vhdcheck.sources.clients import Client


PAGE: Final = 1000
"""Objects taken at a time: as many as S3 tells in one answer."""


def listed(url: str, *, storage_options: Mapping[str, Any] | None = None) -> Iterator[StoredObject]:
    """Yield the images in a folder of a store and the folders in it, by suffix: `.vhd` and `.avhd`, in either case.

    Of a pattern yield what it matches, whatever its suffix: `*`, `?` and `[...]` within a name, `**` for any folders.

    `audit` and `check` ask nobody for the length of what comes from here.

    Args:
        url: `s3://bucket/folder/`, `az://container/`, `s3://bucket/folder/*.vhd`, ...
        storage_options: arguments for fsspec's driver: credentials, endpoint. `audit` wants the same.

    Raises:
        SourceError: the store cannot be reached, or its listing not be read.
        UsageError: fsspec, or the driver, is not installed.
    """
    driver_of(url)
    folder, pattern = lowered(url), ""
    if is_store_pattern(url):
        first = folder.index("*")
        cut = folder.rindex("/", 0, first) + 1
        folder, pattern = folder[:cut], folder[cut:]
    loop, found = loop_of_fsspec(), _Folder(folder, pattern, storage_options or {})
    coming: Future[list[StoredObject]] | None = None
    try:
        page = wait_for(found.page(), loop)
        while page:
            half = len(page) // 2
            yield from page[:half]
            # The next page comes while the caller works on the rest of this one.
            coming = asyncio.run_coroutine_threadsafe(found.page(), loop)
            yield from page[half:]
            page = coming.result()
    finally:
        if coming is not None:
            coming.cancel()
        close_in(loop, found)


def matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Say whether a path matches a pattern, name by name."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        return matches(names, pattern[1:]) or (bool(names) and matches(names[1:], pattern))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and matches(names[1:], pattern[1:])


class _Folder:
    """A folder of a store. Everything here runs in fsspec's loop."""

    def __init__(self, url: str, pattern: str, options: Mapping[str, Any]) -> None:
        self._url, self._pattern, self._options = url, pattern.split("/") if pattern else [], options
        self._client: Client | None = None
        self._files: Any = None
        self._turn = asyncio.Lock()
        self._images: AsyncGenerator[StoredObject] | None = None

    async def page(self) -> list[StoredObject]:
        """Return the next images; none at the end."""
        try:
            page: list[StoredObject] = []
            async with self._turn, asyncio.timeout(TIMEOUT) as limit:
                if self._images is None:
                    self._client = await client(driver_of(self._url), self._url, self._options)
                    self._files = self._client.files
                    self._images = self._found()
                async for image in self._images:
                    page.append(image)
                    if len(page) == PAGE:
                        break
                    limit.reschedule(asyncio.get_running_loop().time() + TIMEOUT)
        except Exception as error:  # noqa: BLE001 (each driver has its own)
            why = reason(error, quote=True, secrets=secrets_in(self._url, self._options))
        else:
            return page
        raise SourceError(f"{redacted(self._url)}: {why}")  # out here it has no context, whose text may hold secrets

    async def close(self) -> None:
        """Give the client back, when the page that nobody waits for has given up."""
        async with self._turn:
            if self._images is not None:
                await self._images.aclose()
            if self._client is not None:
                await self._client.release()

    async def _found(self) -> AsyncGenerator[StoredObject]:
        """Pick the images, and name each as the folder is named."""
        root = str(self._files._strip_protocol(self._url)).rstrip("/") + "/"
        async with aclosing(self._told(root)) as told:
            async for info in told:
                name = str(info["name"]).removeprefix(root)
                if info.get("type", "file") == "file" and self._is_wanted(name):
                    yield StoredObject(self._url + name, traits(info, LISTED))

    def _is_wanted(self, name: str) -> bool:
        if self._pattern:
            return not name.endswith("/") and matches(name.split("/"), self._pattern)
        return name.lower().endswith(SUFFIXES)

    async def _told(self, root: str) -> AsyncGenerator[dict[str, Any]]:
        """Yield what the driver tells of each object."""
        files = self._files
        if hasattr(files, "_iterdir"):  # s3fs
            bucket, _, prefix = root.partition("/")
            async for info in files._iterdir(bucket, delimiter="", prefix=prefix):
                yield info
        elif hasattr(files, "service_client"):  # adlfs
            container, prefix, _ = files.split_path(root)
            async with files.service_client.get_container_client(container) as client:
                async for blob in client.list_blobs(name_starts_with=prefix):
                    # Listings leave out the quotes that belong to an ETag.
                    yield {
                        "name": f"{container}/{blob.name}",
                        "size": blob.size,
                        "etag": f'"{blob.etag.strip(chr(34))}"',
                    }
        else:
            find = files._find if files.async_impl else None
            path = root.rstrip("/") or "/"
            found = await (find(path, detail=True) if find else asyncio.to_thread(files.find, path, detail=True))
            if not found and not await (files._exists(path) if find else asyncio.to_thread(files.exists, path)):
                raise Told("not found")
            for info in found.values():
                yield info
