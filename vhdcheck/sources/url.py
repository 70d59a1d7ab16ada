"""Drivers for URLs, through fsspec: few requests, absolute ranges only, and no secret in any text.

Header-level work takes three requests at the most. HTTP: the first 4 KiB, which tell the length and where the table
is; the last; the table. Stores: the length; the last 4 KiB, whose footer tells how long the metadata at the beginning
usually are; all of these.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from vhdcheck.errors import SourceChanged, SourceError, UsageError
from vhdcheck.format.layout import FOOTER_SIZE, HEADER_SIZE
from vhdcheck.format.structures import Footer, is_footer
from vhdcheck.redaction import redacted
from vhdcheck.sources.clients import CLOSE, client
from vhdcheck.sources.failures import CHANGED, reason, secrets_in
from vhdcheck.sources.transports import Http, Store
from vhdcheck.sources.urls import StoredObject, is_web
from vhdcheck.units import SECTOR, round_up

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
    from typing import TypeVar

    from vhdcheck.format.span import Span

    T = TypeVar("T")

AT_ONCE: Final = 16
"""Requests under way at the same time."""
GAP: Final = 64 << 10
"""Bytes between two spans that are read rather than asked around: 64 KiB take less time than a request."""
LONGEST: Final = 8 << 20
"""Bytes that spans are merged up to; also of the metadata that one request fetches on the footer's word."""
USUAL_BLOCK: Final = 2 << 20
_CLOSING: Final[set[asyncio.Task[None]]] = set()
"""Connections that are being closed while nobody waits."""
_EXTRAS: Final = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "azure"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
}


_SWIFT: Final = (
    "Give the object's own URL, https://HOST/v1/ACCOUNT/CONTAINER/OBJECT: a temporary URL, or with a token in the"
    ' environment: FSSPEC_HTTPS=\'{"headers": {"X-Auth-Token": "..."}}\''
)


class Closable(Protocol):
    """What is closed in its own loop."""

    def close(self) -> Coroutine[Any, Any, None]:
        """Close the connections."""


class _Opened(list["Closable"]):
    """What was opened, if anything was."""

    async def close(self) -> None:
        """Close it."""
        while self:
            await self.pop().close()


class AsyncUrlSource:
    """An image behind a URL, in the loop that its requests are made in."""

    def __init__(self, transport: Http | Store, name: str, secrets: Callable[[], Sequence[str]]) -> None:
        """Take the way to the object; `open` comes first."""
        self.name, self.size, self.traffic = name, 0, transport.traffic
        self._transport, self._secrets = transport, secrets
        self._kept: list[tuple[int, bytes]] = []
        self._has_read = False
        self._slots = asyncio.Semaphore(AT_ONCE if transport.serves_many else 1)

    @property
    def requests(self) -> int:
        """How many requests were made: tries and redirects count."""
        return self.traffic.requests

    @property
    def versioned(self) -> bool:
        """Whether the server tells something that changes with the object, so that `verify` means something."""
        return self._transport.versioned

    async def open(self) -> None:
        """Learn the length."""
        self.size, head = await self._told(self._transport.open())
        self.traffic.rounds += bool(self.traffic.requests)
        if head:
            self._kept.append((0, head))

    async def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return each span's bytes: what is near each other in one request, all requests at once."""
        wanted = [(span.offset, span.end) for span in spans]
        first, self._has_read = not self._has_read, True
        if first and not self._kept and len(wanted) > 1 and wanted[-1][0] - wanted[0][1] > GAP:
            self._kept += await self._fetch([wanted[-1]])  # the end of the image, before its beginning
            start, end = wanted[0]
            wanted[0] = start, max(end, min(_metadata_length(self._kept[0][1]), self.size))
        pieces = self._kept + await self._fetch(self._missing(wanted))
        if first:
            self._kept = pieces
        return [_cut(pieces, span.offset, span.end) for span in spans]

    def _missing(self, wanted: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Leave out what was kept, and merge what is near."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(wanted):
            for offset, data in self._kept:
                if offset <= start < offset + len(data):
                    start = offset + len(data)  # noqa: PLW2901 (the rest of it)
            if start >= end:
                continue
            if merged and start - merged[-1][1] <= GAP and end - merged[-1][0] <= LONGEST:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        return merged

    async def _fetch(self, ranges: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
        async def one(start: int, end: int) -> tuple[int, bytes]:
            async with self._slots:
                return start, await self._told(self._transport.get(start, end))

        self.traffic.rounds += bool(ranges)
        tasks = [asyncio.create_task(one(start, end)) for start, end in ranges]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def verify(self) -> None:
        """Raise SourceError if the object changed since it was opened."""
        await self._told(self._transport.verify())

    async def close(self) -> None:
        """Close the connections."""
        with suppress(Exception):
            await self._transport.close()

    async def _told(self, work: Coroutine[Any, Any, T]) -> T:
        """Turn any failure into a SourceError. It has no cause or context: a driver's texts hold URLs and keys."""
        try:
            return await work
        except Exception as error:  # noqa: BLE001 (each driver has its own)
            why = reason(error, quote=isinstance(self._transport, Store), secrets=self._secrets())
        raise (SourceChanged if why.startswith(CHANGED) else SourceError)(f"{self.name}: {why}")


class UrlSource:
    """An image behind a URL. The requests are made in fsspec's thread."""

    def __init__(self, source: AsyncUrlSource, loop: asyncio.AbstractEventLoop) -> None:
        """Wrap an open source that lives in a loop that runs elsewhere."""
        self.name, self.size, self.traffic = source.name, source.size, source.traffic
        self._source, self._loop = source, loop

    @property
    def requests(self) -> int:
        """How many requests were made: tries and redirects count."""
        return self.traffic.requests

    @property
    def versioned(self) -> bool:
        """Whether the server tells something that changes with the object, so that `verify` means something."""
        return self._source.versioned

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return each span's bytes."""
        return wait_for(self._source.read(spans), self._loop)

    def verify(self) -> None:
        """Raise SourceError if the object changed since it was opened."""
        wait_for(self._source.verify(), self._loop)


@contextmanager
def opened_url(
    url: str,
    name: str | None = None,
    download: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[UrlSource]:
    """Open an image behind a URL.

    Args:
        url: `https://...`, `s3://...`, or any other scheme that fsspec has a driver for.
        name: what to call it, instead of the URL without its secrets.
        download: if a server ignores ranges, download so many bytes at the most to have the image whole, in a temporary
            file; None: download none.
        storage_options: arguments for fsspec's driver: credentials, endpoint.

    Raises:
        SourceError: it cannot be reached, or not read in parts.
        UsageError: fsspec, or the driver, is not installed.
    """
    driver_of(url)
    loop, opened = loop_of_fsspec(), _Opened()
    try:
        yield UrlSource(wait_for(_opened(url, name, download, storage_options, opened), loop), loop)
    finally:
        close_in(loop, opened)


def used(
    work: Callable[[AsyncUrlSource], Coroutine[Any, Any, T]],
    url: str,
    name: str | None = None,
    download: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> T:
    """Open an image behind a URL, and let all that is done with it be done in fsspec's thread.

    Between two threads each request costs two switches, and of a small image that is a fifth of all processor time.

    Args:
        work: what to do with the image.
        url: as in `opened_url`, like all that follows.
        name: what to call it.
        download: how much may be downloaded.
        storage_options: for fsspec's driver.
    """
    driver_of(url)
    return wait_for(_used(work, url, name, download, storage_options), loop_of_fsspec())


async def aused(
    work: Callable[[AsyncUrlSource], Coroutine[Any, Any, T]],
    url: str,
    name: str | None = None,
    download: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> T:
    """Do as `used`, without blocking the caller's loop. Who is cancelled leaves nothing open."""
    driver_of(url)
    return await awaited(_used(work, url, name, download, storage_options), loop_of_fsspec())


async def _used(
    work: Callable[[AsyncUrlSource], Coroutine[Any, Any, T]],
    url: str,
    name: str | None,
    download: int | None,
    storage_options: Mapping[str, Any] | None,
) -> T:
    opened = _Opened()
    try:
        return await work(await _opened(url, name, download, storage_options, opened))
    finally:
        await opened.close()


def loop_of_fsspec() -> asyncio.AbstractEventLoop:
    """Return the loop that fsspec runs in a thread of its own."""
    from fsspec.asyn import get_loop  # type: ignore[import-not-found, import-untyped, unused-ignore]

    loop: asyncio.AbstractEventLoop = get_loop()
    return loop


def wait_for(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, seconds: float | None = None) -> T:
    """Let a loop that runs in another thread do work, and wait for it, so many seconds at the most."""
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result(seconds)
    except BaseException:
        future.cancel()  # the caller was interrupted
        raise


def awaited(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> asyncio.Future[T]:
    """Let a loop that runs in another thread do work, and await it in the running one."""
    return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def close_in(loop: asyncio.AbstractEventLoop, opened: Closable) -> None:
    """Close what lives in a loop, and wait for it where that is possible.

    What was left half read is closed when it is collected as garbage, in whatever thread that happens. In the loop's
    own the loop would wait for itself. When Python ends, the loop's thread is gone, and nobody would answer.
    """
    if sys.is_finalizing():
        return
    try:
        own = asyncio.get_running_loop() is loop
    except RuntimeError:  # none runs in this thread
        own = False
    if own:
        task = loop.create_task(opened.close())
        _CLOSING.add(task)  # a loop keeps no task alive
        task.add_done_callback(_CLOSING.discard)
    else:
        with suppress(TimeoutError):
            wait_for(opened.close(), loop, CLOSE)


def driver_of(url: str) -> Any:  # fsspec has no types
    """Find the driver for a scheme.

    Raises:
        UsageError: fsspec, or the driver, is not installed, or there is none.
    """
    scheme = url.partition("://")[0].lower()
    if scheme == "swift":  # its driver asks for one byte too many in each range, and nobody mends it
        raise UsageError(f"swift:// is not supported. {_SWIFT}")
    extra = _EXTRAS.get(scheme, "remote")
    try:
        from fsspec import get_filesystem_class  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise UsageError(f"to check URLs, install vhdcheck with its extra {extra}") from None
    try:
        return get_filesystem_class(scheme)
    except ImportError as error:
        advice = f"install vhdcheck with its extra {extra}" if scheme in {*_EXTRAS, "http", "https"} else str(error)
        raise UsageError(f"{scheme}:// needs a driver: {advice}") from None
    except ValueError:
        raise UsageError(f"fsspec knows no driver for {scheme}://") from None


async def _opened(
    url: str, name: str | None, download: int | None, storage_options: Mapping[str, Any] | None, opened: list[Closable]
) -> AsyncUrlSource:
    """Open an image, in fsspec's loop, and add it to what is to be closed, although nobody may wait for the result."""
    driver = driver_of(url)
    shown = redacted(name or url)
    given = dict(storage_options or {})
    try:
        transport = await _transport(driver, url, given, download=download)
    except Exception as error:  # noqa: BLE001 (each driver has its own)
        why = reason(error, quote=not is_web(url), secrets=secrets_in(url, given))
    else:
        source = AsyncUrlSource(transport, shown, partial(secrets_in, url, given))
        opened.append(source)
        await source.open()
        return source
    raise SourceError(f"{shown}: {why}")  # out here it has no context


async def _transport(driver: Any, url: str, given: dict[str, Any], *, download: int | None) -> Http | Store:
    listed = url.info if isinstance(url, StoredObject) else None
    url = lowered(url)
    if not is_web(url):
        used = await client(driver, url, given)
        return Store(used, used.files._strip_protocol(url), listed)
    if url.isascii() and url.isprintable() and " " not in url:
        given.setdefault("encoded", True)  # a signature holds only for the very characters that were signed
    return Http((await client(driver, url, given)).files, url, download=download)


def lowered(url: str) -> str:
    """Write a URL's scheme as drivers know it."""
    scheme, mark, rest = url.partition("://")
    return scheme.lower() + mark + rest


def _metadata_length(tail: bytes) -> int:
    """Tell how far the metadata at the beginning usually reach, by the footer at the end; 0 if it is not known."""
    raw = tail[-FOOTER_SIZE:]
    if not is_footer(raw) or len(raw) < FOOTER_SIZE:
        return 0
    footer = Footer.parse(raw, 0, "footer")
    if not footer.is_sparse or footer.data_offset > GAP:
        return 0
    blocks = -(-footer.current_size // USUAL_BLOCK)
    length = footer.data_offset + HEADER_SIZE + round_up(4 * blocks, SECTOR)
    if footer.is_tap:
        length += SECTOR + round_up(-(-blocks // 8), SECTOR)  # the batmap
    return length if length <= LONGEST else 0


def _cut(pieces: list[tuple[int, bytes]], start: int, end: int) -> bytes:
    """Put a span together from the pieces, which hold all of it."""
    found = b""
    while start < end:
        part = next(data[start - at : end - at] for at, data in pieces if at <= start < at + len(data))
        if not found and len(part) == end - start:
            return part
        found += part
        start += len(part)
    return found
