"""Ways to an object: HTTP, and whatever else fsspec knows. Each tells the length, and fetches absolute ranges.

HTTP is asked for the first 4 KiB at once: the answer tells the length, so that no HEAD is needed (which a presigned
URL would refuse), and whether the server honours ranges at all. Stores tell the length first.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from vhdcheck.format.limits import END
from vhdcheck.sources import failures
from vhdcheck.sources.clients import CONNECTORS
from vhdcheck.sources.failures import CHANGED, Told, of_status
from vhdcheck.units import exact

if TYPE_CHECKING:
    from typing import TypeAlias

    from vhdcheck.sources.clients import Client

    Files: TypeAlias = Any
    """A file system of fsspec, which has no types."""

TRIES: Final = 3
BACKOFF: Final = 0.2
"""Seconds before the second try; twice that before the third."""
_WHOLE, _PART = 200, 206
_NO_SUCH_BYTES: Final = 416
_AGAIN: Final = (502, 503, 504)
LISTED: Final = ("size", "ETag", "etag", "generation", "md5Hash")
"""What file systems tell of an object that changes with it, in a listing as when they are asked for the one object;"""
_SAME: Final = (*LISTED, "LastModified", "last_modified", "mtime", "created")
"""and times, which some write in two ways."""


@dataclass(slots=True)
class Traffic:
    """What went over the wire."""

    bytes: int = 0
    requests: int = 0
    rounds: int = 0
    """Times that an answer was waited for; several requests may be under way in one."""


class Http:
    """An object behind HTTP. The requests are made here: fsspec would download all that a server cares to send."""

    serves_many = True

    def __init__(self, files: Files, url: str, *, download: int | None) -> None:
        """Take a file system, and how many bytes may be downloaded to have an image whole; None: it must not be."""
        self.traffic = Traffic()
        self._files, self._url, self._download = files, url, download
        self._size = -1
        self._identity: tuple[str | None, str | None] = (None, None)
        self._whole: IO[bytes] | None = None
        # Cookies are this session's own; connections are not.
        shared = {"connector": _connector(), "connector_owner": False}
        files.client_kwargs = {**shared, **files.client_kwargs, "trace_configs": [_counter(self.traffic)]}

    async def open(self) -> tuple[int, bytes]:
        """Ask for the first bytes; return length and these."""
        head = await self.get(0, END)
        return self._size, head

    async def get(self, start: int, end: int) -> bytes:
        """Return bytes, after three tries if need be."""
        import aiohttp  # type: ignore[import-not-found, unused-ignore]

        for attempt in range(1, TRIES + 1):
            if self._whole is not None:
                self._whole.seek(start)
                return self._whole.read(end - start)
            try:
                return await self._ask(start, end, aiohttp.ClientTimeout(total=None, sock_read=failures.TIMEOUT))
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                if isinstance(error, TimeoutError) or attempt == TRIES:
                    raise
            except Told as error:
                if attempt == TRIES or not error.again:
                    raise
            await asyncio.sleep(BACKOFF * 2 ** (attempt - 1))
        raise AssertionError  # the last try returns or raises

    async def _ask(self, start: int, end: int, patience: Any) -> bytes:
        session = await self._files.set_session()
        options = {"timeout": patience, **self._files.kwargs}
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        if (self._identity[0] or "").startswith('"'):  # a weak ETag never matches
            headers["If-Match"] = self._identity[0] or ""
        options["headers"] = {**options.get("headers", {}), **headers}
        async with (
            asyncio.timeout(failures.TIMEOUT) as limit,
            session.get(self._files.encode_url(self._url), **options) as response,
        ):
            try:
                if response.status not in (_WHOLE, _PART):
                    return self._nothing(response)
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise Told("the server sends it compressed, although told not to")
                identity = response.headers.get("ETag"), response.headers.get("Last-Modified")
                if self._size >= 0 and identity != self._identity:
                    raise Told(CHANGED)
                self._identity = identity
                if response.status == _WHOLE:
                    return await self._all(response, start, end, limit)
                length = self._measure(response, start, end)
                return await self._body(response, length)
            finally:
                response.close()  # or what was not asked for would be read, so that the connection can be used again

    def _nothing(self, response: Any) -> bytes:
        """Say why there is no answer; but an empty object has no first bytes."""
        status: int = response.status
        if status == _NO_SUCH_BYTES:
            if self._size < 0 and re.fullmatch(r"bytes \*/0", response.headers.get("Content-Range", "").strip()):
                self._size = 0
                return b""
            if self._size >= 0:
                raise Told(CHANGED)
        raise Told(of_status(status), again=status in _AGAIN)

    def _measure(self, response: Any, start: int, end: int) -> int:
        """Take the length from the answer, see that it is an answer to the question, and return how much it holds."""
        said = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", said.strip(), re.ASCII)
        if match is None:
            raise Told("the server does not say which bytes it sends, or how long the object is")
        first, last, size = map(int, match.groups())
        if self._size >= 0 and size != self._size:
            raise Told(CHANGED)
        expected = min(end, size) - start
        announced = response.content_length
        if first != start or last != min(end, size) - 1 or announced not in (None, expected):
            raise Told("the server sends other bytes than it was asked for")
        self._size = size
        return expected

    async def _body(self, response: Any, length: int) -> bytes:
        """Read no more than was asked for."""
        data = bytearray()
        while len(data) < length and (piece := await response.content.read(length - len(data))):
            data += piece
            self.traffic.bytes += len(piece)
        if len(data) != length:
            raise Told("the server's answer ends early")
        return bytes(data)

    async def _all(self, response: Any, start: int, end: int, limit: asyncio.Timeout) -> bytes:
        """Take an answer that is the whole object, if it is short or the caller wants it."""
        if self._size >= 0:
            raise Told("the server honours ranges at one time and not at another")
        length = response.content_length
        if start == 0 and length is not None and length <= end:
            self._size = length
            return await self._body(response, length)
        if self._download is None:
            much = "the whole object" if length is None else exact(length)
            raise Told(f"the server ignores ranges: it would send {much}; allow it with --download (download=True)")
        limit.reschedule(None)
        room = shutil.disk_usage(tempfile.gettempdir()).free * 9 // 10  # others need some too
        if length is not None:
            self._see_that_it_fits(length, room)
        whole = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        try:
            async for piece in response.content.iter_chunked(1 << 20):
                self._see_that_it_fits(whole.tell() + len(piece), room)
                await asyncio.to_thread(whole.write, piece)
                self.traffic.bytes += len(piece)
            self._size = whole.tell()
        except BaseException:
            whole.close()
            raise
        self._whole = whole
        return await self.get(start, end)

    def _see_that_it_fits(self, length: int, room: int) -> None:
        """Refuse to download more than what could be accepted, or what the disk has room for."""
        most = room if self._download is None else min(self._download, room)
        if length > most:
            why = "the target accepts" if most < room else "the temporary folder has room for"
            raise Told(
                "the server ignores ranges, and the image is not downloaded: it is longer than the"
                f" {exact(most)} that {why}"
            )

    @property
    def versioned(self) -> bool:
        """Whether the server sends an ETag or a time of change."""
        return any(self._identity)

    async def verify(self) -> None:
        """Do nothing: each answer was compared with the first."""

    async def close(self) -> None:
        """Close the session."""
        if self._whole is not None:
            self._whole.close()
        session = await self._files.set_session()
        await session.close()


def _connector() -> Any:  # aiohttp.TCPConnector
    """Return the connections of the running loop, which all checks share."""
    import aiohttp

    loop = asyncio.get_running_loop()
    found = next((each for each in CONNECTORS if each._loop is loop), None)
    if found is None:
        found = aiohttp.TCPConnector(limit=0)
        CONNECTORS.append(found)
    return found


def _counter(traffic: Traffic) -> Any:  # aiohttp.TraceConfig
    """Count each request as it leaves: redirects too, and those that aiohttp repeats by itself."""
    import aiohttp

    async def count(*_: object) -> None:
        traffic.requests += 1

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(count)
    return trace


def traits(info: dict[str, Any], keys: tuple[str, ...] = _SAME) -> dict[str, Any]:
    """Keep of what a driver tells of a file its length, and what changes with it."""
    if info.get("type", "file") != "file":
        raise Told("a folder, not a file: to check the images in it, add a / to its name")
    if not isinstance(info.get("size"), int):
        raise Told("its length is not known")
    return {key: info[key] for key in keys if info.get(key)}


class Store:
    """An object in any other file system of fsspec."""

    def __init__(self, client: Client, path: str, listed: dict[str, Any] | None = None) -> None:
        """Take a client with a file system of any kind, a path in that, and what a listing told of the object."""
        self.traffic = Traffic()
        self._client: Client | None = client
        self._files, self._path, self._listed = client.files, path, listed
        self.serves_many = bool(self._files.async_impl)
        self._identity: dict[str, Any] = {}
        self._pinned = False

    async def _call(self, method: str, **arguments: Any) -> Any:
        self.traffic.requests += 1
        async with asyncio.timeout(failures.TIMEOUT):
            if self._files.async_impl:
                return await getattr(self._files, f"_{method}")(self._path, **arguments)
            return await asyncio.to_thread(getattr(self._files, method), self._path, **arguments)

    async def _look(self) -> dict[str, Any]:
        return traits(await self._call("info"))

    async def open(self) -> tuple[int, bytes]:
        """Learn the length, where no listing told it."""
        self._identity = self._listed or await self._look()
        return self._identity.get("size", 0), b""

    async def get(self, start: int, end: int) -> bytes:
        """Return bytes."""
        if hasattr(self._files, "service_client"):
            data = await self._from_azure(start, end)
        elif hasattr(self._files, "s3_additional_kwargs"):
            data = await self._from_s3(start, end)
        else:
            data = await self._call("cat_file", start=start, end=end)
        self.traffic.bytes += len(data)
        if len(data) != end - start:
            raise Told(CHANGED if len(data) < end - start else "the driver sends more bytes than it was asked for")
        return bytes(data)

    async def _from_s3(self, start: int, end: int) -> bytes:
        """Ask S3 for the very object that was opened: s3fs itself has no argument for that."""
        bucket, key, version = self._files.split_path(self._path)
        asked = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{end - 1}"}
        if version:
            asked["VersionId"] = version
        if tag := self._identity.get("ETag"):
            asked["IfMatch"] = tag
            self._pinned = True
        self.traffic.requests += 1
        async with asyncio.timeout(failures.TIMEOUT):
            answer = await self._files._call_s3("get_object", **asked)
            async with answer["Body"] as body:
                data: bytes = await body.read()
                return data

    async def _from_azure(self, start: int, end: int) -> bytes:
        """Ask Azure's client itself, which tells the ETag with the bytes."""
        container, blob, version = self._files.split_path(self._path)
        self.traffic.requests += 1
        async with (
            asyncio.timeout(failures.TIMEOUT),
            self._files.service_client.get_blob_client(container=container, blob=blob) as client,
        ):
            answer = await client.download_blob(offset=start, length=end - start, version_id=version)
            if answer.properties.etag != self._identity.get("etag"):
                raise Told(CHANGED)
            self._pinned = True
            data: bytes = await answer.readall()
            return data

    @property
    def versioned(self) -> bool:
        """Whether the driver tells an ETag, a version or a time of change."""
        return len(self._identity) > 1

    async def verify(self) -> None:
        """Look again, where the answers do not tell."""
        if not self._pinned:
            now = await self._look()
            if any(now.get(key) != value for key, value in self._identity.items()):
                raise Told(CHANGED)

    async def close(self) -> None:
        """Give the client back, once."""
        used, self._client = self._client, None
        if used is not None:
            await used.release()
