"""A folder of 300 small images behind S3 and HTTP: `audit` beside one boto3 client that sends the same two requests.

    python -m benchmarks.folder [SECONDS]

SECONDS (0.02 by default) are added to each answer in the server, and left out once, to see what a client costs by
itself. The server is one event loop in a process of its own, which answers ranges and one listing, and keeps
connections. moto, which the tests use, takes 6 ms of its processor for each request and closes the connection: beside
it every client has the same rate. It is the client that is measured here.

The time of the process is told with the time that passed: on a busy machine only the first can be compared. boto3 in 16
threads shows what a client of Python can do on this machine with that latency.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import boto3  # type: ignore[import-not-found, import-untyped, unused-ignore]
from botocore.config import Config  # type: ignore[import-not-found, import-untyped, unused-ignore]

from fixtures.writer import MIB, dynamic
from vhdcheck import audit, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection

IMAGES: Final = 300
JOBS: Final = 16
ROUNDS: Final = 3
KEYS: Final = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
NAMES: Final = [f"many/{number:04}.vhd" for number in range(IMAGES)]
HEAD: Final = (
    '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>images</Name>'
)


def serve(latency: float, told: Connection) -> None:
    """Serve the same image under every name."""
    data = dynamic(4 * MIB, blocks=[0]).tobytes()
    items = "".join(
        f"<Contents><Key>{name}</Key><ETag>&quot;one&quot;</ETag><Size>{len(data)}</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        for name in NAMES
    )
    listing = f"{HEAD}<KeyCount>{IMAGES}</KeyCount><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode()

    def answer(head: str) -> bytes:
        asked = re.search(r"(?i)^range: bytes=(\d+)-(\d+)", head, re.MULTILINE)
        if asked is None:
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(listing), listing)
        start, end = int(asked[1]), min(int(asked[2]) + 1, len(data))
        told = f"Content-Range: bytes {start}-{end - 1}/{len(data)}\r\nContent-Length: {end - start}"
        return f'HTTP/1.1 206 Partial Content\r\nETag: "one"\r\n{told}\r\n\r\n'.encode() + data[start:end]

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(latency)
                writer.write(answer(head.decode("latin-1")))
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(one, "127.0.0.1", 0) as server:
            told.send(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())


def works(url: str) -> dict[str, Callable[[], object]]:
    """Name what is measured."""
    options = {"key": "any", "secret": "any", "endpoint_url": url}
    client: Any = boto3.client("s3", endpoint_url=url, config=Config(max_pool_connections=JOBS), **KEYS)
    length = client.list_objects_v2(Bucket="images")["Contents"][0]["Size"]

    def two(name: str) -> None:
        for start, end in ((length - 4096, length), (0, 4096)):
            client.get_object(Bucket="images", Key=name, Range=f"bytes={start}-{end - 1}")["Body"].read()

    def ours(jobs: int, sources: Callable[[], Iterable[str]]) -> None:
        with ThreadPoolExecutor(jobs) as threads:
            how: dict[str, Any] = {"executor": threads, "batch": 1, "window": 2 * jobs} if jobs > 1 else {}
            found = list(audit(sources(), target="generic", storage_options=options, **how))
        assert len(found) == IMAGES
        assert all(result.ok for result in found), found[0]

    def boto(jobs: int) -> None:
        with ThreadPoolExecutor(jobs) as threads:
            list(threads.map(two, NAMES))

    def in_store() -> Iterable[str]:
        return listed("s3://images/many/", storage_options=options)

    def on_web() -> Iterable[str]:
        options.clear()
        return [f"{url}/{name}" for name in NAMES]

    return {
        f"{name}, {jobs} at a time": lambda work=work, jobs=jobs: work(jobs)  # type: ignore[misc]
        for name, work in (
            ("boto3", boto),
            ("vhdcheck, S3", lambda jobs: ours(jobs, in_store)),
            ("vhdcheck, HTTP", lambda jobs: ours(jobs, on_web)),
        )
        for jobs in (1, JOBS)
    }


def main(latency: float) -> None:
    """Measure by turns, and print the best of each."""
    for seconds in (0.0, latency):
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(seconds, theirs), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{ours.recv()}"
        best: dict[str, tuple[float, float]] = {}
        for _ in range(ROUNDS):
            for name, work in works(url).items():
                passed, used = time.perf_counter(), time.process_time()
                work()
                took = (time.perf_counter() - passed) / IMAGES, (time.process_time() - used) / IMAGES
                best[name] = min(took[0], best.get(name, took)[0]), min(took[1], best.get(name, took)[1])
        server.terminate()
        print(f"{1e3 * seconds:g} ms added to each answer: ms an image, and of the process")
        for name, (passed, used) in best.items():
            print(f"  {name:32} {1e3 * passed:7.2f} {1e3 * used:7.2f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.02)
