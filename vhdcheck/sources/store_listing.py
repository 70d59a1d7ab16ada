"""The images in a folder of a store, as its listing comes: it tells their lengths, so that nobody asks for these again.

S3 and Azure are read page by page; other drivers of fsspec tell all at once.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.errors import SourceError
from vhdcheck.format.creators import SUFFIXES
from vhdcheck.sources.transports import LISTED, TIMEOUT, Store, Told, reason, traits
from vhdcheck.sources.url import close_in, driver_of, file_system, loop_of_fsspec, lowered, secrets_in, wait_for
from vhdcheck.sources.urls import StoredObject, redacted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping


PAGE: Final = 1000
"""Objects taken at a time: as many as S3 tells in one answer."""


def listed(url: str, *, storage_options: Mapping[str, Any] | None = None) -> Iterator[StoredObject]:
    """Yield the images in a folder of a store and the folders in it, by suffix: `.vhd` and `.avhd`, in either case.

    `audit` and `check` ask nobody for the length of what comes from here.

    Args:
        url: `s3://bucket/prefix/`, `az://container/`, ...
        storage_options: arguments for fsspec's driver: credentials, endpoint. `audit` wants the same.

    Raises:
        SourceError: the store cannot be reached, or its listing not be read.
        UsageError: fsspec, or the driver, is not installed.
    """
    driver_of(url)
    loop, folder = loop_of_fsspec(), _Folder(lowered(url), storage_options or {})
    try:
        while page := wait_for(folder.page(), loop):
            yield from page
    finally:
        close_in(loop, folder)


class _Folder:
    """A folder of a store. Everything here runs in fsspec's loop."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._url, self._options = url, options
        self._files: Any = None
        self._images: AsyncGenerator[StoredObject] | None = None

    async def page(self) -> list[StoredObject]:
        """Return the next images; none at the end."""
        try:
            if self._images is None:
                self._files = file_system(driver_of(self._url), self._url, self._options)
                self._images = self._found()
            page: list[StoredObject] = []
            async with asyncio.timeout(TIMEOUT) as limit:
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
        """Close the connections."""
        if self._files is not None:
            await Store(self._files, "").close()

    async def _found(self) -> AsyncGenerator[StoredObject]:
        """Pick the images, and name each as the folder is named."""
        root = str(self._files._strip_protocol(self._url)).rstrip("/") + "/"  # noqa: SLF001
        async with aclosing(self._told(root)) as told:
            async for info in told:
                name = str(info["name"])
                if name.lower().endswith(SUFFIXES) and info.get("type", "file") == "file":
                    yield StoredObject(self._url + name.removeprefix(root), traits(info, LISTED))

    async def _told(self, root: str) -> AsyncGenerator[dict[str, Any]]:
        """Yield what the driver tells of each object."""
        files = self._files
        if hasattr(files, "_iterdir"):  # s3fs
            bucket, _, prefix = root.partition("/")
            async for info in files._iterdir(bucket, delimiter="", prefix=prefix):  # noqa: SLF001
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
            find = files._find if files.async_impl else None  # noqa: SLF001
            path = root.rstrip("/") or "/"
            found = await (find(path, detail=True) if find else asyncio.to_thread(files.find, path, detail=True))
            if not found and not await (files._exists(path) if find else asyncio.to_thread(files.exists, path)):  # noqa: SLF001
                raise Told("not found")
            for info in found.values():
                yield info
