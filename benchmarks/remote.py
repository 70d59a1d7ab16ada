"""Images behind HTTP and S3: requests, bytes, and time beside plain loops that ask for the same.

The server is a thread of this process, the clients are processes of their own. It answers ranges, and HEAD, which is
all that a check asks of S3; so S3 here is s3fs's own client, before a server without buckets or credentials, whose
objects may be of any size. There is no way between them: a round trip costs next to nothing here, and where it does
cost something, requests count for more.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.images import full
from benchmarks.turns import inside, installed
from fixtures.writer import GIB, SECTOR, dynamic, fixed
from tests.remote.server import Listener, Server
from vhdcheck import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.turns import Cases
    from fixtures.writer import Image
    from tests.remote.server import Handler

IMAGES: Final[dict[str, Callable[[], Image]]] = {
    "fixed 40 GiB": lambda: fixed(40 * GIB),
    "40 GiB empty": lambda: dynamic(40 * GIB),
    "40 GiB full": lambda: full(40 * GIB),
    "2040 GiB full": lambda: full(2040 * GIB),
}
MODULES: Final = {"HTTP": "aiohttp", "S3": "s3fs"}
"""By way to an object: what it takes; the client that is measured beside us, too."""
REQUESTS: Final = 3
"""What a check may ask for: HEAD, and two ranges."""
EXCESS: Final = 1.05
"""How many times its own size a check may fetch of the metadata."""
TABLE: Final = 1536
"""Bytes before the table: a footer's copy and a header."""

OURS: Final = """
import json, sys
from vhdcheck import check
options = json.loads(sys.argv[3])
def do(url): check(url, target="generic", storage_options=options)
"""
STANDARD: Final = """
import http.client, json, sys
asked = json.loads(sys.argv[2])
place = sys.argv[4]
def do(url):
    connection = http.client.HTTPConnection(place)
    for method, path, start, end in asked:
        headers = {"Range": f"bytes={start}-{end - 1}"} if end else {}
        connection.request(method, path, headers=headers)
        connection.getresponse().read()
    connection.close()
"""
AIOHTTP: Final = """
import aiohttp, asyncio, json, sys
asked = json.loads(sys.argv[2])
loop = asyncio.new_event_loop()
async def work(url):
    async with aiohttp.ClientSession() as session:
        for method, path, start, end in asked:
            headers = {"Range": f"bytes={start}-{end - 1}"} if end else {}
            async with session.request(method, url, headers=headers) as response:
                await response.read()
def do(url): loop.run_until_complete(work(url))
"""
S3FS: Final = """
import json, sys
from s3fs import S3FileSystem
asked, options = json.loads(sys.argv[2]), json.loads(sys.argv[3])
def do(url):
    files = S3FileSystem(**options, skip_instance_cache=True)
    for method, path, start, end in asked:
        files.cat_file(url, start=start, end=end) if end else files.info(url)
"""


class Count(NamedTuple):
    """What the server saw of one check."""

    requests: int
    sent: int
    """Bytes of bodies."""
    metadata: int
    """Bytes of footers, header and table."""


@contextmanager
def remote(problems: dict[str, str]) -> Iterator[tuple[Cases, dict[str, Count]]]:
    """Serve the images; tell what a check of each asks for, and what is to be timed while they are served."""
    ours = Server(modified="Tue, 03 Nov 2026 10:00:00 GMT", before=_told)
    cases: Cases = {}
    counts: dict[str, Count] = {}
    with Listener(ours) as listener:
        listener.thread.start()
        for way, module in MODULES.items():
            if not (installed("fsspec") and installed(module)):
                problems[way] = f"{module} or fsspec is not installed"
                continue
            for image, make in IMAGES.items():
                name = f"{way}, {image}"
                counts[name], asked = _counted(ours, way, image.replace(" ", "-"), make())
                programs = {"vhdcheck": OURS, "http.client": STANDARD, module: {"HTTP": AIOHTTP, "S3": S3FS}[way]}
                cases |= {(client, name): partial(inside, program, *asked) for client, program in programs.items()}
        yield cases, counts
        listener.shutdown()
        listener.thread.join()


def _told(handler: Handler) -> bool:
    """Answer HEAD: the server itself would go through all of the object, and say nothing."""
    if handler.command != "HEAD" or handler.image is None:
        return False
    handler.begin(200, {}, handler.image.length)
    return True


def _counted(ours: Server, way: str, name: str, image: Image) -> tuple[Count, tuple[str, str, str, str]]:
    """Check an image once; tell what was asked for, and the arguments that make a program ask for the same."""
    url, options = ours.put(f"images/{name}", image), {}
    if way == "S3":
        url, options = f"s3://images/{name}", {"key": "any", "secret": "any", "endpoint_url": ours.url}
    ours.asked.clear()
    ours.sent = 0
    check(url, target="generic", storage_options=options)
    asked = []
    for method, path, span in ours.asked:
        start, end = map(int, span.removeprefix("bytes=").split("-")) if span else (0, -1)
        asked.append((method, path, start, end + 1))
    count = Count(len(asked), ours.sent, metadata(image))
    return count, (url, json.dumps(asked), json.dumps(options), ours.url.removeprefix("http://"))


def metadata(image: Image) -> int:
    """Count the bytes of footers, header and table."""
    start = image.read(0, TABLE)
    if start[SECTOR : SECTOR + 8] != b"cxsparse":
        return SECTOR
    entries = int.from_bytes(start[540:544], "big")
    return TABLE + -(-4 * entries // SECTOR) * SECTOR + SECTOR


def traffic(counts: Mapping[str, Count]) -> list[str]:
    """Write what was asked for as a table, beside what is aimed at."""
    lines = [
        f"| | requests (aim: {REQUESTS}) | bytes of bodies | of the metadata | ratio (aim: {EXCESS}) |",
        "|---|---|---|---|---|",
    ]
    for name, (requests, sent, own) in counts.items():
        bytes_ = " | ".join(f"{number:,}".replace(",", " ") for number in (sent, own))
        lines.append(f"| {name} | {requests} | {bytes_} | {sent / own:.3f} |")
    return lines
